//! Events as [CloudEvents 1.0](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md): structured, in
//! batches, and binary.
//!
//! `type` is the topic, `subject` the key, `time` the timestamp. The identity of a CloudEvent is its source and id
//! together, and both may hold what an event id may not: our id is a hash of the two, and `ce_id` in the metadata keeps
//! the original. Extensions, `dataschema` and a `datacontenttype` other than JSON stand in the metadata under their names.

mod binary;

use bytes::Bytes;
use serde_json::{Value, value::RawValue};
use sha2::{Digest, Sha256};

pub(super) use binary::{binary, is_binary};

use super::{
    envelope::{items, kept, syntax},
    json::{Members, below, text},
    problem::Problem,
};
use crate::{
    config::fields::{MAX_FAULTS, whole},
    error::{Fault, Invalid},
    event::Event,
};

/// Where the id of a CloudEvent is kept. No extension can have this name: theirs are letters and digits.
const ORIGINAL_ID: &str = "ce_id";

/// Hexadecimal digits of a hash that make an id: with its prefix it must be no longer than an event id may be.
const DIGITS: usize = 60;

/// Attributes and their values, of one event.
type Attributes = Vec<(String, Value)>;

/// Reads one event of the JSON event format.
///
/// # Errors
/// The problem to answer with.
pub(crate) fn structured(body: &Bytes) -> Result<Event, Problem> {
    let mut faults = Vec::new();
    let event = member_event(syntax(text(body)?)?, "#", &mut faults, |data| kept(body, data));
    Invalid::unless_empty(faults)?;
    Ok(event)
}

/// Reads an array of events of the JSON batch format.
///
/// # Errors
/// The problem to answer with.
pub(crate) fn batch(body: &[u8]) -> Result<Vec<Event>, Problem> {
    let (mut events, mut faults) = (Vec::new(), Vec::new());
    for (index, item) in items(text(body)?)?.into_iter().enumerate() {
        // Copied: one event that waits must not hold the whole array in memory.
        events.push(member_event(item, &format!("#/{index}"), &mut faults, Bytes::copy_from_slice));
        if faults.len() >= MAX_FAULTS {
            break;
        }
    }
    Invalid::unless_empty(faults)?;
    Ok(events)
}

/// Mistakes in an event, named as in the CloudEvent that it was.
pub(super) fn in_their_names(invalid: Invalid) -> Invalid {
    let faults = Vec::from(invalid).into_iter().map(|fault| {
        let (place, ours) = fault.pointer.rsplit_once('/').unwrap_or((&fault.pointer, ""));
        let theirs = match ours {
            "topic" => "type",
            "key" => "subject",
            "timestamp" => "time",
            _ => return fault,
        };
        Fault::new(format!("{place}/{theirs}"), fault.detail)
    });
    Invalid::unless_empty(faults.collect()).err().unwrap_or_else(|| Invalid::at("#", "is invalid"))
}

fn member_event(json: &RawValue, place: &str, faults: &mut Vec<Fault>, keep: impl FnOnce(&[u8]) -> Bytes) -> Event {
    let Ok(Members(members)) = serde_json::from_str(json.get()) else {
        faults.push(Fault::new(place, "must be an object"));
        return Event::from_json("", "null");
    };
    let (mut attributes, mut data) = (Attributes::new(), None);
    for (name, value) in members {
        match name.as_str() {
            "data" if data.is_none() => data = Some(value),
            "data" => faults.push(Fault::new(below(place, "data"), "is given twice")),
            "data_base64" => {
                let detail = "is not taken: event data is JSON, send it as `data`";
                faults.push(Fault::new(below(place, &name), detail));
            }
            _ => match attribute(value.get()) {
                Some(Value::Null) => {}
                Some(value) => attributes.push((name, value)),
                None => {
                    faults.push(Fault::new(below(place, &name), "must be a string, a boolean or a whole number"));
                }
            },
        }
    }
    let data = data.map_or_else(|| Bytes::from_static(b"null"), |data| keep(data.get().as_bytes()));
    Reader { attributes, place, faults }.event(data)
}

/// The value of an attribute, if it is of a type that attributes have.
fn attribute(json: &str) -> Option<Value> {
    let value = (!json.starts_with(['{', '['])).then(|| serde_json::from_str(json).ok()).flatten()?;
    match &value {
        Value::Number(number) => whole(number).map(Value::Number),
        _ => Some(value),
    }
}

/// Our id of a CloudEvent. Neither part can hold the line end between them.
fn id_of(source: &str, id: &str) -> String {
    let hash = Sha256::new().chain_update(source).chain_update("\n").chain_update(id).finalize();
    let mut digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.truncate(DIGITS);
    format!("ce_{digits}")
}

struct Reader<'a> {
    attributes: Attributes,
    place: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl Reader<'_> {
    /// The event of these attributes. What is wrong goes to the faults, and the event is of no use then.
    fn event(mut self, data: Bytes) -> Event {
        match self.text("specversion") {
            Some(version) if version != "1.0" => self.fault("specversion", "must be \"1.0\""),
            Some(_) => {}
            None => self.missing("specversion"),
        }
        let [topic, source, id] = ["type", "source", "id"].map(|name| self.required(name));
        let mut event = Event::from_json(topic, data).id(id_of(&source, &id)).source(source);
        event.key = self.text("subject");
        event.timestamp = self.text("time").and_then(|time| {
            let parsed = time.parse();
            parsed.map_err(|error: crate::clock::ParseTimestampError| self.fault("time", error.to_string())).ok()
        });
        self.extensions()
            .into_iter()
            .fold(event, |event, (name, value)| event.metadata(name, value))
            .metadata(ORIGINAL_ID, id)
    }

    fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(below(self.place, name), detail));
    }

    fn missing(&mut self, name: &str) {
        let known = below(self.place, name);
        if self.faults.iter().all(|fault| fault.pointer != known) {
            self.fault(name, "is missing");
        }
    }

    /// Takes the attribute `name`, a text without control characters, as the standard's strings are.
    fn text(&mut self, name: &str) -> Option<String> {
        let place = self.attributes.iter().position(|(given, _)| given == name)?;
        match self.attributes.remove(place).1 {
            Value::String(text) if text.is_empty() => self.fault(name, "must not be empty"),
            Value::String(text) if text.chars().any(char::is_control) => {
                self.fault(name, "must not hold control characters");
            }
            Value::String(text) => return Some(text),
            _ => self.fault(name, "must be a string"),
        }
        None
    }

    fn required(&mut self, name: &str) -> String {
        let text = self.text(name);
        if text.is_none() {
            self.missing(name);
        }
        text.unwrap_or_default()
    }

    /// What is left.
    fn extensions(&mut self) -> Attributes {
        self.attributes.retain(|(name, value)| {
            name != "datacontenttype"
                || value.as_str().is_none_or(|kind| !kind.eq_ignore_ascii_case("application/json"))
        });
        let mut extensions = std::mem::take(&mut self.attributes);
        for (index, (name, _)) in extensions.iter().enumerate() {
            if !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()) || name.is_empty() {
                self.fault(name, "is no name of an attribute: those are lower-case letters and digits");
            }
            let before = extensions.iter().take(index).any(|(other, _)| other == name);
            if before || ["specversion", "type", "source", "id", "subject", "time"].contains(&name.as_str()) {
                self.fault(name, "is given twice");
            }
        }
        extensions.truncate(MAX_FAULTS);
        extensions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_that_of_source_and_id_together() {
        let id = id_of("/a", "b.c");
        assert!(id.parse::<crate::event::EventId>().is_ok(), "{id}");
        assert_eq!(id, id_of("/a", "b.c"));
        assert_ne!(id, id_of("/a", "b"));
        assert_ne!(id, id_of("/b", "b.c"));
    }

    #[test]
    fn attributes_are_of_few_types() {
        for json in ["\"a\"", "1", "-1", "true", "null"] {
            assert!(attribute(json).is_some(), "{json}");
        }
        assert_eq!([attribute("1e3"), attribute("-7.0")], [Some(1000.into()), Some((-7).into())]);
        for json in ["1.5", "1e300", "{}", "[1]"] {
            assert!(attribute(json).is_none(), "{json}");
        }
    }
}
