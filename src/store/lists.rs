//! The shapes that people and programs look at: events, deliveries, attempts, dead letters.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use bytes::Bytes;
use serde::Serialize;

use super::{DeadLetterSelection, DeliveryId, Peer};
use crate::{
    clock::Timestamp,
    endpoint::{EndpointId, EndpointKey},
    event::{Accepted, EventId, NameError, Tenant, Topic, TopicPattern},
};

/// Where an event stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    /// Accepted, and not judged yet.
    Unrouted,
    /// No endpoint wanted it.
    Unmatched,
    /// A debounce rule suppressed it.
    Suppressed,
    /// A debounce rule holds it until its key is quiet.
    Debouncing,
    /// A later one of the same debounce key replaced it.
    Coalesced,
    /// It went to at least one endpoint.
    Routed,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It waits for an attempt, or one is being made.
    Pending,
    /// The receiver has it.
    Delivered,
    /// It failed for good; it can be replayed.
    DeadLettered,
    /// It was given up for a reason of our own.
    Dropped,
    /// The endpoint's own debounce suppressed it: it is a repeat of one shortly before.
    Suppressed,
}

/// Which events to list. Every condition given must hold.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Topics.
    pub topic: Option<TopicPattern>,
    /// Whose.
    pub tenant: Option<Tenant>,
    /// Where the event stands.
    pub state: Option<EventState>,
    /// At least one delivery stands here.
    pub delivery: Option<DeliveryState>,
    /// What this tenant may see: its events, and of their deliveries those at its endpoints.
    pub within: Option<Tenant>,
    /// Accepted at this moment or later.
    pub since: Option<Timestamp>,
    /// Accepted before this moment.
    pub until: Option<Timestamp>,
    /// Only seqs below this one: the next page.
    pub before: Option<u64>,
    /// At most this many.
    pub limit: usize,
}

/// An event in a list.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// The event.
    pub event: Arc<Accepted>,
    /// Where it stands.
    pub state: EventState,
}

/// An event with its deliveries.
#[derive(Clone, Debug)]
pub struct EventDetail {
    /// The event.
    pub event: Arc<Accepted>,
    /// Where it stands.
    pub state: EventState,
    /// Its deliveries, by endpoint and run.
    pub deliveries: Vec<DeliveryRow>,
}

/// A delivery as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRow {
    /// Its id.
    pub id: DeliveryId,
    /// The endpoint's id.
    pub endpoint: EndpointId,
    /// Whose that endpoint is, if it is one tenant's.
    pub of: Option<Tenant>,
    /// Where it stands.
    pub state: DeliveryState,
    /// Why, if dropped or a dead letter.
    pub reason: Option<String>,
    /// Attempts so far.
    pub attempts: u32,
    /// Not before this, if it waits for a retry.
    pub next_attempt_at: Option<Timestamp>,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// Which deliveries to list.
#[derive(Clone, Debug)]
pub struct DeliveryFilter {
    /// To this endpoint.
    pub endpoint: EndpointKey,
    /// That stand here.
    pub state: Option<DeliveryState>,
    /// What this tenant may see: of its events, as long as the endpoint is its own.
    pub within: Option<Tenant>,
    /// Only those below this (seq, run): the next page.
    pub before: Option<(u64, u32)>,
    /// At most this many.
    pub limit: usize,
}

/// A delivery in a list, with its event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDelivery {
    /// The delivery.
    pub delivery: DeliveryRow,
    /// The event's id, as long as the event is kept.
    pub event: Option<EventId>,
    /// The event's topic, likewise.
    pub topic: Option<Topic>,
    /// When it was made: when its event was accepted, or when a replay was asked for.
    pub created_at: Timestamp,
}

/// An attempt in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// Its delivery.
    pub delivery: DeliveryId,
    /// The endpoint's id.
    pub endpoint: EndpointId,
    /// Whose that endpoint is, if it is one tenant's.
    pub of: Option<Tenant>,
    /// The event's id, as long as the event is kept.
    pub event: Option<EventId>,
    /// Which attempt, from 1.
    pub number: u32,
    /// When it started.
    pub at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// The status of the answer.
    pub status: Option<u16>,
    /// The outcome's class.
    pub outcome: String,
    /// What went wrong.
    pub error: Option<String>,
    /// The beginning of the answer, for failures.
    pub response: Bytes,
    /// Whom it reached.
    pub peer: Option<Peer>,
    /// The batch it was a part of.
    pub batch: Option<InBatch>,
}

impl AttemptRow {
    /// Bytes this attempt takes in memory, roughly.
    #[cfg(feature = "api")]
    pub(crate) fn weight(&self) -> usize {
        self.response.len() + self.error.as_ref().map_or(0, String::len) + 256
    }

    /// Where it is in a list.
    pub const fn place(&self) -> AttemptPlace {
        AttemptPlace { at: self.at, delivery: self.delivery, number: self.number }
    }
}

/// Where an attempt is in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptPlace {
    /// When it started.
    pub at: Timestamp,
    /// Its delivery.
    pub delivery: DeliveryId,
    /// Which attempt of that, from 1.
    pub number: u32,
}

impl fmt::Display for AttemptPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.at.as_millis(), self.number, self.delivery)
    }
}

impl FromStr for AttemptPlace {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parse = || {
            let (at, rest) = text.split_once('.')?;
            let (number, delivery) = rest.split_once('.')?;
            let at = Timestamp::from_millis(at.parse().ok()?);
            Some(Self { at, delivery: delivery.parse().ok()?, number: number.parse().ok()? })
        };
        parse().ok_or(NameError("is not the place of an attempt"))
    }
}

/// Which attempts of an event or an endpoint to list.
#[derive(Clone, Debug)]
pub struct AttemptPage {
    /// What this tenant may see: those of its events at its endpoints.
    pub within: Option<Tenant>,
    /// Only those past this: the next page. The attempt itself need not be there any more.
    pub past: Option<AttemptPlace>,
    /// At most this many.
    pub limit: usize,
}

impl AttemptPage {
    /// The first ones, at most `limit`, of all tenants.
    pub const fn of(limit: usize) -> Self {
        Self { within: None, past: None, limit }
    }
}

/// The batch that an attempt was a part of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InBatch {
    /// The `webhook-id` it went out with.
    pub id: String,
    /// How many deliveries it was for.
    pub size: u32,
}

/// Which dead letters to list.
#[derive(Clone, Debug, Default)]
pub struct DeadLetterFilter {
    /// Which.
    pub selection: DeadLetterSelection,
    /// Those that have been replayed, instead of those that have not.
    pub replayed: bool,
    /// Only those below this delivery id: the next page.
    pub before: Option<DeliveryId>,
    /// At most this many.
    pub limit: usize,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// The delivery.
    pub id: DeliveryId,
    /// The endpoint's id.
    pub endpoint: EndpointId,
    /// Whose that endpoint is, if it is one tenant's.
    pub of: Option<Tenant>,
    /// The event's id, as long as the event is kept.
    pub event: Option<EventId>,
    /// The event's topic, likewise.
    pub topic: Option<Topic>,
    /// Why.
    pub reason: String,
    /// Attempts made.
    pub attempts: u32,
    /// The status of the last answer.
    pub last_status: Option<u16>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When the first attempt was made.
    pub first_attempt_at: Option<Timestamp>,
    /// When it became a dead letter.
    pub dead_since: Timestamp,
    /// The run that replayed it.
    pub replayed_as: Option<u32>,
}
