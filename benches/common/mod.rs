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

pub mod process;
#[cfg(feature = "api")]
pub mod raw;
#[cfg(feature = "sqlite")]
pub mod stage;
#[cfg(feature = "api")]
#[path = "../../src/cli/bench/wire.rs"]
mod wire;

use std::{
    env,
    path::Path,
    sync::{Arc, Mutex},
};

use hookmill::{
    Accepted, Clock, Event, Timestamp,
    store::{Store, Submission, memory::MemoryStore},
};

/// What events are about, where it does not matter.
pub const TOPIC: &str = "bench.order";

/// How many events a benchmark works with: `HOOKMILL_BENCH_EVENTS`, or what is usual for it.
pub fn events_wanted(usual: usize) -> usize {
    env::var("HOOKMILL_BENCH_EVENTS").map_or(usual, |text| text.parse().unwrap())
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
