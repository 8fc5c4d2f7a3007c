//! Secrets are never said: not in an answer, a log line, an event, a metric or an error.

use std::{fs, thread, time::Duration};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{
    PATIENCE,
    http::{Answer, Client},
    process::hookmill,
    receiver::{REFUSING, Receiver, Reply},
    server::Home,
    until,
};

const MARKERS: [&str; 12] = [
    "marker-bearer-7f3a",
    "marker-password-1c9e",
    "marker-verbatim-b27d",
    "marker-header-55e0",
    "marker-hmac-8d41",
    "marker-rotated-61fa",
    "marker-step-token-0aa7",
    "marker-step-header-e3c2",
    "marker-step-hmac-94b8",
    "marker-of-the-file-2f6d",
    SHARED,
    PRIVATE,
];
/// Of `marker-of-a-shared-secret-1234`.
const SHARED: &str = "whsec_bWFya2VyLW9mLWEtc2hhcmVkLXNlY3JldC0xMjM0";
const PRIVATE: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
/// Of the store.
const KEY: &str = "bWFya2VyIGtleSBtYXJrZXIga2V5IG1hcmtlciBrZXk=";

/// The ways in which bytes may be written: as they are, in hexadecimal, as a list of numbers, and in base64 wherever they begin.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = secret.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut spellings = vec![secret.to_vec(), hex.to_uppercase().into_bytes(), hex.into_bytes(), list.into_bytes()];
    for before in 0..3 {
        let shifted = [&vec![0; before][..], secret].concat();
        // Without the ends, which depend on what stands beside it.
        let whole = BASE64_STANDARD.encode(&shifted[..shifted.len() / 3 * 3]);
        let inner = whole[if before == 0 { 0 } else { 4 }..].to_owned();
        spellings.push(inner.replace('+', "-").replace('/', "_").into_bytes());
        spellings.push(inner.into_bytes());
    }
    spellings
}

/// Nothing of `secrets` stands in `said`, in whatever spelling; of keys neither their text nor their bytes.
pub(crate) fn expect_absent(what: &str, said: &[u8], secrets: &[&str]) {
    for secret in secrets {
        let key =
            secret.rsplit('_').next().and_then(|key| BASE64_STANDARD.decode(key).ok()).filter(|key| key.len() >= 24);
        // Of a pair only the seed is secret.
        let key = key.map(|key| key[..key.len().min(32)].to_vec());
        for part in [Some(secret.as_bytes().to_vec()), key].into_iter().flatten().flat_map(|it| spellings(&it)) {
            let found = said.windows(part.len()).position(|window| window == part);
            if let Some(place) = found {
                let around = &said[place.saturating_sub(80)..(place + part.len() + 80).min(said.len())];
                panic!("{what} says {secret}: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

/// A client whose every answer is looked at.
struct Watched(Client);

impl Watched {
    fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let answer = self.0.call(method, path, body);
        let said = [format!("{answer:?}").as_bytes(), &answer.body].concat();
        expect_absent(&format!("{method} {path}"), &said, &MARKERS);
        expect_absent(&format!("{method} {path}"), &said, &[KEY]);
        answer
    }

    fn post(&mut self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, Some(body))
    }
}

#[test]
fn spellings_are_found() {
    let secret = b"marker-x";
    for text in ["a marker-x b", "6d61726b65722d78", "bWFya2VyLXg=", "dXNlcjptYXJrZXIteA==", "MTI6bWFya2VyLXg="] {
        let said = thread::spawn(move || expect_absent("a text", text.as_bytes(), &["marker-x"]));
        assert!(said.join().is_err(), "{text}");
    }
    let list = format!("{secret:?}");
    assert!(thread::spawn(move || expect_absent("a list", list.as_bytes(), &["marker-x"])).join().is_err());
}

fn endpoints(url: &str) -> Vec<Value> {
    let hmac = json!({"type": "hmac", "header": "x-signature", "secret": MARKERS[4]});
    let basic = json!({"type": "basic", "username": "user", "password": MARKERS[1]});
    vec![
        json!({"id": "bearer", "url": url, "auth": {"type": "bearer", "token": MARKERS[0]}, "secret": SHARED}),
        json!({"id": "basic", "url": url, "auth": basic, "signing": {"secrets": [PRIVATE, SHARED]}}),
        json!({"id": "verbatim", "url": url, "auth": {"type": "verbatim", "value": MARKERS[2]}, "signing": hmac}),
        json!({"id": "header", "url": url, "headers": {"x-key": MARKERS[3]}, "batch": {"flush_interval": "0s"}}),
        json!({"id": "failing", "url": REFUSING, "headers": {"x-key": MARKERS[3]}, "secret": SHARED,
            "retry": {"delays": []}, "auth": {"type": "bearer", "token": MARKERS[0]}}),
        json!({"id": "watcher", "url": url, "topics": ["hookmill.*"], "headers": {"x-key": MARKERS[3]}}),
    ]
}

/// Calls whose mistakes stand beside or in a secret.
fn mistaken(url: &str) -> Vec<Value> {
    vec![
        json!({"url": url, "auth": {"type": "bearer", "token": format!("{}\r\nx: y", MARKERS[0])}}),
        json!({"url": url, "auth": {"type": MARKERS[0], "token": 3}}),
        json!({"url": url, "auth": {"type": "basic", "username": "a:b", "password": MARKERS[1]}, "signing": 3}),
        json!({"url": url, "headers": {"host": MARKERS[3], "x-key": format!("{}é", MARKERS[3])}}),
        json!({"url": url, "secret": format!("{SHARED}!"), "signing": {"secrets": [format!("{PRIVATE}!")]}}),
        json!({"url": url, "signing": {"secrets": [{"secret": SHARED, "until": MARKERS[3]}], "scheme": PRIVATE}}),
    ]
}

#[test]
fn no_secret_is_ever_said() {
    let home = Home::new();
    let receiver = Receiver::new(|request| Reply::Status(if request.path == "/fails" { 500 } else { 200 }));
    let config = home.path().join("hookmill.toml");
    let of_file = format!(
        "[[endpoints]]\nid = \"file\"\nurl = \"{}\"\nsecret = \"{SHARED}\"\nauth = {{ type = \"bearer\", token = \"{}\" }}\n",
        receiver.url("/file"),
        MARKERS[9],
    );
    fs::write(&config, &of_file).unwrap();
    let config = config.to_str().unwrap();
    let environment = [("HOOKMILL_LOG", "trace"), ("HOOKMILL_SECRET_KEY", KEY), ("RUST_BACKTRACE", "1")];
    let mut server = home.serve_in(&environment, &["--allow-loopback", "--config", config]);
    let mut client = Watched(server.client());
    let url = receiver.url("/");
    for endpoint in endpoints(&url) {
        assert_eq!(client.post("/v1/endpoints", &endpoint).status, 201, "{endpoint}");
    }
    for wrong in mistaken(&url) {
        assert_eq!(client.post("/v1/endpoints", &wrong).status, 422, "{wrong}");
        assert_eq!(client.call("PATCH", "/v1/endpoints/bearer", Some(&wrong)).status, 422, "{wrong}");
        client.call("PUT", "/v1/endpoints/bearer", Some(&wrong));
    }
    let steps = json!([
        {"name": "one", "url": url, "auth": {"type": "bearer", "token": MARKERS[6]}, "headers": {"x": MARKERS[7]}},
        {"name": "two", "url": receiver.url("/fails"), "final_response": true, "attempts": 1, "secret": SHARED},
        {"name": "three", "url": url, "async": true, "signing": {"type": "hmac", "header": "x-s", "secret": MARKERS[8]}},
    ]);
    assert_eq!(client.call("PUT", "/v1/chains/c", Some(&json!({"steps": steps}))).status, 201);
    assert_eq!(client.post("/v1/chains/c/invoke", &json!({"n": 1})).status, 502);
    client.call("PUT", "/v1/chains/wrong", Some(&json!({"steps": [{"name": MARKERS[6], "secret": MARKERS[8]}]})));

    let event = client.post("/v1/events", &json!({"topic": "t", "data": {"n": 1}})).json();
    let event = event["id"].as_str().unwrap().to_owned();
    until("everything is settled", PATIENCE, || {
        let stats = client.call("GET", "/v1/stats", None).json();
        (stats["deliveries"]["pending"] == 0 && stats["unrouted"] == 0).then_some(())
    });
    let marked = receiver.seen();
    assert!(marked.iter().any(|request| request.header("authorization").contains(MARKERS[0])), "they are used");
    for (path, body) in [
        ("/v1/endpoints/bearer/rotate-secret", json!({"secret": "whsec_bWFya2VyLW9mLWEtcm90YXRlZC1zZWNyZXQtNTY3OA=="})),
        ("/v1/endpoints/verbatim/rotate-secret", json!({"secret": MARKERS[5]})),
        ("/v1/endpoints/bearer/rotate-secret", json!({"secret": MARKERS[5]})),
        ("/v1/endpoints/file/rotate-secret", json!({"secret": SHARED})),
        ("/v1/endpoints/bearer/test", json!({})),
        ("/v1/endpoints/failing/test", json!({})),
    ] {
        client.post(path, &body);
    }
    for name in ["bearer", "basic", "verbatim", "header", "failing", "watcher", "file"] {
        for part in ["", "/state", "/attempts"] {
            assert_eq!(client.call("GET", &format!("/v1/endpoints/{name}{part}"), None).status, 200);
        }
        client.post(&format!("/v1/endpoints/{name}/pause"), &json!({}));
        client.post(&format!("/v1/endpoints/{name}/resume"), &json!({}));
    }
    let letters = client.call("GET", "/v1/dead-letters", None).json();
    let letter = letters["items"][0]["id"].as_str().unwrap().to_owned();
    for path in [
        "/v1/endpoints",
        "/v1/chains",
        "/v1/chains/c",
        "/v1/events",
        "/v1/debounce-rules",
        "/v1/stats",
        "/v1/tokens",
        "/v1/audit",
        "/v1/openapi.json",
        "/metrics",
        "/metrics/endpoints",
        "/healthz",
        "/readyz",
        "/",
        "/v1/events?topic=hookmill.delivery.dead_lettered",
    ] {
        client.call("GET", path, None);
    }
    for path in
        [format!("/v1/events/{event}"), format!("/v1/events/{event}/attempts"), format!("/v1/dead-letters/{letter}")]
    {
        assert_eq!(client.call("GET", &path, None).status, 200, "{path}");
    }
    let moved = client.call("PATCH", "/v1/endpoints/bearer", Some(&json!({"url": REFUSING})));
    assert_eq!(moved.json()["cleared"], json!(["/auth"]));
    assert_eq!(client.call("DELETE", "/v1/endpoints/basic", None).status, 204);
    let operational = receiver.seen().iter().any(|request| {
        expect_absent("an operational event", &request.body, &MARKERS);
        String::from_utf8_lossy(&request.body).contains("hookmill.delivery.dead_lettered")
    });
    assert!(operational, "there was one");
    // A file with mistakes, read again while the server runs.
    fs::write(config, of_file.replace("secret =", "secret = 3 #").replace("bearer", "bearer-of")).unwrap();
    server.process().hang_up();
    until("the file is refused", PATIENCE, || {
        thread::sleep(Duration::from_millis(5));
        server.process().log().contains("config.refused").then_some(())
    });
    server.process().terminate();
    assert!(server.process().ended().success());
    let log = server.process().log();
    assert!(log.contains("TRACE") && log.contains("endpoint created"), "everything is logged");
    expect_absent("the log", log.as_bytes(), &MARKERS);
    expect_absent("the log", log.as_bytes(), &[KEY]);
}

#[test]
fn commands_say_no_secret_of_a_file() {
    let home = Home::new();
    let good = format!(
        "[[endpoints]]\nid = \"a\"\nurl = \"https://a.b/\"\nsecret = \"{SHARED}\"\n[endpoints.headers]\nx = \"{}\"\n[[chains.c]]\nname = \
         \"s\"\nurl = \"https://a.b/\"\nasync = true\nauth = {{ type = \"verbatim\", value = \"{}\" }}\n",
        MARKERS[3], MARKERS[2],
    );
    let wrong = [
        good.clone(),
        good.replace("secret = ", "secret ="),
        good.replace("secret = \"", "secret = "),
        good.replace("secret = \"", "secret = \"\\q"),
        good.replace("x = \"", "x = \"\\u0007"),
        good.replace("\"verbatim\"", "3"),
        good.replace("whsec_", "whsec_!"),
        format!("{good}{}\n", MARKERS[3]),
        format!("{} = 1\n", MARKERS[3]).replace('-', "\u{a0}"),
    ];
    for (n, text) in wrong.iter().enumerate() {
        for name in [format!("{n}.toml"), format!("{n}.yaml")] {
            let path = home.path().join(&name);
            fs::write(&path, text).unwrap();
            for command in ["check", "show"] {
                let output = hookmill(&["config", command, "--config", path.to_str().unwrap()]).output().unwrap();
                let said = [&output.stdout[..], &output.stderr].concat();
                expect_absent(&format!("config {command} {name}"), &said, &MARKERS);
            }
        }
    }
}
