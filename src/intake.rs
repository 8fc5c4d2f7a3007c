//! The bound on what waits between the door and the record of its verdict.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

/// Counts events and bytes that were let in and have no recorded verdict yet.
#[derive(Debug)]
pub struct Intake {
    events: AtomicUsize,
    bytes: AtomicUsize,
    max_events: usize,
    max_bytes: usize,
    closed: AtomicBool,
}

/// Why something was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much waits; some of it will have gone in a moment.
    Full,
    /// The intake is closed for good.
    Closed,
}

/// The place of one event in the intake; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    intake: Arc<Intake>,
    bytes: usize,
}

impl Intake {
    /// An open, empty intake. A single group larger than the bound is let in when nothing else waits.
    pub fn new(max_events: usize, max_bytes: usize) -> Arc<Self> {
        Arc::new(Self {
            events: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            max_events,
            max_bytes,
            closed: AtomicBool::new(false),
        })
    }

    /// Lets a group in, whole or not at all: a permit for each event, given by its bytes.
    pub fn admit(self: &Arc<Self>, group: impl ExactSizeIterator<Item = usize>) -> Result<Vec<Permit>, Refused> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Refused::Closed);
        }
        let count = group.len();
        let others = self.events.fetch_add(count, Ordering::AcqRel);
        // From here on each permit gives back what it took, also when the group turns out not to fit.
        let permits: Vec<_> = group.map(|bytes| self.take_bytes(bytes)).collect();
        let fits = others + count <= self.max_events && self.bytes.load(Ordering::Acquire) <= self.max_bytes;
        if fits || others == 0 { Ok(permits) } else { Err(Refused::Full) }
    }

    fn take_bytes(self: &Arc<Self>, bytes: usize) -> Permit {
        self.bytes.fetch_add(bytes, Ordering::AcqRel);
        Permit { intake: Arc::clone(self), bytes }
    }

    /// Lets nothing in from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether it lets nothing in any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether half of what it lets in has been let in and not given back.
    pub fn is_half_full(&self) -> bool {
        self.waiting() > self.max_events / 2 || self.waiting_bytes() > self.max_bytes / 2
    }

    /// Bytes let in and not given back.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    /// Events let in and not given back.
    pub fn waiting(&self) -> usize {
        self.events.load(Ordering::Acquire)
    }
}

impl Permit {
    /// What has been let in takes more bytes now: they are counted, and refused to nobody.
    pub fn grow(&mut self, bytes: usize) {
        self.intake.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.bytes += bytes;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.intake.events.fetch_sub(1, Ordering::AcqRel);
        self.intake.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(bytes: &[usize]) -> impl ExactSizeIterator<Item = usize> + use<'_> {
        bytes.iter().copied()
    }

    #[test]
    fn a_group_is_let_in_whole_or_not_at_all() {
        let intake = Intake::new(3, 100);
        let first = intake.admit(group(&[10, 10])).unwrap();
        assert!(intake.is_half_full());
        assert_eq!(intake.admit(group(&[1, 1])).unwrap_err(), Refused::Full);
        assert_eq!(intake.waiting(), 2);
        drop(first);
        assert!(intake.waiting() == 0 && !intake.is_half_full());
        assert!(intake.admit(group(&[1, 1])).is_ok());
    }

    #[test]
    fn bytes_are_bounded_too_and_given_back() {
        let intake = Intake::new(10, 100);
        let mut first = intake.admit(group(&[70])).unwrap();
        first[0].grow(20);
        assert!(intake.admit(group(&[20])).is_err());
        assert_eq!(intake.waiting_bytes(), 90);
        drop(first);
        assert!(intake.admit(group(&[20])).is_ok());
    }

    #[test]
    fn nothing_passes_a_closed_door() {
        let intake = Intake::new(10, 100);
        intake.close();
        assert_eq!(intake.admit(group(&[1])).unwrap_err(), Refused::Closed);
    }
}
