//! The guard where connections are made, and what becomes of those that are kept.

use std::{
    io,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use tokio::sync::mpsc;

use super::{server::Server, *};
use crate::transport::{Perimeter, names::Names};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|ip| ip.parse().unwrap()).collect()
}

/// Names that are looked up to these addresses, in turn.
fn answering(script: &'static [&'static [&'static str]]) -> Names {
    let nth = AtomicUsize::new(0);
    Names::by(8, move |_| {
        let answer = script[nth.fetch_add(1, Ordering::Relaxed)];
        async move { Ok(ips(answer)) }
    })
}

fn guarded(url: &str, guard: Guard) -> Attempt {
    attempt(Settings { guard, ..settings(url) })
}

#[test]
fn a_name_that_changes_its_mind_between_attempts_is_caught() {
    run(async {
        let server = Server::start(|mut peer, _| async move {
            peer.request().await;
            peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok").await;
        })
        .await;
        let names = answering(&[&["127.0.0.1"], &["10.0.0.1"], &["169.254.169.254"], &["127.0.0.1"]]);
        let transport = HttpTransport::new(&Network { names, ..DISTRUST.clone() });
        let url = format!("http://rebinding.example:{}/", server.port);
        let mut outcomes = Vec::new();
        for _ in 0..4 {
            outcomes
                .push(transport.send(guarded(&url, Guard::PublicAndLoopback)).await.map(drop).map_err(|it| it.kind));
        }
        assert_eq!(outcomes, [Ok(()), Err(FailureKind::Blocked), Err(FailureKind::Blocked), Ok(())]);
        assert_eq!(server.accepted(), 2);
    });
}

#[test]
fn one_bad_address_among_many_spoils_the_name_and_nothing_is_connected_to() {
    run(async {
        let server = Server::answering(OK).await;
        let url = format!("http://mixed.example:{}/", server.port);
        let names = answering(&[
            &["1.1.1.1", "127.0.0.1"],
            &["127.0.0.1", "1.1.1.1"],
            &["1.1.1.1", "::ffff:127.0.0.1"],
            &["1.1.1.1", "64:ff9b::7f00:1"],
            &["1.1.1.1", "::"],
        ]);
        let transport = HttpTransport::new(&Network { names, ..DISTRUST.clone() });
        for _ in 0..5 {
            assert_eq!(kind(transport.send(guarded(&url, Guard::Public)).await), FailureKind::Blocked);
        }
        assert_eq!(server.accepted(), 0);
    });
}

#[test]
fn names_without_addresses_with_errors_and_without_end_fail_and_stop_nobody_who_is_connected() {
    run(async {
        let server = Server::answering(OK).await;
        let names = Names::by(1, |host| async move {
            match host.as_str() {
                "hangs.example" => std::future::pending().await,
                "empty.example" => Ok(Vec::new()),
                "broken.example" => Err(io::Error::other("no")),
                _ => Ok(vec![HERE]),
            }
        });
        let transport = HttpTransport::new(&Network { names, ..DISTRUST.clone() });
        let at = |host: &str| server.url.replace("127.0.0.1", host);
        assert_eq!(kind(post(&transport, &at("empty.example")).await), FailureKind::Dns);
        assert_eq!(kind(post(&transport, &at("broken.example")).await), FailureKind::Dns);
        assert!(post(&transport, &at("well.example")).await.is_ok());
        let policy = Policy { timeout: Duration::from_millis(50), ..Policy::default() }.shared();
        let hangs = || attempt(Settings { policy: policy.clone(), ..settings(&at("hangs.example")) });
        assert_eq!(kind(transport.send(hangs()).await), FailureKind::Timeout);
        // The one turn is taken for good: new names wait, literals and kept connections do not.
        assert_eq!(kind(transport.send(hangs()).await), FailureKind::Timeout);
        assert!(post(&transport, &at("well.example")).await.is_ok());
        assert!(post(&transport, &server.url).await.is_ok());
        assert_eq!(server.accepted(), 2);
    });
}

fn within(perimeter: Perimeter) -> HttpTransport {
    HttpTransport::new(&DISTRUST.clone().within(Arc::new(perimeter)))
}

#[test]
fn what_the_operator_allows_is_connected_to_and_the_server_itself_never() {
    run(async {
        let (server, own) = (Server::answering(OK).await, Server::answering(OK).await);
        let allow = vec!["127.0.0.0/8:1-65535".parse().unwrap(), "[::]/0:*".parse().unwrap()];
        let transport = within(Perimeter::new(allow, false).listening_on(([127, 0, 0, 1], own.port).into()));
        for guard in [Guard::Private, Guard::PrivateNoLoopback, Guard::Public, Guard::PublicAndLoopback] {
            assert!(transport.send(guarded(&server.url, guard)).await.is_ok(), "{guard:?}");
            for host in ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]"] {
                let url = own.url.replace("127.0.0.1", host);
                assert_eq!(kind(transport.send(guarded(&url, guard)).await), FailureKind::Blocked, "{url} {guard:?}");
            }
        }
        assert_eq!(own.accepted(), 0);
        let only = vec![format!("127.0.0.1/32:{}", own.port).parse().unwrap()];
        let transport = within(Perimeter::new(only, false));
        assert_eq!(kind(transport.send(guarded(&server.url, Guard::Public)).await), FailureKind::Blocked);
        assert!(transport.send(guarded(&own.url, Guard::Public)).await.is_ok());
    });
}

#[test]
fn the_machines_own_addresses_are_found_when_a_connection_is_made() {
    run(async {
        // Global addresses, as far as the list goes; nobody is asked for them.
        static OWN: [IpAddr; 1] = [IpAddr::V4(Ipv4Addr::new(8, 8, 4, 4))];
        let transport = within(Perimeter::on_a_machine_with(&OWN));
        for guard in [Guard::Public, Guard::PrivateNoLoopback] {
            assert_eq!(kind(transport.send(guarded("http://8.8.4.4:9/", guard)).await), FailureKind::Blocked);
        }
        let real: Vec<_> = if_addrs::get_if_addrs().unwrap().into_iter().map(|found| found.ip()).collect();
        for ip in real.into_iter().filter(IpAddr::is_ipv4) {
            let url = format!("http://{ip}:9/");
            for guard in [Guard::Public, Guard::PrivateNoLoopback] {
                assert_eq!(kind(self::transport().send(guarded(&url, guard)).await), FailureKind::Blocked, "{url}");
            }
        }
    });
}

#[test]
fn http_is_refused_where_https_is_asked_for_also_to_what_was_saved_before() {
    run(async {
        let server = Server::answering(OK).await;
        let transport = within(Perimeter::new(Vec::new(), true));
        assert_eq!(kind(transport.send(guarded(&server.url, Guard::PublicAndLoopback)).await), FailureKind::Blocked);
        assert_eq!(server.accepted(), 0);
        assert!(transport.send(guarded(&server.url, Guard::Private)).await.is_ok());
    });
}

/// A receiver that tells of each connection it takes (`true`) and sees ended (`false`).
async fn counting() -> (Server, mpsc::UnboundedReceiver<bool>) {
    let (tell, heard) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let tell = tell.clone();
        async move {
            let _ = tell.send(true);
            while peer.request().await.is_some() {
                peer.write(OK).await;
            }
            let _ = tell.send(false);
        }
    })
    .await;
    (server, heard)
}

#[test]
fn endpoints_that_have_fallen_silent_hold_no_socket() {
    run(async {
        let (server, mut heard) = counting().await;
        let names = Names::by(8, |_| async { Ok(vec![HERE]) });
        let keep = Duration::from_millis(200);
        let transport = HttpTransport::new(&Network { names, keep, ..DISTRUST.clone() });
        let urls: Vec<_> = (0..100).map(|n| server.url.replace("127.0.0.1", &format!("e{n}.example"))).collect();
        let answers = join_all(urls.iter().map(|url| post(&transport, url))).await;
        assert!(answers.iter().all(Result::is_ok));
        let mut open = 0_i32;
        let mut most = 0;
        while open != 0 || most == 0 {
            open += if heard.recv().await.unwrap() { 1 } else { -1 };
            most = most.max(open);
        }
        while transport.0.kept().is_watched() {
            tokio::task::yield_now().await;
        }
        assert_eq!((server.accepted(), transport.0.kept().next()), (100, None));
        assert_eq!(transport.0.len(), 0, "what is left of them went with their pool");
        // It begins again.
        assert!(post(&transport, &urls[0]).await.is_ok());
        assert_eq!((heard.recv().await, heard.recv().await), (Some(true), Some(false)));
    });
}

#[test]
fn a_connection_in_use_stays_however_old_its_first_exchange_is() {
    run(async {
        let (server, mut heard) = counting().await;
        let (keep, policy) = (Duration::from_secs(3600), Policy::default().shared());
        let transport = HttpTransport::new(&Network { keep, ..DISTRUST.clone() });
        let hook = || attempt(Settings { policy: policy.clone(), ..settings(&server.url) });
        for _ in 0..50 {
            assert!(transport.send(hook()).await.is_ok());
        }
        assert_eq!((server.accepted(), transport.0.kept().len()), (1, 1));
        drop(transport);
        assert_eq!((heard.recv().await, heard.recv().await), (Some(true), Some(false)));
    });
}

#[test]
fn sockets_that_the_receiver_closed_are_given_back_too() {
    run(async {
        let server = Server::closing_after(OK).await;
        let transport = HttpTransport::new(&Network { keep: Duration::from_millis(50), ..DISTRUST.clone() });
        assert!(post(&transport, &server.url).await.is_ok());
        while transport.0.kept().is_watched() {
            tokio::task::yield_now().await;
        }
        assert_eq!((transport.0.kept().len(), transport.0.len()), (0, 0));
    });
}

#[test]
fn pools_of_tenants_that_have_fallen_silent_are_given_back() {
    run(async {
        let (server, mut heard) = counting().await;
        let transport = HttpTransport::new(&Network { keep: Duration::from_millis(200), ..DISTRUST.clone() });
        let of = |n: usize| {
            let tenant = TenantScope::Of(format!("t{n}").parse().unwrap());
            transport.send(attempt(Settings { tenant, ..settings(&server.url) }))
        };
        assert!(join_all((0..50).map(of)).await.iter().all(Result::is_ok));
        assert_eq!((server.accepted(), transport.0.len()), (50, 50));
        for _ in 0..100 {
            heard.recv().await.unwrap();
        }
        while transport.0.kept().is_watched() {
            tokio::task::yield_now().await;
        }
        assert_eq!(transport.0.len(), 0);
        // One that never gets a connection holds no pool either.
        let nobody = settings("http://127.0.0.1:1/");
        assert!(transport.send(attempt(nobody)).await.is_err());
        assert_eq!(transport.0.len(), 0);
    });
}
