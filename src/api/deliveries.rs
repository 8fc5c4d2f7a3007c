//! `POST /v1/deliveries/cancel`, `GET /v1/endpoints/{id}/deliveries`

use serde::Serialize;
use serde_json::json;

use super::{
    call::{Answer, Call, ok},
    events::{self, Delivery},
    list::List,
    query::Query,
    schema::{
        Schemas, answer, count, given, id, list_of, moment, moment_or_null, or_null, selects, status, text,
        text_or_null, topics,
    },
    selection::Selection,
};
use crate::{
    Timestamp,
    endpoint::EndpointId,
    event::{EventId, Topic},
    store::{CancelFilter, DeliveryFilter, DeliveryId, DeliveryState, ListedDelivery},
};

const NAMES: &[&str] = &["topic", "endpoint", "until", "dry_run", "all"];

pub(super) async fn cancel(call: Call) -> Answer {
    let body = call.configuration(&["application/json"]).await?;
    let mut selection = Selection::of(&body, "#");
    let filter = CancelFilter {
        endpoint: selection.endpoint(&call),
        within: call.tenant().cloned(),
        topic: selection.parse("topic"),
        until: selection.parse("until"),
    };
    let some = filter.endpoint.is_some() || filter.topic.is_some() || filter.until.is_some();
    let (dry_run, all) = (selection.flag("dry_run"), selection.flag("all"));
    selection.expect_some(some || all);
    selection.done(NAMES)?;
    let matched = match call.tenant() {
        None => call.hooks().cancel_deliveries(filter, dry_run).await?,
        Some(tenant) => call.hooks().cancel_deliveries_for(tenant, filter, dry_run).await?,
    };
    ok(&json!({"matched": matched, "cancelled": if dry_run { 0 } else { matched }}))
}

pub(super) const STATES: [(&str, DeliveryState); 5] = [
    ("pending", DeliveryState::Pending),
    ("delivered", DeliveryState::Delivered),
    ("dead_lettered", DeliveryState::DeadLettered),
    ("dropped", DeliveryState::Dropped),
    ("suppressed", DeliveryState::Suppressed),
];

/// A delivery with its event; `event` and `topic` as long as that is kept.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    delivery: Delivery<'a>,
    event: Option<&'a EventId>,
    /// Counts the events of all tenants: none of them is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    topic: Option<&'a Topic>,
    created_at: Timestamp,
}

/// The newest event first, and of each the newest run.
pub(super) async fn of_endpoint(call: Call) -> Answer {
    let id: EndpointId = call.named("id", "endpoint")?;
    let mut query = Query::new(call.request.query_string());
    let (state, limit) = (query.choice("state", &STATES), query.limit());
    let cursors = call.cursors();
    let before: Option<DeliveryId> = query.cursor(&cursors);
    query.done()?;
    let endpoint = call.endpoint(&id)?;
    let (within, before) = (call.tenant().cloned(), before.map(|id| (id.seq, id.run)));
    let filter = DeliveryFilter { endpoint: endpoint.key, state, within, before, limit: limit + 1 };
    let rows = call.hooks().store().deliveries(filter).await?;
    let List { items, next } = List::of(&cursors, rows, limit, |row| row.delivery.id)?;
    ok(&List { items: items.iter().map(|row| shown(&call, row)).collect(), next })
}

fn shown<'a>(call: &Call, row: &'a ListedDelivery) -> Shown<'a> {
    let ListedDelivery { delivery, event, topic, created_at } = row;
    Shown {
        delivery: events::delivery(call, event.as_ref(), delivery),
        event: event.as_ref(),
        seq: call.tenant().is_none().then_some(delivery.id.seq),
        topic: topic.as_ref(),
        created_at: *created_at,
    }
}

pub(super) fn schemas(all: &mut Schemas) {
    let request = json!({"topic": or_null(topics()), "endpoint": or_null(id()), "until": moment_or_null()});
    all.add("CancelRequest", selects(request, ["topic", "endpoint", "until"].map(given)));
    let listed = json!({
        "id": text(),
        "endpoint": text(),
        "state": {"enum": STATES.map(|(name, _)| name)},
        "reason": text_or_null(),
        "attempts": count(),
        "next_attempt_at": moment_or_null(),
        "last_status": status(),
        "last_error": text_or_null(),
        "event": text_or_null(),
        "seq": {"type": "integer", "minimum": 1, "description": "Not shown to tenants."},
        "topic": text_or_null(),
        "created_at": moment(),
    });
    all.add("ListedDelivery", answer(&["seq"], listed));
    all.add("DeliveryList", list_of("ListedDelivery"));
    all.add("Cancelled", answer(&[], json!({"matched": count(), "cancelled": count()})));
}
