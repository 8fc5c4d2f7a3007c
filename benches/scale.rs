//! What an event costs when there is more of everything: endpoints, backlog, retries, tenants, bytes. The transport answers
//! at once, so that what is measured is Hookmill and its store.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark ends when something is wrong, prints what it finds and reads the clock"
)]

mod common;

use std::{
    cell::Cell,
    process::exit,
    time::{Duration, Instant},
};

use common::{
    TOPIC,
    configured::configure,
    process::cpu_time,
    taker::{DEAD, NEVER, ONCE_MORE, Taker},
};
use hookmill::{Endpoint, Event, Hookmill, endpoint::EndpointBuilder};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Events of each line. Sizes are multiples of it, so that a smaller one is a smaller run in everything.
const EVENTS: usize = 20_000;
/// Tasks that publish, each of which waits for its event to be accepted before it publishes the next.
const TASKS: usize = 256;
/// Endpoints that get the events, unless a line says otherwise.
const FEW: usize = 10;
/// Bytes of all events of one line together, at most.
const BYTES: usize = 256 << 20;
/// What is written behind is written after so long.
const WRITTEN: Duration = Duration::from_millis(60);

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let table = Table { events: common::events_wanted(EVENTS), base: Cell::new(None), sound: Cell::new(true) };
    runtime.block_on(table.run());
    if !table.sound.get() {
        exit(1);
    }
}

struct Table {
    events: usize,
    /// Processor time per delivery in the first line of a group.
    base: Cell<Option<f64>>,
    sound: Cell<bool>,
}

impl Table {
    async fn run(&self) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        println!("{} events a line, 1 KiB unless it says otherwise; {cores} cores", self.events);
        println!("{:<52} {:>9} {:>9} {:>12} {:>9}", "", "events/s", "CPU us", "per delivery", "of first");
        // Cargo adds options of its own.
        let wanted: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
        for part in ["endpoints", "pending", "timers", "retries", "tenants", "fan-out", "bytes", "ids", "order"] {
            if wanted.is_empty() || wanted.iter().any(|wanted| wanted == part) {
                self.part(part).await;
            }
        }
    }

    async fn part(&self, part: &str) {
        match part {
            "endpoints" => self.endpoints().await,
            "pending" => self.pending().await,
            "timers" => self.timers().await,
            "retries" => self.retries().await,
            "tenants" => self.tenants().await,
            "fan-out" => self.fan_out().await,
            "bytes" => self.payloads().await,
            "ids" => self.ids().await,
            _ => self.keys().await,
        }
    }

    async fn endpoints(&self) {
        self.group("endpoints, of which ten get events");
        for count in [FEW, self.events / 20, self.events * 5] {
            let bed = Bed::start(count, plain).await;
            self.line(&count.to_string(), &bed, self.events, 1, |index| event(index % FEW)).await;
            self.end(bed).await;
        }
    }

    async fn pending(&self) {
        self.group("pending behind one dead endpoint, while ten others deliver");
        let bed = Bed::start(FEW + 1, |index| if index < FEW { plain(index) } else { dead(index) }).await;
        let mut pending = 0;
        for wanted in [0, self.events * 5, self.events * 50] {
            bed.fill(wanted - pending, |_| event(FEW)).await;
            pending = wanted;
            self.line(&wanted.to_string(), &bed, self.events, 1, |index| event(index % FEW)).await;
        }
        self.end(bed).await;
        self.group("pending behind so many dead endpoints, while ten others deliver");
        for count in [1, 100, self.events / 20] {
            let bed = Bed::start(FEW + count, |index| if index < FEW { plain(index) } else { dead(index) }).await;
            bed.fill(self.events * 5, |index| event(FEW + index % count)).await;
            let what = format!("{count}, {} pending", self.events * 5);
            self.line(&what, &bed, self.events, 1, |index| event(index % FEW)).await;
            self.end(bed).await;
        }
    }

    async fn timers(&self) {
        self.group("retries that wait in the endpoint that delivers");
        for count in [0, 10, self.events / 20, self.events / 2] {
            // Not kept in the store alone, as those are that are due in more than 30 s.
            let bed = Bed::start(1, |index| retrying(index, "29s")).await;
            bed.fill(count, |_| about(&format!("{}{NEVER}", topic(0)))).await;
            bed.taker.wait_for_failed(count as u64).await;
            self.line(&count.to_string(), &bed, self.events, 1, |_| event(0)).await;
            self.end(bed).await;
        }
    }

    /// Each event fails once. So many fail together, and their retries are due together.
    async fn retries(&self) {
        self.group("every event is retried once, so many of one endpoint at a time");
        for count in [self.events / 200, self.events / 20, self.events / 2] {
            let bed = Bed::start(1, |index| retrying(index, "500ms")).await;
            self.rounds(&format!("{count} at a time"), &bed, count).await;
            self.end(bed).await;
        }
    }

    async fn rounds(&self, what: &str, bed: &Bed, count: usize) {
        let (cpu, rounds) = (cpu_time(), (self.events / 2 / count).clamp(1, 20));
        for _ in 0..rounds {
            bed.publish(count, 1, |_| about(&format!("{}{ONCE_MORE}", topic(0)))).await;
        }
        tokio::time::sleep(WRITTEN).await;
        // Waiting for retries is no work: the rate says nothing.
        self.print(what, rounds * count, 1, None, cpu_time().saturating_sub(cpu));
    }

    async fn tenants(&self) {
        let endpoints = self.events / 20;
        self.group(&format!("tenants with {endpoints} endpoints together, which all get events"));
        for tenants in [1, FEW, endpoints] {
            let of = move |index: usize| format!("tenant-{}", index % tenants);
            let bed = Bed::start(endpoints, |index| plain(index).tenant(of(index))).await;
            let event = |index: usize| event(index % endpoints).tenant(of(index % endpoints));
            self.line(&tenants.to_string(), &bed, self.events, 1, event).await;
            self.end(bed).await;
        }
    }

    async fn fan_out(&self) {
        self.group("endpoints that get each event");
        for count in [1, 10, 100, 1000] {
            let bed = Bed::start(count, |index| plain(index).topics([TOPIC])).await;
            let events = (self.events * 5 / count).clamp(1, self.events);
            self.line(&count.to_string(), &bed, events, count, |_| about(TOPIC)).await;
            self.end(bed).await;
        }
    }

    async fn payloads(&self) {
        self.group("bytes of data");
        for bytes in [100, 1 << 10, 16 << 10, 256 << 10] {
            let bed = Bed::start(FEW, plain).await;
            let data = bytes::Bytes::from(format!("\"{}\"", "x".repeat(bytes - 2)));
            let event = |index: usize| Event::from_json(topic(index % FEW), data.clone());
            self.line(&bytes.to_string(), &bed, self.events.min(BYTES / bytes), 1, event).await;
            self.end(bed).await;
        }
    }

    async fn ids(&self) {
        self.group("ids");
        let bed = Bed::start(FEW, plain).await;
        self.line("generated", &bed, self.events, 1, |index| event(index % FEW)).await;
        self.end(bed).await;
        let bed = Bed::start(FEW + 1, plain).await;
        let chosen = |event: Event| event.id(format_args!("{:032x}", fastrand::u128(..)));
        self.line("chosen at random", &bed, self.events, 1, |index| chosen(event(index % FEW))).await;
        let others = self.events * 25;
        let before = bed.taker.taken();
        bed.fill(others, |_| chosen(event(FEW))).await;
        bed.taker.wait_for(before + others as u64).await;
        let what = format!("chosen at random, beside {others} such");
        self.line(&what, &bed, self.events, 1, |index| chosen(event(index % FEW))).await;
        self.end(bed).await;
    }

    async fn keys(&self) {
        self.group("order, one endpoint");
        let bed = Bed::start(1, plain).await;
        self.line("none", &bed, self.events, 1, |_| event(0)).await;
        self.end(bed).await;
        let bed = Bed::start(1, |index| plain(index).in_flight(1)).await;
        self.line("strict", &bed, self.events, 1, |_| event(0)).await;
        self.end(bed).await;
        for keys in [FEW, self.events / 2] {
            let bed = Bed::start(1, |index| plain(index).ordered_by_key()).await;
            let what = format!("by key, {keys} keys");
            self.line(&what, &bed, self.events, 1, |index| event(0).key(index % keys)).await;
            self.end(bed).await;
        }
    }

    fn group(&self, what: &str) {
        println!("{what}");
        self.base.set(None);
    }

    /// Publishes events, each of which is delivered so often, and prints what that cost; a tenth as many go before.
    async fn line(&self, what: &str, bed: &Bed, events: usize, deliveries: usize, event: impl Fn(usize) -> Event) {
        bed.publish(events.div_ceil(10), deliveries, &event).await;
        let (start, cpu) = (Instant::now(), cpu_time());
        bed.publish(events, deliveries, &event).await;
        let took = start.elapsed();
        tokio::time::sleep(WRITTEN).await;
        self.print(what, events, deliveries, Some(took), cpu_time().saturating_sub(cpu));
    }

    fn print(&self, what: &str, events: usize, deliveries: usize, took: Option<Duration>, cpu: Duration) {
        let per_event = cpu.as_secs_f64() * 1e6 / events as f64;
        let per_delivery = per_event / deliveries as f64;
        let base = self.base.get().unwrap_or(per_delivery);
        self.base.set(Some(base));
        let rate = took.map_or("-".to_owned(), |took| format!("{:.0}", events as f64 / took.as_secs_f64()));
        let of_base = per_delivery / base;
        println!("  {what:<50} {rate:>9} {per_event:>9.1} {per_delivery:>12.1} {of_base:>9.2}");
    }

    /// Ends a Hookmill; everything that was published must be accounted for.
    async fn end(&self, bed: Bed) {
        let Bed { hooks, taker, published, dir } = bed;
        let accepted = |totals: &hookmill::store::Totals| totals.accepted == published.get();
        let all = |totals: &hookmill::store::Totals| accepted(totals) && totals.deliveries.delivered == taker.taken();
        let totals = common::totals_when(&hooks, all).await;
        if !all(&totals) || !totals.add_up() || totals.unrouted + totals.deliveries.dead_lettered > 0 {
            eprintln!("the sums are wrong: {} published, {} delivered, {totals:?}", published.get(), taker.taken());
            self.sound.set(false);
        }
        hooks.shutdown(Duration::from_secs(10)).await;
        drop(dir);
    }
}

/// A running Hookmill.
struct Bed {
    hooks: Hookmill,
    taker: Taker,
    published: Cell<u64>,
    dir: TempDir,
}

impl Bed {
    async fn start(endpoints: usize, endpoint: impl Fn(usize) -> EndpointBuilder) -> Self {
        let (dir, taker) = (common::scratch(), Taker::default());
        configure(dir.path(), endpoints, endpoint).await;
        let transport = taker.clone();
        let builder = Hookmill::builder().data_dir(dir.path()).transport(move || transport.clone());
        let hooks = builder.start().await.unwrap();
        Self { hooks, taker, published: Cell::new(0), dir }
    }

    /// Publishes events and waits for their deliveries.
    async fn publish(&self, events: usize, deliveries: usize, event: impl Fn(usize) -> Event) {
        let before = self.taker.taken();
        common::publish(&self.hooks, TASKS, events, event).await;
        self.published.set(self.published.get() + events as u64);
        self.taker.wait_for(before + (events * deliveries) as u64).await;
    }

    /// Publishes events in groups, as fast as it goes, and waits for none of their deliveries.
    async fn fill(&self, events: usize, event: impl Fn(usize) -> Event) {
        common::publish_groups(&self.hooks, events, event).await;
        self.published.set(self.published.get() + events as u64);
    }
}

/// Every endpoint has a topic of its own.
fn topic(index: usize) -> String {
    format!("{TOPIC}.{index}")
}

fn event(index: usize) -> Event {
    about(&topic(index))
}

fn about(topic: &str) -> Event {
    thread_local!(static DATA: bytes::Bytes = common::payload().into());
    Event::from_json(topic, DATA.with(bytes::Bytes::clone))
}

fn endpoint(id: &str, index: usize, settings: Value) -> EndpointBuilder {
    let topics = [topic(index), format!("{}.*", topic(index))];
    Endpoint::http(format!("{id}-{index}"), "http://127.0.0.1:9/").topics(topics).settings(settings)
}

fn plain(index: usize) -> EndpointBuilder {
    endpoint("works", index, json!({}))
}

fn dead(index: usize) -> EndpointBuilder {
    endpoint(DEAD, index, json!({}))
}

/// Answered 404, it comes again after so long.
fn retrying(index: usize, delay: &str) -> EndpointBuilder {
    endpoint("retries", index, json!({"retry": {"delays": [delay, delay, delay], "jitter": 0}}))
}
