//! What is kept of an attempt.

use super::InFlight;
use crate::{
    clock::Now,
    deliver::outcome::{Health, Outcome, label},
    store::AttemptRecord,
    transport::{Answer, Reply, peer_of},
};

/// The attempt that has ended now, for the store, as its first delivery counts it.
pub(super) fn record(flight: &InFlight, outcome: Outcome, answer: &Answer, now: Now) -> AttemptRecord {
    let failed = outcome.health() != Health::Good;
    let response = answer.as_ref().ok().and_then(Reply::response);
    let error = match answer {
        Ok(Reply::Response(response)) => failed.then(|| format!("answered {}", response.status)),
        Ok(Reply::Written) => None,
        Err(failure) => Some(failure.detail.clone()),
    };
    AttemptRecord {
        number: flight.items.first().map_or(1, |item| item.attempts + 1),
        at: flight.started.wall,
        duration: now.mono.since(flight.started.mono),
        status: response.map(|response| response.status),
        outcome: label(answer),
        error,
        peer: peer_of(answer),
        batch: flight.batch.clone(),
        response: response.filter(|_| failed).map(|response| response.body.clone()).unwrap_or_default(),
    }
}
