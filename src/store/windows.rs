//! What is kept of debouncing.

use serde::Serialize;

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
