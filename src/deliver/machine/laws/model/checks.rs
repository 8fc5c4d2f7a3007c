//! What must hold after every input and for every effect.

use std::time::Duration;

use super::{
    super::{
        receiver::{is_excused, is_success},
        store::Row,
    },
    Flight, Gate, Law, World,
};
use crate::{
    clock::Timestamp,
    deliver::{
        breaker::Transition,
        machine::{Machine, Start},
        queue::Key,
    },
    endpoint::{State, queue::Ordered},
    store::{BreakerRecord, DeadReason, Next, Settlement},
    transport::{Answer, Failure, FailureKind, Reply, RetryAfter},
};

impl World {
    pub(super) fn check_deadline(&mut self) {
        let now = self.now();
        let passed = |machine: &Machine| machine.next_deadline().is_some_and(|deadline| deadline <= now.mono);
        let quiet = !passed(&self.machine);
        self.machine.tick(now);
        let effects = self.carry_out_all();
        self.hold_to(Law::Deadlines, !quiet || effects.is_empty(), || format!("out of turn: {effects:#?}"));
        while passed(&self.machine) {
            self.machine.tick(now);
            if self.carry_out_all().is_empty() && passed(&self.machine) {
                return self.breach(Law::Deadlines, "a deadline passes without effect");
            }
        }
    }

    pub(super) fn check_budget(&mut self) {
        let in_flight: usize = self.in_flight.values().map(|flight| flight.keys.len()).sum();
        let heads = self.heaviest * (2 + in_flight);
        let used = self.bounds.window_bytes.used();
        let bound = self.setting.window_bytes + heads;
        self.hold_to(Law::Budget, used <= bound, || format!("{used} bytes in memory, {bound} at most"));
    }

    pub(super) fn broke(&mut self, transition: Option<Transition>, record: BreakerRecord) {
        self.breaker = record;
        let Some(transition) = transition else { return };
        self.gate = match (transition, record.open_until) {
            (Transition::Closed | Transition::Reset, None) => Gate::Closed,
            (Transition::Opened | Transition::Reopened, Some(until)) => Gate::Open(until),
            other => return self.breach(Law::Breaker, &format!("{other:?}")),
        };
        if transition == Transition::Closed {
            self.released = Some(self.now().wall);
            self.ramp = (self.setting.policy.in_flight > 1).then_some(1);
        }
    }

    pub(super) fn started(&mut self, start: &Start) {
        let keys: Vec<_> = start.events.iter().zip(&start.runs).map(|(event, run)| (event.seq, *run)).collect();
        self.requests.push((self.elapsed, keys.clone()));
        keys.iter().for_each(|key| self.sent.push((self.elapsed, *key)));
        keys.iter().for_each(|key| self.check_idle(*key));
        self.check_batch(start, &keys);
        self.in_flight.insert(start.ticket, Flight { keys: keys.clone() });
        self.check_bound();
        self.check_breaker(start.ticket);
        let first: Vec<_> = self.store.first_pending(keys.len());
        let in_order = self.setting.policy.in_flight > 1 || first.is_empty() || first == keys;
        self.hold_to(Law::StrictOrder, in_order, || format!("{keys:?} started before {first:?}"));
        for (n, key) in keys.into_iter().enumerate() {
            let first = self.store.first_of_line(key);
            let in_order = self.setting.policy.ordered == Ordered::None || first.is_none_or(|first| first == key);
            self.hold_to(Law::KeyOrder, in_order, || format!("{key:?} started before {first:?}"));
            if let Some(row) = self.store.pending(key).cloned() {
                let number = if n == 0 { start.number } else { row.attempts + 1 };
                self.check_time(key, &row, number);
            }
        }
    }

    fn check_idle(&mut self, key: Key) {
        let allowed =
            self.store.pending(key).is_some() && self.in_flight.values().all(|flight| !flight.keys.contains(&key));
        let state = self.state == State::Active && !self.held;
        self.hold_to(Law::NothingTwice, allowed, || format!("{key:?} started, which is settled or in flight"));
        self.hold_to(Law::Allowed, state, || format!("{key:?} started by a machine that is stopped"));
    }

    fn check_bound(&mut self) {
        let (count, policy) = (self.in_flight.len(), self.setting.policy.in_flight);
        let bound = if self.cautious { 1 } else { policy.min(self.ramp.unwrap_or(policy)) };
        self.hold_to(Law::InFlightBound, count <= usize::from(bound), || format!("{count} in flight, {bound} at most"));
        let (used, slots) = (self.places.used(), self.setting.slots);
        let slotless = (count + self.others.1.len()).saturating_sub(used);
        let kept = used <= slots && slotless <= 1;
        self.hold_to(Law::InFlightBound, kept, || {
            format!("{slotless} attempts without a slot, {used} of {slots} taken")
        });
    }

    fn check_breaker(&mut self, ticket: u64) {
        match self.gate {
            Gate::Closed => {}
            Gate::Open(until) if self.now().wall >= until => self.gate = Gate::Probing(ticket),
            gate => self.breach(Law::Breaker, &format!("an attempt started: {gate:?}")),
        }
    }

    fn check_time(&mut self, key: Key, row: &Row, number: u32) {
        let now = self.now().wall;
        // The store rounds up when an attempt ended.
        let ended = |free: Timestamp| free.after(Duration::from_millis(1));
        let released = !row.asked && self.released.zip(row.attempted_at).is_some_and(|(free, at)| at <= ended(free));
        let on_time = released || row.due.is_none_or(|due| now >= due);
        self.hold_to(Law::NotEarly, on_time, || format!("{key:?} started at {now}, due {:?}", row.due));
        self.hold_to(Law::Allowed, number == row.attempts + 1, || format!("attempt {number} after {}", row.attempts));
        let young = now.since(row.created_at) <= self.setting.policy.retry.max_age;
        self.hold_to(Law::Allowed, young, || format!("{key:?} started too old"));
    }

    pub(super) fn settled(&mut self, settlement: &Settlement) {
        let longest = self.longest_wait(std::slice::from_ref(settlement));
        self.settled_after(settlement, longest);
    }

    /// The longest of the waits that the deliveries of one request have before them.
    pub(super) fn longest_wait(&self, settlements: &[Settlement]) -> Duration {
        let Some((_, answer)) = &self.last else { return Duration::ZERO };
        let retried = settlements.iter().filter_map(|settlement| {
            let row = self.store.pending((settlement.delivery.seq, settlement.delivery.run))?;
            self.computed(row.spent, answer)
        });
        retried.max().unwrap_or_default()
    }

    /// The wait after the next failure; `None` when there is to be none.
    fn computed(&self, spent: u32, answer: &Answer) -> Option<Duration> {
        match answer {
            Err(Failure { kind: FailureKind::Shortage, .. }) => Some(Duration::from_secs(1)),
            _ if is_excused(answer) => Some(Duration::ZERO),
            _ => self.setting.policy.retry.backoff.delay(spent + 1),
        }
    }

    pub(super) fn settled_after(&mut self, settlement: &Settlement, longest: Duration) {
        let key = (settlement.delivery.seq, settlement.delivery.run);
        let Some(row) = self.store.pending(key).cloned() else {
            let dropped = self.store.was_dropped(key);
            return self.hold_to(Law::NothingTwice, dropped, || format!("{key:?} settled twice"));
        };
        match &settlement.attempt {
            None => {
                let old = settlement.at.since(row.created_at) > self.setting.policy.retry.max_age;
                let expired = settlement.next == Next::DeadLettered(DeadReason::Expired);
                self.hold_to(Law::NothingLost, old && expired, || format!("{key:?} given up: {settlement:?}"));
            }
            Some(_) if self.is_halved(settlement) => self.check_half(key, &row, settlement),
            Some(_) => self.check_judgement(key, &row, settlement, longest),
        }
        self.store.settle(settlement);
    }

    fn check_judgement(&mut self, key: Key, row: &Row, settlement: &Settlement, longest: Duration) {
        let Some((keys, answer)) = self.last.clone().filter(|(last, _)| last.contains(&key)) else {
            return self.breach(Law::NothingTwice, &format!("{key:?} settled without an answer"));
        };
        let spent = row.spent + u32::from(!is_excused(&answer));
        self.hold_to(Law::Allowed, settlement.spent == spent, || format!("{key:?}: {} spent", settlement.spent));
        let retry = self.setting.policy.retry.clone();
        let status = answer.as_ref().ok().and_then(Reply::response).map(|response| response.status);
        let computed = self.computed(row.spent, &answer);
        let halved = matches!(row.batch_status, Some(400 | 413 | 422));
        let poison = keys.len() == 1 && self.setting.policy.batch.is_some() && halved;
        match settlement.next {
            Next::Delivered => self.hold_to(Law::NothingLost, is_success(&answer), || format!("{key:?}: {answer:?}")),
            Next::DeadLettered(reason) => {
                let just = match reason {
                    DeadReason::Gone => status == Some(410),
                    DeadReason::NotRetried if status == Some(422) => poison || !retry.when.client_error,
                    DeadReason::NotRetried => status == Some(404) && !retry.when.client_error,
                    DeadReason::Exhausted => computed.is_none(),
                    DeadReason::CircuitOpen => false,
                    DeadReason::Expired => self.is_late(row, &answer, longest),
                };
                self.hold_to(Law::NothingLost, just, || format!("{key:?} is a dead letter: {reason:?}, {answer:?}"));
            }
            Next::Dropped(reason) => self.breach(Law::NothingLost, &format!("{key:?} is dropped: {reason:?}")),
            Next::Retry { due, asked } => {
                let spared = poison && matches!(status, Some(400 | 413 | 422));
                self.hold_to(Law::Allowed, !spared, || format!("{key:?} is the poison of a batch, and tried again"));
                self.hold_to(Law::Allowed, computed.is_some(), || format!("{key:?} gets attempt after {spent}"));
                let young = due.since(row.created_at) <= retry.max_age + Duration::from_millis(1);
                self.hold_to(Law::Allowed, young, || format!("{key:?} will be too old"));
                let (earliest, latest) = self.bounds_of_due(&answer, longest);
                let kept = earliest <= due && due <= latest && asked == asks(&answer).is_some();
                self.hold_to(Law::NotEarly, kept, || format!("{key:?} due {due}, not in {earliest}..={latest}"));
            }
        }
    }

    fn is_late(&self, row: &Row, answer: &Answer, computed: Duration) -> bool {
        self.bounds_of_due(answer, computed).1.since(row.created_at) > self.setting.policy.retry.max_age
    }

    fn bounds_of_due(&self, answer: &Answer, computed: Duration) -> (Timestamp, Timestamp) {
        let now = self.now().wall;
        let asked = asks(answer).map(|asked| match asked {
            RetryAfter::Delay(delay) => delay,
            RetryAfter::At(moment) => moment.since(now),
        });
        let asked = asked.map(|delay| delay.clamp(Duration::from_secs(1), Duration::from_secs(24 * 3600)));
        let longest = computed.mul_f64(1.0 + self.setting.policy.retry.jitter);
        (now.after(asked.unwrap_or(computed)), now.after(asked.unwrap_or(longest)))
    }
}

fn asks(answer: &Answer) -> Option<RetryAfter> {
    answer.as_ref().ok().and_then(Reply::response).and_then(|response| response.retry_after)
}
