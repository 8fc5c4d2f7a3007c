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
    cell::{Cell, RefCell},
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
    raw::{FLAPPING, Receiver, SLOW},
    times::{Times, millis},
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
        // Cargo adds options of its own.
        let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
        let among = wanted.as_deref() == Some("burst") || among_sick().await;
        let beside = wanted.as_deref() == Some("sick") || beside_burst().await;
        among && beside
    });
    if !sound {
        exit(1);
    }
}

async fn among_sick() -> bool {
    let events = common::events_wanted(EVENTS) / 5;
    let others = ENDPOINTS - SICK;
    println!(
        "{ENDPOINTS} endpoints, {events} events of 1 KiB for all of them as fast as it goes, by {TASKS} tasks, in turns"
    );
    println!(
        "with {ENDPOINTS} that are healthy; what the same {others} get, and their latency at 500 events a second:"
    );
    println!("{:<52} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "events/s", "CPU us", "p50 ms", "p99 ms", "max ms");
    let mut sound = true;
    let sick: [(&str, &[Kind]); 4] = [
        ("one refuses connections", &[Kind::Dead]),
        ("one answers after 30 s", &[Kind::Slow]),
        ("one works for 100 ms, fails for 100 ms, in turns", &[Kind::Flapping]),
        ("all three", &[Kind::Dead, Kind::Slow, Kind::Flapping]),
    ];
    for (what, sick) in sick {
        sound &= in_turns(what, sick, events).await;
    }
    sound
}

/// Measures a hundred of which some are sick, and a hundred that are not, in turns: what else the machine does is in both.
async fn in_turns(what: &str, sick: &[Kind], events: usize) -> bool {
    let (alone, beside) = (Hundred::start(&[]).await, Hundred::start(sick).await);
    let (mut runs, mut shares) = ((Vec::new(), Vec::new()), Vec::new());
    let mut sound = alone.flat_out(events / 10).await.sound & beside.flat_out(events / 10).await.sound;
    for _ in 0..RUNS {
        let pair = (alone.flat_out(events).await, beside.flat_out(events).await);
        sound &= pair.0.sound & pair.1.sound;
        shares.push(pair.1.per_second / pair.0.per_second);
        runs.0.push(pair.0);
        runs.1.push(pair.1);
    }
    let latency = (alone.steady().await, beside.steady().await);
    print("all healthy", &median(runs.0, |run| run.per_second), &latency.0);
    print(what, &median(runs.1, |run| run.per_second), &latency.1);
    let share = 100.0 * median(shares, |share| *share);
    println!("    {share:.0} % of the rate, {:.2} times the p99", ratio(&latency.1.latency, &latency.0.latency));
    let ended = alone.end().await & beside.end().await;
    sound & latency.0.sound & latency.1.sound & ended
}

fn median<T>(mut runs: Vec<T>, value: impl Fn(&T) -> f64) -> T {
    runs.sort_by(|one, other| value(one).total_cmp(&value(other)));
    runs.swap_remove(runs.len() / 2)
}

fn print(what: &str, run: &FlatOut, steady: &Found) {
    println!("{what:<52} {:>9.0} {:>9.1} {}", run.per_second, run.cpu.as_secs_f64() * 1e6, steady.latency);
    if steady.refused > 0 {
        println!("    {} times turned away, and published again", steady.refused);
    }
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
                    json!({"retry": retry, "breaker": {"cooldown": "70ms", "max_cooldown": "330ms"}}),
                )
            }
        }
    }
}

/// A hundred endpoints. Of the first three nothing is counted.
struct Hundred {
    hooks: Hookmill,
    receiver: Receiver,
    _other: Receiver,
    _dir: TempDir,
}

/// What publishing as fast as it goes came to.
struct FlatOut {
    per_second: f64,
    /// Per event.
    cpu: Duration,
    sound: bool,
}

fn is_counted(index: &usize) -> bool {
    index % ENDPOINTS >= SICK
}

impl Hundred {
    async fn start(sick: &[Kind]) -> Self {
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
        Self { hooks, receiver, _other: other, _dir: dir }
    }

    /// Publishes to all endpoints as fast as it goes. Tells the rate of those that count until their last event has come, and
    /// processor time per event.
    async fn flat_out(&self, events: usize) -> FlatOut {
        // What is retried is over, where it can be.
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.receiver.take();
        let (sent, start, cpu) = (Sent::default(), Instant::now(), cpu_time());
        let publisher = async |first: usize| {
            for index in (first..events).step_by(TASKS) {
                sent.publish(&self.hooks, index, event(index % ENDPOINTS), Instant::now()).await;
            }
        };
        join_all((0..TASKS).map(publisher)).await;
        let wanted = sent.count_of(is_counted);
        self.receiver.wait_for(wanted).await;
        let (took, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
        let sound = sent.found(&self.receiver, is_counted).sound;
        FlatOut { per_second: wanted as f64 / took.as_secs_f64(), cpu: cpu / u32::try_from(events).unwrap(), sound }
    }

    async fn steady(&self) -> Found {
        self.receiver.take();
        let sent = trickle(&self.hooks, PACE, |elapsed| elapsed < STEADY, |index| event(index % ENDPOINTS)).await;
        self.receiver.wait_for(sent.count_of(is_counted)).await;
        sent.found(&self.receiver, is_counted)
    }

    async fn end(self) -> bool {
        let sound = accounted_for(&self.hooks).await;
        self.hooks.shutdown(Duration::from_secs(1)).await;
        sound
    }
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
    /// Until publishing was answered.
    accepted: Times,
    /// Until the event arrived.
    latency: Times,
    refused: usize,
    sound: bool,
}

/// An event that was published.
struct Published {
    index: usize,
    id: String,
    due: Instant,
    accepted: Instant,
}

/// What was published.
#[derive(Default)]
struct Sent {
    events: RefCell<Vec<Published>>,
    refused: Cell<usize>,
}

impl Sent {
    async fn publish(&self, hooks: &Hookmill, index: usize, event: Event, due: Instant) {
        let (accepted, refused) = common::publish_one(hooks, event, AGAIN).await;
        let published = Published { index, id: accepted.id.to_string(), due, accepted: Instant::now() };
        self.events.borrow_mut().push(published);
        self.refused.set(self.refused.get() + refused);
    }

    fn count_of(&self, wanted: impl Fn(&usize) -> bool) -> usize {
        self.events.borrow().iter().filter(|one| wanted(&one.index)).count()
    }

    /// How long it took from the moment each was due.
    fn found(&self, receiver: &Receiver, wanted: impl Fn(&usize) -> bool) -> Found {
        let (arrived, events) = (receiver.take(), self.events.borrow());
        let wanted: Vec<_> = events.iter().filter(|one| wanted(&one.index)).collect();
        let latency: Times = wanted.iter().filter_map(|one| Some(arrived.get(&one.id)?.0 - one.due)).collect();
        let sound = latency.count() == wanted.len();
        if !sound {
            eprintln!("{} events were accepted, {} came", wanted.len(), latency.count());
        }
        let accepted = wanted.iter().map(|one| one.accepted - one.due).collect();
        Found { accepted, latency, refused: self.refused.get(), sound }
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
    /// Events for one endpoint, published in such groups by so many tasks: to the same Hookmill, or to another in the same
    /// process, so that the machine is busy and what they share is that alone.
    Burst {
        tasks: usize,
        group: usize,
        same: bool,
    },
}

async fn beside_burst() -> bool {
    let events = common::events_wanted(EVENTS);
    println!("a trickle of 200 events a second to {QUIET} endpoints, of others than the burst's tenant:");
    println!("{:<42} {:>9} {:>9} {:>9} {:>9} {:>9}", "", "accepted", "p50 ms", "p99 ms", "max ms", "p99 of 1");
    let one_by_one = |same| Beside::Burst { tasks: TASKS, group: 1, same };
    let in_groups = |same| Beside::Burst { tasks: 16, group: 500, same };
    let (mut sound, mut alone) = (true, None);
    for (what, beside) in [
        ("1 alone".to_owned(), Beside::Nothing),
        (format!("2 beside a burst of {events} elsewhere"), one_by_one(false)),
        ("3 beside a burst in the same Hookmill".to_owned(), one_by_one(true)),
        ("4 elsewhere, in groups of 500".to_owned(), in_groups(false)),
        ("5 the same Hookmill, in groups of 500".to_owned(), in_groups(true)),
    ] {
        let Found { accepted, latency, refused, sound: found } = beside_of(beside, events).await;
        let alone = alone.get_or_insert_with(|| latency.clone());
        println!("{what:<42} {:>9.2} {latency} {:>9.1}", millis(accepted.p99()), ratio(&latency, alone));
        if refused > 0 {
            println!("    {refused} times turned away, and published again");
        }
        sound &= found;
    }
    sound
}

async fn beside_of(beside: Beside, events: usize) -> Found {
    let (dir, receiver, other) = (common::scratch(), Receiver::start(), Arc::new(Receiver::start()));
    let elsewhere = common::scratch();
    let quiet = |index| {
        let endpoint = Endpoint::http(format!("quiet-{index}"), receiver.url()).topics([topic(index)]);
        endpoint.tenant(tenant(index))
    };
    let burst = || Endpoint::http("burst", other.url()).topics([TOPIC]).tenant("burst");
    let hooks = start(&dir, (0..QUIET).map(quiet).chain([burst()])).await;
    let others = start(&elsewhere, [burst()].into_iter()).await;
    let trickled = |index: usize| event(index % QUIET).tenant(tenant(index % QUIET));
    // Connections are there, and every part has run once.
    trickle(&hooks, TRICKLE, |elapsed| elapsed < STEADY / 5, trickled).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    receiver.take();
    let over = Arc::new(AtomicBool::new(false));
    let load = match beside {
        Beside::Nothing => None,
        Beside::Burst { tasks, group, same } => {
            let hooks = if same { hooks.clone() } else { others.clone() };
            Some(load(Burst { events, tasks, group }, hooks, Arc::clone(&other), Arc::clone(&over)))
        }
    };
    let goes_on = |elapsed| if load.is_none() { elapsed < STEADY } else { !over.load(Ordering::Acquire) };
    let sent = trickle(&hooks, TRICKLE, goes_on, trickled).await;
    receiver.wait_for(sent.count_of(|_| true)).await;
    let mut found = sent.found(&receiver, |_| true);
    if let Some(load) = load {
        found.sound &= load.join().unwrap();
    }
    hooks.shutdown(Duration::from_secs(10)).await;
    others.shutdown(Duration::from_secs(10)).await;
    found
}

fn tenant(index: usize) -> String {
    format!("quiet-{}", index % 10)
}

#[derive(Clone, Copy)]
struct Burst {
    events: usize,
    tasks: usize,
    group: usize,
}

/// Starts a burst, on a thread of its own; sets `over` when all of it has arrived, or no more does, and tells whether it did.
fn load(burst: Burst, hooks: Hookmill, other: Arc<Receiver>, over: Arc<AtomicBool>) -> JoinHandle<bool> {
    thread::spawn(move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            burst.publish(&hooks).await;
            let accepted = start.elapsed();
            other.wait_for(burst.events).await;
            over.store(true, Ordering::Release);
            let per_second = |took: Duration| burst.events as f64 / took.as_secs_f64();
            let (accepted, delivered) = (per_second(accepted), per_second(start.elapsed()));
            println!("    the burst: {accepted:.0} a second accepted, {delivered:.0} delivered");
            let sound = other.count() == burst.events;
            if !sound {
                eprintln!("{} of {} of the burst came", other.count(), burst.events);
            }
            sound
        })
    })
}

impl Burst {
    async fn publish(self, hooks: &Hookmill) {
        let (Self { events, tasks, group }, data) = (self, Bytes::from(payload()));
        let event = || Event::from_json(TOPIC, data.clone()).tenant("burst");
        let publisher = async |first: usize| {
            for from in (first * group..events).step_by(tasks * group) {
                let count = group.min(events - from);
                common::publish_group(hooks, (0..count).map(|_| event()).collect()).await;
            }
        };
        join_all((0..tasks).map(publisher)).await;
    }
}
