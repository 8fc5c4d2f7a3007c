//! Operational events: who hears of what, and that nothing goes round in circles.

use futures_util::{FutureExt, StreamExt};
use hookmill::{
    PublishError,
    endpoint::State,
    store::EventFilter,
    testing::{Script, paused},
};
use serde_json::Value;

use super::*;

/// What was accepted of Hookmill's own: topic, tenant and data, oldest first.
async fn raised(hooks: &Hookmill) -> Vec<(String, Option<String>, Value)> {
    let filter = EventFilter { limit: 1000, topic: Some("hookmill.*".parse().unwrap()), ..EventFilter::default() };
    let mut rows = testing::store(hooks).events(filter).await.unwrap();
    rows.reverse();
    let told = |row: &hookmill::store::EventRow| {
        let data = serde_json::from_slice(&row.event.data).unwrap();
        (row.event.topic.to_string(), row.event.tenant.as_ref().map(ToString::to_string), data)
    };
    rows.iter().map(told).collect()
}

async fn topics(hooks: &Hookmill) -> Vec<String> {
    raised(hooks).await.into_iter().map(|(topic, ..)| topic).collect()
}

/// An endpoint that gives up at once and whose breaker opens at the second failure.
fn fragile(id: &str) -> EndpointBuilder {
    endpoint(id).settings(json!({"in_flight": 1, "retry": {"delays": [], "jitter": 0},
        "breaker": {"failures": 2, "min_events": 1, "cooldown": "30s"}}))
}

fn listener(id: &str, topics: &[&str]) -> EndpointBuilder {
    fragile(id).topics(topics.iter().copied())
}

/// `crm` answers 500 until the switch is on; everybody else 200.
fn crm_works_when(works: &Switch) -> ScriptedTransport {
    let works = works.clone();
    ScriptedTransport::new(move |attempt| match attempt.endpoint.id.as_str() {
        "crm" if !works.is_on() => Script::status(500),
        _ => Script::status(200),
    })
}

#[test]
fn an_endpoint_that_fails_and_works_again_is_told_of_to_those_who_name_it() {
    paused(async {
        let works = Switch::default();
        let receiver = crm_works_when(&works);
        let everything = endpoint("all").topics(["*"]);
        let builder = Hookmill::builder().endpoint(fragile("crm")).endpoint(everything);
        let builder = builder.endpoint(listener("ops", &["hookmill.*"]));
        let builder = builder.endpoint(listener("pager", &["hookmill.endpoint.failing"]));
        let hooks = start(builder, &receiver).await;
        publish(&hooks, 3).await;
        pass(seconds(1)).await;
        works.on();
        pass(seconds(60)).await;
        let totals = settled(&hooks).await;
        let told = raised(&hooks).await;
        let names: Vec<_> = told.iter().map(|(topic, ..)| topic.as_str()).collect();
        let letter = "hookmill.delivery.dead_lettered";
        let expected = [letter, "hookmill.endpoint.failing", letter, "hookmill.endpoint.recovered"];
        assert_eq!(sorted(&names), sorted(&expected));
        let (_, tenant, failing) = told.iter().find(|(topic, ..)| topic == "hookmill.endpoint.failing").unwrap();
        assert_eq!((tenant, &failing["endpoint"]), (&None, &json!("crm")));
        assert!(failing["failing_since"].is_string() && failing["next_probe_at"].is_string(), "{failing}");
        let (_, _, letter) = told.iter().find(|(topic, ..)| topic == letter).unwrap();
        assert_eq!(letter["topic"], "a.b");
        assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("exhausted"), &json!(1)));
        assert_eq!((&letter["last_status"], &letter["last_error"]), (&json!(500), &json!("answered 500")));
        let dead = dead_letters(&hooks).await;
        assert!(dead.iter().any(|one| letter["dead_letter"] == one.id.to_string()), "{letter}");
        // They are events like others: in the sums, delivered to those who name them, and not to `*`.
        assert_eq!((totals.accepted, totals.routed), (3 + 4, 7));
        let made = receiver.made();
        let count = |id: &str| made.iter().filter(|one| one.endpoint.as_str() == id).count();
        assert_eq!((count("ops"), count("pager"), count("all")), (4, 1, 3));
    });
}

fn sorted<'a>(names: &[&'a str]) -> Vec<&'a str> {
    let mut names = names.to_vec();
    names.sort_unstable();
    names
}

#[test]
fn nothing_is_raised_when_nobody_listens() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let hooks =
            start_with(fragile("crm").settings(json!({"breaker": {"while_open": "dead_letter"}})), &receiver).await;
        publish(&hooks, 20).await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.accepted, totals.deliveries.dead_lettered), (20, 20));
    });
}

#[test]
fn a_listener_that_fails_with_them_raises_none() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let builder = Hookmill::builder().endpoint(fragile("crm").topics(["a.b"]));
        let builder = builder.endpoint(listener("ops", &["hookmill.*"]));
        let hooks = start(builder.endpoint(listener("more", &["hookmill.*"])), &receiver).await;
        publish(&hooks, 4).await;
        pass(HOUR).await;
        let totals = settled(&hooks).await;
        // The two opened their breakers and made dead letters of every event; nothing came of that.
        let told = topics(&hooks).await;
        let count = |name: &str| told.iter().filter(|topic| topic.as_str() == name).count();
        assert_eq!(
            (count("hookmill.delivery.dead_lettered"), count("hookmill.endpoint.failing"), told.len()),
            (4, 1, 5)
        );
        assert_eq!(totals.deliveries.dead_lettered, 4 + 2 * 5);
    });
}

#[test]
fn a_tenant_hears_of_its_own_endpoints_alone() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.endpoint.id.as_str() {
            "hers" | "ours" => Script::status(500),
            _ => Script::status(200),
        });
        let of = |id: &str, tenant: &str| fragile(id).settings(json!({"tenant": tenant}));
        let listens = |builder: EndpointBuilder| builder.topics(["hookmill.*"]);
        let builder = Hookmill::builder().endpoint(of("hers", "acme")).endpoint(fragile("ours"));
        let builder = builder.endpoint(listens(of("acme", "acme"))).endpoint(listens(of("globex", "globex")));
        let builder = builder.endpoint(listens(of("operator", "*"))).endpoint(listens(fragile("untenanted")));
        let hooks = start(builder, &receiver).await;
        hooks.publish(event("a").tenant("acme")).await.unwrap();
        hooks.publish(event("a")).await.unwrap();
        settled(&hooks).await;
        let told = until_told(&receiver, 4).await;
        assert_eq!(told["acme"], 1);
        assert_eq!(told["untenanted"], 1);
        assert_eq!(told["operator"], 2);
        assert!(!told.contains_key("globex"));
        let told = raised(&hooks).await;
        let hers = told.iter().find(|(_, tenant, _)| tenant.as_deref() == Some("acme")).unwrap();
        assert!(hers.2["dead_letter"].is_null(), "its number is no tenant's business");
    });
}

/// Attempts to each endpoint that listens, once there are so many.
async fn until_told(receiver: &ScriptedTransport, count: usize) -> BTreeMap<String, usize> {
    let listens = |made: &Made| !["hers", "ours"].contains(&made.endpoint.as_str());
    let made = receiver.until(|made| made.iter().filter(|one| listens(one)).count() >= count).await;
    made.iter().filter(|one| listens(one)).fold(BTreeMap::new(), |mut told, one| {
        *told.entry(one.endpoint.to_string()).or_default() += 1;
        told
    })
}

#[test]
fn an_endpoint_that_is_disabled_is_told_of_with_the_reason() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.endpoint.id.as_str() {
            "crm" => Script::status(410),
            _ => Script::status(200),
        });
        let builder = Hookmill::builder().endpoint(fragile("crm"));
        let hooks = start(builder.endpoint(listener("ops", &["hookmill.endpoint.disabled"])), &receiver).await;
        publish(&hooks, 1).await;
        receiver.until(|made| made.iter().any(|one| one.endpoint == id("ops"))).await;
        assert_eq!(hooks.endpoint(&id("crm")).unwrap().settings.state, State::Disabled);
        let told = raised(&hooks).await;
        assert_eq!(told.len(), 1, "only what is listened to");
        assert_eq!(told[0].2, json!({"endpoint": "crm", "name": null, "reason": "gone"}));
    });
}

#[test]
fn another_receiver_closes_a_breaker_and_that_is_told() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match host(attempt) {
            Some("old.example") => Script::status(500),
            _ => Script::status(200),
        });
        let hooks =
            start(Hookmill::builder().endpoint(listener("ops", &["hookmill.endpoint.recovered"])), &receiver).await;
        let settings = json!({"url": "https://old.example/", "signing": {"type": "none"},
            "breaker": {"failures": 2, "min_events": 1, "cooldown": "1h"}});
        hooks.create_endpoint(Some(id("crm")), &settings).await.unwrap();
        publish(&hooks, 2).await;
        pass(seconds(1)).await;
        hooks.patch_endpoint(&id("crm"), &json!({"url": "https://new.example/"}), None).await.unwrap();
        settled(&hooks).await;
        let told = raised(&hooks).await;
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].2, json!({"endpoint": "crm", "name": null, "reason": "changed"}));
    });
}

#[test]
fn an_endpoint_that_begins_to_listen_hears_from_then_on() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.endpoint.id.as_str() {
            "crm" => Script::status(404),
            _ => Script::status(200),
        });
        let hooks = start_with(fragile("crm"), &receiver).await;
        publish(&hooks, 1).await;
        settled(&hooks).await;
        let settings = json!({"url": "https://ops.example/", "topics": ["hookmill.*"], "signing": {"type": "none"}});
        hooks.create_endpoint(Some(id("ops")), &settings).await.unwrap();
        publish(&hooks, 1).await;
        settled(&hooks).await;
        assert_eq!(topics(&hooks).await, ["hookmill.delivery.dead_lettered"]);
        hooks.delete_endpoint(&id("ops"), None).await.unwrap();
        publish(&hooks, 1).await;
        settled(&hooks).await;
        assert_eq!(topics(&hooks).await.len(), 1);
    });
}

#[test]
fn nobody_else_publishes_them_through_any_door() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_with(listener("ops", &["hookmill.*"]), &receiver).await;
        let own = || event("hookmill.endpoint.failing");
        assert!(matches!(hooks.publish(own()).await, Err(PublishError::Invalid(_))));
        assert!(matches!(hooks.publish_all(vec![event("a"), own()]).await, Err(PublishError::Invalid(_))));
        hooks.emit(own());
        assert_eq!((hooks.emitted().admitted, hooks.emitted().refused), (0, 1));
        assert_eq!(look(&hooks).await.accepted, 0);
    });
}

#[test]
fn a_flood_of_bad_news_leaves_half_of_the_intake_and_is_counted() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        // Nothing that is with a hook has a verdict: it holds its place.
        let slow = Hookmill::builder().intake(4, 1 << 20).enrich("slow", |_| async {
            pass(seconds(10)).await;
            None
        });
        let never = fragile("crm").topics(["a.b"]).settings(json!({"retry": {"delays": [], "max_age": "1s"}}));
        let hooks = start(slow.endpoint(never.settings(json!({"state": "paused"}))), &receiver).await;
        let mut stream = hooks.stream("hookmill.*").unwrap();
        publish(&hooks, 3).await;
        settled_events(&hooks).await;
        pass(seconds(2)).await;
        (0..3).for_each(|_| hooks.emit(event("slow")));
        assert_eq!(hooks.emitted().refused, 0);
        resume(&hooks, "crm").await;
        until(&hooks, |totals| totals.deliveries.dead_lettered == 3).await;
        let text = hooks.metrics().await.unwrap();
        assert!(text.contains("hookmill_operational_events_total{result=\"refused\"} 3"), "{text}");
        assert!(stream.next().now_or_never().is_none());
        assert_eq!(hooks.publish(event("x")).await.map(|one| one.seq).unwrap(), 4, "there is room for others");
    });
}

async fn settled_events(hooks: &Hookmill) {
    until(hooks, |totals| totals.unrouted == 0).await;
}

async fn resume(hooks: &Hookmill, name: &str) {
    hooks.switch_endpoint(&id(name), hookmill::pipeline::Switch::Resume, None).await.unwrap();
}

#[test]
fn what_the_intake_does_not_take_is_counted() {
    paused(async {
        let works = Switch::default();
        let receiver = crm_works_when(&works);
        let builder = Hookmill::builder().endpoint(fragile("crm")).endpoint(listener("ops", &["hookmill.*"]));
        let hooks = start(builder, &receiver).await;
        publish(&hooks, 1).await;
        hooks.close_intake();
        let totals = settled(&hooks).await;
        let text = hooks.metrics().await.unwrap();
        let refused = text.lines().find(|line| line.contains("operational_events_total{result=\"refused\"}")).unwrap();
        assert_eq!((totals.accepted, refused.rsplit(' ').next()), (1, Some("1")));
    });
}
