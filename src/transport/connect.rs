//! Opening connections: only to addresses that the guard has judged.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use actix_service::{Service, always_ready};
use actix_tls::connect::{ConnectError, ConnectInfo, Connection, Host};
use awc::http::Uri;
use futures_util::{FutureExt, TryFutureExt, future::LocalBoxFuture};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};

use super::{Failure, FailureKind, guard, stream::Stream};
use crate::{endpoint::policy::Guard, metrics::Metrics};

/// The longest a name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(5);
/// The longest a connection may take, over all addresses of a name.
const CONNECT: Duration = Duration::from_secs(5);
/// Addresses of one name that are tried, so that each has at least a second.
const TRIED: usize = 5;

/// Opens connections for awc: resolves, judges every address, and connects to nothing but those. One bad address spoils
/// the name, since nobody but an attacker mixes inner addresses with outer ones.
///
/// Its errors are [`ConnectError::Io`] around a [`Failure`].
#[derive(Clone)]
pub(super) struct Dialer {
    pub(super) guard: Guard,
    pub(super) metrics: Arc<Metrics>,
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
    let addresses = resolve(uri.hostname(), port).await?;
    for address in &addresses {
        dialer.judge(address.ip())?;
    }
    let tcp = connect(addresses).await?;
    let prepared = tcp.set_nodelay(true).and_then(|()| tcp.peer_addr());
    let peer = prepared.map_err(|error| Failure::new(FailureKind::Connect, error.to_string()))?;
    dialer.judge(peer.ip())?;
    Ok(Connection::new(uri, Stream::new(tcp)))
}

impl Dialer {
    fn judge(&self, ip: IpAddr) -> Result<(), Failure> {
        guard::judge(ip, self.guard).map_err(|blocked| {
            self.metrics.blocked.one(blocked.label());
            Failure::new(FailureKind::Blocked, blocked.to_string())
        })
    }
}

/// Every address of `host`, at least one.
async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = literal.parse() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let dns = |why: String| Failure::new(FailureKind::Dns, format!("{host} cannot be resolved: {why}"));
    match timeout(RESOLVE, lookup_host((host, port))).await {
        Err(_) => Err(dns(format!("no answer within {} s", RESOLVE.as_secs()))),
        Ok(Err(error)) => Err(dns(error.to_string())),
        Ok(Ok(found)) => {
            let addresses: Vec<_> = found.collect();
            if addresses.is_empty() { Err(dns("it has no addresses".into())) } else { Ok(addresses) }
        }
    }
}

/// A connection to the first address that answers in its share of the time.
async fn connect(mut addresses: Vec<SocketAddr>) -> Result<TcpStream, Failure> {
    addresses.truncate(TRIED);
    let share = CONNECT / u32::try_from(addresses.len()).unwrap_or(1).max(1);
    let mut failure = Failure::new(FailureKind::Connect, "no address to connect to");
    for address in addresses {
        let why = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no connection within {} ms", share.as_millis()),
        };
        failure.detail = format!("{address}: {why}");
    }
    Err(failure)
}
