//! `POST /v1/events/{id}/replay`, `POST /v1/endpoints/{id}/replay`

use actix_web::http::StatusCode;
use serde_json::{Value, json};

use super::{
    body::Limit,
    call::{Answer, Call, json, ok},
    events,
    jobs::started,
    problem::Problem,
    schema::{Schemas, answer, id, moment_or_null, object, or_null, replay_rate, text},
    selection::Selection,
};
use crate::{EndpointReplay, Only, endpoint::EndpointId, pipeline::REPLAY_RATE, store::DeliveryId};

const ONLY: [(&str, Only); 3] = [("failed", Only::Failed), ("missing", Only::Missing), ("all", Only::All)];
/// Longest body, in bytes.
const BODY: usize = 16 << 10;

/// A call may say nothing: then it may leave out its body.
async fn said(call: &Call) -> Result<Value, Problem> {
    if !call.content_type().is_empty() {
        return call.configuration(&["application/json"]).await;
    }
    let body = call.body_of_any_type(Limit { array: BODY, other: BODY }).await?;
    if body.bytes.is_empty() { Ok(json!({})) } else { call.configuration(&["application/json"]).await }
}

pub(super) async fn of_event(call: Call) -> Answer {
    let body = said(&call).await?;
    let mut asked = Selection::of(&body, "#");
    let endpoint: Option<EndpointId> = asked.parse("endpoint");
    asked.done(&["endpoint"])?;
    let event = events::find(&call).await?;
    let made = call.hooks().replay_event_within(call.tenant(), &event, endpoint.as_ref()).await?;
    let endpoints = call.endpoints();
    let name = |id: &DeliveryId| {
        let endpoint = endpoints.iter().find(|endpoint| endpoint.key == id.endpoint);
        endpoint.map(|endpoint| call.name_of(*id, Some(&event.event.id), &endpoint.id))
    };
    let deliveries: Vec<_> = made.iter().filter_map(name).collect();
    json(StatusCode::ACCEPTED, &json!({"deliveries": deliveries}))
}

pub(super) async fn of_endpoint(call: Call) -> Answer {
    let id: EndpointId = call.named("id", "endpoint")?;
    let body = said(&call).await?;
    let mut asked = Selection::of(&body, "#");
    let only = asked.choice("only", &ONLY).unwrap_or_default();
    let replay = EndpointReplay { only, since: asked.parse("since"), until: asked.parse("until") };
    let (rate, dry_run) = (asked.rate().unwrap_or(REPLAY_RATE), asked.flag("dry_run"));
    asked.done(&["since", "until", "only", "rate", "dry_run"])?;
    if dry_run {
        return ok(&json!({"matched": call.hooks().count_replay_within(call.tenant(), &id, replay).await?}));
    }
    started(&call, &call.hooks().replay_endpoint_within(call.tenant(), &id, replay, rate).await?)
}

pub(super) fn schemas(all: &mut Schemas) {
    all.add("EventReplay", object(&[], json!({"endpoint": or_null(id())})));
    let deliveries = json!({"type": "array", "items": text()});
    all.add("ReplayedEvent", answer(&[], json!({"deliveries": deliveries})));
    let replay = json!({
        "since": moment_or_null(),
        "until": moment_or_null(),
        "only": {"enum": ["failed", "missing", "all", null]},
        "rate": replay_rate(),
        "dry_run": {"type": ["boolean", "null"]},
    });
    all.add("EndpointReplay", object(&[], replay));
}
