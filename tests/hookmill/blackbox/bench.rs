//! `hookmill bench`, small: what it counts, never how long it takes.

use std::process::Output;

use serde_json::{Value, json};

use super::{
    process::hookmill,
    receiver::{REFUSING, Receiver, Reply},
    server::Home,
    settled,
};

fn bench(args: &[&str]) -> Output {
    hookmill(&["bench", "--concurrency", "8", "--json"]).args(args).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a run has printed that found everything in order.
fn found(args: &[&str]) -> Value {
    let output = bench(args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn ledger(found: &Value, events: u64, deliveries: u64) {
    let ledger = &found["ledger"];
    let counts =
        ["acknowledged", "deliveries", "received", "lost", "foreign", "unsent"].map(|name| ledger[name].as_u64());
    assert_eq!(counts, [events, deliveries, deliveries, 0, 0, 0].map(Some), "{found}");
}

#[test]
fn every_event_that_a_server_of_its_own_acknowledged_is_accounted_for() {
    let home = Home::new();
    let dir = home.path().to_str().unwrap();
    let found = found(&["--events", "300", "--endpoints", "6", "--fan-out", "2", "--dir", dir]);
    ledger(&found, 300, 600);
    for figure in [
        "/accepted_per_second",
        "/deliveries_per_second",
        "/latency_ms/to_accepted/p50",
        "/latency_ms/to_received/p99.9",
        "/latency_ms/after_accepted/max",
        "/yardstick/raw_posts_per_second",
        "/yardstick/deliveries_to_raw_posts",
    ] {
        assert!(found.pointer(figure).is_some_and(|value| value.as_f64().is_some()), "{figure} in {found}");
    }
    if cfg!(target_os = "linux") {
        assert!(found["server"]["cpu_seconds_per_1000_events"].as_f64().is_some(), "{found}");
        assert!(found["server"]["resident_bytes"].as_f64().unwrap() > 0.0, "{found}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0, "something is left of the temporary directory");
}

#[test]
fn batches_by_a_schedule_through_a_failing_receiver_all_arrive() {
    let home = Home::new();
    let args = ["--events", "210", "--rate", "2000/s", "--batch-in", "20", "--batch-out", "10", "--endpoints", "2"];
    let found = found(&[&args[..], &["--failing", "0.5", "--dir", home.path().to_str().unwrap()]].concat());
    ledger(&found, 210, 210);
    assert!(found["ledger"]["answered_500"].as_u64().unwrap() > 0, "{found}");
}

#[test]
fn a_server_that_runs_is_left_as_it_was_found() {
    let home = Home::new();
    let server = home.serve();
    let (url, data) = (server.url(), home.data());
    let found = found(&["--events", "50", "--url", &url, "--data-dir", data.to_str().unwrap()]);
    ledger(&found, 50, 50);
    let mut client = server.client();
    assert_eq!(settled(&mut client)["accepted"], json!(50));
    assert_eq!(client.get("/v1/endpoints")["items"], json!([]));
}

/// Says that it accepts everything.
fn liar(events: u16) -> Receiver {
    Receiver::new(move |request| match request.path.as_str() {
        "/v1/events" => Reply::Status(events),
        "/v1/endpoints" => Reply::Body("{}".to_owned()),
        "/metrics" => Reply::Status(404),
        _ => Reply::Status(204),
    })
}

#[test]
fn what_was_acknowledged_and_did_not_arrive_is_told_by_the_exit_code() {
    let home = Home::new();
    let token = home.path().join("token");
    std::fs::write(&token, "hmk_a-token-that-nobody-asks-for\n").unwrap();
    let against = |server: &Receiver| {
        let (url, token) = (server.url(""), token.to_str().unwrap());
        bench(&["--events", "20", "--url", &url, "--token-file", token, "--patience", "50ms"])
    };
    let lost = against(&liar(202));
    assert_eq!(lost.status.code(), Some(7), "{lost:?}");
    assert!(told(&lost).contains("20 deliveries of acknowledged events did not arrive"), "{lost:?}");
    let found: Value = serde_json::from_slice(&lost.stdout).unwrap();
    assert_eq!((&found["ledger"]["acknowledged"], &found["ledger"]["lost"]), (&json!(20), &json!(20)));
    assert_eq!(found["server"]["resident_bytes"], Value::Null);

    let refused = against(&liar(400));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(told(&refused).contains("a publish was answered 400"), "{refused:?}");
}

#[test]
fn mistakes_are_told_before_anything_starts() {
    let home = Home::new();
    let token = home.path().join("token");
    std::fs::write(&token, "hmk_a-token-that-nobody-asks-for\n").unwrap();
    let token = token.to_str().unwrap();
    let fails = |code: i32, message: &str, args: &[&str]| {
        let output = bench(args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(told(&output).contains(message), "{args:?}: {output:?}");
    };
    fails(2, "multiple of --fan-out", &["--endpoints", "5", "--fan-out", "2"]);
    fails(2, "plain http", &["--url", "https://127.0.0.1:1", "--token-file", token]);
    fails(2, "from 0 to 0.9", &["--failing", "1"]);
    fails(3, "no server at", &["--url", REFUSING, "--token-file", token]);
    fails(1, "token", &["--dir", token]);
}
