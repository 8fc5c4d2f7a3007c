//! What holds for every request to the server, whatever its path: the host it names, and the frame around its answer.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use actix_web::{
    Error, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header::{self, HeaderMap, HeaderValue},
    middleware::Next,
};
use bytes::Bytes;
use tracing::warn;

use super::{connection::Caller, hosts::Hosts, stream::Turn};
use crate::{
    api::{Kind, Lines, Problem, excerpt},
    clock::Clock,
    event::new_id,
};

/// The same for all requests.
pub(super) struct Rules {
    pub(super) hosts: Hosts,
    pub(super) secure: bool,
    pub(super) clock: Clock,
    /// Anybody can be refused as often as he likes.
    pub(super) refusals: Mutex<Lines>,
}

/// Browsers come by https alone from now on, for a year.
const BY_TLS_ALONE: HeaderValue = HeaderValue::from_static("max-age=31536000");

pub(super) async fn frame(
    rules: Arc<Rules>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let turn = request.conn_data::<Caller>().map(|caller| caller.gate.enter());
    let refused = match rules.stranger(&request) {
        Some(host) => Some(rules.refuse(&request, &host)),
        None if asks_for_websocket(&request) => {
            let detail = "there are no websockets here: send the request without `Upgrade`";
            Some(rules.answer(&Problem::new(Kind::Malformed, detail).closing()))
        }
        None => None,
    };
    let mut response = match refused {
        None => next.call(request).await?,
        Some(refused) => request.into_response(refused),
    };
    rules.complete(response.headers_mut());
    Ok(response.map_body(|_, body| BoxBody::new(Answering { body, has_ended: false, turn })))
}

/// Whether actix-http takes all that follows on the connection for the body of `request`, whatever length it states; chunks it reads
/// as such.
fn asks_for_websocket(request: &ServiceRequest) -> bool {
    let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
    let mut values = request.headers().get_all(header::UPGRADE);
    !chunked && values.any(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket"))
}

impl Rules {
    /// The host that `request` names, if it is none of ours. One that names none comes from no browser.
    fn stranger(&self, request: &ServiceRequest) -> Option<String> {
        let local = request.conn_data::<Caller>().and_then(|caller| caller.local);
        let header = request.headers().get(header::HOST).map(|host| String::from_utf8_lossy(host.as_bytes()));
        let target = request.uri().authority().map(|authority| authority.as_str().into());
        let mut named = header.into_iter().chain(target);
        named.find(|host| !self.hosts.admit(host, local)).map(Into::into)
    }

    fn refuse(&self, request: &ServiceRequest, host: &str) -> HttpResponse {
        let log = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).take(self.clock.now().mono);
        if let Some(unlogged) = log {
            let peer = request.peer_addr().map(|peer| peer.ip().to_string());
            warn!(event = "host.denied", host = excerpt(host), peer, unlogged, "call refused");
        }
        let detail = "this server does not go by the host that was named; its settings know it as one of `hosts`";
        self.answer(&Problem::new(Kind::Misdirected, detail).closing())
    }

    /// The whole answer to what reaches no route.
    pub(super) fn answer(&self, problem: &Problem) -> HttpResponse {
        let mut response = problem.answer(&new_id("req", self.clock.now().wall));
        self.complete(response.headers_mut());
        response
    }

    fn complete(&self, headers: &mut HeaderMap) {
        if self.secure {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, BY_TLS_ALONE);
        }
    }
}

/// The body of an answer; while it is there, its request is being answered. It is there until it is written: so a connection
/// knows what is of an answer of ours, and what is not.
struct Answering {
    body: BoxBody,
    has_ended: bool,
    turn: Option<Turn>,
}

impl MessageBody for Answering {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = self.get_mut();
        if !this.has_ended {
            match ready!(Pin::new(&mut this.body).poll_next(cx)) {
                None => this.has_ended = true,
                part => return Poll::Ready(part),
            }
        }
        if let Some(turn) = &mut this.turn {
            ready!(turn.poll_written(cx));
        }
        Poll::Ready(None)
    }
}
