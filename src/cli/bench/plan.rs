//! What the options come to.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Bench, ledger::Fan};
use crate::cli::{Failed, parse_duration};

/// How long events are published unless it is said, and at most.
const USUAL: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(30 * 60);

/// One run.
#[derive(Debug)]
pub(super) struct Plan {
    /// Of endpoints and topics: no other run has it.
    pub(super) name: String,
    pub(super) fan: Fan,
    pub(super) events: usize,
    pub(super) duration: Duration,
    /// Of the endpoints, over what is usual.
    pub(super) settings: Value,
}

impl Plan {
    pub(super) fn of(options: &Bench) -> Result<Self, Failed> {
        let fan = Fan { endpoints: options.endpoints, fan_out: options.fan_out };
        if fan.groups() * fan.fan_out != fan.endpoints {
            return Err(Failed::new(2, "--endpoints must be a multiple of --fan-out"));
        }
        let usual = if options.events.is_some() { LONGEST } else { USUAL };
        let duration = options.duration.unwrap_or(usual);
        let most = options.rate.map_or(usize::MAX, |rate| scheduled(rate, duration));
        let events = options.events.unwrap_or(usize::MAX).min(most).min(fan.most_events());
        let name = format!("{:08x}", fastrand::u32(..));
        Ok(Self { name, fan, events, duration, settings: settings(options) })
    }

    pub(super) fn in_words(&self, options: &Bench, own: bool) -> String {
        let server = if own { "a server of its own" } else { "the server that runs" };
        let load = match options.rate {
            Some(rate) => format!("{rate} events/s"),
            None => "closed loop".to_owned(),
        };
        let Bench { size, endpoints, fan_out, concurrency, batch_in, batch_out, .. } = options;
        let mut text = format!(
            "{server}; {load} over {concurrency} connections, {size} bytes of data; endpoints: {endpoints}, of which each \
             event reaches {fan_out}"
        );
        if *batch_in > 1 {
            text.push_str(&format!("; {batch_in} events a publish"));
        }
        if *batch_out > 1 {
            text.push_str(&format!("; up to {batch_out} events a delivery"));
        }
        if options.failing > 0.0 {
            text.push_str(&format!("; {} % of the deliveries answered 500", 100.0 * options.failing));
        }
        text
    }
}

/// How many events a schedule has.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a conversion ends at the bounds")]
fn scheduled(rate: f64, duration: Duration) -> usize {
    ((rate * duration.as_secs_f64()).ceil() as usize).max(1)
}

fn settings(options: &Bench) -> Value {
    let mut settings = Map::new();
    if options.batch_out > 1 {
        let batch = json!({"max_items": options.batch_out, "flush_interval": "100ms"});
        settings.insert("batch".to_owned(), batch);
    }
    if options.failing > 0.0 {
        // However many fail in a row: a dead letter would be a loss here.
        let retry = json!({"initial": "100ms", "factor": 1.0, "max_delay": "100ms", "max_attempts": 10_000});
        settings.insert("retry".to_owned(), retry);
        settings.insert("breaker".to_owned(), json!({"cooldown": "100ms", "max_cooldown": "100ms"}));
    }
    settings.into()
}

/// A whole number within bounds.
pub(super) fn count(least: usize, most: usize) -> impl Fn(&str) -> Result<usize, String> + Clone + Send + Sync {
    move |text| match text.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(format!("must be a whole number from {least} to {most}")),
    }
}

/// Events per second.
pub(super) fn parse_rate(text: &str) -> Result<f64, String> {
    match text.strip_suffix("/s").unwrap_or(text).parse() {
        Ok(rate) if (0.1..=1e6).contains(&rate) => Ok(rate),
        _ => Err("must be from 0.1/s to 1000000/s".to_owned()),
    }
}

pub(super) fn parse_share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=0.9).contains(&share) => Ok(share),
        _ => Err("must be from 0 to 0.9".to_owned()),
    }
}

pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        time if (Duration::from_millis(1)..=LONGEST).contains(&time) => Ok(time),
        _ => Err("must be from 1ms to 30m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        bench: Bench,
    }

    fn options(args: &[&str]) -> Result<Bench, String> {
        let line = Line::try_parse_from(["bench"].iter().chain(args)).map_err(|error| error.to_string())?;
        Ok(line.bench)
    }

    fn plan(args: &[&str]) -> Result<Plan, String> {
        Plan::of(&options(args)?).map_err(|failed| failed.message)
    }

    #[test]
    fn a_run_is_bounded_by_time_and_by_events() {
        let bounds = |args: &[&str]| plan(args).map(|plan| (plan.events, plan.duration.as_secs())).unwrap();
        assert_eq!(bounds(&[]), (20_000_000, 10));
        assert_eq!(bounds(&["--events", "300"]), (300, 1800));
        assert_eq!(bounds(&["--events", "300", "--duration", "2s"]), (300, 2));
        assert_eq!(bounds(&["--rate", "100/s"]), (1000, 10));
        assert_eq!(bounds(&["--rate", "0.1", "--duration", "1ms"]), (1, 0));
        assert_eq!(bounds(&["--fan-out", "4", "--duration", "1m"]), (5_000_000, 60));
    }

    #[test]
    fn options_that_make_no_sense_are_refused() {
        for args in [
            &["--endpoints", "8", "--fan-out", "3"][..],
            &["--fan-out", "9"],
            &["--failing", "1"],
            &["--failing", "-0.1"],
            &["--rate", "0"],
            &["--rate", "NaN"],
            &["--size", "31"],
            &["--duration", "31m"],
            &["--duration", "0s"],
            &["--events", "0"],
            &["--receiver", "127.0.0.1:1"],
            &["--url", "http://127.0.0.1:1", "--dir", "/tmp"],
        ] {
            assert!(plan(args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn endpoints_are_set_as_the_options_say() {
        let settings = |args: &[&str]| plan(args).unwrap().settings;
        assert_eq!(settings(&[]), json!({}));
        assert_eq!(settings(&["--batch-out", "50"])["batch"]["max_items"], json!(50));
        assert_eq!(settings(&["--failing", "0.5"])["retry"]["initial"], json!("100ms"));
    }
}
