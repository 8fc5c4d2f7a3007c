//! The windows of one debounce rule, or of one endpoint's own, without a clock: events are judged by when they were accepted, so that judging them again after
//! a crash comes to the same. Only when what is held is let go follows the monotonic clock.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Bound,
    time::Duration,
};

use crate::{
    clock::{Mono, Now, Timestamp},
    endpoint::debounce::{DebouncePolicy, Edge, key::Carried},
    store::{HeldSlot, WindowSlot},
};

/// What becomes of an event, as far as one rule goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// It passes.
    Pass,
    /// It is suppressed.
    Suppress,
    /// It waits for its key to be quiet.
    Hold,
}

/// What an event found that passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Passing {
    /// How many of its key did not pass since the last that did.
    pub count: u64,
    /// The event that was held, which it replaces.
    pub replaced: Option<u64>,
}

/// How windows go.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long one is.
    pub window: Duration,
    /// Which events pass.
    pub edge: Edge,
    /// The longest that an event is held.
    pub longest_wait: Duration,
    /// Whether slots remember who took them.
    pub frees: bool,
}

impl From<&DebouncePolicy> for Terms {
    fn from(policy: &DebouncePolicy) -> Self {
        let DebouncePolicy { window, edge, release_on_failure: frees, .. } = *policy;
        Self { window, edge, longest_wait: policy.longest_wait(), frees }
    }
}

/// Keys of one rule with their windows, bounded in number.
#[derive(Clone, Debug)]
pub struct Windows {
    terms: Terms,
    max_keys: usize,
    slots: BTreeMap<String, Slot>,
    /// The keys that hold nothing and count nothing, by when their window began: for pruning.
    idle: BTreeSet<(Option<Timestamp>, String)>,
    /// Those that hold nothing and count something.
    counting: BTreeSet<(Option<Timestamp>, String)>,
    /// Those that hold something, by when they let it go.
    due: BTreeSet<(Mono, String)>,
    takers: HashMap<u64, String>,
    changed: BTreeMap<String, Option<WindowSlot>>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    kept: WindowSlot,
    due: Option<Mono>,
}

/// Keys of one rule, or of one endpoint, at most; events of further keys pass.
pub const MAX_KEYS: usize = 100_000;
/// Windows that have ended and are forgotten with each event; two, so that their number falls.
const PRUNED_AT_ONCE: usize = 2;

impl Windows {
    /// No windows yet. Beyond `max_keys` keys, events of others pass.
    pub fn new(terms: Terms, max_keys: usize) -> Self {
        Self {
            terms,
            max_keys,
            slots: BTreeMap::new(),
            idle: BTreeSet::new(),
            counting: BTreeSet::new(),
            due: BTreeSet::new(),
            takers: HashMap::new(),
            changed: BTreeMap::new(),
        }
    }

    /// Puts back a window as it was kept.
    pub fn restore(&mut self, key: &str, kept: WindowSlot, now: Now) {
        self.put(key, kept, now);
        self.changed.remove(key);
    }

    /// What an event of `key`, accepted at `at`, would come to. A window is open for its length from its beginning on; one that
    /// comes exactly at its end finds it ended. So does one that comes more than a window before its beginning: the clock was
    /// set back, and what lies ahead of it says nothing.
    pub fn judge(&self, key: &str, at: Timestamp) -> Ruling {
        let slot = self.slots.get(key);
        let open = slot.is_some_and(|slot| self.is_open(&slot.kept, at));
        match self.terms.edge {
            Edge::Leading if open => Ruling::Suppress,
            Edge::Both if open => Ruling::Hold,
            Edge::Trailing if self.has_room(key) => Ruling::Hold,
            Edge::Leading | Edge::Both | Edge::Trailing => Ruling::Pass,
        }
    }

    /// Whether what `key` holds should have been let go before an event accepted at `at`.
    pub fn is_overdue(&self, key: &str, at: Timestamp) -> bool {
        let Some(slot) = self.slots.get(key) else { return false };
        let due = self.due(&slot.kept);
        due.is_some_and(|due| at >= due || !self.is_open(&slot.kept, at))
    }

    /// Takes note that an event passed. It takes the slot, where there is room for one.
    pub fn passed(&mut self, key: &str, seq: u64, at: Timestamp, now: Now) -> Passing {
        let old = self.kept(key);
        let found = Passing { count: old.suppressed, replaced: old.held.map(|held| held.seq) };
        let slot = match self.terms.edge {
            Edge::Trailing => WindowSlot::default(),
            Edge::Leading | Edge::Both => {
                WindowSlot { from: Some(at), taken_by: self.terms.frees.then_some(seq), ..WindowSlot::default() }
            }
        };
        if self.has_room(key) {
            self.put(key, slot, now);
        }
        found
    }

    /// Holds an event; tells the one it replaces.
    pub fn hold(&mut self, key: &str, seq: u64, at: Timestamp, now: Now) -> Option<u64> {
        let old = self.kept(key);
        let since = old.held.map_or(at, |held| held.since);
        self.put(key, WindowSlot { from: Some(at), held: Some(HeldSlot { seq, since }), ..old }, now);
        old.held.map(|held| held.seq)
    }

    /// Takes note of so many events more that did not pass.
    pub fn add(&mut self, key: &str, count: u64, now: Now) {
        if let Some(slot) = self.slots.get(key) {
            let kept = slot.kept;
            self.put(key, WindowSlot { suppressed: kept.suppressed + count, ..kept }, now);
        }
    }

    /// Takes note that an event passed that was held here. It carries on how many did not pass, which is told.
    pub fn released(&mut self, key: &str, seq: u64, now: Now) -> u64 {
        let kept = self.kept(key);
        let taken_by = if self.terms.frees && kept.from.is_some() { Some(seq) } else { kept.taken_by };
        self.put(key, WindowSlot { suppressed: 0, taken_by, ..kept }, now);
        kept.suppressed
    }

    /// Lets go of what `key` holds, if it is `only` where that is given. The window of what passes at both ends stays open.
    pub fn let_go(&mut self, key: &str, only: Option<u64>, now: Now) -> Option<u64> {
        let kept = self.kept(key);
        let seq = kept.held.map(|held| held.seq).filter(|seq| only.is_none_or(|only| only == *seq))?;
        let from = kept.from.filter(|_| self.terms.edge == Edge::Both);
        self.put(key, WindowSlot { held: None, from, ..kept }, now);
        Some(seq)
    }

    /// Ends a window that holds nothing: the next event passes. Its count stays.
    pub fn end(&mut self, key: &str, now: Now) {
        let kept = self.kept(key);
        self.put(key, WindowSlot { from: None, taken_by: None, ..kept }, now);
    }

    /// Forgets windows that have ended and count nothing; those that count something only when there is no room left.
    pub fn prune(&mut self, at: Timestamp) {
        for _ in 0..PRUNED_AT_ONCE {
            let idle = self.past(&self.idle, at);
            let counting = || self.past(&self.counting, at).filter(|_| self.slots.len() >= self.max_keys);
            let Some(key) = idle.or_else(counting) else { return };
            self.remove(&key);
            self.changed.insert(key, None);
        }
    }

    /// The oldest window if it has ended, or the newest if it lies ahead of a clock that was set back.
    fn past(&self, windows: &BTreeSet<(Option<Timestamp>, String)>, at: Timestamp) -> Option<String> {
        let is_past = |(from, _): &&(Option<Timestamp>, String)| !from.is_some_and(|from| self.is_near(from, at));
        let past = windows.first().filter(is_past).or_else(|| windows.last().filter(is_past));
        past.map(|(_, key)| key.clone())
    }

    /// The keys that let go of what they hold by now.
    pub fn overdue(&self, now: Mono) -> Vec<String> {
        self.due.iter().take_while(|(due, _)| *due <= now).map(|(_, key)| key.clone()).collect()
    }

    /// When something is let go.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.due.first().map(|(due, _)| *due)
    }

    /// The keys that a resetting event means.
    pub fn meant(&self, carried: &Carried) -> Vec<String> {
        let from = (Bound::Included(carried.start()), Bound::Unbounded);
        let from = self.slots.range::<str, _>(from).map(|(key, _)| key);
        from.take_while(|key| key.starts_with(carried.start())).filter(|key| carried.means(key)).cloned().collect()
    }

    /// The key whose slot this event took.
    pub fn taken_by(&self, seq: u64) -> Option<&str> {
        self.takers.get(&seq).map(String::as_str)
    }

    /// The events that took slots.
    pub fn takers(&self) -> impl Iterator<Item = u64> {
        self.takers.keys().copied()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        for key in std::mem::take(&mut self.slots).into_keys() {
            self.changed.insert(key, None);
        }
        self.idle.clear();
        self.counting.clear();
        self.due.clear();
        self.takers.clear();
    }

    /// Every key that holds an event, with its seq.
    pub fn holding(&self) -> Vec<(String, u64)> {
        let held = |(key, slot): (&String, &Slot)| Some((key.clone(), slot.kept.held?.seq));
        self.slots.iter().filter_map(held).collect()
    }

    /// Every key.
    pub fn keys(&self) -> Vec<String> {
        self.slots.keys().cloned().collect()
    }

    /// What changed since this was last asked; `None` for what is forgotten.
    pub fn take_changes(&mut self) -> BTreeMap<String, Option<WindowSlot>> {
        std::mem::take(&mut self.changed)
    }

    /// Open windows, and a few that have ended.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn is_open(&self, slot: &WindowSlot, at: Timestamp) -> bool {
        slot.from.is_some_and(|from| self.is_near(from, at))
    }

    fn is_near(&self, from: Timestamp, at: Timestamp) -> bool {
        at < from.after(self.terms.window) && from <= at.after(self.terms.window)
    }

    fn has_room(&self, key: &str) -> bool {
        self.slots.len() < self.max_keys || self.slots.contains_key(key)
    }

    /// When what a slot holds is let go: after a quiet window, or the longest wait.
    fn due(&self, slot: &WindowSlot) -> Option<Timestamp> {
        let held = slot.held?;
        let from = slot.from.unwrap_or(held.since);
        Some(from.after(self.terms.window).min(held.since.after(self.terms.longest_wait)))
    }

    fn kept(&self, key: &str) -> WindowSlot {
        self.slots.get(key).map_or_else(WindowSlot::default, |slot| slot.kept)
    }

    /// The one place where a slot changes.
    fn put(&mut self, key: &str, kept: WindowSlot, now: Now) {
        let was_there = self.remove(key);
        let empty = kept.from.is_none() && kept.suppressed == 0 && kept.held.is_none();
        if was_there || !empty {
            self.changed.insert(key.to_owned(), (!empty).then_some(kept));
        }
        if empty {
            return;
        }
        // However the wall clock was set, a quiet key waits for a window at most.
        let due = self.due(&kept).map(|due| now.mono.after(due.since(now.wall).min(self.terms.window)));
        match due {
            Some(due) => self.due.insert((due, key.to_owned())),
            None if kept.suppressed > 0 => self.counting.insert((kept.from, key.to_owned())),
            None => self.idle.insert((kept.from, key.to_owned())),
        };
        if let Some(seq) = kept.taken_by {
            self.takers.insert(seq, key.to_owned());
        }
        self.slots.insert(key.to_owned(), Slot { kept, due });
    }

    /// Tells whether it was there.
    fn remove(&mut self, key: &str) -> bool {
        let Some(Slot { kept, due }) = self.slots.remove(key) else { return false };
        match due {
            Some(due) => self.due.remove(&(due, key.to_owned())),
            None => {
                self.idle.remove(&(kept.from, key.to_owned())) || self.counting.remove(&(kept.from, key.to_owned()))
            }
        };
        if let Some(seq) = kept.taken_by {
            self.takers.remove(&seq);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn windows(edge: Edge, max_keys: usize) -> Windows {
        let (window, longest_wait) = (Duration::from_millis(100), Duration::from_secs(1));
        Windows::new(Terms { window, edge, longest_wait, frees: true }, max_keys)
    }

    fn now(at: i64) -> Now {
        let mono = Mono::from_start(Duration::from_millis(1_000_000 + u64::try_from(at).unwrap()));
        Now { mono, wall: Timestamp::from_millis(at) }
    }

    fn offer(windows: &mut Windows, key: &str, at: i64) -> Ruling {
        let now = now(at);
        windows.prune(now.wall);
        let ruling = windows.judge(key, now.wall);
        match ruling {
            Ruling::Pass => drop(windows.passed(key, at.unsigned_abs(), now.wall, now)),
            Ruling::Suppress => windows.add(key, 1, now),
            Ruling::Hold => drop(windows.hold(key, at.unsigned_abs(), now.wall, now)),
        }
        ruling
    }

    use Ruling::{Hold, Pass, Suppress};

    #[test]
    fn the_first_passes_and_one_exactly_a_window_later() {
        let mut windows = windows(Edge::Leading, 10);
        let rulings = [0, 1, 99, 100, 150, 200].map(|at| offer(&mut windows, "k", at));
        assert_eq!(rulings, [Pass, Suppress, Suppress, Pass, Suppress, Pass]);
    }

    #[test]
    fn a_clock_that_was_set_back_suppresses_for_one_window_at_most() {
        let mut windows = windows(Edge::Leading, 10);
        let rulings = [100_000, 99_900, 99_899, 99_900, 99_999, 99_950].map(|at| offer(&mut windows, "k", at));
        assert_eq!(rulings, [Pass, Suppress, Pass, Suppress, Pass, Suppress]);
    }

    #[test]
    fn windows_ahead_of_a_clock_that_was_set_back_make_room() {
        let mut windows = windows(Edge::Leading, 1);
        assert_eq!(offer(&mut windows, "a", 100_000), Pass);
        assert_eq!([0, 1].map(|at| offer(&mut windows, "b", at)), [Pass, Suppress]);
    }

    #[test]
    fn a_clock_that_is_set_back_delays_nothing_that_is_held_for_longer_than_a_window() {
        let mut windows = windows(Edge::Trailing, 10);
        offer(&mut windows, "k", 50_000);
        let kept = windows.take_changes()["k"].unwrap();
        windows.restore("k", kept, now(0));
        assert_eq!(windows.next_deadline(), Some(now(100).mono));
        assert!(windows.is_overdue("k", Timestamp::from_millis(49_899)));
    }

    #[test]
    fn beyond_the_bound_events_pass_whatever_the_edge() {
        for edge in [Edge::Leading, Edge::Trailing, Edge::Both] {
            let mut windows = windows(edge, 1);
            offer(&mut windows, "a", 0);
            assert_eq!([1, 2].map(|at| offer(&mut windows, "b", at)), [Pass; 2]);
            assert_ne!(offer(&mut windows, "a", 3), Pass);
            assert_eq!(windows.len(), 1);
        }
    }

    #[test]
    fn an_ended_window_stays_for_its_count_until_there_is_no_room() {
        let mut windows = windows(Edge::Leading, 2);
        assert_eq!([0, 1, 2].map(|at| offer(&mut windows, "a", at)), [Pass, Suppress, Suppress]);
        offer(&mut windows, "b", 1000);
        assert_eq!(windows.len(), 2);
        assert_eq!(offer(&mut windows, "c", 1050), Pass);
        assert_eq!(windows.len(), 2, "a has made room for c");
        offer(&mut windows, "b", 1051);
        let found = windows.passed("b", 9, Timestamp::from_millis(2000), now(2000));
        assert_eq!(found.count, 1);
    }

    #[test]
    fn both_ends_of_a_burst_pass_and_the_window_follows_what_comes() {
        let mut windows = windows(Edge::Both, 10);
        assert_eq!([0, 50, 120, 219].map(|at| offer(&mut windows, "k", at)), [Pass, Hold, Hold, Hold]);
        assert_eq!(windows.next_deadline(), Some(now(319).mono));
        assert!(!windows.is_overdue("k", Timestamp::from_millis(318)));
        assert!(windows.is_overdue("k", Timestamp::from_millis(319)));
        assert_eq!(windows.let_go("k", None, now(319)), Some(219));
        assert_eq!(windows.released("k", 219, now(319)), 0);
        assert_eq!(windows.taken_by(219), Some("k"));
        assert_eq!(offer(&mut windows, "k", 319), Pass);
    }

    #[test]
    fn what_is_held_waits_no_longer_than_the_longest_wait() {
        let mut windows = windows(Edge::Trailing, 10);
        (0..20).for_each(|step| assert_eq!(offer(&mut windows, "k", 50 * step), Hold));
        assert_eq!(windows.next_deadline(), Some(now(1000).mono));
        assert_eq!((windows.overdue(now(999).mono).len(), windows.overdue(now(1000).mono).len()), (0, 1));
    }

    #[test]
    fn a_slot_is_taken_by_the_event_that_passed_last() {
        let mut windows = windows(Edge::Leading, 10);
        assert_eq!([7, 8, 107].map(|at| offer(&mut windows, "k", at)), [Pass, Suppress, Pass]);
        assert_eq!((windows.taken_by(7), windows.taken_by(107)), (None, Some("k")));
        windows.end("k", now(108));
        assert_eq!(windows.taken_by(107), None);
        assert_eq!(offer(&mut windows, "k", 109), Pass);
    }

    proptest! {
        /// Between two events of a key that pass lies a window at least, and none that is suppressed lies a window or more
        /// after the last that passed.
        #[test]
        fn passing_events_lie_a_window_apart(steps in prop::collection::vec((0..3_u8, 0..80_i64), 1..60)) {
            let mut windows = windows(Edge::Leading, 1000);
            let (mut now, mut last) = (0, HashMap::new());
            for (key, step) in steps {
                now += step;
                let since = last.get(&key).map(|passed| now - passed);
                match offer(&mut windows, &key.to_string(), now) {
                    Pass => {
                        prop_assert!(since.is_none_or(|since| since >= 100));
                        last.insert(key, now);
                    }
                    Suppress => prop_assert!(since.is_some_and(|since| since < 100)),
                    Hold => prop_assert!(false, "nothing is held"),
                }
            }
        }
    }
}
