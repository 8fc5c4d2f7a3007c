//! Many dead letters: replayed over a death of the server, and by the operator's one command.

use std::{
    collections::BTreeSet,
    process::Output,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use super::{
    PATIENCE,
    http::{Answer, Client},
    list, number,
    process::hookmill,
    receiver::{Receiver, Reply},
    server::{Home, Server, endpoint},
    settled, sums, until,
};

const LETTERS: usize = 500;

/// A receiver that works once it is switched on.
fn receiver(up: &Arc<AtomicBool>) -> Receiver {
    let up = Arc::clone(up);
    Receiver::new(move |_| Reply::Status(if up.load(Ordering::Acquire) { 200 } else { 500 }))
}

/// Publishes so many events to an endpoint that gives up at once, and waits for their dead letters.
fn dead(client: &mut Client, receiver: &Receiver, count: usize) {
    let settings = json!({"retry": {"delays": []}, "breaker": {"failures": 10_000}});
    endpoint(client, "shop", &receiver.url("/"), settings);
    let events: Vec<_> = (0..count).map(|n| json!({"id": format!("e{n}"), "topic": "order.paid", "data": n})).collect();
    client.post("/v1/events", &json!(events)).expect(202);
    let stats = settled(client);
    assert_eq!(number(&stats, "/dead_letters/kept"), count as u64, "{stats}");
}

/// Kills the server in the midst of the job that it `started`; tells where that job is found, and what was done.
fn kill_midway(server: Server, client: &mut Client, started: &Answer) -> (String, u64) {
    let place = format!("/v1/jobs/{}", started.expect(202)["job"].as_str().unwrap());
    let done = || Some(number(&client.get(&place), "/done")).filter(|done| *done >= 100);
    let done = until("the job is on its way", PATIENCE, done);
    server.kill();
    assert!(done < LETTERS as u64, "it was not killed in the middle");
    (place, done)
}

#[test]
fn a_bulk_replay_goes_on_after_a_kill_and_replays_each_dead_letter_once() {
    let up = Arc::new(AtomicBool::new(false));
    let receiver = receiver(&up);
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    dead(&mut client, &receiver, LETTERS);
    up.store(true, Ordering::Release);
    let started = client.post("/v1/dead-letters/replay", &json!({"filter": {"endpoint": "shop"}, "rate": 300}));
    let (place, done) = kill_midway(server, &mut client, &started);

    let server = home.serve();
    let mut client = server.client();
    let job = client.get(&place);
    assert!(number(&job, "/done") >= done, "what was done stays done: {job}");
    let job = until("the job ends", PATIENCE, || {
        sums(&mut client);
        Some(client.get(&place)).filter(|job| job["state"] != json!("running"))
    });
    assert_eq!(job["state"], json!("finished"), "{job}");
    assert_eq!(
        (number(&job, "/total"), number(&job, "/done"), number(&job, "/failed")),
        (LETTERS as u64, LETTERS as u64, 0)
    );
    let stats = settled(&mut client);
    for name in ["created", "replayed", "dead_lettered", "delivered"] {
        assert_eq!(number(&stats, &format!("/deliveries/{name}")), LETTERS as u64, "{name} in {stats}");
    }
    assert_eq!(stats["dead_letters"], json!({"kept": 0, "bytes": 0, "pruned": 0, "purged": 0}));
    for n in 0..LETTERS {
        let event = client.get(&format!("/v1/events/e{n}"));
        let states: Vec<_> = event["deliveries"].as_array().unwrap().iter().map(|one| one["state"].clone()).collect();
        assert_eq!(states, ["dead_lettered", "delivered"], "e{n}");
    }
    let arrived = receiver.taken("/");
    assert_eq!(arrived, (0..LETTERS).map(|n| format!("e{n}")).collect::<BTreeSet<_>>());
}

fn run(server: &Server, home: &Home, args: &[&str]) -> Output {
    let (url, data) = (server.url(), home.data());
    let mut all = vec!["dead-letters"];
    all.extend(args);
    all.extend(["--url", &url, "--data-dir", data.to_str().unwrap()]);
    hookmill(&all).output().unwrap()
}

/// What a command said, when it exits with this code.
#[track_caller]
fn said(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

#[test]
fn an_operator_lists_replays_and_purges_with_one_command() {
    let up = Arc::new(AtomicBool::new(false));
    let receiver = receiver(&up);
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    dead(&mut client, &receiver, 5);
    let run = |args: &[&str]| run(&server, &home, args);
    let text = said(&run(&["list", "--endpoint", "shop", "--limit", "3"]), 0);
    assert!(text.starts_with("ID ") && text.contains("order.paid") && text.ends_with("and more\n"), "{text}");
    let listed: Value = serde_json::from_slice(&run(&["list", "--json"]).stdout).unwrap();
    let ids: Vec<_> = listed["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 5);
    assert!(said(&run(&["show", ids[0]]), 0).contains("last_status"));
    said(&run(&["show", "dlv_99-1-0"]), 5);
    assert!(said(&run(&["list", "--reason", "bored"]), 1).contains("#/reason"));
    assert!(said(&run(&["replay"]), 2).contains("--all"));
    assert!(said(&run(&["purge", "--all"]), 2).contains("forget 5 dead letters for ever? say --yes"));
    assert!(said(&run(&["replay", "--all", "--dry-run"]), 0).contains("5 dead letters would be replayed"));

    up.store(true, Ordering::Release);
    assert!(said(&run(&["purge", "--until", "2001-01-01T00:00:00Z", "--yes"]), 0).contains("0 of 0"));
    assert!(said(&run(&["replay", ids[0]]), 0).contains("is replayed as dlv_"));
    said(&run(&["replay", ids[0]]), 6);
    assert!(said(&run(&["replay", "--topic", "order.*"]), 0).contains("4 of 4 dead letters replayed"));
    assert_eq!(number(&settled(&mut client), "/deliveries/delivered"), 5);
    assert!(list(&mut client, "/v1/dead-letters").is_empty());
}

#[test]
fn a_new_endpoint_is_given_what_it_missed_over_a_kill_each_event_once() {
    let up = Arc::new(AtomicBool::new(true));
    let receiver = receiver(&up);
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    let events: Vec<_> =
        (0..LETTERS).map(|n| json!({"id": format!("e{n}"), "topic": "order.paid", "data": n})).collect();
    client.post("/v1/events", &json!(events)).expect(202);
    assert_eq!(number(&settled(&mut client), "/unmatched"), LETTERS as u64);
    endpoint(&mut client, "shop", &receiver.url("/"), json!({"topics": ["order.*"]}));
    let started = client.post("/v1/endpoints/shop/replay", &json!({"only": "missing", "rate": 300}));
    let (place, _) = kill_midway(server, &mut client, &started);

    let server = home.serve();
    let mut client = server.client();
    let job = until("the job ends", PATIENCE, || {
        sums(&mut client);
        Some(client.get(&place)).filter(|job| job["state"] != json!("running"))
    });
    assert_eq!((number(&job, "/total"), number(&job, "/done")), (LETTERS as u64, LETTERS as u64), "{job}");
    let stats = settled(&mut client);
    for (name, count) in [("created", 0), ("replayed", LETTERS as u64), ("delivered", LETTERS as u64)] {
        assert_eq!(number(&stats, &format!("/deliveries/{name}")), count, "{name} in {stats}");
    }
    assert_eq!(receiver.taken("/"), (0..LETTERS).map(|n| format!("e{n}")).collect::<BTreeSet<_>>());
}
