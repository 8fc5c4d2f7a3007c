//! What sick endpoints and a burst for one endpoint cost the others, over loopback: everything is measured twice, alone and
//! beside it.

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
    cell::RefCell,
    process::exit,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{
    TOPIC, payload,
    process::cpu_time,
    raw::{FLAPPING, Receiver, SLOW, post, request},
    times::Times,
};
use futures_util::future::join_all;
use hookmill::{Endpoint, Event, Hookmill, endpoint::EndpointBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{runtime, task::LocalSet};

/// Events of the burst; a fifth of it in each run among a hundred endpoints.
const EVENTS: usize = 100_000;
/// Tasks that publish as fast as it goes, each of which waits for its event to be accepted.
const TASKS: usize = 256;
/// In the first part. The first of them are the sick ones.
const ENDPOINTS: usize = 100;
const SICK: usize = 3;
/// How often the first part measures the rate; the median counts.
const RUNS: usize = 3;
/// The steady load of the first part.
const PACE: Duration = Duration::from_millis(2);
/// In the second part: endpoints with a trickle, and its pace over all of them.
const QUIET: usize = 50;
const TRICKLE: Duration = Duration::from_millis(5);
/// How long a steady load goes on.
const STEADY: Duration = Duration::from_secs(5);
/// How long one that was turned away waits.
const AGAIN: Duration = Duration::from_millis(10);

fn main() {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sound = LocalSet::new().block_on(&runtime, async {
        let among = among_sick().await;
        among & beside_burst().await
    });
    if !sound {
        exit(1);
    }
}

/// What a hundred endpoints do, and what those do of them that are healthy in both runs.
struct Run {
    per_second: f64,
    cpu: Duration,
    latency: Times,
    refused: usize,
    sound: bool,
}

async fn among_sick() -> bool {
    let events = common::events_wanted(EVENTS) / 5;
    println!(
        "{ENDPOINTS} endpoints, {events} events of 1 KiB for all of them, by {TASKS} tasks; latency at 500 a second:"
    );
    println!("{:<42} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "events/s", "CPU us", "p50 ms", "p99 ms", "max ms");
    let mut sound = true;
    let mut runs = Vec::new();
    let sick: [(&str, &[Kind]); 5] = [
        ("all healthy", &[]),
        ("one refuses connections", &[Kind::Dead]),
        ("one answers after 30 s", &[Kind::Slow]),
        ("one works for 100 ms, fails for 100 ms", &[Kind::Flapping]),
        ("all three", &[Kind::Dead, Kind::Slow, Kind::Flapping]),
    ];
    for (what, sick) in sick {
        let run = among(sick, events).await;
        println!("{what:<42} {:>9.0} {:>9.1} {}", run.per_second, run.cpu.as_secs_f64() * 1e6, run.latency);
        if run.refused > 0 {
            println!("    {} times turned away, and published again", run.refused);
        }
        sound &= run.sound;
        runs.push(run);
    }
    for ((what, _), run) in sick.iter().zip(&runs).skip(1) {
        let (rate, p99) = (run.per_second / runs[0].per_second, ratio(&run.latency, &runs[0].latency));
        println!(
            "{what:<42} {:>7.0} % of the rate of the {} others, p99 {p99:.2} times",
            rate * 100.0,
            ENDPOINTS - SICK
        );
    }
    sound
}

fn ratio(beside: &Times, alone: &Times) -> f64 {
    beside.p99().as_secs_f64() / alone.p99().as_secs_f64().max(1e-9)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Dead,
    Slow,
    Flapping,
}

impl Kind {
    fn endpoint(self, receiver: &Receiver) -> (String, Value) {
        match self {
            Self::Dead => ("http://127.0.0.1:9/".to_owned(), json!({})),
            Self::Slow => (receiver.url_of(SLOW), json!({"timeout": "40s"})),
            Self::Flapping => {
                let retry = json!({"initial": "200ms", "factor": 1, "max_attempts": 1000});
                (
                    receiver.url_of(FLAPPING),
                    json!({"retry": retry, "breaker": {"cooldown": "200ms", "max_cooldown": "1s"}}),
                )
            }
        }
    }
}

async fn among(sick: &[Kind], events: usize) -> Run {
    let (dir, receiver, other) = (common::scratch(), Receiver::start(), Receiver::start());
    let endpoint = |index: usize| {
        let (url, settings) = match sick.get(index) {
            Some(kind) => kind.endpoint(&other),
            None if index < SICK => (other.url(), json!({})),
            None => (receiver.url(), json!({})),
        };
        Endpoint::http(format!("endpoint-{index}"), url).topics([topic(index)]).settings(settings)
    };
    let hooks = start(&dir, (0..ENDPOINTS).map(endpoint)).await;
    flat_out(&hooks, &receiver, events / 10).await;
    let (mut runs, mut sound, mut refused) = (Vec::new(), true, 0);
    for _ in 0..RUNS {
        let (per_second, cpu, found) = flat_out(&hooks, &receiver, events).await;
        sound &= found.sound;
        refused += found.refused;
        runs.push((per_second, cpu));
    }
    runs.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    let (per_second, cpu) = runs[RUNS / 2];
    let steady = trickle(&hooks, PACE, |elapsed| elapsed < STEADY, |index| event(index % ENDPOINTS)).await;
    let wanted = steady.count_of(|index| index % ENDPOINTS >= SICK);
    receiver.wait_for(wanted).await;
    let found = steady.found(&receiver, |index| index % ENDPOINTS >= SICK);
    sound &= found.sound & accounted_for(&hooks).await;
    refused += found.refused;
    hooks.shutdown(Duration::from_secs(1)).await;
    Run { per_second, cpu, latency: found.latency, refused, sound }
}

/// The sums of a Hookmill with sick endpoints: what was not delivered is still there.
async fn accounted_for(hooks: &Hookmill) -> bool {
    let totals = hooks.stats().await.unwrap();
    let sound = totals.add_up() && totals.deliveries.dead_lettered == 0 && totals.deliveries.dropped.is_empty();
    if !sound {
        eprintln!("the sums are wrong: {totals:?}");
    }
    sound
}

async fn start(dir: &TempDir, endpoints: impl Iterator<Item = EndpointBuilder>) -> Hookmill {
    endpoints.fold(Hookmill::builder().data_dir(dir.path()), hookmill::Builder::endpoint).start().await.unwrap()
}

fn topic(index: usize) -> String {
    format!("{TOPIC}.{index}")
}

fn event(index: usize) -> Event {
    thread_local!(static DATA: Bytes = payload().into());
    Event::from_json(topic(index), DATA.with(Bytes::clone))
}

/// What came of the events that were published and were to arrive.
#[derive(Default)]
struct Found {
    latency: Times,
    refused: usize,
    sound: bool,
}

/// Publishes to all endpoints as fast as it goes. Tells the rate of the healthy ones until the last event of theirs has come,
/// and processor time per event.
async fn flat_out(hooks: &Hookmill, receiver: &Receiver, events: usize) -> (f64, Duration, Found) {
    let sent = Sent::default();
    let (start, cpu, healthy) = (Instant::now(), cpu_time(), |index: usize| index % ENDPOINTS >= SICK);
    let publisher = async |first: usize| {
        for index in (first..events).step_by(TASKS) {
            sent.publish(hooks, index, event(index % ENDPOINTS), Instant::now()).await;
        }
    };
    join_all((0..TASKS).map(publisher)).await;
    let wanted = sent.count_of(healthy);
    receiver.wait_for(wanted).await;
    let (took, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    let found = sent.found(receiver, healthy);
    (wanted as f64 / took.as_secs_f64(), cpu / u32::try_from(events).unwrap(), found)
}

/// What was published, when it was due, and how it was called.
#[derive(Default)]
struct Sent {
    events: RefCell<Vec<(usize, String, Instant)>>,
    refused: RefCell<usize>,
}

impl Sent {
    async fn publish(&self, hooks: &Hookmill, index: usize, event: Event, due: Instant) {
        let (accepted, refused) = common::publish_one(hooks, event, AGAIN).await;
        self.events.borrow_mut().push((index, accepted.id.to_string(), due));
        *self.refused.borrow_mut() += refused;
    }

    fn count_of(&self, wanted: impl Fn(usize) -> bool) -> usize {
        self.events.borrow().iter().filter(|(index, ..)| wanted(*index)).count()
    }

    /// From the moment each was due to its arrival.
    fn found(&self, receiver: &Receiver, wanted: impl Fn(usize) -> bool) -> Found {
        let arrived = receiver.take();
        let events = self.events.borrow();
        let wanted: Vec<_> = events.iter().filter(|(index, ..)| wanted(*index)).collect();
        let latency: Times = wanted.iter().filter_map(|(_, id, due)| Some(arrived.get(id)?.0 - *due)).collect();
        let (sound, refused) = (latency.count() == wanted.len(), *self.refused.borrow());
        if !sound {
            eprintln!("{} events were accepted, {} came", wanted.len(), latency.count());
        }
        Found { latency, refused, sound }
    }
}

/// Publishes at a steady pace, whatever each takes, as long as `goes_on`.
async fn trickle(
    hooks: &Hookmill,
    pace: Duration,
    goes_on: impl Fn(Duration) -> bool,
    event: impl Fn(usize) -> Event,
) -> Rc<Sent> {
    let (sent, start, mut tasks) = (Rc::new(Sent::default()), Instant::now(), Vec::new());
    for index in 0.. {
        let due = start + pace * u32::try_from(index).unwrap();
        tokio::time::sleep_until(due.into()).await;
        if !goes_on(start.elapsed()) {
            break;
        }
        let (sent, hooks, event) = (Rc::clone(&sent), hooks.clone(), event(index));
        tasks.push(tokio::task::spawn_local(async move { sent.publish(&hooks, index, event, due).await }));
    }
    join_all(tasks).await.into_iter().for_each(|done| done.unwrap());
    sent
}

/// The other load beside the trickle.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// Posts straight to the receiver of the burst: the machine is busy, Hookmill is not.
    RawPosts,
    /// Events for one endpoint, published one by one or in such groups, by so many tasks.
    Burst {
        tasks: usize,
        group: usize,
    },
}

async fn beside_burst() -> bool {
    let events = common::events_wanted(EVENTS);
    println!(
        "a trickle of 200 events a second to {QUIET} endpoints of others than the burst's tenant, accepted to received:"
    );
    println!("{:<52} {:>9} {:>9} {:>9} {:>9}", "", "p50 ms", "p99 ms", "max ms", "p99 of 1");
    let singles = Beside::Burst { tasks: TASKS, group: 1 };
    let groups = Beside::Burst { tasks: 16, group: 500 };
    let (mut sound, mut alone) = (true, None);
    for (what, beside) in [
        ("1 alone".to_owned(), Beside::Nothing),
        (format!("2 beside {events} raw posts, not through Hookmill"), Beside::RawPosts),
        (format!("3 beside {events} events for one endpoint"), singles),
        ("4 the same in groups of 500".to_owned(), groups),
    ] {
        let Found { latency, refused, sound: found } = beside_of(beside, events).await;
        let alone = alone.get_or_insert_with(|| latency.clone());
        println!("{what:<52} {latency} {:>9.1}", ratio(&latency, alone));
        if refused > 0 {
            println!("    {refused} times turned away, and published again");
        }
        sound &= found;
    }
    sound
}

async fn beside_of(beside: Beside, events: usize) -> Found {
    let (dir, receiver, other) = (common::scratch(), Receiver::start(), Arc::new(Receiver::start()));
    let quiet = |index| {
        let endpoint = Endpoint::http(format!("quiet-{index}"), receiver.url()).topics([topic(index)]);
        endpoint.tenant(tenant(index))
    };
    let burst = Endpoint::http("burst", other.url()).topics([TOPIC]).tenant("burst");
    let hooks = start(&dir, (0..QUIET).map(quiet).chain([burst])).await;
    let trickled = |index: usize| event(index % QUIET).tenant(tenant(index % QUIET));
    // Connections are there, and every part has run once.
    trickle(&hooks, TRICKLE, |elapsed| elapsed < STEADY / 5, trickled).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    receiver.take();
    let over = Arc::new(AtomicBool::new(false));
    let load = load(beside, events, &hooks, &other, &over);
    let goes_on = |elapsed: Duration| {
        if beside == Beside::Nothing { elapsed < STEADY } else { !over.load(Ordering::Acquire) }
    };
    let sent = trickle(&hooks, TRICKLE, goes_on, trickled).await;
    receiver.wait_for(sent.count_of(|_| true)).await;
    let mut found = sent.found(&receiver, |_| true);
    if let Some(load) = load {
        found.sound &= load.join().unwrap();
    }
    hooks.shutdown(Duration::from_secs(10)).await;
    found
}

fn tenant(index: usize) -> String {
    format!("quiet-{}", index % 10)
}

/// Starts the other load, on a thread of its own; sets `over` when it has all arrived, and tells whether it did.
fn load(
    beside: Beside,
    events: usize,
    hooks: &Hookmill,
    other: &Arc<Receiver>,
    over: &Arc<AtomicBool>,
) -> Option<JoinHandle<bool>> {
    if beside == Beside::Nothing {
        return None;
    }
    let (hooks, other, over) = (hooks.clone(), Arc::clone(other), Arc::clone(over));
    Some(thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            match beside {
                Beside::Burst { tasks, group } => burst(&hooks, events, tasks, group).await,
                Beside::Nothing | Beside::RawPosts => raw_posts(&other, events).await,
            }
            let accepted = start.elapsed();
            other.wait_for(events).await;
            over.store(true, Ordering::Release);
            say(beside, events, accepted, start.elapsed());
            let sound = other.count() >= events;
            if !sound {
                eprintln!("{} of {events} of the burst came", other.count());
            }
            sound
        })
    }))
}

fn say(beside: Beside, events: usize, accepted: Duration, delivered: Duration) {
    if let Beside::Burst { .. } = beside {
        let per_second = |took: Duration| events as f64 / took.as_secs_f64();
        println!(
            "    the burst: {:.0} accepted, {:.0} delivered a second",
            per_second(accepted),
            per_second(delivered)
        );
    }
}

async fn burst(hooks: &Hookmill, events: usize, tasks: usize, group: usize) {
    let data = Bytes::from(payload());
    let event = || Event::from_json(TOPIC, data.clone()).tenant("burst");
    let publisher = async |first: usize| {
        for from in (first * group..events).step_by(tasks * group) {
            let count = group.min(events - from);
            common::publish_group(hooks, (0..count).map(|_| event()).collect()).await;
        }
    };
    join_all((0..tasks).map(publisher)).await;
}

async fn raw_posts(other: &Receiver, events: usize) {
    let bytes = request("/", &[("webhook-id", "evt_0"), ("content-type", "application/json")], &payload());
    post(other.address, 64, events, None, move |_| bytes.clone()).await;
}
