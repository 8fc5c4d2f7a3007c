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

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub name: &'static str,
    /// Panics when a law is broken.
    pub law: fn(&[u8]),
    /// Texts that mean something to it: what is tried begins with them, and is made of their parts.
    pub seeds: &'static [&'static str],
}

/// The targets.
pub const TARGETS: [Target; 6] = [URL, RETRY_AFTER, CLOUD_EVENTS, CONFIG, FILTER_AND_MAP, SIGNATURE];

/// Parts that odd texts have, whatever they are about.
pub const ODD: &[&str] = &[
    "\"",
    "{",
    "[",
    "]",
    "\0",
    "\t",
    "\r",
    "\u{202e}",
    "%2e",
    "%",
    "\\",
    "\\u0000",
    "-",
    "+",
    "-1",
    "1e3",
    "1e400",
    "nan",
    "null",
    "99999999999999999999",
    "0x7f",
    "0177",
    "。",
    "１",
    "&a ",
    "*a",
    "!!",
    "<<",
    "\"\"\"",
];

const URL: Target = Target {
    name: "url",
    law: url,
    seeds: &[
        "https://example.org/hook?a=b",
        "http://127.0.0.1:80/",
        "http://[::ffff:10.0.0.1]:8080/a",
        "http://2130706433/",
        "https://user:pass@localhost./",
        "http://0x7f.1/%2e%2e/#f",
        "http:/10.0.0.11..",
        "http://[64:ff9b::7f00:1]/",
        "ftp://[fe80::1]:99999\\169.254.169.254:0",
    ],
};
const RETRY_AFTER: Target = Target {
    name: "retry_after",
    law: retry_after,
    seeds: &["120", " 0 ", "18446744073709551616", retry_after::FORMS[0], retry_after::FORMS[1], retry_after::FORMS[2]],
};
const CLOUD_EVENTS: Target = Target {
    name: "cloud_events",
    law: cloud_events,
    seeds: &[
        r#"{"specversion":"1.0","id":"a","source":"/s","type":"a.b","data":{"n":1.0}}"#,
        r#"[{"specversion":"1.0","id":"a","source":"/s","type":"a.b","subject":"k","time":"2026-01-01T00:00:00Z","ext":1,"data":null}]"#,
        r#"{"specversion":"1.0","id":"b","source":"/s","type":"a.b","data_base64":"AA==","ext":true,"more":1e3}"#,
    ],
};
const CONFIG: Target = Target {
    name: "config",
    law: config,
    seeds: &[
        include_str!("../examples/hookmill.toml"),
        "drain: 5s\nendpoints:\n  - {id: a, url: \"https://a.example\", retry: {delays: [1s, 2s]}}\n",
        "webhooks:\n  enabled: true\n  config:\n    A:\n      - &x {name: s, url: \"http://a\", timeout: 3}\n",
        "[tls]\ncert = \"a\"\nkey = \"b\"\n[debounce_rules.a]\ntopics = [\"*\"]\nwindow = \"1m\"\n",
        "chain_bytes = 1.5\nhosts = ['a']\n[retention]\nevents = 1979-05-27\n[chains]\na = ~\n",
    ],
};
const FILTER_AND_MAP: Target = Target {
    name: "filter_and_map",
    law: filter_and_map,
    seeds: &[
        r#"{"filter":{"any":[{"pointer":"/data/a","min":1},{"not":{"pointer":"/key","only":["x"]}}]},"map":{"a":{"from":"/data/a","default":1},"b":[{"literal":{}},{"merge":[{"from":"/data"}]}]},"data":{"a":1.5,"b":[1,"x"]}}"#,
        r#"{"filter":{"all":[]},"map":{"from":"/data/b/0","as":"number"},"data":{"b":["1e300",null]}}"#,
    ],
};
const SIGNATURE: Target = Target {
    name: "signature",
    law: signature,
    seeds: &["m\n1700000000\nv1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1a,AAAA"],
};

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
            assert!(has_place(&mistake), "{name}: {mistake:?}");
        }
    }
}

/// `#/endpoints/3/url: …`, or `12:7: …` for line and column.
fn has_place(mistake: &str) -> bool {
    let Some((place, detail)) = mistake.split_once(": ") else { return false };
    let is_count = |text: &str| text.parse().is_ok_and(|count: u64| count > 0);
    let counted = place.split_once(':').is_some_and(|(line, column)| is_count(line) && is_count(column));
    let pointed = place == "#" || place.starts_with("#/");
    (counted || pointed) && !detail.is_empty()
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

    /// Names, numbers and single other characters of `text`.
    fn words(text: &'static str) -> impl Iterator<Item = &'static str> {
        let inner = |c: char| c.is_ascii_alphanumeric() || c == '_';
        text.split_inclusive(move |c| !inner(c)).flat_map(move |run| {
            let (word, rest) = run.split_at(run.find(|c| !inner(c)).unwrap_or(run.len()));
            [word, rest].into_iter().filter(|part| !part.is_empty())
        })
    }

    /// Parts of what means something to `target`, in any order, and odd ones.
    fn pieces(target: &Target) -> impl Strategy<Value = String> {
        let words: Vec<_> = target.seeds.iter().copied().flat_map(words).collect();
        let piece = prop_oneof![
            6 => select(words).prop_map(str::to_owned),
            2 => select(ODD).prop_map(str::to_owned),
            1 => "\\PC{0,4}",
        ];
        vec(piece, 0..16).prop_map(|all| all.concat())
    }

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

    #[test]
    fn seeds_keep_the_laws_and_fall_into_words() {
        for Target { law, seeds, .. } in TARGETS {
            seeds.iter().for_each(|seed| law(seed.as_bytes()));
        }
        assert_eq!(words("a_1: [b]").collect::<Vec<_>>(), ["a_1", ":", " ", "[", "b", "]"]);
    }

    #[test]
    fn a_place_is_a_pointer_or_line_and_column() {
        for placed in ["#: must be an object", "#/a/b c/0: is wrong", "12:7: is wrong"] {
            assert!(has_place(placed), "{placed}");
        }
        for astray in ["is wrong", "/a: is wrong", "12: is wrong", "0:1: is wrong", "#a: is wrong", "#/a: ", "#/a"] {
            assert!(!has_place(astray), "{astray}");
        }
    }

    #[test]
    fn numbers_that_are_none_have_a_place_too() {
        for text in [
            "a = nan",
            "a: .nan",
            "a = [{\"b: /\" = -inf}]",
            "a = 1e400",
            "a: 1e400",
            "\"\\r\" = 1",
            "a: *b",
            "a: [1",
            "- a",
        ] {
            config(text.as_bytes());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn a_url_that_is_taken_is_public_and_plain(text in pieces(&URL)) {
            url(text.as_bytes());
            url(format!("https://{text}").as_bytes());
        }

        #[test]
        fn a_wish_for_later_is_a_time_or_nothing(text in pieces(&RETRY_AFTER)) {
            retry_after(text.as_bytes());
        }

        #[test]
        fn a_cloud_event_is_refused_by_place_or_may_be_accepted(text in pieces(&CLOUD_EVENTS)) {
            cloud_events(text.as_bytes());
            cloud_events(format!(r#"{{"specversion":"1.0","id":"a","source":"/s","type":"a.b",{text}}}"#).as_bytes());
        }

        #[test]
        fn a_configuration_is_right_or_every_mistake_has_a_place(text in pieces(&CONFIG)) {
            config(text.as_bytes());
        }

        #[test]
        fn filters_judge_and_maps_write_every_event(whole in whole(), text in pieces(&FILTER_AND_MAP)) {
            filter_and_map(whole.as_bytes());
            filter_and_map(text.as_bytes());
        }

        #[test]
        fn nothing_verifies_that_was_not_signed(text in pieces(&SIGNATURE)) {
            signature(text.as_bytes());
        }

        #[test]
        fn no_bytes_are_fatal(bytes in vec(any::<u8>(), 0..64)) {
            for target in TARGETS {
                (target.law)(&bytes);
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
