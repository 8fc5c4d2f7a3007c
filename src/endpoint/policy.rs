//! How deliveries to one endpoint behave: success, retries, breaker, bounds. Plain values; `deliver/` acts on them.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use super::queue::{Ordered, QueuePolicy};

/// Which answers mean that the event was delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Success {
    /// Status 200 to 299.
    #[default]
    Status2xx,
    /// Any status below 400.
    Below400,
    /// Exactly 200, with a body that is empty or valid JSON.
    Json200,
}

/// When failed attempts are repeated.
#[derive(Clone, Debug, PartialEq)]
pub struct Retry {
    /// The waits between attempts.
    pub backoff: Backoff,
    /// Up to this share of each wait is added at random (0.0 to 1.0); an attempt is never early.
    pub jitter: f64,
    /// No attempt starts when the delivery is older than this.
    pub max_age: Duration,
    /// Which outcomes are repeated; the others end the delivery at once.
    pub when: RetryWhen,
    /// What becomes of a delivery whose attempts have all failed.
    pub exhausted: Exhausted,
}

/// What becomes of a delivery whose attempts have all failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exhausted {
    /// It is a dead letter.
    #[default]
    DeadLetter,
    /// It is dropped, reason `exhausted`.
    Drop,
    /// It starts over, until it is older than `max_age`; then it is a dead letter.
    Requeue,
}

/// The waits between attempts.
#[derive(Clone, Debug, PartialEq)]
pub enum Backoff {
    /// One wait after each failed attempt; one attempt more than there are waits.
    Delays(Vec<Duration>),
    /// `initial`, then each wait `factor` times the one before, `max_delay` at most.
    Exponential {
        /// The first wait.
        initial: Duration,
        /// At least 1.0.
        factor: f64,
        /// The longest wait.
        max_delay: Duration,
        /// Attempts in all, the first among them.
        max_attempts: u32,
    },
}

/// A set of outcomes. An answer of 410 Gone is in none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryWhen {
    /// No answer: connection, TLS, timeout, a malformed or truncated answer, a blocked address, a file that cannot be written.
    pub transport: bool,
    /// Status 500 and above.
    pub server_error: bool,
    /// Status 400 to 499, but 410.
    pub client_error: bool,
    /// Any other answer that is no success: redirects, or a 2xx that `success` refuses.
    pub other: bool,
}

/// When to stop trying for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// Consecutive transport failures or 5xx answers that open it.
    pub failures: u32,
    /// Over at least this many different events.
    pub min_events: u32,
    /// How long it stays open the first time; doubles with each failed probe.
    pub cooldown: Duration,
    /// The longest it stays open between probes.
    pub max_cooldown: Duration,
    /// What becomes of deliveries that are due while it is open.
    pub while_open: WhileOpen,
    /// What counts as one failure.
    pub unit: Unit,
}

/// What becomes of deliveries that are due while the breaker is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhileOpen {
    /// They wait.
    #[default]
    Hold,
    /// They are dead letters, reason `circuit_open`.
    DeadLetter,
    /// They are dropped, reason `circuit_open`.
    Skip,
}

/// What the breaker counts as one failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// A failed attempt.
    #[default]
    Attempt,
    /// A delivery whose attempts have all failed. A probe is one attempt all the same.
    Event,
}

/// How many events may be attempted. A batch starts when one of its events might, and counts for all of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// In the long run.
    pub per_second: f64,
    /// At once, after a pause.
    pub burst: u32,
}

/// How many dead letters are kept; the oldest fall off, counted. Those that were replayed do not count. A bound that is
/// lowered applies at once, in small steps; those that grow too old fall off within a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetters {
    /// At most this many.
    pub max_items: u64,
    /// Their events together weigh no more, in bytes.
    pub max_bytes: u64,
    /// None is older.
    pub max_age: Duration,
}

/// How many events go into one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Events, at most.
    pub max_items: u32,
    /// Bytes, at most. Events are gathered by what each weighs: its data, its metadata and 256 for the rest. Where the format
    /// makes more of them, the body is halved before anything is sent, until it is no longer than this; an event that is
    /// longer goes alone. Lines of a file are bounded by the weights.
    pub max_bytes: u64,
    /// How long an event waits for others, from the moment it was accepted.
    pub flush_interval: Duration,
    /// A header with the number of events, its name in lower case.
    pub count_header: Option<String>,
}

impl Default for Batch {
    fn default() -> Self {
        Self { max_items: 100, max_bytes: 1 << 20, flush_interval: Duration::from_secs(5), count_header: None }
    }
}

/// Which addresses an endpoint may resolve to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    /// All but link-local and cloud metadata addresses.
    Private,
    /// The same without this machine: what `private` means through the API without `--allow-loopback`.
    PrivateNoLoopback,
    /// Global addresses only.
    Public,
    /// Global addresses and this machine: what `--allow-loopback` makes of `Public`.
    PublicAndLoopback,
}

/// Everything the delivery machine asks an endpoint's settings for.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Which answers mean delivered.
    pub success: Success,
    /// When failed attempts are repeated.
    pub retry: Retry,
    /// When to stop trying for a while.
    pub breaker: BreakerPolicy,
    /// Attempts at once; `1` delivers strictly in order. A batch is one attempt.
    pub in_flight: u16,
    /// One deadline over the whole exchange: resolve, connect, TLS, head, body.
    pub timeout: Duration,
    /// How many events may be attempted; `None` sets no bound.
    pub rate: Option<Rate>,
    /// How many events go into one request; `None` is one event to a request.
    pub batch: Option<Batch>,
    /// An endpoint that has failed for so long without one success is disabled; `None` is never.
    pub disable_after: Option<Duration>,
    /// In which order.
    pub ordered: Ordered,
    /// How much may wait.
    pub queue: QueuePolicy,
    /// How long a shutdown waits for this endpoint, within its own deadline; `None` is as long as that.
    pub drain: Option<Duration>,
}

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Default for Retry {
    /// The table of Standard Webhooks over four days.
    fn default() -> Self {
        let table = [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
        Self {
            backoff: Backoff::Delays(table.map(Duration::from_secs).to_vec()),
            jitter: 0.2,
            max_age: Duration::from_secs(4 * DAY),
            when: RetryWhen::default(),
            exhausted: Exhausted::default(),
        }
    }
}

impl Default for RetryWhen {
    /// Everything: one bad deployment that answers 404 must not dead-letter a day of events.
    fn default() -> Self {
        Self { transport: true, server_error: true, client_error: true, other: true }
    }
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self {
            failures: 10,
            min_events: 3,
            cooldown: Duration::from_secs(30),
            max_cooldown: Duration::from_secs(10 * MINUTE),
            while_open: WhileOpen::default(),
            unit: Unit::default(),
        }
    }
}

impl Default for DeadLetters {
    fn default() -> Self {
        Self { max_items: 10_000, max_bytes: 10 << 30, max_age: Duration::from_secs(30 * DAY) }
    }
}

impl Policy {
    /// `in_flight` where it is not given.
    pub(super) const IN_FLIGHT: u16 = 8;
    /// The same for batches: order is kept.
    pub(super) const BATCHES_IN_FLIGHT: u16 = 1;

    /// The same where many have it: all whose policy is the default one share a copy.
    pub fn shared(self) -> Arc<Self> {
        static DEFAULT: LazyLock<Arc<Policy>> = LazyLock::new(Arc::default);
        if self == **DEFAULT { Arc::clone(&DEFAULT) } else { Arc::new(self) }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            success: Success::default(),
            retry: Retry::default(),
            breaker: BreakerPolicy::default(),
            in_flight: Self::IN_FLIGHT,
            timeout: Duration::from_secs(15),
            rate: None,
            batch: None,
            disable_after: Some(Duration::from_secs(5 * DAY)),
            ordered: Ordered::default(),
            queue: QueuePolicy::default(),
            drain: None,
        }
    }
}

impl Backoff {
    /// The wait after the `failed`th failed attempt (from 1), without jitter; `None` when that was the last attempt.
    pub fn delay(&self, failed: u32) -> Option<Duration> {
        let retry = usize::try_from(failed.checked_sub(1)?).ok()?;
        match self {
            Self::Delays(delays) => delays.get(retry).copied(),
            Self::Exponential { initial, factor, max_delay, max_attempts } => (failed < *max_attempts).then(|| {
                let scale = factor.powi(i32::try_from(retry).unwrap_or(i32::MAX));
                let seconds = (initial.as_secs_f64() * scale).min(max_delay.as_secs_f64());
                Duration::try_from_secs_f64(seconds).unwrap_or(*max_delay)
            }),
        }
    }

    /// The longest wait there is.
    pub fn longest(&self) -> Duration {
        match self {
            Self::Delays(delays) => delays.iter().copied().max().unwrap_or_default(),
            Self::Exponential { max_delay, .. } => *max_delay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_one_attempt_more_than_waits() {
        let backoff = Backoff::Delays([1, 2, 4].map(Duration::from_secs).to_vec());
        let waits: Vec<_> = (1..=4).map(|failed| backoff.delay(failed).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), None]);
    }

    #[test]
    fn exponential_waits_grow_to_the_cap() {
        let (initial, max_delay) = (Duration::from_secs(1), Duration::from_secs(5));
        let backoff = Backoff::Exponential { initial, factor: 2.0, max_delay, max_attempts: 6 };
        let waits: Vec<_> = (1..=6).map(|failed| backoff.delay(failed).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [Some(1), Some(2), Some(4), Some(5), Some(5), None]);
    }
}
