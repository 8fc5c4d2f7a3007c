//! What debouncing keeps: windows, what they hold, and counts.

use std::{collections::BTreeMap, sync::Arc};

use rusqlite::{Connection, Row, params};

use super::{
    codes::{COALESCED, HELD, signed, unsigned},
    read::{EVENT, Sql, accepted, moment, moment_or_none},
    write::Writer,
};
use crate::{
    clock::Timestamp,
    event::Accepted,
    store::{Debounced, HeldSlot, RuleTotals, WindowChange, WindowSlot},
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
        let Debounced { windows, suppressed_by, coalesced } = debounced;
        suppressed_by.iter().try_for_each(|rule| self.count_for(rule, 1, 0))?;
        coalesced.iter().try_for_each(|(seq, rule)| self.coalesce(*seq, rule))?;
        windows.iter().try_for_each(|change| self.window(change))
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

pub(super) fn failed(db: &Connection, seqs: &[u64]) -> Sql<Vec<u64>> {
    let mut select = db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1 AND state <> 4)
             AND NOT EXISTS (SELECT 1 FROM deliveries WHERE seq = ?1 AND state IN (0, 1))",
    )?;
    let mut failed = Vec::new();
    for seq in seqs {
        if select.query_row([signed(*seq)], |row| row.get(0))? {
            failed.push(*seq);
        }
    }
    Ok(failed)
}
