//! `hookmill listen`: a receiver to try deliveries with.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    http::{StatusCode, header::HeaderMap},
    web,
};
use anyhow::Context;
use bytes::Bytes;

use super::{Failed, Outcome, block_on, bound, parse_duration, printable};
use crate::{
    Clock,
    endpoint::HeaderPrefix,
    transport::signature::{self, Verifier},
};

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Listen {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8800")]
    listen: SocketAddr,
    /// Verify signatures with this secret (whsec_…) or public key (whpk_…), or one of several; what is not signed well, or
    /// more than five minutes ago, is answered 401
    #[arg(
        long, value_name = "SECRET", value_delimiter = ',', value_parser = parse_verifier, env = "HOOKMILL_SECRET",
        hide_env_values = true
    )]
    secret: Vec<Given>,
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

/// What was given as a secret. A mistake in it is told without it.
#[derive(Clone, Debug)]
struct Given(Option<Verifier>);

#[expect(clippy::unnecessary_wraps, reason = "as clap wants it, which would print the text of an error")]
fn parse_verifier(text: &str) -> Result<Given, Infallible> {
    Ok(Given(Verifier::parse(text).ok()))
}

const NO_VERIFIER: &str =
    "--secret must be `whsec_` followed by 24 to 64 bytes in base64, or `whpk_` by 32: private keys (whsk_…) only sign";

/// The headers of the signature: those of the older names where there are only these.
fn signed_headers(headers: &HeaderMap) -> [&str; 3] {
    let usual = signature::names(HeaderPrefix::Webhook);
    let older = signature::names(HeaderPrefix::Svix);
    let names = if headers.contains_key(usual[0]) || !headers.contains_key(older[0]) { usual } else { older };
    names.map(|name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or(""))
}

struct Receiver {
    options: Listen,
    verifiers: Vec<Verifier>,
}

impl Listen {
    pub(super) fn run(mut self) -> Outcome {
        let verifiers: Option<Vec<_>> = std::mem::take(&mut self.secret).into_iter().map(|given| given.0).collect();
        let verifiers = verifiers.ok_or_else(|| Failed::new(2, NO_VERIFIER))?;
        block_on(async move {
            let (listen, options) = (self.listen, Arc::new(Receiver { options: self, verifiers }));
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
            say!("listening on {}", bound(&server.addrs(), "http"));
            server.run().await.context("the receiver failed")?;
            Ok(())
        })
    }

    fn turn(&self, turn: usize) -> u16 {
        let place = turn.checked_rem(self.status.len()).unwrap_or(0);
        self.status.get(place).copied().unwrap_or(200)
    }
}

impl Receiver {
    async fn answer(&self, request: &HttpRequest, body: &Bytes, turn: usize) -> HttpResponse {
        let now = Clock::system().now().wall;
        let [id, at, signatures] = signed_headers(request.headers());
        let (verdict, status) = match signature::verify(&self.verifiers, id, at, signatures, body, now) {
            _ if self.verifiers.is_empty() => ("unverified".to_owned(), self.options.turn(turn)),
            Ok(()) => ("verified".to_owned(), self.options.turn(turn)),
            Err(error) => (format!("FAILED: {error}"), 401),
        };
        tokio::time::sleep(self.options.delay).await;
        let text: String = String::from_utf8_lossy(body).chars().take(self.options.body).collect();
        let (method, path) = (request.method(), request.path());
        let (path, id, text) = (printable(path), printable(id), printable(&text));
        say!("{now} {method} {path} {id} {verdict} -> {status} {text}");
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
        HttpResponse::build(status).body(format!("{}\n", status.canonical_reason().unwrap_or_default()))
    }
}
