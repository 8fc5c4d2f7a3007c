//! Work that nobody waits for, in steps too small to be felt: dropping what deleted and disabled endpoints held, and pruning.

use std::time::Duration;

use rusqlite::{OptionalExtension, params};

use super::{batches, read, write::Writer};
use crate::{
    clock::{Mono, Timestamp},
    endpoint::EndpointKey,
    store::Retention,
};

/// Rows one step touches at most.
const STEP: i64 = 500;
/// Dead letters that fall off in one step, and endpoints it looks at for them, at most.
const LETTERS: usize = 500;
const ENDPOINTS: usize = 50;
/// Between two steps while there is work.
const PAUSE: Duration = Duration::from_millis(20);
/// Between two looks for work.
const IDLE: Duration = Duration::from_secs(30);

pub(super) struct Chores {
    retention: Retention,
    next: Mono,
    /// Where the walk over events and deliveries stands; it starts again from 0.
    events_at: i64,
    deliveries_at: i64,
    /// Where the walk over endpoints with dead letters stands.
    letters_at: i64,
    /// Which walks, of those over dead letters, events and deliveries, have not ended in this round.
    walking: [bool; 3],
}

impl Chores {
    pub(super) fn new(retention: Retention, now: Mono) -> Self {
        Self { retention, next: now, events_at: 0, deliveries_at: 0, letters_at: 0, walking: [true; 3] }
    }

    /// When the next step is due.
    pub(super) fn due(&self) -> Mono {
        self.next
    }

    /// There is work now: an endpoint was deleted or disabled.
    pub(super) fn hurry(&mut self, now: Mono) {
        self.next = self.next.min(now.after(PAUSE));
    }

    /// Makes one step, in the transaction of `writer`.
    pub(super) fn step(&mut self, writer: &mut Writer<'_>, now: Mono, wall: Timestamp) -> rusqlite::Result<()> {
        // A step that fails is not made again at once.
        self.next = now.after(IDLE);
        let dropped = drop_pending(writer)?;
        // A walk that has ended waits for the others: two that begin anew in turns would never let the round end.
        let [letters, events, deliveries] = self.walking;
        self.walking = [
            letters && self.prune_letters(writer)?,
            events && self.prune_events(writer, wall)?,
            deliveries && self.prune_deliveries(writer, wall)?,
        ];
        let batches = batches::prune(writer.db, Timestamp::from_millis(before(wall, self.retention.outcomes)), STEP)?;
        let more = dropped || batches || self.walking.contains(&true);
        if !more {
            self.walking = [true; 3];
            self.prune_jobs(writer, wall)?;
            // Gives a little of the freed room back to the disk; the rest is used again.
            writer.db.execute_batch("PRAGMA incremental_vacuum(256)")?;
        }
        self.next = now.after(if more { PAUSE } else { IDLE });
        Ok(())
    }

    fn prune_letters(&mut self, writer: &mut Writer<'_>) -> rusqlite::Result<bool> {
        let mut left = LETTERS;
        for _ in 0..ENDPOINTS {
            let Some(endpoint) = next_with_letters(writer, self.letters_at)? else {
                self.letters_at = 0;
                return Ok(false);
            };
            left -= writer.prune_letters(endpoint, left)?;
            if left == 0 {
                return Ok(true);
            }
            self.letters_at = endpoint.0;
        }
        Ok(true)
    }

    fn prune_jobs(&self, writer: &Writer<'_>, wall: Timestamp) -> rusqlite::Result<()> {
        let mut delete = writer.db.prepare_cached("DELETE FROM jobs WHERE ended_at < ?1")?;
        delete.execute([before(wall, self.retention.outcomes)]).map(drop)
    }

    fn prune_events(&mut self, writer: &Writer<'_>, wall: Timestamp) -> rusqlite::Result<bool> {
        let cutoff = before(wall, self.retention.events);
        // Seqs and times grow together: where a whole step is young, nothing behind it needs to be read.
        let (end, oldest): (Option<i64>, Option<i64>) = writer.db.query_row(
            "SELECT max(seq), min(accepted_at) FROM (SELECT seq, accepted_at FROM events WHERE seq > ?1
                 AND seq <= (SELECT value FROM meta WHERE name = 'judged_through') ORDER BY seq LIMIT ?2)",
            params![self.events_at, STEP],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let Some(end) = end.filter(|_| oldest.is_some_and(|oldest| oldest < cutoff)) else {
            self.events_at = 0;
            return Ok(false);
        };
        writer.db.execute(
            "DELETE FROM events WHERE seq > ?1 AND seq <= ?2 AND accepted_at < ?3 AND NOT EXISTS
                 (SELECT 1 FROM deliveries d WHERE d.seq = events.seq
                     AND (d.state IN (0, 5) OR d.state = 2 AND d.replayed_as IS NULL))
                 AND NOT EXISTS (SELECT 1 FROM verdicts v WHERE v.seq = events.seq AND v.state = 4)",
            params![self.events_at, end, cutoff],
        )?;
        // What a verdict says, and what an event carried, is only asked together with the event.
        for table in ["verdicts", "carried"] {
            writer.db.execute(
                &format!(
                    "DELETE FROM {table} WHERE seq > ?1 AND seq <= ?2 AND NOT EXISTS
                         (SELECT 1 FROM events e WHERE e.seq = {table}.seq)"
                ),
                params![self.events_at, end],
            )?;
        }
        self.events_at = end;
        Ok(true)
    }

    fn prune_deliveries(&mut self, writer: &Writer<'_>, wall: Timestamp) -> rusqlite::Result<bool> {
        let cutoff = before(wall, self.retention.outcomes);
        let db = writer.db;
        let oldest: Option<(i64, i64)> = db
            .query_row(
                "SELECT seq, created_at FROM deliveries WHERE seq > ?1 ORDER BY seq LIMIT 1",
                [self.deliveries_at],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((first, _)) = oldest.filter(|(_, created_at)| *created_at < cutoff) else {
            self.deliveries_at = 0;
            return Ok(false);
        };
        let end: i64 = db.query_row(
            "SELECT max(seq) FROM (SELECT seq FROM deliveries WHERE seq >= ?1 ORDER BY seq LIMIT ?2)",
            params![first, STEP],
            |row| row.get(0),
        )?;
        let old = "seq BETWEEN ?1 AND ?2 AND (state IN (1, 3, 4) OR replayed_as > 0) AND created_at < ?3";
        db.execute(
            &format!(
                "DELETE FROM attempts WHERE (seq, endpoint, run) IN (SELECT seq, endpoint, run FROM deliveries WHERE {old})"
            ),
            params![first, end, cutoff],
        )?;
        db.execute(&format!("DELETE FROM deliveries WHERE {old}"), params![first, end, cutoff])?;
        self.deliveries_at = end;
        Ok(true)
    }
}

fn before(wall: Timestamp, age: Duration) -> i64 {
    wall.as_millis().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// One step of dropping; tells whether there may be more.
fn drop_pending(writer: &mut Writer<'_>) -> rusqlite::Result<bool> {
    for (endpoint, reason) in read::dropping(writer.db)? {
        if holds_pending(writer, endpoint)? {
            writer.drop_pending(endpoint, &reason, STEP)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// The next endpoint after this one that has dead letters which were not replayed.
fn next_with_letters(writer: &Writer<'_>, after: i64) -> rusqlite::Result<Option<EndpointKey>> {
    let mut select = writer.db.prepare_cached(
        "SELECT endpoint FROM deliveries WHERE state = 2 AND replayed_as IS NULL AND endpoint > ?1
         ORDER BY endpoint LIMIT 1",
    )?;
    select.query_row([after], |row| row.get(0).map(EndpointKey)).optional()
}

fn holds_pending(writer: &Writer<'_>, endpoint: EndpointKey) -> rusqlite::Result<bool> {
    let mut select = writer.db.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM deliveries WHERE endpoint = ?1 AND state = 0)
             OR EXISTS (SELECT 1 FROM deliveries WHERE endpoint = ?1 AND state = 5)",
    )?;
    select.query_row([endpoint.0], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{schema, write::Cache},
        *,
    };

    const DAY: i64 = 24 * 3600 * 1000;

    /// `count` judged events, accepted a day apart, each with one delivery and one attempt; every fourth is pending, the next
    /// a dead letter, the next dropped, the next delivered or suppressed.
    fn history(count: i64) -> (tempfile::TempDir, rusqlite::Connection) {
        let dir = tempfile::tempdir().unwrap();
        let db = schema::open_writer(&dir.path().join("a.db"), |_| Ok(())).unwrap();
        for seq in 1..=count {
            let at = seq * DAY;
            db.execute(
                "INSERT INTO events VALUES (?1, ?2, '', 't', NULL, NULL, ?3, ?3, x'31', NULL)",
                params![seq, format!("e{seq}"), at],
            )
            .unwrap();
            db.execute("INSERT INTO batches VALUES (1, ?1, 'batch_', 1, ?1, ?1, ?2, NULL, NULL)", [seq, at]).unwrap();
            let state = [0, 2, 3, 1, 0, 2, 3, 4][usize::try_from(seq).unwrap() % 8];
            db.execute(
                "INSERT INTO deliveries (seq, endpoint, run, state, created_at) VALUES (?1, 1, 0, ?2, ?3)",
                params![seq, state, at],
            )
            .unwrap();
            db.execute("INSERT INTO attempts (seq, endpoint, run, number, at, micros, status, outcome) VALUES (?1, 1, 0, 1, ?2, 0, 500, '5xx')", [seq, at])
                .unwrap();
        }
        db.execute("UPDATE meta SET value = ?1 WHERE name IN ('last_seq', 'judged_through')", [count]).unwrap();
        (dir, db)
    }

    fn all_steps(db: &rusqlite::Connection, chores: &mut Chores, wall: Timestamp) -> usize {
        let (mut cache, mut now) = (Cache::default(), Mono::default());
        for steps in 1..1000 {
            let mut writer = Writer::new(db, wall, 0, &mut cache);
            chores.step(&mut writer, now, wall).unwrap();
            writer.finish(None).unwrap();
            if chores.due() > now.after(PAUSE) {
                return steps;
            }
            now = chores.due();
        }
        panic!("a round that does not end")
    }

    fn seqs(db: &rusqlite::Connection, table: &str) -> Vec<i64> {
        let mut select = db.prepare(&format!("SELECT seq FROM {table} ORDER BY seq")).unwrap();
        select.query_map([], |row| row.get(0)).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    #[test]
    fn old_events_go_but_not_those_that_are_pending_or_dead_letters() {
        let (_dir, db) = history(40);
        let mut chores = Chores::new(Retention::default(), Mono::default());
        // At the end of day 40, events of day 33 and later are younger than seven days.
        all_steps(&db, &mut chores, Timestamp::from_millis(40 * DAY));
        let kept: Vec<_> = (1..=40).filter(|seq| *seq >= 33 || matches!(seq % 4, 0 | 1)).collect();
        assert_eq!(seqs(&db, "events"), kept);
        // Outcomes of day 10 and later are younger than thirty days.
        let kept: Vec<_> = (1..=40).filter(|seq| *seq >= 10 || matches!(seq % 4, 0 | 1)).collect();
        assert_eq!(seqs(&db, "deliveries"), kept);
        assert_eq!(seqs(&db, "attempts"), kept);
        let mut batches = seqs(&db, "(SELECT first AS seq FROM batches)");
        batches.sort_unstable();
        assert_eq!(batches, kept);
    }

    #[test]
    fn a_replayed_dead_letter_is_an_outcome_like_others_and_holds_no_event() {
        let (_dir, db) = history(4);
        db.execute("UPDATE deliveries SET replayed_as = 1 WHERE state = 2", []).unwrap();
        let mut chores = Chores::new(Retention::default(), Mono::default());
        all_steps(&db, &mut chores, Timestamp::from_millis(20 * DAY));
        assert_eq!((seqs(&db, "events"), seqs(&db, "deliveries")), (vec![4], vec![1, 2, 3, 4]));
        all_steps(&db, &mut chores, Timestamp::from_millis(40 * DAY));
        assert_eq!((seqs(&db, "events"), seqs(&db, "deliveries")), (vec![4], vec![4]));
    }

    #[test]
    fn dead_letters_that_are_too_old_go_in_steps_and_then_their_events() {
        let (_dir, db) = history(0);
        let count = i64::try_from(LETTERS).unwrap() * 2 + 10;
        let tx = db.unchecked_transaction().unwrap();
        for seq in 1..=count {
            tx.execute(
                "INSERT INTO events VALUES (?1, ?2, '', 't', NULL, NULL, 0, 0, x'31', NULL)",
                params![seq, format!("e{seq}")],
            )
            .unwrap();
            tx.execute(
                "INSERT INTO deliveries (seq, endpoint, run, state, created_at, settled_at, weight)
                 VALUES (?1, ?2, 0, 2, 0, ?3, 10)",
                [seq, seq % 3 + 1, seq * 1000],
            )
            .unwrap();
        }
        tx.execute("INSERT INTO totals SELECT endpoint, 'dead_kept', count(*) FROM deliveries GROUP BY 1", []).unwrap();
        tx.execute("UPDATE meta SET value = ?1 WHERE name = 'judged_through'", [count]).unwrap();
        tx.commit().unwrap();
        let mut chores = Chores::new(Retention::default(), Mono::default());
        // The last ten are younger than thirty days.
        let wall = Timestamp::from_millis(30 * DAY + (count - 9) * 1000);
        assert!(all_steps(&db, &mut chores, wall) > 2);
        // The walk over events may have been ahead of the other: the next round takes the rest.
        all_steps(&db, &mut chores, wall);
        let kept: Vec<_> = (count - 9..=count).collect();
        assert_eq!((seqs(&db, "events"), seqs(&db, "deliveries")), (kept.clone(), kept));
        let total = |name: &str| -> i64 {
            let sql = "SELECT sum(value) FROM totals WHERE name = ?1 AND endpoint > 0";
            db.query_row(sql, [name], |row| row.get(0)).unwrap()
        };
        assert_eq!((total("dead_kept"), total("dead_pruned")), (10, count - 10));
    }

    #[test]
    fn what_a_debounce_window_holds_stays_and_what_a_forgotten_event_carried_goes() {
        let (_dir, db) = history(40);
        db.execute_batch("DELETE FROM deliveries; INSERT INTO verdicts VALUES (1, 4), (2, 5), (3, 2)").unwrap();
        db.execute_batch("INSERT INTO carried VALUES (1, 7), (2, 7), (40, 7)").unwrap();
        let mut chores = Chores::new(Retention::default(), Mono::default());
        all_steps(&db, &mut chores, Timestamp::from_millis(40 * DAY));
        let kept: Vec<_> = (1..=40).filter(|seq| *seq >= 33 || *seq == 1).collect();
        assert_eq!((seqs(&db, "events"), seqs(&db, "verdicts"), seqs(&db, "carried")), (kept, vec![1], vec![1, 40]));
    }

    #[test]
    fn what_is_not_judged_yet_stays() {
        let (_dir, db) = history(8);
        db.execute("DELETE FROM deliveries", []).unwrap();
        db.execute("UPDATE meta SET value = 5 WHERE name = 'judged_through'", []).unwrap();
        all_steps(&db, &mut Chores::new(Retention::default(), Mono::default()), Timestamp::from_millis(100 * DAY));
        assert_eq!(seqs(&db, "events"), [6, 7, 8]);
    }

    #[test]
    fn a_long_history_goes_in_steps() {
        let (_dir, db) = history(0);
        let tx = db.unchecked_transaction().unwrap();
        for seq in 1..=3 * STEP {
            tx.execute(
                "INSERT INTO events VALUES (?1, ?2, '', 't', NULL, NULL, 0, 0, x'31', NULL)",
                params![seq, format!("e{seq}")],
            )
            .unwrap();
        }
        tx.execute("INSERT INTO verdicts SELECT seq, 1 FROM events", []).unwrap();
        tx.execute("UPDATE meta SET value = ?1 WHERE name = 'judged_through'", [3 * STEP]).unwrap();
        tx.commit().unwrap();
        let mut chores = Chores::new(Retention::default(), Mono::default());
        assert!(all_steps(&db, &mut chores, Timestamp::from_millis(100 * DAY)) > 3);
        assert!(seqs(&db, "events").is_empty());
        assert!(seqs(&db, "verdicts").is_empty());
    }
}
