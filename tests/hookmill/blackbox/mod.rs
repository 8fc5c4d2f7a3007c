//! The real binary over real sockets and a real disk, held to its promises by clients and receivers that share no code
//! with it.

#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "another process does not run on our clock")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "shown when a test fails")]

mod backlog;
mod batches;
mod bench;
mod chains;
mod commands;
mod config;
mod confirmed;
mod conservation;
mod debounce;
mod doors;
mod drain;
mod faults;
mod files;
mod framing;
mod guarding;
mod http;
mod isolation;
mod jobs;
mod lifecycle;
mod log;
mod process;
mod raw;
pub(super) mod receiver;
mod refusals;
mod sealing;
pub(super) mod secrets;
mod server;
mod signing;
mod tls;
mod tokens;
mod unread;

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use http::Client;

/// How long anything may take that must happen: far longer than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` sees something; panics with `what` was waited for when that takes too long.
fn until<T>(what: &str, deadline: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {path} in {value}"))
}

/// The sums, which add up.
fn sums(client: &mut Client) -> Value {
    let stats = client.get("/v1/stats");
    let sum = |names: &[&str]| names.iter().map(|name| number(&stats, name)).sum::<u64>();
    let judged = sum(&["/unmatched", "/suppressed", "/coalesced", "/debouncing", "/unrouted", "/routed"]);
    assert_eq!(number(&stats, "/accepted"), judged, "{stats}");
    let dropped: u64 = stats["deliveries"]["dropped"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    let states = ["pending", "in_flight", "delivered", "suppressed", "dead_lettered", "abandoned"];
    let states: u64 = states.iter().map(|state| number(&stats, &format!("/deliveries/{state}"))).sum();
    let made = sum(&["/deliveries/created", "/deliveries/replayed"]);
    assert_eq!(made, states + dropped, "{stats}");
    stats
}

/// What waits, in all stages together.
fn waiting(stats: &Value) -> u64 {
    ["/unrouted", "/debouncing", "/deliveries/pending", "/deliveries/in_flight"]
        .iter()
        .map(|name| number(stats, name))
        .sum()
}

/// The sums once nothing waits any more.
fn settled(client: &mut Client) -> Value {
    until("everything is settled", PATIENCE, || Some(sums(client)).filter(|stats| waiting(stats) == 0))
}

/// Everything that a list holds, page by page.
fn list(client: &mut Client, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let joint = if path.contains('?') { '&' } else { '?' };
        let page = client.get(&format!("{path}{joint}limit=250{cursor}"));
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}
