//! The committer's mailbox.
//!
//! Events that come in lie in boxes of their own, of which a transaction takes so many: whatever else is asked for never waits
//! behind all of them. Tenants have their turns among them, and so have single events beside large groups: a burst of one holds
//! up itself. What may wait a moment does not wake the committer: waking it costs more than taking it in.

mod lanes;

use std::{
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::event::Tenant;
use lanes::Lanes;

/// So long what may wait lies here at most.
const NAP: Duration = Duration::from_millis(10);

/// A mailbox: its two ends.
pub(super) fn new<T>() -> (Sender<T>, Receiver<T>) {
    let inbox = Arc::new(Inbox { state: Mutex::new(State::default()), bell: Condvar::new() });
    (Sender(Arc::clone(&inbox)), Receiver(inbox))
}

struct Inbox<T> {
    state: Mutex<State<T>>,
    bell: Condvar,
}

struct State<T> {
    events: Lanes<T>,
    rest: Vec<T>,
    sleep: Sleep,
    /// Something is there that may not wait.
    urgent: bool,
    hung_up: bool,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sleep {
    Awake,
    /// It will look by itself in a moment.
    Nap,
    Deep,
}

impl<T> Default for State<T> {
    fn default() -> Self {
        let (events, rest) = (Lanes::default(), Vec::new());
        Self { events, rest, sleep: Sleep::Awake, urgent: false, hung_up: false, closed: false }
    }
}

impl<T> State<T> {
    /// Notes that something has come; tells whether to wake the receiver.
    fn note(&mut self, may_wait: bool) -> bool {
        let wake = self.sleep == Sleep::Deep || (self.sleep == Sleep::Nap && !may_wait);
        self.urgent |= wake || !may_wait;
        wake
    }

    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.rest.is_empty()
    }

    fn take(&mut self) -> Vec<T> {
        let mut taken = mem::take(&mut self.rest);
        self.events.take(&mut taken);
        self.urgent = self.hung_up || !self.events.is_empty();
        taken
    }
}

impl<T> Inbox<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Sender<T>(Arc<Inbox<T>>);

impl<T> Sender<T> {
    /// Sends so many events of a tenant, or of nobody.
    ///
    /// # Errors
    /// The message: nobody receives any more. So for the others.
    pub(super) fn send_events(&self, of: Option<Tenant>, count: usize, message: T) -> Result<(), T> {
        self.put(message, false, |state, message| state.events.push(of, count, message))
    }

    /// Sends what must not overtake any events.
    pub(super) fn send_behind(&self, message: T) -> Result<(), T> {
        self.put(message, false, |state, message| state.events.push_behind(message))
    }

    /// Sends what somebody waits for.
    pub(super) fn send(&self, message: T) -> Result<(), T> {
        self.put(message, false, |state, message| state.rest.push(message))
    }

    /// Leaves what may wait a moment.
    pub(super) fn leave(&self, message: T) -> Result<(), T> {
        self.put(message, true, |state, message| state.rest.push(message))
    }

    fn put(&self, message: T, may_wait: bool, into: impl FnOnce(&mut State<T>, T)) -> Result<(), T> {
        let mut state = self.0.lock();
        if state.closed {
            return Err(message);
        }
        into(&mut state, message);
        let wake = state.note(may_wait);
        drop(state);
        if wake {
            self.0.bell.notify_one();
        }
        Ok(())
    }

    /// Nothing more will be sent.
    pub(super) fn hang_up(&self) {
        let mut state = self.0.lock();
        state.hung_up = true;
        state.urgent = true;
        drop(state);
        self.0.bell.notify_one();
    }
}

/// Nothing will come any more.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HungUp;

pub(super) struct Receiver<T>(Arc<Inbox<T>>);

impl<T> Receiver<T> {
    /// What has come, in its order but for events, which come last; nothing if nothing comes for so long.
    ///
    /// # Errors
    /// Nothing is there, and nothing will come.
    pub(super) fn take(&self, patience: Duration) -> Result<Vec<T>, HungUp> {
        let mut state = self.0.lock();
        let nap = patience.min(NAP);
        for (sleep, time) in [(Sleep::Nap, nap), (Sleep::Deep, patience.saturating_sub(nap))] {
            if state.urgent || time.is_zero() || (sleep == Sleep::Deep && !state.is_empty()) {
                continue;
            }
            state.sleep = sleep;
            let waited = self.0.bell.wait_timeout_while(state, time, |state| !state.urgent);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.sleep = Sleep::Awake;
        }
        if state.hung_up && state.is_empty() { Err(HungUp) } else { Ok(state.take()) }
    }

    /// Takes nothing more in; gives what was there.
    pub(super) fn close(&self) -> Vec<T> {
        let mut state = self.0.lock();
        state.closed = true;
        let mut left = mem::take(&mut state.rest);
        while !state.events.is_empty() {
            state.events.take(&mut left);
        }
        left
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn whatever_is_asked_for_overtakes_events() {
        let (sender, receiver) = new();
        (0..2).for_each(|number| sender.send_events(None, lanes::TOGETHER, number).unwrap());
        sender.leave(8).unwrap();
        sender.send(9).unwrap();
        assert_eq!(receiver.take(LONG), Ok(vec![8, 9, 0]));
        assert_eq!(receiver.take(LONG), Ok(vec![1]));
    }

    #[test]
    fn what_may_wait_wakes_only_who_sleeps_deeply() {
        let wakes = |sleep, may_wait| State::<u8> { sleep, ..State::default() }.note(may_wait);
        let cases = [Sleep::Awake, Sleep::Nap, Sleep::Deep].map(|sleep| (wakes(sleep, true), wakes(sleep, false)));
        assert_eq!(cases, [(false, false), (false, true), (true, true)]);
    }

    #[test]
    fn what_may_wait_is_taken_after_a_moment() {
        let (sender, receiver) = new();
        sender.leave(1).unwrap();
        assert_eq!(receiver.take(LONG), Ok(vec![1]));
        assert_eq!(receiver.take(NAP * 2), Ok(vec![]), "nothing comes");
    }

    #[test]
    fn nothing_is_lost_or_out_of_order_between_threads() {
        let (sender, receiver) = new();
        let (sender, count) = (Arc::new(sender), 10_000);
        let senders: Vec<_> = (0..3)
            .map(|lane| {
                let sender = Arc::clone(&sender);
                thread::spawn(move || {
                    for number in 0..count {
                        let sent = match lane {
                            0 => sender.send_events(None, 1, (lane, number)),
                            1 => sender.send((lane, number)),
                            _ => sender.leave((lane, number)),
                        };
                        sent.unwrap();
                    }
                })
            })
            .collect();
        let mut taken = Vec::new();
        while taken.len() < 3 * count {
            taken.extend(receiver.take(LONG).unwrap());
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        for lane in 0..3 {
            let of_lane = taken.iter().filter(|(one, _)| *one == lane).map(|(_, number)| *number);
            assert!(of_lane.eq(0..count), "lane {lane}");
        }
    }

    #[test]
    fn after_the_last_message_comes_the_end() {
        let (sender, receiver) = new();
        sender.send_events(None, 1, 1).unwrap();
        sender.hang_up();
        assert_eq!((receiver.take(LONG), receiver.take(LONG)), (Ok(vec![1]), Err(HungUp)));
    }

    #[test]
    fn nothing_is_sent_to_a_closed_box() {
        let (sender, receiver) = new();
        sender.send_events(None, 1, 1).unwrap();
        sender.leave(2).unwrap();
        assert_eq!(receiver.close(), [2, 1]);
        assert_eq!((sender.send(3), sender.leave(4), sender.send_events(None, 1, 5)), (Err(3), Err(4), Err(5)));
    }
}
