//! Operational events: what happens to endpoints and to the store, as events of topics below `hookmill.`.
//!
//! They are events like others: accepted, in the sums, delivered with retries. One is raised only when somebody listens: an
//! endpoint whose topics name it, or a subscriber in this program. What concerns an endpoint with a tenant carries that
//! tenant, so that a tenant hears of its own endpoints alone. So that nothing goes round in circles, the deliveries of these
//! events raise none when they fail, and neither does the health of an endpoint that listens to them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::{Hookmill, append_error};
use crate::{
    clock::Timestamp,
    deliver::{News, Notice, machine::Ended},
    endpoint::{Endpoint, EndpointKey, State, TenantScope},
    error::StoreError,
    event::{Event, Tenant, Topic, TopicPattern},
    intake::Refused,
    store::{AppendError, DeadReason, DeliveryId, Next},
};

/// An endpoint's breaker opened.
const FAILING: &str = "hookmill.endpoint.failing";
/// An endpoint's breaker closed.
const RECOVERED: &str = "hookmill.endpoint.recovered";
/// An endpoint was disabled: it answered 410, or failed for too long.
pub(super) const DISABLED: &str = "hookmill.endpoint.disabled";
/// An endpoint's queue is full.
const QUEUE_FULL: &str = "hookmill.endpoint.queue_full";
/// A delivery became a dead letter.
const DEAD_LETTERED: &str = "hookmill.delivery.dead_lettered";
/// Less than the reserve is free on the disk.
const LOW_SPACE: &str = "hookmill.store.low_space";

/// Between two events about the same full queue.
const QUIET: Duration = Duration::from_secs(60);

/// Who listens to operational events.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    endpoints: RwLock<BTreeMap<EndpointKey, Arc<Endpoint>>>,
    /// Somebody in this program does, or did.
    inside: AtomicBool,
    full_queues: Mutex<Throttle>,
}

impl Listeners {
    /// An endpoint is new or has changed.
    pub(super) fn configure(&self, endpoint: &Arc<Endpoint>) {
        let mut endpoints = self.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        if listens(endpoint) && endpoint.settings.state != State::Disabled {
            endpoints.insert(endpoint.key, Arc::clone(endpoint));
        } else {
            endpoints.remove(&endpoint.key);
        }
    }

    /// An endpoint was deleted.
    pub(super) fn remove(&self, endpoint: EndpointKey) {
        self.endpoints.write().unwrap_or_else(PoisonError::into_inner).remove(&endpoint);
    }

    /// Somebody in this program subscribes to these topics.
    pub(super) fn inside(&self, topics: &TopicPattern) {
        if topics.names_reserved() {
            self.inside.store(true, Ordering::Release);
        }
    }

    fn hear(&self, topic: &Topic, tenant: Option<&Tenant>) -> bool {
        let concerned = |endpoint: &Arc<Endpoint>| {
            let settings = &endpoint.settings;
            let tenant = match &settings.tenant {
                TenantScope::Every => true,
                TenantScope::Of(own) => tenant == Some(own),
                TenantScope::None => tenant.is_none(),
            };
            tenant && settings.topics.iter().any(|pattern| pattern.matches(topic))
        };
        self.inside.load(Ordering::Acquire)
            || self.endpoints.read().unwrap_or_else(PoisonError::into_inner).values().any(concerned)
    }
}

/// Whether an endpoint asks for operational events.
fn listens(endpoint: &Endpoint) -> bool {
    endpoint.settings.topics.iter().any(TopicPattern::names_reserved)
}

/// Tells of each endpoint once in a while, with the sum of what has come together.
#[derive(Debug, Default)]
struct Throttle(BTreeMap<EndpointKey, (Timestamp, u64)>);

impl Throttle {
    fn add(&mut self, endpoint: EndpointKey, count: u64, now: Timestamp) -> Option<u64> {
        let (told, sum) = self.0.entry(endpoint).or_insert((Timestamp::from_millis(i64::MIN), 0));
        *sum += count;
        if now.since(*told) < QUIET {
            return None;
        }
        *told = now;
        Some(std::mem::take(sum))
    }
}

impl Hookmill {
    /// Hears what happens to endpoints; called on the threads of the Deliveries.
    pub(super) fn observe(&self, Notice { endpoint, news }: Notice) {
        match news {
            News::Disable(reason) => {
                let hooks = self.clone();
                self.0.arbiter.spawn(async move {
                    if let Err(error) = hooks.disable_for(&endpoint, reason).await {
                        warn!(%error, "an endpoint could not be disabled");
                    }
                });
            }
            News::Failing(breaker) => {
                let data = json!({"endpoint": endpoint.id, "name": endpoint.settings.name,
                    "failing_since": breaker.failing_since, "next_probe_at": breaker.open_until});
                self.raise_about(FAILING, &endpoint, &data);
            }
            News::Recovered { reset } => {
                let reason = if reset { "changed" } else { "probe" };
                let data = json!({"endpoint": endpoint.id, "name": endpoint.settings.name, "reason": reason});
                self.raise_about(RECOVERED, &endpoint, &data);
            }
            News::DeadLettered(ended) => self.raise_dead_letter(&endpoint, &ended),
            News::QueueFull { dropped, reason } => {
                let now = self.0.clock.now().wall;
                let mut full = self.0.listeners.full_queues.lock().unwrap_or_else(PoisonError::into_inner);
                let told = full.add(endpoint.key, dropped, now);
                drop(full);
                if let Some(dropped) = told {
                    let data = json!({"endpoint": endpoint.id, "name": endpoint.settings.name,
                        "dropped": dropped, "reason": reason.as_str()});
                    self.raise_about(QUEUE_FULL, &endpoint, &data);
                }
            }
        }
    }

    /// Less than the reserve is free, or there is enough again.
    pub(super) fn observe_space(&self, low: bool) {
        if low {
            let space = self.0.store.space();
            let data = json!({"free_bytes": space.and_then(|space| space.free),
                "size_bytes": space.map(|space| space.size)});
            self.raise(LOW_SPACE, None, &data);
        }
    }

    /// Something happened to an endpoint as a whole.
    pub(super) fn raise_about(&self, topic: &'static str, endpoint: &Endpoint, data: &Value) {
        if !listens(endpoint) {
            self.raise(topic, tenant_of(endpoint), data);
        }
    }

    fn raise_dead_letter(&self, endpoint: &Endpoint, ended: &Ended) {
        let Ended { event, run, attempts, end, status, error, .. } = ended;
        let Next::DeadLettered(reason) = end else { return };
        if event.topic.is_reserved() {
            return;
        }
        let tenant = tenant_of(endpoint);
        // Its number tells how many events there are in all, which is no tenant's business.
        let id = DeliveryId { seq: event.seq, endpoint: endpoint.key, run: *run };
        let id = tenant.is_none().then_some(id);
        let data = json!({"event": event.id, "topic": event.topic, "endpoint": endpoint.id, "dead_letter": id,
            "reason": DeadReason::as_str(*reason), "attempts": attempts, "last_status": status, "last_error": error});
        self.raise(DEAD_LETTERED, tenant, &data);
    }

    /// Publishes an event of Hookmill's own, if somebody listens. Never waits: when it cannot be taken in, that is counted
    /// and logged, and nothing else.
    fn raise(&self, topic: &'static str, tenant: Option<&Tenant>, data: &Value) {
        let Ok(name) = topic.parse() else { return };
        if !self.0.listeners.hear(&name, tenant) {
            return;
        }
        let mut event = Event::from_json(topic, data.to_string()).source("hookmill");
        event.tenant = tenant.map(ToString::to_string);
        let (reply, result) = oneshot::channel();
        let taken = match event.validate_own(self.0.clock.now().wall) {
            Err(invalid) => Err(invalid.to_string()),
            // A flood of bad news leaves half of the intake to everybody else.
            Ok(_) if self.0.intake.is_half_full() => Err("the intake is half full".to_owned()),
            // What room is left is for settling; only that it is little is said.
            Ok(_) if self.0.store.is_low() && topic != LOW_SPACE => Err("no room on the disk".to_owned()),
            Ok(valid) => self.append(vec![valid], reply).map_err(|refused| match refused {
                Refused::Full | Refused::Quota => "the intake is full".to_owned(),
                Refused::Closed => "shutting down".to_owned(),
            }),
        };
        if let Err(error) = taken {
            return self.not_raised(topic, &error);
        }
        let hooks = self.clone();
        self.0.arbiter.spawn(async move {
            match result.await.unwrap_or(Err(AppendError::Store(StoreError::Closed))) {
                Ok(_) => hooks.0.metrics().operational.one("raised"),
                Err(error) => hooks.not_raised(topic, &append_error(error, Vec::new()).to_string()),
            }
        });
    }

    fn not_raised(&self, topic: &str, error: &str) {
        self.0.metrics().operational.one("refused");
        if self.0.intake.is_closed() {
            return debug!(topic, error, "operational event was not raised");
        }
        warn!(event = "intake.refused", topic, error, "operational event was not raised");
    }
}

fn tenant_of(endpoint: &Endpoint) -> Option<&Tenant> {
    match &endpoint.settings.tenant {
        TenantScope::Of(tenant) => Some(tenant),
        TenantScope::None | TenantScope::Every => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_is_told_of_once_a_minute_and_nothing_is_left_out() {
        let mut throttle = Throttle::default();
        let at = |second: i64| Timestamp::from_millis(second * 1000);
        let told = [0, 1, 59, 60, 61].map(|second| throttle.add(EndpointKey(1), 2, at(second)));
        assert_eq!(told, [Some(2), None, None, Some(6), None]);
        assert_eq!(throttle.add(EndpointKey(2), 5, at(61)), Some(5));
    }
}
