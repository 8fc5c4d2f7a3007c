//! JSON Pointers (RFC 6901) into events, and what they point at.

use std::{borrow::Cow, cell::OnceCell, collections::BTreeMap, fmt, str::FromStr};

use serde_json::{Value, value::RawValue};

use super::{Accepted, NameError};

/// Longest pointer, in bytes.
pub const MAX_POINTER_BYTES: usize = 256;

/// A place in an event: `/id`, `/seq`, `/topic`, `/tenant`, `/key`, `/source`, `/timestamp`, `/accepted_at`,
/// `/suppressed` (how many of its debounce key did not pass before it; nothing is there when that is 0), or `/data` and
/// `/metadata` with what is below them. What is sent to an endpoint of one tenant has nothing at `/seq`, which counts the events
/// of all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer {
    root: Root,
    /// Unescaped.
    steps: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Root {
    Id,
    Seq,
    Topic,
    Tenant,
    Key,
    Source,
    Timestamp,
    AcceptedAt,
    Suppressed,
    Data,
    Metadata,
}

const ROOTS: [(&str, Root); 11] = [
    ("id", Root::Id),
    ("seq", Root::Seq),
    ("topic", Root::Topic),
    ("tenant", Root::Tenant),
    ("key", Root::Key),
    ("source", Root::Source),
    ("timestamp", Root::Timestamp),
    ("accepted_at", Root::AcceptedAt),
    ("suppressed", Root::Suppressed),
    ("data", Root::Data),
    ("metadata", Root::Metadata),
];

impl FromStr for Pointer {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_POINTER_BYTES {
            return Err(NameError("must be 256 bytes at most"));
        }
        let rule = NameError(
            "must be a JSON Pointer to /id, /seq, /topic, /tenant, /key, /source, /timestamp, /accepted_at, /suppressed, or \
             below /data or /metadata",
        );
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

/// Answers pointers into one event. Whatever the number of pointers, each level of the data is read at most once, and only
/// when the first pointer goes below it.
pub struct View<'a> {
    event: &'a Accepted,
    seq: Option<u64>,
    data: OnceCell<Node<'a>>,
    metadata: OnceCell<Node<'a>>,
}

impl<'a> View<'a> {
    /// A view of `event`; reads nothing yet.
    pub fn of(event: &'a Accepted) -> Self {
        Self { event, seq: Some(event.seq), data: OnceCell::new(), metadata: OnceCell::new() }
    }

    /// The same for a reader who is told no seq: nothing is at `/seq`.
    pub fn without_seq(event: &'a Accepted) -> Self {
        Self { seq: None, ..Self::of(event) }
    }

    /// What `pointer` points at, as compact JSON with sorted names; `None` when nothing is there. Numbers keep their
    /// spelling, so that two numbers too long for 64 bits stay two.
    pub fn json(&self, pointer: &Pointer) -> Option<String> {
        match self.node(pointer) {
            Some(node) => node.map(Node::compact),
            None => self.field(pointer.root),
        }
    }

    /// What `pointer` points at, as the very bytes that were published; `None` when nothing is there.
    pub fn raw(&self, pointer: &Pointer) -> Option<Cow<'a, str>> {
        match self.node(pointer) {
            Some(node) => node.map(|node| Cow::Borrowed(node.json)),
            None => self.field(pointer.root).map(Cow::Owned),
        }
    }

    /// The outer `None` is for what has no members.
    fn node(&self, pointer: &Pointer) -> Option<Option<&Node<'a>>> {
        let (outermost, json) = match pointer.root {
            Root::Data => (&self.data, &self.event.data[..]),
            Root::Metadata => (&self.metadata, self.event.metadata.as_deref().map_or(&b""[..], str::as_bytes)),
            _ => return None,
        };
        if json.is_empty() {
            return Some(None);
        }
        let outermost = outermost.get_or_init(|| Node::of(std::str::from_utf8(json).unwrap_or("null")));
        Some(pointer.steps.iter().try_fold(outermost, |node, step| node.get(step)))
    }

    fn field(&self, root: Root) -> Option<String> {
        let event = self.event;
        match root {
            Root::Id => Some(quoted(event.id.as_str())),
            Root::Seq => self.seq.map(|seq| seq.to_string()),
            Root::Topic => Some(quoted(event.topic.as_str())),
            Root::Tenant => event.tenant.as_ref().map(|tenant| quoted(tenant.as_str())),
            Root::Key => event.key.as_deref().map(quoted),
            Root::Source => event.source.as_deref().map(quoted),
            Root::Timestamp => Some(quoted(&event.timestamp.to_string())),
            Root::AcceptedAt => Some(quoted(&event.accepted_at.to_string())),
            Root::Suppressed => (event.suppressed > 0).then(|| event.suppressed.to_string()),
            Root::Data | Root::Metadata => None,
        }
    }
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A JSON text and, once it was asked for, what is one level below it.
struct Node<'a> {
    json: &'a str,
    level: OnceCell<Level<'a>>,
}

enum Level<'a> {
    Object(BTreeMap<String, Node<'a>>),
    Array(Vec<Node<'a>>),
    /// A string, a number, `true`, `false` or `null`.
    Leaf,
}

impl<'a> Node<'a> {
    /// `json` is what the event's rules have found to be JSON.
    fn of(json: &'a str) -> Self {
        Self { json: json.trim_ascii(), level: OnceCell::new() }
    }

    fn level(&self) -> &Level<'a> {
        self.level.get_or_init(|| Level::of(self.json))
    }

    fn get(&self, step: &str) -> Option<&Self> {
        match self.level() {
            Level::Object(members) => members.get(step),
            Level::Array(items) => items.get(index(step)?),
            Level::Leaf => None,
        }
    }

    fn compact(&self) -> String {
        match self.level() {
            Level::Object(members) => {
                let members = members.iter().map(|(name, node)| format!("{}:{}", quoted(name), node.compact()));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }
            Level::Array(items) => format!("[{}]", items.iter().map(Self::compact).collect::<Vec<_>>().join(",")),
            Level::Leaf => {
                serde_json::from_str(self.json).map_or_else(|_| self.json.to_owned(), |text: String| quoted(&text))
            }
        }
    }
}

impl<'a> Level<'a> {
    fn of(json: &'a str) -> Self {
        #[cfg(test)]
        reads::count();
        let read = match json.as_bytes().first() {
            Some(b'{') => serde_json::from_str(json).map(|members: BTreeMap<String, &'a RawValue>| {
                Self::Object(members.into_iter().map(|(name, raw)| (name, Node::of(raw.get()))).collect())
            }),
            Some(b'[') => serde_json::from_str(json).map(|items: Vec<&'a RawValue>| {
                Self::Array(items.into_iter().map(|raw| Node::of(raw.get())).collect())
            }),
            _ => Ok(Self::Leaf),
        };
        read.unwrap_or(Self::Leaf)
    }
}

/// Counts how many levels were read, for tests that hold views to their promise.
#[cfg(test)]
pub(crate) mod reads {
    use std::cell::Cell;

    thread_local! {
        static READS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count() {
        READS.set(READS.get() + 1);
    }

    /// Levels that `work` reads on this thread.
    pub(crate) fn during(work: impl FnOnce()) -> usize {
        let before = READS.get();
        work();
        READS.get() - before
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
    fn raw_is_what_was_published() {
        let event = accepted(r#" { "b" : [ 1.0 , 1e2 ], "a" : "\u0078" } "#);
        let raw = |pointer: &str| View::of(&event).raw(&pointer.parse().unwrap()).map(Cow::into_owned);
        assert_eq!(raw("/data").unwrap(), r#"{ "b" : [ 1.0 , 1e2 ], "a" : "\u0078" }"#);
        assert_eq!(raw("/data/b").unwrap(), "[ 1.0 , 1e2 ]");
        assert_eq!(raw("/data/a").unwrap(), r#""\u0078""#);
        let found = ["/seq", "/timestamp", "/accepted_at", "/key", "/metadata/x"].map(raw);
        let epoch = Some("\"1970-01-01T00:00:00.000Z\"");
        assert_eq!(found.each_ref().map(Option::as_deref), [Some("1"), epoch, epoch, None, None]);
    }

    #[test]
    fn each_level_is_read_once_however_many_pointers_go_there() {
        let event = accepted(r#"{"a": {"b": 1, "c": 2}, "d": {}}"#);
        let view = View::of(&event);
        let pointers = ["/data/a/b", "/data/a/c", "/data/x", "/id"].map(|pointer| pointer.parse().unwrap());
        assert_eq!(reads::during(|| pointers.iter().for_each(|pointer| drop(view.raw(pointer)))), 2);
        assert_eq!(reads::during(|| pointers.iter().for_each(|pointer| drop(view.raw(pointer)))), 0);
    }

    #[test]
    fn other_pointers_are_refused() {
        for text in
            ["", "/", "data", "#/data", "/sequence", "/seq/0", "/topic/x", "/data/~", "/data/~2", "/Data", "/data~1x"]
        {
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
