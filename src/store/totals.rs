//! The conservation sums.

use std::collections::BTreeMap;

use serde::Serialize;

/// The conservation sums over events: `accepted = unmatched + suppressed + coalesced + debouncing + unrouted + routed`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Events accepted.
    pub accepted: u64,
    /// No endpoint wanted them.
    pub unmatched: u64,
    /// A debounce rule suppressed them.
    pub suppressed: u64,
    /// A later one of the same key replaced them.
    pub coalesced: u64,
    /// They wait for their debounce window to end.
    pub debouncing: u64,
    /// Not judged yet.
    pub unrouted: u64,
    /// They went to at least one endpoint.
    pub routed: u64,
    /// What became of their deliveries.
    pub deliveries: DeliveryTotals,
}

/// The conservation sums over deliveries:
/// `created + replayed = pending + in_flight + delivered + suppressed + dead_lettered + dropped + abandoned`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeliveryTotals {
    /// Made by routing.
    pub created: u64,
    /// Made by replay.
    pub replayed: u64,
    /// Waiting. As it comes from a store this includes what is in flight.
    pub pending: u64,
    /// Being attempted at this moment. As it comes from a store this is zero.
    pub in_flight: u64,
    /// The receiver has them.
    pub delivered: u64,
    /// An endpoint's own debounce muted them.
    pub suppressed: u64,
    /// They failed for good.
    pub dead_lettered: u64,
    /// Given up, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Left behind by a shutdown without a disk.
    pub abandoned: u64,
    /// What became of the dead letters: beside the sums.
    #[serde(skip)]
    pub dead_letters: DeadLetterTotals,
}

/// What became of dead letters: `dead_lettered = kept + pruned + purged` + those that were replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetterTotals {
    /// Kept, and not replayed.
    pub kept: u64,
    /// What their events weigh: bytes of data and metadata, and 256 for each.
    pub bytes: u64,
    /// Fell off because there were too many, or they were too old.
    pub pruned: u64,
    /// Forgotten because somebody asked for it.
    pub purged: u64,
}

impl Totals {
    /// Whether both sums add up.
    pub fn add_up(&self) -> bool {
        let events = self.unmatched + self.suppressed + self.coalesced + self.debouncing + self.unrouted + self.routed;
        events == self.accepted && self.deliveries.add_up()
    }
}

impl DeliveryTotals {
    /// Whether the sum adds up.
    pub fn add_up(&self) -> bool {
        let dropped: u64 = self.dropped.values().sum();
        let ended = self.delivered + self.suppressed + self.dead_lettered + dropped + self.abandoned;
        self.created + self.replayed == self.pending + self.in_flight + ended
    }

    /// Shows `in_flight` of what is pending as being in flight.
    pub(crate) fn with_in_flight(mut self, in_flight: u64) -> Self {
        self.in_flight = in_flight.min(self.pending);
        self.pending -= self.in_flight;
        self
    }
}
