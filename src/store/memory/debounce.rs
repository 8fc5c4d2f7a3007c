//! What debouncing keeps: windows, what they hold, and counts.

use super::{
    super::*,
    retention::all_of,
    state::{Delivery, EndpointState, Standing, State},
};

impl State {
    /// What debouncing changed by an event.
    pub(super) fn debounced(&mut self, debounced: Debounced) {
        let Debounced { windows, suppressed_by, coalesced, muted, released } = debounced;
        if let Some(rule) = suppressed_by {
            self.rule_totals.entry(rule).or_default().0 += 1;
        }
        coalesced.into_iter().for_each(|(seq, rule)| self.coalesce(seq, rule));
        muted.into_iter().for_each(|id| self.mute(id));
        released.into_iter().for_each(|released| self.let_go(released));
        self.keep_windows(windows);
    }

    /// A delivery that is held is suppressed.
    fn mute(&mut self, id: DeliveryId) {
        let Some((delivery, endpoint)) = self.held_delivery(id) else { return };
        delivery.standing = Standing::Suppressed;
        endpoint.pending.remove(id, None);
        endpoint.totals.pending -= 1;
        endpoint.totals.suppressed += 1;
        self.release(id.seq);
    }

    /// A delivery that is held is pending like others.
    fn let_go(&mut self, Released { delivery: id, at, suppressed }: Released) {
        let Some((delivery, endpoint)) = self.held_delivery(id) else { return };
        delivery.standing = Standing::Pending { due: None, asked: false };
        (delivery.created_at, delivery.suppressed) = (at, suppressed);
        let weight = endpoint.pending.remove(id, None);
        endpoint.pending.insert(id, None, weight);
    }

    fn held_delivery(&mut self, id: DeliveryId) -> Option<(&mut Delivery, &mut EndpointState)> {
        let found = self.deliveries.get_mut(&id).zip(self.endpoints.get_mut(&id.endpoint));
        found.filter(|(delivery, _)| matches!(delivery.standing, Standing::Held))
    }

    pub(super) fn held_deliveries(&self) -> Vec<HeldDelivery> {
        let held = self.deliveries.iter().filter(|(_, delivery)| matches!(delivery.standing, Standing::Held));
        let carries = |seq: &u64| self.events.get(seq).map_or(0, |kept| kept.event.suppressed);
        held.map(|(id, _)| HeldDelivery { delivery: *id, carries: carries(&id.seq) }).collect()
    }

    fn coalesce(&mut self, seq: u64, rule: String) {
        if !self.held.remove(&seq) {
            return;
        }
        self.coalesced += 1;
        self.rule_totals.entry(rule).or_default().1 += 1;
        if let Some(kept) = self.events.get_mut(&seq) {
            kept.state = EventState::Coalesced;
            // What it carried is carried on by the one that replaced it.
            Arc::make_mut(&mut kept.event).suppressed = 0;
        }
        self.release(seq);
    }

    pub(super) fn keep_windows(&mut self, windows: Vec<WindowChange>) {
        for WindowChange { rule, key, slot } in windows {
            match slot {
                Some(slot) => self.windows.insert((rule, key), slot),
                None => self.windows.remove(&(rule, key)),
            };
        }
    }

    pub(super) fn rule_totals(&self) -> BTreeMap<String, RuleTotals> {
        let mut totals: BTreeMap<String, RuleTotals> = BTreeMap::new();
        for (rule, (suppressed, coalesced)) in &self.rule_totals {
            let counts = RuleTotals { suppressed: *suppressed, coalesced: *coalesced, ..RuleTotals::default() };
            totals.insert(rule.clone(), counts);
        }
        for ((rule, _), slot) in &self.windows {
            let of_rule = totals.entry(rule.clone()).or_default();
            of_rule.keys += 1;
            of_rule.held += u64::from(slot.held.is_some());
        }
        totals
    }

    pub(super) fn failed(&self, of: Option<EndpointKey>, mut seqs: Vec<u64>) -> Vec<u64> {
        let failed = |state| !matches!(state, DeliveryState::Pending | DeliveryState::Delivered);
        seqs.retain(|seq| {
            let meant = |id: &DeliveryId| of.is_none_or(|of| id.endpoint == of);
            let meant = self.deliveries.range(all_of(*seq)).filter(|(id, _)| meant(id));
            let states = meant.map(|(_, delivery)| delivery.standing.state());
            let mut states = states.filter(|state| *state != DeliveryState::Suppressed).peekable();
            states.peek().is_some() && states.all(failed)
        });
        seqs
    }
}
