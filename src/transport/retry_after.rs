//! Reading `Retry-After`.

use std::time::{Duration, SystemTime};

use super::RetryAfter;
use crate::clock::Timestamp;

/// Reads the value of a `Retry-After` header (RFC 9110 10.2.3): whole seconds, or an HTTP date in any of its three forms.
/// `None` when it is neither; a number beyond what fits is the longest delay there is. Nothing is clamped here.
pub(crate) fn parse(value: &str) -> Option<RetryAfter> {
    let value = value.trim_matches([' ', '\t']);
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(RetryAfter::Delay(Duration::from_secs(value.parse().unwrap_or(u64::MAX))));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    let since_epoch = date.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Some(RetryAfter::At(Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).ok()?)))
}

/// One moment in the three forms that dates have.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) const FORMS: [&str; 3] =
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_forms_are_read() {
        let moment = Some(RetryAfter::At(Timestamp::from_millis(784_111_777_000)));
        for date in FORMS {
            assert_eq!(parse(date), moment, "{date}");
        }
        assert_eq!(parse(" 120 "), Some(RetryAfter::Delay(Duration::from_secs(120))));
        assert_eq!(parse("99999999999999999999"), Some(RetryAfter::Delay(Duration::from_secs(u64::MAX))));
    }

    #[test]
    fn other_texts_are_no_wish_at_all() {
        for text in ["", " ", "-1", "+1", "1.5", "1s", "0x10", "soon", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_number_of_seconds_reads_back(seconds: u64) {
            prop_assert_eq!(parse(&seconds.to_string()), Some(RetryAfter::Delay(Duration::from_secs(seconds))));
        }

        #[test]
        fn every_date_reads_back(seconds in 0_u64..253_402_300_799) {
            let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
            let moment = Timestamp::from_millis(i64::try_from(seconds).unwrap() * 1000);
            prop_assert_eq!(parse(&date), Some(RetryAfter::At(moment)));
        }

        #[test]
        fn no_text_is_too_strange(text in ".*") {
            let _ = parse(&text);
        }
    }
}
