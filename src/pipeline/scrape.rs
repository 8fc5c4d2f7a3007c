//! The metrics of one Hookmill, as Prometheus reads them.
//!
//! What became of events and deliveries comes from the store's totals: it is exact, and goes on after a restart. Nothing is
//! labelled with what users name, so that the number of series is bounded; the sickest endpoints have a text of their own.

use std::{collections::BTreeMap, sync::PoisonError};

use super::Hookmill;
use crate::{
    clock::Timestamp,
    debounce, dispatch,
    endpoint::{EndpointKey, State},
    error::StoreError,
    metrics::{
        process,
        text::{Kind, Text},
    },
    store::{Health, Totals, Vitals},
};

use Kind::{Counter, Gauge, Histogram};

/// Endpoints that are shown one by one.
const SICKEST: usize = 100;

impl Hookmill {
    /// The metrics, as the text that Prometheus reads (exposition format 0.0.4). No label holds what a user has named.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn metrics(&self) -> Result<String, StoreError> {
        let totals = self.stats().await?;
        let vitals = self.0.store.vitals().await?;
        let mut text = Text::default();
        text.family("build_info", Gauge, "The version that runs.").sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.write_events(&mut text, &totals);
        write_deliveries(&mut text, &totals);
        self.write_attempts(&mut text);
        self.write_endpoints(&mut text, &vitals);
        self.write_intake(&mut text).await;
        self.write_store(&mut text);
        self.write_http(&mut text);
        process::write(&mut text);
        Ok(text.done())
    }

    /// The 100 endpoints that need somebody's eye most, in the same form: those that have been failing for longest, then those
    /// whose oldest pending delivery is oldest. Their ids are labels.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn endpoint_metrics(&self) -> Result<String, StoreError> {
        let mut endpoints = self.0.store.vitals().await?.endpoints;
        endpoints
            .retain(|one| one.pending > 0 || one.breaker.failing_since.is_some() || one.breaker.open_until.is_some());
        let last = Timestamp::from_millis(i64::MAX);
        endpoints.sort_by_key(|one| {
            (one.breaker.failing_since.unwrap_or(last), one.oldest_pending_at.unwrap_or(last), one.endpoint)
        });
        endpoints.truncate(SICKEST);
        let ids = self.ids(&endpoints);
        let now = self.0.clock.now().wall;
        let mut text = Text::default();
        let mut gauge = |name: &str, help: &str, value: &dyn Fn(&Health) -> Option<f64>| {
            let mut family = text.family(name, Gauge, help);
            for (one, id) in endpoints.iter().filter_map(|one| Some((one, ids.get(&one.endpoint)?))) {
                if let Some(value) = value(one) {
                    family.sample(&[("endpoint", id)], value);
                }
            }
        };
        gauge("endpoint_failing_since_timestamp_seconds", "Since when every attempt has failed.", &|one| {
            one.breaker.failing_since.map(seconds)
        });
        gauge("endpoint_pending", "Deliveries that wait or are in flight.", &|one| Some(one.pending as f64));
        gauge("endpoint_oldest_pending_timestamp_seconds", "When the oldest of them was made.", &|one| {
            one.oldest_pending_at.map(seconds)
        });
        gauge("endpoint_breaker_open", "Whether the breaker is not closed.", &|one| {
            Some(if breaker(one, now) == "closed" { 0.0 } else { 1.0 })
        });
        Ok(text.done())
    }

    fn ids(&self, wanted: &[Health]) -> BTreeMap<EndpointKey, String> {
        let endpoints = self.0.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        let wanted: BTreeMap<_, _> = wanted.iter().map(|one| (one.endpoint, ())).collect();
        let wanted = endpoints.values().filter(|endpoint| wanted.contains_key(&endpoint.key));
        wanted.map(|endpoint| (endpoint.key, endpoint.id.to_string())).collect()
    }

    fn write_events(&self, text: &mut Text, totals: &Totals) {
        text.single("events_accepted_total", Counter, "Events accepted.", totals.accepted);
        let metrics = self.0.metrics();
        text.tally("events_rejected_total", "Events refused since the start.", "reason", &metrics.rejected);
        let mut judged = text.family("events_judged_total", Counter, "Events by what became of them.");
        for (result, count) in [
            ("unmatched", totals.unmatched),
            ("suppressed", totals.suppressed),
            ("coalesced", totals.coalesced),
            ("routed", totals.routed),
        ] {
            judged.sample(&[("result", result)], count);
        }
        let mut waiting = text.family("events", Gauge, "Events accepted and not judged yet.");
        waiting.sample(&[("state", "debouncing")], totals.debouncing);
        waiting.sample(&[("state", "unrouted")], totals.unrouted);
        let (raised, enriched) = (&metrics.operational, &metrics.enriched);
        text.tally("operational_events_total", "Operational events somebody listens to.", "result", raised);
        text.tally("enrich_total", "Calls of the program's hooks for events.", "result", enriched);
        text.tally("chain_invocations_total", "Chains that ended since the start.", "result", &metrics.chains);
        let missed = metrics.streams_missed.read();
        text.single("stream_events_missed_total", Counter, "Events that passed slow streams by.", missed);
    }

    fn write_attempts(&self, text: &mut Text) {
        let metrics = self.0.metrics();
        text.tally("delivery_attempts_total", "Attempts that ended since the start.", "outcome", &metrics.attempts);
        text.family("delivery_attempt_duration_seconds", Histogram, "How long attempts took.")
            .histogram(&[], &metrics.attempt_duration);
        let mut latency = text.family("delivery_latency_seconds", Histogram, "From acceptance to delivery.");
        latency.histogram(&[("first_attempt", "true")], &metrics.first_latency);
        latency.histogram(&[("first_attempt", "false")], &metrics.later_latency);
        text.family("retry_lateness_seconds", Histogram, "How much later than due retries start, whatever kept them.")
            .histogram(&[], &metrics.retry_lateness);
        text.tally("guard_blocked_total", "Connections that the guard refused.", "reason", &metrics.blocked);
        text.tally("actor_restarts_total", "Actors that died and were started again.", "actor", &metrics.restarts);
    }

    fn write_endpoints(&self, text: &mut Text, vitals: &Vitals) {
        let now = self.0.clock.now().wall;
        let oldest = vitals.endpoints.iter().filter_map(|one| one.oldest_pending_at).min();
        let help = "When the oldest pending delivery was made; 0 when nothing is pending.";
        text.single("oldest_pending_timestamp_seconds", Gauge, help, oldest.map_or(0.0, seconds));
        let states = self.states();
        let all: u64 = states.iter().map(|(_, count)| count).sum();
        let mut endpoints = text.family("endpoints", Gauge, "Endpoints by state.");
        states.iter().for_each(|(state, count)| endpoints.sample(&[("state", state)], count));
        let count = |state: &str| vitals.endpoints.iter().filter(|one| breaker(one, now) == state).count();
        let (open, half_open) = (count("open"), count("half_open"));
        let mut breakers = text.family("breakers", Gauge, "Breakers by state.");
        let closed = all.saturating_sub(u64::try_from(open + half_open).unwrap_or(0));
        breakers.sample(&[("state", "closed")], closed);
        breakers.sample(&[("state", "open")], open);
        breakers.sample(&[("state", "half_open")], half_open);
        text.single("dead_letters", Gauge, "Dead letters kept and not replayed.", vitals.dead_letters);
    }

    fn states(&self) -> [(&'static str, u64); 3] {
        let mut states = [("active", 0), ("paused", 0), ("disabled", 0)];
        let [active, paused, disabled] = &mut states;
        for endpoint in self.0.endpoints.read().unwrap_or_else(PoisonError::into_inner).values() {
            match endpoint.settings.state {
                State::Active => active.1 += 1,
                State::Paused => paused.1 += 1,
                State::Disabled => disabled.1 += 1,
            }
        }
        states
    }

    async fn write_intake(&self, text: &mut Text) {
        let of_rules = self.0.debouncer.send(debounce::Keys).await.unwrap_or(0);
        let keys = of_rules + self.0.dispatcher.send(dispatch::Keys).await.unwrap_or(0);
        text.single("debounce_keys", Gauge, "Keys with an open debounce window.", keys);
        let intake = &self.0.intake;
        text.single("intake_events", Gauge, "Events let in without a recorded verdict.", intake.waiting());
        text.single("intake_bytes", Gauge, "Their bytes.", intake.waiting_bytes());
        text.single("window_bytes", Gauge, "Bytes of events that wait in memory for their turn.", self.window_bytes());
    }

    fn write_store(&self, text: &mut Text) {
        let Some(metrics) = self.0.store.metrics() else { return };
        text.family("store_commit_duration_seconds", Histogram, "How long transactions took, with their sync.")
            .histogram(&[], &metrics.commit_duration);
        text.family("store_commit_events", Histogram, "Events that one transaction accepted.")
            .histogram(&[], &metrics.commit_events);
        text.tally("store_errors_total", "What the store failed to do.", "op", &metrics.errors);
        let Some(space) = self.0.store.space() else { return };
        text.single("store_size_bytes", Gauge, "Bytes of the store's files.", space.size);
        if let Some(free) = space.free {
            text.single("store_free_bytes", Gauge, "Bytes that are free on its disk.", free);
        }
        let help = "Whether less than the reserve is free, so that nothing new is accepted.";
        text.single("store_low_space", Gauge, help, u8::from(space.low));
    }

    fn write_http(&self, text: &mut Text) {
        let routes = self.0.metrics().http.routes();
        let mut requests = text.family("http_requests_total", Counter, "Calls of the API, by the pattern of the path.");
        for route in &routes {
            for (method, code, count) in route.calls() {
                let code = code.to_string();
                requests.sample(&[("method", method), ("route", &route.name), ("code", &code)], count);
            }
        }
        let mut duration = text.family("http_request_duration_seconds", Histogram, "How long calls of the API took.");
        for route in routes.iter().filter(|route| !route.calls().is_empty()) {
            duration.histogram(&[("route", &route.name)], &route.duration);
        }
    }
}

fn write_deliveries(text: &mut Text, totals: &Totals) {
    let deliveries = &totals.deliveries;
    let mut created = text.family("deliveries_created_total", Counter, "Deliveries made.");
    created.sample(&[("cause", "routed")], deliveries.created);
    created.sample(&[("cause", "replayed")], deliveries.replayed);
    let mut settled = text.family("deliveries_settled_total", Counter, "Deliveries by their end.");
    for (state, count) in [
        ("delivered", deliveries.delivered),
        ("suppressed", deliveries.suppressed),
        ("dead_lettered", deliveries.dead_lettered),
        ("abandoned", deliveries.abandoned),
    ] {
        settled.sample(&[("state", state), ("reason", "")], count);
    }
    for (reason, count) in &deliveries.dropped {
        settled.sample(&[("state", "dropped"), ("reason", reason)], count);
    }
    let mut present = text.family("deliveries", Gauge, "Deliveries that have not come to their end.");
    present.sample(&[("state", "pending")], deliveries.pending);
    present.sample(&[("state", "in_flight")], deliveries.in_flight);
}

/// How a breaker stands, by what is kept of it: once its time is over a probe is due, or being made.
fn breaker(health: &Health, now: Timestamp) -> &'static str {
    match health.breaker.open_until {
        None => "closed",
        Some(until) if until > now => "open",
        Some(_) => "half_open",
    }
}

fn seconds(moment: Timestamp) -> f64 {
    moment.as_millis() as f64 / 1000.0
}
