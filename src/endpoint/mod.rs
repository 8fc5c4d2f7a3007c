//! What a user configures to be delivered to, validated.

mod builder;
pub mod debounce;
pub mod filter;
pub mod format;
mod keypair;
pub mod policy;
mod preset;
pub mod queue;
mod secret;
pub mod settings;
mod signing;
pub mod target;

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::{
    clock::Timestamp,
    event::{Accepted, MAX_NAME_BYTES, Tenant, Topic, TopicPattern, is_identifier, name, pointer::View},
};
pub use builder::EndpointBuilder;
use debounce::DebouncePolicy;
use filter::Filter;
use format::Format;
pub use keypair::{PrivateKey, PublicKey};
use policy::{DeadLetters, Guard, Policy};
pub use preset::Preset;
pub use secret::Secret;
pub use settings::Origin;
pub(crate) use signing::RotationError;
pub use signing::{
    Encoding, HeaderPrefix, Hmac, Key, Scheme, SecretRotation, Signing, SigningKey, Standard, TextSecret,
};
pub use target::{FilePath, LogFile, MAX_PATH_BYTES, Rotation, Target};

name!(
    /// Names an endpoint: `ep_…`, or its owner's own name; `chain.<event>.<step>` for a step of a chain.
    EndpointId, is_endpoint_id, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);

/// What the ids of chains' endpoints begin with. No other id holds a dot, so that nobody else's can be one of theirs.
const OF_CHAINS: &str = "chain.";
/// What the topics of Hookmill's own begin with.
const OWN_TOPICS: &str = "hookmill.";

fn is_endpoint_id(text: &str) -> bool {
    let of_chain = |names: &str| text.len() + OWN_TOPICS.len() <= MAX_NAME_BYTES && names.split('.').all(is_words);
    is_identifier(text)
        || text.strip_prefix(OF_CHAINS).is_some_and(|names| of_chain(names) && names.matches('.').count() == 1)
}

fn is_words(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

impl EndpointId {
    /// Whether it names a step of a chain.
    pub fn is_of_chain(&self) -> bool {
        self.as_str().starts_with(OF_CHAINS)
    }

    /// The topic whose events reach this endpoint and no other, whatever others subscribe to; nobody but Hookmill can publish
    /// it. Only endpoints of chains have one.
    pub fn own_topic(&self) -> Option<Topic> {
        self.is_of_chain().then(|| format!("{OWN_TOPICS}{self}").parse().ok()).flatten()
    }

    /// Whether an event of `topic` may reach this endpoint: always, unless the topic is another endpoint's own.
    pub fn may_get(&self, topic: &Topic) -> bool {
        let owner = topic.as_str().strip_prefix(OWN_TOPICS).filter(|id| id.starts_with(OF_CHAINS));
        owner.is_none_or(|owner| owner == self.as_str())
    }
}

/// An endpoint's number in the store: never given twice, so that an id that is used again after a deletion is another
/// endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointKey(pub i64);

/// Whether an endpoint takes events, and what becomes of them if not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// Events are delivered.
    #[default]
    Active,
    /// Events are held until it is resumed.
    Paused,
    /// Events are dropped, counted with the reason `endpoint_disabled`.
    Disabled,
}

/// Whose events an endpoint gets. An endpoint of one tenant stays that tenant's, and no other becomes a tenant's: what it holds
/// and what came of it would go with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TenantScope {
    /// Events without a tenant.
    #[default]
    None,
    /// Events of this tenant.
    Of(Tenant),
    /// Every event, whatever its tenant.
    Every,
}

impl TenantScope {
    /// Whether it is this tenant's alone.
    pub fn is_of(&self, tenant: &Tenant) -> bool {
        matches!(self, Self::Of(own) if own == tenant)
    }

    /// Whether an endpoint with this scope may get the other one. What it holds, and what came of it, is its tenant's: it never
    /// becomes another's, nor anybody's who has no tenant, and what is nobody's never becomes a tenant's.
    pub(crate) fn may_become(&self, new: &Self) -> bool {
        let is_whose = |scope| matches!(scope, &Self::Of(_));
        self == new || !is_whose(self) && !is_whose(new)
    }

    /// The one tenant whose an endpoint with these settings, as they are stored, is.
    pub(crate) fn tenant_of_settings(settings: &str) -> Option<Tenant> {
        let settings: Value = serde_json::from_str(settings).ok()?;
        settings.get("tenant")?.as_str()?.parse().ok()
    }
}

/// As settings say it.
impl fmt::Display for TenantScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("null"),
            Self::Of(tenant) => write!(f, "`{tenant}`"),
            Self::Every => f.write_str("`*`"),
        }
    }
}

/// Credentials sent with each request.
#[derive(Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer …`
    Bearer(String),
    /// `Authorization: Basic …`
    Basic {
        /// The user's name, without a colon.
        user: String,
        /// The password.
        password: String,
    },
    /// `Authorization:` and this, verbatim.
    Verbatim(String),
}

impl Drop for Auth {
    fn drop(&mut self) {
        match self {
            Self::Bearer(secret) | Self::Verbatim(secret) | Self::Basic { password: secret, .. } => secret.zeroize(),
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(***)",
            Self::Basic { .. } => "Basic(***)",
            Self::Verbatim(_) => "Verbatim(***)",
        })
    }
}

/// Everything a user can say about an endpoint.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// A name for people.
    pub name: Option<String>,
    /// The preset that it was made from; what it said is in the other settings.
    pub preset: Option<Preset>,
    /// Whose events.
    pub tenant: TenantScope,
    /// Where to.
    pub target: Target,
    /// Which events; never empty.
    pub topics: Vec<TopicPattern>,
    /// Which of these events; all of them without.
    pub filter: Option<Filter>,
    /// Whether it takes events.
    pub state: State,
    /// What requests carry of an event.
    pub format: Format,
    /// The request method: POST, PUT or PATCH.
    pub method: String,
    /// Extra headers: lower-case names and values.
    pub headers: Vec<(String, String)>,
    /// Notes of the owner; not delivered unless the format asks for them.
    pub metadata: Map<String, Value>,
    /// Credentials.
    pub auth: Option<Auth>,
    /// Signatures.
    pub signing: Signing,
    /// Which addresses may be reached.
    pub guard: Guard,
    /// How deliveries behave.
    pub policy: Arc<Policy>,
    /// How many dead letters are kept.
    pub dead_letters: DeadLetters,
    /// Which repeats are left out for this endpoint alone; none without.
    pub debounce: Option<Box<DebouncePolicy>>,
}

/// Of headers their names alone: values may be secrets.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, preset, tenant, target, topics, filter, state, format, .. } = self;
        let Self { method, headers, metadata, auth, signing, guard, policy, dead_letters, debounce, .. } = self;
        let headers: Vec<&str> = headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Settings")
            .field("name", name)
            .field("preset", preset)
            .field("tenant", tenant)
            .field("target", &target.to_string())
            .field("topics", topics)
            .field("filter", filter)
            .field("state", state)
            .field("format", format)
            .field("method", method)
            .field("headers", &headers)
            .field("metadata", metadata)
            .field("auth", auth)
            .field("signing", signing)
            .field("guard", guard)
            .field("policy", policy)
            .field("dead_letters", dead_letters)
            .field("debounce", debounce)
            .finish()
    }
}

/// An endpoint as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Endpoint {
    /// Its number in the store.
    pub key: EndpointKey,
    /// Its id.
    pub id: EndpointId,
    /// What its user says about it.
    pub settings: Settings,
    /// Counts its changes, from 1: the `ETag`.
    pub version: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Since when it is in its state.
    pub state_since: Timestamp,
    /// Why, where it was not its user who put it there: `gone` (it answered 410), `failing` (for `disable_after`).
    pub state_reason: Option<String>,
}

impl Settings {
    /// Whether `event` is for this endpoint, whatever its state.
    pub fn wants(&self, event: &Accepted) -> bool {
        let tenant = match &self.tenant {
            TenantScope::Every => true,
            TenantScope::Of(tenant) => event.tenant.as_ref() == Some(tenant),
            TenantScope::None => event.tenant.is_none(),
        };
        tenant
            && self.topics.iter().any(|pattern| pattern.matches(&event.topic))
            && self.filter.as_ref().is_none_or(|filter| filter.matches(&View::of(event)))
    }
}
