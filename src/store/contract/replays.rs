//! Scenarios about delivering events again, one or all of an endpoint, and about the list of its deliveries.

use super::{bench::*, dead_letters::die};
use crate::{event::Event, store::*};

/// An endpoint whose settings say what it wants.
fn wanting(bench: &Bench, id: &str, more: &str) -> EndpointKey {
    let settings = format!(r#"{{"url": "https://example.org/"{more}}}"#);
    get(bench.store.create_endpoint(id.parse().unwrap(), settings)).key
}

fn unmatched(bench: &Bench, event: Event) -> u64 {
    let event = bench.accept(event);
    bench.judge(&event, Ruling::Unmatched);
    event.seq
}

fn delivered(bench: &Bench, id: &str, endpoint: EndpointKey) -> u64 {
    let event = bench.routed(id, &[endpoint]);
    bench.settle(delivery(&event, endpoint), success(1, 5), Next::Delivered);
    event.seq
}

fn selection(endpoint: EndpointKey) -> DeadLetterSelection {
    DeadLetterSelection { endpoint: Some(endpoint), ..DeadLetterSelection::default() }
}

fn counted(bench: &Bench, kind: JobKind, selection: DeadLetterSelection) -> u64 {
    let (mut step, mut matched) = (CountStep { kind, selection, at: at(100), after: None }, 0);
    loop {
        let counted = get(bench.store.count_for_job(step.clone()));
        matched += counted.matched;
        step.after = counted.next;
        if step.after.is_none() {
            return matched;
        }
    }
}

fn job(bench: &Bench, kind: JobKind, selection: DeadLetterSelection) -> JobId {
    let total = counted(bench, kind, selection.clone());
    let id: JobId = format!("job_{}", kind.as_str()).parse().unwrap();
    let (state, created_at) = (JobState::Running, at(100));
    let job = Job {
        id: id.clone(),
        kind,
        selection,
        rate: None,
        total,
        done: 0,
        failed: 0,
        state,
        created_at,
        ended_at: None,
    };
    get(bench.store.create_job(job.clone()));
    assert_eq!(get(bench.store.running_jobs()), [job]);
    id
}

/// The seqs and runs that a job made, so many in a step, and how it ended.
fn worked(bench: &Bench, id: &JobId, most: usize) -> (Vec<(u64, u32)>, Job) {
    let mut made = Vec::new();
    for _ in 0..100 {
        let Advance { job, replayed } = get(bench.store.advance_job(id.clone(), most)).expect("the job is there");
        assert!(replayed.len() <= most);
        made.extend(replayed.iter().map(|id| (id.seq, id.run)));
        if job.state != JobState::Running {
            return (made, job);
        }
    }
    panic!("a job without an end");
}

/// Seqs: 1 delivered, 2 dead, 3 pending, 4 dropped, 5 unmatched and wanted, 6 another topic, 7 suppressed for all, 8 another's
/// tenant, 9 not judged.
fn one_of_each(bench: &Bench) -> EndpointKey {
    let endpoint = wanting(bench, "e", r#", "topics": ["t"], "filter": {"pointer": "/data/no", "exists": false}"#);
    delivered(bench, "delivered", endpoint);
    die(bench, "dead", endpoint, 5);
    bench.routed("pending", &[endpoint]);
    let dropped = bench.accept(event("dropped", "t"));
    let disposition = Disposition::Drop(DropReason::EndpointDisabled);
    bench.judge(&dropped, Ruling::Routed(vec![Target { disposition, ..target(endpoint) }]));
    unmatched(bench, event("missed", "t"));
    unmatched(bench, event("other", "u"));
    let suppressed = bench.accept(event("suppressed", "t"));
    bench.judge(&suppressed, Ruling::Suppressed);
    unmatched(bench, event("tenant", "t").tenant("acme"));
    unmatched(bench, Event::from_json("t", r#"{"no": 1}"#).id("filtered"));
    bench.accept(event("unjudged", "t"));
    endpoint
}

pub(in crate::store) fn an_event_is_delivered_again_unless_it_waits(bench: &Bench) {
    let endpoint = one_of_each(bench);
    let again = |seq| get(bench.store.redeliver(seq, endpoint));
    let id = |seq, run| DeliveryId { seq, endpoint, run };
    assert_eq!(again(1), ReplayOutcome::Replayed(id(1, 1)));
    assert_eq!(again(1), ReplayOutcome::Waiting(1));
    assert_eq!(again(2), ReplayOutcome::Replayed(id(2, 1)));
    assert_eq!(get(bench.store.replay(id(2, 0))), ReplayOutcome::Already(1), "its dead letter was replayed by that");
    assert_eq!(again(3), ReplayOutcome::Waiting(0));
    assert_eq!(again(4), ReplayOutcome::Replayed(id(4, 1)));
    assert_eq!(again(5), ReplayOutcome::Replayed(id(5, 1)));
    assert_eq!(again(99), ReplayOutcome::Gone);
    let totals = bench.totals();
    assert!(totals.add_up(), "{totals:?}");
    assert_eq!((totals.deliveries.created, totals.deliveries.replayed, totals.deliveries.pending), (4, 4, 5));
    assert_eq!((totals.unmatched, totals.routed, totals.deliveries.dead_letters.kept), (4, 4, 0), "verdicts stay");
    let again = bench.detail("delivered").deliveries;
    assert_eq!(
        again.iter().map(|row| row.state).collect::<Vec<_>>(),
        [DeliveryState::Delivered, DeliveryState::Pending]
    );
    get(bench.store.delete_endpoint(endpoint));
    wait_until_dropped(bench.store.as_ref(), endpoint);
    assert_eq!(get(bench.store.redeliver(1, endpoint)), ReplayOutcome::Gone);
}

pub(in crate::store) fn a_job_replays_what_failed_or_is_missing_or_all(bench: &Bench) {
    let endpoint = one_of_each(bench);
    for (kind, expected) in [(JobKind::ReplayFailed, &[(2, 1)][..]), (JobKind::ReplayMissing, &[(5, 1)])] {
        assert_eq!(counted(bench, kind, selection(endpoint)), expected.len() as u64, "{kind:?}");
        let (made, job) = worked(bench, &job(bench, kind, selection(endpoint)), 9);
        assert_eq!(made, expected, "{kind:?}");
        assert_eq!((job.total, job.done, job.failed), (1, 1, 0), "{kind:?}");
        assert_eq!(counted(bench, kind, selection(endpoint)), 0, "{kind:?} again");
    }
    for seq in [2, 5] {
        bench.settle(
            DeliveryId { seq, endpoint, run: 1 },
            attempt(1, 6),
            if seq == 2 { DEAD } else { Next::Delivered },
        );
    }
    let (made, ended) = worked(bench, &job(bench, JobKind::ReplayAll, selection(endpoint)), 1);
    assert_eq!(made, [(1, 1), (2, 2), (5, 2)]);
    assert_eq!((ended.done, ended.failed, ended.state), (3, 0, JobState::Finished));
    assert!(bench.totals().add_up());
}

pub(in crate::store) fn a_job_goes_through_the_events_of_its_time(bench: &Bench) {
    let endpoint = wanting(bench, "e", "");
    let group: Vec<_> = (0..1200).map(|n| event(&format!("e{n}"), "t")).collect();
    bench.publish(&group).unwrap();
    let events = bench.sunk.lock().unwrap().clone();
    events.iter().for_each(|event| bench.judge(event, Ruling::Unmatched));
    let accepted_at = events[0].accepted_at;
    let time = |since: Option<Timestamp>, until| DeadLetterSelection { since, until, ..selection(endpoint) };
    assert_eq!(counted(bench, JobKind::ReplayMissing, time(Some(accepted_at), None)), 1200);
    assert_eq!(counted(bench, JobKind::ReplayMissing, time(None, Some(accepted_at))), 0);
    assert_eq!(counted(bench, JobKind::ReplayMissing, time(Some(at(50)), None)), 0);
    let at_once = CountStep { kind: JobKind::ReplayMissing, selection: selection(endpoint), at: at(-100), after: None };
    assert_eq!(
        get(bench.store.count_for_job(CountStep { at: Timestamp::default(), ..at_once })).matched,
        0,
        "later ones"
    );
    let id = job(bench, JobKind::ReplayMissing, selection(endpoint));
    let first = get(bench.store.advance_job(id.clone(), 700)).unwrap();
    assert_eq!((first.replayed.len(), first.job.state), (500, JobState::Running), "in steps");
    let (rest, ended) = worked(bench, &id, 300);
    assert_eq!((rest.len(), ended.done, ended.total), (700, 1200, 1200));
    let (totals, _) = get(bench.store.endpoint_totals(endpoint));
    assert_eq!((totals.replayed, totals.pending, totals.created), (1200, 1200, 0));
}

pub(in crate::store) fn a_job_on_events_leaves_a_disabled_endpoint_alone(bench: &Bench) {
    let endpoint = wanting(bench, "e", "");
    delivered(bench, "a", endpoint);
    let id = job(bench, JobKind::ReplayAll, selection(endpoint));
    let settings = r#"{"url": "https://example.org/"}"#.to_owned();
    let drop_pending = Some(DropReason::EndpointDisabled);
    get(bench
        .store
        .update_endpoint(endpoint, EndpointChange { settings, state_changed: true, state_reason: None, drop_pending }));
    let (made, ended) = worked(bench, &id, 9);
    assert_eq!((made, ended.done, ended.failed), (vec![], 0, 1));
}

pub(in crate::store) fn deliveries_of_an_endpoint_newest_event_first(bench: &Bench) {
    let (endpoint, other) = (one_of_each(bench), bench.endpoint("other"));
    get(bench.store.redeliver(1, endpoint));
    let all = || DeliveryFilter { endpoint, state: None, within: None, before: None, limit: 100 };
    let list = |filter| -> Vec<_> {
        let rows = get(bench.store.deliveries(filter));
        rows.iter().map(|row| (row.delivery.id.seq, row.delivery.id.run)).collect()
    };
    assert_eq!(list(all()), [(4, 0), (3, 0), (2, 0), (1, 1), (1, 0)]);
    assert_eq!(list(DeliveryFilter { limit: 2, ..all() }), [(4, 0), (3, 0)]);
    assert_eq!(list(DeliveryFilter { before: Some((1, 1)), ..all() }), [(1, 0)]);
    assert_eq!(list(DeliveryFilter { endpoint: other, ..all() }), []);
    for (state, expected) in [
        (DeliveryState::Pending, &[(3, 0), (1, 1)][..]),
        (DeliveryState::Delivered, &[(1, 0)]),
        (DeliveryState::DeadLettered, &[(2, 0)]),
        (DeliveryState::Dropped, &[(4, 0)]),
        (DeliveryState::Suppressed, &[]),
    ] {
        assert_eq!(list(DeliveryFilter { state: Some(state), ..all() }), expected, "{state:?}");
    }
    let row =
        get(bench.store.deliveries(DeliveryFilter { state: Some(DeliveryState::DeadLettered), ..all() })).remove(0);
    assert_eq!(row.delivery, bench.detail("dead").deliveries.remove(0));
    assert_eq!((row.event.unwrap().as_str(), row.topic.unwrap().as_str()), ("dead", "t"));
    assert_eq!(row.created_at, bench.detail("dead").event.accepted_at);
}
