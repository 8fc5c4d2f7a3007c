//! All rules together, without a clock and without an actor: what becomes of each event, and when what is held is let go.
//!
//! An event passes when every rule that covers it lets it pass. One that a rule suppresses opens no window anywhere. One that
//! rules hold is released when the last of them lets it go, and ends as coalesced when a later one replaces it in any.

#[cfg(test)]
mod laws;

use std::{collections::BTreeMap, mem, sync::Arc};

use super::{Rule, RuleName};
use crate::{
    clock::{Mono, Now},
    dispatch::{
        Fate, Judged,
        window::{MAX_KEYS, Passing, Ruling, Terms, Windows},
    },
    event::Accepted,
    intake::Permit,
    quota::{Quota, Share},
    store::{Admitted, Debounced, WindowChange},
};

/// The rules, their windows, and what they hold.
pub struct Judge {
    rules: BTreeMap<RuleName, (Rule, Windows)>,
    held: BTreeMap<u64, Held>,
    /// Bytes of events that may be held.
    room: Arc<Quota>,
    judged: Vec<Judged>,
    /// Windows that changed by no event.
    loose: Vec<WindowChange>,
}

/// An event that waits, with every window that holds it or did.
struct Held {
    event: Arc<Accepted>,
    places: Vec<Place>,
    _share: Share,
}

#[derive(Clone)]
struct Place {
    rule: RuleName,
    key: String,
    waits: bool,
}

/// What a rule says to an event.
struct Said {
    rule: RuleName,
    key: String,
    ruling: Ruling,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Effects {
    /// Events that were judged, in this order.
    pub judged: Vec<Judged>,
    /// Windows that changed after those.
    pub windows: Vec<WindowChange>,
}

impl Judge {
    /// A judge who has seen nothing. Events are held up to `room`; beyond it they pass.
    pub fn new(rules: Vec<(RuleName, Rule)>, room: Arc<Quota>) -> Self {
        let rules = rules.into_iter().map(|(name, rule)| (name, with_windows(rule))).collect();
        Self { rules, held: BTreeMap::new(), room, judged: Vec::new(), loose: Vec::new() }
    }

    /// Puts back what was kept. An event that no window holds any more, because its rule is another one now, is released.
    pub fn restore(&mut self, windows: Vec<WindowChange>, held: Vec<Arc<Accepted>>, now: Now) {
        for event in held {
            let share = self.room.take_anyway(event.weight());
            self.held.insert(event.seq, Held { event, places: Vec::new(), _share: share });
        }
        for WindowChange { rule, key, slot } in windows {
            let Some((name, (_, windows))) = self.rules.iter_mut().find(|(name, _)| name.as_str() == rule) else {
                continue;
            };
            let Some(slot) = slot else { continue };
            windows.restore(&key, slot, now);
            match slot.held.map(|held| self.held.get_mut(&held.seq)) {
                Some(Some(held)) => held.places.push(Place { rule: name.clone(), key, waits: true }),
                Some(None) => drop(windows.let_go(&key, None, now)),
                None => {}
            }
        }
        let orphans: Vec<_> =
            self.held.iter().filter(|(_, held)| held.places.is_empty()).map(|(seq, _)| *seq).collect();
        orphans.into_iter().for_each(|seq| self.release(seq, now));
    }

    /// Judges an accepted event by when it was accepted.
    pub fn judge(&mut self, Admitted { event, permit }: Admitted, now: Now) {
        self.reset(&event, now);
        let said = self.ask(&event, now);
        if let Some(Said { rule, key, .. }) = said.iter().find(|said| said.ruling == Ruling::Suppress) {
            self.with(rule, |windows| windows.add(key, 1, now));
            let debounced = Debounced { suppressed_by: Some(rule.to_string()), ..Debounced::default() };
            return self.tell(event, Fate::Suppressed, debounced, permit);
        }
        let holds = said.iter().any(|said| said.ruling == Ruling::Hold);
        match holds.then(|| self.room.take(event.weight())).flatten() {
            Some(share) => self.hold(event, said, share, permit, now),
            None => self.pass(event, &said, permit, now),
        }
    }

    /// Lets go of what has waited long enough.
    pub fn tick(&mut self, now: Now) {
        for rule in self.names() {
            for key in self.with(&rule, |windows| windows.overdue(now.mono)).unwrap_or_default() {
                self.let_go(&rule, &key, now);
            }
        }
    }

    /// When something is to be let go.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.rules.values().filter_map(|(_, windows)| windows.next_deadline()).min()
    }

    /// Sets a rule, or removes it. Its windows are forgotten, and what they hold is released.
    pub fn set_rule(&mut self, name: RuleName, rule: Option<Rule>, now: Now) {
        let keys = self.with(&name, |windows| windows.keys()).unwrap_or_default();
        keys.iter().for_each(|key| self.let_go(&name, key, now));
        self.with(&name, Windows::clear);
        // Before any change of the new rule's windows.
        self.loose = self.changes();
        match rule {
            Some(rule) => drop(self.rules.insert(name, with_windows(rule))),
            None => drop(self.rules.remove(&name)),
        }
    }

    /// Releases everything that is held.
    pub fn release_all(&mut self, now: Now) {
        for seq in self.held.keys().copied().collect::<Vec<_>>() {
            for Place { rule, key, .. } in self.held.get(&seq).map(|held| held.places.clone()).unwrap_or_default() {
                self.with(&rule, |windows| windows.let_go(&key, Some(seq), now));
            }
            self.release(seq, now);
        }
    }

    /// No delivery of this event succeeded: the windows that it opened end, where their rule wants that.
    pub fn failed(&mut self, seq: u64, now: Now) {
        for rule in self.names() {
            let taken = self.with(&rule, |windows| windows.taken_by(seq).map(str::to_owned)).flatten();
            let Some(key) = taken else { continue };
            self.let_go(&rule, &key, now);
            self.with(&rule, |windows| windows.end(&key, now));
        }
    }

    /// Whether a window ends when this event fails.
    pub fn is_taker(&self, seq: u64) -> bool {
        self.rules.values().any(|(_, windows)| windows.taken_by(seq).is_some())
    }

    /// The events by whose failure a window ends.
    pub fn takers(&self) -> Vec<u64> {
        self.rules.values().flat_map(|(_, windows)| windows.takers()).collect()
    }

    /// Whether any rule wants to know of failures.
    pub fn wants_failures(&self) -> bool {
        self.rules.values().any(|(rule, _)| rule.policy.release_on_failure)
    }

    /// Keys with a window, over all rules.
    pub fn keys(&self) -> usize {
        self.rules.values().map(|(_, windows)| windows.len()).sum()
    }

    /// What is to be done since this was last asked.
    pub fn take_effects(&mut self) -> Effects {
        Effects { judged: mem::take(&mut self.judged), windows: self.changes() }
    }

    fn names(&self) -> Vec<RuleName> {
        self.rules.keys().cloned().collect()
    }

    fn with<T>(&mut self, rule: &RuleName, work: impl FnOnce(&mut Windows) -> T) -> Option<T> {
        self.rules.get_mut(rule).map(|(_, windows)| work(windows))
    }

    fn reset(&mut self, event: &Accepted, now: Now) {
        let mut meant = Vec::new();
        for (name, (rule, windows)) in self.rules.iter().filter(|(_, (rule, _))| rule.policy.resets(event)) {
            let carried = rule.carried_by(event);
            let keys = carried.map(|carried| windows.meant(&carried)).unwrap_or_default();
            meant.extend(keys.into_iter().map(|key| (name.clone(), key)));
        }
        for (rule, key) in meant {
            self.let_go(&rule, &key, now);
            self.with(&rule, |windows| windows.end(&key, now));
        }
    }

    /// What every rule that covers an event says to it.
    fn ask(&mut self, event: &Accepted, now: Now) -> Vec<Said> {
        let at = event.accepted_at;
        let covering = self.rules.iter().filter(|(_, (rule, _))| rule.covers(event));
        let covering: Vec<_> = covering.map(|(name, (rule, _))| (name.clone(), rule.key_of(event))).collect();
        for (rule, key) in &covering {
            if self.with(rule, |windows| windows.is_overdue(key, at)) == Some(true) {
                self.let_go(rule, key, now);
            }
            self.with(rule, |windows| windows.prune(at));
        }
        let said = |(rule, key): (RuleName, String)| {
            let ruling = self.with(&rule, |windows| windows.judge(&key, at))?;
            Some(Said { rule, key, ruling })
        };
        covering.into_iter().filter_map(said).collect()
    }

    fn hold(&mut self, event: Arc<Accepted>, said: Vec<Said>, share: Share, permit: Option<Permit>, now: Now) {
        let (seq, at) = (event.seq, event.accepted_at);
        let (mut count, mut replaced, mut places) = (0, Vec::new(), Vec::new());
        for Said { rule, key, ruling } in said {
            if ruling == Ruling::Hold {
                let old = self.with(&rule, |windows| windows.hold(&key, seq, at, now)).flatten();
                replaced.extend(old.map(|old| (old, rule.clone(), Some(key.clone()))));
                places.push(Place { rule, key, waits: true });
            } else {
                let found = self.with(&rule, |windows| windows.passed(&key, seq, at, now)).unwrap_or_default();
                count += found.count;
                replaced.extend(found.replaced.map(|old| (old, rule, None)));
            }
        }
        let (coalesced, more) = self.coalesce(replaced, now);
        let event = with_count(event, count + more);
        self.held.insert(seq, Held { event: Arc::clone(&event), places, _share: share });
        self.tell(event, Fate::Held, Debounced { coalesced, ..Debounced::default() }, permit);
    }

    fn pass(&mut self, event: Arc<Accepted>, said: &[Said], permit: Option<Permit>, now: Now) {
        let (seq, at) = (event.seq, event.accepted_at);
        let (mut count, mut replaced) = (0, Vec::new());
        for Said { rule, key, .. } in said {
            let found = self.with(rule, |windows| windows.passed(key, seq, at, now));
            let Passing { count: more, replaced: old } = found.unwrap_or_default();
            count += more;
            replaced.extend(old.map(|old| (old, rule.clone(), None)));
        }
        let (coalesced, more) = self.coalesce(replaced, now);
        let event = with_count(event, count + more);
        self.tell(event, Fate::Passed, Debounced { coalesced, ..Debounced::default() }, permit);
    }

    /// Ends events that were held, each with the rule by which it was replaced first. They count in the window of that rule
    /// where a key is given; the others are told as a sum.
    fn coalesce(&mut self, replaced: Vec<(u64, RuleName, Option<String>)>, now: Now) -> (Vec<(u64, String)>, u64) {
        let (mut coalesced, mut sum) = (Vec::new(), 0);
        for (seq, rule, key) in replaced {
            let Some(old) = self.held.remove(&seq) else { continue };
            for Place { rule, key, .. } in old.places {
                self.with(&rule, |windows| windows.let_go(&key, Some(seq), now));
            }
            let count = 1 + old.event.suppressed;
            match key {
                Some(key) => drop(self.with(&rule, |windows| windows.add(&key, count, now))),
                None => sum += count,
            }
            coalesced.push((seq, rule.to_string()));
        }
        (coalesced, sum)
    }

    /// A window lets go of what it holds; that is released when no other one holds it.
    fn let_go(&mut self, rule: &RuleName, key: &str, now: Now) {
        let Some(seq) = self.with(rule, |windows| windows.let_go(key, None, now)).flatten() else { return };
        let Some(held) = self.held.get_mut(&seq) else { return };
        held.places
            .iter_mut()
            .filter(|place| place.rule == *rule && place.key == key)
            .for_each(|place| place.waits = false);
        if held.places.iter().all(|place| !place.waits) {
            self.release(seq, now);
        }
    }

    fn release(&mut self, seq: u64, now: Now) {
        let Some(held) = self.held.remove(&seq) else { return };
        let mut count = held.event.suppressed;
        for Place { rule, key, .. } in &held.places {
            count += self.with(rule, |windows| windows.released(key, seq, now)).unwrap_or_default();
        }
        let event = with_count(held.event, count);
        self.tell(event, Fate::Released(now.wall), Debounced::default(), None);
    }

    /// An event goes on, and with it all that has changed so far.
    fn tell(&mut self, event: Arc<Accepted>, fate: Fate, debounced: Debounced, permit: Option<Permit>) {
        let debounced = Debounced { windows: self.changes(), ..debounced };
        self.judged.push(Judged { event, fate, debounced, permit });
    }

    fn changes(&mut self) -> Vec<WindowChange> {
        let mut all = mem::take(&mut self.loose);
        for (name, (_, windows)) in &mut self.rules {
            let change = |(key, slot)| WindowChange { rule: name.to_string(), key, slot };
            all.extend(windows.take_changes().into_iter().map(change));
        }
        all
    }
}

fn with_windows(rule: Rule) -> (Rule, Windows) {
    let windows = Windows::new(Terms::from(&rule.policy), MAX_KEYS);
    (rule, windows)
}

fn with_count(mut event: Arc<Accepted>, count: u64) -> Arc<Accepted> {
    if event.suppressed != count {
        Arc::make_mut(&mut event).suppressed = count;
    }
    event
}
