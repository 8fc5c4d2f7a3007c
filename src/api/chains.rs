//! `/v1/chains`

use actix_web::{
    HttpResponse,
    http::{StatusCode, header::ContentType},
};
use serde_json::{Value, json};

use super::{
    body::Limit,
    call::{Answer, Call, json, located, ok},
    list::List,
    problem::Problem,
    query::Query,
    schema::{Schemas, answer, any_object, list_of, object, text, text_or_null},
};
use crate::{Chain, chain::ChainName, error::Invalid, event::MAX_DATA_BYTES};

pub(super) async fn list(call: Call) -> Answer {
    let mut query = Query::new(call.request.query_string());
    let cursors = call.cursors();
    let (limit, after) = (query.limit(), query.cursor::<ChainName>(&cursors));
    query.done()?;
    let mut chains = call.hooks().chain_list();
    chains.retain(|chain| after.as_ref().is_none_or(|after| chain.name() > after));
    ok(&List::of(&cursors, chains, limit, |chain| chain.name().clone())?.map(|chain| shown(&chain)))
}

pub(super) async fn show(call: Call) -> Answer {
    let name = decoded(call.segment("event"));
    let chain = call.hooks().chain(&name).ok_or_else(|| Problem::not_found(format_args!("chain {name}")))?;
    ok(&shown(&chain))
}

pub(super) async fn put(call: Call) -> Answer {
    let chain = call.configuration(&["application/json"]).await?;
    let name = decoded(call.segment("event")).parse::<ChainName>();
    let name = name.map_err(|error| Invalid::at("#/event", error.to_string()))?;
    let (chain, created) = call.hooks().put_chain(name, &chain).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let mut response = json(status, &shown(&chain))?;
    if created {
        located(&mut response, call.request.path());
    }
    Ok(response)
}

pub(super) async fn delete(call: Call) -> Answer {
    let name = decoded(call.segment("event"));
    let not_found = |_| Problem::not_found(format_args!("chain {name}"));
    call.hooks().delete_chain(&name.parse().map_err(not_found)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Ends when the client hangs up, as the library's call does when it is dropped.
pub(super) async fn invoke(call: Call) -> Answer {
    Query::new(call.request.query_string()).done()?;
    let name = decoded(call.segment("event"));
    let limit = Limit { array: MAX_DATA_BYTES, other: MAX_DATA_BYTES };
    let payload = call.body(&["application/json"], limit).await?.bytes;
    match call.hooks().chains().call(&name, payload).await? {
        None => Ok(HttpResponse::Accepted().finish()),
        Some(response) => {
            let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&response).is_ok();
            let kind = if is_json { ContentType::json() } else { ContentType::octet_stream() };
            Ok(HttpResponse::Ok().insert_header(kind).body(response))
        }
    }
}

fn shown(chain: &Chain) -> Value {
    let mut shown = json!({"event": chain.name(), "managed_by": chain.owner().as_str()});
    let mut plan = chain.plan().to_masked_json();
    let steps = plan.get_mut("steps").and_then(Value::as_array_mut).into_iter().flatten();
    for (place, (shown, step)) in steps.zip(chain.plan().steps()).enumerate() {
        if step.is_async() {
            shown["endpoint"] = json!(step.endpoint());
        } else {
            let (made, without_2xx) = chain.tally().attempts(place);
            shown["attempts_made"] = json!({"total": made, "without_2xx": without_2xx});
        }
    }
    if let (Value::Object(shown), Value::Object(plan)) = (&mut shown, plan) {
        shown.extend(plan);
        shown.insert("invocations".to_owned(), json!(chain.tally().invocations()));
    }
    shown
}

/// A segment of a path with what is left of its percent-encoding (RFC 3986) undone: events may hold any character.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *byte == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        let code =
            digits.filter(|digits| !digits.starts_with('+')).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(*byte));
        rest = after.get(if code.is_some() { 2.. } else { 0.. }).unwrap_or_default();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

pub(super) fn schemas(all: &mut Schemas) {
    let steps = json!({"type": "array", "items": any_object()});
    let new = json!({"deadline": text_or_null(), "steps": steps});
    all.add("NewChain", json!({"anyOf": [steps, object(&["steps"], new)]}));
    let shown = json!({
        "event": text(),
        "managed_by": {"enum": ["api", "code", "file"]},
        "deadline": text_or_null(),
        "steps": steps,
        "invocations": any_object(),
    });
    all.add("Chain", answer(&["deadline"], shown));
    all.add("ChainList", list_of("Chain"));
}

#[cfg(test)]
mod tests {
    use super::decoded;

    #[test]
    fn percent_encoding_is_undone_once() {
        for (segment, event) in
            [("a%2Fb", "a/b"), ("a%252Fb", "a%2Fb"), ("100%", "100%"), ("%+1", "%+1"), ("%C3%A9", "é")]
        {
            assert_eq!(decoded(segment), event);
        }
    }
}
