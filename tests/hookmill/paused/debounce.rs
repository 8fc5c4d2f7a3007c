//! Debounce rules.

mod held;
mod own;
mod own_held;

use hookmill::{
    Debounce,
    testing::{Script, paused},
};

use super::*;

fn of(session: &str) -> Event {
    Event::new("ui.click", &json!({"session": session})).unwrap()
}

fn rule(window: &str) -> serde_json::Value {
    json!({"topics": ["ui.*"], "key": ["/data/session"], "window": window})
}

fn receiver() -> ScriptedTransport {
    ScriptedTransport::new(|_| Script::status(200))
}

/// What is kept of the windows: key, and how many were suppressed.
async fn windows(hooks: &Hookmill) -> Vec<u64> {
    let mut windows = testing::store(hooks).load().await.unwrap().windows;
    windows.sort_by(|one, other| one.key.cmp(&other.key));
    windows.iter().map(|window| window.slot.unwrap().suppressed).collect()
}

#[test]
fn the_first_passes_and_the_next_exactly_one_window_later() {
    paused(async {
        let receiver = receiver();
        let debounce = Debounce::on("ui.*").by(["/data/session"]).within(seconds(60));
        let hooks = start(Hookmill::builder().endpoint(endpoint("crm")).debounce(debounce), &receiver).await;
        for wait in [0, 1000, 58_999, 1] {
            pass(millis(wait)).await;
            hooks.publish(of("a")).await.unwrap();
        }
        hooks.publish(of("b")).await.unwrap();
        hooks.publish(of("a").tenant("acme")).await.unwrap();
        hooks.publish(event("other")).await.unwrap();
        let totals = settled(&hooks).await;
        assert_eq!(seqs(&receiver.made()), [1, 4, 5, 7]);
        assert_eq!((totals.accepted, totals.suppressed, totals.unmatched, totals.routed), (7, 2, 1, 4));
        assert_eq!(starts(&receiver.made()), [0, 60_000, 60_000, 60_000]);
    });
}

#[test]
fn a_suppressed_one_is_counted_and_does_not_extend_the_window() {
    paused(async {
        let receiver = receiver();
        let debounce = Debounce::on("ui.*").by(["/data/session"]).within(seconds(10));
        let hooks = start(Hookmill::builder().endpoint(endpoint("crm")).debounce(debounce), &receiver).await;
        hooks.publish(of("a")).await.unwrap();
        for _ in 0..9 {
            pass(seconds(1)).await;
            hooks.publish(of("a")).await.unwrap();
        }
        let totals = settled(&hooks).await;
        assert_eq!((totals.suppressed, windows(&hooks).await), (9, vec![9]));
        pass(seconds(1)).await;
        hooks.publish(of("a")).await.unwrap();
        assert_eq!(settled(&hooks).await.routed, 2);
        assert_eq!(windows(&hooks).await, [0]);
    });
}

#[test]
fn a_rule_is_in_force_once_it_is_set_and_out_of_it_once_it_is_removed() {
    paused(async {
        let receiver = receiver();
        let hooks = start_with(endpoint("crm"), &receiver).await;
        let burst = async || {
            for _ in 0..3 {
                hooks.publish(of("a")).await.unwrap();
            }
            settled(&hooks).await.suppressed
        };
        assert_eq!(burst().await, 0);
        let name = || "clicks".parse().unwrap();
        assert!(hooks.put_rule(name(), &rule("1h")).await.unwrap().1);
        assert_eq!(burst().await, 2);
        // The same rule again changes nothing, another one forgets the windows.
        assert!(!hooks.put_rule(name(), &rule("1h")).await.unwrap().1);
        assert_eq!(burst().await, 5);
        hooks.put_rule(name(), &rule("2h")).await.unwrap();
        assert_eq!(burst().await, 7);
        hooks.delete_rule(&name()).await.unwrap();
        assert_eq!(burst().await, 7);
        assert!(windows(&hooks).await.is_empty());
        assert_eq!(seqs(&receiver.made()), [1, 2, 3, 4, 10, 13, 14, 15]);
    });
}

#[test]
fn an_event_passes_when_every_rule_lets_it_pass() {
    paused(async {
        let receiver = receiver();
        let narrow = Debounce::on("ui.*").named("narrow").by(["/data/session"]).within(seconds(10));
        let wide = Debounce::on("ui.*").named("wide").within(seconds(3));
        let builder = Hookmill::builder().endpoint(endpoint("crm")).debounce(narrow).debounce(wide);
        let hooks = start(builder, &receiver).await;
        for (wait, session) in [(0, "a"), (1, "b"), (3, "a"), (0, "b")] {
            pass(seconds(wait)).await;
            hooks.publish(of(session)).await.unwrap();
        }
        let totals = settled(&hooks).await;
        assert_eq!(seqs(&receiver.made()), [1, 4]);
        assert_eq!((totals.suppressed, totals.routed), (2, 2));
    });
}
