//! Alerts to one configured endpoint. Its column of the table first, then its section, line by line.

use futures_util::future::BoxFuture;
use hookmill::{
    Clock, Endpoint, SingleCounters,
    testing::{Script, paused},
    transport::FailureKind,
};
use serde_json::Map;

use super::*;
use crate::{
    blackbox::receiver::{Receiver, Reply},
    paused::{HOUR, dead_letters, millis, pass, seconds, seqs, settled, starts},
};

async fn attention(way: Way, more: Value, script: impl Fn(&Attempt) -> Script + Send + Sync + 'static) -> Bench {
    Bench::new(way, Preset::Attention, more, script).await
}

impl Bench {
    async fn alert(&self, session: &str, state: &str) {
        self.publish("attention_raised", json!({"session": session, "state": state})).await;
    }

    /// So many alerts, each of a session of its own.
    async fn alerts(&self, count: usize) {
        let first = self.hooks.stats().await.unwrap().accepted;
        for n in 0..count {
            self.alert(&format!("s{first}-{n}"), "waiting").await;
        }
    }
}

#[test]
fn success_is_a_status_from_200_to_299_and_all_else_is_retried() {
    each_way(async |way| {
        let answers = |attempt: &Attempt| match (attempt.number, attempt.event().seq) {
            (2.., _) => Script::status(200),
            (_, 1) => Script::status(200),
            (_, 2) => Script::status(299),
            (_, 8) => Script::fails(FailureKind::Connect),
            (_, seq) => Script::status([302, 400, 404, 429, 500][seq as usize - 3]),
        };
        let attention = attention(way, json!({}), answers).await;
        attention.alerts(8).await;
        assert_eq!(settled(&attention.hooks).await.deliveries.delivered, 8);
        let mut again: Vec<_> = attention.receiver.made().into_iter().filter(|one| one.number == 2).collect();
        again.sort_by_key(|one| one.seq);
        assert_eq!(seqs(&again), [3, 4, 5, 6, 7, 8]);
    });
}

#[test]
fn there_are_four_attempts_in_all_after_one_two_and_four_seconds() {
    each_way(async |way| {
        let attention = attention(way, json!({}), |_| Script::status(500)).await;
        attention.alerts(1).await;
        settled(&attention.hooks).await;
        assert_eq!(starts(&attention.receiver.made()), [0, 1000, 3000, 7000]);
    });
}

#[test]
fn an_attempt_has_ten_seconds() {
    each_way(async |way| {
        let attention = attention(way, json!({}), |_| Script::hangs()).await;
        attention.alerts(1).await;
        settled(&attention.hooks).await;
        assert!(attention.receiver.made().iter().all(|one| one.ended.unwrap().since(one.at) == seconds(10)));
    });
}

#[test]
fn a_hundred_and_twenty_eight_wait_and_the_newest_beyond_them_are_dropped() {
    each_way(async |way| {
        let attention = attention(way, json!({}), |_| Script::status(200).after(seconds(1))).await;
        attention.alerts(8).await;
        attention.receiver.until(|made| made.len() == 8).await;
        attention.alerts(131).await;
        assert_eq!(attention.dropped("queue_full").await, 3);
        settled(&attention.hooks).await;
        let mut sent = seqs(&attention.receiver.made());
        sent.sort_unstable();
        assert_eq!(sent, (1..=136).collect::<Vec<_>>());
    });
}

#[test]
fn eight_are_in_flight_and_one_that_is_slow_holds_up_no_other() {
    each_way(async |way| {
        let slow = |attempt: &Attempt| Script::status(200).after(seconds(if attempt.event().seq == 1 { 9 } else { 1 }));
        let attention = attention(way, json!({}), slow).await;
        attention.alerts(20).await;
        settled(&attention.hooks).await;
        let made = attention.receiver.made();
        assert_eq!(made.iter().map(|one| one.in_flight).max(), Some(8));
        let last = made.iter().max_by_key(|one| one.ended).unwrap();
        assert_eq!(last.seq, 1, "the others have passed it");
    });
}

#[test]
fn an_exhausted_one_is_counted_and_kept_as_a_dead_letter() {
    each_way(async |way| {
        let attention = attention(way, json!({}), |_| Script::status(500)).await;
        attention.alerts(1).await;
        assert_eq!(settled(&attention.hooks).await.deliveries.dead_lettered, 1);
        let letter = &dead_letters(&attention.hooks).await[0];
        assert_eq!((letter.reason.as_str(), letter.attempts), ("exhausted", 4));
    });
}

#[test]
fn a_shutdown_cancels_what_is_in_flight_at_once() {
    each_way(async |way| {
        let attention = attention(way, json!({}), |_| Script::status(200).after(seconds(1))).await;
        attention.alerts(20).await;
        attention.receiver.until(|made| made.len() == 8).await;
        let clock = Clock::system();
        let report = attention.hooks.shutdown(seconds(20)).await;
        assert_eq!(clock.now().mono.since(hookmill::clock::Mono::default()), Duration::ZERO);
        assert_eq!((report.delivered, report.cancelled, report.abandoned), (0, 8, 20));
    });
}

#[test]
fn the_auth_header_is_sent_verbatim() {
    run(async {
        let receiver = Receiver::new(|_| Reply::Status(200));
        let auth = json!({"auth": {"type": "verbatim", "value": "Token  s3cret, as=it is"}});
        let endpoint = Endpoint::http("hook", receiver.url("/")).preset(Preset::Attention).settings(auth);
        let hooks = Hookmill::builder().endpoint(endpoint).start().await.unwrap();
        hooks.publish(Event::new("attention_raised", &json!({"state": "waiting"})).unwrap()).await.unwrap();
        settled(&hooks).await;
        hooks.shutdown(seconds(1)).await;
        assert_eq!(receiver.seen()[0].header("authorization"), "Token  s3cret, as=it is");
    });
}

#[test]
fn without_a_timeout_it_is_ten_seconds_and_zero_is_refused() {
    each_way(async |way| {
        let default = attention(way, json!({}), |_| Script::status(200)).await;
        let own = attention(way, json!({"timeout": "3s"}), |_| Script::status(200)).await;
        assert_eq!((default.settings().policy.timeout, own.settings().policy.timeout), (seconds(10), seconds(3)));
        let zero = json!({"preset": "attention", "url": "https://a.example/", "timeout": "0s"});
        let refused = default.hooks.create_endpoint(None, &zero);
        assert!(refused.await.unwrap_err().to_string().contains("#/timeout"));
    });
}

#[test]
fn without_a_debounce_time_it_is_a_minute_and_it_can_be_off() {
    each_way(async |way| {
        let passed = async |more: Value| {
            let attention = attention(way, more, |_| Script::status(200)).await;
            for wait in [0, 9_999, 1, 49_999, 1] {
                pass(millis(wait)).await;
                attention.alert("build", "waiting").await;
            }
            settled(&attention.hooks).await;
            seqs(&attention.receiver.made())
        };
        assert_eq!(passed(json!({})).await, [1, 5]);
        assert_eq!(passed(json!({"debounce": {"window": "10s"}})).await, [1, 3, 4]);
        assert_eq!(passed(json!({"debounce": null})).await, [1, 2, 3, 4, 5]);
    });
}

#[test]
fn other_retry_delays_replace_these_and_an_empty_list_is_one_attempt() {
    each_way(async |way| {
        let attempts = async |delays: Value| {
            let more = json!({"retry": {"delays": delays}});
            let attention = attention(way, more, |_| Script::status(500)).await;
            attention.alerts(1).await;
            settled(&attention.hooks).await;
            starts(&attention.receiver.made())
        };
        assert_eq!(attempts(json!(["3s", "500ms"])).await, [0, 3000, 3500]);
        assert_eq!(attempts(json!([])).await, [0]);
    });
}

#[test]
fn an_empty_url_disables_it_and_is_no_error() {
    run(async {
        let attention = Hookmill::single("").settings(json!({"preset": "attention"}));
        let attention = attention.start().await.unwrap();
        attention.emit("attention_raised", &json!({"state": "waiting"}));
        assert!(attention.hooks().is_none(), "nothing runs, nothing is subscribed");
        let SingleCounters { emitted, ignored, .. } = attention.counters().await.unwrap();
        assert_eq!((emitted, ignored), (0, 1));
        attention.close().await;
    });
}

#[test]
fn one_url_with_this_preset_gets_alerts_alone() {
    run(async {
        let (receiver, bodies) = receiver(|_| Script::status(200));
        let factory = receiver.clone();
        let attention = Hookmill::single("https://hook.example/").settings(json!({"preset": "attention"}));
        let attention = attention.on(move || Hookmill::builder().transport(factory.factory())).start().await.unwrap();
        attention.emit("job.done", &json!({"state": "waiting"}));
        attention.emit("attention_raised", &json!({"state": "waiting"}));
        receiver.until(|made| made.iter().any(|one| one.ended.is_some())).await;
        assert_eq!(bodies.lock().unwrap()[0]["alert"], "waiting");
        attention.close().await;
    });
}

#[test]
fn it_listens_for_attention_raised_and_ignores_what_has_no_state() {
    each_way(async |way| {
        let attention = attention(way, json!({}), |_| Script::status(200)).await;
        for (topic, data) in [
            ("attention_cleared", json!({"state": "waiting"})),
            ("attention_raised.more", json!({"state": "waiting"})),
            ("attention_raised", json!({"session": "build"})),
            ("attention_raised", json!("waiting")),
            ("attention_raised", json!({"state": "failed"})),
        ] {
            attention.publish(topic, data).await;
        }
        assert_eq!(settled(&attention.hooks).await.unmatched, 4);
        assert_eq!(attention.bodies()[0]["alert"], "failed");
    });
}

/// What a host knows of a session, or nothing.
fn resolve(event: &Event) -> BoxFuture<'static, Option<Map<String, Value>>> {
    let data: Value = serde_json::from_slice(event.data()).unwrap();
    let known = json!({"session_uuid": "6f1c", "workdir": "/home/ada", "mode": ""});
    let known = known.as_object().cloned().filter(|_| data["session"] == "my build/7");
    Box::pin(async move { known })
}

#[test]
fn the_body_has_what_the_alert_and_the_hosts_resolver_say_in_order_and_nothing_that_is_empty() {
    each_way(async |way| {
        let builder = Hookmill::builder().enrich("attention_raised", resolve);
        let more = json!({"metadata": {"ui_url": "https://ui.example"}});
        let attention = Bench::on(builder, way, Preset::Attention, more, |_| Script::status(200)).await;
        let known = json!({"session": "my build/7", "state": "waiting", "details": "a question", "ts": 1_767_225_601});
        attention.publish("attention_raised", known).await;
        attention.ended(1).await;
        attention.publish("attention_raised", json!({"session": "other", "state": "failed", "details": ""})).await;
        attention.ended(2).await;
        let bodies: Vec<_> = attention.bodies().iter().map(Value::to_string).collect();
        let first = r#"{"alert":"waiting","session":"my build/7","session_uuid":"6f1c","workdir":"/home/ada","#
            .to_owned()
            + r#""details":"a question","ts":"2026-01-01T00:00:01.000Z","ui_url":"https://ui.example/s/my%20build%2F7"}"#;
        let second = r#"{"alert":"failed","session":"other","ts":"2026-01-01T00:00:00.000Z","#.to_owned()
            + r#""ui_url":"https://ui.example/s/other"}"#;
        assert_eq!(bodies, [first, second]);
    });
}

#[test]
fn without_the_base_of_a_user_interface_there_is_no_link() {
    each_way(async |way| {
        let attention = attention(way, json!({}), |_| Script::status(200)).await;
        attention.alert("build", "waiting").await;
        attention.ended(1).await;
        let expected = json!({"alert": "waiting", "session": "build", "ts": "2026-01-01T00:00:00.000Z"});
        assert_eq!(attention.bodies(), [expected]);
    });
}

#[test]
fn a_repeat_of_a_session_and_alert_is_left_out_and_other_alerts_of_the_session_pass() {
    each_way(async |way| {
        let attention = attention(way, json!({}), |_| Script::status(200)).await;
        for (session, state) in
            [("a", "waiting"), ("a", "waiting"), ("a", "failed"), ("b", "waiting"), ("a", "failed"), ("b", "waiting")]
        {
            attention.alert(session, state).await;
        }
        let totals = settled(&attention.hooks).await.deliveries;
        assert_eq!((totals.delivered, totals.suppressed), (3, 3));
        let mut sent = seqs(&attention.receiver.made());
        sent.sort_unstable();
        assert_eq!(sent, [1, 3, 4]);
    });
}

#[test]
fn the_first_passes_at_once_and_a_repeat_that_is_left_out_does_not_extend_the_window() {
    each_way(async |way| {
        let attention = attention(way, json!({}), |_| Script::status(200)).await;
        for wait in [0, 30_000, 29_999, 1] {
            pass(millis(wait)).await;
            attention.alert("build", "waiting").await;
        }
        settled(&attention.hooks).await;
        let made = attention.receiver.made();
        assert_eq!((seqs(&made), starts(&made)), (vec![1, 4], vec![0, 60_000]));
    });
}

#[test]
fn it_ends_after_its_posts_have_ended_and_nothing_leaks() {
    paused(async {
        let attention = attention(Way::Code, json!({}), |_| Script::stuck()).await;
        attention.alerts(20).await;
        attention.receiver.until(|made| made.len() == 8).await;
        attention.hooks.shutdown(seconds(20)).await;
        let made = attention.receiver.made();
        assert!(made.iter().all(|one| one.ended.is_some()), "every post has ended when the shutdown returns");
        pass(HOUR).await;
        assert_eq!(attention.receiver.made().len(), 8);
    });
}
