//! Scenarios about how much may wait for an endpoint.

use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, channel},
};

use super::bench::*;
use crate::{
    endpoint::queue::{QueuePolicy, WhenFull},
    event::Event,
    store::*,
};

/// Routes one more event to an endpoint with these bounds; answers once that is written.
fn route(bench: &Bench, id: &str, endpoint: EndpointKey, queue: QueuePolicy) -> DeliveryId {
    let event = bench.accept(event(id, "t"));
    bench.judge(&event, Ruling::Routed(vec![Target { queue, ..target(endpoint) }]));
    get(bench.store.flush());
    delivery(&event, endpoint)
}

fn items(max_items: u64, when_full: WhenFull) -> QueuePolicy {
    QueuePolicy { max_items, when_full, ..QueuePolicy::default() }
}

/// Hears of what is dropped; knows what is in flight.
fn watch(bench: &Bench) -> (Arc<Flights>, Receiver<Vec<DeliveryId>>) {
    let (flights, (told, heard)) = (Arc::<Flights>::default(), channel());
    let told = std::sync::Mutex::new(told);
    bench.store.watch_queues(Arc::clone(&flights), Box::new(move |ids| told.lock().unwrap().send(ids).unwrap()));
    (flights, heard)
}

fn seqs(bench: &Bench, endpoint: EndpointKey) -> Vec<u64> {
    bench.pending(endpoint).into_iter().map(|(seq, _)| seq).collect()
}

fn full(bench: &Bench) -> u64 {
    bench.totals().deliveries.dropped.get("queue_full").copied().unwrap_or(0)
}

pub(in crate::store) fn a_queue_drops_the_oldest_beyond_its_items(bench: &Bench) {
    let (_, heard) = watch(bench);
    for (max, when_full) in [(1, WhenFull::DropOldest), (3, WhenFull::Spill)] {
        let endpoint = bench.endpoint(&format!("e{max}"));
        let routed: Vec<_> =
            (0..5).map(|n| route(bench, &format!("{max}-{n}"), endpoint, items(max, when_full))).collect();
        let kept = routed.len() - usize::try_from(max).unwrap();
        assert_eq!(seqs(bench, endpoint), routed[kept..].iter().map(|id| id.seq).collect::<Vec<_>>());
        assert_eq!(heard.try_iter().flatten().collect::<Vec<_>>(), routed[..kept]);
        let row = bench.detail(&format!("{max}-0")).deliveries.remove(0);
        assert_eq!((row.state, row.reason.as_deref()), (DeliveryState::Dropped, Some("queue_full")));
        let totals = get(bench.store.endpoint_totals(endpoint)).0;
        assert_eq!((totals.pending, totals.dropped["queue_full"]), (max, 5 - max));
    }
    assert_eq!(full(bench), 4 + 2);
}

pub(in crate::store) fn a_queue_that_drops_the_newest_keeps_what_waits(bench: &Bench) {
    let (_, heard) = watch(bench);
    let endpoint = bench.endpoint("e");
    let routed: Vec<_> =
        (0..5).map(|n| route(bench, &n.to_string(), endpoint, items(3, WhenFull::DropNewest))).collect();
    assert_eq!(seqs(bench, endpoint), [1, 2, 3]);
    assert_eq!(heard.try_iter().flatten().collect::<Vec<_>>(), routed[3..]);
    bench.settle(routed[1], success(1, 5), Next::Delivered);
    route(bench, "next", endpoint, items(3, WhenFull::DropNewest));
    assert_eq!(seqs(bench, endpoint), [1, 3, 6]);
    assert_eq!(full(bench), 2);
}

pub(in crate::store) fn a_queue_drops_beyond_its_bytes(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let publish = |id: &str, size: usize, max_bytes| {
        let event = bench.accept(Event::from_json("t", format!("\"{}\"", "x".repeat(size - 2))).id(id));
        let queue = QueuePolicy { max_bytes, when_full: WhenFull::DropOldest, ..QueuePolicy::default() };
        bench.judge(&event, Ruling::Routed(vec![Target { queue, ..target(endpoint) }]));
        get(bench.store.flush());
        delivery(&event, endpoint)
    };
    let bound = 3 * (256 + 100);
    let first = publish("a", 100, bound);
    publish("b", 100, bound);
    publish("c", 100, bound);
    assert_eq!(seqs(bench, endpoint), [1, 2, 3], "exactly so much may wait");
    publish("d", 101, bound);
    assert_eq!(seqs(bench, endpoint), [3, 4], "one byte too many, and the next oldest is larger than that");
    // What ends in whatever way takes no room any more.
    bench.settle(first, success(1, 5), Next::Delivered);
    bench.settle(DeliveryId { seq: 3, ..first }, attempt(1, 5), DEAD);
    get(bench.store.replay(DeliveryId { seq: 3, ..first }));
    let cancel = CancelFilter { endpoint: Some(endpoint), ..CancelFilter::default() };
    get(bench.store.cancel(CancelStep { filter: cancel, dry_run: false, after: None }));
    for id in ["e", "f", "g"] {
        publish(id, 100, bound);
    }
    assert_eq!(seqs(bench, endpoint), [5, 6, 7]);
    publish("h", 2000, bound);
    assert!(seqs(bench, endpoint).is_empty(), "what never fits never waits");
}

pub(in crate::store) fn what_is_in_flight_neither_counts_nor_is_dropped(bench: &Bench) {
    let (flights, heard) = watch(bench);
    let endpoint = bench.endpoint("e");
    let one = items(1, WhenFull::DropOldest);
    let first = route(bench, "a", endpoint, one);
    let flying = flights.start(first);
    let other = flights.start(DeliveryId { endpoint: EndpointKey(9999), ..first });
    route(bench, "b", endpoint, one);
    assert_eq!(seqs(bench, endpoint), [1, 2]);
    route(bench, "c", endpoint, one);
    assert_eq!(seqs(bench, endpoint), [1, 3]);
    drop((flying, other));
    route(bench, "d", endpoint, one);
    assert_eq!(seqs(bench, endpoint), [4]);
    assert_eq!(heard.try_iter().flatten().map(|id| id.seq).collect::<Vec<_>>(), [2, 1, 3]);
    // An attempt for what is settled already makes no room.
    bench.settle(DeliveryId { seq: 4, ..first }, success(1, 5), Next::Delivered);
    let _late = flights.start(DeliveryId { seq: 4, ..first });
    route(bench, "e", endpoint, one);
    route(bench, "f", endpoint, one);
    assert_eq!(seqs(bench, endpoint), [6]);
}

pub(in crate::store) fn nothing_falls_off_for_what_does_not_wait(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let first = route(bench, "a", endpoint, items(2, WhenFull::DropOldest));
    bench.settle(first, attempt(1, 5), DEAD);
    route(bench, "b", endpoint, items(2, WhenFull::DropOldest));
    get(bench.store.replay(first));
    let suppressed = bench.accept(event("c", "t"));
    let (disposition, queue) = (Disposition::Suppress, items(1, WhenFull::DropOldest));
    bench.judge(&suppressed, Ruling::Routed(vec![Target { disposition, queue, ..target(endpoint) }]));
    get(bench.store.flush());
    assert_eq!(seqs(bench, endpoint), [1, 2], "as replays have left it");
    assert_eq!(full(bench), 0);
}

pub(in crate::store) fn what_was_dropped_in_flight_may_still_arrive(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let one = items(1, WhenFull::Spill);
    let [arrives, fails, _] = ["a", "b", "c"].map(|id| route(bench, id, endpoint, one));
    bench.settle(fails, attempt(1, 5), retry(60));
    bench.settle(arrives, success(1, 5), Next::Delivered);
    bench.settle(arrives, success(1, 5), Next::Delivered);
    let totals = bench.totals().deliveries;
    assert_eq!((totals.pending, totals.delivered, full(bench)), (1, 1, 1));
    assert_eq!(bench.detail("b").deliveries[0].state, DeliveryState::Dropped);
    route(bench, "d", endpoint, items(2, WhenFull::Spill));
    assert_eq!(seqs(bench, endpoint), [3, 4], "what arrived takes no room");
}

pub(in crate::store) fn lower_bounds_hold_from_the_next_verdict_on(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    for n in 0..10 {
        route(bench, &n.to_string(), endpoint, QueuePolicy::default());
    }
    assert_eq!(seqs(bench, endpoint).len(), 10);
    route(bench, "newest", endpoint, items(4, WhenFull::DropNewest));
    assert_eq!(seqs(bench, endpoint), (1..=10).collect::<Vec<_>>(), "what waits already stays");
    route(bench, "oldest", endpoint, items(4, WhenFull::DropOldest));
    assert_eq!(seqs(bench, endpoint), [8, 9, 10, 12]);
}

pub(in crate::store) fn what_is_released_together_with_later_events_is_bounded_too(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let queue = items(1, WhenFull::DropNewest);
    let held = bench.accept(event("held", "t"));
    bench.judge(&held, Ruling::Held);
    route(bench, "first", endpoint, queue);
    let later = bench.accept(event("later", "t"));
    let routed = |event: &Arc<Accepted>, released_at| {
        let ruling = Ruling::Routed(vec![Target { queue, ..target(endpoint) }]);
        Verdict { event: Arc::clone(event), ruling, debounced: Debounced::default(), released_at, permit: None }
    };
    bench.store.record(vec![routed(&later, None), routed(&held, Some(at(9)))]);
    assert_eq!((seqs(bench, endpoint), full(bench)), (vec![2], 2), "whoever comes, by whatever seq");
    assert!(bench.totals().add_up());
}

pub(in crate::store) fn whoever_comes_first_takes_the_room(bench: &Bench) {
    let (_, heard) = watch(bench);
    let endpoint = bench.endpoint("e");
    // Room for three small ones, of 258 bytes, or for one beside the large one.
    let queue = QueuePolicy { max_items: 3, max_bytes: 900, when_full: WhenFull::DropNewest };
    let held = ["a", "b"].map(|id| {
        let event = bench.accept(event(id, "t"));
        bench.judge(&event, Ruling::Held);
        event
    });
    let waits = route(bench, "waits", endpoint, queue);
    let large = bench.accept(Event::from_json("t", format!("\"{}\"", "x".repeat(400))).id("large"));
    let small = bench.accept(event("small", "t"));
    let routed = |event: &Arc<Accepted>, released_at| {
        let ruling = Ruling::Routed(vec![Target { queue, ..target(endpoint) }]);
        Verdict { event: Arc::clone(event), ruling, debounced: Debounced::default(), released_at, permit: None }
    };
    bench.store.record(vec![
        routed(&held[1], Some(at(9))),
        routed(&large, None),
        routed(&small, None),
        routed(&held[0], Some(at(9))),
    ]);
    assert_eq!(seqs(bench, endpoint), [2, waits.seq, small.seq], "the large one, and then the last, found no room");
    let dropped: Vec<_> = heard.try_iter().flatten().map(|id| id.seq).collect();
    assert_eq!(dropped, [large.seq, 1]);
    assert!(bench.totals().add_up());
}

pub(in crate::store) fn retries_and_replays_take_room_too(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let two = items(2, WhenFull::DropOldest);
    let [first, second] = ["a", "b"].map(|id| route(bench, id, endpoint, two));
    bench.settle(first, attempt(1, 5), DEAD);
    bench.settle(second, attempt(1, 5), retry(60));
    get(bench.store.replay(first));
    assert_eq!(bench.pending(endpoint), [(1, 1), (2, 0)]);
    route(bench, "c", endpoint, two);
    route(bench, "d", endpoint, two);
    assert_eq!(bench.pending(endpoint), [(3, 0), (4, 0)]);
    assert_eq!(full(bench), 2);
}

/// Routes events with these keys, in one group.
fn keyed(bench: &Bench, endpoint: EndpointKey, keys: impl Iterator<Item = Option<&'static str>>) {
    let events = keys.enumerate().map(|(n, key)| {
        let event = event(&n.to_string(), "t");
        if let Some(key) = key { event.key(key) } else { event }
    });
    bench.publish(&events.collect::<Vec<_>>()).unwrap();
    for event in bench.sunk.lock().unwrap().iter() {
        bench.judge(event, Ruling::Routed(vec![target(endpoint)]));
    }
}

pub(in crate::store) fn pages_leave_keys_out_and_look_at_so_many_only(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let many = super::super::rows::LOOKED_AT;
    let keys = [None, Some("b")].into_iter().chain(std::iter::repeat_n(Some("a"), many + 1)).chain([Some("b"), None]);
    keyed(bench, endpoint, keys);
    let last = u64::try_from(many).unwrap() + 2;
    let page = |after, items| {
        let without = BTreeSet::from(["a".into(), "x".into()]);
        bench.page(endpoint, Cursor::Keyed { after, without }, items)
    };
    let first = page(None, 1);
    assert_eq!((places(&first), first.end, first.through), (vec![(1, 0)], false, Some((1, 0))));
    let second = page(first.through, 100);
    assert_eq!((places(&second), second.end, second.through), (vec![(2, 0)], false, Some((last, 0))));
    let third = page(second.through, 100);
    assert_eq!((places(&third), third.end), (vec![(last + 2, 0), (last + 3, 0)], true));
    assert_eq!(third.through, Some((last + 3, 0)));
    let exactly = page(second.through, 2);
    assert_eq!((places(&exactly).len(), exactly.end), (2, true));
}

pub(in crate::store) fn pages_of_one_key(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    keyed(bench, endpoint, [Some("a"), Some("b"), None, Some("a"), Some("a"), Some("b"), Some("a")].into_iter());
    let [one, four] = [1, 4].map(|seq| DeliveryId { seq, endpoint, run: 0 });
    bench.settle(four, attempt(1, 5), retry(60));
    bench.settle(one, attempt(1, 5), DEAD);
    get(bench.store.replay(one));
    let page = |after, items| bench.page(endpoint, Cursor::OfKey { key: "a".into(), after }, items);
    let first = page(None, 2);
    assert_eq!((places(&first), first.end), (vec![(1, 1), (4, 0)], false));
    let second = page(Some((4, 0)), 2);
    assert_eq!((places(&second), second.end), (vec![(5, 0), (7, 0)], true));
    assert_eq!(page(Some((7, 0)), 2).rows.len(), 0);
    assert_eq!(first.rows[1].due, Some(at(60)));
}
