//! Connections that nobody uses are closed.
//!
//! awc looks at a kept connection only when its host is asked again: an endpoint that has fallen silent would hold its sockets
//! for ever, also those that the receiver closed long ago. Here all of them stand in the order of their ends, and one timer waits
//! for the first. Where nothing is kept there is no timer.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::{Rc, Weak},
    time::Duration,
};

use tokio::time::sleep_until;

use super::stream::Socket;
use crate::clock::{Clock, Mono};

/// The connections of an arbiter that may be idle, each with the pool `P` that it is in, which is kept with it.
pub(super) struct Kept<P> {
    clock: Clock,
    keep: Duration,
    /// Each connection at most once, by when to look at it.
    due: RefCell<BTreeMap<(Mono, u64), Idle<P>>>,
    listed: Cell<u64>,
    watched: Cell<bool>,
}

struct Idle<P> {
    socket: Weak<Socket>,
    pool: Rc<P>,
}

impl<P> Kept<P> {
    /// Closes connections that were idle for `keep`, and a little more: awc, which takes none that old, is never a moment behind.
    pub(super) fn new(keep: Duration) -> Self {
        let keep = keep + keep / 16;
        Self {
            clock: Clock::system(),
            keep,
            due: RefCell::default(),
            listed: Cell::default(),
            watched: Cell::default(),
        }
    }

    /// An exchange on `socket`, of `pool`, has ended. Tells whether somebody must begin to [watch](Self::watch).
    #[must_use]
    pub(super) fn is_idle(&self, socket: &Rc<Socket>, pool: &Rc<P>) -> bool {
        let now = self.clock.now().mono;
        socket.idle_since.set(Some(now));
        if !socket.listed.replace(true) {
            self.list(now.after(self.keep), Idle { socket: Rc::downgrade(socket), pool: Rc::clone(pool) });
        }
        !self.watched.replace(true)
    }

    /// Closes what is due, when it is; `closed` hears of the pool of each. Ends when nothing is kept, or nobody keeps anything any
    /// more.
    pub(super) async fn watch<T>(of: Weak<T>, kept: impl Fn(&T) -> &Self, closed: impl Fn(&T, &Rc<P>)) {
        loop {
            let Some(owner) = of.upgrade() else { return };
            let kept = kept(&owner);
            kept.sweep(|pool| closed(&owner, pool));
            let Some(next) = kept.next() else { return kept.watched.set(false) };
            let next = kept.clock.instant(next);
            drop(owner);
            sleep_until(next).await;
        }
    }

    /// Closes a connection that nobody uses, of such a pool, and tells of which; the one that has been kept for longest, about.
    pub(super) fn close_one(&self, of: impl Fn(&P) -> bool) -> Option<Rc<P>> {
        let idle = |idle: &Idle<P>| {
            of(&idle.pool) && idle.socket.upgrade().is_some_and(|socket| socket.idle_since.get().is_some())
        };
        let mut due = self.due.borrow_mut();
        let oldest = due.iter().find(|(_, one)| idle(one)).map(|(key, _)| *key)?;
        let Idle { socket, pool } = due.remove(&oldest)?;
        drop(due);
        socket.upgrade()?.close();
        Some(pool)
    }

    /// How many connections may be open.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.borrow().len()
    }

    #[cfg(test)]
    pub(super) fn is_watched(&self) -> bool {
        self.watched.get()
    }

    /// When to look again, if there is anything to see.
    pub(super) fn next(&self) -> Option<Mono> {
        self.due.borrow().first_key_value().map(|((due, _), _)| *due)
    }

    fn list(&self, due: Mono, idle: Idle<P>) {
        let nth = self.listed.get();
        self.listed.set(nth + 1);
        self.due.borrow_mut().insert((due, nth), idle);
    }

    /// Closes what is due and tells of which pool each was.
    fn sweep(&self, closed: impl Fn(&Rc<P>)) {
        let now = self.clock.now().mono;
        while self.next().is_some_and(|due| due <= now) {
            let first = self.due.borrow_mut().pop_first();
            let Some((_, idle)) = first else { continue };
            let Some(socket) = idle.socket.upgrade() else { continue };
            match socket.idle_since.get().map(|since| since.after(self.keep)) {
                // It comes back at the end of its exchange.
                None => socket.listed.set(false),
                Some(due) if due > now => self.list(due, idle),
                Some(_) => {
                    socket.close();
                    closed(&idle.pool);
                }
            }
        }
    }
}
