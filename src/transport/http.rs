//! Delivery over HTTP/1.1.

mod pools;
mod request;

use std::rc::Rc;

use awc::{
    Client, ClientResponse,
    error::{ConnectError, SendRequestError},
    http::{Version, header},
};
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt, StreamExt, future::LocalBoxFuture};
use tokio::time::timeout;
use tracing::warn;

use super::{
    Answer, Attempt, Failure, FailureKind, Network, Peer, Response, Transport,
    body::{self, Rendered},
    retry_after,
    room::Held,
    stream::Used,
};
use pools::Pools;

/// Longest `Content-Type` that is kept, in bytes.
const LONGEST_CONTENT_TYPE: usize = 256;

/// The transport of `http` and `https` endpoints.
///
/// - One deadline, the endpoint's `timeout`, lies over the whole exchange: resolve, connect, TLS, head and body. When it has
///   passed, or the future is dropped, the connection is closed and nothing more is sent.
/// - What it carries takes room in memory, which exchanges share by whose endpoints they are: 256 MiB for all that are made over one
///   [`Network`], and 128 MiB for bodies up to 64 KiB, half of it for one owner. Where there is none it is waited for up to 5 seconds, before the deadline runs; then it is
///   a [`FailureKind::Shortage`]. Nothing is kept rendered meanwhile.
/// - Only addresses that the endpoint's guard allows are connected to, whatever its URL says and its name resolves to.
/// - Redirects are answers like others. Bodies are not decompressed.
/// - Connections are kept for the next request of the same tenant to the same host under the same guard for up to 15 seconds,
///   and reused only when the answer before was complete and came to a clear end. An attempt is sent once: a kept connection
///   that the receiver closes at that moment is a [`FailureKind::Protocol`] failure, because what it has read of the request is
///   unknown.
/// - The head of an answer is read up to 16 KiB and 96 headers, its body as far as it is kept.
/// - An interim answer (1xx) is a failure: nothing was asked that would call for one, and awc cannot read the final one.
///   The connection is closed.
///
/// - A connection that nobody used for so long is closed, so that silent endpoints hold no sockets.
///
/// Made on the arbiter that uses it.
#[derive(Clone)]
pub struct HttpTransport(Rc<Pools>);

impl HttpTransport {
    /// A transport without connections.
    pub fn new(network: &Network) -> Self {
        Self(Pools::new(network))
    }
}

/// What was saved before the operator asked for https is held to it too.
fn judge_scheme(network: &Network, attempt: &Attempt) -> Result<(), Failure> {
    let settings = &attempt.endpoint.settings;
    let Some(url) = settings.target.url() else { return Ok(()) };
    network.perimeter.judge_scheme(url, settings.guard).map_err(|rule| {
        network.metrics.blocked.one("not_https");
        Failure::new(FailureKind::Blocked, format!("the URL {rule}"))
    })
}

impl Transport for HttpTransport {
    fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer> {
        let settings = &attempt.endpoint.settings;
        let (pool, limit) = (self.0.pool(settings), settings.policy.timeout);
        let pools = Rc::clone(&self.0);
        async move {
            let used = Used::default();
            let late = || Failure::new(FailureKind::Timeout, format!("no complete answer within {limit:?}"));
            let exchange = async |rendered| exchange(&pool.client(), &attempt, rendered, &used).await;
            let answer = match rendered(pools.network(), &attempt).await {
                // Held until the exchange has ended, whichever way.
                Ok((rendered, _held)) => timeout(limit, used.watch(exchange(rendered))).await,
                Err(failure) => Ok(Err(failure)),
            };
            if let Some(socket) = used.socket() {
                pools.keep(&socket, &pool);
            }
            let answer = of_peer(answer.unwrap_or_else(|_| Err(used.lack().unwrap_or_else(late))), used.peer());
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

/// What an attempt carries, and the room for it. What there is no room for is not kept, but written again once there is.
async fn rendered(network: &Network, attempt: &Attempt) -> Result<(Rendered, Held), Failure> {
    judge_scheme(network, attempt)?;
    let Attempt { events, endpoint, .. } = attempt;
    let rendered = body::render_all(events, &endpoint.settings)?;
    let weight = rendered.weight();
    let (room, owner) = (network.rooms.of(weight), &endpoint.settings.tenant);
    if let Some(held) = room.try_take(owner, weight) {
        return Ok((rendered, held));
    }
    drop(rendered);
    let held = room.wait(owner, weight).await.ok_or_else(|| no_room(weight))?;
    Ok((body::render_all(events, &endpoint.settings)?, held))
}

fn no_room(bytes: usize) -> Failure {
    Failure::new(FailureKind::Shortage, format!("no room in memory for the {bytes} bytes of the request"))
}

async fn exchange(client: &Client, attempt: &Attempt, rendered: Rendered, used: &Used) -> Result<Response, Failure> {
    let (request, body) = request::build(client, attempt, rendered)?;
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

/// Whether awc waits for a body that cannot be there: an answer to what has none may state the length it would have (RFC 9110
/// 8.6), and one of HTTP/1.0 is read to the end of its connection.
fn is_over<S>(head: &ClientResponse<S>) -> bool {
    let has = |name| head.headers().contains_key(name);
    let length = head.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let no_length = length.and_then(|length| length.trim().parse().ok()) == Some(0_u64);
    let old = head.version() == Version::HTTP_10;
    let states_one = has(header::TRANSFER_ENCODING) || has(header::CONTENT_LENGTH) && !no_length;
    if is_bodiless(head) { old || states_one } else { old && no_length }
}

fn is_bodiless<S>(head: &ClientResponse<S>) -> bool {
    matches!(head.status().as_u16(), 204 | 304)
}

/// The beginning of a body, and whether it is all.
async fn read<S>(mut head: ClientResponse<S>, used: &Used, keep: usize) -> Result<(Bytes, bool), Failure>
where
    ClientResponse<S>: futures_util::Stream<Item = Result<Bytes, awc::error::PayloadError>> + Unpin,
{
    if is_over(&head) {
        // What follows on its connection could be anything.
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
