//! Settings as a JSON Schema (2020-12): the names that are read, and what stands behind each, within which bounds. What cannot
//! stand beside each other is told by the reader alone.

use std::{ops::RangeInclusive, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    access::{self, ENCODINGS, HEADER_PREFIXES, SCHEMES},
    limits,
    parse::{METHODS, STATES},
    policy::{EXHAUSTED, SUCCESSES, UNITS, WHILE_OPEN},
    queue::{ORDERED, WHEN_FULL},
};
use crate::{
    config::{duration, fields::PRINTED},
    endpoint::{
        Settings,
        debounce::{EDGES, MAX_POINTERS, MAX_TOPICS, WINDOW},
        filter::{MAX_CONDITIONS, MAX_VALUES},
        preset::PRESETS,
    },
    event::TOPICS,
};

impl Settings {
    /// The JSON Schema of an endpoint's settings. `null` stands for what is left out.
    pub fn json_schema() -> Value {
        object(
            &[],
            json!({
                "name": {"type": "string", "minLength": 1, "maxLength": limits::MAX_NAME_BYTES, "pattern": PRINTED},
                "preset": one_of(&PRESETS),
                "tenant": {
                    "type": "string",
                    "pattern": r"^(\*|[A-Za-z0-9_-]{1,64})$",
                    "description": "Whose events it gets; `*` means everybody's. One tenant's endpoint stays so, and no other becomes a tenant's.",
                },
                "url": text(),
                "file": text(),
                "rotate": object(&["max_bytes", "keep"], json!({"max_bytes": whole(limits::ROTATE_BYTES), "keep": whole(limits::ROTATE_KEEP)})),
                "topics": {"type": "array", "items": topics(), "minItems": 1, "maxItems": limits::MAX_TOPICS},
                "filter": filter(),
                "format": format(),
                "state": one_of(&STATES),
                "method": one_of(&METHODS),
                "headers": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": limits::MAX_HEADERS},
                "metadata": {"type": "object"},
                "auth": auth(),
                "signing": signing(),
                "secret": text(),
                "success": one_of(&SUCCESSES),
                "guard": {"enum": ["private", "public"]},
                "timeout": duration(&limits::TIMEOUT),
                "retry": retry(),
                "breaker": breaker(),
                "in_flight": whole(limits::IN_FLIGHT),
                "dead_letters": object(&[], json!({
                    "max_items": whole(limits::DEAD_LETTERS),
                    "max_bytes": whole(limits::DEAD_LETTER_BYTES),
                    "max_age": duration(&limits::DEAD_LETTER_AGE),
                })),
                "debounce": muting(),
                "rate": object(&["per_second"], json!({"per_second": number(&limits::RATE), "burst": whole(limits::BURST)})),
                "batch": object(&[], json!({
                    "max_items": whole(limits::BATCH_ITEMS),
                    "max_bytes": whole(limits::BATCH_BYTES),
                    "flush_interval": duration(&limits::FLUSH_INTERVAL),
                    "count_header": text(),
                })),
                "ordered": one_of(&ORDERED),
                "queue": object(&[], json!({
                    "max_items": whole(limits::QUEUE_ITEMS),
                    "max_bytes": whole(limits::QUEUE_BYTES),
                    "when_full": one_of(&WHEN_FULL),
                })),
                "drain": duration(&limits::DRAIN),
                "disable_after": {
                    "type": "string",
                    "pattern": "^([0-9]+(ms|s|m|h|d)|never)$",
                    "description": "A duration, or \"never\".",
                },
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

fn texts(most: usize) -> Value {
    json!({"type": "array", "items": {"type": "string"}, "maxItems": most})
}

fn whole<T: Serialize>(within: RangeInclusive<T>) -> Value {
    json!({"type": "integer", "minimum": within.start(), "maximum": within.end()})
}

fn number(within: &RangeInclusive<f64>) -> Value {
    json!({"type": "number", "minimum": within.start(), "maximum": within.end()})
}

fn duration(within: &RangeInclusive<Duration>) -> Value {
    let about = format!("{} to {}", duration::print(*within.start()), duration::print(*within.end()));
    json!({"type": "string", "pattern": duration::PATTERN, "description": about})
}

/// One topic, all below it, or all.
fn topics() -> Value {
    json!({"type": "string", "pattern": TOPICS})
}

fn one_of<T>(words: &[(&str, T)]) -> Value {
    let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
    json!({"enum": words})
}

fn filter() -> Value {
    let inner = json!({"type": "object"});
    let values = json!({"type": "array", "maxItems": MAX_VALUES});
    object(
        &[],
        json!({
            "all": {"type": "array", "items": inner, "minItems": 1, "maxItems": MAX_CONDITIONS},
            "any": {"type": "array", "items": inner, "minItems": 1, "maxItems": MAX_CONDITIONS},
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
            "secrets": {"type": "array", "maxItems": limits::MAX_SECRETS, "items": {"anyOf": [text(), ending]}},
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
            "delays": {"type": "array", "items": duration(&limits::DELAY), "maxItems": limits::MAX_DELAYS},
            "initial": duration(&limits::RETRY_TIME),
            "factor": number(&limits::FACTOR),
            "max_delay": duration(&limits::RETRY_TIME),
            "max_attempts": whole(limits::MAX_ATTEMPTS),
            "jitter": number(&limits::JITTER),
            "max_age": duration(&limits::RETRY_TIME),
            "when": {"type": "array", "maxItems": 4, "items": {"enum": ["transport", "5xx", "4xx", "other"]}},
            "exhausted": one_of(&EXHAUSTED),
        }),
    )
}

fn breaker() -> Value {
    object(
        &[],
        json!({
            "failures": whole(limits::BREAKER_COUNT),
            "min_events": whole(limits::BREAKER_COUNT),
            "cooldown": duration(&limits::COOLDOWN),
            "max_cooldown": duration(&limits::COOLDOWN),
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
            "key": texts(MAX_POINTERS),
            "window": duration(&WINDOW),
            "edge": one_of(&EDGES),
            "max_wait": duration(&WINDOW),
            "reset_on": texts(MAX_TOPICS),
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

    /// Every number of the schema that has bounds, with its place.
    fn bounded<'a>(schema: &'a Value, place: &str, found: &mut Vec<(String, &'a Value)>) {
        for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let place = format!("{place}/{name}");
            if schema.get("minimum").is_some() {
                found.push((place.clone(), schema));
            }
            bounded(schema, &place, found);
        }
    }

    #[test]
    fn the_bounds_of_the_schema_are_those_of_the_reader() {
        let (schema, mut found) = (Settings::json_schema(), Vec::new());
        bounded(&schema, "#", &mut found);
        assert!(found.len() > 12, "{found:?}");
        for (place, schema) in found {
            let names: Vec<_> = place.split('/').skip(1).collect();
            let refused = |number: Value| {
                let mut settings = names.iter().rev().fold(number, |inner, name| json!({*name: inner}));
                match names[0] {
                    "rotate" => settings["file"] = json!("/var/log/a"),
                    _ => settings["url"] = json!("https://example.org/"),
                }
                let faults = parse(&settings).err().map(Vec::from).unwrap_or_default();
                faults.iter().any(|fault| fault.pointer == place && fault.detail.contains(" number from "))
            };
            let (least, most) = (&schema["minimum"], &schema["maximum"]);
            assert!(!refused(least.clone()) && !refused(most.clone()), "{place}: a bound is refused");
            let beyond = match (least.as_i64(), most.as_i64()) {
                (Some(least), Some(most)) => [json!(least - 1), json!(most + 1)],
                _ => [json!(least.as_f64().unwrap() - 0.1), json!(most.as_f64().unwrap() + 0.1)],
            };
            for beyond in beyond {
                assert!(refused(beyond.clone()), "{place}: {beyond} is taken");
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
