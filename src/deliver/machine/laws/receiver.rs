//! A receiver whose answers depend on the weather.

use std::time::Duration;

use crate::{
    clock::Timestamp,
    transport::{Answer, Failure, FailureKind, Reply, Response, RetryAfter},
};

/// How the receiver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// Takes everything.
    Fair,
    /// Answers 500 and 503, or not at all.
    Down,
    /// Never answers in time.
    Hung,
    /// Asks to be left alone, in every form.
    Busy,
    /// Answers 404.
    Refusing,
    /// All of these, and 410.
    Mixed,
}

/// What the receiver answers, `poisoned` to what it never takes; `roll` chooses where the weather leaves a choice.
pub(super) fn answer(weather: Weather, poisoned: Option<u16>, roll: u8, now: Timestamp) -> Answer {
    match weather {
        Weather::Fair | Weather::Mixed if poisoned.is_some() => status(poisoned.unwrap_or(500), None),
        Weather::Fair => status(200, None),
        Weather::Down => match roll % 3 {
            0 => status(500, None),
            1 => status(503, None),
            _ => failure(FailureKind::Connect),
        },
        Weather::Hung => failure(FailureKind::Timeout),
        Weather::Busy => busy(roll, now),
        Weather::Refusing => status(404, None),
        Weather::Mixed => match roll % 16 {
            0..=6 => status(200, None),
            7 => status(500, None),
            8 => status(404, None),
            9 => status(410, None),
            10 => failure(FailureKind::Timeout),
            11 => failure(FailureKind::Connect),
            12 => failure(FailureKind::Shortage),
            13 => status(500, Some(RetryAfter::Delay(Duration::from_secs(90)))),
            _ => busy(roll / 16, now),
        },
    }
}

fn busy(roll: u8, now: Timestamp) -> Answer {
    let delays = [0, 5, 40, 7200, 200_000].map(Duration::from_secs);
    let delay = delays[usize::from(roll) % delays.len()];
    match roll % 3 {
        0 => status(429, Some(RetryAfter::Delay(delay))),
        1 => status(503, Some(RetryAfter::Delay(delay))),
        _ => status(503, Some(RetryAfter::At(now.after(delay)))),
    }
}

/// A status, and what is asked for.
pub(super) fn status(status: u16, retry_after: Option<RetryAfter>) -> Answer {
    Ok(Response { retry_after, ..Response::new(status) }.into())
}

fn failure(kind: FailureKind) -> Answer {
    Err(Failure { kind, detail: "no answer".into(), peer: None })
}

fn response(answer: &Answer) -> Option<&Response> {
    answer.as_ref().ok().and_then(Reply::response)
}

pub(super) fn is_success(answer: &Answer) -> bool {
    response(answer).is_some_and(|response| response.status == 200)
}

pub(super) fn is_timeout(answer: &Answer) -> bool {
    answer.as_ref().is_err_and(|failure| failure.kind == FailureKind::Timeout)
}

/// Whether the attempt is not counted.
pub(super) fn is_excused(answer: &Answer) -> bool {
    let shortage = answer.as_ref().is_err_and(|failure| failure.kind == FailureKind::Shortage);
    shortage
        || response(answer)
            .is_some_and(|response| matches!(response.status, 429 | 503) && response.retry_after.is_some())
}
