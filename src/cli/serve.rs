//! `hookmill serve`: the server.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use actix_web::{App, HttpServer, dev::ServerHandle};
use anyhow::Context;
use tokio::{
    net::TcpSocket,
    signal::unix::{SignalKind, signal},
};
use tracing::{error, info};

use super::{Failed, Outcome, block_on, bound, parse_duration};
use crate::{
    Hookmill, Report,
    api::{Access, AdminToken, admin_token},
};

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8700", env = "HOOKMILL_LISTEN")]
    listen: SocketAddr,
    /// Directory that everything is kept in; made if it is not there
    #[arg(long, value_name = "DIR", default_value = "data", env = "HOOKMILL_DATA_DIR")]
    data_dir: PathBuf,
    /// Let endpoints made through the API point to this machine: for development
    #[arg(long, env = "HOOKMILL_ALLOW_LOOPBACK")]
    allow_loopback: bool,
    /// How long a shutdown lets attempts in flight end
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = parse_duration, env = "HOOKMILL_DRAIN")]
    drain: Duration,
}

impl Serve {
    pub(super) fn run(self) -> Outcome {
        block_on(async move {
            // Taken before anything starts: a signal during the start is not lost.
            let mut signals = Signals::new()?;
            let running = Running::start(self.listen, self.data_dir, self.allow_loopback).await?;
            let AdminToken { path, created, .. } = &running.token;
            println!("Hookmill listens on {}", running.url);
            println!("admin token{}: {}", if *created { " made" } else { "" }, path.display());
            signals.next().await;
            info!(event = "server.draining", deadline_ms = self.drain.as_millis(), "stopping");
            let stop = running.stop(self.drain);
            tokio::select! {
                _report = stop => Ok(()),
                () = signals.next() => Err(Failed::new(1, "stopped at once by a second signal; nothing is lost")),
            }
        })
    }
}

/// A server that runs.
pub(super) struct Running {
    pub(super) url: String,
    pub(super) token: AdminToken,
    pub(super) hooks: Hookmill,
    server: ServerHandle,
}

/// A request line and its headers must arrive within this time.
const HEAD: Duration = Duration::from_secs(5);

impl Running {
    pub(super) async fn start(listen: SocketAddr, data_dir: PathBuf, allow_loopback: bool) -> anyhow::Result<Self> {
        info!(event = "server.started", version = env!("CARGO_PKG_VERSION"), "starting");
        // Before anything is delivered: when the port is taken, nothing has happened.
        let listener = listener(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let builder = Hookmill::builder().data_dir(&data_dir).allow_loopback(allow_loopback);
        let hooks = builder.start().await.with_context(|| format!("cannot start on {}", data_dir.display()))?;
        let token = admin_token(&data_dir).context("cannot make the admin token")?;
        let api = hooks.api(Access::tokens());
        let server = HttpServer::new(move || App::new().configure(api.clone()))
            .client_request_timeout(HEAD)
            .disable_signals()
            .listen(listener)
            .with_context(|| format!("cannot listen on {listen}"))?;
        let url = bound(&server.addrs());
        let server = server.run();
        let handle = server.handle();
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                error!(%error, "the HTTP server failed");
            }
        });
        info!(event = "server.ready", url, "ready");
        Ok(Self { url, token, hooks, server: handle })
    }

    /// Refuses new events, lets what is in flight end, and goes.
    pub(super) async fn stop(&self, drain: Duration) -> Report {
        let report = self.hooks.shutdown(drain).await;
        self.server.stop(false).await;
        report
    }
}

/// Connections that wait to be taken, at most; the system may allow less.
const BACKLOG: u32 = 2048;

/// Takes the address, also when connections of the last server on it have not quite ended.
fn listener(listen: SocketAddr) -> io::Result<TcpListener> {
    let socket = if listen.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(listen)?;
    socket.listen(BACKLOG)?.into_std()
}

struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}
