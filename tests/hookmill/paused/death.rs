//! A Delivery that dies of a bug is started again from the store.

use std::sync::atomic::AtomicU32;

use hookmill::{
    clock::Mono,
    deliver::breaker::Shown,
    testing::{Script, kill_delivery, paused},
    transport::FailureKind,
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// Whether the attempt came to its end and was not cut off.
fn ended_by_itself(made: &Made) -> bool {
    made.ended.is_some_and(|ended| ended.since(made.at) == SECOND)
}

#[test]
fn after_a_death_everything_is_delivered_and_nothing_twice_but_what_was_in_flight() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq, attempt.number) {
            (1, 1) => Script::status(500).after(SECOND),
            _ => Script::status(200).after(SECOND),
        });
        let policy = json!({"retry": {"delays": ["10s"]}});
        let hooks = start_with(endpoint("crm").in_flight(2).settings(policy), &receiver).await;
        publish(&hooks, 50).await;
        pass(millis(2500)).await;
        let key = hooks.endpoint(&id("crm")).unwrap().key;
        assert!(kill_delivery(&hooks, key).await);
        // Those that come while there is no Delivery are not forgotten either.
        publish(&hooks, 5).await;
        let made = receiver.until(|made| made.iter().all(|one| one.ended.is_some())).await;
        let totals = look(&hooks).await.deliveries;
        assert_eq!((totals.in_flight, totals.delivered), (0, 3));
        let (killed, cut) = (made.len(), made.iter().filter(|one| !ended_by_itself(one)).count());
        assert_eq!(cut, 2);

        assert_eq!(settled(&hooks).await.deliveries.delivered, 55);
        let made = receiver.made();
        assert!(made[killed..].iter().all(ended_by_itself), "cut off once alone");
        let ended: Vec<_> = made.iter().filter(|one| ended_by_itself(one)).cloned().collect();
        let expected = (1..=55).map(|seq| (seq, if seq == 1 { 2 } else { 1 })).collect();
        assert_eq!(attempts(&ended), expected);
        let first: Vec<_> = made.iter().filter(|one| one.seq == 1).cloned().collect();
        assert!(starts(&first)[1] >= 11_000, "a retry is not early after a death: {:?}", starts(&first));
        assert!(made.iter().all(|one| one.in_flight <= 2));
    });
}

#[test]
fn one_death_after_another_loses_nothing() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200).after(millis(100)));
        let hooks = start_with(endpoint("crm").in_flight(4), &receiver).await;
        let key = hooks.endpoint(&id("crm")).map(|endpoint| endpoint.key).unwrap();
        for _ in 0..20 {
            publish(&hooks, 20).await;
            pass(millis(730)).await;
            kill_delivery(&hooks, key).await;
            look(&hooks).await;
        }
        assert_eq!(settled(&hooks).await.deliveries.delivered, 400);
        assert_eq!(attempts(&receiver.made()).len(), 400);
    });
}

#[test]
fn a_transport_that_cannot_be_made_at_first_is_made_again() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let (made, tries) = (receiver.factory(), AtomicU32::new(0));
        let factory = move || match tries.fetch_add(1, Ordering::Relaxed) {
            0..3 => panic!("no transport yet"),
            _ => made(),
        };
        let hooks =
            testing::start_here(Hookmill::builder().endpoint(endpoint("crm")).transport(factory)).await.unwrap();
        publish(&hooks, 10).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 10);
        assert_eq!(attempts(&receiver.made()), (1..=10).map(|seq| (seq, 1)).collect());
    });
}

#[test]
fn a_death_does_not_close_the_breaker() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::fails(FailureKind::Connect));
        let hooks = start_with(Endpoint::http("crm", "https://crm.example/"), &receiver).await;
        publish(&hooks, 100).await;
        pass(seconds(1)).await;
        let before = receiver.made().len();
        let key = hooks.endpoint(&id("crm")).unwrap().key;
        assert!(kill_delivery(&hooks, key).await);
        pass(seconds(28)).await;
        let delivery = hooks.standing(&id("crm")).await.unwrap().delivery.unwrap();
        assert_eq!((delivery.breaker, receiver.made().len()), (Shown::Open, before));
        // The cooldown is over; a failed probe opens it for twice as long, as if nothing had happened.
        pass(seconds(2)).await;
        assert_eq!(receiver.made().len(), before + 1);
        pass(seconds(58)).await;
        assert_eq!(receiver.made().len(), before + 1);
        pass(seconds(2)).await;
        assert_eq!(receiver.made().len(), before + 2);
        assert_eq!(look(&hooks).await.deliveries.pending, 100);
    });
}

#[test]
fn what_an_outage_put_off_comes_forward_after_it_also_when_a_delivery_dies_between() {
    paused(async {
        let works = Switch::default();
        let seen = works.clone();
        let receiver = ScriptedTransport::new(move |_| match seen.is_on() {
            true => Script::status(200).after(SECOND),
            false => Script::fails(FailureKind::Connect),
        });
        let policy = json!({"retry": {"delays": ["10h"], "jitter": 0}});
        let hooks = start_with(endpoint("crm").settings(policy), &receiver).await;
        publish(&hooks, 100).await;
        pass(seconds(1)).await;
        works.on();
        // The probe succeeds after 30 seconds.
        until(&hooks, |totals| totals.deliveries.delivered > 0).await;
        let key = hooks.endpoint(&id("crm")).unwrap().key;
        assert!(kill_delivery(&hooks, key).await);
        assert_eq!(settled(&hooks).await.deliveries.delivered, 100);
        assert!(receiver.made().iter().all(|one| one.at < Mono::default().after(seconds(100))));
    });
}

#[test]
fn a_death_just_before_the_end_does_not_cost_what_waits() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200).after(millis(100)));
        let hooks = start_with(endpoint("crm").in_flight(1), &receiver).await;
        publish(&hooks, 10).await;
        pass(millis(250)).await;
        let key = hooks.endpoint(&id("crm")).unwrap().key;
        assert!(kill_delivery(&hooks, key).await);
        pass(millis(10)).await;
        let report = hooks.shutdown(seconds(10)).await;
        assert_eq!((report.delivered, report.abandoned), (8, 0));
    });
}

#[test]
fn what_a_death_at_the_end_leaves_behind_is_counted() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200).after(millis(100)));
        let hooks = start_with(endpoint("crm").in_flight(1), &receiver).await;
        publish(&hooks, 10).await;
        let key = hooks.endpoint(&id("crm")).unwrap().key;
        let (report, _) = tokio::join!(hooks.shutdown(seconds(10)), async {
            pass(millis(250)).await;
            kill_delivery(&hooks, key).await
        });
        assert_eq!(report.delivered + report.abandoned, 10);
        assert!(report.delivered >= 2);
        let made = receiver.made().len();
        pass(HOUR).await;
        assert_eq!(receiver.made().len(), made);
    });
}
