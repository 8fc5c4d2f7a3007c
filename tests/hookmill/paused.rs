//! The actors together, on a paused clock, with receivers that follow a script.

mod batches;
mod cancelling;
mod changes;
mod clocks;
mod death;
mod debounce;
mod ends;
mod enriching;
mod intake;
mod isolation;
mod jobs;
mod metrics;
mod operational;
mod order;
mod outage;
mod policies;
mod queues;
mod replay;
mod rest;
mod retries;
mod rotation;
mod routing;
mod watching;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use hookmill::{
    Builder, Endpoint, EndpointId, Event, Hookmill,
    endpoint::EndpointBuilder,
    store::{DeadLetterFilter, DeadLetterRow, Totals},
    testing::{self, Made, ScriptedTransport},
    transport::Attempt,
};
use serde_json::json;

/// Where an attempt goes.
fn host(attempt: &Attempt) -> Option<&str> {
    attempt.endpoint.settings.target.url()?.host_str()
}

pub(super) const HOUR: Duration = Duration::from_secs(3600);

pub(super) fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// An endpoint that gets everything and retries after 1, 2 and 4 seconds, sharp.
fn endpoint(id: &str) -> EndpointBuilder {
    let retry = json!({"retry": {"delays": ["1s", "2s", "4s"], "jitter": 0}});
    Endpoint::http(id, format!("https://{id}.example/")).unsigned().settings(retry)
}

async fn start(builder: Builder, transport: &ScriptedTransport) -> Hookmill {
    testing::start_here(builder.transport(transport.factory())).await.unwrap()
}

async fn start_with(endpoint: EndpointBuilder, transport: &ScriptedTransport) -> Hookmill {
    start(Hookmill::builder().endpoint(endpoint), transport).await
}

fn event(topic: &str) -> Event {
    Event::new(topic, &1).unwrap()
}

async fn publish(hooks: &Hookmill, count: u64) {
    for _ in 0..count {
        hooks.publish(event("a.b")).await.unwrap();
    }
}

/// The sums at this moment, which add up.
pub(super) async fn look(hooks: &Hookmill) -> Totals {
    let totals = hooks.stats().await.unwrap();
    assert!(totals.add_up(), "{totals:?}");
    totals
}

/// Looks again and again until `enough` holds.
pub(super) async fn until(hooks: &Hookmill, enough: impl Fn(&Totals) -> bool) -> Totals {
    loop {
        let totals = look(hooks).await;
        if enough(&totals) {
            return totals;
        }
        pass(millis(20)).await;
    }
}

/// The sums once nothing waits and nothing is in flight.
pub(super) async fn settled(hooks: &Hookmill) -> Totals {
    until(hooks, |totals| totals.unrouted + totals.deliveries.pending + totals.deliveries.in_flight == 0).await
}

pub(super) async fn dead_letters(hooks: &Hookmill) -> Vec<DeadLetterRow> {
    let filter = DeadLetterFilter { limit: 10_000, ..DeadLetterFilter::default() };
    testing::store(hooks).dead_letters(filter).await.unwrap()
}

pub(super) fn id(id: &str) -> EndpointId {
    id.parse().unwrap()
}

/// When attempts started, in milliseconds after the first.
pub(super) fn starts(made: &[Made]) -> Vec<u128> {
    made.iter().map(|one| one.at.since(made[0].at).as_millis()).collect()
}

pub(super) fn seqs(made: &[Made]) -> Vec<u64> {
    made.iter().map(|one| one.seq).collect()
}

/// How many attempts each event had.
fn attempts(made: &[Made]) -> BTreeMap<u64, usize> {
    made.iter().fold(BTreeMap::new(), |mut counts, one| {
        *counts.entry(one.seq).or_default() += 1;
        counts
    })
}

/// Something that a test switches on for a script to see.
#[derive(Clone, Default)]
struct Switch(Arc<AtomicBool>);

impl Switch {
    fn on(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
