//! What is read. Each function runs on a connection of its own thread and inside one read transaction.

use std::{str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params, types::Type};

use super::write::{DEAD, DELIVERED, DROPPED, PENDING, SUPPRESSED, signed, unsigned};
use crate::{
    clock::Timestamp,
    endpoint::{EndpointId, EndpointKey},
    event::{Accepted, EventId, NameError, Tenant, Topic, TopicPattern},
    store::{
        AttemptRow, BreakerRecord, Cursor, DeadLetterFilter, DeadLetterRow, DeliveryId, DeliveryRow, DeliveryState,
        DeliveryTotals, EndpointRow, EventDetail, EventFilter, EventRow, EventState, Loaded, Page, PageRequest,
        PendingRow, Totals, WindowChange, WindowSlot,
    },
};

type Sql<T> = rusqlite::Result<T>;

/// The columns that [`accepted`] reads, in its order.
const EVENT: &str = "e.seq, e.accepted_at, e.id, e.topic, e.tenant, e.key, e.source, e.timestamp, e.data, e.metadata";

fn accepted(row: &Row<'_>) -> Sql<Arc<Accepted>> {
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
    }))
}

fn moment(row: &Row<'_>, column: usize) -> Sql<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

fn moment_or_none(row: &Row<'_>, column: usize) -> Sql<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

fn named<T: FromStr<Err = NameError>>(row: &Row<'_>, column: usize) -> Sql<T> {
    parsed(column, row.get_ref(column)?.as_str()?)
}

fn parsed<T: FromStr<Err = NameError>>(column: usize, text: &str) -> Sql<T> {
    text.parse()
        .map_err(|error: NameError| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

fn limit(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn endpoint(db: &Connection, key: EndpointKey) -> Sql<EndpointRow> {
    db.prepare_cached(
        "SELECT key, id, settings, version, created_at, updated_at, state_since FROM endpoints
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
    })
}

pub(super) fn last_seq(db: &Connection) -> Sql<u64> {
    meta(db, "last_seq")
}

fn meta(db: &Connection, name: &str) -> Sql<u64> {
    db.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0).map(unsigned))
}

/// Endpoints whose deliveries are dropped, with the reason.
pub(super) fn dropping(db: &Connection) -> Sql<Vec<(EndpointKey, String)>> {
    let mut select = db.prepare("SELECT key, dropping FROM endpoints WHERE dropping IS NOT NULL")?;
    select.query_map([], |row| Ok((EndpointKey(row.get(0)?), row.get(1)?)))?.collect()
}

pub(super) fn load(db: &Connection) -> Sql<Loaded> {
    let mut endpoints = db.prepare(
        "SELECT key, id, settings, version, created_at, updated_at, state_since FROM endpoints
         WHERE deleted_at IS NULL ORDER BY key",
    )?;
    let mut breakers = db.prepare(
        "SELECT key, breaker_until, breaker_cooldown, breaker_since FROM endpoints
         WHERE deleted_at IS NULL AND (breaker_until IS NOT NULL OR breaker_since IS NOT NULL OR breaker_cooldown > 0)",
    )?;
    let mut pending =
        db.prepare("SELECT endpoint FROM totals WHERE name = 'pending' AND value > 0 AND endpoint > 0")?;
    let mut rules = db.prepare("SELECT name, rule FROM rules ORDER BY name")?;
    let mut windows = db.prepare("SELECT rule, key, passed_at, suppressed FROM windows")?;
    Ok(Loaded {
        endpoints: endpoints.query_map([], endpoint_row)?.collect::<Sql<_>>()?,
        breakers: breakers.query_map([], breaker_row)?.collect::<Sql<_>>()?,
        pending: pending.query_map([], |row| row.get(0).map(EndpointKey))?.collect::<Sql<_>>()?,
        rules: rules.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Sql<_>>()?,
        windows: windows.query_map([], window_row)?.collect::<Sql<_>>()?,
        judged_through: meta(db, "judged_through")?,
    })
}

fn breaker_row(row: &Row<'_>) -> Sql<(EndpointKey, BreakerRecord)> {
    let record = BreakerRecord {
        open_until: moment_or_none(row, 1)?,
        cooldown: Duration::from_millis(unsigned(row.get(2)?)),
        since: moment_or_none(row, 3)?,
    };
    Ok((EndpointKey(row.get(0)?), record))
}

fn window_row(row: &Row<'_>) -> Sql<WindowChange> {
    let slot = WindowSlot { passed_at: moment(row, 2)?, suppressed: unsigned(row.get(3)?) };
    Ok(WindowChange { rule: row.get(0)?, key: row.get(1)?, slot: Some(slot) })
}

pub(super) fn unjudged(db: &Connection, after: u64, count: usize) -> Sql<Vec<Arc<Accepted>>> {
    let mut select =
        db.prepare_cached(&format!("SELECT {EVENT} FROM events e WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2"))?;
    let after = after.max(meta(db, "judged_through")?);
    select.query_map([signed(after), limit(count)], accepted)?.collect()
}

/// The columns that [`pending_row`] reads.
const WAITING: &str = "d.run, d.created_at, d.attempts, d.spent, d.last_at, d.last_micros, d.due, d.asked";

pub(super) fn page(db: &Connection, request: &PageRequest) -> Sql<Page> {
    let endpoint = request.endpoint.0;
    // One row more than wanted tells whether there are more.
    let count = limit(request.items.saturating_add(1));
    let (condition, order, first, after) = match request.cursor {
        Cursor::Fresh(after) => ("d.due IS NULL AND (d.seq, d.run) > (?3, ?4) AND ?2 = 0", "d.seq, d.run", 0, after),
        Cursor::InOrder(after) => ("(d.seq, d.run) > (?3, ?4) AND ?2 = 0", "d.seq, d.run", 0, after),
        Cursor::Retries { from, after } => (
            "d.due IS NOT NULL AND (d.due, d.seq, d.run) > (?2, ?3, ?4)",
            "d.due, d.seq, d.run",
            from.as_millis(),
            after,
        ),
    };
    let sql = format!(
        "SELECT {EVENT}, {WAITING} FROM deliveries d JOIN events e ON e.seq = d.seq
         WHERE d.endpoint = ?1 AND d.state = 0 AND {condition} ORDER BY {order} LIMIT ?5"
    );
    let (seq, run) = after.map_or((-1, -1), |(seq, run)| (signed(seq), i64::from(run)));
    let mut select = db.prepare_cached(&sql)?;
    let mut found = select.query(params![endpoint, first, seq, run, count])?;
    let (mut page, mut bytes) = (Page::default(), 0);
    while let Some(row) = found.next()? {
        if page.rows.len() == request.items || (bytes >= request.bytes && !page.rows.is_empty()) {
            return Ok(page);
        }
        let pending = pending_row(row)?;
        bytes += pending.event.weight();
        page.rows.push(pending);
    }
    page.end = true;
    Ok(page)
}

fn pending_row(row: &Row<'_>) -> Sql<PendingRow> {
    let micros = row.get::<_, Option<i64>>(15)?.map(|micros| Duration::from_micros(unsigned(micros)));
    let attempted_at = moment_or_none(row, 14)?.zip(micros).map(|(at, took)| at.after(took));
    Ok(PendingRow {
        event: accepted(row)?,
        run: row.get(10)?,
        created_at: moment(row, 11)?,
        attempts: row.get(12)?,
        spent: row.get(13)?,
        attempted_at,
        due: moment_or_none(row, 16)?,
        asked: row.get(17)?,
    })
}

/// Where an event stands, for [`event_state`]. `:judged` is the newest seq with a verdict.
const STATE: &str =
    "CASE WHEN e.seq > :judged THEN 0 ELSE coalesce((SELECT state FROM verdicts v WHERE v.seq = e.seq), 3) END";

fn event_state(code: i64) -> EventState {
    match code {
        0 => EventState::Unrouted,
        1 => EventState::Unmatched,
        SUPPRESSED => EventState::Suppressed,
        _ => EventState::Routed,
    }
}

fn event_state_code(state: EventState) -> i64 {
    match state {
        EventState::Unrouted => 0,
        EventState::Unmatched => 1,
        EventState::Suppressed => SUPPRESSED,
        EventState::Routed => 3,
    }
}

fn delivery_state(code: i64) -> DeliveryState {
    match code {
        PENDING => DeliveryState::Pending,
        DELIVERED => DeliveryState::Delivered,
        DEAD => DeliveryState::DeadLettered,
        _ => DeliveryState::Dropped,
    }
}

fn delivery_state_code(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Pending => PENDING,
        DeliveryState::Delivered => DELIVERED,
        DeliveryState::DeadLettered => DEAD,
        DeliveryState::Dropped => DROPPED,
    }
}

pub(super) fn events(db: &Connection, filter: &EventFilter) -> Sql<Vec<EventRow>> {
    let judged = signed(meta(db, "judged_through")?);
    let before = filter.before.map_or(i64::MAX, signed);
    let (exact, below) = match &filter.topic {
        None | Some(TopicPattern::All) => (None, None),
        Some(TopicPattern::Exact(topic)) => (Some(topic.to_string()), None),
        Some(TopicPattern::Below(prefix)) => (None, Some(format!("{prefix}*"))),
    };
    let tenant = filter.tenant.as_ref().map(Tenant::as_str);
    let (since, until) = (filter.since.map(Timestamp::as_millis), filter.until.map(Timestamp::as_millis));
    let (state, delivery) = (filter.state.map(event_state_code), filter.delivery.map(delivery_state_code));
    let count = limit(filter.limit);
    let conditions = [
        ("e.topic = :exact", exact.is_some()),
        ("e.topic GLOB :below", below.is_some()),
        ("e.tenant = :tenant", tenant.is_some()),
        ("e.accepted_at >= :since", since.is_some()),
        ("e.accepted_at < :until", until.is_some()),
        ("s = :state", state.is_some()),
        ("EXISTS (SELECT 1 FROM deliveries d WHERE d.seq = e.seq AND d.state = :delivery)", delivery.is_some()),
    ];
    let wanted: String =
        conditions.iter().filter(|(_, given)| *given).map(|(condition, _)| format!(" AND {condition}")).collect();
    let sql = format!(
        "SELECT {EVENT}, {STATE} AS s FROM events e WHERE e.seq < :before{wanted} ORDER BY e.seq DESC LIMIT :count"
    );
    let mut select = db.prepare_cached(&sql)?;
    let all: [(&str, &dyn ToSql); 10] = [
        (":judged", &judged),
        (":before", &before),
        (":count", &count),
        (":exact", &exact),
        (":below", &below),
        (":tenant", &tenant),
        (":since", &since),
        (":until", &until),
        (":state", &state),
        (":delivery", &delivery),
    ];
    let used: Vec<_> = all.into_iter().filter(|(name, _)| sql.contains(name)).collect();
    let rows = select
        .query_map(used.as_slice(), |row| Ok(EventRow { event: accepted(row)?, state: event_state(row.get(10)?) }))?;
    rows.collect()
}

pub(super) fn event(db: &Connection, tenant: Option<&Tenant>, id: &EventId) -> Sql<Option<EventDetail>> {
    let judged = signed(meta(db, "judged_through")?);
    let sql = format!("SELECT {EVENT}, {STATE} FROM events e WHERE e.id = :id AND e.tenant = :tenant");
    let tenant = tenant.map_or("", Tenant::as_str);
    let found = db
        .prepare_cached(&sql)?
        .query_row(named_params! {":judged": judged, ":id": id.as_str(), ":tenant": tenant}, |row| {
            Ok((accepted(row)?, event_state(row.get(10)?)))
        })
        .optional()?;
    let Some((event, state)) = found else { return Ok(None) };
    let deliveries = deliveries(db, event.seq)?;
    Ok(Some(EventDetail { event, state, deliveries }))
}

fn deliveries(db: &Connection, seq: u64) -> Sql<Vec<DeliveryRow>> {
    let mut select = db.prepare_cached(
        "SELECT d.seq, d.endpoint, d.run, p.id, d.state, d.reason, d.attempts, d.due, d.last_status, d.last_error
         FROM deliveries d JOIN endpoints p ON p.key = d.endpoint WHERE d.seq = ?1 ORDER BY d.endpoint, d.run",
    )?;
    let rows = select.query_map([signed(seq)], |row| {
        Ok(DeliveryRow {
            id: delivery_id(row)?,
            endpoint: named(row, 3)?,
            state: delivery_state(row.get(4)?),
            reason: row.get(5)?,
            attempts: row.get(6)?,
            next_attempt_at: moment_or_none(row, 7)?,
            last_status: row.get(8)?,
            last_error: row.get(9)?,
        })
    })?;
    rows.collect()
}

fn delivery_id(row: &Row<'_>) -> Sql<DeliveryId> {
    Ok(DeliveryId { seq: unsigned(row.get(0)?), endpoint: EndpointKey(row.get(1)?), run: row.get(2)? })
}

/// The attempts of a delivery, oldest first: its own row stands for a first attempt that succeeded.
const ATTEMPTS: &str = "
    SELECT d.seq, d.endpoint, d.run, p.id, e.id, a.number, a.at, a.micros, a.status, a.outcome, a.error, a.response
    FROM deliveries d JOIN endpoints p ON p.key = d.endpoint LEFT JOIN events e ON e.seq = d.seq
    JOIN attempts a ON a.seq = d.seq AND a.endpoint = d.endpoint AND a.run = d.run
    UNION ALL
    SELECT d.seq, d.endpoint, d.run, p.id, e.id, 1, d.last_at, d.last_micros, d.last_status, d.last_outcome, NULL, NULL
    FROM deliveries d JOIN endpoints p ON p.key = d.endpoint LEFT JOIN events e ON e.seq = d.seq
    WHERE d.state = 1 AND d.attempts = 1";

fn attempt_row(row: &Row<'_>) -> Sql<AttemptRow> {
    Ok(AttemptRow {
        delivery: delivery_id(row)?,
        endpoint: named::<EndpointId>(row, 3)?,
        event: row.get::<_, Option<String>>(4)?.map(|id| parsed(4, &id)).transpose()?,
        number: row.get(5)?,
        at: moment(row, 6)?,
        duration: Duration::from_micros(unsigned(row.get(7)?)),
        status: row.get(8)?,
        outcome: row.get(9)?,
        error: row.get(10)?,
        response: row.get::<_, Option<Vec<u8>>>(11)?.map(Bytes::from).unwrap_or_default(),
    })
}

pub(super) fn event_attempts(db: &Connection, seq: u64) -> Sql<Vec<AttemptRow>> {
    let sql = format!("SELECT * FROM ({ATTEMPTS}) WHERE seq = ?1 ORDER BY at, endpoint, run, number");
    db.prepare_cached(&sql)?.query_map([signed(seq)], attempt_row)?.collect()
}

pub(super) fn endpoint_attempts(
    db: &Connection,
    endpoint: EndpointKey,
    before: Option<u64>,
    count: usize,
) -> Sql<Vec<AttemptRow>> {
    let mut oldest = db.prepare_cached(
        "SELECT min(seq) FROM (SELECT seq FROM deliveries WHERE endpoint = ?1 AND seq < ?2 AND attempts > 0
             ORDER BY seq DESC LIMIT ?3)",
    )?;
    let before = before.map_or(i64::MAX, signed);
    let oldest: Option<i64> = oldest.query_row(params![endpoint.0, before, limit(count)], |row| row.get(0))?;
    let sql = format!(
        "SELECT * FROM ({ATTEMPTS}) WHERE endpoint = ?1 AND seq < ?2 AND seq >= ?3 ORDER BY seq DESC, run DESC, number DESC"
    );
    let Some(oldest) = oldest else { return Ok(Vec::new()) };
    db.prepare_cached(&sql)?.query_map([endpoint.0, before, oldest], attempt_row)?.collect()
}

const DEAD_LETTERS: &str = "
    SELECT d.seq, d.endpoint, d.run, p.id, e.id, e.topic, d.reason, d.attempts, d.last_status, d.last_error, d.first_at,
        d.settled_at, d.replayed_as
    FROM deliveries d JOIN endpoints p ON p.key = d.endpoint LEFT JOIN events e ON e.seq = d.seq WHERE d.state = 2";

fn dead_letter_row(row: &Row<'_>) -> Sql<DeadLetterRow> {
    Ok(DeadLetterRow {
        id: delivery_id(row)?,
        endpoint: named(row, 3)?,
        event: row.get::<_, Option<String>>(4)?.map(|id| parsed(4, &id)).transpose()?,
        topic: row.get::<_, Option<String>>(5)?.map(|topic| parsed::<Topic>(5, &topic)).transpose()?,
        reason: row.get(6)?,
        attempts: row.get(7)?,
        last_status: row.get(8)?,
        last_error: row.get(9)?,
        first_attempt_at: moment_or_none(row, 10)?,
        dead_since: moment(row, 11)?,
        replayed_as: row.get(12)?,
    })
}

pub(super) fn dead_letters(db: &Connection, filter: &DeadLetterFilter) -> Sql<Vec<DeadLetterRow>> {
    let replayed = if filter.replayed { "NOT NULL" } else { "NULL" };
    let sql = format!(
        "{DEAD_LETTERS} AND d.replayed_as IS {replayed} AND (?1 IS NULL OR d.endpoint = ?1)
         AND (d.seq, d.endpoint, d.run) < (?2, ?3, ?4) ORDER BY d.seq DESC, d.endpoint DESC, d.run DESC LIMIT ?5"
    );
    let before = filter.before.map_or((i64::MAX, 0, 0), |id| (signed(id.seq), id.endpoint.0, id.run));
    let endpoint = filter.endpoint.map(|key| key.0);
    let mut select = db.prepare_cached(&sql)?;
    let values = params![endpoint, before.0, before.1, before.2, limit(filter.limit)];
    select.query_map(values, dead_letter_row)?.collect()
}

pub(super) fn dead_letter(db: &Connection, id: DeliveryId) -> Sql<Option<(DeadLetterRow, Option<Arc<Accepted>>)>> {
    let sql = format!("{DEAD_LETTERS} AND d.seq = ?1 AND d.endpoint = ?2 AND d.run = ?3");
    let values = params![signed(id.seq), id.endpoint.0, id.run];
    let Some(letter) = db.prepare_cached(&sql)?.query_row(values, dead_letter_row).optional()? else {
        return Ok(None);
    };
    let sql = format!("SELECT {EVENT} FROM events e WHERE e.seq = ?1");
    let event = db.prepare_cached(&sql)?.query_row([signed(id.seq)], accepted).optional()?;
    Ok(Some((letter, event)))
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
    // First deliveries were made in the order of their seqs; only replays are out of it.
    let oldest = db
        .prepare_cached(
            "SELECT min(created_at) FROM (
                 SELECT * FROM (SELECT created_at FROM deliveries WHERE endpoint = ?1 AND state = 0 AND run = 0
                     ORDER BY seq LIMIT 1)
                 UNION ALL SELECT created_at FROM deliveries WHERE endpoint = ?1 AND state = 0 AND run > 0)",
        )?
        .query_row([endpoint.0], |row| moment_or_none(row, 0))?;
    Ok((totals, oldest))
}

fn add(totals: &mut DeliveryTotals, name: &str, value: u64) {
    match name {
        "created" => totals.created = value,
        "replayed" => totals.replayed = value,
        "pending" => totals.pending = value,
        "delivered" => totals.delivered = value,
        "dead_lettered" => totals.dead_lettered = value,
        _ => {
            if let Some(reason) = name.strip_prefix("dropped:") {
                totals.dropped.insert(reason.to_owned(), value);
            }
        }
    }
}
