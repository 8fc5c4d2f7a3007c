//! One delivery in memory, and when it is due.

use std::{sync::Arc, time::Duration};

use crate::{
    clock::{Mono, Timestamp},
    deliver::batch::is_refusal,
    event::Accepted,
    quota::Share,
    store::PendingRow,
};

/// Names a delivery of this endpoint: seq and run.
pub type Key = (u64, u32);

/// One delivery in memory.
#[derive(Debug)]
pub struct Item {
    /// What is delivered.
    pub event: Arc<Accepted>,
    /// The run.
    pub run: u32,
    /// When the delivery was made.
    pub created_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts that count against the limit.
    pub spent: u32,
    /// Its last attempt was a batch that was refused for what is in it, and is taken apart.
    pub halved: bool,
    /// Not before this.
    pub(super) due: Option<Due>,
    _share: Share,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) mono: Mono,
    pub(super) wall: Timestamp,
    /// The receiver asked for this time.
    pub(super) asked: bool,
}

impl Item {
    /// Its name.
    pub fn key(&self) -> Key {
        (self.event.seq, self.run)
    }

    /// How long ago it was due; `None` when that was at once.
    pub fn late(&self, now: Mono) -> Option<Duration> {
        self.due.map(|due| now.since(due.mono))
    }

    pub(super) fn due_at(mut self, due: Due) -> Self {
        self.due = Some(due);
        self
    }

    pub(super) fn is_due(&self, now: Mono) -> bool {
        self.due.is_none_or(|due| due.mono <= now)
    }
}

/// When a retry is due.
#[derive(Clone, Copy, Debug)]
pub struct RetryAt {
    /// From now.
    pub delay: Duration,
    /// The receiver asked for it: the end of an outage does not bring it forward.
    pub asked: bool,
}

pub(super) fn fresh_item(event: Arc<Accepted>, share: Share) -> Item {
    let created_at = event.accepted_at;
    Item { event, run: 0, created_at, attempts: 0, spent: 0, halved: false, due: None, _share: share }
}

pub(super) fn stored_item(row: PendingRow, due: Option<Due>, share: Share) -> Item {
    let PendingRow { event, run, created_at, attempts, spent, batch_status, .. } = row;
    let halved = batch_status.is_some_and(is_refusal);
    Item { event, run, created_at, attempts, spent, halved, due, _share: share }
}
