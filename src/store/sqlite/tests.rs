//! The contract every store keeps, the model, and what only a file can be asked: what it says after it was closed.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::store::{
    AttemptRecord, Cursor,
    contract::{bench::*, contract, model},
    memory::MemoryStore,
};

fn open() -> (Arc<dyn Store>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), Clock::system(), Retention::default()).unwrap();
    (Arc::new(store), dir)
}

contract!(open);

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn it_answers_as_the_model_does(ops in model::ops(40)) {
        let (store, _dir) = open();
        model::same_answers(&ops, &MemoryStore::new(Clock::system()), store.as_ref());
    }
}

#[test]
fn a_second_store_in_the_same_directory_is_refused() {
    let (store, dir) = open();
    let second = SqliteStore::open(dir.path(), Clock::system(), Retention::default());
    assert!(matches!(second, Err(StoreError::Unusable(detail)) if detail.contains("another process")));
    drop(store);
    assert!(SqliteStore::open(dir.path(), Clock::system(), Retention::default()).is_ok());
}

#[test]
fn a_job_goes_on_where_it_was_when_the_store_is_opened_again() {
    use crate::store::{DeadLetterSelection, DeliveryId, Job, JobId, JobKind, JobState};
    let (store, dir) = open();
    let bench = Bench::new(store);
    let endpoint = bench.endpoint("one");
    let letters = ["a", "b", "c"].map(|id| delivery(&bench.routed(id, &[endpoint]), endpoint));
    letters.iter().for_each(|id| bench.settle(*id, attempt(1, 5), DEAD));
    let id: JobId = "job_1".parse().unwrap();
    let selection = DeadLetterSelection {
        endpoint: Some(endpoint),
        topic: Some("t".parse().unwrap()),
        reason: Some("exhausted".parse().unwrap()),
        within: None,
        tenant: None,
        since: Some(at(0)),
        until: Some(at(9)),
    };
    let (kind, state, rate) = (JobKind::ReplayDeadLetters, JobState::Running, Some(0.5));
    let created_at = at(100);
    let job =
        Job { id: id.clone(), kind, selection, rate, total: 3, done: 0, failed: 0, state, created_at, ended_at: None };
    get(bench.store.create_job(job.clone()));
    get(bench.store.advance_job(id.clone(), 2)).unwrap();
    drop(bench);

    let store = SqliteStore::open(dir.path(), Clock::system(), Retention::default()).unwrap();
    assert_eq!(get(store.running_jobs()), [Job { done: 2, ..job }]);
    let last = get(store.advance_job(id, 9)).unwrap();
    assert_eq!(last.replayed, [DeliveryId { run: 1, ..letters[2] }]);
    assert_eq!((last.job.done, last.job.state), (3, JobState::Finished));
}

/// Limits the file as a full disk would.
pub(super) fn limit_pages(db: &Connection, shared: &Shared) {
    let pages = match shared.max_pages.load(Ordering::Acquire) {
        0 => i64::from(u32::MAX),
        pages => pages,
    };
    db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
}

#[test]
fn a_full_disk_refuses_what_is_new_keeps_what_is_known_and_writes_it_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(SqliteStore::open(dir.path(), Clock::system(), Retention::default()).unwrap());
    let bench = Bench::new(Arc::clone(&store) as Arc<dyn Store>);
    let endpoint = bench.endpoint("one");
    let events: Vec<_> = (0..20).map(|n| bench.routed(&format!("e{n}"), &[endpoint])).collect();
    get(store.flush());

    store.shared.max_pages.store(1, Ordering::Release);
    let big = crate::Event::new("a", &"x".repeat(200_000)).unwrap();
    let refused = publish(store.as_ref(), vec![submit(&big)]);
    assert!(matches!(refused, Err(AppendError::Store(StoreError::Full(_)))), "{refused:?}");
    for event in &events {
        let attempt = AttemptRecord { response: vec![b'x'; 4096].into(), ..attempt(1, 1) };
        let (delivery, next) = (delivery(event, endpoint), DEAD);
        store.settle(Settlement { delivery, attempt: Some(attempt), spent: 1, next, at: at(1) });
    }
    assert!(matches!(wait(store.flush()), Err(StoreError::Full(_))));
    assert!(!store.writable());
    let request = PageRequest { endpoint, cursor: Cursor::Fresh(None), items: 10, bytes: 1000 };
    assert!(page(store.as_ref(), request).is_err(), "what is pending in the file has been settled");
    let changed = wait(store.create_endpoint("two".parse().unwrap(), "{}".to_owned()));
    assert!(matches!(changed, Err(StoreError::Full(_))), "{changed:?}");
    let known = get(store.totals());
    assert_eq!((known.accepted, known.deliveries.pending, known.deliveries.dead_lettered), (20, 20, 0));
    assert!(known.add_up());

    store.shared.max_pages.store(0, Ordering::Release);
    get(store.flush());
    assert!(store.writable());
    let after = bench.totals();
    assert_eq!((after.accepted, after.deliveries.pending, after.deliveries.dead_lettered), (20, 0, 20));
    assert_eq!(publish(store.as_ref(), vec![submit(&big)]).unwrap()[0].seq, 21);
}

#[test]
fn nobody_else_can_read_the_files_whoever_may_read_the_directory() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let store = SqliteStore::open(dir.path(), Clock::system(), Retention::default()).unwrap();
    get(store.create_endpoint("one".parse().unwrap(), "{}".to_owned()));
    for name in ["hookmill.db", "hookmill.db-wal", "hookmill.db-shm"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}
