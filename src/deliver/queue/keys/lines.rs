//! The lines of one endpoint: who stands where in each key, and what is to be read of it.
//!
//! A line that exists is busy, or is to be read, or is being read. In memory it is in order: its head comes before what stands
//! behind it, and that before the place from which on it is parked.

#[cfg(test)]
mod laws;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use crate::{
    clock::Mono,
    deliver::queue::item::{Item, Key},
};

/// Deliveries behind one head, at most.
pub(super) const LINE: usize = 64;
/// Parked lines, at most, but for those that a failure parks.
const MAX_PARKED: usize = 1024;

/// An event's key.
pub(super) type Name = Arc<str>;

/// The lines of one endpoint.
#[derive(Debug, Default)]
pub(in crate::deliver::queue) struct Lines {
    lines: HashMap<Name, Line>,
    /// The line of each head, and of each that is in flight.
    names: HashMap<Key, Name>,
    /// Behind heads, in all lines.
    waiting: usize,
    parked: usize,
    /// Parked lines of which nothing is in memory, and when to read them.
    thirsty: BTreeSet<(Mono, Name)>,
}

#[derive(Debug, Default)]
struct Line {
    head: Option<Key>,
    /// In flight. More than one only where they started when there was no order.
    flying: Vec<Key>,
    waiting: BTreeMap<Key, Item>,
    /// From here on it is in the store alone.
    parked: Option<Key>,
    /// When it is to be read, if it is thirsty.
    look_at: Option<Mono>,
}

/// Where a delivery of a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    Head,
    Behind,
    Parked,
}

impl Line {
    fn is_busy(&self) -> bool {
        self.head.is_some() || !self.flying.is_empty()
    }

    fn is_parked_at(&self, key: Key) -> bool {
        self.parked.is_some_and(|from| from <= key)
    }
}

impl Lines {
    pub(in crate::deliver::queue) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Deliveries behind heads.
    pub(in crate::deliver::queue) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(in crate::deliver::queue) fn has_parked(&self) -> bool {
        self.parked > 0
    }

    /// Whether nothing new can be read.
    pub(in crate::deliver::queue) fn are_full(&self) -> bool {
        self.parked >= MAX_PARKED
    }

    /// Lines that are to be read.
    pub(super) fn thirsty(&self) -> usize {
        self.thirsty.len()
    }

    /// When the first thirsty line is to be read.
    pub(in crate::deliver::queue) fn look_at(&self) -> Option<Mono> {
        self.thirsty.first().map(|(moment, _)| *moment)
    }

    /// All parked lines: what a page leaves out.
    pub(super) fn parked(&self) -> BTreeSet<Name> {
        self.lines.iter().filter(|(_, line)| line.parked.is_some()).map(|(name, _)| Arc::clone(name)).collect()
    }

    pub(super) fn spot(&self, name: &Name, key: Key) -> Spot {
        match self.lines.get(name) {
            None => Spot::Head,
            Some(line) if line.is_parked_at(key) => Spot::Parked,
            Some(line) if !line.is_busy() && line.waiting.is_empty() && line.parked.is_none() => Spot::Head,
            Some(_) => Spot::Behind,
        }
    }

    pub(super) fn set_head(&mut self, name: &Name, key: Key) {
        self.lines.entry(Arc::clone(name)).or_default().head = Some(key);
        self.names.insert(key, Arc::clone(name));
    }

    /// One that waits for its next attempt is the head, and all behind it is left to the store. Tells what that was.
    pub(super) fn hold_up(&mut self, name: &Name, key: Key) -> BTreeMap<Key, Item> {
        self.set_head(name, key);
        self.first_waiting(name).map(|from| self.park(name, from, Mono::default())).unwrap_or_default()
    }

    /// One that is in flight already.
    pub(super) fn adopt(&mut self, name: &Name, key: Key) {
        self.lines.entry(Arc::clone(name)).or_default().flying.push(key);
        self.names.insert(key, Arc::clone(name));
    }

    /// The attempt for a head starts.
    pub(in crate::deliver::queue) fn fly(&mut self, key: Key) {
        if let Some(line) = self.names.get(&key).and_then(|name| self.lines.get_mut(name)) {
            line.head = None;
            line.flying.push(key);
        }
    }

    /// A head, or one in flight, leaves its line, which is to be advanced.
    pub(super) fn leave(&mut self, key: Key) -> Option<Name> {
        let name = self.names.remove(&key)?;
        let line = self.lines.get_mut(&name)?;
        line.head = line.head.filter(|head| *head != key);
        line.flying.retain(|flying| *flying != key);
        Some(name)
    }

    /// Whether one that has left its line comes before all that is known of it.
    pub(super) fn is_first(&self, name: &Name, key: Key) -> bool {
        self.lines.get(name).is_none_or(|line| {
            let waits = line.waiting.first_key_value().is_some_and(|(first, _)| *first < key);
            !line.is_busy() && !waits && !line.is_parked_at(key)
        })
    }

    /// Whether one more may stand in this line, as far as the line goes.
    pub(super) fn has_room(&self, name: &Name) -> bool {
        self.lines.get(name).is_some_and(|line| line.waiting.len() < LINE && line.is_busy())
    }

    pub(super) fn stand_behind(&mut self, name: &Name, item: Item) {
        if let Some(line) = self.lines.get_mut(name) {
            self.waiting += usize::from(line.waiting.insert(item.key(), item).is_none());
        }
    }

    /// Leaves everything of a line from `from` on to the store, but for its head and what is in flight. Tells what waited.
    pub(super) fn park(&mut self, name: &Name, from: Key, look_at: Mono) -> BTreeMap<Key, Item> {
        let line = self.lines.entry(Arc::clone(name)).or_default();
        self.parked += usize::from(line.parked.is_none());
        line.parked = Some(line.parked.map_or(from, |parked| parked.min(from)));
        let gone = line.waiting.split_off(&from);
        self.waiting -= gone.len();
        self.thirst(name, look_at);
        gone
    }

    /// A line that is parked and has nothing else is to be read at this moment, unless that is known already.
    pub(super) fn thirst(&mut self, name: &Name, look_at: Mono) {
        let Some(line) = self.lines.get_mut(name) else { return };
        if line.is_busy() || !line.waiting.is_empty() || line.parked.is_none() || line.look_at.is_some() {
            return;
        }
        line.look_at = Some(look_at);
        self.thirsty.insert((look_at, Arc::clone(name)));
    }

    fn quench(&mut self, name: &Name) {
        if let Some(look_at) = self.lines.get_mut(name).and_then(|line| line.look_at.take()) {
            self.thirsty.remove(&(look_at, Arc::clone(name)));
        }
    }

    pub(super) fn unpark(&mut self, name: &Name) -> Option<Key> {
        self.quench(name);
        let parked = self.lines.get_mut(name).and_then(|line| line.parked.take());
        self.parked -= usize::from(parked.is_some());
        parked
    }

    /// The next of a line that nobody holds up; what has nothing more is gone.
    pub(super) fn next(&mut self, name: &Name) -> Option<Item> {
        let line = self.lines.get_mut(name).filter(|line| !line.is_busy())?;
        if let Some((_, item)) = line.waiting.pop_first() {
            self.waiting -= 1;
            return Some(item);
        }
        if line.parked.is_some() {
            self.thirst(name, Mono::default());
        } else {
            self.lines.remove(name);
        }
        None
    }

    /// Which line to read now, and from where on.
    pub(in crate::deliver::queue) fn take_thirsty(&mut self, now: Mono) -> Option<(Name, Key)> {
        let (_, name) = self.thirsty.first().filter(|(moment, _)| *moment <= now)?;
        let name = Arc::clone(name);
        self.quench(&name);
        let from = self.lines.get(&name)?.parked?;
        Some((name, from))
    }

    /// Every thirsty line is to be read at once.
    pub(in crate::deliver::queue) fn hurry(&mut self) {
        for (_, name) in std::mem::take(&mut self.thirsty) {
            if let Some(line) = self.lines.get_mut(&name) {
                line.look_at = Some(Mono::default());
                self.thirsty.insert((Mono::default(), name));
            }
        }
    }

    /// Where what waits in a line begins.
    pub(super) fn first_waiting(&self, name: &Name) -> Option<Key> {
        self.lines.get(name)?.waiting.first_key_value().map(|(key, _)| *key)
    }

    pub(super) fn names(&self) -> Vec<Name> {
        self.lines.keys().cloned().collect()
    }

    /// These wait no longer.
    pub(super) fn forget(&mut self, keys: &HashSet<Key>) {
        for line in self.lines.values_mut() {
            self.waiting -= line.waiting.extract_if(.., |key, _| keys.contains(key)).count();
        }
    }

    /// Forgets what lies above `last` and is not in flight; tells what that was. The line is to be advanced.
    pub(super) fn forget_above(&mut self, name: &Name, last: Option<Key>) -> Vec<Key> {
        let above = |key: &Key| last.is_none_or(|last| *key > last);
        if self.lines.get(name).and_then(|line| line.parked).is_some_and(|parked| above(&parked)) {
            self.unpark(name);
        }
        let Some(line) = self.lines.get_mut(name) else { return Vec::new() };
        let mut gone: Vec<_> = line.waiting.extract_if(.., |key, _| above(key)).map(|(key, _)| key).collect();
        self.waiting -= gone.len();
        if let Some(head) = line.head.take_if(|head| above(head)) {
            self.names.remove(&head);
            gone.push(head);
        }
        gone
    }
}
