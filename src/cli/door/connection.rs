//! A connection of a caller, with TLS or without.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    bare::Bare,
    frame::Rules,
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
    rules: Arc<Rules>,
    /// What is left of the answer that is written instead of one of actix-http.
    instead: Option<Bytes>,
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
    rules: Arc<Rules>,
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
    Ok((Connection { io, caller, rules, instead: None, _place: place }, Some(peer)))
}

macro_rules! poll {
    ($this:ident.$method:ident($($argument:expr),*)) => {
        match &mut $this.io {
            Io::Plain(io) => Pin::new(io).$method($($argument),*),
            Io::Tls(io) => Pin::new(io).$method($($argument),*),
        }
    };
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        poll!(self.poll_read(cx, into))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let bare = if self.caller.gate.is_answering() { None } else { Bare::at_end_of(bytes) };
        let Some(bare) = bare else { return poll!(self.poll_write(cx, bytes)) };
        if let Some(before) = bytes.get(..bare.start).filter(|before| !before.is_empty()) {
            return poll!(self.poll_write(cx, before));
        }
        let mut left = self.instead.take().unwrap_or_else(|| bare.whole(&self.rules));
        while !left.is_empty() {
            match poll!(self.poll_write(cx, &left)) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(0)),
                Poll::Ready(written) => left.advance(written?),
                Poll::Pending => {
                    self.instead = Some(left);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Called once everything is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.caller.gate.pass();
        poll!(self.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        poll!(self.poll_shutdown(cx))
    }
}
