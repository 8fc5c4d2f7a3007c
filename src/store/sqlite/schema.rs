//! The tables, and how an older file becomes the present one.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::failed;
use crate::error::StoreError;

/// Each step takes the schema from the version of its index to the next; steps are only ever added.
const MIGRATIONS: &[&str] = &[
    VERSION_1,
    BATCHES,
    QUEUES,
    KEYS,
    DEAD_LETTERS,
    JOBS,
    DEBOUNCING,
    CHAINS,
    HOLDING,
    FORGOTTEN,
    TOKENS,
    BY_TENANT,
    ADDRESSES,
    LETTERS_BY_TENANT,
    SELDOM,
];

const VERSION_1: &str = "
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;

-- Accepted events. A row is never updated.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL,
    tenant TEXT NOT NULL,          -- '' for none
    topic TEXT NOT NULL,
    key TEXT,
    source TEXT,
    timestamp INTEGER NOT NULL,    -- moments are milliseconds since the epoch
    accepted_at INTEGER NOT NULL,
    data BLOB NOT NULL,
    metadata TEXT
);
CREATE UNIQUE INDEX events_by_id ON events (id, tenant);

-- Verdicts on events that went to nobody: 1 unmatched, 2 suppressed.
CREATE TABLE verdicts (seq INTEGER PRIMARY KEY, state INTEGER NOT NULL);

CREATE TABLE deliveries (
    seq INTEGER NOT NULL,
    endpoint INTEGER NOT NULL,
    run INTEGER NOT NULL,
    state INTEGER NOT NULL,        -- 0 pending, 1 delivered, 2 dead letter, 3 dropped
    reason TEXT,
    created_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    spent INTEGER NOT NULL DEFAULT 0,
    due INTEGER,
    asked INTEGER NOT NULL DEFAULT 0,
    first_at INTEGER,              -- start of the first attempt
    last_at INTEGER,               -- start of the last attempt, and what came of it
    last_micros INTEGER,
    last_status INTEGER,
    last_outcome TEXT,
    last_error TEXT,
    settled_at INTEGER,
    replayed_as INTEGER,
    PRIMARY KEY (seq, endpoint, run)
) WITHOUT ROWID;
CREATE INDEX deliveries_by_endpoint ON deliveries (endpoint, seq);
CREATE INDEX deliveries_pending ON deliveries (endpoint, seq, run, due) WHERE state = 0;
CREATE INDEX deliveries_due ON deliveries (endpoint, due, seq, run) WHERE state = 0 AND due IS NOT NULL;
CREATE INDEX deliveries_dead ON deliveries (seq, endpoint, run) WHERE state = 2;

-- Failed attempts, and every attempt from the second on. A first attempt that succeeded is in its delivery's row.
CREATE TABLE attempts (
    seq INTEGER NOT NULL,
    endpoint INTEGER NOT NULL,
    run INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    status INTEGER,
    outcome TEXT NOT NULL,
    error TEXT,
    response BLOB,
    PRIMARY KEY (seq, endpoint, run, number)
) WITHOUT ROWID;

-- The conservation sums, kept in the transactions that change what they count. Endpoint 0 is the sum over all.
CREATE TABLE totals (endpoint INTEGER, name TEXT, value INTEGER NOT NULL, PRIMARY KEY (endpoint, name)) WITHOUT ROWID;

CREATE TABLE endpoints (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    settings TEXT NOT NULL,
    version INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    state_since INTEGER NOT NULL,
    state_reason TEXT,
    deleted_at INTEGER,
    dropping TEXT,                 -- why its pending deliveries are dropped
    breaker_until INTEGER,
    breaker_cooldown INTEGER,
    breaker_since INTEGER,
    failing_since INTEGER
);
CREATE UNIQUE INDEX endpoints_by_id ON endpoints (id) WHERE deleted_at IS NULL;

CREATE TABLE rules (name TEXT PRIMARY KEY, rule TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE windows (
    rule TEXT, key TEXT, passed_at INTEGER NOT NULL, suppressed INTEGER NOT NULL, PRIMARY KEY (rule, key)
) WITHOUT ROWID;

INSERT INTO meta VALUES ('epoch', lower(hex(randomblob(8)))), ('last_seq', 0), ('judged_through', 0);
";

/// How many dead letters are kept, and what they weigh.
const DEAD_LETTERS: &str = "
-- What the event of a dead letter weighs, counted in the totals `dead_bytes` as long as it is kept and not replayed.
ALTER TABLE deliveries ADD COLUMN weight INTEGER;
UPDATE deliveries SET weight = 256 + coalesce(
    (SELECT length(e.data) + coalesce(octet_length(e.metadata), 0) FROM events e WHERE e.seq = deliveries.seq), 0)
    WHERE state = 2 AND replayed_as IS NULL;
CREATE INDEX deliveries_kept ON deliveries (endpoint, settled_at, seq, run) WHERE state = 2 AND replayed_as IS NULL;
INSERT INTO totals SELECT endpoint, 'dead_kept', count(*) FROM deliveries
    WHERE state = 2 AND replayed_as IS NULL GROUP BY endpoint;
INSERT INTO totals SELECT endpoint, 'dead_bytes', sum(weight) FROM deliveries
    WHERE state = 2 AND replayed_as IS NULL GROUP BY endpoint;
INSERT INTO totals SELECT 0, name, sum(value) FROM totals WHERE name IN ('dead_kept', 'dead_bytes') GROUP BY name;
";

/// Work on many dead letters.
const JOBS: &str = "
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    state TEXT NOT NULL,
    rate REAL,
    total INTEGER NOT NULL,
    done INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    ended_at INTEGER,
    -- which dead letters
    endpoint INTEGER, topic TEXT, reason TEXT, tenant TEXT, since INTEGER, until INTEGER,
    -- the last one that it looked at
    at_endpoint INTEGER, at_since INTEGER, at_seq INTEGER, at_run INTEGER
) WITHOUT ROWID;
CREATE INDEX jobs_ended ON jobs (ended_at);
";

const BATCHES: &str = "
-- Requests for several deliveries of an endpoint. What a delivery or an attempt names in its column `batch` is one of these;
-- error and response of such an attempt are here.
CREATE TABLE batches (
    endpoint INTEGER NOT NULL,
    name TEXT NOT NULL,            -- seq, run and number of the attempt of its first delivery
    id TEXT NOT NULL,
    size INTEGER NOT NULL,
    first INTEGER NOT NULL,        -- seqs
    last INTEGER NOT NULL,
    at INTEGER NOT NULL,
    error TEXT,
    response BLOB,
    PRIMARY KEY (endpoint, name)
) WITHOUT ROWID;
CREATE INDEX batches_by_age ON batches (at);
-- Of a delivery, that of its last attempt.
ALTER TABLE deliveries ADD COLUMN batch TEXT;
ALTER TABLE attempts ADD COLUMN batch TEXT;
";

/// What waits is counted by the weight of its events too; a row has it as long as it is pending, and longer without a use.
const QUEUES: &str = "
ALTER TABLE deliveries ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
UPDATE deliveries SET bytes = (SELECT length(data) + coalesce(length(CAST(metadata AS BLOB)), 0) + 256 FROM events e
    WHERE e.seq = deliveries.seq) WHERE state = 0;
INSERT INTO totals SELECT endpoint, 'pending_bytes', sum(bytes) FROM deliveries WHERE state = 0 GROUP BY endpoint;
";

/// What waits is found by the key of its event too; a row that never waited has none.
const KEYS: &str = "
ALTER TABLE deliveries ADD COLUMN key TEXT;
UPDATE deliveries SET key = (SELECT e.key FROM events e WHERE e.seq = deliveries.seq) WHERE state = 0;
CREATE INDEX deliveries_by_key ON deliveries (endpoint, key, seq, run) WHERE state = 0 AND key IS NOT NULL;
";

const DEBOUNCING: &str = "
-- From here on verdicts say also: 4 held by a debounce rule, 5 replaced by a later one of its key.
CREATE INDEX verdicts_held ON verdicts (seq) WHERE state = 4;

-- Windows are found by another key than before.
DROP TABLE windows;
CREATE TABLE windows (
    rule TEXT NOT NULL,
    key TEXT NOT NULL,
    measured_from INTEGER,
    suppressed INTEGER NOT NULL,
    held INTEGER,                  -- the seq of the event that waits
    held_since INTEGER,
    taken_by INTEGER,              -- the seq of the event that took the slot
    PRIMARY KEY (rule, key)
) WITHOUT ROWID;
CREATE TABLE rule_totals (rule TEXT PRIMARY KEY, suppressed INTEGER NOT NULL, coalesced INTEGER NOT NULL) WITHOUT ROWID;

-- How many events did not pass since the last of the key that did, where there are any.
CREATE TABLE carried (seq INTEGER PRIMARY KEY, suppressed INTEGER NOT NULL);

-- Deliveries that were not made in the order of their seqs: replays, and events that were held.
ALTER TABLE deliveries ADD COLUMN late INTEGER;
UPDATE deliveries SET late = 1 WHERE run > 0 AND state = 0;
CREATE INDEX deliveries_late ON deliveries (endpoint, created_at) WHERE state = 0 AND late = 1;
";

const CHAINS: &str = "
CREATE TABLE chains (name TEXT PRIMARY KEY, chain TEXT NOT NULL) WITHOUT ROWID;
";

const HOLDING: &str = "
-- From here on deliveries say also: 5 held by the endpoint's own debounce.
CREATE INDEX deliveries_held ON deliveries (endpoint, seq, run) WHERE state = 5;
-- How many of its key the endpoint did not get since the last that it did, where there are any.
ALTER TABLE deliveries ADD COLUMN suppressed INTEGER;
";

/// Of deleted endpoints no secret is kept.
const FORGOTTEN: &str = "
UPDATE endpoints SET settings = iif(json_valid(settings),
    json_object('dead_letters', json_extract(settings, '$.dead_letters'),
        'tenant', json_extract(settings, '$.tenant')), '{}') WHERE deleted_at IS NOT NULL;
";

/// Who may call, and whose an endpoint is.
const TOKENS: &str = "
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT,
    scopes TEXT NOT NULL,          -- separated by spaces
    tenant TEXT,
    hash BLOB NOT NULL,            -- the SHA-256 of the token, which is kept nowhere
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
) WITHOUT ROWID;
-- Of a job: the tenant who made it, and whose dead letters alone it may touch.
ALTER TABLE jobs ADD COLUMN within TEXT;
ALTER TABLE endpoints ADD COLUMN tenant TEXT
    AS (CASE WHEN json_valid(settings) THEN settings ->> '$.tenant' END) VIRTUAL;
CREATE INDEX endpoints_by_tenant ON endpoints (tenant) WHERE tenant IS NOT NULL;
";

/// A tenant's events are found without a look at those of others. The rest, without a tenant, cost nothing here.
const BY_TENANT: &str = "
CREATE INDEX events_by_tenant ON events (tenant, seq) WHERE tenant <> '';
";

/// Which address an attempt reached, and whether that was a public one. Of a delivery, that of its last attempt.
const ADDRESSES: &str = "
ALTER TABLE attempts ADD COLUMN address TEXT;
ALTER TABLE attempts ADD COLUMN public INTEGER;
ALTER TABLE deliveries ADD COLUMN last_address TEXT;
ALTER TABLE deliveries ADD COLUMN last_public INTEGER;
";

/// A tenant's dead letters are found without a look at those of others: each says whose its event is. The rest, without a tenant,
/// cost nothing here.
const LETTERS_BY_TENANT: &str = "
ALTER TABLE deliveries ADD COLUMN tenant TEXT;
UPDATE deliveries SET tenant = (SELECT nullif(e.tenant, '') FROM events e WHERE e.seq = deliveries.seq) WHERE state = 2;
CREATE INDEX letters_by_tenant ON deliveries (tenant, seq, endpoint, run)
    WHERE state = 2 AND replayed_as IS NULL AND tenant IS NOT NULL;
CREATE INDEX replayed_by_tenant ON deliveries (tenant, seq, endpoint, run)
    WHERE state = 2 AND replayed_as IS NOT NULL AND tenant IS NOT NULL;
";

/// What is asked of few endpoints is found without a look at the settings of all.
const SELDOM: &str = "
CREATE INDEX endpoints_dropping ON endpoints (dropping) WHERE dropping IS NOT NULL;
CREATE INDEX endpoints_failed ON endpoints (key)
    WHERE breaker_until IS NOT NULL OR breaker_since IS NOT NULL OR breaker_cooldown > 0 OR failing_since IS NOT NULL;
";

/// Opens the connection that writes, and brings the file to the present schema, if `check` lets it.
pub(super) fn open_writer(
    path: &Path,
    check: impl FnOnce(&Connection) -> Result<(), StoreError>,
) -> Result<Connection, StoreError> {
    let mut db = Connection::open(path).map_err(failed)?;
    settle_pragmas(&db).map_err(failed)?;
    check(&db)?;
    migrate(&mut db)?;
    Ok(db)
}

fn settle_pragmas(db: &Connection) -> rusqlite::Result<()> {
    db.busy_timeout(std::time::Duration::from_secs(10))?;
    // Only takes effect before the first table: it lets pruning give room back in small steps.
    db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    db.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    // A thread of its own checkpoints, so that no commit pays for it.
    db.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    db.pragma_update(None, "cache_size", -16 * 1024)?;
    db.pragma_update(None, "temp_store", "MEMORY")?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(())
}

/// The version of the schema of a file; 0 where it has none yet.
pub(super) fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// The newest version that this program knows.
pub(super) fn known() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

pub(super) fn too_new(version: i64) -> String {
    format!("its schema has version {version}, this program knows {}: use a newer one", known())
}

fn migrate(db: &mut Connection) -> Result<(), StoreError> {
    let version = version(db).map_err(failed)?;
    if version > known() {
        return Err(StoreError::Unusable(too_new(version)));
    }
    for (target, migration) in (1..).zip(MIGRATIONS).skip_while(|(target, _)| *target <= version) {
        let tx = db.transaction().map_err(failed)?;
        tx.execute_batch(migration).map_err(failed)?;
        tx.pragma_update(None, "user_version", target).map_err(failed)?;
        tx.commit().map_err(failed)?;
        tracing::info!(event = "store.migrated", version = target, "store has a new schema version");
    }
    Ok(())
}

/// Opens a connection that only reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(path, flags).map_err(failed)?;
    let settle = || {
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        db.pragma_update(None, "cache_size", -4 * 1024)?;
        db.set_prepared_statement_cache_capacity(64);
        Ok(())
    };
    settle().map_err(failed)?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_file_has_the_present_version_and_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        drop(open_writer(&path, |_| Ok(())).unwrap());
        let db = open_writer(&path, |_| Ok(())).unwrap();
        let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        let vacuum: i64 = db.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
        assert_eq!((version, vacuum), (i64::try_from(MIGRATIONS.len()).unwrap(), 2));
    }

    #[test]
    fn dead_letters_of_an_older_file_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(VERSION_1).unwrap();
        db.execute_batch(
            "INSERT INTO events VALUES (1, 'a', '', 't', NULL, NULL, 0, 0, x'313131', '{\"é\":1}');
             INSERT INTO deliveries (seq, endpoint, run, state, created_at, replayed_as) VALUES
                 (1, 1, 0, 2, 0, 1), (1, 1, 1, 2, 0, NULL), (1, 2, 0, 2, 0, NULL), (1, 3, 0, 1, 0, NULL);
             PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(db);
        let db = open_writer(&path, |_| Ok(())).unwrap();
        let mut select = db.prepare("SELECT endpoint, name, value FROM totals ORDER BY name DESC, endpoint").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        let rows: Vec<(i64, String, i64)> = rows.unwrap().map(Result::unwrap).collect();
        let of = |name: &str, values: [i64; 3]| (0..).zip(values).map(|(key, n)| (key, name.to_owned(), n)).collect();
        let expected: [Vec<_>; 2] = [of("dead_kept", [2, 1, 1]), of("dead_bytes", [534, 267, 267])];
        assert_eq!(rows, expected.concat());
    }

    #[test]
    fn dead_letters_of_an_older_file_say_whose_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(VERSION_1).unwrap();
        db.execute_batch(
            "INSERT INTO events VALUES (1, 'a', '', 't', NULL, NULL, 0, 0, x'31', NULL),
                 (2, 'a', 'acme', 't', NULL, NULL, 0, 0, x'31', NULL);
             INSERT INTO deliveries (seq, endpoint, run, state, created_at) VALUES
                 (1, 1, 0, 2, 0), (2, 1, 0, 2, 0), (2, 2, 0, 1, 0);
             PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(db);
        let db = open_writer(&path, |_| Ok(())).unwrap();
        let mut select = db.prepare("SELECT seq, endpoint FROM deliveries WHERE tenant = 'acme'").unwrap();
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)));
        let rows: Vec<(i64, i64)> = rows.unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, [(2, 1)]);
        assert_eq!(db.query_row("SELECT count(tenant) FROM deliveries", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    }

    #[test]
    fn what_waits_in_an_older_file_is_counted_and_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(VERSION_1).unwrap();
        db.execute_batch(
            "INSERT INTO events VALUES (1, 'a', '', 't', 'k', NULL, 0, 0, x'31', NULL), (2, 'b', '', 't', NULL, NULL, 0, 0, x'3131', NULL);
             INSERT INTO deliveries (seq, endpoint, run, state, created_at) VALUES
                 (1, 1, 0, 1, 0), (1, 1, 1, 0, 5), (1, 2, 0, 0, 0), (2, 2, 0, 0, 0);
             PRAGMA user_version = 1;",
        )
        .unwrap();
        drop(db);
        let db = open_writer(&path, |_| Ok(())).unwrap();
        let one = |sql: &str| -> i64 { db.query_row(sql, [], |row| row.get(0)).unwrap() };
        let bytes = "SELECT value FROM totals WHERE name = 'pending_bytes' AND endpoint = ";
        assert_eq!([1, 2].map(|endpoint| one(&format!("{bytes}{endpoint}"))), [257, 257 + 258]);
        assert_eq!(one("SELECT count(*) FROM deliveries WHERE state = 0 AND key = 'k'"), 2);
        assert_eq!(one("SELECT sum(run) FROM deliveries WHERE state = 0 AND late = 1"), 1, "the replay");
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.db");
        let db = open_writer(&path, |_| Ok(())).unwrap();
        db.pragma_update(None, "user_version", 999).unwrap();
        drop(db);
        assert!(matches!(open_writer(&path, |_| Ok(())), Err(StoreError::Unusable(_))));
    }
}
