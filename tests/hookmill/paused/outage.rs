//! A receiver that is down for an hour.

use hookmill::{
    Clock,
    clock::Mono,
    deliver::breaker::Shown,
    testing::{Script, paused},
    transport::FailureKind,
};

use super::*;

/// Ten failures open the breaker, and as many as were in flight may end after that. From then on there is one probe at the
/// end of each cooldown of 30, 60, 120, 240, 480 and then 600 seconds: nine in an hour.
const ATTEMPTS_IN_AN_HOUR: usize = 10 + 8 + 9;

#[test]
fn everything_of_an_hour_without_a_receiver_is_delivered_when_it_is_back() {
    paused(async {
        let (clock, back) = (Clock::system(), Mono::default().after(HOUR));
        let receiver = ScriptedTransport::new(move |_| match clock.now().mono < back {
            true => Script::fails(FailureKind::Connect),
            false => Script::status(200).after(millis(10)),
        });
        let hooks = start_with(Endpoint::http("crm", "https://crm.example/"), &receiver).await;
        publish(&hooks, 500).await;
        pass(HOUR / 2).await;
        let standing = hooks.standing(&id("crm")).await.unwrap();
        assert!(standing.totals.add_up());
        let delivery = standing.delivery.unwrap();
        assert_eq!((delivery.breaker, delivery.failing_since.is_some()), (Shown::Open, true));
        publish(&hooks, 500).await;

        let totals = settled(&hooks).await.deliveries;
        assert_eq!((totals.created, totals.delivered), (1000, 1000));
        let made = receiver.made();
        let during = made.iter().filter(|one| one.at < back).count();
        assert!((10..=ATTEMPTS_IN_AN_HOUR).contains(&during), "{during} attempts");
        assert_eq!(made.len() - during, 1000);
        // The longest cooldown, and the time that a thousand deliveries take.
        assert!(clock.now().mono < back.after(seconds(600 + 10)), "{:?}", clock.now());
        let delivery = hooks.standing(&id("crm")).await.unwrap().delivery.unwrap();
        assert_eq!((delivery.breaker, delivery.failing_since), (Shown::Closed, None));
    });
}

#[test]
fn what_the_receiver_asked_for_is_kept_to_after_an_outage() {
    paused(async {
        let clock = Clock::system();
        let receiver = ScriptedTransport::new(move |attempt| match (attempt.event().seq, attempt.number) {
            (1, 1) => Script::asks(429, hookmill::transport::RetryAfter::Delay(HOUR)),
            _ if clock.now().mono < Mono::default().after(seconds(60)) => Script::fails(FailureKind::Connect),
            _ => Script::status(200),
        });
        let hooks = start_with(Endpoint::http("crm", "https://crm.example/"), &receiver).await;
        publish(&hooks, 50).await;
        until(&hooks, |totals| totals.deliveries.delivered == 49).await;
        assert!(clock.now().mono < Mono::default().after(seconds(60 + 120)));
        settled(&hooks).await;
        let first: Vec<_> = receiver.made().into_iter().filter(|one| one.seq == 1).collect();
        assert_eq!(starts(&first), [0, 3_600_000]);
    });
}
