//! What the server may reach, as its operator says on the command line, in the environment and in the file.

use serde_json::json;

use super::{
    PATIENCE,
    process::hookmill,
    receiver::{Receiver, Reply},
    server::{Home, endpoint},
    settled, until,
};

#[test]
fn what_the_operator_allows_is_reached_and_nothing_else_and_never_the_server_itself() {
    let home = Home::new();
    let receiver = Receiver::new(|_| Reply::Status(200));
    let port = receiver.url("/").rsplit_once(':').unwrap().1.trim_end_matches('/').to_owned();
    let server = home.serve_with(&["--guard-allow", &format!("127.0.0.1/32:{port},10.9.0.0/16:443")]);
    let mut client = server.client();
    endpoint(&mut client, "allowed", &receiver.url("/"), json!({}));
    for url in [server.url(), "http://127.0.0.1:9/".to_owned(), "http://10.9.0.1/".to_owned()] {
        let refused = client.post("/v1/endpoints", &json!({"url": url})).expect(422);
        assert_eq!(refused["errors"][0]["pointer"], json!("#/url"), "{refused}");
    }
    client.post("/v1/events", &json!({"topic": "a.b", "data": 1})).expect(202);
    settled(&mut client);
    assert_eq!(receiver.count(), 1);
}

#[test]
fn an_endpoint_of_the_file_that_points_to_the_server_is_never_attempted() {
    let home = Home::new();
    let file = home.path().join("own.toml");
    let allow = "guard_allow = [\"127.0.0.0/8:*\"]\n";
    std::fs::write(&file, allow).unwrap();
    let mut server = home.serve_with(&["--config", file.to_str().unwrap()]);
    let own = format!("{allow}[[endpoints]]\nid = \"own\"\nurl = \"{}/v1/events\"\n", server.url());
    std::fs::write(&file, own).unwrap();
    server.process().hang_up();
    let mut client = server.client();
    until("the endpoint is there", PATIENCE, || {
        (client.call("GET", "/v1/endpoints/own", None).status == 200).then_some(())
    });
    client.post("/v1/events", &json!({"topic": "a.b", "data": 1})).expect(202);
    let attempts = until("the attempt is blocked", PATIENCE, || {
        let attempts = client.get("/v1/endpoints/own/attempts");
        attempts["items"].as_array().is_some_and(|items| !items.is_empty()).then_some(attempts)
    });
    assert!(attempts.to_string().contains("Hookmill itself listens there"), "{attempts}");
}

#[test]
fn flags_stand_over_the_environment_and_that_over_the_file() {
    let home = Home::new();
    let file = home.path().join("a.toml");
    std::fs::write(&file, "guard_allow = [\"10.1.0.0/16:443\"]\nhttps_only = true\n").unwrap();
    let shown = |args: &[&str], env: &[(&str, &str)]| {
        let mut all = vec!["config", "show", "--json", "--config", file.to_str().unwrap()];
        all.extend(args);
        let output = hookmill(&all).envs(env.iter().copied()).output().unwrap();
        let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        json!([shown["guard_allow"], shown["https_only"]])
    };
    assert_eq!(shown(&[], &[]), json!([["10.1.0.0/16:443"], true]));
    let environment = [("HOOKMILL_GUARD_ALLOW", "10.2.0.0/16:*,[fd00::]/8:1-2"), ("HOOKMILL_HTTPS_ONLY", "false")];
    assert_eq!(shown(&[], &environment), json!([["10.2.0.0/16:*", "[fd00::]/8:1-2"], false]));
    let flags = ["--guard-allow", "10.3.0.0/16:80", "--https-only"];
    assert_eq!(shown(&flags, &environment), json!([["10.3.0.0/16:80"], true]));
    let wrong = hookmill(&["config", "show", "--guard-allow", "10.3.0.1/16:80"]).output().unwrap();
    assert!(!wrong.status.success() && String::from_utf8_lossy(&wrong.stderr).contains("10.3.0.0"));
}

#[test]
fn a_word_that_is_neither_yes_nor_no_is_refused_by_the_name_of_its_variable() {
    let home = Home::new();
    let show = |flags: &[&str], env: &[(&str, &str)]| {
        let mut all = vec!["config", "show", "--json"];
        all.extend(flags);
        hookmill(&all).current_dir(home.path()).envs(env.iter().copied()).output().unwrap()
    };
    let [loopback, https] = [("HOOKMILL_ALLOW_LOOPBACK", "--allow-loopback"), ("HOOKMILL_HTTPS_ONLY", "--https-only")];
    for (variable, flag) in [loopback, https] {
        for word in ["maybe", "disabled", "never", " false", "\"false\"", "", "2", "\u{1b}[2J"] {
            let refused = show(&[], &[(variable, word)]);
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(2), "{variable}={word:?}: {refused:?}");
            assert!(said.contains(variable) && said.contains(flag) && !said.contains('\u{1b}'), "{said}");
        }
        assert_eq!(show(&[&format!("{flag}=maybe")], &[]).status.code(), Some(2));
    }
    for (word, meant) in [("false", false), ("No", false), ("0", false), ("off", false), ("TRUE", true), ("1", true)] {
        let shown = show(&[], &[(loopback.0, word), (https.0, word)]);
        let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).unwrap();
        assert_eq!([&shown["allow_loopback"], &shown["https_only"]], [&json!(meant), &json!(meant)], "{word}");
    }
}
