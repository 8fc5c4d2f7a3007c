//! Scenarios about dead letters: how many are kept, and jobs that work on many.

use super::bench::*;
use crate::{clock::Clock, store::*};

fn limited(bench: &Bench, id: &str, limits: &str) -> EndpointKey {
    let settings = format!(r#"{{"dead_letters": {limits}}}"#);
    get(bench.store.create_endpoint(id.parse().unwrap(), settings)).key
}

fn limit(bench: &Bench, key: EndpointKey, limits: &str) {
    let settings = format!(r#"{{"dead_letters": {limits}}}"#);
    let change = EndpointChange { settings, state_changed: false, state_reason: None, drop_pending: None };
    get(bench.store.update_endpoint(key, change));
}

pub(super) fn die(bench: &Bench, id: &str, endpoint: EndpointKey, second: i64) -> DeliveryId {
    let id = delivery(&bench.routed(id, &[endpoint]), endpoint);
    bench.settle(id, attempt(1, second), DEAD);
    id
}

fn kept(bench: &Bench, selection: DeadLetterSelection) -> Vec<u64> {
    let filter = DeadLetterFilter { selection, limit: 1000, ..Default::default() };
    let mut seqs: Vec<_> = bench.dead_letters(filter).iter().map(|row| row.id.seq).collect();
    seqs.reverse();
    seqs
}

fn all(bench: &Bench) -> Vec<u64> {
    kept(bench, DeadLetterSelection::default())
}

/// What became of them, which accounts for every one.
fn fates(bench: &Bench) -> (u64, u64, u64) {
    let DeliveryTotals { dead_letters, dead_lettered, replayed, .. } = bench.totals().deliveries;
    let DeadLetterTotals { kept, pruned, purged, .. } = dead_letters;
    assert_eq!(dead_lettered, kept + pruned + purged + replayed);
    (kept, pruned, purged)
}

pub(in crate::store) fn the_oldest_dead_letter_falls_off_when_there_are_too_many(bench: &Bench) {
    let (few, many) = (limited(bench, "few", r#"{"max_items": 2}"#), bench.endpoint("many"));
    for (n, second) in [5, 9, 7].into_iter().enumerate() {
        die(bench, &format!("few-{n}"), few, second);
        die(bench, &format!("many-{n}"), many, second);
    }
    assert_eq!(all(bench), [2, 3, 4, 5, 6]);
    assert_eq!(fates(bench), (5, 1, 0));
    assert_eq!(get(bench.store.endpoint_totals(few)).0.dead_letters.pruned, 1);
    assert_eq!(get(bench.store.event_attempts(1, AttemptPage::of(99))), [], "its attempts go with it");
    assert!(bench.detail("few-0").deliveries.is_empty(), "its event stays");

    limit(bench, few, r#"{"max_items": 1}"#);
    assert_eq!(all(bench), [2, 3, 4, 6], "the oldest by death, not by seq");
    limit(bench, few, r#"{"max_items": 0}"#);
    die(bench, "none", few, 11);
    assert_eq!(all(bench), [2, 4, 6]);
    assert_eq!(fates(bench), (3, 4, 0));
    assert_eq!(bench.totals().deliveries.dead_lettered, 7, "no sum changes");
}

pub(in crate::store) fn dead_letters_weigh_no_more_than_allowed(bench: &Bench) {
    let weight = bench.accept(event("one", "t")).weight() as u64;
    let endpoint = limited(bench, "e", &format!(r#"{{"max_bytes": {}}}"#, 2 * weight));
    for n in 1..=4 {
        let bytes = get(bench.store.endpoint_totals(endpoint)).0.dead_letters.bytes;
        assert_eq!(bytes, weight * (n - 1).min(2));
        let accepted = bench.accept(event(&format!("e{n}"), "t"));
        if n == 1 {
            let first = Arc::clone(&bench.sunk.lock().unwrap()[0]);
            bench.judge(&first, Ruling::Unmatched);
        }
        bench.judge(&accepted, Ruling::Routed(vec![target(endpoint)]));
        bench.settle(delivery(&accepted, endpoint), attempt(1, 5), DEAD);
    }
    assert_eq!(all(bench), [4, 5]);
    get(bench.store.replay(DeliveryId { seq: 4, endpoint, run: 0 }));
    let totals = get(bench.store.endpoint_totals(endpoint)).0.dead_letters;
    assert_eq!((totals.kept, totals.bytes, totals.pruned), (1, weight, 2), "a replayed one does not count");
    limit(bench, endpoint, &format!(r#"{{"max_bytes": {}}}"#, weight - 1));
    assert_eq!((all(bench), fates(bench)), (vec![], (0, 3, 0)));
}

pub(in crate::store) fn dead_letters_grow_too_old(bench: &Bench) {
    let endpoint = limited(bench, "e", r#"{"max_age": "30d"}"#);
    let two_days_ago = Clock::system().now().wall.as_millis() / 1000 - 2 * 86_400 - 1_900_000_000;
    die(bench, "old", endpoint, two_days_ago);
    die(bench, "new", endpoint, two_days_ago + 2 * 86_400);
    limit(bench, endpoint, r#"{"max_age": "3d"}"#);
    assert_eq!(all(bench), [1, 2]);
    limit(bench, endpoint, r#"{"max_age": "1d"}"#);
    assert_eq!((all(bench), fates(bench)), (vec![2], (1, 1, 0)));
}

pub(in crate::store) fn dead_letters_are_selected(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    let cases = [("a.x", None, one, DeadReason::Expired, 5), ("a.y", Some("acme"), two, DeadReason::Gone, 6)];
    let cases = cases.into_iter().chain([("b", Some("acme"), two, DeadReason::Expired, 7)]);
    for (n, (topic, tenant, endpoint, reason, second)) in cases.enumerate() {
        let event = event(&format!("e{n}"), topic);
        let accepted = bench.accept(if let Some(tenant) = tenant { event.tenant(tenant) } else { event });
        bench.judge(&accepted, Ruling::Routed(vec![target(endpoint)]));
        let delivery = delivery(&accepted, endpoint);
        let next = Next::DeadLettered(reason);
        bench.store.settle(Settlement { delivery, attempt: None, spent: 0, next, at: at(second) });
    }
    let none = DeadLetterSelection::default;
    let cases: [(DeadLetterSelection, &[u64]); 8] = [
        (DeadLetterSelection { endpoint: Some(two), ..none() }, &[2, 3]),
        (DeadLetterSelection { topic: Some("a.*".parse().unwrap()), ..none() }, &[1, 2]),
        (DeadLetterSelection { topic: Some("b".parse().unwrap()), ..none() }, &[3]),
        (DeadLetterSelection { reason: Some(DeadReason::Expired), ..none() }, &[1, 3]),
        (DeadLetterSelection { tenant: Some("acme".parse().unwrap()), ..none() }, &[2, 3]),
        (DeadLetterSelection { since: Some(at(6)), ..none() }, &[2, 3]),
        (DeadLetterSelection { until: Some(at(6)), ..none() }, &[1]),
        (DeadLetterSelection { since: Some(at(6)), reason: Some(DeadReason::Gone), ..none() }, &[2]),
    ];
    for (selection, expected) in cases {
        assert_eq!(kept(bench, selection.clone()), expected, "{selection:?}");
        let step = CountStep { kind: JobKind::PurgeDeadLetters, selection: selection.clone(), at: at(9), after: None };
        let counted = get(bench.store.count_for_job(step));
        assert_eq!(counted, Counted { matched: expected.len() as u64, next: None }, "{selection:?}");
    }
}

fn job(kind: JobKind, selection: DeadLetterSelection, total: u64) -> Job {
    let (rate, created_at) = (Some(2.5), at(100));
    let id = format!("job_{}", kind.as_str()).parse().unwrap();
    Job { id, kind, selection, rate, total, done: 0, failed: 0, state: JobState::Running, created_at, ended_at: None }
}

fn advance(bench: &Bench, job: &Job, most: usize) -> Advance {
    get(bench.store.advance_job(job.id.clone(), most)).expect("the job is there")
}

pub(in crate::store) fn a_job_replays_each_dead_letter_once(bench: &Bench) {
    let (one, two, gone) = (bench.endpoint("one"), bench.endpoint("two"), bench.endpoint("gone"));
    let letters = [die(bench, "a", two, 5), die(bench, "b", one, 6), die(bench, "c", one, 5), die(bench, "d", gone, 5)];
    die(bench, "late", one, 101);
    get(bench.store.delete_endpoint(gone));
    let job = job(JobKind::ReplayDeadLetters, DeadLetterSelection::default(), 4);
    get(bench.store.create_job(job.clone()));
    assert_eq!(get(bench.store.running_jobs()), std::slice::from_ref(&job));
    assert!(wait(bench.store.create_job(job.clone())).is_err());

    let again = |id: DeliveryId| DeliveryId { run: 1, ..id };
    let first = advance(bench, &job, 2);
    assert_eq!(first.replayed, [again(letters[2]), again(letters[1])], "by endpoint, oldest first");
    assert_eq!((first.job.done, first.job.state), (2, JobState::Running));
    // What was replayed fails once more: it is not replayed by the same job again.
    bench.settle(again(letters[1]), attempt(1, 8), DEAD);
    let second = advance(bench, &job, 9);
    assert_eq!(second.replayed, [again(letters[0])]);
    assert_eq!((second.job.done, second.job.failed, second.job.state), (3, 1, JobState::Finished));
    assert!(second.job.ended_at.is_some());
    assert_eq!(advance(bench, &job, 9), Advance { job: second.job.clone(), replayed: vec![] });
    assert_eq!(get(bench.store.job(job.id)), Some(second.job));
    assert_eq!(get(bench.store.running_jobs()), []);
    let totals = bench.totals().deliveries;
    assert_eq!((totals.replayed, totals.dead_lettered, totals.pending), (3, 6, 2));
    assert_eq!(fates(bench), (3, 0, 0));
}

pub(in crate::store) fn a_job_leaves_disabled_endpoints_alone(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    die(bench, "a", endpoint, 5);
    let drop_pending = Some(DropReason::EndpointDisabled);
    let change = EndpointChange { settings: "{}".into(), state_changed: true, state_reason: None, drop_pending };
    get(bench.store.update_endpoint(endpoint, change));
    let job = job(JobKind::ReplayDeadLetters, DeadLetterSelection::default(), 1);
    get(bench.store.create_job(job.clone()));
    let ended = advance(bench, &job, 9).job;
    assert_eq!((ended.done, ended.failed, ended.state), (0, 1, JobState::Finished));
    assert_eq!(all(bench), [1]);
}

pub(in crate::store) fn a_job_purges_what_it_selects(bench: &Bench) {
    let (one, two) = (bench.endpoint("one"), bench.endpoint("two"));
    let letter = die(bench, "a", one, 5);
    die(bench, "b", two, 5);
    let selection = DeadLetterSelection { endpoint: Some(one), ..DeadLetterSelection::default() };
    let job = job(JobKind::PurgeDeadLetters, selection, 1);
    get(bench.store.create_job(job.clone()));
    assert_eq!(advance(bench, &job, 9).job.state, JobState::Finished);
    assert_eq!((all(bench), fates(bench)), (vec![2], (1, 0, 1)));
    assert!(get(bench.store.dead_letter(letter)).is_none());
    assert_eq!(get(bench.store.replay(letter)), ReplayOutcome::Unknown);
    assert_eq!(bench.totals().deliveries.dead_lettered, 2, "no sum changes");
}

pub(in crate::store) fn a_job_that_was_cancelled_does_no_more(bench: &Bench) {
    let endpoint = bench.endpoint("e");
    for n in 0..3 {
        die(bench, &format!("e{n}"), endpoint, 5);
    }
    let job = job(JobKind::PurgeDeadLetters, DeadLetterSelection::default(), 3);
    get(bench.store.create_job(job.clone()));
    advance(bench, &job, 1);
    let cancelled = get(bench.store.end_job(job.id.clone(), JobState::Cancelled)).unwrap();
    assert_eq!((cancelled.state, cancelled.done), (JobState::Cancelled, 1));
    assert_eq!(advance(bench, &job, 9).job, cancelled);
    assert_eq!(get(bench.store.end_job(job.id.clone(), JobState::Failed)), Some(cancelled), "the first end holds");
    assert_eq!(all(bench), [2, 3]);
    let unknown: JobId = "job_unknown".parse().unwrap();
    assert_eq!(get(bench.store.advance_job(unknown.clone(), 1)), None);
    assert_eq!(get(bench.store.end_job(unknown.clone(), JobState::Cancelled)), None);
    assert_eq!(get(bench.store.job(unknown)), None);
}

pub(in crate::store) fn a_long_job_goes_in_steps(bench: &Bench) {
    let endpoints = [bench.endpoint("one"), bench.endpoint("two")];
    let group: Vec<_> = (0..300).map(|n| event(&format!("e{n}"), if n < 280 { "t" } else { "u" })).collect();
    bench.publish(&group).unwrap();
    let events = bench.sunk.lock().unwrap().clone();
    for event in &events {
        bench.judge(event, Ruling::Routed(endpoints.map(target).into()));
        endpoints.iter().for_each(|key| bench.settle(delivery(event, *key), attempt(1, 5), DEAD));
    }
    let selection = DeadLetterSelection { topic: Some("u".parse().unwrap()), ..DeadLetterSelection::default() };
    let step = CountStep { kind: JobKind::ReplayDeadLetters, selection: selection.clone(), at: at(100), after: None };
    let count = |after| get(bench.store.count_for_job(CountStep { after, ..step.clone() }));
    let first = count(None);
    let second = count(first.next);
    assert_eq!((first.matched, second.matched, second.next), (20, 20, None));
    let job = job(JobKind::ReplayDeadLetters, selection, 40);
    get(bench.store.create_job(job.clone()));
    let steps: Vec<_> = (0..4).map(|_| advance(bench, &job, 15)).collect();
    let replayed: Vec<_> = steps.iter().map(|step| step.replayed.len()).collect();
    assert_eq!(replayed, [15, 15, 10, 0]);
    assert_eq!(steps[2].job.state, JobState::Finished);
    assert_eq!(bench.totals().deliveries.pending, 40);
}
