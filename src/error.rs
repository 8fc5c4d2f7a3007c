//! What can go wrong, as callers see it.

use std::{fmt, time::Duration};

use crate::event::Event;

/// One mistake in something a user wrote, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// Where: a JSON Pointer as a URI fragment, such as `#/retry/max_age`; `#` is the whole.
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

impl Fault {
    /// A mistake at `pointer`.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.detail)
    }
}

/// Every mistake found in one input; never empty. The input changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Invalid(Vec<Fault>);

impl Invalid {
    /// One mistake at `pointer`.
    pub fn at(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self(vec![Fault::new(pointer, detail)])
    }

    /// `Err` with all of `faults`, `Ok` when there are none.
    pub fn unless_empty(faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self(faults)) }
    }

    /// The mistakes, in the order of the input.
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }

    /// The same mistakes inside a larger input: `prefix` (such as `/endpoints/3`) goes in front of each place.
    #[must_use]
    pub fn below(self, prefix: &str) -> Self {
        let place = |fault: Fault| {
            let rest = fault.pointer.strip_prefix('#').unwrap_or(&fault.pointer);
            Fault { pointer: format!("#{prefix}{rest}"), detail: fault.detail }
        };
        Self(self.0.into_iter().map(place).collect())
    }
}

impl From<Invalid> for Vec<Fault> {
    fn from(invalid: Invalid) -> Self {
        invalid.0
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

/// The store could not do what it was asked; nothing of it was done.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk has no room left, or less than the reserve.
    #[error("the store has no room left: {0}")]
    Full(String),
    /// The data is held by another process, of a newer version, or damaged.
    #[error("the store cannot be used: {0}")]
    Unusable(String),
    /// Reading or writing failed.
    #[error("the store failed: {0}")]
    Failed(String),
    /// The store has been shut down.
    #[error("the store is closed")]
    Closed,
}

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
    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Self::Invalid(_) | Self::Conflict { .. } | Self::Closed { .. })
    }

    /// The event that was not accepted, where it is still at hand.
    pub fn into_event(self) -> Option<Event> {
        match self {
            Self::Overloaded { events, .. } | Self::StoreFull { events, .. } | Self::Closed { events } => {
                events.into_iter().next()
            }
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
