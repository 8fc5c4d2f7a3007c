//! Reads request bodies: so many bytes, so fast, and so many at once.

use std::{
    cell::Cell,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
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

/// Bodies being read or worked on at once, and their bytes.
const MAX_BODIES: usize = 1024;
const MAX_BYTES: usize = 256 << 20;

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

/// Counts the bodies in memory over all threads of one Hookmill.
#[derive(Debug)]
pub(crate) struct Bodies {
    count: AtomicUsize,
    bytes: AtomicUsize,
    max_count: usize,
    max_bytes: usize,
}

impl Default for Bodies {
    fn default() -> Self {
        Self::new(MAX_BODIES, MAX_BYTES)
    }
}

impl Bodies {
    fn new(max_count: usize, max_bytes: usize) -> Self {
        Self { count: AtomicUsize::new(0), bytes: AtomicUsize::new(0), max_count, max_bytes }
    }

    fn enter(self: &Arc<Self>) -> Result<Place, Problem> {
        let others = self.count.fetch_add(1, Ordering::AcqRel);
        let place = Place { bodies: Arc::clone(self), bytes: 0 };
        if others < self.max_count { Ok(place) } else { Err(crowded()) }
    }
}

/// One body's share; given back when dropped.
#[derive(Debug)]
struct Place {
    bodies: Arc<Bodies>,
    bytes: usize,
}

impl Place {
    fn grow(&mut self, by: usize) -> Result<(), Problem> {
        self.bytes += by;
        let before = self.bodies.bytes.fetch_add(by, Ordering::AcqRel);
        if before + by <= self.bodies.max_bytes { Ok(()) } else { Err(crowded()) }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.bodies.count.fetch_sub(1, Ordering::AcqRel);
        self.bodies.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

fn crowded() -> Problem {
    Problem::new(Kind::Overloaded, "too many requests are being read, try again in 1 s").closing()
}

fn too_large(limit: usize) -> Problem {
    Problem::new(Kind::TooLarge, format!("the body is longer than {limit} bytes"))
}

/// A body that is there as a whole. It counts among [`Bodies`] until it is dropped.
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
    bodies: &Arc<Bodies>,
) -> Result<Body, Problem> {
    refuse_encoding(request)?;
    let longest = limit.array.max(limit.other);
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > longest as u64) {
        return Err(too_large(longest));
    }
    let place = bodies.enter()?;
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

    #[test]
    fn how_a_body_begins_decides_how_long_it_may_be() {
        let limit = Limit { array: 100, other: 10 };
        assert_eq!((limit.of(b" \n["), limit.of(b"{"), limit.of(b"  ")), (100, 10, 100));
    }

    #[test]
    fn bodies_at_once_are_bounded_in_number_and_bytes() {
        let bodies = Arc::new(Bodies::new(2, 10));
        let mut first = bodies.enter().unwrap();
        let mut second = bodies.enter().unwrap();
        assert!(bodies.enter().is_err());
        assert!(first.grow(6).is_ok() && second.grow(6).is_err());
        drop(second);
        assert!(bodies.enter().unwrap().grow(4).is_ok());
        drop(first);
        assert_eq!((bodies.count.load(Ordering::Acquire), bodies.bytes.load(Ordering::Acquire)), (0, 0));
    }
}
