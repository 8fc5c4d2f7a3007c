//! What is read. Each function runs on a connection of its own thread and inside one read transaction.

use std::{collections::BTreeSet, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use rusqlite::{Connection, Row, Rows, params, types::Type};

use super::{
    codes::{signed, unsigned},
    debounce,
};
use crate::{
    clock::Timestamp,
    endpoint::EndpointKey,
    event::{Accepted, NameError, Tenant},
    store::{
        BreakerRecord, Cursor, DeliveryTotals, EndpointRow, Health, Loaded, Page, PageRequest, PendingRow, Totals,
        Vitals, rows::LOOKED_AT,
    },
};

pub(super) type Sql<T> = rusqlite::Result<T>;

/// The columns that [`accepted`] reads, in its order.
pub(super) const EVENT: &str =
    "e.seq, e.accepted_at, e.id, e.topic, e.tenant, e.key, e.source, e.timestamp, e.data, e.metadata,
     (SELECT suppressed FROM carried c WHERE c.seq = e.seq)";

/// The first column after those.
pub(super) const AFTER_EVENT: usize = 11;

pub(super) fn accepted(row: &Row<'_>) -> Sql<Arc<Accepted>> {
    let tenant: String = row.get(4)?;
    Ok(Arc::new(Accepted {
        seq: unsigned(row.get(0)?),
        accepted_at: moment(row, 1)?,
        id: named(row, 2)?,
        topic: named(row, 3)?,
        tenant: if tenant.is_empty() { None } else { Some(parsed(4, &tenant)?) },
        key: row.get::<_, Option<String>>(5)?.map(Into::into),
        source: row.get::<_, Option<String>>(6)?.map(Into::into),
        timestamp: moment(row, 7)?,
        data: Bytes::from(row.get::<_, Vec<u8>>(8)?),
        metadata: row.get::<_, Option<String>>(9)?.map(Into::into),
        suppressed: row.get::<_, Option<i64>>(10)?.map_or(0, unsigned),
    }))
}

pub(super) fn moment(row: &Row<'_>, column: usize) -> Sql<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(super) fn moment_or_none(row: &Row<'_>, column: usize) -> Sql<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

pub(super) fn named<T: FromStr<Err = NameError>>(row: &Row<'_>, column: usize) -> Sql<T> {
    parsed(column, row.get_ref(column)?.as_str()?)
}

pub(super) fn parsed<T: FromStr<Err = NameError>>(column: usize, text: &str) -> Sql<T> {
    text.parse()
        .map_err(|error: NameError| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// The one tenant that this column names: none for `''`, for `*` and for what is no name.
pub(super) fn tenant(row: &Row<'_>, column: usize) -> Sql<Option<Tenant>> {
    Ok(row.get_ref(column)?.as_str_or_null()?.and_then(|tenant| tenant.parse().ok()))
}

pub(super) fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn endpoints(db: &Connection, after: EndpointKey, most: usize) -> Sql<Vec<EndpointRow>> {
    let mut select = db.prepare_cached(
        "SELECT key, id, settings, version, created_at, updated_at, state_since, state_reason FROM endpoints
         WHERE key > ?1 AND deleted_at IS NULL ORDER BY key LIMIT ?2",
    )?;
    select.query_map(params![after.0, limit(most)], endpoint_row)?.collect()
}

pub(super) fn endpoint(db: &Connection, key: EndpointKey) -> Sql<EndpointRow> {
    db.prepare_cached(
        "SELECT key, id, settings, version, created_at, updated_at, state_since, state_reason FROM endpoints
         WHERE key = ?1 AND deleted_at IS NULL",
    )?
    .query_row([key.0], endpoint_row)
}

fn endpoint_row(row: &Row<'_>) -> Sql<EndpointRow> {
    Ok(EndpointRow {
        key: EndpointKey(row.get(0)?),
        id: named(row, 1)?,
        settings: row.get(2)?,
        version: unsigned(row.get(3)?),
        created_at: moment(row, 4)?,
        updated_at: moment(row, 5)?,
        state_since: moment(row, 6)?,
        state_reason: row.get(7)?,
    })
}

pub(super) fn last_seq(db: &Connection) -> Sql<u64> {
    meta(db, "last_seq")
}

pub(super) fn meta(db: &Connection, name: &str) -> Sql<u64> {
    db.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0).map(unsigned))
}

const DROPPING: &str = "SELECT key, dropping FROM endpoints WHERE dropping IS NOT NULL";

/// Endpoints whose deliveries are dropped, with the reason.
pub(super) fn dropping(db: &Connection) -> Sql<Vec<(EndpointKey, String)>> {
    let mut select = db.prepare(DROPPING)?;
    select.query_map([], |row| Ok((EndpointKey(row.get(0)?), row.get(1)?)))?.collect()
}

pub(super) fn load(db: &Connection) -> Sql<Loaded> {
    let mut breakers = db.prepare(&breakers_query())?;
    let mut pending =
        db.prepare("SELECT endpoint FROM totals WHERE name = 'pending' AND value > 0 AND endpoint > 0")?;
    let mut rules = db.prepare("SELECT name, rule FROM rules ORDER BY name")?;
    let mut chains = db.prepare("SELECT name, chain FROM chains ORDER BY name")?;
    Ok(Loaded {
        breakers: breakers.query_map([], breaker_row)?.collect::<Sql<_>>()?,
        pending: pending.query_map([], |row| row.get(0).map(EndpointKey))?.collect::<Sql<_>>()?,
        rules: rules.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Sql<_>>()?,
        chains: chains.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Sql<_>>()?,
        windows: debounce::windows(db)?,
        held: debounce::held(db)?,
        held_deliveries: debounce::held_deliveries(db)?,
        judged_through: meta(db, "judged_through")?,
    })
}

fn breakers_query() -> String {
    format!(
        "SELECT key, breaker_until, breaker_cooldown, breaker_since, failing_since FROM endpoints
         WHERE deleted_at IS NULL AND ({HAS_FAILED})"
    )
}

fn breaker_row(row: &Row<'_>) -> Sql<(EndpointKey, BreakerRecord)> {
    let record = BreakerRecord {
        open_until: moment_or_none(row, 1)?,
        cooldown: Duration::from_millis(row.get::<_, Option<i64>>(2)?.map_or(0, unsigned)),
        since: moment_or_none(row, 3)?,
        failing_since: moment_or_none(row, 4)?,
    };
    Ok((EndpointKey(row.get(0)?), record))
}

/// Breakers that are not as new: what the index of those says, word for word.
const HAS_FAILED: &str = "breaker_until IS NOT NULL OR breaker_since IS NOT NULL OR breaker_cooldown > 0
    OR failing_since IS NOT NULL";

fn health_query() -> String {
    format!(
        "SELECT key, breaker_until, breaker_cooldown, breaker_since, failing_since, coalesce(t.value, 0) FROM endpoints
         LEFT JOIN totals t ON t.endpoint = key AND t.name = 'pending'
         WHERE deleted_at IS NULL AND key IN (SELECT endpoint FROM totals WHERE name = 'pending' AND value > 0
             UNION ALL SELECT key FROM endpoints WHERE {HAS_FAILED}) ORDER BY key"
    )
}

pub(super) fn vitals(db: &Connection) -> Sql<Vitals> {
    let mut select = db.prepare_cached(&health_query())?;
    let health = |row: &Row<'_>| {
        let ((endpoint, breaker), pending) = (breaker_row(row)?, unsigned(row.get(5)?));
        let oldest_pending_at = if pending > 0 { oldest_pending(db, endpoint)? } else { None };
        Ok(Health { endpoint, pending, oldest_pending_at, breaker })
    };
    let dead = "SELECT count(*) FROM deliveries WHERE state = 2 AND replayed_as IS NULL";
    Ok(Vitals {
        endpoints: select.query_map([], health)?.collect::<Sql<_>>()?,
        dead_letters: db.prepare_cached(dead)?.query_row([], |row| row.get(0).map(unsigned))?,
    })
}

fn oldest_pending(db: &Connection, endpoint: EndpointKey) -> Sql<Option<Timestamp>> {
    // All but the late ones were made in the order of their seqs.
    db.prepare_cached(
        "SELECT min(created_at) FROM (
             SELECT * FROM (SELECT created_at FROM deliveries WHERE endpoint = ?1 AND state = 0 AND late IS NULL
                 ORDER BY seq LIMIT 1)
             UNION ALL SELECT min(created_at) FROM deliveries WHERE endpoint = ?1 AND state = 0 AND late = 1)",
    )?
    .query_row([endpoint.0], |row| moment_or_none(row, 0))
}

pub(super) fn unjudged(db: &Connection, after: u64, count: usize) -> Sql<Vec<Arc<Accepted>>> {
    let mut select =
        db.prepare_cached(&format!("SELECT {EVENT} FROM events e WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2"))?;
    let after = after.max(meta(db, "judged_through")?);
    select.query_map([signed(after), limit(count)], accepted)?.collect()
}

/// The columns that [`pending_row`] reads.
const WAITING: &str =
    "d.run, d.created_at, d.attempts, d.spent, d.last_at, d.last_micros, d.due, d.asked, d.suppressed,
    iif(d.batch IS NULL, NULL, (SELECT d.last_status FROM batches b
        WHERE b.endpoint = d.endpoint AND b.name = d.batch AND b.size > 1))";

pub(super) fn page(db: &Connection, request: &PageRequest) -> Sql<Page> {
    let endpoint = request.endpoint.0;
    // One row more than wanted tells whether there are more.
    let count = limit(request.items.saturating_add(1));
    let (condition, order, first, after) = match &request.cursor {
        Cursor::Keyed { after, without } => return keyed_page(db, request, *after, without),
        Cursor::OfKey { key, after } => return page_of_key(db, request, key, *after),
        Cursor::Fresh(after) => ("d.due IS NULL AND (d.seq, d.run) > (?3, ?4) AND ?2 = 0", "d.seq, d.run", 0, after),
        Cursor::InOrder(after) => ("(d.seq, d.run) > (?3, ?4) AND ?2 = 0", "d.seq, d.run", 0, after),
        Cursor::Retries { from, after } => (
            "d.due IS NOT NULL AND (d.due, d.seq, d.run) > (?2, ?3, ?4)",
            "d.due, d.seq, d.run",
            from.as_millis(),
            after,
        ),
    };
    let after = *after;
    let sql = format!(
        "SELECT {EVENT}, {WAITING} FROM deliveries d JOIN events e ON e.seq = d.seq
         WHERE d.endpoint = ?1 AND d.state = 0 AND {condition} ORDER BY {order} LIMIT ?5"
    );
    let (seq, run) = after.map_or((-1, -1), |(seq, run)| (signed(seq), i64::from(run)));
    let mut select = db.prepare_cached(&sql)?;
    fill(select.query(params![endpoint, first, seq, run, count])?, request)
}

/// As many of these as are asked for.
fn fill(mut found: Rows<'_>, request: &PageRequest) -> Sql<Page> {
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(row) = found.next()? {
        if is_full(&page, bytes, request) {
            return Ok(page);
        }
        let pending = pending_row(row)?;
        bytes += pending.event.weight();
        page.rows.push(pending);
    }
    page.end = true;
    Ok(page)
}

fn is_full(page: &Page, bytes: usize, request: &PageRequest) -> bool {
    !page.rows.is_empty() && (page.rows.len() >= request.items || bytes >= request.bytes)
}

type Place = Option<(u64, u32)>;

fn place(place: Place) -> (i64, i64) {
    place.map_or((-1, -1), |(seq, run)| (signed(seq), i64::from(run)))
}

fn page_of_key(db: &Connection, request: &PageRequest, key: &str, after: Place) -> Sql<Page> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {EVENT}, {WAITING} FROM deliveries d INDEXED BY deliveries_by_key JOIN events e ON e.seq = d.seq
         WHERE d.endpoint = ?1 AND d.state = 0 AND d.key = ?2 AND (d.seq, d.run) > (?3, ?4) ORDER BY d.seq, d.run LIMIT ?5"
    ))?;
    let (seq, run) = place(after);
    let count = limit(request.items.saturating_add(1));
    fill(select.query(params![request.endpoint.0, key, seq, run, count])?, request)
}

fn keyed_page(db: &Connection, request: &PageRequest, after: Place, without: &BTreeSet<Arc<str>>) -> Sql<Page> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {EVENT}, {WAITING} FROM deliveries d JOIN events e ON e.seq = d.seq
         WHERE d.endpoint = ?1 AND d.state = 0 AND (d.seq, d.run) > (?2, ?3) ORDER BY d.seq, d.run"
    ))?;
    let (seq, run) = place(after);
    let mut found = select.query(params![request.endpoint.0, seq, run])?;
    let (mut page, mut bytes, mut looked_at) = (Page::default(), 0, 0);
    while let Some(row) = found.next()? {
        let here = (unsigned(row.get(0)?), row.get(AFTER_EVENT)?);
        if row.get_ref(5)?.as_str_or_null()?.is_some_and(|key| without.contains(key)) {
            if looked_at == LOOKED_AT {
                return Ok(page);
            }
            looked_at += 1;
        } else if is_full(&page, bytes, request) {
            return Ok(page);
        } else {
            let pending = pending_row(row)?;
            bytes += pending.event.weight();
            page.rows.push(pending);
        }
        page.through = Some(here);
    }
    page.end = true;
    Ok(page)
}

fn pending_row(row: &Row<'_>) -> Sql<PendingRow> {
    let column = |after: usize| AFTER_EVENT + after;
    let micros = row.get::<_, Option<i64>>(column(5))?.map(|micros| Duration::from_micros(unsigned(micros)));
    let attempted_at = moment_or_none(row, column(4))?.zip(micros).map(|(at, took)| at.after(took));
    let mut event = accepted(row)?;
    if let Some(count) = row.get::<_, Option<i64>>(column(8))? {
        Arc::make_mut(&mut event).suppressed += unsigned(count);
    }
    Ok(PendingRow {
        event,
        run: row.get(column(0))?,
        created_at: moment(row, column(1))?,
        attempts: row.get(column(2))?,
        spent: row.get(column(3))?,
        attempted_at,
        due: moment_or_none(row, column(6))?,
        asked: row.get(column(7))?,
        batch_status: row.get(column(9))?,
    })
}

pub(super) fn totals(db: &Connection) -> Sql<Totals> {
    let (accepted, judged) = (last_seq(db)?, meta(db, "judged_through")?);
    let mut totals = Totals { accepted, unrouted: accepted.saturating_sub(judged), ..Totals::default() };
    let mut select = db.prepare_cached("SELECT name, value FROM totals WHERE endpoint = 0")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let value = unsigned(row.get(1)?);
        match row.get_ref(0)?.as_str()? {
            "unmatched" => totals.unmatched = value,
            "suppressed" => totals.suppressed = value,
            "coalesced" => totals.coalesced = value,
            "debouncing" => totals.debouncing = value,
            "routed" => totals.routed = value,
            name => add(&mut totals.deliveries, name, value),
        }
    }
    Ok(totals)
}

pub(super) fn endpoint_totals(db: &Connection, endpoint: EndpointKey) -> Sql<(DeliveryTotals, Option<Timestamp>)> {
    let mut totals = DeliveryTotals::default();
    let mut select = db.prepare_cached("SELECT name, value FROM totals WHERE endpoint = ?1")?;
    let mut rows = select.query([endpoint.0])?;
    while let Some(row) = rows.next()? {
        add(&mut totals, row.get_ref(0)?.as_str()?, unsigned(row.get(1)?));
    }
    Ok((totals, oldest_pending(db, endpoint)?))
}

fn add(totals: &mut DeliveryTotals, name: &str, value: u64) {
    match name {
        "created" => totals.created = value,
        "replayed" => totals.replayed = value,
        "pending" => totals.pending = value,
        "delivered" => totals.delivered = value,
        "muted" => totals.suppressed = value,
        "dead_lettered" => totals.dead_lettered = value,
        "dead_kept" => totals.dead_letters.kept = value,
        "dead_bytes" => totals.dead_letters.bytes = value,
        "dead_pruned" => totals.dead_letters.pruned = value,
        "dead_purged" => totals.dead_letters.purged = value,
        _ => {
            if let Some(reason) = name.strip_prefix("dropped:") {
                totals.dropped.insert(reason.to_owned(), value);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::store::sqlite::schema;

    /// How SQLite goes about this query, step by step.
    pub(in crate::store::sqlite) fn plan(db: &Connection, sql: &str) -> Vec<String> {
        let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let (mut steps, mut plan) = (explain.raw_query(), Vec::new());
        while let Some(step) = steps.next().unwrap() {
            plan.push(step.get(3).unwrap());
        }
        plan
    }

    #[test]
    fn what_is_asked_of_few_endpoints_is_found_without_a_look_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let db = schema::open_writer(&dir.path().join("a.db"), |_| Ok(())).unwrap();
        for (sql, index) in [
            (DROPPING.to_owned(), "endpoints_dropping"),
            (breakers_query(), "endpoints_failed"),
            (health_query(), "endpoints_failed"),
        ] {
            let plan = plan(&db, &sql);
            assert!(plan.iter().any(|step| step.split(' ').any(|word| word == index)), "{plan:?}");
            let all = plan.iter().find(|step| step.starts_with("SCAN endpoints") && !step.contains(" INDEX "));
            assert_eq!(all, None, "{plan:?}");
        }
    }
}
