//! Watching events as they are accepted.

use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use actix::Recipient;
use futures_util::Stream;
use tokio::sync::mpsc::{self, error::TrySendError};

use super::Hookmill;
use crate::{
    error::Invalid,
    event::{Accepted, NameError, TopicPattern},
    hub::{self, Published, subscribers::Told},
};

/// Events that wait for a reader, unless told otherwise.
const BUFFER: usize = 1024;

/// Events as they are accepted, in the order of their seqs. It ends with the shutdown, or when the Hookmill is gone.
pub struct EventStream {
    events: mpsc::Receiver<Published>,
    missed: Arc<AtomicU64>,
}

impl EventStream {
    /// How many events have passed it by so far, because as many as its buffer holds waited to be read. Those come behind what
    /// was waiting then and before what is accepted later.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Acquire)
    }
}

impl Stream for EventStream {
    type Item = Published;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Published>> {
        self.events.poll_recv(cx)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("missed", &self.missed()).finish_non_exhaustive()
    }
}

impl Hookmill {
    /// Tells an actor of every accepted event of these topics, from now on. It only watches: when its mailbox is full,
    /// events pass it by.
    ///
    /// # Errors
    /// When `topics` is not a topic pattern.
    pub fn subscribe(&self, topics: &str, subscriber: Recipient<Published>) -> Result<(), Invalid> {
        let topics = self.watched(topics)?;
        self.0.hub.do_send(hub::Subscribe { topics, subscriber });
        Ok(())
    }

    /// Every accepted event of these topics, from now on. It only watches: when 1024 events wait to be read, further ones
    /// pass it by, and [`EventStream::missed`] tells how many.
    ///
    /// # Errors
    /// When `topics` is not a topic pattern.
    pub fn stream(&self, topics: &str) -> Result<EventStream, Invalid> {
        self.stream_buffered(topics, BUFFER)
    }

    /// The same with a buffer for so many events, at least one.
    ///
    /// # Errors
    /// As for [`Hookmill::stream`].
    pub fn stream_buffered(&self, topics: &str, buffer: usize) -> Result<EventStream, Invalid> {
        let topics = self.watched(topics)?;
        let (sender, events) = mpsc::channel(buffer.max(1));
        let missed = Arc::new(AtomicU64::new(0));
        let (count, metrics) = (Arc::clone(&missed), Arc::clone(self.0.metrics()));
        let watcher = move |event: &Arc<Accepted>| match sender.try_send(Published(Arc::clone(event))) {
            Ok(()) => Told::Yes,
            Err(TrySendError::Full(_)) => {
                count.fetch_add(1, Ordering::AcqRel);
                metrics.streams_missed.one();
                Told::Full
            }
            Err(TrySendError::Closed(_)) => Told::Gone,
        };
        self.0.hub.do_send(hub::Watch { topics, watcher: Box::new(watcher) });
        Ok(EventStream { events, missed })
    }

    fn watched(&self, topics: &str) -> Result<TopicPattern, Invalid> {
        let topics = topics.parse().map_err(|error: NameError| Invalid::at("#", error.to_string()))?;
        self.0.listeners.inside(&topics);
        Ok(topics)
    }
}
