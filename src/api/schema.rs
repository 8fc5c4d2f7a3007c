//! JSON Schemas (2020-12) of what the API takes and answers. Each stands beside its resource; these are their words.

use serde_json::{Map, Value, json};

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

/// A request that works on many things, or only counts them.
pub(super) fn selects(mut properties: Value) -> Value {
    for name in ["dry_run", "all"] {
        put(&mut properties, name, json!({"type": ["boolean", "null"]}));
    }
    object(&[], properties)
}
