//! The pending deliveries of one endpoint in the orders in which they are paged.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Included, Unbounded},
};

use super::{
    super::{rows::LOOKED_AT, *},
    state::{Standing, State},
};

/// Pending deliveries as (seq, run).
#[derive(Default)]
pub(super) struct Pending {
    /// With the weights of their events.
    all: BTreeMap<(u64, u32), u64>,
    bytes: u64,
    /// Those without a due time.
    fresh: BTreeSet<(u64, u32)>,
    /// Those that are held: on no page.
    held: BTreeSet<(u64, u32)>,
    retries: BTreeSet<(Timestamp, u64, u32)>,
}

impl Pending {
    pub(super) fn insert(&mut self, id: DeliveryId, due: Option<Timestamp>, weight: u64) {
        self.bytes += weight;
        self.all.insert((id.seq, id.run), weight);
        match due {
            None => self.fresh.insert((id.seq, id.run)),
            Some(due) => self.retries.insert((due, id.seq, id.run)),
        };
    }

    /// Takes one in that is held.
    pub(super) fn hold(&mut self, id: DeliveryId, weight: u64) {
        self.bytes += weight;
        self.all.insert((id.seq, id.run), weight);
        self.held.insert((id.seq, id.run));
    }

    /// Tells the weight of its event.
    pub(super) fn remove(&mut self, id: DeliveryId, due: Option<Timestamp>) -> u64 {
        match due {
            None => self.fresh.remove(&(id.seq, id.run)) || self.held.remove(&(id.seq, id.run)),
            Some(due) => self.retries.remove(&(due, id.seq, id.run)),
        };
        let weight = self.all.remove(&(id.seq, id.run)).unwrap_or(0);
        self.bytes -= weight;
        weight
    }

    /// The weights of all.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The weight of one, if it is pending.
    pub(super) fn weight(&self, place: (u64, u32)) -> Option<u64> {
        self.all.get(&place).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All, by (seq, run).
    pub(super) fn ids(&self) -> impl Iterator<Item = (u64, u32)> {
        self.all.keys().copied()
    }

    /// The same without those that are held.
    pub(super) fn ready(&self) -> impl Iterator<Item = (u64, u32)> {
        self.ids().filter(|place| !self.held.contains(place))
    }

    fn from(&self, cursor: &Cursor) -> Box<dyn Iterator<Item = (u64, u32)> + '_> {
        let above = |after: Option<(u64, u32)>| (after.map_or(Unbounded, Excluded), Unbounded);
        match *cursor {
            Cursor::InOrder(after) | Cursor::Keyed { after, .. } | Cursor::OfKey { after, .. } => {
                let all = self.all.range(above(after)).map(|(place, _)| *place);
                Box::new(all.filter(|place| !self.held.contains(place)))
            }
            Cursor::Fresh(after) => Box::new(self.fresh.range(above(after)).copied()),
            Cursor::Retries { from, after } => {
                let start = after.map_or(Included((from, 0, 0)), |(seq, run)| Excluded((from, seq, run)));
                Box::new(self.retries.range((start, Unbounded)).map(|(_, seq, run)| (*seq, *run)))
            }
        }
    }
}

impl State {
    pub(super) fn page(&self, request: &PageRequest) -> Page {
        let mut page = Page { end: true, ..Page::default() };
        let Some(endpoint) = self.endpoints.get(&request.endpoint) else { return page };
        let (mut bytes, mut looked_at) = (0, 0);
        for (seq, run) in endpoint.pending.from(&request.cursor) {
            let key = self.events.get(&seq).and_then(|kept| kept.event.key.as_ref());
            match &request.cursor {
                Cursor::OfKey { key: wanted, .. } if key != Some(wanted) => continue,
                Cursor::Keyed { without, .. } if key.is_some_and(|key| without.contains(key)) => {
                    if looked_at == LOOKED_AT {
                        page.end = false;
                        break;
                    }
                    looked_at += 1;
                    page.through = Some((seq, run));
                    continue;
                }
                _ => {}
            }
            if !page.rows.is_empty() && (page.rows.len() >= request.items || bytes >= request.bytes) {
                page.end = false;
                break;
            }
            let row = self.pending_row(DeliveryId { seq, endpoint: request.endpoint, run });
            if matches!(request.cursor, Cursor::Keyed { .. }) {
                page.through = Some((seq, run));
            }
            bytes += row.as_ref().map_or(0, |row| row.event.weight());
            page.rows.extend(row);
        }
        page
    }

    fn pending_row(&self, id: DeliveryId) -> Option<PendingRow> {
        let mut event = Arc::clone(&self.events.get(&id.seq)?.event);
        let delivery = self.deliveries.get(&id)?;
        if delivery.suppressed > 0 {
            Arc::make_mut(&mut event).suppressed += delivery.suppressed;
        }
        let Standing::Pending { due, asked } = delivery.standing else { return None };
        Some(PendingRow {
            event,
            run: id.run,
            created_at: delivery.created_at,
            attempts: delivery.attempts,
            spent: delivery.spent,
            attempted_at: delivery.attempted_at,
            due,
            asked,
            batch_status: delivery.log.last().filter(|attempt| attempt.is_shared()).and_then(|attempt| attempt.status),
        })
    }
}
