//! Whether a database is whole: its pages, and what its rows say of each other.

use std::path::Path;

use rusqlite::Connection;

use super::{
    super::{
        read::{self, Sql},
        schema,
    },
    open,
};
use crate::error::StoreError;

/// Damages that are told at most.
const TOLD: usize = 100;

/// What must not be found, and what it would mean.
const NEVER: [(&str, &str); 7] = [
    (
        "SELECT value - (SELECT value FROM meta WHERE name = 'judged_through')
             - (SELECT count(*) FROM events WHERE seq > (SELECT value FROM meta WHERE name = 'judged_through'))
         FROM meta WHERE name = 'last_seq'",
        "accepted events that wait to be routed are missing",
    ),
    (
        "SELECT count(*) FROM deliveries d WHERE d.state IN (0, 5) AND NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = d.seq)",
        "pending deliveries have no event",
    ),
    (
        "SELECT count(*) FROM deliveries d WHERE d.state = 2 AND d.replayed_as IS NULL
             AND NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = d.seq)",
        "dead letters have no event",
    ),
    (
        "SELECT count(*) FROM verdicts v WHERE v.state = 4 AND NOT EXISTS (SELECT 1 FROM events e WHERE e.seq = v.seq)",
        "events that a debounce rule holds are missing",
    ),
    (
        "SELECT abs((SELECT count(*) FROM verdicts WHERE state = 4)
             - coalesce((SELECT value FROM totals WHERE endpoint = 0 AND name = 'debouncing'), 0))",
        "events that a debounce rule holds are counted wrongly",
    ),
    (
        "SELECT count(*) FROM
             (SELECT endpoint, count(*) AS n FROM deliveries WHERE state IN (0, 5) GROUP BY endpoint) d
             FULL JOIN (SELECT endpoint, value FROM totals WHERE name = 'pending' AND endpoint > 0) t
                 ON t.endpoint = d.endpoint
         WHERE coalesce(d.n, 0) <> coalesce(t.value, 0)",
        "endpoints have another number of pending deliveries than is counted",
    ),
    (
        "SELECT count(*) FROM
             (SELECT endpoint, count(*) AS n FROM deliveries WHERE state = 2 AND replayed_as IS NULL GROUP BY endpoint) d
             FULL JOIN (SELECT endpoint, value FROM totals WHERE name = 'dead_kept' AND endpoint > 0) t
                 ON t.endpoint = d.endpoint
         WHERE coalesce(d.n, 0) <> coalesce(t.value, 0)",
        "endpoints have another number of dead letters than is counted",
    ),
];

/// Reads the whole database at `path` and tells what is wrong with it; nothing when it is whole. Takes as long as reading
/// the file does, also beside a server that runs on it.
///
/// # Errors
/// When it is not there, was written by a newer version, or is no database at all.
pub(crate) fn check(path: &Path) -> Result<Vec<String>, StoreError> {
    let db = open(path)?;
    let mut damages = match pages(&db) {
        Ok(damages) => damages,
        Err(error) => vec![error.to_string()],
    };
    // What lies on damaged pages says nothing.
    if damages.is_empty() {
        damages = sums(&db).unwrap_or_else(|error| vec![error.to_string()]);
    }
    Ok(damages)
}

fn pages(db: &Connection) -> Sql<Vec<String>> {
    let mut check = db.prepare(&format!("PRAGMA integrity_check({TOLD})"))?;
    let told = check.query_map([], |row| row.get::<_, String>(0))?.collect::<Sql<Vec<_>>>()?;
    Ok(told.into_iter().filter(|line| line != "ok").collect())
}

fn sums(db: &Connection) -> Sql<Vec<String>> {
    let mut damages = Vec::new();
    for (sql, meaning) in NEVER {
        let found: i64 = match db.query_row(sql, [], |row| row.get(0)) {
            // An older schema lacks what this one is about.
            Err(error) if schema::version(db)? < schema::known() => {
                tracing::debug!(%error, "not checked: the schema is older");
                0
            }
            found => found?,
        };
        if found != 0 {
            damages.push(format!("{meaning}: {found}"));
        }
    }
    let totals = read::totals(db)?;
    if !totals.add_up() {
        damages.push("the sums of events and deliveries do not add up".to_owned());
    }
    Ok(damages)
}
