//! Requests for several deliveries.

use super::bench::*;
use crate::store::*;

fn request(events: &[Arc<Accepted>], number: u32) -> Option<Arc<BatchRequest>> {
    let (first, last) = (events.first().unwrap().seq, events.last().unwrap().seq);
    let size = u32::try_from(events.len()).unwrap();
    Some(Arc::new(BatchRequest { id: format!("batch_{first}"), size, name: (first, 0, number), last }))
}

fn settle_all(bench: &Bench, events: &[Arc<Accepted>], endpoint: EndpointKey, attempt: &AttemptRecord, next: Next) {
    let batch = request(events, attempt.number);
    let settlement = |event: &Arc<Accepted>| {
        let attempt = AttemptRecord { batch: batch.clone(), ..attempt.clone() };
        Settlement { delivery: delivery(event, endpoint), attempt: Some(attempt), spent: 1, next, at: at(9) }
    };
    bench.store.settle_batch(events.iter().map(settlement).collect());
}

fn attempts(bench: &Bench, event: &Accepted) -> Vec<AttemptRow> {
    get(bench.store.event_attempts(event.seq, AttemptPage::of(99)))
}

pub(in crate::store) fn a_batch_is_read_from_each_of_its_events(bench: &Bench) {
    let (endpoint, other) = (bench.endpoint("e"), bench.endpoint("other"));
    let events: Vec<_> = (0..3).map(|n| bench.routed(&format!("e{n}"), &[endpoint, other])).collect();
    settle_all(bench, &events, endpoint, &success(1, 5), Next::Delivered);
    bench.settle(delivery(&events[0], other), success(1, 6), Next::Delivered);
    let expected = InBatch { id: "batch_1".to_owned(), size: 3 };
    for event in &events {
        let shown = attempts(bench, event).remove(0);
        assert_eq!((shown.status, shown.batch.as_ref()), (Some(200), Some(&expected)));
        assert!(shown.response.is_empty() && shown.error.is_none());
    }
    assert_eq!(attempts(bench, &events[0])[1].batch, None);
    let of_endpoint = get(bench.store.endpoint_attempts(endpoint, AttemptPage::of(9)));
    assert!(of_endpoint.len() == 3 && of_endpoint.iter().all(|row| row.batch.as_ref() == Some(&expected)));
    assert_eq!(bench.totals().deliveries.delivered, 4);
}

pub(in crate::store) fn a_batch_that_failed_shows_its_answer_everywhere(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let events: Vec<_> = (0..3).map(|n| bench.routed(&format!("e{n}"), &[endpoint])).collect();
    get(bench.store.flush());
    settle_all(bench, &events, endpoint, &attempt(1, 5), retry(60));
    for event in &events {
        let shown = attempts(bench, event).remove(0);
        assert_eq!((shown.error.as_deref(), &shown.response[..]), (Some("unavailable"), &b"go away"[..]));
        assert_eq!(shown.batch.map(|batch| batch.size), Some(3));
    }
    assert_eq!(bench.detail("e1").deliveries[0].last_error.as_deref(), Some("unavailable"));
    settle_all(bench, &events, endpoint, &attempt(2, 60), DEAD);
    assert_eq!(bench.totals().deliveries.dead_lettered, 3);
    assert_eq!(attempts(bench, &events[2]).iter().filter(|row| row.batch.is_some()).count(), 2);
    assert_eq!(bench.dead_letters(DeadLetterFilter { limit: 9, ..Default::default() }).len(), 3);
}

pub(in crate::store) fn a_delivery_may_be_in_one_batch_after_another(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let events: Vec<_> = (0..4).map(|n| bench.routed(&format!("e{n}"), &[endpoint])).collect();
    settle_all(bench, &events, endpoint, &attempt(1, 5), retry(5));
    let (first, second) = events.split_at(2);
    settle_all(bench, first, endpoint, &success(2, 6), Next::Delivered);
    settle_all(bench, second, endpoint, &attempt(2, 7), retry(70));
    bench.settle(delivery(&events[3], endpoint), success(3, 70), Next::Delivered);
    let of = |event| -> Vec<_> {
        let rows = attempts(bench, event).into_iter();
        rows.map(|row| row.batch.map(|batch| (batch.id, batch.size))).collect()
    };
    let batch = |seq: u64, size| Some((format!("batch_{seq}"), size));
    assert_eq!(of(&events[1]), [batch(1, 4), batch(1, 2)]);
    assert_eq!(of(&events[3]), [batch(1, 4), batch(3, 2), None]);
}
