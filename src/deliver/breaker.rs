//! The circuit breaker of one endpoint: closed, open, half-open. It never sees a request, only how they ended.

use std::time::Duration;

use super::outcome::Health;
use crate::{
    clock::{Mono, Now, Timestamp},
    endpoint::policy::BreakerPolicy,
    store::BreakerRecord,
};

/// Stops attempts to a receiver that does not work, and finds out when it works again.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    state: State,
    /// How long it stays open; zero as long as it never opened since it last closed.
    cooldown: Duration,
    /// Since when it is open, or when it last closed.
    since: Option<Timestamp>,
    /// Counts state changes: an attempt that was started under another state says nothing about this one.
    generation: u32,
}

#[derive(Clone, Debug)]
enum State {
    Closed {
        failures: u32,
        events: Vec<u64>,
    },
    Open {
        until: Mono,
        until_wall: Timestamp,
    },
    /// A probe is on its way.
    HalfOpen,
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0, events: Vec::new() }
    }
}

/// Whether an attempt may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Free,
    /// One, as the probe.
    Probe,
    /// Not before this moment.
    Until(Mono),
    /// Not before the probe has ended.
    Probing,
}

/// What changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// It was closed and is open now.
    Opened,
    /// The probe failed: it is open for longer now.
    Reopened,
    /// The probe succeeded.
    Closed,
    /// It was open, and is closed because there is another receiver: see [`Breaker::reset`].
    Reset,
}

/// The state as people see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// Attempts start freely.
    Closed,
    /// None starts.
    Open,
    /// One is being made to find out.
    HalfOpen,
}

impl Breaker {
    /// The breaker as it was kept, as far as the policy still allows it to stay open.
    pub fn restore(record: &BreakerRecord, policy: &BreakerPolicy, now: Now) -> Self {
        let state = match record.open_until {
            Some(until) => open(until.since(now.wall).min(policy.max_cooldown), now),
            None => State::default(),
        };
        Self { state, cooldown: record.cooldown, since: record.since, generation: 0 }
    }

    /// What to keep.
    pub fn record(&self) -> BreakerRecord {
        let open_until = match self.state {
            State::Closed { .. } => None,
            State::Open { until_wall, .. } => Some(until_wall),
            // A probe whose end nobody learned of is made again.
            State::HalfOpen => self.since,
        };
        BreakerRecord { open_until, cooldown: self.cooldown, since: self.since, failing_since: None }
    }

    /// Whether an attempt may start now.
    pub fn gate(&self, now: Mono) -> Gate {
        match self.state {
            State::Closed { .. } => Gate::Free,
            State::Open { until, .. } if now >= until => Gate::Probe,
            State::Open { until, .. } => Gate::Until(until),
            State::HalfOpen => Gate::Probing,
        }
    }

    /// Whether it is closed and counts no failure.
    pub fn is_calm(&self) -> bool {
        matches!(self.state, State::Closed { failures: 0, .. })
    }

    /// Marks an attempt as started; tells the generation it belongs to.
    pub fn start(&mut self, gate: Gate) -> u32 {
        if gate == Gate::Probe {
            self.enter(State::HalfOpen);
        }
        self.generation
    }

    /// The probe ended without an outcome: there will be another at once.
    fn forget_probe(&mut self, generation: u32, now: Now) {
        if generation == self.generation && matches!(self.state, State::HalfOpen) {
            self.enter(open(Duration::ZERO, now));
        }
    }

    /// Closes it: there is another receiver.
    pub fn reset(&mut self, now: Now) {
        self.cooldown = Duration::ZERO;
        self.since = Some(now.wall);
        self.enter(State::default());
    }

    /// Takes note of how an attempt for these events ended. `asked` is how long the receiver wants to be left alone.
    pub fn finish(
        &mut self,
        generation: u32,
        seqs: impl IntoIterator<Item = u64>,
        health: Health,
        asked: Option<Duration>,
        policy: &BreakerPolicy,
        now: Now,
    ) -> Option<Transition> {
        if generation != self.generation {
            return None;
        }
        if health == Health::Unknown {
            self.forget_probe(generation, now);
            return None;
        }
        match &mut self.state {
            State::Open { .. } => None,
            State::HalfOpen => Some(self.probed(health, asked, policy, now)),
            State::Closed { failures, events } => match health {
                Health::Good => {
                    *failures = 0;
                    events.clear();
                    None
                }
                Health::Neutral | Health::Unknown => None,
                Health::Bad => {
                    *failures = failures.saturating_add(1);
                    let wanted = usize::try_from(policy.min_events).unwrap_or(usize::MAX);
                    for seq in seqs {
                        if events.len() < wanted && !events.contains(&seq) {
                            events.push(seq);
                        }
                    }
                    let opens = *failures >= policy.failures && events.len() >= wanted;
                    opens.then(|| self.open_anew(policy, now))
                }
            },
        }
    }

    fn open_anew(&mut self, policy: &BreakerPolicy, now: Now) -> Transition {
        self.cooldown = policy.cooldown;
        self.since = Some(now.wall);
        self.enter(open(self.cooldown, now));
        Transition::Opened
    }

    fn probed(&mut self, health: Health, asked: Option<Duration>, policy: &BreakerPolicy, now: Now) -> Transition {
        match (health, asked) {
            (Health::Bad, _) => {
                self.cooldown = self.cooldown.saturating_mul(2).clamp(policy.cooldown, policy.max_cooldown);
                self.enter(open(self.cooldown, now));
                Transition::Reopened
            }
            // It answers, and says when: that is kept to, and is no reason to wait longer the next time.
            (Health::Neutral, Some(asked)) => {
                self.enter(open(asked.min(policy.max_cooldown), now));
                Transition::Reopened
            }
            // Whatever it thinks of this event, it works again.
            (Health::Good | Health::Neutral | Health::Unknown, _) => {
                self.cooldown = Duration::ZERO;
                self.since = Some(now.wall);
                self.enter(State::default());
                Transition::Closed
            }
        }
    }

    fn enter(&mut self, state: State) {
        self.state = state;
        self.generation = self.generation.wrapping_add(1);
    }

    /// The state as people see it, and until when it is open.
    pub fn shown(&self) -> (Shown, Option<Timestamp>) {
        match self.state {
            State::Closed { .. } => (Shown::Closed, None),
            State::Open { until_wall, .. } => (Shown::Open, Some(until_wall)),
            State::HalfOpen => (Shown::HalfOpen, None),
        }
    }

    /// Since when it is open, or when it last closed.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }
}

fn open(cooldown: Duration, now: Now) -> State {
    State::Open { until: now.mono.after(cooldown), until_wall: now.wall.after(cooldown) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Now {
        let since_start = Duration::from_secs(seconds);
        Now { mono: Mono::from_start(since_start), wall: Timestamp::from_millis(0).after(since_start) }
    }

    fn policy() -> BreakerPolicy {
        BreakerPolicy {
            failures: 3,
            min_events: 2,
            cooldown: Duration::from_secs(10),
            max_cooldown: Duration::from_secs(30),
            ..BreakerPolicy::default()
        }
    }

    fn fail(breaker: &mut Breaker, seq: u64, now: Now) -> Option<Transition> {
        let generation = breaker.start(breaker.gate(now.mono));
        breaker.finish(generation, [seq], Health::Bad, None, &policy(), now)
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        let last = [1, 2, 3].map(|seq| fail(&mut breaker, seq, at(0)));
        assert_eq!(last, [None, None, Some(Transition::Opened)]);
        breaker
    }

    #[test]
    fn one_poison_event_does_not_open_it() {
        let mut breaker = Breaker::default();
        assert!((0..10).all(|_| fail(&mut breaker, 1, at(0)).is_none()));
        assert_eq!(fail(&mut breaker, 2, at(0)), Some(Transition::Opened));
    }

    #[test]
    fn a_probe_that_was_not_sent_says_nothing() {
        let mut breaker = opened();
        let probe = breaker.start(breaker.gate(at(10).mono));
        assert_eq!(breaker.finish(probe, [4], Health::Unknown, None, &policy(), at(10)), None);
        assert_eq!(breaker.gate(at(10).mono), Gate::Probe);
    }

    #[test]
    fn a_success_starts_the_count_again() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, 1, at(0));
        fail(&mut breaker, 2, at(0));
        breaker.finish(0, [3], Health::Good, None, &policy(), at(0));
        assert!(fail(&mut breaker, 4, at(0)).is_none());
    }

    #[test]
    fn a_refusal_neither_counts_nor_resets() {
        let mut breaker = Breaker::default();
        fail(&mut breaker, 1, at(0));
        fail(&mut breaker, 2, at(0));
        breaker.finish(0, [3], Health::Neutral, None, &policy(), at(0));
        assert_eq!(fail(&mut breaker, 4, at(0)), Some(Transition::Opened));
    }

    #[test]
    fn exactly_one_probe_passes_and_closes_it() {
        let mut breaker = opened();
        assert_eq!(breaker.gate(at(9).mono), Gate::Until(at(10).mono));
        assert_eq!(breaker.gate(at(10).mono), Gate::Probe);
        let probe = breaker.start(Gate::Probe);
        assert_eq!(breaker.gate(at(10).mono), Gate::Probing);
        assert_eq!(breaker.finish(probe, [4], Health::Good, None, &policy(), at(11)), Some(Transition::Closed));
        assert_eq!(breaker.gate(at(11).mono), Gate::Free);
    }

    #[test]
    fn failed_probes_double_the_cooldown_to_the_cap() {
        let mut breaker = opened();
        let mut now = 10;
        for cooldown in [20, 30, 30] {
            assert_eq!(fail(&mut breaker, 9, at(now)), Some(Transition::Reopened));
            assert_eq!(breaker.gate(at(now).mono), Gate::Until(at(now + cooldown).mono));
            now += cooldown;
        }
    }

    #[test]
    fn what_started_before_the_present_state_says_nothing() {
        let mut breaker = Breaker::default();
        let early = breaker.start(Gate::Free);
        for seq in [1, 2, 3] {
            fail(&mut breaker, seq, at(0));
        }
        assert_eq!(breaker.finish(early, [4], Health::Good, None, &policy(), at(1)), None);
        assert_eq!(breaker.gate(at(1).mono), Gate::Until(at(10).mono));
        let probe = breaker.start(Gate::Probe);
        assert_eq!(breaker.finish(early, [5], Health::Bad, None, &policy(), at(10)), None);
        assert_eq!(breaker.finish(probe, [6], Health::Good, None, &policy(), at(10)), Some(Transition::Closed));
    }

    #[test]
    fn a_probe_that_is_asked_to_wait_waits_as_asked() {
        let mut breaker = opened();
        let probe = breaker.start(Gate::Probe);
        let asked = Some(Duration::from_secs(5));
        assert_eq!(breaker.finish(probe, [4], Health::Neutral, asked, &policy(), at(10)), Some(Transition::Reopened));
        assert_eq!(breaker.gate(at(10).mono), Gate::Until(at(15).mono));
    }

    #[test]
    fn it_comes_back_from_its_record() {
        let breaker = opened();
        let restored = Breaker::restore(&breaker.record(), &policy(), at(4));
        assert_eq!(restored.gate(at(4).mono), Gate::Until(at(10).mono));
        let closed = Breaker::restore(&Breaker::default().record(), &policy(), at(4));
        assert!(closed.is_closed());
    }
}
