//! Answers to what is no request.
//!
//! actix-http answers what it cannot read as a request by itself, with a status alone: no header of ours, no problem, and on
//! a connection that was kept not even `connection: close`. No hook is there to change it, so it is known again where it
//! leaves, as the end of what is written, and replaced. What an answer of ours carries may look the same, such as what a
//! receiver answered to a chain. So nothing is looked for while an answer is being made or its body is not written to its end
//! (`frame::Answering`, [`Gate::is_answering`](super::stream::Gate::is_answering)). What is written afterwards are heads
//! without a body, ends of chunked bodies, and answers of actix-http: no head of ours has so few headers.
//!
//! Three callers still get no answer, but the end of their connection: one whose head stalls that is not his first, one who
//! sends what is no request before he was answered, and one whose body is cut off or has broken chunks.

use actix_web::{
    HttpResponse,
    body::MessageBody,
    http::header::{self, HeaderValue},
};
use bytes::Bytes;

use super::frame::Rules;
use crate::api::{Kind, Problem};

/// The longest that such an answer is.
const LONGEST: usize = 192;

/// An answer that actix-http has made.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bare<'a> {
    /// Where it begins in what is written. It goes on to the end.
    pub(super) start: usize,
    kind: Kind,
    date: &'a str,
}

impl<'a> Bare<'a> {
    /// That which `written` ends with, if there is nothing in it of a body.
    pub(super) fn at_end_of(written: &'a [u8]) -> Option<Self> {
        let whole = written.strip_suffix(b"\r\n\r\n")?;
        let from = whole.len().saturating_sub(LONGEST);
        let start = from + whole.get(from..)?.windows(7).rposition(|part| part == b"HTTP/1.")?;
        let before = written.get(..start)?;
        if !(before.is_empty() || before.ends_with(b"\r\n\r\n")) {
            return None;
        }
        let mut lines = std::str::from_utf8(whole.get(start..)?).ok()?.split("\r\n");
        let kind = match lines.next()?.split_once(' ')?.1 {
            "400 Bad Request" => Kind::Malformed,
            "408 Request Timeout" => Kind::Timeout,
            "431 Request Header Fields Too Large" => Kind::HeadTooLarge,
            _ => return None,
        };
        let mut date = "";
        for line in lines {
            match line.split_once(": ")? {
                ("content-length", "0") | ("connection", _) => {}
                ("date", given) => date = given,
                _ => return None,
            }
        }
        Some(Self { start, kind, date })
    }

    /// What is written instead.
    pub(super) fn whole(&self, rules: &Rules) -> Bytes {
        let detail = match self.kind {
            Kind::Timeout => "the head of the request did not arrive in time",
            Kind::HeadTooLarge => "the head of the request is too long, or has too many lines",
            _ => "this is no request of HTTP/1.1",
        };
        let mut response = rules.answer(&Problem::new(self.kind, detail));
        if let Ok(date) = HeaderValue::from_str(self.date) {
            response.headers_mut().insert(header::DATE, date);
        }
        written(response)
    }
}

/// The bytes of an answer after which the connection ends.
fn written(response: HttpResponse) -> Bytes {
    let (status, mut bytes) = (response.status(), Vec::new());
    bytes.extend(format!("HTTP/1.1 {} {}\r\n", status.as_str(), status.canonical_reason().unwrap_or_default()).bytes());
    for (name, value) in response.headers() {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    bytes.extend(format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len()).bytes());
    bytes.extend(body);
    bytes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATE: &str = "Thu, 01 Jan 1970 00:00:00 GMT";

    fn found(written: &str) -> Option<(usize, Kind)> {
        Bare::at_end_of(written.as_bytes()).map(|bare| (bare.start, bare.kind))
    }

    #[test]
    fn an_answer_of_actix_is_known_at_the_end_of_what_is_written() {
        for (status, kind) in [
            ("400 Bad Request", Kind::Malformed),
            ("408 Request Timeout", Kind::Timeout),
            ("431 Request Header Fields Too Large", Kind::HeadTooLarge),
        ] {
            for (version, connection) in [(1, ""), (1, "connection: close\r\n"), (0, "connection: keep-alive\r\n")] {
                let bare =
                    format!("HTTP/1.{version} {status}\r\ncontent-length: 0\r\n{connection}date: {DATE}\r\n\r\n");
                assert_eq!(found(&bare), Some((0, kind)));
                for before in
                    ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-request-id: r\r\n\r\n", "2\r\n{}\r\n0\r\n\r\n"]
                {
                    assert_eq!(found(&format!("{before}{bare}")), Some((before.len(), kind)));
                    assert_eq!(found(&format!("{bare}{before}")), None);
                }
                for before in ["x", "{}\r\n", "x-request-id: "] {
                    assert_eq!(found(&format!("{before}{bare}")), None, "in the middle of something");
                }
                assert_eq!(found(&bare[1..]), None);
            }
        }
    }

    #[test]
    fn an_answer_of_ours_is_none() {
        for ours in [
            "",
            "\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nx-request-id: r\r\n\r\n",
            "HTTP/1.1 204 No Content\r\ndate: x\r\n\r\n",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 2\r\n\r\n{}",
            "HTTP/1.1 400 Bad Request\r\ncontent-length: 4\r\n\r\n\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "\"HTTP/1. \"\r\n\r\n",
        ] {
            assert_eq!(found(ours), None, "{ours:?}");
        }
    }
}
