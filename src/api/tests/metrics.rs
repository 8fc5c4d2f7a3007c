//! `/metrics`: read as strictly as its format is written down, and held against what was done.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

/// What is promised to those who draw graphs.
const PROMISED: [&str; 33] = [
    "build_info",
    "events_accepted_total",
    "events_rejected_total",
    "events_judged_total",
    "deliveries_created_total",
    "deliveries_settled_total",
    "deliveries",
    "delivery_attempts_total",
    "delivery_attempt_duration_seconds",
    "delivery_latency_seconds",
    "retry_lateness_seconds",
    "oldest_pending_timestamp_seconds",
    "endpoints",
    "breakers",
    "dead_letters",
    "debounce_keys",
    "http_requests_total",
    "http_request_duration_seconds",
    "intake_events",
    "intake_bytes",
    "store_commit_duration_seconds",
    "store_commit_events",
    "store_size_bytes",
    "store_free_bytes",
    "store_errors_total",
    "guard_blocked_total",
    "actor_restarts_total",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_virtual_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_start_time_seconds",
];

/// One family of a text.
#[derive(Debug, Default)]
struct Family {
    kind: String,
    /// Name, labels, value.
    samples: Vec<(String, BTreeMap<String, String>, f64)>,
}

/// Reads exposition format 0.0.4, and panics at anything that it does not allow, or that it only tolerates.
fn parse(text: &str) -> BTreeMap<String, Family> {
    assert!(text.ends_with('\n'));
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let (mut current, mut helped, mut seen) = (String::new(), String::new(), BTreeSet::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, words) = help.split_once(' ').unwrap();
            assert!(!words.is_empty() && !words.contains('\\'), "{line}");
            helped = name.to_owned();
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name, helped, "help comes before the type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            current = name.to_owned();
            let family = Family { kind: kind.to_owned(), samples: Vec::new() };
            assert!(families.insert(current.clone(), family).is_none(), "a family comes twice: {line}");
        } else {
            assert!(seen.insert(line.rsplit_once(' ').unwrap().0.to_owned()), "a sample comes twice: {line}");
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("no family: {line}"));
            let (name, labels, value) = sample(line);
            let suffix = name.strip_prefix(&current).unwrap_or_else(|| panic!("not in {current}: {line}"));
            let known: &[&str] = if family.kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(known.contains(&suffix), "{line}");
            family.samples.push((suffix.to_owned(), labels, value));
        }
    }
    families.values().filter(|family| family.kind == "histogram").for_each(check_histogram);
    families
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let (head, value) = line.rsplit_once(' ').unwrap();
    let (name, mut rest) = head.split_at(head.find('{').unwrap_or(head.len()));
    assert!(is_name(name) && head == head.trim(), "{line}");
    let mut labels = BTreeMap::new();
    while let Some(label) = rest.strip_prefix(if labels.is_empty() { '{' } else { ',' }) {
        let (name, quoted) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
        assert!(is_name(name) && !name.contains(':'), "{line}");
        let mut end = None;
        let mut letters = quoted.char_indices();
        while let Some((place, letter)) = letters.next() {
            match letter {
                '\\' => assert!(matches!(letters.next(), Some((_, '\\' | '"' | 'n'))), "{line}"),
                '"' => {
                    end = Some(place);
                    break;
                }
                _ => {}
            }
        }
        let end = end.unwrap_or_else(|| panic!("{line}"));
        assert!(labels.insert(name.to_owned(), quoted[..end].to_owned()).is_none(), "{line}");
        rest = &quoted[end + 1..];
    }
    assert_eq!(rest, if labels.is_empty() { "" } else { "}" }, "{line}");
    let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
    assert!(value.is_finite() && value >= 0.0, "{line}");
    (name.to_owned(), labels, value)
}

fn is_name(name: &str) -> bool {
    let mut letters = name.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && letters.all(|letter| letter.is_ascii_alphanumeric() || letter == b'_')
}

/// Buckets grow with their bounds, the last one is without, and counts what `_count` counts.
fn check_histogram(family: &Family) {
    let mut series: BTreeMap<_, Vec<(&str, Option<&str>, f64)>> = BTreeMap::new();
    for (suffix, labels, value) in &family.samples {
        let own: BTreeMap<_, _> = labels.iter().filter(|(name, _)| *name != "le").collect();
        series.entry(own).or_default().push((suffix, labels.get("le").map(String::as_str), *value));
    }
    for (labels, samples) in series {
        let buckets: Vec<_> = samples.iter().filter(|(suffix, ..)| *suffix == "_bucket").collect();
        let bound = |le: Option<&str>| match le.unwrap() {
            "+Inf" => f64::INFINITY,
            bound => bound.parse().unwrap(),
        };
        for pair in buckets.windows(2) {
            assert!(bound(pair[0].1) < bound(pair[1].1) && pair[0].2 <= pair[1].2, "{labels:?}: {pair:?}");
        }
        let (_, last, all) = *buckets.last().unwrap();
        let one =
            |wanted: &str| samples.iter().filter(|(suffix, ..)| *suffix == wanted).map(|one| one.2).collect::<Vec<_>>();
        assert_eq!((last, one("_count"), one("_sum").len()), (&Some("+Inf"), vec![*all], 1), "{labels:?}");
    }
}

impl Client {
    async fn scrape(&self, path: &str) -> (String, BTreeMap<String, Family>) {
        let reply = self.get(path).await;
        assert_eq!((reply.status, reply.header("content-type")), (StatusCode::OK, Some(CONTENT_TYPE)));
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        let families = parse(&text);
        (text, families)
    }
}

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

fn value(families: &BTreeMap<String, Family>, name: &str, labels: &[(&str, &str)]) -> f64 {
    let labels: BTreeMap<_, _> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let family = families.get(name).unwrap_or_else(|| panic!("no family {name}"));
    let found = family.samples.iter().find(|(suffix, own, _)| suffix.is_empty() && *own == labels);
    found.unwrap_or_else(|| panic!("no {labels:?} in {name}: {family:?}")).2
}

#[cfg(feature = "sqlite")]
#[test]
fn everything_promised_is_there_and_nothing_that_a_user_has_named() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let builder = Hookmill::builder().data_dir(dir.path()).disk_reserve(0).allow_loopback(true).delivery_threads(1);
        let hooks = builder.transport(|| Scripted(500)).start().await.unwrap();
        let client = Client { hooks, access: Access::unguarded() };
        let endpoint = json!({"id": "canary-id", "name": "canary-name", "url": "http://127.0.0.1:9/canary-url",
            "tenant": "canary-tenant", "topics": ["canary-topic"], "metadata": {"canary-meta": 1}, "retry": {"delays": []}});
        client.post("/v1/endpoints", &endpoint).await.value(StatusCode::CREATED);
        let rule = json!({"topics": ["canary-topic"], "window": "1h", "key": ["/data/canary-key"]});
        client.json(Method::PUT, "/v1/debounce-rules/canary-rule", &rule).await.value(StatusCode::CREATED);
        let event = json!({"topic": "canary-topic", "data": {"canary-key": "canary-value"}, "tenant": "canary-tenant",
            "id": "canary-event", "key": "canary-order", "source": "canary-source"});
        client.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        client.until("/v1/dead-letters", |list| list["items"] != json!([])).await;
        client.get("/v1/events/canary-event?tenant=canary-tenant").await.value(StatusCode::OK);
        client.get("/v1/canary-path?canary-query=1").await.problem(404, "not-found");
        client.get("/canary-path").await.problem(404, "not-found");
        client
            .send(request(Method::from_bytes(b"CANARY").unwrap(), "/v1/events"))
            .await
            .problem(405, "method-not-allowed");
        let (text, families) = client.scrape("/metrics").await;
        assert!(!text.to_ascii_lowercase().contains("canary"), "{text}");
        let missing: Vec<_> = PROMISED.iter().filter(|name| !families.contains_key(&full(name))).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(value(&families, "hookmill_debounce_keys", &[]), 1.0);
        assert_eq!(value(&families, "hookmill_dead_letters", &[]), 1.0);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        assert_eq!(value(&families, "hookmill_build_info", &version), 1.0);
        assert!(value(&families, "hookmill_store_size_bytes", &[]) > 0.0);
        let calls = |method, route, code| {
            let labels = [("method", method), ("route", route), ("code", code)];
            value(&families, "hookmill_http_requests_total", &labels)
        };
        assert_eq!(calls("POST", "/v1/events", "202"), 1.0);
        assert_eq!(calls("GET", "/v1/events/{id}", "200"), 1.0);
        assert_eq!((calls("GET", "none", "404"), calls("other", "/v1/events", "405")), (2.0, 1.0));
        let (text, families) = client.scrape("/metrics/endpoints").await;
        let failing = &families["hookmill_endpoint_failing_since_timestamp_seconds"].samples;
        assert_eq!(failing.iter().map(|(_, labels, _)| labels["endpoint"].as_str()).collect::<Vec<_>>(), ["canary-id"]);
        assert!(!text.replace("canary-id", "").contains("canary"), "an id is all that is shown: {text}");
        client.hooks.shutdown(Duration::from_secs(1)).await;
    });
}

fn full(name: &str) -> String {
    if name.starts_with("process_") { name.to_owned() } else { format!("hookmill_{name}") }
}

#[cfg(feature = "sqlite")]
#[test]
fn what_became_of_events_goes_on_after_a_restart() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let start = async || {
            let builder = Hookmill::builder().data_dir(dir.path()).disk_reserve(0).allow_loopback(true);
            let hooks = builder.delivery_threads(1).transport(|| Scripted(200)).start().await.unwrap();
            Client { hooks, access: Access::unguarded() }
        };
        let client = start().await;
        client
            .post("/v1/endpoints", &json!({"id": "a", "url": "http://127.0.0.1:9/"}))
            .await
            .value(StatusCode::CREATED);
        client.post("/v1/events", &json!({"topic": "a", "data": 1})).await.value(StatusCode::ACCEPTED);
        client.until("/v1/stats", |stats| stats["deliveries"]["delivered"] == 1).await;
        let before = client.scrape("/metrics").await.1;
        assert!(value(&before, "hookmill_delivery_attempts_total", &[("outcome", "2xx")]) > 0.0);
        client.hooks.shutdown(Duration::from_secs(1)).await;
        drop(client);
        let client = start().await;
        let after = client.scrape("/metrics").await.1;
        let delivered = [("state", "delivered"), ("reason", "")];
        for (name, labels) in [
            ("hookmill_events_accepted_total", &[][..]),
            ("hookmill_events_judged_total", &[("result", "routed")]),
            ("hookmill_deliveries_settled_total", &delivered),
        ] {
            assert_eq!((value(&before, name, labels), value(&after, name, labels)), (1.0, 1.0), "{name}");
        }
        assert_eq!(value(&after, "hookmill_delivery_attempts_total", &[("outcome", "2xx")]), 0.0);
        client.hooks.shutdown(Duration::from_secs(1)).await;
    });
}

#[test]
fn metrics_need_a_token_unless_they_are_opened() {
    run(async {
        let client = Client { access: Access::token("hmk_right"), ..Client::new(200).await };
        for path in ["/metrics", "/metrics/endpoints"] {
            client.get(path).await.problem(401, "unauthorized");
            let with = request(Method::GET, path).insert_header(("authorization", "Bearer hmk_right"));
            assert_eq!(client.send(with).await.status, StatusCode::OK);
        }
        let client = Client { access: client.access.clone().open_metrics(), ..client };
        client.scrape("/metrics").await;
        client.scrape("/metrics/endpoints").await;
        client.get("/v1/stats").await.problem(401, "unauthorized");
        client.get("/metrics?x=1").await.problem(422, "invalid-request");
    });
}

#[test]
fn an_event_of_hookmills_own_comes_through_no_door() {
    run(async {
        let client = Client::new(200).await;
        let topic = "hookmill.endpoint.failing";
        let own = json!({"topic": topic, "data": 1});
        assert_eq!(client.post("/v1/events", &own).await.problem(422, "invalid-request"), ["#/topic"]);
        assert_eq!(client.post("/v1/events", &json!([own])).await.problem(422, "invalid-request"), ["#/0/topic"]);
        let typed = |content_type: &'static str, body: String| {
            request(Method::POST, "/v1/events").insert_header(("content-type", content_type)).set_payload(body)
        };
        let lines = typed("application/x-ndjson", format!("{{\"topic\": \"a\", \"data\": 1}}\n{own}\n"));
        client.send(lines).await.problem(422, "invalid-request");
        let cloud = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": topic, "data": 1});
        let one = typed("application/cloudevents+json", cloud.to_string());
        assert_eq!(client.send(one).await.problem(422, "invalid-request"), ["#/type"]);
        let batch = typed("application/cloudevents-batch+json", json!([cloud]).to_string());
        client.send(batch).await.problem(422, "invalid-request");
        let binary = typed("application/json", "1".to_owned());
        let binary = [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", topic)]
            .into_iter()
            .fold(binary, TestRequest::insert_header);
        client.send(binary).await.problem(422, "invalid-request");
        assert_eq!(client.get("/v1/stats").await.value(StatusCode::OK)["accepted"], 0);
    });
}

#[cfg(feature = "sqlite")]
#[test]
fn below_the_reserve_nothing_is_accepted_what_was_is_settled_and_one_event_says_so() {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    run(async {
        let dir = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(2000));
        let room = Arc::clone(&free);
        let probe =
            move |_: &std::path::Path| Ok(crate::store::Room { free: room.load(Ordering::Acquire), total: 1 << 40 });
        let builder =
            Hookmill::builder().data_dir(dir.path()).disk_reserve(1000).disk_probe(probe).allow_loopback(true);
        let hooks = builder.delivery_threads(1).transport(|| Scripted(200)).start().await.unwrap();
        let client = Client { hooks, access: Access::unguarded() };
        let paused = json!({"id": "held", "url": "http://127.0.0.1:9/", "topics": ["a"], "state": "paused"});
        client.post("/v1/endpoints", &paused).await.value(StatusCode::CREATED);
        let ops = json!({"id": "ops", "url": "http://127.0.0.1:9/", "topics": ["hookmill.store.low_space"]});
        client.post("/v1/endpoints", &ops).await.value(StatusCode::CREATED);
        let event = json!({"topic": "a", "data": 1});
        client.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);

        free.store(999, Ordering::Release);
        while client.hooks.unready().is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let refused = client.post("/v1/events", &event).await;
        refused.problem(503, "store-full");
        assert!(refused.header("retry-after").is_some());
        let unready = client.get("/readyz").await.value(StatusCode::SERVICE_UNAVAILABLE);
        assert!(unready["reason"].as_str().unwrap().contains("reserve"), "{unready}");
        client.hooks.emit(Event::new("a", &1).unwrap());
        assert_eq!(client.hooks.emitted().refused, 1);
        // What was accepted goes on: it is delivered, and that is written down; so is what is configured.
        client.send(request(Method::POST, "/v1/endpoints/held/resume")).await.value(StatusCode::OK);
        let stats = client.until("/v1/stats", |stats| stats["deliveries"]["delivered"] == 2).await;
        assert_eq!(stats["accepted"], 2, "one event, and one that says that there is no room");
        let families = client.scrape("/metrics").await.1;
        assert_eq!(value(&families, "hookmill_store_free_bytes", &[]), 999.0);
        assert_eq!(value(&families, "hookmill_events_rejected_total", &[("reason", "store_full")]), 2.0);
        let told = client.get("/v1/events?topic=hookmill.*").await.value(StatusCode::OK);
        let told: Vec<_> = told["items"].as_array().unwrap().iter().map(|one| one["topic"].as_str().unwrap()).collect();
        assert_eq!(told, ["hookmill.store.low_space"]);

        free.store(1000, Ordering::Release);
        while client.hooks.unready().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        client.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        client.hooks.shutdown(Duration::from_secs(1)).await;
    });
}
