//! What every actor shell needs: one alarm, manners towards its neighbours, and somebody who hears of its death.

use std::{sync::Arc, thread, time::Duration};

use actix::{Actor, AsyncContext, Context, SpawnHandle, WrapFuture};

use crate::clock::{Clock, Mono};

/// One timer that follows a deadline. Many small timers would be looked at with every message of their actor.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    armed: Option<(Mono, SpawnHandle)>,
}

/// Timers have a grain of one millisecond; waking a moment before would only mean waking twice.
const GRAIN: Duration = Duration::from_millis(1);

impl Alarm {
    /// Calls `ring` at `deadline`; an alarm set before is off.
    pub(crate) fn set<A: Actor<Context = Context<A>>>(
        &mut self,
        deadline: Option<Mono>,
        clock: &Clock,
        ctx: &mut Context<A>,
        ring: fn(&mut A, &mut Context<A>),
    ) {
        match (deadline, &self.armed) {
            (None, None) => return,
            (Some(deadline), Some((armed, _))) if *armed == deadline => return,
            _ => {}
        }
        if let Some((_, handle)) = self.armed.take() {
            ctx.cancel_future(handle);
        }
        if let Some(deadline) = deadline {
            let wait = deadline.since(clock.now().mono).max(GRAIN);
            self.armed = Some((deadline, ctx.run_later(wait, ring)));
        }
    }

    /// The alarm has rung.
    pub(crate) fn rung(&mut self) {
        self.armed = None;
    }
}

/// Lets others on the same thread have their turn: an actor works until its mailbox is empty, and a flood would keep it at
/// that while its own timers and its neighbours wait.
#[derive(Debug, Default)]
pub(crate) struct Yielder {
    served: u32,
}

/// Messages between two yields.
const EVERY: u32 = 64;

impl Yielder {
    /// Counts a message; tells whether it is time to yield, with [`yield_now`].
    pub(crate) fn is_time(&mut self) -> bool {
        self.served = (self.served + 1) % EVERY;
        self.served == 0
    }
}

/// Goes on with the mailbox only when the others on this thread have had a turn.
pub(crate) fn yield_now<A: Actor<Context = Context<A>>>(actor: &A, ctx: &mut Context<A>) {
    ctx.wait(tokio::task::yield_now().into_actor(actor));
}

/// Called with the name of an actor that has died of a panic.
pub(crate) type OnDeath = Arc<dyn Fn(&'static str) + Send + Sync>;

/// Lies in an actor that is not started anew, and tells when it dies of a panic: its address would only fall silent.
pub(crate) struct Sentinel {
    actor: &'static str,
    on_death: OnDeath,
}

impl Sentinel {
    /// For the actor of this name.
    pub(crate) fn new(actor: &'static str, on_death: &OnDeath) -> Self {
        Self { actor, on_death: Arc::clone(on_death) }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        if thread::panicking() {
            (self.on_death)(self.actor);
        }
    }
}

/// Declares messages that are told and not answered.
macro_rules! told {
    ($($message:ty),+ $(,)?) => {
        $(impl actix::Message for $message {
            type Result = ();
        })+
    };
}
pub(crate) use told;
