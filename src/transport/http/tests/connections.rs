//! Which connections are made, kept, and given up.

use futures_util::future::join_all;
use tokio::{net::TcpListener, sync::mpsc};

use super::{server::Server, *};
use crate::{quota::Fair, transport::peer_of};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

fn impatient(url: &str) -> Settings {
    let policy = Policy { timeout: Duration::from_millis(50), ..Policy::default() }.shared();
    Settings { policy, ..settings(url) }
}

fn guarded(url: &str, guard: Guard) -> Attempt {
    attempt(Settings { guard, ..settings(url) })
}

#[test]
fn silence_is_a_timeout_at_every_stage() {
    run(async {
        for said in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbegun"] {
            let server = Server::start(move |mut peer, _| async move {
                peer.request().await;
                peer.write(said).await;
                peer.closed().await;
            })
            .await;
            for scheme in ["http", "https"] {
                let url = server.url.replace("http", scheme);
                let answer = transport().send(attempt(impatient(&url))).await;
                assert_eq!(kind(answer), FailureKind::Timeout, "{url} {said}");
            }
        }
    });
}

#[test]
fn nobody_listening_is_a_connect_failure() {
    run(async {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let answer = post(&transport(), &format!("http://127.0.0.1:{port}")).await;
        assert_eq!(kind(answer), FailureKind::Connect);
    });
}

#[test]
fn an_answer_and_a_failure_tell_whom_they_were_with() {
    run(async {
        let here = |port: u16| Some(Peer { address: ([127, 0, 0, 1], port).into(), public: false });
        let (transport, server) = (transport(), Server::answering(OK).await);
        for _ in 0..2 {
            let answer = transport.send(attempt(settings(&server.url))).await;
            assert!(answer.is_ok(), "{answer:?}");
            assert_eq!(peer_of(&answer), here(server.port));
        }
        assert_eq!(server.accepted(), 1, "a connection that was kept");
        let silent = Server::start(|mut peer, _| async move { peer.closed().await }).await;
        for scheme in ["http", "https"] {
            let answer = transport.send(attempt(impatient(&silent.url.replace("http", scheme)))).await;
            assert_eq!(peer_of(&answer), here(silent.port));
            assert_eq!(kind(answer), FailureKind::Timeout);
        }
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let answer = transport.send(attempt(settings(&format!("http://127.0.0.1:{port}")))).await;
        assert_eq!(peer_of(&answer), here(port), "tried");
        let failure = answer.unwrap_err();
        assert!(failure.kind == FailureKind::Connect && !failure.detail.contains("127.0.0.1"), "{failure}");
        let nowhere = transport.send(attempt(settings("http://nowhere.invalid"))).await;
        assert_eq!(peer_of(&nowhere), None);
    });
}

#[test]
fn a_name_that_is_not_there_is_a_dns_failure() {
    run(async {
        assert_eq!(kind(post(&transport(), "http://nowhere.invalid").await), FailureKind::Dns);
    });
}

#[test]
fn names_and_literals_of_loopback_are_blocked_and_never_connected_to() {
    run(async {
        let server = Server::answering(OK).await;
        for host in ["localhost", "127.0.0.1", "127.1", "2130706433", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]"] {
            let url = format!("http://{host}:{}", server.port);
            for guard in [Guard::Public, Guard::PrivateNoLoopback] {
                assert_eq!(kind(transport().send(guarded(&url, guard)).await), FailureKind::Blocked, "{url}");
            }
        }
        assert_eq!(server.accepted(), 0);
        let url = format!("http://localhost:{}", server.port);
        assert!(transport().send(guarded(&url, Guard::PublicAndLoopback)).await.is_ok());
        assert!(transport().send(guarded(&url, Guard::Private)).await.is_ok());
    });
}

#[test]
fn a_kept_connection_is_not_lent_past_a_guard() {
    run(async {
        let (server, transport) = (Server::answering(OK).await, transport());
        assert!(transport.send(guarded(&server.url, Guard::Private)).await.is_ok());
        for guard in [Guard::Public, Guard::PrivateNoLoopback] {
            assert_eq!(kind(transport.send(guarded(&server.url, guard)).await), FailureKind::Blocked);
        }
        assert!(transport.send(guarded(&server.url, Guard::PublicAndLoopback)).await.is_ok());
        assert_eq!(server.accepted(), 2);
    });
}

/// A receiver that answers each request twice on its first connection, the second time once the next request is there.
async fn echoing_the_last() -> Server {
    Server::start(|mut peer, nth| async move {
        let mut last = None;
        while let Some(request) = peer.request().await {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let said = if nth == 1 { last.replace(path.clone()).unwrap_or(path) } else { path };
            peer.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{said}", said.len())).await;
        }
    })
    .await
}

#[test]
fn an_answer_that_comes_when_the_next_request_was_written_is_never_anothers() {
    run(async {
        let (server, transport) = (echoing_the_last().await, transport());
        let ask = async |tenant: TenantScope, path: &str| {
            let url = server.url.replace("/hook", path);
            transport.send(attempt(Settings { tenant, ..settings(&url) })).await.map(response).unwrap().body
        };
        let of = |tenant: &str| TenantScope::Of(tenant.parse().unwrap());
        assert_eq!(ask(of("acme"), "/a").await, "/a");
        assert_eq!(ask(of("globex"), "/b").await, "/b", "what acme's receiver says is for acme");
        assert_eq!(ask(TenantScope::None, "/c").await, "/c");
        assert_eq!(ask(TenantScope::Every, "/d").await, "/d");
        assert_eq!(ask(of("globex"), "/e").await, "/e");
        assert_eq!(server.accepted(), 4, "each has kept its own");
        assert_eq!(ask(of("acme"), "/f").await, "/a", "the receiver does answer like that");
    });
}

/// A receiver that answers nothing, and what tells of each request that came.
async fn hung() -> (Server, mpsc::UnboundedReceiver<()>) {
    let (heard, events) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, _| {
        let heard = heard.clone();
        async move {
            peer.request().await;
            let _ = heard.send(());
            peer.closed().await;
        }
    });
    (server.await, events)
}

fn with_sockets(places: usize) -> HttpTransport {
    HttpTransport::new(&Network { sockets: Fair::new(places), ..DISTRUST.clone() })
}

#[test]
fn a_connection_that_nobody_uses_makes_room_for_one_that_is_wanted() {
    run(async {
        let transport = with_sockets(2);
        let servers = [(); 3].map(|()| Server::answering(OK));
        for server in join_all(servers).await {
            assert_eq!(post(&transport, &server.url).await.unwrap().status, 200);
        }
    });
}

#[test]
fn hung_connections_of_one_tenant_leave_room_for_anothers() {
    run(async {
        let (hung, mut events) = hung().await;
        let (well, transport) = (Server::answering(OK).await, with_sockets(8));
        let of = |tenant: &str, url: &str, timeout: u64| {
            let policy = Policy { timeout: Duration::from_millis(timeout), ..Policy::default() }.shared();
            let tenant = TenantScope::Of(tenant.parse().unwrap());
            transport.send(attempt(Settings { tenant, policy, ..settings(url) }))
        };
        assert!(of("globex", &well.url, 60_000).await.is_ok());
        let exchanges = join_all((0..20).map(|_| of("acme", &hung.url, 60_000)));
        let others = async {
            for _ in 0..3 {
                events.recv().await.unwrap();
            }
            assert_eq!(kind(of("acme", &well.url, 150).await), FailureKind::Shortage, "acme has all it may");
            assert!(of("globex", &well.url, 60_000).await.is_ok());
            assert_eq!(well.accepted(), 1, "the connection that was kept is not closed for another tenant's sake");
        };
        tokio::select! {
            biased;
            answers = exchanges => panic!("{} answers", answers.len()),
            () = others => {}
        }
        assert!(events.try_recv().is_err(), "no more than three");
    });
}

#[test]
fn answers_with_a_clear_end_keep_their_connection() {
    run(async {
        for answer in [
            OK,
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 500 x\r\ncontent-length: 2\r\n\r\nno",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        ] {
            let (server, transport) = (Server::answering(answer).await, transport());
            for _ in 0..3 {
                assert!(post(&transport, &server.url).await.unwrap().complete, "{answer}");
            }
            assert_eq!(server.accepted(), 1, "{answer}");
        }
    });
}

/// The first connection gets `first` and must then be closed; every other one gets a plain 200.
async fn poisoned_by(first: &'static str) -> (Server, mpsc::UnboundedReceiver<()>) {
    let (done, closed) = mpsc::unbounded_channel();
    let server = Server::start(move |mut peer, nth| {
        let done = done.clone();
        async move {
            peer.request().await;
            peer.write(if nth == 1 { first } else { OK }).await;
            peer.closed().await;
            let _ = done.send(());
        }
    })
    .await;
    (server, closed)
}

#[test]
fn after_an_interim_answer_the_connection_is_closed_and_never_used_again() {
    run(async {
        for first in [
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            "HTTP/1.1 103 Early Hints\r\ncontent-length: 6\r\n\r\npoison",
        ] {
            let (server, mut closed) = poisoned_by(first).await;
            let transport = transport();
            assert_eq!(kind(post(&transport, &server.url).await), FailureKind::Protocol, "{first}");
            closed.recv().await.unwrap();
            assert_eq!(post(&transport, &server.url).await.unwrap().body, "", "{first}");
            assert_eq!(server.accepted(), 2);
        }
    });
}

#[test]
fn after_a_body_without_a_stated_end_the_connection_is_closed() {
    run(async {
        for first in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"] {
            let (server, mut closed) = poisoned_by(first).await;
            let transport = transport();
            assert_eq!(post(&transport, &server.url).await.unwrap().status, 200, "{first}");
            closed.recv().await.unwrap();
            assert!(post(&transport, &server.url).await.unwrap().complete, "{first}");
            assert_eq!(server.accepted(), 2);
        }
    });
}

#[test]
fn a_connection_that_was_closed_while_it_was_idle_is_replaced() {
    run(async {
        let (server, transport) = (Server::closing_after(OK).await, transport());
        for _ in 0..20 {
            // Whether the end has arrived is a race, which both outcomes of the next request leave undecided; what is
            // certain is that no request is sent twice.
            let before = server.accepted();
            match post(&transport, &server.url).await {
                Ok(answer) => assert_eq!((answer.status, server.accepted()), (200, before + 1)),
                Err(failure) => assert_eq!((failure.kind, server.accepted()), (FailureKind::Protocol, before)),
            }
        }
    });
}

#[test]
fn a_request_that_dies_on_a_kept_connection_is_not_sent_again() {
    run(async {
        let server = Server::start(|mut peer, _| async move {
            peer.request().await;
            peer.write(OK).await;
            peer.request().await;
        })
        .await;
        let transport = transport();
        assert!(post(&transport, &server.url).await.is_ok());
        assert_eq!(kind(post(&transport, &server.url).await), FailureKind::Protocol);
        assert_eq!(server.accepted(), 1);
    });
}

#[test]
fn a_receiver_that_closes_at_once_is_a_protocol_failure() {
    run(async {
        let server = Server::start(|_, _| async {}).await;
        assert_eq!(kind(post(&transport(), &server.url).await), FailureKind::Protocol);
    });
}

#[test]
fn dropping_the_exchange_closes_its_connection() {
    run(async {
        let (heard, mut events) = mpsc::unbounded_channel();
        let server = Server::start(move |mut peer, _| {
            let heard = heard.clone();
            async move {
                peer.request().await;
                let _ = heard.send("request");
                peer.closed().await;
                let _ = heard.send("closed");
            }
        })
        .await;
        let exchange = transport().send(attempt(settings(&server.url)));
        tokio::select! {
            answer = exchange => panic!("{answer:?}"),
            event = events.recv() => assert_eq!(event, Some("request")),
        }
        assert_eq!(events.recv().await, Some("closed"));
    });
}

#[test]
fn hung_exchanges_to_one_endpoint_hold_up_no_other() {
    run(async {
        let (hung, mut events) = hung().await;
        let (well, transport) = ([Server::answering(OK).await, Server::answering(OK).await], transport());
        let exchanges = join_all((0..150).map(|_| post(&transport, &hung.url)));
        let others = async {
            for _ in 0..150 {
                events.recv().await.unwrap();
            }
            for server in &well {
                assert_eq!(post(&transport, &server.url).await.unwrap().status, 200);
            }
        };
        tokio::select! {
            biased;
            answers = exchanges => panic!("{} answers", answers.len()),
            () = others => {}
        }
    });
}
