//! Order by key: of each key at most one is attempted at a time, and what waits for a retry holds up its own key alone.
//!
//! A key with anything in memory or in flight has a line. Its head may be attempted, and is among the fresh ones or the retries
//! of the queue; few more stand behind it. What finds no room there is left to the store: the line is *parked* from that place
//! on, pages leave its key out, and once nothing of it is in memory it is read by itself. So a key that is blocked takes next to
//! no memory, however much there is of it. With [`MAX_PARKED`] lines parked nothing new is read: the endpoint waits for them.
//!
//! All that lies at or below the queue's `cursor` is in memory, or in flight, or of a parked line at or above its place, or a
//! retry without a key that the queue's `horizon` stands for. Events without a key have no order among themselves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use super::{
    KEEP, MAX_DELAYED, Queue,
    item::{Due, Item, Key, RetryAt, fresh_item, stored_item},
    paging::{AHEAD, Paging},
};
use crate::{
    clock::{Mono, Now},
    event::Accepted,
    quota::Share,
    store::{Cursor, Page},
};

/// Deliveries behind one head, at most.
const LINE: usize = 64;
/// Parked lines, at most, but for those that a failure parks.
const MAX_PARKED: usize = 1024;

/// An event's key.
type Name = Arc<str>;

/// The lines of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Lines {
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
enum Spot {
    Head,
    Behind,
    Parked,
}

impl Line {
    fn is_busy(&self) -> bool {
        self.head.is_some() || !self.flying.is_empty()
    }
}

impl Lines {
    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Deliveries behind heads.
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn has_parked(&self) -> bool {
        self.parked > 0
    }

    /// Whether nothing new can be read.
    pub(super) fn are_full(&self) -> bool {
        self.parked >= MAX_PARKED
    }

    /// When the first thirsty line is to be read.
    pub(super) fn look_at(&self) -> Option<Mono> {
        self.thirsty.first().map(|(moment, _)| *moment)
    }

    fn spot(&self, name: &Name, key: Key) -> Spot {
        match self.lines.get(name) {
            None => Spot::Head,
            Some(line) if !line.is_busy() && line.waiting.is_empty() && line.parked.is_none() => Spot::Head,
            Some(line) if line.parked.is_some_and(|from| from <= key) => Spot::Parked,
            Some(_) => Spot::Behind,
        }
    }

    fn set_head(&mut self, name: &Name, key: Key) {
        self.lines.entry(Arc::clone(name)).or_default().head = Some(key);
        self.names.insert(key, Arc::clone(name));
    }

    /// The attempt for a head starts.
    pub(super) fn fly(&mut self, key: Key) {
        if let Some(line) = self.names.get(&key).and_then(|name| self.lines.get_mut(name)) {
            line.head = None;
            line.flying.push(key);
        }
    }

    /// A head, or one in flight, leaves its line, which may have to be advanced.
    fn leave(&mut self, key: Key) -> Option<Name> {
        let name = self.names.remove(&key)?;
        let line = self.lines.get_mut(&name)?;
        line.head = line.head.filter(|head| *head != key);
        line.flying.retain(|flying| *flying != key);
        Some(name)
    }

    fn has_room(&self, name: &Name, all: usize) -> bool {
        self.waiting < all && self.lines.get(name).is_some_and(|line| line.waiting.len() < LINE && line.is_busy())
    }

    /// Leaves everything of a line from `from` on to the store, but for its head and what is in flight. Tells what waited.
    fn park(&mut self, name: &Name, from: Key, look_at: Mono) -> BTreeMap<Key, Item> {
        let line = self.lines.entry(Arc::clone(name)).or_default();
        self.parked += usize::from(line.parked.is_none());
        line.parked = Some(line.parked.map_or(from, |parked| parked.min(from)));
        let gone = line.waiting.split_off(&from);
        self.waiting -= gone.len();
        self.thirst(name, look_at);
        gone
    }

    /// A line that is parked and has nothing else is to be read at this moment, unless that is known already.
    fn thirst(&mut self, name: &Name, look_at: Mono) {
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

    fn unpark(&mut self, name: &Name) -> Option<Key> {
        self.quench(name);
        let parked = self.lines.get_mut(name).and_then(|line| line.parked.take());
        self.parked -= usize::from(parked.is_some());
        parked
    }

    /// The next of a line that nobody holds up any more.
    fn next(&mut self, name: &Name) -> Option<Item> {
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

    /// All parked lines: what a page leaves out.
    pub(super) fn parked(&self) -> BTreeSet<Name> {
        self.lines.iter().filter(|(_, line)| line.parked.is_some()).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Which line to read now, and from where on.
    pub(super) fn take_thirsty(&mut self, now: Mono) -> Option<(Name, Key)> {
        let (_, name) = self.thirsty.first().filter(|(moment, _)| *moment <= now)?;
        let name = Arc::clone(name);
        self.quench(&name);
        let from = self.lines.get(&name)?.parked?;
        Some((name, from))
    }

    /// Every thirsty line is to be read at once.
    pub(super) fn hurry(&mut self) {
        for (_, name) in std::mem::take(&mut self.thirsty) {
            if let Some(line) = self.lines.get_mut(&name) {
                line.look_at = Some(Mono::default());
                self.thirsty.insert((Mono::default(), name));
            }
        }
    }

    /// Waits behind heads in no line any more: the keys of what did, and where each line goes on.
    fn first_waiting(&self) -> Vec<(Name, Key)> {
        let first = |line: &Line| line.waiting.first_key_value().map(|(key, _)| *key);
        self.lines.iter().filter_map(|(name, line)| Some((Arc::clone(name), first(line)?))).collect()
    }

    /// Forgets what lies above `last` and is not in flight; tells what that was.
    fn forget_above(&mut self, last: Option<Key>) -> HashSet<Key> {
        let (mut gone, above) = (HashSet::new(), |key: &Key| last.is_none_or(|last| *key > last));
        let names: Vec<_> = self.lines.keys().cloned().collect();
        for name in names {
            if self.lines.get(&name).and_then(|line| line.parked).is_some_and(|parked| above(&parked)) {
                self.unpark(&name);
            }
            let Some(line) = self.lines.get_mut(&name) else { continue };
            let waiting: Vec<_> = line.waiting.extract_if(.., |key, _| above(key)).map(|(key, _)| key).collect();
            self.waiting -= waiting.len();
            gone.extend(waiting);
            if let Some(head) = line.head.take_if(|head| above(head)) {
                self.names.remove(&head);
                gone.insert(head);
            }
            if !line.is_busy() && line.waiting.is_empty() && line.parked.is_none() {
                self.lines.remove(&name);
            }
        }
        gone
    }
}

impl Queue {
    /// In order of keys: these are in flight.
    pub fn adopt<'a>(&mut self, in_flight: impl Iterator<Item = &'a Item>) {
        let Some(lines) = &mut self.lines else { return };
        for item in in_flight {
            if let Some(name) = &item.event.key {
                lines.lines.entry(Arc::clone(name)).or_default().flying.push(item.key());
                lines.names.insert(item.key(), Arc::clone(name));
            }
        }
    }

    pub(super) fn push_keyed(&mut self, event: Arc<Accepted>) {
        let (key, name) = ((event.seq, 0), event.key.clone());
        if self.lines.as_ref().is_some_and(Lines::are_full) {
            self.behind = true;
            return;
        }
        if let Some(paging) = self.paging.as_mut().filter(|paging| paging.line.is_some() && paging.line == name) {
            // The page of this line may not show it.
            paging.overflow = true;
        }
        let weight = event.weight();
        if self.admit(key, name.as_ref(), weight, None, Mono::default(), |share| fresh_item(event, share)) {
            self.reach(key);
        } else {
            self.behind = true;
        }
    }

    /// Takes in the next delivery of the store's order, or notes that it is there; `false` when there is no room to go on.
    fn admit(
        &mut self,
        key: Key,
        name: Option<&Name>,
        weight: usize,
        due: Option<Due>,
        now: Mono,
        item: impl FnOnce(Share) -> Item,
    ) -> bool {
        let spot = name.zip(self.lines.as_ref()).map(|(name, lines)| lines.spot(name, key));
        match (spot, name) {
            (Some(Spot::Parked), _) => true,
            (Some(Spot::Behind), Some(name)) => self.admit_behind(key, name, weight, item),
            (_, name) => match due {
                None => self.admit_fresh(key, name, weight, item),
                Some(due) => self.admit_retry(key, name, weight, due, now, item),
            },
        }
    }

    fn admit_behind(&mut self, key: Key, name: &Name, weight: usize, item: impl FnOnce(Share) -> Item) -> bool {
        let all = self.window() / 2;
        let Some(lines) = &mut self.lines else { return false };
        let share = lines.has_room(name, all).then(|| self.budget.take(weight)).flatten();
        if let (Some(share), Some(line)) = (share, lines.lines.get_mut(name)) {
            line.waiting.insert(key, item(share));
            lines.waiting += 1;
            self.held.insert(key);
            return true;
        }
        self.park_if_allowed(name, key, Mono::default())
    }

    fn admit_fresh(&mut self, key: Key, name: Option<&Name>, weight: usize, item: impl FnOnce(Share) -> Item) -> bool {
        let Some(share) = self.room(weight) else { return false };
        self.insert_fresh(item(share));
        self.set_head(name, key);
        true
    }

    fn admit_retry(
        &mut self,
        key: Key,
        name: Option<&Name>,
        weight: usize,
        due: Due,
        now: Mono,
        item: impl FnOnce(Share) -> Item,
    ) -> bool {
        let ahead = due.mono.since(now);
        let share = (ahead <= KEEP).then(|| self.retry_room(weight)).flatten();
        match (share, name) {
            (Some(share), _) => {
                self.insert_delayed(item(share), due);
                self.set_head(name, key);
                true
            }
            (None, Some(name)) if ahead > KEEP => {
                self.park_if_allowed(name, key, now.after(ahead.saturating_sub(AHEAD)))
            }
            // There is no room. Others have to make some first.
            (None, Some(name)) => self.park_if_allowed(name, key, now.after(ahead.max(AHEAD))),
            (None, None) => {
                self.leave(due.wall);
                true
            }
        }
    }

    fn set_head(&mut self, name: Option<&Name>, key: Key) {
        if let Some((lines, name)) = self.lines.as_mut().zip(name) {
            lines.set_head(name, key);
        }
    }

    fn park_if_allowed(&mut self, name: &Name, from: Key, look_at: Mono) -> bool {
        let allowed = self.lines.as_ref().is_some_and(|lines| !lines.are_full());
        if allowed {
            self.park(name, from, look_at);
        }
        allowed
    }

    fn park(&mut self, name: &Name, from: Key, look_at: Mono) {
        if let Some(lines) = &mut self.lines {
            for key in lines.park(name, from, look_at).keys() {
                self.held.remove(key);
            }
        }
    }

    /// One that was in flight is no more; the next of its line has its turn.
    pub(super) fn advance(&mut self, key: Key) {
        let name = self.lines.as_mut().and_then(|lines| lines.leave(key));
        if let Some(name) = name {
            self.advance_line(&name);
        }
    }

    fn advance_line(&mut self, name: &Name) {
        let Some(item) = self.lines.as_mut().and_then(|lines| lines.next(name)) else { return };
        self.set_head(Some(name), item.key());
        match item.due {
            Some(due) => self.insert_delayed(item, due),
            None => self.insert_fresh(item),
        }
    }

    /// One that was in flight waits for its next attempt, and holds up its line. Gives it back when it has none.
    pub(super) fn put_back_in_line(
        &mut self,
        item: Item,
        at: RetryAt,
        due: Due,
        crowded: bool,
        now: Now,
    ) -> Option<Item> {
        let key = item.key();
        let Some(name) = self.lines.as_mut().and_then(|lines| lines.leave(key)) else { return Some(item) };
        let line = self.lines.as_ref().and_then(|lines| lines.lines.get(&name));
        let (busy, next) = line.map_or((false, None), |line| (line.is_busy(), line.waiting.keys().next().copied()));
        let crowded = (crowded && !self.delayed.is_empty()) || self.delayed.len() >= MAX_DELAYED;
        if busy || crowded || at.delay > KEEP {
            self.park(&name, key, now.mono.after(at.delay.saturating_sub(AHEAD)));
        } else {
            self.set_head(Some(&name), key);
            self.insert_delayed(item, due);
            // They would only take the room of others.
            if let Some(next) = next {
                self.park(&name, next, Mono::default());
            }
        }
        None
    }

    /// One that was in flight waits in the store alone, if it is there still. Tells whether it has a line.
    pub(super) fn leave_line_to_store(&mut self, key: Key) -> bool {
        let Some(name) = self.lines.as_mut().and_then(|lines| lines.leave(key)) else { return false };
        self.park(&name, key, Mono::default());
        true
    }

    pub(super) fn forget_lines_above(&mut self, last: Option<Key>) {
        let Some(lines) = &mut self.lines else { return };
        let gone = lines.forget_above(last);
        self.delayed.retain(|(_, key), _| !gone.contains(key));
        self.held.retain(|key| !gone.contains(key));
        if let Some(paging) = self.paging.as_mut().filter(|paging| paging.line.is_some()) {
            paging.stale = true;
        }
    }

    /// Leaves what waits behind heads to the store.
    pub(super) fn park_all(&mut self) {
        let waiting = self.lines.as_ref().map_or_else(Vec::new, Lines::first_waiting);
        waiting.iter().for_each(|(name, from)| self.park(name, *from, Mono::default()));
    }

    /// These wait no longer.
    pub(super) fn forget_in_lines(&mut self, keys: &HashSet<Key>) {
        let Some(lines) = &mut self.lines else { return };
        for line in lines.lines.values_mut() {
            lines.waiting -= line.waiting.extract_if(.., |key, _| keys.contains(key)).count();
        }
        keys.iter().for_each(|key| self.advance(*key));
    }

    /// A page in the order of the store, without what is parked.
    pub(super) fn keyed_cursor(&self) -> Option<Cursor> {
        self.lines.as_ref().map(|lines| Cursor::Keyed { after: self.cursor, without: lines.parked() })
    }

    pub(super) fn loaded_keyed(&mut self, page: Page, paging: &mut Paging, now: Now) {
        for row in page.rows {
            let key = (row.event.seq, row.run);
            if !self.held.contains(&key) && !paging.touched.contains(&key) {
                let (due, name) = (row.due.map(|wall| self.due(&row, wall, now)), row.event.key.clone());
                let weight = row.event.weight();
                if !self.admit(key, name.as_ref(), weight, due, now.mono, |share| stored_item(row, due, share)) {
                    let full = self.lines.as_ref().is_some_and(Lines::are_full);
                    self.starved = !full && self.fresh.len() < self.window();
                    return;
                }
            }
            self.reach(key);
        }
        if let Some(through) = page.through.filter(|through| self.cursor < Some(*through)) {
            self.reach(through);
        }
        if page.end && !paging.overflow {
            self.behind = false;
            for item in std::mem::take(&mut paging.late) {
                let event = Arc::clone(&item.event);
                drop(item);
                if !self.behind && self.cursor < Some((event.seq, 0)) {
                    self.push_keyed(event);
                }
            }
        }
    }

    /// What a line has left to the store.
    pub(super) fn loaded_line(&mut self, name: &Name, page: Page, paging: &Paging, now: Now) {
        if self.lines.as_mut().and_then(|lines| lines.unpark(name)).is_none() {
            return;
        }
        let (mut after, mut ended) = (None, page.end && !paging.overflow);
        for row in page.rows {
            let key = (row.event.seq, row.run);
            if self.cursor < Some(key) {
                // It is read in its turn.
                ended = true;
                break;
            }
            if !self.held.contains(&key) && !paging.touched.contains(&key) {
                let due = row.due.map(|wall| self.due(&row, wall, now));
                let weight = row.event.weight();
                if !self.admit(key, Some(name), weight, due, now.mono, |share| stored_item(row, due, share)) {
                    self.starved = self.fresh.len() < self.window();
                    after = Some(key);
                    ended = false;
                    break;
                }
            }
            after = Some((key.0, key.1.saturating_add(1)));
        }
        if !ended && let Some(from) = after.or(paging.from) {
            self.park(name, from, Mono::default());
        }
        self.advance_line(name);
    }

    /// A page of a line did not come, or comes to nothing.
    pub(super) fn line_not_loaded(&mut self, name: &Name) {
        if let Some(lines) = &mut self.lines {
            lines.thirst(name, Mono::default());
        }
    }
}
