//! Attempts: `GET /v1/events/{id}/attempts`, `GET /v1/endpoints/{id}/attempts`

use serde_json::{Value, json};

use super::{
    call::{Answer, Call, ok},
    events::find,
    list::List,
    query::{Query, cursor},
    schema::{Schemas, answer, count, list_of, moment, status, text, text_or_null},
    theirs::Place,
};
use crate::{endpoint::EndpointId, store::AttemptRow};

pub(super) async fn of_event(call: Call) -> Answer {
    let detail = find(&call).await?;
    let mut attempts = call.hooks().store().event_attempts(detail.event.seq).await?;
    attempts.retain(|attempt| call.may_see(attempt.of.as_ref()));
    ok(&List { items: attempts.iter().map(|attempt| show(&call, attempt)).collect(), next: None })
}

/// Whole events: a page may hold more attempts than its `limit`, which counts deliveries.
pub(super) async fn of_endpoint(call: Call) -> Answer {
    let id: EndpointId = call.named("id", "endpoint")?;
    let mut query = Query::new(call.request.query_string());
    let (limit, after) = (query.limit(), query.cursor::<Place>());
    query.done()?;
    let endpoint = call.endpoint(&id)?;
    let (store, tenant) = (call.hooks().store(), call.tenant());
    let before = call.seq_at(after).await?;
    let attempts = store.endpoint_attempts(endpoint.key, tenant.cloned(), before, limit).await?;
    let mut next = None;
    if let Some(last) = attempts.last() {
        let seq = last.delivery.seq;
        let more = store.endpoint_attempts(endpoint.key, tenant.cloned(), Some(seq), 1).await?;
        next = (!more.is_empty()).then(|| cursor(call.place(seq, last.event.as_ref())));
    }
    ok(&List { items: attempts.iter().map(|attempt| show(&call, attempt)).collect(), next })
}

fn show(call: &Call, attempt: &AttemptRow) -> Value {
    let (endpoint, at) = (attempt.delivery.endpoint, attempt.at);
    let shown = !attempt.response.is_empty() && call.may_see_answers_of(&attempt.endpoint, endpoint, at);
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
    });
    all.add("Attempt", answer(&[], attempt));
    all.add("AttemptList", list_of("Attempt"));
}
