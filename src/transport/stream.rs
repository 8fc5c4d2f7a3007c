//! A connection that the exchange on it can judge and close.
//!
//! awc puts a connection back into its pool on its own terms: also after an interim answer whose final one is still to
//! come, and after an answer whose body has no stated end. The next request would read what was left over. And awc takes
//! a body that broke off for one that ended. Both are put right here, below awc and below TLS: [`Used`] learns which
//! connection an exchange writes to, can close it in the pool, and sees what awc made of it.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::Future,
    io,
    pin::Pin,
    rc::{Rc, Weak},
    task::{Context, Poll},
};

use actix_rt::net::{ActixStream, Ready, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Failure;
use crate::{clock::Mono, quota::Place, store::Peer};

/// A TCP connection until it is closed, and since when nobody uses it.
#[derive(Debug)]
pub(super) struct Socket {
    tcp: RefCell<Option<(TcpStream, Place)>>,
    /// `None` while an exchange goes on.
    pub(super) idle_since: Cell<Option<Mono>>,
    /// Whether it stands among those that may be idle.
    pub(super) listed: Cell<bool>,
    peer: Peer,
}

impl Socket {
    /// Closes it, wherever it is. Nobody can use it again.
    pub(super) fn close(&self) {
        self.tcp.take();
    }
}

tokio::task_local! {
    static CURRENT: Used;
}

/// The longest head of an answer. awc reads all of it again whenever a byte more has come: what it would allow, eight times as
/// much, would take seconds of its thread.
const HEAD: usize = 16 << 10;

/// What may stand around the kept part of a body, such as the frames of chunks and of TLS: so many bytes for each of its own, and
/// so many in all. A receiver could fill the whole deadline with what is nowhere kept.
const AROUND_A_BYTE: usize = 8;
const AROUND: usize = 64 << 10;

/// The connection that an exchange uses; none until it has written.
#[derive(Clone, Default)]
pub(super) struct Used(Rc<Exchange>);

#[derive(Default)]
struct Exchange {
    socket: RefCell<Weak<Socket>>,
    /// Its other end, also once it is closed.
    peer: Cell<Option<Peer>>,
    /// Bytes that came since the last were sent, or since the head of the answer is there.
    came: Cell<usize>,
    /// How many may come after the head; `None` before it is there.
    most: Cell<Option<usize>>,
    /// What this machine lacks for a connection, while it waits for that.
    lack: RefCell<Option<Failure>>,
}

impl Exchange {
    /// Counts what came; an error when the head of the answer or what it takes to send the body is too long. What came with the
    /// end of the head counts as head.
    fn came(&self, bytes: usize) -> io::Result<()> {
        self.came.set(self.came.get().saturating_add(bytes));
        let (what, most) = self.most.get().map_or(("head", HEAD), |most| ("body, as it is sent,", most));
        if self.came.get() <= most {
            return Ok(());
        }
        Err(io::Error::other(format!("its {what} is longer than {} KiB", most >> 10)))
    }

    fn sent(&self) {
        if self.most.get().is_none() {
            self.came.set(0);
        }
    }
}

impl Used {
    /// Runs `exchange`; the connection that it writes to becomes this one.
    pub(super) async fn watch<T>(&self, exchange: impl Future<Output = T>) -> T {
        CURRENT.scope(self.clone(), exchange).await
    }

    /// Closes the connection, wherever it is. Nobody can use it again.
    pub(super) fn close(&self) {
        if let Some(socket) = self.socket() {
            socket.close();
        }
    }

    /// The head of the answer is there; of its body so much will be kept.
    pub(super) fn has_head(&self, keep: usize) {
        self.0.came.set(0);
        self.0.most.set(Some(keep.saturating_mul(AROUND_A_BYTE).saturating_add(AROUND)));
    }

    /// Drops the rest of an answer whose body seems to have ended, and tells whether it broke off instead.
    ///
    /// At the true end of a body awc takes the connection away from it: into the pool, or to be closed. A body that broke
    /// off still holds its connection, which then goes with it.
    pub(super) fn broke_off<T>(&self, rest: T) -> bool {
        let held = self.socket().is_some();
        drop(rest);
        held && self.socket().is_none()
    }

    /// The exchange of this task waits for what the machine lacks, or no longer does.
    pub(super) fn waits_for_means(lack: Option<Failure>) {
        // Outside an exchange nobody asks.
        let _ = CURRENT.try_with(|used| used.0.lack.replace(lack));
    }

    /// What the machine lacks for its connection, if it waits for that.
    pub(super) fn lack(&self) -> Option<Failure> {
        self.0.lack.take()
    }

    /// Whom it was with; `None` when nothing was written.
    pub(super) fn peer(&self) -> Option<Peer> {
        self.0.peer.get()
    }

    /// The connection, if it is still there.
    pub(super) fn socket(&self) -> Option<Rc<Socket>> {
        self.0.socket.borrow().upgrade()
    }
}

/// A TCP connection. Once closed by its [`Used`], it reads as ended and cannot be written to.
pub(super) struct Stream(Rc<Socket>);

impl Stream {
    /// A connection that holds its place until it is closed.
    pub(super) fn new(tcp: TcpStream, place: Place, peer: Peer) -> Self {
        let tcp = RefCell::new(Some((tcp, place)));
        Self(Rc::new(Socket { tcp, idle_since: Cell::default(), listed: Cell::default(), peer }))
    }

    fn with<T>(&self, closed: T, poll: impl FnOnce(Pin<&mut TcpStream>) -> T) -> T {
        self.0.tcp.borrow_mut().as_mut().map_or(closed, |(tcp, _)| poll(Pin::new(tcp)))
    }
}

fn closed<T>() -> Poll<io::Result<T>> {
    Poll::Ready(Err(io::ErrorKind::NotConnected.into()))
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        let read = self.with(Poll::Ready(Ok(())), |tcp| tcp.poll_read(cx, into));
        let came = into.filled().len() - before;
        match CURRENT.try_with(|used| used.0.came(came)) {
            Ok(Err(too_long)) => Poll::Ready(Err(too_long)),
            _ => read,
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        // Outside an exchange, such as in a farewell of TLS, there is nobody to tell.
        let _ = CURRENT.try_with(|used| {
            used.0.socket.replace(Rc::downgrade(&self.0));
            used.0.peer.set(Some(self.0.peer));
            used.0.sent();
        });
        self.0.idle_since.set(None);
        self.with(closed(), |tcp| tcp.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(Poll::Ready(Ok(())), |tcp| tcp.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(Poll::Ready(Ok(())), |tcp| tcp.poll_shutdown(cx))
    }
}

impl ActixStream for Stream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.with(closed(), |tcp| ActixStream::poll_read_ready(&*tcp, cx))
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<Ready>> {
        self.with(closed(), |tcp| ActixStream::poll_write_ready(&*tcp, cx))
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stream").field(&self.0).finish()
    }
}
