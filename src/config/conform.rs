//! Whether a value is what a JSON Schema (2020-12) says, for tests: the words of it that our schemas use, and no others.

use serde_json::Value;

const KNOWN: [&str; 20] = [
    "$ref",
    "anyOf",
    "enum",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "maxProperties",
    "propertyNames",
    "examples",
    "description",
];

/// # Errors
/// The first place where it is not, and why. Also where a schema has a word that is not known here.
pub(crate) fn conforms(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    at(document, schema, value, "#")
}

fn at(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    let words = schema.as_object().ok_or(format!("{place}: the schema is no object"))?;
    if let Some(word) = words.keys().find(|word| !KNOWN.contains(&word.as_str()) && *word != "default") {
        return Err(format!("{place}: a schema with the word {word}"));
    }
    if let Some(name) = words.get("$ref").and_then(Value::as_str) {
        let named = document.pointer(name.trim_start_matches('#')).ok_or(format!("{place}: no schema {name}"))?;
        return at(document, named, value, place);
    }
    let is = |holds: bool, what: &str| if holds { Ok(()) } else { Err(format!("{place}: {what}: {value}")) };
    if let Some(forms) = words.get("anyOf").and_then(Value::as_array) {
        let tried: Vec<_> = forms.iter().map(|form| at(document, form, value, place)).collect();
        if tried.iter().all(Result::is_err) {
            return Err(format!("{place}: none of {tried:?}"));
        }
    }
    if let Some(choices) = words.get("enum").and_then(Value::as_array) {
        is(choices.contains(value), "is none of the words")?;
    }
    match words.get("type") {
        Some(Value::String(kind)) => is(is_a(value, kind), kind)?,
        Some(Value::Array(kinds)) => is(kinds.iter().filter_map(Value::as_str).any(|kind| is_a(value, kind)), "type")?,
        _ => {}
    }
    if let (Some(least), Some(number)) = (words.get("minimum").and_then(Value::as_f64), value.as_f64()) {
        is(number >= least, "is too small")?;
    }
    if let (Some(most), Some(number)) = (words.get("maximum").and_then(Value::as_f64), value.as_f64()) {
        is(number <= most, "is too large")?;
    }
    let length = match value {
        Value::String(text) => Some((text.chars().count(), "minLength", "maxLength")),
        Value::Array(items) => Some((items.len(), "minItems", "maxItems")),
        Value::Object(members) => Some((members.len(), "minProperties", "maxProperties")),
        _ => None,
    };
    if let Some((length, least, most)) = length {
        let bound = |word: &str| words.get(word).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
        is(bound(least).is_none_or(|least| length >= least), "is too short")?;
        is(bound(most).is_none_or(|most| length <= most), "is too long")?;
    }
    if let (Some(items), Value::Array(values)) = (words.get("items"), value) {
        for (index, value) in values.iter().enumerate() {
            at(document, items, value, &format!("{place}/{index}"))?;
        }
    }
    let Value::Object(members) = value else { return Ok(()) };
    for name in words.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        is(members.contains_key(name), &format!("{name} is missing"))?;
    }
    for (name, value) in members {
        let place = format!("{place}/{name}");
        match (words.get("properties").and_then(|known| known.get(name)), words.get("additionalProperties")) {
            (Some(schema), _) => at(document, schema, value, &place)?,
            (None, Some(Value::Bool(false))) => return Err(format!("{place}: is not known")),
            (None, Some(schema @ Value::Object(_))) => at(document, schema, value, &place)?,
            _ => {}
        }
    }
    Ok(())
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "number" => value.is_number(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}
