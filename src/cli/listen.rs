//! `hookmill listen`: a receiver to try deliveries with.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, http::StatusCode, web};
use anyhow::Context;
use bytes::Bytes;

use super::{Outcome, block_on, bound, parse_duration, printable};
use crate::{Clock, Secret, transport::signature};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Listen {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8800")]
    listen: SocketAddr,
    /// Verify signatures with this secret (whsec_…); what is not signed well is answered 401
    #[arg(long, value_name = "SECRET", value_parser = parse_secret, env = "HOOKMILL_SECRET", hide_env_values = true)]
    secret: Option<Secret>,
    /// Statuses to answer with, in turn
    #[arg(long, value_name = "STATUS,…", value_delimiter = ',', default_value = "200", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: Vec<u16>,
    /// How long to wait before each answer
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = parse_duration)]
    delay: Duration,
    /// Print bodies of at most this many characters
    #[arg(long, value_name = "N", default_value = "200")]
    body: usize,
}

/// The largest body that is read.
const BODY: usize = 32 << 20;

fn parse_secret(text: &str) -> Result<Secret, String> {
    Secret::parse(text).map_err(|_| "must be `whsec_` followed by 24 to 64 bytes in base64".to_owned())
}

impl Listen {
    pub(super) fn run(self) -> Outcome {
        block_on(async move {
            let (listen, options) = (self.listen, Arc::new(self));
            let served = Arc::new(AtomicUsize::new(0));
            let server = HttpServer::new(move || {
                let (options, served) = (Arc::clone(&options), Arc::clone(&served));
                let serve = move |request: HttpRequest, body: Bytes| {
                    let turn = served.fetch_add(1, Ordering::Relaxed);
                    let options = Arc::clone(&options);
                    async move { options.answer(&request, &body, turn).await }
                };
                App::new().app_data(web::PayloadConfig::new(BODY)).default_service(web::to(serve))
            })
            .workers(1)
            .bind(listen)
            .with_context(|| format!("cannot listen on {listen}"))?;
            println!("listening on {}", bound(&server.addrs(), "http"));
            server.run().await.context("the receiver failed")?;
            Ok(())
        })
    }

    async fn answer(&self, request: &HttpRequest, body: &Bytes, turn: usize) -> HttpResponse {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let now = Clock::system().now().wall;
        let [id, at, signatures] = [signature::ID, signature::TIMESTAMP, signature::SIGNATURE].map(header);
        let verified = self.secret.as_ref().map(|secret| signature::verify(secret, id, at, signatures, body, now));
        let (verdict, status) = match &verified {
            None => ("unverified".to_owned(), self.turn(turn)),
            Some(Ok(())) => ("verified".to_owned(), self.turn(turn)),
            Some(Err(error)) => (format!("REFUSED: {error}"), 401),
        };
        tokio::time::sleep(self.delay).await;
        let text: String = String::from_utf8_lossy(body).chars().take(self.body).collect();
        let (method, path) = (request.method(), request.path());
        println!("{now} {method} {} {} {verdict} -> {status} {}", printable(path), printable(id), printable(&text));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        HttpResponse::build(status).body(format!("{}\n", status.canonical_reason().unwrap_or_default()))
    }

    fn turn(&self, turn: usize) -> u16 {
        let place = turn.checked_rem(self.status.len()).unwrap_or(0);
        self.status.get(place).copied().unwrap_or(200)
    }
}
