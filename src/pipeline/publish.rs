//! Publishing: what is accepted, and why it is not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::warn;

use super::{Hookmill, NO_ROOM, PublishError};
use crate::{
    error::{Invalid, StoreError},
    event::{Event, EventId, ValidEvent},
    intake::{Permit, Refused},
    store::{AppendError, AppendReply, Submission},
};

/// When a publisher who was turned away should come again.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// What [`Hookmill::emit`] could not tell anybody.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    emitted: AtomicU64,
    refused: AtomicU64,
    unsynced: Arc<AtomicU64>,
    lost: Arc<AtomicU64>,
}

/// How [`Hookmill::emit`] went so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Emitted {
    /// Events that were let in.
    pub admitted: u64,
    /// Events that were refused: invalid, or the intake was full or closed.
    pub refused: u64,
    /// Of those let in: what the store has not answered for yet. A crash loses them, and nothing else.
    pub unsynced: u64,
    /// Of those let in: what the store refused, because it failed or their id is taken by another event. The log tells why
    /// of each.
    pub lost: u64,
}

/// What publishing an event came to.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Acceptance {
    /// The event's id.
    pub id: EventId,
    /// Its place in the order of all events; that of the first acceptance for a duplicate.
    pub seq: u64,
    /// Whether it had been accepted before: then nothing new happened.
    pub duplicate: bool,
    /// Whether it survives a crash.
    pub durable: bool,
}

impl Hookmill {
    /// Accepts an event. When this returns `Ok`, the event is on disk (fsync), or in memory where there is none, and will be
    /// delivered at least once to every endpoint that wants it. Dropping the future does not take the event back.
    ///
    /// # Errors
    /// See [`PublishError`]; the event is not accepted then.
    pub async fn publish(&self, event: Event) -> Result<Acceptance, PublishError> {
        let accepted = self.publish_all(vec![event]).await?;
        accepted.into_iter().next().ok_or(PublishError::Store(StoreError::Closed))
    }

    /// Accepts events, all or none of them, in one transaction and in this order.
    ///
    /// # Errors
    /// See [`PublishError`]; mistakes name the event by its index, such as `#/3/topic`, where there are several.
    pub async fn publish_all(&self, events: Vec<Event>) -> Result<Vec<Acceptance>, PublishError> {
        let count = u64::try_from(events.len()).unwrap_or(0);
        let refused = |error: &PublishError| self.0.metrics().rejected.add(error.label(), count);
        self.accept(events).await.inspect_err(refused)
    }

    async fn accept(&self, events: Vec<Event>) -> Result<Vec<Acceptance>, PublishError> {
        let valid = self.validate(&events)?;
        let (reply, result) = oneshot::channel();
        if let Err(shut) = self.submit(valid, &events, reply) {
            return Err(shut.error(events));
        }
        let durable = self.0.store.durable();
        match result.await.unwrap_or(Err(AppendError::Store(StoreError::Closed))) {
            Ok(receipts) => Ok(receipts
                .into_iter()
                .map(|one| Acceptance { id: one.id, seq: one.seq, duplicate: one.duplicate, durable })
                .collect()),
            Err(error) => Err(append_error(error, events)),
        }
    }

    /// Lets an event in without waiting; it is accepted a moment later, or counted in [`Hookmill::emitted`]. Never blocks and
    /// never fails; after a shutdown it does nothing.
    pub fn emit(&self, event: Event) {
        let counters = &self.0.counters;
        let (reply, result) = oneshot::channel();
        let one = std::slice::from_ref(&event);
        let admitted =
            self.validate(one).and_then(|valid| self.submit(valid, one, reply).map_err(|shut| shut.error(Vec::new())));
        if let Err(error) = admitted {
            counters.refused.fetch_add(1, Ordering::Relaxed);
            self.0.metrics().rejected.one(error.label());
            let error = error.to_string();
            return warn!(event = "intake.refused", topic = event.topic, error, "event was not emitted");
        }
        counters.emitted.fetch_add(1, Ordering::Relaxed);
        counters.unsynced.fetch_add(1, Ordering::Relaxed);
        let (unsynced, lost) = (Arc::clone(&counters.unsynced), Arc::clone(&counters.lost));
        let metrics = Arc::clone(self.0.metrics());
        self.0.arbiter.spawn(async move {
            if let Err(error) = result.await.unwrap_or(Err(AppendError::Store(StoreError::Closed))) {
                lost.fetch_add(1, Ordering::Relaxed);
                let error = append_error(error, Vec::new());
                metrics.rejected.one(error.label());
                warn!(event = "intake.lost", topic = event.topic, %error, "an emitted event could not be stored");
            }
            unsynced.fetch_sub(1, Ordering::Relaxed);
        });
    }

    /// How [`Hookmill::emit`] went so far.
    pub fn emitted(&self) -> Emitted {
        let Counters { emitted, refused, unsynced, lost } = &self.0.counters;
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Emitted { admitted: load(emitted), refused: load(refused), unsynced: load(unsynced), lost: load(lost) }
    }

    fn validate(&self, events: &[Event]) -> Result<Vec<ValidEvent>, PublishError> {
        let now = self.0.clock.now().wall;
        let (mut valid, mut faults) = (Vec::with_capacity(events.len()), Vec::new());
        for (index, event) in events.iter().enumerate() {
            match event.validate(now) {
                Ok(event) => valid.push(event),
                Err(invalid) if events.len() == 1 => faults.extend(Vec::from(invalid)),
                Err(invalid) => faults.extend(Vec::from(invalid.below(&format!("/{index}")))),
            }
        }
        Invalid::unless_empty(faults).map_err(PublishError::Invalid)?;
        Ok(valid)
    }

    /// Takes places in the intake, and hands the events to the store once the program's hooks have seen them.
    fn submit(&self, valid: Vec<ValidEvent>, events: &[Event], reply: AppendReply) -> Result<(), Shut> {
        if self.is_dead() {
            return Err(Shut::Intake(Refused::Closed));
        }
        if self.0.store.is_low() && !self.0.intake.is_closed() {
            return Err(Shut::NoRoom);
        }
        let group = self.admit(valid).map_err(Shut::Intake)?;
        self.0.enricher.append(&self.0.store, group, events, reply);
        Ok(())
    }

    pub(super) fn append(&self, events: Vec<ValidEvent>, reply: AppendReply) -> Result<(), Refused> {
        let group = self.admit(events)?;
        self.0.store.append(group, reply);
        Ok(())
    }

    fn admit(&self, events: Vec<ValidEvent>) -> Result<Vec<Submission>, Refused> {
        // What is of several tenants is nobody's: it takes nothing of theirs.
        let first = events.first().and_then(|first| first.tenant.as_ref());
        let of = first.filter(|of| events.iter().all(|event| event.tenant.as_ref() == Some(of)));
        let permits = self.0.intake.admit(of, events.iter().map(ValidEvent::weight))?;
        let submission = |(event, permit): (ValidEvent, Permit)| Submission { event, permit: Some(permit) };
        Ok(events.into_iter().zip(permits).map(submission).collect())
    }
}

pub(super) fn append_error(error: AppendError, events: Vec<Event>) -> PublishError {
    match error {
        AppendError::Conflict { id, index } => PublishError::Conflict { id: id.to_string(), index },
        AppendError::Store(StoreError::Full(reason)) => PublishError::StoreFull { reason, events },
        AppendError::Store(StoreError::Closed) => PublishError::Closed { events },
        AppendError::Store(error) => PublishError::Store(error),
    }
}

/// Why nothing is let in at this time.
pub(super) enum Shut {
    Intake(Refused),
    NoRoom,
}

impl Shut {
    pub(super) fn error(self, events: Vec<Event>) -> PublishError {
        match self {
            Self::Intake(Refused::Full) => PublishError::Overloaded { retry_after: COME_AGAIN, events },
            Self::Intake(Refused::Quota) => PublishError::Quota { retry_after: COME_AGAIN, events },
            Self::Intake(Refused::Closed) => PublishError::Closed { events },
            Self::NoRoom => PublishError::StoreFull { reason: NO_ROOM.to_owned(), events },
        }
    }
}
