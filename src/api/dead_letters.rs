//! `/v1/dead-letters`

use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{json, value::RawValue};

use super::{
    call::{Answer, Call, json, ok},
    events,
    list::List,
    problem::Problem,
    query::Query,
};
use crate::{
    Timestamp,
    endpoint::EndpointId,
    event::{Accepted, EventId, Tenant, Topic},
    store::{DeadLetterFilter, DeadLetterRow, DeadLetterSelection, DeliveryId},
};

#[derive(Serialize)]
struct Shown<'a> {
    id: DeliveryId,
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
    replayed_as: Option<DeliveryId>,
}

/// The event, as long as it is kept; `null` everywhere afterwards.
#[derive(Serialize)]
struct Detailed<'a> {
    #[serde(flatten)]
    dead_letter: Shown<'a>,
    seq: u64,
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
    let endpoint = query.parse::<EndpointId>("endpoint").map(|id| call.hooks().endpoint(&id).map(|known| known.key));
    if endpoint == Some(None) {
        query.fault("endpoint", "is not the id of an endpoint");
    }
    let limit = query.limit();
    let selection = DeadLetterSelection {
        endpoint: endpoint.flatten(),
        topic: query.parse("topic"),
        reason: query.parse("reason"),
        tenant: query.parse("tenant"),
        within: None,
        since: query.parse("since"),
        until: query.parse("until"),
    };
    let filter = DeadLetterFilter {
        selection,
        replayed: query.choice("replayed", &[("true", true), ("false", false)]).unwrap_or_default(),
        before: query.cursor(),
        limit: limit + 1,
    };
    query.done()?;
    let rows = call.hooks().store().dead_letters(filter).await?;
    let List { items, next } = List::of(rows, limit, |row| row.id);
    ok(&List { items: items.iter().map(shown).collect(), next })
}

pub(super) async fn show(call: Call) -> Answer {
    let id: DeliveryId = call.named("id", "dead letter")?;
    let found = call.hooks().store().dead_letter(id).await?;
    let (row, event) = found.ok_or_else(|| Problem::not_found(format_args!("dead letter {id}")))?;
    let event = event.as_deref();
    ok(&Detailed {
        dead_letter: shown(&row),
        seq: id.seq,
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
    let delivery = call.hooks().replay(call.named("id", "dead letter")?).await?;
    json(StatusCode::ACCEPTED, &json!({"delivery": delivery}))
}

fn shown(row: &DeadLetterRow) -> Shown<'_> {
    Shown {
        id: row.id,
        endpoint: &row.endpoint,
        event: row.event.as_ref(),
        topic: row.topic.as_ref(),
        reason: &row.reason,
        attempts: row.attempts,
        last_status: row.last_status,
        last_error: row.last_error.as_deref(),
        first_attempt_at: row.first_attempt_at,
        dead_since: row.dead_since,
        replayed_as: row.replayed_as.map(|run| DeliveryId { run, ..row.id }),
    }
}
