//! What answers say about the receiver.

use super::{Disabled, Effect, InFlight, Machine};
use crate::{
    clock::Now,
    deliver::{
        breaker::Transition,
        outcome::{Health, Outcome},
        retry::asked_delay,
    },
    endpoint::policy::Unit,
    store::BreakerRecord,
    transport::Answer,
};

impl Machine {
    pub(super) fn note_health(&mut self, outcome: Outcome, answer: &Answer, now: Now) {
        let timeout = matches!(answer, Err(failure) if failure.kind == crate::transport::FailureKind::Timeout);
        if outcome.health() == Health::Unknown {
            return;
        }
        if outcome == Outcome::Success {
            self.last_success_at = Some(now.wall);
            self.failing_since = None;
            self.cautious = false;
        } else {
            self.failing_since.get_or_insert(now.wall);
            self.cautious |= timeout;
        }
        if outcome.health() != Health::Bad {
            self.ramp = self.ramp.map(|ramp| ramp.saturating_mul(2)).filter(|ramp| *ramp < self.policy.in_flight);
        }
        self.shrink();
    }

    /// `ended` tells whether this was the last attempt of a delivery in it.
    pub(super) fn inform_breaker(&mut self, flight: &InFlight, outcome: Outcome, ended: bool, now: Now) {
        let asked = matches!(outcome, Outcome::Asked(_)).then(|| asked_delay(outcome, now)).flatten();
        let seqs = flight.items.iter().map(|item| item.event.seq);
        let policy = &self.policy.breaker;
        let counts = ended || policy.unit == Unit::Attempt || !self.breaker.is_closed();
        let health = if counts { outcome.health() } else { Health::Neutral };
        let transition = self.breaker.finish(flight.generation, seqs, health, asked, policy, now);
        let Some(transition) = transition else { return };
        if transition == Transition::Closed {
            self.ramp = (self.policy.in_flight > 1).then_some(1);
            self.queue.release(now);
        }
        self.shrink();
        self.effects.push(Effect::Breaker(Some(transition), self.breaker_record()));
    }

    pub(super) fn breaker_record(&self) -> BreakerRecord {
        BreakerRecord { failing_since: self.failing_since, ..self.breaker.record() }
    }

    pub(super) fn shrink(&mut self) {
        self.queue.shrink(self.cautious || !self.breaker.is_closed());
    }

    /// What an answer says about the endpoint as a whole.
    pub(super) fn judge_endpoint(&mut self, outcome: Outcome, now: Now) {
        let limit = self.policy.disable_after;
        let failing = self.failing_since.zip(limit).is_some_and(|(since, limit)| now.wall.since(since) >= limit);
        match outcome {
            Outcome::Gone => self.effects.push(Effect::Disable(Disabled::Gone)),
            _ if failing => self.effects.push(Effect::Disable(Disabled::Failing)),
            _ => {}
        }
    }
}
