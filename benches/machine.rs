//! What is decided without any I/O: the delivery machine, routing, debouncing. The unit is one event.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "criterion's macros write functions without; a benchmark ends when something is wrong"
)]

mod common;

use std::{hint::black_box, sync::Arc, time::Duration};

use common::accept;
use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use hookmill::{
    Accepted, Endpoint, Event, Timestamp,
    clock::{Mono, Now},
    debounce::Rule,
    deliver::machine::{Bounds, Effect, Machine, Origin},
    dispatch::{
        routes::Routes,
        window::{Ruling, Windows},
    },
    endpoint::{
        EndpointKey, State, TenantScope,
        policy::{Policy, Retry},
    },
    quota::{Commons, Quota},
    store::{BreakerRecord, Next, Settlement},
    transport::{Answer, Response},
};
use serde_json::json;

fn configure(criterion: Criterion) -> Criterion {
    criterion.sample_size(30).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2))
}

/// Makes one event after another out of the first.
struct Source(Accepted);

impl Source {
    fn next(&mut self) -> Arc<Accepted> {
        self.0.seq += 1;
        Arc::new(self.0.clone())
    }
}

/// A machine with its own time.
struct Bed {
    machine: Machine,
    now: Now,
}

impl Bed {
    fn new(start: Timestamp) -> Self {
        let policy =
            Policy { retry: Retry { max_age: Duration::from_secs(1 << 40), ..Retry::default() }, ..Policy::default() };
        let origin = Origin {
            endpoint: EndpointKey(1),
            policy: policy.shared(),
            state: State::Active,
            breaker: BreakerRecord::default(),
            stored: false,
            last_success_at: None,
            seed: 1,
        };
        let bounds = Bounds { window_bytes: Quota::new(64 << 20), in_flight: Commons::new(4096).portion(&()) };
        let now = Now { mono: Mono::from_start(Duration::ZERO), wall: start };
        Self { machine: Machine::new(origin, bounds, now), now }
    }

    fn pass(&mut self, time: Duration) {
        self.now = Now { mono: self.now.mono.after(time), wall: self.now.wall.after(time) };
    }

    fn sent(&mut self) -> u64 {
        match self.machine.take_effects().as_slice() {
            [Effect::Send(start)] => start.ticket,
            other => panic!("not one attempt: {other:?}"),
        }
    }

    fn settled(&mut self) -> Settlement {
        let effects = self.machine.take_effects();
        let settled = effects.into_iter().find_map(|effect| match effect {
            Effect::Settle(settlement) => Some(settlement),
            _ => None,
        });
        settled.unwrap_or_else(|| panic!("not settled"))
    }

    fn attempt(&mut self, answer: &Answer) -> Next {
        let ticket = self.sent();
        self.pass(Duration::from_millis(1));
        self.machine.finished(ticket, answer, self.now);
        self.settled().next
    }

    fn succeed(&mut self, event: Arc<Accepted>, ok: &Answer) {
        self.machine.push([event], self.now);
        assert_eq!(self.attempt(ok), Next::Delivered);
    }

    /// Fails once, waits, and succeeds.
    fn recover(&mut self, event: Arc<Accepted>, failure: &Answer, ok: &Answer) {
        self.machine.push([event], self.now);
        assert!(matches!(self.attempt(failure), Next::Retry { .. }));
        let due = self.machine.next_deadline().unwrap();
        self.pass(due.since(self.now.mono));
        self.machine.tick(self.now);
        assert_eq!(self.attempt(ok), Next::Delivered);
    }
}

fn answer(status: u16) -> Answer {
    Ok(Response::new(status).into())
}

fn machine(criterion: &mut Criterion) {
    let (ok, failure) = (answer(200), answer(503));
    let mut source = Source(accept(&common::event()));
    let mut group = criterion.benchmark_group("machine");
    let mut bed = Bed::new(source.0.accepted_at);
    group.bench_function("delivered_at_once", |bencher| {
        bencher.iter_batched(|| source.next(), |event| bed.succeed(event, &ok), BatchSize::SmallInput);
    });
    let mut bed = Bed::new(source.0.accepted_at);
    group.bench_function("delivered_at_the_second_attempt", |bencher| {
        bencher.iter_batched(|| source.next(), |event| bed.recover(event, &failure, &ok), BatchSize::SmallInput);
    });
    group.finish();
}

/// Endpoints of tenants with ten each; two of those want the event.
fn routes(endpoints: i64) -> Routes {
    let builder = Endpoint::http("bench", "https://example.org/").unsigned();
    let (_, plain) = builder.build(|_, _| Ok(())).unwrap();
    let mut routes = Routes::default();
    for key in 0..endpoints {
        let topics = if key % 10 == 0 { vec!["bench.*".to_owned()] } else { vec![format!("bench.order.{}", key % 10)] };
        let mut settings = plain.clone();
        settings.tenant = TenantScope::Of(format!("tenant-{}", key / 10).parse().unwrap());
        settings.topics = topics.iter().map(|topic| topic.parse().unwrap()).collect();
        routes.insert(EndpointKey(key), &settings);
    }
    routes
}

fn routing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("routing");
    for endpoints in [10, 100, 1000, 10_000, 100_000] {
        let routes = routes(endpoints);
        let tenant = |tenant: i64| accept(&Event::from_json("bench.order.5", "{}").tenant(format!("tenant-{tenant}")));
        let events: Vec<_> = (0..100).map(|event| tenant(event * endpoints / 10 / 100)).collect();
        assert!(events.iter().all(|event| routes.matching(event).len() == 2));
        let mut turn = events.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(endpoints), |bencher| {
            bencher.iter(|| turn.next().map(|event| black_box(routes.matching(black_box(event)))));
        });
    }
    group.finish();
}

/// Ten thousand keys with open windows; every tenth event finds its window at an end.
fn debounce(criterion: &mut Criterion) {
    const KEYS: usize = 10_000;
    let rule = json!({"topics": ["bench.*"], "key": ["/data/session", "/data/state"], "window": "60s"});
    let rule = Rule::parse(&rule).unwrap();
    let event = |key: usize| {
        let data = json!({"session": key, "state": "raised", "text": common::payload()});
        accept(&Event::new("bench.order", &data).unwrap())
    };
    let events: Vec<_> = (0..KEYS).map(event).collect();
    let keys: Vec<_> = events.iter().map(|event| rule.key_of(event)).collect();
    // Each key has its turn ten times in a window.
    let step = rule.policy.window.as_millis() as i64 / (10 * KEYS as i64);
    let mut group = criterion.benchmark_group("debounce");
    let mut turn = events.iter().cycle();
    group.bench_function("key_of_1_KiB", |bencher| bencher.iter(|| turn.next().map(|event| rule.key_of(event))));
    let mut windows = Windows::new((&rule.policy).into(), 2 * KEYS);
    let (mut turn, mut at) = (keys.iter().cycle(), Timestamp::default());
    let mut judge = || {
        let key = turn.next().unwrap();
        at = Timestamp::from_millis(at.as_millis() + step);
        let now = Now { mono: Mono::default(), wall: at };
        windows.prune(at);
        match windows.judge(key, at) {
            Ruling::Pass => drop(black_box(windows.passed(key, 1, at, now))),
            Ruling::Suppress | Ruling::Hold => windows.add(key, 1, now),
        }
        black_box(windows.take_changes());
    };
    (0..2 * KEYS).for_each(|_| judge());
    group.bench_function("judge", |bencher| bencher.iter(&mut judge));
    group.finish();
}

criterion_group! { name = benches; config = configure(Criterion::default()); targets = machine, routing, debounce }
criterion_main!(benches);
