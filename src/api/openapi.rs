//! `GET /v1/openapi.json`: the OpenAPI 3.1 document, written from the table of routes. It holds nothing secret, is the same on
//! every server of a version, and is open to everybody.

use actix_web::{HttpResponse, http::header::ContentType};
use serde_json::{Map, Value, json};

use super::{
    call::{Answer, Call},
    problem::{self, Kind},
    query::Query,
    rights::Need,
    routes::{self, Operation},
    schema::{Schemas, id, named, put},
};
use crate::{chain, store::Scope};

/// What the document says of an operation beside its path and what it needs.
pub(super) struct Doc {
    /// Names the operation: clients are generated from it.
    id: &'static str,
    summary: &'static str,
    query: Vec<(&'static str, Value)>,
    /// Content types, and the schema.
    body: Vec<(&'static str, Value)>,
    body_required: bool,
    answers: Vec<(u16, Option<(&'static str, Value)>)>,
    problems: &'static [Kind],
}

const JSON: &str = "application/json";

impl Doc {
    pub(super) fn new(id: &'static str, summary: &'static str) -> Self {
        let (query, body, answers) = (Vec::new(), Vec::new(), Vec::new());
        Self { id, summary, query, body, body_required: true, answers, problems: &[] }
    }

    /// Adds query parameters.
    pub(super) fn query(mut self, parameters: impl IntoIterator<Item = (&'static str, Value)>) -> Self {
        self.query.extend(parameters);
        self
    }

    /// A JSON body of this schema.
    pub(super) fn body(self, schema: &str) -> Self {
        self.body_as(JSON, named(schema))
    }

    /// A body of this content type; several may be.
    pub(super) fn body_as(mut self, kind: &'static str, schema: Value) -> Self {
        self.body.push((kind, schema));
        self
    }

    /// A JSON body of this schema, or none.
    pub(super) fn maybe_body(self, schema: &str) -> Self {
        Self { body_required: false, ..self.body(schema) }
    }

    /// An answer with JSON of this schema.
    pub(super) fn answers(self, status: u16, schema: &str) -> Self {
        self.answers_as(status, JSON, named(schema))
    }

    pub(super) fn answers_as(mut self, status: u16, kind: &'static str, schema: Value) -> Self {
        self.answers.push((status, Some((kind, schema))));
        self
    }

    /// An answer without a body.
    pub(super) fn answers_nothing(mut self, status: u16) -> Self {
        self.answers.push((status, None));
        self
    }

    /// What it refuses beside what every operation does.
    pub(super) fn refuses(self, problems: &'static [Kind]) -> Self {
        Self { problems, ..self }
    }
}

pub(super) async fn show(call: Call) -> Answer {
    Query::new(call.request.query_string()).done()?;
    let path = call.request.path();
    let root = path.strip_suffix("/v1/openapi.json").filter(|root| !root.is_empty()).unwrap_or("/");
    let body = call.shared.document.get_or_init(|| document(call.shared.open_metrics, root).to_string());
    Ok(HttpResponse::Ok().insert_header(ContentType::json()).body(body.clone()))
}

/// The document of an API that is mounted at `root`.
pub(super) fn document(open_metrics: bool, root: &str) -> Value {
    let mut paths = Map::new();
    for operation in routes::table(open_metrics) {
        let path = paths.entry(operation.route.path).or_insert_with(|| path_item(operation.route.path));
        if let Some(path) = path.as_object_mut() {
            path.insert(operation.route.method.as_str().to_ascii_lowercase(), shown(&operation));
        }
    }
    let scopes: Map<_, _> = Scope::ALL.into_iter().map(|scope| (scope.to_string(), about(scope).into())).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Hookmill",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Durable webhook dispatcher. Every error is a problem (RFC 9457). A list answers `next`, the \
                `cursor` of the next page, or null: it goes on from there whatever was deleted meanwhile, in the same list and for \
                the same tenant. A tenant's token sees and changes what is its tenant's alone: it is shown \
                no `seq`, and its deliveries have names of its own.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": root}],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {"token": {
                "type": "http",
                "scheme": "bearer",
                "description": "The admin token, or one of `POST /v1/tokens` with the scope that the operation names; \
                    of several, with that which its summary says.",
                "x-scopes": scopes,
            }},
            "responses": {"Problem": {
                "description": "A problem: see its `type`.",
                "content": {"application/problem+json": {"schema": named("Problem")}},
            }},
        },
    })
}

fn about(scope: Scope) -> &'static str {
    match scope {
        Scope::Publish => "publish events, invoke chains",
        Scope::Read => "look at everything but metrics and tokens",
        Scope::Replay => "deliver dead letters again",
        Scope::Metrics => "read the metrics",
        Scope::Admin => "change what is configured, cancel and purge, manage tokens",
    }
}

fn schemas() -> Value {
    let mut all = Schemas::default();
    problem::schemas(&mut all);
    routes::schemas(&mut all);
    all.into_value()
}

fn path_item(path: &str) -> Value {
    let names = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<_> = names
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": segment(path, name)}))
        .collect();
    if parameters.is_empty() { json!({}) } else { json!({"parameters": parameters}) }
}

/// What a segment of a path may be.
fn segment(path: &str, name: &str) -> Value {
    match name {
        // Names of deliveries are opaque; events may hold any character.
        "id" if path.starts_with("/v1/dead-letters") => json!({"type": "string", "minLength": 1}),
        "event" => json!({"type": "string", "minLength": 1, "maxLength": chain::MAX_NAME_BYTES}),
        _ => id(),
    }
}

fn shown(operation: &Operation) -> Value {
    let Operation { route, doc } = operation;
    let mut shown = json!({"operationId": doc.id, "summary": doc.summary, "security": security(route.need)});
    let tenants = match route.need {
        Need::Own(_) | Need::Either(_) => "own",
        Need::Whole(_) => "none",
        Need::Nothing | Need::Token => "any",
    };
    put(&mut shown, "x-tenants", tenants.into());
    if !doc.query.is_empty() {
        let parameter = |(name, schema): &(&str, Value)| json!({"name": name, "in": "query", "schema": schema});
        put(&mut shown, "parameters", doc.query.iter().map(parameter).collect());
    }
    if !doc.body.is_empty() {
        let content: Map<_, _> =
            doc.body.iter().map(|(kind, schema)| ((*kind).to_owned(), json!({"schema": schema}))).collect();
        put(&mut shown, "requestBody", json!({"required": doc.body_required, "content": content}));
    }
    put(&mut shown, "responses", responses(doc, route.need));
    shown
}

fn security(need: Need) -> Value {
    match need {
        Need::Nothing => json!([]),
        Need::Token => json!([{"token": []}]),
        Need::Own(_) | Need::Whole(_) | Need::Either(_) => {
            need.scopes().iter().map(|scope| json!({"token": [scope]})).collect()
        }
    }
}

fn responses(doc: &Doc, need: Need) -> Value {
    let mut responses = Map::new();
    for (status, content) in &doc.answers {
        let mut response = json!({"description": if *status < 400 { "Done." } else { "Not at this time." }});
        if let Some((kind, schema)) = content {
            put(&mut response, "content", json!({*kind: {"schema": schema}}));
        }
        responses.insert(status.to_string(), response);
    }
    let guarded: &[Kind] = if need == Need::Nothing { &[] } else { &GUARDED };
    for kind in doc.problems.iter().chain(guarded) {
        let status = kind.parts().0.as_str().to_owned();
        responses.entry(status).or_insert_with(|| json!({"$ref": "#/components/responses/Problem"}));
    }
    responses.insert("default".to_owned(), json!({"$ref": "#/components/responses/Problem"}));
    responses.into()
}

/// What every operation refuses that is not for everybody.
const GUARDED: [Kind; 3] = [Kind::Unauthorized, Kind::Forbidden, Kind::TooManyTries];
