//! When a failed delivery is tried again, and when it is given up.

use std::time::Duration;

use super::{
    outcome::Outcome,
    queue::{Item, RetryAt},
};
use crate::{
    clock::Now,
    endpoint::policy::{Exhausted, Policy, Retry},
    store::{DeadReason, DropReason, Next},
    transport::{FailureKind, RetryAfter},
};

/// Before a delivery for which this machine lacked something is tried again.
const SHORTAGE: Duration = Duration::from_secs(1);
/// Before a delivery starts over.
const REQUEUE_AT_LEAST: Duration = Duration::from_secs(1);
/// Bounds on what a receiver may ask for.
const ASKED_AT_LEAST: Duration = Duration::from_secs(1);
const ASKED_AT_MOST: Duration = Duration::from_secs(24 * 3600);

/// Another attempt, or the end of a delivery. One that starts over has spent nothing.
pub(super) fn judge(
    retry: &Retry,
    item: &mut Item,
    outcome: Outcome,
    now: Now,
    random: &mut fastrand::Rng,
) -> Result<RetryAt, Next> {
    match outcome {
        Outcome::Success => return Err(Next::Delivered),
        Outcome::Gone => return Err(Next::DeadLettered(DeadReason::Gone)),
        _ if !outcome.is_retried(retry.when) => return Err(end(retry, DeadReason::NotRetried)),
        _ => {}
    }
    let computed = match outcome {
        Outcome::Asked(_) => Some(Duration::ZERO),
        Outcome::Transport(FailureKind::Shortage) => Some(SHORTAGE),
        _ => retry.backoff.delay(item.spent),
    };
    let computed = match (computed, retry.exhausted) {
        (Some(computed), _) => computed,
        (None, Exhausted::Requeue) => {
            item.spent = 0;
            retry.backoff.longest().max(REQUEUE_AT_LEAST)
        }
        (None, _) => return Err(end(retry, DeadReason::Exhausted)),
    };
    let (delay, asked) = match asked_delay(outcome, now) {
        Some(delay) => (delay, true),
        None => (computed.mul_f64(1.0 + retry.jitter * random.f64()), false),
    };
    if now.wall.after(delay).since(item.created_at) > retry.max_age {
        return Err(Next::DeadLettered(DeadReason::Expired));
    }
    Ok(RetryAt { delay, asked })
}

/// The end of a delivery that failed, as the endpoint wants it.
pub(super) fn end(retry: &Retry, reason: DeadReason) -> Next {
    match retry.exhausted {
        Exhausted::Drop => Next::Dropped(DropReason::Exhausted),
        Exhausted::DeadLetter | Exhausted::Requeue => Next::DeadLettered(reason),
    }
}

/// The longest that a stored due time can lie ahead.
pub(super) fn longest_wait(policy: &Policy) -> Duration {
    policy.retry.backoff.longest().mul_f64(1.0 + policy.retry.jitter).max(ASKED_AT_MOST)
}

/// How long the receiver asks to be left alone, within bounds.
pub(super) fn asked_delay(outcome: Outcome, now: Now) -> Option<Duration> {
    let delay = match outcome.retry_after()? {
        RetryAfter::Delay(delay) => delay,
        RetryAfter::At(moment) => moment.since(now.wall),
    };
    Some(delay.clamp(ASKED_AT_LEAST, ASKED_AT_MOST))
}
