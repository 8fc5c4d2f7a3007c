use std::time::Duration;

use super::bench::*;
pub(in crate::store) use super::reading::*;
use crate::{event::Event, intake::Intake, store::*};

pub(in crate::store) fn seqs_are_gapless_and_duplicates_take_none(bench: &Bench) {
    assert_eq!(bench.publish(&[event("a", "t"), event("b", "t")]).unwrap()[1].seq, 2);
    let again = bench.publish(&[event("c", "t"), event("a", "t"), event("d", "t")]).unwrap();
    let seqs: Vec<_> = again.iter().map(|receipt| (receipt.id.as_str(), receipt.seq, receipt.duplicate)).collect();
    assert_eq!(seqs, [("c", 3, false), ("a", 1, true), ("d", 4, false)]);
    let totals = bench.totals();
    assert_eq!((totals.accepted, totals.unrouted), (4, 4));
}

pub(in crate::store) fn the_sink_gets_each_new_event_once_in_order(bench: &Bench) {
    for group in [["a", "b"], ["b", "c"], ["a", "c"], ["d", "d"]] {
        bench.publish(&group.map(|id| event(id, "t"))).unwrap();
    }
    let sunk: Vec<_> = bench.sunk.lock().unwrap().iter().map(|event| (event.seq, event.id.to_string())).collect();
    assert_eq!(sunk, [(1, "a".into()), (2, "b".into()), (3, "c".into()), (4, "d".into())]);
}

pub(in crate::store) fn a_conflict_refuses_the_whole_group(bench: &Bench) {
    bench.accept(event("a", "t").key("k"));
    for other in [event("a", "u").key("k"), event("a", "t"), Event::from_json("t", "{ }").id("a").key("k")] {
        let refused = bench.publish(&[event("new", "t"), other, event("newer", "t")]).unwrap_err();
        assert!(matches!(refused, AppendError::Conflict { id, index: 1 } if id.as_str() == "a"));
    }
    assert_eq!(bench.totals().accepted, 1);
    assert!(get(bench.store.event(None, "new".parse().unwrap())).is_none());
    assert_eq!(bench.accept(event("new", "t")).seq, 2);
}

pub(in crate::store) fn a_group_may_hold_duplicates_of_itself(bench: &Bench) {
    let receipts = bench.publish(&[event("a", "t"), event("a", "t"), event("b", "t")]).unwrap();
    let seqs: Vec<_> = receipts.iter().map(|receipt| (receipt.seq, receipt.duplicate)).collect();
    assert_eq!(seqs, [(1, false), (1, true), (2, false)]);
    assert_eq!(bench.sunk.lock().unwrap().len(), 2);
}

pub(in crate::store) fn a_group_that_contradicts_itself_is_refused(bench: &Bench) {
    let refused = bench.publish(&[event("a", "t"), event("a", "u")]).unwrap_err();
    assert!(matches!(refused, AppendError::Conflict { index: 1, .. }));
    assert_eq!(bench.totals().accepted, 0);
    assert_eq!(bench.accept(event("a", "u")).seq, 1);
}

pub(in crate::store) fn tenants_have_ids_of_their_own(bench: &Bench) {
    let receipts = bench.publish(&[event("a", "t"), event("a", "u").tenant("x"), event("a", "v").tenant("y")]);
    assert!(receipts.unwrap().iter().all(|receipt| !receipt.duplicate));
    let topic = |tenant: Option<&str>| {
        let tenant = tenant.map(|tenant| tenant.parse().unwrap());
        get(bench.store.event(tenant, "a".parse().unwrap())).map(|detail| detail.event.topic.to_string())
    };
    assert_eq!(topic(None).unwrap(), "t");
    assert_eq!(topic(Some("x")).unwrap(), "u");
    assert_eq!(topic(Some("z")), None);
}

pub(in crate::store) fn an_event_comes_back_as_it_went_in(bench: &Bench) {
    let event = Event::from_json("t", r#"{"b": 1.0, "a":1e0}"#).id("a").tenant("x").key("k").source("s");
    let sunk = bench.accept(event.timestamp(at(7)).metadata("m", 1));
    let read = get(bench.store.unjudged(0, 1)).remove(0);
    assert_eq!(format!("{sunk:?}"), format!("{read:?}"));
    assert_eq!(&read.data[..], br#"{"b": 1.0, "a":1e0}"#);
}

pub(in crate::store) fn permits_return_when_the_verdict_is_recorded(bench: &Bench) {
    let intake = Intake::new(10, 1000);
    let mut permits = intake.admit(None, [1, 1, 1].into_iter()).unwrap().into_iter();
    let group = ["a", "b", "b"].map(|id| Submission { permit: permits.next(), ..submit(&event(id, "t")) });
    publish(bench.store.as_ref(), group.into()).unwrap();
    assert_eq!(intake.waiting(), 0, "the bench gave back those of new events, the store that of the duplicate");

    let permit = intake.admit(None, [1].into_iter()).unwrap().pop();
    let event = Arc::clone(&bench.sunk.lock().unwrap()[0]);
    let (debounced, released_at) = (Debounced::default(), None);
    bench.store.record(vec![Verdict { event, ruling: Ruling::Unmatched, debounced, released_at, permit }]);
    get(bench.store.flush());
    assert_eq!(intake.waiting(), 0);
}

pub(in crate::store) fn a_verdict_and_its_outcome_at_once(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let event = bench.routed("a", &[endpoint]);
    bench.settle(delivery(&event, endpoint), success(1, 5), Next::Delivered);
    assert!(bench.pending(endpoint).is_empty());
    let totals = bench.totals();
    assert_eq!((totals.routed, totals.unrouted), (1, 0));
    assert_eq!((totals.deliveries.created, totals.deliveries.delivered), (1, 1));
    let row = bench.detail("a").deliveries.remove(0);
    assert_eq!((row.state, row.attempts, row.last_status), (DeliveryState::Delivered, 1, Some(200)));
}

pub(in crate::store) fn a_retry_then_delivered(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let event = bench.routed("a", &[endpoint]);
    let asked = Next::Retry { due: at(60), asked: true };
    let attempt = attempt(1, 5);
    let settlement =
        Settlement { delivery: delivery(&event, endpoint), attempt: Some(attempt), spent: 0, next: asked, at: at(6) };
    bench.store.settle(settlement);
    let row = bench.page(endpoint, Cursor::InOrder(None), 1).rows.remove(0);
    assert_eq!((row.attempts, row.spent, row.due, row.asked), (1, 0, Some(at(60)), true));
    assert_eq!(row.attempted_at, Some(at(5).after(Duration::from_millis(250))));
    assert_eq!(row.created_at, event.accepted_at);
    let shown = bench.detail("a").deliveries.remove(0);
    assert_eq!((shown.state, shown.next_attempt_at), (DeliveryState::Pending, Some(at(60))));
    assert_eq!((shown.last_status, shown.last_error.as_deref()), (Some(503), Some("unavailable")));

    bench.settle(delivery(&event, endpoint), success(2, 70), Next::Delivered);
    assert!(bench.pending(endpoint).is_empty());
    let shown = bench.detail("a").deliveries.remove(0);
    assert_eq!((shown.state, shown.attempts, shown.next_attempt_at), (DeliveryState::Delivered, 2, None));
    assert_eq!((shown.last_status, shown.last_error), (Some(200), None));
    assert_eq!(bench.totals().deliveries.delivered, 1);
}

pub(in crate::store) fn an_outcome_without_an_attempt(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let event = bench.routed("a", &[endpoint]);
    bench.settle(delivery(&event, endpoint), attempt(1, 5), retry(60));
    let next = Next::DeadLettered(DeadReason::Expired);
    let expired = Settlement { delivery: delivery(&event, endpoint), attempt: None, spent: 1, next, at: at(90) };
    bench.store.settle(expired);
    let dead = bench.dead_letters(DeadLetterFilter { limit: 9, ..Default::default() }).remove(0);
    assert_eq!((dead.reason.as_str(), dead.attempts, dead.dead_since), ("expired", 1, at(90)));
    assert_eq!((dead.last_status, dead.last_error.as_deref()), (Some(503), Some("unavailable")));
    assert_eq!(dead.first_attempt_at, Some(at(5)));
    assert_eq!(get(bench.store.event_attempts(event.seq, AttemptPage::of(99))).len(), 1);
}

pub(in crate::store) fn a_late_outcome_is_without_effect(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let event = bench.routed("a", &[endpoint]);
    let id = delivery(&event, endpoint);
    bench.settle(id, success(1, 5), Next::Delivered);
    get(bench.store.flush());
    for next in [retry(60), DEAD, Next::Delivered] {
        bench.settle(id, attempt(2, 6), next);
        bench.settle(DeliveryId { run: 1, ..id }, attempt(1, 6), next);
        bench.settle(DeliveryId { seq: 99, ..id }, attempt(1, 6), next);
    }
    let totals = bench.totals().deliveries;
    assert_eq!((totals.created, totals.delivered, totals.pending), (1, 1, 0));
    assert_eq!(get(bench.store.event_attempts(event.seq, AttemptPage::of(99))).len(), 1);
    assert!(bench.pending(endpoint).is_empty());
}

pub(in crate::store) fn targets_can_be_dropped_at_once(bench: &Bench) {
    let (disabled, active) = (bench.endpoint("disabled"), bench.endpoint("active"));
    let event = bench.accept(event("a", "t"));
    let dropped = Target { disposition: Disposition::Drop(DropReason::EndpointDisabled), ..target(disabled) };
    bench.judge(&event, Ruling::Routed(vec![dropped, target(active)]));
    assert!(bench.pending(disabled).is_empty());
    assert_eq!(bench.pending(active), [(1, 0)]);
    let totals = bench.totals().deliveries;
    assert_eq!((totals.created, totals.pending, totals.dropped["endpoint_disabled"]), (2, 1, 1));
    let row = bench.detail("a").deliveries.remove(0);
    assert_eq!((row.state, row.reason.as_deref()), (DeliveryState::Dropped, Some("endpoint_disabled")));
}

pub(in crate::store) fn a_dead_letter_is_replayed_once(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let event = bench.routed("a", &[endpoint]);
    let id = delivery(&event, endpoint);
    assert_eq!(get(bench.store.replay(id)), ReplayOutcome::Unknown, "it is pending");
    bench.settle(id, attempt(1, 5), DEAD);
    let second = DeliveryId { run: 1, ..id };
    assert_eq!(get(bench.store.replay(id)), ReplayOutcome::Replayed(second));
    assert_eq!(get(bench.store.replay(id)), ReplayOutcome::Already(1));
    assert_eq!(get(bench.store.replay(second)), ReplayOutcome::Unknown);

    let row = bench.page(endpoint, Cursor::Fresh(None), 9).rows.remove(0);
    assert_eq!((row.run, row.attempts, row.spent, row.due, row.attempted_at), (1, 0, 0, None, None));
    let totals = bench.totals().deliveries;
    assert_eq!((totals.created, totals.replayed, totals.dead_lettered, totals.pending), (1, 1, 1, 1));
    let (letter, kept) = get(bench.store.dead_letter(id)).unwrap();
    assert_eq!((letter.replayed_as, kept.unwrap().seq), (Some(1), event.seq));

    bench.settle(second, attempt(1, 8), DEAD);
    assert_eq!(get(bench.store.replay(second)), ReplayOutcome::Replayed(DeliveryId { run: 2, ..id }));
    bench.totals();
}

pub(in crate::store) fn a_replay_needs_its_endpoint(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    let event = bench.routed("a", &[endpoint]);
    bench.settle(delivery(&event, endpoint), attempt(1, 5), DEAD);
    get(bench.store.delete_endpoint(endpoint));
    assert_eq!(get(bench.store.replay(delivery(&event, endpoint))), ReplayOutcome::Gone);
    assert_eq!(bench.totals().deliveries.replayed, 0);
}

pub(in crate::store) fn dead_letters_are_listed_highest_first(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    for id in ["a", "b"] {
        let event = bench.routed(id, &[one, two]);
        bench.settle(delivery(&event, two), attempt(1, 10 - event.seq as i64), DEAD);
        bench.settle(delivery(&event, one), attempt(1, 5), DEAD);
    }
    let all = || DeadLetterFilter { limit: 9, ..Default::default() };
    let list =
        |filter| -> Vec<_> { bench.dead_letters(filter).iter().map(|row| (row.id.seq, row.id.endpoint)).collect() };
    assert_eq!(list(all()), [(2, two), (2, one), (1, two), (1, one)]);
    assert_eq!(list(DeadLetterFilter { limit: 1, ..all() }), [(2, two)]);
    let before = Some(DeliveryId { seq: 2, endpoint: one, run: 0 });
    assert_eq!(list(DeadLetterFilter { before, ..all() }), [(1, two), (1, one)]);
    let selection = DeadLetterSelection { endpoint: Some(one), ..Default::default() };
    assert_eq!(list(DeadLetterFilter { selection, ..all() }), [(2, one), (1, one)]);

    get(bench.store.replay(DeliveryId { seq: 1, endpoint: two, run: 0 }));
    assert_eq!(list(DeadLetterFilter { replayed: true, ..all() }), [(1, two)]);
    assert_eq!(list(all()), [(2, two), (2, one), (1, one)]);
    let row = bench.dead_letters(all()).remove(0);
    assert_eq!((row.endpoint.as_str(), row.event.unwrap().as_str(), row.topic.unwrap().as_str()), ("two", "b", "t"));
}

pub(in crate::store) fn deleting_drops_what_is_pending(bench: &Bench) {
    let (gone, stays) = (bench.endpoint("gone"), bench.endpoint("stays"));
    let [a, b] = ["a", "b"].map(|id| bench.routed(id, &[gone, stays]));
    bench.settle(delivery(&b, gone), attempt(1, 5), retry(60));
    let late = bench.accept(event("late", "t"));
    get(bench.store.delete_endpoint(gone));
    wait_until_dropped(bench.store.as_ref(), gone);
    bench.judge(&late, Ruling::Routed(vec![target(gone)]));
    wait_until_dropped(bench.store.as_ref(), gone);
    bench.settle(delivery(&a, gone), success(1, 6), Next::Delivered);

    assert!(bench.pending(gone).is_empty());
    assert_eq!(bench.pending(stays).len(), 2);
    let totals = bench.totals().deliveries;
    assert_eq!((totals.pending, totals.delivered, totals.dropped["endpoint_deleted"]), (2, 0, 3));
    let row = bench.detail("late").deliveries.remove(0);
    assert_eq!((row.endpoint.as_str(), row.reason.as_deref()), ("gone", Some("endpoint_deleted")));
    assert_eq!(get(bench.store.event_attempts(b.seq, AttemptPage::of(99)))[0].endpoint.as_str(), "gone");
    let loaded = get(bench.store.load());
    assert_eq!(bench.endpoints().len(), 1);
    assert_eq!(loaded.pending, [stays]);
    assert!(wait(bench.store.delete_endpoint(gone)).is_err());
}

pub(in crate::store) fn disabling_drops_what_is_pending_until_enabled(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    bench.routed("a", &[endpoint]);
    let change = |drop_pending| EndpointChange {
        settings: "{}".to_owned(),
        state_changed: true,
        state_reason: None,
        drop_pending,
    };
    get(bench.store.update_endpoint(endpoint, change(Some(DropReason::EndpointDisabled))));
    wait_until_dropped(bench.store.as_ref(), endpoint);
    let late = bench.accept(event("late", "t"));
    bench.judge(&late, Ruling::Routed(vec![target(endpoint)]));
    assert!(bench.pending(endpoint).is_empty());
    get(bench.store.update_endpoint(endpoint, change(None)));
    let next = bench.routed("next", &[endpoint]);
    assert_eq!(bench.pending(endpoint), [(next.seq, 0)]);
    assert_eq!(bench.totals().deliveries.dropped["endpoint_disabled"], 2);
}

pub(in crate::store) fn versions_count_changes(bench: &Bench) {
    let made = get(bench.store.create_endpoint("e".parse().unwrap(), "{}".to_owned()));
    assert_eq!((made.version, made.created_at, made.state_since), (1, made.updated_at, made.updated_at));
    std::thread::sleep(Duration::from_millis(5));
    let change = |settings: &str, state_changed| EndpointChange {
        settings: settings.to_owned(),
        state_changed,
        state_reason: state_changed.then(|| "gone".to_owned()),
        drop_pending: None,
    };
    let second = get(bench.store.update_endpoint(made.key, change("[]", false)));
    assert_eq!((second.version, second.settings.as_str(), second.state_since), (2, "[]", made.state_since));
    assert!(second.updated_at > made.updated_at && second.created_at == made.created_at);
    let third = get(bench.store.update_endpoint(made.key, change("[]", true)));
    assert!(third.version == 3 && third.state_since == third.updated_at);
    assert_eq!(bench.endpoints(), [third]);
    assert!(wait(bench.store.update_endpoint(EndpointKey(99), change("[]", true))).is_err());
}

pub(in crate::store) fn endpoints_follow_each_other_by_key(bench: &Bench) {
    let keys = ["d", "b", "e", "a", "c"].map(|id| bench.endpoint(id));
    get(bench.store.delete_endpoint(keys[1]));
    let after = |key, limit| {
        let rows = get(bench.store.endpoints(key, limit));
        rows.into_iter().map(|row| (row.key, row.id.to_string())).collect::<Vec<_>>()
    };
    let expected = [(0, "d"), (2, "e"), (3, "a"), (4, "c")].map(|(place, id)| (keys[place], id.to_owned()));
    assert_eq!(after(EndpointKey(0), 9), expected);
    assert_eq!(after(EndpointKey(0), 2), expected[..2]);
    assert_eq!(after(keys[1], 2), expected[1..3], "above one that is gone");
    assert_eq!(after(keys[2], 9), expected[2..]);
    assert_eq!(after(keys[4], 9), []);
}

pub(in crate::store) fn an_id_is_free_again_after_deletion(bench: &Bench) {
    let first = bench.endpoint("e");
    assert!(wait(bench.store.create_endpoint("e".parse().unwrap(), "{}".to_owned())).is_err());
    let event = bench.routed("a", &[first]);
    get(bench.store.delete_endpoint(first));
    wait_until_dropped(bench.store.as_ref(), first);
    let second = bench.endpoint("e");
    assert_ne!(first, second);
    assert_eq!(get(bench.store.endpoint_totals(second)).0, DeliveryTotals::default());
    assert_eq!(bench.detail("a").deliveries[0].id, delivery(&event, first));
}

pub(in crate::store) fn what_is_not_judged_is_there_for_recovery(bench: &Bench) {
    let events = ["a", "b", "c", "d"].map(|id| bench.accept(event(id, "t")));
    bench.judge(&events[0], Ruling::Unmatched);
    bench.judge(&events[1], Ruling::Suppressed);
    assert_eq!(get(bench.store.load()).judged_through, 2);
    let list =
        |after, limit| -> Vec<_> { get(bench.store.unjudged(after, limit)).iter().map(|event| event.seq).collect() };
    assert_eq!(list(2, 9), [3, 4]);
    assert_eq!(list(2, 1), [3]);
    assert_eq!(list(3, 9), [4]);
    assert_eq!(list(0, 9), [3, 4], "what is judged is never listed");
    let totals = bench.totals();
    assert_eq!((totals.accepted, totals.unmatched, totals.suppressed, totals.unrouted), (4, 1, 1, 2));
}

fn window(rule: &str, key: &str, slot: Option<(i64, u64)>) -> WindowChange {
    let slot =
        slot.map(|(second, suppressed)| WindowSlot { from: Some(at(second)), suppressed, ..WindowSlot::default() });
    WindowChange { rule: rule.to_owned(), key: key.to_owned(), slot }
}

fn windows(bench: &Bench) -> Vec<WindowChange> {
    let mut windows = get(bench.store.load()).windows;
    windows.sort_by(|a, b| (&a.rule, &a.key).cmp(&(&b.rule, &b.key)));
    windows
}

pub(in crate::store) fn windows_follow_their_verdicts(bench: &Bench) {
    let [a, b] = ["a", "b"].map(|id| bench.accept(event(id, "t")));
    bench.judge_with(&a, Ruling::Unmatched, vec![window("r", "x", Some((1, 0))), window("r", "y", Some((1, 0)))]);
    assert_eq!(windows(bench), [window("r", "x", Some((1, 0))), window("r", "y", Some((1, 0)))]);
    bench.judge_with(&b, Ruling::Suppressed, vec![window("r", "x", Some((1, 1))), window("r", "y", None)]);
    assert_eq!(windows(bench), [window("r", "x", Some((1, 1)))]);
}

pub(in crate::store) fn rules_go_with_their_windows(bench: &Bench) {
    let rules = |bench: &Bench| get(bench.store.load()).rules;
    get(bench.store.put_rule("r".to_owned(), Some("{}".to_owned())));
    get(bench.store.put_rule("s".to_owned(), Some("{}".to_owned())));
    get(bench.store.put_rule("r".to_owned(), Some("[]".to_owned())));
    let a = bench.accept(event("a", "t"));
    bench.judge_with(&a, Ruling::Unmatched, vec![window("r", "x", Some((1, 0))), window("s", "x", Some((1, 0)))]);
    assert_eq!(rules(bench), [("r".to_owned(), "[]".to_owned()), ("s".to_owned(), "{}".to_owned())]);
    get(bench.store.put_rule("r".to_owned(), None));
    assert_eq!(rules(bench).len(), 1);
    assert_eq!(windows(bench), [window("s", "x", Some((1, 0)))]);
}

pub(in crate::store) fn a_rule_that_changes_forgets_its_windows(bench: &Bench) {
    let put = |name: &str, rule: &str| get(bench.store.put_rule(name.to_owned(), Some(rule.to_owned())));
    put("r", "{}");
    put("s", "{}");
    let a = bench.accept(event("a", "t"));
    let both = [window("r", "x", Some((1, 0))), window("s", "x", Some((1, 0)))];
    bench.judge_with(&a, Ruling::Unmatched, both.to_vec());
    put("r", "{}");
    assert_eq!(windows(bench), both);
    put("r", "[]");
    assert_eq!(windows(bench), both[1..]);
    assert_eq!(get(bench.store.load()).rules[0], ("r".to_owned(), "[]".to_owned()));
}

pub(in crate::store) fn chains_are_kept_until_removed(bench: &Bench) {
    let put = |name: &str, chain: Option<&str>| get(bench.store.put_chain(name.to_owned(), chain.map(str::to_owned)));
    let chains = || get(bench.store.load()).chains;
    let pair = |name: &str, chain: &str| (name.to_owned(), chain.to_owned());
    put("b c/d", Some("{}"));
    put("a", Some("{}"));
    put("a", Some("[]"));
    assert_eq!(chains(), [pair("a", "[]"), pair("b c/d", "{}")]);
    put("a", None);
    put("never there", None);
    assert_eq!(chains(), [pair("b c/d", "{}")]);
}

pub(in crate::store) fn breakers_are_kept(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    let open = BreakerRecord {
        open_until: Some(at(60)),
        cooldown: Duration::from_secs(30),
        since: Some(at(30)),
        failing_since: Some(at(20)),
    };
    let breakers = || get(bench.store.load()).breakers;
    assert_eq!(breakers(), []);
    bench.store.keep_breaker(one, open);
    bench.store.keep_breaker(two, open);
    bench.store.keep_breaker(two, BreakerRecord { open_until: None, ..open });
    let mut kept = breakers();
    kept.sort_by_key(|(key, _)| *key);
    assert_eq!(kept, [(one, open), (two, BreakerRecord { open_until: None, ..open })]);
    bench.store.keep_breaker(two, BreakerRecord::default());
    assert_eq!(breakers(), [(one, open)], "one that is as new is not listed");
    get(bench.store.delete_endpoint(one));
    assert_eq!(breakers(), []);
}

pub(in crate::store) fn totals_of_endpoints_add_up_to_the_whole(bench: &Bench) {
    let endpoints = ["one", "two"].map(|id| bench.endpoint(id));
    let events: Vec<_> = (0..6).map(|n| bench.routed(&format!("e{n}"), &endpoints)).collect();
    bench.settle(delivery(&events[0], endpoints[0]), success(1, 1), Next::Delivered);
    bench.settle(delivery(&events[1], endpoints[0]), attempt(1, 1), DEAD);
    bench.settle(delivery(&events[2], endpoints[1]), attempt(1, 1), retry(9));
    get(bench.store.replay(delivery(&events[1], endpoints[0])));
    let [(one, oldest), (two, _)] = endpoints.map(|key| get(bench.store.endpoint_totals(key)));
    assert!(one.add_up() && two.add_up());
    assert_eq!(oldest, Some(events[2].accepted_at));
    assert_eq!((one.created, one.replayed, one.pending, one.delivered, one.dead_lettered), (6, 1, 5, 1, 1));
    let whole = bench.totals().deliveries;
    assert_eq!(whole.pending, one.pending + two.pending);
    assert_eq!(whole.created, one.created + two.created);
    assert_eq!(get(bench.store.endpoint_totals(EndpointKey(99))), (DeliveryTotals::default(), None));
}

pub(in crate::store) fn calls_after_close_fail(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    get(bench.store.close());
    assert!(matches!(bench.publish(&[event("a", "t")]), Err(AppendError::Store(StoreError::Closed))));
    assert!(matches!(wait(bench.store.totals()), Err(StoreError::Closed)));
    assert!(matches!(wait(bench.store.flush()), Err(StoreError::Closed)));
    assert!(matches!(wait(bench.store.delete_endpoint(endpoint)), Err(StoreError::Closed)));
    let request = PageRequest { endpoint, cursor: Cursor::Fresh(None), items: 1, bytes: 1 };
    assert!(matches!(page(bench.store.as_ref(), request), Err(StoreError::Closed)));
}
