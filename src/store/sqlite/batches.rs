//! Requests for several deliveries: one row for each, whatever their number.

use rusqlite::{Connection, params};

use super::{codes::signed, write::Writer};
use crate::{
    clock::Timestamp,
    endpoint::EndpointKey,
    store::{AttemptRecord, BatchRequest},
};

/// As the rows name it.
pub(super) fn name(batch: &BatchRequest) -> String {
    let (seq, run, number) = batch.name;
    format!("{seq}-{run}-{number}")
}

impl Writer<'_> {
    /// Writes the request of an attempt down, once for all its deliveries. Tells its name.
    pub(super) fn batch(
        &self,
        endpoint: EndpointKey,
        attempt: &AttemptRecord,
        failed: bool,
    ) -> rusqlite::Result<Option<String>> {
        let Some(batch) = &attempt.batch else { return Ok(None) };
        let name = name(batch);
        let response = (failed && !attempt.response.is_empty()).then_some(&attempt.response[..]);
        let mut insert =
            self.db.prepare_cached("INSERT OR IGNORE INTO batches VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")?;
        insert.execute(params![
            endpoint.0,
            name,
            batch.id,
            batch.size,
            signed(batch.name.0),
            signed(batch.last),
            attempt.at.as_millis(),
            attempt.error,
            response,
        ])?;
        Ok(Some(name))
    }
}

/// Forgets some of those made before `cutoff` whose deliveries are all forgotten; tells whether there may be more.
pub(super) fn prune(db: &Connection, cutoff: Timestamp, most: i64) -> rusqlite::Result<bool> {
    let mut delete = db.prepare_cached(
        "DELETE FROM batches WHERE (endpoint, name) IN (SELECT endpoint, name FROM batches b WHERE at < ?1 AND NOT EXISTS
             (SELECT 1 FROM deliveries d WHERE d.endpoint = b.endpoint AND d.seq BETWEEN b.first AND b.last) LIMIT ?2)",
    )?;
    let deleted = delete.execute(params![cutoff.as_millis(), most])?;
    Ok(i64::try_from(deleted).is_ok_and(|deleted| deleted >= most))
}
