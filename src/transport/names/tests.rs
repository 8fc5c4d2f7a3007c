use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::{clock::Clock, testing::paused};

const IP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(1, 2, 3, 4));

/// Names by a script, and how often it was asked.
fn scripted<F>(at_once: usize, script: impl Fn(String, usize) -> F + Send + Sync + 'static) -> (Names, Arc<AtomicUsize>)
where
    F: Future<Output = io::Result<Vec<IpAddr>>> + Send + 'static,
{
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    (Names::by(at_once, move |host| script(host, count.fetch_add(1, Ordering::Relaxed))), asked)
}

/// Looks up for endpoints without a tenant.
async fn resolve(names: &Names, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    names.resolve(&TenantScope::None, host, port).await
}

fn tenant(name: &str) -> TenantScope {
    TenantScope::Of(name.parse().unwrap())
}

fn failed(found: Result<Vec<SocketAddr>, Failure>) -> String {
    let failure = found.unwrap_err();
    assert_eq!(failure.kind, FailureKind::Dns);
    failure.detail
}

#[test]
fn a_name_is_asked_for_at_each_attempt_and_a_literal_never() {
    paused(async {
        let (names, asked) = scripted(1, |_, _| async { Ok(vec![IP]) });
        for times in 1..=3 {
            assert_eq!(resolve(&names, "a.example", 7).await, Ok(vec![SocketAddr::new(IP, 7)]));
            assert_eq!(asked.load(Ordering::Relaxed), times);
        }
        for literal in ["1.2.3.4", "::1", "[::1]"] {
            assert_eq!(resolve(&names, literal, 7).await.map(|found| found.len()), Ok(1));
        }
        assert_eq!(asked.load(Ordering::Relaxed), 3);
    });
}

#[test]
fn no_addresses_an_error_and_no_end_are_dns_failures() {
    paused(async {
        let (names, _) = scripted(8, |host, _| async move {
            match host.as_str() {
                "empty" => Ok(Vec::new()),
                "broken" => Err(io::Error::other("no\nsuch name")),
                _ => std::future::pending().await,
            }
        });
        assert_eq!(failed(resolve(&names, "empty", 1).await), "empty cannot be resolved: it has no addresses");
        assert_eq!(failed(resolve(&names, "broken", 1).await), "broken cannot be resolved: no\\nsuch name");
        assert_eq!(failed(resolve(&names, "hangs", 1).await), "hangs cannot be resolved: no answer within 5 s");
    });
}

#[test]
fn those_who_ask_for_one_name_at_once_share_one_look_up() {
    paused(async {
        let go = Arc::new(Notify::new());
        let gate = Arc::clone(&go);
        let (names, asked) = scripted(1, move |_, _| {
            let gate = Arc::clone(&gate);
            async move {
                gate.notified().await;
                Ok(vec![IP])
            }
        });
        let all = join_all((0..50).map(|port| {
            let names = names.clone();
            async move { resolve(&names, "a.example", port).await }
        }));
        let answer = async {
            while asked.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            go.notify_one();
        };
        let (found, ()) = tokio::join!(all, answer);
        assert!(found.iter().zip(0..).all(|(found, port)| *found == Ok(vec![SocketAddr::new(IP, port)])));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_name_service_that_hangs_takes_its_share_of_threads_and_no_more() {
    paused(async {
        let ended = Arc::new(Semaphore::new(0));
        let gate = Arc::clone(&ended);
        let (names, asked) = scripted(6, move |host, _| {
            let gate = Arc::clone(&gate);
            async move {
                if host.starts_with("hangs") {
                    gate.acquire().await.map_err(io::Error::other)?.forget();
                }
                Ok(vec![IP])
            }
        });
        let hang = async |which: std::ops::Range<usize>| {
            let hosts: Vec<_> = which.map(|n| format!("hangs{n}")).collect();
            join_all(hosts.iter().map(|host| resolve(&names, host, 1))).await
        };
        let all_fail = |found: Vec<_>| assert!(found.into_iter().all(|found| failed(found).contains("no answer")));
        all_fail(hang(0..3).await);
        // They hang on, hold up no other name, and who asks for them takes no other thread.
        assert!(resolve(&names, "well", 1).await.is_ok());
        all_fail(hang(0..3).await);
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        // Then every turn is taken but those of names that are known to answer, and stays so: the threads are not free.
        all_fail(hang(3..6).await);
        assert!(failed(resolve(&names, "new", 1).await).contains("no answer"));
        all_fail(hang(0..9).await);
        assert_eq!(asked.load(Ordering::Relaxed), 7);
        assert!(resolve(&names, "well", 1).await.is_ok() && resolve(&names, "1.2.3.4", 1).await.is_ok());
        // They end; what has hung has turns of its own until it has answered in time for a while.
        ended.add_permits(6);
        assert!(resolve(&names, "new", 1).await.is_ok());
        ended.add_permits(100);
        for times in [1, 2] {
            assert!(hang(0..6).await.into_iter().all(|found| found.is_ok()));
            assert_eq!(names.known().standings.of("hangs0"), Some(Standing::Slow(times)));
        }
        assert!(hang(0..9).await.into_iter().all(|found| found.is_ok()));
        assert_eq!(names.known().standings.of("hangs0"), Some(Standing::Well));
        assert!(names.known().under_way.is_empty());
        let Kinds { well, slow, new } = &names.turns;
        assert_eq!([well, slow, new].map(Turns::free), [6, 6, 6]);
    });
}

#[test]
fn a_look_up_whose_thread_ended_is_begun_anew() {
    paused(async {
        let (names, asked) = scripted(1, |_, nth| async move {
            assert!(nth > 0, "as if the thread had ended");
            Ok(vec![IP])
        });
        assert!(failed(resolve(&names, "a.example", 1).await).contains("given up"));
        assert!(resolve(&names, "a.example", 1).await.is_ok());
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    });
}

/// How long a name service that hangs takes to say so.
const HANGS: Duration = Duration::from_secs(30);

/// Names that begin with `hangs` do so; others answer at once.
fn hanging() -> Names {
    let script = |host: String, _| async move {
        if host.starts_with("hangs") {
            tokio::time::sleep(HANGS).await;
            return Err(io::Error::other("timed out"));
        }
        Ok(vec![IP])
    };
    scripted(LOOKUPS, script).0
}

#[test]
fn many_names_that_hang_hold_up_no_known_name_and_new_ones_for_a_bounded_time() {
    paused(async {
        let names = hanging();
        assert!(resolve(&names, "known", 1).await.is_ok());
        let hostile = join_all((0..400).map(|n| {
            let names = names.clone();
            async move {
                // Forever, as attempts are repeated.
                loop {
                    assert!(resolve(&names, &format!("hangs{n}"), 1).await.is_err());
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }));
        let honest = async {
            let mut new = 0;
            for second in 0..300 {
                tokio::time::sleep(Duration::from_secs(1)).await;
                assert!(resolve(&names, "known", 1).await.is_ok(), "after {second} s");
                let new_name = format!("new{second}");
                new = if resolve(&names, &new_name, 1).await.is_ok() { new + 1 } else { 0 };
            }
            new
        };
        let Either::Left((new, _)) = select(Box::pin(honest), Box::pin(hostile)).await else { panic!("for ever") };
        assert!(new > 100, "new names resolve once those that hang are known: {new} in a row");
    });
}

#[test]
fn names_of_one_tenant_that_hang_delay_no_look_up_of_another() {
    // From the first time on, and after they have answered well.
    for answers_first in [false, true] {
        paused(async {
            let seen = Arc::new(Mutex::new(std::collections::HashSet::new()));
            let script = move |host: String, _| {
                let first = seen.lock().unwrap().insert(host.clone());
                async move {
                    if host.starts_with("hangs") && !(first && answers_first) {
                        std::future::pending::<()>().await;
                    }
                    Ok(vec![IP])
                }
            };
            let (names, _) = scripted(LOOKUPS, script);
            let attack = async |times: usize| {
                for _ in 0..times {
                    let hosts: Vec<_> = (0..400).map(|n| format!("hangs{n}")).collect();
                    let acme = tenant("acme");
                    join_all(hosts.iter().map(|host| names.resolve(&acme, host, 1))).await;
                }
            };
            attack(1).await;
            let honest = async {
                for turn in 0..50 {
                    let before = Clock::system().now().mono;
                    for (owner, host) in [
                        (tenant("globex"), format!("new{turn}")),
                        (tenant("globex"), "known".to_owned()),
                        (TenantScope::None, format!("newer{turn}")),
                        (TenantScope::Every, format!("newest{turn}")),
                    ] {
                        assert!(names.resolve(&owner, &host, 1).await.is_ok(), "{owner:?} {host}");
                    }
                    assert_eq!(Clock::system().now().mono, before, "nothing waited");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            };
            tokio::join!(honest, attack(10));
            // What is bounded stays so.
            let Kinds { well, slow, new } = &names.turns;
            assert!([well, slow, new].map(Turns::free).into_iter().all(|free| free >= LOOKUPS / 2));
        });
    }
}

#[test]
fn a_name_that_answers_now_and_then_hangs_among_its_like() {
    paused(async {
        let (names, _) = scripted(2, |host, nth| async move {
            if host.starts_with("fickle") && nth % 2 == 1 {
                tokio::time::sleep(HANGS).await;
            }
            Ok(vec![IP])
        });
        assert!(resolve(&names, "fickle", 1).await.is_ok());
        assert!(resolve(&names, "fickle", 1).await.is_err());
        tokio::time::sleep(HANGS).await;
        assert!(resolve(&names, "fickle", 1).await.is_ok());
        assert_eq!(names.known().standings.of("fickle"), Some(Standing::Slow(1)), "one good answer is not enough");
    });
}
