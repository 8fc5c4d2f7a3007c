//! Pending deliveries that are given up on request.

use hookmill::{
    store::CancelFilter,
    testing::{Script, paused},
};

use super::*;

async fn cancel(hooks: &Hookmill, topic: &str) -> u64 {
    let filter = CancelFilter { topic: Some(topic.parse().unwrap()), ..CancelFilter::default() };
    hooks.cancel_deliveries(filter, false).await.unwrap()
}

/// Events 1, 3, 5, … are for `odd`, the others for `even`.
async fn publish_both(hooks: &Hookmill, count: u64) {
    for n in 1..=count {
        hooks.publish(event(if n % 2 == 1 { "odd" } else { "even" })).await.unwrap();
    }
}

#[test]
fn what_was_cancelled_is_never_attempted_again_and_the_rest_goes_on() {
    for in_flight in [1, 4] {
        paused(async {
            let receiver = ScriptedTransport::new(|attempt| match attempt.number {
                1 => Script::status(500).after(millis(100)),
                _ => Script::status(200).after(millis(100)),
            });
            let breaker = json!({"in_flight": in_flight, "breaker": {"failures": 1000}});
            let hooks = start_with(endpoint("crm").settings(breaker), &receiver).await;
            publish_both(&hooks, 40).await;
            pass(millis(350)).await;
            let cancelled = cancel(&hooks, "odd").await;
            assert!(cancelled >= 18, "{cancelled}");
            let before = receiver.made().len();
            let totals = settled(&hooks).await;
            assert_eq!(totals.deliveries.delivered + totals.deliveries.dropped["cancelled"], 40);
            assert_eq!(totals.deliveries.dropped["cancelled"], cancelled);
            assert!(receiver.made()[before..].iter().all(|made| made.seq % 2 == 0), "in flight: {in_flight}");
        });
    }
}

#[test]
fn what_is_in_flight_is_delivered_all_the_same_if_it_arrives() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| {
            Script::status(if attempt.event().seq == 1 { 200 } else { 500 }).after(seconds(1))
        });
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish_both(&hooks, 2).await;
        receiver.until(|made| made.len() == 2).await;
        assert_eq!(hooks.cancel_deliveries(CancelFilter::default(), true).await.unwrap(), 2);
        assert_eq!(hooks.cancel_deliveries(CancelFilter::default(), false).await.unwrap(), 2);
        pass(seconds(60)).await;
        let totals = settled(&hooks).await.deliveries;
        assert_eq!((totals.delivered, totals.dropped["cancelled"]), (1, 1));
        assert_eq!(receiver.made().len(), 2);
    });
}

#[test]
fn a_long_backlog_is_cancelled_whole() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::hangs());
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish_both(&hooks, 2_400).await;
        hooks.cancel_deliveries(CancelFilter::default(), false).await.unwrap();
        let totals = settled(&hooks).await.deliveries;
        assert_eq!(totals.dropped["cancelled"], 2_400);
        let tried = receiver.made().len();
        pass(HOUR).await;
        assert_eq!(receiver.made().len(), tried);
    });
}
