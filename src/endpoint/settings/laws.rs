//! What holds for all settings, and for anything that is read as settings.

use std::{sync::LazyLock, time::Duration};

use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json};
use url::Url;

use super::{MASK, Origin};
use crate::{
    clock::Timestamp,
    endpoint::{
        Auth, Encoding, HeaderPrefix, Hmac, Key, LogFile, PrivateKey, Rotation, Scheme, Secret, Settings, Signing,
        SigningKey, Standard, State, Target, TenantScope, TextSecret,
        debounce::{DebouncePolicy, EDGES, Edge},
        filter::tests::a_filter,
        format::{Format, tests::format},
        policy::{
            Backoff, Batch, BreakerPolicy, DeadLetters, Exhausted, Guard, Policy, Rate, Retry, RetryWhen, Success,
            Unit, WhileOpen,
        },
        preset::PRESETS,
        queue::{Ordered, QueuePolicy, WhenFull},
    },
    error::Invalid,
    event::TopicPattern,
};

const ORIGINS: [Origin; 6] = [
    Origin::Tenant { allow_loopback: false },
    Origin::Code,
    Origin::Operator,
    Origin::Api { allow_loopback: false, file_root: true },
    Origin::Api { allow_loopback: false, file_root: false },
    Origin::Api { allow_loopback: true, file_root: true },
];

fn anywhere(_: &Url, _: Guard) -> Result<(), String> {
    Ok(())
}

/// Reads settings as the embedding program may write them, with every address allowed.
pub(in crate::endpoint) fn parse(value: &Value) -> Result<Settings, Invalid> {
    Settings::parse(value, Origin::Code, anywhere)
}

/// Reads settings for `https://example.org/` with `more` members.
pub(in crate::endpoint) fn with(more: Value) -> Result<Settings, Invalid> {
    let Value::Object(mut members) = more else { panic!("no object") };
    members.insert("url".to_owned(), "https://example.org/".into());
    parse(&members.into())
}

/// The places of the mistakes.
pub(in crate::endpoint) fn places(result: Result<Settings, Invalid>) -> Vec<String> {
    result.unwrap_err().faults().iter().map(|fault| fault.pointer.clone()).collect()
}

fn millis(range: std::ops::RangeInclusive<u64>) -> impl Strategy<Value = Duration> {
    range.prop_map(Duration::from_millis)
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        select(vec![
            "/data/a",
            "10s",
            "*",
            MASK,
            "none",
            "standard",
            "hmac",
            "basic",
            "2xx",
            "https://a.b/",
            "POST",
            "/a",
            "a/b",
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let known = vec![
            "url",
            "file",
            "rotate",
            "max_bytes",
            "keep",
            "name",
            "topics",
            "headers",
            "metadata",
            "auth",
            "signing",
            "secret",
            "secrets",
            "scheme",
            "header_prefix",
            "until",
            "type",
            "token",
            "username",
            "password",
            "value",
            "retry",
            "delays",
            "initial",
            "max_delay",
            "jitter",
            "when",
            "breaker",
            "cooldown",
            "guard",
            "in_flight",
            "batch",
            "max_items",
            "flush_interval",
            "count_header",
            "header",
            "prefix",
            "timeout",
            "queue",
            "max_items",
            "when_full",
            "ordered",
            "drain",
            "format",
            "preset",
            "map",
            "merge",
            "from",
            "default",
            "dead_letters",
            "debounce",
            "key",
            "window",
            "edge",
            "max_items",
            "filter",
            "pointer",
            "only",
            "all",
            "not",
            "min",
            "a/b~c",
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((select(known), inner), 0..8)
                .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

fn metadata() -> impl Strategy<Value = Map<String, Value>> {
    json_value().prop_map(|value| value.as_object().cloned().unwrap_or_default())
}

fn backoff() -> impl Strategy<Value = Backoff> {
    let list = vec(millis(0..=2_592_000_000), 0..12).prop_map(Backoff::Delays);
    let formula =
        (1..=1_000_000_u64, 0..=1_000_000_u64, 10..1000_u32, 1..100_u32).prop_map(|(first, more, factor, n)| {
            Backoff::Exponential {
                initial: Duration::from_millis(first),
                factor: f64::from(factor) / 10.0,
                max_delay: Duration::from_millis(first + more),
                max_attempts: n,
            }
        });
    prop_oneof![list, formula]
}

fn queue() -> impl Strategy<Value = QueuePolicy> {
    let when_full = select(vec![WhenFull::Spill, WhenFull::DropOldest, WhenFull::DropNewest]);
    (1..=1_000_000_000_u64, 1..=1_u64 << 50, when_full).prop_map(|(max_items, max_bytes, when_full)| QueuePolicy {
        max_items,
        max_bytes,
        when_full,
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let when = any::<(bool, bool, bool, bool)>().prop_map(|(transport, server_error, client_error, other)| RetryWhen {
        transport,
        server_error,
        client_error,
        other,
    });
    let exhausted = select(vec![Exhausted::DeadLetter, Exhausted::Drop, Exhausted::Requeue]);
    let retry = (backoff(), 0..=1000_u32, millis(1..=2_592_000_000), when, exhausted).prop_map(
        |(backoff, jitter, max_age, when, exhausted)| Retry {
            backoff,
            jitter: f64::from(jitter) / 1000.0,
            max_age,
            when,
            exhausted,
        },
    );
    let open = select(vec![WhileOpen::Hold, WhileOpen::DeadLetter, WhileOpen::Skip]);
    let unit = select(vec![Unit::Attempt, Unit::Event]);
    let breaker = (1..=100_u32, 1..=100_u32, 1..=10_000_u64, 0..=10_000_u64, open, unit).prop_map(
        |(failures, min_events, c, more, while_open, unit)| {
            let (cooldown, max_cooldown) = (Duration::from_millis(c), Duration::from_millis(c + more));
            BreakerPolicy { failures, min_events, cooldown, max_cooldown, while_open, unit }
        },
    );
    let success = select(vec![Success::Status2xx, Success::Below400, Success::Json200]);
    let rate = option::of((1..=100_000_u32, 1..=1000_u32))
        .prop_map(|rate| rate.map(|(n, burst)| Rate { per_second: f64::from(n) / 100.0, burst }));
    let disable_after = option::of(millis(1..=2_592_000_000));
    let count = option::of("x-n[a-z0-9]{0,6}");
    let batch = (1..=1000_u32, 1..=16_777_216_u64, millis(0..=3_600_000), count).prop_map(
        |(max_items, max_bytes, flush_interval, count_header)| Batch {
            max_items,
            max_bytes,
            flush_interval,
            count_header,
        },
    );
    let bounds = (1..=4096_u16, rate, option::of(batch));
    let ordered = select(vec![Ordered::None, Ordered::Key]);
    let waiting = (ordered, queue(), option::of(millis(0..=3_600_000)));
    (success, retry, breaker, bounds, millis(100..=300_000), disable_after, waiting).prop_map(
        |(success, retry, breaker, (in_flight, rate, batch), timeout, disable_after, (ordered, queue, drain))| Policy {
            ordered: if batch.is_some() && in_flight > 1 { Ordered::None } else { ordered },
            success,
            retry,
            breaker,
            in_flight,
            timeout,
            rate,
            batch,
            disable_after,
            queue,
            drain,
        },
    )
}

fn dead_letters() -> impl Strategy<Value = DeadLetters> {
    (0..=10_000_000_u64, 0..=1_u64 << 40, millis(1000..=315_360_000_000))
        .prop_map(|(max_items, max_bytes, max_age)| DeadLetters { max_items, max_bytes, max_age })
}

fn debounce() -> impl Strategy<Value = Option<DebouncePolicy>> {
    let key = vec(select(vec!["/topic", "/key", "/data/a", "/data/a~1b/0", "/metadata"]), 0..=8);
    let span = || millis(1..=2_592_000_000);
    let edge = select(EDGES.map(|(_, edge)| edge).to_vec());
    let reset_on = vec(select(vec!["*", "done", "session.*"]), 0..=3);
    let debounce = (key, span(), edge, option::of(span()), reset_on, any::<bool>());
    let debounce = debounce.prop_map(|(key, window, edge, max_wait, reset_on, release_on_failure)| DebouncePolicy {
        key: key.iter().map(|pointer| pointer.parse().unwrap()).collect(),
        window,
        edge,
        max_wait: max_wait.filter(|_| edge != Edge::Leading),
        reset_on: reset_on.iter().map(|pattern| pattern.parse().unwrap()).collect(),
        release_on_failure,
    });
    option::of(debounce)
}

fn auth() -> impl Strategy<Value = Option<Auth>> {
    prop_oneof![
        Just(None),
        "[!-~]{1,9}".prop_map(|token| Some(Auth::Bearer(token))),
        ("[^:\\p{Cc}]{0,9}", "\\PC{0,9}").prop_map(|(user, password)| Some(Auth::Basic { user, password })),
        "[!-~][ -~]{0,9}".prop_map(|value| Some(Auth::Verbatim(value))),
    ]
}

/// Pairs take a moment to make.
static PAIRS: LazyLock<Vec<PrivateKey>> = LazyLock::new(|| (0..4).map(|_| PrivateKey::generate().unwrap()).collect());

fn signing() -> impl Strategy<Value = Signing> {
    let secret = vec(any::<u8>(), 24..=64).prop_map(|key| {
        use base64::{Engine, prelude::BASE64_STANDARD};
        Secret::parse(&format!("whsec_{}", BASE64_STANDARD.encode(key))).unwrap()
    });
    let encoding = select(vec![Encoding::Hex, Encoding::Base64]);
    let text = option::of("\\PC{1,40}".prop_filter("the mask", |text| text != MASK).prop_map(TextSecret::new));
    let hmac = ("x-s[a-z0-9]{0,6}", "[ -~]{0,9}", encoding, text)
        .prop_map(|(header, prefix, encoding, secret)| Signing::Hmac(Hmac { header, prefix, encoding, secret }));
    let key = prop_oneof![
        3 => secret.prop_map(Key::Secret),
        1 => (0..4_usize).prop_map(|n| Key::Private(PAIRS[n].clone())),
    ];
    let until = option::of((0..4_000_000_000_000_i64).prop_map(Timestamp::from_millis));
    let prefix = select(vec![HeaderPrefix::Webhook, HeaderPrefix::Svix]);
    let scheme = select(vec![None, Some(Scheme::V1), Some(Scheme::V1a)]);
    let standard = (prefix, vec((key, until), 0..=3), scheme).prop_map(|(header_prefix, keys, scheme)| {
        let until = |n: usize, until| if n == 0 { None } else { until };
        let keys: Vec<_> = (0..).zip(keys).map(|(n, (key, end))| SigningKey { key, until: until(n, end) }).collect();
        let scheme = scheme.filter(|_| keys.is_empty());
        Signing::Standard(Standard { header_prefix, keys, scheme })
    });
    prop_oneof![Just(Signing::None), standard, hmac]
}

type Who = (Option<String>, TenantScope, Option<Auth>, Signing, Vec<(String, String)>);

fn who() -> impl Strategy<Value = Who> {
    let tenant = prop_oneof![
        Just(TenantScope::None),
        Just(TenantScope::Every),
        "[A-Za-z0-9_-]{1,64}".prop_map(|tenant| TenantScope::Of(tenant.parse().unwrap())),
    ];
    let headers = prop::collection::btree_map("x-[a-z0-9]{0,6}", "[ -~\t]{0,9}", 0..4);
    let headers = headers.prop_map(|headers| headers.into_iter().collect());
    (option::of("\\PC{1,9}"), tenant, auth(), signing(), headers)
}

fn url() -> impl Strategy<Value = Target> {
    let url = r"https?://([a-z]{1,9}\.org|10\.0\.0\.1|\[::1\])(:[1-9][0-9]{0,3})?(/[a-zA-Z0-9é %?=&.]{0,9}){0,3}";
    url.prop_map(|url| Target::Http(Url::parse(&url).unwrap()))
}

fn file() -> impl Strategy<Value = LogFile> {
    let rotate = (4096..=1_u64 << 40, 1..=1000_u32).prop_map(|(max_bytes, keep)| Rotation { max_bytes, keep });
    let path = "[a-z~é ]{1,9}(/\\.?[a-z]{1,9}){0,3}";
    (path, option::of(rotate)).prop_map(|(path, rotate)| LogFile { path: path.parse().unwrap(), rotate })
}

/// The same settings for a file, if whoever writes them may name one.
fn to_file(settings: &Settings, file: LogFile, origin: Origin) -> Option<Settings> {
    let LogFile { path, rotate } = file;
    let path = match origin {
        Origin::Code | Origin::Operator => format!("/{path}").parse().unwrap(),
        Origin::Api { file_root: true, .. } => path,
        Origin::Api { .. } | Origin::Tenant { .. } => return None,
    };
    let format = if settings.format == Format::CloudEventsBinary { Format::Raw } else { settings.format.clone() };
    Some(Settings {
        target: Target::File(LogFile { path, rotate }),
        method: "POST".to_owned(),
        headers: Vec::new(),
        auth: None,
        signing: Signing::None,
        guard: origin.default_guard(),
        format,
        policy: Policy {
            success: Success::default(),
            batch: settings.policy.batch.clone().map(|batch| Batch { count_header: None, ..batch }),
            ..Policy::clone(&settings.policy)
        }
        .shared(),
        ..settings.clone()
    })
}

fn settings() -> impl Strategy<Value = (Settings, Origin)> {
    (to_url(), option::of(file())).prop_map(|((settings, origin), file)| {
        let file = file.and_then(|file| to_file(&settings, file, origin));
        (file.unwrap_or(settings), origin)
    })
}

fn to_url() -> impl Strategy<Value = (Settings, Origin)> {
    let topic = r"\*|[a-z]{1,4}(\.[a-z]{1,4}){0,2}(\.\*)?".prop_map(|text| text.parse::<TopicPattern>().unwrap());
    let state = select(vec![State::Active, State::Paused, State::Disabled]);
    let method = select(vec!["POST", "PUT", "PATCH"]);
    let place = (url(), vec(topic, 1..5), state, method, metadata());
    let presets = PRESETS.iter().map(|(_, preset)| *preset).collect::<Vec<_>>();
    let carried = (option::of(a_filter()), format(), option::of(select(presets)));
    let kept = (policy(), dead_letters(), debounce());
    (who(), place, carried, kept, any::<bool>(), select(ORIGINS.to_vec())).prop_map(
        |(who, place, (filter, format, preset), (policy, dead_letters, debounce), private, origin)| {
            let (name, tenant, auth, signing, headers) = who;
            let (target, topics, state, method, metadata) = place;
            let guard = origin.private().filter(|_| private).unwrap_or(origin.public());
            let method = method.to_owned();
            let batch = policy.batch.filter(|_| format != Format::CloudEventsBinary);
            let policy = Policy { batch, ..policy }.shared();
            let settings = Settings {
                name,
                preset,
                tenant,
                target,
                topics,
                filter,
                state,
                format,
                method,
                headers,
                metadata,
                auth,
                signing,
                guard,
                policy,
                dead_letters,
                debounce: debounce.map(Box::new),
            };
            (settings, origin)
        },
    )
}

fn hides_something(settings: &Settings) -> bool {
    let signed = settings.signing != Signing::None && !settings.signing.is_incomplete();
    signed || settings.auth.is_some() || !settings.headers.is_empty()
}

proptest! {
    #[test]
    fn settings_read_back_as_themselves((settings, origin) in settings()) {
        prop_assert_eq!(&Settings::parse(&settings.to_json(), origin, anywhere).unwrap(), &settings);
        let stored: Value = serde_json::from_str(&settings.to_json().to_string()).unwrap();
        prop_assert_eq!(Settings::parse(&stored, origin, anywhere).unwrap(), settings);
    }

    #[test]
    fn masked_settings_are_refused_exactly_when_they_hide_something((settings, origin) in settings()) {
        let read = Settings::parse(&settings.to_masked_json(), origin, anywhere);
        prop_assert_eq!(read.is_err(), hides_something(&settings));
    }

    #[test]
    fn masked_settings_show_no_secret((settings, _) in settings()) {
        let mut shown = settings.to_masked_json();
        if let Signing::Standard(standard) = &settings.signing {
            let text = shown.to_string();
            prop_assert!(standard.keys.iter().all(|key| !text.contains(&key.key.reveal())));
        }
        if let Signing::Hmac(Hmac { secret: Some(_), .. }) = &settings.signing {
            prop_assert_eq!(&shown["signing"]["secret"], MASK);
        }
        let headers = shown.as_object_mut().unwrap().remove("headers").unwrap_or_else(|| json!({}));
        prop_assert!(headers.as_object().unwrap().values().all(|value| value == MASK));
    }

    #[test]
    fn an_empty_patch_changes_nothing((settings, origin) in settings()) {
        prop_assert_eq!(settings.patched(&json!({}), origin, anywhere).unwrap(), settings);
    }

    #[test]
    fn a_patch_with_everything_is_a_replacement((old, _) in settings(), (new, origin) in settings()) {
        // A merge takes nothing away that the patch does not name, and `null` goes back to the default.
        let old = Settings { headers: Vec::new(), metadata: Map::new(), ..old };
        let new = Settings { metadata: Map::new(), ..new };
        let patched = old.patched(&new.to_json(), origin, anywhere).unwrap();
        let mut expected = new;
        expected.keep_secret_of(&old);
        prop_assert_eq!(patched, expected);
    }

    #[test]
    fn garbage_is_refused_with_a_place_or_valid(value in json_value(), origin in select(ORIGINS.to_vec())) {
        match Settings::parse(&value, origin, anywhere) {
            Err(invalid) => prop_assert!(invalid.faults().iter().all(|fault| fault.pointer.starts_with('#'))),
            Ok(settings) => {
                prop_assert_eq!(Settings::parse(&settings.to_json(), origin, anywhere).unwrap(), settings);
            }
        }
    }

    #[test]
    fn garbage_beside_a_url_is_refused_or_valid(value in json_value(), (old, origin) in settings()) {
        let mut patch = json!({"url": "https://a.b/"});
        if let Value::Object(members) = &value {
            patch.as_object_mut().unwrap().extend(members.clone());
        }
        for result in [Settings::parse(&patch, origin, anywhere), old.patched(&value, origin, anywhere)] {
            match result {
                Err(invalid) => prop_assert!(!invalid.faults().is_empty()),
                Ok(settings) => {
                    prop_assert_eq!(Settings::parse(&settings.to_json(), origin, anywhere).unwrap(), settings);
                }
            }
        }
    }
}
