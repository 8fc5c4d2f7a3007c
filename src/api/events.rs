//! `GET /v1/events`, `GET /v1/events/{id}`

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json, value::RawValue};

use super::{
    call::{Answer, Call, ok},
    list::List,
    problem::Problem,
    query::Query,
    schema::{
        Schemas, answer, any_object, anything, count, list_of, moment, moment_or_null, named, put, status, text,
        text_or_null,
    },
};
use crate::{
    clock::Timestamp,
    event::{Accepted, EventId, Tenant, Topic},
    store::{DeliveryRow, DeliveryState, EventDetail, EventFilter, EventRow, EventState},
};

/// What `state` may ask for: where the event stands, or where one of its deliveries does.
pub(super) const STATES: [(&str, Result<EventState, DeliveryState>); 10] = [
    ("unrouted", Ok(EventState::Unrouted)),
    ("unmatched", Ok(EventState::Unmatched)),
    ("suppressed", Ok(EventState::Suppressed)),
    ("debouncing", Ok(EventState::Debouncing)),
    ("coalesced", Ok(EventState::Coalesced)),
    ("routed", Ok(EventState::Routed)),
    ("pending", Err(DeliveryState::Pending)),
    ("delivered", Err(DeliveryState::Delivered)),
    ("dead_lettered", Err(DeliveryState::DeadLettered)),
    ("dropped", Err(DeliveryState::Dropped)),
];

/// An event as it is shown; its data and metadata are the very bytes that were published.
#[derive(Serialize)]
pub(super) struct Shown<'a> {
    id: &'a EventId,
    /// Counts the events of all tenants: none of them is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    topic: &'a Topic,
    tenant: Option<&'a Tenant>,
    key: Option<&'a str>,
    source: Option<&'a str>,
    timestamp: Timestamp,
    accepted_at: Timestamp,
    state: EventState,
    #[serde(skip_serializing_if = "is_zero")]
    suppressed: u64,
    data: Option<&'a RawValue>,
    metadata: Option<&'a RawValue>,
}

impl<'a> Shown<'a> {
    fn of(call: &Call, event: &'a Accepted, state: EventState) -> Self {
        Self {
            id: &event.id,
            seq: call.tenant().is_none().then_some(event.seq),
            topic: &event.topic,
            tenant: event.tenant.as_ref(),
            key: event.key.as_deref(),
            source: event.source.as_deref(),
            timestamp: event.timestamp,
            accepted_at: event.accepted_at,
            state,
            suppressed: event.suppressed,
            data: data(event),
            metadata: metadata(event),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The data of an event as it was published.
pub(super) fn data(event: &Accepted) -> Option<&RawValue> {
    serde_json::from_slice(&event.data).ok()
}

/// The metadata of an event; an empty object when it has none.
pub(super) fn metadata(event: &Accepted) -> Option<&RawValue> {
    serde_json::from_str(event.metadata.as_deref().unwrap_or("{}")).ok()
}

#[derive(Serialize)]
struct Detailed<'a> {
    #[serde(flatten)]
    event: Shown<'a>,
    deliveries: Vec<Delivery<'a>>,
}

#[derive(Serialize)]
pub(super) struct Delivery<'a> {
    id: String,
    endpoint: &'a crate::EndpointId,
    state: DeliveryState,
    reason: Option<&'a str>,
    attempts: u32,
    next_attempt_at: Option<Timestamp>,
    last_status: Option<u16>,
    last_error: Option<&'a str>,
}

pub(super) async fn list(call: Call) -> Answer {
    let mut query = Query::new(call.request.query_string());
    let state = query.choice("state", &STATES);
    let filter = EventFilter {
        topic: query.parse("topic"),
        tenant: query.parse("tenant"),
        within: call.tenant().cloned(),
        state: state.and_then(Result::ok),
        delivery: state.and_then(Result::err),
        since: query.parse("since"),
        until: query.parse("until"),
        limit: query.limit(),
        before: query.cursor(&call.cursors()),
    };
    query.done()?;
    call.expect_own(filter.tenant.as_ref())?;
    let List { items, next } = page(&call, filter).await?;
    ok(&List { items: items.iter().map(|row| Shown::of(&call, &row.event, row.state)).collect(), next })
}

async fn page(call: &Call, filter: EventFilter) -> Result<List<EventRow>, Problem> {
    let read = async |last: Option<&EventRow>, limit: usize| {
        let before = last.map(|row| row.event.seq).or(filter.before);
        call.hooks().store().events(EventFilter { before, limit, ..filter.clone() }).await
    };
    List::read(&call.cursors(), filter.limit, read, |row| row.event.weight(), |row| row.event.seq).await
}

/// The event that the path names, of the tenant that the query names.
pub(super) async fn find(call: &Call) -> Result<EventDetail, Problem> {
    let mut query = Query::new(call.request.query_string());
    let tenant: Option<Tenant> = query.parse("tenant");
    query.done()?;
    find_of(call, tenant).await
}

/// The same, once the query is read.
pub(super) async fn find_of(call: &Call, tenant: Option<Tenant>) -> Result<EventDetail, Problem> {
    let id: EventId = call.named("id", "event")?;
    let unknown = || Problem::not_found(format_args!("event {id}"));
    call.expect_own(tenant.as_ref()).map_err(|_| unknown())?;
    let found = call.hooks().store().event(call.tenant().cloned().or(tenant), id.clone()).await?;
    let mut found = found.ok_or_else(unknown)?;
    found.deliveries.retain(|delivery| call.may_see(delivery.of.as_ref()));
    Ok(found)
}

pub(super) async fn show(call: Call) -> Answer {
    let EventDetail { event, state, deliveries } = find(&call).await?;
    let event: Arc<Accepted> = event;
    let deliveries = deliveries.iter().map(|row| delivery(&call, Some(&event.id), row)).collect();
    ok(&Detailed { event: Shown::of(&call, &event, state), deliveries })
}

pub(super) fn delivery<'a>(call: &Call, event: Option<&EventId>, row: &'a DeliveryRow) -> Delivery<'a> {
    Delivery {
        id: call.name_of(row.id, event, &row.endpoint),
        endpoint: &row.endpoint,
        state: row.state,
        reason: row.reason.as_deref(),
        attempts: row.attempts,
        next_attempt_at: row.next_attempt_at,
        last_status: row.last_status,
        last_error: row.last_error.as_deref(),
    }
}

/// What is shown of every event.
fn schema() -> Value {
    json!({
        "id": text(),
        "seq": {"type": "integer", "minimum": 1, "description": "Not shown to tenants."},
        "topic": text(),
        "tenant": text_or_null(),
        "key": text_or_null(),
        "source": text_or_null(),
        "timestamp": moment(),
        "accepted_at": moment(),
        "state": {"enum": ["unrouted", "unmatched", "suppressed", "debouncing", "coalesced", "routed"]},
        "suppressed": count(),
        "data": anything(),
        "metadata": any_object(),
    })
}

pub(super) fn schemas(all: &mut Schemas) {
    let states = ["pending", "delivered", "dead_lettered", "dropped", "suppressed"];
    all.add(
        "Delivery",
        answer(
            &[],
            json!({
                "id": text(),
                "endpoint": text(),
                "state": {"enum": states},
                "reason": text_or_null(),
                "attempts": count(),
                "next_attempt_at": moment_or_null(),
                "last_status": status(),
                "last_error": text_or_null(),
            }),
        ),
    );
    all.add("Event", answer(&["seq", "suppressed"], schema()));
    let mut detail = schema();
    put(&mut detail, "deliveries", json!({"type": "array", "items": named("Delivery")}));
    all.add("EventDetail", answer(&["seq", "suppressed"], detail));
    all.add("EventList", list_of("Event"));
}
