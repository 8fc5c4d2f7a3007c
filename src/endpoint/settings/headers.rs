//! Extra headers.

use serde_json::Value;

use super::{
    MASK,
    limits::{MAX_HEADER_BYTES, MAX_HEADERS},
};
use crate::config::fields::Field;

/// Headers that say how the message is framed and routed, and those that hold for one hop alone: the transport's own.
const OURS: [&str; 11] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "trailers",
    "upgrade",
    "http2-settings",
    "expect",
];
/// Set by `auth`.
const AUTHORIZATION: &str = "authorization";
/// Headers of the deliveries' own formats and signatures, and of proxies.
const OUR_PREFIXES: [&str; 4] = ["proxy-", "webhook-", "svix-", "ce-"];

/// Whether a header, its name in lower case, is never an endpoint's own: Hookmill sets it, or `auth` does, or nobody. Many
/// receivers cannot tell `_` from `-`, and would take one for the other.
pub(crate) fn is_reserved(name: &str) -> bool {
    let name = name.replace('_', "-");
    let name = name.as_str();
    name == AUTHORIZATION || OURS.contains(&name) || OUR_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Settings without headers that are not to be given; `None` when they have none.
pub(super) fn without_reserved(settings: &Value) -> Option<Value> {
    let headers = settings.get("headers")?.as_object()?;
    if !headers.keys().any(|name| is_reserved(name)) {
        return None;
    }
    let mut settings = settings.clone();
    settings.get_mut("headers")?.as_object_mut()?.retain(|name, _| !is_reserved(name));
    Some(settings)
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
    use awc::http::header::{HeaderName, HeaderValue};
    use proptest::{prelude::*, sample::select};
    use serde_json::json;

    use super::*;
    use crate::endpoint::{
        Auth, Settings, Signing,
        settings::laws::{places, with},
    };

    /// Any text, texts that look like headers, and texts that would break out of one.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "\\PC{0,12}",
            "[a-zA-Z0-9_-]{1,16}",
            "[ -~\t]{0,12}",
            ("[ -~]{0,6}", select(vec!["\r\n", "\n", "\r", "\0", "é", "\u{7f}", "\u{85}"]), "[ -~]{0,6}")
                .prop_map(|(before, between, after)| format!("{before}{between}{after}")),
            reserved(),
        ]
    }

    /// Names that Hookmill sets itself, in any case, with either kind of dash.
    fn reserved() -> impl Strategy<Value = String> {
        let prefixed =
            (select(OUR_PREFIXES.to_vec()), "[a-z0-9-]{0,6}").prop_map(|(prefix, rest)| prefix.to_owned() + &rest);
        let whole = select([&OURS[..], &[AUTHORIZATION]].concat()).prop_map(str::to_owned);
        (prop_oneof![prefixed, whole], any::<u64>()).prop_map(|(name, bits)| {
            let spell = |(place, letter): (usize, char)| match (bits >> (place % 64) & 1, letter) {
                (0, letter) => letter,
                (_, '-') => '_',
                (_, letter) => letter.to_ascii_uppercase(),
            };
            name.chars().enumerate().map(spell).collect()
        })
    }

    /// Each place of settings that names a header.
    fn named(name: &str) -> [Value; 3] {
        [
            json!({"headers": {name: "1"}}),
            json!({"signing": {"type": "hmac", "header": name}}),
            json!({"batch": {"count_header": name}}),
        ]
    }

    /// Each place of settings that is sent as a value.
    fn valued(value: &str) -> [Value; 4] {
        [
            json!({"headers": {"x": value}}),
            json!({"signing": {"type": "hmac", "header": "x", "prefix": value}}),
            json!({"auth": {"type": "bearer", "token": value}}),
            json!({"auth": {"type": "verbatim", "value": value}}),
        ]
    }

    fn names_of(settings: &Settings) -> Vec<String> {
        let mut names: Vec<_> = settings.headers.iter().map(|(name, _)| name.clone()).collect();
        if let Signing::Hmac(hmac) = &settings.signing {
            names.push(hmac.header.clone());
        }
        names.extend(settings.policy.batch.as_ref().and_then(|batch| batch.count_header.clone()));
        names
    }

    fn values_of(settings: &Settings) -> Vec<String> {
        let mut values: Vec<_> = settings.headers.iter().map(|(_, value)| value.clone()).collect();
        if let Signing::Hmac(hmac) = &settings.signing {
            values.push(hmac.prefix.clone());
        }
        values.extend(match &settings.auth {
            Some(Auth::Bearer(value) | Auth::Verbatim(value)) => Some(value.clone()),
            _ => None,
        });
        values
    }

    proptest! {
        #[test]
        fn no_header_of_ours_can_be_named_in_any_spelling_at_any_place(name in reserved()) {
            for settings in named(&name) {
                prop_assert!(with(settings.clone()).is_err(), "{}", settings);
            }
        }

        #[test]
        fn what_is_taken_can_be_sent_and_stays_on_its_line(name in text(), value in text()) {
            for settings in named(&name).into_iter().chain(valued(&value)) {
                let Ok(settings) = with(settings) else { continue };
                for name in names_of(&settings) {
                    prop_assert!(HeaderName::from_bytes(name.as_bytes()).is_ok() && !is_reserved(&name), "{}", name);
                }
                for value in values_of(&settings) {
                    prop_assert!(HeaderValue::from_str(&value).is_ok(), "{:?}", value);
                    prop_assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte) || byte == b'\t'));
                }
            }
        }

        #[test]
        fn user_names_and_passwords_hold_no_control_characters(user in text(), password in text()) {
            let auth = json!({"type": "basic", "username": user, "password": password});
            if with(json!({"auth": auth})).is_ok() {
                prop_assert!(!user.contains(char::is_control) && !user.contains(':') && !password.contains(char::is_control));
            }
        }
    }

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
            "Trailers",
            "HTTP2-Settings",
            "content_length",
            "Webhook_Signature",
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
    fn what_was_stored_before_a_name_was_reserved_still_reads() {
        let stored = json!({"url": "https://a.b/", "headers": {"content_length": "1", "x-a": "2"}});
        let restored = Settings::restore(&stored, crate::endpoint::Origin::Code).unwrap();
        assert_eq!(restored.headers, [("x-a".to_owned(), "2".to_owned())]);
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
