//! Attempts: `GET /v1/events/{id}/attempts`, `GET /v1/endpoints/{id}/attempts`

use serde_json::{Value, json};

use super::{
    call::{Answer, Call, ok},
    events::find,
    list::List,
    problem::Problem,
    query::{Query, cursor},
};
use crate::{endpoint::EndpointId, store::AttemptRow};

pub(super) async fn of_event(call: Call) -> Answer {
    let detail = find(&call).await?;
    let attempts = call.hooks().store().event_attempts(detail.event.seq).await?;
    ok(&List { items: attempts.iter().map(show).collect(), next: None })
}

/// Whole events: a page may hold more attempts than its `limit`, which counts deliveries.
pub(super) async fn of_endpoint(call: Call) -> Answer {
    let id: EndpointId = call.named("id", "endpoint")?;
    let mut query = Query::new(call.request.query_string());
    let (limit, before) = (query.limit(), query.cursor());
    query.done()?;
    let hooks = call.hooks();
    let endpoint = hooks.endpoint(&id).ok_or_else(|| Problem::not_found(format_args!("endpoint {id}")))?;
    let attempts = hooks.store().endpoint_attempts(endpoint.key, None, before, limit).await?;
    let mut next = None;
    if let Some(last) = attempts.last().map(|attempt| attempt.delivery.seq) {
        let more = hooks.store().endpoint_attempts(endpoint.key, None, Some(last), 1).await?;
        next = (!more.is_empty()).then(|| cursor(last));
    }
    ok(&List { items: attempts.iter().map(show).collect(), next })
}

fn show(attempt: &AttemptRow) -> Value {
    let response = (!attempt.response.is_empty()).then(|| String::from_utf8_lossy(&attempt.response));
    json!({
        "delivery": attempt.delivery,
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
