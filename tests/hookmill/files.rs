//! Endpoints that are files, through the whole pipeline.

#![cfg(unix)]

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use hookmill::{Declared, Endpoint, Event, Hookmill, endpoint::EndpointBuilder};
use serde_json::{Value, json};

pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ended = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await });
    ended.expect("what is waited for does not come")
}

fn file(id: &str, path: &Path) -> EndpointBuilder {
    let retry = json!({"retry": {"initial": "10ms", "factor": 1.0, "max_delay": "10ms", "max_attempts": 1000}});
    Endpoint::file(id, path.to_str().unwrap()).format("envelope").settings(retry)
}

async fn publish(hooks: &Hookmill, count: u64) {
    for group in 0..count / 100 {
        let events = (0..100).map(|n| Event::new("a", &json!({"n": group * 100 + n})).unwrap());
        hooks.publish_all(events.collect()).await.unwrap();
    }
}

async fn delivered(hooks: &Hookmill, count: u64) {
    loop {
        let totals = hooks.stats().await.unwrap();
        assert!(totals.add_up(), "{totals:?}");
        if totals.deliveries.delivered == count && totals.deliveries.pending == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// How often each number is in the lines of a file.
fn counts(path: &Path) -> BTreeMap<u64, usize> {
    let mut counts = BTreeMap::new();
    for line in fs::read_to_string(path).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        *counts.entry(event["data"]["n"].as_u64().unwrap()).or_default() += 1;
    }
    counts
}

#[test]
fn endpoints_on_several_threads_share_a_file_and_each_event_is_in_it_once_for_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events.jsonl");
    block_on(async {
        let builder = Hookmill::builder().in_memory().delivery_threads(3);
        let builder = ["a", "b", "c"].into_iter().fold(builder, |builder, id| builder.endpoint(file(id, &path)));
        let hooks = builder.start().await.unwrap();
        publish(&hooks, 2000).await;
        delivered(&hooks, 6000).await;
        hooks.shutdown(Duration::from_secs(10)).await;
    });
    assert_eq!(counts(&path), (0..2000).map(|n| (n, 3)).collect());
}

#[test]
fn a_file_that_cannot_be_written_is_a_failing_endpoint_and_gets_everything_once_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("later/events.jsonl");
    block_on(async {
        let breaker = json!({"breaker": {"failures": 3, "cooldown": "20ms", "max_cooldown": "20ms"}});
        let hooks = Hookmill::builder().in_memory().endpoint(file("a", &path).settings(breaker)).start().await.unwrap();
        publish(&hooks, 100).await;
        let id = "a".parse().unwrap();
        loop {
            let standing = hooks.standing(&id).await.unwrap();
            if standing.delivery.is_some_and(|delivery| delivery.breaker_open_until.is_some()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        fs::create_dir(path.parent().unwrap()).unwrap();
        delivered(&hooks, 100).await;
    });
    assert_eq!(counts(&path), (0..100).map(|n| (n, 1)).collect());
}

#[test]
fn a_new_path_holds_from_the_next_line_on() {
    let dir = tempfile::tempdir().unwrap();
    block_on(async {
        let hooks = Hookmill::builder().in_memory().file_root(dir.path()).start().await.unwrap();
        let id = "a".parse().unwrap();
        let settings = json!({"file": "old.jsonl", "format": "envelope"});
        hooks.create_endpoint(Some(id), &settings).await.unwrap();
        publish(&hooks, 100).await;
        delivered(&hooks, 100).await;
        hooks.patch_endpoint(&"a".parse().unwrap(), &json!({"file": "new.jsonl"}), None).await.unwrap();
        publish(&hooks, 200).await;
        delivered(&hooks, 300).await;
    });
    assert_eq!(counts(&dir.path().join("old.jsonl")).len(), 100);
    assert_eq!(counts(&dir.path().join("new.jsonl")).len(), 200);
}

#[test]
fn a_file_root_is_an_absolute_path() {
    block_on(async {
        let Err(error) = Hookmill::builder().file_root("logs").start().await else { panic!("started") };
        assert!(error.to_string().contains("#/file_roots/0"), "{error}");
    });
}

#[test]
fn no_file_lies_among_the_data() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["home/data/sub", "logs"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    std::os::unix::fs::symlink(at("home/data"), at("link")).unwrap();
    block_on(async {
        let builder = || Hookmill::builder().data_dir(at("home/data"));
        for root in ["home", "home/data", "home/data/sub", "link", "link/sub", "", "home/../link"] {
            let Err(error) = builder().file_root(at("logs")).file_root(at(root)).start().await else {
                panic!("started with {root:?}")
            };
            let error = error.to_string();
            assert!(error.contains("#/file_roots/1") && error.contains("data directory"), "{root:?}: {error}");
        }
        // Also before there is one.
        let fresh = Hookmill::builder().data_dir(at("fresh")).file_root(at("fresh/sub"));
        assert!(fresh.start().await.is_err());

        let file = |id: &str, name: &str| Endpoint::file(id, at(name).to_str().unwrap());
        let of_file = |name: &str| {
            let endpoints = json!([{"id": "a", "url": "https://a.b/"}, {"id": "b", "file": at(name)}]);
            Declared::parse(&json!({"endpoints": endpoints})).unwrap()
        };
        for name in ["home/data/admin.token", "home/data/sub/a", "link/hookmill.db"] {
            let Err(error) = builder().endpoint(file("a", name)).start().await else { panic!("started with {name}") };
            assert!(error.to_string().contains("#/endpoints/0/file"), "{name}: {error}");
            let Err(error) = builder().declare(of_file(name)).start().await else { panic!("started with {name}") };
            assert!(error.to_string().contains("#/endpoints/1/file"), "{name}: {error}");
        }
        let hooks = builder().file_root(at("logs")).declare(of_file("logs/b")).start().await.unwrap();
        for name in ["home/data/admin.token", "home/data/sub/a", "link/hookmill.db"] {
            let refused = hooks.set_endpoint(file("c", name)).await.unwrap_err().to_string();
            assert!(refused.contains("data directory"), "{name}: {refused}");
            let refused = hooks.apply(of_file(name)).await.unwrap_err().to_string();
            assert!(refused.contains("#/endpoints/1/file"), "{name}: {refused}");
        }
        hooks.set_endpoint(file("c", "logs/c")).await.unwrap();
        hooks.create_endpoint(None, &json!({"file": "d"})).await.unwrap();
    });
}
