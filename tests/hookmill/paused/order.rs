//! Order, and the bound on attempts in flight.

use hookmill::testing::{Script, paused};

use super::*;

#[test]
fn one_at_a_time_is_strictly_in_order_and_a_failing_head_holds_up_the_rest() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq, attempt.number) {
            (1, ..=3) | (10, 1) => Script::status(500),
            _ => Script::status(200).after(millis(5)),
        });
        let hooks = start_with(endpoint("crm").in_flight(1), &receiver).await;
        publish(&hooks, 20).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 20);
        let made = receiver.made();
        let expected: Vec<_> = [1, 1, 1].into_iter().chain(1..=10).chain(10..=20).collect();
        assert_eq!(seqs(&made), expected);
        assert_eq!(starts(&made)[..5], [0, 1000, 3000, 7000, 7005]);
    });
}

#[test]
fn order_is_kept_over_more_events_than_fit_in_memory() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq % 97, attempt.number) {
            (0, 1) => Script::status(500),
            _ => Script::status(200).after(millis(1)),
        });
        let hooks = start_with(endpoint("crm").in_flight(1), &receiver).await;
        publish(&hooks, 2000).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 2000);
        let made = receiver.made();
        assert!(made.is_sorted_by_key(|one| (one.seq, one.number)));
        assert_eq!(made.len(), 2000 + 2000 / 97);
    });
}

#[test]
fn attempts_in_flight_never_exceed_the_bound_and_use_it() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200).after(millis(20)));
        let hooks = start_with(endpoint("crm").in_flight(3), &receiver).await;
        publish(&hooks, 1000).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 1000);
        let made = receiver.made();
        assert_eq!(made.iter().map(|one| one.in_flight).max(), Some(3));
        assert_eq!(attempts(&made).len(), 1000);
        assert_eq!(starts(&made)[999], 333 * 20);
    });
}

#[test]
fn in_order_of_keys_a_retry_holds_up_its_key_alone() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq, attempt.number) {
            (1, 1..=3) => Script::status(500),
            _ => Script::status(200).after(millis(10)),
        });
        let hooks = start_with(endpoint("crm").in_flight(4).ordered_by_key(), &receiver).await;
        for n in 0..400 {
            hooks.publish(event("a.b").key(format!("k{}", n % 4))).await.unwrap();
        }
        hooks.publish(event("a.b")).await.unwrap();
        pass(millis(2_000)).await;
        assert_eq!(look(&hooks).await.deliveries.delivered, 301, "three keys and what has none are through");
        assert_eq!(settled(&hooks).await.deliveries.delivered, 401);
        let made = receiver.made();
        for key in 0..4 {
            let line: Vec<_> = made.iter().filter(|one| one.seq <= 400 && (one.seq - 1) % 4 == key).collect();
            assert!(line.is_sorted_by_key(|one| (one.seq, one.number)), "{:?}", line);
            let ends = line.windows(2).all(|pair| pair[0].ended.unwrap() <= pair[1].at);
            assert!(ends, "one of a key at a time");
        }
        assert!(made.iter().any(|one| one.in_flight > 1));
    });
}

#[test]
fn a_key_that_fails_for_an_hour_holds_up_no_other_and_goes_on_in_order() {
    paused(async {
        let well = Switch::default();
        let seen = well.clone();
        let receiver = ScriptedTransport::new(move |attempt| match attempt.event().key.as_deref() {
            Some("bad") if !seen.is_on() => Script::status(500),
            _ => Script::status(200).after(millis(10)),
        });
        let patient = json!({"retry": {"delays": ["10m", "50m", "10m"], "jitter": 0}});
        let hooks = start_with(endpoint("crm").settings(patient).in_flight(4).ordered_by_key(), &receiver).await;
        for n in 0..300 {
            hooks.publish(event("a.b").key(["bad", "one", "two"][n % 3])).await.unwrap();
        }
        pass(seconds(30)).await;
        assert_eq!(look(&hooks).await.deliveries.delivered, 200, "the others are through");
        pass(HOUR - seconds(60)).await;
        let tried: Vec<_> = receiver.made().iter().filter(|one| one.seq % 3 == 1).map(|one| one.seq).collect();
        assert_eq!(tried, [1, 1], "what comes after it has not been tried");
        well.on();
        assert_eq!(settled(&hooks).await.deliveries.delivered, 300);
        let made = receiver.made();
        for key in 0..3 {
            let line: Vec<_> = made.iter().filter(|one| one.seq % 3 == key).collect();
            assert!(line.is_sorted_by_key(|one| (one.seq, one.number)), "{line:?}");
            assert!(line.windows(2).all(|pair| pair[0].ended.unwrap() <= pair[1].at), "one of a key at a time");
        }
    });
}

#[test]
fn a_replay_goes_before_what_waits_of_its_key() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.event().seq {
            1 => Script::status(500),
            _ => Script::status(200).after(seconds(10)),
        });
        let own = endpoint("crm").retry_delays([]).settings(json!({"breaker": {"failures": 100}}));
        let hooks = start_with(own.in_flight(4).ordered_by_key(), &receiver).await;
        for _ in 0..4 {
            hooks.publish(event("a.b").key("k")).await.unwrap();
        }
        receiver.until(|made| made.len() == 2).await;
        let letter = dead_letters(&hooks).await[0].id;
        hooks.replay(letter).await.unwrap();
        settled(&hooks).await;
        assert_eq!(seqs(&receiver.made()), [1, 2, 1, 3, 4]);
    });
}
