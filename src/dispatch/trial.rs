//! Attempts that belong to no Delivery and are in no sum: test deliveries, and the synchronous steps of chains.

mod places;

use std::{future::Future, sync::Arc, time::Duration};

use actix::{Context, Handler, Message};
use tokio::sync::{oneshot, watch};

use super::Dispatcher;
use crate::{
    deliver,
    endpoint::EndpointKey,
    event::Accepted,
    quota::Share,
    transport::{Answer, Attempt, KEPT_RESPONSE_BYTES},
};
use places::Places;

/// No test delivery waits longer for its answer, whatever the endpoint's `timeout`.
const LONGEST: Duration = Duration::from_secs(30);

/// Delivers an event to an endpoint once, on the thread and by the transport of its live deliveries. The attempt ends when the
/// receiver is dropped.
pub struct Trial {
    /// To whom.
    pub endpoint: EndpointKey,
    /// What; no store knows of it.
    pub event: Arc<Accepted>,
}

/// There was no attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTrial {
    /// There is no such endpoint.
    Unknown,
    /// Too many are being made.
    Busy,
    /// Too many are being made to this endpoint, or to its tenant's.
    Quota,
    /// No attempt starts any more, or this one was cut off by a shutdown.
    Closing,
}

/// Makes one attempt that is no delivery's: a synchronous step of a chain. The attempt ends when the receiver is dropped.
pub struct Ask(pub Attempt);

impl Message for Ask {
    type Result = Result<oneshot::Receiver<Answer>, NoTrial>;
}

impl Message for Trial {
    type Result = Result<oneshot::Receiver<Answer>, NoTrial>;
}

/// The test deliveries that are being made.
pub(super) struct Trials {
    places: Places,
    /// Each of them watches this: the order to end, and by watching shows that it has not ended.
    end: Arc<watch::Sender<bool>>,
    /// Counts attempts, so that they go round the threads.
    asked: i64,
}

impl Default for Trials {
    fn default() -> Self {
        Self { places: Places::default(), end: Arc::new(watch::Sender::new(false)), asked: 0 }
    }
}

impl Trials {
    /// Ends all of them.
    pub(super) fn cut(&self) {
        self.end.send_replace(true);
    }

    /// Waits until there is none.
    pub(super) fn ended(&self) -> impl Future<Output = ()> + 'static {
        let end = Arc::clone(&self.end);
        async move { end.closed().await }
    }
}

impl Handler<Trial> for Dispatcher {
    type Result = Result<oneshot::Receiver<Answer>, NoTrial>;

    fn handle(&mut self, Trial { endpoint: key, event }: Trial, _: &mut Context<Self>) -> Self::Result {
        let mut endpoint = Arc::clone(&self.endpoints.get(&key).ok_or(NoTrial::Unknown)?.endpoint);
        if self.closing {
            return Err(NoTrial::Closing);
        }
        let places = self.trials.places.take(&endpoint)?;
        let policy = Arc::make_mut(&mut Arc::make_mut(&mut endpoint).settings.policy);
        policy.timeout = policy.timeout.min(LONGEST);
        let at = self.parts.clock.now().wall;
        let attempt = Attempt { events: vec![event], endpoint, number: 1, at, keep: KEPT_RESPONSE_BYTES };
        Ok(self.attempt(key, attempt, places))
    }
}

impl Handler<Ask> for Dispatcher {
    type Result = Result<oneshot::Receiver<Answer>, NoTrial>;

    fn handle(&mut self, Ask(attempt): Ask, _: &mut Context<Self>) -> Self::Result {
        if self.closing {
            return Err(NoTrial::Closing);
        }
        self.trials.asked = self.trials.asked.wrapping_add(1) & i64::MAX;
        Ok(self.attempt(EndpointKey(self.trials.asked), attempt, Vec::new()))
    }
}

impl Dispatcher {
    /// Makes an attempt on the thread of `lane`, holding `places` meanwhile. It is cut off when a shutdown's deadline has passed,
    /// or nobody waits for its answer any more.
    pub(super) fn attempt(&self, lane: EndpointKey, attempt: Attempt, places: Vec<Share>) -> oneshot::Receiver<Answer> {
        let (mut reply, answer) = oneshot::channel();
        let mut end = self.trials.end.subscribe();
        self.placement.run(lane, move |transport| async move {
            let _places = places;
            tokio::select! {
                biased;
                _ = end.wait_for(|end| *end) => {}
                () = reply.closed() => {}
                answer = deliver::exchange(transport.as_ref(), attempt) => drop(reply.send(answer)),
            }
        });
        answer
    }
}
