//! Bad input is refused by name, and changes nothing.

use serde_json::{Value, json};

use super::{
    http::{Answer, Client},
    server::{Home, endpoint},
    sums,
};

/// Checks the form of a problem, and what it says.
fn is_problem(answer: &Answer, status: u16, name: &str, pointer: &str, case: &str) {
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{case}: {text}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{case}: {text}");
    let problem = answer.json();
    assert_eq!(problem["status"], json!(status), "{case}: {text}");
    assert_eq!(problem["type"], json!(format!("/problems/{name}")), "{case}: {text}");
    assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{case}: {text}");
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"), "{case}: {text}");
    if !pointer.is_empty() {
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{case}: no errors in {text}"));
        let named = errors.iter().find(|error| error["pointer"] == json!(pointer));
        let named = named.unwrap_or_else(|| panic!("{case}: {pointer} is not named in {text}"));
        assert!(named["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{case}: {text}");
    }
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn events(client: &mut Client) {
    let deep = format!(r#"{{"topic":"a.b","data":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    let large = format!(r#"{{"topic":"a.b","data":"{}"}}"#, "x".repeat(1 << 20));
    let bodies: &[(&str, u16, &str, &str)] = &[
        ("", 400, "malformed-request", ""),
        ("{", 400, "malformed-request", "#"),
        ("\u{0}\u{1}", 400, "malformed-request", "#"),
        (r#"{"topic":"a.b","data":1} x"#, 400, "malformed-request", "#"),
        ("[]", 422, "invalid-request", "#"),
        ("[1]", 422, "invalid-request", "#/0"),
        ("7", 422, "invalid-request", "#"),
        (r#"{"data":1}"#, 422, "invalid-request", "#/topic"),
        (r#"{"topic":"a.b"}"#, 422, "invalid-request", "#/data"),
        (r#"{"topic":7,"data":1}"#, 422, "invalid-request", "#/topic"),
        (r#"{"topic":"a b","data":1}"#, 422, "invalid-request", "#/topic"),
        (r#"{"topic":"a.b","data":1,"id":"a/b"}"#, 422, "invalid-request", "#/id"),
        (r#"{"topic":"a.b","data":1,"colour":1}"#, 422, "invalid-request", "#/colour"),
        (r#"{"topic":"a.b","topic":"a.c","data":1}"#, 422, "invalid-request", "#/topic"),
        (r#"{"topic":"a.b","data":1,"timestamp":"yesterday"}"#, 422, "invalid-request", "#/timestamp"),
        (r#"{"topic":"a.b","data":1,"metadata":[]}"#, 422, "invalid-request", "#/metadata"),
        (r#"[{"topic":"a.b","data":1},{"topic":"","data":1}]"#, 422, "invalid-request", "#/1/topic"),
        (&deep, 422, "invalid-request", "#/data"),
        (&large, 422, "invalid-request", "#/data"),
    ];
    for (body, status, name, pointer) in bodies {
        let answer = client.send("POST", "/v1/events", JSON, body.as_bytes()).unwrap();
        is_problem(&answer, *status, name, pointer, &body[..body.len().min(60)]);
    }
    let oversized = format!(r#"{{"topic":"a.b","data":"{}"}}"#, "x".repeat(2 << 20));
    let answer = client.send("POST", "/v1/events", JSON, oversized.as_bytes()).unwrap();
    is_problem(&answer, 413, "content-too-large", "", "2 MiB");
    let not_utf8 = client.send("POST", "/v1/events", JSON, b"{\"topic\":\"a.\xff\",\"data\":1}").unwrap();
    is_problem(&not_utf8, 400, "malformed-request", "#", "bytes that are no UTF-8");
    for headers in [&[][..], &[("content-type", "text/plain")]] {
        let answer = client.send("POST", "/v1/events", headers, br#"{"topic":"a.b","data":1}"#).unwrap();
        is_problem(&answer, 415, "unsupported-media-type", "", "another content type");
    }
    let zipped = [JSON[0], ("content-encoding", "gzip")];
    let answer = client.send("POST", "/v1/events", &zipped, br#"{"topic":"a.b","data":1}"#).unwrap();
    is_problem(&answer, 415, "unsupported-media-type", "", "a compressed body");
}

fn endpoints(client: &mut Client) {
    let urls = [
        "",
        "hook",
        "ftp://example.org/",
        "file:///etc/passwd",
        "http://",
        "https://user:password@example.org/",
        "http://127.0.0.1:9/",
        "http://localhost:9/",
        "http://[::1]:9/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://0.0.0.0/",
    ];
    for url in urls {
        let answer = client.post("/v1/endpoints", &json!({"url": url}));
        is_problem(&answer, 422, "invalid-request", "#/url", url);
        let answer = client.put("/v1/endpoints/known", &json!({"url": url}));
        is_problem(&answer, 422, "invalid-request", "#/url", url);
    }
    for url in ["http://127.0.0.1:9/", "http://localhost:9/", "http://0.0.0.0:9/", "http://[::]:9/", "http://[::1]:9/"]
    {
        let answer = client.post("/v1/endpoints", &json!({"url": url, "guard": "private"}));
        is_problem(&answer, 422, "invalid-request", "#/url", url);
    }
    let settings = [
        (json!({}), "#/url"),
        (json!([]), "#"),
        (json!({"url": 7}), "#/url"),
        (json!({"id": "a b"}), "#/id"),
        (json!({"topics": ["a.*.c"]}), "#/topics/0"),
        (json!({"timeout": "soon"}), "#/timeout"),
        (json!({"timeout": 5}), "#/timeout"),
        (json!({"in_flight": 0}), "#/in_flight"),
        (json!({"retry": {"delays": ["5s", "x"]}}), "#/retry/delays/1"),
        (json!({"retry": {"delay": []}}), "#/retry/delay"),
        (json!({"secret": "whsec_AAAA"}), "#/secret"),
        (json!({"guard": "none"}), "#/guard"),
        (json!({"headers": {"host": "a"}}), "#/headers/host"),
        (json!({"headers": {"x-a": "a\r\nx-b: b"}}), "#/headers/x-a"),
        (json!({"colour": 1}), "#/colour"),
    ];
    for (mut body, pointer) in settings {
        if let Some(body) = body.as_object_mut().filter(|body| !body.is_empty()) {
            body.entry("url").or_insert(json!("https://example.org/"));
        }
        is_problem(&client.post("/v1/endpoints", &body), 422, "invalid-request", pointer, &body.to_string());
    }
    let several = client.post("/v1/endpoints", &json!({"url": "ftp://a/", "timeout": "soon", "colour": 1}));
    for pointer in ["#/url", "#/timeout", "#/colour"] {
        is_problem(&several, 422, "invalid-request", pointer, "every mistake at once");
    }
    let taken = client.post("/v1/endpoints", &json!({"id": "known", "url": "https://example.org/"}));
    is_problem(&taken, 409, "conflict", "", "an id that is taken");
    let stale = [("content-type", "application/merge-patch+json"), ("if-match", "\"99\"")];
    let answer = client.send("PATCH", "/v1/endpoints/known", &stale, br#"{"name":"other"}"#).unwrap();
    is_problem(&answer, 412, "precondition-failed", "", "another version");
    let rule = client.put("/v1/debounce-rules/noise", &json!({"topics": ["a"], "window": "soon"}));
    is_problem(&rule, 422, "invalid-request", "#/window", "a rule");
}

fn paths(client: &mut Client) {
    let unknown = [
        ("GET", "/nowhere"),
        ("GET", "/v1"),
        ("GET", "/v1/nowhere"),
        ("GET", "/v1/events/evt_unknown"),
        ("GET", "/v1/events/..%2f..%2fetc"),
        ("GET", "/v1/events/evt_unknown/attempts"),
        ("GET", "/v1/endpoints/unknown"),
        ("GET", "/v1/endpoints/unknown/state"),
        ("DELETE", "/v1/endpoints/unknown"),
        ("GET", "/v1/dead-letters/unknown"),
        ("POST", "/v1/dead-letters/1-1-1/replay"),
        ("GET", "/v1/debounce-rules/unknown"),
    ];
    for (method, path) in unknown {
        is_problem(&client.call(method, path, None), 404, "not-found", "", path);
    }
    for (method, path) in
        [("DELETE", "/v1/events"), ("POST", "/v1/stats"), ("PUT", "/v1/endpoints"), ("POST", "/healthz")]
    {
        let answer = client.call(method, path, None);
        is_problem(&answer, 405, "method-not-allowed", "", path);
        assert!(answer.header("allow").is_some_and(|allow| allow.contains("GET")), "{answer:?}");
    }
    for (query, pointer) in
        [("limit=0", "#/limit"), ("limit=many", "#/limit"), ("cursor=%21", "#/cursor"), ("stat=x", "#/stat")]
    {
        let answer = client.call("GET", &format!("/v1/events?{query}"), None);
        is_problem(&answer, 422, "invalid-request", pointer, query);
    }
}

fn strangers(addr: &str, token: &str) {
    let longer = format!("{token}x");
    for token in [None, Some(""), Some("hmk_guessed"), Some(&token[1..]), Some(longer.as_str())] {
        let mut stranger = Client::new(addr, token);
        let event = json!({"topic": "a.b", "data": 1});
        let endpoint = json!({"url": "https://example.org/"});
        let calls = [
            ("POST", "/v1/events", Some(&event)),
            ("GET", "/v1/events", None),
            ("POST", "/v1/endpoints", Some(&endpoint)),
            ("DELETE", "/v1/endpoints/known", None),
            ("GET", "/v1/stats", None),
            ("GET", "/v1/nowhere", None),
        ];
        for (method, path, body) in calls {
            let answer = stranger.call(method, path, body);
            is_problem(&answer, 401, "unauthorized", "", path);
            assert!(answer.header("www-authenticate").is_some(), "{answer:?}");
        }
        assert_eq!(stranger.call("GET", "/healthz", None).status, 200);
    }
}

#[test]
fn bad_input_is_refused_by_name_and_changes_nothing() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let mut client = server.client();
    endpoint(&mut client, "known", "https://example.org/", json!({"topics": ["never.published"]}));
    client.post("/v1/events", &json!({"topic": "a.b", "id": "first", "data": 1})).expect(202);
    let everything = |client: &mut Client| -> [Value; 4] {
        let rules = client.get("/v1/debounce-rules");
        [sums(client), client.get("/v1/endpoints"), client.get("/v1/events"), rules]
    };
    super::settled(&mut client);
    let before = everything(&mut client);
    events(&mut client);
    endpoints(&mut client);
    paths(&mut client);
    strangers(&server.addr, &server.token);
    let other = client.post("/v1/events", &json!({"topic": "a.b", "id": "first", "data": 2}));
    is_problem(&other, 409, "conflict", "", "an id that is taken");
    let group = json!([{"topic": "a.b", "data": 1}, {"topic": "a.b", "id": "first", "data": 2}]);
    is_problem(&client.post("/v1/events", &group), 409, "conflict", "#/1/id", "an id that is taken, in a group");
    assert_eq!(everything(&mut client), before);
}

#[test]
fn what_is_no_http_or_cut_off_changes_nothing() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let mut client = server.client();
    let token = &server.token;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    );
    let refused = [
        "nonsense\r\n\r\n".to_owned(),
        format!("{head}content-length: x\r\n\r\n"),
        format!("{head}content-length: 5\r\ncontent-length: 6\r\n\r\n{{}}"),
        format!("{head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{head}transfer-encoding: chunked\r\n\r\nzz\r\n"),
        format!("{head}x-long: {}\r\n\r\n", "x".repeat(1 << 20)),
    ];
    for request in refused {
        // An answer that refuses, or a closed connection.
        let answer = Client::new(&server.addr, None).raw(request.as_bytes());
        assert!(answer.as_ref().is_ok_and(|answer| answer.status >= 400) || answer.is_err(), "{answer:?}");
    }
    let whole = r#"{"topic":"a.b","data":1}"#;
    let cut = format!("{head}content-length: {}\r\n\r\n{whole}", whole.len() + 1);
    let mut stream = std::net::TcpStream::connect(&server.addr).unwrap();
    std::io::Write::write_all(&mut stream, cut.as_bytes()).unwrap();
    drop(stream);
    assert_eq!(sums(&mut client)["accepted"], json!(0));
}

#[test]
fn a_body_that_stalls_is_given_up() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let token = &server.token;
    let head = format!(
        "POST /v1/events HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    );
    let answer =
        Client::new(&server.addr, None).raw(format!("{head}content-length: 100\r\n\r\n{{").as_bytes()).unwrap();
    is_problem(&answer, 408, "request-timeout", "", "a body that stalls");
    assert_eq!(sums(&mut server.client())["accepted"], json!(0));
}
