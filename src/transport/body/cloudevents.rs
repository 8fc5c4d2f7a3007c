//! CloudEvents 1.0.
//!
//! The topic is the `type`, the ordering key the `subject`. Of the metadata, what can be an extension attribute is one: names
//! of 1 to 20 lower-case letters and digits that mean nothing else, values that are strings, numbers or booleans. Texts
//! with control characters cannot be attributes and are left out. An event that came in as a CloudEvent goes out with the
//! `id` and `dataschema` it had, which its metadata keep as `ce_id` and `dataschema`.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{JSON, Rendered, plain::with_data};
use crate::event::{Accepted, pointer::quoted};

/// The source of an event that names none: a URI reference, as the standard asks.
const SOURCE: &str = "hookmill";
/// Names that the standard has given a meaning.
const TAKEN: [&str; 9] =
    ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "dataschema", "data"];

/// Structured mode, in the JSON event format.
pub(super) fn structured(event: &Accepted) -> Rendered {
    let members = attributes(event).into_iter().map(|(name, value)| format!("{}:{value}", quoted(&name)));
    let head = format!("{{{},\"datacontenttype\":\"{JSON}\",\"data\":", members.collect::<Vec<_>>().join(","));
    let body = with_data(&head, &event.data, "}");
    Rendered { content_type: "application/cloudevents+json".into(), headers: Vec::new(), body }
}

/// Binary mode of the HTTP binding.
pub(super) fn binary(event: &Accepted) -> Rendered {
    let text = |value: Value| match value {
        Value::String(text) => header(&text),
        value => value.to_string(),
    };
    let headers = attributes(event).into_iter().map(|(name, value)| (format!("ce-{name}"), text(value))).collect();
    Rendered { content_type: JSON.into(), headers, body: Bytes::clone(&event.data) }
}

/// Context attributes and extensions, in this order.
fn attributes(event: &Accepted) -> Vec<(String, Value)> {
    let metadata = event.metadata.as_deref().and_then(|metadata| serde_json::from_str(metadata).ok());
    let metadata: Map<String, Value> = metadata.unwrap_or_default();
    let kept = |name| metadata.get(name).and_then(Value::as_str).filter(|text| !text.is_empty() && is_attribute(text));
    let own = [
        ("specversion", Some("1.0".to_owned())),
        ("id", Some(kept("ce_id").unwrap_or(event.id.as_str()).to_owned())),
        ("source", Some(event.source.as_deref().map_or_else(|| SOURCE.to_owned(), uri_reference))),
        ("type", Some(event.topic.to_string())),
        ("subject", event.key.as_deref().filter(|key| is_attribute(key)).map(str::to_owned)),
        ("time", Some(event.timestamp.to_string())),
        ("dataschema", kept("dataschema").map(uri_reference)),
    ];
    let own = own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    let extensions = metadata.iter().filter(|(name, _)| is_extension(name));
    own.chain(extensions.filter_map(|(name, value)| Some((name.clone(), extension(value)?)))).collect()
}

fn is_extension(name: &str) -> bool {
    let fits = (1..=20).contains(&name.len());
    fits && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) && !TAKEN.contains(&name)
}

/// Numbers of the standard are whole and have 32 bits; others are written as strings.
fn extension(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => is_attribute(text).then(|| value.clone()),
        Value::Bool(_) => Some(value.clone()),
        Value::Number(number) => {
            let fits = number.as_i64().is_some_and(|number| i32::try_from(number).is_ok());
            Some(if fits { value.clone() } else { number.to_string().into() })
        }
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_attribute(text: &str) -> bool {
    !text.contains(char::is_control)
}

/// A header value (HTTP binding 3.1.3.2): UTF-8, percent-encoded outside U+0021 to U+007E, and space, `"` and `%`.
fn header(text: &str) -> String {
    percent_encoded(text, |byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'%'))
}

/// The same text when it can be part of a URI reference (RFC 3986); otherwise with what cannot percent-encoded.
fn uri_reference(text: &str) -> String {
    percent_encoded(text, |byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte))
}

/// Every byte of `text` that is not `plain` as `%` and two upper-case hexadecimal digits.
pub(super) fn percent_encoded(text: &str, plain: fn(u8) -> bool) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The examples of the HTTP binding, section 3.1.3.2.
    #[test]
    fn headers_are_encoded_as_the_standard_has_it() {
        assert_eq!(header("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(header("a\"b%c~!/?\u{7f}\n"), "a%22b%25c~!/?%7F%0A");
    }

    #[test]
    fn a_uri_reference_stays_and_anything_else_becomes_one() {
        for text in ["node-7", "/shop/eu", "https://example.org/a?b=c%20d#e", "urn:uuid:1"] {
            assert_eq!(uri_reference(text), text);
        }
        assert_eq!(uri_reference("my node <é>"), "my%20node%20%3C%C3%A9%3E");
    }

    #[test]
    fn names_that_mean_something_are_no_extensions() {
        for name in ["id", "time", "data", "dataschema", "", "A", "a-b", "a_b", "é", "a23456789012345678901"] {
            assert!(!is_extension(name), "{name}");
        }
        for name in ["a", "traceparent", "7", "a2345678901234567890"] {
            assert!(is_extension(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_header_decodes_to_its_text(text in "\\PC*") {
            let encoded = header(&text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic()));
            let (mut decoded, mut rest) = (Vec::new(), encoded.as_str());
            while let Some(first) = rest.chars().next() {
                let (byte, length) = match first {
                    '%' => (u8::from_str_radix(&rest[1..3], 16).unwrap(), 3),
                    letter => (u8::try_from(letter).unwrap(), 1),
                };
                decoded.push(byte);
                rest = &rest[length..];
            }
            prop_assert_eq!(String::from_utf8(decoded).unwrap(), text);
        }
    }
}
