//! The bound on what waits between the door and the record of its verdict.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use crate::{event::Tenant, quota::Owners};

/// Counts events and bytes that were let in and have no recorded verdict yet.
///
/// Of each it lets in twice the bound, and of one tenant's, or of what is nobody's, only as long as no more waits than may still
/// come: one alone has all of the bound, and whoever has nothing there is let in beside it.
#[derive(Debug)]
pub struct Intake {
    waiting: Waiting,
    max_events: usize,
    max_bytes: usize,
    owners: Owners<Option<Tenant>, Waiting>,
    turn: Mutex<()>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    events: AtomicUsize,
    bytes: AtomicUsize,
}

#[derive(Clone, Copy, Default)]
struct Amount {
    events: usize,
    bytes: usize,
}

impl Amount {
    /// Some of it may have gone meanwhile.
    fn without(self, part: Self) -> Self {
        Self { events: self.events.saturating_sub(part.events), bytes: self.bytes.saturating_sub(part.bytes) }
    }
}

/// Why something was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Too much waits; some of it will have gone in a moment.
    Full,
    /// Too much of the same tenant's waits; others are let in.
    Quota,
    /// The intake is closed for good.
    Closed,
}

/// The place of one event in the intake; given back when dropped.
#[derive(Debug)]
pub struct Permit {
    intake: Arc<Intake>,
    owner: Arc<Waiting>,
    bytes: usize,
}

impl Waiting {
    fn events(&self) -> usize {
        self.events.load(Ordering::Acquire)
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    fn amount(&self) -> Amount {
        Amount { events: self.events(), bytes: self.bytes() }
    }
}

impl Intake {
    /// An open, empty intake. A single group larger than the bound is let in when nothing else waits.
    pub fn new(max_events: usize, max_bytes: usize) -> Arc<Self> {
        let (waiting, owners, closed) = (Waiting::default(), Owners::default(), AtomicBool::new(false));
        Arc::new(Self { waiting, max_events, max_bytes, owners, turn: Mutex::default(), closed })
    }

    /// Lets a group of a tenant's in, or of nobody's, whole or not at all: a permit for each event, given by its bytes.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(
        self: &Arc<Self>,
        of: Option<&Tenant>,
        group: impl ExactSizeIterator<Item = usize>,
    ) -> Result<Vec<Permit>, Refused> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Refused::Closed);
        }
        let owner = self.owners.of(&of.cloned(), Waiting::default);
        let weights: Vec<_> = group.collect();
        let group = Amount { events: weights.len(), bytes: weights.iter().sum() };
        // One at a time: what is refused is never counted, not even for a moment.
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, others) = (owner.amount(), self.waiting.amount().without(owner.amount()));
        let alone = own.events + others.events == 0;
        if !alone && !self.fits(others, own, group) {
            let own_fault = of.is_some() && self.fits(others, Amount::default(), group);
            return Err(if own_fault { Refused::Quota } else { Refused::Full });
        }
        for waiting in [&self.waiting, &*owner] {
            waiting.events.fetch_add(group.events, Ordering::AcqRel);
            waiting.bytes.fetch_add(group.bytes, Ordering::AcqRel);
        }
        drop(turn);
        let permit = |bytes| Permit { intake: Arc::clone(self), owner: Arc::clone(&owner), bytes };
        Ok(weights.into_iter().map(permit).collect())
    }

    /// Whether a group's owner, who has so much there beside others, would have no more than it leaves.
    fn fits(&self, others: Amount, own: Amount, group: Amount) -> bool {
        others.events + 2 * (own.events + group.events) <= self.max_events.saturating_mul(2)
            && others.bytes + 2 * (own.bytes + group.bytes) <= self.max_bytes.saturating_mul(2)
    }

    /// Lets nothing in from now on.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Whether it lets nothing in any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Whether half of the bound has been let in and not given back.
    pub fn is_half_full(&self) -> bool {
        self.waiting() > self.max_events / 2 || self.waiting_bytes() > self.max_bytes / 2
    }

    /// Bytes let in and not given back.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting.bytes()
    }

    /// Events let in and not given back.
    pub fn waiting(&self) -> usize {
        self.waiting.events()
    }
}

impl Permit {
    /// What has been let in takes more bytes now: they are counted, and refused to nobody.
    pub fn grow(&mut self, bytes: usize) {
        self.intake.waiting.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.owner.bytes.fetch_add(bytes, Ordering::AcqRel);
        self.bytes += bytes;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        for waiting in [&self.intake.waiting, &*self.owner] {
            waiting.events.fetch_sub(1, Ordering::AcqRel);
            waiting.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        }
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
        let first = intake.admit(None, group(&[10, 10])).unwrap();
        assert!(intake.is_half_full());
        assert_eq!(intake.admit(None, group(&[1, 1])).unwrap_err(), Refused::Full);
        assert_eq!(intake.waiting(), 2);
        drop(first);
        assert!(intake.waiting() == 0 && !intake.is_half_full());
        assert!(intake.admit(None, group(&[1, 1])).is_ok());
    }

    #[test]
    fn bytes_are_bounded_too_and_given_back() {
        let intake = Intake::new(10, 100);
        let mut first = intake.admit(None, group(&[70])).unwrap();
        first[0].grow(20);
        assert!(intake.admit(None, group(&[20])).is_err());
        assert_eq!(intake.waiting_bytes(), 90);
        drop(first);
        assert!(intake.admit(None, group(&[20])).is_ok());
    }

    #[test]
    fn a_tenant_that_has_all_it_may_keeps_no_other_out() {
        let intake = Intake::new(10, 1000);
        let of = |name: &str| Some(name.parse::<Tenant>().unwrap());
        let (flood, late, last) = (of("flood"), of("late"), of("last"));
        let fill = |of: &Option<Tenant>| {
            let mut held = Vec::new();
            loop {
                match intake.admit(of.as_ref(), group(&[1])) {
                    Ok(permits) => held.extend(permits),
                    Err(refused) => return (held, refused),
                }
            }
        };
        let ((first, refused), (second, _)) = (fill(&flood), fill(&late));
        assert_eq!((first.len(), refused, second.len()), (10, Refused::Quota, 5));
        assert_eq!(intake.admit(None, group(&[1, 1, 1])).unwrap_err(), Refused::Full, "nobody is no tenant");
        let large = intake.admit(last.as_ref(), group(&[995])).unwrap_err();
        assert_eq!(large, Refused::Full, "more bytes than others leave");
        drop(first);
        assert!(intake.admit(last.as_ref(), group(&[995])).is_ok());
    }

    #[test]
    fn what_is_refused_takes_no_room_while_it_is_judged() {
        let intake = Intake::new(10, 1000);
        let (flood, other) = ("flood".parse::<Tenant>().unwrap(), "other".parse::<Tenant>().unwrap());
        let held = intake.admit(Some(&flood), group(&[1; 10])).unwrap();
        std::thread::scope(|scope| {
            let floods = scope.spawn(|| {
                let refused = || intake.admit(Some(&flood), group(&[1; 9])).is_err_and(|why| why == Refused::Quota);
                (0..20_000).all(|_| refused())
            });
            assert!((0..20_000).all(|_| intake.admit(Some(&other), group(&[1])).is_ok()));
            assert!(floods.join().unwrap());
        });
        drop(held);
    }

    #[test]
    fn nothing_passes_a_closed_door() {
        let intake = Intake::new(10, 100);
        intake.close();
        assert_eq!(intake.admit(None, group(&[1])).unwrap_err(), Refused::Closed);
    }
}
