//! A program's own fields for events.

use std::{future::pending, sync::atomic::AtomicUsize};

use hookmill::{
    PublishError, StartError,
    testing::{Script, paused},
};
use serde_json::{Map, Value};

use super::*;

fn fields(value: &Value) -> Option<Map<String, Value>> {
    value.as_object().cloned()
}

fn receiver() -> ScriptedTransport {
    ScriptedTransport::new(|_| Script::status(200))
}

/// The metadata of an accepted event.
async fn metadata(hooks: &Hookmill, id: &str) -> Value {
    let detail = testing::store(hooks).event(None, id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(&detail.event.data[..], b"{ \"n\": 1.0 }", "the data is as it was published");
    detail.event.metadata.as_deref().map_or(Value::Null, |text| serde_json::from_str(text).unwrap())
}

fn spaced(topic: &str, id: &str) -> Event {
    Event::from_json(topic, "{ \"n\": 1.0 }").id(id)
}

/// How often hooks ended so.
async fn count(hooks: &Hookmill, result: &str) -> u64 {
    let text = hooks.metrics().await.unwrap();
    let start = format!("hookmill_enrich_total{{result=\"{result}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
}

#[test]
fn fields_are_in_what_is_accepted_and_replace_those_of_the_publisher() {
    paused(async {
        let builder = Hookmill::builder().endpoint(endpoint("crm"));
        let builder = builder.enrich("a.*", |event| {
            let topic = event.topic().to_owned();
            async move {
                pass(seconds(1)).await;
                fields(&json!({"seen": topic, "by": "one"}))
            }
        });
        let builder = builder.enrich("*", |_| async { fields(&json!({"by": "two"})) });
        let hooks = start(builder, &receiver()).await;
        let accepted = hooks.publish(spaced("a.b", "e1").metadata("own", 1).metadata("by", "me")).await.unwrap();
        assert_eq!((accepted.seq, accepted.duplicate), (1, false));
        assert_eq!(metadata(&hooks, "e1").await, json!({"own": 1, "by": "two", "seen": "a.b"}));
        hooks.publish(spaced("b", "e2")).await.unwrap();
        assert_eq!(metadata(&hooks, "e2").await, json!({"by": "two"}));
        // The same event again is the same event, whatever the hooks say of it.
        assert!(hooks.publish(spaced("a.b", "e1")).await.unwrap().duplicate);
        assert_eq!(settled(&hooks).await.deliveries.delivered, 2);
    });
}

#[test]
fn a_hook_that_panics_or_hangs_or_says_too_much_hurts_its_own_event_alone() {
    paused(async {
        let builder = Hookmill::builder().endpoint(endpoint("crm")).enrich("bad.panic", |_| async { panic!("a bug") });
        let builder = builder.enrich("bad.early", |_| -> std::future::Ready<_> { panic!("an early bug") });
        let builder = builder.enrich("bad.hang", |_| pending());
        let builder = builder.enrich("bad.large", |_| async { fields(&json!({"x": "x".repeat(20_000)})) });
        let builder = builder.enrich("bad.none", |_| async { None });
        let hooks = start(builder.enrich_limit(seconds(7)), &receiver()).await;
        let began = hooks.publish(spaced("good", "e0")).await.unwrap();
        let topics = ["panic", "early", "hang", "large", "none"];
        let events = topics.map(|topic| spaced(&format!("bad.{topic}"), topic));
        // All or none, in one order, in one transaction.
        let accepted = hooks.publish_all(events.to_vec()).await.unwrap();
        let seqs: Vec<_> = accepted.iter().map(|one| one.seq - began.seq).collect();
        assert_eq!(seqs, [1, 2, 3, 4, 5]);
        for topic in topics {
            assert_eq!(metadata(&hooks, topic).await, Value::Null);
        }
        assert_eq!(settled(&hooks).await.deliveries.delivered, 6);
        assert_eq!((count(&hooks, "panic").await, count(&hooks, "timeout").await), (2, 1));
        assert_eq!((count(&hooks, "too_large").await, count(&hooks, "nothing").await), (1, 1));
    });
}

#[test]
fn emit_does_not_wait_and_takes_its_place_in_the_intake_first() {
    paused(async {
        let builder = Hookmill::builder().endpoint(endpoint("crm")).intake(2, 1 << 20).enrich("a", |_| async {
            pass(seconds(3)).await;
            fields(&json!({"late": true}))
        });
        let hooks = start(builder, &receiver()).await;
        (0..3).for_each(|n| hooks.emit(spaced("a", &format!("e{n}"))));
        assert_eq!((hooks.emitted().admitted, hooks.emitted().refused, hooks.emitted().unsynced), (2, 1, 2));
        assert!(matches!(hooks.publish(event("b")).await, Err(PublishError::Overloaded { .. })));
        assert_eq!(until(&hooks, |totals| totals.deliveries.delivered == 2).await.accepted, 2);
        assert_eq!(metadata(&hooks, "e1").await, json!({"late": true}));
        assert_eq!(hooks.emitted().unsynced, 0);
    });
}

#[test]
fn what_a_publisher_who_went_away_has_published_is_accepted_all_the_same() {
    paused(async {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let builder = Hookmill::builder().endpoint(endpoint("crm")).enrich("a", move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                pass(seconds(1)).await;
                None
            }
        });
        let hooks = start(builder, &receiver()).await;
        let gone = tokio::time::timeout(millis(10), hooks.publish(spaced("a", "e1"))).await;
        assert!(gone.is_err() && calls.load(Ordering::Relaxed) == 1);
        assert_eq!(until(&hooks, |totals| totals.deliveries.delivered == 1).await.accepted, 1);
    });
}

#[test]
fn a_shutdown_waits_for_events_that_are_with_hooks() {
    paused(async {
        let builder = Hookmill::builder().endpoint(endpoint("crm")).enrich("a", |_| async {
            pass(seconds(2)).await;
            fields(&json!({"late": true}))
        });
        let hooks = start(builder, &receiver()).await;
        hooks.emit(spaced("a", "e1"));
        let report = hooks.shutdown(seconds(10)).await;
        assert_eq!((report.delivered, report.abandoned, hooks.emitted().lost), (1, 0, 0));
    });
}

#[test]
fn a_hook_for_no_topics_is_a_mistake_of_the_configuration() {
    paused(async {
        let builder = Hookmill::builder().enrich("a", |_| async { None }).enrich("a*", |_| async { None });
        let Err(StartError::Config(invalid)) = testing::start_here(builder).await else { panic!("it started") };
        assert_eq!(invalid.faults()[0].pointer, "#/enrich/1");
    });
}
