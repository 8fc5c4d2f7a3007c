//! Endpoints that fall silent, and come back.

use hookmill::{
    endpoint::policy::Rate,
    testing::{Script, deliveries, paused},
};

use super::*;

/// Longer than a Delivery stays without anything to do, whenever it looks.
const SILENCE: Duration = Duration::from_secs(180);

#[test]
fn endpoints_that_fell_silent_hold_no_deliveries() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let builder = (0..1000).fold(Hookmill::builder(), |builder, n| builder.endpoint(endpoint(&format!("e{n}"))));
        let hooks = start(builder, &receiver).await;
        publish(&hooks, 2).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 2000);
        assert_eq!(deliveries(&hooks).await, 1000);
        pass(SILENCE).await;
        assert_eq!(deliveries(&hooks).await, 0);
        publish(&hooks, 2).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 4000);
        assert_eq!(receiver.made().len(), 4000, "each once");
    });
}

#[test]
fn what_is_shown_of_an_endpoint_stays_when_its_delivery_goes() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq, attempt.number) {
            (1, 1) => Script::status(500),
            _ => Script::status(200),
        });
        let own = endpoint("crm").settings(json!({"breaker": {"failures": 1, "min_events": 1, "cooldown": "5s"}}));
        let hooks = start_with(own, &receiver).await;
        publish(&hooks, 2).await;
        let shown = || async { hooks.standing(&id("crm")).await.unwrap().delivery.unwrap() };
        until(&hooks, |totals| totals.deliveries.delivered + totals.deliveries.dead_lettered == 2).await;
        let before = shown().await;
        assert!(before.last_success_at.is_some() && before.breaker_since.is_some());
        pass(SILENCE).await;
        assert_eq!(deliveries(&hooks).await, 0);
        assert_eq!(shown().await, before);
        // A new one goes on from there, and one that fails to succeed does not forget it.
        publish(&hooks, 1).await;
        settled(&hooks).await;
        assert!(shown().await.last_success_at > before.last_success_at);
    });
}

#[test]
fn one_that_has_something_to_do_stays() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.endpoint.id.as_str() {
            "fails" => Script::status(500),
            "hangs" => Script::stuck(),
            _ => Script::status(200),
        });
        let slow = |name: &str| endpoint(name).settings(json!({"retry": {"delays": ["1h"], "jitter": 0}}));
        let builder = Hookmill::builder().endpoint(slow("fails")).endpoint(slow("hangs")).endpoint(slow("works"));
        let hooks = start(builder, &receiver).await;
        publish(&hooks, 1).await;
        pass(SILENCE).await;
        assert_eq!(deliveries(&hooks).await, 2);
        pass(HOUR).await;
        let made = receiver.made();
        assert_eq!(made.iter().filter(|one| one.endpoint.as_str() == "fails").count(), 2);
    });
}

#[test]
fn events_every_so_often_come_through_whenever_the_delivery_goes() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200).after(millis(1)));
        let hooks = start_with(endpoint("crm").in_flight(1), &receiver).await;
        // Around the moment at which it goes, each step a little later.
        for step in 0..300 {
            publish(&hooks, 1 + step % 2).await;
            pass(millis(59_900 + step)).await;
        }
        assert_eq!(settled(&hooks).await.deliveries.delivered, 450);
        let made = receiver.made();
        assert_eq!(seqs(&made), (1..=450).collect::<Vec<_>>());
    });
}

#[test]
fn a_rate_holds_over_the_silence() {
    paused(async {
        // A burst that takes longer to be allowed again than a Delivery stays.
        let rate = Rate { per_second: 0.01, burst: 3 };
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let own = endpoint("crm").settings(json!({"rate": {"per_second": rate.per_second, "burst": rate.burst}}));
        let hooks = start_with(own, &receiver).await;
        publish(&hooks, 3).await;
        settled(&hooks).await;
        pass(seconds(150)).await;
        assert_eq!(deliveries(&hooks).await, 1, "it still counts");
        publish(&hooks, 3).await;
        settled(&hooks).await;
        let seconds: Vec<_> = starts(&receiver.made()).into_iter().map(|start| start / 1000).collect();
        assert_eq!(seconds, [0, 0, 0, 150, 200, 300]);
        pass(HOUR).await;
        assert_eq!(deliveries(&hooks).await, 0);
    });
}

#[test]
fn settings_cancels_and_replays_reach_an_endpoint_without_a_delivery() {
    paused(async {
        let fails = Switch::default();
        let failing = fails.clone();
        let receiver = ScriptedTransport::new(move |_| Script::status(if failing.is_on() { 404 } else { 200 }));
        let hooks = start(Hookmill::builder(), &receiver).await;
        let settings = json!({"url": "https://old.example/", "signing": {"type": "none"}, "retry": {"when": []}});
        hooks.create_endpoint(Some(id("crm")), &settings).await.unwrap();
        fails.on();
        publish(&hooks, 1).await;
        settled(&hooks).await;
        pass(SILENCE).await;
        assert_eq!(deliveries(&hooks).await, 0);
        hooks.patch_endpoint(&id("crm"), &json!({"url": "https://new.example/"}), None).await.unwrap();
        assert_eq!(deliveries(&hooks).await, 0);
        let letter = dead_letters(&hooks).await[0].id;
        hooks.replay(letter).await.unwrap();
        receiver.until(|made| made.len() == 2).await;
        assert_eq!(receiver.made()[1].url.as_ref().unwrap().host_str(), Some("new.example"));
        settled(&hooks).await;
        pass(SILENCE).await;
        assert_eq!(deliveries(&hooks).await, 0);
    });
}
