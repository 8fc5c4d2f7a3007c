//! The handle of a running Hookmill: publish, manage, look, shut down.

mod apply;
mod audit;
mod builder;
mod cancel;
mod chains;
mod changed;
mod death;
mod declared;
mod enrich;
mod error;
mod found;
mod jobs;
mod manage;
mod operational;
mod owner;
mod replay;
mod rotation;
mod scrape;
#[cfg(feature = "sqlite")]
mod sealing;
#[cfg(feature = "api")]
mod tenants;
mod tokens;
mod trial;
#[cfg(feature = "api")]
mod untold;
mod watch;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::Addr;
use actix_rt::{ArbiterHandle, System};
use tokio::sync::{Mutex, oneshot};
use tracing::{info, warn};

use crate::{
    chain::ChainName,
    clock::Clock,
    debounce::{self, Debouncer, Rule, RuleName},
    deliver::Parts,
    dispatch::{self, Barrier, Dispatcher},
    endpoint::{Endpoint, EndpointId},
    error::{Invalid, StoreError},
    event::{Event, EventId, ValidEvent},
    hub::{self, Hub},
    intake::{Intake, Permit, Refused},
    metrics::Metrics,
    quota::Quota,
    store::{AppendError, Store, Submission, Totals},
    transport::Perimeter,
};

pub use apply::Applied;
pub use audit::{Audit, DeadEntry, Webhook, WebhookState};
pub use builder::Builder;
pub(crate) use chains::Caller;
pub use chains::{Chain, ChainError, Chains, Invocations, Tally};
#[cfg_attr(not(feature = "testing"), expect(unused_imports, reason = "only tests call otherwise"))]
#[cfg(feature = "api")]
pub(crate) use changed::Changed;
use death::Death;
pub use declared::Declared;
use enrich::Enricher;
pub use error::{ManageError, PublishError, StartError};
pub use jobs::REPLAY_RATE;
pub use manage::{Standing, Switch};
use operational::Listeners;
pub use owner::Owner;
pub(crate) use owner::Owners;
pub use replay::{EndpointReplay, Only};
use tokens::Keyring;
pub use tokens::NewToken;
pub use trial::{Tested, Trial};
pub use watch::EventStream;
#[cfg(feature = "api")]
pub(crate) use {tenants::reaches_further, tokens::Holder};

/// A running Hookmill. Clones are handles to the same one; when the last is gone, it ends as after a crash: with a durable
/// store nothing is lost. [`Hookmill::shutdown`] ends it in good order.
#[derive(Clone)]
pub struct Hookmill(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) clock: Clock,
    pub(crate) intake: Arc<Intake>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) hub: Addr<Hub>,
    pub(crate) debouncer: Addr<Debouncer>,
    pub(crate) dispatcher: Addr<Dispatcher>,
    pub(crate) parts: Parts,
    pub(crate) endpoints: RwLock<BTreeMap<EndpointId, Arc<Endpoint>>>,
    pub(crate) rules: RwLock<BTreeMap<RuleName, Rule>>,
    pub(crate) chains: RwLock<BTreeMap<ChainName, Arc<Chain>>>,
    /// Invocations of chains that go on.
    pub(crate) invocations: Arc<Quota>,
    /// Bytes that they may hold.
    pub(crate) chain_bytes: Arc<Quota>,
    /// What does not belong to the callers of the API; changed only under `changes`.
    pub(crate) owners: RwLock<Owners>,
    /// Changes of configuration are made one after another: what is stored and what is in force agree.
    pub(crate) changes: Mutex<()>,
    /// When old signing secrets end.
    pub(crate) ends: rotation::Ends,
    pub(crate) allow_loopback: bool,
    /// What may be reached.
    pub(crate) perimeter: Arc<Perimeter>,
    /// Below which files may be made through the API.
    pub(crate) file_root: Option<PathBuf>,
    /// Where it keeps everything, if on disk.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) counters: Counters,
    pub(crate) death: Death,
    pub(crate) enricher: Enricher,
    /// What lets callers of the API in.
    pub(crate) keyring: Keyring,
    pub(crate) listeners: Listeners,
    /// Request bodies in memory, over every mounted API.
    #[cfg_attr(not(feature = "api"), expect(dead_code, reason = "only the API reads bodies"))]
    pub(crate) bodies: BodyBounds,
    /// Where the pipeline lives.
    pub(crate) arbiter: ArbiterHandle,
    /// Its threads, when they are its own.
    pub(crate) system: Option<System>,
}

/// Bounds on the request bodies that are being read, over every mounted API.
#[cfg_attr(not(feature = "api"), expect(dead_code, reason = "only the API reads bodies"))]
#[derive(Debug)]
pub(crate) struct BodyBounds {
    pub(crate) count: Arc<Quota>,
    pub(crate) bytes: Arc<Quota>,
}

/// What [`Hookmill::emit`] could not tell anybody.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    emitted: AtomicU64,
    refused: AtomicU64,
    unsynced: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

/// How [`Hookmill::emit`] went so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Emitted {
    /// Events that were let in.
    pub admitted: u64,
    /// Events that were refused: invalid, or the intake was full or closed.
    pub refused: u64,
    /// Of those let in: what the store has not answered for yet. A crash loses them, and nothing else.
    pub unsynced: u64,
    /// Of those let in: what the store refused, because it failed or their id is taken by another event. The log tells why
    /// of each.
    pub lost: u64,
}

/// What publishing an event came to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Acceptance {
    /// The event's id.
    pub id: EventId,
    /// Its place in the order of all events; that of the first acceptance for a duplicate.
    pub seq: u64,
    /// Whether it had been accepted before: then nothing new happened.
    pub duplicate: bool,
    /// Whether it survives a crash.
    pub durable: bool,
}

/// What a shutdown came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Delivered while draining.
    pub delivered: u64,
    /// Attempts that were cut off at the deadline; what they were for is among `kept` or `abandoned`.
    pub cancelled: usize,
    /// Deliveries, and events that are unrouted or debouncing, on disk, for the next start.
    pub kept: u64,
    /// Deliveries, and events that are unrouted or debouncing, lost for want of a disk.
    pub abandoned: u64,
}

/// Why nothing is accepted while what is free is kept for settling.
const NO_ROOM: &str = "less than the reserve is free on the disk";

/// When a publisher who was turned away should come again.
const COME_AGAIN: Duration = Duration::from_secs(1);

impl Hookmill {
    pub(crate) fn new(inner: Inner) -> Self {
        let hooks = Self(Arc::new(inner));
        hooks.endpoints().iter().for_each(|endpoint| {
            hooks.0.listeners.configure(endpoint);
            hooks.await_end(endpoint);
        });
        let weak = Arc::downgrade(&hooks.0);
        let _second = hooks.0.parts.observer.set(Box::new(move |notice| {
            if let Some(hooks) = weak.upgrade().map(Self) {
                hooks.observe(notice);
            }
        }));
        let (weak, arbiter) = (Arc::downgrade(&hooks.0), hooks.0.arbiter.clone());
        hooks.0.store.watch_space(Box::new(move |low| {
            let weak = Weak::clone(&weak);
            // Not on the store's own thread: the last handle to the store must not be dropped there.
            arbiter.spawn(async move {
                if let Some(hooks) = weak.upgrade().map(Self) {
                    hooks.observe_space(low);
                }
            });
        }));
        hooks
    }

    /// Describes a Hookmill.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Accepts an event. When this returns `Ok`, the event is on disk (fsync), or in memory where there is none, and will be
    /// delivered at least once to every endpoint that wants it. Dropping the future does not take the event back.
    ///
    /// # Errors
    /// See [`PublishError`]; the event is not accepted then.
    pub async fn publish(&self, event: Event) -> Result<Acceptance, PublishError> {
        let accepted = self.publish_all(vec![event]).await?;
        accepted.into_iter().next().ok_or(PublishError::Store(StoreError::Closed))
    }

    /// Accepts events, all or none of them, in one transaction and in this order.
    ///
    /// # Errors
    /// See [`PublishError`]; mistakes name the event by its index, such as `#/3/topic`, where there are several.
    pub async fn publish_all(&self, events: Vec<Event>) -> Result<Vec<Acceptance>, PublishError> {
        let count = u64::try_from(events.len()).unwrap_or(0);
        let refused = |error: &PublishError| self.0.metrics().rejected.add(error.label(), count);
        self.accept(events).await.inspect_err(refused)
    }

    async fn accept(&self, events: Vec<Event>) -> Result<Vec<Acceptance>, PublishError> {
        let valid = self.validate(&events)?;
        let (reply, result) = oneshot::channel();
        if let Err(shut) = self.submit(valid, &events, reply) {
            return Err(shut.error(events));
        }
        let durable = self.0.store.durable();
        match result.await.unwrap_or(Err(AppendError::Store(StoreError::Closed))) {
            Ok(receipts) => Ok(receipts
                .into_iter()
                .map(|one| Acceptance { id: one.id, seq: one.seq, duplicate: one.duplicate, durable })
                .collect()),
            Err(error) => Err(append_error(error, events)),
        }
    }

    /// Lets an event in without waiting; it is accepted a moment later, or counted in [`Hookmill::emitted`]. Never blocks and
    /// never fails; after a shutdown it does nothing.
    pub fn emit(&self, event: Event) {
        let counters = &self.0.counters;
        let (reply, result) = oneshot::channel();
        let one = std::slice::from_ref(&event);
        let admitted =
            self.validate(one).and_then(|valid| self.submit(valid, one, reply).map_err(|shut| shut.error(Vec::new())));
        if let Err(error) = admitted {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            self.0.metrics().rejected.one(error.label());
            let error = error.to_string();
            return warn!(event = "intake.refused", topic = event.topic, error, "event was not emitted");
        }
        counters.emitted.fetch_add(1, Ordering::Relaxed);
        counters.unsynced.fetch_add(1, Ordering::Relaxed);
        let (unsynced, lost) = (Arc::clone(&counters.unsynced), Arc::clone(&counters.lost));
        let metrics = Arc::clone(self.0.metrics());
        self.0.arbiter.spawn(async move {
            if let Err(error) = result.await.unwrap_or(Err(AppendError::Store(StoreError::Closed))) {
                lost.fetch_add(1, Ordering::Relaxed);
                let error = append_error(error, Vec::new());
                metrics.rejected.one(error.label());
                warn!(event = "intake.lost", topic = event.topic, %error, "an emitted event could not be stored");
            }
            unsynced.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// How [`Hookmill::emit`] went so far.
    pub fn emitted(&self) -> Emitted {
        let Counters { emitted, refused, unsynced, lost } = &self.0.counters;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Emitted { admitted: load(emitted), refused: load(refused), unsynced: load(unsynced), lost: load(lost) }
    }

    fn validate(&self, events: &[Event]) -> Result<Vec<ValidEvent>, PublishError> {
        let now = self.0.clock.now().wall;
        let (mut valid, mut faults) = (Vec::with_capacity(events.len()), Vec::new());
        for (index, event) in events.iter().enumerate() {
            match event.validate(now) {
                Ok(event) => valid.push(event),
                Err(invalid) if events.len() == 1 => faults.extend(Vec::from(invalid)),
                Err(invalid) => faults.extend(Vec::from(invalid.below(&format!("/{index}")))),
            }
        }
        Invalid::unless_empty(faults).map_err(PublishError::Invalid)?;
        Ok(valid)
    }

    /// Takes places in the intake, and hands the events to the store once the program's hooks have seen them.
    fn submit(&self, valid: Vec<ValidEvent>, events: &[Event], reply: crate::store::AppendReply) -> Result<(), Shut> {
        if self.is_dead() {
            return Err(Shut::Intake(Refused::Closed));
        }
        if self.0.store.is_low() && !self.0.intake.is_closed() {
            return Err(Shut::NoRoom);
        }
        let group = self.admit(valid).map_err(Shut::Intake)?;
        self.0.enricher.append(&self.0.store, group, events, reply);
        Ok(())
    }

    fn append(&self, events: Vec<ValidEvent>, reply: crate::store::AppendReply) -> Result<(), Refused> {
        let group = self.admit(events)?;
        self.0.store.append(group, reply);
        Ok(())
    }

    fn admit(&self, events: Vec<ValidEvent>) -> Result<Vec<Submission>, Refused> {
        let permits = self.0.intake.admit(events.iter().map(ValidEvent::weight))?;
        let submission = |(event, permit): (ValidEvent, Permit)| Submission { event, permit: Some(permit) };
        Ok(events.into_iter().zip(permits).map(submission).collect())
    }

    /// The conservation sums, exact at one moment.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn stats(&self) -> Result<Totals, StoreError> {
        let mut totals = self.0.store.totals().await?;
        let in_flight = self.0.parts.in_flight.load(Ordering::Acquire);
        totals.deliveries = totals.deliveries.with_in_flight(in_flight);
        Ok(totals)
    }

    /// Bytes of events that wait in memory for their turn, of all endpoints together. The rest waits in the store.
    pub fn window_bytes(&self) -> usize {
        self.0.parts.bounds.window_bytes.used()
    }

    /// Why no event can be accepted at this time; `None` when it can.
    pub fn unready(&self) -> Option<&'static str> {
        if self.0.intake.is_closed() {
            Some("shutting down")
        } else if self.is_dead() {
            Some("an actor of the pipeline has died")
        } else if !self.0.store.writable() {
            Some("the store cannot write")
        } else if self.0.store.is_low() {
            Some(NO_ROOM)
        } else {
            None
        }
    }

    /// Takes nothing in any more: every later publish answers [`PublishError::Closed`].
    pub fn close_intake(&self) {
        self.0.intake.close();
    }

    /// Ends in good order: stops the intake, lets attempts in flight end until the deadline (and, where there is no disk,
    /// goes on delivering until then), cuts the rest off, and closes the store. Once this returns no request leaves any more.
    pub async fn shutdown(&self, deadline: Duration) -> Report {
        self.close_intake();
        let (done, report) = oneshot::channel();
        let hooks = self.clone();
        // On the pipeline's own thread, whose timers work whatever runtime the caller has.
        self.0.arbiter.spawn(async move {
            let _gone = done.send(hooks.drain(deadline).await);
        });
        report.await.unwrap_or_default()
    }

    async fn drain(&self, deadline: Duration) -> Report {
        let Inner { store, dispatcher, .. } = &*self.0;
        let durable = store.durable();
        let before = store.totals().await.unwrap_or_default();
        let drained = tokio::time::timeout(deadline, async {
            self.0.enricher.idle().await;
            if !durable {
                // What was accepted is to be delivered yet; with a disk it can wait there, and nothing more starts.
                let _closed = store.flush().await;
                self.routed().await;
                let _gone = self.0.debouncer.send(debounce::ReleaseAll).await;
            }
            let _gone = dispatcher.send(dispatch::Drain { empty: !durable }).await;
        });
        if drained.await.is_err() {
            warn!(event = "server.draining", "deadline passed; what is in flight is cut off");
        }
        let cancelled = dispatcher.send(dispatch::Cancel).await.unwrap_or_default();
        let _closed = store.flush().await;
        let after = store.totals().await.unwrap_or_default();
        let left = after.deliveries.pending + after.unrouted + after.debouncing;
        let _closed = store.close().await;
        self.0.hub.do_send(hub::End);
        let report = Report {
            delivered: after.deliveries.delivered.saturating_sub(before.deliveries.delivered),
            cancelled,
            kept: if durable { left } else { 0 },
            abandoned: if durable { 0 } else { left },
        };
        let Report { delivered, kept, abandoned, .. } = report;
        info!(event = "server.stopped", delivered, cancelled, kept, abandoned, "stopped");
        if let Some(system) = &self.0.system {
            system.stop();
        }
        report
    }

    /// Waits until everything accepted so far has been routed.
    pub(crate) async fn routed(&self) {
        let (done, passed) = oneshot::channel();
        self.0.hub.do_send(Barrier(done));
        let _gone = passed.await;
    }

    /// Where it keeps everything, if on disk.
    pub fn data_dir(&self) -> Option<&Path> {
        self.0.data_dir.as_deref()
    }

    /// Its clock.
    #[cfg(feature = "api")]
    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Its store.
    #[cfg(feature = "api")]
    pub(crate) fn store(&self) -> &dyn Store {
        self.0.store.as_ref()
    }

    /// The endpoints, by id.
    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.0.endpoints.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// One endpoint.
    pub fn endpoint(&self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.0.endpoints.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// The debounce rules, by name.
    pub fn rules(&self) -> BTreeMap<RuleName, Rule> {
        self.0.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn append_error(error: AppendError, events: Vec<Event>) -> PublishError {
    match error {
        AppendError::Conflict { id, index } => PublishError::Conflict { id: id.to_string(), index },
        AppendError::Store(StoreError::Full(reason)) => PublishError::StoreFull { reason, events },
        AppendError::Store(StoreError::Closed) => PublishError::Closed { events },
        AppendError::Store(error) => PublishError::Store(error),
    }
}

/// Why nothing is let in at this time.
enum Shut {
    Intake(Refused),
    NoRoom,
}

impl Shut {
    fn error(self, events: Vec<Event>) -> PublishError {
        match self {
            Self::Intake(Refused::Full) => PublishError::Overloaded { retry_after: COME_AGAIN, events },
            Self::Intake(Refused::Closed) => PublishError::Closed { events },
            Self::NoRoom => PublishError::StoreFull { reason: NO_ROOM.to_owned(), events },
        }
    }
}

impl Inner {
    /// What is counted in memory.
    pub(crate) fn metrics(&self) -> &Arc<Metrics> {
        &self.parts.metrics
    }
}

impl fmt::Debug for Hookmill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hookmill").field("durable", &self.0.store.durable()).finish_non_exhaustive()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(system) = &self.system {
            system.stop();
        }
    }
}
