//! Queues that are full.

use hookmill::testing::{Script, paused};
use serde_json::Value;

use super::*;

fn full(totals: &Totals) -> u64 {
    totals.deliveries.dropped.get("queue_full").copied().unwrap_or(0)
}

/// The sums once everything published has been routed.
async fn routed(hooks: &Hookmill) -> Totals {
    until(hooks, |totals| totals.unrouted == 0).await
}

fn queue(max_items: u64, when_full: &str) -> Value {
    json!({"queue": {"max_items": max_items, "when_full": when_full}})
}

#[test]
fn the_oldest_that_waits_goes_and_what_is_in_flight_stays() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200).after(seconds(1)));
        for (max, when_full, expected) in
            [(1, "drop_oldest", vec![1, 10]), (3, "spill", vec![1, 8, 9, 10]), (1, "drop_newest", vec![1, 2])]
        {
            let name = format!("{when_full}-{max}");
            let own = endpoint(&name).in_flight(1).settings(queue(max, when_full));
            let hooks = start_with(own, &receiver).await;
            publish(&hooks, 1).await;
            receiver.until(|made| made.iter().any(|one| one.endpoint.as_str() == name)).await;
            publish(&hooks, 9).await;
            let totals = routed(&hooks).await;
            assert_eq!((totals.deliveries.pending, totals.deliveries.in_flight, full(&totals)), (max, 1, 9 - max));
            let totals = settled(&hooks).await;
            assert_eq!((totals.deliveries.delivered, full(&totals)), (1 + max, 9 - max));
            let mut made = receiver.made();
            made.retain(|one| one.endpoint.as_str() == name);
            assert_eq!(seqs(&made), expected, "{name}");
        }
    });
}

#[test]
fn what_was_dropped_is_attempted_no_more() {
    paused(async {
        // The first fails, and waits for its retry while others push it out.
        let receiver = ScriptedTransport::new(|_| Script::status(500).after(millis(10)));
        let own = endpoint("crm").settings(queue(2, "drop_oldest")).settings(json!({"breaker": {"failures": 100}}));
        let hooks = start_with(own, &receiver).await;
        publish(&hooks, 2).await;
        receiver.until(|made| made.len() == 2 && made.iter().all(|one| one.ended.is_some())).await;
        pass(millis(100)).await;
        publish(&hooks, 2).await;
        let totals = settled(&hooks).await;
        assert_eq!(full(&totals) + totals.deliveries.dead_lettered, 4);
        let counts = attempts(&receiver.made());
        assert!(counts.iter().all(|(seq, count)| *count == if *seq <= 2 { 1 } else { 4 }), "{counts:?}");
    });
}

#[test]
fn a_paused_endpoint_keeps_what_may_wait_and_lower_bounds_hold_for_what_comes() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start(Hookmill::builder(), &receiver).await;
        let settings = json!({"url": "https://a.example/", "signing": {"type": "none"}, "state": "paused",
            "queue": {"max_items": 700, "when_full": "drop_oldest"}});
        hooks.create_endpoint(Some(id("crm")), &settings).await.unwrap();
        publish(&hooks, 1000).await;
        assert_eq!(full(&routed(&hooks).await), 300);
        hooks.patch_endpoint(&id("crm"), &queue(5, "drop_oldest"), None).await.unwrap();
        assert_eq!(look(&hooks).await.deliveries.pending, 700);
        publish(&hooks, 1).await;
        assert_eq!(full(&routed(&hooks).await), 996);
        hooks.patch_endpoint(&id("crm"), &json!({"state": "active"}), None).await.unwrap();
        assert_eq!(settled(&hooks).await.deliveries.delivered, 5);
        assert_eq!(seqs(&receiver.made()), (997..=1001).collect::<Vec<_>>());
    });
}
