//! A bound that many share: bytes in windows, attempts in flight, request bodies being read.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

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

/// A [`Quota`] of places that owners share, nobody's at anybody else's cost: whoever takes one leaves as many as he and his owner
/// hold together. So one alone has a third at most, an owner half, a second owner half of the rest, and so on, however long
/// they hold them.
#[derive(Debug)]
pub struct Commons<K> {
    all: Arc<Quota>,
    owners: Owners<K, Quota>,
}

/// What each owner has, as long as anybody has it.
#[derive(Debug)]
pub struct Owners<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K, V> Default for Owners<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash, V> Owners<K, V> {
    /// What `owner` has, made if there is nothing.
    pub fn of(&self, owner: &K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = owners.get(owner).and_then(Weak::upgrade) {
            return there;
        }
        // It would have to grow: those who have nothing any more are forgotten first.
        if owners.len() == owners.capacity() {
            owners.retain(|_, there| there.strong_count() > 0);
            let room = owners.len().max(8);
            owners.reserve(room);
        }
        let made = Arc::new(make());
        owners.insert(owner.clone(), Arc::downgrade(&made));
        made
    }
}

/// An owner's way to the places of a [`Commons`].
#[derive(Clone, Debug)]
pub struct Portion {
    all: Arc<Quota>,
    held: Arc<Quota>,
}

/// A place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    _of_all: Share,
    _of_owner: Share,
}

impl<K: Clone + Eq + Hash> Commons<K> {
    /// So many places, all of them free.
    pub fn new(places: usize) -> Self {
        Self { all: Quota::new(places), owners: Owners::default() }
    }

    /// The way of `owner`, the same for all of his.
    pub fn portion(&self, owner: &K) -> Portion {
        let held = self.owners.of(owner, || Quota { used: AtomicUsize::new(0), max: usize::MAX });
        Portion { all: Arc::clone(&self.all), held }
    }

    /// How many are taken.
    pub fn used(&self) -> usize {
        self.all.used()
    }
}

impl Portion {
    /// A place for one who holds `own`, if he and his owner hold fewer together than are free.
    pub fn take(&self, own: usize) -> Option<Place> {
        let free = self.all.max().saturating_sub(self.all.used());
        if self.held.used().saturating_add(own) >= free {
            return None;
        }
        Some(Place { _of_all: self.all.take(1)?, _of_owner: self.held.take_anyway(1) })
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
    use proptest::{collection::vec, prelude::*};

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

    #[test]
    fn one_has_a_third_its_owner_half_and_the_next_owner_half_of_the_rest() {
        let commons = Commons::new(4096);
        let fill = |owner| {
            let portion = commons.portion(&owner);
            let mut taken = Vec::new();
            while let Some(place) = portion.take(taken.len()) {
                taken.push(place);
            }
            taken
        };
        let (first, second, third) = (fill("a"), fill("a"), fill("b"));
        assert_eq!([first.len(), second.len(), third.len()], [1366, 455, 759]);
        drop(first);
        assert_eq!(commons.used(), 455 + 759);
    }

    #[test]
    fn owners_who_are_gone_are_forgotten() {
        let commons = Commons::new(4);
        let kept = commons.portion(&0).take(0);
        (1..1000).for_each(|owner| drop(commons.portion(&owner)));
        assert!(commons.owners.0.lock().unwrap().len() <= 64);
        assert!(kept.is_some() && commons.used() == 1);
    }

    proptest! {
        #[test]
        fn whoever_holds_none_finds_a_place_beside_as_many_owners_as_halve_them(
            takes in vec((0..5_u8, 0..4_usize), 0..3000),
        ) {
            let commons = Commons::new(64);
            let mut held: HashMap<(u8, usize), Vec<Place>> = HashMap::new();
            for (owner, endpoint) in takes {
                let own = held.entry((owner, endpoint)).or_default();
                own.extend(commons.portion(&owner).take(own.len()));
            }
            prop_assert!(commons.used() < 64);
            prop_assert!(commons.portion(&9).take(0).is_some());
        }
    }
}
