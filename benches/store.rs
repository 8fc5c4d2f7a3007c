//! The durable store alone: events of 1 KiB, each waited for by its publisher. The unit is one event.

#![allow(missing_docs, reason = "criterion's macros write functions without")]

mod common;

use std::time::Duration;

use common::stage::{Ids, Life, Stage};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};

/// Publishers that wait at once.
const WAITING: [usize; 4] = [1, 16, 64, 256];

fn store(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("store");
    group.sample_size(10).sampling_mode(SamplingMode::Flat).throughput(Throughput::Elements(1));
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    let mut bench = |name: &str, life, ids, waiting: usize| {
        group.bench_function(BenchmarkId::new(name, waiting), |bencher| {
            let stage = Stage::new(life, ids);
            bencher.iter_custom(|events| stage.publish(events, waiting));
        });
    };
    for waiting in WAITING {
        bench("append", Life::Appended, Ids::Generated, waiting);
    }
    for waiting in WAITING {
        bench("whole_life", Life::Whole, Ids::Generated, waiting);
    }
    bench("whole_life_random_ids", Life::Whole, Ids::Random, 256);
    group.finish();
}

criterion_group!(benches, store);
criterion_main!(benches);
