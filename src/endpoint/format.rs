//! How an event is written into a request: the `format` setting.

mod read;
#[cfg(test)]
pub(super) mod tests;
mod write;

use std::{fmt, str::FromStr};

use serde_json::Value;

use crate::event::{NameError, pointer::Pointer};

/// What a request carries of an event. Whole copies of `data` are the very bytes that were published.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Format {
    /// The body of [Standard Webhooks](https://www.standardwebhooks.com): `{"type", "timestamp", "data"}`.
    #[default]
    Standard,
    /// The data alone.
    Raw,
    /// Every field of the event in one JSON object; without `seq` for an endpoint of one tenant.
    Envelope,
    /// [CloudEvents 1.0](https://github.com/cloudevents/spec), structured mode in JSON.
    CloudEvents,
    /// CloudEvents 1.0, binary mode of the HTTP binding: attributes in `ce-*` headers, the data as the body.
    CloudEventsBinary,
    /// A body of the endpoint's own. Its outermost part is [`Part::Object`] or [`Part::Merge`].
    Map(Box<Part>),
}

/// Most pointers in a map.
pub const MAX_POINTERS: usize = 64;
/// Longest map, in bytes of JSON.
pub const MAX_MAP_BYTES: usize = 16 << 10;
/// Deepest nesting of arrays and objects in a map.
pub const MAX_MAP_DEPTH: usize = 16;

/// A part of the JSON that a map writes. A part may come out empty; then its member of an object, or its item of an array,
/// is left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Written as it is. Never empty.
    Literal(Value),
    /// An object with these members, in this order. Never empty, not even without members.
    Object(Vec<(String, Part)>),
    /// An array of these items. Never empty.
    Array(Vec<Part>),
    /// Something of the event. Empty when nothing is there, `null`, or `""`.
    Lookup(Box<Lookup>),
    /// The members of all parts that are objects in one object; of members with the same name the last one's value, in the
    /// place of the first. When the first part that is not empty is something else than an object, it is the result.
    /// Empty when there are no members.
    Merge(Vec<Part>),
    /// The texts of all parts in one string. Empty when one of them is empty, or has no text as arrays and objects have none.
    Concat(Vec<Part>),
}

/// Where a value comes from, and how it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Lookup {
    /// Where it is.
    pub from: Place,
    /// What it is read as; what cannot be read so is empty.
    pub read_as: Option<ReadAs>,
    /// Whether its text is percent-encoded, as a segment of a URL's path: all bytes but `A-Z a-z 0-9 - . _ ~`.
    /// Whatever has no text (arrays, objects) is then empty.
    pub percent: bool,
    /// Put in front of the name of each of its members. What is no object is then empty.
    pub name_prefix: Option<String>,
    /// Written when it is empty.
    pub default: Option<Part>,
}

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the event.
    Event(Pointer),
    /// In the endpoint's own metadata: `/endpoint/metadata` and below. Holds what follows, a JSON Pointer.
    Endpoint(String),
}

/// What a value is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAs {
    /// A number, also from a string that spells one in JSON.
    Number,
    /// A moment, from a string as RFC 3339 has it, as whole seconds since the Unix epoch. Numbers stay as they are.
    Seconds,
    /// A moment, from a number of seconds since the Unix epoch, as RFC 3339 in UTC. Such strings stay as they are.
    Rfc3339,
}

const ENDPOINT: &str = "/endpoint/metadata";

impl FromStr for Place {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.strip_prefix(ENDPOINT).filter(|rest| rest.is_empty() || rest.starts_with('/')) {
            // The rules for what is below are those for an event's metadata.
            Some(rest) => format!("/metadata{rest}").parse::<Pointer>().map(|_| Self::Endpoint(rest.to_owned())),
            None => text.parse().map(Self::Event),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(pointer) => pointer.fmt(f),
            Self::Endpoint(rest) => write!(f, "{ENDPOINT}{rest}"),
        }
    }
}

impl Part {
    /// How many pointers it holds, at any depth.
    pub fn pointers(&self) -> usize {
        match self {
            Self::Literal(_) => 0,
            Self::Object(members) => members.iter().map(|(_, part)| part.pointers()).sum(),
            Self::Array(parts) | Self::Merge(parts) | Self::Concat(parts) => parts.iter().map(Self::pointers).sum(),
            Self::Lookup(lookup) => 1 + lookup.default.as_ref().map_or(0, Self::pointers),
        }
    }
}
