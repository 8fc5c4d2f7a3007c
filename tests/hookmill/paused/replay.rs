//! Dead letters that are delivered again.

use hookmill::testing::{Script, kill_delivery, paused};

use super::*;

/// A receiver that works once it is switched on.
fn receiver(works: &Switch) -> ScriptedTransport {
    let works = works.clone();
    ScriptedTransport::new(move |_| Script::status(if works.is_on() { 200 } else { 500 }))
}

#[test]
fn a_replay_delivers_the_same_event_as_another_run() {
    paused(async {
        let works = Switch::default();
        let receiver = receiver(&works);
        let hooks = start_with(endpoint("crm"), &receiver).await;
        hooks.publish(event("a").id("one")).await.unwrap();
        settled(&hooks).await;
        works.on();
        let dead = dead_letters(&hooks).await[0].id;
        let again = hooks.replay(dead).await.unwrap();
        assert_eq!((again.seq, again.endpoint, again.run), (dead.seq, dead.endpoint, 1));
        let totals = settled(&hooks).await.deliveries;
        assert_eq!((totals.created, totals.replayed, totals.dead_lettered, totals.delivered), (1, 1, 1, 1));
        let made = receiver.made();
        assert_eq!((made.len(), made[4].event.as_str(), made[4].number), (5, "one", 1));
        assert!(hooks.replay(dead).await.is_err());
        assert!(dead_letters(&hooks).await.is_empty());
    });
}

#[test]
fn replaying_many_delivers_each_once_in_order_or_not() {
    for in_flight in [1, 8] {
        paused(async {
            let works = Switch::default();
            let receiver = receiver(&works);
            let policy = json!({"retry": {"delays": []}, "breaker": {"failures": 10_000}});
            let hooks = start_with(endpoint("crm").in_flight(in_flight).settings(policy), &receiver).await;
            publish(&hooks, 700).await;
            assert_eq!(settled(&hooks).await.deliveries.dead_lettered, 700);
            works.on();
            // All of them wait before the first goes on.
            hooks.patch_endpoint(&id("crm"), &json!({"state": "paused"}), None).await.unwrap();
            for dead in dead_letters(&hooks).await {
                hooks.replay(dead.id).await.unwrap();
            }
            hooks.patch_endpoint(&id("crm"), &json!({"state": "active"}), None).await.unwrap();
            let totals = settled(&hooks).await.deliveries;
            assert_eq!((totals.replayed, totals.delivered), (700, 700));
            let made = receiver.made();
            assert_eq!(attempts(&made[700..]), (1..=700).map(|seq| (seq, 1)).collect());
            assert!(in_flight > 1 || seqs(&made[700..]).is_sorted());
        });
    }
}

#[test]
fn a_replay_waits_for_a_paused_endpoint_and_survives_a_death() {
    paused(async {
        let works = Switch::default();
        let receiver = receiver(&works);
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish(&hooks, 1).await;
        settled(&hooks).await;
        works.on();
        hooks.patch_endpoint(&id("crm"), &json!({"state": "paused"}), None).await.unwrap();
        let again = hooks.replay(dead_letters(&hooks).await[0].id).await.unwrap();
        kill_delivery(&hooks, again.endpoint).await;
        pass(HOUR).await;
        assert_eq!((look(&hooks).await.deliveries.pending, receiver.made().len()), (1, 4));
        hooks.patch_endpoint(&id("crm"), &json!({"state": "active"}), None).await.unwrap();
        assert_eq!(settled(&hooks).await.deliveries.delivered, 1);
    });
}

#[test]
fn failing_again_makes_another_dead_letter_that_can_be_replayed() {
    paused(async {
        let receiver = receiver(&Switch::default());
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish(&hooks, 1).await;
        for run in 1..=3 {
            settled(&hooks).await;
            let [dead] = &dead_letters(&hooks).await[..] else { panic!("one dead letter") };
            assert_eq!(hooks.replay(dead.id).await.unwrap().run, run);
        }
        let totals = settled(&hooks).await.deliveries;
        assert_eq!((totals.created, totals.replayed, totals.dead_lettered), (1, 3, 4));
        assert_eq!(receiver.made().len(), 16);
    });
}
