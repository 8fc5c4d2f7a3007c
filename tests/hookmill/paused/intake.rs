//! Overload. Publishing does not wait for the pipeline, which has no turn here before the publisher gives it one.

use hookmill::{
    PublishError,
    testing::{Script, paused},
};

use super::*;

async fn start_small(receiver: &ScriptedTransport) -> Hookmill {
    start(Hookmill::builder().endpoint(endpoint("crm")).intake(10, 1 << 20), receiver).await
}

/// How many events came back with the refusal.
fn refused(result: Result<impl Sized, PublishError>) -> usize {
    match result {
        Err(PublishError::Overloaded { events, retry_after }) if !retry_after.is_zero() => events.len(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[test]
fn a_full_intake_refuses_at_once_and_takes_more_when_the_pipeline_has_caught_up() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_small(&receiver).await;
        publish(&hooks, 10).await;
        assert_eq!(refused(hooks.publish(event("a")).await), 1);
        hooks.emit(event("a"));
        assert_eq!(hooks.emitted().refused, 1);
        assert_eq!(look(&hooks).await.accepted, 10);
        settled(&hooks).await;
        publish(&hooks, 10).await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.accepted, totals.deliveries.delivered), (20, 20));
    });
}

#[test]
fn what_was_emitted_and_could_not_be_stored_is_counted() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_small(&receiver).await;
        hooks.publish(event("a").id("taken")).await.unwrap();
        for other in [event("b").id("taken"), event("b")] {
            hooks.emit(other);
        }
        settled(&hooks).await;
        let emitted = hooks.emitted();
        assert_eq!((emitted.admitted, emitted.refused, emitted.unsynced, emitted.lost), (2, 0, 0, 1));
        assert_eq!(look(&hooks).await.accepted, 2);
    });
}

#[test]
fn an_array_is_let_in_whole_or_not_at_all() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_small(&receiver).await;
        let array = |count| (0..count).map(|n| event("a").id(format!("event-{n}"))).collect::<Vec<_>>();
        publish(&hooks, 8).await;
        assert_eq!(refused(hooks.publish_all(array(3)).await), 3);
        assert_eq!(look(&hooks).await.accepted, 8);
        hooks.publish_all(array(2)).await.unwrap();
        let totals = settled(&hooks).await;
        assert_eq!((totals.accepted, totals.deliveries.delivered), (10, 10));
        // The refused one left nothing behind, no id either.
        let again = hooks.publish_all(array(3)).await.unwrap();
        assert_eq!(again.iter().map(|one| one.duplicate).collect::<Vec<_>>(), [true, true, false]);
        assert_eq!(settled(&hooks).await.accepted, 11);
    });
}

#[test]
fn an_array_with_a_mistake_is_refused_whole() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_small(&receiver).await;
        assert!(hooks.publish_all(vec![event("a"), event("not a topic")]).await.is_err());
        hooks.publish(event("a").id("taken")).await.unwrap();
        let conflict = hooks.publish_all(vec![event("a"), event("b").id("taken")]).await;
        assert!(matches!(conflict, Err(PublishError::Conflict { index: 1, .. })));
        assert_eq!(settled(&hooks).await.accepted, 1);
        // Refusals gave their places back.
        publish(&hooks, 10).await;
        assert_eq!(settled(&hooks).await.accepted, 11);
    });
}

#[test]
fn waiting_for_a_receiver_takes_no_place_in_the_intake() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::stuck());
        let hooks = start_small(&receiver).await;
        for _ in 0..100 {
            publish(&hooks, 10).await;
            until(&hooks, |totals| totals.unrouted == 0).await;
        }
        let totals = look(&hooks).await;
        assert_eq!((totals.accepted, totals.deliveries.pending + totals.deliveries.in_flight), (1000, 1000));
    });
}
