//! A configuration file: checked, served, and followed.

use std::{fs, path::PathBuf, process::Output};

use serde_json::json;

use super::{
    PATIENCE,
    process::hookmill,
    receiver::{Receiver, Reply},
    server::{Home, Server},
    settled, until,
};

/// The file of one server.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(home: &Home, name: &str, text: &str) -> Self {
        let file = Self(home.path().join(name));
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }

    fn serve(&self, home: &Home) -> Server {
        home.serve_with(&["--config", self.path()])
    }
}

fn endpoint(id: &str, url: &str, more: &str) -> String {
    format!("[[endpoints]]\nid = \"{id}\"\nurl = \"{url}\"\nsigning.type = \"none\"\n{more}\n")
}

fn run(args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = hookmill(args).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

#[test]
fn check_names_every_mistake_with_its_place() {
    let home = Home::new();
    let text = "drains = \"5s\"\n[[endpoints]]\nid = \"a\"\nurl = \"ftp://x\"\n[endpoints.retry]\nmax_age = \"soon\"\n";
    let file = ConfigFile::new(&home, "wrong.toml", text);
    let (code, said) = run(&["config", "check", "--config", file.path()]);
    assert_eq!(code, Some(1), "{said}");
    for part in
        ["#/drains: is not a known setting; did you mean `drain`?", "#/endpoints/0/url", "#/endpoints/0/retry/max_age"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    let (code, served) = run(&["serve", "--config", file.path(), "--data-dir", home.data().to_str().unwrap()]);
    assert!(code == Some(1) && served.contains("#/endpoints/0/url"), "{served}");
    assert!(!home.data().exists(), "a file with mistakes starts nothing");

    file.write("drain = \"5s\"\nlisten = = 1\n");
    let (code, said) = run(&["config", "check", "--config", file.path()]);
    assert!(code == Some(1) && said.contains("  2:"), "{said}");
    assert_eq!(run(&["config", "check", "--config", "/nowhere.toml"]).0, Some(1));

    let yaml = ConfigFile::new(&home, "right.yaml", "drain: 5s\nendpoints:\n  - {id: a, url: \"https://a.example\"}\n");
    let (code, said) = run(&["config", "check", "--config", yaml.path()]);
    assert!(code == Some(0) && said.contains("no mistakes, endpoints: 1"), "{said}");
}

#[test]
fn show_prints_what_is_in_force_without_secrets() {
    let home = Home::new();
    let text = "drain = \"5s\"\ndata_dir = \"from-the-file\"\nchain_bytes = 5\nmax_endpoints_per_tenant = 7\n[retention]\nevents = \"2d\"\n"
        .to_owned()
        + &endpoint("a", "https://a.example", "auth = { type = \"bearer\", token = \"hidden\" }");
    let file = ConfigFile::new(&home, "a.toml", &text);
    let mut command = hookmill(&["config", "show", "--json", "--config", file.path(), "--drain", "3s"]);
    command.env("HOOKMILL_DRAIN", "4s").env("HOOKMILL_DATA_DIR", "from-the-environment");
    let output = command.env("HOOKMILL_RETENTION_OUTCOMES", "72h").env("HOOKMILL_CHAIN_BYTES", "6").output().unwrap();
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let top = [&shown["drain"], &shown["data_dir"], &shown["listen"], &shown["allow_loopback"]];
    assert_eq!(json!(top), json!(["3s", "from-the-environment", "127.0.0.1:8700", false]));
    let kept = [&shown["retention"], &shown["chain_bytes"], &shown["max_endpoints_per_tenant"]];
    assert_eq!(json!(kept), json!([{"events": "2d", "outcomes": "3d"}, 6, 7]));
    let endpoint = &shown["endpoints"][0];
    assert_eq!(
        json!([endpoint["timeout"], endpoint["auth"]["token"], endpoint["guard"]]),
        json!(["15s", "***", "private"])
    );
    let (code, text) = run(&["config", "show", "--config", file.path()]);
    assert!(code == Some(0) && text.contains("drain = \"5s\"") && !text.contains("hidden"), "{text}");
}

#[test]
fn outcomes_that_are_forgotten_before_their_events_start_nothing() {
    let home = Home::new();
    let file = ConfigFile::new(&home, "a.toml", "retention = { events = \"60d\" }\n");
    let place = "#/retention/outcomes: must not be shorter than `events`, 60d";
    let (code, said) = run(&["config", "check", "--config", file.path()]);
    assert!(code == Some(1) && said.contains(place), "{said}");
    // Right by itself, and wrong with what is written over it.
    file.write("retention = { events = \"30d\" }\n");
    assert_eq!(run(&["config", "check", "--config", file.path()]).0, Some(0));
    let data = home.data();
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap(), "--config", file.path()];
    let (code, said) = run(&[&serve[..], &["--retention-events", "60d"]].concat());
    assert!(code == Some(1) && said.contains(place), "{said}");
}

#[test]
fn the_api_can_pause_what_the_file_owns_and_nothing_else() {
    let home = Home::new();
    let receiver = Receiver::new(|_| Reply::Status(200));
    let rule = "[debounce_rules.alarms]\ntopics = [\"alarm.*\"]\nwindow = \"1m\"\n";
    let file = ConfigFile::new(&home, "a.toml", &(endpoint("a", &receiver.url("/"), "") + rule));
    let server = file.serve(&home);
    let mut client = server.client();
    let shown = client.get("/v1/endpoints/a");
    assert_eq!(json!([shown["managed_by"], shown["version"]]), json!(["file", 1]));
    assert_eq!(client.get("/v1/debounce-rules/alarms")["managed_by"], json!("file"));

    let body = json!({"topics": ["*"], "window": "2m"});
    client.call("PUT", "/v1/debounce-rules/alarms", Some(&body)).expect(409);
    client.call("DELETE", "/v1/debounce-rules/alarms", None).expect(409);
    client.call("DELETE", "/v1/endpoints/a", None).expect(409);
    for change in [json!({"timeout": "1s"}), json!({"url": "https://b.example"}), json!({"state": "disabled"})] {
        client.call("PATCH", "/v1/endpoints/a", Some(&change)).expect(409);
    }
    client.call("PATCH", "/v1/endpoints/a", Some(&json!({"state": "paused"}))).expect(200);

    // A restart updates, never doubles; a state that the file does not name stays.
    server.kill();
    file.write(&endpoint("a", &receiver.url("/"), "timeout = \"2s\""));
    let server = file.serve(&home);
    let mut client = server.client();
    let shown = client.get("/v1/endpoints/a");
    assert_eq!(json!([shown["state"], shown["timeout"], shown["managed_by"]]), json!(["paused", "2s", "file"]));
    assert_eq!(client.get("/v1/endpoints")["items"].as_array().unwrap().len(), 1);
    // What the file has no more is the API's to change.
    assert_eq!(client.get("/v1/debounce-rules/alarms")["managed_by"], json!("api"));
    assert_eq!(client.call("DELETE", "/v1/debounce-rules/alarms", None).status, 204);
    client.call("PATCH", "/v1/endpoints/a", Some(&json!({"state": "active"}))).expect(200);
}

#[test]
fn sighup_follows_the_file_and_loses_no_event() {
    let home = Home::new();
    let (old, new) = (Receiver::new(|_| Reply::Status(200)), Receiver::new(|_| Reply::Status(200)));
    let file =
        ConfigFile::new(&home, "a.toml", &(endpoint("a", &old.url("/"), "") + &endpoint("b", &old.url("/"), "")));
    let mut server = file.serve(&home);
    let mut client = server.client();
    for n in 0..50 {
        client.post("/v1/events", &json!({"topic": "x.y", "id": format!("before-{n}"), "data": n})).expect(202);
    }
    let followed = endpoint("a", &new.url("/"), "") + &endpoint("c", &new.url("/"), "state = \"active\"");
    file.write(&("max_endpoints_per_tenant = 1\n".to_owned() + &followed));
    server.process().hang_up();
    until("the file is followed", PATIENCE, || {
        (client.get("/v1/endpoints/a")["url"] == json!(new.url("/"))).then_some(())
    });
    until("c is there", PATIENCE, || (client.call("GET", "/v1/endpoints/c", None).status == 200).then_some(()));
    let owners = ["a", "b", "c"].map(|id| client.get(&format!("/v1/endpoints/{id}"))["managed_by"].clone());
    assert_eq!(owners, [json!("file"), json!("api"), json!("file")]);
    for n in 0..50 {
        client.post("/v1/events", &json!({"topic": "x.y", "id": format!("after-{n}"), "data": n})).expect(202);
    }
    let stats = settled(&mut client);
    assert_eq!(stats["deliveries"]["delivered"], json!(50 * 2 + 50 * 3), "{stats}");

    until("all of it is followed", PATIENCE, || server.process().log().contains("config.reloaded").then_some(()));
    let of_acme = json!({"url": "https://example.org/", "tenant": "acme"});
    client.post("/v1/endpoints", &of_acme).expect(201);
    client.post("/v1/endpoints", &of_acme).expect(409);

    // A file with mistakes changes nothing, and each of them is logged.
    file.write(&(endpoint("a", "ftp://x", "") + "[[endpoints]]\nid = \"d\"\n"));
    server.process().hang_up();
    let log = until("the mistakes are logged", PATIENCE, || {
        Some(server.process().log()).filter(|log| log.contains("everything stays as it is"))
    });
    assert!(log.contains("#/endpoints/0/url") && log.contains("#/endpoints/1/url"), "{log}");
    assert_eq!(client.get("/v1/endpoints/a")["url"], json!(new.url("/")));
    client.call("GET", "/v1/endpoints/d", None).expect(404);
}

#[test]
fn check_names_files_that_would_be_rotated_over_one_another() {
    let home = Home::new();
    let one = |id: &str, keep: u32| {
        format!("[[endpoints]]\nid = \"{id}\"\nfile = \"/l/x\"\nrotate = {{max_bytes = 1000000, keep = {keep}}}\n")
    };
    let file = ConfigFile::new(&home, "files.toml", &(one("a", 3) + &one("b", 4)));
    let (code, said) = run(&["config", "check", "--config", file.path()]);
    assert!(code == Some(1) && said.contains("#/endpoints/1/file: is another endpoint's"), "{said}");
}
