//! Endpoints, rules, breakers and replays: what people change.

use super::{
    super::{
        rows::{CANCEL_STEP, Waiting},
        *,
    },
    dead_letters::Letters,
    pending::Pending,
    state::{EndpointState, Origin, Standing, State},
};
use crate::endpoint::TenantScope;

impl State {
    pub(super) fn create_endpoint(
        &mut self,
        id: EndpointId,
        settings: String,
        now: Timestamp,
    ) -> Result<EndpointRow, StoreError> {
        if self.endpoints.values().any(|endpoint| endpoint.row.is_some() && endpoint.id == id) {
            return Err(StoreError::Failed(format!("there is an endpoint {id} already")));
        }
        let letters = Letters::of(&settings);
        let key = EndpointKey(self.endpoints.last_key_value().map_or(1, |(last, _)| last.0 + 1));
        let row = EndpointRow {
            key,
            id: id.clone(),
            settings,
            version: 1,
            created_at: now,
            updated_at: now,
            state_since: now,
            state_reason: None,
        };
        let tenant = TenantScope::tenant_of_settings(&row.settings);
        let endpoint = EndpointState {
            id,
            tenant,
            row: Some(row.clone()),
            dropping: None,
            breaker: BreakerRecord::default(),
            totals: DeliveryTotals::default(),
            pending: Pending::default(),
            letters,
        };
        self.endpoints.insert(key, endpoint);
        Ok(row)
    }

    pub(super) fn update_endpoint(
        &mut self,
        key: EndpointKey,
        change: EndpointChange,
        now: Timestamp,
    ) -> Result<EndpointRow, StoreError> {
        let endpoint = self.endpoints.get_mut(&key).ok_or_else(no_such_endpoint)?;
        let row = endpoint.row.as_mut().ok_or_else(no_such_endpoint)?;
        row.settings = change.settings;
        row.version += 1;
        row.updated_at = now;
        if change.state_changed {
            row.state_since = now;
            row.state_reason = change.state_reason;
        }
        let row = row.clone();
        endpoint.tenant = TenantScope::tenant_of_settings(&row.settings);
        endpoint.dropping = change.drop_pending;
        self.drop_pending(key);
        self.limit_letters(key, &row.settings);
        Ok(row)
    }

    pub(super) fn delete_endpoint(&mut self, key: EndpointKey) -> Result<(), StoreError> {
        let endpoint = self.endpoints.get_mut(&key).ok_or_else(no_such_endpoint)?;
        endpoint.row.take().ok_or_else(no_such_endpoint)?;
        endpoint.breaker = BreakerRecord::default();
        endpoint.dropping = Some(DropReason::EndpointDeleted);
        self.drop_pending(key);
        Ok(())
    }

    fn drop_pending(&mut self, key: EndpointKey) {
        let Some(endpoint) = self.endpoints.get_mut(&key) else { return };
        let Some(reason) = endpoint.dropping else { return };
        let pending = std::mem::take(&mut endpoint.pending);
        for (seq, run) in pending.ids() {
            endpoint.totals.pending -= 1;
            endpoint.count_dropped(reason);
            if let Some(delivery) = self.deliveries.get_mut(&DeliveryId { seq, endpoint: key, run }) {
                delivery.standing = Standing::Dropped(reason);
            }
        }
        pending.ids().for_each(|(seq, _)| self.release(seq));
    }

    pub(super) fn cancel(&mut self, step: &CancelStep) -> CancelledStep {
        let mut cancelled = CancelledStep::default();
        let looked_at = self.pending_above(step.filter.endpoint, step.after);
        cancelled.next = looked_at.last().copied().filter(|_| looked_at.len() == CANCEL_STEP);
        for id in looked_at.into_iter().filter(|id| self.is_meant(*id, &step.filter)).collect::<Vec<_>>() {
            cancelled.found(id.endpoint);
            if !step.dry_run {
                self.drop_one(id, DropReason::Cancelled);
            }
        }
        cancelled
    }

    /// The pending deliveries by (endpoint, seq, run), from above this one.
    fn pending_above(&self, endpoint: Option<EndpointKey>, after: Option<DeliveryId>) -> Vec<DeliveryId> {
        let above = after.map(|id| (id.endpoint, id.seq, id.run));
        let endpoints = self.endpoints.iter().filter(|(key, _)| endpoint.is_none_or(|wanted| **key == wanted));
        let ids = endpoints.flat_map(|(key, endpoint)| endpoint.pending.ids().map(|(seq, run)| (*key, seq, run)));
        ids.filter(|place| above.is_none_or(|above| *place > above))
            .map(|(endpoint, seq, run)| DeliveryId { seq, endpoint, run })
            .take(CANCEL_STEP)
            .collect()
    }

    fn is_meant(&self, id: DeliveryId, filter: &CancelFilter) -> bool {
        let event = self.events.get(&id.seq).map(|kept| &kept.event);
        let of = self.endpoints.get(&id.endpoint).and_then(|endpoint| endpoint.tenant.as_ref());
        event.zip(self.deliveries.get(&id)).is_some_and(|(event, one)| {
            let (topic, tenant) = (&event.topic, event.tenant.as_ref());
            filter.matches(&Waiting { topic, created_at: one.created_at, tenant, of })
        })
    }

    pub(super) fn keep_breaker(&mut self, key: EndpointKey, breaker: BreakerRecord) {
        if let Some(endpoint) = self.endpoints.get_mut(&key).filter(|endpoint| endpoint.row.is_some()) {
            endpoint.breaker = breaker;
        }
    }

    pub(super) fn put_rule(&mut self, name: String, rule: Option<String>) {
        if self.rules.get(&name) == rule.as_ref() {
            return;
        }
        self.windows.retain(|(rule, _), _| *rule != name);
        if rule.is_none() || !self.rules.contains_key(&name) {
            self.rule_totals.remove(&name);
        }
        match rule {
            Some(rule) => drop(self.rules.insert(name, rule)),
            None => drop(self.rules.remove(&name)),
        }
    }

    pub(super) fn put_chain(&mut self, name: String, chain: Option<String>) {
        match chain {
            Some(chain) => drop(self.chains.insert(name, chain)),
            None => drop(self.chains.remove(&name)),
        }
    }

    pub(super) fn replay(&mut self, id: DeliveryId, now: Timestamp) -> ReplayOutcome {
        let standing = self.deliveries.get(&id).map(|delivery| delivery.standing);
        let Some(Standing::Dead { replayed_as, .. }) = standing else { return ReplayOutcome::Unknown };
        if let Some(run) = replayed_as {
            return ReplayOutcome::Already(run);
        }
        if !self.can_get(id.seq, id.endpoint) {
            return ReplayOutcome::Gone;
        }
        let runs = DeliveryId { run: 0, ..id }..=DeliveryId { run: u32::MAX, ..id };
        let highest = self.deliveries.range(runs).next_back().map_or(id.run, |(last, _)| last.run);
        let new = DeliveryId { run: highest + 1, ..id };
        // The new delivery holds the event before the dead letter lets go of it.
        let suppressed = self.deliveries.get(&id).map_or(0, |letter| letter.suppressed);
        self.create(new, Disposition::Deliver, Origin::Replayed, now, suppressed);
        self.exhume(id, new.run);
        ReplayOutcome::Replayed(new)
    }
}

fn no_such_endpoint() -> StoreError {
    StoreError::Failed("there is no such endpoint".to_owned())
}
