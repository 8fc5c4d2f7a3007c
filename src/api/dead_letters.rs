//! `/v1/dead-letters`

use std::sync::Arc;

use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    call::{Answer, Call, json, ok},
    events,
    list::List,
    problem::Problem,
    query::Query,
    schema::{Schemas, answer, anything, count, list_of, moment, moment_or_null, status, text, text_or_null},
    theirs::DeliveryName,
};
use crate::{
    Timestamp,
    endpoint::EndpointId,
    event::{Accepted, EventId, Tenant, Topic},
    pipeline::ManageError,
    store::{DeadLetterFilter, DeadLetterRow, DeadLetterSelection, DeliveryId},
};

#[derive(Serialize)]
struct Shown<'a> {
    id: String,
    endpoint: &'a EndpointId,
    event: Option<&'a EventId>,
    topic: Option<&'a Topic>,
    reason: &'a str,
    attempts: u32,
    last_status: Option<u16>,
    last_error: Option<&'a str>,
    first_attempt_at: Option<Timestamp>,
    dead_since: Timestamp,
    /// The delivery that replayed it.
    replayed_as: Option<String>,
}

/// The event, as long as it is kept; `null` everywhere afterwards.
#[derive(Serialize)]
struct Detailed<'a> {
    #[serde(flatten)]
    dead_letter: Shown<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    tenant: Option<&'a Tenant>,
    key: Option<&'a str>,
    source: Option<&'a str>,
    timestamp: Option<Timestamp>,
    accepted_at: Option<Timestamp>,
    data: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
}

pub(super) async fn list(call: Call) -> Answer {
    let mut query = Query::new(call.request.query_string());
    let endpoint = query.parse::<EndpointId>("endpoint").map(|id| call.known_endpoint(&id).map(|known| known.key));
    if endpoint == Some(None) {
        query.fault("endpoint", "is not the id of an endpoint");
    }
    let (limit, cursors) = (query.limit(), call.cursors());
    let selection = DeadLetterSelection {
        endpoint: endpoint.flatten(),
        topic: query.parse("topic"),
        reason: query.parse("reason"),
        tenant: query.parse("tenant"),
        within: call.tenant().cloned(),
        since: query.parse("since"),
        until: query.parse("until"),
    };
    let filter = DeadLetterFilter {
        selection,
        replayed: query.choice("replayed", &[("true", true), ("false", false)]).unwrap_or_default(),
        before: query.cursor(&cursors),
        limit: limit + 1,
    };
    query.done()?;
    call.expect_own(filter.selection.tenant.as_ref())?;
    let rows = call.hooks().store().dead_letters(filter).await?;
    let List { items, next } = List::of(&cursors, rows, limit, |row| row.id)?;
    ok(&List { items: items.iter().map(|row| shown(&call, row)).collect(), next })
}

pub(super) async fn show(call: Call) -> Answer {
    let (row, event) = find(&call).await?;
    let event = event.as_deref();
    ok(&Detailed {
        dead_letter: shown(&call, &row),
        seq: call.tenant().is_none().then_some(row.id.seq),
        tenant: event.and_then(|event| event.tenant.as_ref()),
        key: event.and_then(|event| event.key.as_deref()),
        source: event.and_then(|event| event.source.as_deref()),
        timestamp: event.map(|event| event.timestamp),
        accepted_at: event.map(|event: &Accepted| event.accepted_at),
        data: event.and_then(events::data),
        metadata: event.and_then(events::metadata),
    })
}

pub(super) async fn replay(call: Call) -> Answer {
    let (row, _) = find(&call).await?;
    let delivery = call.hooks().replay(row.id).await.map_err(|error| match error {
        // Gone in between: named as it was asked for.
        ManageError::NotFound(_) => unknown(&call),
        other => other.into(),
    })?;
    let delivery = call.name_of(delivery, row.event.as_ref(), &row.endpoint);
    json(StatusCode::ACCEPTED, &json!({"delivery": delivery}))
}

/// The dead letter that the path names.
async fn find(call: &Call) -> Result<(DeadLetterRow, Option<Arc<Accepted>>), Problem> {
    let name: DeliveryName = call.named("id", "dead letter")?;
    let id = call.delivery(&name).await?.ok_or_else(|| unknown(call))?;
    call.hooks().store().dead_letter(id).await?.ok_or_else(|| unknown(call))
}

fn unknown(call: &Call) -> Problem {
    Problem::not_found(format_args!("dead letter {}", call.segment("id")))
}

fn shown<'a>(call: &Call, row: &'a DeadLetterRow) -> Shown<'a> {
    let name = |id| call.name_of(id, row.event.as_ref(), &row.endpoint);
    Shown {
        id: name(row.id),
        endpoint: &row.endpoint,
        event: row.event.as_ref(),
        topic: row.topic.as_ref(),
        reason: &row.reason,
        attempts: row.attempts,
        last_status: row.last_status,
        last_error: row.last_error.as_deref(),
        first_attempt_at: row.first_attempt_at,
        dead_since: row.dead_since,
        replayed_as: row.replayed_as.map(|run| name(DeliveryId { run, ..row.id })),
    }
}

/// What is shown of every dead letter.
fn schema() -> Value {
    json!({
        "id": text(),
        "endpoint": text(),
        "event": text_or_null(),
        "topic": text_or_null(),
        "reason": text(),
        "attempts": count(),
        "last_status": status(),
        "last_error": text_or_null(),
        "first_attempt_at": moment_or_null(),
        "dead_since": moment(),
        "replayed_as": text_or_null(),
    })
}

pub(super) fn schemas(all: &mut Schemas) {
    all.add("DeadLetter", answer(&[], schema()));
    all.add("DeadLetterList", list_of("DeadLetter"));
    let event = json!({
        "seq": count(),
        "tenant": text_or_null(),
        "key": text_or_null(),
        "source": text_or_null(),
        "timestamp": moment_or_null(),
        "accepted_at": moment_or_null(),
        "data": anything(),
        "metadata": {"type": ["object", "null"]},
    });
    let mut detail = schema();
    if let (Value::Object(detail), Value::Object(event)) = (&mut detail, event) {
        detail.extend(event);
    }
    all.add("DeadLetterDetail", answer(&["seq"], detail));
    all.add("Replayed", answer(&[], json!({"delivery": text()})));
}
