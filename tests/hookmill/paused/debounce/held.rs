//! Events that wait until their key is quiet, and what ends a window before its time.

use std::sync::Mutex;

use hookmill::{
    Edge,
    store::{EventFilter, EventState},
};

use super::*;

/// What each attempt carried: the event's seq, and how many did not pass before it.
type Carried = Arc<Mutex<Vec<(u64, u64)>>>;

/// A receiver that refuses the first attempt at each event.
fn moody(carried: &Carried) -> ScriptedTransport {
    let carried = Arc::clone(carried);
    ScriptedTransport::new(move |attempt| {
        carried.lock().unwrap().push((attempt.event().seq, attempt.event().suppressed));
        Script::status(if attempt.number == 1 { 500 } else { 200 })
    })
}

fn by_session(edge: Edge) -> Debounce {
    Debounce::on("ui.*").named("clicks").by(["/data/session"]).within(seconds(10)).edge(edge)
}

async fn start_with_rule(rule: Debounce, receiver: &ScriptedTransport) -> Hookmill {
    start(Hookmill::builder().endpoint(endpoint("crm")).debounce(rule), receiver).await
}

async fn click(hooks: &Hookmill, session: &str) {
    hooks.publish(of(session)).await.unwrap();
}

/// The sums once nothing waits at all.
async fn quiet(hooks: &Hookmill) -> Totals {
    until(hooks, |totals| {
        totals.unrouted + totals.debouncing + totals.deliveries.pending + totals.deliveries.in_flight == 0
    })
    .await
}

async fn states(hooks: &Hookmill) -> Vec<EventState> {
    let filter = EventFilter { limit: 100, ..EventFilter::default() };
    testing::store(hooks).events(filter).await.unwrap().iter().rev().map(|row| row.state).collect()
}

#[test]
fn the_last_of_a_burst_passes_when_its_key_is_quiet() {
    paused(async {
        let receiver = receiver();
        let hooks = start_with_rule(by_session(Edge::Trailing), &receiver).await;
        for session in ["a", "b", "a", "a"] {
            click(&hooks, session).await;
            pass(seconds(6)).await;
        }
        hooks.publish(event("other")).await.unwrap();
        let held = settled(&hooks).await;
        assert_eq!((held.debouncing, held.coalesced, held.suppressed), (1, 1, 0));
        use EventState::{Coalesced, Debouncing, Routed};
        assert_eq!(states(&hooks).await, [Routed, Routed, Coalesced, Debouncing, Routed]);
        let totals = quiet(&hooks).await;
        assert_eq!((totals.accepted, totals.routed, totals.coalesced), (5, 4, 1));
        // Quiet from 0 to 12 s, and from 18 s on; b since 6 s.
        assert_eq!(seqs(&receiver.made()), [1, 2, 5, 4]);
        assert_eq!(starts(&receiver.made()), [0, 6_000, 14_000, 18_000]);
        let counts = hooks.rule_totals().await.unwrap()["clicks"];
        assert_eq!((counts.suppressed, counts.coalesced, counts.held), (0, 1, 0));
    });
}

#[test]
fn both_ends_pass_and_one_alone_passes_once() {
    paused(async {
        let receiver = receiver();
        let hooks = start_with_rule(by_session(Edge::Both), &receiver).await;
        click(&hooks, "a").await;
        pass(seconds(60)).await;
        for _ in 0..3 {
            click(&hooks, "a").await;
            pass(seconds(1)).await;
        }
        let totals = quiet(&hooks).await;
        assert_eq!((seqs(&receiver.made()), totals.coalesced), (vec![1, 2, 4], 1));
        assert_eq!(starts(&receiver.made()), [0, 60_000, 72_000]);
    });
}

#[test]
fn a_key_that_is_never_quiet_passes_after_the_longest_wait() {
    paused(async {
        let receiver = receiver();
        let hooks = start_with_rule(by_session(Edge::Trailing).max_wait(seconds(25)), &receiver).await;
        for _ in 0..10 {
            click(&hooks, "a").await;
            pass(seconds(6)).await;
        }
        quiet(&hooks).await;
        // Held from 0 and from 30 s on, and every 6 s replaced.
        assert_eq!(seqs(&receiver.made()), [5, 10]);
        assert_eq!(starts(&receiver.made()), [0, 30_000]);
    });
}

#[test]
fn what_was_held_is_new_when_it_is_released() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| Script::status(if attempt.number < 3 { 500 } else { 200 }));
        let strict =
            endpoint("crm").settings(json!({"in_flight": 1, "retry": {"delays": ["10s", "10s"], "max_age": "1m"}}));
        let rule = Debounce::on("ui.*").within(HOUR).edge(Edge::Trailing);
        let hooks = start(Hookmill::builder().endpoint(strict).debounce(rule), &receiver).await;
        click(&hooks, "a").await;
        pass(HOUR - seconds(5)).await;
        publish(&hooks, 2).await;
        let totals = quiet(&hooks).await;
        assert_eq!(totals.deliveries.delivered, 3, "its age counts from its release");
        // Released while the second is retried; in the store it stands in front.
        assert_eq!(seqs(&receiver.made()), [2, 1, 1, 1, 2, 2, 3, 3, 3]);
    });
}

#[test]
fn the_next_to_pass_carries_the_count_on_each_attempt_and_filters_see_it() {
    paused(async {
        let carried = Carried::default();
        let receiver = moody(&carried);
        let filter = json!({"filter": {"pointer": "/suppressed", "min": 1}});
        let builder = Hookmill::builder().endpoint(endpoint("all")).endpoint(endpoint("noisy").settings(filter));
        let hooks = start(builder.debounce(by_session(Edge::Leading)), &receiver).await;
        for wait in [0, 1, 1, 1, 60] {
            pass(seconds(wait)).await;
            click(&hooks, "a").await;
        }
        let totals = quiet(&hooks).await;
        assert_eq!((totals.suppressed, totals.deliveries.created), (3, 3));
        let mut carried = carried.lock().unwrap().clone();
        carried.sort_unstable();
        assert_eq!(carried, [(1, 0), (1, 0), (5, 3), (5, 3), (5, 3), (5, 3)]);
        let shown = testing::store(&hooks).events(EventFilter { limit: 1, ..EventFilter::default() }).await.unwrap();
        assert_eq!((shown[0].event.suppressed, hooks.rule_totals().await.unwrap()["clicks"].suppressed), (3, 3));
    });
}

#[test]
fn what_is_released_carries_what_it_replaced_through_the_store() {
    paused(async {
        let carried = Carried::default();
        let receiver = moody(&carried);
        let hooks = start_with_rule(by_session(Edge::Trailing), &receiver).await;
        for _ in 0..4 {
            click(&hooks, "a").await;
        }
        quiet(&hooks).await;
        assert_eq!(*carried.lock().unwrap(), [(4, 3), (4, 3)]);
    });
}

#[test]
fn a_reset_clears_the_keys_that_it_carries() {
    paused(async {
        let receiver = receiver();
        let rule = Debounce::on("ui.*").by(["/data/session", "/data/state"]).within(HOUR).reset_on(["session.*"]);
        let hooks = start_with_rule(rule, &receiver).await;
        let raise = async |session: &str, state: &str| {
            hooks.publish(Event::new("ui.alert", &json!({"session": session, "state": state})).unwrap()).await.unwrap();
        };
        for (session, state) in [("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")] {
            raise(session, state).await;
        }
        hooks.publish(Event::new("session.ended", &json!({"session": "a"})).unwrap()).await.unwrap();
        for (session, state) in [("a", "x"), ("a", "y"), ("b", "x")] {
            raise(session, state).await;
        }
        hooks.publish(Event::new("session.ended", &json!({"session": "b"})).unwrap().tenant("t")).await.unwrap();
        hooks.publish(Event::new("session.ended", &json!({})).unwrap()).await.unwrap();
        raise("b", "x").await;
        let totals = settled(&hooks).await;
        assert_eq!(seqs(&receiver.made()), [1, 2, 3, 5, 6, 7, 10]);
        assert_eq!((totals.suppressed, totals.unmatched), (3, 1));
    });
}

#[test]
fn a_reset_lets_go_of_what_waits() {
    paused(async {
        let receiver = receiver();
        let rule = by_session(Edge::Trailing).reset_on(["done"]);
        let hooks = start_with_rule(rule, &receiver).await;
        click(&hooks, "a").await;
        click(&hooks, "b").await;
        hooks.publish(Event::new("done", &json!({"session": "a"})).unwrap()).await.unwrap();
        quiet(&hooks).await;
        assert_eq!(starts(&receiver.made()), [0, 0, 10_000]);
        assert_eq!(seqs(&receiver.made()).iter().filter(|seq| **seq == 2).count(), 1);
    });
}

#[test]
fn a_window_ends_when_every_delivery_of_its_event_has_failed() {
    paused(async {
        let up = Switch::default();
        let seen = up.clone();
        let receiver = ScriptedTransport::new(move |attempt| {
            let works = attempt.endpoint.id.as_str() == "works" && seen.is_on();
            Script::status(if works { 200 } else { 500 })
        });
        let rule = Debounce::on("ui.*").by(["/data/session"]).within(HOUR).release_on_failure();
        let builder = Hookmill::builder().endpoint(endpoint("fails")).endpoint(endpoint("works")).debounce(rule);
        let hooks = start(builder, &receiver).await;
        click(&hooks, "a").await;
        pass(seconds(2)).await;
        click(&hooks, "a").await;
        assert_eq!(settled(&hooks).await.suppressed, 1, "it may still arrive");
        up.on();
        click(&hooks, "a").await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.suppressed, totals.routed, totals.deliveries.dead_lettered), (1, 2, 3));
        click(&hooks, "a").await;
        assert_eq!(settled(&hooks).await.suppressed, 2, "one of them has it");
    });
}

#[test]
fn a_window_ends_at_once_when_its_event_goes_only_to_disabled_endpoints() {
    paused(async {
        let receiver = receiver();
        let rule = Debounce::on("ui.*").within(HOUR).release_on_failure();
        let hooks = start(Hookmill::builder().debounce(rule), &receiver).await;
        let settings = json!({"url": "https://crm.example/", "topics": ["*"]});
        hooks.create_endpoint(Some(id("crm")), &settings).await.unwrap();
        hooks.switch_endpoint(&id("crm"), hookmill::pipeline::Switch::Disable, None).await.unwrap();
        click(&hooks, "a").await;
        settled(&hooks).await;
        hooks.switch_endpoint(&id("crm"), hookmill::pipeline::Switch::Enable, None).await.unwrap();
        click(&hooks, "a").await;
        click(&hooks, "a").await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.suppressed, totals.deliveries.delivered), (1, 1));
    });
}

#[test]
fn a_rule_that_changes_or_goes_lets_go_of_what_it_held() {
    paused(async {
        let receiver = receiver();
        let hooks = start_with(endpoint("crm"), &receiver).await;
        let name = || "clicks".parse().unwrap();
        let held = |window: &str| {
            let mut rule = rule(window);
            rule["edge"] = json!("trailing");
            rule
        };
        hooks.put_rule(name(), &held("1h")).await.unwrap();
        click(&hooks, "a").await;
        assert_eq!(until(&hooks, |totals| totals.unrouted == 0).await.debouncing, 1);
        hooks.put_rule(name(), &held("2h")).await.unwrap();
        assert_eq!(seqs(&receiver.until(|made| made.len() == 1).await), [1]);
        click(&hooks, "a").await;
        assert_eq!(until(&hooks, |totals| totals.unrouted == 0).await.debouncing, 1);
        hooks.delete_rule(&name()).await.unwrap();
        assert_eq!(quiet(&hooks).await.deliveries.delivered, 2);
        assert!(windows(&hooks).await.is_empty());
        assert!(starts(&receiver.made()).iter().all(|start| *start < 1000));
    });
}

#[test]
fn a_shutdown_without_a_disk_delivers_what_was_held() {
    paused(async {
        let receiver = receiver();
        let hooks = start_with_rule(by_session(Edge::Trailing).within(HOUR), &receiver).await;
        click(&hooks, "a").await;
        click(&hooks, "b").await;
        let report = hooks.shutdown(seconds(10)).await;
        assert_eq!((report.delivered, report.kept, report.abandoned), (2, 0, 0));
        let mut seqs = seqs(&receiver.made());
        seqs.sort_unstable();
        assert_eq!(seqs, [1, 2]);
    });
}
