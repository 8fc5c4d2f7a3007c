//! `POST /v1/events`

use actix_web::http::StatusCode;
use serde_json::json;

use super::{
    body::Limit,
    call::{Answer, Call, json},
    envelope::{self, Published},
    problem::Problem,
};
use crate::{
    Acceptance, Event, Hookmill, PublishError,
    event::{MAX_DATA_BYTES, MAX_METADATA_BYTES},
};

/// An event's data and everything around it, in bytes; an array of events.
const LIMIT: Limit = Limit { array: 16 << 20, other: MAX_DATA_BYTES + MAX_METADATA_BYTES + (48 << 10) };

pub(super) async fn publish(call: Call) -> Answer {
    let body = call.body(&["application/json"], LIMIT).await?;
    let published = envelope::read(&body.bytes, call.hooks().clock().now().wall)?;
    match published {
        Published::One(event) => json(StatusCode::ACCEPTED, &call.hooks().publish(event).await?),
        Published::Several(events) => several(call.hooks(), events).await,
    }
}

async fn several(hooks: &Hookmill, events: Vec<Event>) -> Answer {
    let single = events.len() == 1;
    let accepted = hooks.publish_all(events).await.map_err(|error| in_array(error, single))?;
    let new = || accepted.iter().filter(|one| !one.duplicate).map(|one| one.seq);
    let count = new().count();
    let durable = accepted.iter().all(|Acceptance { durable, .. }| *durable);
    json(
        StatusCode::ACCEPTED,
        &json!({
            "accepted": count,
            "duplicates": accepted.len() - count,
            "first_seq": new().min(),
            "last_seq": new().max(),
            "durable": durable,
        }),
    )
}

/// Places count from the array, also when it holds a single event.
fn in_array(error: PublishError, single: bool) -> Problem {
    match error {
        PublishError::Invalid(invalid) if single => invalid.below("/0").into(),
        PublishError::Conflict { index, .. } => {
            let detail = "is taken by an event with another topic, key or data";
            Problem::from(error).at(format!("#/{index}/id"), detail)
        }
        error => error.into(),
    }
}
