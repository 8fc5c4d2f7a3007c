//! The Debouncer suppresses and holds repeats: which events count as the same, for how long, and which of them passes.

mod builder;
pub mod judge;
pub mod rule;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix::{Actor, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, WrapFuture};

pub use crate::endpoint::debounce::Edge;
use crate::{
    actor::{Alarm, OnDeath, Sentinel, Yielder, told, yield_now},
    clock::Clock,
    deliver::FailureObserver,
    dispatch::{self, ASKED, Barrier, Dispatch, Dispatcher, KeepWindows, Rounds},
    event::Accepted,
    quota::Quota,
    store::{Admitted, DeliveryId, Store, WindowChange},
};
pub use builder::Debounce;
use judge::{Effects, Judge};
pub use rule::{Rule, RuleName};

/// Bytes of events that are held, over all rules; beyond it events pass.
const HELD_BYTES: usize = 64 << 20;

/// Judges events by the rules, in the order of their seqs, and lets go of what is held when its time has come.
pub struct Debouncer {
    judge: Judge,
    dispatcher: Addr<Dispatcher>,
    store: Arc<dyn Store>,
    clock: Clock,
    alarm: Alarm,
    begun: bool,
    /// Whether failures are of interest to any rule.
    watching: Arc<AtomicBool>,
    rounds: Rounds,
    yielder: Yielder,
    _sentinel: Sentinel,
}

/// Accepted events, in the order of their seqs.
pub struct Admit(pub Vec<Admitted>);
/// Sets a rule, or removes it. Answered once it is in force. A rule that changes starts with no windows, and what they held
/// passes.
pub struct SetRule(pub RuleName, pub Option<Rule>);
/// Everything that was accepted before the start has been judged: from now on the time counts.
pub struct Begin;
/// Lets go of everything that is held. Answered once it is on its way.
pub struct ReleaseAll;
/// Deliveries may have failed for good that nobody has told of one by one: those of a whole endpoint, or many at once.
pub struct LookAgain;
/// A delivery of this event failed for good.
struct Failed(u64);

/// Answers how many keys have an open window.
pub struct Keys;

told!(Admit, Begin, Failed, LookAgain);
impl Message for Keys {
    type Result = usize;
}
impl Message for SetRule {
    type Result = ();
}
impl Message for ReleaseAll {
    type Result = ();
}

/// What was kept of an earlier run.
pub struct Kept {
    /// How windows stood.
    pub windows: Vec<WindowChange>,
    /// Events that were held.
    pub held: Vec<Arc<Accepted>>,
}

impl Debouncer {
    /// A Debouncer with these rules and what was kept.
    pub(crate) fn new(
        rules: Vec<(RuleName, Rule)>,
        kept: Kept,
        dispatcher: Addr<Dispatcher>,
        store: Arc<dyn Store>,
        clock: Clock,
        on_death: &OnDeath,
    ) -> Self {
        let mut judge = Judge::new(rules, Quota::new(HELD_BYTES));
        judge.restore(kept.windows, kept.held, clock.now());
        let watching = Arc::new(AtomicBool::new(judge.wants_failures()));
        let (yielder, _sentinel) = (Yielder::default(), Sentinel::new("debouncer", on_death));
        Self {
            judge,
            dispatcher,
            store,
            clock,
            alarm: Alarm::default(),
            begun: false,
            watching,
            rounds: Rounds::default(),
            yielder,
            _sentinel,
        }
    }

    /// Starts it; with it comes who is to be told of final failures.
    pub fn start_watching(self) -> (Addr<Self>, FailureObserver) {
        let watching = Arc::clone(&self.watching);
        let debouncer = self.start();
        // It stands behind this one in the pipeline, and must not keep it alive.
        let weak = debouncer.downgrade();
        let observer = move |delivery: DeliveryId| {
            if let Some(debouncer) = weak.upgrade().filter(|_| watching.load(Ordering::Acquire)) {
                debouncer.do_send(Failed(delivery.seq));
            }
        };
        (debouncer, Box::new(observer))
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        let Effects { judged, windows } = self.judge.take_effects();
        if !judged.is_empty() {
            self.dispatcher.do_send(Dispatch(judged));
        }
        if !windows.is_empty() {
            self.dispatcher.do_send(KeepWindows(windows));
        }
        let deadline = self.judge.next_deadline().filter(|_| self.begun);
        self.alarm.set(deadline, &self.clock, ctx, Self::ring);
        if self.yielder.is_time() {
            yield_now(self, ctx);
        }
    }

    fn ring(&mut self, ctx: &mut Context<Self>) {
        self.alarm.rung();
        self.judge.tick(self.clock.now());
        self.carry_out(ctx);
    }

    /// Ends the windows of all events that failed for good, as the store knows it.
    fn look_again(&mut self, ctx: &mut Context<Self>) {
        if !self.rounds.may_begin() {
            return;
        }
        let takers = self.judge.takers();
        self.rounds.begun(takers.chunks(ASKED).count());
        takers.chunks(ASKED).for_each(|seqs| self.look_for_failed(seqs.to_vec(), true, ctx));
    }

    fn look_for_failed(&self, seqs: Vec<u64>, in_round: bool, ctx: &mut Context<Self>) {
        let failed = self.store.failed(None, seqs).into_actor(self).map(move |failed, debouncer, ctx| {
            let now = debouncer.clock.now();
            failed.unwrap_or_default().into_iter().for_each(|seq| debouncer.judge.failed(seq, now));
            debouncer.carry_out(ctx);
            if in_round && debouncer.rounds.answered() {
                debouncer.look_again(ctx);
            }
        });
        ctx.spawn(failed);
    }
}

impl Actor for Debouncer {
    type Context = Context<Self>;
}

impl Handler<Admit> for Debouncer {
    type Result = ();

    fn handle(&mut self, Admit(events): Admit, ctx: &mut Self::Context) {
        let now = self.clock.now();
        events.into_iter().for_each(|admitted| self.judge.judge(admitted, now));
        self.carry_out(ctx);
    }
}

impl Handler<Begin> for Debouncer {
    type Result = ();

    fn handle(&mut self, _: Begin, ctx: &mut Self::Context) {
        self.begun = true;
        self.look_again(ctx);
        self.carry_out(ctx);
        self.dispatcher.do_send(dispatch::Begin);
    }
}

impl Handler<SetRule> for Debouncer {
    type Result = ();

    fn handle(&mut self, SetRule(name, rule): SetRule, ctx: &mut Self::Context) {
        self.judge.set_rule(name, rule, self.clock.now());
        self.watching.store(self.judge.wants_failures(), Ordering::Release);
        self.carry_out(ctx);
    }
}

impl Handler<ReleaseAll> for Debouncer {
    type Result = ();

    fn handle(&mut self, _: ReleaseAll, ctx: &mut Self::Context) {
        self.judge.release_all(self.clock.now());
        self.carry_out(ctx);
        self.dispatcher.do_send(dispatch::ReleaseAll);
    }
}

impl Handler<LookAgain> for Debouncer {
    type Result = ();

    fn handle(&mut self, _: LookAgain, ctx: &mut Self::Context) {
        self.look_again(ctx);
        self.dispatcher.do_send(dispatch::LookAgain);
    }
}

impl Handler<Failed> for Debouncer {
    type Result = ();

    fn handle(&mut self, Failed(seq): Failed, ctx: &mut Self::Context) {
        if self.judge.is_taker(seq) {
            self.look_for_failed(vec![seq], false, ctx);
        }
    }
}

impl Handler<Keys> for Debouncer {
    type Result = usize;

    fn handle(&mut self, _: Keys, _: &mut Self::Context) -> usize {
        self.judge.keys()
    }
}

impl Handler<Barrier> for Debouncer {
    type Result = ();

    fn handle(&mut self, barrier: Barrier, _: &mut Self::Context) {
        self.dispatcher.do_send(barrier);
    }
}
