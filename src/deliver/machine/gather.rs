//! What goes out next: one delivery, or a batch of them.

use super::Machine;
use crate::{
    clock::{Mono, Now},
    deliver::{
        breaker::Gate,
        queue::{Item, Run},
    },
    endpoint::policy::Batch,
    store::{DeadReason, Next},
};

impl Machine {
    /// What may be attempted now. A probe is one event, also where there are batches, and another than the last probe's.
    pub(super) fn next_items(&mut self, gate: Gate, now: Now) -> Option<Vec<Item>> {
        match &self.policy.batch {
            Some(batch) if gate == Gate::Free => {
                let mut runs = self.queue.runs(now.mono, batch);
                let run = runs.find(|run| self.starts(run, batch, now).is_some_and(|start| start <= now.mono))?;
                Some(self.queue.take_run(&run))
            }
            _ => {
                let than = self.probed.filter(|_| gate == Gate::Probe);
                self.queue.take(now.mono, than).map(|item| vec![item])
            }
        }
    }

    /// When a batch goes out: at once when it is full, was one before, or nothing is to wait any more; else when its oldest
    /// event has waited long enough. `None` while what may join it is being read.
    fn starts(&self, run: &Run, batch: &Batch, now: Now) -> Option<Mono> {
        if run.full {
            Some(now.mono)
        } else if self.queue.is_coming(run) {
            None
        } else if run.retried || self.hurried {
            Some(now.mono)
        } else {
            Some(self.company.until(run.since, batch.flush_interval, now))
        }
    }

    /// When the next batch goes out, of what is in memory.
    pub(super) fn next_batch(&self, batch: &Batch, now: Now) -> Option<Mono> {
        let runs = self.queue.runs(now.mono, batch);
        runs.filter_map(|run| self.starts(&run, batch, now)).chain(self.queue.next_due(now.mono)).min()
    }

    /// Begins to count how long the oldest event waits for company.
    pub(super) fn note_company(&mut self, now: Now) {
        if let Some(batch) = &self.policy.batch {
            let waiting = self.queue.runs(now.mono, batch).find(|run| !run.full && !run.retried);
            self.company.note(waiting.map(|run| run.since), batch.flush_interval, now);
        }
    }

    /// Gives up what is too old; tells what is left.
    pub(super) fn without_expired(&mut self, items: Vec<Item>, now: Now, count: &mut usize) -> Vec<Item> {
        let (young, old): (Vec<_>, Vec<_>) =
            items.into_iter().partition(|item| now.wall.since(item.created_at) <= self.policy.retry.max_age);
        for item in &old {
            self.give_up(item, Next::DeadLettered(DeadReason::Expired), now, count);
        }
        young
    }

    /// Lets nothing wait for company any more.
    pub fn hurry(&mut self, now: Now) {
        self.hurried = true;
        self.pump(now);
    }
}
