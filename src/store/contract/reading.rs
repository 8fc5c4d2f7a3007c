//! Pages and lists: what is read back, and in which order.

use std::time::Duration;

use super::bench::*;
use crate::store::*;

pub(in crate::store) fn fresh_pages_follow_each_other(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let events: Vec<_> = (0..5).map(|n| bench.routed(&format!("e{n}"), &[endpoint])).collect();
    bench.settle(delivery(&events[1], endpoint), attempt(1, 5), retry(60));
    let first = bench.page(endpoint, Cursor::Fresh(None), 3);
    assert_eq!((places(&first), first.end), (vec![(1, 0), (3, 0), (4, 0)], false));
    let last = bench.page(endpoint, Cursor::Fresh(Some((4, 0))), 3);
    assert_eq!((places(&last), last.end), (vec![(5, 0)], true));
    let exact = bench.page(endpoint, Cursor::Fresh(Some((3, 0))), 2);
    assert_eq!((places(&exact), exact.end), (vec![(4, 0), (5, 0)], true));
    let none = bench.page(endpoint, Cursor::Fresh(Some((5, 0))), 3);
    assert!(none.rows.is_empty() && none.end);
}

pub(in crate::store) fn retry_pages_follow_each_other(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let dues = [60, 30, 60, 60, 10];
    for (n, due) in dues.into_iter().enumerate() {
        let event = bench.routed(&format!("e{n}"), &[endpoint]);
        bench.settle(delivery(&event, endpoint), attempt(1, 5), retry(due));
    }
    bench.routed("fresh", &[endpoint]);
    let page = |from, after, items| {
        let page = bench.page(endpoint, Cursor::Retries { from: at(from), after }, items);
        (places(&page), page.end)
    };
    assert_eq!(page(0, None, 3), (vec![(5, 0), (2, 0), (1, 0)], false));
    assert_eq!(page(60, Some((1, 0)), 9), (vec![(3, 0), (4, 0)], true));
    assert_eq!(page(30, Some((9, 0)), 9), (vec![(1, 0), (3, 0), (4, 0)], true));
    assert_eq!(page(31, None, 9), (vec![(1, 0), (3, 0), (4, 0)], true));
    assert_eq!(page(61, None, 9), (vec![], true));
}

pub(in crate::store) fn strict_pages_hold_all(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let events: Vec<_> = (0..4).map(|n| bench.routed(&format!("e{n}"), &[endpoint])).collect();
    bench.settle(delivery(&events[1], endpoint), attempt(1, 5), retry(60));
    bench.settle(delivery(&events[0], endpoint), attempt(1, 5), DEAD);
    get(bench.store.replay(delivery(&events[0], endpoint)));
    let first = bench.page(endpoint, Cursor::InOrder(None), 2);
    assert_eq!((places(&first), first.end), (vec![(1, 1), (2, 0)], false));
    let rest = bench.page(endpoint, Cursor::InOrder(Some((2, 0))), 2);
    assert_eq!((places(&rest), rest.end), (vec![(3, 0), (4, 0)], true));
    assert!(places(&bench.page(EndpointKey(99), Cursor::InOrder(None), 2)).is_empty());
}

pub(in crate::store) fn pages_are_bounded_by_bytes(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let weight = bench.routed("a", &[endpoint]).weight();
    bench.routed("b", &[endpoint]);
    bench.routed("c", &[endpoint]);
    for cursor in [Cursor::Fresh(None), Cursor::InOrder(None)] {
        for (bytes, rows) in [(0, 1), (1, 1), (weight, 1), (weight + 1, 2), (2 * weight, 2), (3 * weight, 3)] {
            let request = PageRequest { endpoint, cursor: cursor.clone(), items: 9, bytes };
            let page = page(bench.store.as_ref(), request).unwrap();
            assert_eq!((page.rows.len(), page.end), (rows, rows == 3), "{bytes} bytes");
        }
    }
}

pub(in crate::store) fn lists_of_events_are_bounded_by_bytes(bench: &Bench) {
    let weight = bench.routed("a", &[]).weight();
    bench.routed("b", &[]);
    bench.routed("c", &[]);
    for (bytes, rows) in
        [(0, 0), (1, 1), (weight, 1), (weight + 1, 2), (2 * weight, 2), (3 * weight, 3), (9 * weight, 3)]
    {
        let filter = EventFilter { limit: 9, bytes: Some(bytes), ..EventFilter::default() };
        let seqs: Vec<_> = get(bench.store.events(filter)).iter().map(|row| row.event.seq).collect();
        assert_eq!(seqs, [3, 2, 1][..rows], "{bytes} bytes");
    }
}

pub(in crate::store) fn an_event_shows_its_deliveries(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    let event = bench.routed("a", &[two, one]);
    bench.settle(delivery(&event, one), attempt(1, 5), DEAD);
    get(bench.store.replay(delivery(&event, one)));
    let detail = bench.detail("a");
    assert_eq!((detail.state, detail.event.seq), (EventState::Routed, event.seq));
    let rows: Vec<_> = detail.deliveries.iter().map(|row| (row.endpoint.as_str(), row.id.run, row.state)).collect();
    let (dead, pending) = (DeliveryState::DeadLettered, DeliveryState::Pending);
    assert_eq!(rows, [("one", 0, dead), ("one", 1, pending), ("two", 0, pending)]);
    assert_eq!(detail.deliveries[0].reason.as_deref(), Some("exhausted"));
}

pub(in crate::store) fn attempts_of_an_event_oldest_first(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    let event = bench.routed("a", &[one, two]);
    bench.settle(delivery(&event, one), attempt(1, 5), retry(60));
    bench.settle(delivery(&event, two), success(1, 6), Next::Delivered);
    bench.settle(delivery(&event, one), attempt(2, 60), retry(90));
    bench.settle(delivery(&event, one), success(3, 90), Next::Delivered);
    let rows = get(bench.store.event_attempts(event.seq, AttemptPage::of(99)));
    let shown: Vec<_> = rows.iter().map(|row| (row.endpoint.as_str(), row.number, row.at, row.status)).collect();
    let (failed, ok) = (Some(503), Some(200));
    let expected =
        [("one", 1, at(5), failed), ("two", 1, at(6), ok), ("one", 2, at(60), failed), ("one", 3, at(90), ok)];
    assert_eq!(shown, expected);
    assert_eq!((rows[0].outcome.as_str(), rows[0].error.as_deref()), ("5xx", Some("unavailable")));
    assert_eq!((rows[1].outcome.as_str(), rows[1].error.as_deref()), ("2xx", None));
    assert!(rows.iter().all(|row| row.duration == Duration::from_millis(250)));
    assert!(rows.iter().all(|row| row.event.as_ref() == Some(&event.id)));
    let page = |past: usize, limit| {
        let past = past.checked_sub(1).map(|last| rows[last].place());
        get(bench.store.event_attempts(event.seq, AttemptPage { within: None, past, limit }))
    };
    assert_eq!((page(0, 3), page(3, 3), page(4, 3)), (rows[..3].to_vec(), rows[3..].to_vec(), vec![]));
}

pub(in crate::store) fn responses_are_kept_for_failures_only(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let [a, b] = ["a", "b"].map(|id| bench.routed(id, &[endpoint]));
    bench.settle(delivery(&a, endpoint), success(1, 5), Next::Delivered);
    bench.settle(delivery(&b, endpoint), attempt(1, 5), retry(60));
    bench.settle(delivery(&b, endpoint), success(2, 60), Next::Delivered);
    let responses = |seq| -> Vec<_> {
        get(bench.store.event_attempts(seq, AttemptPage::of(99))).into_iter().map(|row| row.response).collect()
    };
    assert_eq!(responses(a.seq), [""]);
    assert_eq!(responses(b.seq), ["go away", ""]);
}

pub(in crate::store) fn attempts_of_an_endpoint_newest_event_first(bench: &Bench) {
    let (endpoint, other) = (bench.endpoint("e"), bench.endpoint("other"));
    let [a, b, c, _untried] = ["a", "b", "c", "d"].map(|id| bench.routed(id, &[endpoint, other]));
    bench.settle(delivery(&a, endpoint), success(1, 50), Next::Delivered);
    bench.settle(delivery(&b, endpoint), attempt(1, 5), retry(6));
    bench.settle(delivery(&b, endpoint), attempt(2, 6), DEAD);
    get(bench.store.replay(delivery(&b, endpoint)));
    bench.settle(DeliveryId { run: 1, ..delivery(&b, endpoint) }, success(1, 9), Next::Delivered);
    bench.settle(delivery(&c, endpoint), success(1, 3), Next::Delivered);
    bench.settle(delivery(&c, other), success(1, 3), Next::Delivered);
    let list = |past: Option<(u64, u32, u32)>, limit| -> Vec<_> {
        let past = past.map(|(seq, run, number)| {
            let delivery = DeliveryId { seq, endpoint, run };
            AttemptPlace { at: at(0), delivery, number }
        });
        let rows = get(bench.store.endpoint_attempts(endpoint, AttemptPage { within: None, past, limit }));
        rows.iter().map(|row| (row.delivery.seq, row.delivery.run, row.number)).collect()
    };
    assert_eq!(list(None, 9), [(3, 0, 1), (2, 1, 1), (2, 0, 2), (2, 0, 1), (1, 0, 1)]);
    assert_eq!(list(None, 1), [(3, 0, 1)]);
    assert_eq!(list(None, 3), [(3, 0, 1), (2, 1, 1), (2, 0, 2)], "the limit counts attempts");
    assert_eq!(list(Some((2, 0, 2)), 9), [(2, 0, 1), (1, 0, 1)], "a page goes on within a delivery");
    assert_eq!(list(Some((2, 1, 1)), 1), [(2, 0, 2)]);
    assert!(list(Some((1, 0, 1)), 9).is_empty());
}

pub(in crate::store) fn events_are_filtered(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    bench
        .publish(&[event("a", "x.one"), event("b", "x.two").tenant("t"), event("c", "y"), event("d", "x.one")])
        .unwrap();
    let events = bench.sunk.lock().unwrap().clone();
    bench.judge(&events[0], Ruling::Routed(vec![target(endpoint)]));
    bench.judge(&events[1], Ruling::Unmatched);
    bench.judge(&events[2], Ruling::Suppressed);
    let all = || EventFilter { limit: 9, ..Default::default() };
    let list = |filter| -> Vec<_> { get(bench.store.events(filter)).iter().map(|row| row.event.seq).collect() };
    assert_eq!(list(all()), [4, 3, 2, 1]);
    assert_eq!(list(EventFilter { limit: 2, ..all() }), [4, 3]);
    assert_eq!(list(EventFilter { before: Some(3), ..all() }), [2, 1]);
    assert_eq!(list(EventFilter { topic: Some("x.*".parse().unwrap()), ..all() }), [4, 2, 1]);
    assert_eq!(list(EventFilter { topic: Some("x.one".parse().unwrap()), ..all() }), [4, 1]);
    assert_eq!(list(EventFilter { topic: Some("*".parse().unwrap()), limit: 1, ..all() }), [4]);
    assert_eq!(list(EventFilter { tenant: Some("t".parse().unwrap()), ..all() }), [2]);
    let states = [EventState::Routed, EventState::Unmatched, EventState::Suppressed, EventState::Unrouted];
    assert_eq!(states.map(|state| list(EventFilter { state: Some(state), ..all() })), [[1], [2], [3], [4]]);
    assert_eq!(list(EventFilter { delivery: Some(DeliveryState::Pending), ..all() }), [1]);
    assert_eq!(list(EventFilter { delivery: Some(DeliveryState::Delivered), ..all() }), [0; 0]);
    let (first, past) = (events[0].accepted_at, events[3].accepted_at.after(Duration::from_millis(1)));
    assert_eq!(list(EventFilter { since: Some(first), until: Some(past), ..all() }), [4, 3, 2, 1]);
    assert_eq!(list(EventFilter { since: Some(past), ..all() }), [0; 0]);
    assert_eq!(list(EventFilter { until: Some(first), ..all() }), [0; 0]);
    let shown: Vec<_> = get(bench.store.events(all())).iter().map(|row| row.state).rev().collect();
    assert_eq!(shown, states);
}
