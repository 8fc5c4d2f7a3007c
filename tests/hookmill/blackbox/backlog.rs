//! A long outage costs disk, not memory, and no event.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures_util::{FutureExt, future::LocalBoxFuture};
use hookmill::{
    Endpoint, Event, Hookmill, PublishError,
    transport::{Answer, Attempt, Failure, FailureKind, Response, Transport},
};
use serde_json::json;

use super::{PATIENCE, until};

const EVENTS: u64 = 50_000;
const GROUP: u64 = 1_000;
/// What the windows of all endpoints may hold together.
const BUDGET: usize = 64 << 20;

/// An endpoint that is dead until it is up.
#[derive(Clone, Default)]
struct Receiver {
    up: Arc<AtomicBool>,
    received: Arc<AtomicUsize>,
}

impl Transport for Receiver {
    fn send(&self, _: Attempt) -> LocalBoxFuture<'static, Answer> {
        let Self { up, received } = self.clone();
        async move {
            if !up.load(Ordering::Acquire) {
                return Err(Failure { kind: FailureKind::Connect, detail: "nobody listens".to_owned(), peer: None });
            }
            received.fetch_add(1, Ordering::AcqRel);
            Ok(Response::new(200).into())
        }
        .boxed_local()
    }
}

async fn publish(hooks: &Hookmill, first: u64) {
    let data = "x".repeat(2 << 10);
    let event = |number: u64| Event::new("a.b", &json!([number, data])).unwrap().id(format!("event-{number}"));
    let mut events: Vec<_> = (first..first + GROUP).map(event).collect();
    loop {
        match hooks.publish_all(events).await {
            Ok(_) => return,
            // The intake is bounded: whoever is faster than the disk comes again.
            Err(PublishError::Overloaded { events: back, .. }) => events = back,
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[test]
fn fifty_thousand_pending_events_for_a_dead_endpoint() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = Receiver::default();
    let transport = receiver.clone();
    let endpoint = Endpoint::http("dead", "https://dead.example/").unsigned().settings(json!({
        "retry": {"initial": "50ms", "factor": 1.0, "max_delay": "50ms", "max_attempts": 10_000, "jitter": 0.0},
        "breaker": {"cooldown": "50ms", "max_cooldown": "100ms"},
    }));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let start =
        Hookmill::builder().data_dir(dir.path()).endpoint(endpoint).transport(move || transport.clone()).start();
    let hooks = runtime.block_on(start).unwrap();
    let within_budget = || {
        let used = hooks.window_bytes();
        assert!(used <= BUDGET, "{used} bytes in windows");
    };
    for first in (0..EVENTS).step_by(GROUP as usize) {
        runtime.block_on(publish(&hooks, first));
        within_budget();
    }
    let look = || {
        within_budget();
        let totals = runtime.block_on(hooks.stats()).unwrap();
        assert!(totals.add_up(), "{totals:?}");
        totals
    };
    let totals = until("all are routed", PATIENCE, || Some(look()).filter(|totals| totals.unrouted == 0));
    assert_eq!(totals.deliveries.pending + totals.deliveries.in_flight, EVENTS, "{totals:?}");
    receiver.up.store(true, Ordering::Release);
    let totals = until("all are delivered", PATIENCE * 3, || {
        Some(look()).filter(|totals| totals.deliveries.pending + totals.deliveries.in_flight == 0)
    });
    assert_eq!(totals.deliveries.delivered, EVENTS, "{totals:?}");
    assert_eq!(receiver.received.load(Ordering::Acquire) as u64, EVENTS, "each once");
    runtime.block_on(hooks.shutdown(PATIENCE));
}
