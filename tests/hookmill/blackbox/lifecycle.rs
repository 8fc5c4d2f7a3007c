//! A delivery's life over HTTP: retries, breaker, dead letter, replay.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use serde_json::{Value, json};

use super::{
    PATIENCE,
    http::Client,
    number,
    receiver::{Receiver, Reply},
    server::{Home, endpoint},
    settled, sums, until,
};

fn publish(client: &mut Client, topic: &str) -> String {
    let answer = client.post("/v1/events", &json!({"topic": topic, "data": {"amount": 1.50}})).expect(202);
    answer["id"].as_str().unwrap().to_owned()
}

fn statuses(client: &mut Client, event: &str) -> Vec<Value> {
    let attempts = client.get(&format!("/v1/events/{event}/attempts"));
    attempts["items"].as_array().unwrap().iter().map(|attempt| attempt["status"].clone()).collect()
}

fn breaker_is(client: &mut Client, endpoint: &str, state: &str) {
    until(&format!("the breaker is {state}"), PATIENCE, || {
        (client.get(&format!("/v1/endpoints/{endpoint}/state"))["breaker"] == json!(state)).then_some(())
    });
}

#[test]
fn failed_attempts_are_repeated_under_the_same_id_and_signed_each_time() {
    let tries = AtomicUsize::new(0);
    let receiver = Receiver::new(move |_| {
        let failed = tries.fetch_add(1, Ordering::Relaxed) < 2;
        Reply::Status(if failed { 500 } else { 200 })
    });
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    let retry = json!({"delays": ["30ms", "30ms"], "jitter": 0.0});
    let body = json!({"id": "shop", "url": receiver.url("/"), "retry": retry});
    let made = client.post("/v1/endpoints", &body).expect(201);
    let secret = made["secret"].as_str().unwrap();
    let event = publish(&mut client, "order.paid");
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/deliveries/delivered"), 1, "{stats}");
    assert_eq!(statuses(&mut client, &event), [500, 500, 200]);
    let seen = receiver.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|request| request.id() == event && request.is_signed_with(secret)));
    assert_eq!(seen[0].json()["data"], json!({"amount": 1.50}));
    let shown = client.get(&format!("/v1/events/{event}"));
    assert_eq!(shown["deliveries"][0]["state"], json!("delivered"));
    assert_eq!(shown["deliveries"][0]["attempts"], json!(3));
    let again = client.get("/v1/endpoints/shop").to_string();
    assert!(!again.contains(secret), "a secret is shown once");
}

#[test]
fn an_exhausted_delivery_is_a_dead_letter_until_it_is_replayed() {
    let up = Arc::new(AtomicBool::new(false));
    let receiver = {
        let up = Arc::clone(&up);
        Receiver::new(move |_| Reply::Status(if up.load(Ordering::Acquire) { 200 } else { 500 }))
    };
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    endpoint(&mut client, "shop", &receiver.url("/"), json!({"retry": {"delays": ["20ms"], "jitter": 0.0}}));
    let event = publish(&mut client, "order.paid");
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/deliveries/dead_lettered"), 1, "{stats}");
    let letters = client.get("/v1/dead-letters");
    let letter = &letters["items"][0];
    assert_eq!(letters["items"].as_array().unwrap().len(), 1);
    assert_eq!((&letter["event"], &letter["endpoint"]), (&json!(event), &json!("shop")));
    assert_eq!((&letter["attempts"], &letter["last_status"]), (&json!(2), &json!(500)));
    let path = format!("/v1/dead-letters/{}", letter["id"].as_str().unwrap());
    assert_eq!(client.get(&path)["data"], json!({"amount": 1.50}));

    up.store(true, Ordering::Release);
    client.call("POST", &format!("{path}/replay"), None).expect(202);
    let stats = settled(&mut client);
    let expected = [("created", 1), ("replayed", 1), ("delivered", 1), ("dead_lettered", 1)];
    for (name, count) in expected {
        assert_eq!(number(&stats, &format!("/deliveries/{name}")), count, "{name} in {stats}");
    }
    assert_eq!(statuses(&mut client, &event), [500, 500, 200]);
    assert!(receiver.seen().iter().all(|request| request.id() == event));
    assert_eq!(client.call("POST", &format!("{path}/replay"), None).status, 409, "it was replayed before");
    assert_eq!(client.get("/v1/dead-letters?replayed=false")["items"], json!([]));
}

#[test]
fn an_outage_opens_the_breaker_and_costs_no_event() {
    let up = Arc::new(AtomicBool::new(false));
    let receiver = {
        let up = Arc::clone(&up);
        Receiver::new(move |_| Reply::Status(if up.load(Ordering::Acquire) { 200 } else { 500 }))
    };
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    let settings = json!({
        "breaker": {"failures": 3, "min_events": 2, "cooldown": "50ms", "max_cooldown": "100ms"},
        "retry": {"initial": "20ms", "factor": 2.0, "max_delay": "100ms", "max_attempts": 1000},
    });
    endpoint(&mut client, "shop", &receiver.url("/"), settings);
    let events: Vec<_> = (0..30).map(|number| json!({"topic": "order.paid", "data": number})).collect();
    client.post("/v1/events", &json!(events)).expect(202);
    breaker_is(&mut client, "shop", "open");
    let stats = sums(&mut client);
    assert_eq!(number(&stats, "/deliveries/delivered"), 0, "{stats}");
    up.store(true, Ordering::Release);
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/deliveries/delivered"), 30, "{stats}");
    breaker_is(&mut client, "shop", "closed");
    assert_eq!(receiver.taken("/").len(), 30);
}
