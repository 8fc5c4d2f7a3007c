//! Work on many dead letters, or on the events of an endpoint: which, by what job, and how far it is.

use serde::Serialize;

use super::{DeadReason, DeliveryId, EventState};
use crate::{
    clock::Timestamp,
    endpoint::{EndpointId, EndpointKey, Origin, Settings},
    event::{Accepted, Tenant, Topic, TopicPattern, is_identifier, name},
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

/// A place among the dead letters that were not replayed, by endpoint and by age, oldest first; or among the events of an
/// endpoint, by seq.
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

/// One step of counting what a job would work on.
#[derive(Clone, Debug)]
pub struct CountStep {
    /// The job.
    pub kind: JobKind,
    /// With what.
    pub selection: DeadLetterSelection,
    /// Made at this moment: it works on nothing that it would make itself.
    pub at: Timestamp,
    /// From above this one on: where the step before ended.
    pub after: Option<LetterPlace>,
}

/// What a step of counting came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many it would work on.
    pub matched: u64,
    /// Where the next step begins; `None` at the end.
    pub next: Option<LetterPlace>,
}

/// What a job does. The last three go through the events of one endpoint that were accepted in the time that the selection
/// names, by seq, and look at the newest delivery of each to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobKind {
    /// Replays them.
    ReplayDeadLetters,
    /// Forgets them.
    PurgeDeadLetters,
    /// Delivers again what is a dead letter.
    ReplayFailed,
    /// Delivers what the endpoint wants as it is now, and of which there is no delivery to it: none was made, or it is kept no
    /// longer. What a debounce rule suppressed stays so.
    ReplayMissing,
    /// Both, and again what was delivered.
    ReplayAll,
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
    /// With which dead letters: those that were there when it was made. Of a job that goes through events, `endpoint`,
    /// `within`, `since` and `until` count, and those are the moments at which the events were accepted.
    pub selection: DeadLetterSelection,
    /// How many in a second, at most.
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
    pub(super) const ALL: [Self; 5] =
        [Self::ReplayDeadLetters, Self::PurgeDeadLetters, Self::ReplayFailed, Self::ReplayMissing, Self::ReplayAll];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReplayDeadLetters => "replay_dead_letters",
            Self::PurgeDeadLetters => "purge_dead_letters",
            Self::ReplayFailed => "replay_failed",
            Self::ReplayMissing => "replay_missing",
            Self::ReplayAll => "replay_all",
        }
    }

    /// Whether it goes through events, and not through dead letters.
    pub const fn is_of_events(self) -> bool {
        matches!(self, Self::ReplayFailed | Self::ReplayMissing | Self::ReplayAll)
    }

    /// Whether it works on an event of whose deliveries to the endpoint the newest stands so.
    pub(super) const fn means(self, newest: Newest) -> bool {
        match newest {
            Newest::Missing => matches!(self, Self::ReplayMissing | Self::ReplayAll),
            Newest::Dead => matches!(self, Self::ReplayFailed | Self::ReplayAll),
            Newest::Delivered => matches!(self, Self::ReplayAll),
            Newest::Other => false,
        }
    }
}

/// How the newest delivery of an event to an endpoint stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newest {
    /// There is none.
    Missing,
    /// A dead letter that was not replayed.
    Dead,
    Delivered,
    /// It waits, or was given up on purpose.
    Other,
}

/// What an endpoint wants, as its settings have it that are stored.
#[derive(Debug)]
pub(super) struct Wants(Option<(EndpointId, Settings)>);

impl Wants {
    /// Nothing, where there are no settings, or none that this program can read.
    pub(super) fn of(endpoint: Option<(EndpointId, &str)>) -> Self {
        Self(endpoint.and_then(|(id, settings)| {
            let settings = Settings::restore(&serde_json::from_str(settings).ok()?, Origin::Code).ok()?;
            Some((id, settings))
        }))
    }

    /// Whether an event is one that the endpoint would be given now; what was suppressed is for nobody, and what has no
    /// verdict yet comes by itself.
    pub(super) fn event(&self, event: &Accepted, state: EventState) -> bool {
        matches!(state, EventState::Unmatched | EventState::Routed)
            && self.0.as_ref().is_some_and(|(id, settings)| id.may_get(&event.topic) && settings.wants(event))
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
    /// Whether it has done what it was made for. Dead letters that came later are none of its own. One that goes through events
    /// is through at their end.
    pub(super) fn is_through(&self) -> bool {
        !self.kind.is_of_events() && self.done + self.failed >= self.total
    }

    /// Ends it, unless it has ended.
    pub(super) fn end(&mut self, state: JobState, now: Timestamp) {
        if self.state == JobState::Running {
            (self.state, self.ended_at) = (state, Some(now));
            self.total = self.total.max(self.done + self.failed);
        }
    }

    /// Whether this dead letter was there when the job was made, and is none that it made itself.
    pub(super) fn precedes(at: Timestamp, place: &LetterPlace, created_at: Timestamp) -> bool {
        place.since <= at && (place.run == 0 || created_at < at)
    }
}

impl DeadLetterSelection {
    /// Whether an event is meant that was accepted at this moment, by a job that was made `at` another.
    pub(super) fn has_accepted(&self, accepted_at: Timestamp, at: Timestamp) -> bool {
        accepted_at <= at
            && self.since.is_none_or(|since| accepted_at >= since)
            && self.until.is_none_or(|until| accepted_at < until)
    }
}

impl LetterPlace {
    /// That of an event, for a job that goes through events.
    pub(super) fn of_event(endpoint: EndpointKey, seq: u64) -> Self {
        Self { endpoint, since: Timestamp::default(), seq, run: 0 }
    }
}

/// Dead letters, or events, that one step looks at.
pub(super) const LETTER_STEP: usize = 500;
