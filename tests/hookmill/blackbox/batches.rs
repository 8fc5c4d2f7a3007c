//! Batches with a plain signature, as receivers see them.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    PATIENCE, number,
    receiver::{Receiver, Reply, Request},
    server::Home,
    settled, until,
};

const EVENTS: u64 = 45;

fn numbers(request: &Request) -> Vec<u64> {
    request.json().as_array().unwrap().iter().map(|data| data.as_u64().unwrap()).collect()
}

/// Whether count and signature are those of the body.
fn is_right(request: &Request, secret: &str) -> bool {
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap().chain_update(&request.body);
    let code: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    request.header("x-signature") == format!("sha256={code}")
        && request.header("x-count") == numbers(request).len().to_string()
        && request.header("webhook-signature").is_empty()
}

#[test]
fn a_backlog_goes_out_in_signed_batches_and_goes_on_after_a_kill() {
    let hung = AtomicBool::new(false);
    let receiver = Receiver::new(move |request| {
        // The third batch is taken, and the first time its answer never comes.
        let third = numbers(request).contains(&25) && !hung.swap(true, Ordering::AcqRel);
        if third { Reply::Never } else { Reply::Status(200) }
    });
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    let signing = json!({"type": "hmac", "header": "X-Signature", "prefix": "sha256=", "encoding": "hex"});
    let batch = json!({"max_items": 10, "flush_interval": "100ms", "count_header": "x-count"});
    let settings = json!({
        "id": "log", "url": receiver.url("/"), "format": "raw", "signing": signing, "batch": batch, "timeout": "60s",
    });
    let made = client.post("/v1/endpoints", &settings).expect(201);
    let secret = made["secret"].as_str().unwrap().to_owned();
    assert_eq!((&made["signing"]["secret"], &made["in_flight"]), (&json!("***"), &json!(1)));
    assert_eq!(client.get("/v1/endpoints/log").get("secret"), None, "it is shown once");
    let events: Vec<Value> = (1..=EVENTS).map(|n| json!({"topic": "a.b", "id": format!("e{n}"), "data": n})).collect();
    client.post("/v1/events", &events.into()).expect(202);
    until("the third batch", PATIENCE, || (receiver.count() == 3).then_some(()));
    until("two batches are kept as delivered", PATIENCE, || {
        (number(&client.get("/v1/stats"), "/deliveries/delivered") == 20).then_some(())
    });
    server.kill();

    let server = home.serve();
    let mut client = server.client();
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/deliveries/delivered"), EVENTS);
    let seen = receiver.seen();
    assert!(seen.iter().all(|request| is_right(request, &secret)));
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    seen.iter().flat_map(numbers).for_each(|number| *times.entry(number).or_default() += 1);
    assert!(times.iter().all(|(number, times)| *times == 1 || (21..=30).contains(number)), "{times:?}");
    assert_eq!(times.len() as u64, EVENTS);
    let contents: Vec<Vec<u64>> = seen.iter().filter(|request| request.status.is_some()).map(numbers).collect();
    assert!(contents.iter().flatten().is_sorted(), "{contents:?}");
    let attempts = client.get("/v1/events/e7/attempts");
    let shown = &attempts["items"][0]["batch"];
    assert_eq!((shown["size"].as_u64(), shown["id"].as_str()), (Some(10), Some(seen[0].id())));
}

#[test]
fn no_body_of_several_events_is_longer_than_max_bytes_whatever_the_format_makes_of_them() {
    let receiver = Receiver::new(|_| Reply::Status(200));
    let server = Home::new().serve();
    let mut client = server.client();
    let copies: serde_json::Map<_, _> = (0..8).map(|n| (format!("copy{n}"), json!({"from": "/data"}))).collect();
    let batch = json!({"max_bytes": 4096, "flush_interval": "100ms"});
    let settings = json!({"id": "log", "url": receiver.url("/"), "format": {"map": copies}, "batch": batch});
    client.post("/v1/endpoints", &settings).expect(201);
    let text = "x".repeat(100);
    let events = (1..=EVENTS).map(|n| json!({"topic": "a.b", "data": {"n": n, "text": text}}));
    client.post("/v1/events", &events.collect::<Vec<_>>().into()).expect(202);
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/deliveries/delivered"), EVENTS);
    let seen = receiver.seen();
    assert!(seen.iter().all(|request| request.body.len() <= 4096));
    let arrived = seen.iter().flat_map(|request| request.json().as_array().unwrap().clone());
    let mut arrived: Vec<_> = arrived.map(|event| number(&event, "/copy7/n")).collect();
    assert!((seen.len() as u64) < EVENTS, "some share a request");
    arrived.sort_unstable();
    assert_eq!(arrived, (1..=EVENTS).collect::<Vec<_>>());
}
