//! What can go wrong with an invocation.

use super::super::PublishError;
use crate::{chain::run::Broken, error::Invalid};

/// A chain was not made to its end. No asynchronous step was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// There is no chain for this event.
    #[error("no chain is configured for {event}")]
    NotConfigured {
        /// The event.
        event: String,
    },
    /// The payload is not what an event's data may be: JSON, 1 MiB and 64 levels at most.
    #[error("invalid payload: {0}")]
    Payload(Invalid),
    /// A step failed.
    #[error("chain {event}: step {step} failed after {attempts} attempt(s): {error}")]
    Step {
        /// The event.
        event: String,
        /// The step's name.
        step: String,
        /// How often it was tried.
        attempts: u32,
        /// What was wrong with the last attempt.
        error: String,
        /// The status that the last attempt was answered with, if it was.
        status: Option<u16>,
    },
    /// Every synchronous step succeeded, but the asynchronous ones could not be stored.
    #[error("chain {event}: the asynchronous steps were not started: {reason}")]
    NotStarted {
        /// The event.
        event: String,
        /// Why.
        reason: String,
    },
    /// Too many chains are being made, 1024, or they may hold too many bytes; try again later. No step was made.
    #[error("too many chains are being made, or they hold too much: try again in 1 s")]
    Busy,
    /// This Hookmill is shutting down, or has.
    #[error("closed: shutting down, or shut down")]
    Closed,
}

impl ChainError {
    /// The error that the end of a run is.
    pub(super) fn of_step(event: &str, broken: Broken) -> Self {
        let Broken { step, attempts, last, late } = broken;
        let status = last.as_ref().and_then(|last| last.status);
        let error = match (last, late) {
            (Some(last), false) => last.detail,
            (Some(last), true) => format!("{}; the chain's deadline leaves no time for another attempt", last.detail),
            (None, _) => "the chain's deadline has passed".to_owned(),
        };
        Self::Step { event: event.to_owned(), step, attempts, error, status }
    }

    pub(super) fn not_started(event: &str, error: &PublishError) -> Self {
        match error {
            PublishError::Closed { .. } => Self::Closed,
            error => Self::NotStarted { event: event.to_owned(), reason: error.to_string() },
        }
    }
}
