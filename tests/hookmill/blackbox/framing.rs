//! What others wrote is carried in answers as it is: a caller finds the next answer on his connection where it begins.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};

use super::{
    PATIENCE,
    http::{body, head},
    receiver::{Receiver, Reply},
    server::{Home, Server},
};

/// What actix-http answers by itself to what is no request.
const BARE: [&str; 3] = [
    "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
    "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    "HTTP/1.0 431 Request Header Fields Too Large\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n",
];

fn connect(server: &Server) -> BufReader<TcpStream> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        // Long answers are written in several parts.
        socket.set_recv_buffer_size(4096).unwrap();
        socket.connect(server.addr.parse().unwrap()).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

fn request(server: &Server, method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        server.token,
        body.len()
    )
}

/// Status and body of the next answer on a connection.
fn answer(stream: &mut impl BufRead) -> (u16, String) {
    let (start, headers) = head(stream).unwrap();
    assert!(headers.iter().any(|(name, _)| name == "x-request-id"), "{start}: {headers:?}");
    let status = start.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    (
        status.unwrap_or_else(|| panic!("{start:?} begins no answer")),
        String::from_utf8(body(stream, &headers).unwrap()).unwrap(),
    )
}

/// What an answer could carry that looks like one of actix-http, long and short.
fn lookalikes() -> Vec<String> {
    let long = [0, 6, 1000, (16 << 10) - 100, 16 << 10, 32 << 10, 200 << 10];
    let bodies = BARE.into_iter().flat_map(|bare| {
        let ends = long.map(|length| "x".repeat(length) + bare);
        let others = [format!("{}\r\n\r\n{bare}", "y".repeat(64)), bare.repeat(3), format!("0\r\n\r\n{bare}")];
        ends.into_iter().chain(others).chain([bare.repeat((256 << 10) / bare.len())])
    });
    bodies.collect()
}

#[test]
fn a_body_may_hold_what_looks_like_an_answer() {
    let home = Home::new();
    let bodies = lookalikes();
    let answers = bodies.clone();
    let receiver = Receiver::new(move |request| {
        let number: usize = request.path.trim_start_matches('/').parse().unwrap();
        Reply::Body(answers[number].clone())
    });
    let server = home.serve();
    let stats = request(&server, "GET", "/v1/stats", "");
    for (number, expected) in bodies.iter().enumerate() {
        let steps = json!([{"name": "a", "url": receiver.url(&format!("/{number}")), "final_response": true}]);
        server.client().put(&format!("/v1/chains/c{number}"), &steps).expect(201);
        let invoke = request(&server, "POST", &format!("/v1/chains/c{number}/invoke"), "{}");

        let mut kept = connect(&server);
        for _ in 0..2 {
            kept.get_mut().write_all(invoke.as_bytes()).unwrap();
            assert_eq!(answer(&mut kept), (200, expected.clone()));
            kept.get_mut().write_all(stats.as_bytes()).unwrap();
            let (status, shown) = answer(&mut kept);
            assert!(status == 200 && serde_json::from_str::<Value>(&shown).is_ok(), "{status} {shown}");
        }

        // All at once, and then what is no request.
        let mut piped = connect(&server);
        piped.get_mut().write_all(format!("{invoke}{stats}{invoke}").as_bytes()).unwrap();
        assert_eq!(answer(&mut piped), (200, expected.clone()));
        assert_eq!(answer(&mut piped).0, 200);
        assert_eq!(answer(&mut piped), (200, expected.clone()));
        piped.get_mut().write_all(b"no request\r\n\r\n").unwrap();
        let (status, problem) = answer(&mut piped);
        assert!(status == 400 && problem.contains("/problems/malformed-request"), "{status} {problem}");
        assert_eq!(piped.read(&mut [0; 1]).unwrap_or(0), 0, "the connection has ended");
    }
}

#[test]
fn a_carried_event_and_a_refusal_may_name_what_looks_like_an_answer() {
    let home = Home::new();
    let server = home.serve();
    let mut stream = connect(&server);
    for bare in BARE {
        let event = json!({"topic": "a.b", "id": format!("e{}", bare.len()), "data": {"text": bare, bare: bare}});
        for (method, path, body, expected) in [
            ("POST", "/v1/events".to_owned(), event.to_string(), 202),
            ("GET", format!("/v1/events/e{}", bare.len()), String::new(), 200),
            ("GET", "/v1/events?topic=a.b".to_owned(), String::new(), 200),
            ("POST", "/v1/events".to_owned(), json!({"topic": bare, "data": 1, bare: bare}).to_string(), 422),
            ("POST", "/v1/events".to_owned(), bare.to_owned(), 400),
            ("PUT", "/v1/chains/c".to_owned(), json!([{"name": bare, "url": bare}]).to_string(), 422),
        ] {
            stream.get_mut().write_all(request(&server, method, &path, &body).as_bytes()).unwrap();
            let (status, shown) = answer(&mut stream);
            assert_eq!(status, expected, "{method} {path}: {shown}");
            assert!(serde_json::from_str::<Value>(&shown).is_ok(), "{shown}");
        }
    }
}
