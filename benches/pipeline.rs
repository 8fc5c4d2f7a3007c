//! Everything between the publisher's call and the transport, which answers at once: no HTTP, no socket. The unit is one
//! event.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "criterion's macros write functions without; a benchmark ends when something is wrong and reads the clock"
)]

mod common;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{TOPIC, payload};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use futures_util::future::{LocalBoxFuture, join_all, ready};
use hookmill::{
    Endpoint, Event, Hookmill, PublishError,
    transport::{Answer, Attempt, Response, Transport},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::watch};

/// Tasks that publish, each of which waits for its event to be accepted before it publishes the next.
const TASKS: usize = 256;
/// How long a run may stand still.
const PATIENCE: Duration = Duration::from_secs(20);

/// Takes everything, and counts events.
#[derive(Clone)]
struct Taker {
    taken: Arc<AtomicU64>,
    changed: watch::Sender<()>,
}

impl Taker {
    async fn wait_for(&self, events: u64) {
        let mut changes = self.changed.subscribe();
        while self.taken.load(Ordering::Acquire) < events {
            let change = tokio::time::timeout(PATIENCE, changes.changed()).await;
            assert!(change.is_ok(), "{} of {events} deliveries were made", self.taken.load(Ordering::Acquire));
        }
    }
}

impl Transport for Taker {
    fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer> {
        self.taken.fetch_add(attempt.events.len() as u64, Ordering::AcqRel);
        self.changed.send_replace(());
        let response = Response {
            status: 200,
            retry_after: None,
            body: Bytes::new(),
            complete: true,
            content_type: None,
            peer: None,
        };
        Box::pin(ready(Ok(response.into())))
    }
}

/// A running Hookmill whose events each reach as many endpoints.
struct Bed {
    hooks: Hookmill,
    taker: Taker,
    fan_out: u64,
    runtime: Runtime,
    _dir: Option<TempDir>,
}

impl Bed {
    fn new(durable: bool, fan_out: u64, batch: Option<u32>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let taker = Taker { taken: Arc::default(), changed: watch::channel(()).0 };
        let (transport, dir) = (taker.clone(), durable.then(common::scratch));
        let builder = Hookmill::builder().transport(move || transport.clone());
        let builder = match &dir {
            Some(dir) => builder.data_dir(dir.path()),
            None => builder.in_memory(),
        };
        let batch = batch.map(|items| json!({"max_items": items, "flush_interval": "100ms"}));
        let endpoint = |index| {
            let endpoint = Endpoint::http(format!("bench-{index}"), "http://127.0.0.1:9/").topics([TOPIC]);
            endpoint.settings(json!({"batch": batch}))
        };
        let builder = (0..fan_out).fold(builder, |builder, index| builder.endpoint(endpoint(index)));
        let hooks = runtime.block_on(builder.start()).unwrap();
        Self { hooks, taker, fan_out, runtime, _dir: dir }
    }

    /// Publishes events, and waits until each has been sent to every endpoint.
    fn publish(&self, events: u64) -> Duration {
        let (left, data) = (Cell::new(events), Bytes::from(payload()));
        let before = self.taker.taken.load(Ordering::Acquire);
        let start = Instant::now();
        self.runtime.block_on(async {
            join_all((0..TASKS).map(|_| self.publisher(&left, &data))).await;
            self.taker.wait_for(before + events * self.fan_out).await;
        });
        start.elapsed()
    }

    async fn publisher(&self, left: &Cell<u64>, data: &Bytes) {
        while let Some(rest) = left.get().checked_sub(1) {
            left.set(rest);
            let mut event = Event::from_json(TOPIC, data.clone());
            while let Err(error) = self.hooks.publish(event).await {
                assert!(matches!(error, PublishError::Overloaded { .. }), "{error}");
                event = error.into_event().unwrap();
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.runtime.block_on(self.hooks.shutdown(Duration::from_secs(10)));
    }
}

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(1));
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    for (name, durable) in [("in_memory", false), ("durable", true)] {
        for fan_out in [1, 10] {
            let id = BenchmarkId::new(name, format!("to_{fan_out}"));
            let bed = Bed::new(durable, fan_out, None);
            group.bench_function(id, |bencher| bencher.iter_custom(|events| bed.publish(events)));
        }
    }
    let bed = Bed::new(true, 1, Some(100));
    group.bench_function("durable/in_batches_of_100", |bencher| bencher.iter_custom(|events| bed.publish(events)));
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
