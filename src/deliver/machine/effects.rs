//! What goes into a machine at its start, and what comes out of it.

use std::{sync::Arc, time::Duration};

use serde::Serialize;

use crate::{
    clock::Timestamp,
    deliver::breaker::{Shown, Transition},
    endpoint::{EndpointKey, State, policy::Policy},
    event::Accepted,
    quota::{Portion, Quota},
    store::{BreakerRecord, Next, PageRequest, Settlement},
};

/// What is to be done.
#[derive(Debug)]
pub enum Effect {
    /// Make an attempt; its end is told to [`Machine::finished`](super::Machine::finished) with the same ticket.
    Send(Start),
    /// Write down what became of a delivery.
    Settle(Settlement),
    /// The same for those of one request, which are kept or forgotten together.
    SettleBatch(Vec<Settlement>),
    /// A delivery has come to its end, which has been settled: for those who watch.
    Ended(Ended),
    /// Read from the store; the answer is told to [`Machine::loaded`](super::Machine::loaded).
    Page(PageRequest),
    /// The breaker changed, or since when the endpoint fails: write it down.
    Breaker(Option<Transition>, BreakerRecord),
    /// The endpoint is to be disabled.
    Disable(Disabled),
}

/// Why an endpoint is disabled without its user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disabled {
    /// It answered 410 Gone.
    Gone,
    /// It failed for `disable_after` without one success.
    Failing,
}

impl Disabled {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Failing => "failing",
        }
    }
}

/// A delivery that has come to its end.
#[derive(Debug)]
pub struct Ended {
    /// What was to be delivered.
    pub event: Arc<Accepted>,
    /// The run.
    pub run: u32,
    /// When the delivery was made.
    pub created_at: Timestamp,
    /// Attempts that were made.
    pub attempts: u32,
    /// What it came to.
    pub end: Next,
    /// The status of the answer that decided it, if one did.
    pub status: Option<u16>,
    /// What went wrong with the attempt that decided it, for people.
    pub error: Option<String>,
}

/// An attempt to be made.
#[derive(Debug)]
pub struct Start {
    /// Names the attempt within this machine.
    pub ticket: u64,
    /// What to deliver, in order; never empty.
    pub events: Vec<Arc<Accepted>>,
    /// The run of each.
    pub runs: Vec<u32>,
    /// Which attempt of this delivery, from 1; of a batch, of its first.
    pub number: u32,
    /// How much later than due it starts; `None` when it was due at once.
    pub late: Option<Duration>,
}

impl Start {
    /// The first of its events.
    #[expect(clippy::indexing_slicing, reason = "never empty")]
    pub fn event(&self) -> &Arc<Accepted> {
        &self.events[0]
    }
}

/// What a machine shares with others.
#[derive(Clone, Debug)]
pub struct Bounds {
    /// Bytes of events in all windows.
    pub window_bytes: Arc<Quota>,
    /// Attempts in flight, shared by tenants and their endpoints; each endpoint's first is exempt.
    pub in_flight: Portion,
}

/// How a machine stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// The breaker.
    pub breaker: Shown,
    /// Until when it is open.
    pub breaker_open_until: Option<Timestamp>,
    /// Since when it is open, or when it last closed.
    pub breaker_since: Option<Timestamp>,
    /// Deliveries being attempted.
    pub in_flight: usize,
    /// Deliveries in memory: fresh ones.
    pub window_fresh: usize,
    /// Deliveries in memory that wait for a retry.
    pub window_retries: usize,
    /// Whether more wait in the store.
    pub more_in_store: bool,
    /// When the next attempt is due; `None` when nothing waits or something else must happen first.
    pub next_attempt_at: Option<Timestamp>,
    /// Since when every attempt has failed.
    pub failing_since: Option<Timestamp>,
    /// When an attempt last succeeded, since the start.
    pub last_success_at: Option<Timestamp>,
}

impl Snapshot {
    /// Of an endpoint that has nothing to do, and no machine.
    pub fn at_rest(breaker: BreakerRecord, last_success_at: Option<Timestamp>) -> Self {
        Self {
            breaker: if breaker.open_until.is_some() { Shown::Open } else { Shown::Closed },
            breaker_open_until: breaker.open_until,
            breaker_since: breaker.since,
            in_flight: 0,
            window_fresh: 0,
            window_retries: 0,
            more_in_store: false,
            next_attempt_at: None,
            failing_since: breaker.failing_since,
            last_success_at,
        }
    }
}

/// What a machine starts from.
#[derive(Debug)]
pub struct Origin {
    /// The endpoint's number.
    pub endpoint: EndpointKey,
    /// Its settings.
    pub policy: Arc<Policy>,
    /// Whether it takes events.
    pub state: State,
    /// How its breaker stood.
    pub breaker: BreakerRecord,
    /// Whether it has deliveries in the store.
    pub stored: bool,
    /// When an attempt last succeeded.
    pub last_success_at: Option<Timestamp>,
    /// For the jitter.
    pub seed: u64,
}
