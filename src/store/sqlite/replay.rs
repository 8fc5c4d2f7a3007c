//! Delivering events again, and what of an endpoint's events a job is to work on.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    codes::{COALESCED, DEAD, DELIVERED, HELD, HELD_BACK, PENDING, SUPPRESSED, signed, unsigned},
    lists::event_state,
    read::{AFTER_EVENT, EVENT, Sql, accepted, meta, moment, parsed, tenant},
    write::{Birth, Content, Writer},
};
use crate::{
    endpoint::{EndpointId, EndpointKey},
    event::Tenant,
    store::{
        CountStep, DeliveryId, Disposition, JobKind, LetterPlace, ReplayOutcome,
        jobs::{LETTER_STEP, Newest, Wants},
    },
};

/// Events with how the newest delivery to the endpoint `?2` stands, if there is one: of the tenant `?5`, if one is named.
fn events(within: Option<&Tenant>) -> String {
    let whose = if within.is_some() { "AND tenant = ?5 AND tenant <> ''" } else { "AND ?5 IS NULL" };
    format!(
        "SELECT e.seq, e.accepted_at, d.state, d.replayed_as
         FROM (SELECT seq, accepted_at FROM events WHERE seq > ?1 AND seq <= ?4 {whose} ORDER BY seq LIMIT ?3) e
         LEFT JOIN deliveries d ON d.seq = e.seq AND d.endpoint = ?2
             AND d.run = (SELECT max(run) FROM deliveries n WHERE n.seq = e.seq AND n.endpoint = ?2)
         ORDER BY e.seq"
    )
}

/// The same of events whose newest delivery is a dead letter: of no others such a one is left that was not replayed.
const FAILED: &str = "
    SELECT e.seq, e.accepted_at, d.state, d.replayed_as
    FROM deliveries d CROSS JOIN events e ON e.seq = d.seq
    WHERE d.endpoint = ?2 AND d.state = 2 AND d.replayed_as IS NULL AND d.seq > ?1 AND d.seq <= ?4
        AND (?5 IS NULL OR e.tenant = ?5)
    ORDER BY d.seq LIMIT ?3";

/// The events behind the last one that was looked at, each with whether the job works on it.
pub(super) fn look(db: &Connection, step: &CountStep) -> Sql<Vec<(LetterPlace, bool)>> {
    let Some(endpoint) = step.selection.endpoint else { return Ok(Vec::new()) };
    let within = step.selection.within.as_ref();
    if within.is_some() && owner(db, endpoint)?.as_ref() != within {
        return Ok(Vec::new());
    }
    let wants = wants(db, endpoint)?;
    let after = step.after.map_or(-1, |place| signed(place.seq));
    let (limit, judged) = (i64::try_from(LETTER_STEP).unwrap_or(i64::MAX), signed(meta(db, "judged_through")?));
    let sql = if step.kind == JobKind::ReplayFailed { FAILED.to_owned() } else { events(within) };
    let mut select = db.prepare_cached(&sql)?;
    let mut rows = select.query(params![after, endpoint.0, limit, judged, within.map(Tenant::as_str)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let seq = unsigned(row.get(0)?);
        let meant =
            step.selection.has_accepted(moment(row, 1)?, step.at) && step.kind.means(newest(db, row, seq, &wants)?);
        found.push((LetterPlace::of_event(endpoint, seq), meant));
    }
    Ok(found)
}

fn newest(db: &Connection, row: &Row<'_>, seq: u64, wants: &Wants) -> Sql<Newest> {
    Ok(match (row.get::<_, Option<i64>>(2)?, row.get::<_, Option<u32>>(3)?) {
        (None, _) if is_wanted(db, seq, wants)? => Newest::Missing,
        (Some(DEAD), None) => Newest::Dead,
        (Some(DELIVERED), _) => Newest::Delivered,
        _ => Newest::Other,
    })
}

fn is_wanted(db: &Connection, seq: u64, wants: &Wants) -> Sql<bool> {
    let sql = format!(
        "SELECT {EVENT}, coalesce((SELECT state FROM verdicts v WHERE v.seq = e.seq), 3) FROM events e WHERE e.seq = ?1"
    );
    let wanted = |row: &Row<'_>| {
        let state: i64 = row.get(AFTER_EVENT)?;
        // What is for nobody need not be read.
        Ok(![SUPPRESSED, HELD, COALESCED].contains(&state) && wants.event(&*accepted(row)?, event_state(state)))
    };
    Ok(db.prepare_cached(&sql)?.query_row([signed(seq)], wanted).optional()?.unwrap_or(false))
}

/// Whose an endpoint is.
fn owner(db: &Connection, endpoint: EndpointKey) -> Sql<Option<Tenant>> {
    let mut select = db.prepare_cached("SELECT tenant FROM endpoints WHERE key = ?1")?;
    Ok(select.query_row([endpoint.0], |row| tenant(row, 0)).optional()?.flatten())
}

fn wants(db: &Connection, endpoint: EndpointKey) -> Sql<Wants> {
    let mut select = db.prepare_cached("SELECT id, settings FROM endpoints WHERE key = ?1 AND deleted_at IS NULL")?;
    let row = select.query_row([endpoint.0], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    let Some((id, settings)) = row.optional()? else { return Ok(Wants::of(None)) };
    Ok(Wants::of(Some((parsed::<EndpointId>(0, &id)?, &settings))))
}

impl Writer<'_> {
    pub(super) fn redeliver(&mut self, seq: u64, endpoint: EndpointKey) -> Sql<ReplayOutcome> {
        let run = match self.newest_run(seq, endpoint)? {
            Some((run, PENDING | HELD_BACK, _)) => return Ok(ReplayOutcome::Waiting(run)),
            Some((run, DEAD, None)) => return self.replay(DeliveryId { seq, endpoint, run }),
            Some((run, ..)) => run + 1,
            None => 1,
        };
        self.deliver_again(DeliveryId { seq, endpoint, run })
    }

    /// The newest delivery of an event to an endpoint: its run, its state, and the run that replayed it.
    pub(super) fn newest_run(&self, seq: u64, endpoint: EndpointKey) -> Sql<Option<(u32, i64, Option<u32>)>> {
        let mut select = self.db.prepare_cached(
            "SELECT run, state, replayed_as FROM deliveries WHERE seq = ?1 AND endpoint = ?2 ORDER BY run DESC LIMIT 1",
        )?;
        let newest = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
        select.query_row(params![signed(seq), endpoint.0], newest).optional()
    }

    /// Makes this delivery, a replay; there is nothing to do where its event or its endpoint is gone.
    pub(super) fn deliver_again(&mut self, new: DeliveryId) -> Sql<ReplayOutcome> {
        let DeliveryId { seq, endpoint, .. } = new;
        let mut select = self.db.prepare_cached(
            "SELECT length(data) + coalesce(length(CAST(metadata AS BLOB)), 0) + 256, key, (SELECT suppressed FROM deliveries
                 WHERE seq = ?2 AND endpoint = ?1 ORDER BY run DESC LIMIT 1) FROM events WHERE seq = ?2
                 AND EXISTS (SELECT 1 FROM endpoints WHERE key = ?1 AND deleted_at IS NULL)",
        )?;
        let content: Option<(i64, Option<String>, Option<i64>)> = select
            .query_row([endpoint.0, signed(seq)], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .optional()?;
        let Some((bytes, key, suppressed)) = content else { return Ok(ReplayOutcome::Gone) };
        self.count_delivery(endpoint, "replayed", 1);
        let disposition = Disposition::Deliver.or_drop(self.cache.dropping.get(&endpoint).copied());
        let content = Content { bytes, key: key.as_deref(), suppressed: suppressed.map_or(0, unsigned) };
        self.insert_delivery(new, Birth::Late(self.now), content, disposition, &[])?;
        Ok(ReplayOutcome::Replayed(new))
    }
}
