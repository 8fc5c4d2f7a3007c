//! One invocation of a chain, as a machine: it is told what came of each effect, and names the next.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::plan::{FIRST_WAIT, Input, Kind, Plan, Step};
use crate::{
    clock::Mono,
    deliver::outcome::Outcome,
    transport::{Answer, Reply, Response},
};

/// At most so much is added to each wait, at random.
const JITTER: Duration = Duration::from_millis(100);

/// One invocation.
#[derive(Debug)]
pub struct Run {
    plan: Arc<Plan>,
    payload: Bytes,
    /// Of each step what it answered, as long as somebody asks for it.
    responses: Vec<Option<Content>>,
    /// The step that is being made.
    place: usize,
    /// Its attempts so far.
    attempts: u32,
    /// How the last of them failed.
    last: Option<LastError>,
    deadline: Mono,
    random: fastrand::Rng,
}

/// What is to be done next; what comes of it is told to the method named.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// One attempt of a synchronous step: [`Run::answered`].
    Attempt(Call),
    /// Nothing for so long: [`Run::waited`].
    Wait(Duration),
    /// The asynchronous steps are started, all or none: [`Run::started`].
    Start(Vec<Begun>),
    /// It has ended.
    End(End),
}

/// What a step is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// The very bytes.
    pub bytes: Bytes,
    /// What the receiver that they come from calls them.
    pub content_type: Option<String>,
}

impl From<Bytes> for Content {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, content_type: None }
    }
}

/// One attempt of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The place of the step.
    pub place: usize,
    /// Which attempt, from 1.
    pub number: u32,
    /// What is sent.
    pub body: Content,
    /// How long it may take.
    pub timeout: Duration,
}

/// An asynchronous step with what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// The place of the step.
    pub place: usize,
    /// What is delivered.
    pub body: Content,
}

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Every synchronous step succeeded; this is the final response, if there is one.
    Finished(Option<Bytes>),
    /// A synchronous step failed: no later step was made, no asynchronous one started.
    Failed(Broken),
    /// Nobody waits for it any more.
    Abandoned,
}

/// The step that ended a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name.
    pub step: String,
    /// Attempts that were made.
    pub attempts: u32,
    /// How the last of them failed.
    pub last: Option<LastError>,
    /// The chain's deadline left no time for another attempt.
    pub late: bool,
}

/// How an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// What was wrong, for people.
    pub detail: String,
}

impl Run {
    /// An invocation that starts now, with what it has to do first.
    pub fn start(plan: Arc<Plan>, payload: Bytes, now: Mono, seed: u64) -> (Self, Effect) {
        let random = fastrand::Rng::with_seed(seed);
        let (deadline, responses) = (now.after(plan.deadline), vec![None; plan.steps.len()]);
        let mut run = Self { plan, payload, responses, place: 0, attempts: 0, last: None, deadline, random };
        let effect = run.go_on(0, now);
        (run, effect)
    }

    /// The last attempt has ended so. `abandoned` tells that nobody waits for the chain any more: it ends with this attempt.
    pub fn answered(&mut self, answer: Answer, now: Mono, abandoned: bool) -> Effect {
        let Some(step) = self.plan.steps.get(self.place) else { return Effect::End(End::Abandoned) };
        match judge(answer, step, self.plan.is_kept(self.place, self.place)) {
            Ok(_) if abandoned => Effect::End(End::Abandoned),
            Ok(body) => {
                let kept = body.filter(|_| self.plan.is_kept(self.place, self.place));
                self.responses.iter_mut().skip(self.place).take(1).for_each(|response| *response = kept.clone());
                self.go_on(self.place + 1, now)
            }
            Err(error) => {
                let spent = self.attempts >= step.attempts;
                self.last = Some(error);
                match (spent, abandoned) {
                    (true, _) => self.failed(false),
                    (false, true) => Effect::End(End::Abandoned),
                    (false, false) => self.wait(now),
                }
            }
        }
    }

    /// The wait is over, or nobody waits for the chain any more.
    pub fn waited(&mut self, now: Mono, abandoned: bool) -> Effect {
        if abandoned { Effect::End(End::Abandoned) } else { self.attempt(now) }
    }

    /// The asynchronous steps are started.
    pub fn started(&mut self) -> Effect {
        self.finished()
    }

    /// The first synchronous step from `from` on, or what comes after the last.
    fn go_on(&mut self, from: usize, now: Mono) -> Effect {
        (self.attempts, self.last) = (0, None);
        for (place, response) in self.responses.iter_mut().enumerate() {
            response.take_if(|_| !self.plan.is_kept(place, from));
        }
        if let Some(place) = self.plan.next_sync(from) {
            self.place = place;
            return self.attempt(now);
        }
        let begun = |(place, step): (usize, &Step)| Begun { place, body: self.input(step) };
        let begun: Vec<_> = self.plan.asynchronous().map(begun).collect();
        if begun.is_empty() { self.finished() } else { Effect::Start(begun) }
    }

    fn attempt(&mut self, now: Mono) -> Effect {
        let left = self.deadline.since(now);
        let Some(step) = self.plan.steps.get(self.place).filter(|_| !left.is_zero()) else { return self.failed(true) };
        self.attempts += 1;
        let timeout = step.timeout.unwrap_or(left).min(left);
        Effect::Attempt(Call { place: self.place, number: self.attempts, body: self.input(step), timeout })
    }

    fn wait(&mut self, now: Mono) -> Effect {
        let doublings = self.attempts.saturating_sub(1).min(30);
        let jitter = JITTER.mul_f64(self.random.f64());
        let wait = FIRST_WAIT.saturating_mul(1 << doublings) + jitter;
        if wait >= self.deadline.since(now) { self.failed(true) } else { Effect::Wait(wait) }
    }

    fn input(&self, step: &Step) -> Content {
        match step.input {
            Input::Payload => self.payload.clone().into(),
            Input::Response(place) => self.responses.get(place).cloned().flatten().unwrap_or_default(),
        }
    }

    fn failed(&mut self, late: bool) -> Effect {
        let step = self.plan.steps.get(self.place).map(|step| step.name.clone()).unwrap_or_default();
        Effect::End(End::Failed(Broken { step, attempts: self.attempts, last: self.last.take(), late }))
    }

    fn finished(&mut self) -> Effect {
        let place = self.plan.steps.iter().position(|step| step.kind == Kind::Sync { is_final: true });
        Effect::End(End::Finished(
            place.map(|place| self.responses.get_mut(place).and_then(Option::take).unwrap_or_default().bytes),
        ))
    }
}

/// The body of a success, all of it where it `is_kept`.
fn judge(answer: Answer, step: &Step, is_kept: bool) -> Result<Option<Content>, LastError> {
    let success = Outcome::of(&answer, step.settings.policy.success) == Outcome::Success;
    let Response { status, body, complete, content_type, .. } =
        match answer.map_err(|failure| LastError { status: None, detail: failure.detail })? {
            Reply::Response(response) => response,
            // No step is a file.
            Reply::Written => return Ok(None),
        };
    let error = |detail: String| Err(LastError { status: Some(status), detail });
    match success {
        true if complete => Ok(Some(Content { bytes: body, content_type })),
        true if body.len() < step.max_response_bytes && !is_kept => Ok(None),
        _ if !complete && (200..300).contains(&status) && body.len() >= step.max_response_bytes => {
            error(format!("answered {status} with more than {} bytes", step.max_response_bytes))
        }
        true => error(format!("answered {status} with a body whose end is not known")),
        false if status == 200 => error("answered 200 without valid JSON".to_owned()),
        false => error(format!("answered {status}")),
    }
}
