//! Files of JSON lines, written by a server that dies, and made through its API.

use std::{collections::BTreeSet, fs, path::Path, thread, time::Duration};

use serde_json::{Value, json};

use super::{
    PATIENCE,
    http::Client,
    number,
    process::hookmill,
    server::{Home, Server},
    settled, until,
};

/// A server whose API may make files below `logs`, and which writes everything to `logs/all.jsonl`.
fn serve(home: &Home) -> Server {
    let logs = home.path().join("logs");
    let _is_there = fs::create_dir(&logs);
    let (logs, file) = (logs.display(), home.path().join("a.toml"));
    let text = format!(
        "file_roots = [\"{logs}\"]\n[[endpoints]]\nid = \"all\"\nfile = \"{logs}/all.jsonl\"\nformat = \"envelope\"\nin_flight = 64\nretry.delays = [\"20ms\", \"20ms\"]\n"
    );
    fs::write(&file, text).unwrap();
    home.serve_with(&["--config", file.to_str().unwrap()])
}

/// Publishes ten events at once; their ids once they are acknowledged.
fn publish(client: &mut Client, round: u64) -> Option<Vec<String>> {
    let ids: Vec<_> = (0..10).map(|n| format!("e{round}-{n}")).collect();
    let events: Value =
        ids.iter().map(|id| json!({"topic": "a.b", "id": id, "data": {"text": "x".repeat(300)}})).collect();
    let answer = client.try_call("POST", "/v1/events", Some(&events)).ok()?;
    (answer.status == 202).then_some(ids)
}

#[test]
fn whatever_was_accepted_is_in_the_file_after_the_server_was_killed_again_and_again() {
    const KILLS: usize = 5;
    let home = Home::new();
    let (mut acknowledged, mut round) = (Vec::new(), 0);
    for life in 0..KILLS {
        let server = serve(&home);
        let mut client = server.client();
        let killer = thread::spawn(move || {
            // Each time at another moment of what goes on.
            thread::sleep(Duration::from_millis(150 + 170 * u64::try_from(life).unwrap()));
            server.kill();
        });
        while let Some(ids) = publish(&mut client, round) {
            acknowledged.extend(ids);
            round += 1;
        }
        round += 1;
        killer.join().unwrap();
    }
    let server = serve(&home);
    settled(&mut server.client());
    let text = fs::read_to_string(home.path().join("logs/all.jsonl")).unwrap();
    assert!(text.ends_with('\n'));
    let lines: Vec<_> = text.lines().map(serde_json::from_str::<Value>).collect();
    // A kill in the midst of a write can leave half a line, which then stands alone.
    let halves = lines.iter().filter(|line| line.is_err()).count();
    assert!(halves <= KILLS, "{halves} half lines");
    let whole = lines.iter().filter_map(|line| Some(line.as_ref().ok()?["id"].as_str().unwrap()));
    let written: BTreeSet<_> = whole.collect();
    assert!(acknowledged.len() > 50, "only {} were accepted", acknowledged.len());
    let missing: Vec<_> = acknowledged.iter().filter(|id| !written.contains(id.as_str())).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn lines(path: &Path) -> Vec<Value> {
    fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_api_makes_files_below_the_root_and_shows_what_became_of_them() {
    let home = Home::new();
    let server = serve(&home);
    let mut client = server.client();
    for (file, rule) in [("/etc/x", "relative"), ("../x", "plain parts"), ("a//b", "plain parts")] {
        let refused = client.post("/v1/endpoints", &json!({"id": "own", "file": file})).expect(422);
        assert_eq!(refused["errors"][0]["pointer"], json!("#/file"));
        assert!(refused["errors"][0]["detail"].as_str().unwrap().contains(rule), "{refused}");
    }
    let rotate = json!({"max_bytes": 1_000_000, "keep": 2});
    let body = json!({"id": "own", "file": "own.jsonl", "rotate": rotate, "retry": {"delays": ["20ms"]}});
    let made = client.post("/v1/endpoints", &body).expect(201);
    assert_eq!((&made["file"], &made["rotate"]), (&json!("own.jsonl"), &rotate));
    assert!(["secret", "url", "signing", "guard"].iter().all(|name| made.get(name).is_none()), "{made}");

    let event = client.post("/v1/events", &json!({"topic": "a.b", "data": {"amount": 7}})).expect(202);
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/deliveries/delivered"), 2);
    let own = home.path().join("logs/own.jsonl");
    assert!(fs::read_to_string(&own).unwrap().ends_with("\"data\":{\"amount\":7}}\n"));
    let attempts = client.get(&format!("/v1/events/{}/attempts", event["id"].as_str().unwrap()));
    assert_eq!((&attempts["items"][0]["outcome"], &attempts["items"][0]["status"]), (&json!("written"), &Value::Null));

    let tested = client.post("/v1/endpoints/own/test", &json!({})).expect(200);
    assert_eq!(json!([tested["outcome"], tested["status"], tested["error"]]), json!(["delivered", null, null]));
    assert_eq!(lines(&own)[1]["type"], json!("hookmill.test"));

    fs::remove_file(&own).unwrap();
    fs::create_dir(&own).unwrap();
    let tested = client.post("/v1/endpoints/own/test", &json!({})).expect(200);
    assert_eq!(json!([tested["outcome"], tested["status"]]), json!(["failed", null]));
    assert!(tested["error"].as_str().unwrap().starts_with("own.jsonl: is no regular file"), "{tested}");
    client.post("/v1/events", &json!({"topic": "a.b", "data": 1})).expect(202);
    let letter = until("a dead letter", PATIENCE, || client.get("/v1/dead-letters")["items"].get(0).cloned());
    assert_eq!((&letter["endpoint"], &letter["attempts"]), (&json!("own"), &json!(2)));
}

#[test]
fn without_a_file_root_the_api_makes_no_files() {
    let home = Home::new();
    let server = home.serve();
    let refused = server.client().post("/v1/endpoints", &json!({"id": "own", "file": "a.jsonl"})).expect(422);
    assert!(refused["errors"][0]["detail"].as_str().unwrap().contains("file_roots"), "{refused}");
}

#[test]
fn endpoints_keep_their_files_when_their_owner_and_the_roots_change() {
    let home = Home::new();
    let server = serve(&home);
    server.client().post("/v1/endpoints", &json!({"id": "own", "file": "own.jsonl"})).expect(201);
    server.kill();
    // The file is gone: what it had belongs to the callers of the API, and there is no root any more.
    let server = home.serve();
    let mut client = server.client();
    assert_eq!(client.get("/v1/endpoints/own")["file"], json!("own.jsonl"));
    let all = home.path().join("logs/all.jsonl");
    assert_eq!(client.get("/v1/endpoints/all")["file"], json!(all));
    let tested = client.post("/v1/endpoints/own/test", &json!({})).expect(200);
    assert_eq!(tested["outcome"], json!("failed"));
    client.post("/v1/endpoints/all/test", &json!({})).expect(200);
    assert_eq!(lines(&all).len(), 1);
}

#[test]
fn show_prints_files_and_roots_and_check_knows_them() {
    let home = Home::new();
    let file = home.path().join("a.toml");
    let endpoint = "[[endpoints]]\nid = \"a\"\nfile = \"/var/log/a.jsonl\"\nrotate = { max_bytes = 4096, keep = 2 }\n";
    fs::write(&file, format!("file_roots = [\"/var/log\", \"/srv\"]\n{endpoint}")).unwrap();
    let show = hookmill(&["config", "show", "--json", "--config", file.to_str().unwrap()]).output().unwrap();
    let shown: Value = serde_json::from_slice(&show.stdout).unwrap();
    assert_eq!(shown["file_roots"], json!(["/var/log", "/srv"]));
    let endpoint = &shown["endpoints"][0];
    let expected = json!(["/var/log/a.jsonl", {"max_bytes": 4096, "keep": 2}]);
    assert_eq!(json!([endpoint["file"], endpoint["rotate"]]), expected);
    fs::write(&file, "[[endpoints]]\nid = \"a\"\nfile = \"a.jsonl\"\nheaders = { x = \"1\" }\n").unwrap();
    let check = hookmill(&["config", "check", "--config", file.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned() + &String::from_utf8_lossy(&check.stderr);
    assert!(
        said.contains("#/endpoints/0/file: must be an absolute path") && said.contains("#/endpoints/0/headers"),
        "{said}"
    );
}
