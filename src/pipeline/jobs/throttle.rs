//! How much of a job may be done at a time.

use std::time::Duration;

use crate::{clock::Mono, deliver::rate::Pace, endpoint::policy::Rate};

/// What one step does at most.
const MOST: usize = 500;
/// Between two steps: one that may do more at once costs less.
const PAUSE: Duration = Duration::from_millis(100);
/// The same where there is no rate: others who write have their turn.
const BREATH: Duration = Duration::from_millis(10);

/// Holds a job to its rate.
#[derive(Debug)]
pub(super) struct Throttle {
    rate: Option<Rate>,
    pace: Pace,
}

impl Throttle {
    /// So many in a second, evenly; all that there are without.
    pub(super) fn new(per_second: Option<f64>) -> Self {
        let rate = per_second.map(|per_second| {
            // What comes due while a step and the pause behind it last, and what was not due as a whole at the last.
            let due = per_second * 2.0 * PAUSE.as_secs_f64();
            let burst = if due <= 1.0 { 1.0 } else { (due.ceil() + 1.0).min(10_000.0) };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 10 000")]
            let burst = burst as u32;
            Rate { per_second, burst }
        });
        Self { rate, pace: Pace::default() }
    }

    /// How many may be done now, at least one; else when one may.
    pub(super) fn allowance(&self, now: Mono) -> Result<usize, Mono> {
        let Some(rate) = self.rate else { return Ok(MOST) };
        let mut pace = self.pace;
        for count in 0..MOST {
            let next = pace.next(&rate, now);
            if next > now {
                return if count == 0 { Err(next) } else { Ok(count) };
            }
            pace.start(&rate, now);
        }
        Ok(MOST)
    }

    /// So many were done.
    pub(super) fn spend(&mut self, count: usize, now: Mono) {
        if let Some(rate) = self.rate {
            (0..count).for_each(|_| self.pace.start(&rate, now));
        }
    }

    /// How long to wait after a step that did so many; one that only looked was cheap.
    pub(super) fn pause(&self, count: usize) -> Duration {
        if self.rate.is_some() && count > 0 { PAUSE } else { BREATH }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How much is done in 10 s by steps that last so many milliseconds, asserting what the rate allows.
    fn run(rate: u32, late: u64) {
        let mut throttle = Throttle::new(Some(f64::from(rate)));
        let (mut now, mut done) = (Mono::from_start(Duration::from_secs(3)), 0);
        let end = now.after(Duration::from_secs(10));
        while now < end {
            match throttle.allowance(now) {
                Ok(count) => {
                    assert!(count > 0);
                    throttle.spend(count, now);
                    done += count;
                    now = now.after(throttle.pause(count) + Duration::from_millis(late));
                }
                Err(next) => {
                    assert!(next > now);
                    now = next;
                }
            }
        }
        let (rate, done) = (f64::from(rate), u32::try_from(done).map(f64::from).unwrap());
        assert!(done <= rate * 10.2 + 2.0, "{done} at {rate}");
        // 500 in 150 ms is the most.
        assert!(done >= rate.min(3300.0) * 9.8 - 2.0, "{done} at {rate}");
    }

    proptest! {
        #[test]
        fn no_more_is_done_than_the_rate_allows_and_hardly_less(rate in 1..5000_u32, late in 0..50_u64) {
            run(rate, late);
        }
    }

    #[test]
    fn what_was_not_due_as_a_whole_is_not_lost_with_each_step() {
        run(10, 32);
    }

    #[test]
    fn without_a_rate_everything_is_done_at_once() {
        let mut throttle = Throttle::new(None);
        throttle.spend(500, Mono::default());
        assert_eq!(throttle.allowance(Mono::default()), Ok(MOST));
    }
}
