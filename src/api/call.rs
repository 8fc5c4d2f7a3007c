//! One call: what came in, and the frame around every answer.

use std::{fmt::Display, future::Future, str::FromStr, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        StatusCode,
        header::{self, ContentType, HeaderValue},
    },
    web::Payload,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    Shared, answers,
    body::{self, Body, Limit, Place, Unread},
    headers, json,
    problem::{Kind, Problem},
    rights::{Need, Rights},
};
use crate::{
    Hookmill,
    event::{is_identifier, new_id},
    store::on_behalf_of,
};

/// What a handler answers.
pub(super) type Answer = Result<HttpResponse, Problem>;

/// Longest body that configures something, in bytes.
const CONFIGURATION: usize = 256 << 10;

/// One call on its way through a handler.
pub(super) struct Call {
    pub(super) request: HttpRequest,
    unread: Unread,
    pub(super) shared: Arc<Shared>,
    pub(super) rights: Rights,
}

/// What a route expects of its callers.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    /// What they must be allowed.
    pub(super) need: Need,
    /// The call ends when they hang up, although it changes something.
    pub(super) waited: bool,
}

/// Answers a call: admits it, lets `handler` work, and frames what comes of it.
pub(super) async fn serve<F, Fut>(
    request: HttpRequest,
    payload: Payload,
    shared: Arc<Shared>,
    expected: Expected,
    handler: F,
) -> HttpResponse
where
    F: FnOnce(Call) -> Fut,
    Fut: Future<Output = Answer> + 'static,
{
    let request_id = request_id(&request, &shared.hooks);
    let unread = Unread::new(payload);
    let answer = match shared.admit(&request, expected.need) {
        Ok(rights) => admitted(request, unread.clone(), shared, expected, (rights, handler)).await,
        Err(problem) => Err(problem),
    };
    let mut response = answer.unwrap_or_else(|problem| problem.respond(&request_id));
    headers::complete(response.headers_mut(), &request_id);
    unread.keep_with(response)
}

async fn admitted<F, Fut>(
    request: HttpRequest,
    unread: Unread,
    shared: Arc<Shared>,
    expected: Expected,
    (rights, handler): (Rights, F),
) -> Answer
where
    F: FnOnce(Call) -> Fut,
    Fut: Future<Output = Answer> + 'static,
{
    let (changes, tenant, asker) = (!request.method().is_safe(), rights.tenant.clone(), rights.asker(expected.need));
    let answers = shared.hooks.0.answers.clone();
    if changes {
        answers::expect_room(&answers, &asker)?;
    }
    let handling = handler(Call { request, unread, shared, rights });
    let response = run(expected.waited || !changes, on_behalf_of(tenant, handling)).await?;
    answers::hold(response, &answers, &asker, changes)
}

/// A call that changes something goes on when its client hangs up: what is stored and what is in force must agree.
async fn run(waited: bool, handling: impl Future<Output = Answer> + 'static) -> Answer {
    if waited {
        return handling.await;
    }
    let ended = actix_rt::spawn(handling).await;
    ended.unwrap_or_else(|_| Err(Problem::new(Kind::Internal, "the call did not end as it should")))
}

fn request_id(request: &HttpRequest, hooks: &Hookmill) -> String {
    let given =
        request.headers().get(headers::REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_identifier(id));
    given.map_or_else(|| new_id("req", hooks.clock().now().wall), str::to_owned)
}

impl Call {
    pub(super) fn hooks(&self) -> &Hookmill {
        &self.shared.hooks
    }

    /// The segment `name` of the path, as it was sent.
    pub(super) fn segment(&self, name: &str) -> &str {
        self.request.match_info().get(name).unwrap_or_default()
    }

    /// The segment `name` of the path, naming one thing of this kind.
    ///
    /// # Errors
    /// Not found: there can be no thing of such a name.
    pub(super) fn named<T: FromStr>(&self, name: &str, kind: &str) -> Result<T, Problem> {
        let text = self.segment(name);
        text.parse().map_err(|_| Problem::not_found(format_args!("{kind} {text}")))
    }

    /// The segment `name` of the path, naming something that may be made.
    ///
    /// # Errors
    /// Invalid: the name breaks a rule.
    pub(super) fn new_name<T: FromStr<Err: Display>>(&self, name: &str) -> Result<T, Problem> {
        let parsed = self.segment(name).parse();
        parsed.map_err(|error: T::Err| crate::Invalid::at(format!("#/{name}"), error.to_string()).into())
    }

    /// The content type without its parameters, in lower case; empty when there is none.
    pub(super) fn content_type(&self) -> String {
        let given = self.request.headers().get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok());
        given.and_then(|given| given.split(';').next()).unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// The body, if its content type is one of `types`.
    ///
    /// # Errors
    /// The problem to answer with.
    pub(super) async fn body(&self, types: &[&str], limit: Limit) -> Result<Body, Problem> {
        if !types.contains(&self.content_type().as_str()) {
            return Err(Problem::new(Kind::UnsupportedMediaType, format!("send {}", types.join(" or "))));
        }
        self.body_of_any_type(limit).await
    }

    /// The body, whatever its content type.
    ///
    /// # Errors
    /// The problem to answer with.
    pub(super) async fn body_of_any_type(&self, limit: Limit) -> Result<Body, Problem> {
        let place = Place::enter(&self.hooks().0.bodies, &self.rights.asker(Need::Token))?;
        body::read(&self.request, &self.unread, limit, self.shared.read_deadline, place).await
    }

    /// A body that configures something.
    ///
    /// # Errors
    /// The problem to answer with.
    pub(super) async fn configuration(&self, types: &[&str]) -> Result<Value, Problem> {
        let body = self.body(types, Limit { array: CONFIGURATION, other: CONFIGURATION }).await?;
        json::value(&body.bytes)
    }
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    let body = serde_json::to_string(body).map_err(|error| Problem::new(Kind::Internal, error.to_string()))?;
    Ok(HttpResponse::build(status).insert_header(ContentType::json()).body(body))
}

/// 200 with a JSON body.
pub(super) fn ok(body: &impl Serialize) -> Answer {
    json(StatusCode::OK, body)
}

/// Names where a thing is that was made: below the mount point of this API.
pub(super) fn located(response: &mut HttpResponse, place: &str) {
    if let Ok(place) = HeaderValue::from_str(place) {
        response.headers_mut().insert(header::LOCATION, place);
    }
}
