//! A bound that many share: bytes in windows, attempts in flight, request bodies being read.

mod fair;

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

pub use fair::{Fair, Part, Refused};

/// So much in all.
#[derive(Debug)]
pub struct Quota {
    used: AtomicUsize,
    max: usize,
}

/// A part of a [`Quota`]; given back when dropped.
#[derive(Debug)]
pub struct Share {
    quota: Arc<Quota>,
    amount: usize,
}

impl Quota {
    /// A quota of `max`, all of it free.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), max })
    }

    /// Takes `amount` if so much is free.
    pub fn take(self: &Arc<Self>, amount: usize) -> Option<Share> {
        let take = |used: usize| used.checked_add(amount).filter(|sum| *sum <= self.max);
        let taken = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take);
        taken.is_ok().then(|| Share { quota: Arc::clone(self), amount })
    }

    /// Takes `amount` whether it is free or not: for the one thing that each endpoint may always have.
    pub fn take_anyway(self: &Arc<Self>, amount: usize) -> Share {
        self.used.fetch_add(amount, Ordering::AcqRel);
        Share { quota: Arc::clone(self), amount }
    }

    /// Whether more is taken than there is.
    pub fn is_exceeded(&self) -> bool {
        self.used() > self.max
    }

    /// How much there is.
    pub fn max(&self) -> usize {
        self.max
    }

    /// How much is taken.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}

/// A [`Quota`] of the same size for each of many.
#[derive(Debug)]
pub struct Quotas<K> {
    max: usize,
    of: HashMap<K, Arc<Quota>>,
}

impl<K: Clone + Eq + Hash> Quotas<K> {
    /// `max` for each.
    pub fn new(max: usize) -> Self {
        Self { max, of: HashMap::new() }
    }

    /// One of those that `of` may have, if one is free. Whoever has none is not remembered.
    pub fn take(&mut self, of: &K) -> Option<Share> {
        self.of.retain(|_, quota| quota.used() > 0);
        self.of.entry(of.clone()).or_insert_with(|| Quota::new(self.max)).take(1)
    }
}

impl Share {
    /// Takes `by` more if so much is free; tells whether it was.
    pub fn grow(&mut self, by: usize) -> bool {
        let Some(mut more) = self.quota.take(by) else { return false };
        self.amount += std::mem::take(&mut more.amount);
        true
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.quota.used.fetch_sub(self.amount, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_comes_back_with_its_share() {
        let quota = Quota::new(10);
        let mut share = quota.take(6).unwrap();
        assert!(quota.take(5).is_none());
        assert!(share.grow(4) && !share.grow(1));
        assert_eq!(quota.used(), 10);
        drop(share);
        assert_eq!(quota.used(), 0);
    }

    #[test]
    fn each_has_as_much_as_the_others_and_who_has_none_is_forgotten() {
        let mut quotas = Quotas::new(2);
        let taken: Vec<_> = ["a", "a", "a", "b"].iter().map(|of| quotas.take(of)).collect();
        assert_eq!(taken.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, true]);
        drop(taken);
        assert!(quotas.take(&"c").is_some());
        assert_eq!(quotas.of.len(), 1);
    }
}
