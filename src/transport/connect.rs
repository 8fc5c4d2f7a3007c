//! Opening connections: only to addresses that the guard has judged.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix_service::{Service, always_ready};
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Host};
use awc::http::Uri;
use futures_util::{FutureExt, TryFutureExt, future::LocalBoxFuture};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};
use tracing::debug;

use super::{
    Failure, FailureKind,
    guard::Blocked,
    names::Names,
    perimeter::Perimeter,
    stream::{Stream, Used},
};
use crate::{
    endpoint::{TenantScope, policy::Guard},
    metrics::Metrics,
    quota::{Fair, Part, Refused},
};

/// The longest a connection may take, over all addresses of a name.
const CONNECT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried, so that each has at least a second.
const TRIED: usize = 5;
/// Between looks whether this machine has descriptors and memory again, and how many there are: together as long as
/// [`CONNECT`].
const SHORT_PAUSE: Duration = Duration::from_millis(100);
const SHORT_LOOKS: usize = 50;

/// Opens connections for awc: resolves, judges every address, and connects to nothing but those. One bad address spoils
/// the name, since nobody but an attacker mixes inner addresses with outer ones.
///
/// Where this machine lacks a descriptor or memory, or as many connections are open as may be, it closes one that nobody uses, or
/// waits as long as a connection may take: what is short for a moment is no failure, and an endpoint whose backlog is large
/// does not fail all of it at once.
///
/// Its errors are [`ConnectError::Io`] around a [`Failure`].
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) guard: Guard,
    /// Whose name look-ups are.
    pub(super) tenant: TenantScope,
    pub(super) names: Names,
    pub(super) perimeter: Arc<Perimeter>,
    pub(super) metrics: Arc<Metrics>,
    /// Connections that may be open.
    pub(super) sockets: Fair<TenantScope>,
    /// Closes one that nobody uses, of that tenant or of anybody, if there is one.
    pub(super) make_room: Rc<dyn Fn(Whose) -> bool>,
}

/// Whose connection may be closed for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The tenant's who wants one: it is his share that is used.
    Own,
    Anybodys,
}

impl Service<ConnectInfo<Uri>> for Dialer {
    type Response = Connection<Uri, Stream>;
    type Error = ConnectError;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Self::Error>>;

    always_ready!();

    fn call(&self, wanted: ConnectInfo<Uri>) -> Self::Future {
        let uri = wanted.request().clone();
        dial(uri, wanted.port(), self.clone())
            .map_err(|failure| ConnectError::Io(io::Error::other(failure)))
            .boxed_local()
    }
}

async fn dial(uri: Uri, port: u16, dialer: Dialer) -> Result<Connection<Uri, Stream>, Failure> {
    for _ in 0..SHORT_LOOKS {
        match dial_once(&uri, port, &dialer).await {
            Err(shortage @ Failure { kind: FailureKind::Shortage, .. }) => {
                Used::waits_for_means(Some(shortage));
                sleep(SHORT_PAUSE).await;
                Used::waits_for_means(None);
            }
            dialed => return dialed,
        }
    }
    dial_once(&uri, port, &dialer).await
}

async fn dial_once(uri: &Uri, port: u16, dialer: &Dialer) -> Result<Connection<Uri, Stream>, Failure> {
    let host = uri.hostname();
    let resolved = dialer.names.resolve(&dialer.tenant, host, port).await;
    // The system's resolver does not say that it lacked a descriptor.
    let addresses = resolved.map_err(|failure| shortage().unwrap_or(failure))?;
    for address in &addresses {
        dialer.judge(host, *address)?;
    }
    let place = dialer.place()?;
    let tcp = connect(addresses).await.map_err(|(failure, tried)| {
        if failure.kind == FailureKind::Shortage {
            (dialer.make_room)(Whose::Anybodys);
        }
        let peer = tried.map(|address| dialer.perimeter.peer(address, None));
        Failure { peer, ..failure }
    })?;
    let ends = tcp.set_nodelay(true).and_then(|()| Ok((tcp.peer_addr()?, tcp.local_addr()?)));
    let (peer, local) = ends.map_err(|error| Failure::new(FailureKind::Connect, error.to_string()))?;
    dialer.judge(host, peer)?;
    if peer.ip() == local.ip() {
        dialer.judge_this_machine(host, peer)?;
    }
    let peer = dialer.perimeter.peer(peer, Some(local.ip()));
    Ok(Connection::new(uri.clone(), Stream::new(tcp, place, peer)))
}

impl Dialer {
    /// A place among the connections, that of one which nobody uses where there is no other.
    fn place(&self) -> Result<Part<TenantScope>, Failure> {
        let take = || self.sockets.take(&self.tenant, 1);
        let taken = take().or_else(|refused| {
            let whose = if refused == Refused::Share { Whose::Own } else { Whose::Anybodys };
            (self.make_room)(whose);
            take()
        });
        taken.map_err(|_| Failure::new(FailureKind::Shortage, "as many connections are open as may be"))
    }

    fn judge(&self, host: &str, address: SocketAddr) -> Result<(), Failure> {
        self.perimeter.judge(address, self.guard).map_err(|blocked| self.refuse(host, blocked))
    }

    /// A connection whose ends have one address has not left this machine, whatever its interfaces are said to be.
    fn judge_this_machine(&self, host: &str, address: SocketAddr) -> Result<(), Failure> {
        self.perimeter.judge_as_own(address, self.guard).map_err(|blocked| self.refuse(host, blocked))
    }

    /// The failure names no address that its reader has not written: it would tell him what names mean inside.
    fn refuse(&self, host: &str, Blocked { ip, reason }: Blocked) -> Failure {
        self.metrics.blocked.one(Blocked { ip, reason }.label());
        debug!(host, %ip, reason, "address refused");
        Failure::new(FailureKind::Blocked, format!("{host} must not be reached: {reason}"))
    }
}

/// A connection to the first address that answers in its share of the time; or why there is none, and the last one that was
/// tried. What is said names no address: it would tell its reader what names mean inside.
async fn connect(mut addresses: Vec<SocketAddr>) -> Result<TcpStream, (Failure, Option<SocketAddr>)> {
    addresses.truncate(TRIED);
    let share = CONNECT / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let (mut failure, mut tried) = (Failure::new(FailureKind::Connect, "no address to connect to"), None);
    for address in addresses {
        failure = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => Failure::new(kind(&error), error.to_string()),
            Err(_) => Failure::new(FailureKind::Connect, format!("no connection within {} ms", share.as_millis())),
        };
        tried = Some(address);
    }
    Err((failure, tried))
}

/// Whether it is this machine that lacks something, rather than a receiver.
#[cfg(unix)]
fn kind(error: &io::Error) -> FailureKind {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => FailureKind::Shortage,
        _ => FailureKind::Connect,
    }
}

#[cfg(not(unix))]
fn kind(_: &io::Error) -> FailureKind {
    FailureKind::Connect
}

/// What this machine lacks for one more socket, if anything.
fn shortage() -> Option<Failure> {
    let error = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).err()?;
    Some(Failure::new(FailureKind::Shortage, error.to_string())).filter(|_| kind(&error) == FailureKind::Shortage)
}
