//! What people look at: events, deliveries, dead letters.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, named_params, params};

use super::{
    codes::{COALESCED, DEAD, DELIVERED, DROPPED, HELD, HELD_BACK, MUTED, PENDING, SUPPRESSED, signed, unsigned},
    read::{AFTER_EVENT, EVENT, Sql, accepted, limit, meta, moment, moment_or_none, named, parsed, tenant},
};
use crate::{
    clock::Timestamp,
    endpoint::EndpointKey,
    event::{Accepted, EventId, Tenant, Topic, TopicPattern},
    store::{
        DeadLetterFilter, DeadLetterRow, DeadLetterSelection, DeadReason, DeliveryFilter, DeliveryId, DeliveryRow,
        DeliveryState, EventDetail, EventFilter, EventRow, EventState, ListedDelivery,
    },
};

/// Where an event stands, for [`event_state`]. `:judged` is the newest seq with a verdict.
const STATE: &str =
    "CASE WHEN e.seq > :judged THEN 0 ELSE coalesce((SELECT state FROM verdicts v WHERE v.seq = e.seq), 3) END";

pub(super) fn event_state(code: i64) -> EventState {
    match code {
        0 => EventState::Unrouted,
        1 => EventState::Unmatched,
        SUPPRESSED => EventState::Suppressed,
        HELD => EventState::Debouncing,
        COALESCED => EventState::Coalesced,
        _ => EventState::Routed,
    }
}

fn event_state_code(state: EventState) -> i64 {
    match state {
        EventState::Unrouted => 0,
        EventState::Unmatched => 1,
        EventState::Suppressed => SUPPRESSED,
        EventState::Debouncing => HELD,
        EventState::Coalesced => COALESCED,
        EventState::Routed => 3,
    }
}

fn delivery_state(code: i64) -> DeliveryState {
    match code {
        PENDING | HELD_BACK => DeliveryState::Pending,
        DELIVERED => DeliveryState::Delivered,
        DEAD => DeliveryState::DeadLettered,
        MUTED => DeliveryState::Suppressed,
        _ => DeliveryState::Dropped,
    }
}

fn delivery_state_code(state: DeliveryState) -> i64 {
    match state {
        DeliveryState::Pending => PENDING,
        DeliveryState::Delivered => DELIVERED,
        DeliveryState::DeadLettered => DEAD,
        DeliveryState::Dropped => DROPPED,
        DeliveryState::Suppressed => MUTED,
    }
}

/// The one topic, or the GLOB pattern, that is asked for.
fn topic_conditions(topic: Option<&TopicPattern>) -> (Option<String>, Option<String>) {
    match topic {
        None | Some(TopicPattern::All) => (None, None),
        Some(TopicPattern::Exact(topic)) => (Some(topic.to_string()), None),
        Some(TopicPattern::Below(prefix)) => (None, Some(format!("{prefix}*"))),
    }
}

/// Conditions that are not asked for are left out, and those on a tenant say what the index of tenants' events holds: so it is
/// used.
fn events_query(filter: &EventFilter) -> String {
    let (exact, below) = topic_conditions(filter.topic.as_ref());
    let (within, delivery) = (&filter.within, filter.delivery);
    let conditions = [
        ("e.topic = :exact", exact.is_some()),
        ("e.topic GLOB :below", below.is_some()),
        ("e.tenant = :tenant AND e.tenant <> ''", filter.tenant.is_some()),
        ("e.accepted_at >= :since", filter.since.is_some()),
        ("e.accepted_at < :until", filter.until.is_some()),
        ("s = :state", filter.state.is_some()),
        ("e.tenant = :within AND e.tenant <> ''", within.is_some()),
        (
            "EXISTS (SELECT 1 FROM deliveries d WHERE d.seq = e.seq AND (d.state = :delivery OR :delivery = 0 AND d.state = 5))",
            delivery.is_some() && within.is_none(),
        ),
        (
            "EXISTS (SELECT 1 FROM deliveries d JOIN endpoints p ON p.key = d.endpoint
                 WHERE d.seq = e.seq AND (d.state = :delivery OR :delivery = 0 AND d.state = 5) AND p.tenant = :within)",
            delivery.is_some() && within.is_some(),
        ),
    ];
    let wanted: String =
        conditions.iter().filter(|(_, given)| *given).map(|(condition, _)| format!(" AND {condition}")).collect();
    format!("SELECT {EVENT}, {STATE} AS s FROM events e WHERE e.seq < :before{wanted} ORDER BY e.seq DESC LIMIT :count")
}

pub(super) fn events(db: &Connection, filter: &EventFilter) -> Sql<Vec<EventRow>> {
    let judged = signed(meta(db, "judged_through")?);
    let before = filter.before.map_or(i64::MAX, signed);
    let (exact, below) = topic_conditions(filter.topic.as_ref());
    let tenant = filter.tenant.as_ref().map(Tenant::as_str);
    let within = filter.within.as_ref().map(Tenant::as_str);
    let (since, until) = (filter.since.map(Timestamp::as_millis), filter.until.map(Timestamp::as_millis));
    let (state, delivery) = (filter.state.map(event_state_code), filter.delivery.map(delivery_state_code));
    let count = limit(filter.limit);
    let sql = events_query(filter);
    let mut select = db.prepare_cached(&sql)?;
    let all: [(&str, &dyn ToSql); 11] = [
        (":judged", &judged),
        (":before", &before),
        (":count", &count),
        (":exact", &exact),
        (":below", &below),
        (":tenant", &tenant),
        (":within", &within),
        (":since", &since),
        (":until", &until),
        (":state", &state),
        (":delivery", &delivery),
    ];
    let used: Vec<_> = all.into_iter().filter(|(name, _)| sql.contains(name)).collect();
    let rows = select.query_map(used.as_slice(), |row| {
        Ok(EventRow { event: accepted(row)?, state: event_state(row.get(AFTER_EVENT)?) })
    })?;
    rows.collect()
}

pub(super) fn event(db: &Connection, tenant: Option<&Tenant>, id: &EventId) -> Sql<Option<EventDetail>> {
    let judged = signed(meta(db, "judged_through")?);
    let sql = format!("SELECT {EVENT}, {STATE} FROM events e WHERE e.id = :id AND e.tenant = :tenant");
    let tenant = tenant.map_or("", Tenant::as_str);
    let found = db
        .prepare_cached(&sql)?
        .query_row(named_params! {":judged": judged, ":id": id.as_str(), ":tenant": tenant}, |row| {
            Ok((accepted(row)?, event_state(row.get(AFTER_EVENT)?)))
        })
        .optional()?;
    let Some((event, state)) = found else { return Ok(None) };
    let deliveries = deliveries(db, event.seq)?;
    Ok(Some(EventDetail { event, state, deliveries }))
}

/// The columns that [`delivery_row`] reads.
const DELIVERY: &str =
    "d.seq, d.endpoint, d.run, p.id, d.state, d.reason, d.attempts, d.due, d.last_status, d.last_error, p.tenant";

fn delivery_row(row: &Row<'_>) -> Sql<DeliveryRow> {
    Ok(DeliveryRow {
        id: delivery_id(row)?,
        endpoint: named(row, 3)?,
        of: tenant(row, 10)?,
        state: delivery_state(row.get(4)?),
        reason: row.get(5)?,
        attempts: row.get(6)?,
        next_attempt_at: moment_or_none(row, 7)?,
        last_status: row.get(8)?,
        last_error: row.get(9)?,
    })
}

fn deliveries(db: &Connection, seq: u64) -> Sql<Vec<DeliveryRow>> {
    let mut select = db.prepare_cached(&format!(
        "SELECT {DELIVERY} FROM deliveries d JOIN endpoints p ON p.key = d.endpoint WHERE d.seq = ?1
         ORDER BY d.endpoint, d.run"
    ))?;
    select.query_map([signed(seq)], delivery_row)?.collect()
}

pub(super) fn deliveries_of(db: &Connection, filter: &DeliveryFilter) -> Sql<Vec<ListedDelivery>> {
    let state = filter.state.map(delivery_state_code);
    let mut found = deliveries_in(db, filter, state)?;
    if state == Some(PENDING) {
        found.extend(deliveries_in(db, filter, Some(HELD_BACK))?);
        found.sort_unstable_by_key(|listed| std::cmp::Reverse((listed.delivery.id.seq, listed.delivery.id.run)));
        found.truncate(filter.limit);
    }
    Ok(found)
}

fn deliveries_in(db: &Connection, filter: &DeliveryFilter, state: Option<i64>) -> Sql<Vec<ListedDelivery>> {
    // Written out, so that the indexes of what waits and of what is dead can be used.
    let state = state.map_or_else(String::new, |state| format!("AND d.state = {state}"));
    let mut select = db.prepare_cached(&format!(
        "SELECT {DELIVERY}, e.id, e.topic, d.created_at
         FROM deliveries d JOIN endpoints p ON p.key = d.endpoint LEFT JOIN events e ON e.seq = d.seq
         WHERE d.endpoint = ?1 AND (d.seq, d.run) < (?2, ?3) {state} AND (?5 IS NULL OR e.tenant = ?5 AND p.tenant = ?5)
         ORDER BY d.seq DESC, d.run DESC LIMIT ?4"
    ))?;
    let (seq, run) = filter.before.map_or((i64::MAX, 0), |(seq, run)| (signed(seq), i64::from(run)));
    let within = filter.within.as_ref().map(Tenant::as_str);
    let rows = select.query_map(params![filter.endpoint.0, seq, run, limit(filter.limit), within], |row| {
        Ok(ListedDelivery {
            delivery: delivery_row(row)?,
            event: row.get::<_, Option<String>>(11)?.map(|id| parsed(11, &id)).transpose()?,
            topic: row.get::<_, Option<String>>(12)?.map(|topic| parsed::<Topic>(12, &topic)).transpose()?,
            created_at: moment(row, 13)?,
        })
    })?;
    rows.collect()
}

pub(super) fn delivery_id(row: &Row<'_>) -> Sql<DeliveryId> {
    Ok(DeliveryId { seq: unsigned(row.get(0)?), endpoint: EndpointKey(row.get(1)?), run: row.get(2)? })
}

/// The columns that [`dead_letter_row`] reads.
const DEAD_LETTER: &str =
    "d.seq, d.endpoint, d.run, p.id, e.id, e.topic, d.reason, d.attempts, d.last_status, d.last_error,
    d.first_at, d.settled_at, d.replayed_as, p.tenant";

/// What belongs to a row of the deliveries `d`.
const BELONGINGS: &str = "CROSS JOIN endpoints p ON p.key = d.endpoint LEFT JOIN events e ON e.seq = d.seq";

fn dead_letter_row(row: &Row<'_>) -> Sql<DeadLetterRow> {
    Ok(DeadLetterRow {
        id: delivery_id(row)?,
        endpoint: named(row, 3)?,
        of: tenant(row, 13)?,
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

/// Where a tenant is named, its index is used: so the dead letters of others are not looked at.
fn dead_letters_query(filter: &DeadLetterFilter) -> String {
    let DeadLetterSelection { tenant, within, .. } = &filter.selection;
    let (replayed, by_tenant) =
        if filter.replayed { ("NOT NULL", "replayed_by_tenant") } else { ("NULL", "letters_by_tenant") };
    let named = within.is_some() || tenant.is_some();
    let index = if named { format!("INDEXED BY {by_tenant}") } else { String::new() };
    let of = tenant.as_ref().map_or("", |_| "AND d.tenant = :tenant AND e.tenant = :tenant");
    let whose = within.as_ref().map_or("", |_| "AND d.tenant = :within AND e.tenant = :within AND p.tenant = :within");
    format!(
        "SELECT {DEAD_LETTER} FROM deliveries d {index} {BELONGINGS}
         WHERE d.state = 2 AND d.replayed_as IS {replayed} {of} {whose} AND (:endpoint IS NULL OR d.endpoint = :endpoint)
             AND (d.seq, d.endpoint, d.run) < (:seq, :key, :run) AND (:reason IS NULL OR d.reason = :reason)
             AND (:since IS NULL OR d.settled_at >= :since) AND (:until IS NULL OR d.settled_at < :until)
             AND (:exact IS NULL OR e.topic = :exact) AND (:below IS NULL OR e.topic GLOB :below)
         ORDER BY d.seq DESC, d.endpoint DESC, d.run DESC LIMIT :count"
    )
}

pub(super) fn dead_letters(db: &Connection, filter: &DeadLetterFilter) -> Sql<Vec<DeadLetterRow>> {
    let DeadLetterSelection { endpoint, topic, reason, tenant, within, since, until } = &filter.selection;
    let (exact, below) = topic_conditions(topic.as_ref());
    let before = filter.before.map_or((i64::MAX, 0, 0), |id| (signed(id.seq), id.endpoint.0, id.run));
    let (endpoint, reason) = (endpoint.map(|key| key.0), reason.map(DeadReason::as_str));
    let (tenant, within) = (tenant.as_ref().map(Tenant::as_str), within.as_ref().map(Tenant::as_str));
    let (since, until) = (since.map(Timestamp::as_millis), until.map(Timestamp::as_millis));
    let count = limit(filter.limit);
    let all: [(&str, &dyn ToSql); 12] = [
        (":endpoint", &endpoint),
        (":seq", &before.0),
        (":key", &before.1),
        (":run", &before.2),
        (":reason", &reason),
        (":since", &since),
        (":until", &until),
        (":exact", &exact),
        (":below", &below),
        (":count", &count),
        (":tenant", &tenant),
        (":within", &within),
    ];
    let sql = dead_letters_query(filter);
    let used: Vec<_> = all.into_iter().filter(|(name, _)| sql.contains(name)).collect();
    db.prepare_cached(&sql)?.query_map(used.as_slice(), dead_letter_row)?.collect()
}

pub(super) fn dead_letter(db: &Connection, id: DeliveryId) -> Sql<Option<(DeadLetterRow, Option<Arc<Accepted>>)>> {
    let sql = format!(
        "SELECT {DEAD_LETTER} FROM deliveries d {BELONGINGS}
         WHERE d.state = 2 AND d.seq = ?1 AND d.endpoint = ?2 AND d.run = ?3"
    );
    let values = params![signed(id.seq), id.endpoint.0, id.run];
    let Some(letter) = db.prepare_cached(&sql)?.query_row(values, dead_letter_row).optional()? else {
        return Ok(None);
    };
    let sql = format!("SELECT {EVENT} FROM events e WHERE e.seq = ?1");
    let event = db.prepare_cached(&sql)?.query_row([signed(id.seq)], accepted).optional()?;
    Ok(Some((letter, event)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::{read::tests::plan, schema};

    #[test]
    fn a_tenants_events_are_found_without_a_look_at_those_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let db = schema::open_writer(&dir.path().join("a.db"), |_| Ok(())).unwrap();
        let plan = |filter: &EventFilter| plan(&db, &events_query(filter));
        let (tenant, before) = (Some("acme".parse().unwrap()), Some(9));
        let all = EventFilter { before, limit: 50, ..EventFilter::default() };
        let within = EventFilter { within: tenant.clone(), ..all.clone() };
        let of = EventFilter { tenant, ..all.clone() };
        let old = EventFilter {
            since: Some(Timestamp::from_millis(5)),
            topic: Some("a.*".parse().unwrap()),
            ..within.clone()
        };
        let failed = EventFilter { delivery: Some(DeliveryState::DeadLettered), ..within.clone() };
        for filter in [within.clone(), of, old, failed, EventFilter { before: None, ..within }] {
            let plan = plan(&filter);
            let first = plan.first().map(String::as_str).unwrap_or_default();
            assert!(first.starts_with("SEARCH e USING INDEX events_by_tenant (tenant=? AND "), "{filter:?}: {plan:?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{filter:?}: {plan:?}");
        }
        assert!(plan(&all)[0].contains("PRIMARY KEY"), "{:?}", plan(&all));
    }

    #[test]
    fn events_without_a_tenant_take_no_room_in_the_index_of_tenants() {
        let dir = tempfile::tempdir().unwrap();
        let db = schema::open_writer(&dir.path().join("a.db"), |_| Ok(())).unwrap();
        db.execute_batch(
            "INSERT INTO events VALUES (1, 'a', '', 't', NULL, NULL, 0, 0, x'31', NULL), (2, 'b', 'acme', 't', NULL, NULL, 0, 0, x'31', NULL);",
        )
        .unwrap();
        let sql = "SELECT count(*) FROM events INDEXED BY events_by_tenant WHERE tenant <> ''";
        assert_eq!(db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }
}
