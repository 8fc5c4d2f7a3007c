//! The dead letters that were not replayed: how many are kept, and which fall off.

use std::collections::BTreeMap;

use super::{
    super::*,
    state::{Standing, State},
};
use crate::endpoint::policy::DeadLetters;

/// Those of one endpoint.
#[derive(Default)]
pub(super) struct Letters {
    pub(super) limits: DeadLetters,
    /// What each weighs, oldest first: by the moment it became one, seq and run.
    kept: BTreeMap<(Timestamp, u64, u32), u64>,
}

/// Why a dead letter is kept no longer.
#[derive(Clone, Copy)]
pub(super) enum End {
    Pruned,
    Purged,
}

impl Letters {
    pub(super) fn of(settings: &str) -> Self {
        Self { limits: DeadLetters::of_settings(settings), ..Self::default() }
    }

    /// Oldest first.
    pub(super) fn places(&self, endpoint: EndpointKey) -> impl Iterator<Item = LetterPlace> {
        self.kept.keys().map(move |(since, seq, run)| LetterPlace { endpoint, since: *since, seq: *seq, run: *run })
    }
}

impl State {
    /// Takes a new dead letter in; the oldest ones fall off when there are too many.
    pub(super) fn bury(&mut self, id: DeliveryId, since: Timestamp) {
        let weight = self.events.get(&id.seq).map_or(0, |kept| kept.event.weight() as u64);
        let Some(endpoint) = self.endpoints.get_mut(&id.endpoint) else { return };
        endpoint.letters.kept.insert((since, id.seq, id.run), weight);
        endpoint.totals.dead_letters.kept += 1;
        endpoint.totals.dead_letters.bytes += weight;
        self.expiring.insert((since.after(endpoint.letters.limits.max_age), id));
        self.dead.insert(id);
        self.prune(id.endpoint);
        if self.dead.len() > self.keep_dead
            && let Some(oldest) = self.dead.first().copied()
        {
            self.end_letter(oldest, End::Pruned);
        }
    }

    /// Lets the oldest dead letters of an endpoint fall off until there are not too many.
    fn prune(&mut self, key: EndpointKey) {
        while let Some(endpoint) = self.endpoints.get(&key) {
            let (limits, totals) = (endpoint.letters.limits, endpoint.totals.dead_letters);
            let oldest = endpoint.letters.places(key).next();
            let Some(oldest) = oldest.filter(|_| totals.kept > limits.max_items || totals.bytes > limits.max_bytes)
            else {
                return;
            };
            self.end_letter(oldest.delivery(), End::Pruned);
        }
    }

    /// Lets dead letters fall off that are too old.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some((_, id)) = self.expiring.first().copied().filter(|(expiry, _)| *expiry < now) {
            self.end_letter(id, End::Pruned);
        }
    }

    /// Other limits are in force.
    pub(super) fn limit_letters(&mut self, key: EndpointKey, settings: &str) {
        let Some(endpoint) = self.endpoints.get_mut(&key) else { return };
        let (old, new) = (endpoint.letters.limits, DeadLetters::of_settings(settings));
        endpoint.letters.limits = new;
        for place in endpoint.letters.places(key) {
            self.expiring.remove(&(place.since.after(old.max_age), place.delivery()));
            self.expiring.insert((place.since.after(new.max_age), place.delivery()));
        }
        self.prune(key);
    }

    /// Forgets a dead letter.
    pub(super) fn end_letter(&mut self, id: DeliveryId, end: End) {
        self.unkeep(id);
        self.deliveries.remove(&id);
        if let Some(endpoint) = self.endpoints.get_mut(&id.endpoint) {
            match end {
                End::Purged => endpoint.totals.dead_letters.purged += 1,
                End::Pruned => {
                    endpoint.totals.dead_letters.pruned += 1;
                    tracing::warn!(event = "dead_letters.pruned", delivery = %id, "the oldest dead letter fell off");
                }
            }
        }
        self.release(id.seq);
    }

    /// Marks a dead letter as replayed: nothing holds its event for its sake any more.
    pub(super) fn exhume(&mut self, id: DeliveryId, run: u32) {
        self.unkeep(id);
        if let Some(Standing::Dead { replayed_as, .. }) = self.deliveries.get_mut(&id).map(|dead| &mut dead.standing) {
            *replayed_as = Some(run);
        }
        self.release(id.seq);
    }

    /// Takes a dead letter out of what is kept and counted.
    fn unkeep(&mut self, id: DeliveryId) {
        let since = self.deliveries.get(&id).and_then(|delivery| delivery.standing.dead_since());
        let Some((since, endpoint)) = since.zip(self.endpoints.get_mut(&id.endpoint)) else { return };
        self.dead.remove(&id);
        self.expiring.remove(&(since.after(endpoint.letters.limits.max_age), id));
        if let Some(weight) = endpoint.letters.kept.remove(&(since, id.seq, id.run)) {
            endpoint.totals.dead_letters.kept -= 1;
            endpoint.totals.dead_letters.bytes -= weight;
        }
    }
}

impl Standing {
    fn dead_since(&self) -> Option<Timestamp> {
        match self {
            Self::Dead { since, .. } => Some(*since),
            Self::Pending { .. } | Self::Held | Self::Delivered | Self::Dropped(_) | Self::Suppressed => None,
        }
    }
}
