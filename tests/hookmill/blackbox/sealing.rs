//! The operator's key: secrets in the data directory, and a server that starts without it.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use serde_json::json;

use super::{
    process::hookmill,
    receiver::{Receiver, Reply},
    secrets::expect_absent,
    server::Home,
    settled,
};

const OLD: &str = "b2xkIGtleSBvbGQga2V5IG9sZCBrZXkgb2xkIGtleSE=";
const NEW: &str = "bmV3IGtleSBuZXcga2V5IG5ldyBrZXkgbmV3IGtleSE=";
const SECRETS: [&str; 3] = ["marker-of-a-token", "marker-of-a-header", "marker-of-a-step"];

/// Every byte of every file, but for the logs of the tests.
fn files(dir: &Path) -> Vec<u8> {
    fs::read_dir(dir).unwrap().flat_map(|file| fs::read(file.unwrap().path()).unwrap()).collect()
}

/// What a server says that does not start.
fn refused(home: &Home, environment: &[(&str, &str)], args: &[&str]) -> String {
    let data = home.data();
    let mut all = vec!["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap()];
    all.extend(args);
    let output = hookmill(&all).envs(environment.iter().copied()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    expect_absent("a refusal", &[&output.stdout[..], &output.stderr].concat(), &[OLD, NEW]);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_server_that_is_given_a_key_seals_what_it_has_and_needs_it_from_then_on() {
    let home = Home::new();
    let receiver = Receiver::new(|_| Reply::Status(200));
    let server = home.serve();
    let mut client = server.client();
    let auth = json!({"type": "bearer", "token": SECRETS[0]});
    let body = json!({"id": "a", "url": receiver.url("/a"), "auth": auth, "headers": {"x-key": SECRETS[1]}});
    client.post("/v1/endpoints", &body).expect(201);
    let step = json!({"name": "s", "url": receiver.url("/s"), "async": true,
        "auth": {"type": "bearer", "token": SECRETS[2]}});
    client.put("/v1/chains/c", &json!({"steps": [step]})).expect(201);
    server.kill();
    let warned = fs::read_to_string(home.path().join("server.log")).unwrap();
    assert_eq!(warned.matches("stored in plain text").count(), 1, "{warned}");
    let plain = files(&home.data());
    assert!(plain.windows(SECRETS[0].len()).any(|part| part == SECRETS[0].as_bytes()), "this test finds what is there");

    let key = home.path().join("key");
    fs::write(&key, OLD).unwrap();
    let server = home.serve_with(&["--allow-loopback", "--secret-key-file", key.to_str().unwrap()]);
    expect_absent("the data directory", &files(&home.data()), &SECRETS);
    let mut client = server.client();
    client.post("/v1/events", &json!({"topic": "t", "data": 1})).expect(202);
    settled(&mut client);
    assert_eq!(receiver.seen()[0].header("authorization"), format!("Bearer {}", SECRETS[0]));
    assert_eq!(receiver.seen()[0].header("x-key"), SECRETS[1]);
    client.call("PATCH", "/v1/endpoints/a", Some(&json!({"timeout": "3s"}))).expect(200);
    server.kill();
    expect_absent("the data directory", &files(&home.data()), &SECRETS);

    let id = "is sealed with";
    for said in [refused(&home, &[], &[]), refused(&home, &[("HOOKMILL_SECRET_KEY", NEW)], &[])] {
        assert!(said.contains("are sealed with the key ") && said.contains("Nothing was changed"), "{id}: {said}");
    }
    let both = format!("{NEW}\n{OLD}\n");
    let server = home.serve_in(&[("HOOKMILL_SECRET_KEY", &both)], &["--allow-loopback"]);
    server.kill();
    let server = home.serve_in(&[("HOOKMILL_SECRET_KEY", NEW)], &["--allow-loopback"]);
    let mut client = server.client();
    client.post("/v1/chains/c/invoke", &json!({"n": 1}));
    client.post("/v1/events", &json!({"topic": "t", "data": 2})).expect(202);
    settled(&mut client);
    let seen = receiver.seen();
    let step = seen.iter().find(|request| request.path == "/s").unwrap();
    assert_eq!(step.header("authorization"), format!("Bearer {}", SECRETS[2]));
    expect_absent("the data directory", &files(&home.data()), &SECRETS);
}

#[test]
fn a_key_in_the_data_directory_is_refused() {
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    fs::write(home.data().join("key"), OLD).unwrap();
    symlink(home.data().join("key"), home.path().join("link")).unwrap();
    fs::write(home.path().join("bad"), format!("{}x", &OLD[1..])).unwrap();
    fs::write(home.path().join("good"), OLD).unwrap();
    for name in ["data/key", "link"] {
        let path = home.path().join(name);
        let said = refused(&home, &[], &["--secret-key-file", path.to_str().unwrap()]);
        assert!(said.contains("lies in the data directory"), "{said}");
        let config = home.path().join("hookmill.toml");
        fs::write(&config, format!("secret_key_file = {:?}\n", path.to_str().unwrap())).unwrap();
        let said = refused(&home, &[], &["--config", config.to_str().unwrap()]);
        assert!(said.contains("#/secret_key_file") && said.contains("lies in the data directory"), "{said}");
    }
    let path = |name: &str| home.path().join(name).to_str().unwrap().to_owned();
    let said = refused(&home, &[], &["--secret-key-file", &path("bad")]);
    assert!(said.contains("line 1 must be 32 bytes"), "{said}");
    let said = refused(&home, &[("HOOKMILL_SECRET_KEY", NEW)], &["--secret-key-file", &path("good")]);
    assert!(said.contains("give one of them"), "{said}");
    assert!(!home.data().join("hookmill.db").exists(), "nothing was made");
}

#[test]
fn a_key_that_others_may_read_is_warned_of() {
    for (mode, warnings) in [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1)] {
        let home = Home::new();
        let key = home.path().join("key");
        fs::write(&key, OLD).unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
        let mut server = home.serve_with(&["--secret-key-file", key.to_str().unwrap()]);
        server.process().terminate();
        assert!(server.process().ended().success());
        let log = server.process().log();
        assert_eq!(log.matches("store.key_readable").count(), warnings, "{mode:o}: {log}");
        assert_eq!(log.matches(key.to_str().unwrap()).count(), warnings, "{mode:o}: {log}");
    }
}
