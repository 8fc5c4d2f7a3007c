//! The handle of a running Hookmill: publish, manage, look, shut down.

mod apply;
mod asker;
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
mod grounds;
mod jobs;
mod manage;
mod operational;
mod owner;
mod publish;
mod replay;
mod room;
mod rotation;
mod rules;
mod scrape;
#[cfg(feature = "sqlite")]
mod sealing;
#[cfg(feature = "api")]
mod tenants;
mod through;
mod tokens;
mod trial;
#[cfg(feature = "api")]
mod untold;
mod watch;
mod whose;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock, Weak,
        atomic::{AtomicUsize, Ordering},
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
    error::StoreError,
    event::Tenant,
    hub::{self, Hub},
    intake::Intake,
    metrics::Metrics,
    quota::{Fair, Quota},
    store::{Store, Totals},
    transport::Perimeter,
};

pub use apply::Applied;
pub(crate) use asker::{Asker, BodyBounds};
pub use audit::{Audit, DeadEntry, Webhook, WebhookState};
pub use builder::Builder;
#[cfg(feature = "cli")]
pub(crate) use builder::CHAIN_BYTES;
#[cfg_attr(not(feature = "testing"), expect(unused_imports, reason = "only tests call otherwise"))]
pub(crate) use chains::Caller;
pub use chains::{Chain, ChainError, Chains, Invocations, Tally};
#[cfg(feature = "api")]
pub(crate) use changed::Changed;
use death::Death;
pub use declared::Declared;
use enrich::Enricher;
pub use error::{ManageError, PublishError, StartError};
pub use jobs::REPLAY_RATE;
pub(crate) use jobs::REPLAY_RATES;
pub use manage::{Standing, Switch};
use operational::Listeners;
pub use owner::Owner;
pub(crate) use owner::Owners;
pub use publish::{Acceptance, Emitted};
use publish::{Counters, Shut, append_error};
pub use replay::{EndpointReplay, Only};
#[cfg(feature = "cli")]
pub(crate) use room::ENDPOINTS_OF_A_TENANT;
pub(crate) use through::{Turn, turn};
#[cfg(feature = "api")]
pub(crate) use tokens::Holder;
use tokens::Keyring;
pub use tokens::NewToken;
pub(crate) use tokens::{LIFE, NAME};
pub use trial::{Tested, Trial};
pub use watch::EventStream;

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
    pub(crate) changes: Arc<Mutex<()>>,
    /// Jobs are created one after another: each finds its place among all.
    pub(crate) job_places: Arc<Mutex<()>>,
    /// When old signing secrets end.
    pub(crate) ends: rotation::Ends,
    pub(crate) allow_loopback: bool,
    pub(crate) max_endpoints_per_tenant: AtomicUsize,
    /// What may be reached.
    pub(crate) perimeter: Arc<Perimeter>,
    /// Below which files may be made through the API.
    pub(crate) file_root: Option<PathBuf>,
    /// Where it keeps everything, if on disk.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) counters: Counters,
    pub(crate) death: Death,
    pub(crate) enricher: Enricher,
    /// What positions in lists are sealed with.
    #[cfg(feature = "api")]
    pub(crate) cursor_key: crate::store::SealingKey,
    /// What lets callers of the API in.
    pub(crate) keyring: Keyring,
    pub(crate) listeners: Listeners,
    /// Request bodies in memory, over every mounted API.
    #[cfg_attr(not(feature = "api"), expect(dead_code, reason = "only the API reads bodies"))]
    pub(crate) bodies: BodyBounds,
    /// Answers that are being read, over every mounted API.
    #[cfg_attr(not(feature = "api"), expect(dead_code, reason = "only the API answers"))]
    pub(crate) answers: Fair<Asker>,
    /// Where the pipeline lives.
    pub(crate) arbiter: ArbiterHandle,
    /// Its threads, when they are its own.
    pub(crate) system: Option<System>,
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

/// So long a shutdown waits for a change of the configuration that has begun. What is stored of it holds at the next start.
const LAST_CHANGE: Duration = Duration::from_secs(1);

/// Why nothing is accepted while what is free is kept for settling.
const NO_ROOM: &str = "less than the reserve is free on the disk";

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
        self.0.parts.window_bytes.used()
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
        // Those that wait for a turn after this one find the store closed.
        let last_change = tokio::time::timeout(LAST_CHANGE, self.turn()).await;
        let _closed = store.flush().await;
        let after = store.totals().await.unwrap_or_default();
        let left = after.deliveries.pending + after.unrouted + after.debouncing;
        let _closed = store.close().await;
        drop(last_change);
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

    /// The endpoint, if this tenant may see it; without a tenant, any.
    pub(crate) fn endpoint_for(&self, tenant: Option<&Tenant>, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.endpoint(id).filter(|endpoint| tenant.is_none_or(|tenant| endpoint.settings.tenant.is_of(tenant)))
    }

    /// The endpoints that this tenant may see, by id; without a tenant, all.
    pub(crate) fn endpoints_for(&self, tenant: Option<&Tenant>) -> Vec<Arc<Endpoint>> {
        let mut endpoints = self.endpoints();
        endpoints.retain(|endpoint| tenant.is_none_or(|tenant| endpoint.settings.tenant.is_of(tenant)));
        endpoints
    }

    /// The debounce rules, by name.
    pub fn rules(&self) -> BTreeMap<RuleName, Rule> {
        self.0.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
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
