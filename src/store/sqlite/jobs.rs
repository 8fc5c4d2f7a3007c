//! Jobs: work on many dead letters, or on the events of an endpoint. A step and how far the job is are one transaction.

use std::str::FromStr;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    codes::{signed, text_error, unsigned},
    dead_letters,
    read::{Sql, moment, moment_or_none, named, parsed},
    replay,
    write::Writer,
};
use crate::{
    clock::Timestamp,
    endpoint::EndpointKey,
    event::NameError,
    store::{
        Advance, CountStep, Counted, DeadLetterSelection, DeliveryId, Job, JobId, JobKind, JobState, LetterPlace,
        ReplayOutcome, jobs::LETTER_STEP,
    },
};

/// The columns that [`job_row`] reads.
const JOB: &str =
    "id, kind, state, rate, total, done, failed, created_at, ended_at, endpoint, topic, reason, tenant, since,
    until, at_endpoint, at_since, at_seq, at_run, within";

fn job_row(row: &Row<'_>) -> Sql<(Job, Option<LetterPlace>)> {
    let selection = DeadLetterSelection {
        endpoint: row.get::<_, Option<i64>>(9)?.map(EndpointKey),
        topic: named_or_none(row, 10)?,
        reason: named_or_none(row, 11)?,
        tenant: named_or_none(row, 12)?,
        since: moment_or_none(row, 13)?,
        until: moment_or_none(row, 14)?,
        within: named_or_none(row, 19)?,
    };
    let job = Job {
        id: named(row, 0)?,
        kind: one_of(row, 1, JobKind::ALL, JobKind::as_str)?,
        state: one_of(row, 2, JobState::ALL, JobState::as_str)?,
        rate: row.get(3)?,
        total: unsigned(row.get(4)?),
        done: unsigned(row.get(5)?),
        failed: unsigned(row.get(6)?),
        created_at: moment(row, 7)?,
        ended_at: moment_or_none(row, 8)?,
        selection,
    };
    let place = |endpoint| -> Sql<_> {
        Ok(LetterPlace {
            endpoint: EndpointKey(endpoint),
            since: moment(row, 16)?,
            seq: unsigned(row.get(17)?),
            run: row.get(18)?,
        })
    };
    Ok((job, row.get::<_, Option<i64>>(15)?.map(place).transpose()?))
}

fn named_or_none<T: FromStr<Err = NameError>>(row: &Row<'_>, column: usize) -> Sql<Option<T>> {
    row.get_ref(column)?.as_str_or_null()?.map(|text| parsed(column, text)).transpose()
}

fn one_of<T: Copy, const N: usize>(row: &Row<'_>, column: usize, all: [T; N], name: fn(T) -> &'static str) -> Sql<T> {
    let text = row.get_ref(column)?.as_str()?;
    let found = all.into_iter().find(|one| name(*one) == text);
    found.ok_or_else(|| text_error(format!("{text} is not a word this program knows")))
}

fn find(db: &Connection, id: &JobId) -> Sql<Option<(Job, Option<LetterPlace>)>> {
    let sql = format!("SELECT {JOB} FROM jobs WHERE id = ?1");
    db.prepare_cached(&sql)?.query_row([id.as_str()], job_row).optional()
}

pub(super) fn job(db: &Connection, id: &JobId) -> Sql<Option<Job>> {
    Ok(find(db, id)?.map(|(job, _)| job))
}

pub(super) fn running_jobs(db: &Connection) -> Sql<Vec<Job>> {
    let sql = format!("SELECT {JOB} FROM jobs WHERE ended_at IS NULL ORDER BY id");
    let mut select = db.prepare_cached(&sql)?;
    select.query_map([], |row| Ok(job_row(row)?.0))?.collect()
}

/// What one step looks at, each with whether the job works on it.
fn look(db: &Connection, step: &CountStep) -> Sql<Vec<(LetterPlace, bool)>> {
    if step.kind.is_of_events() {
        replay::look(db, step)
    } else {
        dead_letters::look(db, &step.selection, step.at, step.after)
    }
}

pub(super) fn count(db: &Connection, step: &CountStep) -> Sql<Counted> {
    let found = look(db, step)?;
    let matched = found.iter().filter(|(_, meant)| *meant).count() as u64;
    let next = found.last().filter(|_| found.len() == LETTER_STEP).map(|(place, _)| *place);
    Ok(Counted { matched, next })
}

impl Writer<'_> {
    pub(super) fn create_job(&mut self, job: &Job) -> Sql<()> {
        let DeadLetterSelection { endpoint, topic, reason, tenant, within, since, until } = &job.selection;
        self.db.execute(
            "INSERT INTO jobs (id, kind, state, rate, total, done, failed, created_at, endpoint, topic, reason, tenant, since,
                 until, within) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
            params![
                job.id.as_str(),
                job.kind.as_str(),
                job.state.as_str(),
                job.rate,
                signed(job.total),
                signed(job.done),
                signed(job.failed),
                job.created_at.as_millis(),
                endpoint.map(|key| key.0),
                topic.as_ref().map(ToString::to_string),
                reason.map(|reason| reason.as_str()),
                tenant.as_ref().map(|tenant| tenant.as_str()),
                since.map(Timestamp::as_millis),
                until.map(Timestamp::as_millis),
                within.as_ref().map(|tenant| tenant.as_str()),
            ],
        )?;
        Ok(())
    }

    pub(super) fn end_job(&mut self, id: &JobId, state: JobState) -> Sql<Option<Job>> {
        let Some((mut job, place)) = find(self.db, id)? else { return Ok(None) };
        job.end(state, self.now);
        self.keep_job(&job, place)?;
        Ok(Some(job))
    }

    pub(super) fn advance_job(&mut self, id: &JobId, most: usize) -> Sql<Option<Advance>> {
        let Some((mut job, mut place)) = find(self.db, id)? else { return Ok(None) };
        let mut replayed = Vec::new();
        if job.state != JobState::Running {
            return Ok(Some(Advance { job, replayed }));
        }
        let step = CountStep { kind: job.kind, selection: job.selection.clone(), at: job.created_at, after: place };
        let looked_at = look(self.db, &step)?;
        let mut end = looked_at.len() < LETTER_STEP;
        let mut worked = 0;
        for (next, meant) in looked_at {
            if meant && (worked == most || job.is_through()) {
                end = false;
                break;
            }
            place = Some(next);
            if meant {
                worked += 1;
                self.work(&mut job, next.delivery(), &mut replayed)?;
            }
        }
        if end || job.is_through() {
            job.end(JobState::Finished, self.now);
        }
        self.keep_job(&job, place)?;
        Ok(Some(Advance { job, replayed }))
    }

    fn work(&mut self, job: &mut Job, id: DeliveryId, replayed: &mut Vec<DeliveryId>) -> Sql<()> {
        match job.kind {
            JobKind::PurgeDeadLetters => {
                self.end_letter(id, "dead_purged")?;
                job.done += 1;
            }
            _ if self.cache.dropping.contains_key(&id.endpoint) => job.failed += 1,
            kind => {
                let outcome = if kind.is_of_events() { self.redeliver(id.seq, id.endpoint)? } else { self.replay(id)? };
                match outcome {
                    ReplayOutcome::Replayed(new) => {
                        replayed.push(new);
                        job.done += 1;
                    }
                    _ => job.failed += 1,
                }
            }
        }
        Ok(())
    }

    fn keep_job(&self, job: &Job, place: Option<LetterPlace>) -> Sql<()> {
        let mut update = self.db.prepare_cached(
            "UPDATE jobs SET state = ?2, done = ?3, failed = ?4, ended_at = ?5, at_endpoint = ?6, at_since = ?7, at_seq = ?8,
                 at_run = ?9, total = ?10 WHERE id = ?1",
        )?;
        update.execute(params![
            job.id.as_str(),
            job.state.as_str(),
            signed(job.done),
            signed(job.failed),
            job.ended_at.map(Timestamp::as_millis),
            place.map(|place| place.endpoint.0),
            place.map(|place| place.since.as_millis()),
            place.map(|place| signed(place.seq)),
            place.map(|place| place.run),
            signed(job.total),
        ])?;
        Ok(())
    }
}
