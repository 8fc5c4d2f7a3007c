//! `GET /healthz`, `GET /readyz`, `GET /v1/stats`

use actix_web::http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    call::{Answer, Call, json, ok},
    query::Query,
    schema::{Schemas, answer, count, text},
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

pub(super) fn schemas(all: &mut Schemas) {
    all.add("Health", answer(&["reason"], json!({"status": {"enum": ["ok", "unready"]}, "reason": text()})));
    let events = ["accepted", "unmatched", "suppressed", "coalesced", "debouncing", "unrouted", "routed"];
    let mut stats: Map<_, _> = events.into_iter().map(|name| (name.to_owned(), count())).collect();
    stats.insert("deliveries".to_owned(), delivery_totals());
    stats.insert("dead_letters".to_owned(), dead_letter_totals());
    all.add("Stats", answer(&[], stats.into()));
}

/// The sums over deliveries.
pub(super) fn delivery_totals() -> Value {
    let names =
        ["created", "replayed", "pending", "in_flight", "delivered", "suppressed", "dead_lettered", "abandoned"];
    let mut totals: Map<_, _> = names.into_iter().map(|name| (name.to_owned(), count())).collect();
    totals.insert("dropped".to_owned(), json!({"type": "object", "additionalProperties": count()}));
    answer(&[], totals.into())
}

/// What became of dead letters.
pub(super) fn dead_letter_totals() -> Value {
    answer(&[], json!({"kept": count(), "bytes": count(), "pruned": count(), "purged": count()}))
}
