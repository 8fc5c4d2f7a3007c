//! The binary content mode of the
//! [HTTP binding](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md):
//! attributes in `ce-…` headers, the data as the body.

use actix_web::http::header::HeaderMap;
use bytes::Bytes;
use serde_json::Value;

use super::{Attributes, Event, Fault, Invalid, Problem, Reader, below, kept, text};

const PREFIX: &str = "ce-";
const REQUIRED: [&str; 4] = ["ce-specversion", "ce-type", "ce-source", "ce-id"];

/// Whether these are the headers of a CloudEvent.
pub(in super::super) fn is_binary(headers: &HeaderMap) -> bool {
    REQUIRED.iter().any(|name| headers.contains_key(*name))
}

/// Reads one event whose data is a body of this content type; no body is no data.
///
/// # Errors
/// The problem to answer with.
pub(in super::super) fn binary(headers: &HeaderMap, content_type: &str, body: &Bytes) -> Result<Event, Problem> {
    let mut faults = Vec::new();
    let mut attributes = Attributes::new();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(PREFIX) else { continue };
        match decoded(value.as_bytes()) {
            Some(value) => attributes.push((name.to_owned(), Value::String(value))),
            None => faults.push(Fault::new(below("#", name), "is not UTF-8")),
        }
    }
    if !content_type.is_empty() {
        attributes.retain(|(name, _)| name != "datacontenttype");
        attributes.push(("datacontenttype".to_owned(), content_type.into()));
    }
    let data = match text(body)?.trim_matches([' ', '\t', '\r', '\n']) {
        "" => Bytes::from_static(b"null"),
        data => kept(body, data.as_bytes()),
    };
    let event = Reader { attributes, place: "#", faults: &mut faults }.event(data);
    Invalid::unless_empty(faults)?;
    Ok(event)
}

/// A header's value as it was meant: without the quotes it may stand in (RFC 9110 5.6.4), then percent-decoded once.
fn decoded(value: &[u8]) -> Option<String> {
    let value = match value {
        [b'"', quoted @ .., b'"'] => unquoted(quoted),
        plain => plain.to_vec(),
    };
    let (mut decoded, mut rest) = (Vec::with_capacity(value.len()), value.as_slice());
    while let [first, after @ ..] = rest {
        (decoded, rest) = match rest {
            [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (with(decoded, digit(*high) << 4 | digit(*low)), after)
            }
            _ => (with(decoded, *first), after),
        };
    }
    String::from_utf8(decoded).ok()
}

fn unquoted(quoted: &[u8]) -> Vec<u8> {
    let (mut plain, mut escaped) = (Vec::with_capacity(quoted.len()), false);
    for byte in quoted {
        escaped = *byte == b'\\' && !escaped;
        if !escaped {
            plain.push(*byte);
        }
    }
    plain
}

fn with(mut bytes: Vec<u8>, byte: u8) -> Vec<u8> {
    bytes.push(byte);
    bytes
}

fn digit(hex: u8) -> u8 {
    match hex {
        b'0'..=b'9' => hex - b'0',
        _ => hex.to_ascii_lowercase() - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_as_the_binding_says() {
        let read = |value: &str| decoded(value.as_bytes());
        assert_eq!(read("Euro%20%E2%82%AC%20%F0%9F%98%80").as_deref(), Some("Euro € 😀"));
        assert_eq!(read("100%").as_deref(), Some("100%"));
        assert_eq!(read("%2525 %zz").as_deref(), Some("%25 %zz"));
        assert_eq!(read(r#""a \"b\" \\ %41""#).as_deref(), Some(r#"a "b" \ A"#));
        assert_eq!(read("%ff"), None);
    }
}
