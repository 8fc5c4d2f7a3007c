//! Delivery to one endpoint: the machine that decides, and the actor around it.
//!
//! The actor turns messages and time into the machine's inputs and carries its effects out. It decides nothing itself.

pub mod batch;
pub mod breaker;
#[cfg(feature = "testing")]
pub(crate) mod death;
pub mod machine;
mod messages;
mod notice;
pub mod outcome;
pub mod queue;
pub mod rate;
mod rest;
mod retry;

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, MessageResult, Recipient};
use actix_rt::task::JoinHandle;
use futures_util::FutureExt;
use tracing::{debug, info, warn};

use crate::{
    actor::{Alarm, Yielder, yield_now},
    clock::{Clock, Mono},
    endpoint::{Endpoint, State, TenantScope},
    event::Accepted,
    metrics::Metrics,
    quota::{Commons, Quota},
    store::{BreakerRecord, DeadReason, DeliveryId, Flight, Flights, Next, Page, Settlement, Store},
    transport::{Answer, Attempt, Failure, FailureKind, KEPT_RESPONSE_BYTES, Transport},
};
use breaker::Transition;
use machine::{Bounds, Effect, Ended, Machine, Origin, Start};
pub use messages::{
    Birth, Cancel, Configure, Died, Drain, Dropped, Forget, Idle, Inspect, Obituary, Push, Replayed, Retire,
};
use messages::{Finished, Loaded};
pub use notice::{News, Notice, Observer};
use rest::Rest;

/// Everything about one endpoint: its window, attempts in flight, timers and breaker.
pub struct Delivery {
    endpoint: Arc<Endpoint>,
    machine: Machine,
    parts: Parts,
    transport: Rc<dyn Transport>,
    alarm: Alarm,
    yielder: Yielder,
    tasks: HashMap<u64, Exchange>,
    drained: Option<Drain>,
    /// When what is in flight is cut off by a shutdown, and how much was.
    cut_at: Option<Mono>,
    cut: usize,
    rest: Rest,
    /// Messages from its owner so far that change anything.
    heard: u64,
    owner: Recipient<Idle>,
    obituary: Obituary,
}

/// An attempt that is being made.
struct Exchange {
    task: JoinHandle<()>,
    started: Mono,
    /// One for each delivery in it.
    flights: Vec<Flight>,
}

fn count_of(flights: &[Flight]) -> u64 {
    u64::try_from(flights.len()).unwrap_or(u64::MAX)
}

/// What all deliveries of one Hookmill use.
#[derive(Clone)]
pub struct Parts {
    /// Where outcomes go and pages come from.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Clock,
    /// Bytes of events in all windows.
    pub window_bytes: Arc<Quota>,
    /// Attempts in flight, by whose endpoints they are to; each endpoint's first is exempt.
    pub places: Arc<Commons<TenantScope>>,
    /// Deliveries in flight, of all endpoints.
    pub in_flight: Arc<AtomicU64>,
    /// For which deliveries they are.
    pub flights: Arc<Flights>,
    /// Told what happens to endpoints. A leaf: nothing comes back from it.
    pub observer: Arc<OnceLock<Observer>>,
    /// Told of each delivery that failed for good. A leaf, too.
    pub failures: Arc<OnceLock<FailureObserver>>,
    /// Where attempts are counted.
    pub metrics: Arc<Metrics>,
}

/// Is told of each delivery that failed for good.
pub type FailureObserver = Box<dyn Fn(DeliveryId) + Send + Sync>;

impl Parts {
    /// A delivery is a dead letter or dropped, and the store has been told.
    pub(crate) fn tell_failed(&self, delivery: DeliveryId) {
        if let Some(observer) = self.failures.get() {
            observer(delivery);
        }
    }
}

/// Makes one attempt. The transport may be a host's own code: its panic is an answer like others.
pub(crate) async fn exchange(transport: &dyn Transport, attempt: Attempt) -> Answer {
    let exchange = AssertUnwindSafe(async { transport.send(attempt).await }).catch_unwind();
    exchange.await.unwrap_or_else(|_| Err(Failure::new(FailureKind::Internal, "the transport panicked")))
}

impl Delivery {
    /// A Delivery that has not started yet.
    pub fn new(birth: Birth, parts: Parts, transport: Rc<dyn Transport>) -> Self {
        let Birth { endpoint, stored, last_success_at, seed, owner, obituary } = birth;
        let settings = &endpoint.settings;
        let origin = Origin {
            endpoint: endpoint.key,
            policy: Arc::clone(&settings.policy),
            state: settings.state,
            breaker: obituary.notice.breaker,
            stored,
            last_success_at,
            seed,
        };
        let now = parts.clock.now();
        let bounds =
            Bounds { window_bytes: Arc::clone(&parts.window_bytes), in_flight: parts.places.portion(&settings.tenant) };
        let machine = Machine::new(origin, bounds, now);
        Self {
            endpoint,
            machine,
            parts,
            transport,
            alarm: Alarm::default(),
            yielder: Yielder::default(),
            tasks: HashMap::new(),
            drained: None,
            cut_at: None,
            cut: 0,
            rest: Rest::new(now.mono),
            heard: 0,
            owner,
            obituary,
        }
    }

    /// Gives the machine an input and carries out what follows.
    fn input(&mut self, ctx: &mut Context<Self>, input: impl FnOnce(&mut Machine, crate::clock::Now)) {
        self.machine.hold(!self.parts.store.writable());
        input(&mut self.machine, self.parts.clock.now());
        self.carry_out(ctx);
        if self.yielder.is_time() {
            yield_now(self, ctx);
        }
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        for effect in self.machine.take_effects() {
            match effect {
                Effect::Send(start) => self.send(start, ctx),
                Effect::Settle(settlement) => {
                    self.log(&settlement);
                    let failed = failed(&settlement);
                    self.parts.store.settle(settlement);
                    failed.into_iter().for_each(|delivery| self.parts.tell_failed(delivery));
                }
                Effect::SettleBatch(settlements) => {
                    settlements.iter().for_each(|settlement| self.log(settlement));
                    let failed: Vec<_> = settlements.iter().filter_map(failed).collect();
                    self.parts.store.settle_batch(settlements);
                    failed.into_iter().for_each(|delivery| self.parts.tell_failed(delivery));
                }
                Effect::Page(request) => {
                    let addr = ctx.address();
                    let reply = move |page: Result<Page, _>| addr.do_send(Loaded(page.ok()));
                    self.parts.store.page(request, Box::new(reply));
                }
                Effect::Breaker(transition, record) => {
                    if let Some(transition) = transition {
                        self.log_breaker(transition, &record);
                        self.tell_breaker(transition, record);
                    }
                    self.obituary.notice.breaker = record;
                    self.parts.store.keep_breaker(self.endpoint.key, record);
                }
                Effect::Ended(ended) => self.ended(ended),
                Effect::Disable(why) => self.tell(News::Disable(why)),
            }
        }
        self.tell_drained();
        let now = self.parts.clock.now();
        self.rest.note(self.machine.is_as_new(now.mono), now.mono);
        let deadlines = [self.machine.next_deadline(), self.cut_at, Some(self.rest.look_at())];
        self.alarm.set(deadlines.into_iter().flatten().min(), &self.parts.clock, ctx, Self::ring);
    }

    fn ring(&mut self, ctx: &mut Context<Self>) {
        self.alarm.rung();
        let now = self.parts.clock.now().mono;
        if self.cut_at.is_some_and(|cut_at| now >= cut_at) {
            self.cut_off();
        }
        if self.rest.is_due(now) && self.machine.is_as_new(now) && self.drained.is_none() {
            self.tell_idle(ctx);
        }
        self.input(ctx, Machine::tick);
    }

    fn send(&mut self, start: Start, ctx: &mut Context<Self>) {
        let Start { ticket, events, runs, number, late } = start;
        let delivery = |(event, run): (&Arc<Accepted>, &u32)| {
            self.parts.flights.start(DeliveryId { seq: event.seq, endpoint: self.endpoint.key, run: *run })
        };
        let flights: Vec<_> = events.iter().zip(&runs).map(delivery).collect();
        let now = self.parts.clock.now();
        if let Some(late) = late {
            self.parts.metrics.retry_lateness.time(late);
        }
        let endpoint = Arc::clone(&self.endpoint);
        let attempt = Attempt { events, endpoint, number, at: now.wall, keep: KEPT_RESPONSE_BYTES };
        let (transport, addr) = (Rc::clone(&self.transport), ctx.address());
        self.parts.in_flight.fetch_add(count_of(&flights), Ordering::AcqRel);
        let task = actix_rt::spawn(async move {
            let answer = exchange(transport.as_ref(), attempt).await;
            addr.do_send(Finished { ticket, answer });
        });
        self.tasks.insert(ticket, Exchange { task, started: now.mono, flights });
    }

    fn log(&self, settlement: &Settlement) {
        let (endpoint, delivery) = (&self.endpoint.id, settlement.delivery);
        let attempt = settlement.attempt.as_ref();
        let (number, error) = (attempt.map(|one| one.number), attempt.and_then(|one| one.error.as_deref()));
        match settlement.next {
            Next::Delivered => debug!(%endpoint, %delivery, attempt = number, "delivered"),
            Next::Retry { due, .. } => debug!(%endpoint, %delivery, attempt = number, error, %due, "attempt failed"),
            Next::DeadLettered(reason) => {
                let reason = DeadReason::as_str(reason);
                warn!(event = "delivery.dead_lettered", %endpoint, %delivery, attempt = number, reason, error, "dead letter");
            }
            Next::Dropped(reason) => {
                let reason = reason.as_str();
                // The store logs what is dropped, for whatever reason.
                debug!(%endpoint, %delivery, attempt = number, reason, error, "dropped");
            }
        }
    }

    fn ended(&self, ended: Ended) {
        let metrics = &self.parts.metrics;
        match ended.end {
            Next::Delivered => {
                let latency = if ended.attempts == 1 { &metrics.first_latency } else { &metrics.later_latency };
                latency.time(self.parts.clock.now().wall.since(ended.created_at));
            }
            Next::DeadLettered(_) => self.tell(News::DeadLettered(Box::new(ended))),
            Next::Retry { .. } | Next::Dropped(_) => {}
        }
    }

    fn tell(&self, news: News) {
        if let Some(observer) = self.parts.observer.get() {
            observer(Notice { endpoint: Arc::clone(&self.endpoint), news });
        }
    }

    fn tell_breaker(&self, transition: Transition, record: BreakerRecord) {
        match transition {
            Transition::Opened => self.tell(News::Failing(record)),
            Transition::Reopened => {}
            Transition::Closed => self.tell(News::Recovered { reset: false }),
            Transition::Reset => self.tell(News::Recovered { reset: true }),
        }
    }

    fn log_breaker(&self, transition: Transition, record: &BreakerRecord) {
        let endpoint = &self.endpoint.id;
        let cooldown_ms = record.cooldown.as_millis();
        match transition {
            Transition::Opened => warn!(event = "breaker.opened", %endpoint, cooldown_ms, "breaker opened"),
            Transition::Reopened => info!(event = "breaker.probed", %endpoint, cooldown_ms, "probe failed"),
            Transition::Closed => info!(event = "breaker.closed", %endpoint, "breaker closed"),
            Transition::Reset => info!(event = "breaker.closed", %endpoint, "breaker closed: another receiver"),
        }
    }

    fn tell_idle(&self, ctx: &mut Context<Self>) {
        if !self.owner.connected() {
            return ctx.stop();
        }
        let Died { endpoint, incarnation, breaker } = self.obituary.notice;
        let last_success_at = self.machine.last_success_at();
        self.owner.do_send(Idle { endpoint, incarnation, heard: self.heard, breaker, last_success_at });
    }

    /// Ends what is in flight, for good; what it was for is pending in the store.
    fn cut_off(&mut self) {
        self.machine.drain();
        self.cut_at = None;
        let cut = self.tasks.len();
        for (_, exchange) in self.tasks.drain() {
            exchange.task.abort();
            self.parts.in_flight.fetch_sub(count_of(&exchange.flights), Ordering::AcqRel);
        }
        self.cut += cut;
        if cut > 0 {
            warn!(event = "server.draining", endpoint = %self.endpoint.id, cut, "its time has passed; cut off");
        }
        if let Some(drain) = self.drained.take() {
            let _gone = drain.done.send(());
        }
    }

    fn tell_drained(&mut self) {
        let (idle, empty) = (self.machine.is_idle(), self.machine.is_empty());
        if let Some(drain) = self.drained.take_if(|drain| idle && (!drain.empty || empty)) {
            self.machine.drain();
            let _gone = drain.done.send(());
        }
    }
}

/// The delivery if it is a dead letter or dropped now.
fn failed(settlement: &Settlement) -> Option<DeliveryId> {
    let failed = matches!(settlement.next, Next::DeadLettered(_) | Next::Dropped(_));
    failed.then_some(settlement.delivery)
}

impl Actor for Delivery {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.carry_out(ctx);
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        for exchange in self.tasks.values() {
            exchange.task.abort();
            self.parts.in_flight.fetch_sub(count_of(&exchange.flights), Ordering::AcqRel);
        }
    }
}

impl Handler<Push> for Delivery {
    type Result = ();

    fn handle(&mut self, Push(events): Push, ctx: &mut Self::Context) {
        self.heard += 1;
        self.input(ctx, |machine, now| machine.push(events, now));
    }
}

impl Handler<Finished> for Delivery {
    type Result = ();

    fn handle(&mut self, Finished { ticket, answer }: Finished, ctx: &mut Self::Context) {
        // In flight until its outcome has been told.
        if let Some(exchange) = self.tasks.remove(&ticket) {
            let metrics = &self.parts.metrics;
            metrics.attempts.one(outcome::label(&answer));
            metrics.attempt_duration.time(self.parts.clock.now().mono.since(exchange.started));
            self.parts.in_flight.fetch_sub(count_of(&exchange.flights), Ordering::AcqRel);
            self.input(ctx, |machine, now| machine.finished(ticket, &answer, now));
        }
    }
}

impl Handler<Loaded> for Delivery {
    type Result = ();

    fn handle(&mut self, Loaded(page): Loaded, ctx: &mut Self::Context) {
        self.input(ctx, |machine, now| machine.loaded(page, now));
    }
}

impl Handler<Replayed> for Delivery {
    type Result = ();

    fn handle(&mut self, Replayed(key): Replayed, ctx: &mut Self::Context) {
        self.heard += 1;
        self.input(ctx, |machine, now| machine.replayed(key, now));
    }
}

impl Handler<Dropped> for Delivery {
    type Result = ();

    fn handle(&mut self, Dropped(keys): Dropped, ctx: &mut Self::Context) {
        self.heard += 1;
        self.input(ctx, |machine, now| machine.dropped(&keys, now));
    }
}

impl Handler<Forget> for Delivery {
    type Result = ();

    fn handle(&mut self, _: Forget, ctx: &mut Self::Context) {
        self.heard += 1;
        self.input(ctx, Machine::cancelled);
    }
}

impl Handler<Configure> for Delivery {
    type Result = ();

    fn handle(&mut self, Configure(endpoint): Configure, ctx: &mut Self::Context) {
        self.heard += 1;
        let (policy, state) = (Arc::clone(&endpoint.settings.policy), endpoint.settings.state);
        let old = std::mem::replace(&mut self.endpoint, endpoint);
        let (was, is) = (&old.settings, &self.endpoint.settings);
        let renewed =
            !was.target.is_same_place(&is.target) || (was.state == State::Disabled && state != State::Disabled);
        let places = self.parts.places.portion(&self.endpoint.settings.tenant);
        self.input(ctx, |machine, now| {
            machine.belongs_to(places);
            if renewed {
                machine.renew(now);
            }
            machine.configure(policy, state, now);
        });
    }
}

impl Handler<Drain> for Delivery {
    type Result = ();

    fn handle(&mut self, drain: Drain, ctx: &mut Self::Context) {
        let active = self.endpoint.settings.state == State::Active;
        self.drained = Some(Drain { empty: drain.empty && active, ..drain });
        let (now, policy) = (self.parts.clock.now(), &self.endpoint.settings.policy);
        self.cut_at = policy.drain.map(|drain| now.mono.after(drain));
        if self.cut_at == Some(now.mono) {
            self.cut_off();
        } else if active && (drain.empty || policy.batch.is_some()) {
            // What only waits for company goes out with a disk too.
            self.machine.hold(!self.parts.store.writable());
            self.machine.hurry(now);
        } else {
            self.machine.drain();
        }
        self.carry_out(ctx);
    }
}

impl Handler<Cancel> for Delivery {
    type Result = usize;

    fn handle(&mut self, _: Cancel, ctx: &mut Self::Context) -> usize {
        let cut = self.cut + self.tasks.len();
        // Dropping the actor ends its attempts; what they were for is pending in the store.
        ctx.stop();
        cut
    }
}

impl Handler<Retire> for Delivery {
    type Result = ();

    fn handle(&mut self, _: Retire, ctx: &mut Self::Context) {
        ctx.stop();
    }
}

impl Handler<Inspect> for Delivery {
    type Result = MessageResult<Inspect>;

    fn handle(&mut self, _: Inspect, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.machine.snapshot(self.parts.clock.now()))
    }
}
