//! Who reads what the server says: nobody, too slowly, or no longer. The server goes on.

use std::{
    io::{Read, pipe},
    thread,
};

use serde_json::{Value, json};

use super::{
    PATIENCE,
    http::Client,
    number,
    process::hookmill,
    raw::{exchange, statuses},
    receiver::{Receiver, Reply},
    server::{Home, Server, endpoint},
    settled, sums, until,
};

/// Far more lines than a pipe holds, which are 64 KiB.
const DEAD: usize = 1000;

fn receiver() -> Receiver {
    Receiver::new(|request| Reply::Status(if request.path == "/dead" { 500 } else { 200 }))
}

/// An endpoint that gets all events, and one whose deliveries are dead letters at once, each with a line in the log.
fn endpoints(client: &mut Client, receiver: &Receiver) {
    endpoint(client, "good", &receiver.url("/good"), json!({}));
    let settings = json!({"retry": {"delays": []}, "breaker": {"failures": 10_000}});
    endpoint(client, "dead", &receiver.url("/dead"), settings);
}

fn publish(client: &mut Client, count: usize) -> Value {
    let events = (0..count).map(|n| json!({"topic": "a.b", "data": n}));
    client.post("/v1/events", &events.collect()).expect(202);
    settled(client)
}

/// Calls that are each told in the log are answered as ever.
fn calls(server: &Server, client: &mut Client) {
    for _ in 0..30 {
        let mut stranger = Client::new(&server.addr, Some("hmk_wrong"));
        assert!([401, 429].contains(&stranger.call("GET", "/v1/stats", None).status));
        let refused = exchange(&server.addr, b"GET / HTTP/1.1\r\nhost: elsewhere.example\r\nconnection: close\r\n\r\n");
        assert_eq!(statuses(&refused), [421]);
        client.post("/v1/tokens", &json!({"scopes": ["read"]})).expect(201);
        assert_eq!(client.call("GET", "/healthz", None).status, 200);
    }
}

#[test]
fn a_server_goes_on_when_the_reader_of_its_log_has_gone() {
    let (receiver, home) = (receiver(), Home::new());
    let (reader, stderr) = pipe().unwrap();
    let mut server = home.serve_logging_to(stderr);
    let mut client = server.client();
    drop(reader);
    endpoints(&mut client, &receiver);
    calls(&server, &mut client);
    let stats = publish(&mut client, 20);
    let ends = ["delivered", "dead_lettered"].map(|end| number(&stats, &format!("/deliveries/{end}")));
    assert_eq!(ends, [20, 20], "{stats}");
    let metrics = client.call("GET", "/metrics", None).body;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(metrics.contains("hookmill_actor_restarts_total{actor=\"delivery\"} 0"), "{metrics}");
    server.process().terminate();
    assert!(server.process().ended().success());
}

#[test]
fn a_server_goes_on_when_nobody_reads_its_log_and_every_line_is_there_for_whoever_does() {
    let (receiver, home) = (receiver(), Home::new());
    let (mut reader, stderr) = pipe().unwrap();
    let mut server = home.serve_logging_to(stderr);
    let mut client = server.client();
    endpoints(&mut client, &receiver);
    let stats = publish(&mut client, DEAD);
    assert_eq!(number(&stats, "/deliveries/dead_lettered"), DEAD as u64, "{stats}");
    calls(&server, &mut client);
    server.process().terminate();
    let reading = thread::spawn(move || {
        let mut log = String::new();
        reader.read_to_string(&mut log).unwrap();
        log
    });
    assert!(server.process().ended().success());
    let log = reading.join().unwrap();
    assert_eq!(log.matches("delivery.dead_lettered").count(), DEAD);
    assert!(log.ends_with('\n') && log.contains("event=\"server.stopped\""), "{log}");
}

#[test]
fn a_reader_who_has_stopped_holds_up_no_shutdown() {
    let (receiver, home) = (receiver(), Home::new());
    let (reader, stderr) = pipe().unwrap();
    let mut server = home.serve_logging_to(stderr);
    let mut client = server.client();
    endpoints(&mut client, &receiver);
    publish(&mut client, DEAD);
    server.process().terminate();
    assert!(server.process().ended().success());
    drop(reader);
}

#[test]
fn an_error_that_nobody_reads_is_still_told_by_the_exit_code() {
    let (reader, stderr) = pipe().unwrap();
    drop(reader);
    let mut command = hookmill(&["serve", "--listen", "192.0.2.1:1"]);
    let status = command.current_dir(Home::new().path()).stderr(stderr).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_server_whose_standard_output_nobody_reads_serves() {
    let home = Home::new();
    let (reader, stdout) = pipe().unwrap();
    drop(reader);
    let data = home.data();
    let mut command = hookmill(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()]);
    let log = std::fs::File::create(home.log()).unwrap();
    let mut child = command.stdout(stdout).stderr(log).spawn().unwrap();
    let addr = until("the server is ready", PATIENCE, || {
        assert!(child.try_wait().unwrap().is_none(), "{}", std::fs::read_to_string(home.log()).unwrap());
        let log = std::fs::read_to_string(home.log()).unwrap();
        Some(log.split_once("url=\"http://")?.1.split_once('"')?.0.to_owned())
    });
    until("it serves", PATIENCE, || {
        (Client::new(&addr, None).call("GET", "/readyz", None).status == 200).then_some(())
    });
    assert!(child.try_wait().unwrap().is_none());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_command_whose_output_nobody_reads_does_its_work() {
    let home = Home::new();
    let server = home.serve();
    let (reader, stdout) = pipe().unwrap();
    drop(reader);
    let mut command = hookmill(&["publish", "a.b", "--url", &server.url()]);
    command.env("HOOKMILL_TOKEN", &server.token).stdout(stdout);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(sums(&mut server.client())["accepted"], 1);
}

#[test]
fn strangers_get_few_and_short_lines_whatever_host_or_path_they_name() {
    let home = Home::new();
    let mut server = home.serve();
    let long = "h".repeat(50_000);
    for n in 0..30 {
        let path = if n == 0 { "" } else { "x" };
        let request = format!("GET /v1/{path}{long} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        exchange(&server.addr, request.as_bytes());
        let request = format!("GET / HTTP/1.1\r\nhost: {long}\r\nconnection: close\r\n\r\n");
        assert_eq!(statuses(&exchange(&server.addr, request.as_bytes())), [421]);
    }
    server.process().terminate();
    assert!(server.process().ended().success());
    let log = server.process().log();
    assert_eq!([log.matches("host.denied").count(), log.matches("auth.denied").count()], [20, 20]);
    let longest = log.lines().map(str::len).max().unwrap();
    assert!(longest < 1000, "{longest}");
}
