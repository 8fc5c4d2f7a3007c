//! When a failed delivery is tried again, and what comes when it is not.

use hookmill::{
    testing::{Script, paused},
    transport::{FailureKind, RetryAfter},
};

use super::*;

#[test]
fn waits_are_kept_to_the_millisecond_and_the_last_failure_makes_a_dead_letter() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        hooks.publish(event("a").id("one")).await.unwrap();
        let totals = settled(&hooks).await;
        let made = receiver.made();
        assert_eq!(starts(&made), [0, 1000, 3000, 7000]);
        assert_eq!(made.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!((totals.deliveries.created, totals.deliveries.dead_lettered), (1, 1));
        let [dead] = &dead_letters(&hooks).await[..] else { panic!("one dead letter") };
        assert_eq!((dead.reason.as_str(), dead.attempts, dead.last_status), ("exhausted", 4, Some(500)));
        pass(HOUR).await;
        assert_eq!(receiver.made().len(), 4);
    });
}

#[test]
fn retry_after_is_obeyed_in_both_forms_within_bounds_and_uses_no_attempt() {
    paused(async {
        let day = seconds(24 * 3600);
        let receiver = ScriptedTransport::new(move |attempt| match attempt.number {
            1 => Script::asks(429, RetryAfter::Delay(seconds(7))),
            2 => Script::asks(503, RetryAfter::At(attempt.at.after(seconds(11)))),
            3 => Script::asks(429, RetryAfter::Delay(Duration::ZERO)),
            4 => Script::asks(503, RetryAfter::At(hookmill::Timestamp::from_millis(0))),
            5 => Script::asks(503, RetryAfter::Delay(2 * day)),
            _ => Script::status(500),
        });
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish(&hooks, 1).await;
        receiver.until(|made| made.len() == 9).await;
        settled(&hooks).await;
        let after_a_day = 20_000 + day.as_millis();
        let retried = [0, 1000, 3000, 7000].map(|wait| after_a_day + wait);
        assert_eq!(starts(&receiver.made()), [&[0, 7000, 18_000, 19_000, 20_000][..], &retried].concat());
        assert_eq!(dead_letters(&hooks).await[0].reason, "exhausted");
    });
}

#[test]
fn retry_after_replaces_the_wait_of_a_failure_that_counts() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.number {
            1 => Script::asks(500, RetryAfter::Delay(seconds(9))),
            _ => Script::status(404),
        });
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish(&hooks, 1).await;
        settled(&hooks).await;
        assert_eq!(starts(&receiver.made()), [0, 9000, 11_000, 15_000]);
    });
}

#[test]
fn asking_for_time_for_ever_ends_with_age() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::asks(429, RetryAfter::Delay(HOUR)));
        let hooks = start_with(endpoint("crm").settings(json!({"retry": {"max_age": "150m"}})), &receiver).await;
        publish(&hooks, 1).await;
        settled(&hooks).await;
        assert_eq!(starts(&receiver.made()), [0, 3_600_000, 7_200_000]);
        assert_eq!(dead_letters(&hooks).await[0].reason, "expired");
    });
}

#[test]
fn a_receiver_that_is_gone_is_not_tried_again() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(410));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish(&hooks, 1).await;
        settled(&hooks).await;
        assert_eq!(receiver.made().len(), 1);
        assert_eq!(dead_letters(&hooks).await[0].reason, "gone");
    });
}

#[test]
fn jitter_only_adds_and_comes_out_the_same_each_time() {
    let run = || {
        paused(async {
            let receiver = ScriptedTransport::new(|_| Script::status(500));
            let policy = json!({"retry": {"delays": ["100s", "100s", "100s"], "jitter": 0.5}});
            let hooks = start_with(endpoint("crm").settings(policy), &receiver).await;
            publish(&hooks, 1).await;
            settled(&hooks).await;
            starts(&receiver.made())
        })
    };
    let first = run();
    let waits: Vec<_> = first.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| (100_000..=150_001).contains(wait)) && waits[0] != waits[1], "{waits:?}");
    assert_eq!(run(), first);
}

#[test]
fn an_event_that_the_format_cannot_write_is_a_dead_letter_at_once_and_harms_no_other() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| {
            if attempt.event().seq <= 20 { Script::fails(FailureKind::Unrenderable) } else { Script::status(200) }
        });
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish(&hooks, 21).await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.deliveries.dead_lettered, totals.deliveries.delivered), (20, 1));
        assert!(attempts(&receiver.made()).values().all(|attempts| *attempts == 1));
        assert!(dead_letters(&hooks).await.iter().all(|dead| dead.reason == "not_retried"));
    });
}
