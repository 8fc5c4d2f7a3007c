//! Scenarios about deliveries that are given up on request, and dead letters that are purged.

use super::bench::*;
use crate::store::*;

fn cancel(bench: &Bench, filter: CancelFilter) -> CancelledStep {
    get(bench.store.cancel(CancelStep { filter, dry_run: false, after: None }))
}

pub(in crate::store) fn cancelling_drops_what_is_pending(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    let event = bench.routed("a", &[one, two]);
    bench.routed("b", &[one]);
    bench.settle(delivery(&event, one), attempt(1, 5), retry(60));
    let dry = CancelStep { dry_run: true, ..CancelStep::default() };
    let found = get(bench.store.cancel(dry));
    assert_eq!((found.matched, found.endpoints, found.next), (3, vec![one, two], None));
    assert_eq!(bench.totals().deliveries.pending, 3);

    let done = cancel(bench, CancelFilter { endpoint: Some(one), ..CancelFilter::default() });
    assert_eq!((done.matched, done.endpoints, done.next), (2, vec![one], None));
    assert!(bench.pending(one).is_empty());
    assert_eq!(bench.pending(two), [(1, 0)]);
    let totals = bench.totals().deliveries;
    assert_eq!((totals.pending, totals.dropped["cancelled"]), (1, 2));
    let row = bench.detail("a").deliveries.remove(0);
    assert_eq!(
        (row.state, row.reason.as_deref(), row.next_attempt_at),
        (DeliveryState::Dropped, Some("cancelled"), None)
    );
    assert_eq!(get(bench.store.endpoint_totals(one)).0.dropped["cancelled"], 2);
    assert_eq!(cancel(bench, CancelFilter::default()).matched, 1);
    assert_eq!(cancel(bench, CancelFilter::default()), CancelledStep::default());
}

pub(in crate::store) fn cancelling_asks_for_topic_and_time(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    for topic in ["a.x", "a.y", "b"] {
        let event = bench.accept(event(topic.replace('.', "-").as_str(), topic));
        bench.judge(&event, Ruling::Routed(vec![target(endpoint)]));
    }
    let found = |topic: Option<&str>, until| {
        let topic = topic.map(|topic| topic.parse().unwrap());
        let filter = CancelFilter { topic, until, ..CancelFilter::default() };
        get(bench.store.cancel(CancelStep { filter, dry_run: true, after: None })).matched
    };
    assert_eq!((found(Some("a.*"), None), found(Some("b"), None), found(Some("*"), None)), (2, 1, 3));
    assert_eq!((found(None, Some(at(0))), found(None, Some(Timestamp::from_millis(0)))), (3, 0));
    cancel(bench, CancelFilter { topic: Some("a.*".parse().unwrap()), ..CancelFilter::default() });
    assert_eq!(bench.pending(endpoint), [(3, 0)]);
}

pub(in crate::store) fn cancelling_goes_in_steps(bench: &Bench) {
    let endpoints = [bench.endpoint("one"), bench.endpoint("two")];
    let ids: Vec<_> = (0..300).map(|n| event(&format!("e{n}"), "t")).collect();
    bench.publish(&ids).unwrap();
    for event in bench.sunk.lock().unwrap().iter() {
        bench.judge(event, Ruling::Routed(endpoints.map(target).into()));
    }
    for dry_run in [true, false] {
        let first = get(bench.store.cancel(CancelStep { dry_run, ..CancelStep::default() }));
        let second = get(bench.store.cancel(CancelStep { dry_run, after: first.next, ..CancelStep::default() }));
        assert_eq!((first.matched, second.matched, second.next), (500, 100, None));
        assert_eq!((first.endpoints, second.endpoints), (endpoints.to_vec(), endpoints[1..].to_vec()));
    }
    assert_eq!(bench.totals().deliveries.dropped["cancelled"], 600);
}

pub(in crate::store) fn what_was_cancelled_in_flight_may_still_arrive(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let [arrives, fails] = ["a", "b"].map(|id| bench.routed(id, &[endpoint]));
    cancel(bench, CancelFilter::default());
    bench.settle(delivery(&fails, endpoint), attempt(1, 5), retry(60));
    bench.settle(delivery(&fails, endpoint), attempt(1, 5), DEAD);
    bench.settle(delivery(&arrives, endpoint), success(1, 5), Next::Delivered);
    bench.settle(delivery(&arrives, endpoint), success(1, 5), Next::Delivered);
    let totals = bench.totals().deliveries;
    assert_eq!((totals.pending, totals.delivered, totals.dropped["cancelled"], totals.dead_lettered), (0, 1, 1, 0));
    assert_eq!(bench.detail("a").deliveries[0].state, DeliveryState::Delivered);
    assert_eq!(bench.detail("b").deliveries[0].state, DeliveryState::Dropped);
    assert!(bench.pending(endpoint).is_empty());
}
