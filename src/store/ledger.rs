//! Verdicts wait here a moment for the outcomes of their deliveries, so that a delivery that succeeds at once is written
//! once, as settled, and not first as pending.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{DeliveryId, Ruling, Settlement, Verdict};
use crate::clock::Mono;

/// How long a verdict waits for outcomes.
pub(super) const WAIT: Duration = Duration::from_millis(20);

/// A verdict with what is known of its deliveries.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) verdict: Verdict,
    /// For each target of a routed verdict, in its order: what became of it, oldest first.
    pub(super) outcomes: Vec<Vec<Settlement>>,
    open: usize,
    since: Mono,
}

/// What one transaction writes.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) verdicts: Vec<Held>,
    /// Outcomes of deliveries whose verdict was written before, oldest first.
    pub(super) settlements: Vec<Settlement>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.verdicts.is_empty() && self.settlements.is_empty()
    }

    pub(super) fn append(&mut self, mut later: Self) {
        self.verdicts.append(&mut later.verdicts);
        self.settlements.append(&mut later.settlements);
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    verdicts: VecDeque<Held>,
    /// Seq of the first verdict held: they have no gaps, so that the place of each follows from its seq.
    first: u64,
    places: HashMap<DeliveryId, usize>,
    settlements: Vec<Settlement>,
    settlements_since: Option<Mono>,
}

impl Ledger {
    pub(super) fn record(&mut self, verdict: Verdict, now: Mono) {
        let seq = verdict.event.seq;
        if self.verdicts.is_empty() {
            self.first = seq;
        }
        let (mut open, mut count) = (0, 0);
        if let Ruling::Routed(targets) = &verdict.ruling {
            count = targets.len();
            for (place, target) in targets.iter().enumerate().filter(|(_, target)| target.dropped.is_none()) {
                self.places.insert(DeliveryId { seq, endpoint: target.endpoint, run: 0 }, place);
                open += 1;
            }
        }
        let outcomes = std::iter::repeat_with(Vec::new).take(count).collect();
        self.verdicts.push_back(Held { verdict, outcomes, open, since: now });
    }

    pub(super) fn settle(&mut self, settlement: Settlement, now: Mono) {
        let place = self.places.get(&settlement.delivery).copied();
        let held = usize::try_from(settlement.delivery.seq.wrapping_sub(self.first)).ok();
        let held = held.and_then(|index| self.verdicts.get_mut(index)).zip(place);
        let Some((held, outcomes)) = held.and_then(|(held, place)| {
            let open = &mut held.open;
            held.outcomes.get_mut(place).map(|outcomes| (open, outcomes))
        }) else {
            self.settlements_since.get_or_insert(now);
            return self.settlements.push(settlement);
        };
        if outcomes.is_empty() {
            *held -= 1;
        }
        outcomes.push(settlement);
    }

    /// Something beside verdicts and settlements waits to be written.
    pub(super) fn touch(&mut self, now: Mono) {
        self.settlements_since.get_or_insert(now);
    }

    /// When something must be written.
    pub(super) fn due(&self) -> Option<Mono> {
        let oldest = self.verdicts.front().map(|held| held.since);
        oldest.into_iter().chain(self.settlements_since).min().map(|since| since.after(WAIT))
    }

    /// How much is held.
    pub(super) fn len(&self) -> usize {
        self.verdicts.len() + self.settlements.len()
    }

    /// Takes what can be written now: the verdicts from the oldest on as far as they are complete or have waited long
    /// enough, or all; and every settlement.
    pub(super) fn take(&mut self, now: Mono, all: bool) -> Group {
        let ready = |held: &Held| all || held.open == 0 || now >= held.since.after(WAIT);
        let count = self.verdicts.iter().take_while(|held| ready(held)).count();
        let verdicts: Vec<_> = self.verdicts.drain(..count).collect();
        for held in &verdicts {
            if let Ruling::Routed(targets) = &held.verdict.ruling {
                for target in targets {
                    self.places.remove(&DeliveryId { seq: held.verdict.event.seq, endpoint: target.endpoint, run: 0 });
                }
            }
        }
        if let Some(front) = self.verdicts.front() {
            self.first = front.verdict.event.seq;
        }
        self.settlements_since = None;
        Group { verdicts, settlements: std::mem::take(&mut self.settlements) }
    }
}
