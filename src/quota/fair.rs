//! A bound that owners share, and nobody's share at anybody else's cost.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// So much in all, of which each owner takes more only where it then holds no more than it leaves free. So one alone has half of
/// it, a second half of the rest, and so on, however long they hold it: with `n` owners who hold any, at least the `2^n`th part of
/// all is free.
///
/// What is free for some owner is not for one who holds more. Nothing waits here.
pub struct Fair<O: Eq + Hash>(Arc<Mutex<Ledger<O>>>);

/// What an owner has of a [`Fair`]; given back when dropped.
pub struct Part<O: Clone + Eq + Hash> {
    of: Fair<O>,
    owner: O,
    amount: usize,
}

/// Why there is no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It would be there, did the owner hold nothing: it has its share.
    Share,
    /// Others hold too much.
    All,
}

struct Ledger<O> {
    max: usize,
    used: usize,
    /// Of whoever holds any.
    held: HashMap<O, usize>,
}

impl<O: Clone + Eq + Hash> Fair<O> {
    /// So much, all of it free.
    pub fn new(max: usize) -> Self {
        Self(Arc::new(Mutex::new(Ledger { max, used: 0, held: HashMap::new() })))
    }

    /// Takes `amount` for `owner`. Nothing can be taken by whoever holds more than is free.
    ///
    /// # Errors
    /// When it would hold more than it leaves free.
    pub fn take(&self, owner: &O, amount: usize) -> Result<Part<O>, Refused> {
        self.ledger().take(owner, amount)?;
        Ok(Part { of: self.clone(), owner: owner.clone(), amount })
    }

    /// Takes `amount` whether it is free or not: where it is late to refuse.
    pub fn take_anyway(&self, owner: &O, amount: usize) -> Part<O> {
        self.ledger().add(owner, amount);
        Part { of: self.clone(), owner: owner.clone(), amount }
    }

    /// Whether `owner` has more than it could ever take, or any of what is more than there is.
    pub fn is_overdrawn(&self, owner: &O) -> bool {
        let ledger = self.ledger();
        let held = ledger.held(owner);
        held > ledger.max / 2 || held > 0 && ledger.used > ledger.max
    }

    /// The most that an owner can have, when it is alone.
    pub fn most(&self) -> usize {
        self.ledger().max / 2
    }

    /// How much `owner` holds.
    pub fn held(&self, owner: &O) -> usize {
        self.ledger().held(owner)
    }

    /// How much is taken.
    pub fn used(&self) -> usize {
        self.ledger().used
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger<O>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<O: Clone + Eq + Hash> Part<O> {
    /// Takes `by` more.
    ///
    /// # Errors
    /// As for [`Fair::take`]; it is as it was.
    pub fn grow(&mut self, by: usize) -> Result<(), Refused> {
        self.of.ledger().take(&self.owner, by)?;
        self.amount = self.amount.saturating_add(by);
        Ok(())
    }

    /// How much it is.
    pub fn amount(&self) -> usize {
        self.amount
    }

    /// Gives all of it back; it can grow again.
    pub fn clear(&mut self) {
        let amount = std::mem::take(&mut self.amount);
        self.of.ledger().give_back(&self.owner, amount);
    }
}

impl<O: Clone + Eq + Hash> Ledger<O> {
    fn held(&self, owner: &O) -> usize {
        self.held.get(owner).copied().unwrap_or_default()
    }

    fn take(&mut self, owner: &O, amount: usize) -> Result<(), Refused> {
        let held = self.held(owner);
        // What others leave, and what of it the owner would have.
        let (left, wanted) = (self.max.saturating_sub(self.used - held), held.saturating_add(amount));
        if wanted <= left.saturating_sub(wanted) {
            self.add(owner, amount);
            return Ok(());
        }
        Err(if amount <= left.saturating_sub(amount) { Refused::Share } else { Refused::All })
    }

    fn add(&mut self, owner: &O, amount: usize) {
        if amount > 0 {
            self.used = self.used.saturating_add(amount);
            *self.held.entry(owner.clone()).or_default() += amount;
        }
    }

    fn give_back(&mut self, owner: &O, amount: usize) {
        self.used -= amount;
        let left = self.held(owner) - amount;
        if left == 0 {
            self.held.remove(owner);
        } else {
            self.held.insert(owner.clone(), left);
        }
    }
}

impl<O: Eq + Hash> Clone for Fair<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O: Clone + Eq + Hash> Drop for Part<O> {
    fn drop(&mut self) {
        self.clear();
    }
}

impl<O: Clone + Eq + Hash> fmt::Debug for Fair<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fair").field("used", &self.used()).finish_non_exhaustive()
    }
}

impl<O: Clone + Eq + Hash> fmt::Debug for Part<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("amount", &self.amount).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_owner_leaves_as_much_as_it_holds() {
        let fair = Fair::new(128);
        let mut held = Vec::new();
        let mut hold_all = |owner: u8| {
            while let Ok(part) = fair.take(&owner, 1) {
                held.push(part);
            }
            fair.held(&owner)
        };
        assert_eq!([1, 2, 3, 1, 4].map(&mut hold_all), [64, 32, 16, 64, 8]);
        drop(held);
        assert_eq!((fair.used(), fair.most()), (0, 64));
    }

    #[test]
    fn who_is_refused_learns_whether_it_has_its_own_share() {
        let fair = Fair::new(100);
        let mut one = fair.take(&1, 50).unwrap();
        assert_eq!((one.grow(1), fair.take(&1, 20).err()), (Err(Refused::Share), Some(Refused::Share)));
        assert_eq!(fair.take(&2, 26).err(), Some(Refused::All));
        let two = fair.take(&2, 25).unwrap();
        assert_eq!(fair.take(&1, 0).err(), Some(Refused::Share), "holds more than is left");
        drop(two);
        one.clear();
        assert!(one.grow(10).is_ok() && one.amount() == 10 && fair.used() == 10);
    }

    #[test]
    fn what_cannot_be_refused_counts_against_the_next() {
        let fair = Fair::new(100);
        let (some, late) = (fair.take(&3, 1).unwrap(), fair.take_anyway(&1, 200));
        assert_eq!((fair.take(&1, 0).err(), fair.take(&2, 1).err()), (Some(Refused::Share), Some(Refused::All)));
        assert_eq!([1, 2, 3].map(|owner| fair.is_overdrawn(&owner)), [true, false, true]);
        drop((some, late));
        assert!(fair.take(&1, 50).is_ok_and(|_| !fair.is_overdrawn(&1)));
        let _more = fair.take_anyway(&1, 51);
        assert!(fair.is_overdrawn(&1));
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Take(u8, usize),
        Grow(usize, usize),
        Clear(usize),
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let which = any::<usize>;
        prop_oneof![
            3 => (0..5_u8, 0..400_usize).prop_map(|(owner, amount)| Step::Take(owner, amount)),
            2 => (which(), 0..400_usize).prop_map(|(which, by)| Step::Grow(which, by)),
            1 => which().prop_map(Step::Clear),
            2 => which().prop_map(Step::Leave),
        ]
    }

    proptest! {
        #[test]
        fn so_many_owners_never_leave_less_than_half_of_a_half_and_so_on(
            max in 0..1000_usize, steps in prop::collection::vec(step(), 1..100),
        ) {
            let fair = Fair::new(max);
            let mut parts: Vec<Part<u8>> = Vec::new();
            for step in steps {
                let len = parts.len();
                match step {
                    Step::Take(owner, amount) => parts.extend(fair.take(&owner, amount).ok()),
                    Step::Grow(which, by) if len > 0 => {
                        let _maybe = parts[which % len].grow(by);
                    }
                    Step::Clear(which) if len > 0 => parts[which % len].clear(),
                    Step::Leave(which) if len > 0 => drop(parts.swap_remove(which % len)),
                    _ => {}
                }
                let amounts = |owner: Option<u8>| -> usize {
                    parts.iter().filter(|part| owner.is_none_or(|owner| part.owner == owner)).map(Part::amount).sum()
                };
                prop_assert_eq!(fair.used(), amounts(None));
                prop_assert!((0..5).all(|owner| fair.held(&owner) == amounts(Some(owner))));
                let owners = (0..5).filter(|owner| fair.held(owner) > 0).count();
                prop_assert_eq!(owners, fair.ledger().held.len(), "who holds nothing is forgotten");
                prop_assert!((max - fair.used()) << owners >= max);
                // Whoever holds nothing gets half of what is there.
                prop_assert!(fair.take(&9, (max - fair.used()) / 2).is_ok());
            }
        }
    }
}
