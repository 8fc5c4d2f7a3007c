//! Which events count as the same, and for how long: what debounce rules and an endpoint's own `debounce` share.

pub mod key;

use std::{ops::RangeInclusive, time::Duration};

use crate::event::pointer::Pointer;

/// Most pointers in a key.
pub const MAX_POINTERS: usize = 8;
/// The shortest and the longest window.
pub const WINDOW: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(30 * 86_400);

/// Which of the events that fall together pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edge {
    /// The first, at once; later ones inside the window are suppressed.
    #[default]
    Leading,
    /// The last, when the key has been quiet for the window.
    Trailing,
    /// The first and the last.
    Both,
}

/// Edges, as they are named.
pub(crate) const EDGES: [(&str, Edge); 3] =
    [("leading", Edge::Leading), ("trailing", Edge::Trailing), ("both", Edge::Both)];

impl Edge {
    /// As a rule names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leading => "leading",
            Self::Trailing => "trailing",
            Self::Both => "both",
        }
    }
}

/// An endpoint's own debounce: of the events that are for it, the first of those that fall together is delivered at once. The
/// deliveries of later ones inside the window are suppressed, for this endpoint alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebouncePolicy {
    /// Where events must agree to fall together, beside tenant and topic; at most [`MAX_POINTERS`].
    pub key: Vec<Pointer>,
    /// Measured from the last event that passed; within [`WINDOW`].
    pub window: Duration,
}
