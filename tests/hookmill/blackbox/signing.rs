//! Signatures and their rotation over real sockets, verified by the reference implementation and by `hookmill listen`.

use serde_json::{Value, json};

use super::{
    PATIENCE,
    process::{Process, hookmill},
    receiver::{Receiver, Reply},
    server::Home,
    settled, until,
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn event(topic: &str) -> Value {
    json!({"topic": topic, "data": {"n": 1}})
}

#[test]
fn a_rotation_goes_on_after_a_kill_and_ends_in_its_time() {
    let home = Home::new();
    let receiver = Receiver::new(|_| Reply::Status(200));
    let server = home.serve();
    let mut client = server.client();
    let made = json!({"id": "a", "url": receiver.url("/a"), "topics": ["*"], "secret": SECRET});
    client.post("/v1/endpoints", &made).expect(201);
    let rotated = client.post("/v1/endpoints/a/rotate-secret", &json!({"overlap": "1h"})).expect(200);
    let new = rotated["secret"].as_str().unwrap().to_owned();
    server.kill();

    let server = home.serve();
    let mut client = server.client();
    client.post("/v1/events", &event("t")).expect(202);
    settled(&mut client);
    let request = &receiver.seen()[0];
    assert!(request.is_signed_with(SECRET) && request.is_signed_with(&new), "both sign during the overlap");

    let last = client.post("/v1/endpoints/a/rotate-secret", &json!({"overlap": "1s"})).expect(200);
    let last = last["secret"].as_str().unwrap().to_owned();
    server.kill();
    let server = home.serve();
    let mut client = server.client();
    until("the old secrets are forgotten", PATIENCE, || {
        let shown = client.get("/v1/endpoints/a");
        (shown["signing"]["secrets"] == json!(["***"])).then_some(())
    });
    client.post("/v1/events", &event("t")).expect(202);
    settled(&mut client);
    let request = &receiver.seen()[1];
    assert!(request.is_signed_with(&last) && !request.is_signed_with(&new) && !request.is_signed_with(SECRET));
}

#[test]
fn listen_verifies_both_schemes_under_both_names() {
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    let listen = |name: &str, secret: &str| {
        let log = home.path().join(format!("{name}.log"));
        let listener = Process::start(&["listen", "--listen", "127.0.0.1:0", "--secret", secret], &log);
        let url = listener.line_with("listening on ").strip_prefix("listening on ").unwrap().to_owned();
        (listener, url)
    };
    // Made before its receiver is known, for its public key.
    let body = json!({"id": "pair", "url": "http://127.0.0.1:1/", "topics": ["pair"],
        "signing": {"scheme": "v1a", "header_prefix": "svix"}});
    let made = client.post("/v1/endpoints", &body).expect(201);
    let key = made["signing"]["public_keys"][0].as_str().unwrap().to_owned();
    let (pair, url) = listen("pair", &format!("{SECRET},{key}"));
    client.call("PATCH", "/v1/endpoints/pair", Some(&json!({"url": url}))).expect(200);
    let (shared, url) = listen("shared", SECRET);
    let body = json!({"id": "shared", "url": url, "topics": ["shared"], "secret": SECRET,
        "signing": {"header_prefix": "svix"}});
    client.post("/v1/endpoints", &body).expect(201);
    let (wrong, url) = listen("wrong", "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
    let body = json!({"id": "wrong", "url": url, "topics": ["wrong"], "retry": {"delays": []}});
    client.post("/v1/endpoints", &body).expect(201);
    for topic in ["pair", "shared", "wrong"] {
        client.post("/v1/events", &json!({"topic": topic, "data": 1, "id": topic})).expect(202);
    }
    for (listener, id) in [(&pair, " pair "), (&shared, " shared ")] {
        let line = listener.line_with(id);
        assert!(line.contains(" verified -> 200 "), "{line}");
    }
    let line = wrong.line_with(" wrong ");
    assert!(line.contains(" FAILED: no signature matches") && line.contains("-> 401"), "{line}");
}

#[test]
fn listen_refuses_what_is_old_and_keys_that_only_sign() {
    let home = Home::new();
    let listener =
        Process::start(&["listen", "--listen", "127.0.0.1:0", "--secret", SECRET], &home.path().join("listener.log"));
    let url = listener.line_with("listening on ");
    let addr = url.rsplit_once("http://").unwrap().1.trim_end_matches('/').to_owned();
    let signed = standardwebhooks::Webhook::new(SECRET).unwrap().sign("old", 1_614_265_330, b"{}").unwrap();
    let headers = [("webhook-id", "old"), ("webhook-timestamp", "1614265330"), ("webhook-signature", &signed)];
    let answer = super::http::Client::new(addr, None).send("POST", "/", &headers, b"{}").unwrap();
    assert_eq!(answer.status, 401);
    let line = listener.line_with(" old ");
    assert!(line.contains("FAILED: webhook-timestamp is more than five minutes in the past"), "{line}");

    let private = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    let output = hookmill(&["listen", "--secret", private]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("--secret") && !said.contains("6Xb"), "{said}");
}
