//! Objects of several parts.

use std::{collections::HashMap, fmt};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{MAX_BODY_BYTES, TooLong, Writer, Written, push};
use crate::{endpoint::format::Part, event::pointer::quoted};

impl Writer<'_> {
    pub(super) fn merged(&self, parts: &[Part], out: &mut String) -> Written {
        let mut merged = Merged::default();
        for part in parts {
            let Some(json) = self.text(part)? else { continue };
            match members(&json) {
                Some(members) => members.into_iter().try_for_each(|(name, value)| merged.insert(name, value.get()))?,
                None if merged.members.is_empty() => return push(out, &json),
                None => {}
            }
        }
        merged.write(out)
    }
}

/// Members in the order in which their names first came.
#[derive(Default)]
struct Merged {
    members: Vec<(String, String)>,
    places: HashMap<String, usize>,
    bytes: usize,
}

impl Merged {
    fn insert(&mut self, name: String, value: &str) -> Result<(), TooLong> {
        self.bytes += name.len() + value.len();
        match self.places.get(&name).and_then(|place| self.members.get_mut(*place)) {
            Some((_, old)) => {
                self.bytes -= name.len() + old.len();
                value.clone_into(old);
            }
            None => {
                self.places.insert(name.clone(), self.members.len());
                self.members.push((name, value.to_owned()));
            }
        }
        if self.bytes > MAX_BODY_BYTES { Err(TooLong) } else { Ok(()) }
    }

    fn write(&self, out: &mut String) -> Written {
        if self.members.is_empty() {
            return Ok(false);
        }
        for (n, (name, value)) in self.members.iter().enumerate() {
            push(out, if n == 0 { "{" } else { "," })?;
            push(out, &quoted(name))?;
            push(out, ":")?;
            push(out, value)?;
        }
        push(out, "}")
    }
}

/// The members of a JSON object in their order, `None` for anything else.
pub(super) fn members(json: &str) -> Option<Vec<(String, &RawValue)>> {
    struct Collect;
    impl<'de> Visitor<'de> for Collect {
        type Value = Vec<(String, &'de RawValue)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    serde_json::Deserializer::from_str(json).deserialize_map(Collect).ok()
}
