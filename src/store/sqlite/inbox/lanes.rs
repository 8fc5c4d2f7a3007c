//! Events that wait, in lanes that take turns: deficit round robin (Shreedhar and Varghese, 1995), counted in events.

use std::collections::{HashMap, VecDeque};

use crate::event::Tenant;

/// Events that are taken together, about: a group is taken whole or not at all.
pub(super) const TOGETHER: usize = 1024;
/// The same while more than one lane waits: whoever comes next waits for what is being written, and then for his own.
const SHARED: usize = 256;
/// Events of one turn, about.
const TURN: i64 = 64;
/// A group of more has its turns apart from smaller ones.
const LARGE: usize = 16;

/// Whose events these are, and whether they come in large groups.
type Name = (Option<Tenant>, bool);

struct Lane<T> {
    /// In the order in which they came: the number of each, and how many events are in it.
    waiting: VecDeque<(u64, usize, T)>,
    /// How many more it may give; below 0 after a group larger than its turn.
    credit: i64,
}

/// Messages with events, each lane of them in its order.
pub(super) struct Lanes<T> {
    lanes: HashMap<Name, Lane<T>>,
    /// Every lane once; the first is the next.
    turns: VecDeque<Name>,
    /// What waits for all messages with lower numbers.
    behind: VecDeque<(u64, T)>,
    next: u64,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { lanes: HashMap::new(), turns: VecDeque::new(), behind: VecDeque::new(), next: 0 }
    }
}

impl<T> Lanes<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty() && self.behind.is_empty()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(super) fn push(&mut self, of: Option<Tenant>, count: usize, message: T) {
        let (name, number) = ((of, count > LARGE), self.number());
        let lane = self.lanes.entry(name.clone()).or_insert_with(|| {
            self.turns.push_back(name);
            Lane { waiting: VecDeque::new(), credit: 0 }
        });
        lane.waiting.push_back((number, count, message));
    }

    /// Of what was pushed before, nothing is taken later.
    pub(super) fn push_behind(&mut self, message: T) {
        let number = self.number();
        self.behind.push_back((number, message));
    }

    /// Takes [`TOGETHER`] events, about, or all there are, and what waited for nothing else.
    pub(super) fn take(&mut self, into: &mut Vec<T>) {
        let (mut taken, most) = (0, if self.turns.len() > 1 { SHARED } else { TOGETHER });
        while taken < most
            && let Some(name) = self.turns.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&name) else { continue };
            lane.credit += TURN;
            while lane.credit > 0
                && taken < most
                && let Some((_, count, message)) = lane.waiting.pop_front()
            {
                lane.credit -= i64::try_from(count).unwrap_or(i64::MAX);
                taken += count;
                into.push(message);
            }
            if lane.waiting.is_empty() {
                self.lanes.remove(&name);
            } else {
                self.turns.push_back(name);
            }
        }
        if self.behind.is_empty() {
            return;
        }
        let oldest = self.lanes.values().filter_map(|lane| lane.waiting.front()).map(|(number, ..)| *number).min();
        while let Some((_, message)) =
            self.behind.pop_front_if(|(number, _)| oldest.is_none_or(|oldest| *number < oldest))
        {
            into.push(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn tenant(name: &str) -> Option<Tenant> {
        Some(name.parse().unwrap())
    }

    fn take<T>(lanes: &mut Lanes<T>) -> Vec<T> {
        let mut taken = Vec::new();
        lanes.take(&mut taken);
        taken
    }

    #[test]
    fn a_burst_of_one_tenant_holds_up_no_other() {
        let mut lanes = Lanes::default();
        (0..100 * TOGETHER).for_each(|_| lanes.push(tenant("burst"), 1, "burst"));
        lanes.push(tenant("other"), 1, "other");
        lanes.push(None, 1, "nobody");
        let taken = take(&mut lanes);
        assert!(taken.contains(&"other") && taken.contains(&"nobody"), "{} taken", taken.len());
    }

    #[test]
    fn large_groups_hold_up_no_single_event_and_get_as_much() {
        let mut lanes = Lanes::default();
        (0..100).for_each(|_| lanes.push(None, 500, 500));
        (0..50_000).for_each(|_| lanes.push(None, 1, 1));
        let mut sums = [0, 0];
        for _ in 0..40 {
            let taken = take(&mut lanes);
            sums[0] += taken.iter().filter(|count| **count == 1).sum::<usize>();
            sums[1] += taken.iter().filter(|count| **count > 1).sum::<usize>();
        }
        assert!(sums[0].abs_diff(sums[1]) <= 2 * TOGETHER, "{sums:?}");
    }

    #[test]
    fn a_group_larger_than_is_taken_together_is_taken_at_last() {
        let mut lanes = Lanes::default();
        lanes.push(None, 3 * TOGETHER, 1);
        lanes.push(None, 3 * TOGETHER, 2);
        assert_eq!((take(&mut lanes), take(&mut lanes)), (vec![1], vec![2]));
        assert!(lanes.is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_each_lane_keeps_its_order_and_what_waits_behind_overtakes_nothing(
            sent in vec((0..4_u8, 0..3 * LARGE), 0..400),
        ) {
            let mut lanes = Lanes::default();
            let name = |of: u8| (of < 3).then(|| format!("t{of}").parse().unwrap());
            for (number, (of, count)) in sent.iter().enumerate() {
                if *count == 0 { lanes.push_behind(number) } else { lanes.push(name(*of), *count, number) }
            }
            let mut taken = Vec::new();
            while !lanes.is_empty() {
                let before = taken.len();
                lanes.take(&mut taken);
                prop_assert!(taken.len() > before, "it comes to an end");
            }
            let mut all = taken.clone();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..sent.len()));
            let lane = |number: usize| (sent[number].0, sent[number].1 > LARGE);
            for (place, number) in taken.iter().enumerate() {
                for later in &taken[place..] {
                    let overtakes = sent[*number].1 > 0 && (sent[*later].1 == 0 || lane(*number) != lane(*later));
                    prop_assert!(later >= number || overtakes, "{later} after {number}");
                }
            }
        }
    }
}
