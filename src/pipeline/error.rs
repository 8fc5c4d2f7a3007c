//! What can go wrong between a caller and a Hookmill.

use std::time::Duration;

use crate::{
    error::{Invalid, StoreError},
    event::Event,
};

/// An event was not accepted. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The event breaks a rule; publishing it again will fail again.
    #[error("invalid event: {0}")]
    Invalid(Invalid),
    /// Its id was taken by an event with another topic, key or data.
    #[error("event id {id} is taken by an event with another topic, key or data")]
    Conflict {
        /// The id in question.
        id: String,
        /// The position of the event among those published together.
        index: usize,
    },
    /// Too much is waiting at the door.
    #[error("overloaded: the intake is full, try again in {} s", retry_after.as_secs())]
    Overloaded {
        /// When to try again.
        retry_after: Duration,
        /// The events, to be published again.
        events: Vec<Event>,
    },
    /// Too much of this tenant's is waiting at the door; others are let in.
    #[error("too much of this tenant's waits already, try again in {} s", retry_after.as_secs())]
    Quota {
        /// When to try again.
        retry_after: Duration,
        /// The events, to be published again.
        events: Vec<Event>,
    },
    /// The disk has no room left for new events.
    #[error("store full: {reason}")]
    StoreFull {
        /// What is full.
        reason: String,
        /// The events, to be published again.
        events: Vec<Event>,
    },
    /// The store failed.
    #[error("{0}")]
    Store(StoreError),
    /// This Hookmill is shutting down, or has.
    #[error("closed: shutting down, or shut down")]
    Closed {
        /// The events, to be published elsewhere.
        events: Vec<Event>,
    },
}

impl PublishError {
    /// In one word, for the metrics.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid",
            Self::Conflict { .. } => "conflict",
            Self::Overloaded { .. } => "overloaded",
            Self::Quota { .. } => "quota",
            Self::StoreFull { .. } => "store_full",
            Self::Store(_) => "store_failed",
            Self::Closed { .. } => "closed",
        }
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Invalid(_) | Self::Conflict { .. } | Self::Closed { .. })
    }

    /// The event that was not accepted, where it is still at hand.
    pub fn into_event(self) -> Option<Event> {
        match self {
            Self::Overloaded { events, .. }
            | Self::Quota { events, .. }
            | Self::StoreFull { events, .. }
            | Self::Closed { events } => events.into_iter().next(),
            Self::Invalid(_) | Self::Conflict { .. } | Self::Store(_) => None,
        }
    }
}

/// Hookmill could not be started. Nothing was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration has mistakes: all of them.
    #[error("invalid configuration: {0}")]
    Config(#[from] Invalid),
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system refused a thread or a file.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
}

/// A change of configuration, or a replay, was not made. Nothing changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManageError {
    /// What was asked for has mistakes: all of them.
    #[error("invalid: {0}")]
    Invalid(#[from] Invalid),
    /// There is nothing of that name.
    #[error("{0} is not known")]
    NotFound(String),
    /// The present state of things does not allow it.
    #[error("{0}")]
    Conflict(String),
    /// Too much of this kind is being done already; try again later.
    #[error("{0}")]
    Busy(String),
    /// As much of this kind is being done for the one who asks as one may have; try again later.
    #[error("{0}")]
    Quota(String),
    /// It has changed since the caller looked.
    #[error("it has changed meanwhile: its version is {version} now")]
    Stale {
        /// The present version.
        version: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}
