//! Every event of a daemon to one URL. Its column of the table first, then its section, line by line.

mod single;

use hookmill::{
    Clock,
    testing::{Script, paused},
    transport::FailureKind,
};

use super::*;
use crate::{
    blackbox::receiver::{Receiver, Reply},
    paused::{HOUR, dead_letters, look, millis, pass, seconds, seqs, settled, starts},
};

async fn daemon(way: Way, more: Value, script: impl Fn(&Attempt) -> Script + Send + Sync + 'static) -> Bench {
    Bench::new(way, Preset::Daemon, more, script).await
}

/// The event's data is the status that it is answered with.
fn asked_for(attempt: &Attempt) -> Script {
    Script::status(String::from_utf8_lossy(&attempt.event().data).parse().unwrap())
}

async fn publish_all(daemon: &Bench, statuses: &[u16]) {
    for status in statuses {
        daemon.publish("job.done", json!(status)).await;
    }
}

#[test]
fn success_is_every_status_below_400() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), asked_for).await;
        publish_all(&daemon, &[200, 204, 302, 399]).await;
        let totals = settled(&daemon.hooks).await;
        assert_eq!((totals.deliveries.delivered, daemon.receiver.made().len()), (4, 4));
        publish_all(&daemon, &[400]).await;
        assert_eq!(settled(&daemon.hooks).await.deliveries.delivered, 4);
    });
}

#[test]
fn five_hundreds_and_transport_failures_are_retried_and_nothing_else() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), |attempt| match attempt.event().seq {
            1 => Script::status(404),
            2 => Script::status(429),
            3 => Script::status(500),
            _ => Script::fails(FailureKind::Connect),
        })
        .await;
        publish_all(&daemon, &[0; 4]).await;
        settled(&daemon.hooks).await;
        assert_eq!(seqs(&daemon.receiver.made()), [1, 2, 3, 3, 3, 4, 4, 4]);
    });
}

#[test]
fn there_are_three_attempts_in_all_after_one_and_two_seconds() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), |_| Script::status(500)).await;
        publish_all(&daemon, &[0]).await;
        settled(&daemon.hooks).await;
        assert_eq!(starts(&daemon.receiver.made()), [0, 1000, 3000]);
    });
}

#[test]
fn an_attempt_has_five_seconds() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), |_| Script::hangs()).await;
        publish_all(&daemon, &[0]).await;
        settled(&daemon.hooks).await;
        let made = daemon.receiver.made();
        assert!(made.iter().all(|one| one.ended.unwrap().since(one.at) == seconds(5)));
        assert_eq!(starts(&made), [0, 6000, 13_000]);
    });
}

#[test]
fn a_thousand_and_twenty_four_wait_and_the_newest_beyond_them_are_dropped() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), |_| Script::status(200).after(seconds(1))).await;
        publish_all(&daemon, &[200]).await;
        daemon.receiver.until(|made| made.len() == 1).await;
        publish_all(&daemon, &[200; 1030]).await;
        assert_eq!(daemon.dropped("queue_full").await, 6);
        settled(&daemon.hooks).await;
        assert_eq!(seqs(&daemon.receiver.made()), (1..=1025).collect::<Vec<_>>());
    });
}

#[test]
fn one_is_in_flight_and_they_go_out_in_order() {
    each_way(async |way| {
        let fails_once = |attempt: &Attempt| match (attempt.event().seq, attempt.number) {
            (2, 1) => Script::status(500),
            _ => Script::status(200).after(seconds(1)),
        };
        let daemon = daemon(way, json!({}), fails_once).await;
        publish_all(&daemon, &[200; 4]).await;
        settled(&daemon.hooks).await;
        let made = daemon.receiver.made();
        assert_eq!(seqs(&made), [1, 2, 2, 3, 4]);
        assert!(made.iter().all(|one| one.in_flight == 1));
    });
}

#[test]
fn an_exhausted_one_is_counted_by_the_breaker_and_kept_as_a_dead_letter() {
    each_way(async |way| {
        let more = json!({"breaker": {"failures": 1}});
        let daemon = daemon(way, more, |_| Script::status(500)).await;
        publish_all(&daemon, &[0; 2]).await;
        daemon.ended(3).await;
        pass(seconds(29)).await;
        assert_eq!((daemon.receiver.made().len(), dead_letters(&daemon.hooks).await.len()), (3, 1));
        let standing = daemon.hooks.standing(&id("hook")).await.unwrap();
        assert_eq!(standing.totals.pending, 1, "held by the breaker");
    });
}

#[test]
fn a_shutdown_waits_five_seconds_at_most() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), |_| Script::status(200).after(millis(1900))).await;
        publish_all(&daemon, &[200; 20]).await;
        daemon.receiver.until(|made| made.len() == 1).await;
        let clock = Clock::system();
        let report = daemon.hooks.shutdown(seconds(20)).await;
        assert_eq!(clock.now().mono.since(hookmill::clock::Mono::default()), seconds(5));
        assert_eq!((report.delivered, report.cancelled, report.abandoned), (2, 1, 18));
    });
}

#[test]
fn redirects_are_never_followed() {
    run(async {
        let elsewhere = Receiver::new(|_| Reply::Status(200));
        let target = elsewhere.url("/elsewhere");
        let here = Receiver::new(move |_| Reply::Moved(target.clone()));
        let hook = Hookmill::single(here.url("/here")).start().await.unwrap();
        hook.emit("job.done", &1);
        while hook.counters().await.unwrap().delivered == 0 {
            pass(millis(5)).await;
        }
        hook.close().await;
        assert_eq!((here.count(), elsewhere.count()), (1, 0));
    });
}

#[test]
fn the_body_is_the_events_number_its_topic_the_node_the_time_and_its_data() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), |_| Script::status(200)).await;
        let event = Event::new("job.done", &json!({"job": 7, "ok": null})).unwrap();
        daemon.hooks.publish(event.source("4294967295")).await.unwrap();
        daemon.ended(1).await;
        let body = daemon.bodies().remove(0).to_string();
        let expected = r#"{"event_id":1,"event":"job.done","node_id":4294967295,"#.to_owned()
            + r#""timestamp":"2026-01-01T00:00:00.000Z","data":{"job":7,"ok":null}}"#;
        assert_eq!(body, expected);
    });
}

#[test]
fn without_data_there_is_no_data_and_without_an_identity_the_node_is_0() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), |_| Script::status(200)).await;
        daemon.publish("job.done", Value::Null).await;
        daemon.ended(1).await;
        let expected =
            json!({"event_id": 1, "event": "job.done", "node_id": 0, "timestamp": "2026-01-01T00:00:00.000Z"});
        assert_eq!(daemon.bodies(), [expected]);
    });
}

fn numbered(daemon: &Bench) -> Vec<u64> {
    daemon.bodies().iter().map(|body| body["event_id"].as_u64().unwrap()).collect()
}

#[test]
fn what_is_refused_at_the_door_is_counted_and_takes_no_number() {
    paused(async {
        let builder = Hookmill::builder().intake(10, 1 << 20);
        let daemon = Bench::on(builder, Way::Code, Preset::Daemon, json!({}), |_| Script::status(200)).await;
        (0..30).for_each(|n| daemon.hooks.emit(Event::new("job.done", &n).unwrap()));
        let emitted = daemon.hooks.emitted();
        assert_eq!((emitted.admitted, emitted.refused), (10, 20));
        daemon.ended(10).await;
        daemon.publish("job.done", json!(1)).await;
        daemon.ended(11).await;
        assert_eq!(numbered(&daemon), (1..=11).collect::<Vec<_>>());
    });
}

#[test]
fn what_is_dropped_after_that_shows_as_a_gap() {
    each_way(async |way| {
        let more = json!({"queue": {"max_items": 2}});
        let daemon = daemon(way, more, |_| Script::status(200).after(seconds(1))).await;
        publish_all(&daemon, &[200]).await;
        daemon.receiver.until(|made| made.len() == 1).await;
        publish_all(&daemon, &[200; 5]).await;
        assert_eq!(daemon.dropped("queue_full").await, 3);
        daemon.ended(3).await;
        publish_all(&daemon, &[200]).await;
        settled(&daemon.hooks).await;
        assert_eq!(numbered(&daemon), [1, 2, 3, 7]);
    });
}

#[test]
fn five_events_in_a_row_whose_attempts_all_failed_open_the_breaker_for_half_a_minute_again_and_again() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), |_| Script::status(500)).await;
        publish_all(&daemon, &[0; 9]).await;
        let made = daemon.ended(18).await;
        let starts = starts(&made);
        assert_eq!(starts[12..15], [12_000, 13_000, 15_000], "the attempts of the fifth");
        assert_eq!(starts[15..18], [45_000, 75_000, 105_000], "probes: one attempt each");
    });
}

#[test]
fn four_hundreds_neither_count_nor_reset() {
    each_way(async |way| {
        let do_not_count = daemon(way, json!({}), asked_for).await;
        publish_all(&do_not_count, &[500, 500, 500, 500, 404, 404, 404, 404, 404, 200]).await;
        let made = do_not_count.ended(18).await;
        assert_eq!(starts(&made)[17], 12_000, "never open");

        let do_not_reset = daemon(way, json!({}), asked_for).await;
        publish_all(&do_not_reset, &[500, 500, 500, 500, 404, 500, 200]).await;
        let made = do_not_reset.ended(17).await;
        assert_eq!(starts(&made)[15..17], [15_000, 45_000], "open after the fifth");
    });
}

#[test]
fn a_success_resets() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), asked_for).await;
        publish_all(&daemon, &[500, 500, 500, 500, 200, 500, 500, 500, 500, 200]).await;
        let made = daemon.ended(26).await;
        assert_eq!(starts(&made)[25], 24_000, "never open");
    });
}

#[test]
fn while_it_is_open_events_are_held_and_not_thrown_away() {
    each_way(async |way| {
        let daemon = daemon(way, json!({}), |attempt| match attempt.event().seq {
            1..=5 => Script::status(500),
            _ => Script::status(200),
        })
        .await;
        publish_all(&daemon, &[0; 20]).await;
        daemon.ended(15).await;
        pass(seconds(20)).await;
        let totals = look(&daemon.hooks).await.deliveries;
        assert_eq!((totals.pending, totals.dead_lettered), (15, 5));
        let totals = settled(&daemon.hooks).await.deliveries;
        assert_eq!((totals.delivered, totals.dead_lettered), (15, 5));
    });
}

#[test]
fn what_is_skipped_while_it_is_open_is_counted_where_that_is_wanted() {
    each_way(async |way| {
        let more = json!({"breaker": {"while_open": "skip"}});
        let daemon = daemon(way, more, |_| Script::status(500)).await;
        publish_all(&daemon, &[0; 8]).await;
        let totals = settled(&daemon.hooks).await.deliveries;
        assert_eq!((totals.dead_lettered, daemon.dropped("circuit_open").await), (5, 3));
        pass(HOUR).await;
        assert_eq!(daemon.receiver.made().len(), 15);
    });
}
