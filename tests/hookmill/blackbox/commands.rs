//! The commands together: serve, listen, publish.

use std::{fs, net::TcpListener, process::Output};

use serde_json::{Value, json};

use super::{
    process::{Process, hookmill},
    receiver::{REFUSING, Receiver, Reply},
    server::{Home, Server},
    settled,
};

fn publish(server: &Server, home: &Home, args: &[&str]) -> Output {
    let (url, data) = (server.url(), home.data());
    let mut all = vec!["publish"];
    all.extend(args);
    all.extend(["--url", &url, "--data-dir", data.to_str().unwrap()]);
    hookmill(&all).output().unwrap()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn publish_and_listen_work_together() {
    let home = Home::new();
    let server = home.serve();
    let mut client = server.client();
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let listener =
        Process::start(&["listen", "--listen", "127.0.0.1:0", "--secret", secret], &home.path().join("listener.log"));
    let line = listener.line_with("listening on ");
    let url = line.strip_prefix("listening on ").unwrap();
    let body = json!({"id": "shop", "url": url, "topics": ["order.*"], "secret": secret});
    let made = client.post("/v1/endpoints", &body).expect(201);
    assert!(made.get("secret").is_none_or(|shown| *shown != json!(secret)), "a secret that was brought is not shown");

    let output = publish(&server, &home, &["order.paid", "--id", "first", "--data", r#"{"a":1.0}"#]);
    assert!(output.status.success() && printed(&output).contains("accepted first as number 1"), "{output:?}");
    let line = listener.line_with(" first ");
    assert!(line.contains(" verified -> 200 ") && line.contains(r#""data":{"a":1.0}"#), "{line}");

    let file = home.path().join("event.json");
    fs::write(&file, "[1.50]\n").unwrap();
    let output = publish(&server, &home, &["order.paid", "--data", &format!("@{}", file.display()), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["seq"], &answer["durable"]), (&json!(2), &json!(true)));
    assert!(listener.line_with(answer["id"].as_str().unwrap()).contains(r#""data":[1.50]"#));

    let output = publish(&server, &home, &["order.paid", "--id", "first", "--data", r#"{"a":1.0}"#]);
    assert!(output.status.success() && printed(&output).contains("published before"), "{output:?}");
    assert_eq!(settled(&mut client)["deliveries"]["delivered"], json!(2));
}

#[test]
fn publish_tells_by_its_exit_code_why_it_failed() {
    let home = Home::new();
    let server = home.serve();
    let fails = |code: i32, message: &str, args: &[&str]| {
        let output = publish(&server, &home, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
        assert!(printed(&output).contains(message), "{args:?}: {output:?}");
    };
    let wrong = home.path().join("wrong.token");
    fs::write(&wrong, "hmk_a-token-of-another-server\n").unwrap();
    fails(2, "--data is not JSON", &["order.paid", "--data", "{"]);
    fails(2, "--colour", &["order.paid", "--colour"]);
    fails(1, "#/topic", &["order..paid"]);
    fails(1, "/nowhere.json", &["order.paid", "--data", "@/nowhere.json"]);
    fails(4, "401", &["order.paid", "--token-file", wrong.to_str().unwrap()]);
    fails(4, "no token", &["order.paid", "--token-file", "/nowhere.token"]);
    fails(0, "accepted once", &["order.paid", "--id", "once", "--data", "1"]);
    fails(6, "once", &["order.paid", "--id", "once", "--data", "2"]);
    let (url, data) = (REFUSING, home.data());
    let output = hookmill(&["publish", "a.b", "--url", url, "--data-dir", data.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[test]
fn a_server_whose_port_is_taken_touches_nothing() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, data) = (taken.local_addr().unwrap().to_string(), home.data());
    let output = hookmill(&["serve", "--listen", &address, "--data-dir", data.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(printed(&output).contains(&format!("cannot listen on {address}")), "{output:?}");
    assert!(!data.exists(), "the pipeline was started");
}

#[test]
fn an_answer_that_is_not_of_hookmill_is_no_success() {
    let other = Receiver::new(|_| Reply::Typed("text/html", "<html>\u{9b}2J hello"));
    let url = other.url("");
    for command in [
        &["publish", "a.b"][..],
        &["publish", "a.b", "--json"],
        &["tokens", "list"],
        &["tokens", "add", "--scope", "read"],
        &["tokens", "rm", "tok_1"],
        &["dead-letters", "list"],
        &["dead-letters", "show", "dl_1"],
        &["dead-letters", "replay", "dl_1"],
        &["chains", "list"],
    ] {
        let output = hookmill(command).args(["--url", &url]).env("HOOKMILL_TOKEN", "t").output().unwrap();
        let said = printed(&output);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{command:?}: {output:?}");
        for part in ["200", "text/html", "<html>\\u{9b}2J hello"] {
            assert!(said.contains(part), "{command:?}: {said}");
        }
    }
}
