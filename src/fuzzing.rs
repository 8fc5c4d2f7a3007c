//! What reads texts of others, for `fuzz/`: each function takes any bytes, and panics when a law is broken. The crate's own
//! tests hold them to a thousand generated cases each; `fuzz/` tries as many as one has time for.

#![expect(clippy::panic, clippy::expect_used, reason = "a law that is broken is a crash for whoever fuzzes")]

use std::{net::IpAddr, path::Path, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use url::{Host, Url};

use crate::{
    Event, Secret, Timestamp,
    api::cloud_events,
    cli::config,
    endpoint::{Settings, policy::Guard, settings::Origin},
    event::{Accepted, pointer::View},
    transport::{
        RetryAfter,
        body::render,
        guard::{Surroundings, judge, judge_url},
        retry_after,
        signature::{self, Verifier},
    },
};

/// What is called with bytes, and its name.
pub type Target = (&'static str, fn(&[u8]));

/// The targets.
pub const TARGETS: [Target; 6] = [
    ("url", url),
    ("retry_after", retry_after),
    ("cloud_events", cloud_events),
    ("config", config),
    ("filter_and_map", filter_and_map),
    ("signature", signature),
];

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const API: Origin = Origin::Api { allow_loopback: false, file_root: false };

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Judges as a server does for which nothing is allowed beyond the guard.
fn taken(url: &Url, guard: Guard) -> Result<(), String> {
    judge_url(url, guard, &Surroundings::default())
}

/// A URL that the API takes is one of HTTP, without user info, and no address that is not public.
pub fn url(bytes: &[u8]) {
    let Ok(settings) = Settings::parse(&json!({"url": text(bytes)}), API, taken) else { return };
    let url: &Url = settings.target.url().expect("a URL was taken");
    assert!(matches!(url.scheme(), "http" | "https"), "{url}");
    assert!(url.username().is_empty() && url.password().is_none() && url.port() != Some(0), "{url}");
    let ip: Option<IpAddr> = match url.host() {
        None => panic!("{url} has no host"),
        Some(Host::Domain(name)) => name.trim_matches(['[', ']', '.']).parse().ok(),
        Some(Host::Ipv4(ip)) => Some(ip.into()),
        Some(Host::Ipv6(ip)) => Some(ip.into()),
    };
    assert!(ip.is_none_or(|ip| judge((ip, 443).into(), Guard::Public, &Surroundings::default()).is_ok()), "{url}");
    let again = Settings::parse(&json!({"url": url.as_str()}), API, taken).expect("what was taken is taken again");
    assert_eq!(again.target, settings.target);
}

/// What `Retry-After` wishes for is a time that can be reckoned with.
pub fn retry_after(bytes: &[u8]) {
    match retry_after::parse(&text(bytes)) {
        None => {}
        Some(RetryAfter::Delay(delay)) => assert!(NOW.after(delay) >= NOW),
        Some(RetryAfter::At(at)) => assert!(at >= Timestamp::from_millis(0) && at.since(NOW) < Duration::MAX),
    }
}

/// A CloudEvent is refused, or an event that may be accepted or names what is wrong with it.
pub fn cloud_events(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    let one = cloud_events::structured(&body).ok();
    for event in one.into_iter().chain(cloud_events::batch(bytes).unwrap_or_default()) {
        match event.validate(NOW) {
            Ok(valid) => assert!(!Accepted::new(1, NOW, valid).id.as_str().is_empty()),
            Err(invalid) => assert!(invalid.faults().iter().all(|fault| fault.pointer.starts_with('#'))),
        }
    }
}

/// A configuration file is right, or every mistake has a place: a pointer, or line and column.
pub fn config(bytes: &[u8]) {
    for name in ["a.toml", "a.yaml"] {
        for mistake in config::mistakes(Path::new(name), &text(bytes)) {
            assert!(!mistake.is_empty() && !mistake.contains('\r'), "{name}: {mistake:?}");
        }
    }
}

/// `{"filter", "map", "data"}`: settings are refused with places, or judge and write every event, as JSON.
pub fn filter_and_map(bytes: &[u8]) {
    let Ok(Value::Object(given)) = serde_json::from_slice(bytes) else { return };
    let of = |name: &str| given.get(name).cloned().unwrap_or_default();
    let settings = json!({"url": "https://a.example/", "filter": of("filter"), "format": {"map": of("map")}});
    let settings = match Settings::parse(&settings, API, taken) {
        Ok(settings) => settings,
        Err(invalid) => {
            return assert!(invalid.faults().iter().all(|fault| fault.pointer.starts_with('#')), "{invalid}");
        }
    };
    let Ok(valid) = Event::from_json("a.b", of("data").to_string()).validate(NOW) else { return };
    let event = Accepted::new(1, NOW, valid);
    let once = settings.filter.as_ref().map(|filter| filter.matches(&View::of(&event)));
    assert_eq!(once, settings.filter.as_ref().map(|filter| filter.matches(&View::of(&event))));
    if let Ok(rendered) = render(&event, &settings) {
        assert!(serde_json::from_slice::<Value>(&rendered.body).is_ok(), "{rendered:?}");
    }
}

/// Nothing verifies that was not signed with the secret. Headers are separated by line ends.
pub fn signature(bytes: &[u8]) {
    let text = text(bytes);
    let mut headers = text.split('\n');
    let mut header = || headers.next().unwrap_or_default();
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
    let (id, at, signatures) = (header(), header(), header());
    assert!(signature::verify(&[Verifier::Secret(secret)], id, at, signatures, b"{}", NOW).is_err(), "{text:?}");
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    /// Pieces that mean something, in any order.
    fn pieces(words: &'static [&'static str]) -> impl Strategy<Value = String> {
        vec(prop_oneof![4 => select(words).prop_map(str::to_owned), 1 => "\\PC{0,4}"], 0..16)
            .prop_map(|all| all.concat())
    }

    const URLS: &[&str] = &[
        "http",
        "https",
        "ftp",
        ":",
        "//",
        "/",
        "@",
        "user",
        "[",
        "]",
        "::",
        "::1",
        "ffff:",
        "64:ff9b::",
        "fe80::",
        "127",
        ".",
        "0",
        "1",
        "0x7f",
        "0177",
        "2130706433",
        "10",
        "169.254.169.254",
        "localhost",
        "%2e",
        "%",
        "。",
        "１",
        "example",
        "org",
        "#",
        "?",
        "\\",
        "\t",
        ":0",
        ":443",
        ":99999",
    ];
    const DATES: &[&str] = &[
        "Sun, ",
        "Sunday, ",
        "06 Nov 1994 ",
        "06-Nov-94 ",
        "08:49:37",
        " GMT",
        "Sun Nov  6 ",
        " 1994",
        "9999",
        "0",
        "-",
        "+",
        " ",
        "120",
        "18446744073709551616",
        "\t",
        ".5",
    ];
    const EVENTS: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"specversion\":\"1.0\"",
        "\"id\":\"a\"",
        "\"source\":\"/s\"",
        "\"type\":\"a.b\"",
        "\"time\":\"1970-01-01T00:00:00Z\"",
        "\"data\":",
        "\"data_base64\":\"AA==\"",
        "\"subject\":\"k\"",
        "null",
        "1.5",
        "true",
        "\"x\"",
        "\"ext\":",
        "\\u0000",
        " ",
    ];
    const CONFIG: &[&str] = &[
        "listen",
        "data_dir",
        "drain",
        "retention",
        "chain_bytes",
        "max_endpoints_per_tenant",
        "endpoints",
        "debounce_rules",
        "chains",
        "webhooks",
        "tls",
        "hosts",
        "cert",
        "id",
        "url",
        "retry",
        "file_roots",
        " = ",
        ": ",
        "\n",
        "\n  ",
        "\n- ",
        "[[",
        "]]",
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "\"5s\"",
        "\"a\"",
        "\"https://a.example\"",
        "1",
        "-1",
        "1e400",
        "nan",
        "null",
        "~",
        "&a ",
        "*a",
        "!!",
        "|",
        "#",
        ",",
        ".",
        "true",
        "\t",
        "1979-05-27",
        "\"\"\"",
        "\\u0000",
        "<<",
    ];
    const SIGNATURES: &[&str] =
        &["m", "\n", "1700000000", "-", "v1,", "v1a,", "AAAA", "=", "g0hM9SsE+OTPJTGt", " ", ",", "\0"];
    const MAPS: &[&str] = &[
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"filter\":",
        "\"map\":",
        "\"data\":",
        "\"pointer\":\"/data/a\"",
        "\"only\":",
        "\"min\":1",
        "\"all\":",
        "\"any\":",
        "\"not\":",
        "\"from\":\"/data\"",
        "\"merge\":",
        "\"literal\":",
        "\"as\":\"number\"",
        "\"default\":",
        "1",
        "1e300",
        "\"x\"",
        "null",
        "\"a\":",
    ];

    /// A whole object for [`filter_and_map`], of parts that may be anything.
    fn whole() -> impl Strategy<Value = String> {
        let leaf = select(vec![
            "1",
            "\"x\"",
            "null",
            "{\"from\": \"/data/a\"}",
            "{\"pointer\": \"/data/a\", \"only\": [1]}",
            "{\"literal\": {}}",
        ]);
        let part = leaf.prop_map(str::to_owned).prop_recursive(3, 12, 3, |inner| {
            let name = select(vec!["a", "all", "any", "not", "merge", "from", "pointer", "default"]);
            prop_oneof![
                vec(inner.clone(), 0..3).prop_map(|items| format!("[{}]", items.join(","))),
                (name, inner).prop_map(|(name, value)| format!("{{\"{name}\": {value}}}")),
            ]
        });
        (part.clone(), part.clone(), part)
            .prop_map(|(filter, map, data)| format!("{{\"filter\": {filter}, \"map\": {map}, \"data\": {data}}}"))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_url_that_is_taken_is_public_and_plain(text in pieces(URLS)) {
            url(text.as_bytes());
            url(format!("https://{text}").as_bytes());
        }

        #[test]
        fn a_wish_for_later_is_a_time_or_nothing(text in pieces(DATES)) {
            retry_after(text.as_bytes());
        }

        #[test]
        fn a_cloud_event_is_refused_by_place_or_may_be_accepted(text in pieces(EVENTS)) {
            cloud_events(text.as_bytes());
            cloud_events(format!(r#"{{"specversion":"1.0","id":"a","source":"/s","type":"a.b",{text}}}"#).as_bytes());
        }

        #[test]
        fn a_configuration_is_right_or_every_mistake_has_a_place(text in pieces(CONFIG)) {
            config(text.as_bytes());
        }

        #[test]
        fn filters_judge_and_maps_write_every_event(whole in whole(), text in pieces(MAPS)) {
            filter_and_map(whole.as_bytes());
            filter_and_map(text.as_bytes());
        }

        #[test]
        fn nothing_verifies_that_was_not_signed(text in pieces(SIGNATURES)) {
            signature(text.as_bytes());
        }

        #[test]
        fn no_bytes_are_fatal(bytes in vec(any::<u8>(), 0..64)) {
            for (_, target) in TARGETS {
                target(&bytes);
            }
        }

        #[test]
        fn a_pattern_matches_what_its_segments_say(
            pattern in "(\\*|[ab]{1,2}(\\.[ab]{1,2}){0,2}(\\.\\*)?)", topic in "[ab]{1,2}(\\.[ab]{1,2}){0,3}",
        ) {
            let wanted: Vec<_> = pattern.split('.').collect();
            let named: Vec<_> = topic.split('.').collect();
            let expected = match wanted.split_last() {
                Some((&"*", before)) => named.len() > before.len() && named.starts_with(before),
                _ => wanted == named,
            };
            let parsed: crate::TopicPattern = pattern.parse().unwrap();
            prop_assert_eq!(parsed.matches(&topic.parse().unwrap()), expected);
        }
    }
}
