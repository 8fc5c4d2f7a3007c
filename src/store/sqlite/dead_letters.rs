//! The dead letters that were not replayed: how many are kept, and which fall off.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    codes::{signed, unsigned},
    read::{moment, moment_or_none, parsed, tenant},
    write::Writer,
};
use crate::{
    clock::Timestamp,
    endpoint::{EndpointKey, policy::DeadLetters},
    event::Topic,
    store::{
        DeadLetterSelection, DeliveryId, Job, LetterPlace,
        jobs::{LETTER_STEP, Letter},
    },
};

/// Dead letters that fall off at most when another one comes; the rest falls off in steps.
const AT_ONCE: usize = 100;

/// Dead letters that a walk looked at, oldest first within each endpoint, each with whether it is one of those meant. For a
/// tenant only those of its endpoints are looked at.
pub(super) fn look(
    db: &Connection,
    selection: &DeadLetterSelection,
    at: Timestamp,
    after: Option<LetterPlace>,
) -> rusqlite::Result<Vec<(LetterPlace, bool)>> {
    let (first, last) = selection.endpoint.map_or((i64::MIN, i64::MAX), |EndpointKey(key)| (key, key));
    let first = after.map_or(first, |place| first.max(place.endpoint.0));
    let Some(tenant) = &selection.within else { return look_at(db, selection, at, after, (first, last), LETTER_STEP) };
    let mut own =
        db.prepare_cached("SELECT key FROM endpoints WHERE tenant = ?1 AND key BETWEEN ?2 AND ?3 ORDER BY key")?;
    let mut own = own.query(params![tenant.as_str(), first, last])?;
    let mut found = Vec::new();
    while found.len() < LETTER_STEP {
        let Some(row) = own.next()? else { break };
        let key = row.get(0)?;
        found.extend(look_at(db, selection, at, after, (key, key), LETTER_STEP - found.len())?);
    }
    Ok(found)
}

/// The same of the endpoints from `first` to `last`, at most so many.
fn look_at(
    db: &Connection,
    selection: &DeadLetterSelection,
    at: Timestamp,
    after: Option<LetterPlace>,
    (first, last): (i64, i64),
    most: usize,
) -> rusqlite::Result<Vec<(LetterPlace, bool)>> {
    let mut select = db.prepare_cached(
        "SELECT d.endpoint, d.settled_at, d.seq, d.run, d.created_at, d.reason, e.topic, e.tenant, p.tenant
         FROM deliveries d CROSS JOIN endpoints p ON p.key = d.endpoint LEFT JOIN events e ON e.seq = d.seq
         WHERE d.state = 2 AND d.replayed_as IS NULL AND d.endpoint >= ?1 AND d.endpoint <= ?2
             AND (d.endpoint, d.settled_at, d.seq, d.run) > (?3, ?4, ?5, ?6)
         ORDER BY d.endpoint, d.settled_at, d.seq, d.run LIMIT ?7",
    )?;
    let after = after.map_or((i64::MIN, i64::MIN, 0, 0), |place| {
        (place.endpoint.0, place.since.as_millis(), signed(place.seq), i64::from(place.run))
    });
    let limit = i64::try_from(most).unwrap_or(i64::MAX);
    let mut rows = select.query(params![first, last, after.0, after.1, after.2, after.3, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (endpoint, since) = (EndpointKey(row.get(0)?), moment(row, 1)?);
        let place = LetterPlace { endpoint, since, seq: unsigned(row.get(2)?), run: row.get(3)? };
        let topic = row.get_ref(6)?.as_str_or_null()?.map(|topic| parsed::<Topic>(6, topic)).transpose()?;
        let (tenant, of) = (tenant(row, 7)?, tenant(row, 8)?);
        let reason = row.get_ref(5)?.as_str_or_null()?.unwrap_or_default();
        let letter =
            Letter { endpoint, reason, since, topic: topic.as_ref(), tenant: tenant.as_ref(), of: of.as_ref() };
        found.push((place, Job::precedes(at, &place, moment(row, 4)?) && selection.matches(&letter)));
    }
    Ok(found)
}

impl Writer<'_> {
    /// Takes a new dead letter in; the oldest ones fall off when there are too many.
    pub(super) fn bury(&mut self, id: DeliveryId) -> rusqlite::Result<()> {
        let mut update = self.db.prepare_cached(
            "UPDATE deliveries SET weight = 256 + coalesce(
                 (SELECT length(data) + coalesce(octet_length(metadata), 0) FROM events WHERE events.seq = ?1), 0),
                 tenant = (SELECT nullif(e.tenant, '') FROM events e WHERE e.seq = ?1)
             WHERE seq = ?1 AND endpoint = ?2 AND run = ?3 RETURNING weight",
        )?;
        let weight = update.query_row(params![signed(id.seq), id.endpoint.0, id.run], |row| row.get(0))?;
        self.count_letter(id.endpoint, 1, weight);
        self.prune_letters(id.endpoint, AT_ONCE).map(drop)
    }

    /// Takes a dead letter out of what is kept and counted.
    pub(super) fn exhume(&mut self, id: DeliveryId) -> rusqlite::Result<()> {
        let mut select =
            self.db.prepare_cached("SELECT weight FROM deliveries WHERE seq = ?1 AND endpoint = ?2 AND run = ?3")?;
        let weight: Option<i64> = select.query_row(params![signed(id.seq), id.endpoint.0, id.run], |row| row.get(0))?;
        self.count_letter(id.endpoint, -1, -weight.unwrap_or(0));
        Ok(())
    }

    /// Forgets a dead letter, counted under this name.
    pub(super) fn end_letter(&mut self, id: DeliveryId, name: &'static str) -> rusqlite::Result<()> {
        self.exhume(id)?;
        for table in ["attempts", "deliveries"] {
            let sql = format!("DELETE FROM {table} WHERE seq = ?1 AND endpoint = ?2 AND run = ?3");
            self.db.prepare_cached(&sql)?.execute(params![signed(id.seq), id.endpoint.0, id.run])?;
        }
        self.count_delivery(id.endpoint, name, 1);
        Ok(())
    }

    fn count_letter(&mut self, endpoint: EndpointKey, items: i64, bytes: i64) {
        self.count_delivery(endpoint, "dead_kept", items);
        self.count_delivery(endpoint, "dead_bytes", bytes);
    }

    /// Lets the oldest dead letters of an endpoint fall off, `most` of them, while there are too many or they are too old.
    /// Tells how many.
    pub(super) fn prune_letters(&mut self, endpoint: EndpointKey, most: usize) -> rusqlite::Result<usize> {
        let limits = self.letter_limits(endpoint)?;
        let age = i64::try_from(limits.max_age.as_millis()).unwrap_or(i64::MAX);
        let cutoff = Timestamp::from_millis(self.now.as_millis().saturating_sub(age));
        for pruned in 0..most {
            let over = self.standing(endpoint, "dead_kept")? > limits.max_items
                || self.standing(endpoint, "dead_bytes")? > limits.max_bytes;
            let oldest = self.oldest_letter(endpoint)?;
            let Some((oldest, _)) = oldest.filter(|(_, since)| over || since.is_some_and(|since| since < cutoff))
            else {
                return Ok(pruned);
            };
            self.end_letter(oldest, "dead_pruned")?;
        }
        Ok(most)
    }

    fn oldest_letter(&self, endpoint: EndpointKey) -> rusqlite::Result<Option<(DeliveryId, Option<Timestamp>)>> {
        let mut select = self.db.prepare_cached(
            "SELECT seq, run, settled_at FROM deliveries WHERE endpoint = ?1 AND state = 2 AND replayed_as IS NULL
             ORDER BY settled_at, seq, run LIMIT 1",
        )?;
        let oldest = select.query_row([endpoint.0], |row| {
            let id = DeliveryId { seq: unsigned(row.get(0)?), endpoint, run: row.get(1)? };
            Ok((id, moment_or_none(row, 2)?))
        });
        oldest.optional()
    }

    /// A total of an endpoint, with what this transaction adds.
    fn standing(&self, endpoint: EndpointKey, name: &'static str) -> rusqlite::Result<u64> {
        let mut select = self.db.prepare_cached("SELECT value FROM totals WHERE endpoint = ?1 AND name = ?2")?;
        let written: i64 = select.query_row(params![endpoint.0, name], |row| row.get(0)).optional()?.unwrap_or(0);
        Ok(unsigned(written + self.delta(endpoint, name)))
    }

    fn letter_limits(&mut self, endpoint: EndpointKey) -> rusqlite::Result<DeadLetters> {
        if let Some(known) = self.cache.limits.get(&endpoint) {
            return Ok(*known);
        }
        let mut select = self.db.prepare_cached("SELECT settings FROM endpoints WHERE key = ?1")?;
        let settings: Option<String> = select.query_row([endpoint.0], |row| row.get(0)).optional()?;
        let limits = settings.map_or_else(DeadLetters::default, |settings| DeadLetters::of_settings(&settings));
        self.cache.limits.insert(endpoint, limits);
        Ok(limits)
    }
}
