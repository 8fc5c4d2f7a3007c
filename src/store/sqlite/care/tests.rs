use std::{fs, path::Path};

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    super::{SqliteStore, UNFINISHED},
    *,
};
use crate::clock::Timestamp;

/// A directory with a store of so many events, each with a pending delivery, that is closed.
fn home(events: i64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let db = schema::open_writer(&dir.path().join(DATABASE), |_| Ok(())).unwrap();
    db.execute_batch("BEGIN").unwrap();
    for seq in 1..=events {
        let data = json!({"n": seq, "filler": "x".repeat(400)}).to_string().into_bytes();
        db.execute("INSERT INTO events VALUES (?1, 'e' || ?1, '', 't.a', NULL, NULL, 0, 0, ?2, NULL)", (seq, data))
            .unwrap();
        db.execute("INSERT INTO deliveries (seq, endpoint, run, state, created_at) VALUES (?1, 1, 0, 0, 0)", [seq])
            .unwrap();
    }
    for (endpoint, name) in [(0, "routed"), (0, "created"), (0, "pending"), (1, "pending"), (1, "created")] {
        db.execute("INSERT INTO totals VALUES (?1, ?2, ?3)", (endpoint, name, events)).unwrap();
    }
    db.execute("UPDATE meta SET value = ?1 WHERE name IN ('last_seq', 'judged_through')", [events]).unwrap();
    db.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    dir
}

fn database(dir: &TempDir) -> PathBuf {
    dir.path().join(DATABASE)
}

fn change(dir: &TempDir, sql: &str) {
    Connection::open(database(dir)).unwrap().execute_batch(sql).unwrap();
}

/// Overwrites some pages on which only rows of `table` lie.
fn damage(dir: &TempDir, table: &str, pages: usize) {
    let path = database(dir);
    let db = Connection::open(&path).unwrap();
    let size: i64 = db.pragma_query_value(None, "page_size", |row| row.get(0)).unwrap();
    let mut select =
        db.prepare("SELECT pageno FROM dbstat WHERE name = ?1 AND pagetype = 'leaf' ORDER BY path").unwrap();
    let leaves: Vec<i64> = select.query_map([table], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    drop(select);
    db.close().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let middle = leaves.len() / 2;
    for page in &leaves[middle..middle + pages] {
        let start = usize::try_from((page - 1) * size).unwrap();
        bytes[start..start + usize::try_from(size).unwrap()].fill(0xa5);
    }
    fs::write(&path, bytes).unwrap();
}

fn exported(path: &Path, which: Which) -> (Exported, Vec<Value>) {
    let mut out = Vec::new();
    let exported = export(path, which, &mut out).unwrap();
    (exported, String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

#[test]
fn a_whole_store_has_no_damages() {
    for events in [0, 3000] {
        assert_eq!(check(&database(&home(events))).unwrap(), Vec::<String>::new());
    }
}

#[test]
fn what_rows_say_against_each_other_is_a_damage() {
    let wrongs = [
        ("UPDATE meta SET value = 11 WHERE name = 'last_seq'", "accepted events that wait to be routed are missing: 1"),
        ("DELETE FROM events WHERE seq = 4", "pending deliveries have no event: 1"),
        ("UPDATE deliveries SET state = 2 WHERE seq = 4", "another number of pending deliveries than is counted: 1"),
        ("UPDATE deliveries SET state = 2 WHERE seq = 4", "another number of dead letters than is counted: 1"),
        (
            "UPDATE totals SET value = 9 WHERE name = 'pending' AND endpoint = 1",
            "pending deliveries than is counted: 1",
        ),
        ("INSERT INTO verdicts VALUES (99, 4)", "events that a debounce rule holds are missing: 1"),
        ("UPDATE totals SET value = 9 WHERE name = 'routed'", "do not add up"),
        ("UPDATE totals SET value = 9 WHERE name = 'created'", "do not add up"),
    ];
    for (sql, told) in wrongs {
        let dir = home(10);
        change(&dir, sql);
        let damages = check(&database(&dir)).unwrap();
        assert!(damages.iter().any(|damage| damage.contains(told)), "{sql}: {damages:?}");
    }
}

#[test]
fn damaged_pages_are_found_and_the_rest_is_read_out() {
    let dir = home(3000);
    damage(&dir, "events", 3);
    assert!(!check(&database(&dir)).unwrap().is_empty());
    let (told, lines) = exported(&database(&dir), Which::All);
    assert!(lines.len() > 2900 && lines.len() < 3000, "{}", lines.len());
    let lost: u64 = told.unreadable.iter().map(|(first, last)| last - first + 1).sum();
    assert_eq!((told.events, told.events + lost), (lines.len() as u64, 3000), "{told:?}");
    let missing = |n: u64| told.unreadable.iter().any(|(first, last)| (*first..=*last).contains(&n));
    let present: Vec<_> = lines.iter().map(|line| line["data"]["n"].as_u64().unwrap()).collect();
    assert_eq!(present, (1..=3000).filter(|n| !missing(*n)).collect::<Vec<_>>());
}

#[test]
fn a_damage_to_the_end_ends_the_export() {
    let dir = home(50);
    change(&dir, "UPDATE events SET data = x'7b' WHERE seq > 40");
    let (told, lines) = exported(&database(&dir), Which::All);
    assert_eq!((lines.len(), told.unreadable), (40, vec![(41, 50)]));
}

#[test]
fn an_export_has_the_form_in_which_events_are_published() {
    let dir = home(0);
    change(
        &dir,
        r#"INSERT INTO events VALUES (1, 'a', 'acme', 't.a', 'k', 'src', 1500, 0, CAST('{"x":' || char(10) || ' 1.50}' AS BLOB), '{"m":1}');
           INSERT INTO events VALUES (2, 'b', '', 't.b', NULL, NULL, 0, 0, x'31', NULL);
           INSERT INTO deliveries (seq, endpoint, run, state, created_at) VALUES (1, 1, 0, 1, 0), (2, 1, 0, 1, 0), (2, 2, 0, 0, 0);
           UPDATE meta SET value = 2 WHERE name <> 'epoch'"#,
    );
    let mut out = Vec::new();
    export(&database(&dir), Which::All, &mut out).unwrap();
    let first = r#"{"topic":"t.a","id":"a","tenant":"acme","key":"k","source":"src","timestamp":"1970-01-01T00:00:01.500Z","metadata":{"m":1},"data":{"x":  1.50}}"#;
    let second = r#"{"topic":"t.b","id":"b","timestamp":"1970-01-01T00:00:00.000Z","data":1}"#;
    assert_eq!(String::from_utf8(out).unwrap(), format!("{first}\n{second}\n"));
    let (_, undelivered) = exported(&database(&dir), Which::Undelivered);
    assert_eq!(undelivered.iter().map(|line| &line["id"]).collect::<Vec<_>>(), ["b"]);
}

#[test]
fn a_backup_is_put_back_under_a_new_epoch() {
    let (dir, other) = (home(100), tempfile::tempdir().unwrap());
    let file = other.path().join("a.backup");
    let cursor_key = |path: &Path| super::super::cursors::key(&Connection::open(path).unwrap()).unwrap();
    super::super::cursors::keep_key(&Connection::open(database(&dir)).unwrap()).unwrap();
    let copied = backup(dir.path(), &file).unwrap();
    assert_eq!((copied.events, copied.totals.accepted), (100, 100));
    let to = other.path().join("new");
    let restored = restore(&file, &to, false, Timestamp::default()).unwrap();
    assert_eq!((restored.overview.events, restored.replaced), (100, None));
    assert_ne!(restored.overview.epoch, copied.epoch);
    assert_eq!(cursor_key(&to.join(DATABASE)), cursor_key(&database(&dir)), "cursors go on");
    assert_eq!(check(&to.join(DATABASE)).unwrap(), Vec::<String>::new());
    assert_eq!(overview(&file).unwrap().epoch, copied.epoch, "the backup itself stays as it is");
    #[cfg(unix)]
    for path in [&file, &to.join(DATABASE)] {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600, "{}", path.display());
    }
    let left: Vec<_> = fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "no drafts: {left:?}");
}

#[test]
fn nothing_is_written_over() {
    let (dir, other) = (home(1), home(2));
    let file = dir.path().join("a.backup");
    backup(dir.path(), &file).unwrap();
    let before = fs::read(&file).unwrap();
    assert!(matches!(backup(dir.path(), &file), Err(StoreError::Unusable(_))));
    assert_eq!(fs::read(&file).unwrap(), before);
    assert!(restore(&file, other.path(), false, Timestamp::default()).is_err());
    assert_eq!(overview(&database(&other)).unwrap().events, 2);
    let restored = restore(&file, other.path(), true, Timestamp::from_millis(7)).unwrap();
    assert_eq!(overview(&database(&other)).unwrap().events, 1);
    assert_eq!(overview(&restored.replaced.unwrap()).unwrap().events, 2, "moved aside");
}

#[test]
fn what_is_damaged_or_no_store_is_neither_backed_up_nor_restored() {
    let (dir, other) = (home(3000), tempfile::tempdir().unwrap());
    let file = other.path().join("a.backup");
    backup(dir.path(), &file).unwrap();
    damage(&dir, "events", 1);
    let refused = backup(dir.path(), &other.path().join("b")).unwrap_err().to_string();
    assert!(refused.contains("malformed") || refused.contains("damaged"), "{refused}");
    assert!(restore(&database(&dir), other.path(), false, Timestamp::default()).is_err());
    let junk = other.path().join("junk");
    fs::write(&junk, "no database at all, but long enough to be one for all that can be seen from outside").unwrap();
    for path in [&junk, &other.path().join("none")] {
        assert!(restore(path, other.path(), false, Timestamp::default()).is_err());
        assert!(check(path).is_err() && overview(path).is_err());
    }
    let left: Vec<_> = fs::read_dir(other.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    let left: Vec<_> =
        left.iter().filter(|name| *name != "a.backup" && *name != "junk" && *name != "hookmill.lock").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_stands_in_the_log_alone_is_restored_too() {
    let (dir, other) = (home(3), tempfile::tempdir().unwrap());
    // As a crash leaves it: committed, and not in the file itself.
    let db = Connection::open(database(&dir)).unwrap();
    db.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
    db.execute_batch(
        "BEGIN; INSERT INTO events SELECT 4, 'e4', tenant, topic, key, source, timestamp, accepted_at, data, metadata FROM events
             WHERE seq = 1;
         UPDATE meta SET value = 4 WHERE name = 'last_seq'; COMMIT",
    )
    .unwrap();
    for ending in ["", "-wal"] {
        fs::copy(beside(&database(&dir), ending), beside(&other.path().join("copy"), ending)).unwrap();
    }
    drop(db);
    let to = other.path().join("new");
    assert_eq!(restore(&other.path().join("copy"), &to, false, Timestamp::default()).unwrap().overview.events, 4);
    // What a restore has moved aside is put back with its log, too.
    let back = restore(&database(&home(1)), &to, true, Timestamp::from_millis(1)).unwrap().replaced.unwrap();
    let undone = restore(&back, &to, true, Timestamp::from_millis(2)).unwrap();
    assert_eq!((undone.overview.events, overview(&to.join(DATABASE)).unwrap().events), (4, 4));
}

#[test]
fn no_server_starts_on_a_restore_that_has_not_come_to_its_end() {
    let (dir, clock) = (home(1), crate::clock::Clock::system());
    let start = || SqliteStore::open(dir.path(), clock, crate::Retention::default()).map(drop);
    fs::write(dir.path().join(UNFINISHED), "").unwrap();
    let refused = start().unwrap_err().to_string();
    assert!(refused.contains("restore --replace"), "{refused}");
    restore(&database(&home(2)), dir.path(), true, Timestamp::default()).unwrap();
    start().unwrap();
    assert_eq!(overview(&database(&dir)).unwrap().events, 2);
}

#[test]
fn a_backup_touches_no_file_of_another_name_and_a_start_removes_what_a_crash_left() {
    let dir = home(1);
    let precious = dir.path().join("a.backup.partial");
    fs::write(&precious, "precious").unwrap();
    backup(dir.path(), &dir.path().join("a.backup")).unwrap();
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    let left = dir.path().join("hookmill.db.partial-00");
    fs::write(&left, "half").unwrap();
    drop(SqliteStore::open(dir.path(), crate::clock::Clock::system(), crate::Retention::default()).unwrap());
    assert!(precious.exists() && !left.exists());
}

#[test]
fn a_directory_that_a_server_has_open_is_not_restored_over() {
    let (dir, other) = (home(1), tempfile::tempdir().unwrap());
    let file = other.path().join("a.backup");
    backup(dir.path(), &file).unwrap();
    let _open = super::super::lock(dir.path()).unwrap();
    let refused = restore(&file, dir.path(), true, Timestamp::default()).unwrap_err().to_string();
    assert!(refused.contains("another process"), "{refused}");
    assert_eq!(overview(&database(&dir)).unwrap().events, 1);
}
