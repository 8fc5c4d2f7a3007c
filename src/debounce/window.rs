//! The windows of one rule, without a clock: events are judged by when they were accepted, so that judging them again after
//! a crash comes to the same.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use crate::{clock::Timestamp, store::WindowSlot};

/// What becomes of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It passes.
    Pass,
    /// It is suppressed.
    Suppress,
}

/// Keys of one rule with their windows, bounded in number.
#[derive(Clone, Debug)]
pub struct Windows {
    window: Duration,
    max_keys: usize,
    slots: HashMap<String, WindowSlot>,
    /// The same keys by when their last event passed: for pruning.
    by_age: BTreeSet<(Timestamp, String)>,
}

/// Windows that have ended and are forgotten with each event that opens one; two, so that their number falls.
const PRUNED_AT_ONCE: usize = 2;

impl Windows {
    /// No windows yet. Beyond `max_keys` open windows events of other keys pass.
    pub fn new(window: Duration, max_keys: usize) -> Self {
        Self { window, max_keys, slots: HashMap::new(), by_age: BTreeSet::new() }
    }

    /// Puts back a window as it was kept.
    pub fn restore(&mut self, key: String, slot: WindowSlot) {
        if let Some(old) = self.slots.insert(key.clone(), slot) {
            self.by_age.remove(&(old.passed_at, key.clone()));
        }
        self.by_age.insert((slot.passed_at, key));
    }

    /// What an event of `key`, accepted at `at`, would come to. On the leading edge the first passes, and later ones are
    /// suppressed until one window after the last that passed; one that comes exactly then passes. One that comes more than
    /// a window before the last passes too: the clock was set back, and what lies ahead of it says nothing.
    pub fn judge(&self, key: &str, at: Timestamp) -> Ruling {
        match self.slots.get(key) {
            Some(slot) if self.is_near(slot.passed_at, at) => Ruling::Suppress,
            _ => Ruling::Pass,
        }
    }

    /// Takes note that an event passed. Tells how the windows changed: that of `key`, and those that are forgotten.
    pub fn passed(&mut self, key: String, at: Timestamp) -> Vec<(String, Option<WindowSlot>)> {
        let mut changes = self.prune(at);
        if self.slots.len() < self.max_keys || self.slots.contains_key(&key) {
            let slot = WindowSlot { passed_at: at, suppressed: 0 };
            changes.retain(|(pruned, _)| *pruned != key);
            self.restore(key.clone(), slot);
            changes.push((key, Some(slot)));
        }
        changes
    }

    /// Takes note that an event was suppressed.
    pub fn suppressed(&mut self, key: &str) -> Option<WindowSlot> {
        let slot = self.slots.get_mut(key)?;
        slot.suppressed += 1;
        Some(*slot)
    }

    fn is_near(&self, passed_at: Timestamp, at: Timestamp) -> bool {
        at < passed_at.after(self.window) && passed_at <= at.after(self.window)
    }

    fn prune(&mut self, at: Timestamp) -> Vec<(String, Option<WindowSlot>)> {
        let mut pruned = Vec::new();
        while pruned.len() < PRUNED_AT_ONCE
            && let Some((_, key)) = self.pop_past(at)
        {
            self.slots.remove(&key);
            pruned.push((key, None));
        }
        pruned
    }

    /// Takes out the oldest window if it has ended, or the newest if it lies ahead of a clock that was set back.
    fn pop_past(&mut self, at: Timestamp) -> Option<(Timestamp, String)> {
        let is_past = |(passed_at, _): &&(Timestamp, String)| !self.is_near(*passed_at, at);
        if self.by_age.first().filter(is_past).is_some() {
            self.by_age.pop_first()
        } else if self.by_age.last().filter(is_past).is_some() {
            self.by_age.pop_last()
        } else {
            None
        }
    }

    /// Open windows, and a few that have ended.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_millis(100);

    fn offer(windows: &mut Windows, key: &str, at: i64) -> Ruling {
        let at = Timestamp::from_millis(at);
        let ruling = windows.judge(key, at);
        match ruling {
            Ruling::Pass => drop(windows.passed(key.to_owned(), at)),
            Ruling::Suppress => drop(windows.suppressed(key)),
        }
        ruling
    }

    #[test]
    fn the_first_passes_and_one_exactly_a_window_later() {
        let mut windows = Windows::new(WINDOW, 10);
        let rulings = [0, 1, 99, 100, 150, 200].map(|at| offer(&mut windows, "k", at));
        use Ruling::{Pass, Suppress};
        assert_eq!(rulings, [Pass, Suppress, Suppress, Pass, Suppress, Pass]);
    }

    #[test]
    fn a_clock_that_was_set_back_suppresses_for_one_window_at_most() {
        let mut windows = Windows::new(WINDOW, 10);
        let rulings = [100_000, 99_900, 99_899, 99_900, 99_999, 99_950].map(|at| offer(&mut windows, "k", at));
        use Ruling::{Pass, Suppress};
        assert_eq!(rulings, [Pass, Suppress, Pass, Suppress, Pass, Suppress]);
    }

    #[test]
    fn windows_ahead_of_a_clock_that_was_set_back_make_room() {
        let mut windows = Windows::new(WINDOW, 1);
        assert_eq!(offer(&mut windows, "a", 100_000), Ruling::Pass);
        assert_eq!([0, 1].map(|at| offer(&mut windows, "b", at)), [Ruling::Pass, Ruling::Suppress]);
    }

    #[test]
    fn what_was_suppressed_is_counted() {
        let mut windows = Windows::new(WINDOW, 10);
        offer(&mut windows, "k", 0);
        offer(&mut windows, "k", 1);
        assert_eq!(windows.suppressed("k").map(|slot| slot.suppressed), Some(2));
    }

    #[test]
    fn beyond_the_bound_events_pass() {
        let mut windows = Windows::new(WINDOW, 1);
        offer(&mut windows, "a", 0);
        assert_eq!([1, 2].map(|at| offer(&mut windows, "b", at)), [Ruling::Pass; 2]);
        assert_eq!(offer(&mut windows, "a", 3), Ruling::Suppress);
        assert_eq!(windows.len(), 1);
    }

    proptest! {
        /// Between two events of a key that pass lies a window at least, and none that is suppressed lies a window or more
        /// after the last that passed.
        #[test]
        fn passing_events_lie_a_window_apart(steps in prop::collection::vec((0..3_u8, 0..80_i64), 1..60)) {
            let mut windows = Windows::new(WINDOW, 1000);
            let (mut now, mut last) = (0, HashMap::new());
            for (key, step) in steps {
                now += step;
                let since = last.get(&key).map(|passed| now - passed);
                match offer(&mut windows, &key.to_string(), now) {
                    Ruling::Pass => {
                        prop_assert!(since.is_none_or(|since| since >= 100));
                        last.insert(key, now);
                    }
                    Ruling::Suppress => prop_assert!(since.is_some_and(|since| since < 100)),
                }
            }
        }

        /// Kept changes, put back, judge alike.
        #[test]
        fn what_is_kept_judges_alike(steps in prop::collection::vec((0..3_u8, 0..80_i64), 1..40), next in 0..150_i64) {
            let mut windows = Windows::new(WINDOW, 1000);
            let (mut kept, mut now) = (HashMap::new(), 0);
            for (key, step) in steps {
                now += step;
                let (key, at) = (key.to_string(), Timestamp::from_millis(now));
                let changes = match windows.judge(&key, at) {
                    Ruling::Pass => windows.passed(key, at),
                    Ruling::Suppress => vec![(key.clone(), windows.suppressed(&key))],
                };
                for (key, slot) in changes {
                    match slot {
                        Some(slot) => drop(kept.insert(key, slot)),
                        None => drop(kept.remove(&key)),
                    }
                }
            }
            let mut again = Windows::new(WINDOW, 1000);
            kept.into_iter().for_each(|(key, slot)| again.restore(key, slot));
            let at = Timestamp::from_millis(now + next);
            for key in ["0", "1", "2"] {
                prop_assert_eq!(again.judge(key, at), windows.judge(key, at));
            }
        }
    }
}
