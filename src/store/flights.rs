//! What is being attempted at this moment: no full queue gives that up.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::DeliveryId;
use crate::endpoint::EndpointKey;

/// Seq and run of each, by endpoint.
type Attempted = HashMap<EndpointKey, BTreeSet<(u64, u32)>>;

/// Deliveries being attempted, of all endpoints.
#[derive(Debug, Default)]
pub struct Flights {
    /// Over several locks: every attempt takes one twice.
    shards: [Mutex<Attempted>; 16],
}

/// A delivery being attempted, until this is dropped: once its outcome was told to the store, so that it is always known as
/// the one or the other.
#[derive(Debug)]
pub struct Flight {
    flights: Arc<Flights>,
    delivery: DeliveryId,
}

impl Flights {
    /// Takes note of an attempt. A delivery is attempted once at a time.
    pub fn start(self: &Arc<Self>, delivery: DeliveryId) -> Flight {
        let DeliveryId { seq, endpoint, run } = delivery;
        self.shard(endpoint).entry(endpoint).or_default().insert((seq, run));
        Flight { flights: Arc::clone(self), delivery }
    }

    /// Those of an endpoint.
    pub(super) fn of(&self, endpoint: EndpointKey) -> Vec<(u64, u32)> {
        let shard = self.shard(endpoint);
        shard.get(&endpoint).map_or_else(Vec::new, |all| all.iter().copied().collect())
    }

    fn shard(&self, EndpointKey(key): EndpointKey) -> MutexGuard<'_, Attempted> {
        let place = usize::try_from(key.rem_euclid(16)).unwrap_or(0);
        let [first, ..] = &self.shards;
        self.shards.get(place).unwrap_or(first).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let DeliveryId { seq, endpoint, run } = self.delivery;
        let mut shard = self.flights.shard(endpoint);
        if let Some(all) = shard.get_mut(&endpoint) {
            all.remove(&(seq, run));
            if all.is_empty() {
                shard.remove(&endpoint);
            }
        }
    }
}
