//! How long things took: the middle, the tail.

use std::{fmt, time::Duration};

/// Durations in order.
#[derive(Clone, Default)]
pub struct Times(Vec<Duration>);

impl FromIterator<Duration> for Times {
    fn from_iter<T: IntoIterator<Item = Duration>>(times: T) -> Self {
        let mut times: Vec<_> = times.into_iter().collect();
        times.sort_unstable();
        Self(times)
    }
}

impl Times {
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The time that this share does not exceed; nothing where there is none.
    pub fn at(&self, share: f64) -> Duration {
        let place = (self.0.len() as f64 * share) as usize;
        self.0.get(place).or(self.0.last()).copied().unwrap_or_default()
    }

    pub fn p99(&self) -> Duration {
        self.at(0.99)
    }

    pub fn max(&self) -> Duration {
        self.at(1.0)
    }
}

/// p50, p99 and the longest, in milliseconds, as three columns.
impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9.2} {:>9.2} {:>9.2}", millis(self.at(0.5)), millis(self.p99()), millis(self.max()))
    }
}

/// A duration in milliseconds.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
