//! Audit entries with a dead-letter queue. Its column of the table first, then its section, line by line.

mod admin;

use std::collections::BTreeSet;

use futures_util::FutureExt;
use hookmill::{
    Audit, Clock,
    store::DeadLetterSelection,
    testing::{Script, paused, store},
    transport::FailureKind,
};

use super::*;
use crate::paused::{HOUR, dead_letters, millis, pass, seconds, seqs, settled, starts};

async fn audit(way: Way, more: Value, script: impl Fn(&Attempt) -> Script + Send + Sync + 'static) -> Bench {
    Bench::new(way, Preset::Audit, more, script).await
}

impl Bench {
    async fn entries(&self, count: u64) {
        for n in 0..count {
            self.publish("audit.entry", json!({"action": "user.login", "details": n})).await;
        }
    }
}

#[test]
fn success_is_every_status_below_400() {
    each_way(async |way| {
        let audit = audit(way, json!({}), |attempt| {
            Script::status([200, 204, 302, 399, 400][attempt.event().seq as usize - 1])
        })
        .await;
        audit.entries(5).await;
        let totals = settled(&audit.hooks).await.deliveries;
        assert_eq!((totals.delivered, totals.dead_lettered, audit.receiver.made().len()), (4, 1, 5));
    });
}

#[test]
fn five_hundreds_and_transport_failures_are_retried_and_nothing_else() {
    each_way(async |way| {
        let audit = audit(way, json!({}), |attempt| match attempt.event().seq {
            1 => Script::status(404),
            2 => Script::status(429),
            3 => Script::status(500),
            _ => Script::fails(FailureKind::Connect),
        })
        .await;
        audit.entries(4).await;
        settled(&audit.hooks).await;
        assert_eq!(seqs(&audit.receiver.made()), [1, 2, 3, 3, 3, 4, 4, 4]);
    });
}

#[test]
fn there_are_three_attempts_in_all_after_one_and_two_seconds() {
    each_way(async |way| {
        let audit = audit(way, json!({}), |_| Script::status(500)).await;
        audit.entries(1).await;
        settled(&audit.hooks).await;
        assert_eq!(starts(&audit.receiver.made()), [0, 1000, 3000]);
    });
}

#[test]
fn an_attempt_has_five_seconds() {
    each_way(async |way| {
        let audit = audit(way, json!({}), |_| Script::hangs()).await;
        audit.entries(1).await;
        settled(&audit.hooks).await;
        assert!(audit.receiver.made().iter().all(|one| one.ended.unwrap().since(one.at) == seconds(5)));
    });
}

#[test]
fn a_thousand_and_twenty_four_wait_and_the_newest_beyond_them_are_dropped() {
    each_way(async |way| {
        let audit = audit(way, json!({}), |_| Script::status(200).after(seconds(1))).await;
        audit.entries(1).await;
        audit.receiver.until(|made| made.len() == 1).await;
        audit.entries(1030).await;
        assert_eq!(audit.dropped("queue_full").await, 6);
        settled(&audit.hooks).await;
        assert_eq!(seqs(&audit.receiver.made()), (1..=1025).collect::<Vec<_>>());
    });
}

#[test]
fn one_is_in_flight_and_they_go_out_in_order() {
    each_way(async |way| {
        let fails_once = |attempt: &Attempt| match (attempt.event().seq, attempt.number) {
            (2, 1) => Script::status(500),
            _ => Script::status(200).after(seconds(1)),
        };
        let audit = audit(way, json!({}), fails_once).await;
        audit.entries(4).await;
        settled(&audit.hooks).await;
        let made = audit.receiver.made();
        assert_eq!(seqs(&made), [1, 2, 2, 3, 4]);
        assert!(made.iter().all(|one| one.in_flight == 1));
    });
}

#[test]
fn a_hundred_dead_letters_are_kept_and_the_oldest_fall_off_and_are_counted() {
    each_way(async |way| {
        let audit = audit(way, json!({}), |_| Script::status(404)).await;
        audit.entries(105).await;
        settled(&audit.hooks).await;
        let kept = loop {
            let kept = hookmill::Audit::new(audit.hooks.clone(), id("hook")).dead_letters().await.unwrap();
            if kept.len() <= 100 {
                break kept;
            }
            pass(millis(100)).await;
        };
        let details: Vec<_> = kept.iter().map(|entry| entry.details.clone().unwrap()).collect();
        assert_eq!(details, (5..105).map(|n| json!(n)).collect::<Vec<_>>());
        let totals = audit.hooks.standing(&id("hook")).await.unwrap().totals;
        assert_eq!((totals.dead_letters.kept, totals.dead_letters.pruned), (100, 5));
    });
}

#[test]
fn a_shutdown_waits_five_seconds_at_most() {
    each_way(async |way| {
        let audit = audit(way, json!({}), |_| Script::status(200).after(millis(1900))).await;
        audit.entries(20).await;
        audit.receiver.until(|made| made.len() == 1).await;
        let clock = Clock::system();
        let report = audit.hooks.shutdown(seconds(20)).await;
        assert_eq!(clock.now().mono.since(hookmill::clock::Mono::default()), seconds(5));
        assert_eq!((report.delivered, report.cancelled, report.abandoned), (2, 1, 18));
    });
}

#[test]
fn the_body_is_the_id_the_action_the_time_and_details_if_there_are_any() {
    each_way(async |way| {
        let audit = audit(way, json!({}), |_| Script::status(200)).await;
        let with = json!({"action": "user.login", "details": {"user": "ada", "token": "shown to the receiver"}});
        for (id, data) in [("a1", with), ("a2", json!({"action": "user.logout"}))] {
            audit.hooks.publish(Event::new("audit.entry", &data).unwrap().id(id)).await.unwrap();
        }
        audit.ended(2).await;
        let time = 1_767_225_600;
        let bodies: Vec<_> = audit.bodies().iter().map(Value::to_string).collect();
        let details = r#"{"user":"ada","token":"shown to the receiver"}"#;
        let first = format!(r#"{{"event_id":"a1","action":"user.login","timestamp":{time},"details":{details}}}"#);
        let second = format!(r#"{{"event_id":"a2","action":"user.logout","timestamp":{time}}}"#);
        assert_eq!(bodies, [first, second]);
    });
}

#[test]
fn it_listens_for_exactly_audit_entry() {
    each_way(async |way| {
        let audit = audit(way, json!({}), |_| Script::status(200)).await;
        for topic in ["audit", "audit.entry.more", "audit.entries", "audit.entry"] {
            audit.publish(topic, json!({"action": topic})).await;
        }
        assert_eq!(settled(&audit.hooks).await.unmatched, 3);
        assert_eq!(audit.bodies()[0]["action"], "audit.entry");
    });
}

/// The handle, with a receiver that answers as `script` says.
async fn face(
    script: impl Fn(&Attempt) -> Script + Send + Sync + 'static,
) -> (Audit, Hookmill, ScriptedTransport, Bodies) {
    let (receiver, bodies) = receiver(script);
    let hooks = start_here(Hookmill::builder().transport(receiver.factory())).await.unwrap();
    let audit = Audit::new(hooks.clone(), id("trail"));
    audit.set_webhook(Some("https://a.example/")).await.unwrap();
    (audit, hooks, receiver, bodies)
}

#[test]
fn the_handle_has_the_settings_of_the_preset() {
    paused(async {
        let (_, hooks, ..) = face(|_| Script::status(200)).await;
        let of_handle = &hooks.endpoint(&id("trail")).unwrap().settings;
        let of_preset =
            audit(Way::Json, json!({"url": "https://a.example/"}), |_| Script::status(200)).await.settings();
        assert!(*of_handle == of_preset, "{of_handle:?}");
        assert_eq!(of_handle.preset, Some(Preset::Audit));
    });
}

#[test]
fn an_emitted_entry_gives_exactly_one_post_with_its_details() {
    paused(async {
        let (audit, hooks, receiver, bodies) = face(|_| Script::status(200)).await;
        audit.emit("user.login", Some(&json!({"user": "ada"})));
        audit.emit("user.logout", None);
        receiver.until(|made| made.len() == 2).await;
        settled(&hooks).await;
        pass(HOUR).await;
        let bodies = bodies.lock().unwrap().clone();
        assert_eq!(bodies.len(), 2);
        assert_eq!((&bodies[0]["action"], &bodies[0]["details"]), (&json!("user.login"), &json!({"user": "ada"})));
        assert_eq!((&bodies[1]["action"], bodies[1].get("details")), (&json!("user.logout"), None));
    });
}

#[test]
fn a_four_hundred_is_a_dead_letter_after_one_attempt_and_an_exhausted_one_after_all() {
    each_way(async |way| {
        let audit =
            audit(way, json!({}), |attempt| Script::status(if attempt.event().seq == 1 { 404 } else { 500 })).await;
        audit.entries(2).await;
        settled(&audit.hooks).await;
        let mut letters = dead_letters(&audit.hooks).await;
        letters.sort_by_key(|letter| letter.id.seq);
        let attempts: Vec<_> = letters.iter().map(|letter| (letter.attempts, letter.reason.as_str())).collect();
        assert_eq!(attempts, [(1, "not_retried"), (3, "exhausted")]);
    });
}

#[test]
fn dead_letters_and_backoff_survive_a_swap() {
    paused(async {
        let (audit, hooks, receiver, _) = face(|attempt| match attempt.event().seq {
            1 => Script::status(404),
            _ => Script::status(500),
        })
        .await;
        audit.emit("first", None);
        settled_after(&receiver, 1).await;
        audit.emit("second", None);
        settled_after(&receiver, 2).await;
        pass(millis(500)).await;
        audit.set_webhook(Some("https://b.example/")).await.unwrap();
        settled(&hooks).await;
        let made = receiver.made();
        assert_eq!(starts(&made[1..]), [0, 1000, 3000], "no attempt is early because of the swap");
        let hosts: Vec<_> = made.iter().map(|one| one.url.as_ref().unwrap().host_str().unwrap()).collect();
        assert_eq!(hosts, ["a.example", "a.example", "b.example", "b.example"]);
        let actions: Vec<_> = audit.dead_letters().await.unwrap().into_iter().map(|entry| entry.action).collect();
        assert_eq!(actions, ["first", "second"]);
    });
}

async fn settled_after(receiver: &ScriptedTransport, attempts: usize) {
    receiver.until(|made| made.iter().filter(|one| one.ended.is_some()).count() == attempts).await;
}

#[test]
fn dead_letters_and_backoff_survive_a_restart() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (receiver, _) = receiver(|attempt| match (attempt.event().seq, attempt.number) {
            (1, _) => Script::status(404),
            (_, 1) => Script::status(500),
            _ => Script::status(200),
        });
        let start = async || {
            let hooks = Hookmill::builder().data_dir(dir.path()).disk_reserve(0).transport(receiver.factory());
            let hooks = hooks.start().await.unwrap();
            (Audit::new(hooks.clone(), id("trail")), hooks)
        };
        let (audit, hooks) = start().await;
        audit.set_webhook(Some("https://a.example/")).await.unwrap();
        audit.emit("first", None);
        audit.emit("second", None);
        settled_after(&receiver, 2).await;
        hooks.shutdown(seconds(1)).await;
        let (audit, hooks) = start().await;
        assert!(audit.webhook().await.unwrap().webhook.enabled);
        let made = receiver.until(|made| made.len() == 3).await;
        assert_eq!((made[2].seq, made[2].number), (2, 2), "it goes on where it was");
        let letters = audit.dead_letters().await.unwrap();
        assert_eq!(letters.iter().map(|entry| entry.action.as_str()).collect::<Vec<_>>(), ["first"]);
        hooks.shutdown(seconds(1)).await;
    });
}

#[test]
fn dead_letters_can_be_replayed_and_purged() {
    paused(async {
        let first_time = Mutex::new(BTreeSet::new());
        let (audit, hooks, ..) = face(move |attempt| {
            let first_time = first_time.lock().unwrap().insert(attempt.event().seq);
            Script::status(if first_time { 404 } else { 200 })
        })
        .await;
        audit.emit("first", None);
        audit.emit("second", None);
        settled(&hooks).await;
        until(&hooks, |totals| totals.deliveries.dead_lettered == 2).await;
        let letters = dead_letters(&hooks).await;
        let first = letters.iter().find(|letter| letter.id.seq == 1).unwrap();
        hooks.replay(first.id).await.unwrap();
        until(&hooks, |totals| totals.deliveries.replayed == 1).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 1);
        hooks.purge_dead_letters(DeadLetterSelection::default()).await.unwrap();
        while !audit.dead_letters().await.unwrap().is_empty() {
            pass(seconds(1)).await;
        }
        let totals = store(&hooks).totals().await.unwrap().deliveries;
        assert_eq!((totals.replayed, totals.dead_letters.purged), (1, 1));
    });
}

#[test]
fn sensitive_details_are_redacted_where_people_look_at_them() {
    paused(async {
        let (audit, hooks, _, bodies) = face(|_| Script::status(404)).await;
        let names = ["token", "password", "secret", "api_key", "private_key", "signature", "bearer"];
        let endings = ["csrf_token", "client_secret", "db_password", "session_key", "API_KEY"];
        let sensitive = || names.into_iter().chain(endings);
        let mut details = json!({"user": "ada", "keyboard": "qwerty"});
        details.as_object_mut().unwrap().extend(sensitive().map(|name| (name.to_owned(), json!("hush"))));
        audit.emit("user.login", Some(&json!({"nested": [details]})));
        until(&hooks, |totals| totals.deliveries.dead_lettered == 1).await;
        let shown = audit.dead_letters().await.unwrap().remove(0).details.unwrap();
        let shown = &shown["nested"][0];
        assert_eq!((&shown["user"], &shown["keyboard"]), (&json!("ada"), &json!("qwerty")));
        for name in sensitive() {
            assert_eq!(shown[name], "<redacted>", "{name}");
            assert_eq!(bodies.lock().unwrap()[0]["details"]["nested"][0][name], "hush", "the receiver gets it");
        }
    });
}

#[test]
fn a_swap_never_blocks_an_emitter() {
    paused(async {
        let (audit, hooks, receiver, _) = face(|_| Script::status(200).after(seconds(1))).await;
        audit.emit("before", None);
        receiver.until(|made| made.len() == 1).await;
        let mut swap = Box::pin(audit.set_webhook(Some("https://b.example/")));
        // The swap has begun, and is not over.
        assert!((&mut swap).now_or_never().is_none());
        (0..10).for_each(|_| audit.emit("meanwhile", None));
        assert_eq!(hooks.emitted().admitted, 11);
        swap.await.unwrap();
        assert_eq!(settled(&hooks).await.deliveries.delivered, 11);
    });
}
