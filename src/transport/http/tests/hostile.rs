//! Receivers that mean harm, or are broken as if they did: each gets one bounded attempt with its outcome, and harms no other.

use std::cell::RefCell;

use super::{
    server::{Peer, Server},
    *,
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// So short that a test may wait for it, and so long that a working receiver answers in it.
fn short(url: &str) -> Settings {
    Settings { policy: Policy { timeout: Duration::from_millis(300), ..Policy::default() }.shared(), ..settings(url) }
}

/// What becomes of the first attempt at a receiver that does `harm` on its first connection; the next attempt, and one at another
/// receiver, must succeed, by the same transport.
async fn first<F: Future<Output = ()> + 'static>(harm: impl Fn(Peer) -> F + 'static) -> Result<Response, Failure> {
    let harm = Rc::new(harm);
    let server = Server::start(move |mut peer, nth| {
        let harm = Rc::clone(&harm);
        async move {
            if nth == 1 {
                return harm(peer).await;
            }
            peer.answer(OK).await;
        }
    })
    .await;
    let (transport, other) = (transport(), Server::answering(OK).await);
    let answer = transport.send(attempt(short(&server.url))).await.map(response);
    assert_eq!(post(&transport, &other.url).await.unwrap().body, "ok");
    assert_eq!(post(&transport, &server.url).await.unwrap().body, "ok");
    answer
}

/// The same for a receiver that answers a whole request with `bytes`, and any other on that connection as it should.
async fn after(bytes: impl Into<Vec<u8>>) -> Result<Response, Failure> {
    let bytes = bytes.into();
    first(move |mut peer| {
        let bytes = bytes.clone();
        async move {
            peer.request().await;
            peer.write_bytes(&bytes).await;
            peer.answer(OK).await;
        }
    })
    .await
}

#[test]
fn an_answer_that_takes_too_long_is_a_timeout_however_it_is_drawn_out() {
    run(async {
        for head in ["HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", "HTTP/1.1 200 OK\r\nx: ", "HTTP/1.1 200 ", ""]
        {
            let answer = first(move |mut peer| async move {
                peer.request().await;
                peer.write(head).await;
                while peer.write("0").await {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
            let expected = if head.is_empty() { FailureKind::Protocol } else { FailureKind::Timeout };
            assert_eq!(kind(answer), expected, "{head}");
        }
    });
}

#[test]
fn heads_without_bounds_are_protocol_failures() {
    run(async {
        let many = "x-y: z\r\n".repeat(100_000);
        assert_eq!(kind(after(format!("HTTP/1.1 200 OK\r\n{many}\r\n")).await), FailureKind::Protocol);
        for head in ["HTTP/1.1 200 OK\r\nx: ", "HTTP/1.1 200 ", "\r\n"] {
            let answer = first(move |mut peer| async move {
                peer.request().await;
                peer.write(head).await;
                let more = if head == "\r\n" { "\r\n" } else { "a" }.repeat(4096);
                while peer.write(&more).await {}
            })
            .await;
            assert_eq!(kind(answer), FailureKind::Protocol, "{head:?}");
        }
    });
}

#[test]
fn a_head_is_bounded_and_what_comes_with_it_is_not() {
    run(async {
        let head = |bytes: usize| {
            let (begin, end) = ("HTTP/1.1 200 OK\r\ncontent-length: 3000\r\nx: ", "\r\n\r\n");
            format!("{begin}{}{end}", "y".repeat(bytes - begin.len() - end.len()))
        };
        let body = "z".repeat(3000);
        assert_eq!(after(head(12 << 10) + &body).await.unwrap().body, body);
        let failure = after(head((16 << 10) + 1) + &body).await.unwrap_err();
        assert_eq!((failure.kind, failure.detail.contains("16 KiB")), (FailureKind::Protocol, true), "{failure}");
    });
}

#[test]
fn what_stands_beside_a_chunk_is_not_kept_and_bounded() {
    run(async {
        let server = Server::start(|mut peer, nth| async move {
            if nth > 1 {
                return peer.answer(OK).await;
            }
            peer.request().await;
            peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;").await;
            while peer.write(&"a".repeat(10_000)).await {}
        })
        .await;
        let transport = transport();
        // Long before the deadline.
        let failure = post(&transport, &server.url).await.unwrap_err();
        assert_eq!((failure.kind, failure.detail.contains("KiB")), (FailureKind::Protocol, true), "{failure}");
        assert_eq!(post(&transport, &server.url).await.unwrap().body, "ok");
    });
}

#[test]
fn a_body_in_the_smallest_chunks_is_read_as_far_as_it_is_kept() {
    run(async {
        for keep in [0, 100, KEPT_RESPONSE_BYTES, 1 << 18] {
            let server = Server::start(move |mut peer, _| async move {
                peer.request().await;
                let chunks = "1\r\nx\r\n".repeat(keep);
                peer.write(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")).await;
                peer.closed().await;
            })
            .await;
            let answer = transport().send(Attempt { keep, ..attempt(settings(&server.url)) }).await.map(response);
            let answer = answer.unwrap();
            assert_eq!((answer.body.len(), answer.complete), (keep, true));
        }
    });
}

#[test]
fn lengths_that_contradict_each_other_or_are_none_are_protocol_failures() {
    run(async {
        for headers in [
            "content-length: 2\r\ncontent-length: 3",
            "content-length: -1",
            "content-length: +2",
            "content-length: 2, 2",
            "content-length: 0x2",
            "content-length: 18446744073709551616",
            "content-length: 99999999999999999999999999",
            "content-length: two",
            "content-length: 2\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 2",
        ] {
            let answer = after(format!("HTTP/1.1 200 OK\r\n{headers}\r\n\r\nok")).await;
            assert_eq!(kind(answer), FailureKind::Protocol, "{headers}");
        }
        for chunks in
            ["-1\r\nok\r\n", "+2\r\nok\r\n", "fffffffffffffffff\r\nok\r\n", "0x2\r\nok\r\n", "2\r\nok", "\r\n"]
        {
            let answer = after(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")).await;
            assert!(matches!(kind(answer), FailureKind::Protocol | FailureKind::Timeout), "{chunks}");
        }
    });
}

#[test]
fn lengths_beyond_all_bounds_are_read_no_further_than_is_kept() {
    run(async {
        let kept = "x".repeat(KEPT_RESPONSE_BYTES);
        for (framing, begin) in [
            ("content-length: 18446744073709551615", ""),
            ("transfer-encoding: chunked", "ffffffffffffffff\r\n"),
            ("transfer-encoding: chunked", "7fffffff;a=b\r\n"),
        ] {
            let answer = first(move |mut peer| async move {
                peer.request().await;
                peer.write(&format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{begin}")).await;
                while peer.write(&"x".repeat(100_000)).await {}
            })
            .await
            .unwrap();
            assert_eq!((answer.body, answer.complete), (kept.clone().into(), false), "{framing}");
        }
    });
}

#[test]
fn what_is_compressed_stays_so() {
    run(async {
        let bomb = [
            &b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 12\r\n\r\n"[..],
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xed\xc1",
        ];
        assert_eq!(after(bomb.concat()).await.unwrap().body, &b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xed\xc1"[..]);
    });
}

#[test]
fn redirects_lead_nowhere() {
    run(async {
        let elsewhere = Server::answering(OK).await;
        for to in ["http://169.254.169.254/latest", &elsewhere.url, "//127.0.0.1", "gopher://x", "\u{7f}"] {
            for status in [301, 302, 303, 307, 308] {
                let head = format!("HTTP/1.1 {status} x\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
                match after(head).await {
                    Ok(answer) => assert_eq!(answer.status, status, "{to}"),
                    Err(failure) => assert_eq!((failure.kind, to), (FailureKind::Protocol, "\u{7f}")),
                }
            }
        }
        assert_eq!(elsewhere.accepted(), 0);
    });
}

#[test]
fn bytes_that_are_no_text_are_a_failure_or_a_header_and_never_in_our_log() {
    run(async {
        for bytes in [
            &b"\xff\xfe\xfd\r\n\r\n"[..],
            b"HTTP/1.1 200 \0\r\n\r\n",
            b"HTTP/9.9 200 OK\r\n\r\n",
            b"HTTP/1.1 \xd9\xa2\xd9\xa0\xd9\xa0 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n\x1b[31m: x\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\n\r\n",
            b"HTTP/1.1 200 OK\r\na: \x1b[2J\r\n\r\n",
            b"\x16\x03\x01\x02\0\x01",
        ] {
            let failure = after(bytes).await.unwrap_err();
            assert!(matches!(failure.kind, FailureKind::Protocol), "{} {failure}", bytes.escape_ascii());
            assert!(!failure.detail.contains(char::is_control), "{failure}");
        }
        for bytes in [
            &b"HTTP/1.1 200 \xff\xfe\r\ncontent-length: 0\r\n\r\n"[..],
            b"HTTP/1.1 200 OK\r\nretry-after: \xff\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert_eq!(after(bytes).await.unwrap().status, 200);
        }
    });
}

#[test]
fn control_characters_forge_no_line() {
    let failure = Failure::new(FailureKind::Protocol, "a\r\n2026-01-31 \u{1b}[31mERROR forged\u{0}\u{85}\u{2028}ü");
    assert_eq!(failure.to_string(), "a\\r\\n2026-01-31 \\u{1b}[31mERROR forged\\u{0}\\u{85}\u{2028}ü");
}

#[test]
fn a_reset_is_a_protocol_failure_at_every_stage() {
    run(async {
        for said in
            [None, Some(""), Some("HTTP/1.1 200 OK\r\n"), Some("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbeg")]
        {
            let answer = first(move |mut peer| async move {
                if let Some(said) = said {
                    peer.request().await;
                    peer.write(said).await;
                } else {
                    peer.some().await;
                }
                peer.reset();
            })
            .await;
            assert_eq!(kind(answer), FailureKind::Protocol, "{said:?}");
        }
        let answer = first(|peer| async move { peer.reset() }).await;
        assert!(matches!(kind(answer), FailureKind::Protocol | FailureKind::Connect));
    });
}

#[test]
fn a_receiver_that_breaks_off_during_a_long_request_is_a_protocol_failure() {
    run(async {
        let server = Server::start(|mut peer, nth| async move {
            peer.some().await;
            if nth == 1 { peer.reset() } else { peer.closed().await }
        })
        .await;
        let long = || {
            let data = format!("\"{}\"", "x".repeat(900_000));
            let event = Event::from_json("a.b", data).id("long").validate(AT).unwrap();
            Attempt { events: vec![Arc::new(Accepted::new(1, AT, event))], ..attempt(short(&server.url)) }
        };
        let transport = transport();
        assert_eq!(kind(transport.send(long()).await), FailureKind::Protocol);
        // The second one reads all and says nothing.
        assert_eq!(kind(transport.send(long()).await), FailureKind::Timeout);
    });
}

#[test]
fn a_receiver_that_is_done_talking_is_heard_out() {
    run(async {
        for (said, expected) in [
            ("", Err(FailureKind::Protocol)),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nbeg", Err(FailureKind::Protocol)),
            (OK, Ok(true)),
            ("HTTP/1.0 200 OK\r\n\r\nuntil the end", Ok(true)),
            ("HTTP/1.1 200 OK\r\n\r\nuntil the end", Ok(false)),
        ] {
            let answer = first(move |mut peer| async move {
                peer.request().await;
                peer.write(said).await;
                peer.fall_silent().await;
                peer.closed().await;
            })
            .await;
            assert_eq!(answer.map(|answer| answer.complete).map_err(|failure| failure.kind), expected, "{said}");
        }
    });
}

#[test]
fn interim_answers_are_failures_in_every_number_and_place() {
    run(async {
        for interim in ["100 Continue", "102 Processing", "103 Early Hints", "199 x"] {
            for times in [1, 2, 50] {
                let answer = after(format!("HTTP/1.1 {interim}\r\n\r\n").repeat(times) + OK).await;
                assert_eq!(kind(answer), FailureKind::Protocol, "{interim}");
            }
        }
    });
}

/// Two endpoints of one host share its connections. The first connection gets `first`, in the pieces of which it consists, as soon
/// as it is asked; other requests are answered with their path. What did the second endpoint get?
async fn beside(first: &'static [&'static str]) -> Result<Response, Failure> {
    let (sent, heard) = tokio::sync::oneshot::channel();
    let sent = Rc::new(RefCell::new(Some(sent)));
    let server = Server::start(move |mut peer, nth| {
        let sent = Rc::clone(&sent);
        async move {
            if nth == 1 && peer.request().await.is_some() {
                for piece in first {
                    peer.write(piece).await;
                    tokio::task::yield_now().await;
                }
                sent.take().map(|sent| sent.send(()));
            }
            while let Some(request) = peer.request().await {
                let path = request.split(' ').nth(1).unwrap().to_owned();
                peer.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len())).await;
            }
        }
    })
    .await;
    let transport = transport();
    let _ = post(&transport, &server.url).await;
    heard.await.unwrap();
    // What was sent over loopback is there at once.
    transport.send(attempt(short(&server.url.replace("/hook", "/other")))).await.map(response)
}

#[test]
fn answers_that_nobody_asked_for_reach_no_other_endpoint() {
    run(async {
        for first in [
            &["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"][..],
            &[OK, "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"],
            &[OK, "\r\n"],
            &["HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"],
            &["HTTP/1.1 204 No Content\r\n\r\n", "poison"],
            &["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-le", "ngth: 6\r\n\r\npoison"],
            &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n", "\r\n"],
            &[
                "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            ],
            &[
                "HTTP/1.1 304 Not Modified\r\ncontent-length: 6\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            ],
            &[
                "HTTP/1.1 204 No Content\r\ncontent-length: 6\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            ],
            &[
                "HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n",
                "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
            ],
            &["HTTP/1.1 103 Early Hints\r\n\r\n", OK],
        ] {
            assert_eq!(beside(first).await.map(|answer| answer.body), Ok("/other".into()), "{first:?}");
        }
    });
}

#[test]
fn an_answer_before_the_request_is_complete_ends_it() {
    run(async {
        for early in ["HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", OK] {
            let answer = first(move |mut peer| async move {
                peer.write(early).await;
                peer.answer(OK).await;
            })
            .await;
            assert!(answer.is_ok() || kind(answer) == FailureKind::Protocol, "{early}");
        }
    });
}
