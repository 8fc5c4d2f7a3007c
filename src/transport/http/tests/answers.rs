//! What becomes of every kind of answer.

use std::cell::RefCell;

use super::{server::Server, *};
use crate::{
    endpoint::format::{Format, Part},
    transport::{RetryAfter, body, signature},
};

/// The signature is that of this body, by the secret.
fn expect_signed(secret: &Secret, signature: &str, body: &str) {
    let verifier = signature::Verifier::Secret(secret.clone());
    signature::verify(&[verifier], "signup-7", "1614265330", signature, body.as_bytes(), AT).unwrap();
}

#[test]
fn an_attempt_is_one_signed_request() {
    run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let log = seen.clone();
        let server = Server::start(move |mut peer, _| {
            let log = log.clone();
            async move {
                let request = peer.request().await.unwrap();
                log.borrow_mut().push(request);
                peer.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            }
        })
        .await;
        let mut settings = settings(&format!("http://127.0.0.1:{}/a%20b?c=d#e", server.port));
        settings.method = "PUT".into();
        settings.headers = vec![
            ("x-extra".into(), "1".into()),
            ("transfer-encoding".into(), "gzip".into()),
            ("keep-alive".into(), "1".into()),
            ("Proxy-X".into(), "1".into()),
        ];
        settings.auth = Some(Auth::Basic { user: "u".into(), password: "p:q".into() });
        let answer = transport().send(attempt(settings)).await.unwrap();
        assert_eq!(response(answer), Response { body: "ok".into(), ..Response::new(200) });

        let seen = seen.take();
        let [request] = seen.as_slice() else { panic!("{seen:?}") };
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, r#"{"type":"user.created","timestamp":"2021-02-25T15:02:10.999Z","data":{ "n":1.0 }}"#);
        let (first, headers) = head.split_once("\r\n").unwrap();
        assert_eq!(first, "PUT /a%20b?c=d HTTP/1.1");
        let mut headers: Vec<_> = headers.lines().map(|line| line.split_once(": ").unwrap()).collect();
        headers.sort_unstable();
        let host = format!("127.0.0.1:{}", server.port);
        let signature = headers.iter().find(|(name, _)| *name == signature::SIGNATURE).unwrap().1;
        let expected = [
            ("authorization", "Basic dTpwOnE="),
            ("content-length", &body.len().to_string()),
            ("content-type", "application/json"),
            ("host", &host),
            ("user-agent", concat!("hookmill/", env!("CARGO_PKG_VERSION"))),
            (signature::ID, "signup-7"),
            (signature::SIGNATURE, signature),
            (signature::TIMESTAMP, "1614265330"),
            ("x-extra", "1"),
        ];
        headers.retain(|(name, _)| *name != "date"); // awc's own
        assert_eq!(headers, expected);
        let secret = Secret::parse(SECRET).unwrap();
        expect_signed(&secret, signature, body);
    });
}

#[test]
fn a_format_has_its_content_type_its_headers_and_a_signed_body() {
    run(async {
        let seen = Rc::new(RefCell::new(String::new()));
        let log = seen.clone();
        let server = Server::start(move |mut peer, _| {
            let log = log.clone();
            async move {
                while let Some(request) = peer.request().await {
                    *log.borrow_mut() = request;
                    peer.write("HTTP/1.1 204 No Content\r\n\r\n").await;
                }
            }
        })
        .await;
        let (transport, secret) = (transport(), Secret::parse(SECRET).unwrap());
        for (format, content_type, of_format, expected) in [
            (Format::Raw, "application/json", "", r#"{ "n":1.0 }"#),
            (Format::CloudEvents, "application/cloudevents+json", "", "{\"specversion\":\"1.0\","),
            (Format::CloudEventsBinary, "application/json", "ce-id: signup-7", r#"{ "n":1.0 }"#),
        ] {
            let settings = Settings { format, ..settings(&server.url) };
            assert_eq!(response(transport.send(attempt(settings)).await.unwrap()).status, 204);
            let request = seen.take();
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            assert!(body.starts_with(expected) && head.contains(of_format), "{request}");
            assert!(head.contains(&format!("\r\ncontent-type: {content_type}\r\n")), "{request}");
            let signature = head.lines().find_map(|line| line.strip_prefix("webhook-signature: ")).unwrap();
            expect_signed(&secret, signature, body);
        }
    });
}

#[test]
fn what_a_format_cannot_write_is_not_sent() {
    run(async {
        let mut settings = settings("http://127.0.0.1:1/");
        let long = serde_json::Value::from("x".repeat(body::MAX_BODY_BYTES));
        settings.format = Format::Map(Box::new(Part::Literal(long)));
        assert_eq!(kind(transport().send(attempt(settings)).await), FailureKind::Unrenderable);
    });
}

#[test]
fn every_final_status_is_an_answer_and_redirects_are_not_followed() {
    run(async {
        for status in [200, 204, 302, 307, 404, 429, 500, 599] {
            let server = Server::start(move |mut peer, _| async move {
                peer.request().await;
                let head = format!("HTTP/1.1 {status} x\r\nlocation: /elsewhere\r\nretry-after: 7\r\n");
                peer.write(&format!("{head}{}\r\n", if status == 204 { "" } else { "content-length: 0\r\n" })).await;
                assert_eq!(peer.request().await, None);
            })
            .await;
            let retry_after = Some(RetryAfter::Delay(Duration::from_secs(7)));
            let expected = Response { retry_after, ..Response::new(status) };
            assert_eq!(post(&transport(), &server.url).await, Ok(expected));
            assert_eq!(server.accepted(), 1);
        }
    });
}

#[test]
fn a_body_without_end_is_cut_and_its_connection_closed() {
    run(async {
        let (done, closed) = tokio::sync::oneshot::channel();
        let done = Rc::new(RefCell::new(Some(done)));
        let server = Server::start(move |mut peer, _| {
            let done = done.take().unwrap();
            async move {
                peer.request().await;
                peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
                while peer.write("5\r\nhello\r\n").await {}
                done.send(()).unwrap();
            }
        })
        .await;
        let answer = post(&transport(), &server.url).await.unwrap();
        assert_eq!(answer.body, "hello".repeat(1000).as_bytes()[..KEPT_RESPONSE_BYTES]);
        assert!(!answer.complete);
        closed.await.unwrap();
    });
}

#[test]
fn an_attempt_may_ask_for_more_or_less_of_the_body() {
    run(async {
        let server = Server::start(|mut peer, _| async move {
            peer.request().await;
            let body = "x".repeat(10_000);
            peer.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n{body}")).await;
            peer.closed().await;
        })
        .await;
        for (keep, kept, complete) in [(20_000, 10_000, true), (10_000, 10_000, true), (9_999, 9_999, false)] {
            let answer =
                transport().send(Attempt { keep, ..attempt(settings(&server.url)) }).await.map(response).unwrap();
            assert_eq!((answer.body.len(), answer.complete), (kept, complete));
        }
    });
}

#[test]
fn a_body_of_just_the_kept_length_is_complete() {
    run(async {
        let server = Server::start(|mut peer, _| async move {
            peer.request().await;
            let body = "x".repeat(KEPT_RESPONSE_BYTES);
            peer.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {KEPT_RESPONSE_BYTES}\r\n\r\n{body}")).await;
            peer.closed().await;
        })
        .await;
        let answer = post(&transport(), &server.url).await.unwrap();
        assert_eq!((answer.body.len(), answer.complete), (KEPT_RESPONSE_BYTES, true));
    });
}

#[test]
fn a_body_that_breaks_off_is_a_failure() {
    run(async {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ntrun",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\n",
            "HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\ntrun",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ntrun\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n9\r\ntrun",
        ] {
            let server = Server::closing_after(answer).await;
            assert_eq!(kind(post(&transport(), &server.url).await), FailureKind::Protocol, "{answer}");
        }
    });
}

#[test]
fn a_body_that_ends_is_complete() {
    run(async {
        for answer in [
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone",
            "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ndone\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n4\r\ndone\r\n0\r\n\r\n",
            "HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\ndone",
            "HTTP/1.0 200 OK\r\n\r\ndone",
        ] {
            let server = Server::closing_after(answer).await;
            let expected = Response { body: "done".into(), ..Response::new(200) };
            assert_eq!(post(&transport(), &server.url).await, Ok(expected), "{answer}");
        }
    });
}

#[test]
fn an_old_answer_without_a_body_is_complete_whether_its_connection_ends_or_not() {
    run(async {
        for (status, headers) in [
            (200, "content-length: 0\r\n"),
            (200, "content-length: 00\r\nconnection: keep-alive\r\n"),
            (500, "content-length: 0\r\nconnection: close\r\n"),
            (204, ""),
            (204, "connection: keep-alive\r\n"),
            (204, "content-length: 4\r\n"),
            (304, "content-length: 4\r\n"),
        ] {
            let answer: &'static str = format!("HTTP/1.0 {status} x\r\n{headers}\r\n").leak();
            let expected = Response::new(status);
            for server in [Server::closing_after(answer).await, Server::answering(answer).await] {
                let transport = transport();
                for nth in [1, 2] {
                    assert_eq!(post(&transport, &server.url).await, Ok(expected.clone()), "{answer}");
                    assert_eq!(server.accepted(), nth, "its connection is not used again");
                }
            }
        }
    });
}

#[test]
fn an_answer_whose_status_has_no_body_ends_with_its_head() {
    run(async {
        for status in [204, 304] {
            for (headers, kept) in [
                ("", true),
                ("content-length: 0\r\n", true),
                ("content-length: 4\r\n", false),
                ("content-length: 18446744073709551615\r\n", false),
                ("transfer-encoding: chunked\r\n", false),
            ] {
                let answer: &'static str = format!("HTTP/1.1 {status} x\r\n{headers}\r\n").leak();
                let expected = Response::new(status);
                for server in [Server::closing_after(answer).await, Server::answering(answer).await] {
                    let transport = transport();
                    for _ in [1, 2] {
                        assert_eq!(post(&transport, &server.url).await, Ok(expected.clone()), "{answer}");
                    }
                    assert!(kept || server.accepted() == 2, "{answer}: its connection is not used again");
                }
            }
        }
    });
}

#[test]
fn a_body_that_is_not_read_is_not_called_complete() {
    run(async {
        let server = Server::closing_after("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndone").await;
        let answer = post(&transport(), &server.url).await.unwrap();
        assert_eq!((answer.status, answer.complete), (200, false));
    });
}

#[test]
fn what_is_no_final_answer_is_a_protocol_failure() {
    run(async {
        for nonsense in [
            "",
            "SSH-2.0-OpenSSH_9.6\r\n",
            "HTTP/1.1 200",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 999 No\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        ] {
            let server = Server::closing_after(nonsense).await;
            assert_eq!(kind(post(&transport(), &server.url).await), FailureKind::Protocol, "{nonsense}");
        }
    });
}
