//! `/v1/endpoints`

use actix_web::{
    HttpResponse,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};
use serde_json::{Map, Value, json};

use super::{
    body::Limit,
    call::{Answer, Call, json, located, ok},
    health::{dead_letter_totals, delivery_totals},
    list::List,
    problem::{Kind, Problem},
    query::Query,
    schema::{
        Schemas, answer, count, duration, flag, id, list_of, moment, moment_or_null, object, or_null, text,
        text_or_null,
    },
};
use crate::{
    Hookmill,
    deliver::{breaker::Shown, machine::Snapshot},
    endpoint::{Endpoint, EndpointId, SecretRotation, Settings, settings::limits},
    error::{Fault, Invalid},
    event::NameError,
    pipeline::{Changed, Standing, Switch},
};

const JSON: &[&str] = &["application/json"];
const PATCH: &[&str] = &["application/merge-patch+json", "application/json"];

pub(super) async fn list(call: Call) -> Answer {
    let mut query = Query::new(call.request.query_string());
    let cursors = call.cursors();
    let (limit, after) = (query.limit(), query.cursor::<EndpointId>(&cursors));
    query.done()?;
    let mut endpoints = call.endpoints();
    endpoints.retain(|endpoint| after.as_ref().is_none_or(|after| endpoint.id > *after));
    let page = List::of(&cursors, endpoints, limit, |endpoint| endpoint.id.clone())?;
    ok(&page.map(|endpoint| shown(call.hooks(), &endpoint)))
}

pub(super) async fn show(call: Call) -> Answer {
    let endpoint = call.endpoint(&call.named("id", "endpoint")?)?;
    tagged(ok(&shown(call.hooks(), &endpoint)), &endpoint)
}

pub(super) async fn create(call: Call) -> Answer {
    let mut body = call.configuration(JSON).await?;
    let hooks = call.hooks();
    let id = given_id(&mut body).map_err(|fault| with_other_faults(fault, &call, &body))?;
    let endpoint = match call.tenant() {
        None => hooks.create_endpoint(id, &body).await?,
        Some(_) if id.is_some() => {
            let fault = Fault::new("#/id", "is not a tenant's to choose: leave it out");
            return Err(with_other_faults(fault, &call, &body));
        }
        Some(tenant) => hooks.create_endpoint_for(tenant, &body).await?,
    };
    let place = format!("{}/{}", call.request.path().trim_end_matches('/'), endpoint.id);
    created(hooks, &endpoint, !brings_secret(&body), &place)
}

pub(super) async fn replace(call: Call) -> Answer {
    let mut body = call.configuration(JSON).await?;
    let hooks = call.hooks();
    let id: EndpointId = call.new_name("id")?;
    if call.tenant().is_some() {
        call.endpoint(&id)?;
    }
    let given = given_id(&mut body).map_err(|fault| with_other_faults(fault, &call, &body))?;
    if given.is_some_and(|given| given != id) {
        let fault = Fault::new("#/id", format!("must be {id}, as in the path, or left out"));
        return Err(with_other_faults(fault, &call, &body));
    }
    let version = expected_version(&call, &id)?;
    let made = match call.tenant() {
        None => hooks.replace_found(id, &body, version).await?,
        Some(tenant) => hooks.replace_endpoint_for(tenant, &id, &body, version).await?,
    };
    changed(&call, &made, brings_secret(&body))
}

pub(super) async fn patch(call: Call) -> Answer {
    let body = call.configuration(PATCH).await?;
    let hooks = call.hooks();
    let id: EndpointId = call.named("id", "endpoint")?;
    let version = expected_version(&call, &id)?;
    let made = match call.tenant() {
        None => hooks.patch_found(&id, &body, version).await?,
        Some(tenant) => hooks.patch_endpoint_for(tenant, &id, &body, version).await?,
    };
    changed(&call, &made, brings_secret(&body))
}

/// The endpoint after a change, or made by it: with its secret if this change made that, and with the names of what another origin has cleared.
fn changed(call: &Call, Changed { old, new: endpoint }: &Changed, brought: bool) -> Answer {
    let hooks = call.hooks();
    let Some(old) = old else { return created(hooks, endpoint, !brought, call.request.path()) };
    let secret = |endpoint: &Endpoint| endpoint.settings.signing.reveal();
    let reveal = secret(endpoint) != secret(old) && !brought;
    let mut body = revealed(hooks, endpoint, reveal);
    let cleared = endpoint.settings.cleared_from(&old.settings);
    if let (false, Value::Object(members)) = (cleared.is_empty(), &mut body) {
        members.insert("cleared".to_owned(), cleared.into());
    }
    tagged(ok(&body), endpoint)
}

/// `{"overlap", "secret"}`; no body at all stands for the usual. The new secret is shown unless it was brought.
pub(super) async fn rotate_secret(call: Call) -> Answer {
    let id: EndpointId = call.named("id", "endpoint")?;
    if call.tenant().is_some() {
        call.endpoint(&id)?;
    }
    let rotation = match call.content_type().as_str() {
        "" => {
            let body = call.body_of_any_type(Limit { array: 0, other: 0 }).await?;
            drop(body);
            SecretRotation::new()
        }
        _ => SecretRotation::parse(&call.configuration(JSON).await?)?,
    };
    let version = expected_version(&call, &id)?;
    let endpoint = match call.tenant() {
        None => call.hooks().rotate_secret(&id, &rotation, version).await?,
        Some(tenant) => call.hooks().rotate_secret_for(tenant, &id, &rotation, version).await?,
    };
    tagged(ok(&revealed(call.hooks(), &endpoint, !rotation.brings_secret())), &endpoint)
}

pub(super) async fn delete(call: Call) -> Answer {
    let id: EndpointId = call.named("id", "endpoint")?;
    let version = expected_version(&call, &id)?;
    match call.tenant() {
        None => call.hooks().delete_endpoint(&id, version).await?,
        Some(tenant) => call.hooks().delete_endpoint_for(tenant, &id, version).await?,
    }
    Ok(HttpResponse::NoContent().finish())
}

macro_rules! switches {
    ($($name:ident: $switch:expr;)*) => {$(
        pub(super) async fn $name(call: Call) -> Answer {
            switch(&call, $switch).await
        }
    )*};
}

switches! {
    pause: Switch::Pause;
    resume: Switch::Resume;
    disable: Switch::Disable;
    enable: Switch::Enable;
}

async fn switch(call: &Call, switch: Switch) -> Answer {
    let id: EndpointId = call.named("id", "endpoint")?;
    let version = expected_version(call, &id)?;
    let endpoint = match call.tenant() {
        None => call.hooks().switch_endpoint(&id, switch, version).await?,
        Some(tenant) => call.hooks().switch_endpoint_for(tenant, &id, switch, version).await?,
    };
    tagged(ok(&shown(call.hooks(), &endpoint)), &endpoint)
}

pub(super) async fn state(call: Call) -> Answer {
    let id: EndpointId = call.named("id", "endpoint")?;
    let stands = match call.tenant() {
        None => call.hooks().standing(&id).await?,
        Some(tenant) => call.hooks().standing_for(tenant, &id).await?,
    };
    ok(&standing(&stands))
}

fn standing(standing: &Standing) -> Value {
    let Standing { endpoint, delivery, totals, oldest_pending_at } = standing;
    let at = |read: fn(&Snapshot) -> Option<crate::Timestamp>| delivery.as_ref().and_then(read);
    json!({
        "id": endpoint.id,
        "state": endpoint.settings.to_masked_json().get("state"),
        "state_since": endpoint.state_since,
        "state_reason": endpoint.state_reason,
        "breaker": delivery.as_ref().map_or(Shown::Closed, |delivery| delivery.breaker),
        "breaker_open_until": at(|delivery| delivery.breaker_open_until),
        "breaker_since": at(|delivery| delivery.breaker_since),
        "in_flight": totals.in_flight,
        "pending": totals.pending,
        "oldest_pending_at": oldest_pending_at,
        "failing_since": at(|delivery| delivery.failing_since),
        "last_success_at": at(|delivery| delivery.last_success_at),
        "next_attempt_at": at(|delivery| delivery.next_attempt_at),
        "window": {
            "fresh": delivery.as_ref().map_or(0, |delivery| delivery.window_fresh),
            "retries": delivery.as_ref().map_or(0, |delivery| delivery.window_retries),
            "more_in_store": delivery.as_ref().is_some_and(|delivery| delivery.more_in_store),
        },
        "totals": totals,
        "dead_letters": totals.dead_letters,
    })
}

/// Takes `id` out of the settings it stands among.
fn given_id(body: &mut Value) -> Result<Option<EndpointId>, Fault> {
    match body.as_object_mut().and_then(|members| members.remove("id")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id)) => {
            id.parse().map(Some).map_err(|error: NameError| Fault::new("#/id", error.to_string()))
        }
        Some(_) => Err(Fault::new("#/id", "must be a string")),
    }
}

/// A mistake in the id, and those in the settings with it.
fn with_other_faults(fault: Fault, call: &Call, settings: &Value) -> Problem {
    let mut faults = vec![fault];
    let check = |tenant| call.hooks().check_endpoint_for(tenant, settings);
    if let Err(invalid) = call.tenant().map_or_else(|| call.hooks().check_endpoint(settings), check) {
        faults.extend(Vec::from(invalid));
    }
    match Invalid::unless_empty(faults) {
        Err(invalid) => invalid.into(),
        Ok(()) => Problem::new(Kind::Invalid, "the id is wrong"),
    }
}

/// The version that `If-Match` asks for. `*` asks for any, as long as the endpoint exists.
fn expected_version(call: &Call, id: &EndpointId) -> Result<Option<u64>, Problem> {
    let Some(given) = call.request.headers().get(header::IF_MATCH) else { return Ok(None) };
    let exists = call.known_endpoint(id).is_some();
    let stale = || Problem::new(Kind::Stale, "`If-Match` names no present version; send the `ETag` of the endpoint");
    let tag = given.to_str().map_err(|_| stale())?.trim();
    if !exists && call.tenant().is_some() {
        return Ok(None);
    }
    if !exists {
        return Err(stale());
    }
    if tag == "*" {
        return Ok(None);
    }
    let version = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    version.map(Some).ok_or_else(stale)
}

/// Whether `settings` bring a secret of their own; one that is not brought is generated.
fn brings_secret(settings: &Value) -> bool {
    let given = |place| settings.pointer(place).is_some_and(|value| !value.is_null() && *value != json!([]));
    given("/secret") || given("/signing/secrets") || given("/signing/secret")
}

fn created(hooks: &Hookmill, endpoint: &Endpoint, reveal: bool, place: &str) -> Answer {
    let mut response = json(StatusCode::CREATED, &revealed(hooks, endpoint, reveal))?;
    located(&mut response, place);
    tagged(Ok(response), endpoint)
}

fn tagged(answer: Answer, endpoint: &Endpoint) -> Answer {
    let mut response = answer?;
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", endpoint.version)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

/// The endpoint as it is shown; with `reveal`, its secret in clear: the only time.
fn revealed(hooks: &Hookmill, endpoint: &Endpoint, reveal: bool) -> Value {
    let mut body = shown(hooks, endpoint);
    if let (true, Some(secret), Value::Object(members)) = (reveal, endpoint.settings.signing.reveal(), &mut body) {
        members.insert("secret".to_owned(), secret.into());
    }
    body
}

fn shown(hooks: &Hookmill, endpoint: &Endpoint) -> Value {
    let managed_by = hooks.endpoint_owner(&endpoint.id).as_str();
    let own = [
        ("id", json!(endpoint.id)),
        ("version", json!(endpoint.version)),
        ("created_at", json!(endpoint.created_at)),
        ("updated_at", json!(endpoint.updated_at)),
        ("state_since", json!(endpoint.state_since)),
        ("state_reason", json!(endpoint.state_reason)),
        ("managed_by", json!(managed_by)),
    ];
    let mut members: Map<_, _> = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if let Value::Object(settings) = endpoint.settings.to_masked_json() {
        members.extend(settings);
    }
    Value::Object(members)
}

pub(super) fn schemas(all: &mut Schemas) {
    let settings = Settings::json_schema();
    let mut members = settings.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
    all.add("EndpointPatch", settings);
    let mut new = members.clone();
    new.insert("id".to_owned(), or_null(id()));
    all.add("NewEndpoint", object(&[], new.into()));
    let own = json!({
        "id": text(),
        "version": count(),
        "created_at": moment(),
        "updated_at": moment(),
        "state_since": moment(),
        "state_reason": text_or_null(),
        "managed_by": {"enum": ["api", "code", "file", "chain"]},
    });
    let Value::Object(own) = own else { return };
    // What is shown and never written.
    members.insert("cleared".to_owned(), json!({"type": "array", "items": text()}));
    if let Some(Value::Object(signing)) = members.get_mut("signing").and_then(|signing| signing.get_mut("properties")) {
        signing.insert("public_keys".to_owned(), json!({"type": "array", "items": text()}));
    }
    all.add(
        "SecretRotation",
        object(
            &[],
            json!({
                "overlap": or_null(duration(&limits::OVERLAP)),
                "secret": {"type": ["string", "null"], "minLength": 1, "maxLength": limits::MAX_TEXT_SECRET_BYTES},
            }),
        ),
    );
    let always: Vec<_> = own.keys().map(String::as_str).collect();
    all.add("Endpoint", object(&always, own.clone().into_iter().chain(members).collect::<Map<_, _>>().into()));
    all.add("EndpointList", list_of("Endpoint"));
    let window = answer(&[], json!({"fresh": count(), "retries": count(), "more_in_store": flag()}));
    let state = json!({
        "id": text(),
        "state": {"enum": ["active", "paused", "disabled"]},
        "state_since": moment(),
        "state_reason": text_or_null(),
        "breaker": {"enum": ["closed", "open", "half_open"]},
        "breaker_open_until": moment_or_null(),
        "breaker_since": moment_or_null(),
        "in_flight": count(),
        "pending": count(),
        "oldest_pending_at": moment_or_null(),
        "failing_since": moment_or_null(),
        "last_success_at": moment_or_null(),
        "next_attempt_at": moment_or_null(),
        "window": window,
        "totals": delivery_totals(),
        "dead_letters": dead_letter_totals(),
    });
    all.add("EndpointState", answer(&[], state));
}
