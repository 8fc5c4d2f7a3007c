//! Formats from JSON.

use serde_json::Value;

use super::{Format, Lookup, MAX_MAP_BYTES, MAX_MAP_DEPTH, MAX_POINTERS, Part, ReadAs};
use crate::{
    config::fields::{Field, Fields},
    event::depth,
};

pub(super) const NAMES: [(&str, Format); 5] = [
    ("standard", Format::Standard),
    ("raw", Format::Raw),
    ("envelope", Format::Envelope),
    ("cloudevents", Format::CloudEvents),
    ("cloudevents_binary", Format::CloudEventsBinary),
];
pub(super) const READ_AS: [(&str, ReadAs); 3] =
    [("number", ReadAs::Number), ("seconds", ReadAs::Seconds), ("rfc3339", ReadAs::Rfc3339)];
const ENCODINGS: [(&str, ()); 1] = [("percent", ())];

/// Most members or items of anything in a map; its length bounds it anyway.
const MANY: usize = MAX_MAP_BYTES;
const MAX_PREFIX_BYTES: usize = 2048;

impl Format {
    /// Reads a format: a name, `{"map": {…}}` or `{"merge": […]}`. Mistakes are reported to the field.
    pub(in crate::endpoint) fn read(field: &Field<'_>) -> Option<Self> {
        if !field.value().is_object() {
            let named = field.value().as_str().and_then(|text| NAMES.iter().find(|(name, _)| *name == text));
            if named.is_none() {
                let names = NAMES.map(|(name, _)| format!("\"{name}\"")).join(", ");
                field.fault(format!("must be {names}, {{\"map\": {{…}}}} or {{\"merge\": […]}}"));
            }
            return named.map(|(_, format)| format.clone());
        }
        let text = field.value().to_string();
        if text.len() > MAX_MAP_BYTES || depth(text.as_bytes()) > MAX_MAP_DEPTH {
            field.fault(format!("must be {MAX_MAP_BYTES} bytes and {MAX_MAP_DEPTH} levels at most"));
            return None;
        }
        let part = field.object(|fields| outermost(field, fields))?;
        if part.pointers() > MAX_POINTERS {
            field.fault(format!("must have {MAX_POINTERS} pointers at most"));
        }
        Some(Self::Map(Box::new(part)))
    }
}

/// The members of a map are names of the receiver's, also `from` and the like.
fn outermost(whole: &Field<'_>, fields: &mut Fields<'_>) -> Option<Part> {
    match (fields.take("map"), fields.take("merge")) {
        (Some(map), None) => object(&map),
        (None, Some(merge)) => merged(&merge),
        _ => {
            whole.fault("must have `map` or `merge`");
            None
        }
    }
}

fn object(field: &Field<'_>) -> Option<Part> {
    let members: Vec<_> =
        field.entries(MANY)?.into_iter().map(|(name, field)| Some((name.to_owned(), part(&field)?))).collect();
    members.into_iter().collect::<Option<_>>().map(Part::Object)
}

fn parts(field: &Field<'_>) -> Option<Vec<Part>> {
    let parts: Vec<_> = field.list(0..=MANY)?.iter().map(part).collect();
    parts.into_iter().collect()
}

fn merged(field: &Field<'_>) -> Option<Part> {
    parts(field).map(Part::Merge)
}

/// What tells an object that stands for something from one that is to be sent.
fn part(field: &Field<'_>) -> Option<Part> {
    let given = |name: &str| field.value().get(name).is_some();
    match field.value() {
        Value::Array(_) => parts(field).map(Part::Array),
        Value::Object(_) if given("from") => field.object(lookup).map(Box::new).map(Part::Lookup),
        Value::Object(_) if given("merge") => {
            field.object(|fields| fields.require("merge").and_then(|field| merged(&field)))
        }
        Value::Object(_) if given("concat") => {
            field.object(|fields| fields.require("concat").and_then(|field| parts(&field)).map(Part::Concat))
        }
        Value::Object(members) if given("literal") => field.object(|fields| {
            let _known = fields.take("literal");
            members.get("literal").cloned().map(Part::Literal)
        }),
        Value::Object(_) => object(field),
        value => Some(Part::Literal(value.clone())),
    }
}

fn lookup(fields: &mut Fields<'_>) -> Option<Lookup> {
    let from = fields.require("from").and_then(|field| field.parse());
    let read_as = fields.take("as").and_then(|field| field.choice(&READ_AS));
    let percent = fields.take("encode").and_then(|field| field.choice(&ENCODINGS)).is_some();
    let name_prefix = fields.take("name_prefix").and_then(|field| {
        if read_as.is_some() || percent {
            field.fault("is for objects, which have no `as` or `encode`");
        }
        name_prefix(&field)
    });
    // A default of `null` is one.
    let default = fields.take_even_null("default").map_or(Some(None), |field| part(&field).map(Some));
    Some(Lookup { from: from?, read_as, percent, name_prefix, default: default? })
}

fn name_prefix(field: &Field<'_>) -> Option<String> {
    let text = field.text()?;
    if text.len() > MAX_PREFIX_BYTES {
        field.fault(format!("must be {MAX_PREFIX_BYTES} bytes at most"));
    }
    Some(text.to_owned())
}
