//! Hooks that are files.

#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use hookmill::{ManageError, endpoint::EndpointBuilder};

use super::*;

/// A hook that writes what it has after 20 ms.
fn file(name: &str, path: &Path) -> EndpointBuilder {
    let quick = json!({"batch": {"flush_interval": "20ms"}, "retry": {"delays": ["20ms"]}});
    Endpoint::file(name, path.to_str().unwrap()).preset(Preset::BatchHooks).settings(quick)
}

async fn start(hooks: impl IntoIterator<Item = EndpointBuilder>) -> Hookmill {
    hooks.into_iter().fold(Hookmill::builder(), Builder::endpoint).start().await.unwrap()
}

async fn publish(hooks: &Hookmill, numbers: std::ops::Range<u64>) {
    let events = numbers.map(|n| Event::new("user.changed", &json!({"user": n})).unwrap());
    hooks.publish_all(events.collect()).await.unwrap();
}

async fn delivered(hooks: &Hookmill, count: u64) {
    until(hooks, |totals| totals.deliveries.delivered == count).await;
}

fn users(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["payload"]["user"].as_u64().unwrap();
    text.lines().map(line).collect()
}

#[test]
fn an_object_per_line_is_appended_and_a_new_file_is_readable_by_all() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let hooks = start([file("log", &path).settings(json!({"metadata": {"env": "prod"}}))]).await;
        let event = Event::new("user.changed", &json!({"user": 1})).unwrap().id("e1").metadata("stream_code", "main");
        hooks.publish(event).await.unwrap();
        delivered(&hooks, 1).await;
        publish(&hooks, 2..4).await;
        delivered(&hooks, 3).await;
        assert_eq!(users(&path), [1, 2, 3]);
        let text = fs::read_to_string(&path).unwrap();
        let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        assert_eq!(
            (&first["id"], &first["type"], &first["stream_code"]),
            (&json!("e1"), &json!("user.changed"), &json!("main"))
        );
        assert_eq!(first["payload"], json!({"user": 1, "meta.env": "prod"}));
        assert!(text.ends_with('\n'));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644 & !umask(dir.path()));
        hooks.shutdown(seconds(5)).await;
    });
}

/// What the process takes away from the modes of new files.
fn umask(dir: &Path) -> u32 {
    let probe = dir.join("probe");
    fs::File::create(&probe).unwrap();
    !fs::metadata(&probe).unwrap().mode() & 0o666
}

#[test]
fn lines_of_hooks_that_share_a_path_never_mix() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let hooks = start(["a", "b", "c"].map(|name| file(name, &path))).await;
        publish(&hooks, 0..1000).await;
        delivered(&hooks, 3000).await;
        hooks.shutdown(seconds(5)).await;
        // Every line is whole JSON, or this panics.
        let mut users = users(&path);
        users.sort_unstable();
        assert_eq!(users, (0..1000).flat_map(|n| [n; 3]).collect::<Vec<_>>());
    });
}

#[test]
fn an_empty_path_is_refused_and_a_relative_one_only_below_a_file_root() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let of_api = |path: &str| json!({"preset": "batch_hooks", "file": path});
        let rootless = start([]).await;
        let rooted = Hookmill::builder().file_root(dir.path()).start().await.unwrap();
        let refused = async |hooks: &Hookmill, path: &str| {
            matches!(hooks.create_endpoint(None, &of_api(path)).await, Err(ManageError::Invalid(_)))
        };
        for hooks in [&rootless, &rooted] {
            assert!(refused(hooks, "").await && refused(hooks, "../up.jsonl").await);
            assert!(refused(hooks, dir.path().join("a.jsonl").to_str().unwrap()).await);
        }
        assert!(refused(&rootless, "events.jsonl").await);
        let relative = rooted.create_endpoint(None, &of_api("events.jsonl")).await;
        assert_eq!(relative.unwrap().settings.preset, Some(Preset::BatchHooks));
        publish(&rooted, 0..1).await;
        rooted.shutdown(seconds(5)).await;
        assert_eq!(users(&dir.path().join("events.jsonl")), [0]);
        assert!(Hookmill::builder().endpoint(file("empty", Path::new(""))).start().await.is_err());
        rootless.shutdown(seconds(5)).await;
    });
}

#[test]
fn a_rotated_file_is_opened_anew() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("events.jsonl"), dir.path().join("moved"));
        let hooks = start([file("log", &path)]).await;
        publish(&hooks, 0..1).await;
        delivered(&hooks, 1).await;
        fs::rename(&path, &moved).unwrap();
        publish(&hooks, 1..2).await;
        delivered(&hooks, 2).await;
        assert_eq!((users(&moved), users(&path)), (vec![0], vec![1]));
        hooks.shutdown(seconds(5)).await;
    });
}

#[test]
fn what_cannot_be_written_is_not_acknowledged_and_tried_again_until_it_can() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("later/events.jsonl");
        let hooks = start([file("log", &path)]).await;
        publish(&hooks, 0..3).await;
        loop {
            let attempts = store(&hooks).event_attempts(1, hookmill::store::AttemptPage::of(99)).await.unwrap();
            if attempts.len() > 2 {
                assert!(attempts.iter().all(|one| one.status.is_none()));
                break;
            }
            pass(millis(5)).await;
        }
        assert_eq!(hooks.stats().await.unwrap().deliveries.delivered, 0);
        fs::create_dir(path.parent().unwrap()).unwrap();
        delivered(&hooks, 3).await;
        assert_eq!(users(&path), [0, 1, 2]);
        hooks.shutdown(seconds(5)).await;
    });
}

#[test]
fn a_file_rotates_by_its_size_where_that_is_wanted() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let hooks = start([file("log", &path).settings(json!({"batch": {"max_items": 10}})).rotate(4096, 2)]).await;
        publish(&hooks, 0..150).await;
        delivered(&hooks, 150).await;
        hooks.shutdown(seconds(5)).await;
        let names = ["events.jsonl.2", "events.jsonl.1", "events.jsonl"].map(|name| dir.path().join(name));
        assert!(names.iter().all(|name| fs::metadata(name).unwrap().len() <= 4096));
        let kept: Vec<_> = names.iter().flat_map(|name| users(name)).collect();
        assert_eq!(kept.last(), Some(&149));
        assert!(kept.is_sorted() && fs::read_dir(dir.path()).unwrap().count() == 3);
    });
}

#[test]
fn a_shutdown_writes_what_still_waits_for_company() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let hooks = start([file("log", &path).settings(json!({"batch": {"flush_interval": "1h"}}))]).await;
        publish(&hooks, 0..5).await;
        assert_eq!(hooks.shutdown(seconds(5)).await.delivered, 5);
        assert_eq!(users(&path), [0, 1, 2, 3, 4]);
    });
}
