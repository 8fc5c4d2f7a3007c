//! Queues that are full: the Delivery hears of what was dropped, and the log of how much it was.

use std::{collections::HashMap, sync::Arc, time::Duration};

use actix::{AsyncContext, Context, Handler};
use tracing::warn;

use super::{Dispatcher, Slot};
use crate::{
    actor::told,
    deliver::{self, News, Notice},
    endpoint::EndpointKey,
    store::{DeliveryId, DropReason},
};

/// These deliveries were dropped because their endpoints' queues were full.
pub struct Full(pub Vec<DeliveryId>);

told!(Full);

/// How often a queue that goes on being full is logged.
const EVERY: Duration = Duration::from_secs(10);

/// Endpoints whose queues are or were full a moment ago, with how much was dropped and not logged yet.
#[derive(Default)]
pub(super) struct Bursts(HashMap<EndpointKey, u64>);

impl Bursts {
    /// So many were dropped. Tells whether that begins a burst, which is logged at once.
    fn add(&mut self, endpoint: EndpointKey, count: u64) -> bool {
        if let Some(unlogged) = self.0.get_mut(&endpoint) {
            *unlogged += count;
            return false;
        }
        self.0.insert(endpoint, 0);
        true
    }

    /// What was dropped since it was logged; a burst without is over.
    fn take(&mut self) -> Vec<(EndpointKey, u64)> {
        self.0.retain(|_, unlogged| *unlogged > 0);
        self.0.iter_mut().map(|(endpoint, unlogged)| (*endpoint, std::mem::take(unlogged))).collect()
    }
}

impl Dispatcher {
    /// Once at the beginning of each burst, and then as it goes on.
    fn log_full(&self, endpoint: EndpointKey, dropped: u64) {
        let reason = DropReason::QueueFull;
        let endpoint = self.endpoints.get(&endpoint).map(|slot| Arc::clone(&slot.endpoint));
        let id = endpoint.as_ref().map(|endpoint| endpoint.id.as_str());
        warn!(event = "delivery.dropped", endpoint = id, reason = reason.as_str(), count = dropped, "queue is full");
        if let Some((endpoint, observer)) = endpoint.zip(self.parts.observer.get()) {
            observer(Notice { endpoint, news: News::QueueFull { dropped, reason } });
        }
    }

    fn log_bursts(&mut self, ctx: &mut Context<Self>) {
        for (endpoint, count) in self.bursts.take() {
            self.log_full(endpoint, count);
        }
        if !self.bursts.0.is_empty() {
            ctx.run_later(EVERY, Self::log_bursts);
        }
    }
}

impl Handler<Full> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Full(dropped): Full, ctx: &mut Context<Self>) {
        let quiet = self.bursts.0.is_empty();
        for of_one in dropped.chunk_by(|one, next| one.endpoint == next.endpoint) {
            let Some(endpoint) = of_one.first().map(|id| id.endpoint) else { continue };
            let count = u64::try_from(of_one.len()).unwrap_or(u64::MAX);
            of_one.iter().for_each(|id| self.parts.tell_failed(*id));
            let now = self.parts.clock.now();
            of_one.iter().for_each(|id| self.muting.dropped(*id, now));
            if self.bursts.add(endpoint, count) {
                self.log_full(endpoint, count);
            }
            if let Some(delivery) = self.endpoints.get_mut(&endpoint).and_then(Slot::addressed) {
                delivery.do_send(deliver::Dropped(of_one.iter().map(|id| (id.seq, id.run)).collect()));
            }
        }
        self.keep_debounced(ctx);
        if quiet && !self.bursts.0.is_empty() {
            ctx.run_later(EVERY, Self::log_bursts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_logged_when_it_begins_and_as_it_goes_on_and_no_more_once_it_is_over() {
        let (mut bursts, endpoint) = (Bursts::default(), EndpointKey(1));
        assert!(bursts.add(endpoint, 5));
        assert!(!bursts.add(endpoint, 2) && !bursts.add(endpoint, 1));
        assert_eq!(bursts.take(), [(endpoint, 3)]);
        assert_eq!(bursts.take(), []);
        assert!(bursts.add(endpoint, 1));
    }
}
