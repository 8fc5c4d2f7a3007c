//! What an endpoint's own `debounce` holds for it alone, and what ends a window before its time.

use std::sync::Mutex;

use hookmill::{
    Edge,
    pipeline::Switch as State,
    store::{CancelFilter, DeliveryState},
};
use serde_json::Value;

use super::*;

/// An endpoint that debounces by session, ten seconds long.
fn holding(id: &str, more: &Value) -> EndpointBuilder {
    let debounce = json!({"debounce": {"key": ["/data/session"], "window": "10s"}});
    endpoint(id).settings(debounce).settings(json!({"debounce": more}))
}

async fn click(hooks: &Hookmill, session: &str) {
    hooks.publish(of(session)).await.unwrap();
}

async fn routed(hooks: &Hookmill) -> Totals {
    until(hooks, |totals| totals.unrouted == 0).await
}

async fn quiet(hooks: &Hookmill) -> Totals {
    until(hooks, |totals| totals.unrouted + totals.debouncing + totals.deliveries.pending == 0).await
}

/// Endpoint, seq and moment of each attempt.
fn made(receiver: &ScriptedTransport, endpoint: &str) -> Vec<(u64, u128)> {
    let all = receiver.made();
    let starts = starts(&all);
    let made = all.iter().zip(starts).filter(|(one, _)| one.endpoint.as_str() == endpoint);
    made.map(|(one, start)| (one.seq, start)).collect()
}

#[test]
fn the_last_of_a_burst_goes_to_one_endpoint_and_all_to_another() {
    paused(async {
        let receiver = receiver();
        let builder = Hookmill::builder().endpoint(endpoint("eager"));
        let builder = builder.endpoint(holding("calm", &json!({"edge": "trailing"})).in_flight(1));
        let hooks = start(builder, &receiver).await;
        for session in ["a", "b", "a", "a"] {
            click(&hooks, session).await;
            pass(seconds(6)).await;
        }
        let held = settled_but(&hooks, 1).await;
        assert_eq!((held.routed, held.debouncing, held.deliveries.suppressed), (4, 0, 1));
        let totals = quiet(&hooks).await;
        assert_eq!((totals.deliveries.created, totals.deliveries.delivered, totals.deliveries.suppressed), (8, 7, 1));
        assert_eq!(made(&receiver, "eager"), [(1, 0), (2, 6_000), (3, 12_000), (4, 18_000)]);
        // Quiet from 0 to 12 s, and from 18 s on; b since 6 s.
        assert_eq!(made(&receiver, "calm"), [(1, 10_000), (2, 16_000), (4, 28_000)]);
    });
}

/// The sums once so many deliveries are left that wait.
async fn settled_but(hooks: &Hookmill, waiting: u64) -> Totals {
    until(hooks, |totals| {
        totals.unrouted == 0 && totals.deliveries.in_flight == 0 && totals.deliveries.pending == waiting
    })
    .await
}

#[test]
fn both_ends_pass_after_the_longest_wait_at_most() {
    paused(async {
        let receiver = receiver();
        let calm = holding("calm", &json!({"edge": "both", "max_wait": "20s"}));
        let hooks = start(Hookmill::builder().endpoint(calm), &receiver).await;
        for _ in 0..6 {
            click(&hooks, "a").await;
            pass(seconds(6)).await;
        }
        quiet(&hooks).await;
        // Held from 6 s on.
        assert_eq!(made(&receiver, "calm"), [(1, 0), (5, 26_000), (6, 40_000)]);
    });
}

#[test]
fn each_endpoint_gets_the_count_of_what_it_did_not_get() {
    paused(async {
        let carried = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&carried);
        let receiver = ScriptedTransport::new(move |attempt| {
            let event = attempt.event();
            seen.lock().unwrap().push((attempt.endpoint.id.to_string(), event.seq, event.suppressed));
            Script::status(if attempt.number == 1 { 500 } else { 200 })
        });
        let by_rule = Debounce::on("ui.*").by(["/data/session", "/data/n"]).within(HOUR);
        let builder = Hookmill::builder().endpoint(endpoint("all")).debounce(by_rule);
        let builder = builder.endpoint(holding("first", &json!({"edge": "leading"})));
        let hooks = start(builder.endpoint(holding("last", &json!({"edge": "trailing"}))), &receiver).await;
        let numbered = |n: u8| Event::new("ui.click", &json!({"session": "a", "n": n})).unwrap();
        // The rule leaves out 2 and 3; the 5th carries that there were none.
        for n in [1, 1, 1, 2, 3] {
            hooks.publish(numbered(n)).await.unwrap();
        }
        pass(HOUR).await;
        hooks.publish(numbered(1)).await.unwrap();
        quiet(&hooks).await;
        let mut carried = carried.lock().unwrap().clone();
        carried.sort();
        carried.dedup();
        let got = |endpoint: &str| {
            let of = carried.iter().filter(|(to, ..)| to == endpoint);
            of.map(|(_, seq, count)| (*seq, *count)).collect::<Vec<_>>()
        };
        assert_eq!(got("all"), [(1, 0), (4, 0), (5, 0), (6, 2)]);
        assert_eq!(got("first"), [(1, 0), (6, 4)], "two by the rule, two by its own");
        assert_eq!(got("last"), [(5, 2), (6, 2)]);
    });
}

#[test]
fn a_reset_lets_go_whether_or_not_the_endpoint_gets_it() {
    paused(async {
        let receiver = receiver();
        let calm = holding("calm", &json!({"edge": "trailing", "window": "1h", "reset_on": ["done"]}));
        let calm = calm.settings(json!({"topics": ["ui.*"]}));
        let hooks = start(Hookmill::builder().endpoint(calm), &receiver).await;
        click(&hooks, "a").await;
        click(&hooks, "b").await;
        hooks.publish(Event::new("done", &json!({"session": "a"})).unwrap()).await.unwrap();
        let totals = settled_but(&hooks, 1).await;
        assert_eq!((made(&receiver, "calm"), totals.unmatched), (vec![(1, 0)], 1));
    });
}

#[test]
fn a_setting_that_changes_or_goes_lets_go_of_what_it_held() {
    paused(async {
        let receiver = receiver();
        let hooks = start(Hookmill::builder(), &receiver).await;
        let debounce = json!({"key": ["/data/session"], "window": "1h", "edge": "trailing"});
        let settings = json!({"url": "https://calm.example/", "debounce": debounce});
        hooks.create_endpoint(Some(id("calm")), &settings).await.unwrap();
        for patch in [json!({"debounce": {"window": "2h"}}), json!({"debounce": null})] {
            click(&hooks, "a").await;
            click(&hooks, "a").await;
            assert_eq!(routed(&hooks).await.deliveries.pending, 1);
            hooks.patch_endpoint(&id("calm"), &json!({"timeout": "3s"}), None).await.unwrap();
            assert_eq!(routed(&hooks).await.deliveries.pending, 1, "it is the same");
            hooks.patch_endpoint(&id("calm"), &patch, None).await.unwrap();
            settled(&hooks).await;
        }
        assert_eq!(seqs(&receiver.made()), [2, 4]);
        let kept = testing::store(&hooks).load().await.unwrap();
        assert_eq!((kept.windows.len(), kept.held_deliveries.len()), (0, 0));
    });
}

#[test]
fn what_an_endpoint_holds_is_cancelled_and_dropped_with_it() {
    paused(async {
        let receiver = receiver();
        let hooks = start(Hookmill::builder(), &receiver).await;
        let debounce = json!({"key": ["/data/session"], "window": "10s", "edge": "trailing"});
        let settings = json!({"url": "https://calm.example/", "debounce": debounce});
        hooks.create_endpoint(Some(id("calm")), &settings).await.unwrap();
        click(&hooks, "a").await;
        assert_eq!(hooks.cancel_deliveries(CancelFilter::default(), false).await.unwrap(), 1);
        click(&hooks, "b").await;
        routed(&hooks).await;
        hooks.switch_endpoint(&id("calm"), State::Disable, None).await.unwrap();
        hooks.switch_endpoint(&id("calm"), State::Enable, None).await.unwrap();
        pass(seconds(30)).await;
        click(&hooks, "a").await;
        let deliveries = quiet(&hooks).await.deliveries;
        assert_eq!((seqs(&receiver.made()), deliveries.delivered), (vec![3], 1));
        assert_eq!((deliveries.dropped["cancelled"], deliveries.dropped["endpoint_disabled"]), (1, 1));
        click(&hooks, "a").await;
        routed(&hooks).await;
        hooks.delete_endpoint(&id("calm"), None).await.unwrap();
        assert_eq!(quiet(&hooks).await.deliveries.dropped["endpoint_deleted"], 1);
    });
}

#[test]
fn what_is_dropped_while_it_is_held_leaves_its_count_to_the_next() {
    async fn cancel(hooks: &Hookmill) {
        assert_eq!(hooks.cancel_deliveries(CancelFilter::default(), false).await.unwrap(), 1);
    }
    async fn disable(hooks: &Hookmill) {
        for switch in [State::Disable, State::Enable] {
            hooks.switch_endpoint(&id("calm"), switch, None).await.unwrap();
        }
    }
    for cancelled in [true, false] {
        paused(async {
            let carried = Arc::new(Mutex::new(Vec::new()));
            let seen = Arc::clone(&carried);
            let receiver = ScriptedTransport::new(move |attempt| {
                seen.lock().unwrap().push((attempt.event().seq, attempt.event().suppressed));
                Script::status(200)
            });
            let hooks = start(Hookmill::builder(), &receiver).await;
            let debounce = json!({"key": ["/data/session"], "window": "10s", "edge": "trailing"});
            let settings = json!({"url": "https://calm.example/", "debounce": debounce});
            hooks.create_endpoint(Some(id("calm")), &settings).await.unwrap();
            for _ in 0..3 {
                click(&hooks, "a").await;
            }
            routed(&hooks).await;
            if cancelled {
                cancel(&hooks).await;
            } else {
                disable(&hooks).await;
            }
            pass(seconds(30)).await;
            assert_eq!(receiver.made().len(), 0);
            click(&hooks, "a").await;
            quiet(&hooks).await;
            assert_eq!(*carried.lock().unwrap(), [(4, 2)], "the first two were suppressed");
        });
    }
}

#[test]
fn a_shutdown_without_a_disk_delivers_what_endpoints_hold() {
    paused(async {
        let receiver = receiver();
        let calm = holding("calm", &json!({"edge": "trailing", "window": "1h"}));
        let rule = Debounce::on("ui.*").by(["/data/session"]).within(HOUR).edge(Edge::Trailing);
        let hooks = start(Hookmill::builder().endpoint(calm).debounce(rule), &receiver).await;
        hooks.publish(Event::new("x", &json!({"session": "b"})).unwrap()).await.unwrap();
        click(&hooks, "a").await;
        let report = hooks.shutdown(seconds(10)).await;
        assert_eq!((report.delivered, report.kept, report.abandoned), (2, 0, 0));
    });
}

#[test]
fn an_own_window_ends_when_the_delivery_there_has_failed() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| {
            let fails = attempt.endpoint.id.as_str() == "fails" && attempt.event().seq == 1;
            Script::status(if fails { 500 } else { 200 })
        });
        let frees = json!({"release_on_failure": true, "window": "1h"});
        let builder = Hookmill::builder().endpoint(holding("fails", &frees)).endpoint(holding("works", &frees));
        let hooks = start(builder, &receiver).await;
        for _ in 0..2 {
            click(&hooks, "a").await;
        }
        assert_eq!(settled(&hooks).await.deliveries.suppressed, 2, "it may still arrive");
        for _ in 0..2 {
            click(&hooks, "a").await;
            settled(&hooks).await;
        }
        let seqs_of = |endpoint: &str| {
            let mut seqs: Vec<_> = made(&receiver, endpoint).into_iter().map(|(seq, _)| seq).collect();
            seqs.dedup();
            seqs
        };
        assert_eq!((seqs_of("fails"), seqs_of("works")), (vec![1, 3], vec![1]));
    });
}

/// How deliveries end without an attempt that says so.
const ENDS: [&str; 3] = ["cancel", "disable", "delete"];

async fn end(hooks: &Hookmill, how: &str) {
    match how {
        "cancel" => assert_eq!(hooks.cancel_deliveries(CancelFilter::default(), false).await.unwrap(), 1),
        "disable" => drop(hooks.switch_endpoint(&id("crm"), State::Disable, None).await.unwrap()),
        _ => hooks.delete_endpoint(&id("crm"), None).await.unwrap(),
    }
}

/// An endpoint that holds everything, being paused.
async fn paused_endpoint(hooks: &Hookmill, debounce: &Value) {
    let settings = json!({"url": "https://crm.example/", "state": "paused", "debounce": debounce});
    hooks.create_endpoint(Some(id("crm")), &settings).await.unwrap();
}

#[test]
fn a_rule_hears_of_what_was_cancelled_disabled_or_deleted() {
    for how in ENDS {
        paused(async {
            let receiver = receiver();
            let rule = Debounce::on("ui.*").within(HOUR).release_on_failure();
            let hooks = start(Hookmill::builder().debounce(rule), &receiver).await;
            paused_endpoint(&hooks, &Value::Null).await;
            click(&hooks, "a").await;
            click(&hooks, "a").await;
            assert_eq!(routed(&hooks).await.suppressed, 1);
            end(&hooks, how).await;
            pass(seconds(1)).await;
            click(&hooks, "a").await;
            let totals = routed(&hooks).await;
            assert_eq!(totals.suppressed, 1, "{how}: the window has ended: {totals:?}");
        });
    }
}

#[test]
fn an_endpoint_hears_of_what_was_cancelled_or_disabled_there() {
    for how in ["cancel", "disable"] {
        paused(async {
            let receiver = receiver();
            let hooks = start(Hookmill::builder(), &receiver).await;
            paused_endpoint(&hooks, &json!({"window": "1h", "release_on_failure": true})).await;
            click(&hooks, "a").await;
            click(&hooks, "a").await;
            assert_eq!(routed(&hooks).await.deliveries.suppressed, 1);
            end(&hooks, how).await;
            pass(seconds(1)).await;
            hooks.patch_endpoint(&id("crm"), &json!({"state": "active"}), None).await.unwrap();
            click(&hooks, "a").await;
            let totals = quiet(&hooks).await.deliveries;
            assert_eq!((totals.suppressed, totals.delivered), (1, 1), "{how}: the window has ended");
            let shown = testing::store(&hooks).event(None, receiver.made()[0].event.clone()).await.unwrap().unwrap();
            assert_eq!(shown.deliveries[0].state, DeliveryState::Delivered);
        });
    }
}
