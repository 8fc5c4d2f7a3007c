//! Room in memory for answers that are being read: whoever reads slowly holds what was read for him.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
};
use bytes::Bytes;

use super::problem::{Kind, Problem};
use crate::{
    pipeline::Asker,
    quota::{Fair, Part, Refused},
};

/// Longer answers count: a connection has as much in its buffer in any case.
const COUNTED: usize = 32 << 10;
/// What a connection takes at a time.
const PIECE: usize = 16 << 10;

/// Whether a call may begin whose answer cannot be refused.
///
/// # Errors
/// Quota: `asker` has more answers to read than it may.
pub(super) fn expect_room(all: &Fair<Asker>, asker: &Asker) -> Result<(), Problem> {
    if all.is_overdrawn(asker) { Err(refused(Refused::Share)) } else { Ok(()) }
}

/// Has the body of `response` count as `asker`'s until it was sent or dropped. What `must` be told is told in any case.
///
/// # Errors
/// Quota, Overloaded: too much is being read already.
pub(super) fn hold(
    response: HttpResponse,
    all: &Fair<Asker>,
    asker: &Asker,
    must: bool,
) -> Result<HttpResponse, Problem> {
    let (head, body) = response.into_parts();
    let bytes = match body.try_into_bytes() {
        Ok(bytes) if bytes.len() > COUNTED => bytes,
        Ok(bytes) => return Ok(head.set_body(BoxBody::new(bytes))),
        Err(body) => return Ok(head.set_body(body)),
    };
    let part =
        if must { all.take_anyway(asker, bytes.len()) } else { all.take(asker, bytes.len()).map_err(refused)? };
    Ok(head.set_body(BoxBody::new(Held { bytes, _part: part })))
}

fn refused(why: Refused) -> Problem {
    match why {
        Refused::Share => Problem::new(Kind::Quota, "read the answers that you have asked for first"),
        Refused::All => Problem::new(Kind::Overloaded, "too many answers are being read, try again in 1 s"),
    }
}

/// A body that is handed out in pieces, so that it counts until the last of them is about to be sent: whole, it would be in the
/// connection's buffer at once, and count nowhere.
struct Held {
    bytes: Bytes,
    _part: Part<Asker>,
}

impl MessageBody for Held {
    type Error = Infallible;

    fn size(&self) -> BodySize {
        self.bytes.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, Infallible>>> {
        let piece = self.bytes.len().min(PIECE);
        Poll::Ready((piece > 0).then(|| Ok(self.bytes.split_to(piece))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(bytes: usize) -> HttpResponse {
        HttpResponse::Ok().body(vec![b'x'; bytes])
    }

    #[test]
    fn an_answer_counts_until_it_is_gone_and_small_ones_never_do() {
        let all = Fair::new(COUNTED * 8);
        let ask = |asker: &Asker, bytes| hold(answer(bytes), &all, asker, false);
        let operator = Asker::Operator;
        let held = ask(&operator, COUNTED * 3).unwrap();
        assert_eq!(held.body().size(), BodySize::Sized(COUNTED as u64 * 3));
        assert_eq!(all.used(), COUNTED * 3);
        assert!(ask(&operator, COUNTED * 2).is_err() && ask(&operator, COUNTED).is_ok());
        assert!(ask(&Asker::Anybody, COUNTED * 2).is_ok() && ask(&Asker::Anybody, COUNTED * 3).is_err());
        assert_eq!(all.used(), COUNTED * 3);
        drop(held);
        assert_eq!(all.used(), 0);
    }

    #[test]
    fn what_must_be_told_is_told_and_the_next_call_is_not_begun() {
        let (all, asker) = (Fair::new(COUNTED * 8), Asker::Operator);
        let told: Vec<_> = (0..3).map(|_| hold(answer(COUNTED * 2), &all, &asker, true).unwrap()).collect();
        assert!(expect_room(&all, &asker).is_err() && expect_room(&all, &Asker::Anybody).is_ok());
        drop(told);
        assert!(expect_room(&all, &asker).is_ok());
    }

    #[test]
    fn it_is_sent_piece_by_piece_and_whole() {
        actix_rt::System::new().block_on(async {
            let all = Fair::new(1 << 20);
            let bytes: Vec<u8> = (0..COUNTED * 2 + 1).map(|n| n.to_le_bytes()[0]).collect();
            let response = hold(HttpResponse::Ok().body(bytes.clone()), &all, &Asker::Operator, false).unwrap();
            let (mut body, mut sent) = (Box::pin(response.into_body()), Vec::new());
            while let Some(piece) = std::future::poll_fn(|cx| body.as_mut().poll_next(cx)).await {
                let piece = piece.unwrap();
                assert!(piece.len() <= PIECE && all.used() == bytes.len());
                sent.extend_from_slice(&piece);
            }
            assert_eq!(sent, bytes);
        });
    }
}
