//! What waits in debounce windows survives, however the server ends.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    PATIENCE, list, number,
    receiver::{Receiver, Reply},
    server::{Home, endpoint},
    settled, sums, until,
};

const KEYS: u64 = 20;
const ROUNDS: u64 = 5;

fn rule(edge: &str, window: &str) -> Value {
    json!({"topics": ["doc.*"], "key": ["/data/doc"], "window": window, "edge": edge, "max_wait": "1h"})
}

fn states(events: &[Value]) -> BTreeMap<String, u64> {
    events.iter().fold(BTreeMap::new(), |mut counts, event| {
        *counts.entry(event["state"].as_str().unwrap().to_owned()).or_default() += 1;
        counts
    })
}

#[test]
fn what_is_held_when_the_server_is_killed_is_delivered_once_with_its_count() {
    let receiver = Receiver::new(|_| Reply::Status(200));
    let home = Home::new();
    for round in 0..ROUNDS {
        let server = home.serve();
        let mut client = server.client();
        if round == 0 {
            endpoint(&mut client, "crm", &receiver.url("/crm"), json!({"format": "envelope"}));
            client.put("/v1/debounce-rules/docs", &rule("trailing", "1h")).expect(201);
        }
        for doc in 0..KEYS {
            let event = json!({"topic": "doc.changed", "id": format!("{round}-{doc}"), "data": {"doc": doc}});
            client.post("/v1/events", &event).expect(202);
        }
        let (accepted, held) = (KEYS * (round + 1), KEYS);
        let stats = until("all of them are judged", PATIENCE, || {
            Some(sums(&mut client))
                .filter(|stats| number(stats, "/accepted") == accepted && number(stats, "/unrouted") == 0)
        });
        assert_eq!([number(&stats, "/debouncing"), number(&stats, "/coalesced")], [held, accepted - held]);
        server.kill();
    }
    assert_eq!(receiver.count(), 0);
    let server = home.serve();
    let mut client = server.client();
    let shown = client.get("/v1/debounce-rules/docs");
    assert_eq!([number(&shown, "/coalesced"), number(&shown, "/held")], [KEYS * (ROUNDS - 1), KEYS]);
    assert_eq!(list(&mut client, "/v1/events?state=debouncing").len() as u64, KEYS);
    assert_eq!(list(&mut client, "/v1/events?state=coalesced").len() as u64, KEYS * (ROUNDS - 1));
    // Another rule in its place lets go of what it held.
    client.put("/v1/debounce-rules/docs", &rule("trailing", "2h")).expect(200);
    let stats = settled(&mut client);
    assert_eq!([number(&stats, "/routed"), number(&stats, "/deliveries/delivered")], [KEYS, KEYS]);
    let bodies: Vec<_> = receiver.seen().iter().map(super::receiver::Request::json).collect();
    assert_eq!(bodies.len() as u64, KEYS);
    for body in &bodies {
        let last = format!("{}-", ROUNDS - 1);
        assert!(body["id"].as_str().unwrap().starts_with(&last), "{body} is not the last of its key");
        assert_eq!(number(body, "/suppressed"), ROUNDS - 1, "{body}");
    }
    let events = list(&mut client, "/v1/events");
    assert_eq!(states(&events), [("coalesced".to_owned(), KEYS * (ROUNDS - 1)), ("routed".to_owned(), KEYS)].into());
}

#[test]
fn a_window_that_ended_while_the_server_was_dead_ends_at_the_start() {
    let receiver = Receiver::new(|_| Reply::Status(200));
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    endpoint(&mut client, "crm", &receiver.url("/crm"), json!({}));
    client.put("/v1/debounce-rules/docs", &rule("both", "300ms")).expect(201);
    for id in ["first", "second", "third"] {
        client.post("/v1/events", &json!({"topic": "doc.changed", "id": id, "data": {"doc": 1}})).expect(202);
    }
    server.kill();
    let server = home.serve();
    let mut client = server.client();
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/accepted"), 3);
    assert!(receiver.taken("/crm").contains("first") && receiver.taken("/crm").contains("third"), "{stats}");
}

#[test]
fn what_an_endpoint_holds_when_the_server_is_killed_is_delivered_once_with_its_count() {
    let receiver = Receiver::new(|_| Reply::Status(200));
    let home = Home::new();
    let own = |window: &str| json!({"key": ["/data/doc"], "window": window, "edge": "trailing", "max_wait": "1h"});
    for round in 0..ROUNDS {
        let server = home.serve();
        let mut client = server.client();
        if round == 0 {
            let settings = json!({"format": "envelope", "debounce": own("1h"), "in_flight": 1});
            endpoint(&mut client, "calm", &receiver.url("/calm"), settings);
            endpoint(&mut client, "eager", &receiver.url("/eager"), json!({}));
        }
        for doc in 0..KEYS {
            let event = json!({"topic": "doc.changed", "id": format!("{round}-{doc}"), "data": {"doc": doc}});
            client.post("/v1/events", &event).expect(202);
        }
        let (accepted, replaced) = (KEYS * (round + 1), KEYS * round);
        let stats = until("all of them are judged", PATIENCE, || {
            Some(sums(&mut client))
                .filter(|stats| number(stats, "/accepted") == accepted && number(stats, "/unrouted") == 0)
        });
        let (created, suppressed) = (number(&stats, "/deliveries/created"), number(&stats, "/deliveries/suppressed"));
        assert_eq!((number(&stats, "/routed"), created, suppressed), (accepted, 2 * accepted, replaced));
        server.kill();
    }
    assert!(receiver.seen().iter().all(|request| request.path == "/eager"));
    let server = home.serve();
    let mut client = server.client();
    // Another setting in its place lets go of what it held.
    client.call("PATCH", "/v1/endpoints/calm", Some(&json!({"debounce": own("2h")}))).expect(200);
    let stats = settled(&mut client);
    let accepted = KEYS * ROUNDS;
    assert_eq!(number(&stats, "/deliveries/suppressed"), accepted - KEYS);
    assert_eq!(number(&stats, "/deliveries/delivered"), accepted + KEYS);
    let seen = receiver.seen();
    let bodies: Vec<_> =
        seen.iter().filter(|request| request.path == "/calm").map(super::receiver::Request::json).collect();
    assert_eq!(bodies.len() as u64, KEYS);
    for body in &bodies {
        let last = format!("{}-", ROUNDS - 1);
        assert!(body["id"].as_str().unwrap().starts_with(&last), "{body} is not the last of its key");
        assert_eq!(number(body, "/suppressed"), ROUNDS - 1, "{body}");
    }
}
