//! What Hookmill takes while nothing happens, and what it adds to a program that embeds it. Each part is a process of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a benchmark ends when something is wrong, prints what it finds and reads the clock"
)]

mod common;

use std::{
    env,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio, exit},
    thread,
    time::Duration,
};

use common::{
    TOPIC,
    configured::configure,
    process::{Usage, mib},
    raw::Receiver,
};
use hookmill::{Builder, Endpoint, Event, Hookmill};

const PHASE: &str = "HOOKMILL_BENCH_PHASE";
const DIR: &str = "HOOKMILL_BENCH_DIR";
const URL: &str = "HOOKMILL_BENCH_URL";
const ENDPOINTS: usize = 10_000;
/// Events delivered before, each to another endpoint.
const EVENTS: usize = 1000;
/// What is measured is the rest after so long.
const SETTLED: Duration = Duration::from_secs(3);
const SECONDS: u64 = 20;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dir = env::var_os(DIR).map(PathBuf::from).unwrap_or_default();
    match env::var(PHASE).as_deref() {
        Ok("many") => runtime.block_on(library(Hookmill::builder().data_dir(dir), EVENTS)),
        Ok("durable") => runtime.block_on(library(one(Hookmill::builder().data_dir(dir)), 1)),
        Ok("memory") => runtime.block_on(library(one(Hookmill::builder().in_memory()), 1)),
        _ => runtime.block_on(parent()),
    }
}

fn url() -> String {
    env::var(URL).unwrap()
}

fn one(builder: Builder) -> Builder {
    builder.endpoint(Endpoint::http("endpoint-0", url()).topics([topic(0)]))
}

fn topic(index: usize) -> String {
    format!("{TOPIC}.{index}")
}

fn rest() -> Duration {
    Duration::from_secs(common::seconds_wanted(SECONDS))
}

async fn parent() {
    let receiver = Receiver::start();
    println!("{} s without an event, beginning {SETTLED:?} after the last was delivered", rest().as_secs());
    println!("a program that embeds Hookmill with one endpoint, in memory");
    phase("memory", Path::new(""), &receiver);
    println!("the same with a data directory");
    phase("durable", common::scratch().path(), &receiver);
    let dir = common::scratch();
    configure(dir.path(), ENDPOINTS, |index| {
        Endpoint::http(format!("endpoint-{index}"), receiver.url()).topics([topic(index)])
    })
    .await;
    println!("the same with {ENDPOINTS} endpoints, of which {EVENTS} were delivered to");
    phase("many", dir.path(), &receiver);
    println!("hookmill serve, with these endpoints");
    server(dir.path());
}

fn phase(name: &str, dir: &Path, receiver: &Receiver) {
    let mut command = Command::new(env::current_exe().unwrap());
    let status = command.env(PHASE, name).env(DIR, dir).env(URL, receiver.url()).status().unwrap();
    if !status.success() {
        eprintln!("the phase {name} failed: {status}");
        exit(1);
    }
}

/// Starts a Hookmill, delivers, and rests.
async fn library(builder: Builder, events: usize) {
    let before = Usage::of("self");
    let hooks = builder.allow_loopback(true).start().await.unwrap();
    let started = Usage::of("self");
    say_more("started", &before, &started);
    for index in 0..events {
        hooks.publish(Event::from_json(topic(index), common::payload())).await.unwrap();
    }
    let all = |totals: &hookmill::store::Totals| totals.deliveries.delivered == events as u64;
    let totals = common::totals_when(&hooks, all).await;
    say_more(&format!("{events} delivered"), &before, &Usage::of("self"));
    // Nothing of this program is woken while it rests.
    thread::sleep(SETTLED);
    let before = Usage::of("self");
    thread::sleep(rest());
    say_rest(&before, &Usage::of("self"));
    hooks.shutdown(Duration::from_secs(10)).await;
    if !all(&totals) || !totals.add_up() {
        eprintln!("not everything was delivered: {totals:?}");
        exit(1);
    }
}

fn server(dir: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hookmill"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--allow-loopback", "--data-dir"]).arg(dir);
    let mut child = command.env("HOOKMILL_LOG", "warn").stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(output.next().unwrap().unwrap().contains("listens"), "the server has started");
    thread::sleep(SETTLED);
    let before = Usage::of(child.id());
    thread::sleep(rest());
    let after = Usage::of(child.id());
    say("resident memory", format!("{:.1} MiB", mib(after.resident)));
    say("threads", after.threads.len());
    say_rest(&before, &after);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn say(what: &str, value: impl std::fmt::Display) {
    println!("  {what:<58} {value:>12}");
}

fn say_more(when: &str, before: &Usage, after: &Usage) {
    let more = mib(after.resident.saturating_sub(before.resident));
    say(&format!("{when}: resident memory, {:.1} MiB before and", mib(before.resident)), format!("{more:.1} MiB"));
    say("  threads more", after.threads.len() - before.threads.len());
}

fn say_rest(before: &Usage, after: &Usage) {
    let cpu = after.cpu.saturating_sub(before.cpu);
    say("processor time in the rest", format!("{} ms", cpu.as_millis()));
    let woken = after.woken().saturating_sub(before.woken()) as f64 / rest().as_secs_f64();
    say("threads woken, a second", format!("{woken:.1}"));
    for (name, count) in after.woken_since(before).into_iter().take(5) {
        say(&format!("  {name}"), format!("{:.1}", count as f64 / rest().as_secs_f64()));
    }
}
