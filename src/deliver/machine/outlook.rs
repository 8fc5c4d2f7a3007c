//! How a machine stands, and when it must be looked at again.

use super::{HELD_RETRY, Machine, Snapshot};
use crate::{
    clock::{Mono, Now, Timestamp},
    deliver::breaker::Gate,
    endpoint::{State, policy::WhileOpen},
};

impl Machine {
    /// When [`Machine::tick`] must be called, if nothing else happens before. It may have passed.
    pub fn next_deadline(&self) -> Option<Mono> {
        let now = self.looked_at;
        if self.draining || self.state != State::Active {
            return None;
        }
        if self.expired_left {
            return Some(now.mono);
        }
        if self.held {
            return (!self.queue.is_empty()).then(|| now.mono.after(HELD_RETRY));
        }
        let send = (self.in_flight.len() < self.bound()).then(|| self.next_send(now)).flatten();
        send.into_iter().chain(self.queue.next_page(now)).min()
    }

    fn next_send(&self, now: Now) -> Option<Mono> {
        let due = if self.queue.is_ready(now.mono) { Some(now.mono) } else { self.queue.next_due(now.mono) };
        let gate = self.breaker.gate(now.mono);
        let due = match &self.policy.batch {
            Some(batch) if gate == Gate::Free => self.next_batch(batch, now),
            _ => due,
        };
        match gate {
            Gate::Free | Gate::Probe => due.map(|due| due.max(self.pace(now.mono))).filter(|due| *due > now.mono),
            Gate::Until(_) | Gate::Probing if self.policy.breaker.while_open != WhileOpen::Hold => due,
            Gate::Until(until) => due.map(|due| due.max(until)),
            Gate::Probing => None,
        }
    }

    /// Whether nothing waits and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.in_flight.is_empty() && self.queue.is_empty()
    }

    /// Whether nothing is in flight, and nothing starts unless time passes or something comes.
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && (self.draining || !self.queue.is_paging())
    }

    /// Whether a new machine with the same settings and breaker, that knows of nothing in the store, would do the same from
    /// now on: nothing waits or is in flight, no failure counts, and the rate allows a whole burst. A ramp is over once all that
    /// an outage left behind is gone.
    pub fn is_as_new(&self, now: Mono) -> bool {
        self.is_empty()
            && self.breaker.is_calm()
            && !(self.cautious || self.draining || self.expired_left)
            && self.effects.is_empty()
            && self.pace.is_rested(now)
    }

    /// When an attempt last succeeded.
    pub fn last_success_at(&self) -> Option<Timestamp> {
        self.last_success_at
    }

    /// Attempts being made.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How it stands.
    pub fn snapshot(&self, now: Now) -> Snapshot {
        let (breaker, breaker_open_until) = self.breaker.shown();
        let (window_fresh, window_retries) = self.queue.len();
        let next = self.next_deadline();
        Snapshot {
            breaker,
            breaker_open_until,
            breaker_since: self.breaker.since(),
            in_flight: self.in_flight.values().map(|flight| flight.items.len()).sum(),
            window_fresh,
            window_retries,
            more_in_store: self.queue.has_more(),
            next_attempt_at: next.map(|next| now.wall.after(next.since(now.mono))),
            failing_since: self.failing_since,
            last_success_at: self.last_success_at,
        }
    }
}
