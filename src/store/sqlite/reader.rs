//! A thread with a connection that only reads.

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use rusqlite::Connection;

use super::{
    failed,
    readings::{Places, Taken},
    schema, spawn,
};
use crate::{
    clock::{Clock, Mono},
    error::StoreError,
    event::Tenant,
};

/// What to read, and what to do with it.
pub(super) type Reading = Box<dyn FnOnce(&Connection) + Send>;

/// Where readings go; they are made one after another.
#[derive(Clone)]
pub(super) struct Reader {
    readings: mpsc::Sender<Reading>,
    places: Arc<Places>,
}

/// No reading takes longer: it would keep the log from being folded into the file.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 20_000;

impl Reader {
    /// Starts a thread that ends when nobody can send it readings any more.
    pub(super) fn start(name: &str, path: &Path, clock: Clock) -> Result<Self, StoreError> {
        let mut db = schema::open_reader(path)?;
        let (sender, readings) = mpsc::channel::<Reading>();
        let run = move || {
            for reading in readings {
                let deadline = clock.now().mono.after(LIMIT);
                // A reading that fails answers for itself; one that cannot be limited is still made.
                let _unlimited = db.progress_handler(STEPS, Some(move || expired(clock, deadline)));
                // Everything that one reading sees, it sees at one moment.
                if let Ok(tx) = db.transaction() {
                    reading(&tx);
                }
            }
        };
        spawn(name, run)?;
        Ok(Self { readings: sender, places: Arc::default() })
    }

    /// Makes a reading later. `reading` is dropped unmade when the store is closed.
    pub(super) fn read(&self, reading: Reading) {
        let _closed = self.readings.send(reading);
    }

    /// A place for a reading that a caller, or a tenant, asks for, to be held until it has been made; an error when too many wait.
    pub(super) fn place(&self, tenant: Option<&Tenant>) -> Result<Taken, StoreError> {
        self.places.take(tenant)
    }
}

fn expired(clock: Clock, deadline: Mono) -> bool {
    clock.now().mono > deadline
}

/// A reading that was not made in time is a failure like others.
pub(super) fn read_error(error: rusqlite::Error) -> StoreError {
    if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) {
        return StoreError::Failed(format!("reading took longer than {} s", LIMIT.as_secs()));
    }
    failed(error)
}
