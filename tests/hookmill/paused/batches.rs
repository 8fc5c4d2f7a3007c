//! Batches through all actors.

use hookmill::{
    store::{AttemptPage, AttemptRow},
    testing::{Script, paused, store},
    transport::FailureKind,
};
use serde_json::Value;

use super::*;

/// An endpoint with batches of at most `max_items` that waits two seconds for company.
fn batched(max_items: u64, more: Value) -> EndpointBuilder {
    endpoint("crm").settings(json!({"batch": {"max_items": max_items, "flush_interval": "2s"}})).settings(more)
}

fn contents(made: &[Made]) -> Vec<Vec<u64>> {
    made.iter().map(|one| one.seqs.clone()).collect()
}

fn taker() -> ScriptedTransport {
    ScriptedTransport::new(|_| Script::status(200).after(millis(10)))
}

async fn attempts_of(hooks: &Hookmill, seq: u64) -> Vec<AttemptRow> {
    store(hooks).event_attempts(seq, AttemptPage::of(99)).await.unwrap()
}

#[test]
fn a_full_batch_goes_at_once_and_a_partial_one_after_the_interval_to_the_millisecond() {
    paused(async {
        let receiver = taker();
        let hooks = start_with(batched(3, json!({})), &receiver).await;
        publish(&hooks, 4).await;
        pass(millis(500)).await;
        publish(&hooks, 1).await;
        let totals = settled(&hooks).await;
        let made = receiver.made();
        assert_eq!(contents(&made), [vec![1, 2, 3], vec![4, 5]]);
        assert_eq!(starts(&made), [0, 2000]);
        assert_eq!(totals.deliveries.delivered, 5);
        assert!(made.iter().all(|one| one.in_flight == 1));
    });
}

#[test]
fn bytes_fill_a_batch_too() {
    paused(async {
        let receiver = taker();
        let hooks = start_with(batched(100, json!({"batch": {"max_bytes": 3000}})), &receiver).await;
        for _ in 0..5 {
            hooks.publish(Event::new("a.b", &"x".repeat(1000)).unwrap()).await.unwrap();
        }
        settled(&hooks).await;
        assert_eq!(contents(&receiver.made()), [vec![1, 2], vec![3, 4], vec![5]]);
    });
}

#[test]
fn a_failed_batch_goes_back_in_front_as_it_was() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| {
            Script::status(if attempt.event().seq == 1 && attempt.number < 3 { 500 } else { 200 })
        });
        let hooks = start_with(batched(3, json!({})), &receiver).await;
        publish(&hooks, 3).await;
        pass(millis(100)).await;
        publish(&hooks, 4).await;
        settled(&hooks).await;
        let made = receiver.made();
        let first = vec![1, 2, 3];
        assert_eq!(contents(&made), [first.clone(), first.clone(), first, vec![4, 5, 6], vec![7]]);
        assert_eq!(starts(&made)[..3], [0, 1000, 3000]);
    });
}

#[test]
fn a_refused_batch_is_halved_until_the_poison_stands_alone() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| {
            let poisoned = attempt.events.iter().any(|event| event.seq == 6);
            Script::status(if poisoned { 422 } else { 200 }).after(millis(10))
        });
        let hooks = start_with(batched(8, json!({})), &receiver).await;
        publish(&hooks, 8).await;
        let totals = settled(&hooks).await;
        let expected = [
            vec![1, 2, 3, 4, 5, 6, 7, 8],
            vec![1, 2, 3, 4],
            vec![5, 6, 7, 8],
            vec![5, 6],
            vec![5],
            vec![6],
            vec![7, 8],
        ];
        assert_eq!(contents(&receiver.made()), expected);
        assert_eq!(starts(&receiver.made()), [0, 10, 20, 30, 40, 50, 60]);
        assert_eq!((totals.deliveries.delivered, totals.deliveries.dead_lettered), (7, 1));
        let letters = dead_letters(&hooks).await;
        assert_eq!((letters[0].id.seq, letters[0].reason.as_str(), letters[0].attempts), (6, "not_retried", 4));
        let sizes: Vec<_> = attempts_of(&hooks, 6).await.iter().map(|row| row.batch.as_ref().unwrap().size).collect();
        assert_eq!(sizes, [8, 4, 2, 1]);
        let of_another = attempts_of(&hooks, 1).await;
        let statuses: Vec<_> = of_another.iter().map(|row| row.status.unwrap()).collect();
        assert_eq!(statuses, [422, 200]);
        assert!(of_another[1].batch.as_ref().is_some_and(|batch| batch.id.starts_with("batch_") && batch.size == 4));
    });
}

#[test]
fn an_event_that_cannot_be_written_hurts_no_other() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| {
            let unrenderable = attempt.events.iter().any(|event| event.seq == 2);
            if unrenderable { Script::fails(FailureKind::Unrenderable) } else { Script::status(200) }
        });
        let hooks = start_with(batched(4, json!({})), &receiver).await;
        publish(&hooks, 4).await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.deliveries.delivered, totals.deliveries.dead_lettered), (3, 1));
        assert_eq!(dead_letters(&hooks).await[0].id.seq, 2);
        // Nothing was sent for what was taken apart: one attempt each.
        for seq in 1..=4 {
            assert_eq!(attempts_of(&hooks, seq).await.len(), 1);
        }
    });
}

#[test]
fn a_backlog_drains_at_full_speed() {
    paused(async {
        let receiver = taker();
        let hooks = start_with(batched(100, json!({})), &receiver).await;
        hooks.patch_endpoint(&id("crm"), &json!({"state": "paused"}), None).await.unwrap();
        hooks.publish_all((0..1050).map(|_| event("a.b")).collect()).await.unwrap();
        pass(HOUR).await;
        hooks.patch_endpoint(&id("crm"), &json!({"state": "active"}), None).await.unwrap();
        settled(&hooks).await;
        let made = receiver.made();
        let sizes: Vec<_> = made.iter().map(|one| one.seqs.len()).collect();
        assert_eq!(sizes, [&[100; 10][..], &[50]].concat());
        assert!(made.iter().flat_map(|one| one.seqs.clone()).eq(1..=1050));
        assert_eq!(starts(&made), (0..11).map(|n| n * 10).collect::<Vec<_>>());
    });
}

#[test]
fn an_end_in_memory_waits_for_no_company() {
    paused(async {
        let receiver = taker();
        let hooks = start_with(batched(100, json!({})), &receiver).await;
        publish(&hooks, 5).await;
        let report = hooks.shutdown(seconds(1)).await;
        assert_eq!((report.delivered, report.abandoned), (5, 0));
        assert_eq!(contents(&receiver.made()), [vec![1, 2, 3, 4, 5]]);
    });
}

#[test]
fn where_a_shutdown_waits_for_nothing_what_waits_for_company_stays() {
    paused(async {
        let receiver = taker();
        let hooks = start_with(batched(100, json!({"drain": "0s"})), &receiver).await;
        publish(&hooks, 2).await;
        pass(millis(10)).await;
        let report = hooks.shutdown(seconds(5)).await;
        assert_eq!((report.delivered, report.abandoned, receiver.made().len()), (0, 2, 0));
    });
}

#[test]
fn batches_begin_and_end_while_events_flow() {
    paused(async {
        let receiver = taker();
        let hooks = start(Hookmill::builder(), &receiver).await;
        let single = json!({"url": "https://crm.example/", "signing": {"type": "none"}, "in_flight": 1});
        hooks.create_endpoint(Some(id("crm")), &single).await.unwrap();
        publish(&hooks, 2).await;
        settled(&hooks).await;
        hooks.patch_endpoint(&id("crm"), &json!({"batch": {"max_items": 3}}), None).await.unwrap();
        publish(&hooks, 4).await;
        pass(millis(100)).await;
        hooks.patch_endpoint(&id("crm"), &json!({"batch": null}), None).await.unwrap();
        publish(&hooks, 1).await;
        settled(&hooks).await;
        assert_eq!(contents(&receiver.made()), [vec![1], vec![2], vec![3, 4, 5], vec![6], vec![7]]);
        assert!(attempts_of(&hooks, 7).await[0].batch.is_none());
    });
}

#[test]
fn a_test_delivery_is_a_batch_of_one() {
    paused(async {
        let receiver = taker();
        let hooks = start_with(batched(3, json!({})), &receiver).await;
        let tested = hooks.test_endpoint(&id("crm"), hookmill::pipeline::Trial::default()).await.unwrap();
        assert!(tested.delivered && receiver.made()[0].seqs.len() == 1);
    });
}
