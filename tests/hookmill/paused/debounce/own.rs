//! What an endpoint's own `debounce` leaves out for it alone.

use hookmill::store::{DeliveryState, EventFilter};

use super::*;

/// An endpoint that leaves out what repeats a session within ten seconds.
fn calm(id: &str) -> EndpointBuilder {
    endpoint(id).debounce(["/data/session"], seconds(10))
}

/// The seqs that went to an endpoint.
fn sent(receiver: &ScriptedTransport, endpoint: &str) -> Vec<u64> {
    receiver.made().iter().filter(|one| one.endpoint.as_str() == endpoint).map(|one| one.seq).collect()
}

async fn kept(hooks: &Hookmill) -> usize {
    testing::store(hooks).load().await.unwrap().windows.len()
}

#[test]
fn an_endpoint_mutes_repeats_for_itself_and_another_gets_everything() {
    paused(async {
        let receiver = receiver();
        let hooks = start(Hookmill::builder().endpoint(calm("calm")).endpoint(endpoint("eager")), &receiver).await;
        for (wait, session) in [(0, "a"), (1, "a"), (9_998, "a"), (0, "b"), (1, "a"), (1, "b")] {
            pass(millis(wait)).await;
            hooks.publish(of(session)).await.unwrap();
        }
        hooks.publish(of("a").tenant("acme")).await.unwrap();
        let totals = settled(&hooks).await;
        // The window of `a` ended exactly when the fifth came.
        assert_eq!(sent(&receiver, "calm"), [1, 4, 5]);
        assert_eq!(sent(&receiver, "eager"), [1, 2, 3, 4, 5, 6]);
        assert_eq!((totals.accepted, totals.routed, totals.unmatched, totals.suppressed), (7, 6, 1, 0));
        let deliveries = totals.deliveries;
        assert_eq!((deliveries.created, deliveries.delivered, deliveries.suppressed), (12, 9, 3));
        assert_eq!(hooks.standing(&id("calm")).await.unwrap().totals.suppressed, 3);
        assert_eq!(hooks.standing(&id("eager")).await.unwrap().totals.suppressed, 0);
        let filter = EventFilter { delivery: Some(DeliveryState::Suppressed), limit: 9, ..EventFilter::default() };
        let listed = testing::store(&hooks).events(filter).await.unwrap();
        assert_eq!(listed.iter().map(|row| row.event.seq).collect::<Vec<_>>(), [6, 3, 2]);
        assert!(hooks.rule_totals().await.unwrap().is_empty(), "an endpoint is no rule");
    });
}

#[test]
fn what_a_rule_suppresses_or_the_endpoint_does_not_get_opens_no_window() {
    paused(async {
        let receiver = receiver();
        let rule = Debounce::on("ui.*").within(seconds(1));
        let builder = calm("calm").filter(json!({"pointer": "/data/session", "except": ["quiet"]}));
        let hooks = start(Hookmill::builder().endpoint(builder).debounce(rule), &receiver).await;
        for (wait, session) in [(0, "quiet"), (0, "a"), (1, "a"), (1, "quiet"), (1, "a")] {
            pass(seconds(wait)).await;
            hooks.publish(of(session)).await.unwrap();
        }
        let totals = settled(&hooks).await;
        assert_eq!((sent(&receiver, "calm"), totals.suppressed, totals.unmatched), (vec![3], 1, 2));
        assert_eq!(totals.deliveries.suppressed, 1);
    });
}

#[test]
fn a_paused_endpoint_mutes_and_a_disabled_one_drops_and_opens_no_window() {
    paused(async {
        let receiver = receiver();
        let hooks = start(Hookmill::builder(), &receiver).await;
        let settings = json!({"url": "https://calm.example/", "debounce": {"key": ["/data/session"], "window": "10s"}});
        hooks.create_endpoint(Some(id("calm")), &settings).await.unwrap();
        for state in ["disabled", "paused", "active"] {
            hooks.patch_endpoint(&id("calm"), &json!({"state": state}), None).await.unwrap();
            hooks.publish(of("a")).await.unwrap();
            hooks.publish(of("a")).await.unwrap();
            until(&hooks, |totals| totals.unrouted == 0).await;
        }
        let deliveries = settled(&hooks).await.deliveries;
        assert_eq!(sent(&receiver, "calm"), [3]);
        assert_eq!((deliveries.dropped["endpoint_disabled"], deliveries.suppressed, deliveries.delivered), (2, 3, 1));
    });
}

#[test]
fn another_setting_starts_with_no_windows_and_one_that_stays_keeps_them() {
    paused(async {
        let receiver = receiver();
        let hooks = start(Hookmill::builder(), &receiver).await;
        let settings = json!({"url": "https://calm.example/", "debounce": {"key": ["/data/session"], "window": "1h"}});
        hooks.create_endpoint(Some(id("calm")), &settings).await.unwrap();
        let publish = async || {
            hooks.publish(of("a")).await.unwrap();
            settled(&hooks).await.deliveries.suppressed
        };
        let patch = async |patch| drop(hooks.patch_endpoint(&id("calm"), &patch, None).await.unwrap());
        assert_eq!((publish().await, publish().await), (0, 1));
        patch(json!({"timeout": "3s"})).await;
        assert_eq!(publish().await, 2);
        patch(json!({"debounce": {"window": "2h"}})).await;
        assert_eq!((publish().await, publish().await, kept(&hooks).await), (2, 3, 1));
        patch(json!({"debounce": null})).await;
        assert_eq!((publish().await, publish().await, kept(&hooks).await), (3, 3, 0));
        patch(json!({"debounce": {"window": "2h"}})).await;
        assert_eq!((publish().await, kept(&hooks).await), (3, 1));
        hooks.delete_endpoint(&id("calm"), None).await.unwrap();
        assert_eq!(kept(&hooks).await, 0);
        assert_eq!(sent(&receiver, "calm"), [1, 4, 6, 7, 8]);
    });
}

#[test]
fn what_a_rule_held_is_judged_when_it_is_released() {
    paused(async {
        let receiver = receiver();
        let rule =
            Debounce::on("ui.*").by(["/data/session", "/data/n"]).within(seconds(5)).edge(hookmill::Edge::Trailing);
        let hooks = start(Hookmill::builder().endpoint(calm("calm")).debounce(rule), &receiver).await;
        let numbered = |n: u8| Event::new("ui.click", &json!({"session": "a", "n": n})).unwrap();
        // Released at 5, 14 and 15 seconds: within ten seconds of the first, and exactly then.
        for (wait, n) in [(0, 1), (9, 2), (1, 3)] {
            pass(seconds(wait)).await;
            hooks.publish(numbered(n)).await.unwrap();
        }
        let totals = until(&hooks, |totals| totals.routed == 3).await;
        assert_eq!((totals.deliveries.created, totals.deliveries.suppressed), (3, 1));
        settled(&hooks).await;
        assert_eq!(sent(&receiver, "calm"), [1, 3]);
    });
}
