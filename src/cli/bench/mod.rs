//! `hookmill bench`: a load generator and a receiver around a server, and an account of every event.

mod ledger;
mod load;
mod plan;
mod progress;
mod receiver;
mod report;
mod request;
mod server;
mod wire;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use super::{Connection, DATA_DIR, Failed, Outcome, block_on, parse_duration};
use crate::{Clock, clock::Mono};
use ledger::{Arrivals, Balance};
use load::{Load, Published};
use plan::Plan;
use progress::Bar;
use receiver::{Manner, RAW, Receiver};
use report::Found;
use request::Template;
use server::{Run, Server, Usage};

const EXAMPLES: &str = "\
Everything runs on this machine, over loopback. `raw posts` are what the same connections post to the same receiver with
nothing between them, measured first; deliveries are compared with that. Processor time and memory are the server's alone.

  hookmill bench --dir .                              as fast as it goes, on the disk of this directory
  hookmill bench --dir . --rate 1000/s                latency at a steady load
  hookmill bench --dir . --batch-in 100 --batch-out 100
  hookmill bench --dir . --endpoints 100 --fan-out 10 --failing 0.05 --duration 1m

It exits with 7 when an event that was acknowledged did not arrive everywhere, with 1 when it could not go on.";

/// Posts events, receives them, and keeps account: everything that was acknowledged must arrive.
///
/// By default a server of its own runs for it, as another process on a temporary directory. The same generator first posts
/// to the same receiver without Hookmill between them: raw posts, what this machine can do at most.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Bench {
    /// Publish so many events per second, and measure from the moment each was due; without it every connection waits for
    /// its answer before it posts again
    #[arg(long, value_name = "N/s", value_parser = plan::parse_rate)]
    rate: Option<f64>,
    /// Connections that publish
    #[arg(long, value_name = "N", default_value = "64", value_parser = plan::count(1, 4096))]
    concurrency: usize,
    /// Bytes of data in each event
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = plan::count(request::MIN_SIZE, 1 << 20))]
    size: usize,
    /// Endpoints, all at the one receiver
    #[arg(long, value_name = "N", default_value = "8", value_parser = plan::count(1, 10_000))]
    endpoints: usize,
    /// How many of the endpoints each event reaches; --endpoints must be a multiple of it
    #[arg(long, value_name = "N", default_value = "1", value_parser = plan::count(1, 10_000))]
    fan_out: usize,
    /// Share of the requests to the receiver that are answered 500, from 0 to 0.9; they are retried after 100 ms
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = plan::parse_share)]
    failing: f64,
    /// Events of one publish: more than one goes as NDJSON
    #[arg(long, value_name = "N", default_value = "1", value_parser = plan::count(1, 10_000))]
    batch_in: usize,
    /// Most events of one delivery: more than one makes batches, which wait 100 ms at most to be full
    #[arg(long, value_name = "N", default_value = "1", value_parser = plan::count(1, 1000))]
    batch_out: usize,
    /// How long to publish, 30m at most [default: 10s, or as long as --events take]
    #[arg(long, value_name = "TIME", value_parser = plan::parse_time)]
    duration: Option<Duration>,
    /// How many events to publish
    #[arg(long, value_name = "N", value_parser = plan::count(1, 20_000_000))]
    events: Option<usize>,
    /// Wait so long for the next arrival before what is missing counts as lost
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration)]
    patience: Duration,
    /// Where the temporary directory is made: on the disk to be measured [default: the system's place for such]
    #[arg(long, value_name = "DIR", conflicts_with = "url")]
    dir: Option<PathBuf>,
    /// Use a server that runs instead (plain http). It needs `--allow-loopback`; endpoints are made and deleted, the events
    /// stay, and other endpoints that want `bench.*` get them too
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// With --url: directory of the server, whose `admin.token` is used
    #[arg(long, value_name = "DIR", default_value = DATA_DIR, requires = "url")]
    data_dir: PathBuf,
    /// With --url: file with the token; before it comes the variable HOOKMILL_TOKEN
    #[arg(long, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
    /// With --url: address of the receiver, which the server must reach
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0", requires = "url")]
    receiver: SocketAddr,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How long the yardstick is measured, and with how many posts at most.
const YARDSTICK: Duration = Duration::from_secs(1);
const YARDSTICK_POSTS: usize = 50_000;
/// Between two looks at how far the run is, and at what the server uses.
const LOOK: Duration = Duration::from_millis(200);
const USAGE: Duration = Duration::from_secs(1);

/// Microseconds since `clock` was made; never 0.
fn micros(clock: Clock) -> u32 {
    u32::try_from(clock.now().mono.since(Mono::default()).as_micros()).unwrap_or(u32::MAX).max(1)
}

fn seconds(from: u32, to: u32) -> f64 {
    f64::from(to.saturating_sub(from)) / 1e6
}

impl Bench {
    pub(super) fn run(self) -> Outcome {
        let plan = Plan::of(&self)?;
        block_on(async move {
            let mut server = unless_stopped(self.server()).await?;
            let outcome = unless_stopped(self.measure(&plan, &mut server)).await;
            let left = server.leave().await;
            let (found, failure) = outcome?;
            if self.json {
                say!("{}", found.to_json());
            } else {
                say!("{}", found.to_text());
            }
            left?;
            verdict(&found, failure)
        })
    }

    async fn server(&self) -> Result<Server, Failed> {
        let Some(url) = &self.url else {
            let parent = self.dir.clone().unwrap_or_else(std::env::temp_dir);
            return Ok(Server::start(&parent).await?);
        };
        let (data_dir, token_file) = (self.data_dir.clone(), self.token_file.clone());
        Server::connect(&Connection { url: url.clone(), data_dir, token_file, ca: None })
    }

    /// What was found, and why publishing ended early if it did.
    async fn measure(&self, plan: &Plan, server: &mut Server) -> Result<(Found, Option<String>), Failed> {
        let clock = Clock::system();
        let manner = Manner { fan: plan.fan, size: self.size, failing: self.failing };
        let receiver = Receiver::start(self.receiver, manner, clock);
        let receiver = receiver.with_context(|| format!("cannot listen on {}", self.receiver))?;
        if !self.json {
            say!("{}\n", plan.in_words(self, server.is_own()));
        }
        let run = Run { name: &plan.name, fan: plan.fan, settings: &plan.settings };
        let urls: Vec<_> = (0..plan.fan.endpoints).map(|endpoint| receiver.url(endpoint)).collect();
        server.configure(&run, &urls).await?;
        let yardstick = self.yardstick(plan, receiver.address, clock).await?;
        let before = server.usage().await;
        let load = self.load(plan, server, &run, clock);
        let mut watch = Watch { plan, receiver: &receiver, clock, server, most: before };
        let published = watch.publishing(load).await?;
        let balance = watch.arriving(&published.sent, self.patience).await;
        let after = watch.look().await;
        let cpu_seconds = before.zip(after).map(|(before, after)| after.cpu_seconds - before.cpu_seconds);
        let Arrivals { repeated, foreign, last, .. } = *receiver.arrivals();
        let found = Found {
            fan_out: plan.fan.fan_out,
            refused: published.refused,
            unsent: if self.rate.is_some() { plan.events.saturating_sub(published.sent.len()) } else { 0 },
            repeated,
            foreign,
            failed: receiver.failed(),
            publishing: seconds(published.start, balance.last_acknowledged),
            delivering: seconds(published.start, last),
            yardstick,
            cpu_seconds,
            resident: after.map(|usage| usage.resident_bytes),
            most_resident: watch.most.map(|usage| usage.resident_bytes),
            balance,
        };
        Ok((found, published.failure))
    }

    /// Raw posts per second.
    async fn yardstick(&self, plan: &Plan, address: SocketAddr, clock: Clock) -> anyhow::Result<f64> {
        let host = address.to_string();
        let signature = format!("v1,{}=", "c2lnbmF0dXJl".repeat(4).get(..43).unwrap_or_default());
        // What Hookmill sends, too.
        let headers = [
            ("host", host.as_str()),
            ("user-agent", "hookmill-bench"),
            ("content-type", "application/json"),
            ("webhook-id", "evt_00000000000000000000000000000000"),
            ("webhook-timestamp", "1700000000"),
            ("webhook-signature", &signature),
        ];
        let load = Load {
            address,
            template: Template::raw(RAW, &headers, self.size),
            fan: plan.fan,
            connections: self.concurrency,
            batch: 1,
            events: plan.events.min(YARDSTICK_POSTS),
            duration: YARDSTICK,
            rate: None,
            clock,
            acknowledged: Arc::default(),
        };
        let Published { sent, start, failure, .. } = load.start().await.context("the generator ended")?;
        if let Some(failure) = failure {
            anyhow::bail!("raw posts to the receiver: {failure}");
        }
        let last = sent.iter().map(|sent| sent.acknowledged).max().unwrap_or(start);
        Ok(report::per(sent.len(), seconds(start, last)))
    }

    fn load(&self, plan: &Plan, server: &Server, run: &Run<'_>, clock: Clock) -> Load {
        let authorization = format!("Bearer {}", server.token());
        let kind = if self.batch_in > 1 { "application/x-ndjson" } else { "application/json" };
        let headers = [("host", server.host.as_str()), ("authorization", &authorization), ("content-type", kind)];
        let path = format!("{}/v1/events", server.path);
        Load {
            address: server.address,
            template: Template::publish(&path, &headers, &run.topic(), self.size),
            fan: plan.fan,
            connections: self.concurrency,
            batch: self.batch_in,
            events: plan.events,
            duration: plan.duration,
            rate: self.rate,
            clock,
            acknowledged: Arc::default(),
        }
    }
}

fn verdict(found: &Found, failure: Option<String>) -> Outcome {
    match (found.balance.lost, failure) {
        (0, None) if found.balance.acknowledged == 0 => Err(Failed::new(1, "nothing was acknowledged")),
        (0, None) => Ok(()),
        (0, Some(failure)) => Err(Failed::new(1, format!("publishing ended early: {failure}"))),
        (lost, _) => Err(Failed::new(7, format!("{lost} deliveries of acknowledged events did not arrive"))),
    }
}

/// Watches a run.
struct Watch<'a> {
    plan: &'a Plan,
    receiver: &'a Receiver,
    clock: Clock,
    server: &'a Server,
    /// With the most memory that was seen.
    most: Option<Usage>,
}

impl Watch<'_> {
    async fn publishing(&mut self, load: Load) -> anyhow::Result<Published> {
        let (bar, start, acknowledged) = (Bar::new(), micros(self.clock), Arc::clone(&load.acknowledged));
        let (mut published, mut looked) = (load.start(), start);
        loop {
            if let Some(published) = within(LOOK, &mut published).await {
                return published.context("the generator ended");
            }
            let now = micros(self.clock);
            self.show(&bar, &acknowledged, seconds(start, now));
            if seconds(looked, now) > USAGE.as_secs_f64() {
                looked = now;
                self.look().await;
            }
        }
    }

    fn show(&self, bar: &Bar, acknowledged: &AtomicUsize, passed: f64) {
        let (accepted, arrived) = (acknowledged.load(Ordering::Acquire), self.receiver.arrived());
        let done =
            report::per(accepted, report::per(self.plan.events, 1.0)).max(passed / self.plan.duration.as_secs_f64());
        bar.show(done, &format!("{accepted} events accepted, {arrived} deliveries received"));
    }

    /// Waits until everything acknowledged has arrived; gives up when for so long nothing has.
    async fn arriving(&self, sent: &[ledger::Sent], patience: Duration) -> Balance {
        let acknowledged = sent.iter().filter(|sent| sent.acknowledged > 0).count();
        let expected = acknowledged * self.plan.fan.fan_out;
        let (bar, mut last, mut since) = (Bar::new(), self.receiver.arrived(), self.clock.now().mono);
        loop {
            let (arrived, now) = (self.receiver.arrived(), self.clock.now().mono);
            if arrived != last {
                (last, since) = (arrived, now);
            }
            let over = now.since(since) > patience;
            // What arrived may be of events whose answers never came.
            if over || arrived >= expected {
                let balance = Balance::of(sent, &self.receiver.arrivals());
                if over || balance.lost == 0 {
                    return balance;
                }
            }
            bar.show(report::per(arrived, report::per(expected, 1.0)), "waiting for what has not arrived");
            tokio::time::sleep(LOOK / 10).await;
        }
    }

    async fn look(&mut self) -> Option<Usage> {
        let usage = self.server.usage().await;
        let most = |usage: &Usage, most: Usage| usage.resident_bytes > most.resident_bytes;
        if usage.as_ref().is_some_and(|usage| self.most.is_none_or(|known| most(usage, known))) {
            self.most = usage;
        }
        usage
    }
}

async fn within<T>(time: Duration, wait: &mut oneshot::Receiver<T>) -> Option<Result<T, oneshot::error::RecvError>> {
    tokio::time::timeout(time, wait).await.ok()
}

/// The outcome of `work`, unless SIGINT or SIGTERM comes first: what was made is cleared away then, too.
async fn unless_stopped<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let stopped = || Failed::new(1, "stopped by a signal");
    let mut term = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut int = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    tokio::select! {
        outcome = work => outcome,
        _ = term.recv() => Err(stopped()),
        _ = int.recv() => Err(stopped()),
    }
}
