//! What must hold for batches.

use super::{super::store::Row, Gate, Law, World};
use crate::{
    clock::Timestamp,
    deliver::{machine::Start, queue::Key},
    endpoint::State,
    store::{Next, Settlement},
    transport::{Answer, Reply},
};

impl World {
    pub(in crate::deliver::machine::laws) fn in_flight_is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Bounds in items and bytes, order, and one event where there are no batches or the request is a probe.
    pub(super) fn check_batch(&mut self, start: &Start, keys: &[Key]) {
        let (items, bytes) =
            self.setting.policy.batch.as_ref().map_or((1, 0), |batch| (batch.max_items, batch.max_bytes));
        let probe = !matches!(self.gate, Gate::Closed);
        let weight: usize = start.events.iter().map(|event| event.weight()).sum();
        let bounded = keys.len() <= if probe { 1 } else { usize::try_from(items).unwrap() };
        let small = keys.len() == 1 || u64::try_from(weight).unwrap() <= bytes;
        self.hold_to(Law::Batches, bounded && small, || format!("{keys:?} of {weight} bytes in one request"));
        self.hold_to(Law::Batches, keys.is_sorted() && !keys.is_empty(), || format!("{keys:?} out of order"));
    }

    /// Whether this is a part of a batch that was taken apart.
    pub(super) fn is_halved(&self, settlement: &Settlement) -> bool {
        let key = (settlement.delivery.seq, settlement.delivery.run);
        let refused = |answer: &Answer| {
            let response = answer.as_ref().ok().and_then(Reply::response);
            response.is_some_and(|response| matches!(response.status, 400 | 413 | 422))
        };
        self.last.as_ref().is_some_and(|(keys, answer)| keys.len() > 1 && keys.contains(&key) && refused(answer))
    }

    /// It goes out again at once, and no attempt is used.
    pub(super) fn check_half(&mut self, key: Key, row: &Row, settlement: &Settlement) {
        let now = self.now().wall;
        let free = settlement.spent == row.spent;
        self.hold_to(Law::Allowed, free, || format!("{key:?} has spent {}", settlement.spent));
        let Next::Retry { due, asked } = settlement.next else {
            return self.breach(Law::NothingLost, &format!("{key:?} ends as a part of a batch: {settlement:?}"));
        };
        let at_once = due <= now && now.since(due) < std::time::Duration::from_secs(1) && !asked;
        self.hold_to(Law::Batches, at_once, || format!("{key:?} of a batch taken apart is due {due}"));
    }

    /// Where nothing hinders, nothing that is fresh waits longer than the interval.
    pub(super) fn check_company(&mut self) {
        let Some(batch) = self.setting.policy.batch.clone() else { return };
        let rate = self.setting.policy.rate.is_some();
        let free = self.state == State::Active && !self.held && matches!(self.gate, Gate::Closed) && !rate;
        let tight = self.setting.window_bytes < 1 << 20 || self.others.0.is_some();
        if !free
            || tight
            || self.page_failed
            || !self.in_flight.is_empty()
            || self.paging.is_some()
            || !self.unpushed.is_empty()
        {
            return;
        }
        let now = self.now().wall;
        let late = |row: &Row| now > ready(row).after(batch.flush_interval);
        let ready_head = self.store.all_pending().next().filter(|(_, row)| row.due.is_none() && late(row));
        let head = ready_head.map(|(key, _)| *key);
        let waits = head.filter(|_| self.machine.next_deadline().is_none_or(|next| next > self.now().mono));
        self.hold_to(Law::Company, waits.is_none(), || format!("{waits:?} has waited for too long"));
    }
}

fn ready(row: &Row) -> Timestamp {
    row.created_at
}
