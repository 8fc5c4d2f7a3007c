//! Settings that change while events flow.

use hookmill::{
    store::EndpointChange,
    testing::{Script, paused},
};
use serde_json::Value;

use super::*;

/// Starts with an endpoint that can be changed.
async fn start_changeable(settings: Value, receiver: &ScriptedTransport) -> Hookmill {
    let hooks = start(Hookmill::builder(), receiver).await;
    let mut whole = json!({"url": "https://old.example/", "signing": {"type": "none"}});
    whole.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    hooks.create_endpoint(Some(id("crm")), &whole).await.unwrap();
    hooks
}

async fn patch(hooks: &Hookmill, patch: Value) {
    hooks.patch_endpoint(&id("crm"), &patch, None).await.unwrap();
}

fn dropped(totals: &Totals) -> Vec<(&str, u64)> {
    totals.deliveries.dropped.iter().map(|(reason, count)| (reason.as_str(), *count)).collect()
}

#[test]
fn once_the_target_has_changed_no_attempt_goes_to_the_old_one() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match host(attempt) {
            Some("old.example") => Script::status(500).after(millis(200)),
            _ => Script::status(200).after(millis(200)),
        });
        // Some wait for a retry, some are in flight, some have not been tried.
        let settings = json!({"in_flight": 4, "retry": {"delays": ["10s"], "jitter": 0}, "breaker": {"failures": 100}});
        let hooks = start_changeable(settings, &receiver).await;
        publish(&hooks, 20).await;
        pass(millis(500)).await;
        patch(&hooks, json!({"url": "https://new.example/"})).await;
        let before = receiver.made().len();
        assert_eq!(before, 12);
        assert_eq!(settled(&hooks).await.deliveries.delivered, 20);
        let made = receiver.made();
        assert!(made[before..].iter().all(|one| one.url.as_ref().unwrap().host_str() == Some("new.example")));
        let expected = (1..=20).map(|seq| (seq, if seq <= 12 { 2 } else { 1 })).collect();
        assert_eq!(attempts(&made), expected);
        assert_eq!(starts(&made)[12..20], [600, 600, 600, 600, 800, 800, 800, 800]);
        assert_eq!(starts(&made)[20], 10_200);
    });
}

#[test]
fn a_new_retry_policy_applies_from_the_next_attempt_on_and_counts_on() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let hooks = start_changeable(json!({"retry": {"delays": ["10s", "10s"], "jitter": 0}}), &receiver).await;
        publish(&hooks, 1).await;
        receiver.until(|made| made.len() == 1).await;
        pass(seconds(1)).await;
        patch(&hooks, json!({"retry": {"delays": ["3s", "3s", "3s"]}})).await;
        settled(&hooks).await;
        assert_eq!(starts(&receiver.made()), [0, 10_000, 13_000, 16_000]);
        assert_eq!(dead_letters(&hooks).await[0].attempts, 4);
    });
}

#[test]
fn from_many_at_once_to_strict_order_and_back_nothing_is_lost() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq % 7, attempt.number) {
            (0, 1) => Script::status(500).after(millis(10)),
            _ => Script::status(200).after(millis(10)),
        });
        let settings = json!({"in_flight": 8, "retry": {"delays": ["1s"], "jitter": 0}});
        let hooks = start_changeable(settings, &receiver).await;
        publish(&hooks, 600).await;
        pass(millis(155)).await;
        patch(&hooks, json!({"in_flight": 1})).await;
        let many = receiver.made().len();
        pass(seconds(5)).await;
        let strict = receiver.made().len();
        patch(&hooks, json!({"in_flight": 8})).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 600);
        let made = receiver.made();
        assert!(made[many..strict].iter().all(|one| one.in_flight == 1));
        assert!(made[many..strict].is_sorted_by_key(|one| (one.seq, one.number)), "{:?}", seqs(&made[many..strict]));
        assert!(made[..many].iter().chain(&made[strict..]).all(|one| one.in_flight <= 8));
        assert_eq!(attempts(&made), (1..=600).map(|seq| (seq, if seq % 7 == 0 { 2 } else { 1 })).collect());
    });
}

#[test]
fn a_pause_holds_everything_and_a_resume_delivers_it() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq, attempt.number) {
            (1, 1) => Script::status(500),
            _ => Script::status(200).after(millis(100)),
        });
        let hooks = start_changeable(json!({}), &receiver).await;
        publish(&hooks, 2).await;
        pass(millis(50)).await;
        patch(&hooks, json!({"state": "paused"})).await;
        publish(&hooks, 600).await;
        pass(24 * HOUR).await;
        // What was in flight has ended; nothing has started.
        let totals = look(&hooks).await.deliveries;
        assert_eq!((totals.pending, totals.in_flight, totals.delivered), (601, 0, 1));
        assert_eq!(receiver.made().len(), 2);
        patch(&hooks, json!({"state": "active"})).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 602);
        assert_eq!(receiver.made().len(), 603);
    });
}

#[test]
fn disabling_drops_what_waits_and_what_comes_until_it_is_enabled() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.event().seq {
            1 => Script::status(500),
            _ => Script::status(200).after(seconds(1)),
        });
        let hooks = start_changeable(json!({"in_flight": 2}), &receiver).await;
        publish(&hooks, 10).await;
        pass(millis(500)).await;
        patch(&hooks, json!({"state": "disabled"})).await;
        let totals = look(&hooks).await;
        assert_eq!((dropped(&totals), totals.deliveries.delivered), (vec![("endpoint_disabled", 10)], 0));
        publish(&hooks, 5).await;
        let totals = settled(&hooks).await;
        assert_eq!(dropped(&totals), [("endpoint_disabled", 15)]);
        pass(HOUR).await;
        assert_eq!(receiver.made().len(), 3);
        patch(&hooks, json!({"state": "active"})).await;
        publish(&hooks, 5).await;
        let totals = settled(&hooks).await;
        assert_eq!((dropped(&totals), totals.deliveries.delivered), (vec![("endpoint_disabled", 15)], 5));
        assert_eq!(receiver.made().len(), 8);
    });
}

#[test]
fn enabling_goes_on_with_what_was_not_dropped_yet() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_changeable(json!({"state": "disabled"}), &receiver).await;
        publish(&hooks, 1).await;
        let totals = settled(&hooks).await;
        assert_eq!(dropped(&totals), [("endpoint_disabled", 1)]);
        // A store may drop in small steps: there is something left, of which no Delivery knows.
        let (store, endpoint) = (hookmill::testing::store(&hooks), hooks.endpoint(&id("crm")).unwrap());
        let settings = endpoint.settings.to_json().to_string();
        let change = EndpointChange { settings, state_changed: false, state_reason: None, drop_pending: None };
        store.update_endpoint(endpoint.key, change).await.unwrap();
        store.redeliver(1, endpoint.key).await.unwrap();
        patch(&hooks, json!({"state": "active"})).await;
        pass(HOUR).await;
        assert_eq!(look(&hooks).await.deliveries.delivered, 1, "nothing else wakes it");
        assert_eq!(receiver.made().len(), 1);
    });
}

#[test]
fn deleting_drops_what_waits_and_ends_what_is_in_flight() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200).after(seconds(1)));
        let hooks = start_changeable(json!({"in_flight": 2}), &receiver).await;
        publish(&hooks, 10).await;
        pass(millis(1500)).await;
        hooks.delete_endpoint(&id("crm"), None).await.unwrap();
        let totals = look(&hooks).await;
        assert_eq!((dropped(&totals), totals.deliveries.delivered), (vec![("endpoint_deleted", 8)], 2));
        publish(&hooks, 1).await;
        pass(HOUR).await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.unmatched, totals.deliveries.delivered), (1, 2));
        let made = receiver.made();
        let cut = made.iter().filter(|one| one.ended.unwrap().since(one.at) < seconds(1)).count();
        assert_eq!((made.len(), cut), (4, 2));
        // The id is free, and another endpoint has nothing to do with the old one.
        hooks.create_endpoint(Some(id("crm")), &json!({"url": "https://new.example/"})).await.unwrap();
        publish(&hooks, 1).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 3);
    });
}

#[test]
fn what_grows_too_old_in_a_pause_is_a_dead_letter_without_an_attempt() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let settings = json!({"state": "paused", "retry": {"max_age": "1h"}});
        let hooks = start_changeable(settings, &receiver).await;
        publish(&hooks, 1000).await;
        pass(HOUR + millis(1)).await;
        publish(&hooks, 1).await;
        patch(&hooks, json!({"state": "active"})).await;
        let totals = settled(&hooks).await.deliveries;
        assert_eq!((totals.dead_lettered, totals.delivered), (1000, 1));
        assert_eq!(seqs(&receiver.made()), [1001]);
        assert!(dead_letters(&hooks).await.iter().all(|dead| dead.reason == "expired" && dead.attempts == 0));
    });
}
