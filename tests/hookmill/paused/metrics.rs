//! What is counted, held against what happened.

use hookmill::{
    StoreError,
    testing::{Script, paused},
    transport::{FailureKind, RetryAfter},
};

use super::*;

/// The samples of a text, each with its labels as they are written.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    samples
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

async fn scrape(hooks: &Hookmill) -> Result<impl Fn(&str) -> f64, StoreError> {
    let samples = samples(&hooks.metrics().await?);
    Ok(move |name: &str| *samples.get(&format!("hookmill_{name}")).unwrap_or_else(|| panic!("no sample {name}")))
}

#[test]
fn counters_move_with_what_happens() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq, attempt.number) {
            (1, 1) => Script::status(500).after(millis(300)),
            (1, 2) => Script::fails(FailureKind::Dns),
            (2, _) => Script::asks(429, RetryAfter::Delay(seconds(3600))),
            (3, _) => Script::status(404),
            _ => Script::status(200).after(millis(20)),
        });
        let hooks = start_with(endpoint("crm").topics(["a.*"]), &receiver).await;
        publish(&hooks, 6).await;
        hooks.publish(event("nobody")).await.unwrap();
        assert!(hooks.publish_all(vec![event("a.b"), event("no spaces")]).await.is_err());
        pass(seconds(60)).await;
        let value = scrape(&hooks).await.unwrap();
        assert_eq!((value("events_accepted_total"), value("events_rejected_total{reason=\"invalid\"}")), (7.0, 2.0));
        assert_eq!(value("events_judged_total{result=\"routed\"}"), 6.0);
        assert_eq!(value("events_judged_total{result=\"unmatched\"}"), 1.0);
        assert_eq!(value("deliveries_created_total{cause=\"routed\"}"), 6.0);
        assert_eq!(value("deliveries_settled_total{state=\"delivered\",reason=\"\"}"), 4.0);
        assert_eq!(value("deliveries_settled_total{state=\"dead_lettered\",reason=\"\"}"), 1.0);
        assert_eq!((value("deliveries{state=\"pending\"}"), value("deliveries{state=\"in_flight\"}")), (1.0, 0.0));
        let outcome = |name: &str| value(&format!("delivery_attempts_total{{outcome=\"{name}\"}}"));
        assert_eq!(["2xx", "4xx", "5xx", "429", "dns", "timeout"].map(outcome), [4.0, 4.0, 1.0, 1.0, 1.0, 0.0]);
        assert_eq!(value("delivery_attempt_duration_seconds_count"), 11.0);
        assert_eq!(value("delivery_attempt_duration_seconds_bucket{le=\"0.25\"}"), 10.0);
        assert_eq!(value("delivery_latency_seconds_count{first_attempt=\"true\"}"), 3.0);
        assert_eq!(value("delivery_latency_seconds_sum{first_attempt=\"true\"}"), 0.06);
        // 300 ms, a second, an instant, two seconds, 20 ms.
        assert_eq!(value("delivery_latency_seconds_sum{first_attempt=\"false\"}"), 3.32);
        assert_eq!(value("retry_lateness_seconds_bucket{le=\"0.02\"}"), 5.0);
        assert_eq!(value("retry_lateness_seconds_count"), 5.0);
        assert_eq!((value("dead_letters"), value("endpoints{state=\"active\"}")), (1.0, 1.0));
        let accepted = look(&hooks).await;
        assert_eq!(accepted.deliveries.pending, 1);
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let start = testing::START.as_millis() as f64 / 1000.0;
        assert_eq!(value("oldest_pending_timestamp_seconds"), start);
        assert_eq!((value("intake_events"), value("intake_bytes")), (0.0, 0.0));
    });
}

#[test]
fn breakers_and_sick_endpoints_are_shown() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.endpoint.id.as_str() {
            "well" => Script::status(200),
            "slow" => Script::hangs(),
            _ => Script::status(500),
        });
        let fails = json!({"breaker": {"failures": 1, "min_events": 1, "cooldown": "10m"}});
        let builder = Hookmill::builder().endpoint(endpoint("well")).endpoint(endpoint("fails").settings(fails));
        let hooks = start(builder.endpoint(endpoint("slow")), &receiver).await;
        pass(seconds(5)).await;
        publish(&hooks, 2).await;
        pass(seconds(1)).await;
        let value = scrape(&hooks).await.unwrap();
        let breakers = ["closed", "open", "half_open"].map(|state| value(&format!("breakers{{state=\"{state}\"}}")));
        assert_eq!(breakers, [2.0, 1.0, 0.0]);
        let text = hooks.endpoint_metrics().await.unwrap();
        let sick = samples(&text);
        let of = |name: &str, id: &str| sick.get(&format!("hookmill_endpoint_{name}{{endpoint=\"{id}\"}}")).copied();
        #[expect(clippy::cast_precision_loss, reason = "small")]
        let then = testing::START.as_millis() as f64 / 1000.0 + 5.0;
        assert_eq!(of("failing_since_timestamp_seconds", "fails"), Some(then));
        assert_eq!((of("breaker_open", "fails"), of("breaker_open", "slow")), (Some(1.0), Some(0.0)));
        assert_eq!(
            (of("pending", "fails"), of("pending", "slow"), of("pending", "well")),
            (Some(2.0), Some(2.0), None)
        );
        assert_eq!(of("oldest_pending_timestamp_seconds", "slow"), Some(then));
        pass(seconds(600)).await;
        publish(&hooks, 1).await;
        let first = text.lines().find(|line| line.starts_with("hookmill_endpoint_pending")).unwrap();
        assert!(first.contains("fails"), "the sickest comes first: {first}");
    });
}

#[test]
fn an_actor_that_died_is_counted() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish(&hooks, 1).await;
        settled(&hooks).await;
        assert!(testing::kill_delivery(&hooks, hooks.endpoint(&id("crm")).unwrap().key).await);
        pass(seconds(1)).await;
        assert_eq!(scrape(&hooks).await.unwrap()("actor_restarts_total{actor=\"delivery\"}"), 1.0);
    });
}
