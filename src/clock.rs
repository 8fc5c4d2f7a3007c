//! The one place that reads time.
//!
//! Two kinds of it: [`Timestamp`] is the wall clock, kept in rows and shown to people; [`Mono`] is monotonic, drives every
//! running timer and never jumps. A pure part of Hookmill is handed a [`Now`] and reads no clock of its own.

#![expect(clippy::disallowed_methods, reason = "this file is where time is read")]

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use tokio::time::Instant;

/// A moment of the wall clock, in whole milliseconds since the Unix epoch. Written as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The moment `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, as signatures carry them.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// This moment moved by `by`, at most to the end of representable time. Parts of a millisecond round up, so that
    /// nothing due at the result is ever early.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let millis = by.as_nanos().div_ceil(1_000_000);
        Self(self.0.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX)))
    }

    /// This moment moved by the whole milliseconds of `by`.
    fn moved(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(moment) => write!(f, "{moment:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// The text is not a moment as RFC 3339 writes it.
#[derive(Debug, thiserror::Error)]
#[error("must be a date and time as RFC 3339 writes them, such as 2026-01-31T09:30:00Z")]
pub struct ParseTimestampError;

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| ParseTimestampError)?;
        Ok(Self(moment.as_millisecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// A moment of the monotonic clock: the time since the [`Clock`] was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(Duration);

impl Mono {
    /// The moment `since_start` after the clock was made.
    pub const fn from_start(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// This moment moved by `by`.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        Self(self.0.saturating_add(by))
    }

    /// The time from `earlier` to this moment; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For timers.
    pub mono: Mono,
    /// For rows and people.
    pub wall: Timestamp,
}

/// The clocks of one Hookmill.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    wall: Wall,
}

#[derive(Clone, Copy, Debug)]
enum Wall {
    System,
    Anchored(Timestamp),
    /// Anchored, and off by so many milliseconds.
    Set(Timestamp, &'static AtomicI64),
}

impl Clock {
    /// The system's clocks.
    pub fn system() -> Self {
        Self { origin: Instant::now(), wall: Wall::System }
    }

    /// A wall clock that shows `start` now and goes on with tokio's clock. Under a paused tokio clock both stand still
    /// together and advance together.
    pub fn anchored(start: Timestamp) -> Self {
        Self { origin: Instant::now(), wall: Wall::Anchored(start) }
    }

    /// The same, and off by as many milliseconds as `offset` holds at each moment: a clock that somebody sets.
    #[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "only tests set clocks"))]
    pub(crate) fn set(start: Timestamp, offset: &'static AtomicI64) -> Self {
        Self { origin: Instant::now(), wall: Wall::Set(start, offset) }
    }

    /// Reads both clocks.
    pub fn now(&self) -> Now {
        let elapsed = Instant::now().saturating_duration_since(self.origin);
        let wall = match self.wall {
            Wall::System => {
                let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                Timestamp(since_epoch.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX)))
            }
            Wall::Anchored(start) => start.moved(elapsed),
            Wall::Set(start, offset) => {
                Timestamp(start.moved(elapsed).0.saturating_add(offset.load(Ordering::Acquire)))
            }
        };
        Now { mono: Mono(elapsed), wall }
    }

    /// The instant, for a tokio timer, at which this clock shows `moment`.
    pub fn instant(&self, moment: Mono) -> Instant {
        self.origin + moment.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_round_trip_as_rfc_3339() {
        let moment: Timestamp = "2026-01-31T10:30:00.250+01:00".parse().unwrap();
        assert_eq!(moment.to_string(), "2026-01-31T09:30:00.250Z");
        assert_eq!(moment.to_string().parse::<Timestamp>().unwrap(), moment);
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn adding_a_part_of_a_millisecond_is_never_early() {
        assert_eq!(Timestamp(10).after(Duration::from_micros(1)), Timestamp(11));
    }
}
