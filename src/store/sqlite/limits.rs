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

/// Bounds, and the events that came, in the order in which they were routed.
struct Queue {
    policy: QueuePolicy,
    came: Vec<u64>,
}

/// What waits.
#[derive(Clone, Copy)]
struct Depth {
    items: u64,
    bytes: u64,
}

impl Depth {
    fn more(self, bytes: u64) -> Self {
        Self { items: self.items.saturating_add(1), bytes: self.bytes.saturating_add(bytes) }
    }

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
        let queue = self.queues.entry(endpoint).or_insert_with(|| Queue { policy, came: Vec::new() });
        queue.policy = policy;
        queue.came.push(seq);
    }
}

impl Writer<'_> {
    /// Drops what waits beyond the bounds.
    pub(super) fn keep_within_bounds(&mut self) -> rusqlite::Result<()> {
        for (endpoint, queue) in std::mem::take(&mut self.routed.queues) {
            let grown = self.delta(endpoint, "pending");
            if let Ok(grown @ 1..) = u64::try_from(grown) {
                self.keep_within(endpoint, &queue, grown)?;
            }
        }
        Ok(())
    }

    fn keep_within(&mut self, endpoint: EndpointKey, queue: &Queue, grown: u64) -> rusqlite::Result<()> {
        let mut depth = self.depth(endpoint)?;
        if depth.fits(queue.policy) {
            return Ok(());
        }
        let flying = self.routed.flights.map_or_else(Vec::new, |flights| flights.of(endpoint));
        for (seq, run) in &flying {
            depth = self.weight(endpoint, (*seq, *run))?.map_or(depth, |bytes| depth.less(bytes));
        }
        let beyond = match queue.policy.when_full {
            WhenFull::DropNewest => self.newest_beyond(endpoint, queue, depth, &flying)?,
            WhenFull::Spill | WhenFull::DropOldest => self.oldest_beyond(endpoint, queue, depth, &flying, grown)?,
        };
        beyond.into_iter().try_for_each(|(id, bytes)| self.drop_for_room(id, bytes))
    }

    /// Of what came, whatever found no room; what waited before stays, however little room it leaves.
    fn newest_beyond(
        &self,
        endpoint: EndpointKey,
        queue: &Queue,
        mut depth: Depth,
        flying: &[(u64, u32)],
    ) -> rusqlite::Result<Vec<(DeliveryId, u64)>> {
        let mut came = Vec::new();
        for seq in queue.came.iter().filter(|seq| !flying.contains(&(**seq, 0))) {
            if let Some(bytes) = self.weight(endpoint, (*seq, 0))? {
                depth = depth.less(bytes);
                came.push((DeliveryId { seq: *seq, endpoint, run: 0 }, bytes));
            }
        }
        came.retain(|(_, bytes)| {
            let with = depth.more(*bytes);
            let fits = with.fits(queue.policy);
            depth = if fits { with } else { depth };
            !fits
        });
        Ok(came)
    }

    /// What waits, the oldest first, until the rest fits.
    fn oldest_beyond(
        &self,
        endpoint: EndpointKey,
        queue: &Queue,
        mut depth: Depth,
        flying: &[(u64, u32)],
        grown: u64,
    ) -> rusqlite::Result<Vec<(DeliveryId, u64)>> {
        let mut select = self.db.prepare_cached(
            "SELECT seq, run, bytes FROM deliveries WHERE endpoint = ?1 AND state = 0
             UNION ALL SELECT seq, run, bytes FROM deliveries WHERE endpoint = ?1 AND state = 5
             ORDER BY seq, run",
        )?;
        let mut rows = select.query([endpoint.0])?;
        let mut beyond = Vec::new();
        while !depth.fits(queue.policy) && (beyond.len() as u64) < grown + STEP {
            let Some(row) = rows.next()? else { break };
            let (place, bytes) = ((unsigned(row.get(0)?), row.get(1)?), unsigned(row.get(2)?));
            if !flying.contains(&place) {
                depth = depth.less(bytes);
                beyond.push((DeliveryId { seq: place.0, endpoint, run: place.1 }, bytes));
            }
        }
        Ok(beyond)
    }

    /// What a delivery weighs that waits, or is held.
    fn weight(&self, endpoint: EndpointKey, (seq, run): (u64, u32)) -> rusqlite::Result<Option<u64>> {
        let mut select = self.db.prepare_cached(
            "SELECT bytes FROM deliveries WHERE seq = ?1 AND endpoint = ?2 AND run = ?3 AND state IN (0, 5)",
        )?;
        let bytes: Option<i64> =
            select.query_row(params![signed(seq), endpoint.0, run], |row| row.get(0)).optional()?;
        Ok(bytes.map(unsigned))
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
