//! Everything that is decided about one endpoint's deliveries. No actor, no socket, no clock: inputs come in with the time,
//! effects go out, and [`Machine::next_deadline`] tells when to look again.
//!
//! What is promised, and held by the laws in `machine/laws.rs`: nothing is lost and nothing settled twice; with one attempt in
//! flight deliveries go out strictly in order, in batches too; never more attempts than allowed; never one before its time; an open breaker
//! lets exactly one probe through.

mod effects;
mod gather;
mod health;
#[cfg(test)]
mod laws;
mod outlook;
mod record;
mod settle;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::{
    batch::Company,
    breaker::{Breaker, Gate, Transition},
    outcome::Outcome,
    queue::{Item, Key, Order, Queue},
    rate::Pace,
    retry::longest_wait,
};
use crate::{
    clock::{Mono, Now, Timestamp},
    endpoint::{
        EndpointKey, State,
        policy::{Policy, WhileOpen},
        queue::Ordered,
    },
    event::Accepted,
    quota::{Place, Portion},
    store::{BatchRequest, Cursor, DeadReason, DeliveryId, DropReason, Next, Page, PageRequest, Settlement},
    transport::{Answer, batch_id},
};

pub use effects::{Bounds, Disabled, Effect, Ended, Origin, Snapshot, Start};

/// Deliveries one page asks for, and bytes of events.
const PAGE_ITEMS: usize = 256;
/// The same of one key.
const LINE_ITEMS: usize = 65;
const PAGE_BYTES: usize = 1 << 20;
/// Deliveries given up in one go; the rest has its turn at once, but after others.
const GIVEN_UP_AT_ONCE: usize = 64;
/// How often a machine looks whether the store can write again.
const HELD_RETRY: Duration = Duration::from_millis(250);

#[derive(Debug)]
struct InFlight {
    /// In order; never empty.
    items: Vec<Item>,
    batch: Option<Arc<BatchRequest>>,
    /// The breaker's, when it started.
    generation: u32,
    started: Now,
    /// Deliveries have been dropped or cancelled since, perhaps this one: the store knows.
    unsure: bool,
    /// Which receiver it went to: see [`Machine::renew`].
    receiver: u32,
    _slot: Option<Place>,
}

/// The deliveries of one endpoint.
#[derive(Debug)]
pub struct Machine {
    endpoint: EndpointKey,
    policy: Arc<Policy>,
    state: State,
    bounds: Bounds,
    queue: Queue,
    breaker: Breaker,
    in_flight: BTreeMap<u64, InFlight>,
    tickets: u64,
    /// An attempt timed out and none has succeeded since: one at a time, so that a hung endpoint takes no slots.
    cautious: bool,
    /// After an outage: the bound on attempts grows with each answer that is no failure of the receiver.
    ramp: Option<u16>,
    pace: Pace,
    company: Company,
    /// Nothing waits for company any more.
    hurried: bool,
    receiver: u32,
    /// The event of the last probe: the next takes another.
    probed: Option<u64>,
    draining: bool,
    /// The store cannot write: an outcome could not be kept.
    held: bool,
    expired_left: bool,
    /// When it last looked at what may start. Deadlines count from here: what has become due since is one that has passed.
    looked_at: Now,
    failing_since: Option<Timestamp>,
    last_success_at: Option<Timestamp>,
    random: fastrand::Rng,
    effects: Vec<Effect>,
}

impl Machine {
    /// A machine with nothing in memory.
    pub fn new(origin: Origin, bounds: Bounds, now: Now) -> Self {
        let Origin { endpoint, policy, state, breaker, stored, last_success_at, seed } = origin;
        let released = breaker.since.filter(|_| breaker.open_until.is_none());
        let (order, longest) = (order(&policy), longest_wait(&policy));
        let stored = stored && state != State::Disabled;
        let queue = Queue::new(Arc::clone(&bounds.window_bytes), order, longest, stored, released);
        let record = breaker;
        let breaker = Breaker::restore(&record, &policy.breaker, now);
        let mut machine = Self {
            endpoint,
            policy,
            state,
            bounds,
            queue,
            breaker,
            in_flight: BTreeMap::new(),
            tickets: 0,
            cautious: false,
            ramp: None,
            pace: Pace::default(),
            company: Company::default(),
            hurried: false,
            receiver: 0,
            probed: None,
            draining: false,
            held: false,
            expired_left: false,
            looked_at: now,
            failing_since: record.failing_since,
            last_success_at,
            random: fastrand::Rng::with_seed(seed),
            effects: Vec::new(),
        };
        machine.queue.gather(together(&machine.policy));
        machine.pump(now);
        machine
    }

    /// Takes a new delivery; it is in the store already, or will be before anything that is read from there.
    pub fn push(&mut self, events: impl IntoIterator<Item = Arc<Accepted>>, now: Now) {
        if self.state != State::Disabled {
            events.into_iter().for_each(|event| self.queue.push(event));
        }
        self.pump(now);
    }

    /// Takes note of a delivery that was made anew in the store.
    pub fn replayed(&mut self, key: Key, now: Now) {
        self.queue.rewind(key);
        self.pump(now);
    }

    /// Takes what was read from the store; `None` when it could not be read.
    pub fn loaded(&mut self, page: Option<Page>, now: Now) {
        match page {
            Some(page) => self.queue.loaded(page, now),
            None => self.queue.page_failed(now.mono),
        }
        self.pump(now);
    }

    /// Takes the end of an attempt. An unknown ticket is of no effect.
    pub fn finished(&mut self, ticket: u64, answer: &Answer, now: Now) {
        let Some(flight) = self.in_flight.remove(&ticket) else { return };
        let outcome = Outcome::of(answer, self.policy.success);
        let present = flight.receiver == self.receiver;
        let was_failing = self.failing_since.is_some();
        if present {
            self.note_health(outcome, answer, now);
        }
        self.conclude(flight, outcome, answer, now);
        if present {
            self.judge_endpoint(outcome, now);
        }
        if was_failing != self.failing_since.is_some() {
            self.effects.push(Effect::Breaker(None, self.breaker_record()));
        }
        self.pump(now);
    }

    /// There is another receiver behind the endpoint, or its user has repaired it: what was known of its health is void, and
    /// what the old one still answers says nothing.
    pub fn renew(&mut self, now: Now) {
        self.receiver = self.receiver.wrapping_add(1);
        (self.failing_since, self.cautious, self.ramp) = (None, false, None);
        let transition = (!self.breaker.is_closed()).then_some(Transition::Reset);
        if transition.is_some() {
            self.queue.release(now);
        }
        self.breaker.reset(now);
        self.shrink();
        self.effects.push(Effect::Breaker(transition, self.breaker_record()));
    }

    /// Takes its places in flight from now on as its tenant may.
    pub fn belongs_to(&mut self, in_flight: Portion) {
        self.bounds.in_flight = in_flight;
    }

    /// Takes other settings and another state, from the next attempt on.
    pub fn configure(&mut self, policy: Arc<Policy>, state: State, now: Now) {
        let reorder = order(&policy) != order(&self.policy);
        let (was_disabled, disabled) = (self.state == State::Disabled, state == State::Disabled);
        self.policy = policy;
        self.state = state;
        if disabled {
            self.in_flight.values_mut().for_each(|flight| flight.unsure = true);
        }
        self.queue.gather(together(&self.policy));
        self.company.forget();
        if reorder || was_disabled != disabled {
            self.reset(!disabled);
        } else {
            self.queue.limit_waits(longest_wait(&self.policy));
        }
        self.pump(now);
    }

    /// Deliveries have been cancelled in the store: what waits is read from there again, and so is what is in flight, should
    /// it fail.
    pub fn cancelled(&mut self, now: Now) {
        if self.state != State::Disabled {
            self.in_flight.values_mut().for_each(|flight| flight.unsure = true);
            self.reset(true);
        }
        self.pump(now);
    }

    /// Forgets what waits; with `stored`, to read it again.
    fn reset(&mut self, stored: bool) {
        self.queue.reset(order(&self.policy), longest_wait(&self.policy), stored);
        self.queue.adopt(self.in_flight.values().flat_map(|flight| &flight.items));
    }

    /// These deliveries have been dropped in the store. One that is in flight may still arrive; should it fail, the store knows.
    pub fn dropped(&mut self, keys: &[Key], now: Now) {
        let mut waiting: HashSet<_> = keys.iter().copied().collect();
        for flight in self.in_flight.values_mut() {
            for item in &flight.items {
                flight.unsure |= waiting.remove(&item.key());
            }
        }
        self.queue.forget(&waiting);
        self.pump(now);
    }

    /// Starts no attempt as long as the store cannot write.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Starts no attempt any more.
    pub fn drain(&mut self) {
        self.draining = true;
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Now) {
        self.pump(now);
    }

    /// What is to be done, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Starts what may be started, and asks the store for more.
    fn pump(&mut self, now: Now) {
        self.expired_left = false;
        self.looked_at = now;
        if self.draining || self.state != State::Active {
            return;
        }
        let mut expired = 0;
        self.give_up_while_open(now, &mut expired);
        if self.policy.batch.is_some() {
            // What is read may fill the first batch.
            self.ask_for_page(now);
        }
        while !self.held && self.in_flight.len() < self.bound() {
            let gate = self.breaker.gate(now.mono);
            if !matches!(gate, Gate::Free | Gate::Probe) {
                break;
            }
            if self.pace(now.mono) > now.mono {
                break;
            }
            let slot = self.bounds.in_flight.take(self.in_flight.len());
            if slot.is_none() && !self.in_flight.is_empty() {
                break;
            }
            let Some(items) = self.next_items(gate, now) else { break };
            let items = self.without_expired(items, now, &mut expired);
            if !items.is_empty() {
                self.start(items, gate, slot, now);
            }
            if self.expired_left {
                break;
            }
        }
        self.ask_for_page(now);
        self.note_company(now);
    }

    /// When the rate lets the next attempt start.
    fn pace(&self, now: Mono) -> Mono {
        self.policy.rate.as_ref().map_or(now, |rate| self.pace.next(rate, now))
    }

    /// Where an open breaker does not hold what is due, it ends here. The probe takes what is due at its time.
    fn give_up_while_open(&mut self, now: Now, count: &mut usize) {
        let end = match self.policy.breaker.while_open {
            WhileOpen::Hold => return,
            WhileOpen::DeadLetter => Next::DeadLettered(DeadReason::CircuitOpen),
            WhileOpen::Skip => Next::Dropped(DropReason::CircuitOpen),
        };
        while !self.held && matches!(self.breaker.gate(now.mono), Gate::Until(_) | Gate::Probing) {
            let Some(item) = self.queue.take(now.mono, None) else { return };
            if self.give_up(&item, end, now, count) {
                return;
            }
        }
    }

    fn bound(&self) -> usize {
        let bound = if self.cautious { 1 } else { self.ramp.unwrap_or(u16::MAX).min(self.policy.in_flight) };
        usize::from(bound)
    }

    fn start(&mut self, items: Vec<Item>, gate: Gate, slot: Option<Place>, now: Now) {
        let Some(first) = items.first() else { return };
        if gate == Gate::Probe {
            self.probed = Some(first.event.seq);
        }
        self.tickets += 1;
        let number = first.attempts + 1;
        let (ticket, late) = (self.tickets, first.late(now.mono));
        let events: Vec<_> = items.iter().map(|item| Arc::clone(&item.event)).collect();
        let batch = self.policy.batch.is_some().then(|| batch_request(&items, &events));
        let start = Start { ticket, events, runs: items.iter().map(|item| item.run).collect(), number, late };
        if let Some(rate) = &self.policy.rate {
            items.iter().for_each(|_| self.pace.start(rate, now.mono));
        }
        let generation = self.breaker.start(gate);
        let receiver = self.receiver;
        let flight = InFlight { items, batch, generation, started: now, unsure: false, receiver, _slot: slot };
        self.in_flight.insert(self.tickets, flight);
        self.effects.push(Effect::Send(start));
    }

    /// Settles a delivery without an attempt; tells whether it is time to let others have their turn.
    fn give_up(&mut self, item: &Item, next: Next, now: Now, count: &mut usize) -> bool {
        self.queue.finish(item.key());
        self.effects.push(Effect::Settle(Settlement {
            delivery: self.delivery(item),
            attempt: None,
            spent: item.spent,
            next,
            at: now.wall,
        }));
        self.ended(item, next, None);
        *count += 1;
        self.expired_left = *count >= GIVEN_UP_AT_ONCE;
        self.expired_left
    }

    fn ask_for_page(&mut self, now: Now) {
        if let Some(cursor) = self.queue.page(now) {
            let items = if matches!(cursor, Cursor::OfKey { .. }) { LINE_ITEMS } else { PAGE_ITEMS };
            let (endpoint, bytes) = (self.endpoint, PAGE_BYTES);
            self.effects.push(Effect::Page(PageRequest { endpoint, cursor, items, bytes }));
        }
    }

    fn delivery(&self, item: &Item) -> DeliveryId {
        DeliveryId { seq: item.event.seq, endpoint: self.endpoint, run: item.run }
    }
}

/// Deliveries that may go out together.
fn together(policy: &Policy) -> usize {
    policy.batch.as_ref().map_or(1, |batch| usize::try_from(batch.max_items).unwrap_or(usize::MAX))
}

/// How the store knows the request.
fn batch_request(items: &[Item], events: &[Arc<Accepted>]) -> Arc<BatchRequest> {
    let (first, run) = items.first().map_or((0, 0), Item::key);
    Arc::new(BatchRequest {
        id: batch_id(events),
        size: u32::try_from(items.len()).unwrap_or(u32::MAX),
        name: (first, run, items.first().map_or(0, |item| item.attempts + 1)),
        last: items.last().map_or(first, |item| item.event.seq),
    })
}

/// Strict order is what one attempt at a time means.
fn order(policy: &Policy) -> Order {
    match policy.ordered {
        _ if policy.in_flight == 1 => Order::Strict,
        Ordered::None => Order::Free,
        Ordered::Key => Order::Keyed,
    }
}
