//! Settings as a JSON Schema (2020-12): the names that are read, and what stands behind each. Bounds and what cannot stand
//! beside each other are told by the reader alone.

use serde_json::{Map, Value, json};

use super::{
    access::{self, ENCODINGS, HEADER_PREFIXES, SCHEMES},
    parse::{METHODS, STATES},
    policy::{EXHAUSTED, SUCCESSES, UNITS, WHILE_OPEN},
    queue::{ORDERED, WHEN_FULL},
};
use crate::endpoint::{Settings, debounce::EDGES, preset::PRESETS};

impl Settings {
    /// The JSON Schema of an endpoint's settings. `null` stands for what is left out.
    pub fn json_schema() -> Value {
        object(
            &[],
            json!({
                "name": text(),
                "preset": one_of(&PRESETS),
                "tenant": text(),
                "url": text(),
                "file": text(),
                "rotate": object(&["max_bytes", "keep"], json!({"max_bytes": whole(), "keep": whole()})),
                "topics": texts(),
                "filter": filter(),
                "format": format(),
                "state": one_of(&STATES),
                "method": one_of(&METHODS),
                "headers": {"type": "object", "additionalProperties": {"type": "string"}},
                "metadata": {"type": "object"},
                "auth": auth(),
                "signing": signing(),
                "secret": text(),
                "success": one_of(&SUCCESSES),
                "guard": {"enum": ["private", "public"]},
                "timeout": duration(),
                "retry": retry(),
                "breaker": breaker(),
                "in_flight": whole(),
                "dead_letters": object(&[], json!({"max_items": whole(), "max_bytes": whole(), "max_age": duration()})),
                "debounce": muting(),
                "rate": object(&["per_second"], json!({"per_second": {"type": "number"}, "burst": whole()})),
                "batch": object(&[], json!({
                    "max_items": whole(), "max_bytes": whole(), "flush_interval": duration(), "count_header": text(),
                })),
                "ordered": one_of(&ORDERED),
                "queue": object(&[], json!({"max_items": whole(), "max_bytes": whole(), "when_full": one_of(&WHEN_FULL)})),
                "drain": duration(),
                "disable_after": {"type": "string", "description": "A duration, or \"never\"."},
            }),
        )
    }
}

/// An object with these members and no other; each may be `null` but those that are required.
fn object(required: &[&str], properties: Value) -> Value {
    let Value::Object(properties) = properties else { return json!({"type": "object"}) };
    let or_null = |(name, schema): (String, Value)| {
        let schema = if required.contains(&name.as_str()) { schema } else { nullable(schema) };
        (name, schema)
    };
    let properties: Map<_, _> = properties.into_iter().map(or_null).collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

fn nullable(mut schema: Value) -> Value {
    if let Some(words) = schema.get_mut("enum").and_then(Value::as_array_mut) {
        words.push(Value::Null);
    } else if let Some(forms) = schema.get_mut("anyOf").and_then(Value::as_array_mut) {
        forms.push(json!({"type": "null"}));
    } else if let Some(kind) = schema.get_mut("type").filter(|kind| kind.is_string()) {
        *kind = json!([kind.take(), "null"]);
    }
    schema
}

fn text() -> Value {
    json!({"type": "string"})
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn whole() -> Value {
    json!({"type": "integer", "minimum": 0})
}

fn duration() -> Value {
    json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"})
}

fn one_of<T>(words: &[(&str, T)]) -> Value {
    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    json!({"enum": words})
}

fn filter() -> Value {
    let inner = json!({"type": "object"});
    let values = json!({"type": "array"});
    object(
        &[],
        json!({
            "all": {"type": "array", "items": inner},
            "any": {"type": "array", "items": inner},
            "not": inner,
            "pointer": text(),
            "only": values,
            "except": values,
            "prefix": text(),
            "suffix": text(),
            "exists": {"type": "boolean"},
            "min": {"type": "number"},
            "max": {"type": "number"},
        }),
    )
}

fn format() -> Value {
    let names = ["standard", "raw", "envelope", "cloudevents", "cloudevents_binary"];
    let map = object(&[], json!({"map": {"type": "object"}, "merge": {"type": "array"}}));
    json!({"anyOf": [{"enum": names}, map]})
}

fn auth() -> Value {
    object(
        &["type"],
        json!({
            "type": one_of(&access::AUTH_TYPES),
            "token": text(),
            "username": text(),
            "password": text(),
            "value": text(),
        }),
    )
}

fn signing() -> Value {
    let ending = json!({"type": "object", "properties": {"secret": text(), "until": text()}, "required": ["secret"]});
    object(
        &[],
        json!({
            "type": one_of(&access::SIGNING_TYPES),
            "scheme": one_of(&SCHEMES),
            "header_prefix": one_of(&HEADER_PREFIXES),
            "secrets": {"type": "array", "items": {"anyOf": [text(), ending]}},
            "header": text(),
            "prefix": text(),
            "encoding": one_of(&ENCODINGS),
            "secret": text(),
        }),
    )
}

fn retry() -> Value {
    object(
        &[],
        json!({
            "delays": {"type": "array", "items": duration()},
            "initial": duration(),
            "factor": {"type": "number"},
            "max_delay": duration(),
            "max_attempts": whole(),
            "jitter": {"type": "number"},
            "max_age": duration(),
            "when": {"type": "array", "items": {"enum": ["transport", "5xx", "4xx", "other"]}},
            "exhausted": one_of(&EXHAUSTED),
        }),
    )
}

fn breaker() -> Value {
    object(
        &[],
        json!({
            "failures": whole(),
            "min_events": whole(),
            "cooldown": duration(),
            "max_cooldown": duration(),
            "while_open": one_of(&WHILE_OPEN),
            "unit": one_of(&UNITS),
        }),
    )
}

/// The names of a debounce rule but its topics.
fn muting() -> Value {
    object(
        &["window"],
        json!({
            "key": texts(),
            "window": duration(),
            "edge": one_of(&EDGES),
            "max_wait": duration(),
            "reset_on": texts(),
            "release_on_failure": {"type": "boolean"},
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::conform::conforms, endpoint::settings::laws::parse};

    /// Every object of the schema whose names are all known, with its place.
    fn objects(schema: &Value, place: &str, found: &mut Vec<(String, Vec<String>)>) {
        if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
            found.push((place.to_owned(), properties.keys().cloned().collect()));
            properties.iter().for_each(|(name, schema)| objects(schema, &format!("{place}/{name}"), found));
        }
        let forms = schema.get("anyOf").and_then(Value::as_array).into_iter().flatten();
        forms.for_each(|form| objects(form, place, found));
    }

    /// Settings with this value at this place, in each of the forms that an object there may have.
    fn settings_with(place: &str, name: &str) -> Vec<Value> {
        let odd = json!(["odd"]);
        let mut forms = vec![json!({})];
        let typed = |types: &[(&str, &str)]| types.iter().map(|(one, _)| json!({"type": one})).collect();
        match place {
            "#/auth" => forms = typed(&access::AUTH_TYPES),
            "#/signing" => forms = typed(&access::SIGNING_TYPES),
            _ => {}
        }
        let base = [json!({"url": "https://example.org/"}), json!({"file": "/var/log/a"})];
        let with = |mut form: Value| {
            form[name] = odd.clone();
            base.clone().into_iter().map(move |mut settings| {
                match place.strip_prefix("#/") {
                    Some(outer) => settings[outer] = form.clone(),
                    None => settings[name] = form[name].clone(),
                }
                settings
            })
        };
        forms.into_iter().flat_map(with).collect()
    }

    #[test]
    fn the_schema_knows_the_names_that_the_reader_knows() {
        let (schema, mut found) = (Settings::json_schema(), Vec::new());
        objects(&schema, "#", &mut found);
        assert!(found.len() > 12, "{found:?}");
        let refuses = |settings: &Value, at: &str| {
            let unknown = |fault: &&crate::Fault| fault.pointer == at && fault.detail.contains("not a known setting");
            parse(settings).is_err_and(|invalid| invalid.faults().iter().any(|fault| unknown(&fault)))
        };
        for (place, names) in found {
            for name in names {
                let at = format!("{place}/{name}");
                let tried = settings_with(&place, &name);
                assert!(tried.iter().any(|settings| !refuses(settings, &at)), "the reader does not know {at}");
            }
            let at = format!("{place}/zzz");
            let tried = settings_with(&place, "zzz");
            assert!(tried.iter().any(|settings| refuses(settings, &at)), "the reader takes {at}");
            for settings in tried {
                assert!(parse(&settings).is_err() && conforms(&schema, &schema, &settings).is_err(), "{at} is taken");
            }
        }
    }

    #[test]
    fn every_preset_and_the_settings_of_the_readme_conform() {
        let schema = Settings::json_schema();
        for (name, preset) in PRESETS {
            assert_eq!(conforms(&schema, &schema, &preset.settings()), Ok(()), "{name}");
            let shown = parse(&json!({"url": "https://example.org/", "preset": name})).unwrap().to_masked_json();
            assert_eq!(conforms(&schema, &schema, &shown), Ok(()), "{name}");
        }
    }
}
