//! Folds the write-ahead log into the file, on a thread of its own.

use std::{
    path::Path,
    sync::{Arc, mpsc},
    thread,
};

use rusqlite::Connection;
use tracing::warn;

use super::{Shared, failed, spawn};
use crate::error::StoreError;

/// Pages written between two checkpoints.
pub(super) const EVERY: i64 = 1024;

/// Pages in the log beyond which writing waits a moment, so that the log can start anew.
pub(super) const RESTART_AT: i64 = 4096;

/// Starts the thread; it checkpoints at each message and, one last time, when the sender has gone.
pub(super) fn start(
    path: &Path,
    shared: Arc<Shared>,
) -> Result<(mpsc::SyncSender<()>, thread::JoinHandle<()>), StoreError> {
    let db = Connection::open(path).map_err(failed)?;
    // Waiting for readers holds the writer up: rather try again the next time.
    db.busy_timeout(std::time::Duration::from_millis(20)).map_err(failed)?;
    db.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    let (sender, receiver) = mpsc::sync_channel::<()>(1);
    let run = move || {
        for () in receiver {
            if let Err(error) = checkpoint(&db) {
                shared.metrics.errors.one("checkpoint");
                warn!(%error, "checkpoint failed");
            }
        }
        if let Err(error) = run_mode(&db, "TRUNCATE") {
            warn!(%error, "last checkpoint failed");
        }
    };
    Ok((sender, spawn("store-checkpoint", run)?))
}

fn checkpoint(db: &Connection) -> rusqlite::Result<()> {
    // Most of the work is done beside the writer. What came in meanwhile is little; only for that is the writer held.
    let pages = run_mode(db, "PASSIVE")?;
    if pages > RESTART_AT {
        run_mode(db, "RESTART")?;
    }
    Ok(())
}

/// Tells the pages that the log held.
fn run_mode(db: &Connection, mode: &str) -> rusqlite::Result<i64> {
    db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(1))
}
