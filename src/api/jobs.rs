//! `POST /v1/dead-letters/replay`, `POST /v1/dead-letters/purge`, `/v1/jobs/{id}`

use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::{
    call::{Answer, Call, json, located, ok},
    problem::Problem,
    schema::{
        Schemas, answer, count, dead_reason, given, id, moment, moment_or_null, named, object, or_null, replay_rate,
        selects, text, topics,
    },
    selection::Selection,
};
use crate::{
    Timestamp,
    error::Invalid,
    pipeline::REPLAY_RATE,
    store::{DeadLetterSelection, Job, JobId, JobKind, JobState, Scope},
};

const FILTER: &[&str] = &["endpoint", "topic", "reason", "tenant", "since", "until"];
const REPLAY: &[&str] = &["filter", "rate", "dry_run", "all"];
const PURGE: &[&str] = &["filter", "dry_run", "all"];

#[derive(Serialize)]
struct Shown<'a> {
    id: &'a JobId,
    kind: JobKind,
    state: JobState,
    total: u64,
    done: u64,
    failed: u64,
    rate: Option<f64>,
    created_at: Timestamp,
    ended_at: Option<Timestamp>,
}

/// What a call asks to be done.
struct Asked {
    selection: DeadLetterSelection,
    rate: Option<f64>,
    dry_run: bool,
}

impl Asked {
    async fn of(call: &Call, names: &[&str]) -> Result<Self, Problem> {
        let body = call.configuration(&["application/json"]).await?;
        let mut asked = Selection::of(&body, "#");
        let (dry_run, all) = (asked.flag("dry_run"), asked.flag("all"));
        let rate = if names.contains(&"rate") { asked.rate() } else { None };
        let everything = json!({});
        let mut filter = Selection::of(asked.given("filter").unwrap_or(&everything), "#/filter");
        let selection = selection(&mut filter, call);
        let some = DeadLetterSelection { within: None, ..selection.clone() }.is_some();
        asked.expect_some(some || all || filter.is_faulty());
        let mistakes = [asked.done(names), filter.done(FILTER)].into_iter().filter_map(Result::err);
        Invalid::unless_empty(mistakes.flat_map(Vec::from).collect())?;
        call.expect_own(selection.tenant.as_ref())?;
        Ok(Self { selection, rate, dry_run })
    }
}

fn selection(filter: &mut Selection<'_>, call: &Call) -> DeadLetterSelection {
    DeadLetterSelection {
        endpoint: filter.endpoint(call),
        topic: filter.parse("topic"),
        reason: filter.parse("reason"),
        tenant: filter.parse("tenant"),
        within: call.tenant().cloned(),
        since: filter.parse("since"),
        until: filter.parse("until"),
    }
}

pub(super) async fn replay(call: Call) -> Answer {
    let Asked { selection, rate, dry_run } = Asked::of(&call, REPLAY).await?;
    if dry_run {
        return matched(&call, selection).await;
    }
    let job = call.hooks().replay_dead_letters(selection, rate.unwrap_or(REPLAY_RATE)).await?;
    started(&call, &job)
}

pub(super) async fn purge(call: Call) -> Answer {
    let Asked { selection, dry_run, .. } = Asked::of(&call, PURGE).await?;
    if dry_run {
        return matched(&call, selection).await;
    }
    let job = call.hooks().purge_dead_letters(selection).await?;
    started(&call, &job)
}

async fn matched(call: &Call, selection: DeadLetterSelection) -> Answer {
    ok(&json!({"matched": call.hooks().count_dead_letters(selection).await?}))
}

pub(super) fn started(call: &Call, job: &Job) -> Answer {
    let mut response = json(StatusCode::ACCEPTED, &json!({"job": job.id}))?;
    if let Some((root, _)) = call.request.path().split_once("/v1/") {
        located(&mut response, &format!("{root}/v1/jobs/{}", job.id));
    }
    Ok(response)
}

pub(super) async fn show(call: Call) -> Answer {
    ok(&shown(&find(&call).await?))
}

pub(super) async fn cancel(call: Call) -> Answer {
    let job = find(&call).await?;
    call.rights.expect_scope(needed(job.kind))?;
    ok(&shown(&call.hooks().cancel_job(&job.id).await?))
}

/// The scope that starts a job of this kind, and ends it.
const fn needed(kind: JobKind) -> Scope {
    match kind {
        JobKind::PurgeDeadLetters => Scope::Admin,
        JobKind::ReplayDeadLetters | JobKind::ReplayFailed | JobKind::ReplayMissing | JobKind::ReplayAll => {
            Scope::Replay
        }
    }
}

/// The job that the path names. A tenant has those that it made.
async fn find(call: &Call) -> Result<Job, Problem> {
    let id: JobId = call.named("id", "job")?;
    let job = call.hooks().job(&id).await?;
    let seen = call.tenant().is_none() || job.selection.within.as_ref() == call.tenant();
    if seen { Ok(job) } else { Err(Problem::not_found(format_args!("job {id}"))) }
}

fn shown(job: &Job) -> Shown<'_> {
    let Job { id, kind, state, total, done, failed, rate, created_at, ended_at, .. } = job;
    Shown {
        id,
        kind: *kind,
        state: *state,
        total: *total,
        done: *done,
        failed: *failed,
        rate: *rate,
        created_at: *created_at,
        ended_at: *ended_at,
    }
}

pub(super) fn schemas(all: &mut Schemas) {
    let filter = json!({
        "endpoint": or_null(id()),
        "topic": or_null(topics()),
        "reason": or_null(dead_reason()),
        "tenant": or_null(id()),
        "since": moment_or_null(),
        "until": moment_or_null(),
    });
    let conditions = FILTER.iter().copied().map(given).collect::<Vec<_>>();
    let narrows = json!({"properties": {"filter": {"type": "object", "anyOf": conditions}}, "required": ["filter"]});
    all.add("DeadLetterFilter", object(&[], filter));
    let filter = json!({"anyOf": [named("DeadLetterFilter"), {"type": "null"}]});
    all.add("ReplayRequest", selects(json!({"filter": filter.clone(), "rate": replay_rate()}), [narrows.clone()]));
    all.add("PurgeRequest", selects(json!({"filter": filter}), [narrows]));
    all.add("Matched", answer(&[], json!({"matched": count()})));
    all.add("JobStarted", answer(&[], json!({"job": text()})));
    let job = json!({
        "id": text(),
        "kind": {"enum": ["replay_dead_letters", "purge_dead_letters", "replay_failed", "replay_missing", "replay_all"]},
        "state": {"enum": ["running", "finished", "cancelled", "failed"]},
        "total": count(),
        "done": count(),
        "failed": count(),
        "rate": replay_rate(),
        "created_at": moment(),
        "ended_at": moment_or_null(),
    });
    all.add("Job", answer(&[], job));
}
