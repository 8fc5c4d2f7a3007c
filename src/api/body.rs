//! Reads request bodies: so many bytes, so fast, and so many at once.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    error::PayloadError,
    http::header,
    web::Payload,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;

use super::problem::{Kind, Problem};
use crate::{pipeline::BodyBounds, quota::Share};

/// How long a body may be, by how it begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// Bytes of a body that begins as an array.
    pub(super) array: usize,
    /// Bytes of any other.
    pub(super) other: usize,
}

impl Limit {
    fn of(self, beginning: &[u8]) -> usize {
        match beginning.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => self.array.max(self.other),
            Some(b'[') => self.array,
            Some(_) => self.other,
        }
    }
}

/// One body's share of what may be in memory; given back when dropped.
#[derive(Debug)]
struct Place {
    _count: Share,
    bytes: Share,
}

impl Place {
    fn enter(bounds: &BodyBounds) -> Result<Self, Problem> {
        let place = bounds.count.take(1).zip(bounds.bytes.take(0)).map(|(count, bytes)| Self { _count: count, bytes });
        place.ok_or_else(crowded)
    }

    fn grow(&mut self, by: usize) -> Result<(), Problem> {
        if self.bytes.grow(by) { Ok(()) } else { Err(crowded()) }
    }
}

fn crowded() -> Problem {
    Problem::new(Kind::Overloaded, "too many requests are being read, try again in 1 s").closing()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("the body is longer than {limit} bytes"))
}

/// A body that is there as a whole. It counts among [`BodyBounds`] until it is dropped.
#[derive(Debug)]
pub(super) struct Body {
    pub(super) bytes: Bytes,
    _place: Place,
}

/// What of a request has not been read. It is kept until the answer is written: actix-web goes on reading a chunked body
/// that nobody holds any more, for as long as the client likes; one that is held makes it close the connection.
#[derive(Clone)]
pub(super) struct Unread(Rc<Cell<Option<Payload>>>);

impl Unread {
    pub(super) fn new(payload: Payload) -> Self {
        Self(Rc::new(Cell::new(Some(payload))))
    }

    /// Keeps it as long as the body of `response`.
    pub(super) fn keep_with(&self, response: HttpResponse) -> HttpResponse {
        let Some(payload) = self.0.take() else { return response };
        response.map_body(|_, body| BoxBody::new(Holding { body, _payload: payload }))
    }
}

struct Holding {
    body: BoxBody,
    _payload: Payload,
}

impl MessageBody for Holding {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(cx)
    }
}

/// Reads the body of `request`. What could not be read stays in `unread`.
///
/// # Errors
/// The problem to answer with: too long, too slow, too many at once, cut off, or compressed.
pub(super) async fn read(
    request: &HttpRequest,
    unread: &Unread,
    limit: Limit,
    deadline: Duration,
    bounds: &BodyBounds,
) -> Result<Body, Problem> {
    refuse_encoding(request)?;
    let longest = limit.array.max(limit.other);
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > longest as u64) {
        return Err(too_large(longest));
    }
    let place = Place::enter(bounds)?;
    let Some(mut payload) = unread.0.take() else {
        return Err(Problem::new(Kind::Internal, "the body was read before"));
    };
    let read = tokio::time::timeout(deadline, collect(&mut payload, limit, place)).await;
    let body = read.unwrap_or_else(|_| {
        Err(Problem::new(Kind::Timeout, format!("the body did not arrive within {} s", deadline.as_secs_f32())))
    });
    if body.is_err() {
        unread.0.set(Some(payload));
    }
    body
}

async fn collect(payload: &mut Payload, limit: Limit, mut place: Place) -> Result<Body, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(unreadable)?;
        place.grow(chunk.len())?;
        bytes.extend_from_slice(&chunk);
        let longest = limit.of(&bytes);
        if bytes.len() > longest {
            return Err(too_large(longest));
        }
    }
    Ok(Body { bytes: bytes.freeze(), _place: place })
}

#[expect(clippy::needless_pass_by_value, reason = "passed to `map_err`")]
fn unreadable(error: PayloadError) -> Problem {
    Problem::malformed("#", format!("the body ended before its time: {error}")).closing()
}

fn refuse_encoding(request: &HttpRequest) -> Result<(), Problem> {
    let encoding = request.headers().get(header::CONTENT_ENCODING).map(|encoding| encoding.as_bytes());
    match encoding {
        None => Ok(()),
        Some(encoding) if encoding.eq_ignore_ascii_case(b"identity") => Ok(()),
        Some(_) => Err(Problem::new(Kind::UnsupportedMediaType, "compressed bodies are not read: send it as it is")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::Quota;

    #[test]
    fn how_a_body_begins_decides_how_long_it_may_be() {
        let limit = Limit { array: 100, other: 10 };
        assert_eq!((limit.of(b" \n["), limit.of(b"{"), limit.of(b"  ")), (100, 10, 100));
    }

    #[test]
    fn bodies_at_once_are_bounded_in_number_and_bytes() {
        let bounds = BodyBounds { count: Quota::new(2), bytes: Quota::new(10) };
        let mut first = Place::enter(&bounds).unwrap();
        let mut second = Place::enter(&bounds).unwrap();
        assert!(Place::enter(&bounds).is_err());
        assert!(first.grow(6).is_ok() && second.grow(6).is_err());
        drop(second);
        assert!(Place::enter(&bounds).unwrap().grow(4).is_ok());
        drop(first);
        assert_eq!((bounds.count.used(), bounds.bytes.used()), (0, 0));
    }
}
