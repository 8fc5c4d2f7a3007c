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

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{TOPIC, payload, taker::Taker};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use hookmill::{Endpoint, Event, Hookmill};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Tasks that publish, each of which waits for its event to be accepted before it publishes the next.
const TASKS: usize = 256;
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
        let taker = Taker::default();
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
        let (data, before) = (Bytes::from(payload()), self.taker.taken());
        let start = Instant::now();
        self.runtime.block_on(async {
            common::publish(&self.hooks, TASKS, usize::try_from(events).unwrap(), |_| {
                Event::from_json(TOPIC, data.clone())
            })
            .await;
            self.taker.wait_for(before + events * self.fan_out).await;
        });
        start.elapsed()
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
