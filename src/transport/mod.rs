//! The way out: what carries one attempt to its receiver.

mod batch;
pub mod body;
mod connect;
#[cfg(unix)]
mod file;
pub mod guard;
mod http;
mod kept;
mod names;
mod network;
mod perimeter;
pub(crate) mod retry_after;
mod room;
mod routed;
pub mod signature;
mod stream;

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

pub use crate::store::Peer;
use crate::{clock::Timestamp, endpoint::Endpoint, event::Accepted};
pub use batch::batch_id;
#[cfg(unix)]
pub use file::{FileTransport, Writers};
pub use http::HttpTransport;
pub use network::Network;
pub use perimeter::Perimeter;
pub(crate) use routed::routed;

/// One try to deliver one event, or a batch of them, to one endpoint. Where the endpoint has batches, one event is a batch
/// too.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What is delivered, in order; never empty.
    pub events: Vec<Arc<Accepted>>,
    /// To whom, as the endpoint stood when the attempt started.
    pub endpoint: Arc<Endpoint>,
    /// Which attempt of this delivery, from 1; of a batch, of its first.
    pub number: u32,
    /// When it started.
    pub at: Timestamp,
    /// Bytes of the answer's body to read and keep; [`KEPT_RESPONSE_BYTES`] for deliveries.
    pub keep: usize,
}

impl Attempt {
    /// Names the request for its receiver: the event's id, or [`batch_id`] where the endpoint has batches.
    pub fn message_id(&self) -> String {
        match (self.endpoint.settings.policy.batch.is_some(), self.events.as_slice()) {
            (false, [event]) => event.id.to_string(),
            (_, events) => batch_id(events),
        }
    }

    /// The first of its events; the only one, where there is no batch.
    #[expect(clippy::indexing_slicing, reason = "never empty")]
    pub fn event(&self) -> &Arc<Accepted> {
        &self.events[0]
    }
}

/// What came back.
pub type Answer = Result<Reply, Failure>;

/// Whom an answer is from, or a failure was with.
pub(crate) fn peer_of(answer: &Answer) -> Option<Peer> {
    match answer {
        Ok(reply) => reply.response().and_then(|response| response.peer),
        Err(failure) => failure.peer,
    }
}

/// What the receiver did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It answered over HTTP.
    Response(Response),
    /// The lines are in its file, and on disk.
    Written,
}

impl Reply {
    /// The answer over HTTP, if it was one.
    pub const fn response(&self) -> Option<&Response> {
        match self {
            Self::Response(response) => Some(response),
            Self::Written => None,
        }
    }
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

/// A final answer of the receiver, whatever its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status, 200 to 599.
    pub status: u16,
    /// When the receiver asks to be left alone until.
    pub retry_after: Option<RetryAfter>,
    /// The beginning of the body, at most what the attempt keeps.
    pub body: Bytes,
    /// Whether `body` is known to be all of it.
    pub complete: bool,
    /// What the receiver calls it: `Content-Type`, up to 256 bytes.
    pub content_type: Option<String>,
    /// Whom it is from, where the transport knows. Tenants are shown the body only where this is public.
    pub peer: Option<Peer>,
}

impl Response {
    /// An answer that has this status, and nothing else.
    pub const fn new(status: u16) -> Self {
        Self { status, retry_after: None, body: Bytes::new(), complete: true, content_type: None, peer: None }
    }
}

/// Bytes of an answer to a delivery that are read and kept; the rest is never read.
pub const KEPT_RESPONSE_BYTES: usize = 4096;

/// `Retry-After` (RFC 9110 10.2.3) in either form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryAfter {
    /// This long from now.
    Delay(Duration),
    /// At this moment.
    At(Timestamp),
}

/// There was no final answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// Where it broke.
    pub kind: FailureKind,
    /// What happened, for people; without secrets, and without addresses that a name leads to.
    pub detail: String,
    /// Whom it was with, where the transport knows.
    pub peer: Option<Peer>,
}

impl Failure {
    /// Control characters, which may be a receiver's, are escaped: no text can forge a line of a log.
    pub(crate) fn new(kind: FailureKind, detail: impl Into<String>) -> Self {
        let detail: String = detail.into();
        let detail = if detail.contains(char::is_control) { printable(&detail) } else { detail };
        Self { kind, detail, peer: None }
    }
}

fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}

/// Where an exchange without an answer broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The deadline passed.
    Timeout,
    /// The host's name could not be resolved.
    Dns,
    /// No connection.
    Connect,
    /// No agreement on TLS.
    Tls,
    /// The guard refused the address.
    Blocked,
    /// The connection broke, or what came was not HTTP.
    Protocol,
    /// The file could not be written: it is no regular file, its directory is missing, the disk is full.
    File,
    /// Our own code failed: a transport that panicked.
    Internal,
    /// This machine had no descriptor or memory left for a connection, or there was no room for what the request carries; nothing
    /// was sent. It uses no attempt, and is nothing against the receiver.
    Shortage,
    /// The endpoint's format cannot write this event; nothing was sent. Not retried, and nothing against the receiver.
    Unrenderable,
}

/// Carries attempts. One lives on each delivery arbiter and serves all its endpoints.
///
/// A transport ends every exchange within the endpoint's `timeout`, which runs once there is room for what it carries, reads at most [`Attempt::keep`] bytes of an answer, follows
/// no redirect, and sends nothing after its future has been dropped.
pub trait Transport: 'static {
    /// Makes one attempt.
    fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer>;
}

/// Makes the transport of an arbiter, on that arbiter.
pub type TransportFactory = Arc<dyn Fn() -> Rc<dyn Transport> + Send + Sync>;
