//! Extra headers.

use super::{
    MASK,
    limits::{MAX_HEADER_BYTES, MAX_HEADERS},
};
use crate::config::fields::Field;

/// Headers that say how the message is framed and routed: the transport's own.
const OURS: [&str; 9] =
    ["host", "content-length", "transfer-encoding", "connection", "keep-alive", "te", "trailer", "upgrade", "expect"];
/// Set by `auth`.
const AUTHORIZATION: &str = "authorization";
/// Headers of the deliveries' own formats and signatures, and of proxies.
const OUR_PREFIXES: [&str; 4] = ["proxy-", "webhook-", "svix-", "ce-"];

/// Whether a header, its name in lower case, is never an endpoint's own: Hookmill sets it, or `auth` does, or nobody.
pub(crate) fn is_reserved(name: &str) -> bool {
    name == AUTHORIZATION || OURS.contains(&name) || OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Names in lower case and values, sorted by name.
pub(super) fn headers(field: &Field<'_>) -> Option<Vec<(String, String)>> {
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in field.entries(MAX_HEADERS)? {
        let name = name.to_ascii_lowercase();
        if let Some(rule) = broken_name(&name) {
            value.fault(rule);
        } else if headers.iter().any(|(taken, _)| *taken == name) {
            value.fault("is given twice: upper and lower case are the same in header names");
        } else if let Some(text) = header_value(&value, MAX_HEADER_BYTES.saturating_sub(name.len())) {
            headers.push((name, text.to_owned()));
        }
    }
    headers.sort();
    Some(headers)
}

fn broken_name(name: &str) -> Option<&'static str> {
    if name.is_empty() || !name.bytes().all(is_token) {
        Some("is not a header name: a token of letters, digits and !#$%&'*+-.^_`|~ (RFC 9110)")
    } else if name == AUTHORIZATION {
        Some("is set by `auth`")
    } else if is_reserved(name) {
        Some("is set by Hookmill and cannot be given")
    } else {
        None
    }
}

/// `tchar` of RFC 9110 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The name of a header that Hookmill sets for this endpoint, in lower case.
pub(super) fn header_name(field: &Field<'_>) -> Option<String> {
    let name = field.text()?.to_ascii_lowercase();
    let rule = broken_name(&name)
        .or((name == "content-type").then_some("is set by `format`"))
        .or((name.len() > MAX_HEADER_BYTES / 4).then_some("must be 1 KiB at most"));
    if let Some(rule) = rule {
        field.fault(rule);
    }
    rule.is_none().then_some(name)
}

/// A value that may stand in a header: visible ASCII, spaces and tabs.
pub(super) fn header_value<'a>(field: &Field<'a>, max_bytes: usize) -> Option<&'a str> {
    let text = unmasked(field)?;
    if text.len() > max_bytes {
        field.fault(format!("must be {MAX_HEADER_BYTES} bytes at most"));
    } else if !text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        field.fault("must be visible ASCII characters, spaces and tabs");
    } else {
        return Some(text);
    }
    None
}

/// A text that is not the mask, so that what was read masked never overwrites what it hides.
pub(super) fn unmasked<'a>(field: &Field<'a>) -> Option<&'a str> {
    let text = field.text()?;
    if text == MASK {
        field.fault("is the mask of a hidden value: give the value itself, or leave it out of a PATCH to keep it");
        return None;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::endpoint::settings::laws::{places, with};

    #[test]
    fn names_are_lower_case_and_sorted() {
        let settings = with(json!({"headers": {"X-B": "1", "a": "two words\t", "User-Agent": ""}})).unwrap();
        let names: Vec<_> = settings.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "user-agent", "x-b"]);
    }

    #[test]
    fn headers_of_the_transport_and_the_formats_are_refused() {
        let names = [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "connection",
            "keep-alive",
            "te",
            "trailer",
            "upgrade",
            "proxy-authorization",
            "Proxy-X",
            "expect",
            "webhook-id",
            "Svix-Id",
            "ce-id",
            "Authorization",
            "",
            "a b",
            "a:",
            "é",
            "a\r\nb",
        ];
        for name in names {
            assert_eq!(places(with(json!({"headers": {name: "1"}}))), [format!("#/headers/{name}")]);
        }
    }

    #[test]
    fn values_cannot_break_out_of_their_line() {
        for value in ["a\r\nb: c", "a\nb", "a\0", "é", "\u{7f}", "***"] {
            assert_eq!(places(with(json!({"headers": {"x": value}}))), ["#/headers/x"], "{value:?}");
        }
    }

    #[test]
    fn headers_are_bounded_and_never_given_twice() {
        assert_eq!(places(with(json!({"headers": {"X-A": "1", "x-a": "1"}}))), ["#/headers/x-a"]);
        assert_eq!(places(with(json!({"headers": {"x": "1".repeat(4096)}}))), ["#/headers/x"]);
        let many: serde_json::Map<_, _> = (0..33).map(|n| (format!("x-{n}"), json!(""))).collect();
        assert_eq!(places(with(json!({"headers": many}))), ["#/headers"]);
    }

    #[test]
    fn debug_shows_no_value() {
        let settings = with(json!({"headers": {"x-key": "hush"}})).unwrap();
        let shown = format!("{settings:?}");
        assert!(shown.contains("x-key") && !shown.contains("hush"), "{shown}");
    }
}
