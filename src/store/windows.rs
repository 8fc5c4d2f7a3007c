//! What is kept of debouncing.

use serde::Serialize;

use super::DeliveryId;
use crate::clock::Timestamp;

/// What debouncing changed by an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Debounced {
    /// Windows that changed.
    pub windows: Vec<WindowChange>,
    /// The rule that suppressed the event.
    pub suppressed_by: Option<String>,
    /// Events that were held and that this one replaced, each with the rule by which it did.
    pub coalesced: Vec<(u64, String)>,
    /// Deliveries that an endpoint's own debounce held and that a later one replaced: they are suppressed.
    pub muted: Vec<DeliveryId>,
    /// Deliveries that an endpoint's own debounce lets go.
    pub released: Vec<Released>,
}

impl Debounced {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        let Self { windows, suppressed_by, coalesced, muted, released } = self;
        windows.is_empty() && suppressed_by.is_none() && coalesced.is_empty() && muted.is_empty() && released.is_empty()
    }

    /// Adds what changed later, by no event of its own.
    pub fn append(&mut self, later: Self) {
        let Self { windows, suppressed_by, coalesced, muted, released } = later;
        self.windows.extend(windows);
        self.suppressed_by = self.suppressed_by.take().or(suppressed_by);
        self.coalesced.extend(coalesced);
        self.muted.extend(muted);
        self.released.extend(released);
    }
}

/// A delivery that was held by its endpoint's own debounce, and is made at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Released {
    /// The delivery.
    pub delivery: DeliveryId,
    /// When it is let go: its age counts from here.
    pub at: Timestamp,
    /// How many of its key the endpoint did not get since the last that it did; beside what the event itself carries.
    pub suppressed: u64,
}

/// A delivery that its endpoint's own debounce holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldDelivery {
    /// The delivery.
    pub delivery: DeliveryId,
    /// How many events its event itself carries the count of.
    pub carries: u64,
}

/// How a debounce window stands after an event, for recovery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowChange {
    /// The rule.
    pub rule: String,
    /// The key within the rule.
    pub key: String,
    /// The window; `None` when it is forgotten.
    pub slot: Option<WindowSlot>,
}

/// One key's debounce window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowSlot {
    /// From when it is measured: the acceptance of the last event that passed, or, where events are held, that came. `None`
    /// when it is over and only the count is left.
    pub from: Option<Timestamp>,
    /// Events that did not pass since the last that did.
    pub suppressed: u64,
    /// The event that waits for the key to be quiet.
    pub held: Option<HeldSlot>,
    /// The seq of the event that took the slot, where the rule frees it when that one fails.
    pub taken_by: Option<u64>,
}

/// An event that waits in a debounce window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldSlot {
    /// Its seq.
    pub seq: u64,
    /// When the first of those that it stands for was accepted.
    pub since: Timestamp,
}

/// What a debounce rule has come to since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RuleTotals {
    /// Events that it suppressed.
    pub suppressed: u64,
    /// Events that it held and that a later one of their key replaced.
    pub coalesced: u64,
    /// Keys that it keeps a window or a count of.
    pub keys: u64,
    /// Of those, the ones that hold an event.
    pub held: u64,
}
