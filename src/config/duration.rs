//! Durations as users write them: a whole number and a unit, such as `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"3d"`.

use std::time::Duration;

/// Units and their length in milliseconds, longest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// What [`parse`] reads, as a regular expression; numbers may be too large all the same.
pub(crate) const PATTERN: &str = "^[0-9]+(ms|s|m|h|d)$";

/// The text is no duration, or one longer than 2^64 - 1 milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration such as \"250ms\", \"10s\", \"5m\", \"1h\" or \"3d\"")]
pub struct ParseDurationError;

/// Reads a duration: decimal digits directly followed by `ms`, `s`, `m`, `h` or `d` (days of 24 hours).
///
/// # Errors
/// When the text is anything else, or the duration does not fit 64 bits of milliseconds.
pub fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(ParseDurationError)?;
    let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(ParseDurationError)?;
    let number: u64 = number.parse().map_err(|_| ParseDurationError)?;
    number.checked_mul(*scale).map(Duration::from_millis).ok_or(ParseDurationError)
}

/// Writes a duration in the longest unit that divides it: 90 s are `"90s"`, 120 s are `"2m"`, nothing is `"0s"`. Parts of
/// a millisecond round up.
pub fn print(duration: Duration) -> String {
    let millis = duration.as_nanos().div_ceil(1_000_000);
    if millis == 0 {
        return "0s".to_owned();
    }
    let exact = UNITS.iter().find(|(_, scale)| millis.is_multiple_of(u128::from(*scale)));
    let (unit, scale) = exact.copied().unwrap_or(("ms", 1));
    format!("{}{unit}", millis / u128::from(scale))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_unit_is_read_and_printed_in_the_longest_exact_one() {
        for (text, canonical) in
            [("250ms", "250ms"), ("1000ms", "1s"), ("90s", "90s"), ("120s", "2m"), ("24h", "1d"), ("0d", "0s")]
        {
            assert_eq!(print(parse(text).unwrap()), canonical, "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "s", "5", "1.5s", "-1s", "+1s", " 1s", "1 s", "1S", "1w", "1h30m", "١s", "213503982335d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_longest_duration_prints_and_is_refused_when_read() {
        assert!(parse(&print(Duration::MAX)).is_err());
        assert_eq!(print(Duration::from_micros(1)), "1ms");
    }

    proptest! {
        #[test]
        fn a_printed_duration_reads_back(millis in any::<u64>()) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse(&print(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text in any::<String>()) {
            if let Ok(duration) = parse(&text) {
                prop_assert_eq!(parse(&print(duration)), Ok(duration));
            }
        }
    }
}
