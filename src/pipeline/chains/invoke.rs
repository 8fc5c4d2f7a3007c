//! One invocation: the loop around the machine of [`chain::run`](crate::chain::run).

use std::{pin::pin, sync::Arc};

use bytes::Bytes;
use futures_util::future::select;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};
use tracing::{debug, warn};

use super::{
    super::{Shut, append_error},
    Chain, ChainError, Hookmill,
};
use crate::{
    chain::{
        plan::Step,
        run::{Begun, Call, Effect, End, Run},
    },
    clock::Mono,
    deliver::outcome::label,
    dispatch::{Ask, NoTrial},
    endpoint::{Endpoint, EndpointKey},
    error::{Invalid, StoreError},
    event::{Accepted, Event, ValidEvent, expect_data, new_id},
    quota::Share,
    store::AppendError,
    transport::{
        Answer, Attempt, Failure, FailureKind,
        body::carried::{carrying, passing},
    },
};

/// Stands for the topic of what steps are sent until it is known.
const TOPIC: &str = "chain";

type Response = Result<Option<Bytes>, ChainError>;

/// How a chain ended that did not fail.
enum Ended {
    Finished(Option<Bytes>),
    Abandoned,
}

/// A chain that is being made.
struct Invocation {
    hooks: Hookmill,
    chain: Arc<Chain>,
    payload: Bytes,
    /// The id of what each synchronous step is sent: the same on every attempt.
    id: String,
    /// Its place among all that are being made.
    _place: Share,
    /// What it may hold of the bytes that all may.
    _room: Share,
}

impl Hookmill {
    pub(super) async fn call_chain(&self, event: &str, payload: Bytes) -> Response {
        let not_configured = || ChainError::NotConfigured { event: event.to_owned() };
        let chain = self.chain(event).ok_or_else(not_configured)?;
        expect_data(&payload).map_err(ChainError::Payload)?;
        if self.0.intake.is_closed() {
            return Err(ChainError::Closed);
        }
        let place = self.0.invocations.take(1).ok_or(ChainError::Busy)?;
        // All that it can come to, at the door: nothing is refused in the middle, when steps have been made already.
        let most = payload.len().saturating_add(chain.plan().most_response_bytes());
        let room = self.0.chain_bytes.take(most.min(self.0.chain_bytes.max())).ok_or(ChainError::Busy)?;
        let id = new_id("chn", self.0.clock.now().wall);
        let invocation = Invocation { hooks: self.clone(), chain, payload, id, _place: place, _room: room };
        let (reply, response) = oneshot::channel();
        self.0.arbiter.spawn(invocation.run(reply));
        response.await.unwrap_or(Err(ChainError::Closed))
    }
}

impl Invocation {
    async fn run(self, mut reply: oneshot::Sender<Response>) {
        let chain = self.chain.name().clone();
        self.chain.tally().started();
        let response = self.make(&mut reply).await;
        let result = match &response {
            Err(_) => "failed",
            Ok(Ended::Abandoned) => "abandoned",
            Ok(Ended::Finished(_)) => "finished",
        };
        self.hooks.0.metrics().chains.one(result);
        self.chain.tally().ended(result);
        match &response {
            Ok(_) => debug!(event = "chain.finished", %chain, result, "chain ended"),
            Err(error) => warn!(event = "chain.failed", %chain, %error, "chain failed"),
        }
        // The place is free before the caller hears of it.
        drop(self);
        let _gone = reply.send(response.map(|ended| match ended {
            Ended::Finished(response) => response,
            Ended::Abandoned => None,
        }));
    }

    async fn make(&self, caller: &mut oneshot::Sender<Response>) -> Result<Ended, ChainError> {
        let plan = Arc::clone(self.chain.plan());
        let (mut run, mut effect) = Run::start(plan, self.payload.clone(), self.now(), fastrand::u64(..));
        loop {
            effect = match effect {
                Effect::Attempt(call) => {
                    let place = call.place;
                    let started = self.now();
                    let answer = self.attempt(call).await?;
                    let metrics = self.hooks.0.metrics();
                    metrics.attempts.one(label(&answer));
                    metrics.attempt_duration.time(self.now().since(started));
                    self.chain.tally().attempted(place, &answer);
                    run.answered(answer, self.now(), caller.is_closed())
                }
                Effect::Wait(wait) => {
                    // What is waited for is of no use to a caller who has gone.
                    let _either = select(pin!(sleep(wait)), pin!(caller.closed())).await;
                    run.waited(self.now(), caller.is_closed())
                }
                Effect::Start(begun) => {
                    self.start(begun).await?;
                    run.started()
                }
                Effect::End(end) => {
                    return match end {
                        End::Finished(response) => Ok(Ended::Finished(response)),
                        End::Failed(broken) => Err(ChainError::of_step(self.chain.name().as_str(), broken)),
                        End::Abandoned => Ok(Ended::Abandoned),
                    };
                }
            }
        }
    }

    fn now(&self) -> Mono {
        self.hooks.0.clock.now().mono
    }

    /// Makes one attempt; the error is that of a shutdown.
    async fn attempt(&self, call: Call) -> Result<Answer, ChainError> {
        let limit = call.timeout;
        let attempt = self.written(call).ok_or(ChainError::Closed)?;
        let asked = self.hooks.0.dispatcher.send(Ask(attempt)).await;
        let answer = asked.unwrap_or(Err(NoTrial::Closing)).map_err(|_| ChainError::Closed)?;
        match timeout(limit, answer).await {
            Ok(answer) => answer.map_err(|_| ChainError::Closed),
            Err(_) => {
                let detail = format!("no complete answer within {limit:?}");
                Ok(Err(Failure::new(FailureKind::Timeout, detail)))
            }
        }
    }

    fn written(&self, call: Call) -> Option<Attempt> {
        let Call { place, number, body, timeout } = call;
        let (step, at) = (self.chain.plan().steps().get(place)?, self.hooks.0.clock.now().wall);
        let event = Event::from_json(TOPIC, "null").id(format_args!("{}_{place}", self.id)).validate(at).ok()?;
        let event = ValidEvent { topic: step.endpoint().own_topic()?, ..event };
        let event = passing(event, body.bytes, body.content_type.as_deref());
        let event = Accepted::new(0, at, event);
        let endpoint = Endpoint {
            key: EndpointKey(0),
            id: step.endpoint().clone(),
            settings: step.attempt_settings(timeout),
            version: 0,
            created_at: at,
            updated_at: at,
            state_since: at,
            state_reason: None,
        };
        let (events, endpoint, keep) = (vec![Arc::new(event)], Arc::new(endpoint), step.max_response_bytes());
        Some(Attempt { events, endpoint, number, at, keep })
    }

    /// Stores what the asynchronous steps are given, in one transaction.
    async fn start(&self, begun: Vec<Begun>) -> Result<(), ChainError> {
        let event = self.chain.name().as_str();
        let steps = begun.iter().filter_map(|begun| self.chain.plan().steps().get(begun.place));
        if steps.map(Step::endpoint).any(|id| self.hooks.endpoint(id).is_none()) {
            let reason = "the chain has changed meanwhile".to_owned();
            return Err(ChainError::NotStarted { event: event.to_owned(), reason });
        }
        let events: Result<Vec<_>, _> = begun.into_iter().map(|begun| self.addressed(begun)).collect();
        let (reply, result) = oneshot::channel();
        let append = match self.hooks.0.store.is_low() {
            true => Err(Shut::NoRoom),
            false => self.hooks.append(events?, reply).map_err(Shut::Intake),
        };
        append.map_err(|shut| ChainError::not_started(event, &shut.error(Vec::new())))?;
        match result.await.unwrap_or(Err(AppendError::Store(StoreError::Closed))) {
            Ok(_) => Ok(()),
            Err(error) => Err(ChainError::not_started(event, &append_error(error, Vec::new()))),
        }
    }

    /// The event that reaches the endpoint of an asynchronous step alone.
    fn addressed(&self, Begun { place, body }: Begun) -> Result<ValidEvent, ChainError> {
        let step = self.chain.plan().steps().get(place);
        let event = Event::from_json(TOPIC, "null").validate(self.hooks.0.clock.now().wall);
        let topic = step.and_then(|step| step.endpoint().own_topic());
        let event = event.and_then(|event| match topic {
            Some(topic) => carrying(ValidEvent { topic, ..event }, &body.bytes, body.content_type.as_deref()),
            None => Err(Invalid::at("#", "its endpoint has no topic")),
        });
        event.map_err(|invalid| ChainError::Step {
            event: self.chain.name().to_string(),
            step: step.map(|step| step.name().to_owned()).unwrap_or_default(),
            attempts: 0,
            error: format!("what it is to be given cannot be stored: {invalid}"),
            status: None,
        })
    }
}
