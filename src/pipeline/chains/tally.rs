//! What came of a chain's invocations since it was configured.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{deliver::outcome::label, transport::Answer};

/// Counts of one chain, since this process configured it.
#[derive(Debug, Default)]
pub struct Tally {
    started: AtomicU64,
    finished: AtomicU64,
    failed: AtomicU64,
    abandoned: AtomicU64,
    steps: Vec<StepTally>,
}

/// What became of a chain's invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Invocations {
    /// That go on.
    pub in_progress: u64,
    /// That were made to their end.
    pub finished: u64,
    /// That failed.
    pub failed: u64,
    /// Whose callers went away.
    pub abandoned: u64,
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

    /// How many invocations there were, and what came of them.
    pub fn invocations(&self) -> Invocations {
        let [finished, failed, abandoned] = [&self.finished, &self.failed, &self.abandoned].map(load);
        let in_progress = load(&self.started).saturating_sub(finished + failed + abandoned);
        Invocations { in_progress, finished, failed, abandoned }
    }

    /// Attempts of the synchronous step at `place`, and how many of them were answered with no 2xx, or not at all.
    pub fn attempts(&self, place: usize) -> (u64, u64) {
        self.steps.get(place).map_or((0, 0), |step| (load(&step.attempts), load(&step.without_2xx)))
    }

    pub(super) fn started(&self) {
        add(&self.started);
    }

    pub(super) fn attempted(&self, place: usize, answer: &Answer) {
        let Some(step) = self.steps.get(place) else { return };
        add(&step.attempts);
        if label(answer) != "2xx" {
            add(&step.without_2xx);
        }
    }

    pub(super) fn ended(&self, result: &str) {
        add(match result {
            "finished" => &self.finished,
            "abandoned" => &self.abandoned,
            _ => &self.failed,
        });
    }
}
