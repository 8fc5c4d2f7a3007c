//! Why deliveries end without having arrived.

use std::str::FromStr;

use crate::event::NameError;

/// Why a delivery was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// Its endpoint was disabled.
    EndpointDisabled,
    /// Its endpoint was deleted.
    EndpointDeleted,
    /// Every attempt failed, and its endpoint keeps no dead letters.
    Exhausted,
    /// It was due while its endpoint's breaker was open.
    CircuitOpen,
    /// Somebody asked for it: [`Store::cancel`](super::Store::cancel).
    Cancelled,
    /// More waited for its endpoint than may: [`QueuePolicy`](crate::endpoint::queue::QueuePolicy).
    QueueFull,
}

impl DropReason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::EndpointDisabled,
        Self::EndpointDeleted,
        Self::Exhausted,
        Self::CircuitOpen,
        Self::Cancelled,
        Self::QueueFull,
    ];

    /// Whether a delivery that was dropped for this while it was in flight may have arrived all the same.
    pub(super) const fn may_arrive(self) -> bool {
        matches!(self, Self::Cancelled | Self::QueueFull)
    }

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EndpointDisabled => "endpoint_disabled",
            Self::EndpointDeleted => "endpoint_deleted",
            Self::Exhausted => "exhausted",
            Self::CircuitOpen => "circuit_open",
            Self::Cancelled => "cancelled",
            Self::QueueFull => "queue_full",
        }
    }
}

/// Why a delivery became a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DeadReason {
    /// Every attempt failed.
    Exhausted,
    /// It grew older than its endpoint's `max_age`.
    Expired,
    /// The receiver answered 410 Gone.
    Gone,
    /// It failed in a way that its endpoint does not retry.
    NotRetried,
    /// It was due while its endpoint's breaker was open.
    CircuitOpen,
}

impl DeadReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Exhausted, Self::Expired, Self::Gone, Self::NotRetried, Self::CircuitOpen];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted",
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::NotRetried => "not_retried",
            Self::CircuitOpen => "circuit_open",
        }
    }
}

impl FromStr for DeadReason {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = Self::ALL.into_iter().find(|reason| reason.as_str() == text);
        found.ok_or(NameError("must be exhausted, expired, gone, not_retried or circuit_open"))
    }
}
