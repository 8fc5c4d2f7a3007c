//! How often attempts may start: the generic cell rate algorithm (ITU-T I.371), a token bucket without a counter.

use std::time::Duration;

use crate::{clock::Mono, endpoint::policy::Rate};

/// When the next attempt may start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// When all attempts so far would have started, had they come evenly.
    even: Mono,
}

impl Pace {
    /// The first moment, not before `now`, at which an attempt may start.
    pub fn next(&self, rate: &Rate, now: Mono) -> Mono {
        let slack = interval(rate).saturating_mul(rate.burst.saturating_sub(1));
        now.after(self.even.since(now.after(slack)))
    }

    /// Whether it is as if none had started.
    pub fn is_rested(&self, now: Mono) -> bool {
        self.even <= now
    }

    /// An attempt starts.
    pub fn start(&mut self, rate: &Rate, now: Mono) {
        self.even = self.even.max(now).after(interval(rate));
    }
}

fn interval(rate: &Rate) -> Duration {
    Duration::try_from_secs_f64(1.0 / rate.per_second).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In any stretch of time no more start than the rate allows, plus one burst; and as many as that do start.
        #[test]
        fn no_more_start_than_allowed_and_no_fewer(
            per_second in 1..2000_u32, burst in 1..20_u32, seconds in 1..5_u64, idle in 0..3000_u64
        ) {
            let rate = Rate { per_second: f64::from(per_second), burst };
            let (mut pace, start) = (Pace::default(), Mono::from_start(Duration::from_millis(idle)));
            let end = start.after(Duration::from_secs(seconds));
            let (mut now, mut count) = (start, 0_u64);
            loop {
                now = pace.next(&rate, now);
                if now >= end {
                    break;
                }
                prop_assert_eq!(pace.next(&rate, now), now);
                pace.start(&rate, now);
                count += 1;
            }
            let even = u64::from(per_second) * seconds;
            prop_assert!(count <= even + u64::from(burst) && count + 1 >= even + u64::from(burst) - 1, "{count} of {even}");
        }
    }
}
