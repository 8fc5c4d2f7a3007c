//! What debouncing does without an event: rules change, time passes, deliveries fail.

use std::sync::{Arc, atomic::Ordering};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};

use super::Dispatcher;
use crate::{
    actor::told,
    deliver::FailureObserver,
    endpoint::{EndpointKey, debounce::DebouncePolicy},
    store::{Debounced, DeliveryId, WindowChange},
};

/// Events that the store is asked about at a time.
pub const ASKED: usize = 500;

/// Debounce windows that changed by no event.
pub struct KeepWindows(pub Vec<WindowChange>);
/// Everything that was accepted before the start has been judged: from now on the time counts.
pub struct Begin;
/// Lets go of every delivery that is held.
pub struct ReleaseAll;
/// Deliveries may have failed for good that nobody has told of one by one.
pub struct LookAgain;
/// A delivery failed for good.
struct Failed(DeliveryId);
/// Answers how many keys have a window of an endpoint's own debounce.
pub struct Keys;

told!(KeepWindows, Begin, ReleaseAll, LookAgain, Failed);
impl Message for Keys {
    type Result = usize;
}

/// Looks for failures: one round at a time, and one more when it was asked for meanwhile.
#[derive(Debug, Default)]
pub struct Rounds {
    open: usize,
    again: bool,
}

impl Rounds {
    /// Whether a round may begin; otherwise one follows that which is under way.
    pub fn may_begin(&mut self) -> bool {
        self.again = self.open > 0;
        !self.again
    }

    /// A round has so many questions.
    pub fn begun(&mut self, questions: usize) {
        self.open = questions;
    }

    /// A question of the round was answered. Tells whether another round is to begin.
    pub fn answered(&mut self) -> bool {
        self.open = self.open.saturating_sub(1);
        self.open == 0 && self.again
    }
}

impl Dispatcher {
    /// Starts it; with it comes who is to be told of final failures.
    pub fn start_watching(self) -> (Addr<Self>, FailureObserver) {
        let watching = Arc::clone(&self.watching);
        let dispatcher = self.start();
        // Whoever holds the observer must not keep it alive.
        let weak = dispatcher.downgrade();
        let observer = move |delivery| {
            if let Some(dispatcher) = weak.upgrade().filter(|_| watching.load(Ordering::Acquire)) {
                dispatcher.do_send(Failed(delivery));
            }
        };
        (dispatcher, Box::new(observer))
    }

    /// Sets how an endpoint debounces for itself, or that it does not.
    pub(super) fn mute(&mut self, endpoint: EndpointKey, policy: Option<&DebouncePolicy>, ctx: &mut Context<Self>) {
        self.muting.set(endpoint, policy, self.parts.clock.now());
        self.watching.store(self.muting.wants_failures(), Ordering::Release);
        self.keep_debounced(ctx);
    }

    /// Tells the store what changed by no event, and Deliveries of what they may read from it now.
    pub(super) fn keep_debounced(&mut self, ctx: &mut Context<Self>) {
        let debounced = self.muting.take_effects();
        if !debounced.is_empty() {
            let released: Vec<_> = debounced.released.iter().map(|released| released.delivery).collect();
            self.parts.store.keep_debounced(debounced);
            released.into_iter().for_each(|id| self.made_late(id, ctx));
        }
        self.set_alarm(ctx);
    }

    /// Wakes when something is to be let go.
    pub(super) fn set_alarm(&mut self, ctx: &mut Context<Self>) {
        let deadline = self.muting.next_deadline().filter(|_| self.begun && !self.closing);
        self.alarm.set(deadline, &self.parts.clock, ctx, Self::ring);
    }

    fn ring(&mut self, ctx: &mut Context<Self>) {
        self.alarm.rung();
        self.muting.tick(self.parts.clock.now());
        self.keep_debounced(ctx);
    }

    /// Ends the windows of all events that failed for good where they opened one, as the store knows it.
    fn look_again(&mut self, ctx: &mut Context<Self>) {
        if !self.rounds.may_begin() {
            return;
        }
        let watched: Vec<_> = self.muting.watched().collect();
        let questions = watched.iter().flat_map(|(endpoint, seqs)| seqs.chunks(ASKED).map(|seqs| (*endpoint, seqs)));
        self.rounds.begun(questions.clone().count());
        questions.for_each(|(endpoint, seqs)| self.look_for_failed(endpoint, seqs.to_vec(), true, ctx));
    }

    fn look_for_failed(&self, endpoint: EndpointKey, seqs: Vec<u64>, in_round: bool, ctx: &mut Context<Self>) {
        let failed = self.parts.store.failed(Some(endpoint), seqs).into_actor(self);
        ctx.spawn(failed.map(move |failed, dispatcher, ctx| {
            let now = dispatcher.parts.clock.now();
            for seq in failed.unwrap_or_default() {
                dispatcher.muting.failed(DeliveryId { seq, endpoint, run: 0 }, now);
            }
            dispatcher.keep_debounced(ctx);
            if in_round && dispatcher.rounds.answered() {
                dispatcher.look_again(ctx);
            }
        }));
    }
}

impl Handler<KeepWindows> for Dispatcher {
    type Result = ();

    fn handle(&mut self, KeepWindows(windows): KeepWindows, _: &mut Context<Self>) {
        self.parts.store.keep_debounced(Debounced { windows, ..Debounced::default() });
    }
}

impl Handler<Begin> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: Begin, ctx: &mut Context<Self>) {
        self.begun = true;
        self.set_alarm(ctx);
        self.look_again(ctx);
    }
}

impl Handler<ReleaseAll> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: ReleaseAll, ctx: &mut Context<Self>) {
        self.muting.release_all(self.parts.clock.now());
        self.keep_debounced(ctx);
    }
}

impl Handler<LookAgain> for Dispatcher {
    type Result = ();

    fn handle(&mut self, _: LookAgain, ctx: &mut Context<Self>) {
        self.look_again(ctx);
    }
}

impl Handler<Failed> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Failed(delivery): Failed, ctx: &mut Context<Self>) {
        if self.muting.is_taker(delivery) {
            self.look_for_failed(delivery.endpoint, vec![delivery.seq], false, ctx);
        }
    }
}

impl Handler<Keys> for Dispatcher {
    type Result = usize;

    fn handle(&mut self, _: Keys, _: &mut Context<Self>) -> usize {
        self.muting.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_during_a_round_is_one_more_round() {
        let mut rounds = Rounds::default();
        assert!(rounds.may_begin());
        rounds.begun(2);
        assert!(!rounds.may_begin() && !rounds.may_begin());
        assert_eq!([rounds.answered(), rounds.answered()], [false, true]);
        assert!(rounds.may_begin());
        rounds.begun(1);
        assert!(!rounds.answered());
        assert!(rounds.may_begin());
        rounds.begun(0);
        assert!(rounds.may_begin(), "a round without a question is over");
    }
}
