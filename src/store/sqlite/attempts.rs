//! Attempts, page by page. Places are found first, and what is large is read of a page's own attempts alone.

use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, Params, Row, params};

use super::{
    codes::{signed, text_error, unsigned},
    lists::delivery_id,
    read::{Sql, limit, moment, named, parsed, tenant},
};
use crate::{
    endpoint::{EndpointId, EndpointKey},
    event::Tenant,
    store::{AttemptPage, AttemptRow, DeliveryId, InBatch, Peer},
};

/// Attempts: a delivery's own row stands for a first attempt that succeeded.
const ATTEMPTS: &str = "
    SELECT d.seq, d.endpoint, d.run, p.id, e.id, a.number, a.at, a.micros, a.status, a.outcome,
        coalesce(a.error, b.error), coalesce(a.response, b.response), b.id, b.size, p.tenant,
        a.address, a.public
    FROM deliveries d JOIN endpoints p ON p.key = d.endpoint LEFT JOIN events e ON e.seq = d.seq
    JOIN attempts a ON a.seq = d.seq AND a.endpoint = d.endpoint AND a.run = d.run
    LEFT JOIN batches b ON b.endpoint = d.endpoint AND b.name = a.batch
    UNION ALL
    SELECT d.seq, d.endpoint, d.run, p.id, e.id, 1, d.last_at, d.last_micros, d.last_status, d.last_outcome, NULL, NULL,
        b.id, b.size, p.tenant, d.last_address, d.last_public
    FROM deliveries d JOIN endpoints p ON p.key = d.endpoint LEFT JOIN events e ON e.seq = d.seq
    LEFT JOIN batches b ON b.endpoint = d.endpoint AND b.name = d.batch
    WHERE d.state = 1 AND d.attempts = 1";

fn attempt_row(row: &Row<'_>) -> Sql<AttemptRow> {
    Ok(AttemptRow {
        delivery: delivery_id(row)?,
        endpoint: named::<EndpointId>(row, 3)?,
        of: tenant(row, 14)?,
        event: row.get::<_, Option<String>>(4)?.map(|id| parsed(4, &id)).transpose()?,
        number: row.get(5)?,
        at: moment(row, 6)?,
        duration: Duration::from_micros(unsigned(row.get(7)?)),
        status: row.get(8)?,
        outcome: row.get(9)?,
        error: row.get(10)?,
        response: row.get::<_, Option<Vec<u8>>>(11)?.map(Bytes::from).unwrap_or_default(),
        batch: match row.get(12)? {
            Some(id) => Some(InBatch { id, size: row.get(13)? }),
            None => None,
        },
        peer: peer(row)?,
    })
}

fn peer(row: &Row<'_>) -> Sql<Option<Peer>> {
    let Some(address) = row.get_ref(15)?.as_str_or_null()? else { return Ok(None) };
    let address = address.parse().map_err(|error| text_error(format!("{address} is no address: {error}")))?;
    Ok(Some(Peer { address, public: row.get::<_, Option<bool>>(16)?.unwrap_or(false) }))
}

/// The places of attempts, and what lists are ordered by. A delivery with nothing in `attempts` has its one attempt in its own row.
const PLACES: &str = "
    SELECT d.seq, d.endpoint, d.run, coalesce(a.number, 1) AS number, coalesce(a.at, d.last_at) AS at
    FROM deliveries d CROSS JOIN endpoints p ON p.key = d.endpoint LEFT JOIN events e ON e.seq = d.seq
    LEFT JOIN attempts a ON a.seq = d.seq AND a.endpoint = d.endpoint AND a.run = d.run
    WHERE d.attempts > 0 AND (a.number IS NOT NULL OR d.state = 1 AND d.attempts = 1)
        AND (?1 IS NULL OR p.tenant = ?1 AND e.tenant = ?1)";

/// Oldest first.
pub(super) fn of_event(db: &Connection, seq: u64, page: &AttemptPage) -> Sql<Vec<AttemptRow>> {
    let sql = format!(
        "{PLACES} AND d.seq = ?2
         AND (coalesce(a.at, d.last_at), d.endpoint, d.run, coalesce(a.number, 1)) > (?3, ?4, ?5, ?6)
         ORDER BY 5, d.endpoint, d.run, 4 LIMIT ?7"
    );
    let past = page.past.map(|past| (past.at.as_millis(), past.delivery.endpoint.0, past.delivery.run, past.number));
    let (at, endpoint, run, number) = past.unwrap_or((i64::MIN, i64::MIN, 0, 0));
    let tenant = page.within.as_ref().map(Tenant::as_str);
    rows(db, &sql, params![tenant, signed(seq), at, endpoint, run, number, limit(page.limit)])
}

/// Newest event first.
pub(super) fn of_endpoint(db: &Connection, endpoint: EndpointKey, page: &AttemptPage) -> Sql<Vec<AttemptRow>> {
    let sql = format!(
        "{PLACES} AND d.endpoint = ?2 AND (d.seq, d.run, coalesce(a.number, 1)) < (?3, ?4, ?5)
         ORDER BY d.seq DESC, d.run DESC, a.number DESC LIMIT ?6"
    );
    let past = page.past.map(|past| (signed(past.delivery.seq), past.delivery.run, past.number));
    let (seq, run, number) = past.unwrap_or((i64::MAX, 0, 0));
    let tenant = page.within.as_ref().map(Tenant::as_str);
    rows(db, &sql, params![tenant, endpoint.0, seq, run, number, limit(page.limit)])
}

/// The attempts at the places that `sql` finds, in its order. Read while it goes on, so that all are of one moment.
fn rows(db: &Connection, sql: &str, values: impl Params) -> Sql<Vec<AttemptRow>> {
    let mut places = db.prepare_cached(sql)?;
    places.query_map(values, |place| row(db, delivery_id(place)?, place.get(3)?))?.collect()
}

fn row(db: &Connection, delivery: DeliveryId, number: u32) -> Sql<AttemptRow> {
    let sql = format!("SELECT * FROM ({ATTEMPTS}) WHERE seq = ?1 AND endpoint = ?2 AND run = ?3 AND number = ?4");
    let values = params![signed(delivery.seq), delivery.endpoint.0, delivery.run, number];
    db.prepare_cached(&sql)?.query_row(values, attempt_row)
}
