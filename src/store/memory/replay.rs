//! Delivering events again, and what of an endpoint's events a job is to work on.

use std::ops::Bound;

use super::{
    super::{
        jobs::{LETTER_STEP, Newest, Wants},
        *,
    },
    state::{Delivery, Origin, Standing, State},
};

impl State {
    /// The newest delivery of an event to an endpoint.
    fn newest(&self, seq: u64, endpoint: EndpointKey) -> Option<(DeliveryId, &Delivery)> {
        let run = |run| DeliveryId { seq, endpoint, run };
        self.deliveries.range(run(0)..=run(u32::MAX)).next_back().map(|(id, delivery)| (*id, delivery))
    }

    pub(super) fn redeliver(&mut self, seq: u64, endpoint: EndpointKey, now: Timestamp) -> ReplayOutcome {
        let newest = self.newest(seq, endpoint).map(|(id, delivery)| (id, delivery.standing));
        let run = match newest {
            Some((id, Standing::Pending { .. } | Standing::Held)) => return ReplayOutcome::Waiting(id.run),
            Some((id, Standing::Dead { replayed_as: None, .. })) => return self.replay(id, now),
            Some((id, _)) => id.run + 1,
            None => 1,
        };
        if !self.can_get(seq, endpoint) {
            return ReplayOutcome::Gone;
        }
        let new = DeliveryId { seq, endpoint, run };
        let suppressed = self.newest(seq, endpoint).map_or(0, |(_, delivery)| delivery.suppressed);
        self.create(new, Disposition::Deliver, Origin::Replayed, now, suppressed);
        ReplayOutcome::Replayed(new)
    }

    /// Whether the event is kept and the endpoint is there.
    pub(super) fn can_get(&self, seq: u64, endpoint: EndpointKey) -> bool {
        self.events.contains_key(&seq) && self.endpoints.get(&endpoint).is_some_and(|endpoint| endpoint.row.is_some())
    }

    /// Whether an event and an endpoint are a tenant's own; without a tenant, always.
    fn is_within(&self, seq: u64, endpoint: EndpointKey, tenant: Option<&Tenant>) -> bool {
        let of = || self.events.get(&seq).and_then(|kept| kept.event.tenant.as_ref());
        tenant.is_none() || (of() == tenant && self.owner(endpoint) == tenant)
    }

    /// The events behind the last one that was looked at, each with whether the job works on it.
    pub(super) fn look_at_events(&self, step: &CountStep) -> Vec<(LetterPlace, bool)> {
        let DeadLetterSelection { endpoint, within, .. } = &step.selection;
        let Some(endpoint) = endpoint.filter(|endpoint| within.is_none() || self.owner(*endpoint) == within.as_ref())
        else {
            return Vec::new();
        };
        let row = self.endpoints.get(&endpoint).and_then(|endpoint| endpoint.row.as_ref());
        let wants = Wants::of(row.map(|row| (row.id.clone(), row.settings.as_str())));
        let after = step.after.map_or(Bound::Unbounded, |place| Bound::Excluded(place.seq));
        let events = self.events.range((after, Bound::Included(self.judged_through)));
        let meant = |kept: &super::state::Kept| {
            let newest = match self.newest(kept.event.seq, endpoint).map(|(_, delivery)| delivery.standing) {
                None if wants.event(&kept.event, kept.state) => Newest::Missing,
                Some(Standing::Dead { replayed_as: None, .. }) => Newest::Dead,
                Some(Standing::Delivered) => Newest::Delivered,
                _ => Newest::Other,
            };
            step.selection.has_accepted(kept.event.accepted_at, step.at)
                && self.is_within(kept.event.seq, endpoint, within.as_ref())
                && step.kind.means(newest)
        };
        let place = |seq| LetterPlace::of_event(endpoint, seq);
        events.take(LETTER_STEP).map(|(seq, kept)| (place(*seq), meant(kept))).collect()
    }

    pub(super) fn deliveries(&self, filter: &DeliveryFilter) -> Vec<ListedDelivery> {
        let before = filter.before.unwrap_or((u64::MAX, u32::MAX));
        let listed = |(id, delivery): &(&DeliveryId, &Delivery)| {
            id.endpoint == filter.endpoint
                && (id.seq, id.run) < before
                && filter.state.is_none_or(|state| delivery.standing.state() == state)
                && self.is_within(id.seq, id.endpoint, filter.within.as_ref())
        };
        let row = |(id, delivery): (&DeliveryId, &Delivery)| {
            let event = self.events.get(&id.seq).map(|kept| &kept.event);
            Some(ListedDelivery {
                delivery: self.delivery_row(*id, delivery)?,
                event: event.map(|event| event.id.clone()),
                topic: event.map(|event| event.topic.clone()),
                created_at: delivery.created_at,
            })
        };
        self.deliveries.iter().rev().filter(listed).filter_map(row).take(filter.limit).collect()
    }
}
