//! The shapes that go into a store and come out of it.

use std::{collections::BTreeSet, fmt, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use super::{DeadReason, Debounced, DropReason, HeldDelivery, Peer, WindowChange};
use crate::{
    clock::Timestamp,
    config::duration,
    endpoint::{EndpointId, EndpointKey, queue::QueuePolicy},
    event::{Accepted, NameError, Tenant, Topic, TopicPattern},
    intake::Permit,
};

/// How long events and the outcomes of their deliveries are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events: their payload, and with it duplicates being recognised. 7 days by default. Those with a pending delivery or a
    /// dead letter that was not replayed stay.
    pub events: Duration,
    /// Outcomes and attempts, and jobs that have ended. 30 days by default. Pending deliveries and dead letters that were not
    /// replayed stay. Not shorter than `events`.
    pub outcomes: Duration,
}

impl Retention {
    /// What is wrong with `outcomes`, if anything is.
    pub(crate) fn mistake(&self) -> Option<String> {
        let shorter = self.outcomes < self.events;
        shorter.then(|| format!("must not be shorter than `events`, {}", duration::print(self.events)))
    }
}

impl Default for Retention {
    fn default() -> Self {
        let days = |days: u64| Duration::from_secs(days * 24 * 3600);
        Self { events: days(7), outcomes: days(30) }
    }
}

/// Names one delivery: an event, an endpoint, and a run (0 at first, one more with each replay).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId {
    /// The event's seq.
    pub seq: u64,
    /// The endpoint's number.
    pub endpoint: EndpointKey,
    /// The run.
    pub run: u32,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dlv_{}-{}-{}", self.seq, self.endpoint.0, self.run)
    }
}

impl FromStr for DeliveryId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parse = || {
            let mut parts = text.strip_prefix("dlv_")?.splitn(3, '-');
            let seq = parts.next()?.parse().ok()?;
            let endpoint = EndpointKey(parts.next()?.parse().ok()?);
            let run = parts.next()?.parse().ok()?;
            let id = Self { seq, endpoint, run };
            (id.to_string() == text).then_some(id)
        };
        parse().ok_or(NameError("is not the id of a delivery"))
    }
}

impl Serialize for DeliveryId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The pipeline's judgement on one event.
#[derive(Debug)]
pub struct Verdict {
    /// The event.
    pub event: Arc<Accepted>,
    /// What becomes of it.
    pub ruling: Ruling,
    /// What else debouncing changed by it.
    pub debounced: Debounced,
    /// Of an event that was held: when that ended.
    pub released_at: Option<Timestamp>,
    /// Returned when the verdict has been written.
    pub permit: Option<Permit>,
}

/// What becomes of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// No endpoint wants it.
    Unmatched,
    /// A debounce rule suppressed it for everybody.
    Suppressed,
    /// A debounce rule holds it: another verdict on it follows, or one on an event that replaces it.
    Held,
    /// These endpoints get it; never empty.
    Routed(Vec<Target>),
}

/// One endpoint that an event is routed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// What becomes of the delivery.
    pub disposition: Disposition,
    /// How much may wait for it.
    pub queue: QueuePolicy,
    /// How many of its key the endpoint did not get since the last that it did; beside what the event itself carries.
    pub suppressed: u64,
}

/// What becomes of a delivery when it is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Disposition {
    /// It is delivered.
    #[default]
    Deliver,
    /// It is dropped at once, for this reason.
    Drop(DropReason),
    /// The endpoint's own debounce suppresses it.
    Suppress,
    /// The endpoint's own debounce holds it: it is pending, and on no page until it is released.
    Hold,
}

impl Disposition {
    /// Whether it makes a delivery that waits.
    pub(super) fn waits(self) -> bool {
        matches!(self, Self::Deliver | Self::Hold)
    }

    /// The same where what is to be delivered to the endpoint is dropped, if there is a reason for that.
    pub(super) fn or_drop(self, dropping: Option<DropReason>) -> Self {
        match (self, dropping) {
            (Self::Deliver | Self::Hold, Some(reason)) => Self::Drop(reason),
            _ => self,
        }
    }
}

/// What became of a delivery, with the attempt that decided it.
#[derive(Clone, Debug, PartialEq)]
pub struct Settlement {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The attempt; `None` when none was made, such as for one that grew too old while it waited.
    pub attempt: Option<AttemptRecord>,
    /// Attempts so far that count against the endpoint's limit.
    pub spent: u32,
    /// What comes next.
    pub next: Next,
    /// When this was decided.
    pub at: Timestamp,
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it was delivered.
    Delivered,
    /// Another attempt.
    Retry {
        /// Not before this.
        due: Timestamp,
        /// The receiver asked for this time: the end of an outage does not bring it forward.
        asked: bool,
    },
    /// Nothing: it is a dead letter.
    DeadLettered(DeadReason),
    /// Nothing: it is given up.
    Dropped(DropReason),
}

/// One attempt as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRecord {
    /// Which attempt of its delivery, from 1.
    pub number: u32,
    /// When it started.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// The outcome's class: `2xx`, `5xx`, `timeout`, `written`, …
    pub outcome: &'static str,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// The beginning of the answer; kept for failures.
    pub response: Bytes,
    /// Whom it reached.
    pub peer: Option<Peer>,
    /// The request that was for several deliveries, where the endpoint has batches. All its attempts have the same error and
    /// response.
    pub batch: Option<Arc<BatchRequest>>,
}

impl AttemptRecord {
    /// Whether the request was for more than this one delivery.
    pub fn is_shared(&self) -> bool {
        self.batch.as_ref().is_some_and(|batch| batch.size > 1)
    }
}

/// One request for several deliveries of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchRequest {
    /// The `webhook-id` it went out with.
    pub id: String,
    /// How many deliveries.
    pub size: u32,
    /// Seq, run and number of the attempt of its first delivery: no two requests of an endpoint have the same.
    pub name: (u64, u32, u32),
    /// The seq of its last delivery.
    pub last: u64,
}

/// How an endpoint's breaker stands, for the next start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BreakerRecord {
    /// Open until this moment; `None` when closed.
    pub open_until: Option<Timestamp>,
    /// The cooldown in force.
    pub cooldown: Duration,
    /// Since when it is open, or when it last closed.
    pub since: Option<Timestamp>,
    /// Since when every attempt has failed.
    pub failing_since: Option<Timestamp>,
}

/// Asks for pending deliveries of one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// Where to start and in which order.
    pub cursor: Cursor,
    /// At most this many; one, if there is any, even for 0.
    pub items: usize,
    /// No further one after this many bytes of events; at least one, if there is any.
    pub bytes: usize,
}

/// A place among the pending deliveries of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// Those that have never been retried, by (seq, run), from above this one.
    Fresh(Option<(u64, u32)>),
    /// Those with a due time, by (due, seq, run), from this due time on; with `after`, from above (`from`, `after`).
    Retries {
        /// The earliest due time.
        from: Timestamp,
        /// The (seq, run) of the last one had, whose due time is `from`.
        after: Option<(u64, u32)>,
    },
    /// All, by (seq, run), from above this one: strict order.
    InOrder(Option<(u64, u32)>),
    /// The same without those whose events have one of these keys. A page looks at some thousands at most: it may be empty
    /// before the end.
    Keyed {
        /// From above this (seq, run).
        after: Option<(u64, u32)>,
        /// The keys.
        without: BTreeSet<Arc<str>>,
    },
    /// Those whose events have this key, by (seq, run).
    OfKey {
        /// The key.
        key: Arc<str>,
        /// From above this (seq, run).
        after: Option<(u64, u32)>,
    },
}

/// Some pending deliveries.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In the order of the cursor.
    pub rows: Vec<PendingRow>,
    /// Whether there were no more behind these.
    pub end: bool,
    /// The last place that was looked at, where some are left out.
    pub through: Option<(u64, u32)>,
}

/// One pending delivery.
#[derive(Clone, Debug)]
pub struct PendingRow {
    /// What is to be delivered; it carries the count of what this endpoint did not get, too.
    pub event: Arc<Accepted>,
    /// The run.
    pub run: u32,
    /// When its event was accepted; for a replay, when that was asked for.
    pub created_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts so far that count against the endpoint's limit.
    pub spent: u32,
    /// When the last attempt ended.
    pub attempted_at: Option<Timestamp>,
    /// Not before this.
    pub due: Option<Timestamp>,
    /// The receiver asked for this time.
    pub asked: bool,
    /// The status that the last attempt was answered with, if that was one for several deliveries.
    pub batch_status: Option<u16>,
}

/// An endpoint as it is kept; `settings` is JSON.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointRow {
    /// Its number.
    pub key: EndpointKey,
    /// Its id.
    pub id: EndpointId,
    /// Its settings.
    pub settings: String,
    /// Counts its changes, from 1.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Since when it is in its state.
    pub state_since: Timestamp,
    /// Why, where it was not its user who put it there.
    pub state_reason: Option<String>,
}

/// A change of an endpoint.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointChange {
    /// The settings from now on, JSON.
    pub settings: String,
    /// Whether its state is another one now.
    pub state_changed: bool,
    /// Why, where it is not its user who puts it there.
    pub state_reason: Option<String>,
    /// Whether what is pending is dropped, and why.
    pub drop_pending: Option<DropReason>,
}

/// Which pending deliveries to cancel. Every condition given must hold.
#[derive(Clone, Debug, Default)]
pub struct CancelFilter {
    /// Of this endpoint.
    pub endpoint: Option<EndpointKey>,
    /// Of events of these topics.
    pub topic: Option<TopicPattern>,
    /// What this tenant may change: of its events, to its endpoints.
    pub within: Option<Tenant>,
    /// Made before this moment.
    pub until: Option<Timestamp>,
}

/// What of a pending delivery a filter asks for.
pub(super) struct Waiting<'a> {
    pub(super) topic: &'a Topic,
    pub(super) created_at: Timestamp,
    pub(super) tenant: Option<&'a Tenant>,
    /// Whose its endpoint is.
    pub(super) of: Option<&'a Tenant>,
}

impl CancelFilter {
    pub(super) fn matches(&self, waiting: &Waiting<'_>) -> bool {
        self.topic.as_ref().is_none_or(|wanted| wanted.matches(waiting.topic))
            && self.within.as_ref().is_none_or(|tenant| waiting.tenant == Some(tenant) && waiting.of == Some(tenant))
            && self.until.is_none_or(|until| waiting.created_at < until)
    }
}

/// One step of cancelling, through the pending deliveries by (endpoint, seq, run).
#[derive(Clone, Debug, Default)]
pub struct CancelStep {
    /// Which.
    pub filter: CancelFilter,
    /// Only counts.
    pub dry_run: bool,
    /// From above this one on: where the step before ended.
    pub after: Option<DeliveryId>,
}

/// What a step of cancelling came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CancelledStep {
    /// Deliveries found, and dropped unless it was a dry run.
    pub matched: u64,
    /// Endpoints they were for, each once, by key.
    pub endpoints: Vec<EndpointKey>,
    /// Where the next step begins; `None` at the end.
    pub next: Option<DeliveryId>,
}

impl CancelledStep {
    /// Counts one that was found.
    pub(super) fn found(&mut self, endpoint: EndpointKey) {
        self.matched += 1;
        if self.endpoints.last() != Some(&endpoint) {
            self.endpoints.push(endpoint);
        }
    }
}

/// Deliveries that one step of cancelling looks at.
pub(super) const CANCEL_STEP: usize = 500;

/// Deliveries that one page looks at where it leaves some out.
pub(super) const LOOKED_AT: usize = 4096;

/// What came of a replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayOutcome {
    /// This delivery is pending now.
    Replayed(DeliveryId),
    /// There is no such dead letter.
    Unknown,
    /// It was replayed before, as this run.
    Already(u32),
    /// This run is pending already.
    Waiting(u32),
    /// Its endpoint has been deleted or its event has been pruned: there is nobody to deliver to, or nothing.
    Gone,
}

/// What the pipeline starts from.
#[derive(Clone, Default)]
pub struct Loaded {
    /// Breakers that are not as new.
    pub breakers: Vec<(EndpointKey, BreakerRecord)>,
    /// Endpoints with something pending.
    pub pending: Vec<EndpointKey>,
    /// Debounce rules: name and JSON.
    pub rules: Vec<(String, String)>,
    /// Chains: name and JSON, by name.
    pub chains: Vec<(String, String)>,
    /// Debounce windows.
    pub windows: Vec<WindowChange>,
    /// Events that are held, by seq.
    pub held: Vec<Arc<Accepted>>,
    /// Deliveries that are held, by (seq, endpoint).
    pub held_deliveries: Vec<HeldDelivery>,
    /// Every event up to this seq has a recorded verdict.
    pub judged_through: u64,
}

/// Settings hold secrets: they are not shown.
impl fmt::Debug for EndpointRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, id, version, state_reason, .. } = self;
        let mut shown = f.debug_struct("EndpointRow");
        shown.field("key", key).field("id", id).field("version", version).field("state_reason", state_reason);
        shown.finish_non_exhaustive()
    }
}

impl fmt::Debug for EndpointChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { state_changed, state_reason, drop_pending, .. } = self;
        let mut shown = f.debug_struct("EndpointChange");
        shown.field("state_changed", state_changed).field("state_reason", state_reason);
        shown.field("drop_pending", drop_pending).finish_non_exhaustive()
    }
}

/// Chains hold secrets too: only their names are shown.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pending, rules, chains, judged_through, .. } = self;
        let chains: Vec<_> = chains.iter().map(|(name, _)| name).collect();
        let mut shown = f.debug_struct("Loaded");
        shown.field("pending", pending).field("rules", rules).field("chains", &chains);
        shown.field("judged_through", judged_through).finish_non_exhaustive()
    }
}
