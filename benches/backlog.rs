//! A backlog of a million events behind one dead endpoint: what it costs in memory, and how soon work goes on after a
//! restart. Each phase is a process of its own, so that its memory and its start are its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark ends when something is wrong, prints what it finds and reads the clock"
)]

mod common;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, exit},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{
    GROUP, TOPIC, bytes_in,
    process::{mib, resident},
};
use futures_util::future::{LocalBoxFuture, ready};
use hookmill::{
    Endpoint, Event, Hookmill,
    endpoint::EndpointBuilder,
    transport::{Answer, Attempt, Failure, FailureKind, Response, Transport},
};
use serde_json::json;

const PHASE: &str = "HOOKMILL_BENCH_PHASE";
const DIR: &str = "HOOKMILL_BENCH_DIR";
/// How long the breaker stays open after a failed probe: short, so that the start is measured and not the wait.
const COOLDOWN: Duration = Duration::from_secs(1);
const ENDPOINTS: usize = 100_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = env::var_os(DIR).map(PathBuf::from).unwrap_or_default();
    match env::var(PHASE).as_deref() {
        Ok("publish") => runtime.block_on(publish(&dir)),
        Ok("drain") => runtime.block_on(drain(&dir)),
        Ok("configure") => runtime.block_on(configure(&dir)),
        Ok("start") => runtime.block_on(start(&dir)),
        _ => parent(),
    }
}

fn parent() {
    let events = events();
    println!("a backlog of {events} events of 1 KiB for one endpoint that refuses every connection");
    let dir = common::scratch();
    phase("publish", dir.path());
    thread::sleep(COOLDOWN);
    phase("drain", dir.path());
    println!("{ENDPOINTS} endpoints configured");
    let dir = common::scratch();
    phase("configure", dir.path());
    phase("start", dir.path());
}

fn phase(name: &str, dir: &Path) {
    let status = Command::new(env::current_exe().unwrap()).env(PHASE, name).env(DIR, dir).status().unwrap();
    if !status.success() {
        eprintln!("the phase {name} failed: {status}");
        exit(1);
    }
}

fn events() -> usize {
    common::events_wanted(1_000_000)
}

fn say(what: &str, value: impl std::fmt::Display) {
    println!("  {what:<58} {value:>12}");
}

fn say_time(what: &str, time: Duration) {
    say(what, format!("{:.2} s", time.as_secs_f64()));
}

fn say_bytes(what: &str, bytes: u64) {
    say(what, format!("{:.0} MiB", mib(bytes)));
}

fn dead_endpoint() -> EndpointBuilder {
    let cooldown = format!("{}s", COOLDOWN.as_secs());
    let breaker = json!({"breaker": {"cooldown": cooldown, "max_cooldown": cooldown}});
    Endpoint::http("dead", "http://127.0.0.1:9/").settings(breaker)
}

/// Refuses, or takes everything and writes down what came when.
#[derive(Clone, Default)]
struct Far {
    works: bool,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    first: Option<Instant>,
    /// Different events.
    events: usize,
    /// Attempts of events that had come before.
    again: usize,
    by_seq: Vec<bool>,
}

impl Seen {
    fn note(&mut self, seq: usize) {
        let length = self.by_seq.len().max(seq + 1);
        self.by_seq.resize(length, false);
        if std::mem::replace(&mut self.by_seq[seq], true) {
            self.again += 1;
        } else {
            self.events += 1;
        }
    }
}

impl Transport for Far {
    fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer> {
        let mut seen = self.seen.lock().unwrap();
        seen.first.get_or_insert_with(Instant::now);
        if !self.works {
            return Box::pin(ready(Err(Failure {
                kind: FailureKind::Connect,
                detail: "refused".to_owned(),
                peer: None,
            })));
        }
        seen.note(usize::try_from(attempt.event().seq).unwrap());
        let body = Bytes::new();
        Box::pin(ready(Ok(Response { body, ..Response::new(200) }.into())))
    }
}

async fn publish(dir: &Path) {
    let far = Far::default();
    let transport = far.clone();
    let builder = Hookmill::builder().data_dir(dir).endpoint(dead_endpoint()).transport(move || transport.clone());
    let hooks = builder.start().await.unwrap();
    let (before, start) = (resident(), Instant::now());
    let (mut left, mut most) = (events(), before);
    let event = common::event();
    while left > 0 {
        let count = left.min(GROUP);
        common::publish_group(&hooks, vec![event.clone(); count]).await;
        left -= count;
        most = most.max(resident());
    }
    let took = start.elapsed();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let standing = hooks.standing(&"dead".parse().unwrap()).await.unwrap();
    let delivery = standing.delivery.expect("the endpoint has something to do");
    let in_window = delivery.window_fresh + delivery.window_retries;
    say_time("accepted, in groups of 500, in", took);
    say("  events/s", format!("{:.0}", events() as f64 / took.as_secs_f64()));
    say_bytes("resident memory before", before);
    say_bytes("  at most while publishing", most);
    say_bytes("  after", resident());
    say("deliveries in memory, of 1 KiB each", in_window);
    say("deliveries pending", standing.totals.pending);
    say_bytes("files", bytes_in(dir));
    let start = Instant::now();
    let report = hooks.shutdown(Duration::from_secs(10)).await;
    say_time("shut down in", start.elapsed());
    assert_eq!(report.kept, u64::try_from(events()).unwrap(), "what was accepted is kept");
}

async fn drain(dir: &Path) {
    let far = Far { works: true, ..Far::default() };
    let transport = far.clone();
    let builder = Hookmill::builder().data_dir(dir).endpoint(dead_endpoint()).transport(move || transport.clone());
    let start = Instant::now();
    let hooks = builder.start().await.unwrap();
    say_time("started again in", start.elapsed());
    say_bytes("resident memory then", resident());
    let mut most = resident();
    let delivered = loop {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let delivered = far.seen.lock().unwrap().events;
        most = most.max(resident());
        if delivered >= events() || start.elapsed() > Duration::from_secs(300) {
            break delivered;
        }
    };
    let took = start.elapsed();
    let Seen { first, again, .. } = std::mem::take(&mut *far.seen.lock().unwrap());
    say_time("first attempt after", first.expect("an attempt") - start);
    say_time("all delivered after", took);
    say("  deliveries/s", format!("{:.0}", delivered as f64 / took.as_secs_f64()));
    say_bytes("resident memory at most", most);
    say("delivered / more than once", format!("{delivered} / {again}"));
    hooks.shutdown(Duration::from_secs(10)).await;
    if delivered != events() || again > 0 {
        eprintln!("not every event was delivered exactly once");
        exit(1);
    }
}

async fn configure(dir: &Path) {
    let endpoint = |index| Endpoint::http(format!("endpoint-{index}"), "http://127.0.0.1:9/").topics([topic(index)]);
    common::configured::configure(dir, ENDPOINTS, endpoint).await;
}

fn topic(index: usize) -> String {
    format!("{TOPIC}.{index}")
}

async fn start(dir: &Path) {
    let far = Far { works: true, ..Far::default() };
    let transport = far.clone();
    let (before, start) = (resident(), Instant::now());
    let hooks = Hookmill::builder().data_dir(dir).transport(move || transport.clone()).start().await.unwrap();
    say_time("started in", start.elapsed());
    say_bytes("resident memory before", before);
    say_bytes("  after", resident());
    let start = Instant::now();
    hooks.publish(Event::from_json(topic(ENDPOINTS / 2), common::payload())).await.unwrap();
    while far.seen.lock().unwrap().first.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    say("an event accepted and attempted within", format!("{:.1} ms", start.elapsed().as_secs_f64() * 1000.0));
    hooks.shutdown(Duration::from_secs(10)).await;
}
