//! Scenarios about events that wait in debounce windows, and what is counted of them.

use super::bench::*;
use crate::store::*;

fn verdict(event: &Arc<Accepted>, ruling: Ruling, debounced: Debounced, released_at: Option<Timestamp>) -> Verdict {
    Verdict { event: Arc::clone(event), ruling, debounced, released_at, permit: None }
}

fn hold(bench: &Bench, id: &str) -> Arc<Accepted> {
    let event = bench.accept(event(id, "t"));
    bench.judge(&event, Ruling::Held);
    event
}

fn release(bench: &Bench, event: &Arc<Accepted>, ruling: Ruling, second: i64) {
    bench.store.record(vec![verdict(event, ruling, Debounced::default(), Some(at(second)))]);
}

fn counts(bench: &Bench) -> [u64; 5] {
    let totals = bench.totals();
    [totals.debouncing, totals.coalesced, totals.suppressed, totals.unmatched, totals.routed]
}

fn state(bench: &Bench, id: &str) -> EventState {
    bench.detail(id).state
}

fn change(key: &str, suppressed: u64, held: Option<u64>) -> WindowChange {
    let held = held.map(|seq| HeldSlot { seq, since: at(3) });
    let slot = WindowSlot { from: Some(at(5)), suppressed, held, taken_by: held.map(|held| held.seq + 1) };
    WindowChange { rule: "r".to_owned(), key: key.to_owned(), slot: Some(slot) }
}

pub(in crate::store) fn a_held_event_is_judged_and_released_later(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let [a, b] = ["a", "b"].map(|id| hold(bench, id));
    let c = bench.routed("c", &[endpoint]);
    assert_eq!(counts(bench), [2, 0, 0, 0, 1]);
    assert_eq!((state(bench, "a"), bench.totals().unrouted), (EventState::Debouncing, 0));
    release(bench, &a, Ruling::Routed(vec![target(endpoint)]), 70);
    release(bench, &b, Ruling::Unmatched, 71);
    release(bench, &b, Ruling::Routed(vec![target(endpoint)]), 72);
    assert_eq!(counts(bench), [0, 0, 0, 1, 2]);
    assert_eq!(["a", "b"].map(|id| state(bench, id)), [EventState::Routed, EventState::Unmatched]);
    assert_eq!(bench.pending(endpoint), [(a.seq, 0), (c.seq, 0)]);
    assert_eq!(get(bench.store.load()).judged_through, 3);
    assert!(get(bench.store.unjudged(0, 9)).is_empty());
}

pub(in crate::store) fn a_released_event_is_delivered_at_once_or_pending_since_then(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let [a, b] = ["a", "b"].map(|id| hold(bench, id));
    let young = Timestamp::from_millis(i64::MAX / 2);
    let routed = || Ruling::Routed(vec![target(endpoint)]);
    bench.store.record(vec![
        verdict(&b, routed(), Debounced::default(), Some(young)),
        verdict(&a, routed(), Debounced::default(), Some(at(70))),
    ]);
    bench.settle(delivery(&a, endpoint), success(1, 71), Next::Delivered);
    let row = bench.page(endpoint, Cursor::Fresh(None), 9).rows.remove(0);
    assert_eq!((row.event.seq, row.created_at), (b.seq, young));
    let totals = bench.totals().deliveries;
    assert_eq!((totals.created, totals.delivered, totals.pending), (2, 1, 1));
    let oldest = || get(bench.store.endpoint_totals(endpoint)).1;
    assert_eq!(oldest(), Some(young));
    let c = bench.routed("c", &[endpoint]);
    assert_eq!(oldest(), Some(c.accepted_at), "it is older, though its seq is higher");
}

pub(in crate::store) fn a_later_one_replaces_a_held_one(bench: &Bench) {
    let a = hold(bench, "a");
    let b = bench.accept(event("b", "t"));
    let debounced = Debounced { coalesced: vec![(a.seq, "r".to_owned())], ..Debounced::default() };
    bench.store.record(vec![verdict(&b, Ruling::Held, debounced.clone(), None)]);
    assert_eq!(counts(bench), [1, 1, 0, 0, 0]);
    assert_eq!(["a", "b"].map(|id| state(bench, id)), [EventState::Coalesced, EventState::Debouncing]);
    release(bench, &a, Ruling::Unmatched, 9);
    let c = bench.accept(event("c", "t"));
    bench.store.record(vec![verdict(&c, Ruling::Unmatched, debounced, None)]);
    assert_eq!(counts(bench), [1, 1, 0, 1, 0], "what is coalesced stays so");
    let filter = EventFilter { state: Some(EventState::Coalesced), limit: 9, ..EventFilter::default() };
    assert_eq!(get(bench.store.events(filter)).len(), 1);
}

pub(in crate::store) fn what_a_window_holds_is_there_for_recovery(bench: &Bench) {
    let a = bench.accept(event("a", "t"));
    bench.judge_with(&a, Ruling::Held, vec![change("k", 2, Some(1))]);
    hold(bench, "b");
    let loaded = get(bench.store.load());
    assert_eq!(loaded.windows, [change("k", 2, Some(1))]);
    assert_eq!(loaded.held.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(format!("{:?}", loaded.held[0]), format!("{a:?}"));
    release(bench, &a, Ruling::Unmatched, 9);
    assert_eq!(get(bench.store.load()).held.len(), 1);
}

pub(in crate::store) fn windows_change_in_the_order_of_the_calls(bench: &Bench) {
    let windows = || get(bench.store.load()).windows;
    let gone = || WindowChange { slot: None, ..change("k", 0, None) };
    bench.store.keep_windows(vec![change("k", 1, None)]);
    let a = bench.accept(event("a", "t"));
    bench.judge_with(&a, Ruling::Unmatched, vec![change("k", 2, None)]);
    assert_eq!(windows(), [change("k", 2, None)]);
    let b = bench.accept(event("b", "t"));
    bench.judge_with(&b, Ruling::Held, vec![change("k", 3, None)]);
    bench.store.keep_windows(vec![gone()]);
    assert_eq!(windows(), []);
    bench.store.keep_windows(vec![gone()]);
    release(bench, &b, Ruling::Unmatched, 9);
    bench.store.keep_windows(vec![change("k", 4, None)]);
    let c = bench.accept(event("c", "t"));
    bench.judge_with(&c, Ruling::Unmatched, vec![change("k", 5, None)]);
    assert_eq!(windows(), [change("k", 5, None)]);
}

pub(in crate::store) fn what_an_event_carries_comes_back_with_it(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let carrying = |id: &str, count| {
        let mut event = bench.accept(event(id, "t"));
        Arc::make_mut(&mut event).suppressed = count;
        event
    };
    let a = carrying("a", 3);
    bench.judge(&a, Ruling::Routed(vec![target(endpoint)]));
    let mut b = carrying("b", 1);
    bench.judge(&b, Ruling::Held);
    assert_eq!(get(bench.store.load()).held[0].suppressed, 1);
    Arc::make_mut(&mut b).suppressed = 4;
    release(bench, &b, Ruling::Routed(vec![target(endpoint)]), 9);
    let carried: Vec<_> =
        bench.page(endpoint, Cursor::Fresh(None), 9).rows.iter().map(|row| row.event.suppressed).collect();
    assert_eq!((carried, bench.detail("a").event.suppressed), (vec![3, 4], 3));
}

pub(in crate::store) fn rules_count_what_they_suppress_and_replace(bench: &Bench) {
    get(bench.store.put_rule("r".to_owned(), Some("{}".to_owned())));
    let a = hold(bench, "a");
    let [b, c] = ["b", "c"].map(|id| bench.accept(event(id, "t")));
    let coalesced = vec![(a.seq, "r".to_owned())];
    let windows = vec![change("k", 0, Some(b.seq)), change("l", 0, None)];
    bench.store.record(vec![
        verdict(&b, Ruling::Held, Debounced { coalesced, windows, ..Debounced::default() }, None),
        verdict(
            &c,
            Ruling::Suppressed,
            Debounced { suppressed_by: Some("r".to_owned()), ..Debounced::default() },
            None,
        ),
    ]);
    let counted = RuleTotals { suppressed: 1, coalesced: 1, keys: 2, held: 1 };
    assert_eq!(get(bench.store.rule_totals()), [("r".to_owned(), counted)].into());
    get(bench.store.put_rule("r".to_owned(), Some("[]".to_owned())));
    let changed = RuleTotals { keys: 0, held: 0, ..counted };
    assert_eq!(get(bench.store.rule_totals()), [("r".to_owned(), changed)].into());
    get(bench.store.put_rule("r".to_owned(), None));
    assert!(get(bench.store.rule_totals()).is_empty());
    assert_eq!(counts(bench), [1, 1, 1, 0, 0]);
}

/// A delivery that the endpoint's own debounce suppresses.
fn muted(endpoint: EndpointKey) -> Target {
    Target { disposition: Disposition::Suppress, ..target(endpoint) }
}

pub(in crate::store) fn an_endpoint_may_suppress_for_itself_alone(bench: &Bench) {
    let (one, other) = (bench.endpoint("one"), bench.endpoint("other"));
    let event = bench.accept(event("a", "t"));
    bench.judge(&event, Ruling::Routed(vec![muted(one), target(other)]));
    assert_eq!((bench.pending(one), bench.pending(other)), (vec![], vec![(event.seq, 0)]));
    bench.settle(delivery(&event, one), success(1, 5), Next::Delivered);
    let totals = bench.totals();
    assert_eq!((totals.suppressed, totals.routed), (0, 1), "the event itself is not suppressed");
    let DeliveryTotals { created, suppressed, pending, delivered, .. } = totals.deliveries;
    assert_eq!((created, suppressed, pending, delivered), (2, 1, 1, 0));
    let of_endpoint = |key| get(bench.store.endpoint_totals(key)).0.suppressed;
    assert_eq!([one, other].map(of_endpoint), [1, 0]);
    let shown = bench.detail("a");
    assert_eq!((shown.state, shown.deliveries[0].state), (EventState::Routed, DeliveryState::Suppressed));
    assert_eq!((&shown.deliveries[0].reason, shown.deliveries[0].attempts), (&None, 0));
    let filter = EventFilter { delivery: Some(DeliveryState::Suppressed), limit: 9, ..EventFilter::default() };
    assert_eq!(get(bench.store.events(filter)).len(), 1);
    assert_eq!(get(bench.store.replay(delivery(&event, one))), ReplayOutcome::Unknown);
    get(bench.store.delete_endpoint(one));
    assert_eq!(get(bench.store.endpoint_totals(one)).0.suppressed, 1);
}

pub(in crate::store) fn a_suppressed_delivery_neither_fails_nor_succeeds(bench: &Bench) {
    let (one, other) = (bench.endpoint("one"), bench.endpoint("other"));
    let [alone, beside] = ["a", "b"].map(|id| bench.accept(event(id, "t")));
    bench.judge(&alone, Ruling::Routed(vec![muted(one)]));
    bench.judge(&beside, Ruling::Routed(vec![muted(one), target(other)]));
    let failed = || get(bench.store.failed(None, vec![alone.seq, beside.seq]));
    assert_eq!(failed(), [0; 0]);
    bench.settle(delivery(&beside, other), attempt(1, 5), DEAD);
    assert_eq!(failed(), [beside.seq]);
}

pub(in crate::store) fn an_event_has_failed_when_no_delivery_can_arrive_any_more(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    let event = bench.routed("a", &[one, two]);
    let unmatched = bench.accept(super::bench::event("b", "t"));
    bench.judge(&unmatched, Ruling::Unmatched);
    let failed = || get(bench.store.failed(None, vec![9, unmatched.seq, event.seq]));
    bench.settle(delivery(&event, one), attempt(1, 5), DEAD);
    assert_eq!(failed(), [0; 0]);
    bench.settle(delivery(&event, two), attempt(1, 5), Next::Dropped(DropReason::Exhausted));
    assert_eq!(failed(), [event.seq]);
    get(bench.store.replay(delivery(&event, one)));
    assert_eq!(failed(), [0; 0], "a replay may arrive");
}
