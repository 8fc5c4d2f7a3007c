//! The handle that a daemon holds.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
};

use futures_util::future::BoxFuture;
use hookmill::{
    ManageError, Single, SingleBuilder, SingleCounters,
    lifecycle::{self, Lifecycle, LifecycleError},
};

use super::*;

const A: &str = "http://127.0.0.1:1/a";
const B: &str = "http://127.0.0.1:1/b";

fn single(url: &str, receiver: &ScriptedTransport) -> SingleBuilder {
    let receiver = receiver.clone();
    Hookmill::single(url).on(move || Hookmill::builder().transport(receiver.factory()))
}

fn takes() -> ScriptedTransport {
    ScriptedTransport::new(|_| Script::status(200))
}

async fn counters(hook: &Single, enough: impl Fn(&SingleCounters) -> bool) -> SingleCounters {
    loop {
        let counters = hook.counters().await.unwrap();
        if enough(&counters) {
            return counters;
        }
        pass(millis(2)).await;
    }
}

fn paths(made: &[Made]) -> Vec<&str> {
    made.iter().map(|one| one.url.as_ref().unwrap().path()).collect()
}

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

#[test]
fn emitting_never_blocks_whatever_the_receiver_does() {
    run(async {
        let receiver = ScriptedTransport::new(|_| Script::stuck());
        let hook = single(A, &receiver).drain(millis(1)).start().await.unwrap();
        // No await: what cannot be let in while nobody takes anything out is refused, and counted.
        (0..20_000).for_each(|n| hook.emit("job.done", &n));
        let counters = counters(&hook, |counters| counters.pending > 0).await;
        assert_eq!(counters.emitted + counters.refused, 20_000);
        hook.close().await;
    });
}

#[test]
fn after_the_close_emitting_does_nothing() {
    run(async {
        let receiver = takes();
        let hook = single(A, &receiver).start().await.unwrap();
        hook.close().await;
        hook.emit("job.done", &1);
        assert!(receiver.made().is_empty());
    });
}

#[test]
fn without_a_url_it_costs_nothing_and_every_call_is_safe() {
    run(async {
        let receiver = takes();
        let hook = single("", &receiver).build();
        hook.emit("before.start", &1);
        hook.start().await.unwrap();
        hook.emit("job.done", &1);
        assert!(hook.hooks().is_none(), "nothing runs");
        assert_eq!((hook.url(), hook.counters().await.unwrap().ignored), (None, 2));
        hook.set_url("").await.unwrap();
        hook.close().await;
        hook.close().await;
    });
}

#[test]
fn skipped_events_have_a_counter() {
    run(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let more = json!({"retry": {"delays": []}, "breaker": {"while_open": "skip"}});
        let hook = single(A, &receiver).settings(more).start().await.unwrap();
        (0..8).for_each(|n| hook.emit("job.done", &n));
        let counters = counters(&hook, |counters| counters.failed + counters.dropped == 8).await;
        assert_eq!((counters.failed, counters.circuit_skipped), (5, 3));
        hook.close().await;
    });
}

#[test]
fn the_url_is_swapped_while_it_runs_without_a_gap_and_an_empty_one_disables() {
    run(async {
        let receiver = takes();
        let hook = single(A, &receiver).start().await.unwrap();
        (0..50).for_each(|n| hook.emit("job.done", &n));
        let swapped = hook.set_url(B);
        (50..100).for_each(|n| hook.emit("job.done", &n));
        swapped.await.unwrap();
        let old = paths(&receiver.made()).iter().filter(|path| **path == "/a").count();
        (100..150).for_each(|n| hook.emit("job.done", &n));
        let made = receiver.until(|made| made.len() == 150).await;
        assert_eq!(seqs(&made), (1..=150).collect::<Vec<_>>(), "ids go on");
        assert_eq!(paths(&made).iter().filter(|path| **path == "/a").count(), old, "none to the old one afterwards");
        assert_eq!(counters(&hook, |counters| counters.pending == 0).await.delivered, 150, "counters go on");
        hook.set_url("").await.unwrap();
        hook.emit("job.done", &1);
        assert_eq!((hook.url(), hook.counters().await.unwrap().ignored), (None, 1));
        hook.set_url(A).await.unwrap();
        hook.emit("job.done", &1);
        assert_eq!(receiver.until(|made| made.len() == 151).await[150].seq, 151);
        hook.close().await;
    });
}

#[test]
fn the_url_is_kept_as_a_whole_and_for_its_owner_alone() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state/agent/webhook");
        let hook = single("", &takes()).persist(&file).start().await.unwrap();
        for url in [A, B] {
            hook.set_url(url).await.unwrap();
            assert_eq!(text(&file), format!("{url}\n"));
        }
        hook.close().await;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1, "no half of a file beside it");
    });
}

#[test]
fn what_was_kept_is_trimmed_and_judged_and_a_missing_file_is_none() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("webhook");
        let kept = async || {
            let hook = single("", &takes()).persist(&file).start().await.unwrap();
            let url = hook.url();
            hook.close().await;
            url
        };
        assert_eq!(kept().await, None);
        fs::write(&file, format!("\n  {A} \r\n\n")).unwrap();
        assert_eq!(kept().await.as_deref(), Some(A));
        for bad in ["ftp://a.b/", "no url", "http://169.254.169.254/latest", ""] {
            fs::write(&file, bad).unwrap();
            assert_eq!(kept().await, None, "{bad}");
        }
    });
}

#[test]
fn a_url_given_at_the_start_beats_the_one_that_was_kept() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("webhook");
        fs::write(&file, A).unwrap();
        let hook = single(B, &takes()).persist(&file).start().await.unwrap();
        assert_eq!(hook.url().as_deref(), Some(B));
        hook.close().await;
    });
}

#[test]
fn a_save_that_fails_does_not_undo_the_swap() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let receiver = takes();
        // A directory: nothing can be written in its place.
        let hook = single(A, &receiver).persist(dir.path()).start().await.unwrap();
        hook.set_url(B).await.unwrap();
        hook.emit("job.done", &1);
        assert_eq!(paths(&receiver.until(|made| made.len() == 1).await), ["/b"]);
        hook.close().await;
    });
}

#[test]
fn only_http_with_a_host_and_never_link_local_or_metadata_addresses() {
    run(async {
        let hook = single(A, &takes()).start().await.unwrap();
        for bad in
            ["ftp://a.b/", "a.b", "http://", "http://169.254.169.254/", "http://169.254.1.1/", "http://[fe80::1]/"]
        {
            assert!(matches!(hook.set_url(bad).await, Err(ManageError::Invalid(_))), "{bad}");
            assert_eq!(hook.url().as_deref(), Some(A), "a bad one changes nothing");
        }
        for good in ["https://a.b/", "http://a.b:8080/c?d"] {
            hook.set_url(good).await.unwrap();
        }
        hook.close().await;
    });
}

#[test]
fn whether_this_machine_and_private_networks_may_be_reached_is_a_setting() {
    run(async {
        for (guard, allowed) in [("private", true), ("public", false)] {
            for url in ["http://127.0.0.1:1/", "http://10.0.0.1/", "http://192.168.1.1/"] {
                let hook = single(url, &takes()).settings(json!({"guard": guard})).start().await;
                assert_eq!(hook.is_ok(), allowed, "{url}");
                if let Ok(hook) = hook {
                    hook.close().await;
                }
            }
        }
    });
}

#[test]
fn closing_twice_is_closing_once_and_then_it_really_stops() {
    run(async {
        let receiver = ScriptedTransport::new(|_| Script::stuck());
        let hook = single(A, &receiver).drain(millis(20)).start().await.unwrap();
        (0..3).for_each(|n| hook.emit("job.done", &n));
        receiver.until(|made| made.len() == 1).await;
        hook.close().await;
        hook.close().await;
        let made = receiver.until(|made| made[0].ended.is_some()).await;
        assert_eq!(made.len(), 1, "cut off, and nothing after it");
        assert!(hook.set_url(B).await.is_err());
    });
}

#[test]
fn with_a_secret_a_header_has_the_hmac_of_the_body() {
    run(async {
        let receiver = Receiver::new(|_| Reply::Status(200));
        let hook = Hookmill::single(receiver.url("/")).signed("x-signature", "hush").start().await.unwrap();
        hook.emit("job.done", &json!({"job": 1}));
        counters(&hook, |counters| counters.delivered == 1).await;
        hook.close().await;
        let request = &receiver.seen()[0];
        assert_eq!(request.header("x-signature"), hmac_of(b"hush", &request.body));
    });
}

#[test]
fn without_a_secret_nothing_is_signed() {
    run(async {
        let receiver = Receiver::new(|_| Reply::Status(200));
        let hook = Hookmill::single(receiver.url("/")).start().await.unwrap();
        hook.emit("job.done", &1);
        counters(&hook, |counters| counters.delivered == 1).await;
        hook.close().await;
        assert_eq!(receiver.seen()[0].header("webhook-signature"), "");
    });
}

#[test]
fn a_list_of_topics_lets_only_those_through_and_is_kept_and_an_empty_url_deletes_the_file() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("webhook");
        let hook = single(A, &takes()).persist(&file).start().await.unwrap();
        hook.set_topics(["job.*", "stopped"]).await.unwrap();
        hook.close().await;
        let receiver = takes();
        let hook = single("", &receiver).persist(&file).start().await.unwrap();
        ["job.done", "other", "stopped"].into_iter().for_each(|topic| hook.emit(topic, &1));
        let made = receiver.until(|made| made.len() == 2).await;
        counters(&hook, |counters| counters.delivered == 2 && counters.emitted == 3).await;
        assert_eq!(seqs(&made), [1, 3]);
        hook.set_url("").await.unwrap();
        assert!(!file.exists());
        hook.close().await;
    });
}

/// Another service of the same host.
struct Other {
    order: u32,
    hook: Single,
    log: Arc<Mutex<Vec<&'static str>>>,
}

impl Lifecycle for Other {
    fn name(&self) -> &str {
        "other"
    }

    fn start_order(&self) -> u32 {
        self.order
    }

    fn start(&self) -> BoxFuture<'_, Result<(), LifecycleError>> {
        self.hook.emit("other.started", &1);
        self.log.lock().unwrap().push("started");
        Box::pin(async { Ok(()) })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        self.hook.emit("other.stopped", &1);
        self.log.lock().unwrap().push("stopped");
        Box::pin(async {})
    }
}

#[test]
fn among_its_hosts_services_it_has_a_name_and_sees_the_others_start() {
    run(async {
        let receiver = takes();
        let hook = single(A, &receiver).build();
        let log = Arc::default();
        let other = Other { order: 10, hook: hook.clone(), log: Arc::clone(&log) };
        assert_eq!(Lifecycle::name(&hook), "webhook");
        let services: Vec<Arc<dyn Lifecycle>> = vec![Arc::new(other), Arc::new(hook.clone())];
        let running = lifecycle::start(services).await.map_err(|(name, _)| name).unwrap();
        running.stop().await;
        assert_eq!(*log.lock().unwrap(), ["started", "stopped"]);
        assert_eq!(receiver.made().len(), 2, "it starts before them and stops after them");
    });
}
