//! What an error is to an HTTP client: RFC 9457 problem details. The one place that turns errors into status codes.

use std::{borrow::Cow, time::Duration};

use actix_web::{
    HttpResponse,
    http::{StatusCode, header},
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use serde_json::json;

use super::schema::{Schemas, answer, count, status, text};
use crate::{
    config::fields::MAX_FAULTS,
    error::{Fault, Invalid, StoreError},
    pipeline::{ChainError, ManageError, PublishError},
    store::Scope,
};

/// Every kind of problem the API answers with. The list is closed: clients may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Malformed,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    Timeout,
    Misdirected,
    Conflict,
    Stale,
    TooLarge,
    UnsupportedMediaType,
    Invalid,
    TooManyTries,
    Quota,
    HeadTooLarge,
    Internal,
    ChainFailed,
    Overloaded,
    StoreFull,
    StoreFailed,
    Closed,
}

impl Kind {
    const ALL: [Self; 21] = [
        Self::Malformed,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::Timeout,
        Self::Misdirected,
        Self::Conflict,
        Self::Stale,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::Invalid,
        Self::TooManyTries,
        Self::Quota,
        Self::HeadTooLarge,
        Self::Internal,
        Self::ChainFailed,
        Self::Overloaded,
        Self::StoreFull,
        Self::StoreFailed,
        Self::Closed,
    ];

    /// Status, last segment of the type's URI reference, title.
    pub(super) const fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, "malformed-request", "The request cannot be read"),
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "unauthorized", "A valid token is needed"),
            Self::Forbidden => (StatusCode::FORBIDDEN, "forbidden", "The token does not allow it"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The method is not for this path")
            }
            Self::Timeout => (StatusCode::REQUEST_TIMEOUT, "request-timeout", "The request took too long"),
            Self::Misdirected => {
                (StatusCode::MISDIRECTED_REQUEST, "misdirected-request", "The host is not one of this server")
            }
            Self::Conflict => (StatusCode::CONFLICT, "conflict", "The present state does not allow it"),
            Self::Stale => (StatusCode::PRECONDITION_FAILED, "precondition-failed", "It has changed meanwhile"),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "content-too-large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The content type is not known here")
            }
            Self::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-request", "The request breaks rules"),
            Self::TooManyTries => (StatusCode::TOO_MANY_REQUESTS, "too-many-tries", "Too many wrong tokens"),
            Self::Quota => (StatusCode::TOO_MANY_REQUESTS, "quota-reached", "As much goes on for you as may"),
            Self::HeadTooLarge => {
                (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", "The head is too large")
            }
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong here"),
            Self::ChainFailed => (StatusCode::BAD_GATEWAY, "chain-failed", "A step of the chain failed"),
            Self::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Too much waits already"),
            Self::StoreFull => (StatusCode::SERVICE_UNAVAILABLE, "store-full", "The store has no room left"),
            Self::StoreFailed => (StatusCode::SERVICE_UNAVAILABLE, "store-failed", "The store failed"),
            Self::Closed => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "The server is shutting down"),
        }
    }
}

/// One problem on its way to the client.
#[derive(Debug)]
pub(crate) struct Problem {
    kind: Kind,
    detail: Cow<'static, str>,
    errors: Vec<Fault>,
    /// Methods that the path knows.
    allow: Option<String>,
    /// Seconds after which the same request may succeed.
    retry_after: Option<u64>,
    /// The rest of the request will not be read: the connection ends with this answer.
    close: bool,
    /// What ended a chain.
    step: Option<Box<FailedStep>>,
    /// What a token lacks.
    scope: Option<Scope>,
}

/// The step that ended a chain.
#[derive(Debug)]
struct FailedStep {
    event: String,
    name: String,
    attempts: u32,
    error: String,
    status: Option<u16>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry_after =
            matches!(kind, Kind::Quota | Kind::Overloaded | Kind::StoreFull | Kind::StoreFailed | Kind::Closed)
                .then_some(1);
        let close = matches!(kind, Kind::Timeout | Kind::TooLarge);
        let detail = detail.into();
        Self { kind, detail, errors: Vec::new(), allow: None, retry_after, close, step: None, scope: None }
    }

    /// A request that cannot be read, with the place where reading stopped.
    pub(crate) fn malformed(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Kind::Malformed, "the request is not what its syntax asks for").at(pointer, detail)
    }

    pub(crate) fn not_found(what: impl std::fmt::Display) -> Self {
        ManageError::NotFound(what.to_string()).into()
    }

    /// A token without the scope that is needed.
    pub(crate) fn lacking(scope: Scope) -> Self {
        Self { scope: Some(scope), ..Self::new(Kind::Forbidden, format!("the token lacks the scope `{scope}`")) }
    }

    /// In whole seconds, at least one.
    fn after(self, wait: Duration) -> Self {
        let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
        Self { retry_after: Some(seconds), ..self }
    }

    /// So many wrong tokens that the next is looked at only after `wait`.
    pub(crate) fn too_many_tries(wait: Duration) -> Self {
        let seconds = u64::try_from(wait.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
        let detail = format!("too many wrong tokens from this address, try again in {seconds} s");
        Self { retry_after: Some(seconds), ..Self::new(Kind::TooManyTries, detail) }
    }

    pub(crate) fn not_allowed(allow: &str) -> Self {
        Self {
            allow: Some(allow.to_owned()),
            ..Self::new(Kind::MethodNotAllowed, format!("this path knows {allow} only"))
        }
    }

    /// Adds the place of a mistake.
    pub(crate) fn at(mut self, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        self.errors.push(Fault::new(pointer, detail));
        self
    }

    /// How many mistakes it names.
    pub(crate) fn mistakes(&self) -> usize {
        self.errors.len()
    }

    /// The connection ends with this answer.
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    pub(crate) fn respond(&self, request_id: &str) -> HttpResponse {
        let (status, ..) = self.kind.parts();
        let mut response = HttpResponse::build(status);
        response.content_type("application/problem+json");
        if self.kind == Kind::Unauthorized {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(scope) = self.scope {
            let lacking = format!("Bearer error=\"insufficient_scope\", scope=\"{scope}\"");
            response.insert_header((header::WWW_AUTHENTICATE, lacking));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.as_str()));
        }
        if let Some(seconds) = self.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.close {
            response.force_close();
        }
        response.body(serde_json::to_string(&Body { problem: self, request_id }).unwrap_or_default())
    }
}

struct Body<'a> {
    problem: &'a Problem,
    request_id: &'a str,
}

#[derive(Serialize)]
struct Mistake<'a> {
    pointer: &'a str,
    detail: &'a str,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Problem { kind, detail, errors, step, scope, .. } = self.problem;
        let (status, name, title) = kind.parts();
        let mut body = serializer.serialize_struct("Problem", 6)?;
        body.serialize_field("type", &format_args!("/problems/{name}"))?;
        body.serialize_field("title", title)?;
        body.serialize_field("status", &status.as_u16())?;
        body.serialize_field("detail", detail)?;
        body.serialize_field("request_id", self.request_id)?;
        if !errors.is_empty() {
            let errors = errors.iter().take(MAX_FAULTS);
            let errors = errors.map(|Fault { pointer, detail }| Mistake { pointer, detail });
            body.serialize_field("errors", &errors.collect::<Vec<_>>())?;
        }
        if let Some(scope) = scope {
            body.serialize_field("scope", scope)?;
        }
        if let Some(step) = step {
            body.serialize_field("event", &step.event)?;
            body.serialize_field("step", &step.name)?;
            body.serialize_field("attempts", &step.attempts)?;
            body.serialize_field("last_error", &step.error)?;
            body.serialize_field("last_status", &step.status)?;
        }
        body.end()
    }
}

impl From<Invalid> for Problem {
    fn from(invalid: Invalid) -> Self {
        let errors = Vec::from(invalid);
        let detail = match errors.as_slice() {
            [only] => format!("{}: {}", only.pointer, only.detail),
            several => format!("{} mistakes, see `errors`", several.len()),
        };
        Self { errors, ..Self::new(Kind::Invalid, detail) }
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::Full(_) => Kind::StoreFull,
            StoreError::Busy => Kind::Overloaded,
            StoreError::Quota => Kind::Quota,
            StoreError::Failed(_) => Kind::StoreFailed,
            StoreError::Closed => Kind::Closed,
            StoreError::Unusable(_) => Kind::Internal,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        let detail = error.to_string();
        match error {
            ManageError::Invalid(invalid) => invalid.into(),
            ManageError::Store(error) => error.into(),
            ManageError::NotFound(_) => Self::new(Kind::NotFound, detail),
            ManageError::Busy(_) => Self::new(Kind::Overloaded, detail),
            ManageError::Quota(_) => Self::new(Kind::Quota, detail),
            ManageError::Conflict(_) => Self::new(Kind::Conflict, detail),
            ManageError::Stale { .. } => Self::new(Kind::Stale, detail),
        }
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let detail = error.to_string();
        match error {
            PublishError::Invalid(invalid) => invalid.into(),
            PublishError::Store(error) => error.into(),
            PublishError::Conflict { .. } => Self::new(Kind::Conflict, detail),
            PublishError::StoreFull { .. } => Self::new(Kind::StoreFull, detail),
            PublishError::Closed { .. } => Self::new(Kind::Closed, detail),
            PublishError::Overloaded { retry_after, .. } => Self::new(Kind::Overloaded, detail).after(retry_after),
            PublishError::Quota { retry_after, .. } => Self::new(Kind::Quota, detail).after(retry_after),
        }
    }
}

impl From<ChainError> for Problem {
    fn from(error: ChainError) -> Self {
        let detail = error.to_string();
        match error {
            ChainError::NotConfigured { .. } => Self::new(Kind::NotFound, detail),
            ChainError::Payload(invalid) => invalid.into(),
            ChainError::Step { event, step: name, attempts, error, status } => {
                let step = Some(Box::new(FailedStep { event, name, attempts, error, status }));
                Self { step, ..Self::new(Kind::ChainFailed, detail) }
            }
            ChainError::NotStarted { .. } => Self::new(Kind::StoreFailed, detail),
            ChainError::Busy => Self::new(Kind::Overloaded, detail),
            ChainError::Closed => Self::new(Kind::Closed, detail),
        }
    }
}

pub(super) fn schemas(all: &mut Schemas) {
    let types: Vec<_> = Kind::ALL.into_iter().map(|kind| format!("/problems/{}", kind.parts().1)).collect();
    let mistake = answer(&[], json!({"pointer": text(), "detail": text()}));
    let optional = ["errors", "scope", "event", "step", "attempts", "last_error", "last_status"];
    let problem = json!({
        "type": {"enum": types},
        "title": text(),
        "status": {"type": "integer"},
        "detail": text(),
        "request_id": text(),
        "errors": {"type": "array", "items": mistake},
        "scope": {"enum": Scope::ALL, "description": "What the token lacks."},
        "event": text(),
        "step": text(),
        "attempts": count(),
        "last_error": text(),
        "last_status": status(),
    });
    all.add("Problem", answer(&optional, problem));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_store_is_asked_again_later() {
        let response = Problem::from(StoreError::Busy).respond("r");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers().get(header::RETRY_AFTER).unwrap(), "1");
    }
}
