//! JSON as it came in: strict where `serde_json` is lenient.
//!
//! A name given twice is a mistake, not the last one wins, and every such mistake is named with its place.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, value::RawValue};

use super::problem::Problem;
use crate::{
    config::fields::MAX_FAULTS,
    error::{Fault, Invalid},
    event::depth,
};

/// Deepest nesting of anything but event data, which has its own bound.
const MAX_DEPTH: usize = 64;

/// The text of a body.
pub(super) fn text(body: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body)
        .map_err(|error| Problem::malformed("#", format!("is not UTF-8: byte {} is wrong", error.valid_up_to())))
}

/// Reads a whole body as one value.
///
/// # Errors
/// A problem: malformed, or names given twice.
pub(super) fn value(body: &[u8]) -> Result<Value, Problem> {
    let mut faults = Vec::new();
    let value = strict(text(body)?, "#", &mut faults).map_err(|detail| Problem::malformed("#", detail))?;
    Invalid::unless_empty(faults)?;
    Ok(value)
}

/// Reads JSON at `place`; names given twice go to `faults`.
///
/// # Errors
/// What is wrong with the syntax.
pub(super) fn strict(json: &str, place: &str, faults: &mut Vec<Fault>) -> Result<Value, String> {
    if depth(json.as_bytes()) > MAX_DEPTH {
        return Err(format!("is nested deeper than {MAX_DEPTH} levels"));
    }
    let found = RefCell::new(std::mem::take(faults));
    let mut reader = serde_json::Deserializer::from_str(json);
    let value = Strict { place, faults: &found }.deserialize(&mut reader);
    let value = value.and_then(|value| reader.end().map(|()| value));
    *faults = found.into_inner();
    value.map_err(|error| format!("is not JSON: {error}"))
}

pub(super) use crate::config::fields::below;

/// Most events in one array.
pub(super) const MAX_EVENTS: usize = 10_000;
/// Members kept of an object: far more than any has that is not refused.
const MAX_MEMBERS: usize = 256;

/// The items of a JSON array, unread; kept are no more than an array may have.
#[derive(Debug, Default)]
pub(super) struct Items<'a> {
    pub(super) first: Vec<&'a RawValue>,
    pub(super) count: usize,
}

impl<'a> serde::Deserialize<'a> for Items<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'a> Visitor<'a> for Collect {
            type Value = Items<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Items<'a>, A::Error> {
                let mut items = Items::default();
                while let Some(item) = seq.next_element()? {
                    items.count += 1;
                    if items.count <= MAX_EVENTS {
                        items.first.push(item);
                    }
                }
                Ok(items)
            }
        }
        deserializer.deserialize_seq(Collect)
    }
}

/// The members of a JSON object, unread, in their order.
#[derive(Debug)]
pub(super) struct Members<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'a> serde::Deserialize<'a> for Members<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'a> Visitor<'a> for Collect {
            type Value = Members<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Members<'a>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() < MAX_MEMBERS {
                        members.push(member);
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

struct Strict<'a> {
    place: &'a str,
    faults: &'a RefCell<Vec<Fault>>,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            let place = format!("{}/{}", self.place, items.len());
            let Some(item) = seq.next_element_seed(Strict { place: &place, faults: self.faults })? else { break };
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let place = below(self.place, &name);
            let value = map.next_value_seed(Strict { place: &place, faults: self.faults })?;
            if members.insert(name, value).is_some() && self.faults.borrow().len() < MAX_FAULTS {
                self.faults.borrow_mut().push(Fault::new(place, "is given twice"));
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_given_twice_are_named_with_their_places() {
        let mut faults = Vec::new();
        let value = strict(r#"{"a": [{"b/c": 1, "b/c": 2}], "a": 3}"#, "#", &mut faults);
        assert_eq!(value, Ok(serde_json::json!({"a": 3})));
        let places: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(places, ["#/a/0/b~1c", "#/a"]);
    }

    #[test]
    fn it_reads_what_serde_json_reads() {
        for json in ["null", "[1, -2, 0.5, 1e300, true, \"x\\u00e9\"]", "{\"a\": {}}", "18446744073709551615"] {
            let mut faults = Vec::new();
            assert_eq!(strict(json, "#", &mut faults), Ok(serde_json::from_str(json).unwrap()));
        }
        for json in ["", "{", "[1,]", "1 2", "nul", "\"\u{1}\""] {
            assert!(strict(json, "#", &mut Vec::new()).is_err(), "{json}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(strict(&nested(MAX_DEPTH), "#", &mut Vec::new()).is_ok());
        assert!(strict(&nested(100_000), "#", &mut Vec::new()).is_err());
    }
}
