//! `GET /healthz`, `GET /readyz`, `GET /v1/stats`

use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::json;

use super::{
    call::{Answer, Call, json, ok},
    query::Query,
};
use crate::store::{DeadLetterTotals, Totals};

/// The sums, and beside them what became of the dead letters.
#[derive(Serialize)]
struct Sums<'a> {
    #[serde(flatten)]
    totals: &'a Totals,
    dead_letters: DeadLetterTotals,
}

pub(super) async fn alive(_: Call) -> Answer {
    ok(&json!({"status": "ok"}))
}

pub(super) async fn ready(call: Call) -> Answer {
    match call.hooks().unready() {
        None => ok(&json!({"status": "ok"})),
        Some(reason) => json(StatusCode::SERVICE_UNAVAILABLE, &json!({"status": "unready", "reason": reason})),
    }
}

pub(super) async fn stats(call: Call) -> Answer {
    Query::new(call.request.query_string()).done()?;
    let totals = call.hooks().stats().await?;
    ok(&Sums { totals: &totals, dead_letters: totals.deliveries.dead_letters })
}
