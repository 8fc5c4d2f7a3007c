//! One URL that hears everything: for daemons and agents that only want to tell somebody what happened.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use hookmill::Hookmill;
//!
//! let hook = Hookmill::single("").persist("/var/lib/agent/webhook").node_id(7).start().await?;
//! hook.emit("agent.started", &"ready");                        // nobody listens yet: costs nothing
//! hook.set_url("https://example.org/hook").await?;             // from now on; kept for the next start
//! hook.emit("job.done", &serde_json::json!({"job": 12}));      // never waits, never fails
//! hook.close().await;                                          // waits 5 s at most for what is left
//! # Ok(())
//! # }
//! ```

mod builder;
mod file;
#[cfg(test)]
mod tests;

use std::{
    future::Future,
    io,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use futures_util::future::BoxFuture;
use serde::Serialize;
use tokio::sync::{Mutex, oneshot};
use tracing::{info, warn};

use crate::{
    endpoint::EndpointId,
    error::StoreError,
    event::Event,
    lifecycle::{Lifecycle, LifecycleError},
    pipeline::{Hookmill, ManageError, StartError, Turn, turn},
};
use builder::Plan;
pub use builder::SingleBuilder;
use file::Kept;

/// The id of the one endpoint.
const ENDPOINT: &str = "webhook";

/// A handle to the one URL; clones are handles to the same. Every call is safe at any time: without a URL, before the start
/// and after [`Single::close`], events are counted as ignored and nothing else happens. No thread is started before there is
/// a URL.
#[derive(Clone, Debug)]
pub struct Single(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    plan: Plan,
    hooks: RwLock<Option<Hookmill>>,
    target: RwLock<Option<Kept>>,
    /// Changes are made one after another.
    changes: Arc<Mutex<()>>,
    closed: AtomicBool,
    ignored: AtomicU64,
}

/// What became of the events so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SingleCounters {
    /// Let in.
    pub emitted: u64,
    /// Emitted without a URL, or after the close.
    pub ignored: u64,
    /// Refused at the door: invalid, or too many at once.
    pub refused: u64,
    /// The receiver has them.
    pub delivered: u64,
    /// Failed for good: dead letters.
    pub failed: u64,
    /// Given up: the queue was full, or the URL was taken away.
    pub dropped: u64,
    /// Of those dropped: skipped because the receiver did not work, where the settings say `"while_open": "skip"`.
    pub circuit_skipped: u64,
    /// Waiting, or on their way.
    pub pending: u64,
}

impl Hookmill {
    /// A Hookmill with one URL, with the settings of [`Preset::Daemon`](crate::Preset::Daemon). An empty URL means none, or
    /// the one that was kept by [`SingleBuilder::persist`].
    pub fn single(url: impl Into<String>) -> SingleBuilder {
        SingleBuilder::new(url.into())
    }
}

impl Single {
    fn new(plan: Plan) -> Self {
        let inner = Inner {
            plan,
            hooks: RwLock::default(),
            target: RwLock::default(),
            changes: Arc::default(),
            closed: AtomicBool::new(false),
            ignored: AtomicU64::new(0),
        };
        Self(Arc::new(inner))
    }

    /// Starts, if there is a URL: the one given, else the one that was kept. What was kept and is no good any more is logged
    /// and counts as none. Starting again is of no effect.
    ///
    /// # Errors
    /// Every mistake in the URL and the settings that were given.
    pub async fn start(&self) -> Result<(), StartError> {
        let turn = turn(&self.0.changes).await;
        if self.is_closed() || self.hooks().is_some() {
            return Ok(());
        }
        self.see_through(turn, |hook| async move { hook.start_once().await }).await.unwrap_or_else(|error| {
            Err(StartError::System { what: "no thread for a change of the URL", source: error })
        })
    }

    async fn start_once(&self) -> Result<(), StartError> {
        let plan = &self.0.plan;
        if let Some(url) = plan.url() {
            return self.run(Kept { url, topics: plan.topics.clone() }).await;
        }
        let Some(kept) = self.kept().await else { return Ok(()) };
        let path = plan.file.as_deref().map(|path| path.display().to_string());
        if let Err(error) = self.run(kept).await {
            warn!(path, %error, "the kept URL is of no use");
        }
        Ok(())
    }

    async fn run(&self, target: Kept) -> Result<(), StartError> {
        let hooks = self.0.plan.builder(&target).start().await?;
        *self.0.hooks.write().unwrap_or_else(PoisonError::into_inner) = Some(hooks);
        self.set_target(Some(target));
        Ok(())
    }

    /// Lets an event in. Never waits, never fails: what cannot be let in is counted.
    pub fn emit(&self, topic: &str, data: &impl Serialize) {
        match Event::new(topic, data) {
            Ok(event) => self.emit_event(event),
            Err(error) => {
                self.0.ignored.fetch_add(1, Ordering::Relaxed);
                warn!(topic, %error, "event was not emitted");
            }
        }
    }

    /// Lets an event in that has more than a topic and data. Its source is the node's id unless it has one.
    pub fn emit_event(&self, mut event: Event) {
        let hooks = self.hooks().filter(|_| !self.is_closed() && self.url().is_some());
        let Some(hooks) = hooks else {
            self.0.ignored.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if event.source.is_none() {
            event.source = self.0.plan.node_id.map(|node| node.to_string());
        }
        hooks.emit(event);
    }

    /// Where events go; `None` when nowhere.
    pub fn url(&self) -> Option<String> {
        self.target().map(|target| target.url)
    }

    /// Sends everything to another URL from now on: once this returns no attempt goes to the old one any more, and what waits
    /// goes to the new one. An empty one ends deliveries; what waits is dropped, counted. Ids and counters go on. The URL is
    /// kept for the next start, if [`SingleBuilder::persist`] says where; that this fails is logged and changes nothing.
    ///
    /// # Errors
    /// When it is no URL to deliver to: then nothing changes.
    pub async fn set_url(&self, url: &str) -> Result<(), ManageError> {
        let (turn, url) = (turn(&self.0.changes).await, url.to_owned());
        let topics = self.target().map_or_else(|| self.0.plan.topics.clone(), |target| target.topics);
        self.change(turn, url, topics).await
    }

    /// Sends only these topics from now on, or all when there are none; the others are counted as unmatched. Kept with the
    /// URL.
    ///
    /// # Errors
    /// When one is no topic pattern, or there is no URL: then nothing changes.
    pub async fn set_topics<T: Into<String>>(&self, topics: impl IntoIterator<Item = T>) -> Result<(), ManageError> {
        let topics = topics.into_iter().map(Into::into).collect();
        let turn = turn(&self.0.changes).await;
        let url = self.url().ok_or_else(|| ManageError::Conflict("there is no URL: set it first".to_owned()))?;
        self.change(turn, url, topics).await
    }

    async fn change(&self, turn: Turn, url: String, topics: Vec<String>) -> Result<(), ManageError> {
        let set = self.see_through(turn, |hook| async move { hook.set(&url, topics).await }).await;
        set.unwrap_or_else(|error| Err(StoreError::Failed(error.to_string()).into()))
    }

    /// Does `work` to its end, whether its caller waits for it or not, and gives the turn back then. It has a thread of its own: there
    /// need be no pipeline yet.
    async fn see_through<T, F>(&self, turn: Turn, work: impl FnOnce(Self) -> F) -> io::Result<T>
    where
        F: Future<Output = T> + Send + 'static,
        T: Send + 'static,
    {
        let (work, (done, result)) = (work(self.clone()), oneshot::channel());
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        thread::Builder::new().name("hookmill-set".to_owned()).spawn(move || {
            let result = runtime.block_on(work);
            drop(turn);
            let _gone = done.send(result);
        })?;
        result.await.map_err(io::Error::other)
    }

    /// To be called by whoever holds `changes`.
    async fn set(&self, url: &str, topics: Vec<String>) -> Result<(), ManageError> {
        if self.is_closed() {
            return Err(StoreError::Closed.into());
        }
        let url = url.trim();
        let target = (!url.is_empty()).then(|| Kept { url: url.to_owned(), topics });
        match (self.hooks(), &target) {
            (Some(hooks), Some(target)) => drop(hooks.set_endpoint(self.0.plan.endpoint(target)).await?),
            (Some(hooks), None) => self.end_deliveries(&hooks).await?,
            (None, Some(target)) => self.run(target.clone()).await.map_err(start_failed)?,
            (None, None) => {}
        }
        info!(event = "endpoint.changed", url = target.as_ref().map(|target| target.url.as_str()), "webhook set");
        self.set_target(target.clone());
        self.keep(target).await;
        Ok(())
    }

    async fn end_deliveries(&self, hooks: &Hookmill) -> Result<(), ManageError> {
        let Some(target) = self.target() else { return Ok(()) };
        let disabled = self.0.plan.endpoint(&target).settings(serde_json::json!({"state": "disabled"}));
        hooks.set_endpoint(disabled).await.map(drop)
    }

    /// What became of the events so far.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn counters(&self) -> Result<SingleCounters, ManageError> {
        let ignored = self.0.ignored.load(Ordering::Relaxed);
        let Some(hooks) = self.hooks() else { return Ok(SingleCounters { ignored, ..SingleCounters::default() }) };
        let emitted = hooks.emitted();
        let totals = hooks.standing(&endpoint_id()?).await?.totals;
        let dropped = |reason: &str| totals.dropped.get(reason).copied().unwrap_or_default();
        Ok(SingleCounters {
            emitted: emitted.admitted,
            ignored,
            refused: emitted.refused,
            delivered: totals.delivered,
            failed: totals.dead_lettered,
            dropped: totals.dropped.values().sum(),
            circuit_skipped: dropped("circuit_open"),
            pending: totals.pending + totals.in_flight,
        })
    }

    /// The Hookmill behind it, once there is a URL: its dead letters, its configuration API.
    pub fn hooks(&self) -> Option<Hookmill> {
        self.0.hooks.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Ends: delivers what is left until the deadline, 5 s unless [`SingleBuilder::drain`] says otherwise, and then really
    /// stops. Closing again is of no effect, and so is every later event.
    pub async fn close(&self) {
        let _one_at_a_time = turn(&self.0.changes).await;
        if self.0.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        if let Some(hooks) = self.hooks() {
            hooks.shutdown(self.0.plan.drain).await;
        }
    }

    fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    fn target(&self) -> Option<Kept> {
        self.0.target.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_target(&self, target: Option<Kept>) {
        *self.0.target.write().unwrap_or_else(PoisonError::into_inner) = target;
    }

    async fn kept(&self) -> Option<Kept> {
        self.on_file(|path| file::load(&path)).await.flatten()
    }

    async fn keep(&self, target: Option<Kept>) {
        self.on_file(move |path| file::save(&path, target.as_ref())).await;
    }

    /// Works on the file where the URL is kept, if there is one, on a thread of its own: disks can be slow.
    async fn on_file<T: Send + 'static>(
        &self,
        work: impl FnOnce(PathBuf) -> io::Result<T> + Send + 'static,
    ) -> Option<T> {
        let path = self.0.plan.file.clone()?;
        let (done, result) = oneshot::channel();
        let named = path.display().to_string();
        let spawned = thread::Builder::new().name("hookmill-url".to_owned()).spawn(move || {
            let _gone = done.send(work(path));
        });
        let result = match spawned {
            Ok(_) => result.await.unwrap_or_else(|_| Err(io::Error::other("the thread ended"))),
            Err(error) => Err(error),
        };
        result.map_err(|error| warn!(path = named, %error, "the file of the URL cannot be used")).ok()
    }
}

impl Lifecycle for Single {
    fn name(&self) -> &str {
        ENDPOINT
    }

    /// First: it is to hear what the others have to say of their start.
    fn start_order(&self) -> u32 {
        0
    }

    fn start(&self) -> BoxFuture<'_, Result<(), LifecycleError>> {
        boxed(async { Ok(Single::start(self).await?) })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        boxed(self.close())
    }
}

fn boxed<'a, T>(future: impl Future<Output = T> + Send + 'a) -> BoxFuture<'a, T> {
    Box::pin(future)
}

fn endpoint_id() -> Result<EndpointId, ManageError> {
    ENDPOINT.parse().map_err(|_| StoreError::Failed("no id".to_owned()).into())
}

fn start_failed(error: StartError) -> ManageError {
    match error {
        StartError::Config(invalid) => ManageError::Invalid(invalid),
        other => StoreError::Failed(other.to_string()).into(),
    }
}
