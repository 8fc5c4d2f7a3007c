//! Events from the JSON of a publisher: every mistake at once, and the data's very bytes.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::{Map, Value, value::RawValue};

use super::{
    json::{Items, MAX_EVENTS, Members, Node, below, strict, text},
    problem::{Kind, Problem},
};
use crate::{
    clock::Timestamp,
    config::{fields::MAX_FAULTS, nearest::nearest},
    error::{Fault, Invalid},
    event::{Data, Event, MAX_METADATA_BYTES},
};

/// Metadata written with more white space than this is not even read.
const SPACIOUS_METADATA: usize = 4 * MAX_METADATA_BYTES;

const NAMES: [&str; 8] = ["topic", "data", "id", "tenant", "key", "source", "timestamp", "metadata"];

/// What a publisher sent.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one for each request, and moved once")]
pub(super) enum Published {
    One(Event),
    Several(Vec<Event>),
}

/// Reads one event, or an array of them. The value rules are left to [`Event::validate`], unless something else is wrong:
/// then what they refuse is told along with it.
///
/// # Errors
/// The problem to answer with.
pub(super) fn read(body: &Bytes, now: Timestamp) -> Result<Published, Problem> {
    let text = text(body)?;
    if !text.trim_start().starts_with('[') {
        let mut faults = Vec::new();
        let whole = Node::read(text).map_err(not_json)?;
        let event = event(whole, "#", now, &mut faults, |data| kept(body, data));
        Invalid::unless_empty(faults)?;
        return Ok(Published::One(event));
    }
    Ok(Published::Several(several(items(text)?.into_iter().map(Node::of), now)?))
}

/// A part of `body`, held without a copy only when it is at least half of that: an event that waits is weighed by its data,
/// and must not hold much more in memory.
pub(super) fn kept(body: &Bytes, part: &[u8]) -> Bytes {
    if 2 * part.len() >= body.len() { body.slice_ref(part) } else { Bytes::copy_from_slice(part) }
}

/// The items of an array of events.
///
/// # Errors
/// The problem to answer with: no array, none or too many in it.
pub(super) fn items(text: &str) -> Result<Vec<&RawValue>, Problem> {
    let Items { first, count } = syntax(text)?;
    expect_some(count)?;
    Ok(first)
}

/// Refuses none at all, and too many.
pub(super) fn expect_some(count: usize) -> Result<(), Problem> {
    match count {
        0 => Err(Invalid::at("#", "must hold at least one event").into()),
        1..=MAX_EVENTS => Ok(()),
        _ => Err(Problem::new(Kind::TooLarge, format!("{count} events; {MAX_EVENTS} at most"))),
    }
}

/// Reads several events, each named by its index.
///
/// # Errors
/// Every mistake in their form, up to a bound.
pub(super) fn several<'a>(
    items: impl ExactSizeIterator<Item = Node<'a>>,
    now: Timestamp,
) -> Result<Vec<Event>, Problem> {
    let (mut events, mut faults) = (Vec::with_capacity(items.len()), Vec::new());
    for (index, item) in items.enumerate() {
        // Copied: one event that waits must not hold the whole array in memory.
        events.push(event(item, &format!("#/{index}"), now, &mut faults, Bytes::copy_from_slice));
        if faults.len() >= MAX_FAULTS {
            break;
        }
    }
    if !faults.is_empty() {
        // Events without a fault of form may break value rules: these are told too.
        for (index, event) in events.iter().enumerate() {
            add_broken_rules(event, &format!("#/{index}"), now, &mut faults);
        }
    }
    Invalid::unless_empty(faults)?;
    Ok(events)
}

/// Reads a text as `T`.
///
/// # Errors
/// Malformed: what is wrong with the syntax.
pub(super) fn syntax<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(not_json)
}

#[expect(clippy::needless_pass_by_value, reason = "passed to `map_err`")]
fn not_json(error: serde_json::Error) -> Problem {
    Problem::malformed("#", format!("is not JSON: {error}"))
}

/// Reads one event at `place`. What is wrong goes to `faults`, and the event is of no use then.
fn event(
    json: Node<'_>,
    place: &str,
    now: Timestamp,
    faults: &mut Vec<Fault>,
    keep: impl FnOnce(&[u8]) -> Bytes,
) -> Event {
    let members = match json {
        Node::Object(Members(members)) => members,
        Node::Other(detail) => {
            faults.push(Fault::new(place, detail));
            return Event::from_json("", "null");
        }
    };
    let before = faults.len();
    check_names(&members, place, faults);
    let mut reader = Reader { members: &members, place, faults };
    let mut event = Event::from_json("", "null");
    event.topic = reader.text("topic").unwrap_or_default();
    event.id = reader.text("id");
    event.tenant = reader.text("tenant");
    event.key = reader.text("key");
    event.source = reader.text("source");
    event.timestamp = reader.timestamp();
    event.metadata = reader.metadata();
    reader.require("topic");
    match reader.member("data") {
        Some(data) => event.data = Data::parsed(keep(data.get().as_bytes())),
        None => reader.fault("data", "is missing"),
    }
    if faults.len() > before && place == "#" {
        add_broken_rules(&event, place, now, faults);
    }
    event
}

/// Adds what the value rules refuse, except where something is wrong already.
fn add_broken_rules(event: &Event, place: &str, now: Timestamp, faults: &mut Vec<Fault>) {
    let Err(invalid) = event.validate(now) else { return };
    for fault in Vec::from(invalid.below(place.strip_prefix('#').unwrap_or(place))) {
        let known = faults.iter().any(|other| other.pointer == fault.pointer || other.pointer == place);
        if !known && faults.len() < MAX_FAULTS {
            faults.push(fault);
        }
    }
}

fn check_names(members: &[(Cow<'_, str>, &RawValue)], place: &str, faults: &mut Vec<Fault>) {
    let mut seen: Vec<&str> = Vec::with_capacity(NAMES.len());
    for (name, _) in members {
        let name = name.as_ref();
        let known = NAMES.contains(&name);
        let detail = if seen.contains(&name) {
            "is given twice".to_owned()
        } else if known {
            seen.push(name);
            continue;
        } else {
            let hint = nearest(name, &NAMES).map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            format!("is not a member of an event{hint}")
        };
        if faults.len() < MAX_FAULTS {
            faults.push(Fault::new(below(place, name), detail));
        }
    }
}

struct Reader<'a> {
    members: &'a [(Cow<'a, str>, &'a RawValue)],
    place: &'a str,
    faults: &'a mut Vec<Fault>,
}

impl<'a> Reader<'a> {
    fn member(&self, name: &str) -> Option<&'a RawValue> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| *value)
    }

    /// The member `name`; a `null` counts as left out.
    fn given(&self, name: &str) -> Option<&'a RawValue> {
        self.member(name).filter(|value| value.get() != "null")
    }

    fn fault(&mut self, name: &str, detail: impl Into<String>) {
        self.faults.push(Fault::new(below(self.place, name), detail));
    }

    fn require(&mut self, name: &str) {
        if self.given(name).is_none() {
            self.fault(name, "is missing");
        }
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let text = serde_json::from_str(self.given(name)?.get());
        text.map_err(|_| self.fault(name, "must be a string")).ok()
    }

    fn timestamp(&mut self) -> Option<Timestamp> {
        let parsed = self.text("timestamp")?.parse::<Timestamp>();
        parsed.map_err(|error| self.fault("timestamp", error.to_string())).ok()
    }

    fn metadata(&mut self) -> Map<String, Value> {
        let Some(json) = self.given("metadata") else { return Map::new() };
        if json.get().len() > SPACIOUS_METADATA {
            self.fault("metadata", "must be 16 KiB at most");
            return Map::new();
        }
        match strict(json.get(), &below(self.place, "metadata"), self.faults) {
            Ok(Value::Object(metadata)) => return metadata,
            Ok(_) => self.fault("metadata", "must be an object"),
            Err(detail) => self.fault("metadata", detail),
        }
        Map::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn one(body: &str) -> (Bytes, Event) {
        let body = Bytes::from(body.to_owned());
        match read(&body, Timestamp::default()).unwrap() {
            Published::One(event) => (body, event),
            Published::Several(_) => panic!("several"),
        }
    }

    #[test]
    fn a_single_events_data_is_not_copied_when_it_is_most_of_the_body() {
        let (body, event) = one(r#"{"topic": "a", "data": {"x": [1, 2, 3, 4, 5, 6, 7]}}"#);
        assert!(body.as_ptr_range().contains(&event.data.as_ptr()));
        assert_eq!(&event.data[..], br#"{"x": [1, 2, 3, 4, 5, 6, 7]}"#);
    }

    #[test]
    fn small_data_does_not_hold_a_large_body() {
        for body in [
            r#"{"topic": "a", "data": 1}"#.to_owned() + &" ".repeat(1 << 20),
            format!("{{\"topic\": \"a\",{}\"data\": 1}}", " ".repeat(99)),
        ] {
            let (body, event) = one(&body);
            assert!(!body.as_ptr_range().contains(&event.data.as_ptr()));
            assert_eq!(&event.data[..], b"1");
        }
    }

    #[test]
    fn null_is_data_and_leaves_out_all_else() {
        let (_, event) = one(r#"{"topic": "a", "data": null, "key": null, "timestamp": null, "metadata": null}"#);
        assert_eq!(event, Event::from_json("a", "null"));
    }

    #[test]
    fn names_may_be_written_with_escapes() {
        let (_, event) = one(r#"{"t\u006fpic": "a\u002eb", "data": 1}"#);
        assert_eq!(event.topic, "a.b");
    }

    /// JSON as somebody may write it: any order, spacing and spelling of numbers.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "-?[1-9][0-9]{0,30}(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
            "\"([a-zé\u{1F600} ]|\\\\u00e9|\\\\n|\\\\\"|[{}\\[\\],:])*\"",
            Just("null".to_owned()),
            Just("true".to_owned()),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let space = || "[ \n\t]{0,2}";
            let items = prop::collection::vec((space(), inner.clone()), 0..4);
            let members = prop::collection::vec((space(), "[a-c]{0,2}", inner), 0..4);
            prop_oneof![
                items.prop_map(|items| {
                    let items: Vec<_> = items.into_iter().map(|(space, item)| space + &item).collect();
                    format!("[{} ]", items.join(","))
                }),
                members.prop_map(|members| {
                    let member = |(space, name, value)| format!("{space}\"{name}\"{space}:{value}");
                    format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn data_keeps_its_very_bytes(data in any_json(), space in "[ \n\t]{0,3}") {
            let body = format!("{space}{{\"data\":{space}{data}{space},\"topic\":\"a\"}}{space}");
            let (_, event) = one(&body);
            prop_assert_eq!(&event.data[..], data.as_bytes());
            let array = Bytes::from(format!("{space}[{body},{body}]"));
            let events = read(&array, Timestamp::default()).unwrap();
            prop_assert_eq!(events, Published::Several(vec![event.clone(), event]));
        }

        #[test]
        fn no_body_is_fatal(body in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&Bytes::from(body), Timestamp::default());
        }
    }
}
