//! When a batch goes out, and which answers take one apart.

use std::time::Duration;

use super::outcome::Outcome;
use crate::{
    clock::{Mono, Now, Timestamp},
    transport::{Answer, FailureKind, Reply},
};

/// Until when the oldest of those that wait for company waits. Worked out once for each moment of acceptance, so that the
/// time does not move with the clock's roundings.
#[derive(Debug, Default)]
pub struct Company(Option<(Timestamp, Mono)>);

impl Company {
    /// When one that was made at `since` has waited for `interval`; never longer than that from now, whatever the clocks say.
    pub fn until(&self, since: Timestamp, interval: Duration, now: Now) -> Mono {
        match self.0 {
            Some((noted, until)) if noted == since => until,
            _ => now.mono.after(since.after(interval).since(now.wall).min(interval)),
        }
    }

    /// Takes note of the oldest one that waits.
    pub fn note(&mut self, since: Option<Timestamp>, interval: Duration, now: Now) {
        self.0 = since.map(|since| (since, self.until(since, interval, now)));
    }

    /// Forgets it: there is another interval.
    pub fn forget(&mut self) {
        self.0 = None;
    }
}

/// Whether the answer to a batch says that something in it, or its size, is at fault: 400, 413, 422, or a body that could not
/// be written.
pub fn is_divisible(outcome: Outcome, answer: &Answer) -> bool {
    match (outcome, answer) {
        (Outcome::ClientError(_), Ok(Reply::Response(response))) => is_refusal(response.status),
        (outcome, _) => outcome == Outcome::Transport(FailureKind::Unrenderable),
    }
}

/// Whether this status says that something in the request, or its size, is at fault.
pub const fn is_refusal(status: u16) -> bool {
    matches!(status, 400 | 413 | 422)
}

/// When the second half of a batch is due whose `first` ones make the first half. A little in the past: what has the same due
/// time is one batch, also when it is read from the store again, and along the way down to a single event `first` only falls.
pub fn second_due(now: Timestamp, first: usize) -> Timestamp {
    Timestamp::from_millis(now.as_millis().saturating_sub(i64::try_from(first).unwrap_or(i64::MAX)))
}
