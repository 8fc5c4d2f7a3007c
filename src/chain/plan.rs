//! A chain as it is configured, validated.

use std::{sync::Arc, time::Duration};

use crate::{
    config::duration,
    endpoint::{
        EndpointId, Settings, TenantScope,
        format::Format,
        policy::{Backoff, Retry},
        settings::limits,
    },
    event::TopicPattern,
};

/// The deadline of a chain that names none; where a step's own timeout is longer, that.
pub const DEADLINE: Duration = Duration::from_secs(300);
/// The timeout of an attempt of a step that names none.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts in all of a step that names no number.
pub const ATTEMPTS: u32 = 3;
/// Bytes of an answer that a step takes, unless it says otherwise.
pub const MAX_RESPONSE_BYTES: usize = 1 << 20;
/// The wait after the first failed attempt; doubles with each further one.
pub const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The steps of a chain. Every rule holds: names differ, inputs come from earlier synchronous steps, and one step's response
/// is the final one if there are synchronous steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub(super) deadline: Duration,
    pub(super) steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    pub(super) name: String,
    pub(super) endpoint: EndpointId,
    pub(super) settings: Settings,
    pub(super) attempts: u32,
    /// `None` sets no bound but the chain's deadline.
    pub(super) timeout: Option<Duration>,
    pub(super) input: Input,
    pub(super) kind: Kind,
    pub(super) max_response_bytes: usize,
}

/// What a step is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// What the chain was invoked with.
    Payload,
    /// What this earlier synchronous step answered, by its place among all steps.
    Response(usize),
}

/// How a step is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In its turn; the chain waits for the answer.
    Sync {
        /// Its answer is the chain's.
        is_final: bool,
    },
    /// After the last synchronous answer, as a delivery of an endpoint of its own.
    Async,
}

impl Plan {
    /// The deadline of one invocation, from its start to the last synchronous answer.
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The steps, in their order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The place of the first synchronous step from `from` on.
    pub(super) fn next_sync(&self, from: usize) -> Option<usize> {
        let mut places = self.steps.iter().enumerate().skip(from);
        places.find(|(_, step)| step.kind != Kind::Async).map(|(place, _)| place)
    }

    /// The asynchronous steps with their places.
    pub(super) fn asynchronous(&self) -> impl Iterator<Item = (usize, &Step)> {
        self.steps.iter().enumerate().filter(|(_, step)| step.kind == Kind::Async)
    }

    /// The asynchronous steps.
    pub fn endpoints(&self) -> impl Iterator<Item = &Step> {
        self.asynchronous().map(|(_, step)| step)
    }

    /// Whether the answer of the step at `place` is asked for by one at `from` or behind it, by an asynchronous one, or by the
    /// caller.
    pub(super) fn is_kept(&self, place: usize, from: usize) -> bool {
        let asks = |(at, step): (usize, &Step)| (at >= from || step.is_async()) && step.input == Input::Response(place);
        self.steps.get(place).is_some_and(|step| step.kind == Kind::Sync { is_final: true })
            || self.steps.iter().enumerate().any(asks)
    }
}

impl Plan {
    /// The most bytes of answers that one invocation holds at a time: those that are kept, with the one that is being read.
    pub fn most_response_bytes(&self) -> usize {
        let synchronous = || self.steps.iter().enumerate().filter(|(_, step)| !step.is_async());
        let held = |from: usize| -> usize {
            let kept = synchronous().filter(|(place, _)| *place < from && self.is_kept(*place, from));
            kept.map(|(_, step)| step.max_response_bytes).fold(0, usize::saturating_add)
        };
        let most = synchronous().map(|(place, step)| held(place).saturating_add(step.max_response_bytes));
        most.chain([held(self.steps.len())]).max().unwrap_or(0)
    }
}

impl Step {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The endpoint that an asynchronous step has; a synchronous one is only called so in logs.
    pub fn endpoint(&self) -> &EndpointId {
        &self.endpoint
    }

    /// Whether the chain does not wait for it.
    pub fn is_async(&self) -> bool {
        self.kind == Kind::Async
    }

    /// Bytes of an answer that it takes.
    pub fn max_response_bytes(&self) -> usize {
        self.max_response_bytes
    }

    /// The settings of one attempt of a synchronous step that may take `timeout`.
    pub fn attempt_settings(&self, timeout: Duration) -> Settings {
        let mut settings = self.settings.clone();
        Arc::make_mut(&mut settings.policy).timeout = timeout;
        settings
    }

    /// The settings of its endpoint, if it is asynchronous: it gets what is addressed to it, as it is, and retries as chains do.
    pub fn endpoint_settings(&self, chain: &str) -> Settings {
        let mut settings = self.settings.clone();
        settings.name = label(chain, &self.name);
        settings.tenant = TenantScope::None;
        settings.topics = self.endpoint.own_topic().map(TopicPattern::Exact).into_iter().collect();
        let policy = Arc::make_mut(&mut settings.policy);
        let (shortest, longest) = limits::TIMEOUT.into_inner();
        policy.timeout = self.timeout.unwrap_or(longest).clamp(shortest, longest);
        policy.retry = Retry {
            backoff: Backoff::Exponential {
                initial: FIRST_WAIT,
                factor: 2.0,
                max_delay: Duration::from_secs(3600),
                max_attempts: self.attempts,
            },
            jitter: 0.5,
            ..Retry::default()
        };
        settings
    }

    /// Its timeout as it is written: `0s` for none.
    pub(super) fn timeout_text(&self) -> String {
        duration::print(self.timeout.unwrap_or_default())
    }

    /// Makes `settings`, which were read from a user, those of a step.
    pub(super) fn adapt(settings: &mut Settings, method: &str) {
        settings.format = Format::Raw;
        settings.method = method.to_owned();
    }
}

/// A name for people, if it fits.
fn label(chain: &str, step: &str) -> Option<String> {
    Some(format!("{chain}: {step}")).filter(|label| label.len() <= limits::MAX_NAME_BYTES)
}
