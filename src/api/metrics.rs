//! `GET /metrics`, `GET /metrics/endpoints`, and counting the calls of this API.

use actix_web::{HttpResponse, http::Method};

use super::{
    call::{Answer, Call},
    query::Query,
};
use crate::{error::StoreError, metrics::text::CONTENT_TYPE};

pub(super) async fn all(call: Call) -> Answer {
    Query::new(call.request.query_string()).done()?;
    text(call.hooks().metrics().await)
}

pub(super) async fn endpoints(call: Call) -> Answer {
    Query::new(call.request.query_string()).done()?;
    text(call.hooks().endpoint_metrics().await)
}

fn text(written: Result<String, StoreError>) -> Answer {
    Ok(HttpResponse::Ok().content_type(CONTENT_TYPE).body(written?))
}

/// A method as a label: a caller can send any word.
pub(super) fn label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}
