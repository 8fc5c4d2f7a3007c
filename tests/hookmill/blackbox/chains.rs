//! Chains over real sockets: many at once, callers that hang up, asynchronous steps that survive a crash.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
};

use serde_json::{Value, json};

use super::{
    PATIENCE,
    process::hookmill,
    receiver::{Gate, Receiver, Reply},
    server::{Home, Server},
    settled, until,
};

fn put(server: &Server, event: &str, chain: &Value) {
    server.client().put(&format!("/v1/chains/{event}"), chain).expect(201);
}

fn invocations(server: &Server, event: &str) -> Value {
    server.client().get(&format!("/v1/chains/{event}"))["invocations"].clone()
}

#[test]
fn two_hundred_at_once_keep_their_deadlines_and_leave_nothing_behind() {
    let home = Home::new();
    let receiver = Receiver::new(|request| match request.path.as_str() {
        "/slow" => Reply::Never,
        "/fails" => Reply::Status(500),
        _ => Reply::Body(r#"{"price":1.50}"#.to_owned()),
    });
    let mut server = home.serve();
    let step = |name: &str, path: &str, is_final: bool| json!({"name": name, "url": receiver.url(path), "final_response": is_final, "timeout": "0s"});
    let kinds = ["fast", "slow", "fails", "late"];
    for kind in kinds {
        let second = if kind == "late" { "/slow" } else { "/fast" };
        let steps = json!([
            step("first", &format!("/{kind}"), false),
            step("second", second, true),
            {"name": "log", "url": receiver.url("/log"), "async": true, "use_data_from": "second"},
        ]);
        put(&server, kind, &json!({"deadline": "2s", "steps": steps}));
    }
    let answers: Vec<_> = thread::scope(|scope| {
        let invoke = |n: usize| {
            let (mut client, kind) = (server.client(), kinds[n % 4]);
            scope.spawn(move || {
                let answer = client.post(&format!("/v1/chains/{kind}/invoke"), &json!({"n": n}));
                (kind, answer)
            })
        };
        let running: Vec<_> = (0..200).map(invoke).collect();
        running.into_iter().map(|one| one.join().unwrap()).collect()
    });
    for (kind, answer) in &answers {
        if *kind == "fast" {
            assert_eq!(String::from_utf8_lossy(&answer.body), r#"{"price":1.50}"#);
            continue;
        }
        let problem = answer.expect(502);
        let (step, attempts, error) = match *kind {
            "slow" => ("first", 1, "deadline"),
            "fails" => ("first", 3, "answered 500"),
            _ => ("second", 1, "deadline"),
        };
        assert_eq!((&problem["step"], &problem["attempts"]), (&json!(step), &json!(attempts)), "{problem}");
        assert!(problem["last_error"].as_str().unwrap().contains(error), "{problem}");
    }
    for kind in kinds {
        let (finished, failed) = if kind == "fast" { (50, 0) } else { (0, 50) };
        let expected = json!({"in_progress": 0, "finished": finished, "failed": failed, "abandoned": 0});
        assert_eq!(invocations(&server, kind), expected, "{kind}");
    }
    let stats = settled(&mut server.client());
    assert_eq!((&stats["accepted"], &stats["deliveries"]["delivered"]), (&json!(50), &json!(50)), "{stats}");
    assert_eq!(receiver.seen().iter().filter(|request| request.path == "/log").count(), 50);
    server.process().terminate();
    assert!(server.process().ended().success());
}

#[test]
fn a_client_that_hangs_up_ends_the_chain_at_the_next_step() {
    let home = Home::new();
    let gate = Gate::default();
    let behind = gate.clone();
    let receiver = Receiver::new(move |request| match request.path.as_str() {
        "/a" => Reply::Behind(behind.clone()),
        _ => Reply::Status(200),
    });
    let server = home.serve();
    let steps = json!([
        {"name": "a", "url": receiver.url("/a")},
        {"name": "b", "url": receiver.url("/b"), "final_response": true},
        {"name": "c", "url": receiver.url("/c"), "async": true},
    ]);
    put(&server, "E", &steps);
    let mut stream = TcpStream::connect(&server.addr).unwrap();
    let head =
        format!("POST /v1/chains/E/invoke HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n", server.token);
    write!(stream, "{head}content-type: application/json\r\ncontent-length: 2\r\n\r\n{{}}").unwrap();
    until("the first step is made", PATIENCE, || (receiver.count() == 1).then_some(()));
    assert_eq!(invocations(&server, "E")["in_progress"], 1);
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0; 16]).unwrap(), 0, "the server has noticed, and goes too");
    gate.open();
    let counts =
        until("it has ended", PATIENCE, || Some(invocations(&server, "E")).filter(|it| it["in_progress"] == 0));
    assert_eq!(counts, json!({"in_progress": 0, "finished": 0, "failed": 0, "abandoned": 1}));
    assert_eq!(receiver.count(), 1, "nothing came after the first step");
}

#[test]
fn asynchronous_steps_survive_a_crash_and_the_file_is_the_heritages() {
    let home = Home::new();
    let gate = Gate::default();
    let behind = gate.clone();
    let receiver = Receiver::new(move |request| match request.path.as_str() {
        "/mail" => Reply::Behind(behind.clone()),
        _ => Reply::Body("{\"ok\":true}".to_owned()),
    });
    let file = home.path().join("heritage.yaml");
    let text = format!(
        "webhooks:\n  enabled: true\n  config:\n    Order Created:\n\
         \x20     - {{name: stock, url: \"{}\", authEnabled: true, authToken: t0ken, finalResponse: true}}\n\
         \x20     - {{name: mail, url: \"{}\", async: true, useDataFrom: stock, numRetries: 50}}\n",
        receiver.url("/stock"),
        receiver.url("/mail")
    );
    fs::write(&file, &text).unwrap();
    let path = file.to_str().unwrap();
    // Private addresses are the operator's right; it needs no --allow-loopback.
    let server = home.serve_with(&["--config", path]);
    let shown = server.client().get("/v1/chains/Order%20Created");
    assert_eq!((&shown["managed_by"], &shown["steps"][0]["auth"]["token"]), (&json!("file"), &json!("***")));
    let (url, data) = (server.url(), home.data());
    let run = |args: &[&str]| {
        let output = hookmill(args).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let connection = ["--url", &url, "--data-dir", data.to_str().unwrap()];
    let invoked =
        run(&[&["chains", "invoke", "Order Created", "--data", "{\"order\": 1.0}"], &connection[..]].concat());
    assert_eq!(invoked, (Some(0), "{\"ok\":true}\n".to_owned()));
    let listed = run(&[&["chains", "list"], &connection[..]].concat());
    assert_eq!(listed, (Some(0), "Order Created  file  stock > (mail)\n".to_owned()));
    assert_eq!(run(&[&["chains", "invoke", "Other"], &connection[..]].concat()).0, Some(5));
    until("the mail is on its way", PATIENCE, || (receiver.count() == 2).then_some(()));
    server.kill();
    gate.open();
    let mut server = home.serve_with(&["--config", path]);
    settled(&mut server.client());
    let mails: Vec<_> = receiver.seen().into_iter().filter(|request| request.path == "/mail").collect();
    assert_eq!(mails.len(), 2, "once more after the crash");
    assert!(mails.iter().all(|mail| mail.body == b"{\"ok\":true}" && mail.id() == mails[0].id()));
    let stock = receiver.seen().into_iter().find(|request| request.path == "/stock").unwrap();
    assert_eq!(stock.header("authorization"), "Bearer t0ken");
    assert_eq!((stock.header("content-type"), stock.body.as_slice()), ("application/json", &b"{\"order\": 1.0}"[..]));

    // Disabled in the file, it is there no more.
    fs::write(&file, text.replace("enabled: true", "enabled: false")).unwrap();
    server.process().hang_up();
    let gone = || (server.client().call("GET", "/v1/chains/Order%20Created", None).status == 404).then_some(());
    until("the file is followed", PATIENCE, gone);

    fs::write(&file, text.replace("finalResponse", "finalResponce")).unwrap();
    let (code, said) = run(&["chains", "check", path]);
    assert!(code == Some(1) && said.contains("#/webhooks/config/Order Created/0/finalResponce"), "{said}");
    let (code, said) = run(&["config", "check", "--config", path]);
    assert!(code == Some(1) && said.contains("must have one step with `finalResponse`: it has 0"), "{said}");
    fs::write(&file, &text).unwrap();
    assert_eq!(run(&["chains", "check", path]).1, format!("{path}: no mistakes, chains: 1\n"));
}

#[test]
fn an_answer_that_is_no_json_reaches_an_asynchronous_step_as_it_was() {
    let home = Home::new();
    let receiver = Receiver::new(|request| match request.path.as_str() {
        "/report" => Reply::Typed("text/csv; header=absent", "a;b\r\n\"1\";2"),
        _ => Reply::Status(200),
    });
    let server = home.serve();
    let steps = json!([
        {"name": "report", "url": receiver.url("/report"), "final_response": true},
        {"name": "mail", "url": receiver.url("/mail"), "async": true, "use_data_from": "report"},
    ]);
    put(&server, "E", &steps);
    assert_eq!(server.client().post("/v1/chains/E/invoke", &json!(1)).status, 200);
    settled(&mut server.client());
    let seen = receiver.seen();
    let mail = seen.iter().find(|request| request.path == "/mail").unwrap();
    assert_eq!(mail.header("content-type"), "text/csv; header=absent");
    assert_eq!(String::from_utf8_lossy(&mail.body), "a;b\r\n\"1\";2");
    let events = server.client().get("/v1/events?topic=hookmill.chain.E.mail");
    assert!(events["items"][0]["data"].is_string(), "the store holds JSON: {events}");
}
