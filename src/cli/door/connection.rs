//! A connection of a caller, with TLS or without.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    shares::{Place, Shares},
    stream::{Gate, Stream},
    tls::Tls,
};

type Tcp = Stream<TcpStream>;

enum Io {
    Plain(Tcp),
    Tls(Box<TlsStream<Tcp>>),
}

/// A connection on which requests can come.
pub(super) struct Connection {
    io: Io,
    pub(super) caller: Caller,
    _place: Place,
}

/// What the requests of one connection know of it.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) gate: Gate,
    /// The address that the connection came to.
    pub(super) local: Option<IpAddr>,
}

/// Takes a connection, with the address of its caller.
///
/// # Errors
/// When its address has its share of the connections, or TLS cannot be agreed upon.
pub(super) async fn take(
    tcp: TcpStream,
    tls: Option<&Tls>,
    shares: &Arc<Shares>,
) -> io::Result<(Connection, Option<SocketAddr>)> {
    let (peer, local) = (tcp.peer_addr()?, tcp.local_addr().ok());
    let place =
        shares.enter(peer.ip()).ok_or_else(|| io::Error::other("its address has its share of the connections"))?;
    tcp.set_nodelay(true)?;
    let gate = Gate::default();
    let caller = Caller { gate: gate.clone(), local: local.map(|local| local.ip()) };
    let tcp = Stream::new(tcp, gate, |tcp| drop(tcp.set_zero_linger()));
    let io = match tls {
        None => Io::Plain(tcp),
        Some(tls) => Io::Tls(Box::new(TlsAcceptor::from(tls.config()).accept(tcp).await?)),
    };
    Ok((Connection { io, caller, _place: place }, Some(peer)))
}

macro_rules! poll {
    ($this:ident.$method:ident($($argument:expr),*)) => {
        match &mut $this.get_mut().io {
            Io::Plain(io) => Pin::new(io).$method($($argument),*),
            Io::Tls(io) => Pin::new(io).$method($($argument),*),
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        poll!(self.poll_read(cx, into))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        poll!(self.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll!(self.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll!(self.poll_shutdown(cx))
    }
}
