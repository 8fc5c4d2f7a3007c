//! What is published: events, their topics, and who they are for.

mod data;
mod enrich;
pub mod pointer;
mod random;
pub mod redact;

use std::{fmt, str::FromStr, sync::Arc};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    clock::Timestamp,
    error::{Fault, Invalid},
};
pub(crate) use data::{Data, depth};

/// Longest event data, in bytes.
pub const MAX_DATA_BYTES: usize = 1 << 20;
/// Deepest nesting of arrays and objects in event data.
pub const MAX_DATA_DEPTH: usize = 64;
/// Longest topic and ordering key, in bytes.
pub const MAX_NAME_BYTES: usize = 256;
/// Longest metadata, in bytes of JSON.
pub const MAX_METADATA_BYTES: usize = 16 << 10;

/// A text that breaks the rule of the name it was meant for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(pub(crate) &'static str);

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $check:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize)]
        #[serde(transparent)]
        pub struct $name(::std::sync::Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::event::NameError;

            fn from_str(text: &str) -> Result<Self, $crate::event::NameError> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err($crate::event::NameError($rule)) }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}
pub(crate) use name;

/// `[A-Za-z0-9_-]{1,64}`: what may name an event, an endpoint or a tenant.
pub(crate) fn is_identifier(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(is_word)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

fn is_topic(text: &str) -> bool {
    text.len() <= MAX_NAME_BYTES && text.split('.').all(|part| !part.is_empty() && part.bytes().all(is_word))
}

name!(
    /// The receiver's idempotency key: the same on every attempt and replay of an event.
    EventId, is_identifier, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);
name!(
    /// What an event is about: words of `A-Za-z0-9_-` joined by dots, such as `audit.entry`.
    Topic, is_topic, "must be words of A-Z a-z 0-9 _ - joined by dots, 256 bytes at most"
);
name!(
    /// Whom an event belongs to, where several customers share one Hookmill.
    Tenant, is_identifier, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);

impl EventId {
    /// A new id: `evt_` and a UUID of version 7, so that ids made later sort later.
    pub fn generate(now: Timestamp) -> Self {
        Self(new_id("evt", now).into())
    }
}

/// `prefix_` and a UUID version 7 (RFC 9562) of `now`.
pub(crate) fn new_id(prefix: &str, now: Timestamp) -> String {
    let millis = u64::try_from(now.as_millis()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random::bytes()).into_uuid();
    format!("{prefix}_{}", id.simple())
}

/// Topics that Hookmill raises itself; nobody else may publish below it.
const RESERVED: &str = "hookmill.";

impl Topic {
    /// Whether it is one of those that Hookmill raises itself.
    pub fn is_reserved(&self) -> bool {
        self.as_str().starts_with(RESERVED)
    }

    /// Whether it is for a step of a chain alone.
    pub fn is_of_chain(&self) -> bool {
        self.as_str().strip_prefix(RESERVED).is_some_and(|own| own.starts_with("chain."))
    }
}

/// Which topics: `*` all, `a.*` everything below `a.`, else exactly one. Other wildcards are refused.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TopicPattern {
    /// `*`: every topic that users publish.
    All,
    /// `a.*`: everything below; the prefix is kept with its dot.
    Below(Arc<str>),
    /// One topic.
    Exact(Topic),
}

impl TopicPattern {
    /// Whether `topic` is one of these.
    pub fn matches(&self, topic: &Topic) -> bool {
        match self {
            Self::All => !topic.is_reserved(),
            Self::Below(prefix) => topic.as_str().starts_with(prefix.as_ref()),
            Self::Exact(exact) => exact == topic,
        }
    }
}

impl TopicPattern {
    /// Whether it names topics that Hookmill raises itself.
    pub fn names_reserved(&self) -> bool {
        match self {
            Self::All => false,
            Self::Below(prefix) => prefix.starts_with(RESERVED),
            Self::Exact(topic) => topic.is_reserved(),
        }
    }
}

/// What [`TopicPattern`] reads, as a regular expression; longer topics are refused all the same.
pub(crate) const TOPICS: &str = r"^(\*|[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*(\.\*)?)$";

impl FromStr for TopicPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let rule = NameError("must be `*`, a topic, or a topic followed by `.*`; other wildcards are not known");
        match text.strip_suffix(".*") {
            _ if text == "*" => Ok(Self::All),
            Some(prefix) if is_topic(prefix) => Ok(Self::Below(format!("{prefix}.").into())),
            Some(_) => Err(rule),
            None => text.parse().map(Self::Exact).map_err(|_| rule),
        }
    }
}

impl fmt::Display for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Below(prefix) => write!(f, "{prefix}*"),
            Self::Exact(topic) => write!(f, "{topic}"),
        }
    }
}

impl Serialize for TopicPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An event as its publisher makes it.
///
/// ```
/// # use hookmill::Event;
/// let event = Event::new("user.created", &serde_json::json!({"id": 7}))?.id("signup-7").key("user-7");
/// # Ok::<(), hookmill::Invalid>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub(crate) id: Option<String>,
    pub(crate) topic: String,
    pub(crate) tenant: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) data: Data,
    pub(crate) metadata: Map<String, Value>,
}

impl Event {
    /// An event about `topic` with `data`, written as JSON.
    ///
    /// # Errors
    /// When `data` cannot be written as JSON. All other rules are checked when the event is published.
    pub fn new(topic: impl Into<String>, data: &(impl Serialize + ?Sized)) -> Result<Self, Invalid> {
        let data = serde_json::to_vec(data).map_err(|error| Invalid::at("#/data", error.to_string()))?;
        Ok(Self::with(topic, Data::parsed(data.into())))
    }

    /// An event about `topic` with `data` that is JSON already; these very bytes are delivered.
    pub fn from_json(topic: impl Into<String>, data: impl Into<Bytes>) -> Self {
        Self::with(topic, Data::given(data.into()))
    }

    fn with(topic: impl Into<String>, data: Data) -> Self {
        Self {
            id: None,
            topic: topic.into(),
            tenant: None,
            key: None,
            source: None,
            timestamp: None,
            data,
            metadata: Map::new(),
        }
    }

    /// Sets the id. Publishing the same event under the same id again has no second effect.
    #[must_use]
    pub fn id(mut self, id: impl fmt::Display) -> Self {
        self.id = Some(id.to_string());
        self
    }

    /// Sets whom the event belongs to.
    #[must_use]
    pub fn tenant(mut self, tenant: impl fmt::Display) -> Self {
        self.tenant = Some(tenant.to_string());
        self
    }

    /// Sets the ordering key.
    #[must_use]
    pub fn key(mut self, key: impl fmt::Display) -> Self {
        self.key = Some(key.to_string());
        self
    }

    /// Sets the name of the node or program that the event comes from.
    #[must_use]
    pub fn source(mut self, source: impl fmt::Display) -> Self {
        self.source = Some(source.to_string());
        self
    }

    /// Sets when it happened; the time of acceptance otherwise.
    #[must_use]
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// Adds a value to the metadata.
    #[must_use]
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Checks every rule and gives the event its id.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn validate(&self, now: Timestamp) -> Result<ValidEvent, Invalid> {
        self.check(now, false)
    }

    /// The same for an event of Hookmill's own, whose topic is reserved.
    pub(crate) fn validate_own(&self, now: Timestamp) -> Result<ValidEvent, Invalid> {
        self.check(now, true)
    }

    fn check(&self, now: Timestamp, own: bool) -> Result<ValidEvent, Invalid> {
        let mut check = Check(Vec::new());
        let id = self.id.as_deref().and_then(|id| check.parse("#/id", id));
        let topic: Option<Topic> = check.parse("#/topic", &self.topic);
        if self.topic.starts_with(RESERVED) && !own {
            check.fault("#/topic", "topics below `hookmill.` are reserved");
        }
        let tenant = self.tenant.as_deref().and_then(|tenant| check.parse("#/tenant", tenant));
        for (pointer, name) in [("#/key", &self.key), ("#/source", &self.source)] {
            if name.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME_BYTES) {
                check.fault(pointer, "must be 1 to 256 bytes");
            }
        }
        if let Err(detail) = self.data.check() {
            check.fault("#/data", detail);
        }
        let metadata: Option<Arc<str>> =
            (!self.metadata.is_empty()).then(|| serde_json::to_string(&self.metadata).unwrap_or_default().into());
        if metadata.as_ref().is_some_and(|metadata| metadata.len() > MAX_METADATA_BYTES) {
            check.fault("#/metadata", "must be 16 KiB at most");
        }
        Invalid::unless_empty(check.0)?;
        let topic = topic.ok_or_else(|| Invalid::at("#/topic", "is missing"))?;
        Ok(ValidEvent {
            generated: id.is_none(),
            id: id.unwrap_or_else(|| EventId::generate(now)),
            topic,
            tenant,
            key: self.key.as_deref().map(Into::into),
            source: self.source.as_deref().map(Into::into),
            timestamp: self.timestamp.unwrap_or(now),
            data: Bytes::clone(&self.data),
            metadata,
        })
    }
}

/// Checks the rules of event data.
///
/// # Errors
/// What is wrong, with its place in the data.
pub(crate) fn expect_data(data: &[u8]) -> Result<(), Invalid> {
    data::check(data).map_err(|detail| Invalid::at("#", detail))
}

struct Check(Vec<Fault>);

impl Check {
    fn fault(&mut self, pointer: &str, detail: impl Into<String>) {
        self.0.push(Fault::new(pointer, detail));
    }

    fn parse<T: FromStr<Err = NameError>>(&mut self, pointer: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error: NameError| self.fault(pointer, error.to_string())).ok()
    }
}

/// An event that keeps every rule and has its id: ready to be accepted.
#[derive(Clone, Debug)]
pub struct ValidEvent {
    pub(crate) id: EventId,
    /// The id is our own, so no other event can have it.
    pub(crate) generated: bool,
    pub(crate) topic: Topic,
    pub(crate) tenant: Option<Tenant>,
    pub(crate) key: Option<Arc<str>>,
    pub(crate) source: Option<Arc<str>>,
    pub(crate) timestamp: Timestamp,
    pub(crate) data: Bytes,
    /// A JSON object, `None` when empty.
    pub(crate) metadata: Option<Arc<str>>,
}

impl ValidEvent {
    /// Bytes this event takes while it waits, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.data.len() + self.metadata.as_ref().map_or(0, |metadata| metadata.len()) + 256
    }
}

/// An event that has been accepted: it is in the store and has its place in the order of all events.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Accepted {
    /// Its place among all accepted events: from 1, without gaps.
    pub seq: u64,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// Its id.
    pub id: EventId,
    /// What it is about.
    pub topic: Topic,
    /// Whom it belongs to.
    pub tenant: Option<Tenant>,
    /// Its ordering key.
    pub key: Option<Arc<str>>,
    /// Where it comes from.
    pub source: Option<Arc<str>>,
    /// When it happened.
    pub timestamp: Timestamp,
    /// The JSON that was published, byte for byte.
    pub data: Bytes,
    /// A JSON object, `None` when empty.
    pub metadata: Option<Arc<str>>,
    /// How many events of its debounce key did not pass since the last one that did.
    pub suppressed: u64,
}

impl Accepted {
    pub(crate) fn new(seq: u64, accepted_at: Timestamp, event: ValidEvent) -> Self {
        let ValidEvent { id, topic, tenant, key, source, timestamp, data, metadata, generated: _ } = event;
        Self { seq, accepted_at, id, topic, tenant, key, source, timestamp, data, metadata, suppressed: 0 }
    }

    /// Bytes this event takes in memory, roughly.
    pub(crate) fn weight(&self) -> usize {
        self.data.len() + self.metadata.as_ref().map_or(0, |metadata| metadata.len()) + 256
    }
}

#[cfg(test)]
mod tests;
