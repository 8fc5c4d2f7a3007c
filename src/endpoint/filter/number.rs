//! Numbers of JSON by value, whatever their spelling.

use std::cmp::Ordering;

use serde_json::Number;

/// Whole numbers are compared exactly up to 64 bits, also with one that is written as a fraction (`2.0`); beyond that, and
/// for fractions, the nearest binary64 counts.
pub(super) fn compare(a: &Number, b: &Number) -> Ordering {
    match (whole(a), whole(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => float(a).total_cmp(&float(b)),
    }
}

/// Beyond these a binary64 is whole, and its value exact in 128 bits up to here.
const EXACT: f64 = 1e38;

fn whole(number: &Number) -> Option<i128> {
    let integer = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within 128 bits")]
    integer.or_else(|| {
        number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT).map(|float| float as i128)
    })
}

fn float(number: &Number) -> f64 {
    number.as_f64().unwrap_or(f64::NAN)
}
