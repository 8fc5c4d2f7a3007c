//! `hookmill serve`: the server.

use std::{
    env,
    io::{self, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::dev::ServerHandle;
use anyhow::Context;
use tokio::{
    net::TcpSocket,
    signal::unix::{Signal, SignalKind, signal},
};
use tracing::{error, info, warn};

use super::{
    Failed, Outcome, block_on, bound,
    config::{InForce, Options},
    door::{Door, allow_all_files, hosts::Hosts, tls::Tls},
};
use crate::{
    Applied, Builder, Clock, Hookmill, Report, SecretKeys,
    api::{Access, AdminToken, admin_token},
};

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    options: Options,
}

impl Serve {
    pub(super) fn run(self) -> Outcome {
        let mut in_force = self.options.in_force()?;
        block_on(async move {
            // Taken before anything starts: a signal during the start is not lost.
            let mut signals = Signals::new(self.options.config.is_some() || in_force.tls.is_some())?;
            let running = Running::start(in_force.clone()).await?;
            let AdminToken { path, created, .. } = &running.token;
            let (url, made) = (&running.url, if *created { " made" } else { "" });
            // A server serves, whoever reads its standard output.
            let _unread = writeln!(io::stdout(), "Hookmill listens on {url}\nadmin token{made}: {}", path.display());
            loop {
                tokio::select! {
                    asked = signals.next() => match asked {
                        Asked::Stop => break,
                        Asked::Reload => {
                            if let Some(tls) = &running.tls {
                                tls.reload();
                            }
                            reload(&self.options, &running.hooks, &mut in_force).await;
                        }
                    },
                    actor = running.hooks.died() => {
                        let message = format!("the {actor} died of a bug; everything accepted is on disk: start again");
                        return Err(Failed::new(1, message));
                    }
                }
            }
            info!(event = "server.draining", deadline_ms = in_force.drain.as_millis(), "stopping");
            let stop = running.stop(in_force.drain);
            tokio::select! {
                _report = stop => Ok(()),
                () = signals.stop() => Err(Failed::new(1, "stopped at once by a second signal; nothing is lost")),
            }
        })
    }
}

/// Reads the file again and follows it; a file with mistakes changes nothing.
async fn reload(options: &Options, hooks: &Hookmill, in_force: &mut InForce) {
    let read = match options.in_force() {
        Ok(read) => read,
        Err(refused) => {
            for mistake in refused.mistakes() {
                error!(event = "config.refused", file = %refused.path().display(), mistake, "mistake in the file");
            }
            return error!(event = "config.refused", "the file has mistakes: everything stays as it is");
        }
    };
    for setting in in_force.fixed_that_differ(&read) {
        warn!(event = "config.restart_needed", setting, "changes only with a restart");
    }
    match hooks.apply(read.declared).await {
        Ok(Applied { created, changed, unchanged, released, removed, .. }) => {
            in_force.drain = read.drain;
            hooks.set_max_endpoints_per_tenant(whole(read.max_endpoints_per_tenant));
            info!(event = "config.reloaded", created, changed, unchanged, released, removed, "the file is in force");
        }
        Err(error) => error!(event = "config.refused", %error, "the file could not be followed"),
    }
}

/// A server that runs.
pub(super) struct Running {
    pub(super) url: String,
    pub(super) token: AdminToken,
    pub(super) hooks: Hookmill,
    tls: Option<Arc<Tls>>,
    server: ServerHandle,
}

impl Running {
    pub(super) async fn start(settings: InForce) -> anyhow::Result<Self> {
        let InForce { listen, data_dir, allow_loopback, file_roots, declared, disk_reserve, secret_key_file, .. } =
            settings;
        let (allow, https_only) = (settings.guard_allow, settings.https_only);
        info!(event = "server.started", version = env!("CARGO_PKG_VERSION"), "starting");
        allow_all_files();
        let clock = Clock::system();
        let tls = settings.tls.map(|files| Tls::load(files, clock).map(Arc::new)).transpose()?;
        warn_without(tls.as_deref(), listen);
        // Before anything is delivered: when the port is taken, nothing has happened.
        let listener = listener(listen).with_context(|| format!("cannot listen on {listen}"))?;
        let builder = Hookmill::builder().data_dir(&data_dir).allow_loopback(allow_loopback).declare(declared);
        let builder = listener.local_addr().into_iter().fold(builder.https_only(https_only), Builder::listening_on);
        let builder = allow.into_iter().fold(builder, Builder::guard_allow);
        let builder = file_roots.into_iter().fold(builder, Builder::file_root);
        let builder = builder.retention(settings.retention);
        let builder = builder.chain_bytes(whole(settings.chain_bytes));
        let builder = builder.max_endpoints_per_tenant(whole(settings.max_endpoints_per_tenant));
        let builder = disk_reserve.into_iter().fold(builder, Builder::disk_reserve);
        let builder = secret_key_file.into_iter().fold(builder, Builder::secret_key_file);
        let builder = secret_keys()?.into_iter().fold(builder, Builder::secret_keys);
        let hooks = builder.start().await.with_context(|| format!("cannot start on {}", data_dir.display()))?;
        let token = admin_token(&data_dir).context("cannot make the admin token")?;
        let url = bound(&[listener.local_addr()?], if tls.is_some() { "https" } else { "http" });
        let hosts = Hosts::new(listen, &settings.hosts);
        let door = Door { tls: tls.clone(), hosts, max_connections: settings.max_connections, clock };
        let server = door.open(listener, hooks.api(Access::tokens()));
        let server = server.with_context(|| format!("cannot listen on {listen}"))?;
        let handle = server.handle();
        actix_rt::spawn(async move {
            if let Err(error) = server.await {
                error!(%error, "the HTTP server failed");
            }
        });
        info!(event = "server.ready", url, "ready");
        Ok(Self { url, token, hooks, tls, server: handle })
    }

    /// Refuses new events, lets what is in flight end, and goes.
    pub(super) async fn stop(&self, drain: Duration) -> Report {
        let report = self.hooks.shutdown(drain).await;
        self.server.stop(false).await;
        report
    }
}

fn whole(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The variable with the key itself: not among the options, as these are for everybody on the machine to see.
const SECRET_KEY: &str = "HOOKMILL_SECRET_KEY";

fn secret_keys() -> anyhow::Result<Option<SecretKeys>> {
    let given = env::var(SECRET_KEY).ok().filter(|given| !given.trim().is_empty());
    given.map(|given| SecretKeys::parse(&given).context(SECRET_KEY)).transpose()
}

fn warn_without(tls: Option<&Tls>, listen: SocketAddr) {
    const READABLE: &str = "other machines reach it without TLS: tokens and events can be read on their way, unless a proxy in front speaks TLS";
    if tls.is_none() && !listen.ip().to_canonical().is_loopback() {
        warn!(event = "server.without_tls", %listen, "{READABLE}");
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

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Stop,
    Reload,
}

struct Signals {
    term: Signal,
    int: Signal,
    /// Without a file there is nothing to reload, and SIGHUP ends the process as it always does.
    hup: Option<Signal>,
}

impl Signals {
    fn new(reloads: bool) -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        let hup = if reloads { Some(listen(SignalKind::hangup())?) } else { None };
        Ok(Self { term: listen(SignalKind::terminate())?, int: listen(SignalKind::interrupt())?, hup })
    }

    async fn next(&mut self) -> Asked {
        let hup = async {
            match &mut self.hup {
                Some(hup) => drop(hup.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.term.recv() => Asked::Stop,
            _ = self.int.recv() => Asked::Stop,
            () = hup => Asked::Reload,
        }
    }

    async fn stop(&mut self) {
        while self.next().await != Asked::Stop {}
    }
}
