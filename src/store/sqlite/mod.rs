//! The durable store: one SQLite file, one thread that writes, threads that read.
//!
//! A write is durable when its transaction has been synced (`synchronous=FULL` in WAL mode); everything that waits shares one.

mod attempts;
mod batches;
mod calls;
mod cancel;
#[cfg(feature = "cli")]
pub(crate) mod care;
mod checkpoint;
mod chores;
mod codes;
mod committer;
mod configure;
mod cursors;
mod dead_letters;
mod debounce;
mod inbox;
mod jobs;
mod limits;
mod lists;
mod log;
mod place;
mod read;
mod reader;
mod readings;
mod replay;
mod schema;
mod sealed;
mod space;
#[cfg(test)]
mod tests;
mod tokens;
mod write;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::AtomicBool},
    thread,
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::{AcceptedSink, AppendError, Disk, Flights, FullSink, Reply, Reserve, Retention, SecretKeys, caller};
use crate::{clock::Clock, error::StoreError, metrics::StoreMetrics};
use chores::Chores;
use committer::{Committer, Message, Watches};
use place::{keep_private, lock, make_dir};
use reader::{Reader, read_error};
use readings::Taken;
use sealed::Seal;
use space::Lookout;
use write::Writer;

/// The durable [`Store`](super::Store).
pub struct SqliteStore {
    messages: inbox::Sender<Message>,
    shared: Arc<Shared>,
    pages: Reader,
    lists: Reader,
    committer: Option<thread::JoinHandle<()>>,
    seal: Seal,
    /// The database and its log.
    files: [PathBuf; 2],
}

#[derive(Default)]
struct Shared {
    sink: OnceLock<AcceptedSink>,
    queues: OnceLock<(Arc<Flights>, FullSink)>,
    writable: AtomicBool,
    room: space::Seen,
    metrics: StoreMetrics,
    /// How many pages the file may have: a full disk, for tests. 0 is no limit.
    #[cfg(test)]
    max_pages: std::sync::atomic::AtomicI64,
}

/// The database in a data directory.
pub(crate) const DATABASE: &str = "hookmill.db";
/// Behind the name of a file, that of a copy that is not finished.
const PARTIAL: &str = ".partial-";
/// In a data directory whose database is just being replaced.
const UNFINISHED: &str = "hookmill.restore-unfinished";

impl SqliteStore {
    /// Opens the store in a directory, which is made (mode 0700) if it is not there, and brings its file up to date.
    ///
    /// # Errors
    /// When another process has it open, it was written by a newer version, or it cannot be read or written.
    pub fn open(dir: &Path, clock: Clock, retention: Retention) -> Result<Self, StoreError> {
        Self::open_leaving(dir, clock, retention, Disk::leaving(Reserve::Bytes(0)))
    }

    /// The same, looking at the room on the disk: see [`Store::is_low`](super::Store::is_low).
    ///
    /// # Errors
    /// As for [`SqliteStore::open`].
    pub fn open_leaving(dir: &Path, clock: Clock, retention: Retention, disk: Disk) -> Result<Self, StoreError> {
        Self::open_sealed(dir, clock, retention, disk, None)
    }

    /// The same, with the secrets of endpoints and chains sealed with the first of `keys`: also those that the file holds already,
    /// before this returns, and with no copy of them left in it. Other keys open what was sealed with them before.
    ///
    /// # Errors
    /// As for [`SqliteStore::open`]; also when the secrets in the file are sealed with a key that is not given: nothing has changed
    /// then.
    pub fn open_sealed(
        dir: &Path,
        clock: Clock,
        retention: Retention,
        disk: Disk,
        keys: Option<SecretKeys>,
    ) -> Result<Self, StoreError> {
        let seal = Seal(keys);
        make_dir(dir)?;
        let lock = lock(dir)?;
        let path = dir.join(DATABASE);
        expect_finished(dir)?;
        keep_private(&path)?;
        let mut db = schema::open_writer(&path, |db| seal.check(db)).map_err(|error| placed(&path, error))?;
        cursors::keep_key(&db).and_then(|()| seal.settle(&mut db))?;
        tidy(dir, seal.is_on());
        let shared = Arc::new(Shared { writable: AtomicBool::new(true), ..Shared::default() });
        let lookout = Lookout::new(dir, disk, clock.now().mono, &shared.room);
        let pages = Reader::start("store-pages", &path, clock)?;
        let lists = Reader::start("store-lists", &path, clock)?;
        let (checkpoint, checkpointer) = checkpoint::start(&path, Arc::clone(&shared))?;
        let chores = Chores::new(retention, clock.now().mono);
        let committer =
            Committer::new(db, clock, Arc::clone(&shared), Watches { chores, lookout }, checkpoint).map_err(failed)?;
        let (messages, receiver) = inbox::new();
        let run = move || {
            let close = committer.run(&receiver);
            receiver.close().into_iter().for_each(refuse);
            let _panicked = checkpointer.join();
            // Only now may another process have the directory: two would count the same events twice.
            drop(lock);
            if let Some((answer, result)) = close {
                answer(result);
            }
        };
        let committer = Some(spawn("store-commit", run)?);
        let files = [path, dir.join("hookmill.db-wal")];
        Ok(Self { messages, shared, pages, lists, committer, seal, files })
    }

    fn tell(&self, message: Message) {
        self.messages.send(message).unwrap_or_else(refuse);
    }

    /// Tells what nobody waits for.
    fn leave(&self, message: Message) {
        self.messages.leave(message).unwrap_or_else(refuse);
    }

    /// Tells what has to come after all events that were told before.
    fn tell_behind(&self, message: Message) {
        self.messages.send_behind(message).unwrap_or_else(refuse);
    }

    fn change<T: Send + 'static>(
        &self,
        change: impl FnOnce(&mut Writer<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Reply<T> {
        let (reply, result) = oneshot::channel();
        self.tell(Message::Change(Box::new(move |writer| {
            let changed = writer.and_then(|writer| change(writer).map_err(failed));
            match changed {
                Ok(value) => Ok(Box::new(move |committed| drop(reply.send(committed.map(|()| value))))),
                Err(error) => {
                    drop(reply.send(Err(error)));
                    Err(Box::new(|_committed| ()))
                }
            }
        })));
        awaited(result)
    }

    /// Reads what a caller asks for, unless too many wait already, or too many of the tenant for whom it is asked.
    fn look<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Reply<T> {
        match self.lists.place(caller().as_ref()) {
            Ok(place) => self.read_in(Some(place), read),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    /// Reads what Hookmill itself needs, however many wait.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Reply<T> {
        self.read_in(None, read)
    }

    fn read_in<T: Send + 'static>(
        &self,
        place: Option<Taken>,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Reply<T> {
        let (reply, result) = oneshot::channel();
        let (lists, shared) = (self.lists.clone(), Arc::clone(&self.shared));
        self.tell(Message::Fence(Box::new(move |written| match written {
            Err(StoreError::Closed) => drop(reply.send(Err(StoreError::Closed))),
            // What cannot be written at this time does not keep anybody from reading what has been.
            _ => lists.read(Box::new(move |db| {
                // Nobody waits for it any more.
                if reply.is_closed() {
                    return;
                }
                let result = read(db).map_err(read_error).inspect_err(|_| shared.metrics.errors.one("read"));
                drop(place);
                drop(reply.send(result));
            })),
        })));
        awaited(result)
    }
}

/// An answer that never comes means that the store has been closed.
fn awaited<T: Send + 'static>(result: oneshot::Receiver<Result<T, StoreError>>) -> Reply<T> {
    Box::pin(async move { result.await.unwrap_or(Err(StoreError::Closed)) })
}

/// Answers a message that came after the end.
fn refuse(message: Message) {
    match message {
        Message::Append(_, reply) => drop(reply.send(Err(AppendError::Store(StoreError::Closed)))),
        Message::Fence(answer) | Message::Close(answer) => answer(Err(StoreError::Closed)),
        Message::Change(change) => drop(change(Err(StoreError::Closed))),
        Message::Record(_)
        | Message::Debounced(_)
        | Message::Settle(_)
        | Message::SettleBatch(_)
        | Message::Breaker(..) => {}
    }
}

impl Drop for SqliteStore {
    /// Waits until what was asked for has been written and the file is closed.
    fn drop(&mut self) {
        self.messages.hang_up();
        if let Some(committer) = self.committer.take() {
            let _panicked = committer.join();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, StoreError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| StoreError::Failed(format!("no thread for the store: {error}")))
}

/// A database that a restore has not put in place as a whole may be an older one without its log.
fn expect_finished(dir: &Path) -> Result<(), StoreError> {
    let mark = dir.join(UNFINISHED);
    if mark.exists() {
        let detail = "a restore has not come to its end: `hookmill store restore --replace` again";
        return Err(StoreError::Unusable(format!("{}: {detail}", mark.display())));
    }
    Ok(())
}

/// Removes copies that a crash has left unfinished, and names those that were left with a purpose, for what is in them is not
/// sealed.
fn tidy(dir: &Path, sealed: bool) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(DATABASE)) else { continue };
        if rest.starts_with(PARTIAL) {
            let _gone_already = std::fs::remove_file(entry.path());
        } else if sealed && rest.starts_with(".replaced-") {
            let file = entry.path().display().to_string();
            tracing::warn!(event = "store.unsealed", file, "an older database may hold secrets in plain text");
        }
    }
}

/// An error of opening, with the file in it.
fn placed(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Unusable(detail) => StoreError::Unusable(format!("{}: {detail}", path.display())),
        error => error,
    }
}

/// An error of a start on `dir`, with the file in it and what helps. What was [`placed`] before is told as it is.
pub(crate) fn unreadable(dir: &Path, error: StoreError) -> StoreError {
    let said = |detail: &str| {
        [dir.join("").display().to_string(), format!("{}:", dir.display())].iter().any(|at| detail.starts_with(at))
    };
    match error {
        StoreError::Unusable(detail) if said(&detail) => StoreError::Unusable(detail),
        StoreError::Unusable(detail) | StoreError::Failed(detail) => {
            let help = if detail.contains(WAY_OUT) { String::new() } else { format!("; {WAY_OUT}") };
            StoreError::Unusable(format!("{}: {detail}{help}", dir.join(DATABASE).display()))
        }
        error => error,
    }
}

/// What helps against damage.
const WAY_OUT: &str = "`hookmill store check` tells more, `hookmill store restore` puts a backup in place, \
                       `hookmill store export` writes out what can be read";

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full(error.to_string()),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Unusable(format!("{error}; {WAY_OUT}"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen) => StoreError::Unusable(error.to_string()),
        _ => StoreError::Failed(error.to_string()),
    }
}
