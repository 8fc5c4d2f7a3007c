//! What an answer means: success or which kind of failure, and what follows from that.

use crate::{
    endpoint::policy::{RetryWhen, Success},
    transport::{Answer, FailureKind, Reply, Response, RetryAfter},
};

/// What an attempt came to, for an endpoint's idea of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver has it.
    Success,
    /// 410: the receiver wants no more of it.
    Gone,
    /// 429 or 503 with a time to come back: no fault of the receiver's, and no attempt used.
    Asked(RetryAfter),
    /// Another 400 to 499.
    ClientError(Option<RetryAfter>),
    /// Another 500 and above.
    ServerError(Option<RetryAfter>),
    /// Any other answer that is no success.
    Other(Option<RetryAfter>),
    /// No answer.
    Transport(FailureKind),
}

/// What an outcome says about the receiver's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It takes events.
    Good,
    /// It does not work.
    Bad,
    /// It works, but did not take this event.
    Neutral,
    /// Nothing: it was not asked.
    Unknown,
}

impl Outcome {
    /// Judges an answer.
    pub fn of(answer: &Answer, success: Success) -> Self {
        let response = match answer {
            Ok(Reply::Response(response)) => response,
            Ok(Reply::Written) => return Self::Success,
            Err(failure) => return Self::Transport(failure.kind),
        };
        let retry_after = response.retry_after;
        match (response.status, retry_after) {
            _ if succeeded(response, success) => Self::Success,
            (410, _) => Self::Gone,
            (429 | 503, Some(retry_after)) => Self::Asked(retry_after),
            (400..=499, _) => Self::ClientError(retry_after),
            (500.., _) => Self::ServerError(retry_after),
            _ => Self::Other(retry_after),
        }
    }

    /// Whether the delivery is tried again, attempts and age permitting.
    pub fn is_retried(self, when: RetryWhen) -> bool {
        match self {
            Self::Success | Self::Gone => false,
            Self::Asked(_) => true,
            Self::ClientError(_) => when.client_error,
            Self::ServerError(_) => when.server_error,
            Self::Other(_) => when.other,
            // It would come out the same: the event has to wait for another format, as a dead letter.
            Self::Transport(FailureKind::Unrenderable) => false,
            Self::Transport(FailureKind::Shortage) => true,
            Self::Transport(_) => when.transport,
        }
    }

    /// What the breaker makes of it.
    pub fn health(self) -> Health {
        match self {
            Self::Success => Health::Good,
            Self::Transport(FailureKind::Unrenderable | FailureKind::Shortage) => Health::Unknown,
            Self::ServerError(_) | Self::Transport(_) => Health::Bad,
            Self::Gone | Self::Asked(_) | Self::ClientError(_) | Self::Other(_) => Health::Neutral,
        }
    }

    /// Whether the delivery has one attempt less than before; its age it has in any case.
    pub fn uses_attempt(self) -> bool {
        !matches!(self, Self::Asked(_) | Self::Transport(FailureKind::Shortage))
    }

    /// When the receiver asks to be left alone until.
    pub fn retry_after(self) -> Option<RetryAfter> {
        match self {
            Self::Asked(retry_after) => Some(retry_after),
            Self::ClientError(retry_after) | Self::ServerError(retry_after) | Self::Other(retry_after) => retry_after,
            Self::Success | Self::Gone | Self::Transport(_) => None,
        }
    }
}

/// The class of an answer as the attempt log and the metrics name it, whatever the endpoint calls success.
pub fn label(answer: &Answer) -> &'static str {
    match answer {
        Ok(Reply::Written) => "written",
        Ok(Reply::Response(response)) => match response.status {
            429 => "429",
            ..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        },
        Err(failure) => match failure.kind {
            FailureKind::Timeout => "timeout",
            FailureKind::Dns => "dns",
            FailureKind::Connect => "connect",
            FailureKind::Tls => "tls",
            FailureKind::Blocked => "blocked",
            FailureKind::Protocol => "protocol",
            FailureKind::File => "file",
            FailureKind::Internal => "internal",
            FailureKind::Shortage => "shortage",
            FailureKind::Unrenderable => "unrenderable",
        },
    }
}

fn succeeded(response: &Response, success: Success) -> bool {
    match success {
        Success::Status2xx => (200..=299).contains(&response.status),
        Success::Below400 => (200..=399).contains(&response.status),
        Success::Json200 => response.status == 200 && is_empty_or_json(response),
    }
}

/// A body longer than what is read cannot be checked and is not taken for valid.
fn is_empty_or_json(response: &Response) -> bool {
    response.complete
        && (response.body.is_empty() || serde_json::from_slice::<serde::de::IgnoredAny>(&response.body).is_ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(status: u16, body: &'static str) -> Answer {
        Ok(Response { body: body.into(), ..Response::new(status) }.into())
    }

    #[test]
    fn success_is_what_the_endpoint_says() {
        let is = |status, body, success| Outcome::of(&answer(status, body), success) == Outcome::Success;
        assert!(is(204, "", Success::Status2xx) && !is(302, "", Success::Status2xx));
        assert!(is(302, "", Success::Below400) && !is(400, "", Success::Below400));
        assert!(is(200, "", Success::Json200) && is(200, "{\"a\":1}", Success::Json200));
        assert!(!is(200, "<html>", Success::Json200) && !is(201, "{}", Success::Json200));
    }

    #[test]
    fn what_cannot_be_written_is_no_fault_of_the_receivers_and_not_tried_again() {
        let outcome = Outcome::Transport(FailureKind::Unrenderable);
        assert_eq!((outcome.health(), outcome.is_retried(RetryWhen::default())), (Health::Unknown, false));
    }

    #[test]
    fn what_this_machine_lacks_is_no_fault_of_the_receivers_and_uses_no_attempt() {
        let outcome = Outcome::Transport(FailureKind::Shortage);
        let never = RetryWhen { transport: false, ..RetryWhen::default() };
        assert_eq!(
            (outcome.health(), outcome.is_retried(never), outcome.uses_attempt()),
            (Health::Unknown, true, false)
        );
    }

    #[test]
    fn every_outcome_has_a_counter() {
        let tally = crate::metrics::Metrics::default().attempts;
        let kinds = [
            FailureKind::Timeout,
            FailureKind::Dns,
            FailureKind::Connect,
            FailureKind::Tls,
            FailureKind::Blocked,
            FailureKind::Protocol,
            FailureKind::File,
            FailureKind::Internal,
            FailureKind::Unrenderable,
            FailureKind::Shortage,
        ];
        let failures = kinds.map(|kind| Err(crate::transport::Failure::new(kind, "")));
        for answer in [200, 302, 404, 429, 503]
            .map(|status| answer(status, ""))
            .iter()
            .chain(&failures)
            .chain([&Ok(Reply::Written)])
        {
            tally.one(label(answer));
        }
        assert!(tally.read().all(|(name, _)| name != "other"));
    }

    #[test]
    fn a_line_on_disk_is_a_success_whatever_the_endpoint_calls_one() {
        for success in [Success::Status2xx, Success::Below400, Success::Json200] {
            assert_eq!(Outcome::of(&Ok(Reply::Written), success), Outcome::Success);
        }
        let failed = Outcome::Transport(FailureKind::File);
        assert_eq!((failed.health(), failed.is_retried(RetryWhen::default())), (Health::Bad, true));
    }

    #[test]
    fn a_cut_body_is_not_valid_json() {
        let cut = Ok(Response {
            status: 200,
            retry_after: None,
            body: "1".into(),
            complete: false,
            content_type: None,
            peer: None,
        }
        .into());
        assert_ne!(Outcome::of(&cut, Success::Json200), Outcome::Success);
    }

    #[test]
    fn asking_for_time_is_no_fault_and_only_with_a_time() {
        let asked = |status| {
            let retry_after = Some(RetryAfter::Delay(Duration::from_secs(1)));
            let response = Response { retry_after, ..Response::new(status) };
            Outcome::of(&Ok(response.into()), Success::Status2xx)
        };
        assert_eq!(asked(429).health(), Health::Neutral);
        assert_eq!(asked(503).health(), Health::Neutral);
        assert_eq!(asked(500).health(), Health::Bad);
        assert_eq!(Outcome::of(&answer(503, ""), Success::Status2xx).health(), Health::Bad);
    }
}
