//! Counters and histograms: atomics, so that counting never waits for anybody.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Counters that differ in one label whose values are known: all of them are there from the start, so that a rate is right
/// from the first one counted.
#[derive(Debug)]
pub struct Tally {
    counts: Box<[(&'static str, AtomicU64)]>,
    /// What has no counter of its own.
    other: AtomicU64,
}

impl Tally {
    pub(super) fn of(names: &[&'static str]) -> Self {
        Self { counts: names.iter().map(|name| (*name, AtomicU64::new(0))).collect(), other: AtomicU64::new(0) }
    }

    /// Counts one more.
    pub fn one(&self, name: &str) {
        self.add(name, 1);
    }

    /// Counts so many more.
    pub fn add(&self, name: &str, count: u64) {
        let own = self.counts.iter().find(|(known, _)| *known == name);
        own.map_or(&self.other, |(_, counter)| counter).fetch_add(count, Ordering::Relaxed);
    }

    /// Every label with its count; `other` only when there is something.
    pub fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let other = ("other", self.other.load(Ordering::Relaxed));
        let own = self.counts.iter().map(|(name, counter)| (*name, counter.load(Ordering::Relaxed)));
        own.chain([other].into_iter().filter(|(_, count)| *count > 0))
    }
}

/// How often values fell below each bound.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// How many of what is counted make one of what is shown: microseconds to a second.
    scale: u32,
    /// One more than bounds: the last has no bound.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// A histogram at one moment, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Upper bounds, each with how many values are not above it.
    pub buckets: Vec<(f64, u64)>,
    /// The sum of all values.
    pub sum: f64,
    /// How many values there were.
    pub count: u64,
}

impl Histogram {
    /// Of numbers.
    pub(super) fn of(bounds: &'static [u64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, scale: 1, counts, sum: AtomicU64::new(0) }
    }

    /// Of durations; bounds in microseconds.
    pub(super) fn seconds(bounds: &'static [u64]) -> Self {
        Self { scale: 1_000_000, ..Self::of(bounds) }
    }

    /// Takes in a duration.
    pub fn time(&self, duration: Duration) {
        self.value(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Takes in a value, in the unit of the bounds.
    pub fn value(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.counts.get(place) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// How it stands.
    pub fn read(&self) -> Shown {
        let mut count = 0;
        let mut up_to = |bucket: &AtomicU64| {
            count += bucket.load(Ordering::Relaxed);
            count
        };
        let counts: Vec<_> = self.counts.iter().map(&mut up_to).collect();
        let bounds = self.bounds.iter().map(|bound| self.shown(*bound));
        Shown { buckets: bounds.zip(counts).collect(), sum: self.shown(self.sum.load(Ordering::Relaxed)), count }
    }

    fn shown(&self, value: u64) -> f64 {
        value as f64 / f64::from(self.scale)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_for_its_bound_and_all_above() {
        let histogram = Histogram::seconds(&[1_000, 1_000_000]);
        for millis in [1, 2, 5_000] {
            histogram.time(Duration::from_millis(millis));
        }
        let shown = Shown { buckets: vec![(0.001, 1), (1.0, 2)], sum: 5.003, count: 3 };
        assert_eq!(histogram.read(), shown);
    }

    #[test]
    fn what_has_no_label_is_counted_all_the_same() {
        let tally = Tally::of(&["a", "b"]);
        assert_eq!(tally.read().collect::<Vec<_>>(), [("a", 0), ("b", 0)]);
        tally.add("b", 2);
        tally.one("c");
        assert_eq!(tally.read().collect::<Vec<_>>(), [("a", 0), ("b", 2), ("other", 1)]);
    }
}
