//! From the publisher's request to the receiver, over loopback, against yardsticks measured in the same run.

#![allow(
    clippy::unwrap_used,
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
    cell::Cell,
    collections::HashMap,
    process::exit,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{App, HttpServer};
use common::{
    TOPIC, payload,
    process::cpu_time,
    raw::{Posted, Receiver, post, request},
    stage::{Ids, Life, Stage},
};
use futures_util::future::join_all;
use hookmill::{Access, Endpoint, Event, Hookmill, PublishError};

const EVENTS: usize = 100_000;
/// Connections of the load, and attempts that awc makes at once.
const CONNECTIONS: usize = 64;
/// Tasks that publish through the library.
const TASKS: usize = 256;
/// Endpoints at the one receiver; each gets its share of the events.
const ENDPOINTS: usize = 8;
const TOKEN: &str = "hmk_end-to-end-benchmark";
/// The paced part: so many events, one each so often.
const PACED: usize = 10_000;
const PACE: Duration = Duration::from_millis(1);

/// One line of the table.
#[derive(Clone, Copy)]
struct Line {
    what: &'static str,
    per_second: f64,
    /// Of the whole process: load and receiver too.
    cpu: Duration,
}

fn main() {
    let events = common::events_wanted(EVENTS);
    let system = actix_web::rt::System::new();
    let sound = system.block_on(run(events));
    if !sound {
        exit(1);
    }
}

async fn run(events: usize) -> bool {
    let receiver = Receiver::start();
    println!("{events} events of 1 KiB; {} cores", cores());
    println!("{:<52} {:>9} {:>9} {:>7} {:>7} {:>7}", "", "per s", "CPU us", "of (a)", "of (b)", "of (c)");
    let mut yardsticks = Vec::new();
    let a = measured("(a) raw sockets, 64 connections: posts", events, raw_posts(&receiver, events)).await;
    print(a, &mut yardsticks, true);
    let b = measured("(b) awc alone, 64 at once: posts", events, awc_posts(&receiver, events)).await;
    print(b, &mut yardsticks, true);
    let c = tokio::task::spawn_blocking(move || store_alone(events)).await.unwrap();
    print(c, &mut yardsticks, true);
    let mut sound = true;
    for way in [Way::Http, Way::Library] {
        let dir = common::scratch();
        let hooks = start(&dir, &receiver).await;
        for line in through(way, &hooks, &receiver, events, &mut sound).await {
            print(line, &mut yardsticks, false);
        }
        hooks.shutdown(Duration::from_secs(10)).await;
    }
    sound & latency(&receiver, events.min(PACED)).await
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn print(line: Line, yardsticks: &mut Vec<f64>, yardstick: bool) {
    let Line { what, per_second, cpu } = line;
    let mut text = format!("{what:<52} {per_second:>9.0} {:>9.1}", cpu.as_secs_f64() * 1e6);
    if yardstick {
        yardsticks.push(per_second);
    } else {
        for yardstick in yardsticks {
            text.push_str(&format!(" {:>5.0} %", 100.0 * per_second / *yardstick));
        }
    }
    println!("{text}");
}

/// How fast `work` is done with `events`.
async fn measured<T>(what: &'static str, events: usize, work: impl Future<Output = T>) -> Line {
    let (start, cpu) = (Instant::now(), cpu_time());
    work.await;
    line(what, events, start.elapsed(), cpu_time().saturating_sub(cpu))
}

fn line(what: &'static str, events: usize, took: Duration, cpu: Duration) -> Line {
    Line { what, per_second: events as f64 / took.as_secs_f64(), cpu: cpu / u32::try_from(events).unwrap() }
}

/// A request like those that Hookmill makes.
fn delivery() -> Vec<u8> {
    let signature = format!("v1,{}", "c2lnbmF0dXJl".repeat(3));
    let headers = [
        ("user-agent", "yardstick"),
        ("content-type", "application/json"),
        ("webhook-id", "evt_00000000000000000000000000000000"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", signature.as_str()),
    ];
    request("/", &headers, &payload())
}

async fn raw_posts(receiver: &Receiver, events: usize) {
    let bytes = delivery();
    post(receiver.address, CONNECTIONS, events, None, move |_| bytes.clone()).await;
    receiver.take();
}

/// As many threads as Hookmill delivers with.
async fn awc_posts(receiver: &Receiver, events: usize) {
    let threads = cores().clamp(1, 4);
    let url = receiver.url();
    let workers = (0..threads).map(|_| {
        let url = url.clone();
        tokio::task::spawn_blocking(move || {
            actix_web::rt::System::new().block_on(awc_loop(&url, events / threads, CONNECTIONS / threads));
        })
    });
    let workers: Vec<_> = workers.collect();
    join_all(workers).await.into_iter().for_each(|done| done.unwrap());
    receiver.take();
}

async fn awc_loop(url: &str, events: usize, at_once: usize) {
    let client = awc::Client::builder().connector(awc::Connector::new().limit(0)).disable_timeout().finish();
    let (left, body) = (Rc::new(Cell::new(events)), bytes::Bytes::from(payload()));
    let posting = (0..at_once).map(|_| async {
        while let Some(rest) = left.get().checked_sub(1) {
            left.set(rest);
            let request = client.post(url).insert_header(("webhook-id", "evt_00000000000000000000000000000000"));
            let mut answer = request.content_type("application/json").send_body(body.clone()).await.unwrap();
            answer.body().await.unwrap();
        }
    });
    join_all(posting).await;
}

fn store_alone(events: usize) -> Line {
    let stage = Stage::new(Life::Whole, Ids::Generated);
    stage.publish(events as u64 / 20, TASKS);
    let cpu = cpu_time();
    let took = stage.publish(events as u64, TASKS);
    line("(c) the store alone, 256 waiting: events", events, took, cpu_time().saturating_sub(cpu))
}

async fn start(dir: &tempfile::TempDir, receiver: &Receiver) -> Hookmill {
    let mut builder = Hookmill::builder().data_dir(dir.path());
    for index in 0..ENDPOINTS {
        builder = builder.endpoint(Endpoint::http(format!("receiver-{index}"), receiver.url()).topics([topic(index)]));
    }
    builder.start().await.unwrap()
}

/// Every endpoint has a topic of its own.
fn topic(index: usize) -> String {
    format!("{TOPIC}.{}", index % ENDPOINTS)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    Library,
}

/// Publishes and waits for the last delivery; tells how fast events were accepted and how fast delivered.
async fn through(way: Way, hooks: &Hookmill, receiver: &Receiver, events: usize, sound: &mut bool) -> [Line; 2] {
    let (start, cpu) = (Instant::now(), cpu_time());
    let (posted, names) = match way {
        Way::Http => (over_http(hooks, events, None).await, ["(d) Hookmill over HTTP: accepted", "    delivered"]),
        Way::Library => (publish(hooks, events).await, ["(e) Hookmill as a library: accepted", "    delivered"]),
    };
    receiver.wait_for(events).await;
    let (took, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    *sound &= balanced(&posted, &receiver.take(), events);
    [line(names[0], events, posted.took, cpu), line(names[1], events, took, cpu)]
}

/// Posts to the API, which is served in this process.
async fn over_http(hooks: &Hookmill, events: usize, pace: Option<Duration>) -> Posted {
    let api = hooks.api(Access::token(TOKEN));
    let server = HttpServer::new(move || App::new().configure(api.clone())).disable_signals();
    let server = server.bind("127.0.0.1:0").unwrap();
    let address = server.addrs()[0];
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let (token, data) = (format!("Bearer {TOKEN}"), payload());
    let body = move |index: usize| {
        let body = format!(r#"{{"topic":"{}","data":{data}}}"#, topic(index));
        request("/v1/events", &[("content-type", "application/json"), ("authorization", &token)], &body)
    };
    let posted = post(address, CONNECTIONS, events, pace, body).await;
    handle.stop(false).await;
    posted
}

async fn publish(hooks: &Hookmill, events: usize) -> Posted {
    let (next, data) = (Cell::new(0), bytes::Bytes::from(payload()));
    let start = Instant::now();
    let publishing = (0..TASKS).map(|_| async {
        let mut posted = Posted::default();
        while next.get() < events {
            let index = next.replace(next.get() + 1);
            let event = Event::from_json(topic(index), data.clone());
            publish_one(hooks, event, &mut posted).await;
        }
        posted
    });
    let mut all = Posted::default();
    for posted in join_all(publishing).await {
        all.accepted.extend(posted.accepted);
        all.refused += posted.refused;
    }
    Posted { took: start.elapsed(), ..all }
}

async fn publish_one(hooks: &Hookmill, mut event: Event, posted: &mut Posted) {
    loop {
        let start = Instant::now();
        match hooks.publish(event).await {
            Ok(accepted) => {
                posted.accepted.insert(accepted.id.to_string(), start);
                return;
            }
            Err(error @ PublishError::Overloaded { .. }) => event = error.into_event().unwrap(),
            Err(error) => panic!("{error}"),
        }
        posted.refused += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether every event that was accepted came to the receiver; says what did not, and what is odd.
fn balanced(posted: &Posted, received: &HashMap<String, (Instant, usize)>, events: usize) -> bool {
    let accepted = posted.accepted.len();
    let lost = posted.accepted.keys().filter(|id| !received.contains_key(*id)).count();
    let again: usize = received.values().map(|(_, times)| times - 1).sum();
    if posted.refused + again > 0 {
        println!("    {} refused as overloaded and published again, {again} delivered more than once", posted.refused);
    }
    if accepted != events || lost > 0 {
        eprintln!("the ledger does not match: {events} published, {accepted} accepted, {lost} of them lost");
        return false;
    }
    true
}

/// From the request being written to its event being received, at a steady pace.
async fn latency(receiver: &Receiver, events: usize) -> bool {
    let dir = common::scratch();
    let hooks = start(&dir, receiver).await;
    over_http(&hooks, events / 20, Some(PACE)).await;
    receiver.wait_for(events / 20).await;
    receiver.take();
    let cpu = cpu_time();
    let posted = over_http(&hooks, events, Some(PACE)).await;
    receiver.wait_for(events).await;
    let cpu = (cpu_time().saturating_sub(cpu)).as_secs_f64() / posted.took.as_secs_f64();
    let received = receiver.take();
    let sound = balanced(&posted, &received, events);
    let times = posted.accepted.iter().filter_map(|(id, written)| Some(received.get(id)?.0 - *written));
    let mut times: Vec<_> = times.collect();
    times.sort_unstable();
    let per_second = events as f64 / posted.took.as_secs_f64();
    let at =
        |share: f64| times.get((times.len() as f64 * share) as usize).or(times.last()).copied().unwrap_or_default();
    println!(
        "(f) written to received, {per_second:.0} per s: p50 {:.2?}, p99 {:.2?}, max {:.2?}; {:.0} % of one core",
        at(0.5),
        at(0.99),
        at(1.0),
        100.0 * cpu
    );
    hooks.shutdown(Duration::from_secs(10)).await;
    sound
}
