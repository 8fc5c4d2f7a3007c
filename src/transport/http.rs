//! Delivery over HTTP/1.1.

mod request;

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use awc::{
    Client, ClientResponse, Connector,
    error::{ConnectError, SendRequestError},
    http::{Version, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::LocalBoxFuture};
use tokio::time::timeout;
use tracing::warn;

use super::{
    Answer, Attempt, Failure, FailureKind, Network, Peer, Response, Transport,
    connect::Dialer,
    kept::Kept,
    retry_after,
    stream::{Socket, Used},
};
use crate::endpoint::policy::Guard;

/// Longest `Content-Type` that is kept, in bytes.
const LONGEST_CONTENT_TYPE: usize = 256;

/// The transport of `http` and `https` endpoints.
///
/// - One deadline, the endpoint's `timeout`, lies over the whole exchange: resolve, connect, TLS, head and body. When it has
///   passed, or the future is dropped, the connection is closed and nothing more is sent.
/// - Only addresses that the endpoint's guard allows are connected to, whatever its URL says and its name resolves to.
/// - Redirects are answers like others. Bodies are not decompressed.
/// - Connections are kept for the next request to the same host and guard for up to 15 seconds, and reused only when the
///   answer before was complete and came to a clear end. An attempt is sent once: a kept connection that the receiver
///   closes at that moment is a [`FailureKind::Protocol`] failure, because what it has read of the request is unknown.
/// - The head of an answer is read up to 16 KiB and 96 headers, its body as far as it is kept.
/// - An interim answer (1xx) is a failure: nothing was asked that would call for one, and awc cannot read the final one.
///   The connection is closed.
///
/// - A connection that nobody used for so long is closed, so that silent endpoints hold no sockets.
///
/// Made on the arbiter that uses it.
#[derive(Clone)]
pub struct HttpTransport(Rc<Clients>);

/// The clients of an arbiter, and what they keep.
struct Clients {
    network: Network,
    by_guard: RefCell<ByGuard>,
    kept: Kept,
    /// Connections that were closed in the pools of these clients: what is left of each stays there.
    left: Cell<usize>,
}

/// A client for each guard. awc knows a kept connection by its host alone, so that sharing one would lend a connection that
/// one guard allows to an endpoint whose guard does not.
struct ByGuard {
    private: Client,
    private_no_loopback: Client,
    public: Client,
    public_and_loopback: Client,
}

impl ByGuard {
    fn new(network: &Network) -> Self {
        Self {
            private: client(network, Guard::Private),
            private_no_loopback: client(network, Guard::PrivateNoLoopback),
            public: client(network, Guard::Public),
            public_and_loopback: client(network, Guard::PublicAndLoopback),
        }
    }
}

impl HttpTransport {
    /// A transport without connections.
    pub fn new(network: &Network) -> Self {
        let (by_guard, kept) = (RefCell::new(ByGuard::new(network)), Kept::new(network.keep));
        Self(Rc::new(Clients { network: network.clone(), by_guard, kept, left: Cell::default() }))
    }

    fn client(&self, guard: Guard) -> Client {
        let clients = self.0.by_guard.borrow();
        let client = match guard {
            Guard::Private => &clients.private,
            Guard::PrivateNoLoopback => &clients.private_no_loopback,
            Guard::Public => &clients.public,
            Guard::PublicAndLoopback => &clients.public_and_loopback,
        };
        client.clone()
    }
}

impl Clients {
    fn keep(self: &Rc<Self>, socket: &Rc<Socket>) {
        if self.kept.is_idle(socket) {
            actix_rt::spawn(Kept::watch(Rc::downgrade(self), |clients| &clients.kept, Self::renew));
        }
    }

    /// What was saved before the operator asked for https is held to it too.
    fn judge_scheme(&self, attempt: &Attempt) -> Result<(), Failure> {
        let settings = &attempt.endpoint.settings;
        let Some(url) = settings.target.url() else { return Ok(()) };
        self.network.perimeter.judge_scheme(url, settings.guard).map_err(|rule| {
            self.network.metrics.blocked.one("not_https");
            Failure::new(FailureKind::Blocked, format!("the URL {rule}"))
        })
    }

    /// What is left of closed connections goes with its clients once it is more than what they keep.
    fn renew(&self, closed: usize, kept: usize) {
        self.left.set(self.left.get() + closed);
        if self.left.get() > kept {
            self.left.set(0);
            let _old = self.by_guard.replace(ByGuard::new(&self.network));
        }
    }
}

fn client(network: &Network, guard: Guard) -> Client {
    /// For awc's own limits: the exchange has its deadline, and each step of the dialer too.
    const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
    let (names, perimeter) = (network.names.clone(), Arc::clone(&network.perimeter));
    let connector = Connector::new()
        .connector(Dialer { guard, names, perimeter, metrics: Arc::clone(&network.metrics) })
        .rustls_0_23(network.tls.clone())
        .limit(0)
        .timeout(NEVER)
        .handshake_timeout(NEVER)
        .conn_keep_alive(network.keep);
    Client::builder().connector(connector).disable_timeout().disable_redirects().no_default_headers().finish()
}

impl Transport for HttpTransport {
    fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer> {
        let settings = &attempt.endpoint.settings;
        let (client, limit) = (self.client(settings.guard), settings.policy.timeout);
        let clients = Rc::clone(&self.0);
        async move {
            let late = || Failure::new(FailureKind::Timeout, format!("no complete answer within {limit:?}"));
            let used = Used::default();
            let exchange = async {
                clients.judge_scheme(&attempt)?;
                exchange(&client, &attempt, &used).await
            };
            let answer = timeout(limit, used.watch(exchange)).await;
            if let Some(socket) = used.socket() {
                clients.keep(&socket);
            }
            let answer = of_peer(answer.unwrap_or_else(|_| Err(late())), used.peer());
            if let Err(Failure { kind: FailureKind::Blocked, detail, .. }) = &answer {
                warn!(event = "guard.blocked", endpoint = %attempt.endpoint.id, reason = detail, "address refused");
            }
            answer
        }
        .boxed_local()
    }
}

/// With whom it was.
fn of_peer(answer: Result<Response, Failure>, peer: Option<Peer>) -> Answer {
    match answer {
        Ok(response) => Ok(Response { peer, ..response }.into()),
        Err(failure) => Err(Failure { peer: peer.or(failure.peer), ..failure }),
    }
}

async fn exchange(client: &Client, attempt: &Attempt, used: &Used) -> Result<Response, Failure> {
    let (request, body) = request::build(client, attempt)?;
    let head = request.send_body(body).await.map_err(failure)?;
    used.has_head(attempt.keep);
    let status = head.status().as_u16();
    if !(200..600).contains(&status) {
        used.close();
        return Err(protocol(format!("status {status} is not a final answer")));
    }
    let retry_after =
        head.headers().get(header::RETRY_AFTER).and_then(|value| retry_after::parse(value.to_str().ok()?));
    let content_type = content_type(&head);
    let (body, complete) = read(head, used, attempt.keep).await?;
    Ok(Response { status, retry_after, body, complete, content_type, peer: None })
}

fn content_type<S>(head: &ClientResponse<S>) -> Option<String> {
    let value = head.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.to_owned()).filter(|value| (1..=LONGEST_CONTENT_TYPE).contains(&value.len()))
}

/// How the end of a body is known (RFC 9112 6.3).
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// By its length, its last chunk, or because there cannot be one.
    Stated,
    /// By the end of the connection.
    Close,
    /// By the end of the connection, in a version where awc does not read such bodies.
    Unread,
}

impl End {
    fn of<S>(head: &ClientResponse<S>) -> Self {
        let value = |name| head.headers().get(name).map(|value| value.as_bytes());
        let old = head.version() == Version::HTTP_10;
        let chunked = value(header::TRANSFER_ENCODING).is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
        if is_bodiless(head) || value(header::CONTENT_LENGTH).is_some() || (chunked && !old) {
            Self::Stated
        } else if old {
            Self::Close
        } else {
            Self::Unread
        }
    }
}

/// Whether awc waits for the end of the connection although there is no body.
fn is_old_and_empty<S>(head: &ClientResponse<S>) -> bool {
    let length = head.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let no_length = length.and_then(|length| length.trim().parse().ok()) == Some(0_u64);
    head.version() == Version::HTTP_10 && (no_length || is_bodiless(head))
}

fn is_bodiless<S>(head: &ClientResponse<S>) -> bool {
    matches!(head.status().as_u16(), 204 | 304)
}

/// The beginning of a body, and whether it is all.
async fn read<S>(mut head: ClientResponse<S>, used: &Used, keep: usize) -> Result<(Bytes, bool), Failure>
where
    ClientResponse<S>: futures_util::Stream<Item = Result<Bytes, awc::error::PayloadError>> + Unpin,
{
    if is_old_and_empty(&head) {
        used.close();
        return Ok((Bytes::new(), true));
    }
    let end = End::of(&head);
    let mut kept = BytesMut::new();
    while let Some(chunk) = head.next().await {
        let chunk = chunk.map_err(|error| protocol(format!("the body broke off: {error}")))?;
        let room = keep - kept.len();
        kept.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if chunk.len() > room {
            return Ok((kept.freeze(), false));
        }
    }
    // A connection of HTTP/1.0 ends with its answer; awc would keep one whose body had a length.
    if head.version() == Version::HTTP_10 || end == End::Unread {
        used.close();
    }
    if used.broke_off(head) && end == End::Stated {
        return Err(protocol("the body broke off"));
    }
    Ok((kept.freeze(), end != End::Unread))
}

fn protocol(detail: impl Into<String>) -> Failure {
    Failure::new(FailureKind::Protocol, detail)
}

/// What an error of awc means. The dialer's own travel inside; the other errors of input and output that awc reports as
/// those of connecting are those of TLS.
fn failure(error: SendRequestError) -> Failure {
    match error {
        SendRequestError::Connect(ConnectError::Io(error)) => error
            .downcast::<Failure>()
            .unwrap_or_else(|error| Failure::new(FailureKind::Tls, format!("no agreement on TLS: {error}"))),
        SendRequestError::Connect(ConnectError::Disconnected) => {
            protocol("the connection was closed without an answer")
        }
        SendRequestError::Send(error) => protocol(format!("the connection broke: {error}")),
        SendRequestError::Response(error) => protocol(format!("not an HTTP answer: {error}")),
        error => protocol(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
