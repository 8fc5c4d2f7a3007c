//! The store's contract in a map.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::RangeInclusive,
    sync::Arc,
};

use crate::{
    clock::Timestamp,
    deliver::queue::Key,
    event::Accepted,
    store::{Cursor, Next, Page, PageRequest, PendingRow, Settlement},
};

/// Left out of one page at most: few where pages are short, so that they come to nothing.
const LOOKED_AT: RangeInclusive<usize> = 5..=4096;

/// A pending delivery.
pub(super) type Row = PendingRow;

/// Deliveries of one endpoint.
#[derive(Debug, Default)]
pub(super) struct FakeStore {
    pending: BTreeMap<Key, Row>,
    pub(super) delivered: BTreeSet<Key>,
    pub(super) dead: BTreeMap<Key, Arc<Accepted>>,
    dropped: BTreeSet<Key>,
    replayed: BTreeSet<Key>,
}

impl FakeStore {
    pub(super) fn insert(&mut self, event: &Arc<Accepted>, run: u32, created_at: Timestamp, dropped: bool) {
        let key = (event.seq, run);
        if dropped {
            self.dropped.insert(key);
            return;
        }
        let event = Arc::clone(event);
        let row = Row {
            event,
            run,
            created_at,
            attempts: 0,
            spent: 0,
            attempted_at: None,
            due: None,
            asked: false,
            batch_status: None,
        };
        self.pending.insert(key, row);
    }

    pub(super) fn pending(&self, key: Key) -> Option<&Row> {
        self.pending.get(&key)
    }

    /// The first ones of all that are pending.
    pub(super) fn first_pending(&self, count: usize) -> Vec<Key> {
        self.pending.keys().take(count).copied().collect()
    }

    pub(super) fn all_pending(&self) -> impl Iterator<Item = (&Key, &Row)> {
        self.pending.iter()
    }

    /// The first of the same key that waits or is in flight; of one without a key, itself.
    pub(super) fn first_of_line(&self, key: Key) -> Option<Key> {
        let name = self.pending.get(&key)?.event.key.as_ref();
        let same = |row: &Row| name.is_some() && row.event.key.as_ref() == name;
        self.pending.iter().find(|(place, row)| **place == key || same(row)).map(|(place, _)| *place)
    }

    pub(super) fn count_pending(&self) -> usize {
        self.pending.len()
    }

    pub(super) fn was_dropped(&self, key: Key) -> bool {
        self.dropped.contains(&key)
    }

    pub(super) fn drop_pending(&mut self) {
        self.dropped.extend(std::mem::take(&mut self.pending).into_keys());
    }

    /// The first that wait.
    pub(super) fn waiting(&self, in_flight: &[Key], count: usize) -> Vec<Key> {
        self.pending.keys().filter(|key| !in_flight.contains(key)).take(count).copied().collect()
    }

    pub(super) fn drop_one(&mut self, key: Key) {
        if self.pending.remove(&key).is_some() {
            self.dropped.insert(key);
        }
    }

    pub(super) fn settle(&mut self, settlement: &Settlement) {
        let key = (settlement.delivery.seq, settlement.delivery.run);
        let Some(row) = self.pending.get_mut(&key) else { return };
        match settlement.next {
            Next::Retry { due, asked } => {
                (row.due, row.asked, row.spent) = (Some(due), asked, settlement.spent);
                if let Some(attempt) = &settlement.attempt {
                    row.attempts = attempt.number;
                    row.attempted_at = Some(attempt.at.after(attempt.duration));
                    row.batch_status = attempt.status.filter(|_| attempt.is_shared());
                }
            }
            Next::Delivered => {
                self.pending.remove(&key);
                self.delivered.insert(key);
            }
            Next::Dropped(_) => {
                self.pending.remove(&key);
                self.dropped.insert(key);
            }
            Next::DeadLettered(_) => {
                if let Some(row) = self.pending.remove(&key) {
                    self.dead.insert(key, row.event);
                }
            }
        }
    }

    /// Makes a new delivery of one of the dead letters that have none.
    pub(super) fn replay(&mut self, which: usize, now: Timestamp) -> Option<Key> {
        let open: Vec<_> = self.dead.iter().filter(|(key, _)| !self.replayed.contains(key)).collect();
        let (key, event) = open.get(which % open.len().max(1)).map(|(key, event)| (**key, Arc::clone(event)))?;
        self.replayed.insert(key);
        self.insert(&event, key.1 + 1, now, false);
        Some((key.0, key.1 + 1))
    }

    /// At most `rows` rows, but one if there is any.
    pub(super) fn page(&self, request: &PageRequest, rows: usize) -> Page {
        let most = request.items.min(rows).max(1);
        let mut found = self.matching(&request.cursor);
        if let Cursor::Keyed { without, .. } = &request.cursor {
            let looked_at = rows.clamp(*LOOKED_AT.start(), *LOOKED_AT.end());
            return Self::keyed_page(without, found, most, request.bytes, looked_at);
        }
        let (mut page, mut bytes) = (Page::default(), 0);
        found.reverse();
        while let Some(row) = found.pop() {
            if page.rows.len() == most || (bytes >= request.bytes && !page.rows.is_empty()) {
                return page;
            }
            bytes += row.event.weight();
            page.rows.push(row.clone());
        }
        page.end = true;
        page
    }

    /// What is left out is looked at too, so much of it at most.
    fn keyed_page(without: &BTreeSet<Arc<str>>, found: Vec<&Row>, most: usize, bytes: usize, looked_at: usize) -> Page {
        let (mut page, mut weight, mut left_out) = (Page::default(), 0, 0);
        for row in found {
            if row.event.key.as_ref().is_some_and(|key| without.contains(key)) {
                if left_out == looked_at {
                    return page;
                }
                left_out += 1;
            } else if page.rows.len() == most || (weight >= bytes && !page.rows.is_empty()) {
                return page;
            } else {
                weight += row.event.weight();
                page.rows.push(row.clone());
            }
            page.through = Some((row.event.seq, row.run));
        }
        page.end = true;
        page
    }

    fn matching(&self, cursor: &Cursor) -> Vec<&Row> {
        let all = self.pending.iter();
        match *cursor {
            Cursor::OfKey { ref key, after } => {
                let of_key = |row: &Row| row.event.key.as_ref() == Some(key);
                all.filter(|(place, row)| after < Some(**place) && of_key(row)).map(|(_, row)| row).collect()
            }
            Cursor::Fresh(after) => {
                all.filter(|(key, row)| row.due.is_none() && after < Some(**key)).map(|(_, row)| row).collect()
            }
            Cursor::InOrder(after) | Cursor::Keyed { after, .. } => {
                all.filter(|(key, _)| after < Some(**key)).map(|(_, row)| row).collect()
            }
            Cursor::Retries { from, after } => {
                let place = |key: &Key, row: &Row| row.due.map(|due| (due, Some(*key)));
                let mut found: Vec<_> = all.filter_map(|(key, row)| place(key, row).zip(Some(row))).collect();
                found.retain(|(place, _)| *place > (from, after));
                found.sort_by_key(|(place, _)| *place);
                found.into_iter().map(|(_, row)| row).collect()
            }
        }
    }
}

/// An event with `size` bytes of data.
pub(super) fn event(seq: u64, accepted_at: Timestamp, size: usize) -> Arc<Accepted> {
    Arc::new(Accepted {
        seq,
        accepted_at,
        id: "evt".parse().unwrap(),
        topic: "a.b".parse().unwrap(),
        tenant: None,
        // Every fourth has none.
        key: (!seq.is_multiple_of(4)).then(|| format!("k{}", seq % 7).into()),
        source: None,
        timestamp: accepted_at,
        data: vec![b'1'; size].into(),
        metadata: None,
        suppressed: 0,
    })
}
