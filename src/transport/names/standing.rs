//! How names have answered of late.

use std::collections::HashMap;

/// So many answers in time, one after another, are it before a name that hung stands well again.
const MENDED: u8 = 3;

/// How a name has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// In time, the last time at least.
    Well,
    /// Too late, and after that so often in time.
    Slow(u8),
}

/// The standings of the names that were asked for last: of as many as one generation holds, and of at most twice as many.
#[derive(Debug)]
pub(super) struct Standings {
    generation: usize,
    young: HashMap<String, Standing>,
    old: HashMap<String, Standing>,
}

impl Standings {
    pub(super) fn new(generation: usize) -> Self {
        Self { generation, young: HashMap::new(), old: HashMap::new() }
    }

    /// `None` when nothing is known of `name`.
    pub(super) fn of(&self, name: &str) -> Option<Standing> {
        self.young.get(name).or_else(|| self.old.get(name)).copied()
    }

    /// It answered in time.
    pub(super) fn answered(&mut self, name: &str) {
        let standing = match self.of(name) {
            Some(Standing::Slow(times)) if times.saturating_add(1) < MENDED => Standing::Slow(times.saturating_add(1)),
            _ => Standing::Well,
        };
        self.set(name, standing);
    }

    /// It did not.
    pub(super) fn hung(&mut self, name: &str) {
        self.set(name, Standing::Slow(0));
    }

    fn set(&mut self, name: &str, standing: Standing) {
        if !self.young.contains_key(name) && self.young.len() >= self.generation {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name.to_owned(), standing);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_hang_is_forgiven_after_several_answers_in_a_row() {
        let mut standings = Standings::new(10);
        assert_eq!(standings.of("a"), None);
        standings.answered("a");
        assert_eq!(standings.of("a"), Some(Standing::Well));
        for _ in 0..2 {
            standings.hung("a");
            for times in 0..MENDED {
                assert_eq!(standings.of("a"), Some(Standing::Slow(times)));
                standings.answered("a");
            }
            assert_eq!(standings.of("a"), Some(Standing::Well));
        }
        standings.hung("a");
        standings.answered("a");
        standings.hung("a");
        assert_eq!(standings.of("a"), Some(Standing::Slow(0)));
    }

    proptest! {
        #[test]
        fn the_latest_names_are_remembered_and_no_more_than_twice_as_many(
            generation in 1_usize..5, names in prop::collection::vec(0_u8..20, 1..100),
        ) {
            let mut standings = Standings::new(generation);
            for (index, name) in names.iter().enumerate() {
                standings.hung(&name.to_string());
                prop_assert!(standings.young.len() + standings.old.len() <= 2 * generation);
                let latest = names.get(index.saturating_sub(generation - 1)..=index).unwrap();
                prop_assert!(latest.iter().all(|name| standings.of(&name.to_string()).is_some()));
            }
        }
    }
}
