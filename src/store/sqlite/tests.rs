//! The contract every store keeps, the model, and what only a file can be asked: what it says after it was closed.

use std::sync::{Arc, atomic::Ordering, mpsc};

use proptest::prelude::*;

use super::*;
use crate::{
    endpoint::EndpointKey,
    store::{
        AttemptRecord, Cursor, EndpointChange, EndpointRow, PageRequest, Settlement, Store,
        contract::{bench::*, contract, model},
        memory::MemoryStore,
    },
};

mod tenants;

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

/// So many events that are old enough to be forgotten, each delivered once.
fn old_events(dir: &std::path::Path, count: i64) -> Connection {
    let db = schema::open_writer(&dir.join(DATABASE), |_| Ok(())).unwrap();
    let tx = db.unchecked_transaction().unwrap();
    for seq in 1..=count {
        let event = "INSERT INTO events VALUES (?1, ?1, '', 't', NULL, NULL, 0, 0, zeroblob(1000), NULL)";
        let delivery = "INSERT INTO deliveries (seq, endpoint, run, state, created_at) VALUES (?1, ?1 % 100, 0, 1, 0)";
        let attempt =
            "INSERT INTO attempts VALUES (?1, ?1 % 100, 0, 1, 0, 0, 200, '2xx', NULL, NULL, NULL, NULL, NULL)";
        for insert in [event, delivery, attempt] {
            tx.prepare_cached(insert).unwrap().execute([seq]).unwrap();
        }
    }
    tx.execute("UPDATE meta SET value = ?1 WHERE name IN ('last_seq', 'judged_through')", [count]).unwrap();
    tx.commit().unwrap();
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    db
}

#[test]
fn the_log_does_not_grow_while_much_is_forgotten_and_nothing_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let db = old_events(dir.path(), 40_000);
    let store = SqliteStore::open(dir.path(), Clock::system(), Retention::default()).unwrap();
    let left = "SELECT EXISTS (SELECT 1 FROM events) OR EXISTS (SELECT 1 FROM deliveries)";
    let left = || db.query_row(left, [], |row| row.get::<_, bool>(0)).unwrap();
    let mut longest = 0;
    while left() {
        get(store.flush());
        longest = longest.max(std::fs::metadata(dir.path().join(format!("{DATABASE}-wal"))).unwrap().len());
    }
    let bound = 2 * 4096 * u64::try_from(checkpoint::RESTART_AT).unwrap();
    assert!(longest < bound, "{longest} bytes");
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

fn keys(text: &str) -> Option<crate::store::SecretKeys> {
    let key = |byte| format!("{byte}{byte}").repeat(32);
    Some(crate::store::SecretKeys::parse(&text.chars().map(|byte| key(byte) + "\n").collect::<String>()).unwrap())
}

fn open_with(dir: &Path, keys: Option<crate::store::SecretKeys>) -> Result<SqliteStore, StoreError> {
    let disk = Disk::leaving(Reserve::Bytes(0));
    SqliteStore::open_sealed(dir, Clock::system(), Retention::default(), disk, keys)
}

fn open_keyed() -> (Arc<dyn Store>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Arc::new(open_with(dir.path(), keys("1")).unwrap()), dir)
}

mod with_a_key {
    use super::*;

    contract!(open_keyed);
}

fn secretive(marker: &str) -> String {
    let auth = serde_json::json!({"type": "bearer", "token": marker});
    serde_json::json!({"auth": auth, "headers": {"x": marker}, "dead_letters": {"max_items": 3}}).to_string()
}

/// Every byte of every file of the directory.
fn bytes(dir: &Path) -> Vec<u8> {
    let files = std::fs::read_dir(dir).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    files.flatten().collect()
}

fn holds(dir: &Path, text: &str) -> bool {
    bytes(dir).windows(text.len()).any(|part| part == text.as_bytes())
}

/// What the tables with secrets hold.
fn everything(dir: &Path) -> Vec<String> {
    let db = Connection::open(dir.join("hookmill.db")).unwrap();
    let mut select = db
        .prepare(
            "SELECT key || id || settings || version || updated_at FROM endpoints
             UNION ALL SELECT name || chain FROM chains UNION ALL SELECT name || quote(value) FROM meta
             UNION ALL SELECT type || name || sql FROM sqlite_schema ORDER BY 1",
        )
        .unwrap();
    let rows = select.query_map([], |row| row.get::<_, Option<String>>(0)).unwrap();
    rows.filter_map(Result::unwrap).collect()
}

fn change(settings: String) -> EndpointChange {
    EndpointChange { settings, state_changed: false, state_reason: None, drop_pending: None }
}

/// A store with secrets of every kind in it, old ones and those of a deleted endpoint among them.
fn fill(store: &SqliteStore) -> EndpointKey {
    let made = get(store.create_endpoint("a".parse().unwrap(), secretive("marker-old"))).key;
    get(store.update_endpoint(made, change(secretive("marker-new"))));
    let gone = get(store.create_endpoint("b".parse().unwrap(), secretive("marker-gone"))).key;
    get(store.delete_endpoint(gone));
    let chain = format!("{{\"steps\":[{}]}}", secretive("marker-chain"));
    get(store.put_chain("c".to_owned(), Some(chain)));
    made
}

fn endpoints(store: &SqliteStore) -> Vec<EndpointRow> {
    get(store.endpoints(EndpointKey(0), 9))
}

#[test]
fn with_a_key_no_secret_stands_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), keys("1")).unwrap();
    let key = fill(&store);
    assert!(!holds(dir.path(), "marker"), "while it is open");
    let (loaded, endpoints) = (get(store.load()), endpoints(&store));
    assert_eq!((endpoints.len(), endpoints[0].key), (1, key));
    assert!(endpoints[0].settings == secretive("marker-new"));
    assert!(loaded.chains[0].1.contains("marker-chain"));
    drop(store);
    assert!(!holds(dir.path(), "marker"), "and closed");
}

#[test]
fn a_key_that_comes_later_seals_everything_and_leaves_no_copy() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), None).unwrap();
    fill(&store);
    drop(store);
    assert!(holds(dir.path(), "marker-new") && holds(dir.path(), "marker-chain"), "as it always was");
    let store = open_with(dir.path(), keys("1")).unwrap();
    assert!(!holds(dir.path(), "marker"), "before anything can go on");
    let (loaded, endpoints) = (get(store.load()), endpoints(&store));
    assert!(endpoints[0].settings == secretive("marker-new") && endpoints[0].version == 2);
    assert!(loaded.chains[0].1.contains("marker-chain"));
}

#[test]
fn without_the_right_key_nothing_opens_and_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), keys("1")).unwrap();
    fill(&store);
    drop(store);
    let id = keys("1").unwrap().id().to_owned();
    let before = everything(dir.path());
    for given in [None, keys("2"), keys("23")] {
        let Err(StoreError::Unusable(detail)) = open_with(dir.path(), given) else { panic!("opened") };
        assert!(detail.contains(&id) && detail.contains("--secret-key-file"), "{detail}");
        assert_eq!(everything(dir.path()), before);
    }
    assert!(open_with(dir.path(), keys("1")).is_ok());
}

#[test]
fn a_new_first_key_takes_the_place_of_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let [old, new] = ["1", "2"].map(|key| keys(key).unwrap().id().to_owned());
    fill(&open_with(dir.path(), keys("1")).unwrap());
    assert!(holds(dir.path(), &old));
    let store = open_with(dir.path(), keys("21")).unwrap();
    assert!(endpoints(&store)[0].settings == secretive("marker-new"));
    assert!(holds(dir.path(), &new) && !holds(dir.path(), &old), "sealed anew");
    drop(store);
    assert!(open_with(dir.path(), keys("1")).is_err());
    let store = open_with(dir.path(), keys("2")).unwrap();
    assert!(get(store.load()).chains[0].1.contains("marker-chain"));
}

#[test]
fn a_secret_that_was_moved_between_endpoints_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), keys("1")).unwrap();
    for id in ["a", "b"] {
        get(store.create_endpoint(id.parse().unwrap(), secretive(id)));
    }
    drop(store);
    let db = Connection::open(dir.path().join("hookmill.db")).unwrap();
    db.execute_batch("UPDATE endpoints SET settings = (SELECT settings FROM endpoints WHERE id = 'a')").unwrap();
    drop(db);
    let store = open_with(dir.path(), keys("1")).unwrap();
    let Err(StoreError::Unusable(detail)) = wait(store.endpoints(EndpointKey(0), 9)) else { panic!("loaded") };
    assert!(detail.contains("endpoint b") && detail.contains("/auth/token"), "{detail}");
}

#[test]
fn a_rewrite_that_was_cut_off_is_made_by_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open_with(dir.path(), None).unwrap());
    let mut db = schema::open_writer(&dir.path().join("hookmill.db"), |_| Ok(())).unwrap();
    sealed::seal_all(&mut db, &keys("1").unwrap()).unwrap();
    drop(db);
    assert!(holds(dir.path(), "marker"), "freed pages keep it");
    drop(open_with(dir.path(), keys("1")).unwrap());
    assert!(!holds(dir.path(), "marker"));
}

#[test]
fn a_key_that_comes_after_everything_was_deleted_leaves_no_copy_either() {
    let dir = tempfile::tempdir().unwrap();
    let store = open_with(dir.path(), None).unwrap();
    get(store.put_chain("c".to_owned(), Some(secretive("marker-chain"))));
    get(store.put_chain("c".to_owned(), None));
    drop(store);
    assert!(holds(dir.path(), "marker"), "freed pages keep it");
    drop(open_with(dir.path(), keys("1")).unwrap());
    assert!(!holds(dir.path(), "marker"));
}

#[test]
fn of_a_deleted_endpoint_nothing_is_kept_but_its_bounds_and_whose_it_was() {
    let dir = tempfile::tempdir().unwrap();
    fill(&open_with(dir.path(), None).unwrap());
    let db = Connection::open(dir.path().join("hookmill.db")).unwrap();
    let kept: String = db.query_row("SELECT settings FROM endpoints WHERE id = 'b'", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, r#"{"dead_letters":{"max_items":3},"tenant":null}"#);
}

/// Keeps the thread that reads lists busy until the sender is dropped, after it has begun.
fn busy(store: &SqliteStore) -> (mpsc::Sender<()>, Reply<()>) {
    let (release, released) = mpsc::channel::<()>();
    let (begun, begins) = mpsc::channel();
    let reading = store.read(move |_| {
        let _heard = begun.send(());
        let _released = released.recv();
        Ok(())
    });
    begins.recv().unwrap();
    (release, reading)
}

#[test]
fn what_nobody_waits_for_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), Clock::system(), Retention::default()).unwrap();
    let made = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let reading = || {
        let made = Arc::clone(&made);
        store.look(move |_| Ok(made.fetch_add(1, Ordering::SeqCst)))
    };
    let (release, first) = busy(&store);
    (0..20).for_each(|_| drop(reading()));
    let wanted = reading();
    drop(release);
    get(first);
    assert_eq!(get(wanted), 0, "readings that were given up before");
}

#[test]
fn so_many_readings_wait_and_no_more_but_what_hookmill_needs_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(dir.path(), Clock::system(), Retention::default()).unwrap();
    let list = || store.events(crate::store::EventFilter { limit: 1, ..Default::default() });
    let (release, first) = busy(&store);
    let waiting: Vec<_> = (0..readings::PLACES).map(|_| list()).collect();
    let (refused, needed) = (wait(list()), store.totals());
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    drop(release);
    get(first);
    waiting.into_iter().for_each(|list| assert!(get(list).is_empty()));
    assert_eq!(get(needed).accepted, 0);
    assert!(get(list()).is_empty());
    let places: Vec<_> = (0..readings::PLACES).map_while(|_| store.lists.place(None).ok()).collect();
    assert_eq!(places.len(), readings::PLACES, "all came back");
}
