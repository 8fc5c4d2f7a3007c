//! Test deliveries: one attempt now, past everything that decides about live ones, and in no sum.

use std::{future::Future, sync::Arc};

use actix::{Context, Handler, Message, ResponseFuture};
use tokio::sync::{oneshot, watch};

use super::Dispatcher;
use crate::{
    deliver,
    endpoint::EndpointKey,
    event::Accepted,
    quota::Quota,
    transport::{Answer, Attempt},
};

/// Test deliveries at once.
const AT_ONCE: usize = 16;

/// Delivers an event to an endpoint once, on the thread and by the transport of its live deliveries.
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
    /// No attempt starts any more, or this one was cut off by a shutdown.
    Closing,
}

impl Message for Trial {
    type Result = Result<Answer, NoTrial>;
}

/// The test deliveries that are being made.
pub(super) struct Trials {
    places: Arc<Quota>,
    /// Each of them watches this: the order to end, and by watching shows that it has not ended.
    end: Arc<watch::Sender<bool>>,
}

impl Default for Trials {
    fn default() -> Self {
        Self { places: Quota::new(AT_ONCE), end: Arc::new(watch::Sender::new(false)) }
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
    type Result = ResponseFuture<Result<Answer, NoTrial>>;

    fn handle(&mut self, trial: Trial, _: &mut Context<Self>) -> Self::Result {
        let started = self.start_trial(trial);
        Box::pin(async move { started?.await.map_err(|_| NoTrial::Closing) })
    }
}

impl Dispatcher {
    fn start_trial(&self, Trial { endpoint: key, event }: Trial) -> Result<oneshot::Receiver<Answer>, NoTrial> {
        let endpoint = Arc::clone(&self.endpoints.get(&key).ok_or(NoTrial::Unknown)?.endpoint);
        if self.closing {
            return Err(NoTrial::Closing);
        }
        let place = self.trials.places.take(1).ok_or(NoTrial::Busy)?;
        let (reply, answer) = oneshot::channel();
        let (mut end, at) = (self.trials.end.subscribe(), self.parts.clock.now().wall);
        let attempt = Attempt { events: vec![event], endpoint, number: 1, at };
        self.placement.run(key, move |transport| async move {
            let _place = place;
            tokio::select! {
                biased;
                _ = end.wait_for(|end| *end) => {}
                answer = deliver::exchange(transport.as_ref(), attempt) => drop(reply.send(answer)),
            }
        });
        Ok(answer)
    }
}
