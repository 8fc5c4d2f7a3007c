//! Tokens from the command line, and that they are still there after a crash.

use std::{fs, process::Output};

use serde_json::{Value, json};

use super::{
    process::hookmill,
    server::{Home, Server},
};

fn run(server: &Server, token_file: &std::path::Path, args: &[&str]) -> Output {
    let url = server.url();
    let mut all = args.to_vec();
    all.extend(["--url", &url, "--token-file", token_file.to_str().unwrap()]);
    hookmill(&all).output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn tokens_are_made_used_listed_and_deleted() {
    let home = Home::new();
    let server = home.serve();
    let admin = home.data().join("admin.token");
    let text =
        out(&run(&server, &admin, &["tokens", "add", "--scope", "publish,read", "--tenant", "acme", "--name", "ci"]));
    assert!(text.starts_with("hmk_") && text.lines().count() == 1, "{text}");
    let own = home.path().join("own.token");
    fs::write(&own, &text).unwrap();
    let published = out(&run(&server, &own, &["publish", "a.b", "--id", "one"]));
    assert_eq!(published, "accepted one", "a tenant is told no number");

    let list: Value = serde_json::from_str(&out(&run(&server, &admin, &["tokens", "list", "--json"]))).unwrap();
    let token = &list[0];
    assert_eq!(
        (&token["name"], &token["scopes"], &token["tenant"]),
        (&json!("ci"), &json!(["publish", "read"]), &json!("acme"))
    );
    let shown = out(&run(&server, &admin, &["tokens", "list"]));
    assert!(shown.starts_with("ID") && shown.contains("publish,read") && !shown.contains(&text), "{shown}");

    assert_eq!(run(&server, &own, &["tokens", "list"]).status.code(), Some(4));
    assert_eq!(run(&server, &own, &["chains", "list"]).status.code(), Some(4));
    assert_eq!(run(&server, &admin, &["tokens", "add"]).status.code(), Some(2));
    assert_eq!(run(&server, &admin, &["tokens", "add", "--scope", "write"]).status.code(), Some(1));
    let id = token["id"].as_str().unwrap();
    assert_eq!(out(&run(&server, &admin, &["tokens", "rm", id])), format!("{id} is deleted"));
    assert_eq!(run(&server, &admin, &["tokens", "rm", id]).status.code(), Some(5));
    assert_eq!(run(&server, &own, &["publish", "a.b"]).status.code(), Some(4));
}
