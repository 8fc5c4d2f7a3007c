//! What the benchmarks share.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark ends when something is wrong, reads the clock, and uses a part of what is shared"
)]

#[cfg(feature = "sqlite")]
pub mod configured;
pub mod process;
#[cfg(feature = "api")]
pub mod raw;
#[cfg(feature = "sqlite")]
pub mod stage;
pub mod taker;
pub mod times;
#[cfg(feature = "api")]
#[path = "../../src/cli/bench/wire.rs"]
mod wire;

use std::{
    cell::Cell,
    env,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use hookmill::{
    Acceptance, Accepted, Clock, Event, Hookmill, PublishError, Timestamp,
    store::{Store, Submission, Totals, memory::MemoryStore},
};

/// What events are about, where it does not matter.
pub const TOPIC: &str = "bench.order";

/// How many events a benchmark works with: `HOOKMILL_BENCH_EVENTS`, or what is usual for it.
pub fn events_wanted(usual: usize) -> usize {
    env::var("HOOKMILL_BENCH_EVENTS").map_or(usual, |text| text.parse().unwrap())
}

/// How many seconds a benchmark takes that watches something over time: `HOOKMILL_BENCH_SECONDS`, or what is usual for it.
pub fn seconds_wanted(usual: u64) -> u64 {
    env::var("HOOKMILL_BENCH_SECONDS").map_or(usual, |text| text.parse().unwrap())
}

/// 1 KiB of JSON.
pub fn payload() -> String {
    let (head, tail) = (r#"{"order":4711,"state":"paid","lines":["#, r#""last"]}"#);
    let line = r#""0123456789abcdef","#;
    let room = 1024 - head.len() - tail.len();
    let lines = line.repeat(room / line.len());
    let padding = " ".repeat(room - lines.len());
    format!("{head}{lines}{padding}{tail}")
}

/// An event of 1 KiB that is given its id when it is accepted.
pub fn event() -> Event {
    Event::from_json(TOPIC, payload())
}

/// How long somebody who was turned away waits.
const AGAIN: Duration = Duration::from_millis(2);

/// Publishes so many events from so many tasks, each of which waits for its event to be accepted before it publishes the next.
pub async fn publish(hooks: &Hookmill, tasks: usize, events: usize, event: impl Fn(usize) -> Event) {
    let next = Cell::new(0);
    let publisher = async || {
        while next.get() < events {
            let index = next.replace(next.get() + 1);
            publish_one(hooks, event(index), AGAIN).await;
        }
    };
    join_all((0..tasks).map(|_| publisher())).await;
}

/// Publishes an event; as long as it is turned away, again after `pause`. Tells how often it was.
pub async fn publish_one(hooks: &Hookmill, mut event: Event, pause: Duration) -> (Acceptance, usize) {
    let mut refused = 0;
    loop {
        match hooks.publish(event).await {
            Ok(accepted) => return (accepted, refused),
            Err(error @ (PublishError::Overloaded { .. } | PublishError::Quota { .. })) => {
                event = error.into_event().unwrap();
            }
            Err(error) => panic!("{error}"),
        }
        refused += 1;
        tokio::time::sleep(pause).await;
    }
}

/// Publishes events together, again as long as they are turned away.
pub async fn publish_group(hooks: &Hookmill, mut group: Vec<Event>) {
    loop {
        match hooks.publish_all(group).await {
            Ok(_) => return,
            Err(PublishError::Overloaded { events, .. } | PublishError::Quota { events, .. }) => group = events,
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Publishes so many events in groups.
pub async fn publish_groups(hooks: &Hookmill, events: usize, event: impl Fn(usize) -> Event) {
    for first in (0..events).step_by(GROUP) {
        publish_group(hooks, (first..events.min(first + GROUP)).map(&event).collect()).await;
    }
}

/// Events published together.
pub const GROUP: usize = 500;

/// The sums once they are as expected, or once nothing more is to be hoped for.
pub async fn totals_when(hooks: &Hookmill, expected: impl Fn(&Totals) -> bool) -> Totals {
    let start = Instant::now();
    loop {
        let totals = hooks.stats().await.unwrap();
        if expected(&totals) || start.elapsed() > Duration::from_secs(20) {
            return totals;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A directory on a real disk, where a sync is one; gone when dropped.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Bytes of everything in a directory, which holds no other directory.
pub fn bytes_in(dir: &Path) -> u64 {
    dir.read_dir().unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

/// An accepted event, as a store makes it.
pub fn accept(event: &Event) -> Accepted {
    let store = MemoryStore::new(Clock::system());
    let accepted = Arc::new(Mutex::new(None));
    let sink = Arc::clone(&accepted);
    store.connect(Box::new(move |admitted| {
        *sink.lock().unwrap() = admitted.into_iter().next().map(|one| Accepted::clone(&one.event));
    }));
    let event = event.validate(Timestamp::default()).unwrap();
    store.append(vec![Submission { event, permit: None }], tokio::sync::oneshot::channel().0);
    let taken = accepted.lock().unwrap().take();
    taken.unwrap()
}
