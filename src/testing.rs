//! For tests of programs that embed Hookmill: time that passes at once, and receivers that follow a script.
//!
//! There with the feature `testing` only, which belongs in `[dev-dependencies]`.
//!
//! ```
//! use hookmill::{Endpoint, Event, Hookmill, testing};
//! use testing::{Script, ScriptedTransport};
//!
//! testing::paused(async {
//!     let crm = ScriptedTransport::new(|attempt| Script::status(if attempt.number < 3 { 500 } else { 200 }));
//!     let builder = Hookmill::builder().endpoint(Endpoint::http("crm", "https://example.org/")).transport(crm.factory());
//!     let hooks = testing::start_here(builder).await?;
//!     hooks.publish(Event::new("user.created", &7)?).await?;
//!     // Five minutes and five seconds later, which take no time here:
//!     let attempts = crm.until(|made| made.len() == 3).await;
//!     assert!(attempts.iter().all(|made| made.seq == 1));
//!     Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod chains;

use std::{
    future::{Future, pending},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use actix_rt::System;
use bytes::Bytes;
use futures_util::{FutureExt, future::LocalBoxFuture};
use tokio::sync::watch;
use url::Url;

use crate::{
    clock::{Clock, Mono, Timestamp},
    dispatch::death::{Count, Kill},
    endpoint::{EndpointId, EndpointKey},
    event::EventId,
    pipeline::Hookmill,
    pipeline::{Builder, StartError},
    store::Store,
    transport::{Answer, Attempt, Failure, FailureKind, Response, RetryAfter, Transport},
};

pub use chains::{Invoked, ScriptedChains};

/// What the wall clock of [`start_here`] shows at the start: 2026-01-01T00:00:00Z.
pub const START: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// A test that has not ended by then waits for something that never comes.
const TOO_LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// Runs `test` in an actix system of this thread whose clock stands still as long as there is work, and jumps to the next
/// timer when there is none: hours take milliseconds, and timers are exact to the millisecond.
///
/// Only timers of tokio on this thread are driven by it: start with [`start_here`], and use no sockets, which would seem to
/// time out at once.
///
/// # Panics
/// When a year has passed on that clock and `test` has not ended.
pub fn paused<T>(test: impl Future<Output = T>) -> T {
    let system = System::with_tokio_rt(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        #[expect(clippy::expect_used, reason = "a test that cannot run has failed")]
        runtime.expect("a runtime for the test")
    });
    let ended = system.block_on(async { tokio::time::timeout(TOO_LONG, test).await });
    #[expect(clippy::expect_used, reason = "a test that waits in vain has failed")]
    ended.expect("the test waits for something that never comes")
}

/// Starts on the thread of the caller, inside [`paused`]. The wall clock shows [`START`] and goes on with tokio's; jitter
/// comes out the same each time.
///
/// # Errors
/// As for [`Builder::start`].
pub async fn start_here(builder: Builder) -> Result<Hookmill, StartError> {
    builder.start_here(Clock::anchored(START)).await
}

/// A wall clock that a test sets, as an operator or a time service would. It goes on with tokio's clock between.
#[derive(Clone, Copy, Debug)]
pub struct WallClock(&'static AtomicI64);

impl WallClock {
    /// Sets it so many milliseconds ahead, or back.
    pub fn jump(self, millis: i64) {
        self.0.fetch_add(millis, Ordering::AcqRel);
    }
}

/// The same as [`start_here`], with a wall clock that can be set.
///
/// # Errors
/// As for [`Builder::start`].
pub async fn start_with_wall_clock(builder: Builder) -> Result<(Hookmill, WallClock), StartError> {
    // As long as the test: a clock is copied to every part.
    let offset: &'static AtomicI64 = Box::leak(Box::default());
    let hooks = builder.start_here(Clock::set(START, offset)).await?;
    Ok((hooks, WallClock(offset)))
}

/// The store of a running Hookmill, to look at.
pub fn store(hooks: &Hookmill) -> Arc<dyn Store> {
    Arc::clone(&hooks.0.store)
}

/// Makes the actor that delivers to `endpoint` panic, as a bug would. Tells whether there was one; an endpoint that never
/// had an event has none.
pub async fn kill_delivery(hooks: &Hookmill, endpoint: EndpointKey) -> bool {
    hooks.0.dispatcher.send(Kill(endpoint)).await.unwrap_or(false)
}

/// How many endpoints have an actor that delivers to them: those that have, or had a moment ago, something to do.
pub async fn deliveries(hooks: &Hookmill) -> usize {
    hooks.0.dispatcher.send(Count).await.unwrap_or_default()
}

/// How an attempt goes.
#[derive(Clone, Debug)]
#[must_use]
pub struct Script {
    after: Duration,
    end: End,
}

#[derive(Clone, Debug)]
enum End {
    Answer(Answer),
    Hang,
    Stuck,
    Panic,
}

impl Script {
    fn new(end: End) -> Self {
        Self { after: Duration::ZERO, end }
    }

    /// The receiver answers with this status and an empty body.
    pub fn status(status: u16) -> Self {
        Self::new(End::Answer(Ok(Response::new(status).into())))
    }

    /// The receiver answers with this status and body.
    pub fn answers(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(End::Answer(Ok(Response { body: body.into(), ..Response::new(status) }.into())))
    }

    /// The same under this content type.
    pub fn called(mut self, content_type: &str) -> Self {
        if let End::Answer(Ok(crate::transport::Reply::Response(response))) = &mut self.end {
            response.content_type = Some(content_type.to_owned());
        }
        self
    }

    /// The receiver answers with this status and asks to be left alone.
    pub fn asks(status: u16, retry_after: RetryAfter) -> Self {
        let retry_after = Some(retry_after);
        Self::new(End::Answer(Ok(Response { retry_after, ..Response::new(status) }.into())))
    }

    /// There is no answer.
    pub fn fails(kind: FailureKind) -> Self {
        Self::new(End::Answer(Err(Failure::new(kind, "so the script says"))))
    }

    /// The receiver takes the request and never answers: a timeout, when the endpoint's has passed.
    pub fn hangs() -> Self {
        Self::new(End::Hang)
    }

    /// The attempt never ends, not even by the endpoint's timeout: a transport that breaks its contract.
    pub fn stuck() -> Self {
        Self::new(End::Stuck)
    }

    /// The transport panics.
    pub fn panics() -> Self {
        Self::new(End::Panic)
    }

    /// The end comes this much later, or as a timeout when the endpoint's passes before.
    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

/// An attempt that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// To which endpoint.
    pub endpoint: EndpointId,
    /// Where the endpoint was then; `None` for a file.
    pub url: Option<Url>,
    /// Which event; of a batch, the first.
    pub event: EventId,
    /// The event's place among all events.
    pub seq: u64,
    /// The places of all its events, in the order of the body.
    pub seqs: Vec<u64>,
    /// Which attempt of its delivery, from 1.
    pub number: u32,
    /// When it started, on tokio's clock since the transport was made.
    pub at: Mono,
    /// When it ended: with an answer, by a panic, or cut off.
    pub ended: Option<Mono>,
    /// Attempts to this endpoint that were being made when it had started, itself among them.
    pub in_flight: usize,
}

/// A [`Transport`] whose answers follow a script, and which keeps a log of the attempts. Clones share both. Endpoints that are
/// files do not come here: they are written, in real time.
#[derive(Clone)]
pub struct ScriptedTransport(Arc<Shared>);

struct Shared {
    script: Box<dyn Fn(&Attempt) -> Script + Send + Sync>,
    clock: Clock,
    log: Mutex<Vec<Made>>,
    changes: watch::Sender<()>,
}

impl ScriptedTransport {
    /// A transport that asks `script` how each attempt goes. Its clock starts now: make it inside [`paused`].
    pub fn new(script: impl Fn(&Attempt) -> Script + Send + Sync + 'static) -> Self {
        let (changes, _) = watch::channel(());
        let log = Mutex::new(Vec::new());
        Self(Arc::new(Shared { script: Box::new(script), clock: Clock::system(), log, changes }))
    }

    /// For [`Builder::transport`]: every delivering thread gets a clone.
    pub fn factory(&self) -> impl Fn() -> Self + Send + Sync + 'static + use<> {
        let transport = self.clone();
        move || transport.clone()
    }

    /// The attempts so far, in the order of their starts.
    pub fn made(&self) -> Vec<Made> {
        self.0.log().clone()
    }

    /// The attempts, as soon as `enough` holds for them; looks whenever one starts or ends.
    pub async fn until(&self, enough: impl Fn(&[Made]) -> bool) -> Vec<Made> {
        let mut changes = self.0.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(made) = self.made_if(&enough) {
                return made;
            }
            // The other end of the channel is in `self`.
            let _never_closed = changes.changed().await;
        }
    }

    fn made_if(&self, enough: impl Fn(&[Made]) -> bool) -> Option<Vec<Made>> {
        let made = self.0.log();
        enough(&made).then(|| made.clone())
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Vec<Made>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn started(self: &Arc<Self>, attempt: &Attempt) -> Running {
        let mut log = self.log();
        let Attempt { events, endpoint, number, .. } = attempt;
        let beside = log.iter().filter(|made| made.ended.is_none() && made.endpoint == endpoint.id).count();
        log.push(Made {
            endpoint: endpoint.id.clone(),
            url: endpoint.settings.target.url().cloned(),
            event: attempt.event().id.clone(),
            seq: attempt.event().seq,
            seqs: events.iter().map(|event| event.seq).collect(),
            number: *number,
            at: self.clock.now().mono,
            ended: None,
            in_flight: beside + 1,
        });
        let place = log.len() - 1;
        drop(log);
        self.changes.send_replace(());
        Running { shared: Arc::clone(self), place }
    }
}

/// Notes the end of an attempt, whatever it is.
struct Running {
    shared: Arc<Shared>,
    place: usize,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(made) = self.shared.log().get_mut(self.place) {
            made.ended = Some(self.shared.clock.now().mono);
        }
        self.shared.changes.send_replace(());
    }
}

impl Transport for ScriptedTransport {
    fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer> {
        let running = self.0.started(&attempt);
        let script = (self.0.script)(&attempt);
        let timeout = attempt.endpoint.settings.policy.timeout;
        async move {
            let _running = running;
            play(script, timeout).await
        }
        .boxed_local()
    }
}

async fn play(Script { after, end }: Script, timeout: Duration) -> Answer {
    if matches!(end, End::Hang) || after >= timeout {
        tokio::time::sleep(timeout).await;
        return Err(Failure::new(FailureKind::Timeout, "no answer in time"));
    }
    if !after.is_zero() {
        tokio::time::sleep(after).await;
    }
    match end {
        End::Answer(answer) => answer,
        End::Hang | End::Stuck => pending().await,
        #[expect(clippy::panic, reason = "the script asks for it")]
        End::Panic => panic!("so the script says"),
    }
}
