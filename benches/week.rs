//! A week of a moderate installation in minutes: everything that happens in one, at a high rate, with what is old being
//! forgotten all the time. Nothing may grow: memory, file descriptors, files, latency.

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
    collections::HashMap,
    env,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio, exit},
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{App, HttpServer};
use common::{
    payload,
    process::{Usage, mib},
    raw::{Caller, FLAPPING, REFUSING, Receiver, id_in},
    times::{Times, millis},
};
use hookmill::{Access, Hookmill, Retention};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, LocalSet};

const PHASE: &str = "HOOKMILL_BENCH_PHASE";
const DIR: &str = "HOOKMILL_BENCH_DIR";
const TOKEN: &str = "hmk_week-benchmark";
const SECONDS: u64 = 120;
/// Events in all.
const EVENTS: usize = 240_000;
/// Connections that publish.
const CONNECTIONS: usize = 32;
/// What takes the place of 7 and 30 days.
const KEPT: Retention = Retention { events: Duration::from_secs(5), outcomes: Duration::from_secs(10) };
/// Lines of the table.
const SAMPLES: usize = 24;
/// Between two visits of the operator.
const VISIT: Duration = Duration::from_secs(4);
/// Nobody of those that call is closed out while he waits.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long what is retried may take at the end.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() {
    if env::var(PHASE).is_ok() {
        let dir = env::var_os(DIR).map(PathBuf::from).unwrap();
        return actix_web::rt::System::new().block_on(serve(&dir));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if !LocalSet::new().block_on(&runtime, run()) {
        exit(1);
    }
}

/// The installation: a process of its own, until its input ends.
async fn serve(dir: &Path) {
    let hooks = Hookmill::builder().data_dir(dir).retention(KEPT).allow_loopback(true).start().await.unwrap();
    let api = hooks.api(Access::token(TOKEN));
    let server =
        HttpServer::new(move || App::new().configure(api.clone())).workers(2).keep_alive(KEEP_ALIVE).disable_signals();
    let server = server.bind("127.0.0.1:0").unwrap();
    println!("{}", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    actix_web::rt::spawn(server);
    let input = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(input).await.unwrap().unwrap();
    handle.stop(false).await;
    hooks.shutdown(Duration::from_secs(10)).await;
}

struct Installation {
    child: Child,
    address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Installation {
    fn start() -> Self {
        let dir = common::scratch();
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(PHASE, "serve").env(DIR, dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap().parse().unwrap();
        Self { child, address, dir }
    }

    fn end(mut self) -> bool {
        drop(self.child.stdin.take());
        self.child.wait().unwrap().success()
    }

    /// Bytes of the files whose name ends so.
    fn bytes(&self, ending: &str) -> u64 {
        let files = self.dir.path().read_dir().unwrap().flatten();
        let wanted = files.filter(|file| file.file_name().to_string_lossy().ends_with(ending));
        wanted.map(|file| file.metadata().map_or(0, |found| found.len())).sum()
    }
}

/// Where events go that are measured, and where others do.
struct Far {
    plain: Receiver,
    other: Receiver,
}

/// What the publishers have been told, and what has not come yet.
#[derive(Default)]
struct Sent {
    accepted: Cell<usize>,
    refused: Cell<usize>,
    /// Events for an endpoint that works, by id: when the request was due.
    awaited: RefCell<HashMap<String, Instant>>,
    /// What has come before its publisher had read the answer.
    early: RefCell<HashMap<String, Instant>>,
    over: Cell<bool>,
}

async fn run() -> bool {
    let (events, seconds) = (common::events_wanted(EVENTS), common::seconds_wanted(SECONDS));
    let (installation, far) = (Installation::start(), Far { plain: Receiver::start(), other: Receiver::start() });
    let mut caller = Caller::connect(installation.address, TOKEN).await;
    for endpoint in endpoints(&far) {
        expect(&mut caller, "POST", "/v1/endpoints", &endpoint).await;
    }
    expect(&mut caller, "PUT", "/v1/debounce-rules/sessions", &rule("500ms")).await;
    println!("{events} events of 1 KiB in {seconds} s; kept {:?}, their outcomes {:?}", KEPT.events, KEPT.outcomes);
    let sent = Rc::new(Sent::default());
    let pace = Duration::from_secs(seconds) / u32::try_from(events).unwrap();
    let publishing = publishers(installation.address, &sent, events, pace);
    let operating = tokio::task::spawn_local(operate(installation.address, far.other.url(), Rc::clone(&sent)));
    let samples = watch(&installation, &far, &sent, &mut caller, Duration::from_secs(seconds)).await;
    for publisher in publishing {
        publisher.await.unwrap();
    }
    sent.over.set(true);
    let visits = operating.await.unwrap();
    compare(&samples);
    let mut caller = Caller::connect(installation.address, TOKEN).await;
    let sound = conserved(&mut caller, &far, &sent).await;
    println!(
        "{} accepted, {} times turned away, {visits} visits of the operator",
        sent.accepted.get(),
        sent.refused.get()
    );
    sound & installation.end()
}

/// Endpoints of every kind, each with a topic of its own.
fn endpoints(Far { plain, other }: &Far) -> Vec<Value> {
    let endpoint = |id: &str, url: String, settings: Value| {
        let mut endpoint = json!({"id": id, "url": url, "topics": [format!("week.{id}")]});
        endpoint.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
        endpoint
    };
    let plain = |index: usize| endpoint(&format!("plain-{index}"), plain.url(), json!({}));
    let soon = json!({"initial": "200ms", "factor": 1, "max_attempts": 100, "jitter": 0.2});
    // No multiples of the time in which an endpoint flaps: else its probes always meet it as the last did.
    let breaker = json!({"cooldown": "70ms", "max_cooldown": "330ms"});
    let few = json!({"max_items": 1000});
    let oldest = json!({"max_items": 1000, "when_full": "drop_oldest"});
    let others = [
        endpoint("batches", other.url(), json!({"batch": {"max_items": 100, "flush_interval": "200ms"}})),
        endpoint("flapping", other.url_of(FLAPPING), json!({"retry": soon, "breaker": breaker})),
        endpoint(REFUSED, other.url_of(REFUSING), json!({"retry": {"delays": ["500ms"]}, "dead_letters": few})),
        endpoint("dead", "http://127.0.0.1:9/".to_owned(), json!({"queue": oldest, "breaker": breaker})),
        endpoint("debounced", other.url(), json!({})),
        endpoint("keyed", other.url(), json!({"ordered": "key"})),
    ];
    (0..PLAIN).map(plain).chain(others).collect()
}

const PLAIN: usize = 8;
const REFUSED: &str = "refused";

fn rule(window: &str) -> Value {
    json!({"topics": ["week.debounced"], "key": ["/key"], "window": window, "edge": "both"})
}

/// Whom an event is for: of a hundred, so many for each.
fn kind(index: usize) -> String {
    match index % 100 {
        0..58 => format!("plain-{}", index % PLAIN),
        58..78 => "batches".to_owned(),
        78..80 => "flapping".to_owned(),
        80..84 => REFUSED.to_owned(),
        84..85 => "dead".to_owned(),
        85..95 => "debounced".to_owned(),
        _ => "keyed".to_owned(),
    }
}

fn publishers(address: SocketAddr, sent: &Rc<Sent>, events: usize, pace: Duration) -> Vec<JoinHandle<()>> {
    let start = Instant::now();
    let publisher = |first: usize| {
        let sent = Rc::clone(sent);
        tokio::task::spawn_local(async move {
            let (mut caller, data) = (Caller::connect(address, TOKEN).await, payload());
            for index in (first..events).step_by(CONNECTIONS) {
                let due = start + pace * u32::try_from(index).unwrap();
                tokio::time::sleep_until(due.into()).await;
                publish(&mut caller, &sent, index, due, &data).await;
            }
        })
    };
    (0..CONNECTIONS).map(publisher).collect()
}

async fn publish(caller: &mut Caller, sent: &Sent, index: usize, due: Instant, data: &str) {
    let (kind, key) = (kind(index), index / 100 % 50);
    let body = format!(r#"{{"topic":"week.{kind}","key":"key-{key}","data":{data}}}"#);
    loop {
        let (status, answer) = caller.call("POST", "/v1/events", &body).await;
        if status == 202 {
            sent.accepted.set(sent.accepted.get() + 1);
            if kind.starts_with("plain") {
                sent.awaited.borrow_mut().insert(id_in(answer.as_bytes()).unwrap(), due);
            }
            return;
        }
        assert_eq!(status, 503, "{answer}");
        sent.refused.set(sent.refused.get() + 1);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The answer of the API to a call that must succeed; `null` is no body.
async fn expect(caller: &mut Caller, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, answer) = caller.call(method, path, &body).await;
    assert!(status / 100 == 2, "{method} {path}: {status} {answer}");
    serde_json::from_str(&answer).unwrap_or_default()
}

/// Changes the configuration, repairs an endpoint and replays its dead letters, looks at lists and metrics, now and then.
async fn operate(address: SocketAddr, url: String, sent: Rc<Sent>) -> usize {
    let mut caller = Caller::connect(address, TOKEN).await;
    for visit in 1.. {
        tokio::time::sleep(VISIT).await;
        if sent.over.get() {
            return visit;
        }
        let refused = format!("/v1/endpoints/{REFUSED}");
        expect(&mut caller, "PATCH", &refused, &json!({"url": url})).await;
        let replay = json!({"filter": {"endpoint": REFUSED}, "rate": 500});
        expect(&mut caller, "POST", "/v1/dead-letters/replay", &replay).await;
        let window = if visit % 2 == 0 { "500ms" } else { "300ms" };
        expect(&mut caller, "PUT", "/v1/debounce-rules/sessions", &rule(window)).await;
        let guest = json!({"id": "guest", "url": url, "topics": ["week.plain-0"]});
        expect(&mut caller, "POST", "/v1/endpoints", &guest).await;
        expect(&mut caller, "POST", "/v1/endpoints/plain-0/rotate-secret", &json!({"overlap": "1s"})).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        for path in ["/metrics", "/v1/events?limit=100", "/v1/dead-letters", "/v1/endpoints/plain-1/attempts"] {
            expect(&mut caller, "GET", path, &Value::Null).await;
        }
        expect(&mut caller, "DELETE", "/v1/endpoints/guest", &Value::Null).await;
        expect(&mut caller, "PATCH", &refused, &json!({"url": format!("{url}{}", &REFUSING[1..])})).await;
    }
    0
}

/// One line of the table.
struct Sample {
    latency: Times,
    pending: u64,
    dead_letters: u64,
    used: Usage,
    db: u64,
    wal: u64,
}

async fn watch(
    installation: &Installation,
    far: &Far,
    sent: &Sent,
    caller: &mut Caller,
    whole: Duration,
) -> Vec<Sample> {
    println!(
        "{:>6} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>8} {:>6} {:>7} {:>8} {:>8}",
        "s",
        "events/s",
        "p50 ms",
        "p99 ms",
        "max ms",
        "pending",
        "dead",
        "MiB",
        "files",
        "threads",
        "db MiB",
        "wal MiB"
    );
    let (start, mut accepted, mut samples) = (Instant::now(), 0, Vec::new());
    let every = whole / u32::try_from(SAMPLES).unwrap();
    for index in 1..=u32::try_from(SAMPLES).unwrap() {
        tokio::time::sleep_until((start + every * index).into()).await;
        let per_second = (sent.accepted.get() - accepted) as f64 / every.as_secs_f64();
        accepted = sent.accepted.get();
        let sample = sample(installation, far, sent, caller).await;
        let Sample { latency, pending, dead_letters, used, db, wal } = &sample;
        println!(
            "{:>6.0} {per_second:>9.0} {latency} {pending:>9} {dead_letters:>7} {:>8.1} {:>6} {:>7} {:>8.1} {:>8.1}",
            start.elapsed().as_secs_f64(),
            mib(used.resident),
            used.files,
            used.threads.len(),
            mib(*db),
            mib(*wal)
        );
        samples.push(sample);
    }
    samples
}

async fn sample(installation: &Installation, far: &Far, sent: &Sent, caller: &mut Caller) -> Sample {
    let stats = expect(caller, "GET", "/v1/stats", &Value::Null).await;
    Sample {
        latency: arrived(far, sent),
        pending: number(&stats, "/deliveries/pending"),
        dead_letters: number(&stats, "/dead_letters/kept"),
        used: Usage::of(installation.child.id()),
        db: installation.bytes(".db"),
        wal: installation.bytes("-wal"),
    }
}

/// How long those took that have come since it was asked for last.
fn arrived(far: &Far, sent: &Sent) -> Times {
    far.other.take();
    let (mut awaited, mut early) = (sent.awaited.borrow_mut(), sent.early.borrow_mut());
    early.extend(far.plain.take().into_iter().map(|(id, (at, _))| (id, at)));
    let mut times = Vec::new();
    early.retain(|id, at| awaited.remove(id).map(|due| times.push(*at - due)).is_none());
    times.into_iter().collect()
}

fn number(stats: &Value, pointer: &str) -> u64 {
    stats.pointer(pointer).and_then(Value::as_u64).unwrap()
}

type Measure = fn(&Sample) -> f64;

/// The worst of the last quarter against the worst of the second.
fn compare(samples: &[Sample]) {
    let quarter = |index: usize| &samples[index * samples.len() / 4..(index + 1) * samples.len() / 4];
    let most = |index: usize, value: Measure| quarter(index).iter().map(value).fold(0.0, f64::max);
    println!("{:<40} {:>12} {:>12} {:>9}", "at most", "2nd quarter", "last quarter", "ratio");
    let values: [(&str, Measure); 7] = [
        ("p99 ms", |sample| millis(sample.latency.p99())),
        ("pending", |sample| sample.pending as f64),
        ("resident memory, MiB", |sample| mib(sample.used.resident)),
        ("file descriptors", |sample| sample.used.files as f64),
        ("threads", |sample| sample.used.threads.len() as f64),
        ("database, MiB", |sample| mib(sample.db)),
        ("write-ahead log, MiB", |sample| mib(sample.wal)),
    ];
    for (what, value) in values {
        let (second, last) = (most(1, value), most(3, value));
        println!("{what:<40} {second:>12.1} {last:>12.1} {:>9.2}", last / second.max(1e-9));
    }
}

/// Waits until nothing is pending but for the endpoint that is dead; then every sum must be right, and everything that was
/// accepted for an endpoint that works must have come.
async fn conserved(caller: &mut Caller, far: &Far, sent: &Sent) -> bool {
    let start = Instant::now();
    let stats = loop {
        let stats = expect(caller, "GET", "/v1/stats", &Value::Null).await;
        let dead = expect(caller, "GET", "/v1/endpoints/dead/state", &Value::Null).await;
        let waiting = number(&stats, "/deliveries/pending") + number(&stats, "/deliveries/in_flight");
        let of_dead = number(&dead, "/totals/pending") + number(&dead, "/totals/in_flight");
        let unjudged = number(&stats, "/debouncing") + number(&stats, "/unrouted");
        arrived(far, sent);
        if waiting <= of_dead && unjudged == 0 || start.elapsed() > PATIENCE {
            break stats;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    arrived(far, sent);
    let sum = |names: &[&str]| names.iter().map(|name| number(&stats, name)).sum::<u64>();
    let dropped = stats["deliveries"]["dropped"].as_object().unwrap();
    let dropped: u64 = dropped.values().filter_map(Value::as_u64).sum();
    let judged = sum(&["/unmatched", "/suppressed", "/coalesced", "/debouncing", "/unrouted", "/routed"]);
    let ended = ["delivered", "suppressed", "dead_lettered", "abandoned", "pending", "in_flight"];
    let ended: u64 = ended.iter().map(|name| number(&stats, &format!("/deliveries/{name}"))).sum();
    let made = sum(&["/deliveries/created", "/deliveries/replayed"]);
    let lost = sent.awaited.borrow().len();
    println!("{stats}");
    let sound = sum(&["/accepted"]) == sent.accepted.get() as u64
        && judged == sum(&["/accepted"])
        && made == ended + dropped
        && lost == 0;
    if !sound {
        eprintln!("the sums are wrong: {} acknowledged, {lost} of them lost", sent.accepted.get());
    }
    sound
}
