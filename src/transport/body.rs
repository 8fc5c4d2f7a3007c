//! What a request carries.

use bytes::Bytes;

use crate::event::Accepted;

/// The body of [Standard Webhooks](https://www.standardwebhooks.com): `{"type":…,"timestamp":…,"data":…}`, the time as
/// RFC 3339 in UTC and the data as the very bytes that were published.
pub fn standard(event: &Accepted) -> Bytes {
    // Topics are words and dots, and times digits and signs: neither needs escaping.
    let head = format!(r#"{{"type":"{}","timestamp":"{}","data":"#, event.topic, event.timestamp);
    let mut body = Vec::with_capacity(head.len() + event.data.len() + 1);
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(&event.data);
    body.push(b'}');
    body.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::{Event, Timestamp};

    fn accepted(topic: &str, at: Timestamp, data: &str) -> Accepted {
        let event = Event::from_json(topic, data.to_owned()).timestamp(at);
        Accepted::new(1, at, event.validate(at).unwrap())
    }

    #[test]
    fn the_data_stands_in_the_body_byte_for_byte() {
        let event = accepted("user.created", Timestamp::from_millis(1_000), r#"{ "b":1.0,"a":1e0 }"#);
        let expected = r#"{"type":"user.created","timestamp":"1970-01-01T00:00:01.000Z","data":{ "b":1.0,"a":1e0 }}"#;
        assert_eq!(standard(&event), expected);
    }

    #[derive(serde::Deserialize)]
    struct Parsed<'a> {
        r#type: String,
        timestamp: Timestamp,
        #[serde(borrow)]
        data: &'a RawValue,
    }

    proptest! {
        #[test]
        fn every_body_reads_back_as_its_event(
            topic in "[A-Za-z0-9_-]{1,9}(\\.[A-Za-z0-9_-]{1,9}){0,3}",
            millis in -62_000_000_000_000_i64..250_000_000_000_000,
            text in ".*",
        ) {
            prop_assume!(!topic.starts_with("hookmill."));
            let data = serde_json::to_string(&text).unwrap();
            let body = standard(&accepted(&topic, Timestamp::from_millis(millis), &data));
            let parsed: Parsed<'_> = serde_json::from_slice(&body).unwrap();
            prop_assert_eq!(parsed.r#type, topic);
            prop_assert_eq!(parsed.timestamp, Timestamp::from_millis(millis));
            prop_assert_eq!(parsed.data.get(), data);
        }
    }
}
