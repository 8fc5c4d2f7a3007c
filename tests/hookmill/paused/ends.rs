//! Shutdown where there is no disk.

use hookmill::{
    Clock, PublishError,
    testing::{Script, paused},
};

use super::*;

#[test]
fn what_waits_is_delivered_within_the_deadline() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq, attempt.number) {
            (1, 1) => Script::status(500),
            _ => Script::status(200).after(millis(100)),
        });
        let hooks = start_with(endpoint("crm").in_flight(2), &receiver).await;
        publish(&hooks, 1).await;
        settled_but(&hooks, 1).await;
        publish(&hooks, 20).await;
        let clock = Clock::system();
        let report = hooks.shutdown(seconds(20)).await;
        assert_eq!((report.delivered, report.cancelled, report.kept, report.abandoned), (21, 0, 0, 0));
        let took = clock.now().mono.since(hookmill::clock::Mono::default());
        assert!(took <= millis(1200), "it ends as soon as nothing waits: {took:?}");
    });
}

/// Waits until no more than `left` are not delivered.
async fn settled_but(hooks: &Hookmill, left: u64) {
    until(hooks, |totals| totals.unrouted + totals.deliveries.in_flight == 0 && totals.deliveries.pending == left)
        .await;
}

#[test]
fn an_attempt_that_does_not_end_is_cut_off_at_the_deadline_and_none_starts_after_it() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.endpoint.id.as_str() {
            "stuck" => Script::stuck(),
            "refuses" => Script::status(500),
            _ => Script::status(200).after(millis(300)),
        });
        let builder = Hookmill::builder().endpoint(endpoint("stuck").in_flight(1)).endpoint(endpoint("refuses"));
        let hooks = start(builder.endpoint(endpoint("good").in_flight(1)), &receiver).await;
        publish(&hooks, 10).await;
        receiver.until(|made| made.len() >= 12).await;
        let clock = Clock::system();
        let report = hooks.shutdown(seconds(2)).await;
        assert_eq!(clock.now().mono.since(hookmill::clock::Mono::default()), seconds(2));
        // Of `good` six are through and one is cut off, of `stuck` one; all of `refuses` wait for their third attempt.
        assert_eq!((report.delivered, report.cancelled, report.abandoned), (6, 2, 10 + 10 + 4));
        let made = receiver.made();
        assert!(made.iter().all(|one| one.ended.is_some()));
        pass(HOUR).await;
        assert_eq!(receiver.made().len(), made.len());
    });
}

#[test]
fn a_paused_endpoint_does_not_hold_up_the_end() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        hooks.patch_endpoint(&id("crm"), &json!({"state": "paused"}), None).await.unwrap();
        publish(&hooks, 3).await;
        let clock = Clock::system();
        let report = hooks.shutdown(seconds(20)).await;
        assert_eq!((report.delivered, report.abandoned), (0, 3));
        assert!(clock.now().mono.since(hookmill::clock::Mono::default()) < seconds(1));
        assert!(receiver.made().is_empty());
    });
}

#[test]
fn nothing_is_taken_in_after_the_end() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish(&hooks, 1).await;
        // In the same turn: it is in the pipeline, and not lost on the way.
        let report = hooks.shutdown(seconds(1)).await;
        assert_eq!((report.delivered, report.abandoned), (1, 0));
        let refused = hooks.publish_all(vec![event("a"), event("b")]).await.unwrap_err();
        assert!(matches!(refused, PublishError::Closed { ref events } if events.len() == 2), "{refused:?}");
        hooks.emit(event("a"));
        let emitted = hooks.emitted();
        assert_eq!((emitted.admitted, emitted.refused), (0, 1));
        assert!(hooks.unready().is_some());
        pass(HOUR).await;
        assert_eq!(receiver.made().len(), 1);
    });
}

#[test]
fn what_is_emitted_before_the_end_is_delivered() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200).after(millis(10)));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        (0..100).for_each(|_| hooks.emit(event("a")));
        let report = hooks.shutdown(seconds(5)).await;
        assert_eq!((report.delivered, report.abandoned), (100, 0));
        assert_eq!(hooks.emitted().unsynced, 0);
    });
}

#[test]
fn a_second_shutdown_finds_nothing_to_do() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200).after(millis(10)));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        publish(&hooks, 5).await;
        assert_eq!(hooks.shutdown(seconds(5)).await.delivered, 5);
        let again = hooks.shutdown(seconds(5)).await;
        assert_eq!((again.delivered, again.cancelled, again.abandoned), (0, 0, 0));
    });
}

#[test]
fn an_endpoint_with_a_deadline_of_its_own_is_cut_off_by_then_and_others_go_on() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.event().seq {
            1 => Script::status(200).after(seconds(3)),
            _ => Script::stuck(),
        });
        let own = endpoint("daemon").in_flight(2).drain(seconds(5));
        let hooks = start(Hookmill::builder().endpoint(own).endpoint(endpoint("other").in_flight(2)), &receiver).await;
        publish(&hooks, 4).await;
        receiver.until(|made| made.len() == 4).await;
        let clock = Clock::system();
        let report = hooks.shutdown(seconds(20)).await;
        assert_eq!(clock.now().mono.since(hookmill::clock::Mono::default()), seconds(20));
        // Of each, one has come through; two others are cut off with one more that had started in its place.
        assert_eq!((report.delivered, report.cancelled, report.abandoned), (2, 4, 6));
        let made = receiver.made();
        let ends = |name: &str| {
            let made = made.iter().filter(|one| one.endpoint.as_str() == name);
            made.map(|one| one.ended.unwrap().since(one.at).as_secs()).collect::<Vec<_>>()
        };
        assert_eq!((ends("daemon"), ends("other")), (vec![3, 5, 2], vec![3, 20, 17]));
        pass(HOUR).await;
        assert_eq!(receiver.made().len(), made.len());
    });
}

#[test]
fn an_endpoint_that_waits_for_nothing_is_cut_off_at_once() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200).after(seconds(1)));
        let hooks = start_with(endpoint("attention").in_flight(8).drain(Duration::ZERO), &receiver).await;
        publish(&hooks, 20).await;
        receiver.until(|made| made.len() == 8).await;
        let clock = Clock::system();
        let report = hooks.shutdown(seconds(20)).await;
        assert_eq!(clock.now().mono.since(hookmill::clock::Mono::default()), Duration::ZERO);
        assert_eq!((report.delivered, report.cancelled, report.abandoned), (0, 8, 20));
        pass(HOUR).await;
        assert_eq!(receiver.made().len(), 8);
    });
}

#[test]
fn an_endpoint_never_has_longer_than_the_whole_shutdown() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::stuck());
        let hooks = start_with(endpoint("crm").drain(seconds(60)), &receiver).await;
        publish(&hooks, 1).await;
        receiver.until(|made| made.len() == 1).await;
        let clock = Clock::system();
        assert_eq!(hooks.shutdown(seconds(2)).await.cancelled, 1);
        assert_eq!(clock.now().mono.since(hookmill::clock::Mono::default()), seconds(2));
    });
}
