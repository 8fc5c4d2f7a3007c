//! What happens to a machine and to its world.

use std::{sync::Arc, time::Duration};

use super::{
    super::{
        receiver::{Weather, answer, is_success, is_timeout},
        store::event,
    },
    Gate, Law, Op, World, at, machine,
};
use crate::{
    clock::Mono,
    deliver::outcome::{Health, Outcome},
    endpoint::{State, policy::Policy},
    event::Accepted,
    transport::Answer,
};

impl World {
    pub(in super::super) fn apply(&mut self, op: Op) {
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
            Op::Configure(which) => self.configure(super::super::policy(which)),
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

    pub(super) fn route(&mut self, count: usize, gap: u64, size: usize) {
        for _ in 0..count {
            let event = event(self.next_seq, self.now().wall, size);
            self.next_seq += gap.max(1);
            self.heaviest = self.heaviest.max(event.weight());
            self.store.insert(&event, 0, self.now().wall, self.state == State::Disabled);
            self.unpushed.push_back(event);
        }
    }

    pub(in super::super) fn push(&mut self) {
        let events = std::mem::take(&mut self.unpushed);
        self.machine.push(events, self.now());
        self.look();
    }

    /// Events of one key are routed, and the machine hears of them.
    pub(in super::super) fn route_key(&mut self, count: usize, key: &str) {
        for _ in 0..count {
            let event = self.store_key(key);
            self.unpushed.push_back(event);
        }
        self.push();
    }

    /// An event of this key is routed.
    pub(in super::super) fn store_key(&mut self, key: &str) -> Arc<Accepted> {
        let mut event = Arc::unwrap_or_clone(event(self.next_seq, self.now().wall, 100));
        event.key = Some(key.into());
        let event = Arc::new(event);
        self.next_seq += 1;
        self.heaviest = self.heaviest.max(event.weight());
        self.store.insert(&event, 0, self.now().wall, false);
        event
    }

    pub(in super::super) fn weather_is_down(&mut self) {
        self.weather = Weather::Down;
    }

    pub(in super::super) fn weather_is_fair(&mut self) {
        self.weather = Weather::Fair;
    }

    /// Reads and answers; time stands still.
    pub(in super::super) fn work(&mut self) {
        if self.paging.is_some() {
            self.deliver_page(usize::MAX);
        } else {
            self.finish_all(0);
        }
        self.look();
    }

    pub(in super::super) fn route_and_push(&mut self, count: usize) {
        self.route(count, 1, 100);
        self.push();
    }

    pub(super) fn finish_one(&mut self, which: usize, roll: u8) {
        let Some(ticket) = self.in_flight.keys().nth(which % self.in_flight.len().max(1)).copied() else { return };
        self.finish(ticket, roll);
    }

    pub(super) fn finish(&mut self, ticket: u64, roll: u8) {
        let Some(flight) = self.in_flight.get(&ticket) else { return };
        let poisoned = self.setting.poison && flight.keys.iter().any(|key| key.0 % 5 == 3);
        let refuses = if self.setting.policy.batch.is_some() { 422 } else { 500 };
        self.end(ticket, &answer(self.weather, poisoned.then_some(refuses), roll, self.now().wall));
    }

    /// An attempt ends like this.
    pub(super) fn end(&mut self, ticket: u64, answer: &Answer) {
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
    pub(in super::super) fn end_first(&mut self, answer: &Answer) {
        if let Some(ticket) = self.in_flight.keys().next().copied() {
            self.end(ticket, answer);
        }
    }

    pub(in super::super) fn finish_all(&mut self, roll: u8) {
        let tickets: Vec<_> = self.in_flight.keys().copied().collect();
        tickets.into_iter().for_each(|ticket| self.finish(ticket, roll));
    }

    /// Time passes; a prompt clock ticks at each deadline on the way.
    pub(in super::super) fn advance(&mut self, by: Duration, prompt: bool) {
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

    pub(super) fn move_to(&mut self, deadline: Duration) {
        self.elapsed = self.elapsed.max(deadline);
        self.machine.tick(self.now());
        self.look();
    }

    pub(super) fn skip_to_deadline(&mut self) {
        if let Some(deadline) = self.machine.next_deadline() {
            self.move_to(deadline.since(Mono::default()));
        }
    }

    pub(super) fn read(&mut self, rows: usize) {
        let Some(mut paging) = self.paging.take() else { return };
        paging.read.get_or_insert_with(|| self.store.page(&paging.request, rows));
        self.paging = Some(paging);
    }

    pub(in super::super) fn read_and_deliver(&mut self, rows: usize) {
        self.deliver_page(rows);
        self.look();
    }

    pub(super) fn deliver_page(&mut self, rows: usize) {
        self.read(rows);
        if let Some(page) = self.paging.take().and_then(|paging| paging.read) {
            self.page_failed = false;
            self.machine.loaded(Some(page), self.now());
        }
    }

    pub(in super::super) fn configure(&mut self, policy: Policy) {
        self.push();
        self.setting.policy = policy;
        self.set_state(self.state);
    }

    pub(super) fn set_state(&mut self, state: State) {
        // Settings come to the machine on the way that events come.
        self.push();
        if state == State::Disabled {
            self.store.drop_pending();
        }
        self.state = state;
        self.machine.configure(self.setting.policy.clone().into(), state, self.now());
        self.look();
    }

    pub(super) fn drop_first(&mut self, count: usize, flying: bool) {
        // The Dispatcher tells of what is new before it tells of what is dropped.
        self.push();
        let in_flight: Vec<_> = self.in_flight.values().flat_map(|flight| flight.keys.clone()).collect();
        let mut keys = self.store.waiting(&in_flight, count);
        keys.extend(in_flight.first().filter(|_| flying));
        keys.iter().for_each(|key| self.store.drop_one(*key));
        self.machine.dropped(&keys, self.now());
    }

    pub(super) fn replay(&mut self, which: usize) {
        let now = self.now();
        if self.state == State::Disabled {
            return;
        }
        if let Some(key) = self.store.replay(which, now.wall) {
            self.machine.replayed(key, now);
        }
    }

    pub(in super::super) fn restart(&mut self) {
        self.in_flight.clear();
        self.paging = None;
        // The next machine finds them in the store.
        self.unpushed.clear();
        (self.cautious, self.ramp, self.held) = (false, None, false);
        self.gate = self.breaker.open_until.map_or(Gate::Closed, Gate::Open);
        self.machine = machine(&self.setting, &self.bounds, self.state, self.breaker, true, self.now());
    }

    pub(super) fn retire(&mut self) {
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

    pub(super) fn hold(&mut self, held: bool) {
        self.held = held;
        self.machine.hold(held);
        self.machine.tick(self.now());
    }

    pub(super) fn others_take(&mut self, slots: usize, bytes: usize) {
        self.others = (None, Vec::new());
        let portion = self.places.portion(&"others");
        let slots = (0..slots).filter_map(|slot| portion.take(slot)).collect();
        self.others = (self.bounds.window_bytes.take(bytes), slots);
        self.machine.tick(self.now());
    }
}
