//! Changes that people ask for: endpoints, rules, replays. Each is taken back alone when it fails.

use rusqlite::{OptionalExtension, params};

use super::{
    codes::{HELD_BACK, PENDING, signed},
    read,
    write::{Cache, Writer},
};
use crate::{
    endpoint::{EndpointId, EndpointKey, policy::DeadLetters},
    error::StoreError,
    store::{DeliveryId, DropReason, EndpointChange, EndpointRow, ReplayOutcome},
};

/// A change of configuration, made in a transaction. It tells how to answer once that has been committed, or not. Given an
/// error in place of a transaction, it answers that at once.
pub(super) type Change = Box<dyn FnOnce(Result<&mut Writer<'_>, StoreError>) -> Changed + Send>;
/// A change that failed is taken back alone, and its answer says so.
pub(super) type Changed = Result<Answer, Answer>;
pub(super) type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// Dead letters that fall off at most in the transaction that lowers a limit; the rest falls off in steps.
const LETTERS: usize = 500;

impl Writer<'_> {
    /// Makes a change that fails alone: it is taken back without the rest of the transaction.
    pub(super) fn alone(&mut self, change: Change) -> rusqlite::Result<Answer> {
        let (deltas, dropping) = (self.deltas.clone(), self.cache.dropping.clone());
        self.db.execute_batch("SAVEPOINT change")?;
        match change(Ok(self)) {
            Ok(answer) => {
                self.db.execute_batch("RELEASE change")?;
                Ok(answer)
            }
            Err(answer) => {
                self.db.execute_batch("ROLLBACK TO change; RELEASE change")?;
                self.deltas = deltas;
                *self.cache = Cache { dropping, ..Cache::default() };
                Ok(answer)
            }
        }
    }

    pub(super) fn create_endpoint(&mut self, id: &EndpointId, settings: &str) -> rusqlite::Result<EndpointRow> {
        self.db.execute(
            "INSERT INTO endpoints (id, settings, version, created_at, updated_at, state_since)
             VALUES (?1, ?2, 1, ?3, ?3, ?3)",
            params![id.as_str(), settings, self.now.as_millis()],
        )?;
        read::endpoint(self.db, EndpointKey(self.db.last_insert_rowid()))
    }

    pub(super) fn endpoint_id(&self, key: EndpointKey) -> rusqlite::Result<String> {
        self.db.query_row("SELECT id FROM endpoints WHERE key = ?1", [key.0], |row| row.get(0))
    }

    pub(super) fn update_endpoint(
        &mut self,
        key: EndpointKey,
        change: &EndpointChange,
    ) -> rusqlite::Result<EndpointRow> {
        self.db.execute(
            "UPDATE endpoints SET settings = ?2, version = version + 1, updated_at = ?3, dropping = ?4,
                 state_since = iif(?5, ?3, state_since), state_reason = iif(?5, ?6, state_reason)
             WHERE key = ?1 AND deleted_at IS NULL",
            params![
                key.0,
                change.settings,
                self.now.as_millis(),
                change.drop_pending.map(DropReason::as_str),
                change.state_changed,
                change.state_reason
            ],
        )?;
        match change.drop_pending {
            Some(reason) => self.cache.dropping.insert(key, reason),
            None => self.cache.dropping.remove(&key),
        };
        let row = read::endpoint(self.db, key)?;
        self.cache.limits.insert(key, DeadLetters::of_settings(&change.settings));
        self.prune_letters(key, LETTERS)?;
        Ok(row)
    }

    pub(super) fn delete_endpoint(&mut self, key: EndpointKey) -> rusqlite::Result<()> {
        let reason = DropReason::EndpointDeleted;
        let deleted = self.db.execute(
            // Of its settings nothing is kept but what is asked for later; no secret.
            "UPDATE endpoints SET deleted_at = ?2, dropping = ?3, settings = iif(json_valid(settings),
                 json_object('dead_letters', json_extract(settings, '$.dead_letters'),
                     'tenant', json_extract(settings, '$.tenant')), '{}')
             WHERE key = ?1 AND deleted_at IS NULL",
            params![key.0, self.now.as_millis(), reason.as_str()],
        )?;
        if deleted == 0 {
            return Err(rusqlite::Error::QueryReturnedNoRows);
        }
        self.cache.dropping.insert(key, reason);
        Ok(())
    }

    pub(super) fn put_rule(&mut self, name: &str, rule: Option<&str>) -> rusqlite::Result<()> {
        let old: Option<String> =
            self.db.query_row("SELECT rule FROM rules WHERE name = ?1", [name], |row| row.get(0)).optional()?;
        if old.as_deref() == rule {
            return Ok(());
        }
        self.db.execute("DELETE FROM windows WHERE rule = ?1", [name])?;
        if old.is_none() || rule.is_none() {
            // What came late from a rule of the same name is not this one's.
            self.db.execute("DELETE FROM rule_totals WHERE rule = ?1", [name])?;
        }
        match rule {
            Some(rule) => self.db.execute("INSERT OR REPLACE INTO rules VALUES (?1, ?2)", params![name, rule])?,
            None => self.db.execute("DELETE FROM rules WHERE name = ?1", [name])?,
        };
        Ok(())
    }

    pub(super) fn put_chain(&mut self, name: &str, chain: Option<&str>) -> rusqlite::Result<()> {
        match chain {
            Some(chain) => self.db.execute("INSERT OR REPLACE INTO chains VALUES (?1, ?2)", params![name, chain])?,
            None => self.db.execute("DELETE FROM chains WHERE name = ?1", [name])?,
        };
        Ok(())
    }

    pub(super) fn replay(&mut self, id: DeliveryId) -> rusqlite::Result<ReplayOutcome> {
        let DeliveryId { seq, endpoint, run } = id;
        let letter: Option<Option<u32>> = self
            .db
            .prepare_cached(
                "SELECT replayed_as FROM deliveries WHERE seq = ?1 AND endpoint = ?2 AND run = ?3 AND state = 2",
            )?
            .query_row(params![signed(seq), endpoint.0, run], |row| row.get(0))
            .optional()?;
        match letter {
            None => return Ok(ReplayOutcome::Unknown),
            Some(Some(replayed_as)) => return Ok(ReplayOutcome::Already(replayed_as)),
            Some(None) => {}
        }
        let newest = self.newest_run(seq, endpoint)?.map_or(run, |(newest, ..)| newest);
        let outcome = self.deliver_again(DeliveryId { run: newest + 1, ..id })?;
        if let ReplayOutcome::Replayed(new) = outcome {
            self.exhume(id)?;
            self.db.execute(
                "UPDATE deliveries SET replayed_as = ?4 WHERE seq = ?1 AND endpoint = ?2 AND run = ?3",
                params![signed(seq), endpoint.0, run, new.run],
            )?;
        }
        Ok(outcome)
    }

    /// Drops up to `limit` pending deliveries of an endpoint.
    pub(super) fn drop_pending(&mut self, endpoint: EndpointKey, reason: &str, limit: i64) -> rusqlite::Result<()> {
        let (mut dropped, mut bytes) = (0, 0);
        // Each state has an index of its own.
        for state in [PENDING, HELD_BACK] {
            let mut update = self.db.prepare_cached(&format!(
                "UPDATE deliveries SET state = 3, reason = ?2, due = NULL, settled_at = ?3
                 WHERE endpoint = ?1 AND state = {state} AND (seq, endpoint, run) IN
                     (SELECT seq, endpoint, run FROM deliveries WHERE endpoint = ?1 AND state = {state}
                      ORDER BY seq, run LIMIT ?4)
                 RETURNING bytes"
            ))?;
            let mut rows = update.query(params![endpoint.0, reason, self.now.as_millis(), limit - dropped])?;
            while let Some(row) = rows.next()? {
                dropped += 1;
                bytes += row.get::<_, i64>(0)?;
            }
        }
        self.count_pending(endpoint, -dropped, -bytes);
        self.count_dropped(endpoint, reason, dropped);
        Ok(())
    }
}
