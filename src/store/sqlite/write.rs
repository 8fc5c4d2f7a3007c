//! What one transaction writes. Every change of a row that is counted moves the totals with it.

use std::{borrow::Cow, collections::HashMap};

use rusqlite::{Connection, OptionalExtension, Row, params};
use tracing::warn;

use crate::{
    clock::Timestamp,
    endpoint::{EndpointKey, policy::DeadLetters},
    event::{Accepted, ValidEvent},
    store::{
        AppendError, AttemptRecord, BreakerRecord, DeliveryId, Disposition, DropReason, Next, Receipt, Ruling,
        Settlement, Verdict, ledger::Held,
    },
};

use super::{
    batches,
    codes::{DEAD, DELIVERED, DROPPED, HELD, HELD_BACK, MUTED, PENDING, SUPPRESSED, UNMATCHED, signed, unsigned},
    limits::Routed,
};

type Count = (i64, Cow<'static, str>);

/// Writes inside one transaction; [`Writer::finish`] adds what was counted to the totals.
pub(super) struct Writer<'a> {
    pub(super) db: &'a Connection,
    pub(super) now: Timestamp,
    pub(super) deltas: HashMap<Count, i64>,
    pub(super) cache: &'a mut Cache,
    pub(super) routed: Routed<'a>,
    last_seq: u64,
}

/// What is kept of an event with a delivery that waits.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    /// Its weight.
    pub(super) bytes: i64,
    pub(super) key: Option<&'a str>,
    /// How many the endpoint did not get.
    pub(super) suppressed: u64,
}

/// What the writer knows of endpoints without reading it each time; as old as the transaction.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Endpoints whose deliveries are dropped.
    pub(super) dropping: HashMap<EndpointKey, DropReason>,
    /// How many dead letters are kept, for those that were asked for.
    pub(super) limits: HashMap<EndpointKey, DeadLetters>,
}

/// When a delivery was made.
#[derive(Clone, Copy)]
pub(super) enum Birth {
    /// In the order of the seqs.
    InOrder(Timestamp),
    /// After those of later events: a replay, or an event that was held.
    Late(Timestamp),
}

impl Birth {
    const fn at(self) -> Timestamp {
        let (Self::InOrder(at) | Self::Late(at)) = self;
        at
    }
}

/// An event as it was judged at the door.
pub(super) enum Judged {
    New(Accepted),
    Duplicate(Receipt),
    Conflict,
}

impl<'a> Writer<'a> {
    pub(super) fn new(db: &'a Connection, now: Timestamp, last_seq: u64, cache: &'a mut Cache) -> Self {
        Self { db, now, deltas: HashMap::new(), cache, routed: Routed::default(), last_seq }
    }

    /// Adds up the totals; tells the newest seq, and what full queues had to drop.
    pub(super) fn finish(mut self, judged_through: Option<u64>) -> rusqlite::Result<(u64, Vec<DeliveryId>)> {
        self.keep_within_bounds()?;
        let mut upsert = self.db.prepare_cached(
            "INSERT INTO totals VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET value = value + excluded.value",
        )?;
        for ((endpoint, name), delta) in self.deltas.iter().filter(|(_, delta)| **delta != 0) {
            upsert.execute(params![endpoint, name, delta])?;
        }
        self.log_dropped();
        let mut meta = self.db.prepare_cached("UPDATE meta SET value = ?2 WHERE name = ?1 AND value <> ?2")?;
        meta.execute(params!["last_seq", signed(self.last_seq)])?;
        if let Some(seq) = judged_through {
            meta.execute(params!["judged_through", signed(seq)])?;
        }
        Ok((self.last_seq, self.routed.dropped))
    }

    /// Writes something, whatever else there is to write: to find out whether that works.
    pub(super) fn try_to_write(&self) -> rusqlite::Result<()> {
        let mut write = self.db.prepare_cached("INSERT OR REPLACE INTO meta VALUES ('tried_at', ?1)")?;
        write.execute([self.now.as_millis()])?;
        Ok(())
    }

    /// One line for each endpoint and reason.
    fn log_dropped(&self) {
        for ((endpoint, name), count) in self.deltas.iter().filter(|((key, _), count)| *key > 0 && **count > 0) {
            // Whoever is told of full queues logs them: a line for each transaction would be too many.
            if let Some(reason) = name.strip_prefix("dropped:").filter(|name| *name != DropReason::QueueFull.as_str()) {
                warn!(event = "delivery.dropped", endpoint, reason, count, "deliveries dropped");
            } else if name == "dead_pruned" {
                warn!(event = "dead_letters.pruned", endpoint, count, "the oldest dead letters fell off");
            }
        }
    }

    /// Accepts a group, or nothing of it.
    pub(super) fn append(&mut self, group: &[ValidEvent]) -> rusqlite::Result<Result<Vec<Judged>, AppendError>> {
        // One event is judged before it is written; only a larger group can have something to take back.
        let grouped = group.len() > 1;
        if grouped {
            self.db.execute_batch("SAVEPOINT append")?;
        }
        let before = self.last_seq;
        let mut judged = Vec::with_capacity(group.len());
        for (index, event) in group.iter().enumerate() {
            match self.append_one(event)? {
                Judged::Conflict => {
                    if grouped {
                        self.db.execute_batch("ROLLBACK TO append; RELEASE append")?;
                    }
                    self.last_seq = before;
                    return Ok(Err(AppendError::Conflict { id: event.id.clone(), index }));
                }
                one => judged.push(one),
            }
        }
        if grouped {
            self.db.execute_batch("RELEASE append")?;
        }
        Ok(Ok(judged))
    }

    fn append_one(&mut self, event: &ValidEvent) -> rusqlite::Result<Judged> {
        if !event.generated
            && let Some((seq, same)) = self.find(event)?
        {
            let receipt = Receipt { id: event.id.clone(), seq, duplicate: true };
            return Ok(if same { Judged::Duplicate(receipt) } else { Judged::Conflict });
        }
        self.last_seq += 1;
        let event = Accepted::new(self.last_seq, self.now, event.clone());
        let mut insert =
            self.db.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
        insert.execute(params![
            signed(event.seq),
            event.id.as_str(),
            event.tenant.as_ref().map_or("", |tenant| tenant.as_str()),
            event.topic.as_str(),
            event.key.as_deref(),
            event.source.as_deref(),
            event.timestamp.as_millis(),
            event.accepted_at.as_millis(),
            &event.data[..],
            event.metadata.as_deref(),
        ])?;
        Ok(Judged::New(event))
    }

    /// The event that has the id already, and whether it says the same.
    fn find(&self, event: &ValidEvent) -> rusqlite::Result<Option<(u64, bool)>> {
        let mut select =
            self.db.prepare_cached("SELECT seq, topic, key, data FROM events WHERE id = ?1 AND tenant = ?2")?;
        let tenant = event.tenant.as_ref().map_or("", |tenant| tenant.as_str());
        let same = |row: &Row<'_>| {
            let topic = row.get_ref(1)?.as_str()? == event.topic.as_str();
            let key = row.get_ref(2)?.as_str_or_null()? == event.key.as_deref();
            let data = row.get_ref(3)?.as_blob()? == &event.data[..];
            Ok((unsigned(row.get(0)?), topic && key && data))
        };
        select.query_row(params![event.id.as_str(), tenant], same).optional()
    }

    /// Writes a verdict with what is known of its deliveries already.
    pub(super) fn verdict(&mut self, held: &Held) -> rusqlite::Result<()> {
        let Verdict { event, ruling, debounced, released_at, .. } = &held.verdict;
        if released_at.is_some() && !self.end_hold(event.seq)? {
            return self.debounced(debounced);
        }
        match ruling {
            Ruling::Unmatched => self.unrouted_verdict(event.seq, UNMATCHED, "unmatched")?,
            Ruling::Suppressed => self.unrouted_verdict(event.seq, SUPPRESSED, "suppressed")?,
            Ruling::Held => self.unrouted_verdict(event.seq, HELD, "debouncing")?,
            Ruling::Routed(targets) => {
                self.count(0, "routed", 1);
                let birth = released_at.map_or(Birth::InOrder(event.accepted_at), Birth::Late);
                for (target, outcomes) in targets.iter().zip(&held.outcomes) {
                    let id = DeliveryId { seq: event.seq, endpoint: target.endpoint, run: 0 };
                    let dropping = self.cache.dropping.get(&target.endpoint).copied();
                    self.count_delivery(target.endpoint, "created", 1);
                    let (bytes, key) = (signed(event.weight() as u64), event.key.as_deref());
                    let content = Content { bytes, key, suppressed: target.suppressed };
                    let disposition = target.disposition.or_drop(dropping);
                    if disposition.waits() {
                        self.routed.add(target.endpoint, target.queue, event.seq);
                    }
                    self.insert_delivery(id, birth, content, disposition, outcomes)?;
                }
            }
        }
        self.carry(event, released_at.is_some())?;
        self.debounced(debounced)
    }

    fn unrouted_verdict(&mut self, seq: u64, state: i64, name: &'static str) -> rusqlite::Result<()> {
        self.db.prepare_cached("INSERT OR REPLACE INTO verdicts VALUES (?1, ?2)")?.execute([signed(seq), state])?;
        self.count(0, name, 1);
        Ok(())
    }

    pub(super) fn insert_delivery(
        &mut self,
        id: DeliveryId,
        birth: Birth,
        content: Content<'_>,
        disposition: Disposition,
        outcomes: &[Settlement],
    ) -> rusqlite::Result<()> {
        // The commonest way by far: the first attempt succeeded before the verdict was written.
        if let ([only], Disposition::Deliver) = (outcomes, disposition)
            && let (Next::Delivered, Some(attempt)) = (only.next, &only.attempt)
            && attempt.number == 1
        {
            return self.insert_delivered(id, birth.at(), only, attempt);
        }
        let (state, reason) = match disposition {
            Disposition::Deliver => (PENDING, None),
            Disposition::Drop(reason) => (DROPPED, Some(reason.as_str())),
            Disposition::Suppress => (MUTED, None),
            Disposition::Hold => (HELD_BACK, None),
        };
        let settled_at = (state != PENDING && state != HELD_BACK).then_some(self.now.as_millis());
        let mut insert = self.db.prepare_cached(
            "INSERT INTO deliveries (seq, endpoint, run, state, reason, created_at, settled_at, bytes, key, late,
                 suppressed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, nullif(?11, 0))",
        )?;
        let DeliveryId { seq, endpoint, run } = id;
        let (created_at, late) = (birth.at().as_millis(), matches!(birth, Birth::Late(_)).then_some(1));
        let Content { bytes, key, suppressed } = content;
        insert.execute(params![
            signed(seq),
            endpoint.0,
            run,
            state,
            reason,
            created_at,
            settled_at,
            bytes,
            key,
            late,
            signed(suppressed)
        ])?;
        match disposition {
            Disposition::Deliver | Disposition::Hold => self.count_pending(endpoint, 1, bytes),
            Disposition::Drop(reason) => self.count_dropped(endpoint, reason.as_str(), 1),
            Disposition::Suppress => self.count_delivery(endpoint, "muted", 1),
        }
        outcomes.iter().try_for_each(|outcome| self.settle(outcome))
    }

    fn insert_delivered(
        &mut self,
        id: DeliveryId,
        created_at: Timestamp,
        settlement: &Settlement,
        attempt: &AttemptRecord,
    ) -> rusqlite::Result<()> {
        let mut insert = self.db.prepare_cached(
            "INSERT INTO deliveries (seq, endpoint, run, state, created_at, attempts, spent, first_at, last_at,
                 last_micros, last_status, last_outcome, settled_at, batch, last_address, last_public)
             VALUES (?1, ?2, ?3, 1, ?4, 1, ?5, ?6, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?;
        insert.execute(params![
            signed(id.seq),
            id.endpoint.0,
            id.run,
            created_at.as_millis(),
            settlement.spent,
            attempt.at.as_millis(),
            micros(attempt),
            attempt.status,
            attempt.outcome,
            settlement.at.as_millis(),
            self.batch(id.endpoint, attempt, false)?,
            address(attempt),
            attempt.peer.map(|peer| peer.public),
        ])?;
        self.count_delivery(id.endpoint, "delivered", 1);
        Ok(())
    }

    /// Writes what became of a pending delivery; without effect on any other.
    pub(super) fn settle(&mut self, settlement: &Settlement) -> rusqlite::Result<()> {
        let DeliveryId { seq, endpoint, run } = settlement.delivery;
        let (state, reason, due, asked) = match settlement.next {
            Next::Delivered => (DELIVERED, None, None, false),
            Next::Retry { due, asked } => (PENDING, None, Some(due.as_millis()), asked),
            Next::DeadLettered(reason) => (DEAD, Some(reason.as_str()), None, false),
            Next::Dropped(reason) => (DROPPED, Some(reason.as_str()), None, false),
        };
        let settled_at = (state != PENDING).then_some(settlement.at.as_millis());
        let attempt = settlement.attempt.as_ref();
        // Of the others, it is in a row of their own.
        let only = attempt.filter(|attempt| state == DELIVERED && attempt.number == 1);
        let mut update = self.db.prepare_cached(
            "UPDATE deliveries SET state = ?4, reason = ?5, due = ?6, asked = ?7, settled_at = ?8, spent = ?9,
                 attempts = coalesce(?10, attempts), first_at = coalesce(first_at, ?11), last_at = coalesce(?11, last_at),
                 last_micros = coalesce(?12, last_micros), last_status = iif(?10 IS NULL, last_status, ?13),
                 last_outcome = coalesce(?14, last_outcome), last_error = iif(?10 IS NULL, last_error, ?15),
                 batch = iif(?10 IS NULL, batch, ?16), last_address = ?17, last_public = ?18
             WHERE seq = ?1 AND endpoint = ?2 AND run = ?3 AND state = 0 RETURNING bytes",
        )?;
        let was_pending = params![
            signed(seq),
            endpoint.0,
            run,
            state,
            reason,
            due,
            asked,
            settled_at,
            settlement.spent,
            attempt.map(|attempt| attempt.number),
            attempt.map(|attempt| attempt.at.as_millis()),
            attempt.map(micros),
            attempt.and_then(|attempt| attempt.status),
            attempt.map(|attempt| attempt.outcome),
            attempt.and_then(|attempt| attempt.error.as_deref()),
            attempt.and_then(|attempt| attempt.batch.as_deref()).map(batches::name),
            only.and_then(address),
            only.and_then(|attempt| attempt.peer).map(|peer| peer.public),
        ];
        let bytes: Option<i64> = update.query_row(was_pending, |row| row.get(0)).optional()?;
        let Some(bytes) = bytes else {
            // What was dropped while it was in flight may have arrived all the same.
            let arrived = settlement.next == Next::Delivered && self.take_back(settlement.delivery)?;
            return if arrived { self.settle(settlement) } else { Ok(()) };
        };
        if state != PENDING {
            self.count_pending(endpoint, -1, -bytes);
        }
        match settlement.next {
            Next::Delivered => self.count_delivery(endpoint, "delivered", 1),
            Next::DeadLettered(_) => self.count_delivery(endpoint, "dead_lettered", 1),
            Next::Dropped(reason) => self.count_dropped(endpoint, reason.as_str(), 1),
            Next::Retry { .. } => {}
        }
        if state == DEAD {
            self.bury(settlement.delivery)?;
        }
        let failed = settlement.next != Next::Delivered;
        if let Some(attempt) = attempt {
            self.batch(endpoint, attempt, failed)?;
        }
        match attempt {
            Some(attempt) if attempt.number > 1 || failed => self.attempt(settlement.delivery, attempt, failed),
            _ => Ok(()),
        }
    }

    fn attempt(&mut self, id: DeliveryId, attempt: &AttemptRecord, failed: bool) -> rusqlite::Result<()> {
        let batch = attempt.batch.as_deref().map(batches::name);
        // Of a batch, they are in its own row.
        let alone = batch.is_none();
        let response = (failed && alone && !attempt.response.is_empty()).then_some(&attempt.response[..]);
        let mut insert = self.db.prepare_cached(
            "INSERT OR REPLACE INTO attempts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?;
        insert.execute(params![
            signed(id.seq),
            id.endpoint.0,
            id.run,
            attempt.number,
            attempt.at.as_millis(),
            micros(attempt),
            attempt.status,
            attempt.outcome,
            attempt.error.as_deref().filter(|_| alone),
            response,
            batch,
            address(attempt),
            attempt.peer.map(|peer| peer.public),
        ])?;
        Ok(())
    }

    pub(super) fn breaker(&mut self, endpoint: EndpointKey, breaker: &BreakerRecord) -> rusqlite::Result<()> {
        let mut update = self.db.prepare_cached(
            "UPDATE endpoints SET breaker_until = ?2, breaker_cooldown = ?3, breaker_since = ?4, failing_since = ?5
             WHERE key = ?1",
        )?;
        let cooldown = i64::try_from(breaker.cooldown.as_millis()).unwrap_or(i64::MAX);
        let [until, since, failing_since] =
            [breaker.open_until, breaker.since, breaker.failing_since].map(|moment| moment.map(Timestamp::as_millis));
        update.execute(params![endpoint.0, until, cooldown, since, failing_since])?;
        Ok(())
    }

    pub(super) fn count(&mut self, endpoint: i64, name: impl Into<Cow<'static, str>>, delta: i64) {
        *self.deltas.entry((endpoint, name.into())).or_default() += delta;
    }

    /// What this transaction has counted so far.
    pub(super) fn delta(&self, endpoint: EndpointKey, name: &'static str) -> i64 {
        self.deltas.get(&(endpoint.0, Cow::Borrowed(name))).copied().unwrap_or(0)
    }

    /// Counts pending deliveries, and the weights of their events.
    pub(super) fn count_pending(&mut self, endpoint: EndpointKey, items: i64, bytes: i64) {
        self.count_delivery(endpoint, "pending", items);
        self.count(endpoint.0, "pending_bytes", bytes);
    }

    pub(super) fn count_delivery(&mut self, endpoint: EndpointKey, name: &'static str, delta: i64) {
        self.count(0, name, delta);
        self.count(endpoint.0, name, delta);
    }

    pub(super) fn count_dropped(&mut self, endpoint: EndpointKey, reason: &str, delta: i64) {
        let name = format!("dropped:{reason}");
        self.count(0, name.clone(), delta);
        self.count(endpoint.0, name, delta);
    }
}

fn address(attempt: &AttemptRecord) -> Option<String> {
    attempt.peer.map(|peer| peer.address.to_string())
}

fn micros(attempt: &AttemptRecord) -> i64 {
    i64::try_from(attempt.duration.as_micros()).unwrap_or(i64::MAX)
}
