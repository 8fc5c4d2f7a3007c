//! One event as one line.

use std::sync::Arc;

use crate::{
    endpoint::Settings,
    event::Accepted,
    transport::{Failure, body},
};

/// Each of `events` in the format of `settings`, as a line with its end.
///
/// # Errors
/// As for [`body::render`].
pub(super) fn of(events: &[Arc<Accepted>], settings: &Settings) -> Result<Vec<u8>, Failure> {
    let mut lines = Vec::new();
    for event in events {
        lines.extend(on_one_line(&body::render(event, settings)?.body));
    }
    Ok(lines)
}

/// JSON holds line ends as white space alone: in their place a space changes no value, no number's spelling and no order.
fn on_one_line(json: &[u8]) -> impl Iterator<Item = u8> {
    let flat = |byte: &u8| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte };
    json.iter().map(flat).chain([b'\n'])
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};
    use serde_json::{Value, json, value::RawValue};

    use super::*;
    use crate::{Event, Timestamp, endpoint::Origin};

    /// JSON text as anybody may write it: with white space wherever it may stand, and numbers in any spelling.
    fn text() -> impl Strategy<Value = String> {
        let space = || select(vec!["", " ", "\n", "\r\n", "\t\n ", "\r"]);
        let number = select(vec!["0", "-0", "1.50", "1e3", "1E+03", "12345678901234567890123", "0.1000", "-1.0e-7"]);
        let string = "[ -~\\n\\r\u{2028}é]{0,6}".prop_map(|text| Value::from(text).to_string());
        let word = select(vec!["null", "true", "false"]);
        let leaf = prop_oneof![number.prop_map(str::to_owned), string, word.prop_map(str::to_owned)];
        let spaced =
            move |inner: BoxedStrategy<String>| (space(), inner, space()).prop_map(|(a, b, c)| format!("{a}{b}{c}"));
        spaced(leaf.boxed()).prop_recursive(3, 16, 4, move |inner| {
            let array = vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(",")));
            let member =
                ("[a-z]{1,3}", space(), inner).prop_map(|(name, space, value)| format!("{space}\"{name}\":{value}"));
            let object = vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(",")));
            spaced(prop_oneof![array, object].boxed())
        })
    }

    /// The text without what means nothing.
    fn compact(json: &str) -> String {
        let (mut out, mut in_string, mut escaped) = (String::new(), false, false);
        for letter in json.chars() {
            if in_string || !letter.is_ascii_whitespace() {
                out.push(letter);
            }
            (in_string, escaped) = match (letter, in_string, escaped) {
                ('"', _, false) => (!in_string, false),
                ('\\', true, false) => (true, true),
                _ => (in_string, false),
            };
        }
        out
    }

    fn line(data: &str, format: &str) -> String {
        let settings = json!({"file": "/a", "format": format});
        let settings = Settings::parse(&settings, Origin::Code, |_: &_, _| Ok(())).unwrap();
        let now = Timestamp::from_millis(0);
        let event = Event::from_json("a.b", data.to_owned()).validate(now).unwrap();
        let lines = of(&[Arc::new(Accepted::new(1, now, event))], &settings).unwrap();
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn several_events_are_several_lines() {
        let settings =
            Settings::parse(&json!({"file": "/a", "format": "raw"}), Origin::Code, |_: &_, _| Ok(())).unwrap();
        let now = Timestamp::from_millis(0);
        let event = |data: &str| {
            let event = Event::from_json("a.b", data.to_owned()).validate(now).unwrap();
            Arc::new(Accepted::new(1, now, event))
        };
        assert_eq!(of(&[event("1"), event("{\n}")], &settings).unwrap(), b"1\n{ }\n");
    }

    proptest! {
        #[test]
        fn any_data_is_one_line_with_the_same_value_in_the_same_spelling(data in text()) {
            let raw = line(&data, "raw");
            prop_assert_eq!((raw.matches('\n').count(), raw.ends_with('\n'), raw.contains('\r')), (1, true, false));
            prop_assert_eq!(compact(&raw), compact(&data));
            prop_assert!(serde_json::from_str::<&RawValue>(&raw).is_ok());
        }

        #[test]
        fn every_format_makes_one_line(data in text(), format in select(vec!["standard", "envelope", "cloudevents"])) {
            let line = line(&data, format);
            prop_assert_eq!((line.matches('\n').count(), line.ends_with('\n'), line.contains('\r')), (1, true, false));
            let value: Value = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(value["data"].to_string(), serde_json::from_str::<Value>(&data).unwrap().to_string());
        }
    }
}
