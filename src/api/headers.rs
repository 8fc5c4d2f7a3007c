//! Headers that every answer has.

use actix_web::{
    HttpResponse,
    http::header::{self, HeaderMap, HeaderName, HeaderValue},
};

use super::problem::Problem;

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is answered is data for the one who asked: no cache keeps it, no browser guesses at it, runs it, frames it or hands
/// it to another site.
const SAFE: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];

/// Adds them, but for those that an answer has its own of.
pub(super) fn complete(headers: &mut HeaderMap, request_id: &str) {
    for (name, value) in SAFE {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    if let Ok(request_id) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, request_id);
    }
}

impl Problem {
    /// The whole answer to a request that reaches no route.
    #[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "for the server, which refuses some by their host"))]
    pub(crate) fn answer(&self, request_id: &str) -> HttpResponse {
        let mut response = self.respond(request_id);
        complete(response.headers_mut(), request_id);
        response
    }
}
