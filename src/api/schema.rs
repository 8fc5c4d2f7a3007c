//! JSON Schemas (2020-12) of what the API takes and answers. Each stands beside its resource; these are their words.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Map, Value, json};

use crate::{
    config::{duration, fields::PRINTED},
    event::{MAX_NAME_BYTES, TOPICS},
    pipeline::REPLAY_RATES,
    store::DeadReason,
};

/// Schemas by their names.
#[derive(Default)]
pub(super) struct Schemas(Map<String, Value>);

impl Schemas {
    pub(super) fn add(&mut self, name: &str, schema: Value) {
        self.0.insert(name.to_owned(), schema);
    }

    pub(super) fn into_value(self) -> Value {
        self.0.into()
    }
}

/// An object with these members and no other. Those that are `required` are always there.
pub(super) fn object(required: &[&str], properties: Value) -> Value {
    let mut schema = json!({"type": "object", "required": required, "additionalProperties": false});
    put(&mut schema, "properties", properties);
    schema
}

/// An object of an answer: all its members are always there, but for those that `may_miss`.
pub(super) fn answer(may_miss: &[&str], properties: Value) -> Value {
    let names = properties.as_object().into_iter().flat_map(Map::keys);
    let required: Vec<_> = names.map(String::as_str).filter(|name| !may_miss.contains(name)).collect();
    let mut schema = json!({"type": "object", "required": required, "additionalProperties": false});
    put(&mut schema, "properties", properties);
    schema
}

/// Sets a member of an object.
pub(super) fn put(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value);
    }
}

/// One of the schemas, by name.
pub(super) fn named(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// One page of a list of these.
pub(super) fn list_of(name: &str) -> Value {
    answer(&[], json!({"items": {"type": "array", "items": named(name)}, "next": text_or_null()}))
}

pub(super) fn text() -> Value {
    json!({"type": "string"})
}

pub(super) fn text_or_null() -> Value {
    json!({"type": ["string", "null"]})
}

/// What names an endpoint, an event, a tenant, a token, a job or a rule.
pub(super) fn id() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"})
}

/// What an event is about.
pub(super) fn topic() -> Value {
    json!({"type": "string", "pattern": r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", "maxLength": MAX_NAME_BYTES})
}

/// One topic, all below it, or all.
pub(super) fn topics() -> Value {
    json!({"type": "string", "pattern": TOPICS, "maxLength": MAX_NAME_BYTES})
}

/// A text without control characters that is not empty, and no longer than so many bytes.
pub(super) fn printed(most: Option<usize>) -> Value {
    let mut schema = json!({"type": "string", "minLength": 1, "pattern": PRINTED});
    if let Some(most) = most {
        put(&mut schema, "maxLength", most.into());
    }
    schema
}

/// A duration such as `"10s"`.
pub(super) fn duration(within: &RangeInclusive<Duration>) -> Value {
    let about = format!("{} to {}", duration::print(*within.start()), duration::print(*within.end()));
    json!({"type": "string", "pattern": duration::PATTERN, "description": about})
}

/// The same, or null, which counts as left out.
pub(super) fn or_null(mut schema: Value) -> Value {
    if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        words.push(Value::Null);
    } else if let Some(kind) = schema.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
    }
    schema
}

/// Where the page before ended, as it was told in `next`.
pub(super) fn cursor() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]+$"})
}

/// Why a delivery is a dead letter.
pub(super) fn dead_reason() -> Value {
    json!({"enum": DeadReason::ALL.map(DeadReason::as_str)})
}

/// Deliveries again, in a second.
pub(super) fn replay_rate() -> Value {
    json!({"type": ["number", "null"], "minimum": REPLAY_RATES.start(), "maximum": REPLAY_RATES.end()})
}

pub(super) fn flag() -> Value {
    json!({"type": "boolean"})
}

pub(super) fn count() -> Value {
    json!({"type": "integer", "minimum": 0})
}

pub(super) fn status() -> Value {
    json!({"type": ["integer", "null"], "minimum": 100, "maximum": 999})
}

/// A date and time, RFC 3339.
pub(super) fn moment() -> Value {
    json!({"type": "string", "format": "date-time"})
}

pub(super) fn moment_or_null() -> Value {
    json!({"type": ["string", "null"], "format": "date-time"})
}

/// Any JSON.
pub(super) fn anything() -> Value {
    json!({})
}

pub(super) fn any_object() -> Value {
    json!({"type": "object"})
}

/// A request that works on many things, or only counts them: on those of one `condition` at least, or on all.
pub(super) fn selects(mut properties: Value, conditions: impl IntoIterator<Item = Value>) -> Value {
    for name in ["dry_run", "all"] {
        put(&mut properties, name, json!({"type": ["boolean", "null"]}));
    }
    let mut schema = object(&[], properties);
    let all = json!({"properties": {"all": {"enum": [true]}}, "required": ["all"]});
    put(&mut schema, "anyOf", std::iter::once(all).chain(conditions).collect());
    schema
}

/// Whether the member `name` is there and no null.
pub(super) fn given(name: &str) -> Value {
    json!({"properties": {name: {"type": ["string", "object"]}}, "required": [name]})
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, string::string_regex};

    use super::*;
    use crate::event::{Tenant, Topic, TopicPattern};

    /// Texts that the pattern of a schema allows.
    fn allowed(schema: &Value) -> impl Strategy<Value = String> + use<> {
        let pattern = schema["pattern"].as_str().unwrap();
        string_regex(pattern.trim_start_matches('^').trim_end_matches('$')).unwrap()
    }

    proptest! {
        #[test]
        fn what_the_patterns_allow_is_read(
            id in allowed(&id()),
            topic in allowed(&topic()),
            topics in allowed(&topics()),
            duration in allowed(&duration(&(Duration::ZERO..=Duration::MAX))),
        ) {
            prop_assert!(id.parse::<Tenant>().is_ok(), "{id}");
            prop_assert!(topic.len() > MAX_NAME_BYTES || topic.parse::<Topic>().is_ok(), "{topic}");
            prop_assert!(topics.len() > MAX_NAME_BYTES || topics.parse::<TopicPattern>().is_ok(), "{topics}");
            let digits = duration.bytes().filter(u8::is_ascii_digit).count();
            prop_assert!(digits > 10 || duration::parse(&duration).is_ok(), "{duration}");
        }
    }
}
