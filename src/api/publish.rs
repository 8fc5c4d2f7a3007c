//! `POST /v1/events`

use actix_web::http::StatusCode;
use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use super::{
    body::Limit,
    call::{Answer, Call, json},
    cloud_events,
    envelope::{self, Published},
    ndjson,
    problem::{Kind, Problem},
    query::Query,
    schema::{Schemas, answer, anything, count, flag, id, moment_or_null, object, or_null, printed, put, topic},
    theirs,
};
use crate::{
    Acceptance, Event, EventId, Invalid, PublishError,
    event::{MAX_DATA_BYTES, MAX_METADATA_BYTES, MAX_NAME_BYTES, Tenant},
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
            take_over(&call, std::slice::from_mut(&mut event), |_| "#/tenant".to_owned())?;
            let accepted = call.hooks().publish(event).await.map_err(|error| format.refused(error))?;
            let Acceptance { id, seq, duplicate, durable, .. } = &accepted;
            json(
                StatusCode::ACCEPTED,
                &Receipt { id, seq: counted(&call, *seq), duplicate: *duplicate, durable: *durable },
            )
        }
        Published::Several(mut events) => {
            if tenant.is_some() {
                events.iter_mut().for_each(|event| event.tenant.clone_from(&tenant));
            }
            take_over(&call, &mut events, |index| format!("#/{index}/tenant"))?;
            several(&call, events, format).await
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

/// What became of one event.
#[derive(Serialize)]
struct Receipt<'a> {
    id: &'a EventId,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    duplicate: bool,
    durable: bool,
}

/// Seqs count the events of all tenants: none of them is told.
fn counted(call: &Call, seq: u64) -> Option<u64> {
    call.tenant().is_none().then_some(seq)
}

/// Makes events those of the caller's tenant.
///
/// # Errors
/// Forbidden: where they are said to be another's.
fn take_over(call: &Call, events: &mut [Event], place: impl Fn(usize) -> String) -> Result<(), Problem> {
    let Some(tenant) = call.tenant() else { return Ok(()) };
    let mut refused: Option<Problem> = None;
    for (index, event) in events.iter_mut().enumerate() {
        if event.tenant.as_deref().is_some_and(|given| given != tenant.as_str()) {
            let problem = refused.take().unwrap_or_else(|| theirs::others(tenant));
            refused = Some(problem.at(place(index), format!("must be {tenant}, as the token says, or left out")));
        }
        event.tenant = Some(tenant.to_string());
    }
    refused.map_or(Ok(()), Err)
}

async fn several(call: &Call, events: Vec<Event>, format: Format) -> Answer {
    let single = events.len() == 1;
    let accepted = call.hooks().publish_all(events).await.map_err(|error| in_array(format.refused(error), single))?;
    let new = || accepted.iter().filter(|one| !one.duplicate).map(|one| one.seq);
    let count = new().count();
    let durable = accepted.iter().all(|Acceptance { durable, .. }| *durable);
    let mut body = json!({"accepted": count, "duplicates": accepted.len() - count, "durable": durable});
    if call.tenant().is_none() {
        put(&mut body, "first_seq", json!(new().min()));
        put(&mut body, "last_seq", json!(new().max()));
    }
    json(StatusCode::ACCEPTED, &body)
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

pub(super) fn schemas(all: &mut Schemas) {
    let name = json!({"type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES});
    let event = json!({
        "topic": topic(),
        "data": anything(),
        "id": or_null(id()),
        "tenant": or_null(id()),
        "key": or_null(name.clone()),
        "source": or_null(name),
        "timestamp": moment_or_null(),
        "metadata": {"type": ["object", "null"]},
    });
    all.add("NewEvent", object(&["topic", "data"], event));
    // Extensions have names in lower case, and values that are no objects; `data_base64` is not taken.
    let text = printed(Some(MAX_NAME_BYTES));
    let cloud_event = json!({
        "specversion": {"enum": ["1.0"]},
        "type": topic(),
        "source": text.clone(),
        "id": printed(None),
        "subject": or_null(text),
        "time": moment_or_null(),
        "data": anything(),
    });
    let mut cloud_event = object(&["specversion", "type", "source", "id"], cloud_event);
    let kinds = ["string", "boolean", "integer", "null"];
    put(&mut cloud_event, "additionalProperties", json!({"type": kinds, "minimum": i64::MIN, "maximum": u64::MAX}));
    put(&mut cloud_event, "propertyNames", json!({"pattern": "^[a-z0-9]+$"}));
    all.add("CloudEvent", cloud_event);
    let receipt = json!({"id": id(), "seq": count(), "duplicate": flag(), "durable": flag()});
    all.add("Receipt", answer(&["seq"], receipt));
    let seq = json!({"type": ["integer", "null"]});
    let receipts = json!({
        "accepted": count(), "duplicates": count(), "first_seq": seq, "last_seq": seq, "durable": flag(),
    });
    all.add("Receipts", answer(&["first_seq", "last_seq"], receipts));
}
