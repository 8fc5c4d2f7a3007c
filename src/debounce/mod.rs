//! The Debouncer suppresses repeats: which events count as the same, and for how long.

pub mod rule;
pub mod window;

use std::collections::BTreeMap;

use actix::{Actor, Addr, Context, Handler, Message};

use crate::{
    actor::{Yielder, told, yield_now},
    dispatch::{Barrier, Dispatch, Dispatcher, Judged},
    store::{Admitted, WindowChange, WindowSlot},
};
pub use rule::{Debounce, Edge, Rule, RuleName};
use window::{Ruling, Windows};

/// Keys of one rule at most; events of further keys pass.
const MAX_KEYS: usize = 100_000;

/// Judges events by the rules, in the order of their seqs.
pub struct Debouncer {
    rules: BTreeMap<RuleName, (Rule, Windows)>,
    dispatcher: Addr<Dispatcher>,
    yielder: Yielder,
}

/// Accepted events, in the order of their seqs.
pub struct Admit(pub Vec<Admitted>);
/// Sets a rule, or removes it. Answered once it is in force. A rule that changes starts with no windows.
pub struct SetRule(pub RuleName, pub Option<Rule>);

/// Answers how many keys have an open window.
pub struct Keys;

told!(Admit);
impl Message for Keys {
    type Result = usize;
}
impl Message for SetRule {
    type Result = ();
}

impl Debouncer {
    /// A Debouncer with these rules and the windows that were kept.
    pub fn new(rules: Vec<(RuleName, Rule)>, windows: Vec<WindowChange>, dispatcher: Addr<Dispatcher>) -> Self {
        let rules = rules.into_iter().map(|(name, rule)| (name, with_windows(rule))).collect();
        let mut debouncer = Self { rules, dispatcher, yielder: Yielder::default() };
        for WindowChange { rule, key, slot } in windows {
            let known = debouncer.rules.iter_mut().find(|(name, _)| name.as_str() == rule);
            if let Some(((_, (_, windows)), slot)) = known.zip(slot) {
                windows.restore(key, slot);
            }
        }
        debouncer
    }

    fn judge(&mut self, Admitted { event, permit }: Admitted) -> Judged {
        let at = event.accepted_at;
        let mut covering: Vec<_> = self
            .rules
            .iter_mut()
            .filter(|(_, (rule, _))| rule.covers(&event))
            .map(|(name, (rule, windows))| (name, rule.key_of(&event), windows))
            .collect();
        // It passes if every rule lets it pass; one that is suppressed opens no window anywhere.
        let against = covering.iter().position(|(_, key, windows)| windows.judge(key, at) == Ruling::Suppress);
        let mut changed = Vec::new();
        match against.map(|place| covering.swap_remove(place)) {
            Some((name, key, windows)) => {
                let slot = windows.suppressed(&key);
                changed.push(change(name, key, slot));
            }
            None => {
                for (name, key, windows) in covering {
                    changed.extend(windows.passed(key, at).into_iter().map(|(key, slot)| change(name, key, slot)));
                }
            }
        }
        Judged { event, suppressed: against.is_some(), windows: changed, permit }
    }
}

fn with_windows(rule: Rule) -> (Rule, Windows) {
    let windows = Windows::new(rule.window, MAX_KEYS);
    (rule, windows)
}

fn change(rule: &RuleName, key: String, slot: Option<WindowSlot>) -> WindowChange {
    WindowChange { rule: rule.to_string(), key, slot }
}

impl Actor for Debouncer {
    type Context = Context<Self>;
}

impl Handler<Admit> for Debouncer {
    type Result = ();

    fn handle(&mut self, Admit(events): Admit, ctx: &mut Self::Context) {
        let judged = events.into_iter().map(|admitted| self.judge(admitted)).collect();
        self.dispatcher.do_send(Dispatch(judged));
        if self.yielder.is_time() {
            yield_now(self, ctx);
        }
    }
}

impl Handler<SetRule> for Debouncer {
    type Result = ();

    fn handle(&mut self, SetRule(name, rule): SetRule, _: &mut Self::Context) {
        match rule {
            Some(rule) => drop(self.rules.insert(name, with_windows(rule))),
            None => drop(self.rules.remove(&name)),
        }
    }
}

impl Handler<Keys> for Debouncer {
    type Result = usize;

    fn handle(&mut self, _: Keys, _: &mut Self::Context) -> usize {
        self.rules.values().map(|(_, windows)| windows.len()).sum()
    }
}

impl Handler<Barrier> for Debouncer {
    type Result = ();

    fn handle(&mut self, barrier: Barrier, _: &mut Self::Context) {
        self.dispatcher.do_send(barrier);
    }
}
