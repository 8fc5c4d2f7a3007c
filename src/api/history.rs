//! Attempts: `GET /v1/events/{id}/attempts`, `GET /v1/endpoints/{id}/attempts`

use serde_json::{Value, json};

use super::{
    call::{Answer, Call, ok},
    events::find_of,
    list::List,
    query::Query,
    schema::{Schemas, answer, count, list_of, moment, status, text, text_or_null},
};
use crate::{
    endpoint::EndpointId,
    store::{AttemptPage, AttemptPlace, AttemptRow, Reply},
};

pub(super) async fn of_event(call: Call) -> Answer {
    let mut query = Query::new(call.request.query_string());
    let (tenant, limit, cursor) = (query.parse("tenant"), query.limit(), query.cursor(&call.cursors()));
    query.done()?;
    let seq = find_of(&call, tenant).await?.event.seq;
    let store = call.hooks().store();
    page(&call, limit, cursor, |page| store.event_attempts(seq, page)).await
}

pub(super) async fn of_endpoint(call: Call) -> Answer {
    let id: EndpointId = call.named("id", "endpoint")?;
    let mut query = Query::new(call.request.query_string());
    let (limit, cursor) = (query.limit(), query.cursor(&call.cursors()));
    query.done()?;
    let (key, store) = (call.endpoint(&id)?.key, call.hooks().store());
    page(&call, limit, cursor, |page| store.endpoint_attempts(key, page)).await
}

async fn page(
    call: &Call,
    limit: usize,
    cursor: Option<AttemptPlace>,
    read: impl Fn(AttemptPage) -> Reply<Vec<AttemptRow>>,
) -> Answer {
    let within = call.tenant().cloned();
    let read = async |last: Option<&AttemptRow>, limit: usize| {
        read(AttemptPage { within: within.clone(), past: last.map(AttemptRow::place).or(cursor), limit }).await
    };
    let page = List::read(&call.cursors(), limit, read, AttemptRow::weight, AttemptRow::place).await?;
    ok(&page.map(|attempt| show(call, &attempt)))
}

fn show(call: &Call, attempt: &AttemptRow) -> Value {
    let shown = !attempt.response.is_empty() && call.may_read_answer_of(attempt.peer);
    let response = shown.then(|| String::from_utf8_lossy(&attempt.response));
    json!({
        "delivery": call.name_of(attempt.delivery, attempt.event.as_ref(), &attempt.endpoint),
        "endpoint": attempt.endpoint,
        "event": attempt.event,
        "number": attempt.number,
        "at": attempt.at,
        "duration_ms": u64::try_from(attempt.duration.as_millis()).unwrap_or(u64::MAX),
        "status": attempt.status,
        "outcome": attempt.outcome,
        "error": attempt.error,
        "response": response,
        "batch": attempt.batch,
        "address": call.address_of(attempt.peer),
    })
}

pub(super) fn schemas(all: &mut Schemas) {
    let batch = json!({
        "type": ["object", "null"],
        "properties": {"id": text(), "size": count()},
        "required": ["id", "size"],
        "additionalProperties": false,
    });
    let attempt = json!({
        "delivery": text(),
        "endpoint": text(),
        "event": text_or_null(),
        "number": {"type": "integer", "minimum": 1},
        "at": moment(),
        "duration_ms": count(),
        "status": status(),
        "outcome": text(),
        "error": text_or_null(),
        "response": text_or_null(),
        "batch": batch,
        "address": {
            "type": ["string", "null"],
            "description": "Address and port that were connected to, or tried last. Not shown to tenants.",
        },
    });
    all.add("Attempt", answer(&[], attempt));
    all.add("AttemptList", list_of("Attempt"));
}
