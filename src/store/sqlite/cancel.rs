//! Giving up what is pending because somebody asks for it.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    codes::{signed, unsigned},
    read::{moment, parsed, tenant},
    write::Writer,
};
use crate::{
    endpoint::EndpointKey,
    event::Topic,
    store::{
        CancelStep, CancelledStep, DeliveryId, DropReason,
        rows::{CANCEL_STEP, Waiting},
    },
};

/// What a step comes to, and the deliveries that it is about.
pub(super) fn look(db: &Connection, step: &CancelStep) -> rusqlite::Result<(CancelledStep, Vec<DeliveryId>)> {
    let mut select = db.prepare_cached(
        "SELECT d.seq, d.endpoint, d.run, d.created_at, e.topic, e.tenant, p.tenant FROM (
             SELECT seq, endpoint, run, created_at FROM deliveries
             WHERE state = 0 AND endpoint >= ?1 AND endpoint <= ?2 AND (endpoint, seq, run) > (?3, ?4, ?5)
             UNION ALL SELECT seq, endpoint, run, created_at FROM deliveries
             WHERE state = 5 AND endpoint >= ?1 AND endpoint <= ?2 AND (endpoint, seq, run) > (?3, ?4, ?5)
             ORDER BY endpoint, seq, run LIMIT ?6) d
         CROSS JOIN events e ON e.seq = d.seq CROSS JOIN endpoints p ON p.key = d.endpoint
         ORDER BY d.endpoint, d.seq, d.run",
    )?;
    let (first, last) = step.filter.endpoint.map_or((i64::MIN, i64::MAX), |EndpointKey(key)| (key, key));
    let after = step.after.map_or((i64::MIN, 0, 0), |id| (id.endpoint.0, signed(id.seq), id.run));
    let limit = i64::try_from(CANCEL_STEP).unwrap_or(i64::MAX);
    let mut rows = select.query(params![first.max(after.0), last, after.0, after.1, after.2, limit])?;
    let (mut found, mut ids, mut seen) = (CancelledStep::default(), Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let id = DeliveryId { seq: unsigned(row.get(0)?), endpoint: EndpointKey(row.get(1)?), run: row.get(2)? };
        seen += 1;
        found.next = (seen == CANCEL_STEP).then_some(id);
        let topic: Topic = parsed(4, row.get_ref(4)?.as_str()?)?;
        let (tenant, of) = (tenant(row, 5)?, tenant(row, 6)?);
        let (tenant, of) = (tenant.as_ref(), of.as_ref());
        if step.filter.matches(&Waiting { topic: &topic, created_at: moment(row, 3)?, tenant, of }) {
            found.found(id.endpoint);
            ids.push(id);
        }
    }
    Ok((found, ids))
}

impl Writer<'_> {
    pub(super) fn cancel(&mut self, step: &CancelStep) -> rusqlite::Result<CancelledStep> {
        let (found, ids) = look(self.db, step)?;
        let reason = DropReason::Cancelled.as_str();
        for id in ids {
            let bytes = self.drop_one(id, reason)?;
            self.count_pending(id.endpoint, -1, -bytes);
            self.count_dropped(id.endpoint, reason, 1);
        }
        Ok(found)
    }

    /// Drops a pending delivery; tells the weight of its event.
    pub(super) fn drop_one(&mut self, id: DeliveryId, reason: &str) -> rusqlite::Result<i64> {
        let DeliveryId { seq, endpoint, run } = id;
        let mut update = self.db.prepare_cached(
            "UPDATE deliveries SET state = 3, reason = ?4, due = NULL, settled_at = ?5
             WHERE seq = ?1 AND endpoint = ?2 AND run = ?3 RETURNING bytes",
        )?;
        update.query_row(params![signed(seq), endpoint.0, run, reason, self.now.as_millis()], |row| row.get(0))
    }

    /// Takes back that a delivery was dropped while it was in flight: it is pending again. Tells whether it had been.
    pub(super) fn take_back(&mut self, id: DeliveryId) -> rusqlite::Result<bool> {
        let DeliveryId { seq, endpoint, run } = id;
        let mut update = self.db.prepare_cached(
            "UPDATE deliveries SET state = 0, reason = NULL
             WHERE seq = ?1 AND endpoint = ?2 AND run = ?3 AND state = 3 AND reason = ?4 RETURNING bytes",
        )?;
        for reason in DropReason::ALL.into_iter().filter(|reason| reason.may_arrive()) {
            let was = params![signed(seq), endpoint.0, run, reason.as_str()];
            if let Some(bytes) = update.query_row(was, |row| row.get(0)).optional()? {
                self.count_dropped(endpoint, reason.as_str(), -1);
                self.count_pending(endpoint, 1, bytes);
                return Ok(true);
            }
        }
        Ok(false)
    }
}
