//! What is asked of the store.

use std::ops::Bound;

use super::{
    super::*,
    retention::all_of,
    state::{Delivery, EndpointState, Kept, Standing, State},
};

impl State {
    pub(super) fn endpoints(&self, after: EndpointKey, limit: usize) -> Vec<EndpointRow> {
        let above = self.endpoints.range((Bound::Excluded(after), Bound::Unbounded));
        above.filter_map(|(_, endpoint)| endpoint.row.clone()).take(limit).collect()
    }

    pub(super) fn load(&self) -> Loaded {
        let endpoints = || self.endpoints.iter();
        let breakers = endpoints().filter(|(_, endpoint)| endpoint.breaker != BreakerRecord::default());
        let pending = endpoints().filter(|(_, endpoint)| !endpoint.pending.is_empty());
        let windows = self.windows.iter().map(|((rule, key), slot)| WindowChange {
            rule: rule.clone(),
            key: key.clone(),
            slot: Some(*slot),
        });
        Loaded {
            breakers: breakers.map(|(key, endpoint)| (*key, endpoint.breaker)).collect(),
            pending: pending.map(|(key, _)| *key).collect(),
            rules: self.rules.clone().into_iter().collect(),
            chains: self.chains.clone().into_iter().collect(),
            windows: windows.collect(),
            held: self.held.iter().filter_map(|seq| self.events.get(seq)).map(|kept| Arc::clone(&kept.event)).collect(),
            held_deliveries: self.held_deliveries(),
            judged_through: self.judged_through,
        }
    }

    pub(super) fn unjudged(&self, after: u64, limit: usize) -> Vec<Arc<Accepted>> {
        let from = after.max(self.judged_through).saturating_add(1);
        self.events.range(from..).take(limit).map(|(_, kept)| Arc::clone(&kept.event)).collect()
    }

    pub(super) fn events(&self, filter: &EventFilter) -> Vec<EventRow> {
        let page = self.events.range(..filter.before.unwrap_or(u64::MAX)).rev().map(|(_, kept)| kept);
        let row = |kept: &Kept| EventRow { event: Arc::clone(&kept.event), state: kept.state };
        let mut left = filter.bytes.unwrap_or(usize::MAX);
        // With the one that takes the last of them.
        let fits = |kept: &&Kept| {
            let fits = left > 0;
            left = left.saturating_sub(kept.event.weight());
            fits
        };
        let listed = page.filter(|kept| self.is_listed(kept, filter)).take(filter.limit);
        listed.take_while(fits).map(row).collect()
    }

    fn is_listed(&self, kept: &Kept, filter: &EventFilter) -> bool {
        let Kept { event, state, .. } = kept;
        filter.topic.as_ref().is_none_or(|topic| topic.matches(&event.topic))
            && filter.tenant.as_ref().is_none_or(|tenant| event.tenant.as_ref() == Some(tenant))
            && filter.state.is_none_or(|wanted| *state == wanted)
            && filter.since.is_none_or(|since| event.accepted_at >= since)
            && filter.until.is_none_or(|until| event.accepted_at < until)
            && filter.within.as_ref().is_none_or(|tenant| event.tenant.as_ref() == Some(tenant))
            && filter.delivery.is_none_or(|wanted| self.has_delivery(event.seq, wanted, filter.within.as_ref()))
    }

    fn has_delivery(&self, seq: u64, wanted: DeliveryState, within: Option<&Tenant>) -> bool {
        let seen = |id: &DeliveryId| within.is_none() || self.owner(id.endpoint) == within;
        let mut deliveries = self.deliveries.range(all_of(seq));
        deliveries.any(|(id, delivery)| delivery.standing.state() == wanted && seen(id))
    }

    /// Whose an endpoint is, or was when it was deleted.
    pub(super) fn owner(&self, endpoint: EndpointKey) -> Option<&Tenant> {
        self.endpoints.get(&endpoint).and_then(|endpoint| endpoint.tenant.as_ref())
    }

    pub(super) fn event(&self, tenant: Option<Tenant>, id: EventId) -> Option<EventDetail> {
        let kept = self.events.get(self.ids.get(&(tenant, id))?)?;
        let deliveries = self.deliveries.range(all_of(kept.event.seq));
        Some(EventDetail {
            event: Arc::clone(&kept.event),
            state: kept.state,
            deliveries: deliveries.filter_map(|(id, delivery)| self.delivery_row(*id, delivery)).collect(),
        })
    }

    pub(super) fn delivery_row(&self, id: DeliveryId, delivery: &Delivery) -> Option<DeliveryRow> {
        let last = delivery.log.last();
        Some(DeliveryRow {
            id,
            endpoint: self.endpoints.get(&id.endpoint)?.id.clone(),
            of: self.owner(id.endpoint).cloned(),
            state: delivery.standing.state(),
            reason: delivery.standing.reason().map(str::to_owned),
            attempts: delivery.attempts,
            next_attempt_at: delivery.standing.due(),
            last_status: last.and_then(|attempt| attempt.status),
            last_error: last.and_then(|attempt| attempt.error.clone()),
        })
    }

    pub(super) fn event_attempts(&self, seq: u64, page: &AttemptPage) -> Vec<AttemptRow> {
        let order = |place: AttemptPlace| (place.at, place.delivery, place.number);
        let deliveries = self.deliveries.range(all_of(seq)).filter(|(id, _)| self.is_listed_within(**id, page));
        let mut rows: Vec<_> = deliveries.flat_map(|(id, delivery)| self.attempts(*id, delivery)).collect();
        rows.retain(|row| page.past.is_none_or(|past| order(row.place()) > order(past)));
        rows.sort_by_key(|row| order(row.place()));
        rows.truncate(page.limit);
        rows
    }

    pub(super) fn endpoint_attempts(&self, endpoint: EndpointKey, page: &AttemptPage) -> Vec<AttemptRow> {
        let order = |place: AttemptPlace| (place.delivery.seq, place.delivery.run, place.number);
        let newest = page.past.map_or(u64::MAX, |past| past.delivery.seq);
        let end = DeliveryId { seq: newest.saturating_add(1), endpoint: EndpointKey(i64::MIN), run: 0 };
        let deliveries = self.deliveries.range(..end).rev();
        deliveries
            .filter(|(id, _)| id.endpoint == endpoint && self.is_listed_within(**id, page))
            .flat_map(|(id, delivery)| self.attempts(*id, delivery).rev())
            .filter(|row| page.past.is_none_or(|past| order(row.place()) < order(past)))
            .take(page.limit)
            .collect()
    }

    fn is_listed_within(&self, id: DeliveryId, page: &AttemptPage) -> bool {
        let of = || self.events.get(&id.seq).and_then(|kept| kept.event.tenant.as_ref());
        page.within.is_none() || of() == page.within.as_ref() && self.owner(id.endpoint) == page.within.as_ref()
    }

    /// The attempts of a delivery, oldest first.
    fn attempts(&self, id: DeliveryId, delivery: &Delivery) -> impl DoubleEndedIterator<Item = AttemptRow> {
        let endpoint = self.endpoints.get(&id.endpoint).map(|endpoint| &endpoint.id);
        let of = self.owner(id.endpoint);
        let event = self.events.get(&id.seq).map(|kept| &kept.event.id);
        delivery.log.iter().filter_map(move |attempt| {
            Some(AttemptRow {
                delivery: id,
                endpoint: endpoint?.clone(),
                of: of.cloned(),
                event: event.cloned(),
                number: attempt.number,
                at: attempt.at,
                duration: attempt.duration,
                status: attempt.status,
                outcome: attempt.outcome.to_owned(),
                error: attempt.error.clone(),
                response: attempt.response.clone(),
                peer: attempt.peer,
                batch: attempt.batch.as_ref().map(|batch| InBatch { id: batch.id.clone(), size: batch.size }),
            })
        })
    }

    pub(super) fn dead_letters(&self, filter: &DeadLetterFilter) -> Vec<DeadLetterRow> {
        let start = std::ops::Bound::Unbounded;
        let end = filter.before.map_or(start, std::ops::Bound::Excluded);
        let rows = self.deliveries.range((start, end)).rev();
        rows.filter_map(|(id, delivery)| self.dead_letter_row(*id, delivery))
            .filter(|row| row.replayed_as.is_some() == filter.replayed && self.is_listed_letter(row, filter))
            .take(filter.limit)
            .collect()
    }

    fn is_listed_letter(&self, row: &DeadLetterRow, filter: &DeadLetterFilter) -> bool {
        let tenant = self.events.get(&row.id.seq).and_then(|kept| kept.event.tenant.as_ref());
        filter.selection.matches(&jobs::Letter {
            endpoint: row.id.endpoint,
            reason: &row.reason,
            since: row.dead_since,
            topic: row.topic.as_ref(),
            tenant,
            of: row.of.as_ref(),
        })
    }

    pub(super) fn dead_letter(&self, id: DeliveryId) -> Option<(DeadLetterRow, Option<Arc<Accepted>>)> {
        let row = self.dead_letter_row(id, self.deliveries.get(&id)?)?;
        Some((row, self.events.get(&id.seq).map(|kept| Arc::clone(&kept.event))))
    }

    fn dead_letter_row(&self, id: DeliveryId, delivery: &Delivery) -> Option<DeadLetterRow> {
        let Standing::Dead { reason, since, replayed_as } = delivery.standing else { return None };
        let event = self.events.get(&id.seq).map(|kept| &kept.event);
        let last = delivery.log.last();
        Some(DeadLetterRow {
            id,
            endpoint: self.endpoints.get(&id.endpoint)?.id.clone(),
            of: self.owner(id.endpoint).cloned(),
            event: event.map(|event| event.id.clone()),
            topic: event.map(|event| event.topic.clone()),
            reason: reason.as_str().to_owned(),
            attempts: delivery.attempts,
            last_status: last.and_then(|attempt| attempt.status),
            last_error: last.and_then(|attempt| attempt.error.clone()),
            first_attempt_at: delivery.log.first().map(|attempt| attempt.at),
            dead_since: since,
            replayed_as,
        })
    }

    pub(super) fn totals(&self) -> Totals {
        let mut deliveries = DeliveryTotals::default();
        self.endpoints.values().for_each(|endpoint| add(&mut deliveries, &endpoint.totals));
        Totals {
            accepted: self.newest,
            unmatched: self.unmatched,
            suppressed: self.suppressed,
            coalesced: self.coalesced,
            debouncing: self.held.len() as u64,
            unrouted: self.newest - self.judged_through,
            routed: self.routed,
            deliveries,
        }
    }

    pub(super) fn endpoint_totals(&self, key: EndpointKey) -> (DeliveryTotals, Option<Timestamp>) {
        let Some(EndpointState { totals, pending, .. }) = self.endpoints.get(&key) else {
            return (DeliveryTotals::default(), None);
        };
        let created = |(seq, run)| self.deliveries.get(&DeliveryId { seq, endpoint: key, run });
        let oldest = pending.ready().filter_map(created).map(|delivery| delivery.created_at).min();
        (totals.clone(), oldest)
    }

    pub(super) fn vitals(&self) -> Vitals {
        let sick = |one: &EndpointState| one.totals.pending > 0 || one.breaker != BreakerRecord::default();
        let sick = self.endpoints.iter().filter(|(_, one)| one.row.is_some() && sick(one));
        let health = |(key, one): (&EndpointKey, &EndpointState)| {
            let (DeliveryTotals { pending, .. }, oldest_pending_at) = self.endpoint_totals(*key);
            Health { endpoint: *key, pending, oldest_pending_at, breaker: one.breaker }
        };
        Vitals { endpoints: sick.map(health).collect(), dead_letters: u64::try_from(self.dead.len()).unwrap_or(0) }
    }
}

impl Standing {
    pub(super) fn state(&self) -> DeliveryState {
        match self {
            Self::Pending { .. } | Self::Held => DeliveryState::Pending,
            Self::Delivered => DeliveryState::Delivered,
            Self::Dead { .. } => DeliveryState::DeadLettered,
            Self::Dropped(_) => DeliveryState::Dropped,
            Self::Suppressed => DeliveryState::Suppressed,
        }
    }

    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Dead { reason, .. } => Some(reason.as_str()),
            Self::Dropped(reason) => Some(reason.as_str()),
            Self::Pending { .. } | Self::Held | Self::Delivered | Self::Suppressed => None,
        }
    }

    fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Pending { due, .. } => *due,
            Self::Held | Self::Delivered | Self::Dead { .. } | Self::Dropped(_) | Self::Suppressed => None,
        }
    }
}

fn add(sum: &mut DeliveryTotals, part: &DeliveryTotals) {
    let DeliveryTotals {
        created,
        replayed,
        pending,
        in_flight,
        delivered,
        suppressed,
        dead_lettered,
        dropped,
        abandoned,
        dead_letters,
    } = part;
    sum.created += created;
    sum.replayed += replayed;
    sum.pending += pending;
    sum.in_flight += in_flight;
    sum.delivered += delivered;
    sum.suppressed += suppressed;
    sum.dead_lettered += dead_lettered;
    sum.abandoned += abandoned;
    sum.dead_letters.kept += dead_letters.kept;
    sum.dead_letters.bytes += dead_letters.bytes;
    sum.dead_letters.pruned += dead_letters.pruned;
    sum.dead_letters.purged += dead_letters.purged;
    for (reason, count) in dropped {
        *sum.dropped.entry(reason.clone()).or_default() += count;
    }
}
