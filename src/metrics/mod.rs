//! What is counted in memory, and how it is written for Prometheus. Serves every part, and knows none.
//!
//! Here is only what the store does not keep: how long things took, what was refused. What became of events and deliveries is
//! read from the totals, and is right after a restart too. There is no recorder of the process: each Hookmill has its own.

mod http;
mod instruments;
pub mod process;
pub mod text;

use std::sync::atomic::{AtomicU64, Ordering};

pub use http::{Http, Route};
pub use instruments::{Histogram, Tally};

/// Classes that attempts end in.
const OUTCOMES: [&str; 16] = [
    "2xx",
    "3xx",
    "4xx",
    "5xx",
    "429",
    "timeout",
    "dns",
    "connect",
    "tls",
    "blocked",
    "file",
    "protocol",
    "internal",
    "unrenderable",
    "shortage",
    "written",
];
/// Why events were refused.
const REFUSALS: [&str; 7] = ["invalid", "conflict", "overloaded", "quota", "store_full", "store_failed", "closed"];
/// What an address was that the guard refused.
const GUARDED: [&str; 6] = ["metadata", "link_local", "loopback", "not_global", "own_server", "not_https"];
/// What came of a host's own fields for an event.
const ENRICHED: [&str; 5] = ["added", "nothing", "timeout", "panic", "too_large"];
/// What came of telling something to those who listen.
const RAISED: [&str; 2] = ["raised", "refused"];
/// What came of invocations of chains.
const CHAINS: [&str; 3] = ["finished", "failed", "abandoned"];
const ACTORS: [&str; 1] = ["delivery"];

/// Microseconds: from a receiver next door to one that takes all its time.
const EXCHANGES: &[u64] = &[
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000,
];
/// Microseconds: from at once to the end of a long outage.
const LATENCIES: &[u64] = &[
    1_000,
    5_000,
    10_000,
    50_000,
    100_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    300_000_000,
    3_600_000_000,
    86_400_000_000,
];
const LATENESS: &[u64] = &[1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 1_000_000, 10_000_000, 60_000_000];

/// What one Hookmill counts in memory, since its start.
#[derive(Debug)]
pub struct Metrics {
    /// Events that were refused, by reason.
    pub rejected: Tally,
    /// Attempts that have ended, by outcome.
    pub attempts: Tally,
    /// How long attempts took.
    pub attempt_duration: Histogram,
    /// From the acceptance of an event to its delivery by the first attempt.
    pub first_latency: Histogram,
    /// The same by a later attempt.
    pub later_latency: Histogram,
    /// How much later than due retries start, whatever kept them.
    pub retry_lateness: Histogram,
    /// Connections that the guard refused, by what the address was.
    pub blocked: Tally,
    /// Actors that died and were started again.
    pub restarts: Tally,
    /// Calls of a host's hooks for events, by result.
    pub enriched: Tally,
    /// Operational events that somebody listens to.
    pub operational: Tally,
    /// Invocations of chains that have ended, by result.
    pub chains: Tally,
    /// Calls of the HTTP API.
    pub http: Http,
    /// Events that passed a stream by.
    pub streams_missed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            rejected: Tally::of(&REFUSALS),
            attempts: Tally::of(&OUTCOMES),
            attempt_duration: Histogram::seconds(EXCHANGES),
            first_latency: Histogram::seconds(LATENCIES),
            later_latency: Histogram::seconds(LATENCIES),
            retry_lateness: Histogram::seconds(LATENESS),
            blocked: Tally::of(&GUARDED),
            restarts: Tally::of(&ACTORS),
            enriched: Tally::of(&ENRICHED),
            operational: Tally::of(&RAISED),
            chains: Tally::of(&CHAINS),
            http: Http::default(),
            streams_missed: Counter::default(),
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts one more.
    pub fn one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

const STORE_OPS: [&str; 4] = ["commit", "read", "page", "checkpoint"];
/// Microseconds: from a fast disk to one that is about to fail.
const COMMITS: &[u64] =
    &[100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000];
const GROUPS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 5_000, 10_000];

/// What a store that writes to a disk counts.
#[derive(Debug)]
pub struct StoreMetrics {
    /// How long transactions took, with their sync.
    pub commit_duration: Histogram,
    /// How many events one transaction accepted, of those that accepted any.
    pub commit_events: Histogram,
    /// What failed, by operation.
    pub errors: Tally,
}

impl Default for StoreMetrics {
    fn default() -> Self {
        Self {
            commit_duration: Histogram::seconds(COMMITS),
            commit_events: Histogram::of(GROUPS),
            errors: Tally::of(&STORE_OPS),
        }
    }
}
