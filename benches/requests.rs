//! What a request carries: its body in each format, and its signature. The unit is one request.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "criterion's macros write functions without; a benchmark ends when something is wrong"
)]

mod common;

use std::{hint::black_box, sync::Arc, time::Duration};

use common::accept;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hookmill::{
    Endpoint, Secret, Timestamp,
    endpoint::{Encoding, Key, PrivateKey, Settings, TextSecret},
    transport::{
        body::{render, render_all},
        signature::{self, Verifier},
    },
};
use serde_json::{Value, json};

/// Events of one batch.
const BATCH: u64 = 100;
/// Larger than most bodies.
const LARGE: usize = 64 << 10;

fn configure(criterion: Criterion) -> Criterion {
    criterion.sample_size(30).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1))
}

fn settings(settings: Value) -> Settings {
    Endpoint::http("bench", "https://example.org/").settings(settings).build(|_, _| Ok(())).unwrap().1
}

fn body(criterion: &mut Criterion) {
    let event = accept(&common::event());
    let map = json!({"map": {"order": {"from": "/data/order"}, "state": {"from": "/data/state"}, "id": {"from": "/id"}, "kind": "order"}});
    let named = ["standard", "raw", "envelope", "cloudevents", "cloudevents_binary"].map(|name| (name, json!(name)));
    let mut group = criterion.benchmark_group("body");
    for (name, format) in named.into_iter().chain([("map", map)]) {
        let settings = settings(json!({"format": format}));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(render(black_box(&event), &settings).unwrap()));
        });
    }
    let events: Vec<_> = (0..BATCH).map(|_| Arc::new(event.clone())).collect();
    let batches = settings(json!({"batch": {"max_items": BATCH}}));
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function(BenchmarkId::new("batch", BATCH), |bencher| {
        bencher.iter(|| black_box(render_all(black_box(&events), &batches).unwrap()));
    });
    group.finish();
}

fn signing(criterion: &mut Criterion) {
    const ID: &str = "evt_00000000000000000000000000000000";
    let secrets = [1, 2].map(|byte| Secret::parse(&format!("whsec_{}", secret(byte))).unwrap());
    let [new, old] = secrets.clone().map(Key::Secret);
    let pair = PrivateKey::generate().unwrap();
    let (small, large) = (common::payload().into_bytes(), vec![b'x'; LARGE]);
    let at = Timestamp::from_millis(1_700_000_000_000);
    let private = Key::Private(pair.clone());
    let sign = |keys: &[&Key], body: &[u8]| signature::sign(keys.iter().copied(), ID, at, body);
    let mut group = criterion.benchmark_group("signature");
    group.bench_function("of_1_KiB", |bencher| bencher.iter(|| sign(&[&new], black_box(&small))));
    group.bench_function("of_1_KiB_with_two_secrets", |bencher| {
        bencher.iter(|| sign(&[&new, &old], black_box(&small)));
    });
    group.bench_function("of_64_KiB", |bencher| bencher.iter(|| sign(&[&new], black_box(&large))));
    group.bench_function("asymmetric_of_1_KiB", |bencher| bencher.iter(|| sign(&[&private], black_box(&small))));
    let plain = TextSecret::new("a secret of the receiver's own");
    group.bench_function("plain_of_1_KiB", |bencher| {
        bencher.iter(|| signature::plain(&plain, Encoding::Hex, black_box(&small)));
    });
    let seconds = at.as_seconds().to_string();
    let [secret, _] = secrets;
    for (name, key, verifier) in [
        ("verified_of_1_KiB", &new, Verifier::Secret(secret)),
        ("asymmetric_verified_of_1_KiB", &private, Verifier::Public(pair.public())),
    ] {
        let (signed, verifiers) = (sign(&[key], &small), [verifier]);
        group.bench_function(name, |bencher| {
            bencher.iter(|| signature::verify(&verifiers, ID, &seconds, &signed, black_box(&small), at).unwrap());
        });
    }
    group.finish();
}

/// 32 bytes in base64.
fn secret(digit: u8) -> String {
    format!("{}=", char::from(b'A' + digit).to_string().repeat(42) + "A")
}

criterion_group! { name = benches; config = configure(Criterion::default()); targets = body, signing }
criterion_main!(benches);
