//! A machine in a world of its own: a store that is a map, a receiver with weather, a clock that is moved by hand. Whatever
//! the machine does is held against the laws as it happens; a breach is noted under the law that it breaks.

mod batches;
mod checks;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    receiver::{Weather, answer, is_success, is_timeout},
    store::{FakeStore, event},
};
use crate::{
    clock::{Mono, Now, Timestamp},
    deliver::{
        machine::{Bounds, Effect, Machine, Origin},
        outcome::{Health, Outcome},
        queue::Key,
    },
    endpoint::{EndpointKey, State, policy::Policy},
    event::Accepted,
    quota::{Commons, Place, Quota, Share},
    store::{BreakerRecord, Page, PageRequest},
    transport::Answer,
};

/// What a breach breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Law {
    NothingLost,
    NothingTwice,
    StrictOrder,
    KeyOrder,
    InFlightBound,
    Breaker,
    NotEarly,
    Deadlines,
    Allowed,
    Budget,
    Batches,
    Company,
}

/// What happens next in a world.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// So many events are routed, `gap` seqs apart, with so much data; the machine hears of them later.
    Route {
        count: u8,
        gap: u8,
        size: u16,
    },
    /// The machine hears of them.
    Push,
    /// An attempt ends.
    Finish {
        which: u8,
        roll: u8,
    },
    /// Time passes. A prompt clock ticks at each deadline on the way, the other only at the end.
    Advance {
        by: Duration,
        prompt: bool,
    },
    /// Time passes to the next deadline.
    ToDeadline,
    /// The store reads the page that was asked for, with at most so many rows.
    Read {
        rows: u8,
    },
    /// What was read reaches the machine.
    Deliver {
        rows: u8,
    },
    /// The page could not be read.
    FailPage,
    Configure(u8),
    Pause,
    Disable,
    Activate,
    /// The store drops so many of the first that wait, and perhaps one in flight, because there are too many.
    Full {
        count: u8,
        flying: bool,
    },
    /// A dead letter is replayed.
    Replay(u8),
    /// The machine and its attempts are gone; another takes over.
    Restart,
    /// A machine that equals a new one is replaced by one.
    Retire,
    Hold(bool),
    Weather(Weather),
    /// Other endpoints take so many slots and so many bytes.
    Others {
        slots: u8,
        bytes: u16,
    },
}

/// A world before anything has happened.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) policy: Policy,
    pub(super) window_bytes: usize,
    pub(super) slots: usize,
    /// Every fifth event is never taken by the receiver: answered 500, or 422 where there are batches.
    pub(super) poison: bool,
}

#[derive(Debug)]
struct Flight {
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Paging {
    request: PageRequest,
    read: Option<Page>,
}

/// What the breaker's effects allow.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Closed,
    Open(Timestamp),
    /// By the attempt with this ticket.
    Probing(u64),
}

#[derive(Debug)]
pub(super) struct World {
    elapsed: Duration,
    pub(super) machine: Machine,
    bounds: Bounds,
    places: Commons<&'static str>,
    setting: Setting,
    state: State,
    pub(super) store: FakeStore,
    unpushed: VecDeque<Arc<Accepted>>,
    in_flight: BTreeMap<u64, Flight>,
    paging: Option<Paging>,
    page_failed: bool,
    weather: Weather,
    next_seq: u64,
    heaviest: usize,
    breaker: BreakerRecord,
    gate: Gate,
    cautious: bool,
    ramp: Option<u16>,
    released: Option<Timestamp>,
    held: bool,
    last: Option<(Vec<Key>, Answer)>,
    others: (Option<Share>, Vec<Place>),

    /// Pages so far.
    pub(super) pages: usize,
    /// Attempts so far: when, and for what.
    pub(super) sent: Vec<(Duration, Key)>,
    /// The requests in which they were made.
    pub(super) requests: Vec<(Duration, Vec<Key>)>,
    pub(super) breaches: Vec<(Law, String)>,
}

const ENDPOINT: EndpointKey = EndpointKey(1);
/// Wall-clock time at the start; a part of a millisecond, so that rounding shows.
const EPOCH: Duration = Duration::from_micros(1_700_000_000_000_300);

fn at(elapsed: Duration) -> Now {
    let wall = i64::try_from((EPOCH + elapsed).as_millis()).unwrap();
    Now { mono: Mono::from_start(elapsed), wall: Timestamp::from_millis(wall) }
}

fn machine(
    setting: &Setting,
    bounds: &Bounds,
    state: State,
    breaker: BreakerRecord,
    stored: bool,
    now: Now,
) -> Machine {
    let origin = Origin {
        endpoint: ENDPOINT,
        policy: setting.policy.clone().into(),
        state,
        breaker,
        stored,
        last_success_at: None,
        seed: 7,
    };
    Machine::new(origin, bounds.clone(), now)
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let places = Commons::new(setting.slots);
        let bounds = Bounds { window_bytes: Quota::new(setting.window_bytes), in_flight: places.portion(&"own") };
        let breaker = BreakerRecord::default();
        Self {
            elapsed: Duration::ZERO,
            machine: machine(&setting, &bounds, State::Active, breaker, false, at(Duration::ZERO)),
            bounds,
            places,
            setting,
            state: State::Active,
            store: FakeStore::default(),
            unpushed: VecDeque::new(),
            in_flight: BTreeMap::new(),
            paging: None,
            page_failed: false,
            weather: Weather::Fair,
            next_seq: 1,
            heaviest: 0,
            breaker,
            gate: Gate::Closed,
            cautious: false,
            ramp: None,
            released: None,
            held: false,
            last: None,
            others: (None, Vec::new()),

            pages: 0,
            sent: Vec::new(),
            requests: Vec::new(),
            breaches: Vec::new(),
        }
    }

    /// A world with room for everything.
    pub(super) fn roomy(policy: Policy) -> Self {
        Self::new(Setting { policy, window_bytes: 64 << 20, slots: 4096, poison: false })
    }

    pub(super) fn now(&self) -> Now {
        at(self.elapsed)
    }

    fn breach(&mut self, law: Law, what: &str) {
        let moment = self.elapsed;
        self.breaches.push((law, format!("at {moment:?}: {what}")));
    }

    fn hold_to(&mut self, law: Law, kept: bool, what: impl FnOnce() -> String) {
        if !kept {
            self.breach(law, &what());
        }
    }

    pub(super) fn apply(&mut self, op: Op) {
        let now = self.now();
        match op {
            Op::Route { count, gap, size } => self.route(count.into(), gap.into(), size.into()),
            Op::Push => self.push(),
            Op::Finish { which, roll } => self.finish_one(which.into(), roll),
            Op::Advance { by, prompt } => self.advance(by, prompt),
            Op::ToDeadline => self.skip_to_deadline(),
            Op::Read { rows } => self.read(rows.into()),
            Op::Deliver { rows } => self.deliver_page(rows.into()),
            Op::FailPage => {
                if self.paging.take().is_some() {
                    self.page_failed = true;
                    self.machine.loaded(None, now);
                }
            }
            Op::Configure(which) => self.configure(super::policy(which)),
            Op::Pause => self.set_state(State::Paused),
            Op::Disable => self.set_state(State::Disabled),
            Op::Activate => self.set_state(State::Active),
            Op::Full { count, flying } => self.drop_first(count.into(), flying),
            Op::Replay(which) => self.replay(which.into()),
            Op::Restart => self.restart(),
            Op::Retire => self.retire(),
            Op::Hold(held) => self.hold(held),
            Op::Weather(weather) => self.weather = weather,
            Op::Others { slots, bytes } => self.others_take(slots.into(), bytes.into()),
        }
        self.look();
    }

    fn route(&mut self, count: usize, gap: u64, size: usize) {
        for _ in 0..count {
            let event = event(self.next_seq, self.now().wall, size);
            self.next_seq += gap.max(1);
            self.heaviest = self.heaviest.max(event.weight());
            self.store.insert(&event, 0, self.now().wall, self.state == State::Disabled);
            self.unpushed.push_back(event);
        }
    }

    pub(super) fn push(&mut self) {
        let events = std::mem::take(&mut self.unpushed);
        self.machine.push(events, self.now());
        self.look();
    }

    /// Events of one key are routed, and the machine hears of them.
    pub(super) fn route_key(&mut self, count: usize, key: &str) {
        for _ in 0..count {
            let event = self.store_key(key);
            self.unpushed.push_back(event);
        }
        self.push();
    }

    /// An event of this key is routed.
    pub(super) fn store_key(&mut self, key: &str) -> Arc<Accepted> {
        let mut event = Arc::unwrap_or_clone(event(self.next_seq, self.now().wall, 100));
        event.key = Some(key.into());
        let event = Arc::new(event);
        self.next_seq += 1;
        self.heaviest = self.heaviest.max(event.weight());
        self.store.insert(&event, 0, self.now().wall, false);
        event
    }

    pub(super) fn weather_is_down(&mut self) {
        self.weather = Weather::Down;
    }

    pub(super) fn weather_is_fair(&mut self) {
        self.weather = Weather::Fair;
    }

    /// Reads and answers; time stands still.
    pub(super) fn work(&mut self) {
        if self.paging.is_some() {
            self.deliver_page(usize::MAX);
        } else {
            self.finish_all(0);
        }
        self.look();
    }

    pub(super) fn route_and_push(&mut self, count: usize) {
        self.route(count, 1, 100);
        self.push();
    }

    fn finish_one(&mut self, which: usize, roll: u8) {
        let Some(ticket) = self.in_flight.keys().nth(which % self.in_flight.len().max(1)).copied() else { return };
        self.finish(ticket, roll);
    }

    fn finish(&mut self, ticket: u64, roll: u8) {
        let Some(flight) = self.in_flight.get(&ticket) else { return };
        let poisoned = self.setting.poison && flight.keys.iter().any(|key| key.0 % 5 == 3);
        let refuses = if self.setting.policy.batch.is_some() { 422 } else { 500 };
        self.end(ticket, &answer(self.weather, poisoned.then_some(refuses), roll, self.now().wall));
    }

    /// An attempt ends like this.
    fn end(&mut self, ticket: u64, answer: &Answer) {
        let Some(flight) = self.in_flight.remove(&ticket) else { return };
        if is_success(answer) {
            self.cautious = false;
        }
        match Outcome::of(answer, self.setting.policy.success).health() {
            Health::Good | Health::Neutral => {
                self.ramp = self.ramp.map(|ramp| ramp * 2).filter(|ramp| *ramp < self.setting.policy.in_flight);
            }
            Health::Bad => {}
            // A probe that says nothing is made again.
            Health::Unknown if matches!(self.gate, Gate::Probing(probe) if probe == ticket) => {
                self.gate = Gate::Open(self.now().wall);
            }
            Health::Unknown => {}
        }
        self.cautious |= is_timeout(answer);
        self.last = Some((flight.keys, answer.clone()));
        self.machine.finished(ticket, answer, self.now());
        self.look();
    }

    /// The oldest attempt ends like this.
    pub(super) fn end_first(&mut self, answer: &Answer) {
        if let Some(ticket) = self.in_flight.keys().next().copied() {
            self.end(ticket, answer);
        }
    }

    pub(super) fn finish_all(&mut self, roll: u8) {
        let tickets: Vec<_> = self.in_flight.keys().copied().collect();
        tickets.into_iter().for_each(|ticket| self.finish(ticket, roll));
    }

    /// Time passes; a prompt clock ticks at each deadline on the way.
    pub(super) fn advance(&mut self, by: Duration, prompt: bool) {
        let target = self.elapsed + by;
        // A clock that finds a deadline every millisecond for ever is a breach that `look` notes.
        for _ in 0..1000 {
            let Some(deadline) = self.machine.next_deadline().filter(|_| prompt) else { break };
            let deadline = deadline.since(Mono::default());
            if deadline >= target {
                break;
            }
            self.move_to(deadline);
        }
        let early = self.machine.next_deadline().is_none_or(|deadline| deadline > at(target).mono);
        self.elapsed = target;
        self.machine.tick(self.now());
        let effects = self.machine.take_effects();
        self.hold_to(Law::Deadlines, !early || effects.is_empty(), || format!("an early tick gave {effects:?}"));
        effects.into_iter().for_each(|effect| self.carry_out(effect));
    }

    fn move_to(&mut self, deadline: Duration) {
        self.elapsed = self.elapsed.max(deadline);
        self.machine.tick(self.now());
        self.look();
    }

    fn skip_to_deadline(&mut self) {
        if let Some(deadline) = self.machine.next_deadline() {
            self.move_to(deadline.since(Mono::default()));
        }
    }

    fn read(&mut self, rows: usize) {
        let Some(mut paging) = self.paging.take() else { return };
        paging.read.get_or_insert_with(|| self.store.page(&paging.request, rows));
        self.paging = Some(paging);
    }

    pub(super) fn read_and_deliver(&mut self, rows: usize) {
        self.deliver_page(rows);
        self.look();
    }

    fn deliver_page(&mut self, rows: usize) {
        self.read(rows);
        if let Some(page) = self.paging.take().and_then(|paging| paging.read) {
            self.page_failed = false;
            self.machine.loaded(Some(page), self.now());
        }
    }

    pub(super) fn configure(&mut self, policy: Policy) {
        self.push();
        self.setting.policy = policy;
        self.set_state(self.state);
    }

    fn set_state(&mut self, state: State) {
        // Settings come to the machine on the way that events come.
        self.push();
        if state == State::Disabled {
            self.store.drop_pending();
        }
        self.state = state;
        self.machine.configure(self.setting.policy.clone().into(), state, self.now());
        self.look();
    }

    fn drop_first(&mut self, count: usize, flying: bool) {
        // The Dispatcher tells of what is new before it tells of what is dropped.
        self.push();
        let in_flight: Vec<_> = self.in_flight.values().flat_map(|flight| flight.keys.clone()).collect();
        let mut keys = self.store.waiting(&in_flight, count);
        keys.extend(in_flight.first().filter(|_| flying));
        keys.iter().for_each(|key| self.store.drop_one(*key));
        self.machine.dropped(&keys, self.now());
    }

    fn replay(&mut self, which: usize) {
        let now = self.now();
        if self.state == State::Disabled {
            return;
        }
        if let Some(key) = self.store.replay(which, now.wall) {
            self.machine.replayed(key, now);
        }
    }

    pub(super) fn restart(&mut self) {
        self.in_flight.clear();
        self.paging = None;
        // The next machine finds them in the store.
        self.unpushed.clear();
        (self.cautious, self.ramp, self.held) = (false, None, false);
        self.gate = self.breaker.open_until.map_or(Gate::Closed, Gate::Open);
        self.machine = machine(&self.setting, &self.bounds, self.state, self.breaker, true, self.now());
    }

    fn retire(&mut self) {
        // Nobody retires who has not heard everything.
        self.push();
        if self.machine.is_as_new(self.now().mono) {
            let idle = self.in_flight.is_empty() && self.paging.is_none() && self.store.count_pending() == 0;
            self.hold_to(Law::NothingLost, idle, || "a machine that is not done could retire".into());
            self.ramp = None;
            self.machine = machine(&self.setting, &self.bounds, self.state, self.breaker, false, self.now());
            self.hold(self.held);
        }
    }

    fn hold(&mut self, held: bool) {
        self.held = held;
        self.machine.hold(held);
        self.machine.tick(self.now());
    }

    fn others_take(&mut self, slots: usize, bytes: usize) {
        self.others = (None, Vec::new());
        let portion = self.places.portion(&"others");
        let slots = (0..slots).filter_map(|slot| portion.take(slot)).collect();
        self.others = (self.bounds.window_bytes.take(bytes), slots);
        self.machine.tick(self.now());
    }

    /// Does what the machine wants, and checks what must hold after every input.
    pub(super) fn look(&mut self) {
        self.carry_out_all();
        self.check_deadline();
        self.check_budget();
        self.check_company();
    }

    /// Carries out what the machine wants, and tells what that was.
    fn carry_out_all(&mut self) -> Vec<String> {
        let effects = self.machine.take_effects();
        let told = effects.iter().map(|effect| format!("{effect:?}")).collect();
        effects.into_iter().for_each(|effect| self.carry_out(effect));
        told
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send(start) => self.started(&start),
            Effect::Settle(settlement) => self.settled(&settlement),
            Effect::SettleBatch(settlements) => {
                let longest = self.longest_wait(&settlements);
                settlements.iter().for_each(|settlement| self.settled_after(settlement, longest));
            }
            Effect::Page(request) => {
                self.hold_to(Law::Deadlines, self.paging.is_none(), || "two pages at once".into());
                self.pages += 1;
                self.paging = Some(Paging { request, read: None });
            }
            Effect::Breaker(transition, record) => self.broke(transition, record),
            // Whoever hears of it may disable the endpoint, or not: nothing here depends on it.
            Effect::Disable(_) | Effect::Ended(_) => {}
        }
    }

    /// The receiver is well from now on, nothing hinders, and time goes on until nothing happens any more.
    pub(super) fn recover(&mut self) {
        self.weather = Weather::Fair;
        self.others = (None, Vec::new());
        self.hold(false);
        self.look();
        self.set_state(State::Active);
        self.look();
        self.run_on(20_000);
        let (left, machine) = (self.store.count_pending(), &self.machine);
        let what = format!("{left} left: {:?}: {machine:#?}", self.store.first_pending(1));
        self.hold_to(Law::NothingLost, left == 0, || what);
    }

    /// Reads, answers and waits until nothing happens any more, for so many steps at most.
    pub(super) fn run_on(&mut self, steps: usize) {
        for _ in 0..steps {
            if !self.step(usize::MAX) {
                return;
            }
        }
        self.breach(Law::NothingLost, "it never comes to an end");
    }

    /// Does the next thing there is to do; `false` when there is none.
    pub(super) fn step(&mut self, rows: usize) -> bool {
        if self.paging.is_some() {
            self.deliver_page(rows);
        } else if !self.in_flight.is_empty() {
            self.finish_all(0);
        } else if self.machine.next_deadline().is_some() {
            self.skip_to_deadline();
        } else {
            return false;
        }
        self.look();
        true
    }

    /// What was done against `law`.
    pub(super) fn against(&self, law: Law) -> Vec<&String> {
        self.breaches.iter().filter(|(broken, _)| *broken == law).map(|(_, what)| what).collect()
    }
}
