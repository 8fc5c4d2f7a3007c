//! Hostile callers: each gets an answer or loses his connection in bounded time, and the next one is served as ever.

use std::thread;

use serde_json::json;

use super::{
    PATIENCE,
    http::Client,
    raw::{Raw, exchange, statuses},
    server::{Home, Server},
    sums, until,
};

fn refused(text: &str) -> bool {
    statuses(text).iter().all(|status| *status >= 400)
}

/// The next caller is served.
fn is_unaffected(server: &Server) {
    server.client().get("/v1/stats");
}

fn head(server: &Server, method: &str, path: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n",
        server.addr, server.token
    )
}

#[test]
fn what_two_readers_could_read_differently_is_refused_and_nothing_is_smuggled() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let (post, event) = (head(&server, "POST", "/v1/events"), r#"{"topic":"a.b","data":1}"#);
    let chunk = format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
    let hidden = format!("{post}content-length: {}\r\n\r\n{event}", event.len());
    let length = event.len();
    let cases = [
        format!("{post}content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"),
        format!("{post}transfer-encoding: chunked\r\ncontent-length: {length}\r\n\r\n{chunk}"),
        format!("{post}content-length: {length}\r\ncontent-length: {length}\r\n\r\n{event}"),
        format!("{post}content-length: 0\r\ncontent-length: {length}\r\n\r\n{event}"),
        format!("{post}content-length: {length}, {length}\r\n\r\n{event}"),
        format!("{post}content-length: +{length}\r\n\r\n{event}"),
        format!("{post}content-length: -1\r\n\r\n{event}"),
        format!("{post}content-length: 0x18\r\n\r\n{event}"),
        format!("{post}content-length: 99999999999999999999\r\n\r\n{event}"),
        format!("{post}content-length : {length}\r\n\r\n{event}"),
        format!("{post}transfer-encoding: xchunked\r\n\r\n{chunk}"),
        format!("{post}transfer-encoding: chunked, identity\r\n\r\n{chunk}"),
        format!("{post}transfer-encoding: gzip, chunked\r\n\r\n{chunk}"),
        format!("{post}transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n{chunk}"),
        format!("{post}transfer-encoding : chunked\r\n\r\n{chunk}"),
        format!("{post}transfer-encoding:\x0bchunked\r\n\r\n{chunk}"),
        format!("{post}x-folded: a\r\n transfer-encoding: chunked\r\n\r\n{chunk}"),
        format!("{post}x-cr: a\rtransfer-encoding: chunked\r\n\r\n{chunk}"),
        format!("{post}x-nul: a\0b\r\ncontent-length: {length}\r\n\r\n{event}"),
        format!("{post}host: other\r\ncontent-length: {length}\r\n\r\n{event}"),
        format!("{post}transfer-encoding: chunked\r\n\r\n0x18\r\n{event}\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n-18\r\n{event}\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n18{event}\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\nffffffffffffffff8\r\n{event}\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n17\r\n{event}\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n18;a\nb\r\n{event}\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n18;a\rb\r\n{event}\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n18;a=\0\r\n{event}\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n;a=b\r\n{event}\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n 18\r\n{event}\r\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n18\n{event}\n0\n\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n18\r\n{event}\n0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n18\r\n{event}0\r\n\r\n"),
        format!("{post}transfer-encoding: chunked\r\n\r\n18\r\n{event}\r\n0\n\n"),
        format!("{post}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"),
        format!("{post}transfer-encoding: chunked, chunked\r\n\r\n{chunk}"),
        format!("{post}transfer-encoding: chunked;a=b\r\n\r\n{chunk}"),
        format!("{post}transfer-encoding: chunked\0\r\n\r\n{chunk}"),
        format!("{post}transfer-encoding:\r\ncontent-length: {length}\r\n\r\n{event}"),
        format!("{post}content-length: 2 4\r\n\r\n{event}"),
        format!("{post}x-tab: a\r\n\ttransfer-encoding: chunked\r\n\r\n{chunk}"),
        format!("{post}x-cr: a\r\r\ncontent-length: {length}\r\n\r\n{event}"),
        format!("{post}x\0nul: a\r\ncontent-length: {length}\r\n\r\n{event}"),
        format!("{post}x-del: a\x7f\r\ncontent-length: {length}\r\n\r\n{event}"),
        format!("POST /v1/events HTTP/1.1\r\n host: localhost\r\ncontent-length: {length}\r\n\r\n{event}"),
        format!("POST /v1/ev\0ents HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{event}"),
        post.replace("\r\n", "\r") + "\r",
        format!("POST /v1/events HTTP/1.0\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"),
        format!("POST /v1/events HTTP/1.1\r\n\r\n{event}"),
        format!("POST /v1/events HTTP/2.0\r\nhost: localhost\r\n\r\n{event}"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".to_owned() + &"\0".repeat(600),
    ];
    thread::scope(|scope| {
        for case in cases {
            let (addr, hidden) = (&server.addr, &hidden);
            scope.spawn(move || {
                // Whatever is refused, what follows on its connection is not read as a request.
                let text = exchange(addr, format!("{case}{hidden}").as_bytes());
                assert!(refused(&text) && statuses(&text).len() <= 1, "{case:?} gets {text:?}");
            });
        }
    });
    assert_eq!(sums(&mut server.client())["accepted"], json!(0));
}

/// What RFC 9112 allows is one request, and the next one is the next: extensions of chunks, trailers, which are not looked at,
/// and lines of a head that end with LF alone (2.2).
#[test]
fn what_may_be_written_in_several_ways_is_read_in_one() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let event = r#"{"topic":"a.b","data":1}"#;
    let (post, length) = (head(&server, "POST", "/v1/events"), event.len());
    let chunked = format!("{post}transfer-encoding: chunked\r\n\r\n");
    let cases = [
        format!("{chunked}18;a=b;c=\"d e\";f\r\n{event}\r\n0;last\r\n\r\n"),
        format!("{chunked}18 ; a\r\n{event}\r\n0\r\n\r\n"),
        format!("{chunked}18;a=\"\r\n{event}\r\n0\r\n\r\n"),
        format!("{chunked}18;{}\r\n{event}\r\n0\r\n\r\n", "x".repeat(1 << 16)),
        format!("{chunked}{}18\r\n{event}\r\n0\r\n\r\n", "0".repeat(40)),
        format!("{chunked}18\r\n{event}\r\n0\r\ncontent-length: 9\r\ntransfer-encoding: x\r\nhost: other\r\n\r\n"),
        format!("{post}transfer-encoding: Chunked\r\n\r\n18\r\n{event}\r\n0\r\n\r\n"),
        format!("{post}content-length: 0{length}\r\n\r\n{event}"),
        format!("{post}x-a: b\ncontent-length: {length}\r\n\r\n{event}"),
        format!("{post}content-length: {length}\n\n{event}").replace("\r\n", "\n"),
    ];
    let next = format!("{}connection: close\r\n\r\n", head(&server, "GET", "/v1/stats"));
    for (number, case) in cases.iter().enumerate() {
        let text = exchange(&server.addr, format!("{case}{next}").as_bytes());
        assert_eq!(statuses(&text), [202, 200], "{case:?} gets {text:?}");
        assert_eq!(sums(&mut server.client())["accepted"], json!(number + 1));
    }
}

#[test]
fn odd_targets_and_methods_are_answered_and_reach_nothing() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let addr = &server.addr;
    let mut client = server.client();
    super::server::endpoint(&mut client, "known", "https://example.org/", json!({}));
    let cases: &[(&str, &str, &[u16])] = &[
        ("GET", "//healthz", &[404]),
        ("GET", "/v1/../healthz", &[404]),
        ("GET", "/healthz/", &[404]),
        ("GET", "/v1/endpoints/known/../known", &[404]),
        ("GET", "/v1/endpoints/../stats", &[404]),
        ("GET", "/v1/endpoints/%2e%2e%2fstats", &[404]),
        ("GET", "/v1/endpoints/..%5c..%5cetc", &[404]),
        ("GET", "/v1/endpoints/known%00", &[404]),
        ("GET", "/v1/endpoints/known%0d%0ax-a:%20b", &[404]),
        ("GET", "/v1/endpoints/%zz", &[400, 404]),
        ("GET", "/v1/endpoints/%c0%ae%c0%ae", &[404]),
        ("GET", "/v1/endpoints/known;a=b", &[404]),
        ("DELETE", "/v1/endpoints/.", &[404]),
        ("DELETE", "/v1/endpoints//known", &[404]),
        ("GET", "/v1/stats#fragment", &[200, 400, 404]),
        ("GET", "/v1/endpoints/\u{202e}nwonk", &[400, 404]),
        ("OPTIONS", "*", &[400, 404]),
        ("OPTIONS", "/v1/nowhere", &[404]),
        ("OPTIONS", "/v1/events", &[405]),
        ("TRACE", "/v1/stats", &[405]),
        ("CONNECT", "example.org:443", &[404, 405, 421]),
        ("BREW", "/v1/stats", &[405]),
        ("get", "/v1/stats", &[405]),
        ("GET", "http://evil.example/v1/stats", &[421]),
        ("GET", "ftp://localhost/v1/endpoints/known", &[200, 400, 404]),
    ];
    for (method, target, expected) in cases {
        let request = format!(
            "{}connection: close\r\norigin: https://evil.example\r\naccess-control-request-method: POST\r\n\r\n",
            head(&server, method, target)
        );
        let text = exchange(addr, request.as_bytes());
        let statuses = statuses(&text);
        assert!(statuses.len() == 1 && expected.contains(&statuses[0]), "{method} {target}: {text}");
        let lower = text.to_ascii_lowercase();
        assert!(!lower.contains("access-control-") && !lower.contains("\r\nserver:"), "{method} {target}: {text}");
        assert!(!lower.contains("\r\nx-a:"), "{method} {target}: {text}");
    }
    // Nor has a preflight a token, which browsers do not send.
    let preflight = format!("OPTIONS /v1/events HTTP/1.1\r\nhost: {addr}\r\norigin: https://evil.example\r\n");
    let text = exchange(
        addr,
        format!("{preflight}access-control-request-method: POST\r\nconnection: close\r\n\r\n").as_bytes(),
    );
    assert_eq!(statuses(&text), [405]);
    assert!(text.contains("\r\nallow: GET, HEAD, POST\r\n") && !text.contains("access-control-"), "{text}");
    let absolute = head(&server, "GET", &format!("http://{addr}/v1/endpoints/known"));
    assert_eq!(statuses(&exchange(addr, format!("{absolute}connection: close\r\n\r\n").as_bytes())), [200]);
    let lengthless =
        exchange(addr, format!("{}connection: close\r\n\r\n", head(&server, "HEAD", "/healthz")).as_bytes());
    assert!(statuses(&lengthless) == [200] && lengthless.ends_with("\r\n\r\n"), "{lengthless}");
    client.get("/v1/endpoints/known");
}

#[test]
fn a_name_that_is_not_the_servers_is_refused() {
    let home = Home::new();
    let server = home.serve_with(&["--hosts", "hooks.example.org"]);
    let port = server.addr.rsplit_once(':').unwrap().1;
    let ask = |host: &str| {
        let token = &server.token;
        let request =
            format!("GET /v1/stats HTTP/1.1\r\n{host}authorization: Bearer {token}\r\nconnection: close\r\n\r\n");
        exchange(&server.addr, request.as_bytes())
    };
    for host in ["localhost", "127.0.0.1", "[::1]", "hooks.example.org", "HOOKS.example.org."] {
        for host in [format!("host: {host}\r\n"), format!("host: {host}:{port}\r\n"), format!("host: {host}:1\r\n")] {
            assert_eq!(statuses(&ask(&host)), [200], "{host}");
        }
    }
    for host in ["evil.example", "example.org", "localhost.evil.example:80", "10.0.0.1", "", "127.1", "a b"] {
        let text = ask(&format!("host: {host}\r\n"));
        assert_eq!(statuses(&text), [421], "{host}: {text}");
        assert!(text.contains("/problems/misdirected-request") && text.contains("application/problem+json"), "{text}");
        assert!(text.contains("x-request-id: req_") && text.contains("nosniff"), "{text}");
    }
}

#[test]
fn every_answer_says_what_it_may_not_be_used_for() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let mut client = server.client();
    let calls = [("GET", "/v1/stats", 200), ("GET", "/healthz", 200), ("GET", "/metrics", 200), ("GET", "/x", 404)];
    for (method, path, status) in calls.into_iter().chain([("DELETE", "/v1/stats", 405), ("POST", "/v1/events", 415)]) {
        let answer = client.call(method, path, None);
        assert_eq!(answer.status, status, "{answer:?}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}: {answer:?}");
        }
        for name in ["server", "strict-transport-security", "access-control-allow-origin"] {
            assert_eq!(answer.header(name), None, "{path}: {answer:?}");
        }
    }
    assert_eq!(
        Client::new(&server.addr, None).call("GET", "/v1/stats", None).header("referrer-policy"),
        Some("no-referrer")
    );
}

/// The last answer in `text` is a whole problem, and the connection ends with it.
fn is_problem(text: &str, status: u16, kind: &str) {
    assert_eq!(statuses(text).last(), Some(&status), "{text}");
    let (head, body) = text.split_at(text.rfind("HTTP/1.1 4").unwrap()).1.split_once("\r\n\r\n").unwrap();
    let header = |name: &str| {
        let lines: Vec<_> = head.lines().filter_map(|line| line.strip_prefix(&format!("{name}: "))).collect();
        assert_eq!(lines.len(), 1, "{name}: {head}");
        lines[0].to_owned()
    };
    assert_eq!(header("content-type"), "application/problem+json");
    assert_eq!((header("connection"), header("x-content-type-options")), ("close".to_owned(), "nosniff".to_owned()));
    assert_eq!((header("cache-control"), header("date").len()), ("no-store".to_owned(), 29));
    assert_eq!(header("content-length"), body.len().to_string(), "{text}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&body["type"], &body["status"]), (&json!(format!("/problems/{kind}")), &json!(status)));
    assert_eq!(body["request_id"], header("x-request-id"));
}

#[test]
fn what_cannot_be_read_as_a_request_is_answered_with_a_problem_too() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let (addr, get) = (&server.addr, head(&server, "GET", "/v1/stats"));
    for head in ["GET / HTTP/1.1\r\nno header\r\n\r\n", "\0", "GET /\r\n\r\n", "GET / HTTP/1.0\r\n: a\r\n\r\n"] {
        is_problem(&exchange(addr, head.as_bytes()), 400, "malformed-request");
    }
    is_problem(&exchange(addr, format!("{get}{}\r\n", "x-many: 1\r\n".repeat(200)).as_bytes()), 431, "head-too-large");
    // After another answer on the same connection.
    for before in [get.clone(), head(&server, "HEAD", "/v1/stats"), get.replace("HTTP/1.1", "HTTP/1.0")] {
        let mut raw = Raw::connect(addr);
        raw.send(format!("{before}connection: keep-alive\r\n\r\n").as_bytes()).unwrap();
        let answer = if before.starts_with("HEAD") { raw.part() } else { raw.answer() };
        assert!(answer.contains(" 200 OK\r\n"), "{answer}");
        raw.send(b"no request\r\n\r\n").unwrap();
        is_problem(&raw.rest(), 400, "malformed-request");
    }
    let mut slow = Raw::connect(addr);
    slow.send(get.as_bytes()).unwrap();
    is_problem(&slow.rest(), 408, "request-timeout");
    is_unaffected(&server);
}

#[test]
fn a_websocket_is_refused_at_once_and_other_upgrades_are_passed_over() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let event = r#"{"topic":"a.b","data":1}"#;
    let next = format!("{}connection: close\r\n\r\n", head(&server, "GET", "/v1/stats"));
    for name in ["websocket", "WebSocket", "h2c\r\nupgrade: websocket"] {
        let upgrade = format!("connection: upgrade\r\nupgrade: {name}\r\n");
        let (post, get) = (head(&server, "POST", "/v1/events"), head(&server, "GET", "/v1/stats"));
        for request in [
            format!("{get}{upgrade}\r\n"),
            format!("{post}{upgrade}content-length: {}\r\n\r\n{event}", event.len()),
            format!("{post}{upgrade}\r\n{event}"),
        ] {
            let text = exchange(&server.addr, format!("{request}{next}").as_bytes());
            assert_eq!(statuses(&text), [400], "{request:?} gets {text:?}");
            is_problem(&text, 400, "malformed-request");
            assert!(text.contains("websockets"), "{text}");
        }
    }
    assert_eq!(sums(&mut server.client())["accepted"], json!(0));
    let post = head(&server, "POST", "/v1/events");
    let stated = format!("content-length: {}\r\n\r\n{event}", event.len());
    let chunked = format!("transfer-encoding: chunked\r\n\r\n18\r\n{event}\r\n0\r\n\r\n");
    for (name, body) in [("h2c", &stated), ("websocket/13", &stated), ("TLS/1.3", &chunked), ("websocket", &chunked)] {
        let text = exchange(&server.addr, format!("{post}upgrade: {name}\r\n{body}{next}").as_bytes());
        assert_eq!(statuses(&text), [202, 200], "{name}: {text}");
    }
}

#[test]
fn heads_that_are_too_large_are_refused() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let get = head(&server, "GET", "/v1/stats");
    let cases = [
        format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "x".repeat(1 << 20)),
        format!("{get}x-long: {}\r\n\r\n", "x".repeat(1 << 20)),
        format!("{get}{}\r\n", "x-many: 1\r\n".repeat(200)),
        format!("{get}{}: 1\r\n\r\n", "x".repeat(1 << 18)),
        "\r\n".repeat(1 << 17),
    ];
    for case in cases {
        let text = exchange(&server.addr, case.as_bytes());
        assert!(refused(&text), "{text}");
        is_unaffected(&server);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order_and_expectations_met() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let ask = |n: usize, last: &str| format!("{}x-request-id: r{n}\r\n{last}\r\n", head(&server, "GET", "/v1/stats"));
    let requests: String = (0..40).map(|n| ask(n, "")).collect();
    let text = exchange(&server.addr, (requests + &ask(40, "connection: close\r\n")).as_bytes());
    let ids: Vec<_> = text.split("x-request-id: ").skip(1).map(|rest| rest.split("\r\n").next().unwrap()).collect();
    let expected: Vec<_> = (0..=40).map(|n| format!("r{n}")).collect();
    assert_eq!(ids, expected);

    let event = r#"{"topic":"a.b","data":1}"#;
    let post = format!("{}content-length: {}\r\n", head(&server, "POST", "/v1/events"), event.len());
    let mut raw = Raw::connect(&server.addr);
    raw.send(format!("{post}expect: 100-continue\r\nconnection: close\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(statuses(&raw.answer()), [100]);
    raw.send(event.as_bytes()).unwrap();
    assert_eq!(statuses(&raw.rest()), [202]);
}

#[test]
fn a_head_that_stalls_is_given_up_also_when_it_is_not_the_first() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let get = head(&server, "GET", "/v1/stats");
    let mut first = Raw::connect(&server.addr);
    first.send(get.as_bytes()).unwrap();
    let mut second = Raw::connect(&server.addr);
    second.send(format!("{get}\r\n").as_bytes()).unwrap();
    assert_eq!(statuses(&second.answer()), [200]);
    second.send(get.as_bytes()).unwrap();
    let mut silent = Raw::connect(&server.addr);
    thread::scope(|scope| {
        scope.spawn(|| assert!(refused(&first.rest())));
        scope.spawn(|| assert_eq!(second.rest(), ""));
        scope.spawn(|| assert!(refused(&silent.rest())));
        is_unaffected(&server);
    });
}

#[test]
fn a_caller_who_never_reads_is_cut_off() {
    let home = Home::new();
    let server = home.serve_with(&[]);
    let mut raw = Raw::connect(&server.addr);
    let request = format!("{}\r\n", head(&server, "GET", "/metrics")).repeat(64);
    until("the connection ends", PATIENCE * 2, || {
        is_unaffected(&server);
        // A whole group or a part of it is taken, or nothing is; in the end there is nobody.
        raw.send(request.as_bytes()).is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock).then_some(())
    });
}

#[test]
fn connections_beyond_the_most_wait_for_their_turn() {
    let home = Home::new();
    // One for each worker.
    let workers = thread::available_parallelism().unwrap().get();
    let process = home.launch(&["--max-connections", &workers.to_string()]);
    let addr = process.line_with("Hookmill listens on ").rsplit_once("http://").unwrap().1.to_owned();
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {addr}\r\n\r\n");
    let mut ask = |raw: &mut Raw| {
        raw.send(request.as_bytes()).unwrap();
        assert_eq!(statuses(&raw.answer()), [200]);
    };
    let mut inside: Vec<_> = (0..workers).map(|_| Raw::connect(&addr)).collect();
    inside.iter_mut().for_each(&mut ask);
    let mut outside = Raw::connect(&addr);
    outside.send(request.as_bytes()).unwrap();
    for _ in 0..5 {
        inside.iter_mut().for_each(&mut ask);
        assert!(outside.is_silent());
    }
    inside.pop();
    assert_eq!(statuses(&outside.answer()), [200]);
}

#[test]
fn one_address_cannot_keep_others_out() {
    let home = Home::new();
    let process = home.launch(&["--max-connections", "16"]);
    let addr = process.line_with("Hookmill listens on ").rsplit_once("http://").unwrap().1.to_owned();
    let request = format!("GET /healthz HTTP/1.1\r\nhost: {addr}\r\n\r\n");
    let ask = |raw: &mut Raw| raw.send(request.as_bytes()).is_ok() && statuses(&raw.part()) == [200];
    let mut hoard: Vec<_> = (0..16).map(|_| Raw::connect(&addr)).collect();
    let mut inside: Vec<_> = hoard.drain(..).filter_map(|mut raw| ask(&mut raw).then_some(raw)).collect();
    assert_eq!(inside.len(), 8);
    let mut other = Raw::connect_from([127, 0, 0, 2].into(), &addr);
    assert!(ask(&mut other));
    assert!(inside.iter_mut().all(ask));
    // Who gives one back may have another one.
    inside.pop();
    until("there is room for one more", PATIENCE, || ask(&mut Raw::connect(&addr)).then_some(()));
}
