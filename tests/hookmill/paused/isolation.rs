//! What is bad for one event or one endpoint is not bad for another.

use hookmill::{
    testing::{Script, paused},
    transport::FailureKind,
};

use super::*;

#[test]
fn a_poison_event_does_not_hold_up_the_others() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.event().topic.as_str() {
            "poison" => Script::status(500),
            _ => Script::status(200).after(millis(10)),
        });
        let hooks = start_with(endpoint("crm"), &receiver).await;
        hooks.publish(event("poison")).await.unwrap();
        publish(&hooks, 100).await;
        let totals = until(&hooks, |totals| totals.deliveries.delivered == 100).await.deliveries;
        assert_eq!(totals.pending, 1);
        assert!(starts(&receiver.made())[100] <= 200);
        let totals = settled(&hooks).await.deliveries;
        assert_eq!((totals.delivered, totals.dead_lettered), (100, 1));
        assert_eq!(attempts(&receiver.made())[&1], 4);
    });
}

#[test]
fn endpoints_that_hang_or_refuse_do_not_hold_up_the_others() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.endpoint.id.as_str() {
            "hangs" => Script::hangs(),
            "stuck" => Script::stuck(),
            "refuses" => Script::fails(FailureKind::Connect),
            _ => Script::status(200).after(millis(10)),
        });
        let good: Vec<_> = (0..10).map(|n| format!("good-{n}")).collect();
        let ids = good.iter().map(String::as_str).chain(["hangs", "stuck", "refuses"]);
        let builder = ids.fold(Hookmill::builder(), |builder, id| builder.endpoint(endpoint(id)));
        let hooks = start(builder, &receiver).await;
        publish(&hooks, 200).await;
        until(&hooks, |totals| totals.deliveries.delivered == 2000).await;
        let made = receiver.made();
        assert!(made.iter().all(|one| one.at.since(made[0].at) < seconds(1)), "no wait for a timeout");
        for name in &good {
            let own: Vec<_> = made.iter().filter(|one| one.endpoint.as_str() == name).cloned().collect();
            assert_eq!(attempts(&own), (1..=200).map(|seq| (seq, 1)).collect());
        }
    });
}

#[test]
fn however_many_attempts_of_one_endpoint_hang_the_others_have_theirs() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.endpoint.id.as_str() {
            "greedy" => Script::hangs(),
            _ => Script::status(200).after(millis(10)),
        });
        let builder = Hookmill::builder().endpoint(endpoint("greedy").in_flight(4096)).endpoint(endpoint("modest"));
        let hooks = start(builder, &receiver).await;
        publish(&hooks, 9000).await;
        until(&hooks, |totals| totals.deliveries.delivered == 9000).await;
        let made = receiver.made();
        let (greedy, modest): (Vec<_>, Vec<_>) = made.iter().partition(|one| one.endpoint.as_str() == "greedy");
        assert!((1024..4096).contains(&greedy.len()), "{} hang", greedy.len());
        assert!(modest[8000..].iter().any(|one| one.in_flight == 8), "as many at a time as it may");
    });
}

#[test]
fn an_endpoint_that_hangs_has_one_attempt_at_a_time_until_it_answers() {
    paused(async {
        let answers = Switch::default();
        let seen = answers.clone();
        let receiver = ScriptedTransport::new(move |_| match seen.is_on() {
            true => Script::status(200).after(millis(10)),
            false => Script::hangs(),
        });
        let policy = json!({"retry": {"delays": ["1h"], "jitter": 0}, "breaker": {"failures": 100}, "timeout": "5s"});
        let hooks = start_with(endpoint("crm").settings(policy), &receiver).await;
        publish(&hooks, 40).await;
        let made = receiver.until(|made| made.len() == 12).await;
        assert!(made[8..].iter().all(|one| one.in_flight == 1));
        answers.on();
        assert_eq!(settled(&hooks).await.deliveries.delivered, 40);
        assert!(receiver.made().iter().any(|one| one.in_flight > 1 && one.at > made[11].at));
    });
}

#[test]
fn a_transport_that_panics_is_an_attempt_like_others() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq, attempt.number) {
            (1, 1) => Script::panics(),
            (2, 1) => Script::panics().after(millis(100)),
            _ => Script::status(200),
        });
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish(&hooks, 3).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 3);
        let made = receiver.made();
        assert_eq!((seqs(&made), starts(&made)), (vec![1, 2, 3, 1, 2], vec![0, 0, 0, 1000, 1100]));
        let attempts = testing::store(&hooks).event_attempts(1, hookmill::store::AttemptPage::of(99)).await.unwrap();
        let outcomes: Vec<_> = attempts.iter().map(|one| one.outcome.as_str()).collect();
        assert_eq!(outcomes, ["internal", "2xx"]);
    });
}
