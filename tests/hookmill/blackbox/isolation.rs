//! One endpoint's trouble is its own.

use serde_json::json;

use super::{
    PATIENCE, number,
    receiver::{REFUSING, Receiver, Reply},
    server::{Home, endpoint},
    sums, until,
};

const EVENTS: usize = 200;

#[test]
fn one_endpoint_that_hangs_and_one_that_refuses_are_not_felt_by_ten_others() {
    let receiver = Receiver::new(|request| if request.path == "/hangs" { Reply::Never } else { Reply::Status(200) });
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    endpoint(&mut client, "hangs", &receiver.url("/hangs"), json!({"timeout": "300s", "in_flight": 4}));
    endpoint(&mut client, "refuses", REFUSING, json!({}));
    let good: Vec<_> = (0..10).map(|number| format!("/good{number}")).collect();
    for path in &good {
        endpoint(&mut client, &path[1..], &receiver.url(path), json!({}));
    }
    for group in 0..EVENTS / 20 {
        let events: Vec<_> = (0..20).map(|number| json!({"topic": "a.b", "data": [group, number]})).collect();
        client.post("/v1/events", &json!(events)).expect(202);
    }
    until("every event reaches the ten", PATIENCE, || {
        good.iter().all(|path| receiver.taken(path).len() == EVENTS).then_some(())
    });
    let delivered = 10 * EVENTS as u64;
    let stats = until("the sums know it", PATIENCE, || {
        Some(sums(&mut client)).filter(|stats| number(stats, "/deliveries/delivered") == delivered)
    });
    let waits = number(&stats, "/deliveries/pending") + number(&stats, "/deliveries/in_flight");
    assert_eq!(waits, 2 * EVENTS as u64, "{stats}");
    for bad in ["hangs", "refuses"] {
        let state = client.get(&format!("/v1/endpoints/{bad}/state"));
        assert_eq!(number(&state, "/pending") + number(&state, "/in_flight"), EVENTS as u64, "{state}");
    }
    let hanging = receiver.seen().iter().filter(|request| request.path == "/hangs").count();
    assert_eq!(hanging, 4, "as many attempts as may be in flight");
}
