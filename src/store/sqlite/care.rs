//! Care for a data directory without a server: looked through, copied, put back, read out.

mod backup;
mod check;
mod export;

use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::{codes::unsigned, read, schema};
use crate::{error::StoreError, store::Totals};

pub(crate) use super::DATABASE;
pub(crate) use backup::{backup, restore};
pub(crate) use check::check;
pub(crate) use export::{Exported, Which, export};

/// What a database says of itself.
#[derive(Debug)]
pub(crate) struct Overview {
    /// The version of its schema; an older one is brought up to date by the next start.
    pub(crate) version: i64,
    /// Which line of seqs it holds: another one after each restore.
    pub(crate) epoch: String,
    /// Bytes of its files.
    pub(crate) size: u64,
    /// Events that are kept.
    pub(crate) events: u64,
    pub(crate) endpoints: u64,
    pub(crate) totals: Totals,
}

/// Looks at the database at `path`, also beside a server that runs on it.
///
/// # Errors
/// When it is not there, was written by a newer version, or cannot be read.
pub(crate) fn overview(path: &Path) -> Result<Overview, StoreError> {
    let db = open(path)?;
    let read = || {
        let one = |sql: &str| db.query_row(sql, [], |row| row.get(0).map(unsigned));
        Ok(Overview {
            version: schema::version(&db)?,
            epoch: db.query_row("SELECT value FROM meta WHERE name = 'epoch'", [], |row| row.get(0))?,
            size: [path.to_owned(), beside(path, "-wal")].iter().map(|file| size(file)).sum(),
            events: one("SELECT count(*) FROM events")?,
            endpoints: one("SELECT count(*) FROM endpoints WHERE deleted_at IS NULL")?,
            totals: read::totals(&db)?,
        })
    };
    read().map_err(|error: rusqlite::Error| unusable(path, &error))
}

fn size(file: &Path) -> u64 {
    std::fs::metadata(file).map_or(0, |found| found.len())
}

/// Opens the database at `path` to read. One transaction lies over all that is read, so that it fits together.
fn open(path: &Path) -> Result<Connection, StoreError> {
    if !path.is_file() {
        return Err(StoreError::Unusable(format!("{}: there is no such file", path.display())));
    }
    let db = schema::open_reader(path).map_err(|error| unusable(path, &error))?;
    let version = schema::version(&db).map_err(|error| unusable(path, &error))?;
    if version > schema::known() {
        return Err(unusable(path, &schema::too_new(version)));
    }
    if version == 0 {
        return Err(unusable(path, &"it is no store of Hookmill"));
    }
    db.execute_batch("BEGIN").map_err(|error| unusable(path, &error))?;
    Ok(db)
}

/// The file that SQLite puts beside its database under this ending.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn unusable(path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError::Unusable(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
