//! How much may wait for an endpoint. Judged once per transaction, over all that it changes, from sums that are kept: an
//! endpoint far below its bounds costs one look at them, and none where everything was delivered at once.

use std::collections::HashMap;

use rusqlite::{OptionalExtension, params};

use super::{
    codes::{signed, unsigned},
    write::Writer,
};
use crate::{
    endpoint::{
        EndpointKey,
        queue::{QueuePolicy, WhenFull},
    },
    store::{DeliveryId, DropReason, Flights},
};

/// Dropped in one transaction beyond what came in with it: the rest of a long queue whose bounds were lowered goes with
/// later ones.
const STEP: u64 = 1000;

/// The endpoints that a transaction routes events to.
#[derive(Default)]
pub(super) struct Routed<'a> {
    queues: HashMap<EndpointKey, Queue>,
    pub(super) flights: Option<&'a Flights>,
    /// What was dropped because a queue was full.
    pub(super) dropped: Vec<DeliveryId>,
}

/// Bounds, and the first event that came.
#[derive(Clone, Copy)]
struct Queue {
    policy: QueuePolicy,
    first: u64,
}

/// What waits.
#[derive(Clone, Copy)]
struct Depth {
    items: u64,
    bytes: u64,
}

impl Depth {
    fn less(self, bytes: u64) -> Self {
        Self { items: self.items.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes) }
    }

    const fn fits(self, policy: QueuePolicy) -> bool {
        policy.has_room_for(self.items, self.bytes)
    }
}

impl Routed<'_> {
    /// An event is routed to an endpoint with these bounds. Those that were held come out of the order of their seqs.
    pub(super) fn add(&mut self, endpoint: EndpointKey, policy: QueuePolicy, seq: u64) {
        let queue = self.queues.entry(endpoint).or_insert(Queue { policy, first: seq });
        *queue = Queue { policy, first: queue.first.min(seq) };
    }
}

impl Writer<'_> {
    /// Drops what waits beyond the bounds.
    pub(super) fn keep_within_bounds(&mut self) -> rusqlite::Result<()> {
        for (endpoint, queue) in std::mem::take(&mut self.routed.queues) {
            let grown = self.delta(endpoint, "pending");
            if let Ok(grown @ 1..) = u64::try_from(grown) {
                self.keep_within(endpoint, queue, grown)?;
            }
        }
        Ok(())
    }

    fn keep_within(&mut self, endpoint: EndpointKey, queue: Queue, grown: u64) -> rusqlite::Result<()> {
        let mut depth = self.depth(endpoint)?;
        if depth.fits(queue.policy) {
            return Ok(());
        }
        let flying = self.routed.flights.map_or_else(Vec::new, |flights| flights.of(endpoint));
        let mut weigh = self.db.prepare_cached(
            "SELECT bytes FROM deliveries WHERE seq = ?1 AND endpoint = ?2 AND run = ?3 AND state = 0",
        )?;
        for (seq, run) in &flying {
            let bytes: Option<i64> =
                weigh.query_row(params![signed(*seq), endpoint.0, run], |row| row.get(0)).optional()?;
            depth = bytes.map_or(depth, |bytes| depth.less(unsigned(bytes)));
        }
        let mut dropped = Vec::new();
        {
            let mut select = self.db.prepare_cached(match queue.policy.when_full {
                WhenFull::DropNewest => {
                    "SELECT seq, run, bytes FROM deliveries WHERE endpoint = ?1 AND state = 0 AND seq >= ?2 AND run = 0
                     UNION ALL
                     SELECT seq, run, bytes FROM deliveries WHERE endpoint = ?1 AND state = 5 AND seq >= ?2
                     ORDER BY seq DESC"
                }
                WhenFull::Spill | WhenFull::DropOldest => {
                    "SELECT seq, run, bytes FROM deliveries WHERE endpoint = ?1 AND state = 0 AND ?2 >= 0
                     UNION ALL SELECT seq, run, bytes FROM deliveries WHERE endpoint = ?1 AND state = 5
                     ORDER BY seq, run"
                }
            })?;
            let mut rows = select.query(params![endpoint.0, signed(queue.first)])?;
            while !depth.fits(queue.policy) && (dropped.len() as u64) < grown + STEP {
                let Some(row) = rows.next()? else { break };
                let (place, bytes) = ((unsigned(row.get(0)?), row.get(1)?), unsigned(row.get(2)?));
                if !flying.contains(&place) {
                    depth = depth.less(bytes);
                    dropped.push((DeliveryId { seq: place.0, endpoint, run: place.1 }, bytes));
                }
            }
        }
        dropped.into_iter().try_for_each(|(id, bytes)| self.drop_for_room(id, bytes))
    }

    /// What is pending for an endpoint, with what this transaction has changed.
    fn depth(&self, endpoint: EndpointKey) -> rusqlite::Result<Depth> {
        let mut select = self.db.prepare_cached("SELECT value FROM totals WHERE endpoint = ?1 AND name = ?2")?;
        let mut sum = |name| {
            let stored: Option<i64> = select.query_row(params![endpoint.0, name], |row| row.get(0)).optional()?;
            Ok::<_, rusqlite::Error>(unsigned(stored.unwrap_or(0) + self.delta(endpoint, name)))
        };
        Ok(Depth { items: sum("pending")?, bytes: sum("pending_bytes")? })
    }

    fn drop_for_room(&mut self, id: DeliveryId, bytes: u64) -> rusqlite::Result<()> {
        let reason = DropReason::QueueFull.as_str();
        self.drop_one(id, reason)?;
        self.count_pending(id.endpoint, -1, -signed(bytes));
        self.count_dropped(id.endpoint, reason, 1);
        self.routed.dropped.push(id);
        Ok(())
    }
}
