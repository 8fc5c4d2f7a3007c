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
use crate::{
    pipeline::{Asker, BodyBounds},
    quota::{Part, Refused},
};

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

/// Bytes up to which a body is small: large ones leave room for such.
const SMALL: usize = 256 << 10;

/// One body's part of what may be in memory; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _count: Part<Asker>,
    small: Part<Asker>,
    large: Part<Asker>,
}

impl Place {
    /// A place for a body of `asker`'s, without a byte yet.
    ///
    /// # Errors
    /// Quota, Overloaded: too many are being read already.
    pub(super) fn enter(bounds: &BodyBounds, asker: &Asker) -> Result<Self, Problem> {
        let count = bounds.count.take(asker, 1).map_err(crowded)?;
        let [small, large] = [&bounds.small, &bounds.large].map(|bytes| bytes.take_anyway(asker, 0));
        Ok(Self { _count: count, small, large })
    }

    fn grow(&mut self, by: usize) -> Result<(), Problem> {
        if self.large.amount() > 0 {
            return self.large.grow(by).map_err(crowded);
        }
        let all = self.small.amount().saturating_add(by);
        if all <= SMALL && self.small.grow(by).is_ok() {
            return Ok(());
        }
        self.large.grow(all).map_err(crowded)?;
        self.small.clear();
        Ok(())
    }
}

fn crowded(why: Refused) -> Problem {
    match why {
        Refused::Share => Problem::new(Kind::Quota, "too many requests of yours are being read, try again in 1 s"),
        Refused::All => Problem::new(Kind::Overloaded, "too many requests are being read, try again in 1 s"),
    }
    .closing()
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

/// Reads the body of `request` into its `place`. What could not be read stays in `unread`.
///
/// # Errors
/// The problem to answer with: too long, too slow, too much at once, cut off, or compressed.
pub(super) async fn read(
    request: &HttpRequest,
    unread: &Unread,
    limit: Limit,
    deadline: Duration,
    place: Place,
) -> Result<Body, Problem> {
    refuse_encoding(request)?;
    let longest = limit.array.max(limit.other);
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > longest as u64) {
        return Err(too_large(longest));
    }
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
    use crate::quota::Fair;

    #[test]
    fn how_a_body_begins_decides_how_long_it_may_be() {
        let limit = Limit { array: 100, other: 10 };
        assert_eq!((limit.of(b" \n["), limit.of(b"{"), limit.of(b"  ")), (100, 10, 100));
    }

    fn bounds(count: usize, small: usize, large: usize) -> BodyBounds {
        BodyBounds { count: Fair::new(count), small: Fair::new(small), large: Fair::new(large) }
    }

    fn tenant(name: &str) -> Asker {
        Asker::Tenant(name.parse().unwrap())
    }

    fn kind(refused: Result<impl Sized, Problem>) -> u16 {
        refused.err().map_or(200, |problem| problem.respond("r").status().as_u16())
    }

    #[test]
    fn bodies_at_once_are_bounded_in_number_and_bytes() {
        let bounds = bounds(4, SMALL * 4, SMALL * 16);
        let (acme, globex) = (tenant("acme"), tenant("globex"));
        let mut first = Place::enter(&bounds, &acme).unwrap();
        let mut second = Place::enter(&bounds, &acme).unwrap();
        assert_eq!(kind(Place::enter(&bounds, &acme)), 429);
        assert!(first.grow(SMALL * 5).is_ok() && first.grow(SMALL).is_ok());
        assert_eq!(kind(second.grow(SMALL * 3)), 429, "half of all are its own");
        let mut others = Place::enter(&bounds, &globex).unwrap();
        assert_eq!(kind(others.grow(SMALL * 6)), 503);
        assert!(others.grow(SMALL * 5).is_ok());
        drop((first, second, others));
        assert_eq!((bounds.count.used(), bounds.small.used(), bounds.large.used()), (0, 0, 0));
    }

    #[test]
    fn however_many_large_ones_there_are_small_ones_have_room() {
        let bounds = bounds(100, SMALL * 64, SMALL * 16);
        let names: Vec<_> = (0..6).map(|n| tenant(&format!("t{n}"))).collect();
        let mut places = Vec::new();
        for asker in &names {
            // As much as it can have.
            let mut place = Place::enter(&bounds, asker).unwrap();
            place.grow(SMALL).unwrap();
            while place.grow(SMALL / 8).is_ok() {}
            places.push(place);
        }
        let mut small = Place::enter(&bounds, &tenant("other")).unwrap();
        assert_eq!(kind(small.grow(SMALL)), 200);
        assert!(small.grow(1).is_err(), "it is a large one now");
    }

    #[test]
    fn a_body_that_becomes_large_leaves_the_room_of_small_ones() {
        let bounds = bounds(4, SMALL * 8, SMALL * 8);
        let mut place = Place::enter(&bounds, &Asker::Operator).unwrap();
        place.grow(SMALL).unwrap();
        assert_eq!((bounds.small.used(), bounds.large.used()), (SMALL, 0));
        place.grow(1).unwrap();
        assert_eq!((bounds.small.used(), bounds.large.used()), (0, SMALL + 1));
    }
}
