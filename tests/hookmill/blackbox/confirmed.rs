//! What the API has confirmed is so, also when the server dies in the same moment.

use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering},
};

use serde_json::json;

use super::{
    number,
    receiver::{Receiver, Reply},
    server::{Home, endpoint},
    settled,
};

#[test]
fn a_confirmed_change_of_configuration_outlives_a_kill() {
    let receiver = Receiver::new(|_| Reply::Status(200));
    let home = Home::new();
    let server = home.serve();
    let (token, mut client) = (server.token.clone(), server.client());
    let made = client.post("/v1/endpoints", &json!({"id": "shop", "url": receiver.url("/old")})).expect(201);
    let secret = made["secret"].as_str().unwrap().to_owned();
    server.kill();

    let server = home.serve();
    assert_eq!(server.token, token, "the token is made once");
    let mut client = server.client();
    let patch = client.call("PATCH", "/v1/endpoints/shop", Some(&json!({"url": receiver.url("/new")}))).expect(200);
    assert_eq!(patch.get("secret"), None, "a secret is shown once");
    server.kill();

    let server = home.serve();
    let mut client = server.client();
    client.post("/v1/events", &json!({"topic": "a.b", "data": 1})).expect(202);
    assert_eq!(number(&settled(&mut client), "/deliveries/delivered"), 1);
    let seen = receiver.seen();
    assert_eq!(seen[0].path, "/new");
    assert!(seen[0].is_signed_with(&secret), "the secret stays");
    assert_eq!(client.call("DELETE", "/v1/endpoints/shop", None).status, 204);
    server.kill();

    let server = home.serve();
    let mut client = server.client();
    assert_eq!(client.call("GET", "/v1/endpoints/shop", None).status, 404);
    client.post("/v1/events", &json!({"topic": "a.b", "data": 2})).expect(202);
    assert_eq!(number(&settled(&mut client), "/unmatched"), 1);
    assert_eq!(receiver.count(), 1);
}

#[test]
fn a_confirmed_replay_is_made_once_although_the_server_dies() {
    let status = Arc::new(AtomicU16::new(500));
    let receiver = {
        let status = Arc::clone(&status);
        Receiver::new(move |_| Reply::Status(status.load(Ordering::Acquire)))
    };
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    endpoint(&mut client, "shop", &receiver.url("/"), json!({"retry": {"delays": []}}));
    client.post("/v1/events", &json!({"topic": "a.b", "id": "first", "data": 1})).expect(202);
    assert_eq!(number(&settled(&mut client), "/deliveries/dead_lettered"), 1);
    // Paused, so that the kill comes before the attempt.
    client.call("PATCH", "/v1/endpoints/shop", Some(&json!({"state": "paused"}))).expect(200);
    let letters = client.get("/v1/dead-letters");
    let path = format!("/v1/dead-letters/{}/replay", letters["items"][0]["id"].as_str().unwrap());
    client.call("POST", &path, None).expect(202);
    server.kill();

    status.store(200, Ordering::Release);
    let server = home.serve();
    let mut client = server.client();
    assert_eq!(client.call("POST", &path, None).status, 409, "it was replayed before");
    client.call("PATCH", "/v1/endpoints/shop", Some(&json!({"state": "active"}))).expect(200);
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/deliveries/replayed"), 1, "{stats}");
    assert_eq!(number(&stats, "/deliveries/delivered"), 1, "{stats}");
    let ids: Vec<_> = receiver.seen().iter().map(|request| request.id().to_owned()).collect();
    assert_eq!(ids, ["first", "first"]);
}

#[test]
fn a_debounce_window_outlives_a_kill() {
    let receiver = Receiver::new(|_| Reply::Status(200));
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    endpoint(&mut client, "shop", &receiver.url("/"), json!({}));
    let rule = json!({"topics": ["alert.*"], "key": ["/data/host"], "window": "1h"});
    assert!(client.put("/v1/debounce-rules/alerts", &rule).status < 300);
    let alert = |host: &str| json!({"topic": "alert.raised", "data": {"host": host}});
    client.post("/v1/events", &alert("a")).expect(202);
    settled(&mut client);
    server.kill();

    let server = home.serve();
    let mut client = server.client();
    for host in ["a", "b", "b"] {
        client.post("/v1/events", &alert(host)).expect(202);
    }
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/suppressed"), 2, "{stats}");
    assert_eq!(number(&stats, "/deliveries/delivered"), 2, "{stats}");
}
