//! What is kept: events, deliveries, attempts, totals and configuration.
//!
//! Writes of the pipeline go one way and are grouped: [`Store::append`] makes an event durable before anybody is told that it
//! was accepted, [`Store::record`] and [`Store::settle`] are written behind it. Calls made one after another take effect in
//! that order, and whatever is read or paged sees every write called for before it.

#[cfg(any(feature = "api", feature = "sqlite"))]
mod aead;
#[cfg(any(test, feature = "api", feature = "sqlite"))]
mod caller;
#[cfg(test)]
mod contract;
mod flights;
mod jobs;
#[cfg(feature = "sqlite")]
mod keys;
mod ledger;
mod lists;
pub mod memory;
mod peer;
mod reasons;
mod rows;
#[cfg(feature = "sqlite")]
mod sealing;
mod space;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod tokens;
mod totals;
mod vitals;
mod windows;
mod within;

#[cfg(feature = "api")]
use std::future::ready;
use std::{collections::BTreeMap, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::{
    clock::Timestamp,
    endpoint::{EndpointId, EndpointKey},
    error::StoreError,
    event::{Accepted, EventId, Tenant, ValidEvent},
    intake::Permit,
    metrics::StoreMetrics,
};
#[cfg(any(feature = "api", feature = "sqlite"))]
pub use aead::SealingKey;
#[cfg(any(test, feature = "sqlite"))]
pub(crate) use caller::caller;
#[cfg(any(test, feature = "api"))]
pub(crate) use caller::on_behalf_of;
pub use flights::{Flight, Flights};
pub use jobs::*;
#[cfg(feature = "sqlite")]
pub use keys::SecretKeys;
pub use lists::*;
pub use peer::Peer;
pub use reasons::*;
pub use rows::*;
pub use space::*;
pub use tokens::*;
pub use totals::*;
pub use vitals::*;
pub use windows::*;
pub(crate) use within::lies_in;

/// What a call answers, later.
pub type Reply<T> = BoxFuture<'static, Result<T, StoreError>>;

/// An event at the door, with its place in the intake.
#[derive(Debug)]
pub struct Submission {
    /// The event.
    pub event: ValidEvent,
    /// Returned when the verdict on the event is recorded; `None` for events that nobody waits for.
    pub permit: Option<Permit>,
}

/// An accepted event on its way through the pipeline, with its place in the intake.
#[derive(Debug)]
pub struct Admitted {
    /// The event.
    pub event: Arc<Accepted>,
    /// Returned when the verdict on the event is recorded.
    pub permit: Option<Permit>,
}

/// What became of one published event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The event's id.
    pub id: EventId,
    /// Its place in the order of all events; that of the first acceptance for a duplicate.
    pub seq: u64,
    /// Whether the event had been accepted before: then nothing new happened.
    pub duplicate: bool,
}

/// Why a group of events was not accepted; none of them was.
#[derive(Clone, Debug)]
pub enum AppendError {
    /// The event at `index` has the id of an event with another topic, key or data.
    Conflict {
        /// The id.
        id: EventId,
        /// Position in the group.
        index: usize,
    },
    /// The store failed.
    Store(StoreError),
}

/// Where the answer to an append goes.
pub type AppendReply = oneshot::Sender<Result<Vec<Receipt>, AppendError>>;

/// Called with newly accepted events, in the order of their seqs and never twice at a time, before their publishers are told.
pub type AcceptedSink = Box<dyn Fn(Vec<Admitted>) + Send + Sync>;

/// Called with deliveries that were dropped because their endpoint's queue was full, once that is written.
pub type FullSink = Box<dyn Fn(Vec<DeliveryId>) + Send + Sync>;

/// Where a page goes; called on a thread of the store's choice.
pub type PageReply = Box<dyn FnOnce(Result<Page, StoreError>) + Send>;

/// The store of one Hookmill.
pub trait Store: Send + Sync {
    /// Whether what it accepted survives a crash.
    fn durable(&self) -> bool;

    /// Whether it can write at this time. While it cannot, no attempt may start: its outcome could not be kept.
    fn writable(&self) -> bool;

    /// Names where accepted events go. Called once, before the first append.
    fn connect(&self, sink: AcceptedSink);

    /// Names where it is seen what is in flight, and who is told of what a full queue had to drop. Called once, before the
    /// first verdict.
    fn watch_queues(&self, flights: Arc<Flights>, sink: FullSink);

    /// Accepts a group of events, all or none. An id that is taken (per tenant) by an event with the same topic, key and data
    /// answers that one's seq and is a duplicate. Each new event takes the next seq. When `reply` hears `Ok`, the events are
    /// as durable as this store makes them and have been handed to the sink. That `reply` was dropped changes nothing.
    fn append(&self, group: Vec<Submission>, reply: AppendReply);

    /// Writes verdicts down, in the order of their events' seqs, without gaps; but those on events that were held, which
    /// come once each held event is released, and without effect on one that is not held any more. A target whose endpoint
    /// was deleted or told to drop what is pending in the meantime becomes a dropped delivery with that reason, unless it is suppressed. What then
    /// waits for a target beyond its bounds is dropped in the same step, reason `queue_full`: what is pending, but for what is
    /// in flight. A step may take in other verdicts and settlements: bounds are judged at its end.
    fn record(&self, verdicts: Vec<Verdict>);

    /// Writes down what debouncing changed by no event, after the verdicts before. Without effect on a delivery that is not
    /// held any more.
    fn keep_debounced(&self, debounced: Debounced);

    /// The same for windows alone.
    fn keep_windows(&self, windows: Vec<WindowChange>) {
        self.keep_debounced(Debounced { windows, ..Debounced::default() });
    }

    /// Writes down what became of a delivery, after the verdict that made it. Without effect on a delivery that is not
    /// pending any more; but one that was cancelled, or dropped for want of room, while it was in flight and arrived is
    /// delivered, not dropped.
    fn settle(&self, settlement: Settlement);

    /// The same for the deliveries of one request: in one transaction, but for those whose verdict is still to be written.
    fn settle_batch(&self, settlements: Vec<Settlement>) {
        settlements.into_iter().for_each(|settlement| self.settle(settlement));
    }

    /// Writes down how an endpoint's breaker stands. Without effect when the endpoint is deleted.
    fn keep_breaker(&self, endpoint: EndpointKey, breaker: BreakerRecord);

    /// Reads pending deliveries of one endpoint.
    fn page(&self, request: PageRequest, reply: PageReply);

    /// Creates an endpoint; its version is 1. Of its settings the store itself reads one, and
    /// what it wants for the jobs that replay events: `dead_letters`, how many are kept of those that were not replayed. The oldest fall off, counted and logged, when another one comes; those that are too old,
    /// or too many after a change, fall off in small steps. That changes no conservation sum. Fails when an endpoint of this id exists; the id of a deleted one is free.
    fn create_endpoint(&self, id: EndpointId, settings: String) -> Reply<EndpointRow>;

    /// Replaces the settings of an endpoint and counts its version up. `state_changed` starts `state_since` anew; with
    /// `drop_pending`, what is pending becomes dropped with that reason, in small steps, and so does everything new until
    /// a later change is without it. Fails when there is no such endpoint.
    fn update_endpoint(&self, key: EndpointKey, change: EndpointChange) -> Reply<EndpointRow>;

    /// Deletes an endpoint. What is pending becomes dropped, reason `endpoint_deleted`, in small steps. Its history stays,
    /// under its id. Fails when there is no such endpoint.
    fn delete_endpoint(&self, key: EndpointKey) -> Reply<()>;

    /// Sets a debounce rule, forgetting its windows when it changes, or removes it together with them and its counts. Either
    /// is one change. What they held stays held: it is for the caller to release.
    fn put_rule(&self, name: String, rule: Option<String>) -> Reply<()>;

    /// Sets a chain, or removes it.
    fn put_chain(&self, name: String, chain: Option<String>) -> Reply<()>;

    /// Makes a new delivery of a dead letter, with the next run; the dead letter stays as it is, marked as replayed. The
    /// outcome says when there was nothing to replay; the state of the endpoint is for the caller to check.
    fn replay(&self, dead_letter: DeliveryId) -> Reply<ReplayOutcome>;

    /// Delivers an event to an endpoint again, whatever became of the deliveries before, or for the first time: makes a new
    /// delivery, with the next run (1 at least), unless one is pending. A dead letter among them is replayed. Whether the
    /// endpoint may have the event is for the caller to check.
    fn redeliver(&self, seq: u64, endpoint: EndpointKey) -> Reply<ReplayOutcome>;

    /// Drops pending deliveries, reason `cancelled`: one step, which looks at 500 of them at most, so that nobody waits for
    /// long; the answer says where the next begins.
    fn cancel(&self, step: CancelStep) -> Reply<CancelledStep>;

    /// Counts what a job would work on: one step, which looks at 500 dead letters, or events, at most.
    fn count_for_job(&self, step: CountStep) -> Reply<Counted>;

    /// Keeps a new job. What has ended is kept as long as outcomes are.
    fn create_job(&self, job: Job) -> Reply<()>;

    /// Makes one step of a job that runs: looks at 500 dead letters at most, oldest first within each endpoint, or at 500
    /// events, by seq, and works on `most` of them. The work and how far the job is are one transaction, so that nothing is done twice. Dead letters
    /// whose endpoint is disabled or deleted are not replayed. Nothing happens when the job has ended; `None` when there is
    /// none.
    fn advance_job(&self, id: JobId, most: usize) -> Reply<Option<Advance>>;

    /// Ends a job that runs. Answers how it stands then; `None` when there is none.
    fn end_job(&self, id: JobId, state: JobState) -> Reply<Option<Job>>;

    /// One job.
    fn job(&self, id: JobId) -> Reply<Option<Job>>;

    /// The jobs that run.
    fn running_jobs(&self) -> Reply<Vec<Job>>;

    /// Keeps a new token. Fails when there is one of this id.
    fn create_token(&self, token: TokenRow) -> Reply<()>;

    /// Forgets a token; tells whether there was one.
    fn delete_token(&self, id: TokenId) -> Reply<bool>;

    /// Notes that a token was used at this moment, unless it was used later.
    fn use_token(&self, id: TokenId, at: Timestamp) -> Reply<()>;

    /// Every token, by id.
    fn tokens(&self) -> Reply<Vec<TokenRow>>;

    /// What positions in lists are sealed with. A store that outlives its process answers the same ever after; another is asked
    /// once.
    #[cfg(feature = "api")]
    fn cursor_key(&self) -> Reply<SealingKey> {
        Box::pin(ready(SealingKey::draw().and_then(|bytes| SealingKey::new(&bytes))))
    }

    /// Endpoints that exist, by key, from above `after`: of many, with their settings, never all are in memory at once.
    fn endpoints(&self, after: EndpointKey, limit: usize) -> Reply<Vec<EndpointRow>>;

    /// Everything else the pipeline needs to start.
    fn load(&self) -> Reply<Loaded>;

    /// What each debounce rule has come to.
    fn rule_totals(&self) -> Reply<BTreeMap<String, RuleTotals>>;

    /// Those of these events of whose deliveries, to this endpoint where one is given, none is delivered or can be any more,
    /// and at least one is not suppressed. What is pending for an endpoint whose pending deliveries are dropped is lost
    /// already.
    fn failed(&self, of: Option<EndpointKey>, seqs: Vec<u64>) -> Reply<Vec<u64>>;

    /// Events without a recorded verdict, by seq, from above `after`.
    fn unjudged(&self, after: u64, limit: usize) -> Reply<Vec<Arc<Accepted>>>;

    /// Deliveries to an endpoint, the newest event first, and of each its newest run.
    fn deliveries(&self, filter: DeliveryFilter) -> Reply<Vec<ListedDelivery>>;

    /// Events, newest first.
    fn events(&self, filter: EventFilter) -> Reply<Vec<EventRow>>;

    /// One event with its deliveries.
    fn event(&self, tenant: Option<Tenant>, id: EventId) -> Reply<Option<EventDetail>>;

    /// Attempts of an event, oldest first; those of the same moment by delivery and number.
    fn event_attempts(&self, seq: u64, page: AttemptPage) -> Reply<Vec<AttemptRow>>;

    /// Attempts of an endpoint: newest event first, among those of one event the newest attempt first.
    fn endpoint_attempts(&self, endpoint: EndpointKey, page: AttemptPage) -> Reply<Vec<AttemptRow>>;

    /// Dead letters, highest delivery id (seq, endpoint, run) first.
    fn dead_letters(&self, filter: DeadLetterFilter) -> Reply<Vec<DeadLetterRow>>;

    /// One dead letter with its event.
    fn dead_letter(&self, id: DeliveryId) -> Reply<Option<(DeadLetterRow, Option<Arc<Accepted>>)>>;

    /// The conservation sums as they stand at one moment.
    fn totals(&self) -> Reply<Totals>;

    /// The same for the deliveries of one endpoint, and when its oldest pending delivery was created.
    fn endpoint_totals(&self, endpoint: EndpointKey) -> Reply<(DeliveryTotals, Option<Timestamp>)>;

    /// What needs somebody's eye: backlogs, breakers, dead letters.
    fn vitals(&self) -> Reply<Vitals>;

    /// What it counts about itself; `None` when it does not write to a disk.
    fn metrics(&self) -> Option<&StoreMetrics> {
        None
    }

    /// How it stands on its disk; `None` without one.
    fn space(&self) -> Option<Space> {
        None
    }

    /// Names who is told when less than the reserve is free, and when there is enough again; at once when it is so already.
    fn watch_space(&self, _sink: SpaceSink) {}

    /// Whether less than the reserve is free: its caller is to refuse what is new. The store itself still takes it.
    fn is_low(&self) -> bool {
        false
    }

    /// Answers when every write called for before is in the store.
    fn flush(&self) -> Reply<()>;

    /// Flushes, then stops the store's threads; every later call fails with [`StoreError::Closed`].
    fn close(&self) -> Reply<()>;
}
