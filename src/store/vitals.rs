//! What people who watch a store ask it.

use super::BreakerRecord;
use crate::{clock::Timestamp, endpoint::EndpointKey};

/// How everything stands that needs somebody's eye.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vitals {
    /// Endpoints that have something pending or have failed, by key. Deleted ones are left out.
    pub endpoints: Vec<Health>,
    /// Dead letters that are kept and were not replayed.
    pub dead_letters: u64,
}

/// How one endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Which.
    pub endpoint: EndpointKey,
    /// Deliveries that wait or are in flight.
    pub pending: u64,
    /// When the oldest of them was made.
    pub oldest_pending_at: Option<Timestamp>,
    /// Its breaker.
    pub breaker: BreakerRecord,
}
