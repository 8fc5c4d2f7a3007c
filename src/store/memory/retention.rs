//! What is kept for how long. Forgetting changes no sum: sums are counted when something happens.

use super::{super::*, state::State};

impl State {
    /// One thing more needs the event.
    pub(super) fn hold(&mut self, seq: u64) {
        if let Some(kept) = self.events.get_mut(&seq) {
            kept.holds += 1;
            self.finished.remove(&seq);
        }
    }

    /// One thing less needs the event, which may be forgotten by it, or make another one be forgotten.
    pub(super) fn release(&mut self, seq: u64) {
        if let Some(kept) = self.events.get_mut(&seq) {
            kept.holds -= 1;
            if kept.holds == 0 {
                self.finished.insert(seq);
            }
        }
        while self.finished.len() > self.history {
            let Some(oldest) = self.finished.pop_first() else { return };
            self.forget(oldest);
        }
    }

    fn forget(&mut self, seq: u64) {
        if let Some(kept) = self.events.remove(&seq) {
            self.ids.remove(&(kept.event.tenant.clone(), kept.event.id.clone()));
        }
        self.deliveries.extract_if(all_of(seq), |_, _| true).for_each(drop);
    }
}

/// Every delivery of an event.
pub(super) fn all_of(seq: u64) -> std::ops::RangeInclusive<DeliveryId> {
    let first = DeliveryId { seq, endpoint: EndpointKey(i64::MIN), run: 0 };
    first..=DeliveryId { seq, endpoint: EndpointKey(i64::MAX), run: u32::MAX }
}
