//! Bodies that do not come, or do not end, over real sockets.

use std::net::SocketAddr;

use actix_web::HttpServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

async fn serve(access: Access) -> (Client, SocketAddr) {
    let client = Client::new(200).await;
    let hooks = client.hooks.clone();
    let app = move || App::new().configure(hooks.api(access.clone()));
    let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    actix_rt::spawn(server.run());
    (client, address)
}

fn head(length: &str) -> String {
    format!("POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{length}\r\n\r\n")
}

/// Sends `bytes` and reads until the server closes.
async fn answer(address: SocketAddr, bytes: &str) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(bytes.as_bytes()).await.unwrap();
    let mut text = Vec::new();
    let _reset = socket.read_to_end(&mut text).await;
    String::from_utf8(text).unwrap()
}

#[test]
fn a_stalled_body_ends_at_the_deadline() {
    run(async {
        let access = Access::unguarded().read_deadline(Duration::from_millis(100));
        let (client, address) = serve(access).await;
        for (length, start) in [("content-length: 100", "{\"topic\":"), ("transfer-encoding: chunked", "5\r\n{\"top")] {
            let text = answer(address, &format!("{}{start}", head(length))).await;
            assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("/problems/request-timeout"), "{text}");
        }
        assert_eq!(client.get("/v1/stats").await.value(StatusCode::OK)["accepted"], 0);
    });
}

#[test]
fn a_body_announced_too_long_is_not_waited_for() {
    run(async {
        let (client, address) = serve(Access::unguarded()).await;
        let text = answer(address, &head(&format!("content-length: {}", (16 << 20) + 1))).await;
        assert!(text.starts_with("HTTP/1.1 413 ") && text.contains("/problems/content-too-large"), "{text}");
        let chunk = format!("{{\"topic\":\"{}", "x".repeat(2 << 20));
        let text =
            answer(address, &format!("{}{:x}\r\n{chunk}", head("transfer-encoding: chunked"), chunk.len())).await;
        assert!(text.starts_with("HTTP/1.1 413 ") || text.is_empty(), "{text}");
        assert_eq!(client.get("/v1/stats").await.value(StatusCode::OK)["accepted"], 0);
    });
}

#[test]
fn a_caller_without_token_cannot_hold_a_connection() {
    run(async {
        let (_client, address) = serve(Access::token("right")).await;
        for length in ["content-length: 100", "transfer-encoding: chunked"] {
            let text = answer(address, &head(length)).await;
            assert!(text.starts_with("HTTP/1.1 401 "), "{text}");
        }
    });
}

#[test]
fn a_body_that_is_cut_off_publishes_nothing() {
    run(async {
        let (client, address) = serve(Access::unguarded()).await;
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("{}{{\"topic\":\"a\",\"data\":1}}", head("content-length: 100"));
        socket.write_all(request.as_bytes()).await.unwrap();
        socket.shutdown().await.unwrap();
        let mut text = String::new();
        let _reset = socket.read_to_string(&mut text).await;
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 400 "), "{text}");
        assert_eq!(client.get("/v1/stats").await.value(StatusCode::OK)["accepted"], 0);
    });
}
