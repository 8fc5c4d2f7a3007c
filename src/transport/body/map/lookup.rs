//! What lookups find, as JSON.

use std::borrow::Cow;

use serde_json::{Map, Number, Value};

use super::{super::cloudevents::percent_encoded, Writer, merge::members};
use crate::{
    clock::Timestamp,
    endpoint::format::{Lookup, Place, ReadAs},
    event::pointer::quoted,
};

impl Writer<'_> {
    /// What `lookup` finds, without its default; `None` when that is empty.
    pub(super) fn found(&self, lookup: &Lookup) -> Option<Cow<'_, str>> {
        let found = match &lookup.from {
            Place::Event(pointer) => self.view.raw(pointer),
            Place::Endpoint(rest) => below(self.metadata, rest).map(Cow::Owned),
        };
        let found = found.filter(|json| !is_empty(json))?;
        let read = match lookup.read_as {
            Some(read_as) => Cow::Owned(read(&found, read_as)?),
            None => found,
        };
        if lookup.percent {
            return plain_text(&read).map(|text| quoted(&percent_encoded(&text, is_unreserved)).into());
        }
        match &lookup.name_prefix {
            Some(prefix) => with_names(&read, prefix).map(Cow::Owned),
            None => Some(read),
        }
    }
}

fn is_empty(json: &str) -> bool {
    matches!(json, "null" | "\"\"")
}

/// What the JSON Pointer `rest` finds in `metadata`.
fn below(metadata: &Map<String, Value>, rest: &str) -> Option<String> {
    let Some(steps) = rest.strip_prefix('/') else { return Value::Object(metadata.clone()).to_string().into() };
    let (first, rest) = steps.find('/').map_or((steps, ""), |slash| steps.split_at(slash));
    let member = metadata.get(&first.replace("~1", "/").replace("~0", "~"))?;
    member.pointer(rest).map(Value::to_string)
}

/// The string that `json` is.
fn string(json: &str) -> Option<String> {
    serde_json::from_str(json).ok()
}

/// The number that `json` is, in its own spelling.
fn number(json: &str) -> Option<&str> {
    serde_json::from_str::<Number>(json).ok().map(|_| json)
}

fn read(json: &str, read_as: ReadAs) -> Option<String> {
    let (text, number_in) = (string(json), number(json));
    match (read_as, number_in) {
        (ReadAs::Number, None) => number(text?.trim()).map(str::to_owned),
        (ReadAs::Number | ReadAs::Seconds, Some(number)) => Some(number.to_owned()),
        (ReadAs::Seconds, None) => moment(&text?).map(|moment| moment.as_seconds().to_string()),
        (ReadAs::Rfc3339, Some(number)) => seconds(number).map(|moment| quoted(&moment.to_string())),
        (ReadAs::Rfc3339, None) => moment(&text?).map(|_| json.to_owned()),
    }
}

fn moment(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

/// The moment so many seconds after the Unix epoch, within the years that RFC 3339 can write.
fn seconds(number: &str) -> Option<Timestamp> {
    const YEARS_1_TO_9999: std::ops::Range<f64> = -62_135_596_800.0..253_402_207_200.0;
    let seconds = number.parse::<f64>().ok().filter(|seconds| YEARS_1_TO_9999.contains(seconds))?;
    #[expect(clippy::cast_possible_truncation, reason = "within the bounds of a date")]
    let millis = (seconds * 1000.0).round() as i64;
    Some(Timestamp::from_millis(millis))
}

/// The text of a string, a number or a boolean.
pub(super) fn plain_text(json: &str) -> Option<String> {
    match json.as_bytes().first()? {
        b'{' | b'[' => None,
        b'"' => string(json),
        _ => Some(json.to_owned()),
    }
}

/// What RFC 3986 lets stand in a URL as it is.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// The object `json` with `prefix` in front of each name.
fn with_names(json: &str, prefix: &str) -> Option<String> {
    let members = members(json)?
        .into_iter()
        .map(|(name, value)| format!("{}:{}", quoted(&format!("{prefix}{name}")), value.get()));
    Some(format!("{{{}}}", members.collect::<Vec<_>>().join(",")))
}
