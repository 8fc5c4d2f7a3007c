//! A transport without a network: it answers at once, and counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{LocalBoxFuture, ready};
use hookmill::transport::{Answer, Attempt, Failure, FailureKind, Response, Transport};
use tokio::sync::watch;

/// Endpoints whose id begins so refuse every connection.
pub const DEAD: &str = "dead";
/// Events whose topic ends so are answered 404: at every attempt, and at the first.
pub const NEVER: &str = ".never";
pub const ONCE_MORE: &str = ".once_more";

/// How long a run may stand still.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes everything but what is made to fail.
#[derive(Clone)]
pub struct Taker {
    taken: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    changed: watch::Sender<()>,
}

impl Default for Taker {
    fn default() -> Self {
        Self { taken: Arc::default(), failed: Arc::default(), changed: watch::channel(()).0 }
    }
}

impl Taker {
    /// Deliveries so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Acquire)
    }

    /// Deliveries whose attempt was made to fail, so far.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Acquire)
    }

    /// Waits for so many deliveries.
    pub async fn wait_for(&self, deliveries: u64) {
        self.wait_until(deliveries, Self::taken).await;
    }

    /// Waits for so many that were made to fail.
    pub async fn wait_for_failed(&self, deliveries: u64) {
        self.wait_until(deliveries, Self::failed).await;
    }

    async fn wait_until(&self, wanted: u64, count: impl Fn(&Self) -> u64) {
        let mut changes = self.changed.subscribe();
        while count(self) < wanted {
            let change = tokio::time::timeout(PATIENCE, changes.changed()).await;
            assert!(change.is_ok(), "{} of {wanted} attempts were made", count(self));
        }
    }

    fn answer(&self, attempt: &Attempt) -> Answer {
        let deliveries = attempt.events.len() as u64;
        if attempt.endpoint.id.as_str().starts_with(DEAD) {
            return Err(Failure { kind: FailureKind::Connect, detail: "refused".to_owned(), peer: None });
        }
        let fails = |topic: &str| topic.ends_with(NEVER) || topic.ends_with(ONCE_MORE) && attempt.number == 1;
        let failed = attempt.events.iter().any(|event| fails(event.topic.as_str()));
        let (count, status) = if failed { (&self.failed, 404) } else { (&self.taken, 200) };
        count.fetch_add(deliveries, Ordering::AcqRel);
        self.changed.send_replace(());
        let response = Response::new(status);
        Ok(response.into())
    }
}

impl Transport for Taker {
    fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer> {
        Box::pin(ready(self.answer(&attempt)))
    }
}
