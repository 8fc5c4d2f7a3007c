//! The durable store: one SQLite file, one thread that writes, threads that read.
//!
//! A write is durable when its transaction has been synced (`synchronous=FULL` in WAL mode); everything that waits shares one.

mod attempts;
mod batches;
mod cancel;
#[cfg(feature = "cli")]
pub(crate) mod care;
mod checkpoint;
mod chores;
mod codes;
mod committer;
mod configure;
mod dead_letters;
mod debounce;
mod jobs;
mod limits;
mod lists;
mod place;
mod read;
mod reader;
mod replay;
mod schema;
mod sealed;
mod space;
#[cfg(test)]
mod tests;
mod tokens;
mod write;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::{
    AcceptedSink, Advance, AppendError, AppendReply, AttemptPage, AttemptRow, BreakerRecord, CancelStep, CancelledStep,
    CountStep, Counted, DeadLetterFilter, DeadLetterRow, Debounced, DeliveryFilter, DeliveryId, DeliveryTotals, Disk,
    EndpointChange, EndpointRow, EventDetail, EventFilter, EventRow, Flights, FullSink, Job, JobId, JobState,
    ListedDelivery, Loaded, Page, PageReply, PageRequest, ReplayOutcome, Reply, Reserve, Retention, RuleTotals,
    SecretKeys, Settlement, Space, SpaceSink, Store, Submission, TokenId, TokenRow, Totals, Verdict, Vitals,
    sealing::Owner,
};
use crate::{
    clock::{Clock, Timestamp},
    endpoint::{EndpointId, EndpointKey},
    error::StoreError,
    event::{Accepted, EventId, Tenant},
    metrics::StoreMetrics,
};
use chores::Chores;
use committer::{Committer, Message, Watches};
use configure::Answer;
use place::{keep_private, lock, make_dir};
use reader::{Reader, read_error};
use sealed::Seal;
use space::Lookout;
use write::Writer;

/// The durable [`Store`].
pub struct SqliteStore {
    messages: mpsc::Sender<Message>,
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

impl SqliteStore {
    /// Opens the store in a directory, which is made (mode 0700) if it is not there, and brings its file up to date.
    ///
    /// # Errors
    /// When another process has it open, it was written by a newer version, or it cannot be read or written.
    pub fn open(dir: &Path, clock: Clock, retention: Retention) -> Result<Self, StoreError> {
        Self::open_leaving(dir, clock, retention, Disk::leaving(Reserve::Bytes(0)))
    }

    /// The same, looking at the room on the disk: see [`Store::is_low`].
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
        let path = dir.join("hookmill.db");
        keep_private(&path)?;
        let mut db = schema::open_writer(&path, |db| seal.check(db)).map_err(|error| placed(&path, error))?;
        seal.settle(&mut db)?;
        let shared = Arc::new(Shared { writable: AtomicBool::new(true), ..Shared::default() });
        let lookout = Lookout::new(dir, disk, clock.now().mono, &shared.room);
        let pages = Reader::start("store-pages", &path, clock)?;
        let lists = Reader::start("store-lists", &path, clock)?;
        let (checkpoint, checkpointer) = checkpoint::start(&path, Arc::clone(&shared))?;
        let chores = Chores::new(retention, clock.now().mono);
        let committer =
            Committer::new(db, clock, Arc::clone(&shared), Watches { chores, lookout }, checkpoint).map_err(failed)?;
        let (messages, receiver) = mpsc::channel();
        let run = move || {
            let close = committer.run(&receiver);
            receiver.try_iter().for_each(refuse);
            drop(receiver);
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
        if let Err(mpsc::SendError(message)) = self.messages.send(message) {
            refuse(message);
        }
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

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Reply<T> {
        let (reply, result) = oneshot::channel();
        let (lists, shared) = (self.lists.clone(), Arc::clone(&self.shared));
        self.tell(Message::Fence(Box::new(move |written| match written {
            Err(StoreError::Closed) => drop(reply.send(Err(StoreError::Closed))),
            // What cannot be written at this time does not keep anybody from reading what has been.
            _ => lists.read(Box::new(move |db| {
                let result = read(db).map_err(read_error).inspect_err(|_| shared.metrics.errors.one("read"));
                drop(reply.send(result));
            })),
        })));
        awaited(result)
    }
}

/// Somebody waits for a page, and hears of it also when nobody is left to read it.
struct Asked(Option<PageReply>);

impl Asked {
    fn answer(mut self, page: Result<Page, StoreError>) {
        if let Some(reply) = self.0.take() {
            reply(page);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Err(StoreError::Failed("the page was not read".to_owned())));
        }
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

impl Store for SqliteStore {
    fn durable(&self) -> bool {
        true
    }

    fn writable(&self) -> bool {
        self.shared.writable.load(Ordering::Acquire)
    }

    fn connect(&self, sink: AcceptedSink) {
        let _second = self.shared.sink.set(sink);
    }

    fn watch_queues(&self, flights: Arc<Flights>, sink: FullSink) {
        let _second = self.shared.queues.set((flights, sink));
    }

    fn append(&self, group: Vec<Submission>, reply: AppendReply) {
        self.tell(Message::Append(group, reply));
    }

    fn record(&self, verdicts: Vec<Verdict>) {
        self.tell(Message::Record(verdicts));
    }

    fn keep_debounced(&self, debounced: Debounced) {
        self.tell(Message::Debounced(debounced));
    }

    fn settle(&self, settlement: Settlement) {
        self.tell(Message::Settle(settlement));
    }

    fn settle_batch(&self, settlements: Vec<Settlement>) {
        self.tell(Message::SettleBatch(settlements));
    }

    fn keep_breaker(&self, endpoint: EndpointKey, breaker: BreakerRecord) {
        self.tell(Message::Breaker(endpoint, breaker));
    }

    fn page(&self, request: PageRequest, reply: PageReply) {
        let (pages, asked, shared) = (self.pages.clone(), Asked(Some(reply)), Arc::clone(&self.shared));
        self.tell(Message::Fence(Box::new(move |written| match written {
            Ok(()) => pages.read(Box::new(move |db| {
                let page = read::page(db, &request).map_err(read_error);
                asked.answer(page.inspect_err(|_| shared.metrics.errors.one("page")));
            })),
            // What is in the file is older than what is known: a delivery that was settled would be made again.
            Err(error) => asked.answer(Err(error)),
        })));
    }

    fn create_endpoint(&self, id: EndpointId, settings: String) -> Reply<EndpointRow> {
        let sealed = match self.seal.seal(Owner::Endpoint(id.as_str()), &settings) {
            Ok(sealed) => sealed,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        sealed::in_clear(self.change(move |writer| writer.create_endpoint(&id, &sealed)), settings)
    }

    fn update_endpoint(&self, key: EndpointKey, change: EndpointChange) -> Reply<EndpointRow> {
        let (seal, settings) = (self.seal.clone(), change.settings.clone());
        let update = move |writer: &mut Writer<'_>| {
            let id: String = writer.endpoint_id(key)?;
            let change = seal.seal_change(&id, change);
            writer.update_endpoint(key, &change.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?)
        };
        sealed::in_clear(self.change(update), settings)
    }

    fn delete_endpoint(&self, key: EndpointKey) -> Reply<()> {
        self.change(move |writer| writer.delete_endpoint(key))
    }

    fn put_rule(&self, name: String, rule: Option<String>) -> Reply<()> {
        self.change(move |writer| writer.put_rule(&name, rule.as_deref()))
    }

    fn put_chain(&self, name: String, chain: Option<String>) -> Reply<()> {
        let chain = match chain.map(|chain| self.seal.seal(Owner::Chain(&name), &chain)).transpose() {
            Ok(chain) => chain,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        self.change(move |writer| writer.put_chain(&name, chain.as_deref()))
    }

    fn replay(&self, dead_letter: DeliveryId) -> Reply<ReplayOutcome> {
        self.change(move |writer| writer.replay(dead_letter))
    }

    fn redeliver(&self, seq: u64, endpoint: EndpointKey) -> Reply<ReplayOutcome> {
        self.change(move |writer| writer.redeliver(seq, endpoint))
    }

    fn cancel(&self, step: CancelStep) -> Reply<CancelledStep> {
        if step.dry_run {
            return self.read(move |db| Ok(cancel::look(db, &step)?.0));
        }
        self.change(move |writer| writer.cancel(&step))
    }

    fn count_for_job(&self, step: CountStep) -> Reply<Counted> {
        self.read(move |db| jobs::count(db, &step))
    }

    fn create_job(&self, job: Job) -> Reply<()> {
        self.change(move |writer| writer.create_job(&job))
    }

    fn advance_job(&self, id: JobId, most: usize) -> Reply<Option<Advance>> {
        self.change(move |writer| writer.advance_job(&id, most))
    }

    fn end_job(&self, id: JobId, state: JobState) -> Reply<Option<Job>> {
        self.change(move |writer| writer.end_job(&id, state))
    }

    fn job(&self, id: JobId) -> Reply<Option<Job>> {
        self.read(move |db| jobs::job(db, &id))
    }

    fn running_jobs(&self) -> Reply<Vec<Job>> {
        self.read(jobs::running_jobs)
    }

    fn create_token(&self, token: TokenRow) -> Reply<()> {
        self.change(move |writer| writer.create_token(&token))
    }

    fn delete_token(&self, id: TokenId) -> Reply<bool> {
        self.change(move |writer| writer.delete_token(&id))
    }

    fn use_token(&self, id: TokenId, at: Timestamp) -> Reply<()> {
        self.change(move |writer| writer.use_token(&id, at))
    }

    fn tokens(&self) -> Reply<Vec<TokenRow>> {
        self.read(tokens::all)
    }

    fn load(&self) -> Reply<Loaded> {
        let (seal, loaded) = (self.seal.clone(), self.read(read::load));
        Box::pin(async move { seal.open(loaded.await?) })
    }

    fn rule_totals(&self) -> Reply<BTreeMap<String, RuleTotals>> {
        self.read(debounce::rule_totals)
    }

    fn failed(&self, of: Option<EndpointKey>, seqs: Vec<u64>) -> Reply<Vec<u64>> {
        self.read(move |db| debounce::failed(db, of, &seqs))
    }

    fn unjudged(&self, after: u64, limit: usize) -> Reply<Vec<Arc<Accepted>>> {
        self.read(move |db| read::unjudged(db, after, limit))
    }

    fn deliveries(&self, filter: DeliveryFilter) -> Reply<Vec<ListedDelivery>> {
        self.read(move |db| lists::deliveries_of(db, &filter))
    }

    fn events(&self, filter: EventFilter) -> Reply<Vec<EventRow>> {
        self.read(move |db| lists::events(db, &filter))
    }

    fn event(&self, tenant: Option<Tenant>, id: EventId) -> Reply<Option<EventDetail>> {
        self.read(move |db| lists::event(db, tenant.as_ref(), &id))
    }

    fn event_attempts(&self, seq: u64, page: AttemptPage) -> Reply<Vec<AttemptRow>> {
        self.read(move |db| attempts::of_event(db, seq, &page))
    }

    fn endpoint_attempts(&self, endpoint: EndpointKey, page: AttemptPage) -> Reply<Vec<AttemptRow>> {
        self.read(move |db| attempts::of_endpoint(db, endpoint, &page))
    }

    fn dead_letters(&self, filter: DeadLetterFilter) -> Reply<Vec<DeadLetterRow>> {
        self.read(move |db| lists::dead_letters(db, &filter))
    }

    fn dead_letter(&self, id: DeliveryId) -> Reply<Option<(DeadLetterRow, Option<Arc<Accepted>>)>> {
        self.read(move |db| lists::dead_letter(db, id))
    }

    fn totals(&self) -> Reply<Totals> {
        self.read(read::totals)
    }

    fn endpoint_totals(&self, endpoint: EndpointKey) -> Reply<(DeliveryTotals, Option<Timestamp>)> {
        self.read(move |db| read::endpoint_totals(db, endpoint))
    }

    fn vitals(&self) -> Reply<Vitals> {
        self.read(read::vitals)
    }

    fn metrics(&self) -> Option<&StoreMetrics> {
        Some(&self.shared.metrics)
    }

    fn space(&self) -> Option<Space> {
        Some(self.shared.room.space(&self.files))
    }

    fn watch_space(&self, sink: SpaceSink) {
        let room = &self.shared.room;
        if room.sink.set(sink).is_ok() && room.is_low() {
            room.sink.get().into_iter().for_each(|sink| sink(true));
        }
    }

    fn is_low(&self) -> bool {
        self.shared.room.is_low()
    }

    fn flush(&self) -> Reply<()> {
        let (reply, result) = oneshot::channel();
        self.tell(Message::Fence(Box::new(move |written| drop(reply.send(written)))));
        awaited(result)
    }

    fn close(&self) -> Reply<()> {
        let (reply, result) = oneshot::channel();
        let answer: Answer = Box::new(move |written| drop(reply.send(written)));
        self.tell(Message::Close(answer));
        awaited(result)
    }
}

impl Drop for SqliteStore {
    /// Waits until what was asked for has been written and the file is closed.
    fn drop(&mut self) {
        let (nobody, _) = mpsc::channel();
        drop(std::mem::replace(&mut self.messages, nobody));
        if let Some(committer) = self.committer.take() {
            let _panicked = committer.join();
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, StoreError> {
    let thread = thread::Builder::new().name(name.to_owned()).spawn(run);
    thread.map_err(|error| StoreError::Failed(format!("no thread for the store: {error}")))
}

/// An error of opening, with the file in it.
fn placed(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Unusable(detail) => StoreError::Unusable(format!("{}: {detail}", path.display())),
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
