//! Work on many dead letters: which, by what job, and how far it is.

use serde::Serialize;

use super::{DeadReason, DeliveryId};
use crate::{
    clock::Timestamp,
    endpoint::EndpointKey,
    event::{Tenant, Topic, TopicPattern, is_identifier, name},
};

name!(
    /// Names a job: `job_…`.
    JobId, is_identifier, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);

/// Which dead letters. Every condition given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterSelection {
    /// Of this endpoint.
    pub endpoint: Option<EndpointKey>,
    /// Of events of these topics.
    pub topic: Option<TopicPattern>,
    /// Dead for this reason.
    pub reason: Option<DeadReason>,
    /// Of events of this tenant.
    pub tenant: Option<Tenant>,
    /// What this tenant may see: of its events, at its endpoints.
    pub within: Option<Tenant>,
    /// Dead since this moment or later.
    pub since: Option<Timestamp>,
    /// Dead before this moment.
    pub until: Option<Timestamp>,
}

/// What of a dead letter a selection asks for.
pub(super) struct Letter<'a> {
    pub(super) endpoint: EndpointKey,
    pub(super) reason: &'a str,
    pub(super) since: Timestamp,
    /// Of its event, as long as that is kept.
    pub(super) topic: Option<&'a Topic>,
    pub(super) tenant: Option<&'a Tenant>,
    /// Whose its endpoint is.
    pub(super) of: Option<&'a Tenant>,
}

impl DeadLetterSelection {
    /// Whether any condition is given.
    pub fn is_some(&self) -> bool {
        *self != Self::default()
    }

    pub(super) fn matches(&self, letter: &Letter<'_>) -> bool {
        self.endpoint.is_none_or(|wanted| wanted == letter.endpoint)
            && self.topic.as_ref().is_none_or(|wanted| letter.topic.is_some_and(|topic| wanted.matches(topic)))
            && self.reason.is_none_or(|wanted| wanted.as_str() == letter.reason)
            && self.tenant.as_ref().is_none_or(|wanted| letter.tenant == Some(wanted))
            && self.within.as_ref().is_none_or(|tenant| letter.tenant == Some(tenant) && letter.of == Some(tenant))
            && self.since.is_none_or(|since| letter.since >= since)
            && self.until.is_none_or(|until| letter.since < until)
    }
}

/// A place among the dead letters that were not replayed, by endpoint and by age, oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LetterPlace {
    /// The endpoint.
    pub endpoint: EndpointKey,
    /// When it became a dead letter.
    pub since: Timestamp,
    /// The event's seq.
    pub seq: u64,
    /// The run.
    pub run: u32,
}

impl LetterPlace {
    pub(super) fn delivery(&self) -> DeliveryId {
        DeliveryId { seq: self.seq, endpoint: self.endpoint, run: self.run }
    }
}

/// One step of counting dead letters that were not replayed.
#[derive(Clone, Debug)]
pub struct CountStep {
    /// Which.
    pub selection: DeadLetterSelection,
    /// Those that a job made at this moment would work on: none that it would make itself.
    pub at: Timestamp,
    /// From above this one on: where the step before ended.
    pub after: Option<LetterPlace>,
}

/// What a step of counting came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Dead letters found.
    pub matched: u64,
    /// Where the next step begins; `None` at the end.
    pub next: Option<LetterPlace>,
}

/// What a job does with dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobKind {
    /// Replays them.
    ReplayDeadLetters,
    /// Forgets them.
    PurgeDeadLetters,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It works, or goes on with the next start.
    Running,
    /// It did everything there was to do.
    Finished,
    /// Somebody ended it. What it had done stays done.
    Cancelled,
    /// It could not go on.
    Failed,
}

/// A job as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// With which dead letters: those that were there when it was made.
    pub selection: DeadLetterSelection,
    /// Dead letters in a second, at most.
    pub rate: Option<f64>,
    /// How many those were.
    pub total: u64,
    /// Done so far.
    pub done: u64,
    /// Left alone, because their endpoint is disabled or deleted.
    pub failed: u64,
    /// Where it stands.
    pub state: JobState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What a step of a job came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Advance {
    /// The job after it.
    pub job: Job,
    /// Deliveries made by it.
    pub replayed: Vec<DeliveryId>,
}

impl JobKind {
    pub(super) const ALL: [Self; 2] = [Self::ReplayDeadLetters, Self::PurgeDeadLetters];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReplayDeadLetters => "replay_dead_letters",
            Self::PurgeDeadLetters => "purge_dead_letters",
        }
    }
}

impl JobState {
    pub(super) const ALL: [Self; 4] = [Self::Running, Self::Finished, Self::Cancelled, Self::Failed];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

impl Job {
    /// Whether it has done what it was made for. Dead letters that came later are none of its own.
    pub(super) fn is_through(&self) -> bool {
        self.done + self.failed >= self.total
    }

    /// Ends it, unless it has ended.
    pub(super) fn end(&mut self, state: JobState, now: Timestamp) {
        if self.state == JobState::Running {
            (self.state, self.ended_at) = (state, Some(now));
        }
    }

    /// Whether this dead letter was there when the job was made, and is none that it made itself.
    pub(super) fn precedes(at: Timestamp, place: &LetterPlace, created_at: Timestamp) -> bool {
        place.since <= at && (place.run == 0 || created_at < at)
    }
}

/// Dead letters that one step looks at.
pub(super) const LETTER_STEP: usize = 500;
