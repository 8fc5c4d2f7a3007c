//! The same under TLS, against a server in a thread of its own.

use std::{
    io::{Read, Write},
    net::{IpAddr, TcpListener, TcpStream},
    sync::mpsc,
    thread,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use super::{
    server::{Server, whole},
    *,
};
use crate::transport::names::Names;

/// Of `localhost` and 127.0.0.1, signed by itself, valid from 2020 to 2120; and its key, which guards nothing.
const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBbTCCARKgAwIBAgIBATAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1ob29rbWls
bCB0ZXN0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAxMDAwMDAwWjAYMRYwFAYD
VQQDDA1ob29rbWlsbCB0ZXN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqlYs
dxxbyo2wkbdmSPpVaJiXTJUz8iv2pos6+0j4pm8brPqcPpVBLBhepNzkp1O81jGv
QVcfvghMtGn0Z5TKkKNLMEkwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMAwG
A1UdEwEB/wQCMAAwHQYDVR0OBBYEFDZ3kK6dwrKA/5iXlpC6rdsrXujVMAoGCCqG
SM49BAMCA0kAMEYCIQCZDNnDU0pmD80mkHQc9lFYSSjvcNCNCfvUzam3K1xJfgIh
AJb0ToOnwrfwj6TMSsfWbk33wYs9tC6LoFdqZrFBvmE0
-----END CERTIFICATE-----
";
/// The same for `localhost`, with the same key, valid in 2020 alone.
const EXPIRED: &str = "\
-----BEGIN CERTIFICATE-----
MIIBZDCCAQqgAwIBAgIBAjAKBggqhkjOPQQDAjAYMRYwFAYDVQQDDA1ob29rbWls
bCB0ZXN0MB4XDTIwMDEwMTAwMDAwMFoXDTIxMDEwMTAwMDAwMFowGDEWMBQGA1UE
AwwNaG9va21pbGwgdGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABKpWLHcc
W8qNsJG3Zkj6VWiYl0yVM/Ir9qaLOvtI+KZvG6z6nD6VQSwYXqTc5KdTvNYxr0FX
H74ITLRp9GeUypCjRTBDMBQGA1UdEQQNMAuCCWxvY2FsaG9zdDAMBgNVHRMBAf8E
AjAAMB0GA1UdDgQWBBQ2d5CuncKygP+Yl5aQuq3bK17o1TAKBggqhkjOPQQDAgNI
ADBFAiEAh+Ug4b4h9j6iAABjFp+ezYXrj3npti35Gh++wy5MzWUCICqSR3iSOwSg
i3vEoEbw/kwjrKsYAVco5gAxpLoMb3Au
-----END CERTIFICATE-----
";
const KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQghyCRIjg6c91QM7Y6
mVdTl3LZv/00YZLsRiDR5conk3qhRANCAASqVix3HFvKjbCRt2ZI+lVomJdMlTPy
K/amizr7SPimbxus+pw+lUEsGF6k3OSnU7zWMa9BVx++CEy0afRnlMqQ
-----END PRIVATE KEY-----
";

fn server_config(certificate: &str) -> Arc<ServerConfig> {
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn trust() -> Network {
    let mut roots = RootCertStore::empty();
    for certificate in [CERTIFICATE, EXPIRED] {
        roots.add(CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()).unwrap();
    }
    trusting(roots)
}

/// Answers the requests of each connection with `answers`, then takes its leave of TLS and closes. The receiver hears of
/// every connection that has ended.
fn serve(connections: Vec<Vec<&'static str>>) -> (String, mpsc::Receiver<()>) {
    serve_as(CERTIFICATE, connections)
}

fn serve_as(certificate: &'static str, connections: Vec<Vec<&'static str>>) -> (String, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        for answers in connections {
            let Ok((tcp, _)) = listener.accept() else { return };
            let connection = ServerConnection::new(server_config(certificate)).unwrap();
            let mut stream = StreamOwned::new(connection, tcp);
            let all = answers.iter().all(|answer| respond(&mut stream, answer));
            if all {
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
            drop(stream);
            let _ = done.send(());
        }
    });
    (url, ended)
}

fn respond(stream: &mut StreamOwned<ServerConnection, TcpStream>, answer: &str) -> bool {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    while whole(&text).is_none() {
        match stream.read(&mut buffer) {
            Ok(read) if read > 0 => text.extend_from_slice(&buffer[..read]),
            _ => return false,
        }
    }
    stream.write_all(answer.as_bytes()).and_then(|()| stream.flush()).is_ok()
}

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[test]
fn a_connection_is_kept_under_tls_and_speaks_http_1() {
    run(async {
        let (url, _ended) = serve(vec![vec![OK; 3]]);
        let transport = HttpTransport::new(&trust());
        for _ in 0..3 {
            assert_eq!(post(&transport, &url).await.unwrap().body, "ok");
        }
    });
}

#[test]
fn a_body_that_breaks_off_politely_is_still_a_failure() {
    run(async {
        let broken = Err(FailureKind::Protocol);
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\ntrun\r\n", broken),
            ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\nconnection: close\r\n\r\ntrun", broken),
            ("HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ndone", Ok(true)),
            ("HTTP/1.0 200 OK\r\n\r\ndone", Ok(true)),
        ] {
            let (url, _ended) = serve(vec![vec![answer]]);
            let outcome = post(&HttpTransport::new(&trust()), &url).await;
            assert_eq!(outcome.map(|got| got.complete).map_err(|failure| failure.kind), expected, "{answer}");
        }
    });
}

#[test]
fn after_an_interim_answer_the_connection_is_closed_under_tls_too() {
    run(async {
        let (url, ended) = serve(vec![vec!["HTTP/1.1 103 Early Hints\r\n\r\n", OK], vec![OK]]);
        let transport = HttpTransport::new(&trust());
        assert_eq!(kind(post(&transport, &url).await), FailureKind::Protocol);
        ended.recv_timeout(HUNG).unwrap();
        assert_eq!(post(&transport, &url).await.unwrap().body, "ok");
    });
}

#[test]
fn a_server_that_nobody_vouches_for_is_a_tls_failure() {
    run(async {
        let (url, _ended) = serve(vec![vec![OK]]);
        let failure = post(&transport(), &url).await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Tls, "{failure}");
        assert!(failure.detail.contains("UnknownIssuer"), "{failure}");
    });
}

#[test]
fn a_server_without_tls_is_a_tls_failure() {
    run(async {
        let server = Server::start(|mut peer, _| async move {
            peer.write("HTTP/1.1 400 Bad Request\r\n\r\n").await;
            peer.closed().await;
        })
        .await;
        let answer = post(&transport(), &server.url.replace("http:", "https:")).await;
        assert_eq!(kind(answer), FailureKind::Tls);
    });
}

#[test]
fn a_certificate_that_has_expired_or_is_of_another_is_a_tls_failure() {
    run(async {
        let (url, _ended) = serve_as(EXPIRED, vec![vec![OK]]);
        let failure = post(&HttpTransport::new(&trust()), &url).await.unwrap_err();
        assert_eq!((failure.kind, failure.detail.contains("xpired")), (FailureKind::Tls, true), "{failure}");

        let (url, _ended) = serve(vec![vec![OK]]);
        let loopback = Names::by(1, |_| async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) });
        let network = Network { names: loopback, ..trust() };
        let failure =
            post(&HttpTransport::new(&network), &url.replace("localhost", "other.example")).await.unwrap_err();
        assert_eq!(
            (failure.kind, failure.detail.contains("not valid for name")),
            (FailureKind::Tls, true),
            "{failure}"
        );
    });
}

#[test]
fn a_handshake_that_stalls_breaks_off_or_is_nonsense_sends_nothing() {
    run(async {
        for (said, expected) in [
            (&b""[..], FailureKind::Tls),
            (b"\x16\x03\x03", FailureKind::Tls),
            (b"\x15\x03\x03\x00\x02\x02\x28", FailureKind::Tls),
            (b"\x16\x03\x03\xff\xff\x02\x00\xff\xff", FailureKind::Tls),
            (b"stall", FailureKind::Timeout),
        ] {
            let stalls = expected == FailureKind::Timeout;
            let server = Server::start(move |mut peer, _| async move {
                // Part of a handshake, which is a record of 512 bytes to come.
                peer.write_bytes(if stalls { b"\x16\x03\x03\x02\x00\x02" } else { said }).await;
                if stalls {
                    peer.closed().await;
                }
            })
            .await;
            let policy = Policy { timeout: Duration::from_millis(100), ..Policy::default() }.shared();
            let policy = if stalls { policy } else { settings(&server.url).policy };
            let settings = Settings { policy, ..settings(&server.url.replace("http:", "https:")) };
            let answer = HttpTransport::new(&trust()).send(attempt(settings)).await;
            assert_eq!(kind(answer), expected, "{said:?}");
        }
    });
}
