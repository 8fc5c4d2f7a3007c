//! How deliveries behave: success, retries, breaker, bounds.

use std::time::Duration;

use super::{batch, limits, queue};
use crate::{
    config::fields::{Field, Fields},
    endpoint::policy::{Backoff, BreakerPolicy, Exhausted, Policy, Rate, Retry, RetryWhen, Success, Unit, WhileOpen},
};

pub(super) const SUCCESSES: [(&str, Success); 3] =
    [("2xx", Success::Status2xx), ("below_400", Success::Below400), ("200_json", Success::Json200)];
pub(super) const EXHAUSTED: [(&str, Exhausted); 3] =
    [("dead_letter", Exhausted::DeadLetter), ("drop", Exhausted::Drop), ("requeue", Exhausted::Requeue)];
pub(super) const WHILE_OPEN: [(&str, WhileOpen); 3] =
    [("hold", WhileOpen::Hold), ("dead_letter", WhileOpen::DeadLetter), ("skip", WhileOpen::Skip)];
pub(super) const UNITS: [(&str, Unit); 2] = [("attempt", Unit::Attempt), ("event", Unit::Event)];
/// `disable_after` that never comes.
pub(super) const NEVER: &str = "never";

/// `initial` where only other exponential settings are given.
const INITIAL: Duration = Duration::from_secs(5);
/// `max_delay` where it is not given.
const MAX_DELAY: Duration = Duration::from_secs(3600);
/// `factor` where it is not given.
const FACTOR: f64 = 2.0;
/// `max_attempts` where it is not given.
const MAX_ATTEMPTS: u32 = 10;

pub(super) fn policy(fields: &mut Fields<'_>) -> Policy {
    let default = Policy::default();
    let success = fields.take("success").and_then(|field| field.choice(&SUCCESSES));
    let timeout = fields.take("timeout").and_then(|field| field.duration(limits::TIMEOUT));
    let in_flight = fields.take("in_flight").and_then(|field| field.whole(limits::IN_FLIGHT));
    let retry = fields.take("retry").and_then(|field| field.object(retry));
    let breaker = fields.take("breaker").and_then(|field| field.object(breaker));
    let batch = fields.take("batch").and_then(|field| batch::batch(&field));
    let rate = fields.take("rate").and_then(|field| field.object(rate));
    let disable_after = match fields.take("disable_after") {
        None => default.disable_after,
        Some(field) if field.value() == NEVER => None,
        Some(field) => field.duration(limits::RETRY_TIME),
    };
    let bounds = fields.take("queue").and_then(|field| field.object(queue::queue));
    let ordered = fields.take("ordered").and_then(|field| field.choice(&queue::ORDERED));
    let drain = fields.take("drain").and_then(|field| field.duration(limits::DRAIN));
    Policy {
        success: success.unwrap_or(default.success),
        retry: retry.unwrap_or(default.retry),
        breaker: breaker.unwrap_or(default.breaker),
        in_flight: in_flight.unwrap_or(if batch.is_some() { Policy::BATCHES_IN_FLIGHT } else { default.in_flight }),
        timeout: timeout.unwrap_or(default.timeout),
        rate,
        batch,
        disable_after,
        ordered: ordered.unwrap_or_default(),
        queue: bounds.unwrap_or_default(),
        drain,
    }
}

fn rate(fields: &mut Fields<'_>) -> Option<Rate> {
    let per_second = fields.require("per_second").and_then(|field| field.number(limits::RATE));
    let burst = fields.take("burst").and_then(|field| field.whole(limits::BURST));
    Some(Rate { per_second: per_second?, burst: burst.unwrap_or(1) })
}

fn retry(fields: &mut Fields<'_>) -> Option<Retry> {
    let default = Retry::default();
    let delays = fields.take("delays");
    let exponential = exponential(fields);
    if let (Some(field), Some(_)) = (&delays, &exponential) {
        field.fault("excludes initial, factor, max_delay and max_attempts: give a list or a formula");
    }
    let delays = delays.and_then(|field| waits(&field)).map(Backoff::Delays);
    let jitter = fields.take("jitter").and_then(|field| field.number(limits::JITTER));
    let max_age = fields.take("max_age").and_then(|field| field.duration(limits::RETRY_TIME));
    let when = fields.take("when").and_then(|field| when(&field));
    let exhausted = fields.take("exhausted").and_then(|field| field.choice(&EXHAUSTED));
    Some(Retry {
        backoff: delays.or(exponential).unwrap_or(default.backoff),
        jitter: jitter.unwrap_or(default.jitter),
        max_age: max_age.unwrap_or(default.max_age),
        when: when.unwrap_or(default.when),
        exhausted: exhausted.unwrap_or(default.exhausted),
    })
}

fn waits(field: &Field<'_>) -> Option<Vec<Duration>> {
    let items = field.list(0..=limits::MAX_DELAYS)?;
    let mut waits: Vec<_> = items.iter().filter_map(|item| item.duration(limits::DELAY)).collect();
    waits.shrink_to_fit();
    Some(waits)
}

/// `None` when no part of it is given.
fn exponential(fields: &mut Fields<'_>) -> Option<Backoff> {
    let initial = fields.take("initial");
    let factor = fields.take("factor");
    let max_delay = fields.take("max_delay");
    let max_attempts = fields.take("max_attempts");
    [&initial, &factor, &max_delay, &max_attempts].iter().find(|field| field.is_some())?;
    let initial = initial.and_then(|field| field.duration(limits::RETRY_TIME)).unwrap_or(INITIAL);
    Some(Backoff::Exponential {
        initial,
        factor: factor.and_then(|field| field.number(limits::FACTOR)).unwrap_or(FACTOR),
        max_delay: no_less(max_delay, &limits::RETRY_TIME, initial, "initial").unwrap_or(MAX_DELAY.max(initial)),
        max_attempts: max_attempts.and_then(|field| field.whole(limits::MAX_ATTEMPTS)).unwrap_or(MAX_ATTEMPTS),
    })
}

/// A duration that must not be shorter than the setting `name`.
fn no_less(
    field: Option<Field<'_>>,
    range: &std::ops::RangeInclusive<Duration>,
    least: Duration,
    name: &str,
) -> Option<Duration> {
    let field = field?;
    let duration = field.duration(range.clone())?;
    if duration < least {
        field.fault(format!("must not be shorter than `{name}`"));
    }
    Some(duration)
}

fn when(field: &Field<'_>) -> Option<RetryWhen> {
    let mut when = RetryWhen { transport: false, server_error: false, client_error: false, other: false };
    for item in field.list(0..=4)? {
        let choices = [("transport", "transport"), ("5xx", "5xx"), ("4xx", "4xx"), ("other", "other")];
        match item.choice(&choices) {
            Some("transport") => when.transport = true,
            Some("5xx") => when.server_error = true,
            Some("4xx") => when.client_error = true,
            Some(_) => when.other = true,
            None => {}
        }
    }
    Some(when)
}

fn breaker(fields: &mut Fields<'_>) -> Option<BreakerPolicy> {
    let default = BreakerPolicy::default();
    let failures = fields.take("failures").and_then(|field| field.whole(limits::BREAKER_COUNT));
    let min_events = fields.take("min_events").and_then(|field| field.whole(limits::BREAKER_COUNT));
    let cooldown = fields.take("cooldown").and_then(|field| field.duration(limits::COOLDOWN));
    let cooldown = cooldown.unwrap_or(default.cooldown);
    let while_open = fields.take("while_open").and_then(|field| field.choice(&WHILE_OPEN));
    let unit = fields.take("unit").and_then(|field| field.choice(&UNITS));
    let max_cooldown = no_less(fields.take("max_cooldown"), &limits::COOLDOWN, cooldown, "cooldown");
    Some(BreakerPolicy {
        failures: failures.unwrap_or(default.failures),
        min_events: min_events.unwrap_or(default.min_events),
        cooldown,
        max_cooldown: max_cooldown.unwrap_or(default.max_cooldown.max(cooldown)),
        while_open: while_open.unwrap_or(default.while_open),
        unit: unit.unwrap_or(default.unit),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::endpoint::settings::laws::{places, with};

    #[test]
    fn a_formula_fills_what_it_leaves_out() {
        let backoff = |retry| with(json!({"retry": retry})).unwrap().policy.retry.backoff.clone();
        let initial = Duration::from_secs(7200);
        let expected = Backoff::Exponential { initial, factor: 2.0, max_delay: initial, max_attempts: 10 };
        assert_eq!(backoff(json!({"initial": "2h"})), expected);
        assert_eq!(backoff(json!({"jitter": 0})), Retry::default().backoff);
        assert_eq!(backoff(json!({"delays": []})), Backoff::Delays(Vec::new()));
    }

    #[test]
    fn a_list_beside_a_formula_is_refused() {
        assert_eq!(places(with(json!({"retry": {"delays": ["1s"], "max_attempts": 3}}))), ["#/retry/delays"]);
        assert_eq!(places(with(json!({"retry": {"initial": "2s", "max_delay": "1s"}}))), ["#/retry/max_delay"]);
    }

    #[test]
    fn a_long_cooldown_moves_the_cap_that_is_not_given() {
        let policy = with(json!({"breaker": {"cooldown": "1h"}})).unwrap().policy;
        assert_eq!(policy.breaker.max_cooldown, Duration::from_secs(3600));
    }
}
