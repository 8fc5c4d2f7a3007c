//! How a server ends when it is asked to.

use serde_json::json;

use super::{
    PATIENCE, number,
    receiver::{Gate, Receiver, Reply},
    server::{Home, endpoint},
    settled, sums, until,
};

#[test]
fn a_term_signal_lets_what_is_in_flight_end_and_records_it() {
    let gate = Gate::default();
    let receiver = {
        let gate = gate.clone();
        Receiver::new(move |_| Reply::Behind(gate.clone()))
    };
    let home = Home::new();
    let mut server = home.serve_with(&["--allow-loopback", "--drain", "60s"]);
    let mut client = server.client();
    endpoint(&mut client, "slow", &receiver.url("/"), json!({"in_flight": 1}));
    for number in 0..3 {
        client.post("/v1/events", &json!({"topic": "a.b", "data": number})).expect(202);
    }
    until("an attempt is in flight", PATIENCE, || (receiver.count() == 1).then_some(()));
    server.process().terminate();
    let draining = until("the server drains", PATIENCE, || {
        let answer = client.try_call("GET", "/readyz", None).unwrap();
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(draining.json()["reason"], json!("shutting down"));
    let refused = client.post("/v1/events", &json!({"topic": "a.b", "data": 4}));
    assert_eq!(refused.status, 503);
    assert!(refused.header("retry-after").is_some());
    assert!(server.process().runs(), "it waits for the attempt");
    gate.open();
    assert!(server.process().ended().success());

    let server = home.serve();
    let mut client = server.client();
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/accepted"), 3, "{stats}");
    assert_eq!(number(&stats, "/deliveries/delivered"), 3, "{stats}");
    assert_eq!(receiver.count(), 3, "what was answered while draining is not sent again");
}

#[test]
fn what_hangs_when_the_drain_is_over_is_cut_off_and_delivered_by_the_next_server() {
    let receiver = {
        let tries = std::sync::atomic::AtomicUsize::new(0);
        Receiver::new(move |_| match tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => Reply::Never,
            _ => Reply::Status(200),
        })
    };
    let home = Home::new();
    let mut server = home.serve_with(&["--allow-loopback", "--drain", "200ms"]);
    let mut client = server.client();
    endpoint(&mut client, "hangs", &receiver.url("/"), json!({"timeout": "300s", "in_flight": 1}));
    for number in 0..3 {
        client.post("/v1/events", &json!({"topic": "a.b", "data": number})).expect(202);
    }
    until("an attempt is in flight", PATIENCE, || (receiver.count() == 1).then_some(()));
    assert_eq!(number(&sums(&mut client), "/deliveries/in_flight"), 1);
    server.process().terminate();
    assert!(server.process().ended().success());
    assert_eq!(receiver.count(), 1, "no request leaves once the drain is over");

    let server = home.serve();
    let mut client = server.client();
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/deliveries/delivered"), 3, "{stats}");
    let seen = receiver.seen();
    assert_eq!(seen.len(), 4);
    assert_eq!(seen[0].id(), seen[1].id(), "the one that was cut off comes first, under its id");
}

#[test]
fn a_second_server_on_the_same_directory_is_refused() {
    let home = Home::new();
    let server = home.serve();
    let mut second = home.launch(&[]);
    assert!(!second.ended().success());
    let log = second.log();
    assert!(log.contains("hookmill: cannot start on") && log.contains("another"), "{log}");
    server.client().get("/v1/stats");
}
