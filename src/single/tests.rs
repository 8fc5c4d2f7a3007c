//! One URL, as a daemon uses it.

use std::{path::Path, pin::pin, sync::Arc};

use futures_util::FutureExt;

use super::*;
use crate::{
    testing::{Script, ScriptedTransport},
    transport::FailureKind,
};

const A: &str = "http://127.0.0.1:1/a";
const B: &str = "http://127.0.0.1:1/b";

fn run(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}

fn works() -> ScriptedTransport {
    ScriptedTransport::new(|_| Script::status(200))
}

fn single(url: &str, receiver: &ScriptedTransport) -> SingleBuilder {
    let receiver = receiver.clone();
    Hookmill::single(url).on(move || Hookmill::builder().transport(receiver.factory()))
}

fn urls(receiver: &ScriptedTransport) -> Vec<String> {
    receiver.made().iter().map(|made| made.url.as_ref().unwrap().to_string()).collect()
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[test]
fn without_a_url_every_call_is_safe_and_nothing_runs() {
    run(async {
        let hook = Hookmill::single(" ").start().await.unwrap();
        hook.emit("a", &1);
        hook.set_url("").await.unwrap();
        assert!(hook.hooks().is_none() && hook.url().is_none());
        assert_eq!(hook.counters().await.unwrap(), SingleCounters { ignored: 1, ..SingleCounters::default() });
        hook.close().await;
    });
}

#[test]
fn a_swap_has_no_gap_and_ids_and_counters_go_on() {
    run(async {
        let receiver = works();
        let hook = single("", &receiver).start().await.unwrap();
        hook.set_url(A).await.unwrap();
        for _ in 0..5 {
            hook.emit("a", &1);
        }
        receiver.until(|made| made.len() == 5).await;
        hook.set_url(B).await.unwrap();
        for _ in 0..5 {
            hook.emit("a", &1);
        }
        let made = receiver.until(|made| made.len() == 10).await;
        assert_eq!(made.iter().map(|made| made.seq).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
        assert_eq!(
            (urls(&receiver)[..5].to_vec(), urls(&receiver)[5..].to_vec()),
            (vec![A.to_owned(); 5], vec![B.to_owned(); 5])
        );
        let hooks = hook.hooks().unwrap();
        while hook.counters().await.unwrap().pending > 0 {
            hooks.routed().await;
        }
        let counters = hook.counters().await.unwrap();
        assert_eq!((counters.emitted, counters.delivered, counters.ignored), (10, 10, 0));
        hook.close().await;
    });
}

#[test]
fn a_url_and_topics_that_are_set_at_once_both_stay() {
    run(async {
        let hook = single(A, &works()).start().await.unwrap();
        // Each call finds another change under way, and what that one sets is not undone.
        let under_way = hook.0.changes.lock().await;
        let mut topics = pin!(hook.set_topics(["a.*"]));
        assert!(topics.as_mut().now_or_never().is_none());
        hook.set(B, Vec::new()).await.unwrap();
        drop(under_way);
        topics.await.unwrap();
        assert_eq!(hook.url().as_deref(), Some(B));

        let under_way = hook.0.changes.lock().await;
        let mut url = pin!(hook.set_url(A));
        assert!(url.as_mut().now_or_never().is_none());
        hook.set(B, vec!["b.*".to_owned()]).await.unwrap();
        drop(under_way);
        url.await.unwrap();
        let target = hook.target().unwrap();
        assert_eq!((target.url.as_str(), target.topics.as_slice()), (A, &["b.*".to_owned()][..]));
        hook.close().await;
    });
}

#[test]
fn a_url_whose_caller_goes_away_is_set_everywhere_or_nowhere() {
    for turns in 0..20 {
        run(async {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("webhook");
            let hook = single(A, &works()).persist(&file).start().await.unwrap();
            {
                let mut set = pin!(hook.set_url(B));
                for _ in 0..turns {
                    if set.as_mut().now_or_never().is_some() {
                        break;
                    }
                    tokio::time::sleep(std::time::Duration::from_micros(200)).await;
                }
            }
            // A turn comes after all that has begun.
            drop(turn(&hook.0.changes).await);
            let told = hook.url().unwrap();
            let in_force = hook.hooks().unwrap().endpoint(&endpoint_id().unwrap()).unwrap();
            assert_eq!(in_force.settings.target.to_string(), told, "after {turns} turns");
            let kept = file.exists().then(|| text(&file));
            assert_eq!(kept, (told == B).then(|| format!("{B}\n")), "after {turns} turns");
            hook.close().await;
        });
    }
}

#[test]
fn what_waits_goes_to_the_new_url_and_nothing_to_the_old() {
    run(async {
        let receiver = ScriptedTransport::new(|attempt| match attempt.endpoint.settings.target.url().unwrap().path() {
            "/a" => Script::fails(FailureKind::Connect),
            _ => Script::status(200),
        });
        let hook = single(A, &receiver).start().await.unwrap();
        (0..3).for_each(|n| hook.emit("a", &n));
        receiver.until(|made| !made.is_empty()).await;
        hook.set_url(B).await.unwrap();
        let before = receiver.made().iter().filter(|made| made.url.as_ref().unwrap().path() == "/a").count();
        receiver.until(|made| made.iter().filter(|made| made.url.as_ref().unwrap().path() == "/b").count() == 3).await;
        let after = receiver.made().iter().filter(|made| made.url.as_ref().unwrap().path() == "/a").count();
        assert_eq!(before, after);
        hook.close().await;
    });
}

#[test]
fn the_url_is_kept_and_one_that_is_given_comes_first() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state/webhook");
        let start = async |url: &str| single(url, &works()).persist(&file).start().await.unwrap();
        let hook = start("").await;
        assert_eq!(hook.url(), None, "nothing is kept yet");
        hook.set_url(&format!(" {A}\n")).await.unwrap();
        hook.set_topics(["x.*"]).await.unwrap();
        hook.close().await;
        assert_eq!(text(&file), format!("{A}\nx.*\n"));
        let kept = start("").await;
        assert_eq!((kept.url().as_deref(), kept.target().unwrap().topics), (Some(A), vec!["x.*".to_owned()]));
        kept.close().await;
        let given = start(B).await;
        assert_eq!(given.url().as_deref(), Some(B));
        given.set_url("").await.unwrap();
        assert!(!file.exists(), "an empty one deletes it");
        given.close().await;
    });
}

#[test]
fn what_is_no_url_changes_nothing() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("webhook");
        let hook = single(A, &works()).persist(&file).start().await.unwrap();
        for url in ["ftp://a.b/", "a.b", "http://169.254.169.254/", "http://[fe80::1]/", "http://"] {
            assert!(matches!(hook.set_url(url).await, Err(ManageError::Invalid(_))), "{url}");
        }
        assert_eq!((hook.url().as_deref(), file.exists()), (Some(A), false));
        hook.close().await;
        assert!(single("ftp://a.b/", &works()).start().await.is_err());
        std::fs::write(&file, "ftp://a.b/\n").unwrap();
        let hook = single("", &works()).persist(&file).start().await.unwrap();
        assert_eq!(hook.url(), None, "what was kept is of no use, and no reason not to start");
        hook.set_url(A).await.unwrap();
        assert_eq!(text(&file), format!("{A}\n"));
        hook.close().await;
    });
}

#[test]
fn a_save_that_fails_does_not_undo_the_swap() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let receiver = works();
        let hook = single(A, &receiver).persist(dir.path()).start().await.unwrap();
        hook.set_url(B).await.unwrap();
        hook.emit("a", &1);
        receiver.until(|made| made.len() == 1).await;
        assert_eq!(urls(&receiver), [B]);
        hook.close().await;
    });
}

#[test]
fn an_empty_url_ends_deliveries_and_drops_what_waits() {
    run(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let hook = single(A, &receiver).start().await.unwrap();
        hook.emit("a", &1);
        receiver.until(|made| made.len() == 1).await;
        hook.set_url("").await.unwrap();
        hook.emit("a", &2);
        let hooks = hook.hooks().unwrap();
        while hook.counters().await.unwrap().pending > 0 {
            hooks.routed().await;
        }
        let counters = hook.counters().await.unwrap();
        assert_eq!((counters.emitted, counters.ignored, counters.dropped), (1, 1, 1));
        hook.close().await;
    });
}

#[test]
fn closing_waits_until_its_deadline_and_then_really_stops() {
    run(async {
        let receiver = ScriptedTransport::new(|_| Script::stuck());
        let hook = single(A, &receiver).drain(std::time::Duration::from_millis(50)).start().await.unwrap();
        hook.emit("a", &1);
        hook.emit("a", &2);
        receiver.until(|made| made.len() == 1).await;
        hook.close().await;
        hook.close().await;
        hook.emit("a", &3);
        assert_eq!(receiver.made().len(), 1);
        assert!(hook.set_url(B).await.is_err());
    });
}

#[test]
fn it_is_a_service_that_starts_before_others() {
    run(async {
        let receiver = works();
        let hook = Arc::new(single(A, &receiver).build());
        hook.emit("too.early", &1);
        let running = crate::lifecycle::start(vec![hook.clone()]).await.map_err(|(name, _)| name).unwrap();
        assert_eq!((Lifecycle::name(hook.as_ref()), hook.start_order()), ("webhook", 0));
        hook.emit("others.started", &1);
        receiver.until(|made| made.len() == 1).await;
        assert_eq!(hook.counters().await.unwrap().ignored, 1);
        running.stop().await;
        hook.emit("too.late", &1);
        assert_eq!(receiver.made().len(), 1);
    });
}
