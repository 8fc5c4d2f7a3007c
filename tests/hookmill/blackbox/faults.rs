//! A disk, a file and an operating system that fail: a clear refusal, a way out, and every event accounted for.

use std::{
    fs,
    net::TcpStream,
    process::{Command, Output},
    thread,
};

use serde_json::{Value, json};

use super::{
    PATIENCE,
    http::Client,
    list, number,
    process::hookmill,
    receiver::{Receiver, Reply},
    server::{Home, Server, endpoint},
    settled, sums, until,
};

fn store(home: &Home, args: &[&str]) -> Output {
    let data = home.data();
    let mut all = vec!["store"];
    all.extend(args);
    all.extend(["--data-dir", data.to_str().unwrap()]);
    hookmill(&all).output().unwrap()
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stats(home: &Home) -> Value {
    serde_json::from_str(&done(&store(home, &["stats", "--json"]))).unwrap()
}

fn publish(client: &mut Client, count: usize) {
    let events = (0..count).map(|n| json!({"topic": "a.b", "data": {"n": n}}));
    client.post("/v1/events", &events.collect()).expect(202);
}

/// Overwrites the middle half of the database, beyond its first pages: the rows of events lie all over it.
fn damage(home: &Home) {
    let path = home.data().join("hookmill.db");
    let mut bytes = fs::read(&path).unwrap();
    let quarter = bytes.len() / 4;
    bytes[quarter..3 * quarter].fill(0xa5);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_backup_of_a_busy_server_is_whole_and_a_restore_delivers_what_it_waits_for() {
    let receiver = Receiver::new(|_| Reply::Status(200));
    let (home, other) = (Home::new(), Home::new());
    let file = home.path().join("backup");
    let server = home.serve();
    let mut client = server.client();
    endpoint(&mut client, "open", &receiver.url("/open"), json!({}));
    endpoint(&mut client, "held", &receiver.url("/held"), json!({}));
    client.post("/v1/endpoints/held/pause", &json!({})).expect(200);
    publish(&mut client, 100);
    thread::scope(|scope| {
        let mut client = server.client();
        let busy = scope.spawn(move || (0..20).for_each(|_| publish(&mut client, 50)));
        done(&store(&home, &["check"]));
        done(&store(&home, &["backup", file.to_str().unwrap()]));
        let checked = done(&store(&home, &["check", file.to_str().unwrap()]));
        assert!(checked.contains(file.to_str().unwrap()), "{checked}");
        busy.join().unwrap();
    });
    done(&store(&home, &["check"]));
    let refused = store(&home, &["restore", "--replace", file.to_str().unwrap()]);
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stderr).contains("another process"));
    server.kill();

    done(&store(&other, &["restore", file.to_str().unwrap()]));
    let (before, after) = (stats(&home), stats(&other));
    assert_ne!(before["epoch"], after["epoch"]);
    let kept = number(&after, "/totals/accepted");
    assert!((100..=1100).contains(&kept), "{after}");
    let server = other.serve();
    let mut client = server.client();
    assert_eq!(number(&sums(&mut client), "/accepted"), kept);
    client.post("/v1/endpoints/held/resume", &json!({})).expect(200);
    settled(&mut client);
    assert_eq!(receiver.taken("/held").len() as u64, kept);
}

#[test]
fn a_damaged_store_is_refused_by_name_and_there_is_a_way_out() {
    let receiver = Receiver::new(|_| Reply::Status(200));
    let (home, other) = (Home::new(), Home::new());
    let (file, lines) = (home.path().join("backup"), home.path().join("events.ndjson"));
    let server = home.serve();
    let mut client = server.client();
    endpoint(&mut client, "crm", &receiver.url("/"), json!({}));
    client.post("/v1/endpoints/crm/pause", &json!({})).expect(200);
    for _ in 0..10 {
        publish(&mut client, 500);
    }
    done(&store(&home, &["backup", file.to_str().unwrap()]));
    let mut server = server;
    server.process().terminate();
    assert!(server.process().ended().success());
    damage(&home);

    let checked = store(&home, &["check"]);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stderr).contains("is damaged; `hookmill store export`"), "{checked:?}");
    // What can still be read is published to another server.
    let _some_are_lost = store(&home, &["export", "--to", lines.to_str().unwrap()]);
    let read = fs::read(&lines).unwrap();
    let count = read.iter().filter(|byte| **byte == b'\n').count();
    assert!((1..5000).contains(&count), "{count}");
    let server = other.serve();
    let mut client = server.client();
    let ndjson = [("content-type", "application/x-ndjson")];
    let answer = client.send("POST", "/v1/events", &ndjson, &read).unwrap().expect(202);
    assert_eq!(number(&answer, "/accepted"), count as u64);
    // The backup is put in place, and what was there is kept.
    done(&store(&home, &["restore", "--replace", file.to_str().unwrap()]));
    let kept = fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(kept.into_iter().any(|name| name.starts_with("hookmill.db.replaced-")));
    let server = home.serve();
    assert_eq!(list(&mut server.client(), "/v1/events").len(), 5000);
}

#[test]
fn what_is_no_database_is_refused_at_the_start_and_left_alone() {
    let home = Home::new();
    fs::create_dir(home.data()).unwrap();
    let path = home.data().join("hookmill.db");
    let junk = "this is not a database, and somebody may miss it".repeat(100);
    fs::write(&path, &junk).unwrap();
    let mut process = home.launch(&[]);
    assert_eq!(process.ended().code(), Some(1));
    let log = process.log();
    assert!(log.contains("hookmill.db") && log.contains("not a database") && log.contains("hookmill store"), "{log}");
    assert_eq!(fs::read_to_string(&path).unwrap(), junk);
}

#[cfg(unix)]
#[test]
fn a_directory_that_cannot_be_written_is_refused_by_name() {
    use std::os::unix::{fs::PermissionsExt, process::CommandExt};
    let home = Home::new();
    // For root nothing is read-only: the server runs as nobody then, from where that one may read it.
    let binary = home.path().join("hookmill");
    fs::copy(env!("CARGO_BIN_EXE_hookmill"), &binary).unwrap();
    fs::create_dir(home.data()).unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o555)).unwrap();
    let mut command = Command::new(binary);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", home.data().to_str().unwrap()]);
    if fs::write(home.data().join("probe"), "").is_ok() {
        fs::remove_file(home.data().join("probe")).unwrap();
        command.uid(65534);
    }
    let output = command.output().unwrap();
    fs::set_permissions(home.data(), fs::Permissions::from_mode(0o755)).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(home.data().to_str().unwrap()) && said.contains("ermission denied"), "{said}");
    assert_eq!(fs::read_dir(home.data()).unwrap().count(), 0);
}

/// A few dozen descriptors more than a server opens at its start: eight of them for each core.
fn few_files() -> u32 {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    80 + 8 * u32::try_from(cores).unwrap()
}

/// More connections than a server with [`few_files`] can take.
fn hoard(server: &Server) -> Vec<TcpStream> {
    (0..few_files() + 100).map(|_| TcpStream::connect(&server.addr).unwrap()).collect()
}

#[test]
fn a_server_without_free_descriptors_loses_nothing_and_comes_back() {
    let receiver = Receiver::new(|_| Reply::Status(200));
    let home = Home::new();
    let mut server = home.serve_with_files(few_files(), &["--max-connections", "1000"]);
    let mut client = server.client();
    // One attempt each, and three failures open the breaker: none of it may come of what this machine lacks.
    let settings = json!({"retry": {"delays": []}, "breaker": {"failures": 3, "min_events": 1}, "timeout": "1s"});
    endpoint(&mut client, "crm", &receiver.url("/"), settings);
    let hoard = hoard(&server);
    until("callers have taken every descriptor", PATIENCE, || {
        client.get("/v1/stats");
        server.process().log().contains("Too many open files").then_some(())
    });
    publish(&mut client, 50);
    let failed = until("an attempt fails for want of a descriptor", PATIENCE, || {
        let attempts = client.get("/v1/endpoints/crm/attempts");
        attempts["items"].as_array().unwrap().iter().find(|attempt| !attempt["error"].is_null()).cloned()
    });
    assert!(failed["error"].as_str().unwrap().contains("Too many open files"), "{failed}");
    drop(hoard);
    let stats = settled(&mut client);
    assert_eq!(number(&stats, "/deliveries/delivered"), 50);
    assert!(client.get("/v1/endpoints/crm/state")["failing_since"].is_null());
    assert_eq!(server.client().call("GET", "/readyz", None).status, 200, "new callers are served again");
}

#[test]
fn callers_alone_cannot_take_the_descriptors_that_deliveries_need() {
    let receiver = Receiver::new(|_| Reply::Status(200));
    let home = Home::new();
    let server = home.serve_with_files(few_files(), &[]);
    let mut client = server.client();
    endpoint(&mut client, "crm", &receiver.url("/"), json!({"retry": {"delays": []}}));
    let _hoard = hoard(&server);
    publish(&mut client, 50);
    assert_eq!(number(&settled(&mut client), "/deliveries/delivered"), 50);
}
