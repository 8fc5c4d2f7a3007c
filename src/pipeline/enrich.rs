//! A host's own fields for events, added at the door: what is accepted has them, so that every attempt carries the same.

use std::{fmt, future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use actix_rt::ArbiterHandle;
use futures_util::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
    stream,
};
use serde_json::{Map, Value};
use tokio::{sync::watch, time::timeout};
use tracing::warn;

use super::Builder;
use crate::{
    error::{Fault, Invalid},
    event::{Event, TopicPattern},
    metrics::Metrics,
    store::{AppendReply, Store, Submission},
};

/// How long a hook may take, unless told otherwise.
pub(super) const LIMIT: Duration = Duration::from_secs(5);
/// Events of one call that are with hooks at the same time.
const AT_ONCE: usize = 32;

/// A host's hook.
pub(super) type Hook = Arc<dyn Fn(&Event) -> BoxFuture<'static, Option<Map<String, Value>>> + Send + Sync>;

/// Boxes a hook.
pub(super) fn boxed<F, Fut>(hook: F) -> Hook
where
    F: Fn(&Event) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Option<Map<String, Value>>> + Send + 'static,
{
    Arc::new(move |event| hook(event).boxed())
}

impl Builder {
    /// Has `hook` add fields to the metadata of the events of these topics, at the door: what is accepted has them, every
    /// attempt carries the same, and `data` stays as it is. A field that the publisher has set too is replaced. Of several
    /// hooks each sees the event as it was published, and the fields of a later one replace those of an earlier one.
    ///
    /// A call may take 5 s, see [`enrich_limit`](Self::enrich_limit). One that takes longer, panics or adds more than the
    /// metadata may hold hurts its own event alone: that goes on without. Publishing waits for it, and so takes the place among
    /// all events that it has when the hook is done; [`emit`](crate::Hookmill::emit) does not wait, so that events that are emitted one
    /// after another may change their order. Test deliveries and operational events pass no hook. Hooks run on a thread of
    /// their own: one that blocks holds up the others.
    ///
    /// ```
    /// # use hookmill::Hookmill;
    /// let builder = Hookmill::builder().enrich("order.*", |event| {
    ///     let tenant = event.tenant_name().unwrap_or("nobody").to_owned();
    ///     async move { serde_json::json!({"plan": format!("plan of {tenant}")}).as_object().cloned() }
    /// });
    /// ```
    pub fn enrich<F, Fut>(mut self, topics: impl Into<String>, hook: F) -> Self
    where
        F: Fn(&Event) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Option<Map<String, Value>>> + Send + 'static,
    {
        self.enrich.push((topics.into(), boxed(hook)));
        self
    }

    /// Sets how long a hook of [`enrich`](Self::enrich) may take for one event.
    pub fn enrich_limit(mut self, limit: Duration) -> Self {
        self.enrich_limit = limit;
        self
    }
}

/// The hooks with what they are for, or every mistake.
pub(super) fn read(hooks: &[(String, Hook)]) -> Result<Vec<(TopicPattern, Hook)>, Invalid> {
    let (mut known, mut faults) = (Vec::new(), Vec::new());
    for (index, (topics, hook)) in hooks.iter().enumerate() {
        match topics.parse::<TopicPattern>() {
            Ok(topics) => known.push((topics, Arc::clone(hook))),
            Err(error) => faults.push(Fault::new(format!("#/enrich/{index}"), error.to_string())),
        }
    }
    Invalid::unless_empty(faults).map(|()| known)
}

/// Calls the hooks.
#[derive(Clone)]
pub(crate) struct Enricher(Arc<Parts>);

struct Parts {
    hooks: Vec<(TopicPattern, Hook)>,
    limit: Duration,
    /// Where hooks run: a slow one holds up no stage of the pipeline.
    arbiter: ArbiterHandle,
    /// Watched by each call that has not ended.
    busy: watch::Sender<()>,
    metrics: Arc<Metrics>,
}

impl Enricher {
    pub(super) fn new(
        hooks: Vec<(TopicPattern, Hook)>,
        limit: Duration,
        arbiter: ArbiterHandle,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self(Arc::new(Parts { hooks, limit, arbiter, busy: watch::Sender::new(()), metrics }))
    }

    /// Hands `group` to the store, with what the hooks add to it; `events` are the same as their publisher wrote them.
    pub(super) fn append(&self, store: &Arc<dyn Store>, group: Vec<Submission>, events: &[Event], reply: AppendReply) {
        let covered = |one: &Submission| self.0.hooks.iter().any(|(topics, _)| topics.matches(&one.event.topic));
        if !group.iter().any(covered) {
            return store.append(group, reply);
        }
        let (parts, store, events) = (Arc::clone(&self.0), Arc::clone(store), events.to_vec());
        let running = self.0.busy.subscribe();
        // A task of its own: that the publisher goes away changes nothing.
        self.0.arbiter.spawn(async move {
            let calls = stream::iter(group.into_iter().zip(events)).map(move |(one, event)| {
                let parts = Arc::clone(&parts);
                async move { parts.enrich(one, event).await }
            });
            store.append(calls.buffered(AT_ONCE).collect().await, reply);
            drop(running);
        });
    }

    /// Waits until no event is with a hook.
    pub(super) async fn idle(&self) {
        self.0.busy.closed().await;
    }
}

impl Parts {
    /// The hooks of one event are called at once, and their fields added in the order of the hooks.
    async fn enrich(&self, mut submission: Submission, event: Event) -> Submission {
        let hooks = self.hooks.iter().filter(|(topics, _)| topics.matches(&submission.event.topic));
        let calls: Vec<_> = hooks.map(|(_, hook)| call(Arc::clone(hook), event.clone(), self.limit)).collect();
        for called in join_all(calls).await {
            let result = called.map_or_else(|failed| failed, |fields| add(&mut submission, fields));
            self.metrics.enriched.one(result);
            if !matches!(result, "added" | "nothing") {
                let topic = submission.event.topic.as_str();
                warn!(event = "enrich.failed", event_id = %submission.event.id, topic, reason = result, "goes on without");
            }
        }
        submission
    }
}

/// What a hook adds; its panic and its slowness are failures of its own.
async fn call(hook: Hook, event: Event, limit: Duration) -> Result<Option<Map<String, Value>>, &'static str> {
    let called = AssertUnwindSafe(async { hook(&event).await }).catch_unwind();
    match timeout(limit, called).await {
        Ok(Ok(fields)) => Ok(fields),
        Ok(Err(_panicked)) => Err("panic"),
        Err(_elapsed) => Err("timeout"),
    }
}

fn add(submission: &mut Submission, fields: Option<Map<String, Value>>) -> &'static str {
    let Some(fields) = fields.filter(|fields| !fields.is_empty()) else { return "nothing" };
    let Some(more) = submission.event.enrich(fields) else { return "too_large" };
    submission.permit.iter_mut().for_each(|permit| permit.grow(more));
    "added"
}

impl fmt::Debug for Enricher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enricher").field("hooks", &self.0.hooks.len()).field("limit", &self.0.limit).finish()
    }
}
