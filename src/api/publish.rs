//! `POST /v1/events`

use actix_web::http::StatusCode;
use bytes::Bytes;
use serde_json::json;

use super::{
    body::Limit,
    call::{Answer, Call, json},
    cloud_events,
    envelope::{self, Published},
    ndjson,
    problem::{Kind, Problem},
    query::Query,
};
use crate::{
    Acceptance, Event, Hookmill, Invalid, PublishError,
    event::{MAX_DATA_BYTES, MAX_METADATA_BYTES, Tenant},
};

/// An event's data and everything around it, in bytes; many events.
const ONE: usize = MAX_DATA_BYTES + MAX_METADATA_BYTES + (48 << 10);
const MANY: usize = 16 << 20;

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// One of ours, or an array of them.
    Json,
    Lines,
    CloudEvent,
    CloudEvents,
    /// A CloudEvent in the headers.
    Binary,
}

impl Format {
    fn of(call: &Call) -> Result<Self, Problem> {
        let (kind, binary) = (call.content_type(), cloud_events::is_binary(call.request.headers()));
        let is_json = kind == "application/json" || kind.ends_with("+json");
        match kind.as_str() {
            "application/cloudevents+json" => Ok(Self::CloudEvent),
            "application/cloudevents-batch+json" => Ok(Self::CloudEvents),
            _ if binary && (is_json || kind.is_empty()) => Ok(Self::Binary),
            "application/json" => Ok(Self::Json),
            "application/x-ndjson" if !binary => Ok(Self::Lines),
            _ => Err(Problem::new(
                Kind::UnsupportedMediaType,
                "send application/json, application/x-ndjson, application/cloudevents+json, \
                 application/cloudevents-batch+json, or JSON with `ce-` headers",
            )),
        }
    }

    fn limit(self) -> Limit {
        match self {
            Self::Json | Self::CloudEvents => Limit { array: MANY, other: ONE },
            Self::Lines => Limit { array: MANY, other: MANY },
            Self::CloudEvent | Self::Binary => Limit { array: ONE, other: ONE },
        }
    }

    /// Whether events are named by the standard, and told whose they are by the query.
    fn is_cloud_event(self) -> bool {
        !matches!(self, Self::Json | Self::Lines)
    }

    fn read(self, call: &Call, body: &Bytes) -> Result<Published, Problem> {
        let now = call.hooks().clock().now().wall;
        match self {
            Self::Json => envelope::read(body, now),
            Self::Lines => ndjson::read(body, now).map(Published::Several),
            Self::CloudEvent => cloud_events::structured(body).map(Published::One),
            Self::CloudEvents => cloud_events::batch(body).map(Published::Several),
            Self::Binary => {
                let headers = call.request.headers();
                cloud_events::binary(headers, &call.content_type(), body).map(Published::One)
            }
        }
    }

    /// Names mistakes as the publisher does.
    fn refused(self, error: PublishError) -> PublishError {
        match error {
            PublishError::Invalid(invalid) if self.is_cloud_event() => {
                PublishError::Invalid(cloud_events::in_their_names(invalid))
            }
            error => error,
        }
    }
}

pub(super) async fn publish(call: Call) -> Answer {
    let format = Format::of(&call)?;
    let tenant = tenant(&call, format)?;
    let body = call.body_of_any_type(format.limit()).await?;
    match format.read(&call, &body.bytes)? {
        Published::One(mut event) => {
            event.tenant = tenant.or(event.tenant);
            let accepted = call.hooks().publish(event).await.map_err(|error| format.refused(error))?;
            json(StatusCode::ACCEPTED, &accepted)
        }
        Published::Several(mut events) => {
            if tenant.is_some() {
                events.iter_mut().for_each(|event| event.tenant.clone_from(&tenant));
            }
            several(call.hooks(), events, format).await
        }
    }
}

/// Whose the events are, where the format has no place to say it.
fn tenant(call: &Call, format: Format) -> Result<Option<String>, Invalid> {
    let mut query = Query::new(call.request.query_string());
    let tenant: Option<Tenant> = if format.is_cloud_event() { query.parse("tenant") } else { None };
    query.done()?;
    Ok(tenant.map(|tenant| tenant.to_string()))
}

async fn several(hooks: &Hookmill, events: Vec<Event>, format: Format) -> Answer {
    let single = events.len() == 1;
    let accepted = hooks.publish_all(events).await.map_err(|error| in_array(format.refused(error), single))?;
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
