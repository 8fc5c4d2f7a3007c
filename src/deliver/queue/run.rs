//! Deliveries that may go out together.

use std::time::Duration;

use super::{
    Queue,
    item::{Due, Item, RetryAt},
};
use crate::{
    clock::{Mono, Now, Timestamp},
    endpoint::policy::Batch,
};

/// What stands first in the queue and may be one batch: fresh deliveries, or retries that are due at the same time, which
/// were one batch before.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// From the retries, not from the fresh ones.
    delayed: bool,
    /// How many.
    items: usize,
    /// When the oldest of them was made.
    pub since: Timestamp,
    /// They have been attempted before.
    pub retried: bool,
    /// Nothing that comes can join: a bound is reached, or what follows belongs elsewhere.
    pub full: bool,
}

impl Queue {
    /// Sets how many may go out together: so many are read ahead.
    pub fn gather(&mut self, together: usize) {
        self.together = together;
    }

    /// What may go out now, the one whose turn it is first.
    pub fn runs(&self, now: Mono, batch: &Batch) -> impl Iterator<Item = Run> + use<> {
        let fresh = run(self.fresh.values(), false, now, batch);
        let delayed = run(self.delayed.values(), true, now, batch);
        let order = if self.retry_turn { [fresh, delayed] } else { [delayed, fresh] };
        order.into_iter().flatten()
    }

    /// Whether more is being read that may belong to the first run.
    pub fn is_coming(&self, run: &Run) -> bool {
        !run.delayed && self.paging.as_ref().is_some_and(|paging| !paging.retries)
    }

    /// Takes a run, in order. What is taken stays held: it is in flight.
    pub fn take_run(&mut self, run: &Run) -> Vec<Item> {
        self.retry_turn = run.delayed;
        let mut next = || {
            if run.delayed {
                self.delayed.pop_first().map(|(_, item)| item)
            } else {
                self.fresh.pop_first().map(|(_, item)| item)
            }
        };
        let mut items: Vec<_> = (0..run.items).map_while(|_| next()).collect();
        items.sort_by_key(Item::key);
        items
    }

    /// One of a batch that was taken apart goes back. What has the same due time, which is not in the future, stays together.
    pub fn put_apart(&mut self, item: Item, due: Timestamp, now: Now) {
        if self.lines.is_some() {
            return self.put_back(item, RetryAt { delay: Duration::ZERO, asked: false }, now);
        }
        self.finish(item.key());
        self.place(item, Due { mono: now.mono, wall: due, asked: false }, false, now);
    }

    /// Whether fresh ones are to be read.
    pub(super) fn wants_fresh(&self) -> bool {
        let (len, window) = (self.fresh.len(), self.window());
        (self.wants(len, window) || (!self.starved && len < self.together.min(window))) && !self.is_crowded()
    }
}

fn run<'a>(items: impl Iterator<Item = &'a Item>, delayed: bool, now: Mono, batch: &Batch) -> Option<Run> {
    let most = usize::try_from(batch.max_items).unwrap_or(usize::MAX);
    let room = usize::try_from(batch.max_bytes).unwrap_or(usize::MAX);
    let mut items = items.peekable();
    let first = items.peek().filter(|first| first.is_due(now))?;
    let due = first.due.map(|due| due.wall);
    let (mut count, mut bytes, mut since, mut full) = (0, 0, first.created_at, false);
    for item in items {
        let weight = item.event.weight();
        if item.due.map(|due| due.wall) != due || (count > 0 && bytes + weight > room) {
            full = true;
            break;
        }
        (count, bytes, since) = (count + 1, bytes + weight, since.min(item.created_at));
        if count >= most || bytes >= room {
            full = true;
            break;
        }
    }
    Some(Run { delayed, items: count, since, retried: due.is_some(), full })
}
