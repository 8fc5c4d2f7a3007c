//! What came of a chain's invocations since it was configured.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{chain::run::End, deliver::outcome::label, transport::Answer};

/// Counts of one chain, since this process configured it.
#[derive(Debug, Default)]
pub struct Tally {
    finished: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    steps: Vec<StepTally>,
}

/// Attempts of one synchronous step.
#[derive(Debug, Default)]
struct StepTally {
    attempts: AtomicU64,
    without_2xx: AtomicU64,
}

fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}

fn load(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

impl Tally {
    pub(super) fn new(steps: usize) -> Self {
        Self { steps: (0..steps).map(|_| StepTally::default()).collect(), ..Self::default() }
    }

    /// Invocations that finished, failed, and were abandoned by their callers.
    pub fn invocations(&self) -> [u64; 3] {
        [&self.finished, &self.failed, &self.abandoned].map(load)
    }

    /// Attempts of the synchronous step at `place`, and how many of them were answered with no 2xx, or not at all.
    pub fn attempts(&self, place: usize) -> (u64, u64) {
        self.steps.get(place).map_or((0, 0), |step| (load(&step.attempts), load(&step.without_2xx)))
    }

    pub(super) fn attempted(&self, place: usize, answer: &Answer) {
        let Some(step) = self.steps.get(place) else { return };
        add(&step.attempts);
        if label(answer) != "2xx" {
            add(&step.without_2xx);
        }
    }

    pub(super) fn ended(&self, end: &End) {
        add(match end {
            End::Finished(_) => &self.finished,
            End::Failed(_) => &self.failed,
            End::Abandoned => &self.abandoned,
        });
    }

    pub(super) fn failed(&self) {
        add(&self.failed);
    }
}
