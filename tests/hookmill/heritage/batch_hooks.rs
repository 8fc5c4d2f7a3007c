//! Many hooks, batched HTTP or a file of JSON lines. Its column of the table first, then its section, line by line.

mod files;
mod trials;

use hookmill::{
    Clock,
    endpoint::State,
    testing::{Script, paused, store},
    transport::FailureKind,
};

use super::*;
use crate::{
    blackbox::receiver::{Receiver, Reply},
    paused::{HOUR, dead_letters, millis, pass, seconds, settled, starts},
};

async fn hook(way: Way, more: Value, script: impl Fn(&Attempt) -> Script + Send + Sync + 'static) -> Bench {
    Bench::new(way, Preset::BatchHooks, more, script).await
}

/// An event to a request, and each goes out at once.
fn one_by_one() -> Value {
    json!({"batch": {"max_items": 1}})
}

impl Bench {
    async fn changes(&self, count: u64) {
        let events = (0..count).map(|n| Event::new("user.changed", &json!({"user": n})).unwrap());
        let events: Vec<_> = events.collect();
        for group in events.chunks(500) {
            self.hooks.publish_all(group.to_vec()).await.unwrap();
        }
    }

    /// The places of the events in each request.
    fn batches(&self) -> Vec<Vec<u64>> {
        self.receiver.made().into_iter().map(|one| one.seqs).collect()
    }

    async fn patch(&self, patch: Value) {
        self.hooks.patch_endpoint(&id("hook"), &patch, None).await.unwrap();
    }
}

fn range(from: u64, to: u64) -> Vec<u64> {
    (from..=to).collect()
}

#[test]
fn success_is_a_status_from_200_to_299() {
    each_way(async |way| {
        let hook = hook(way, one_by_one(), |attempt| match (attempt.event().seq, attempt.number) {
            (1, _) => Script::status(200),
            (2, _) => Script::status(204),
            (3, _) => Script::status(299),
            (_, 1) => Script::status(302),
            _ => Script::status(200),
        })
        .await;
        hook.changes(4).await;
        settled(&hook.hooks).await;
        assert_eq!(hook.batches(), [[1], [2], [3], [4], [4]]);
    });
}

#[test]
fn everything_else_is_retried() {
    each_way(async |way| {
        let hook = hook(way, one_by_one(), |attempt| match (attempt.number, attempt.event().seq) {
            (2.., _) => Script::status(200),
            (_, 5) => Script::fails(FailureKind::Connect),
            (_, seq) => Script::status([302, 401, 404, 429, 0, 500][seq as usize - 1]),
        })
        .await;
        hook.changes(6).await;
        assert_eq!(settled(&hook.hooks).await.deliveries.delivered, 6);
        assert_eq!(hook.receiver.made().len(), 12);
    });
}

#[test]
fn there_are_four_attempts_after_one_five_and_thirty_seconds_and_then_it_is_back_at_the_front() {
    each_way(async |way| {
        let hook = hook(way, json!({}), |attempt| match (attempt.event().seq, attempt.number) {
            (1, ..7) => Script::status(500),
            _ => Script::status(200),
        })
        .await;
        hook.changes(100).await;
        hook.ended(1).await;
        hook.changes(100).await;
        assert_eq!(settled(&hook.hooks).await.deliveries.delivered, 200);
        let mut expected = vec![range(1, 100); 7];
        expected.push(range(101, 200));
        assert_eq!(hook.batches(), expected);
        assert_eq!(starts(&hook.receiver.made())[..7], [0, 1000, 6000, 36_000, 66_000, 67_000, 72_000]);
    });
}

#[test]
fn an_attempt_has_ten_seconds() {
    each_way(async |way| {
        let hook = hook(way, one_by_one(), |_| Script::hangs()).await;
        hook.changes(1).await;
        let made = hook.ended(2).await;
        assert!(made.iter().all(|one| one.ended.unwrap().since(one.at) == seconds(10)));
    });
}

#[test]
fn ten_thousand_wait_and_the_oldest_beyond_them_are_dropped_and_counted() {
    each_way(async |way| {
        let hook = hook(way, json!({}), |_| Script::status(200)).await;
        hook.patch(json!({"state": "paused"})).await;
        for count in [5000, 5007] {
            hook.changes(count).await;
            until(&hook.hooks, |totals| totals.unrouted == 0).await;
        }
        assert_eq!(hook.dropped("queue_full").await, 7);
        hook.patch(json!({"state": "active"})).await;
        settled(&hook.hooks).await;
        assert_eq!(hook.batches().concat(), range(8, 10_007));
    });
}

#[test]
fn one_batch_is_in_flight_and_they_go_out_in_order() {
    each_way(async |way| {
        let hook = hook(way, json!({}), |_| Script::status(200).after(seconds(1))).await;
        hook.changes(350).await;
        settled(&hook.hooks).await;
        assert_eq!(hook.batches(), [range(1, 100), range(101, 200), range(201, 300), range(301, 350)]);
        assert!(hook.receiver.made().iter().all(|one| one.in_flight == 1));
    });
}

#[test]
fn a_shutdown_flushes_everything_within_its_deadline() {
    each_way(async |way| {
        let flushed = hook(way, json!({}), |_| Script::status(200).after(seconds(1))).await;
        flushed.changes(250).await;
        let report = flushed.hooks.shutdown(seconds(10)).await;
        assert_eq!((report.delivered, report.abandoned), (250, 0));
        assert_eq!(flushed.batches().last(), Some(&range(201, 250)), "nothing waits for company");

        let cut_off = hook(way, json!({}), |_| Script::stuck()).await;
        cut_off.changes(250).await;
        cut_off.receiver.until(|made| made.len() == 1).await;
        let clock = Clock::system();
        let report = cut_off.hooks.shutdown(seconds(10)).await;
        assert_eq!(clock.now().mono.since(hookmill::clock::Mono::default()), seconds(10));
        assert_eq!((report.delivered, report.abandoned), (0, 250));
    });
}

#[test]
fn a_hook_has_an_id_a_name_a_target_a_secret_types_metadata_and_its_bounds() {
    each_way(async |way| {
        let more = json!({
            "name": "CRM", "topics": ["user.*", "order.paid"], "metadata": {"env": "prod"},
            "signing": {"type": "hmac", "header": "x-signature", "prefix": "sha256=", "secret": "hush"},
            "retry": {"delays": ["2s"]}, "timeout": "3s", "state": "disabled",
            "batch": {"max_items": 7, "flush_interval": "1s"}, "queue": {"max_items": 70}
        });
        let hook = hook(way, more.clone(), |_| Script::status(200)).await;
        let stored = hook.settings().to_json();
        for (name, value) in more.as_object().unwrap() {
            match value {
                Value::Object(members) => {
                    members.iter().for_each(|(inner, value)| assert_eq!(&stored[name][inner], value, "{name}/{inner}"));
                }
                value => assert_eq!(&stored[name], value, "{name}"),
            }
        }
        assert_eq!((&stored["url"], &stored["preset"]), (&json!("https://hook.example/"), &json!("batch_hooks")));
    });
}

#[test]
fn no_event_types_are_all_of_them() {
    each_way(async |way| {
        let hook = hook(way, json!({}), |_| Script::status(200)).await;
        for topic in ["a", "b.c", "user.changed"] {
            hook.publish(topic, json!(1)).await;
        }
        assert_eq!(settled(&hook.hooks).await.deliveries.delivered, 3);
    });
}

#[test]
fn stream_codes_are_named_or_excepted_and_those_named_win() {
    each_way(async |way| {
        let taken = async |lists: Value| {
            let mut filter = json!({"pointer": "/metadata/stream_code"});
            filter.as_object_mut().unwrap().extend(lists.as_object().unwrap().clone());
            let hook = hook(way, json!({"filter": filter}), |_| Script::status(200)).await;
            for code in ["main", "debug", "side"] {
                let event = Event::new("user.changed", &1).unwrap().metadata("stream_code", code);
                hook.hooks.publish(event).await.unwrap();
            }
            settled(&hook.hooks).await;
            let bodies = hook.bodies().concat_arrays();
            bodies.iter().map(|one| one["stream_code"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(taken(json!({"only": ["main"]})).await, ["main"]);
        assert_eq!(taken(json!({"except": ["main"]})).await, ["debug", "side"]);
        assert_eq!(taken(json!({"only": ["main"], "except": ["main", "side"]})).await, ["main"]);
    });
}

/// The items of several bodies.
trait ConcatArrays {
    fn concat_arrays(&self) -> Vec<Value>;
}

impl ConcatArrays for Vec<Value> {
    fn concat_arrays(&self) -> Vec<Value> {
        self.iter().flat_map(|body| body.as_array().unwrap().clone()).collect()
    }
}

#[test]
fn a_value_is_the_hooks_own_else_the_presets_and_null_is_the_default() {
    for (timeout, expected) in [(Some(json!("3s")), 3), (None, 10), (Some(Value::Null), 15)] {
        each_way(async |way| {
            let more = timeout.clone().map_or(json!({}), |timeout| json!({"timeout": timeout}));
            let hook = hook(way, more, |_| Script::status(200)).await;
            assert_eq!(hook.settings().policy.timeout, seconds(expected));
        });
    }
}

#[test]
fn a_batch_has_100_items_and_5_seconds_unless_the_hook_says_otherwise() {
    each_way(async |way| {
        let hook = hook(way, json!({}), |_| Script::status(200)).await;
        let batch = hook.settings().policy.batch.clone().unwrap();
        assert_eq!((batch.max_items, batch.flush_interval), (100, seconds(5)));
    });
}

#[test]
fn zero_retries_are_zero() {
    each_way(async |way| {
        let more = json!({"retry": {"delays": [], "exhausted": "dead_letter"}, "batch": {"max_items": 1}});
        let hook = hook(way, more, |_| Script::status(500)).await;
        hook.changes(1).await;
        settled(&hook.hooks).await;
        pass(HOUR).await;
        assert_eq!((hook.receiver.made().len(), dead_letters(&hook.hooks).await.len()), (1, 1));
    });
}

#[test]
fn the_body_is_an_array_and_metadata_is_added_to_each_payload() {
    each_way(async |way| {
        let more = json!({"metadata": {"env": "prod", "zone": {"n": 1}}});
        let hook = hook(way, more, |_| Script::status(200)).await;
        let one = Event::new("user.changed", &json!({"user": 1, "meta.env": "own"})).unwrap();
        hook.hooks.publish(one.id("e1").metadata("stream_code", "main")).await.unwrap();
        hook.hooks.publish(Event::new("ping", &Value::Null).unwrap().id("e2")).await.unwrap();
        hook.ended(1).await;
        let at = "2026-01-01T00:00:00.000Z";
        let first = format!(r#"{{"id":"e1","type":"user.changed","stream_code":"main","occurred_at":"{at}","#)
            + r#""payload":{"user":1,"meta.env":"prod","meta.zone":{"n":1}}}"#;
        let second = format!(
            r#"{{"id":"e2","type":"ping","occurred_at":"{at}","payload":{{"meta.env":"prod","meta.zone":{{"n":1}}}}}}"#
        );
        assert_eq!(hook.bodies()[0].to_string(), format!("[{first},{second}]"));
    });
}

#[test]
fn without_payload_and_metadata_there_is_no_payload() {
    each_way(async |way| {
        let hook = hook(way, json!({}), |_| Script::status(200)).await;
        hook.publish("ping", Value::Null).await;
        hook.ended(1).await;
        let bodies = hook.bodies();
        assert_eq!((&bodies[0][0]["type"], bodies[0][0].get("payload")), (&json!("ping"), None));
    });
}

#[test]
fn the_original_event_is_untouched() {
    paused(async {
        let raw = Endpoint::http("raw", "https://raw.example/").unsigned().format("raw");
        let more = json!({"metadata": {"env": "prod"}});
        let builder = Hookmill::builder().endpoint(raw);
        let hook = Bench::on(builder, Way::Code, Preset::BatchHooks, more, |_| Script::status(200)).await;
        hook.publish("user.changed", json!({"user": 1})).await;
        hook.ended(2).await;
        assert_eq!(hook.bodies()[0], json!({"user": 1}));
        assert_eq!(hook.bodies()[1][0]["payload"], json!({"user": 1, "meta.env": "prod"}));
    });
}

#[test]
fn headers_have_the_batchs_size_and_with_a_secret_its_hmac() {
    run(async {
        let receiver = Receiver::new(|_| Reply::Status(200));
        let signing = json!({"type": "hmac", "header": "x-signature", "prefix": "sha256=", "secret": "hush"});
        let signed = Endpoint::http("signed", receiver.url("/signed")).preset(Preset::BatchHooks);
        let signed = signed.settings(json!({"batch": {"max_items": 3}, "signing": signing}));
        let plain = Endpoint::http("plain", receiver.url("/plain")).preset(Preset::BatchHooks);
        let hooks = Hookmill::builder().endpoint(signed).endpoint(plain.settings(json!({"batch": {"max_items": 2}})));
        let hooks = hooks.start().await.unwrap();
        let events = (0..6).map(|n| Event::new("user.changed", &n).unwrap()).collect();
        hooks.publish_all(events).await.unwrap();
        while receiver.taken("/signed").len() + receiver.taken("/plain").len() < 5 {
            pass(millis(5)).await;
        }
        hooks.shutdown(seconds(5)).await;
        for request in receiver.seen() {
            let signed = request.path == "/signed";
            assert_eq!(request.header("x-batch-size"), if signed { "3" } else { "2" });
            assert_eq!(request.json().as_array().unwrap().len(), if signed { 3 } else { 2 });
            let expected = format!("sha256={}", hmac_of(b"hush", &request.body));
            assert_eq!(request.header("x-signature"), if signed { expected.as_str() } else { "" });
        }
    });
}

#[test]
fn a_full_batch_goes_at_once_and_another_when_its_oldest_event_has_waited_the_interval() {
    each_way(async |way| {
        let hook = hook(way, json!({}), |_| Script::status(200)).await;
        hook.changes(101).await;
        pass(seconds(3)).await;
        hook.changes(1).await;
        settled(&hook.hooks).await;
        assert_eq!(hook.batches(), [range(1, 100), range(101, 102)]);
        assert_eq!(starts(&hook.receiver.made()), [0, 5000]);
    });
}

#[test]
fn a_failed_batch_goes_back_to_the_front_in_order_before_newer_events() {
    each_way(async |way| {
        let hook = hook(way, json!({"batch": {"max_items": 3}}), |attempt| {
            Script::status(if attempt.event().seq == 1 && attempt.number < 3 { 500 } else { 200 })
        })
        .await;
        hook.changes(3).await;
        hook.ended(1).await;
        hook.changes(3).await;
        settled(&hook.hooks).await;
        assert_eq!(hook.batches(), [range(1, 3), range(1, 3), range(1, 3), range(4, 6)]);
    });
}

#[test]
fn a_refused_batch_is_split_until_the_poison_stands_alone_and_cannot_block_the_hook() {
    for status in [400, 413, 422] {
        each_way(async |way| {
            let hook = hook(way, json!({"batch": {"max_items": 4}}), move |attempt| {
                let poisoned = attempt.events.iter().any(|event| event.seq == 3);
                Script::status(if poisoned { status } else { 200 }).after(millis(1))
            })
            .await;
            hook.changes(8).await;
            let totals = settled(&hook.hooks).await.deliveries;
            assert_eq!((totals.delivered, totals.dead_lettered), (7, 1));
            assert_eq!(dead_letters(&hook.hooks).await[0].id.seq, 3);
            assert_eq!(hook.batches(), [range(1, 4), range(1, 2), range(3, 4), vec![3], vec![4], range(5, 8)]);
        });
    }
}

#[test]
fn a_backlog_drains_at_full_speed_and_not_a_batch_per_interval() {
    each_way(async |way| {
        let hook = hook(way, json!({}), |_| Script::status(200).after(millis(10))).await;
        hook.patch(json!({"state": "paused"})).await;
        hook.changes(1000).await;
        pass(HOUR).await;
        hook.patch(json!({"state": "active"})).await;
        settled(&hook.hooks).await;
        assert_eq!(starts(&hook.receiver.made()), (0..10).map(|n| n * 10).collect::<Vec<_>>());
    });
}

#[test]
fn each_hook_has_its_own_outcomes_drops_depth_and_batch_sizes() {
    each_way(async |way| {
        let more = json!({"batch": {"max_items": 4}, "queue": {"max_items": 6}});
        let hook = hook(way, more, |attempt| {
            let poisoned = attempt.events.iter().any(|event| event.seq == 2);
            Script::status(if poisoned { 422 } else { 200 })
        })
        .await;
        hook.changes(4).await;
        settled(&hook.hooks).await;
        hook.patch(json!({"state": "paused"})).await;
        hook.changes(9).await;
        until(&hook.hooks, |totals| totals.unrouted == 0).await;
        let totals = hook.hooks.standing(&id("hook")).await.unwrap().totals;
        assert_eq!((totals.delivered, totals.dead_lettered, totals.pending), (3, 1, 6));
        assert_eq!(totals.dropped.get("queue_full"), Some(&3));
        let metrics = hook.hooks.endpoint_metrics().await.unwrap();
        assert!(metrics.contains("endpoint_pending{endpoint=\"hook\"} 6"), "{metrics}");
        let attempts = store(&hook.hooks).event_attempts(2, hookmill::store::AttemptPage::of(99)).await.unwrap();
        let sizes: Vec<_> = attempts.iter().map(|one| (one.status, one.batch.as_ref().unwrap().size)).collect();
        assert_eq!(sizes, [(Some(422), 4), (Some(422), 2), (Some(422), 1)]);
    });
}

#[test]
fn edits_disables_and_deletes_apply_at_once() {
    each_way(async |way| {
        let hook = hook(way, one_by_one(), |attempt| match attempt.endpoint.settings.target.url().unwrap().path() {
            "/" => Script::status(500),
            _ => Script::status(200),
        })
        .await;
        // Through the API what the program owns can be paused and resumed alone; the program itself sets it anew.
        let edit = async |settings: Value| match way {
            Way::Code => {
                let url = settings["url"].as_str().unwrap_or("https://hook.example/new").to_owned();
                let endpoint = Endpoint::http("hook", url).preset(Preset::BatchHooks).settings(one_by_one());
                drop(hook.hooks.set_endpoint(endpoint.settings(settings)).await.unwrap());
            }
            Way::Json => hook.patch(settings).await,
        };
        hook.changes(2).await;
        hook.ended(1).await;
        edit(json!({"url": "https://hook.example/new"})).await;
        let before = hook.receiver.made().len();
        assert_eq!(settled(&hook.hooks).await.deliveries.delivered, 2);
        assert!(hook.receiver.made()[before..].iter().all(|one| one.url.as_ref().unwrap().path() == "/new"));

        edit(json!({"state": "disabled"})).await;
        assert_eq!(hook.settings().state, State::Disabled);
        hook.changes(1).await;
        assert_eq!(hook.dropped("endpoint_disabled").await, 1);
        let before = hook.receiver.made().len();

        if matches!(way, Way::Json) {
            hook.hooks.delete_endpoint(&id("hook"), None).await.unwrap();
            hook.changes(1).await;
            let totals = settled(&hook.hooks).await;
            assert_eq!((totals.unmatched, hook.receiver.made().len()), (1, before));
        }
    });
}
