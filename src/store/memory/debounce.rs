//! What debouncing keeps: windows, what they hold, and counts.

use super::{super::*, retention::all_of, state::State};

impl State {
    /// What debouncing changed by an event.
    pub(super) fn debounced(&mut self, debounced: Debounced) {
        let Debounced { windows, suppressed_by, coalesced } = debounced;
        if let Some(rule) = suppressed_by {
            self.rule_totals.entry(rule).or_default().0 += 1;
        }
        coalesced.into_iter().for_each(|(seq, rule)| self.coalesce(seq, rule));
        self.keep_windows(windows);
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

    pub(super) fn failed(&self, mut seqs: Vec<u64>) -> Vec<u64> {
        let failed = |state| !matches!(state, DeliveryState::Pending | DeliveryState::Delivered);
        seqs.retain(|seq| {
            let states = self.deliveries.range(all_of(*seq)).map(|(_, delivery)| delivery.standing.state());
            let mut states = states.filter(|state| *state != DeliveryState::Suppressed).peekable();
            states.peek().is_some() && states.all(failed)
        });
        seqs
    }
}
