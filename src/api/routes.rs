//! The one table of routes: method, path, what a caller needs, the handler, and what the OpenAPI document says of it. Nothing is
//! mounted that is not in it, and nothing can be put into it without these.

use std::sync::Arc;

use actix_web::web::{self, ServiceConfig};
use serde_json::{Value, json};

use super::{
    Shared,
    call::{Answer, Call},
    chains, dead_letters, deliveries, endpoints, events, health, history, jobs,
    json::MAX_EVENTS,
    metrics,
    mount::{Route, otherwise, resources},
    openapi::{self, Doc},
    problem::{Kind, Problem},
    publish, replays,
    rights::Need,
    rules,
    schema::{Schemas, any_object, anything, cursor, dead_reason, id, moment, named, text, topics},
    tokens, trials,
};
use crate::{metrics::text::CONTENT_TYPE, store::Scope};
use Kind::{
    ChainFailed, Conflict, Invalid, Malformed, NotFound, Overloaded, Stale, StoreFull, Timeout, TooLarge,
    UnsupportedMediaType,
};
use Need::{Either, Nothing, Own, Whole};
use Scope::{Admin, Metrics, Publish, Read, Replay};

/// A route and what is said of it.
pub(super) struct Operation {
    pub(super) route: Route,
    pub(super) doc: Doc,
}

/// What a body may be refused for.
const BODY: &[Kind] = &[Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout];
/// The same of a body that changes what has a version.
const CHANGE: &[Kind] = &[NotFound, Conflict, Stale, Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout];
/// What a call may be refused for that changes what has a version, without a body.
const SWITCH: &[Kind] = &[NotFound, Conflict, Stale];

const NDJSON: &str = "application/x-ndjson";
const CLOUD_EVENT: &str = "application/cloudevents+json";
const CLOUD_EVENTS: &str = "application/cloudevents-batch+json";
const PATCH: &str = "application/merge-patch+json";
const JSON: &str = "application/json";

/// Every route. With `open_metrics` the metrics need nothing.
#[rustfmt::skip]
pub(super) fn table(open_metrics: bool) -> Vec<Operation> {
    let metered = if open_metrics { Nothing } else { Whole(Metrics) };
    let is = |route, doc| Operation { route, doc };
    vec![
        is(Route::get("/healthz", Nothing, health::alive),
            Doc::new("getHealth", "Whether the process lives").answers(200, "Health")),
        is(Route::get("/readyz", Nothing, health::ready),
            Doc::new("getReadiness", "Whether events are taken in; if not, why").answers(200, "Health").answers(503, "Health")),
        is(Route::get("/metrics", metered, metrics::all),
            Doc::new("getMetrics", "Metrics for Prometheus").answers_as(200, CONTENT_TYPE, text()).refuses(&[Invalid])),
        is(Route::get("/metrics/endpoints", metered, metrics::endpoints),
            Doc::new("getEndpointMetrics", "The 100 sickest endpoints, for Prometheus")
                .answers_as(200, CONTENT_TYPE, text()).refuses(&[Invalid])),
        is(Route::get("/v1/openapi.json", Nothing, openapi::show),
            Doc::new("getDocument", "This document").answers_as(200, JSON, any_object()).refuses(&[Invalid])),

        is(Route::get("/v1/events", Own(Read), events::list),
            Doc::new("listEvents", "Events, newest first").query(page()).query(of_events())
                .query([("state", json!({"enum": events::STATES.map(|(name, _)| name)}))])
                .answers(200, "EventList").refuses(&[Invalid])),
        is(Route::post("/v1/events", Own(Publish), publish::publish).waited(),
            Doc::new("publishEvents", "Publish one event or several, all or none; durable when this is answered")
                .query([("tenant", id())])
                .body_as(JSON, json!({"anyOf": [named("NewEvent"), {"type": "array", "items": named("NewEvent"), "minItems": 1, "maxItems": MAX_EVENTS}]}))
                .body_as(NDJSON, named("NewEvent"))
                .body_as(CLOUD_EVENT, named("CloudEvent"))
                .body_as(CLOUD_EVENTS, json!({"type": "array", "items": named("CloudEvent"), "minItems": 1, "maxItems": MAX_EVENTS}))
                .answers_as(202, JSON, json!({"anyOf": [named("Receipt"), named("Receipts")]}))
                .refuses(&[Conflict, Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout, Overloaded, StoreFull])),
        is(Route::get("/v1/events/{id}", Own(Read), events::show),
            Doc::new("getEvent", "An event with its deliveries").query([("tenant", id())])
                .answers(200, "EventDetail").refuses(&[NotFound, Invalid])),
        is(Route::get("/v1/events/{id}/attempts", Own(Read), history::of_event),
            Doc::new("listEventAttempts", "Attempts of an event, oldest first").query(page()).query([("tenant", id())])
                .answers(200, "AttemptList").refuses(&[NotFound, Invalid])),
        is(Route::post("/v1/events/{id}/replay", Own(Replay), replays::of_event),
            Doc::new("replayEvent", "Deliver an event again, to all of its endpoints or one").query([("tenant", id())])
                .maybe_body("EventReplay").answers(202, "ReplayedEvent")
                .refuses(&[NotFound, Conflict, Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout])),

        is(Route::get("/v1/endpoints", Own(Read), endpoints::list),
            Doc::new("listEndpoints", "Endpoints, by id").query(page()).answers(200, "EndpointList").refuses(&[Invalid])),
        is(Route::post("/v1/endpoints", Own(Admin), endpoints::create),
            Doc::new("createEndpoint", "Make an endpoint; a generated secret is shown this once")
                .body("NewEndpoint").answers(201, "Endpoint")
                .refuses(&[Conflict, Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout])),
        is(Route::get("/v1/endpoints/{id}", Own(Read), endpoints::show),
            Doc::new("getEndpoint", "An endpoint; secrets are masked").answers(200, "Endpoint").refuses(&[NotFound])),
        is(Route::put("/v1/endpoints/{id}", Own(Admin), endpoints::replace),
            Doc::new("replaceEndpoint", "Replace an endpoint's settings, or make it")
                .body("NewEndpoint").answers(200, "Endpoint").answers(201, "Endpoint").refuses(CHANGE)),
        is(Route::patch("/v1/endpoints/{id}", Own(Admin), endpoints::patch),
            Doc::new("patchEndpoint", "Change some of an endpoint's settings (RFC 7396)")
                .body_as(PATCH, named("EndpointPatch")).body("EndpointPatch")
                .answers(200, "Endpoint").refuses(CHANGE)),
        is(Route::delete("/v1/endpoints/{id}", Own(Admin), endpoints::delete),
            Doc::new("deleteEndpoint", "Delete an endpoint; what waited for it is dropped").answers_nothing(204).refuses(SWITCH)),
        is(Route::post("/v1/endpoints/{id}/pause", Own(Admin), endpoints::pause),
            Doc::new("pauseEndpoint", "Hold what comes until it is resumed").answers(200, "Endpoint").refuses(SWITCH)),
        is(Route::post("/v1/endpoints/{id}/resume", Own(Admin), endpoints::resume),
            Doc::new("resumeEndpoint", "Deliver what was held").answers(200, "Endpoint").refuses(SWITCH)),
        is(Route::post("/v1/endpoints/{id}/disable", Own(Admin), endpoints::disable),
            Doc::new("disableEndpoint", "Drop what waits and what comes").answers(200, "Endpoint").refuses(SWITCH)),
        is(Route::post("/v1/endpoints/{id}/enable", Own(Admin), endpoints::enable),
            Doc::new("enableEndpoint", "Take events again").answers(200, "Endpoint").refuses(SWITCH)),
        is(Route::post("/v1/endpoints/{id}/rotate-secret", Own(Admin), endpoints::rotate_secret),
            Doc::new("rotateSecret", "Another signing secret, shown this once; the old ones sign too for a while")
                .maybe_body("SecretRotation").answers(200, "Endpoint").refuses(CHANGE)),
        is(Route::post("/v1/endpoints/{id}/test", Own(Admin), trials::test).waited(),
            Doc::new("testEndpoint", "Deliver a made-up event once and now, and tell what was answered, within 35 s")
                .maybe_body("Trial").answers(200, "TrialOutcome")
                .refuses(&[NotFound, Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout, Overloaded])),
        is(Route::get("/v1/endpoints/{id}/state", Own(Read), endpoints::state),
            Doc::new("getEndpointState", "How an endpoint stands").answers(200, "EndpointState").refuses(&[NotFound])),
        is(Route::get("/v1/endpoints/{id}/attempts", Own(Read), history::of_endpoint),
            Doc::new("listEndpointAttempts", "Attempts of an endpoint, newest event first").query(page())
                .answers(200, "AttemptList").refuses(&[NotFound, Invalid])),
        is(Route::get("/v1/endpoints/{id}/deliveries", Own(Read), deliveries::of_endpoint),
            Doc::new("listEndpointDeliveries", "Deliveries of an endpoint, newest event first").query(page())
                .query([("state", json!({"enum": deliveries::STATES.map(|(name, _)| name)}))])
                .answers(200, "DeliveryList").refuses(&[NotFound, Invalid])),
        is(Route::post("/v1/endpoints/{id}/replay", Own(Replay), replays::of_endpoint),
            Doc::new("replayEndpoint", "Deliver again what an endpoint missed: a job; with `dry_run` only count it")
                .maybe_body("EndpointReplay").answers(200, "Matched").answers(202, "JobStarted")
                .refuses(&[NotFound, Conflict, Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout, Overloaded])),

        is(Route::post("/v1/deliveries/cancel", Own(Admin), deliveries::cancel),
            Doc::new("cancelDeliveries", "Give up what waits").body("CancelRequest").answers(200, "Cancelled").refuses(BODY)),

        is(Route::get("/v1/dead-letters", Own(Read), dead_letters::list),
            Doc::new("listDeadLetters", "Dead letters, newest event first").query(page()).query(of_events())
                .query([("endpoint", id()), ("reason", dead_reason()), ("replayed", json!({"enum": ["true", "false"]}))])
                .answers(200, "DeadLetterList").refuses(&[Invalid])),
        is(Route::post("/v1/dead-letters/replay", Own(Replay), jobs::replay),
            Doc::new("replayDeadLetters", "Deliver many again: a job; with `dry_run` only count them")
                .body("ReplayRequest").answers(200, "Matched").answers(202, "JobStarted")
                .refuses(&[Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout, Overloaded])),
        is(Route::post("/v1/dead-letters/purge", Own(Admin), jobs::purge),
            Doc::new("purgeDeadLetters", "Forget many: a job; with `dry_run` only count them")
                .body("PurgeRequest").answers(200, "Matched").answers(202, "JobStarted")
                .refuses(&[Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout, Overloaded])),
        is(Route::get("/v1/dead-letters/{id}", Own(Read), dead_letters::show),
            Doc::new("getDeadLetter", "A dead letter with its event").answers(200, "DeadLetterDetail").refuses(&[NotFound])),
        is(Route::post("/v1/dead-letters/{id}/replay", Own(Replay), dead_letters::replay),
            Doc::new("replayDeadLetter", "Deliver one again").answers(202, "Replayed").refuses(&[NotFound, Conflict])),
        is(Route::get("/v1/jobs/{id}", Own(Read), jobs::show),
            Doc::new("getJob", "How a job stands").answers(200, "Job").refuses(&[NotFound])),
        is(Route::delete("/v1/jobs/{id}", Either([Replay, Admin]), jobs::cancel),
            Doc::new("cancelJob", "End a job, with the scope that starts its like: `admin` a purge, `replay` any other; what it has done stays done")
                .answers(200, "Job").refuses(&[NotFound])),

        is(Route::get("/v1/debounce-rules", Whole(Read), rules::list),
            Doc::new("listDebounceRules", "Debounce rules, by name").query(page())
                .answers(200, "DebounceRuleList").refuses(&[Invalid])),
        is(Route::get("/v1/debounce-rules/{name}", Whole(Read), rules::show),
            Doc::new("getDebounceRule", "A debounce rule").answers(200, "DebounceRule").refuses(&[NotFound])),
        is(Route::put("/v1/debounce-rules/{name}", Whole(Admin), rules::put),
            Doc::new("putDebounceRule", "Set a debounce rule; one that changes forgets its windows").body("NewDebounceRule")
                .answers(200, "DebounceRule").answers(201, "DebounceRule")
                .refuses(&[Conflict, Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout])),
        is(Route::delete("/v1/debounce-rules/{name}", Whole(Admin), rules::delete),
            Doc::new("deleteDebounceRule", "Delete a debounce rule; what it held passes")
                .answers_nothing(204).refuses(&[NotFound, Conflict])),

        is(Route::get("/v1/chains", Whole(Read), chains::list),
            Doc::new("listChains", "Chains, by event").query(page()).answers(200, "ChainList").refuses(&[Invalid])),
        is(Route::get("/v1/chains/{event}", Whole(Read), chains::show),
            Doc::new("getChain", "A chain; secrets are masked").answers(200, "Chain").refuses(&[NotFound])),
        is(Route::put("/v1/chains/{event}", Whole(Admin), chains::put),
            Doc::new("putChain", "Set a chain").body("NewChain").answers(200, "Chain").answers(201, "Chain")
                .refuses(&[Conflict, Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout])),
        is(Route::delete("/v1/chains/{event}", Whole(Admin), chains::delete),
            Doc::new("deleteChain", "Delete a chain and its endpoints").answers_nothing(204).refuses(&[NotFound, Conflict])),
        is(Route::post("/v1/chains/{event}/invoke", Whole(Publish), chains::invoke).waited(),
            Doc::new("invokeChain", "Run a chain; the body of its final response is the answer")
                .body_as(JSON, anything()).answers_as(200, JSON, anything()).answers_nothing(202)
                .refuses(&[NotFound, Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout, ChainFailed, Overloaded])),

        is(Route::get("/v1/tokens", Whole(Admin), tokens::list),
            Doc::new("listTokens", "Tokens, oldest first; never the tokens themselves").query(page())
                .answers(200, "TokenList").refuses(&[Invalid])),
        is(Route::post("/v1/tokens", Whole(Admin), tokens::create),
            Doc::new("createToken", "Make a token, shown this once").body("NewToken").answers(201, "MadeToken")
                .refuses(&[Conflict, Malformed, Invalid, TooLarge, UnsupportedMediaType, Timeout])),
        is(Route::delete("/v1/tokens/{id}", Whole(Admin), tokens::delete),
            Doc::new("deleteToken", "Delete a token: it opens nothing any more").answers_nothing(204).refuses(&[NotFound])),
        is(Route::get("/v1/stats", Whole(Read), health::stats),
            Doc::new("getStats", "The conservation sums").answers(200, "Stats").refuses(&[Invalid])),
    ]
}

/// The schemas that the table names.
pub(super) fn schemas(all: &mut Schemas) {
    health::schemas(all);
    events::schemas(all);
    publish::schemas(all);
    history::schemas(all);
    endpoints::schemas(all);
    trials::schemas(all);
    deliveries::schemas(all);
    dead_letters::schemas(all);
    jobs::schemas(all);
    replays::schemas(all);
    rules::schemas(all);
    chains::schemas(all);
    tokens::schemas(all);
}

/// The parameters of every list.
fn page() -> [(&'static str, Value); 2] {
    [("limit", json!({"type": "integer", "minimum": 1, "maximum": 250, "default": 50})), ("cursor", cursor())]
}

/// The parameters of lists of what is about events.
fn of_events() -> [(&'static str, Value); 4] {
    [("topic", topics()), ("tenant", id()), ("since", moment()), ("until", moment())]
}

const V1: &str = "/v1";

/// Adds everything to `config`. What no route matches is a problem too, in the scope that is configured.
pub(super) fn configure(config: &mut ServiceConfig, shared: &Arc<Shared>) {
    let routes = table(shared.open_metrics).into_iter().map(|operation| operation.route);
    let (v1, others): (Vec<_>, Vec<_>) = routes.partition(|route| route.path.starts_with(V1));
    for resource in resources(shared, others, "") {
        config.service(resource);
    }
    let scope = resources(shared, v1, V1).into_iter().fold(web::scope(V1), actix_web::Scope::service);
    config.service(scope.default_service(otherwise(shared, Need::Token, not_found)));
    config.default_service(otherwise(shared, Nothing, not_found));
}

async fn not_found(call: Call) -> Answer {
    Err(Problem::not_found(format_args!("the path {}", call.request.path())))
}
