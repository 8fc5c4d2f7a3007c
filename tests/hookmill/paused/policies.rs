//! What becomes of deliveries under other policies than the default.

use hookmill::{
    endpoint::State,
    testing::{Script, paused},
};
use serde_json::Value;

use super::*;

fn with(id: &str, settings: Value) -> EndpointBuilder {
    endpoint(id).settings(settings)
}

#[test]
fn an_endpoint_without_dead_letters_drops_what_is_exhausted_and_counts_it() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let retry = json!({"retry": {"delays": ["1s"], "jitter": 0, "exhausted": "drop"}});
        let hooks = start_with(with("crm", retry), &receiver).await;
        publish(&hooks, 3).await;
        let totals = settled(&hooks).await;
        assert_eq!(totals.deliveries.dropped, BTreeMap::from([("exhausted".to_owned(), 3)]));
        assert_eq!((totals.deliveries.dead_lettered, receiver.made().len()), (0, 6));
    });
}

#[test]
fn what_is_requeued_starts_over_in_its_place_until_it_is_too_old() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.event().seq {
            1 if attempt.number < 8 => Script::status(500),
            _ => Script::status(200),
        });
        let settings = json!({"in_flight": 1, "retry": {"delays": ["1s", "5s"], "jitter": 0, "exhausted": "requeue"}});
        let hooks = start_with(with("crm", settings), &receiver).await;
        publish(&hooks, 3).await;
        let totals = settled(&hooks).await;
        assert_eq!(totals.deliveries.delivered, 3);
        let made = receiver.made();
        assert_eq!(made.iter().map(|one| one.seq).collect::<Vec<_>>(), [1, 1, 1, 1, 1, 1, 1, 1, 2, 3]);
        assert_eq!(starts(&made)[..8], [0, 1000, 6000, 11_000, 12_000, 17_000, 22_000, 23_000]);
    });
}

#[test]
fn requeueing_ends_with_age() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let retry = json!({"retry": {"delays": ["10s"], "jitter": 0, "exhausted": "requeue", "max_age": "95s"}});
        let hooks = start_with(with("crm", retry), &receiver).await;
        publish(&hooks, 1).await;
        settled(&hooks).await;
        assert_eq!(receiver.made().len(), 10);
        assert_eq!(dead_letters(&hooks).await[0].reason, "expired");
    });
}

#[test]
fn what_is_due_while_the_breaker_is_open_is_skipped_where_that_is_wanted() {
    paused(async {
        let works = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(&works);
        let receiver =
            ScriptedTransport::new(move |_| Script::status(if state.load(Ordering::Relaxed) { 200 } else { 500 }));
        let settings = json!({"in_flight": 1, "retry": {"delays": [], "jitter": 0},
            "breaker": {"failures": 2, "min_events": 2, "cooldown": "30s", "while_open": "skip"}});
        let hooks = start_with(with("crm", settings), &receiver).await;
        publish(&hooks, 10).await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.deliveries.dead_lettered, receiver.made().len()), (2, 2));
        assert_eq!(totals.deliveries.dropped, BTreeMap::from([("circuit_open".to_owned(), 8)]));
        works.store(true, Ordering::Relaxed);
        pass(seconds(30)).await;
        // What comes while the probe is out is skipped too.
        publish(&hooks, 1).await;
        settled(&hooks).await;
        publish(&hooks, 4).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 5);
    });
}

#[test]
fn what_is_due_while_the_breaker_is_open_can_be_a_dead_letter_at_once() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let settings = json!({"in_flight": 1, "retry": {"delays": [], "jitter": 0},
            "breaker": {"failures": 2, "min_events": 2, "while_open": "dead_letter"}});
        let hooks = start_with(with("crm", settings), &receiver).await;
        publish(&hooks, 6).await;
        settled(&hooks).await;
        let reasons: Vec<_> = dead_letters(&hooks).await.into_iter().map(|letter| letter.reason).collect();
        assert_eq!(reasons.iter().filter(|reason| *reason == "circuit_open").count(), 4);
        assert_eq!(reasons.iter().filter(|reason| *reason == "exhausted").count(), 2);
    });
}

#[test]
fn a_breaker_can_count_events_instead_of_attempts() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let settings = json!({"in_flight": 1, "retry": {"delays": ["1s", "1s"], "jitter": 0},
            "breaker": {"failures": 3, "min_events": 1, "unit": "event", "cooldown": "1h"}});
        let hooks = start_with(with("crm", settings), &receiver).await;
        publish(&hooks, 5).await;
        pass(seconds(60)).await;
        // Three events failed, with three attempts each; then the breaker opened.
        assert_eq!(receiver.made().len(), 9);
        assert_eq!(look(&hooks).await.deliveries.dead_lettered, 3);
    });
}

#[test]
fn no_more_attempts_start_than_the_rate_allows() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_with(with("crm", json!({"rate": {"per_second": 10, "burst": 5}})), &receiver).await;
        publish(&hooks, 25).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 25);
        let starts = starts(&receiver.made());
        assert_eq!(starts[..5], [0; 5]);
        assert_eq!(starts[5..], (1..=20).map(|n| n * 100).collect::<Vec<_>>());
    });
}

#[test]
fn a_receiver_that_is_gone_disables_its_endpoint() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.event().seq {
            3 => Script::status(410),
            _ => Script::status(200),
        });
        let hooks = start_with(with("crm", json!({"in_flight": 1})), &receiver).await;
        publish(&hooks, 6).await;
        let totals = settled(&hooks).await;
        let id: EndpointId = "crm".parse().unwrap();
        let endpoint = loop {
            let endpoint = hooks.endpoint(&id).unwrap();
            if endpoint.settings.state == State::Disabled {
                break endpoint;
            }
            pass(millis(1)).await;
        };
        assert_eq!(endpoint.state_reason.as_deref(), Some("gone"));
        assert_eq!(dead_letters(&hooks).await[0].reason, "gone");
        assert_eq!(totals.deliveries.dead_lettered, 1);
        let made = receiver.made().len();
        publish(&hooks, 2).await;
        let totals = until(&hooks, |totals| totals.deliveries.dropped.contains_key("endpoint_disabled")).await;
        assert!(totals.deliveries.dropped["endpoint_disabled"] >= 2);
        assert_eq!(receiver.made().len(), made);
    });
}

#[test]
fn an_endpoint_that_fails_for_too_long_is_disabled() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let settings = json!({"disable_after": "1h", "breaker": {"failures": 3, "min_events": 1}});
        let hooks = start_with(with("crm", settings), &receiver).await;
        publish(&hooks, 20).await;
        let totals = until(&hooks, |totals| totals.deliveries.dropped.contains_key("endpoint_disabled")).await;
        let endpoint = hooks.endpoint(&"crm".parse().unwrap()).unwrap();
        assert_eq!((endpoint.settings.state, endpoint.state_reason.as_deref()), (State::Disabled, Some("failing")));
        let last = *starts(&receiver.made()).last().unwrap();
        assert!((3_600_000..3_600_000 + 600_000).contains(&last), "{last}");
        assert_eq!(totals.deliveries.pending, 0);
    });
}

#[test]
fn what_the_old_receiver_answers_does_not_disable_an_endpoint_that_has_a_new_one() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match host(attempt) {
            Some("crm.example") => Script::status(410).after(seconds(3)),
            _ => Script::status(200),
        });
        let hooks = start(Hookmill::builder(), &receiver).await;
        let settings = json!({"url": "https://crm.example/", "in_flight": 1, "signing": {"type": "none"}});
        let id: EndpointId = "crm".parse().unwrap();
        hooks.create_endpoint(Some(id.clone()), &settings).await.unwrap();
        publish(&hooks, 6).await;
        pass(seconds(1)).await;
        hooks.patch_endpoint(&id, &json!({"url": "https://new.example/"}), None).await.unwrap();
        let totals = settled(&hooks).await;
        assert_eq!((totals.deliveries.delivered, totals.deliveries.dead_lettered), (5, 1));
        assert_eq!(hooks.endpoint(&id).unwrap().settings.state, State::Active);
    });
}

#[test]
fn an_endpoint_that_was_repaired_starts_with_a_clean_record() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.event().seq {
            1..=10 => Script::status(500),
            _ if attempt.number == 1 => Script::status(500),
            _ => Script::status(200),
        });
        let hooks = start(Hookmill::builder(), &receiver).await;
        let settings = json!({"url": "https://crm.example/", "disable_after": "1h", "signing": {"type": "none"}});
        let id: EndpointId = "crm".parse().unwrap();
        hooks.create_endpoint(Some(id.clone()), &settings).await.unwrap();
        publish(&hooks, 10).await;
        while hooks.endpoint(&id).unwrap().settings.state != State::Disabled {
            pass(seconds(10)).await;
        }
        let dropped = until(&hooks, |totals| totals.deliveries.pending == 0).await.deliveries.dropped;
        hooks.patch_endpoint(&id, &json!({"state": "active"}), None).await.unwrap();
        publish(&hooks, 3).await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.deliveries.delivered, totals.deliveries.dropped), (3, dropped));
        assert_eq!(hooks.endpoint(&id).unwrap().state_reason, None);
    });
}
