//! What debouncing keeps: windows, what they hold, and counts.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    codes::{COALESCED, HELD, HELD_BACK, MUTED, signed, unsigned},
    read::{EVENT, Sql, accepted, moment, moment_or_none},
    write::Writer,
};
use crate::{
    clock::Timestamp,
    endpoint::EndpointKey,
    event::Accepted,
    store::{Debounced, DeliveryId, HeldDelivery, HeldSlot, Released, RuleTotals, WindowChange, WindowSlot},
};

impl Writer<'_> {
    /// Takes an event out of those that are held; tells whether it was one.
    pub(super) fn end_hold(&mut self, seq: u64) -> Sql<bool> {
        let mut delete = self.db.prepare_cached("DELETE FROM verdicts WHERE seq = ?1 AND state = ?2")?;
        let was = delete.execute(params![signed(seq), HELD])? > 0;
        if was {
            self.count(0, "debouncing", -1);
        }
        Ok(was)
    }

    /// Writes how many events this one carries the count of.
    pub(super) fn carry(&self, event: &Accepted, released: bool) -> Sql<()> {
        if event.suppressed > 0 {
            let mut insert = self.db.prepare_cached("INSERT OR REPLACE INTO carried VALUES (?1, ?2)")?;
            insert.execute([signed(event.seq), signed(event.suppressed)])?;
        } else if released {
            // Held, it may have carried some.
            self.db.prepare_cached("DELETE FROM carried WHERE seq = ?1")?.execute([signed(event.seq)])?;
        }
        Ok(())
    }

    /// Writes what debouncing changed by an event.
    pub(super) fn debounced(&mut self, debounced: &Debounced) -> Sql<()> {
        let Debounced { windows, suppressed_by, coalesced, muted, released } = debounced;
        suppressed_by.iter().try_for_each(|rule| self.count_for(rule, 1, 0))?;
        coalesced.iter().try_for_each(|(seq, rule)| self.coalesce(*seq, rule))?;
        muted.iter().try_for_each(|id| self.mute(*id))?;
        released.iter().try_for_each(|released| self.release(released))?;
        windows.iter().try_for_each(|change| self.window(change))
    }

    /// A delivery that is held is suppressed.
    fn mute(&mut self, DeliveryId { seq, endpoint, run }: DeliveryId) -> Sql<()> {
        let mut update = self.db.prepare_cached(
            "UPDATE deliveries SET state = ?4, settled_at = ?5
             WHERE seq = ?1 AND endpoint = ?2 AND run = ?3 AND state = ?6 RETURNING bytes",
        )?;
        let held = params![signed(seq), endpoint.0, run, MUTED, self.now.as_millis(), HELD_BACK];
        let bytes: Option<i64> = update.query_row(held, |row| row.get(0)).optional()?;
        if let Some(bytes) = bytes {
            self.count_pending(endpoint, -1, -bytes);
            self.count_delivery(endpoint, "muted", 1);
        }
        Ok(())
    }

    /// A delivery that is held is pending like others.
    fn release(&self, Released { delivery, at, suppressed }: &Released) -> Sql<()> {
        let DeliveryId { seq, endpoint, run } = *delivery;
        let mut update = self.db.prepare_cached(
            "UPDATE deliveries SET state = 0, late = 1, created_at = ?4, suppressed = nullif(?5, 0)
             WHERE seq = ?1 AND endpoint = ?2 AND run = ?3 AND state = 5",
        )?;
        update.execute(params![signed(seq), endpoint.0, run, at.as_millis(), signed(*suppressed)])?;
        Ok(())
    }

    fn coalesce(&mut self, seq: u64, rule: &str) -> Sql<()> {
        let mut update = self.db.prepare_cached("UPDATE verdicts SET state = ?2 WHERE seq = ?1 AND state = ?3")?;
        if update.execute(params![signed(seq), COALESCED, HELD])? == 0 {
            return Ok(());
        }
        // What it carried is carried on by the one that replaced it.
        self.db.prepare_cached("DELETE FROM carried WHERE seq = ?1")?.execute([signed(seq)])?;
        self.count(0, "debouncing", -1);
        self.count(0, "coalesced", 1);
        self.count_for(rule, 0, 1)
    }

    fn count_for(&self, rule: &str, suppressed: i64, coalesced: i64) -> Sql<()> {
        let mut upsert = self.db.prepare_cached(
            "INSERT INTO rule_totals VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE
             SET suppressed = suppressed + excluded.suppressed, coalesced = coalesced + excluded.coalesced",
        )?;
        upsert.execute(params![rule, suppressed, coalesced])?;
        Ok(())
    }

    pub(super) fn window(&mut self, WindowChange { rule, key, slot }: &WindowChange) -> Sql<()> {
        let Some(WindowSlot { from, suppressed, held, taken_by }) = slot else {
            let mut delete = self.db.prepare_cached("DELETE FROM windows WHERE rule = ?1 AND key = ?2")?;
            delete.execute([rule, key])?;
            return Ok(());
        };
        let mut upsert =
            self.db.prepare_cached("INSERT OR REPLACE INTO windows VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        upsert.execute(params![
            rule,
            key,
            from.map(Timestamp::as_millis),
            signed(*suppressed),
            held.map(|held| signed(held.seq)),
            held.map(|held| held.since.as_millis()),
            taken_by.map(signed),
        ])?;
        Ok(())
    }
}

pub(super) fn windows(db: &Connection) -> Sql<Vec<WindowChange>> {
    let mut select =
        db.prepare("SELECT rule, key, measured_from, suppressed, held, held_since, taken_by FROM windows")?;
    select.query_map([], window)?.collect()
}

fn window(row: &Row<'_>) -> Sql<WindowChange> {
    let held: Option<i64> = row.get(4)?;
    let held = held.map(|seq| Ok::<_, rusqlite::Error>(HeldSlot { seq: unsigned(seq), since: moment(row, 5)? }));
    let slot = WindowSlot {
        from: moment_or_none(row, 2)?,
        suppressed: unsigned(row.get(3)?),
        held: held.transpose()?,
        taken_by: row.get::<_, Option<i64>>(6)?.map(unsigned),
    };
    Ok(WindowChange { rule: row.get(0)?, key: row.get(1)?, slot: Some(slot) })
}

pub(super) fn held(db: &Connection) -> Sql<Vec<Arc<Accepted>>> {
    let sql =
        format!("SELECT {EVENT} FROM verdicts v JOIN events e ON e.seq = v.seq WHERE v.state = {HELD} ORDER BY v.seq");
    db.prepare(&sql)?.query_map([], accepted)?.collect()
}

pub(super) fn held_deliveries(db: &Connection) -> Sql<Vec<HeldDelivery>> {
    let mut select = db.prepare(
        "SELECT d.seq, d.endpoint, d.run, coalesce(c.suppressed, 0) FROM deliveries d INDEXED BY deliveries_held
             LEFT JOIN carried c ON c.seq = d.seq WHERE d.state = 5 ORDER BY d.seq, d.endpoint",
    )?;
    let held = |row: &Row<'_>| {
        let (seq, endpoint) = (unsigned(row.get(0)?), EndpointKey(row.get(1)?));
        Ok(HeldDelivery { delivery: DeliveryId { seq, endpoint, run: row.get(2)? }, carries: unsigned(row.get(3)?) })
    };
    select.query_map([], held)?.collect()
}

pub(super) fn rule_totals(db: &Connection) -> Sql<BTreeMap<String, RuleTotals>> {
    let mut totals: BTreeMap<String, RuleTotals> = BTreeMap::new();
    let mut counts = db.prepare_cached("SELECT rule, suppressed, coalesced FROM rule_totals")?;
    let mut rows = counts.query([])?;
    while let Some(row) = rows.next()? {
        let (suppressed, coalesced) = (unsigned(row.get(1)?), unsigned(row.get(2)?));
        totals.insert(row.get(0)?, RuleTotals { suppressed, coalesced, ..RuleTotals::default() });
    }
    let mut keys = db.prepare_cached("SELECT rule, count(*), count(held) FROM windows GROUP BY rule")?;
    let mut rows = keys.query([])?;
    while let Some(row) = rows.next()? {
        let of_rule = totals.entry(row.get(0)?).or_default();
        (of_rule.keys, of_rule.held) = (unsigned(row.get(1)?), unsigned(row.get(2)?));
    }
    Ok(totals)
}

pub(super) fn failed(db: &Connection, of: Option<EndpointKey>, seqs: &[u64]) -> Sql<Vec<u64>> {
    let mut select = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1 AND (?2 IS NULL OR endpoint = ?2) AND state <> 4)
             AND NOT EXISTS (SELECT 1 FROM deliveries d WHERE seq = ?1 AND (?2 IS NULL OR endpoint = ?2) AND (state = 1
                 OR state IN (0, 5) AND NOT EXISTS
                     (SELECT 1 FROM endpoints e WHERE e.key = d.endpoint AND e.dropping IS NOT NULL)))",
    )?;
    let mut failed = Vec::new();
    for seq in seqs {
        if select.query_row(params![signed(*seq), of.map(|key| key.0)], |row| row.get(0))? {
            failed.push(*seq);
        }
    }
    Ok(failed)
}
