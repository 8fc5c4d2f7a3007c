//! A machine in a world of its own: a store that is a map, a receiver with weather, a clock that is moved by hand. Whatever
//! the machine does is held against the laws as it happens; a breach is noted under the law that it breaks.

mod batches;
mod checks;
mod inputs;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{receiver::Weather, store::FakeStore};
use crate::{
    clock::{Mono, Now, Timestamp},
    deliver::{
        machine::{Bounds, Effect, Machine, Origin},
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
