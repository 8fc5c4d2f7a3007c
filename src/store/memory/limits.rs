//! How much may wait for an endpoint.

use super::{
    super::*,
    state::{Standing, State},
};
use crate::endpoint::queue::{QueuePolicy, WhenFull};

impl State {
    /// Drops what waits beyond the bounds of an endpoint's queue, after event `newest` was routed to it. What is in flight
    /// neither counts nor is dropped.
    pub(super) fn keep_within(
        &mut self,
        key: EndpointKey,
        queue: QueuePolicy,
        newest: u64,
        flights: Option<&Flights>,
    ) -> Vec<DeliveryId> {
        let Some(endpoint) = self.endpoints.get(&key) else { return Vec::new() };
        let (mut items, mut bytes) = (endpoint.totals.pending, endpoint.pending.bytes());
        if queue.has_room_for(items, bytes) {
            return Vec::new();
        }
        let flying = flights.map_or_else(Vec::new, |flights| flights.of(key));
        for weight in flying.iter().filter_map(|place| endpoint.pending.weight(*place)) {
            items -= 1;
            bytes -= weight;
        }
        let places: Vec<_> = match queue.when_full {
            WhenFull::DropNewest => vec![(newest, 0)],
            WhenFull::Spill | WhenFull::DropOldest => endpoint.pending.ids().collect(),
        };
        let mut dropped = Vec::new();
        for (seq, run) in places.into_iter().filter(|place| !flying.contains(place)) {
            let Some(weight) = self.endpoints.get(&key).and_then(|endpoint| endpoint.pending.weight((seq, run))) else {
                continue;
            };
            if queue.has_room_for(items, bytes) {
                break;
            }
            items -= 1;
            bytes -= weight;
            dropped.push(DeliveryId { seq, endpoint: key, run });
        }
        dropped.iter().for_each(|id| self.drop_one(*id, DropReason::QueueFull));
        dropped
    }

    /// Drops a pending delivery.
    pub(super) fn drop_one(&mut self, id: DeliveryId, reason: DropReason) {
        let found = self.deliveries.get_mut(&id).zip(self.endpoints.get_mut(&id.endpoint));
        let Some((delivery, endpoint)) = found else { return };
        let due = match delivery.standing {
            Standing::Pending { due, .. } => due,
            Standing::Held => None,
            _ => return,
        };
        delivery.standing = Standing::Dropped(reason);
        endpoint.pending.remove(id, due);
        endpoint.totals.pending -= 1;
        endpoint.count_dropped(reason);
        self.release(id.seq);
    }
}
