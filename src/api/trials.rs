//! `POST /v1/endpoints/{id}/test`

use bytes::Bytes;
use serde_json::json;

use super::{
    body::Limit,
    call::{Answer, Call, ok},
    envelope::syntax,
    json::{Members, text},
    problem::{Kind, Problem},
    schema::{Schemas, answer, anything, count, object, or_null, status, text_or_null, topic},
};
use crate::{
    endpoint::EndpointId,
    error::{Fault, Invalid},
    event::MAX_DATA_BYTES,
    pipeline::{Tested, Trial},
    transport::{Reply, peer_of},
};

const LIMIT: usize = MAX_DATA_BYTES + (4 << 10);

pub(super) async fn test(call: Call) -> Answer {
    let id: EndpointId = call.named("id", "endpoint")?;
    let kind = call.content_type();
    let body = call.body_of_any_type(Limit { array: LIMIT, other: LIMIT }).await?;
    if !body.bytes.is_empty() && kind != "application/json" {
        return Err(Problem::new(Kind::UnsupportedMediaType, "send application/json, or no body"));
    }
    call.endpoint(&id)?;
    let trial = trial(&body.bytes)?;
    drop(body);
    let Tested { delivered, answer, duration, .. } = call.hooks().test_endpoint(&id, trial).await?;
    let (response, failure) = (answer.as_ref().ok().and_then(Reply::response), answer.as_ref().err());
    let seen = call.may_read_answer_of(peer_of(&answer));
    let error = failure.map(|failure| failure.detail.clone());
    ok(&json!({
        "outcome": if delivered { "delivered" } else { "failed" },
        "status": response.map(|response| response.status),
        "duration_ms": duration.as_millis(),
        "error": error.or_else(|| response.filter(|_| !delivered).map(|response| format!("answered {}", response.status))),
        "response": response.filter(|_| seen).map(|response| String::from_utf8_lossy(&response.body)),
    }))
}

/// What is to be delivered: `{topic?, data?}`, or nothing.
fn trial(body: &Bytes) -> Result<Trial, Problem> {
    let mut trial = Trial::default();
    if body.is_empty() {
        return Ok(trial);
    }
    let not_object = |_| Problem::from(Invalid::at("#", "must be an object"));
    let whole: &serde_json::value::RawValue = syntax(text(body)?)?;
    let Members(members) = serde_json::from_str(whole.get()).map_err(not_object)?;
    let mut faults = Vec::new();
    for (name, value) in members {
        let place = super::json::below("#", &name);
        match name.as_ref() {
            "topic" if trial.topic.is_none() => match serde_json::from_str(value.get()) {
                Ok(topic) => trial.topic = topic,
                Err(_) => faults.push(Fault::new(place, "must be a string")),
            },
            // Copied: what is sent must not hold the body in memory.
            "data" if trial.data.is_none() => trial.data = Some(Bytes::copy_from_slice(value.get().as_bytes())),
            "topic" | "data" => faults.push(Fault::new(place, "is given twice")),
            _ => faults.push(Fault::new(place, "is not known here: a test takes `topic` and `data`")),
        }
    }
    Invalid::unless_empty(faults)?;
    Ok(trial)
}

pub(super) fn schemas(all: &mut Schemas) {
    all.add("Trial", object(&[], json!({"topic": or_null(topic()), "data": anything()})));
    let outcome = json!({
        "outcome": {"enum": ["delivered", "failed"]},
        "status": status(),
        "duration_ms": count(),
        "error": text_or_null(),
        "response": text_or_null(),
    });
    all.add("TrialOutcome", answer(&[], outcome));
}
