//! A connection that ends when its caller holds it up.
//!
//! actix-web bounds the first head of a connection and the time between requests, but not a second head that never ends,
//! nor a caller who never reads his answer. Here both are bounded, below TLS and so for handshakes too.

use std::{
    cell::Cell,
    future::Future,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// The longest a connection may be without a request that is being answered: handshake and head have to come in this time.
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// Whoever does not take what waits for him must take so many bytes in so long.
pub(super) const PACE: Duration = Duration::from_secs(10);
pub(super) const LEAST: usize = 16 << 10;

/// Tells a connection when a request on it is being answered.
#[derive(Clone, Default)]
pub(super) struct Gate(Rc<Turns>);

#[derive(Default)]
struct Turns {
    begun: Cell<u64>,
    open: Cell<usize>,
    /// How often nothing of what was to be written was left.
    passed: Cell<u64>,
    /// Who waits for the next time.
    waiting: Cell<Option<Waker>>,
}

/// A request that is being answered, until dropped.
pub(super) struct Turn {
    turns: Rc<Turns>,
    /// How often everything had been written when the end of the answer was reached.
    since: Option<u64>,
}

impl Gate {
    pub(super) fn enter(&self) -> Turn {
        self.0.begun.set(self.0.begun.get().wrapping_add(1));
        self.0.open.set(self.0.open.get().saturating_add(1));
        Turn { turns: Rc::clone(&self.0), since: None }
    }

    /// Whether a request is being answered, or its answer is not written yet.
    pub(super) fn is_answering(&self) -> bool {
        self.0.open.get() > 0
    }

    /// Everything that was to be written is.
    pub(super) fn pass(&self) {
        self.0.passed.set(self.0.passed.get().wrapping_add(1));
        if let Some(waker) = self.0.waiting.take() {
            waker.wake();
        }
    }
}

impl Turn {
    /// Ready once everything is written that was to be when this was called first.
    pub(super) fn poll_written(&mut self, cx: &Context<'_>) -> Poll<()> {
        let passed = self.turns.passed.get();
        if *self.since.get_or_insert(passed) != passed {
            return Poll::Ready(());
        }
        self.turns.waiting.set(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.open.set(self.turns.open.get().saturating_sub(1));
    }
}

type Timer = Pin<Box<Sleep>>;

/// A connection with its two bounds. A caller who breaks one is cut off without a farewell.
pub(super) struct Stream<T> {
    io: T,
    gate: Gate,
    /// Makes the end of the connection an abrupt one.
    abort: fn(&T),
    /// Runs while no request is answered; with how many had begun by then.
    idle: Option<(u64, Timer)>,
    /// Runs while the caller does not take what waits for him; with the bytes that he took since.
    blocked: Option<(usize, Timer)>,
}

fn timer(after: Duration) -> Timer {
    Box::pin(sleep(after))
}

fn is_over(timer: &mut Timer, cx: &mut Context<'_>) -> bool {
    timer.as_mut().poll(cx).is_ready()
}

impl<T: AsyncRead + AsyncWrite + Unpin> Stream<T> {
    pub(super) fn new(io: T, gate: Gate, abort: fn(&T)) -> Self {
        Self { io, gate, abort, idle: None, blocked: None }
    }

    /// Whether it has been without a request for too long.
    fn is_idle(&mut self, cx: &mut Context<'_>) -> bool {
        let turns = &self.gate.0;
        if self.gate.is_answering() || self.blocked.is_some() {
            self.idle = None;
            return false;
        }
        let begun = turns.begun.get();
        let fresh = || (begun, timer(IDLE));
        let same = self.idle.take().filter(|(then, _)| *then == begun);
        is_over(&mut self.idle.insert(same.unwrap_or_else(fresh)).1, cx)
    }

    /// Whether its caller takes too little of what waits for him.
    fn is_stalled(&mut self, cx: &mut Context<'_>) -> bool {
        let (taken, pace) = self.blocked.get_or_insert_with(|| (0, timer(PACE)));
        while is_over(pace, cx) {
            if *taken < LEAST {
                return true;
            }
            (*taken, *pace) = (0, timer(PACE));
        }
        false
    }

    fn cut<O>(&self) -> Poll<io::Result<O>> {
        (self.abort)(&self.io);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Stream<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.io).poll_read(cx, into);
        if read.is_pending() && this.is_idle(cx) { this.cut() } else { read }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, bytes);
        if written.is_pending() && this.is_stalled(cx) {
            return this.cut();
        }
        if let (Poll::Ready(Ok(more)), Some((taken, _))) = (&written, &mut this.blocked) {
            *taken = taken.saturating_add(*more);
        }
        written
    }

    /// Called once everything is written.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.blocked = None;
        Pin::new(&mut this.io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(86_400), test).await.unwrap() });
    }

    fn stream(buffer: usize) -> (Stream<DuplexStream>, DuplexStream, Gate) {
        let (ours, theirs) = duplex(buffer);
        let gate = Gate::default();
        (Stream::new(ours, gate.clone(), |_| ()), theirs, gate)
    }

    fn is_cut<T: std::fmt::Debug>(result: &io::Result<T>) -> bool {
        result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
    }

    #[test]
    fn a_head_that_trickles_ends_with_the_idle_time() {
        run(async {
            let (mut stream, mut caller, _gate) = stream(1024);
            let trickle = async {
                while caller.write_all(b"x").await.is_ok() {
                    sleep(Duration::from_secs(1)).await;
                }
            };
            let read = async {
                let mut read = 0;
                let end = loop {
                    match stream.read_u8().await {
                        Ok(_) => read += 1,
                        end => break end,
                    }
                };
                drop(stream);
                (end, read)
            };
            let ((end, read), ()) = tokio::join!(read, trickle);
            assert!(is_cut(&end) && (9..=11).contains(&read), "{end:?} after {read}");
        });
    }

    #[test]
    fn a_request_that_is_answered_may_take_its_time() {
        run(async {
            let (mut stream, mut caller, gate) = stream(1024);
            for _ in 0..3 {
                let turn = gate.enter();
                let waited = tokio::time::timeout(IDLE * 5, stream.read_u8()).await;
                assert!(waited.is_err(), "{waited:?}");
                drop(turn);
                let waited = tokio::time::timeout(IDLE * 9 / 10, stream.read_u8()).await;
                assert!(waited.is_err(), "a new time begins with the end of each request: {waited:?}");
                caller.write_all(b"x").await.unwrap();
                stream.read_u8().await.unwrap();
                drop(gate.enter());
            }
            assert!(is_cut(&stream.read_u8().await));
        });
    }

    #[test]
    fn a_caller_who_does_not_read_is_cut_off() {
        run(async {
            let (mut stream, _caller, _gate) = stream(1024);
            let written = stream.write_all(&vec![0; LEAST * 2]).await;
            assert!(is_cut(&written), "{written:?}");
        });
    }

    #[test]
    fn a_caller_who_takes_less_than_the_pace_is_cut_off_and_one_who_keeps_it_is_not() {
        for (every, expected) in [(PACE / 8, true), (PACE / 3, false)] {
            run(async move {
                let (mut stream, mut caller, _gate) = stream(LEAST / 4);
                let reading = async {
                    let mut part = vec![0; LEAST / 4];
                    while caller.read_exact(&mut part).await.is_ok() {
                        sleep(every).await;
                    }
                };
                let writing = async {
                    let written = stream.write_all(&vec![0; LEAST * 20]).await;
                    drop(stream);
                    written
                };
                let (written, ()) = tokio::join!(writing, reading);
                assert_eq!(written.is_ok(), expected, "{every:?}: {written:?}");
            });
        }
    }
}
