//! Scenarios about deliveries that an endpoint's own debounce holds.

use super::bench::*;
use crate::{
    endpoint::queue::{QueuePolicy, WhenFull},
    store::*,
};

fn held(endpoint: EndpointKey) -> Target {
    Target { disposition: Disposition::Hold, ..target(endpoint) }
}

/// Publishes one new event that this endpoint holds.
fn hold(bench: &Bench, id: &str, endpoint: EndpointKey) -> Arc<Accepted> {
    let event = bench.accept(event(id, "t"));
    bench.judge(&event, Ruling::Routed(vec![held(endpoint)]));
    event
}

fn release(bench: &Bench, delivery: DeliveryId, second: i64, suppressed: u64) {
    let released = vec![Released { delivery, at: at(second), suppressed }];
    bench.store.keep_debounced(Debounced { released, ..Debounced::default() });
}

/// Pending, suppressed, delivered, dropped.
fn counts(bench: &Bench) -> [u64; 4] {
    let DeliveryTotals { pending, suppressed, delivered, dropped, .. } = bench.totals().deliveries;
    [pending, suppressed, delivered, dropped.values().sum()]
}

fn state(bench: &Bench, id: &str) -> DeliveryState {
    bench.detail(id).deliveries[0].state
}

pub(in crate::store) fn an_endpoint_may_hold_for_itself_alone(bench: &Bench) {
    let (one, other) = (bench.endpoint("one"), bench.endpoint("other"));
    let event = bench.accept(event("a", "t"));
    bench.judge(&event, Ruling::Routed(vec![held(one), target(other)]));
    assert_eq!((bench.pending(one), bench.pending(other)), (vec![], vec![(event.seq, 0)]));
    assert_eq!((bench.totals().routed, counts(bench)), (1, [2, 0, 0, 0]));
    assert_eq!(state(bench, "a"), DeliveryState::Pending);
    let (totals, oldest) = get(bench.store.endpoint_totals(one));
    assert_eq!((totals.pending, oldest), (1, None), "nothing there that could be attempted");
    bench.settle(delivery(&event, one), success(1, 5), Next::Delivered);
    assert_eq!(counts(bench), [2, 0, 0, 0], "no attempt is made at it");
    for cursor in [Cursor::Fresh(None), Cursor::Keyed { after: None, without: [].into() }] {
        assert!(bench.page(one, cursor, 9).rows.is_empty());
    }
    let filter = EventFilter { delivery: Some(DeliveryState::Pending), limit: 9, ..EventFilter::default() };
    bench.settle(delivery(&event, other), success(1, 5), Next::Delivered);
    assert_eq!(get(bench.store.events(filter)).len(), 1);
}

pub(in crate::store) fn what_an_endpoint_held_is_delivered_late(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let a = hold(bench, "a", endpoint);
    let b = bench.routed("b", &[endpoint]);
    release(bench, delivery(&a, endpoint), 70, 2);
    let row = bench.page(endpoint, Cursor::Fresh(None), 9).rows.remove(0);
    assert_eq!((row.event.seq, row.created_at, row.event.suppressed), (a.seq, at(70), 2));
    assert_eq!(
        get(bench.store.endpoint_totals(endpoint)).1,
        Some(b.accepted_at),
        "it is older, though its seq is higher"
    );
    bench.settle(delivery(&a, endpoint), attempt(1, 71), DEAD);
    release(bench, delivery(&a, endpoint), 72, 9);
    assert_eq!((counts(bench), state(bench, "a")), ([1, 0, 0, 0], DeliveryState::DeadLettered));
    get(bench.store.replay(delivery(&a, endpoint)));
    let carried = |page: Page| page.rows.iter().map(|row| row.event.suppressed).collect::<Vec<_>>();
    assert_eq!(carried(bench.page(endpoint, Cursor::InOrder(None), 9)), [2, 0], "a replay says the same");
}

pub(in crate::store) fn a_later_one_suppresses_what_an_endpoint_held(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let a = hold(bench, "a", endpoint);
    let b = bench.accept(event("b", "t"));
    let muted = Debounced { muted: vec![delivery(&a, endpoint)], ..Debounced::default() };
    let ruling = Ruling::Routed(vec![held(endpoint)]);
    let verdict = Verdict { event: Arc::clone(&b), ruling, debounced: muted.clone(), released_at: None, permit: None };
    bench.store.record(vec![verdict]);
    assert_eq!(counts(bench), [1, 1, 0, 0]);
    assert_eq!(["a", "b"].map(|id| state(bench, id)), [DeliveryState::Suppressed, DeliveryState::Pending]);
    release(bench, delivery(&a, endpoint), 9, 0);
    release(bench, delivery(&b, endpoint), 9, 1);
    bench.store.keep_debounced(muted);
    assert_eq!((bench.pending(endpoint), counts(bench)), (vec![(b.seq, 0)], [1, 1, 0, 0]));
    let late = Debounced { muted: vec![delivery(&b, endpoint)], ..Debounced::default() };
    bench.store.keep_debounced(late);
    assert_eq!(counts(bench), [1, 1, 0, 0], "it is not held any more");
}

pub(in crate::store) fn what_an_endpoint_holds_is_there_for_recovery(bench: &Bench) {
    let (one, other) = (bench.endpoint("one"), bench.endpoint("other"));
    let mut a = bench.accept(event("a", "t"));
    Arc::make_mut(&mut a).suppressed = 3;
    bench.judge(&a, Ruling::Routed(vec![held(one), held(other)]));
    let b = hold(bench, "b", one);
    let held = |event: &Accepted, endpoint, carries| HeldDelivery { delivery: delivery(event, endpoint), carries };
    let loaded = get(bench.store.load());
    assert_eq!(loaded.held_deliveries, [held(&a, one, 3), held(&a, other, 3), held(&b, one, 0)]);
    assert_eq!((loaded.pending, loaded.held.len()), (vec![one, other], 0));
    release(bench, delivery(&a, one), 9, 0);
    assert_eq!(get(bench.store.load()).held_deliveries, [held(&a, other, 3), held(&b, one, 0)]);
}

pub(in crate::store) fn what_an_endpoint_did_not_get_is_carried_there_alone(bench: &Bench) {
    let (one, other) = (bench.endpoint("one"), bench.endpoint("other"));
    let mut a = bench.accept(event("a", "t"));
    Arc::make_mut(&mut a).suppressed = 3;
    bench.judge(&a, Ruling::Routed(vec![Target { suppressed: 4, ..target(one) }, target(other)]));
    let carried = |endpoint| bench.page(endpoint, Cursor::Fresh(None), 9).rows[0].event.suppressed;
    assert_eq!([one, other].map(carried), [7, 3]);
    assert_eq!(bench.detail("a").event.suppressed, 3);
}

pub(in crate::store) fn what_is_held_is_cancelled_dropped_and_takes_room_like_what_is_pending(bench: &Bench) {
    let [cancelled, disabled, deleted, full] = ["a", "b", "c", "d"].map(|id| bench.endpoint(id));
    [cancelled, disabled, deleted].into_iter().for_each(|key| drop(hold(bench, &format!("to{}", key.0), key)));
    let filter = CancelFilter { endpoint: Some(cancelled), ..CancelFilter::default() };
    let step = CancelStep { filter, dry_run: false, after: None };
    assert_eq!(get(bench.store.cancel(step)).matched, 1);
    let drop_pending = Some(DropReason::EndpointDisabled);
    let change = EndpointChange { settings: "{}".to_owned(), state_changed: true, state_reason: None, drop_pending };
    get(bench.store.update_endpoint(disabled, change));
    hold(bench, "more", disabled);
    get(bench.store.delete_endpoint(deleted));
    [disabled, deleted].into_iter().for_each(|key| wait_until_dropped(bench.store.as_ref(), key));
    assert_eq!(counts(bench), [0, 0, 0, 4]);
    let queue = QueuePolicy { max_items: 1, when_full: WhenFull::DropOldest, ..QueuePolicy::default() };
    let event = hold(bench, "old", full);
    let newer = bench.accept(super::bench::event("new", "t"));
    bench.judge(&newer, Ruling::Routed(vec![Target { queue, ..target(full) }]));
    assert_eq!((bench.pending(full), counts(bench)), (vec![(newer.seq, 0)], [1, 0, 0, 5]));
    release(bench, delivery(&event, full), 9, 0);
    assert_eq!(counts(bench), [1, 0, 0, 5], "what was dropped stays so");
    assert!(get(bench.store.load()).held_deliveries.is_empty());
}

pub(in crate::store) fn a_failure_at_one_endpoint_is_told_apart(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    let event = bench.routed("a", &[one, two]);
    let waits = hold(bench, "b", one);
    let failed = |of| get(bench.store.failed(of, vec![event.seq, waits.seq, 99]));
    bench.settle(delivery(&event, one), attempt(1, 5), DEAD);
    assert_eq!([None, Some(one), Some(two)].map(failed), [vec![], vec![event.seq], vec![]]);
    bench.settle(delivery(&event, two), success(1, 5), Next::Delivered);
    assert_eq!([None, Some(one), Some(two)].map(failed), [vec![], vec![event.seq], vec![]]);
}

pub(in crate::store) fn what_is_about_to_be_dropped_has_failed(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    let (alone, both, waits) = (bench.routed("a", &[one]), bench.routed("b", &[one, two]), hold(bench, "c", one));
    let arrived = bench.routed("d", &[one]);
    bench.settle(delivery(&arrived, one), success(1, 5), Next::Delivered);
    let failed = || get(bench.store.failed(None, vec![alone.seq, both.seq, waits.seq, arrived.seq]));
    assert_eq!(failed(), [0; 0]);
    get(bench.store.delete_endpoint(one));
    assert_eq!(failed(), [alone.seq, waits.seq], "at once, however much is still to be dropped");
}
