//! JSON Pointers (RFC 6901) into events, and what they point at.

use std::{cell::OnceCell, collections::BTreeMap, fmt, str::FromStr};

use serde_json::{Value, value::RawValue};

use super::{Accepted, NameError};

/// Longest pointer, in bytes.
pub const MAX_POINTER_BYTES: usize = 256;

/// A place in an event: `/id`, `/topic`, `/tenant`, `/key`, `/source`, or `/data` and `/metadata` with what is below them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    root: Root,
    /// Unescaped.
    steps: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Root {
    Id,
    Topic,
    Tenant,
    Key,
    Source,
    Data,
    Metadata,
}

const ROOTS: [(&str, Root); 7] = [
    ("id", Root::Id),
    ("topic", Root::Topic),
    ("tenant", Root::Tenant),
    ("key", Root::Key),
    ("source", Root::Source),
    ("data", Root::Data),
    ("metadata", Root::Metadata),
];

impl FromStr for Pointer {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_POINTER_BYTES {
            return Err(NameError("must be 256 bytes at most"));
        }
        let rule = NameError("must be a JSON Pointer below /data, /metadata, /topic, /tenant, /key, /source or /id");
        let mut tokens = text.strip_prefix('/').ok_or(rule.clone())?.split('/');
        let first = tokens.next().unwrap_or_default();
        let (_, root) = ROOTS.iter().find(|(name, _)| *name == first).ok_or(rule)?;
        let steps: Option<Vec<String>> = tokens.map(unescape).collect();
        let steps = steps.ok_or(NameError("must write `~` as `~0` and `/` as `~1` in names (RFC 6901)"))?;
        if !steps.is_empty() && !matches!(root, Root::Data | Root::Metadata) {
            return Err(NameError("must end at its first name: only /data and /metadata have members"));
        }
        Ok(Self { root: *root, steps })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = ROOTS.iter().find(|(_, root)| *root == self.root).map_or("", |(name, _)| name);
        write!(f, "/{root}")?;
        self.steps.iter().try_for_each(|step| write!(f, "/{}", step.replace('~', "~0").replace('/', "~1")))
    }
}

fn unescape(token: &str) -> Option<String> {
    let valid = token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    valid.then(|| token.replace("~1", "/").replace("~0", "~"))
}

/// Answers pointers into one event. The data's outermost level is read once, when the first pointer goes below `/data`.
pub struct View<'a> {
    event: &'a Accepted,
    data: OnceCell<Level<'a>>,
    metadata: OnceCell<Level<'a>>,
}

impl<'a> View<'a> {
    /// A view of `event`; reads nothing yet.
    pub fn of(event: &'a Accepted) -> Self {
        Self { event, data: OnceCell::new(), metadata: OnceCell::new() }
    }

    /// What `pointer` points at, as compact JSON with sorted names; `None` when nothing is there. Numbers keep their
    /// spelling, so that two numbers too long for 64 bits stay two.
    pub fn json(&self, pointer: &Pointer) -> Option<String> {
        let event = self.event;
        match pointer.root {
            Root::Id => Some(quoted(event.id.as_str())),
            Root::Topic => Some(quoted(event.topic.as_str())),
            Root::Tenant => event.tenant.as_ref().map(|tenant| quoted(tenant.as_str())),
            Root::Key => event.key.as_deref().map(quoted),
            Root::Source => event.source.as_deref().map(quoted),
            Root::Data => below(&self.data, &event.data, &pointer.steps),
            Root::Metadata => below(&self.metadata, event.metadata.as_ref()?.as_bytes(), &pointer.steps),
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn below<'a>(outermost: &OnceCell<Level<'a>>, json: &'a [u8], steps: &[String]) -> Option<String> {
    let outermost = outermost.get_or_init(|| Level::of(json));
    let Some((first, rest)) = steps.split_first() else { return Some(outermost.compact()) };
    let start = outermost.get(first)?;
    let found = rest.iter().try_fold(start, |raw, step| Level::of(raw.get().as_bytes()).get(step))?;
    Some(Level::of(found.get().as_bytes()).compact())
}

/// A JSON text, read one level deep.
enum Level<'a> {
    Object(BTreeMap<String, &'a RawValue>),
    Array(Vec<&'a RawValue>),
    Text(String),
    /// A number, `true`, `false` or `null`.
    Plain(&'a str),
}

impl<'a> Level<'a> {
    /// Reads `json`, which the event's rules have found to be JSON.
    fn of(json: &'a [u8]) -> Self {
        let json = json.trim_ascii();
        let read = match json.first() {
            Some(b'{') => serde_json::from_slice(json).map(Self::Object),
            Some(b'[') => serde_json::from_slice(json).map(Self::Array),
            Some(b'"') => serde_json::from_slice(json).map(Self::Text),
            _ => Ok(Self::Plain(std::str::from_utf8(json).unwrap_or("null"))),
        };
        read.unwrap_or(Self::Plain("null"))
    }

    fn get(&self, step: &str) -> Option<&'a RawValue> {
        match self {
            Self::Object(members) => members.get(step).copied(),
            Self::Array(items) => items.get(index(step)?).copied(),
            Self::Text(_) | Self::Plain(_) => None,
        }
    }

    fn compact(&self) -> String {
        let compact = |raw: &RawValue| Level::of(raw.get().as_bytes()).compact();
        match self {
            Self::Object(members) => {
                let members = members.iter().map(|(name, raw)| format!("{}:{}", quoted(name), compact(raw)));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Self::Array(items) => {
                format!("[{}]", items.iter().map(|raw| compact(raw)).collect::<Vec<_>>().join(","))
            }
            Self::Text(text) => quoted(text),
            Self::Plain(text) => (*text).to_owned(),
        }
    }
}

/// An array index as RFC 6901 writes it: digits without a leading zero.
fn index(step: &str) -> Option<usize> {
    let canonical = step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    if canonical { step.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{clock::Timestamp, event::Event};

    fn accepted(data: &str) -> Accepted {
        let event = Event::from_json("a.b", data.to_owned()).id("e1").tenant("acme").metadata("env", "prod");
        Accepted::new(1, Timestamp::default(), event.validate(Timestamp::default()).unwrap())
    }

    fn at(data: &str, pointer: &str) -> Option<String> {
        View::of(&accepted(data)).json(&pointer.parse().unwrap())
    }

    #[test]
    fn pointers_reach_every_part_of_an_event() {
        let found = ["/id", "/topic", "/tenant", "/key", "/source", "/metadata/env", "/metadata"].map(|p| at("1", p));
        let expected = [
            Some("\"e1\""),
            Some("\"a.b\""),
            Some("\"acme\""),
            None,
            None,
            Some("\"prod\""),
            Some("{\"env\":\"prod\"}"),
        ];
        assert_eq!(found.each_ref().map(Option::as_deref), expected);
    }

    #[test]
    fn data_is_walked_by_name_and_index() {
        let data = r#" {"a": [10, {"b/c": "\u0078"}], "": null, "~": 1} "#;
        let cases = [("/data/a/0", "10"), ("/data/a/1/b~1c", "\"x\""), ("/data/", "null"), ("/data/~0", "1")];
        for (pointer, expected) in cases {
            assert_eq!(at(data, pointer).as_deref(), Some(expected), "{pointer}");
        }
        for pointer in ["/data/b", "/data/a/2", "/data/a/00", "/data/a/-", "/data/a/+1", "/data/a/0/x", "/data//x"] {
            assert_eq!(at(data, pointer), None, "{pointer}");
        }
    }

    #[test]
    fn values_are_compact_sorted_and_keep_their_numbers() {
        let data = r#"{ "b" : [ 1.0 , 1e2 ], "a" : 123456789012345678901234567890 }"#;
        assert_eq!(at(data, "/data").unwrap(), r#"{"a":123456789012345678901234567890,"b":[1.0,1e2]}"#);
    }

    #[test]
    fn other_pointers_are_refused() {
        for text in ["", "/", "data", "#/data", "/seq", "/topic/x", "/data/~", "/data/~2", "/Data", "/data~1x"] {
            assert!(text.parse::<Pointer>().is_err(), "{text}");
        }
        assert!(format!("/data/{}", "x".repeat(MAX_POINTER_BYTES)).parse::<Pointer>().is_err());
    }

    proptest! {
        #[test]
        fn a_pointer_prints_as_it_was_written(text in r"/(data|metadata)(/([a-z0-9.é ]|~0|~1){0,5}){0,4}") {
            prop_assert_eq!(text.parse::<Pointer>().unwrap().to_string(), text);
        }

        #[test]
        fn a_member_is_found_whatever_its_name(name in any::<String>().prop_filter("bounded", |n| n.len() < 60)) {
            let data = serde_json::json!({name.clone(): 7}).to_string();
            let pointer = Pointer { root: Root::Data, steps: vec![name] };
            prop_assert_eq!(View::of(&accepted(&data)).json(&pointer).unwrap(), "7");
            prop_assert_eq!(pointer.to_string().parse::<Pointer>().unwrap(), pointer);
        }
    }
}
