//! The Dispatcher routes events to endpoints and owns their Deliveries: it starts them on demand and again when one has died.

#[cfg(feature = "testing")]
pub(crate) mod death;
mod deliveries;
mod ending;
mod full;
mod keeping;
pub mod muting;
mod placement;
pub mod routes;
mod trial;
mod ways;
pub mod window;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicBool},
};

use actix::{Actor, Context, Handler, Message, ResponseFuture};
use futures_util::future::{join_all, ready};
use tokio::sync::oneshot;

use crate::intake::Permit;
use crate::{
    actor::{Alarm, OnDeath, Sentinel, Yielder, told, yield_now},
    clock::Timestamp,
    deliver::{self, Parts},
    endpoint::{Endpoint, EndpointKey, State, filter::Filter, queue::QueuePolicy},
    event::{Accepted, pointer::View},
    store::{BreakerRecord, Debounced, Disposition, DropReason, HeldDelivery, Ruling, Target, Verdict, WindowChange},
};
use deliveries::Slot;
pub use deliveries::{Forget, Inspect, Replayed};
pub use ending::{Cancel, Drain};
pub use full::Full;
pub use keeping::{ASKED, Begin, KeepWindows, Keys, LookAgain, ReleaseAll, Rounds};
use muting::{Muting, Sentence};
pub use placement::Placement;
use routes::Routes;
use trial::Trials;
pub use trial::{Ask, NoTrial, Trial};
use ways::Ways;

/// An event that the Debouncer has judged.
#[derive(Debug)]
pub struct Judged {
    /// The event.
    pub event: Arc<Accepted>,
    /// What debouncing makes of it.
    pub fate: Fate,
    /// What else debouncing changed by it.
    pub debounced: Debounced,
    /// Its place in the intake.
    pub permit: Option<Permit>,
}

/// What debouncing makes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Passed,
    /// It goes nowhere.
    Suppressed,
    /// It waits, and is judged again or replaced by another.
    Held,
    /// It was held, and goes on at this moment.
    Released(Timestamp),
}

/// Judged events, in the order of their seqs, but for those that were held.
pub struct Dispatch(pub Vec<Judged>);
/// An endpoint is new or has changed. Answered once no attempt starts with what was before.
pub struct Configure(pub Arc<Endpoint>);
/// An endpoint has been deleted. Answered once no attempt starts any more.
pub struct Remove(pub EndpointKey);
/// Told on from stage to stage, and answered by the last: everything that came before has been routed.
pub struct Barrier(pub oneshot::Sender<()>);

told!(Dispatch, Barrier);
impl Message for Configure {
    type Result = ();
}
impl Message for Remove {
    type Result = ();
}

/// Routes and fans out.
pub struct Dispatcher {
    parts: Parts,
    placement: Placement,
    routes: Routes,
    muting: Muting,
    /// For what endpoints hold for themselves.
    alarm: Alarm,
    begun: bool,
    /// Whether failures are of interest to any endpoint's own debounce.
    watching: Arc<AtomicBool>,
    rounds: Rounds,
    endpoints: HashMap<EndpointKey, Slot>,
    incarnations: u64,
    random: fastrand::Rng,
    closing: bool,
    trials: Trials,
    bursts: full::Bursts,
    yielder: Yielder,
    _sentinel: Sentinel,
}

/// An endpoint as it is found at the start.
pub struct Known {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// How its breaker stood.
    pub breaker: BreakerRecord,
    /// Whether something is pending.
    pub pending: bool,
}

/// What was kept of endpoints' own debounce.
#[derive(Default)]
pub struct Kept {
    /// How windows stood.
    pub windows: Vec<WindowChange>,
    /// Deliveries that were held.
    pub held: Vec<HeldDelivery>,
}

impl Dispatcher {
    /// A Dispatcher for these endpoints, with what was kept.
    pub(crate) fn new(
        known: Vec<Known>,
        kept: Kept,
        parts: Parts,
        placement: Placement,
        seed: u64,
        on_death: &OnDeath,
    ) -> Self {
        let (mut routes, mut muting, now) = (Routes::default(), Muting::default(), parts.clock.now());
        let slot = |Known { endpoint, breaker, pending }| {
            routes.insert(endpoint.key, &endpoint.settings);
            muting.set(endpoint.key, endpoint.settings.debounce.as_deref(), now);
            (endpoint.key, Slot::new(endpoint, breaker, pending))
        };
        let endpoints = known.into_iter().map(slot).collect();
        muting.restore(kept.windows, kept.held, now);
        let watching = Arc::new(AtomicBool::new(muting.wants_failures()));
        let random = fastrand::Rng::with_seed(seed);
        Self {
            parts,
            placement,
            routes,
            muting,
            alarm: Alarm::default(),
            begun: false,
            watching,
            rounds: Rounds::default(),
            endpoints,
            incarnations: 0,
            random,
            closing: false,
            trials: Trials::default(),
            bursts: full::Bursts::default(),
            yielder: Yielder::default(),
            _sentinel: Sentinel::new("dispatcher", on_death),
        }
    }

    /// Routes one event; notes for whom it is.
    fn judge(&mut self, judged: Judged, ways: &mut Ways) -> Verdict {
        let Judged { event, fate, mut debounced, permit } = judged;
        if !matches!(fate, Fate::Released(_)) {
            self.muting.reset(&event, self.parts.clock.now());
        }
        let (ruling, released_at) = match fate {
            Fate::Passed => (self.route(&event, event.accepted_at), None),
            Fate::Released(at) => (self.route(&event, at), Some(at)),
            Fate::Suppressed => (Ruling::Suppressed, None),
            Fate::Held => (Ruling::Held, None),
        };
        if let Ruling::Routed(targets) = &ruling {
            ways.add(&event, targets, released_at.is_some());
        }
        let own = self.muting.take_effects();
        ways.late.extend(own.released.iter().map(|released| released.delivery));
        debounced.append(own);
        Verdict { event, ruling, debounced, released_at, permit }
    }

    /// Whom an event is for that goes on at this moment.
    fn route(&mut self, event: &Accepted, at: Timestamp) -> Ruling {
        let view = View::of(event);
        let mut keys = self.routes.wanting(event, &view, |key| self.filter(key));
        keys.retain(|key| self.may_get(*key, event));
        let targets: Vec<_> = keys.into_iter().map(|key| self.target(key, event, &view, at)).collect();
        if targets.is_empty() { Ruling::Unmatched } else { Ruling::Routed(targets) }
    }

    fn filter(&self, endpoint: EndpointKey) -> Option<&Filter> {
        self.endpoints.get(&endpoint)?.endpoint.settings.filter.as_ref()
    }

    fn may_get(&self, endpoint: EndpointKey, event: &Accepted) -> bool {
        self.endpoints.get(&endpoint).is_some_and(|slot| slot.endpoint.id.may_get(&event.topic))
    }

    fn target(&mut self, endpoint: EndpointKey, event: &Accepted, view: &View<'_>, at: Timestamp) -> Target {
        let settings = self.endpoints.get(&endpoint).map(|slot| &slot.endpoint.settings);
        let queue = settings.map_or_else(QueuePolicy::default, |settings| settings.policy.queue);
        let Sentence { disposition, suppressed } = if settings.is_some_and(|settings| settings.state == State::Disabled)
        {
            Sentence { disposition: Disposition::Drop(DropReason::EndpointDisabled), suppressed: 0 }
        } else {
            self.muting.judge(endpoint, event, view, at, self.parts.clock.now())
        };
        Target { endpoint, disposition, queue, suppressed }
    }

    fn served(&mut self, ctx: &mut Context<Self>) {
        if self.yielder.is_time() {
            yield_now(self, ctx);
        }
    }
}

impl Actor for Dispatcher {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.keep_debounced(ctx);
        self.start_stored(ctx);
    }
}

impl Handler<Dispatch> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Dispatch(events): Dispatch, ctx: &mut Self::Context) {
        let mut ways = Ways::default();
        let verdicts = events.into_iter().map(|judged| self.judge(judged, &mut ways)).collect();
        // Recorded before it is pushed: whatever a Delivery reads from the store is then never behind what it was told.
        self.parts.store.record(verdicts);
        for (key, events) in ways.pushes {
            if let Some(delivery) = self.start(key, ctx).and_then(Slot::addressed) {
                delivery.do_send(deliver::Push(events));
            }
        }
        ways.late.into_iter().for_each(|id| self.made_late(id, ctx));
        ways.failed.into_iter().for_each(|delivery| self.parts.tell_failed(delivery));
        self.set_alarm(ctx);
        self.served(ctx);
    }
}

impl Handler<Barrier> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Barrier(passed): Barrier, _: &mut Self::Context) {
        let _gone = passed.send(());
    }
}

impl Handler<Configure> for Dispatcher {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Configure(endpoint): Configure, ctx: &mut Self::Context) -> Self::Result {
        let key = endpoint.key;
        if let Some(slot) = self.endpoints.get(&key) {
            self.routes.remove(key, &slot.endpoint.settings);
        }
        self.routes.insert(key, &endpoint.settings);
        let debounce = endpoint.settings.debounce.clone();
        let new = || Slot::new(Arc::clone(&endpoint), BreakerRecord::default(), false);
        let slot = self.endpoints.entry(key).or_insert_with(new);
        let was = std::mem::replace(&mut slot.endpoint, Arc::clone(&endpoint)).settings.state;
        let enabled = was == State::Disabled && endpoint.settings.state != State::Disabled;
        let told = slot.addressed().map(|delivery| delivery.send(deliver::Configure(endpoint)));
        self.mute(key, debounce.as_deref(), ctx);
        let Some(slot) = self.endpoints.get_mut(&key) else { return Box::pin(ready(())) };
        if enabled && told.is_none() {
            // Not all that it held need have been dropped yet: the rest goes on.
            slot.life().stored = true;
            self.start(key, ctx);
        }
        // One that has died meanwhile starts no attempt either.
        Box::pin(async move { drop(join_all(told).await) })
    }
}

impl Handler<Remove> for Dispatcher {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Remove(key): Remove, ctx: &mut Self::Context) -> Self::Result {
        let slot = self.endpoints.remove(&key);
        self.mute(key, None, ctx);
        if let Some(slot) = &slot {
            self.routes.remove(key, &slot.endpoint.settings);
        }
        let told = slot.as_ref().and_then(Slot::delivery).map(|delivery| delivery.send(deliver::Cancel));
        Box::pin(async move { drop(join_all(told).await) })
    }
}
