//! Verdicts wait here a moment for the outcomes of their deliveries, so that a delivery that succeeds at once is written
//! once, as settled, and not first as pending.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{Debounced, DeliveryId, Disposition, Ruling, Settlement, Verdict};
use crate::clock::Mono;

#[cfg(test)]
mod tests;

/// How long a verdict waits for outcomes.
pub(super) const WAIT: Duration = Duration::from_millis(20);

/// A verdict with what is known of its deliveries.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) verdict: Verdict,
    /// For each target of a routed verdict, in its order: what became of it, oldest first.
    pub(super) outcomes: Vec<Vec<Settlement>>,
    /// Deliveries without any outcome.
    open: usize,
    since: Mono,
}

/// What one transaction writes.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// What debouncing changed before the verdicts.
    pub(super) debounced: Debounced,
    /// By seq, without gaps, but for those on events that were held.
    pub(super) verdicts: Vec<Held>,
    /// Outcomes of deliveries that were made before, oldest first.
    pub(super) settlements: Vec<Settlement>,
}

impl Group {
    pub(super) fn is_empty(&self) -> bool {
        self.debounced.is_empty() && self.verdicts.is_empty() && self.settlements.is_empty()
    }

    /// The newest seq with a verdict of its own turn.
    pub(super) fn judged_through(&self) -> Option<u64> {
        let verdicts = self.verdicts.iter().rev().map(|held| &held.verdict);
        verdicts.filter(|verdict| verdict.released_at.is_none()).map(|verdict| verdict.event.seq).next()
    }

    pub(super) fn append(&mut self, mut later: Self) {
        let debounced = self.verdicts.last_mut().map_or(&mut self.debounced, |last| &mut last.verdict.debounced);
        debounced.append(later.debounced);
        self.verdicts.append(&mut later.verdicts);
        self.settlements.append(&mut later.settlements);
    }
}

/// What was recorded and settled and is not written yet.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Those recorded earlier stand in front.
    verdicts: VecDeque<Held>,
    /// How many verdicts were taken before them.
    taken: usize,
    /// Of each delivery of a verdict held that waits for outcomes: which verdict that is, counted from the first ever, and
    /// its position among the targets.
    places: HashMap<DeliveryId, (usize, usize)>,
    /// What debouncing changed when no verdict was held.
    debounced: Debounced,
    settlements: Vec<Settlement>,
    /// Since when the first of `settlements`, or something beside, waits.
    waiting_since: Option<Mono>,
}

impl Ledger {
    /// Takes a verdict in.
    pub(super) fn record(&mut self, verdict: Verdict, now: Mono) {
        let mut open = 0;
        let number = self.taken + self.verdicts.len();
        for (place, delivery) in awaited(&verdict) {
            self.places.insert(delivery, (number, place));
            open += 1;
        }
        let outcomes = vec![Vec::new(); targets(&verdict)];
        self.verdicts.push_back(Held { verdict, outcomes, open, since: now });
    }

    /// Takes in what debouncing changed by no event: it is written after the verdicts that came before, and before those
    /// that come after.
    pub(super) fn keep_debounced(&mut self, debounced: Debounced, now: Mono) {
        let kept = self.verdicts.back_mut().map_or(&mut self.debounced, |last| &mut last.verdict.debounced);
        kept.append(debounced);
        self.touch(now);
    }

    /// Takes an outcome in: to its verdict as long as that is held, else by itself.
    pub(super) fn settle(&mut self, settlement: Settlement, now: Mono) {
        if let Some(outcomes) = self.outcomes(&settlement.delivery) {
            outcomes.push(settlement);
        } else {
            self.waiting_since.get_or_insert(now);
            self.settlements.push(settlement);
        }
    }

    /// Where the outcomes of this delivery go while its verdict is held; whoever asks adds one.
    fn outcomes(&mut self, delivery: &DeliveryId) -> Option<&mut Vec<Settlement>> {
        let (number, place) = *self.places.get(delivery)?;
        let held = self.verdicts.get_mut(number.checked_sub(self.taken)?)?;
        let outcomes = held.outcomes.get_mut(place)?;
        if outcomes.is_empty() {
            held.open -= 1;
        }
        Some(outcomes)
    }

    /// Something beside verdicts and settlements waits to be written.
    pub(super) fn touch(&mut self, now: Mono) {
        self.waiting_since.get_or_insert(now);
    }

    /// When something must be written: the moment at which the oldest thing held has waited [`WAIT`].
    pub(super) fn due(&self) -> Option<Mono> {
        let oldest = self.verdicts.front().map(|held| held.since);
        oldest.into_iter().chain(self.waiting_since).min().map(|since| since.after(WAIT))
    }

    /// How many verdicts and settlements without a verdict are held.
    pub(super) fn len(&self) -> usize {
        self.verdicts.len() + self.settlements.len()
    }

    /// Takes what can be written now: the verdicts from the oldest on as far as they are complete or have waited long
    /// enough, or all; and every settlement.
    pub(super) fn take(&mut self, now: Mono, all: bool) -> Group {
        let ready = |held: &Held| all || held.open == 0 || now >= held.since.after(WAIT);
        let count = self.verdicts.iter().take_while(|held| ready(held)).count();
        let verdicts: Vec<_> = self.verdicts.drain(..count).collect();
        self.taken += count;
        for (_, delivery) in verdicts.iter().flat_map(|held| awaited(&held.verdict)) {
            self.places.remove(&delivery);
        }
        self.waiting_since = None;
        let debounced = std::mem::take(&mut self.debounced);
        Group { debounced, verdicts, settlements: std::mem::take(&mut self.settlements) }
    }
}

fn targets(verdict: &Verdict) -> usize {
    if let Ruling::Routed(targets) = &verdict.ruling { targets.len() } else { 0 }
}

/// The deliveries of a verdict that can have outcomes, with their positions among its targets.
fn awaited(verdict: &Verdict) -> impl Iterator<Item = (usize, DeliveryId)> {
    let targets = if let Ruling::Routed(targets) = &verdict.ruling { targets.as_slice() } else { &[] };
    let seq = verdict.event.seq;
    let kept = targets.iter().enumerate().filter(|(_, target)| target.disposition == Disposition::Deliver);
    kept.map(move |(place, target)| (place, DeliveryId { seq, endpoint: target.endpoint, run: 0 }))
}
