//! Order by key: of each key at most one is attempted at a time, and what waits for a retry holds up its own key alone.
//!
//! A key with anything in memory or in flight has a line. Its head may be attempted, and is among the fresh ones or the retries
//! of the queue; few more stand behind it. What finds no room there is left to the store: the line is *parked* from that place
//! on, pages leave its key out, and once nothing of it is in memory it is read by itself. So a key that is blocked takes next to
//! no memory, however much there is of it. What only waits for its turn is not parked, unless heads are scarce: while there are
//! some to attempt, nothing more is read until there is room. With too many lines parked nothing new is read either: the
//! endpoint waits for them.
//!
//! All that lies at or below the queue's `cursor` is in memory, or in flight, or of a parked line at or above its place, or a
//! retry without a key that the queue's `horizon` stands for. No line is parked above the cursor: pages leave out all of its
//! key. Events without a key have no order among themselves.

mod lines;

use std::{collections::HashSet, sync::Arc};

use super::{
    KEEP, MAX_DELAYED, Queue,
    item::{Due, Item, Key, RetryAt, fresh_item, stored_item},
    paging::{AHEAD, Paging},
};
use crate::{
    clock::{Mono, Now},
    event::Accepted,
    quota::Share,
    store::{Cursor, Page, PendingRow},
};
pub(super) use lines::Lines;
use lines::{LINE, Name, Spot};

/// Below this share of their bound heads are scarce.
const SCARCE: usize = 16;
/// So many lines are looked at each second that find no room, about.
const POLLED: usize = 32;

impl Queue {
    /// In order of keys: these are in flight.
    pub fn adopt<'a>(&mut self, in_flight: impl Iterator<Item = &'a Item>) {
        let Some(lines) = &mut self.lines else { return };
        for item in in_flight {
            if let Some(name) = &item.event.key {
                lines.adopt(name, item.key());
            }
        }
    }

    /// Whether enough waits behind heads, and there are some to attempt: nothing more is read.
    pub(super) fn is_crowded(&self) -> bool {
        self.lines.as_ref().is_some_and(|lines| lines.waiting() > self.window() / 2 && !self.heads_are_scarce())
    }

    fn heads_are_scarce(&self) -> bool {
        self.fresh.len() <= self.window() / SCARCE
    }

    fn are_full(&self) -> bool {
        self.lines.as_ref().is_some_and(Lines::are_full)
    }

    pub(super) fn push_keyed(&mut self, event: Arc<Accepted>) {
        let (key, name) = ((event.seq, 0), event.key.clone());
        if self.are_full() {
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
        match (spot, name, due) {
            (Some(Spot::Parked), ..) => true,
            (Some(Spot::Behind), Some(name), _) => self.admit_behind(key, name, weight, item),
            (_, name, None) => self.admit_fresh(key, name, weight, item),
            (_, name, Some(due)) => self.admit_retry(key, name, weight, due, now, item),
        }
    }

    fn admit_behind(&mut self, key: Key, name: &Name, weight: usize, item: impl FnOnce(Share) -> Item) -> bool {
        let (room, scarce) = (self.window(), self.heads_are_scarce());
        let Some(lines) = &mut self.lines else { return false };
        let has_room = lines.has_room(name);
        if let Some(share) = (has_room && lines.waiting() < room).then(|| self.budget.take(weight)).flatten() {
            lines.stand_behind(name, item(share));
            self.held.insert(key);
            return true;
        }
        (scarce || !has_room) && self.park_if_allowed(name, key, Mono::default())
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
            // There is no room. Others have to make some first; where many wait for that, each looks more seldom.
            (None, Some(name)) => {
                let crowd = self.lines.as_ref().map_or(0, Lines::thirsty) / POLLED;
                let seldom = AHEAD.saturating_mul(1 + u32::try_from(crowd).unwrap_or(u32::MAX - 1));
                self.park_if_allowed(name, key, now.after(ahead.max(seldom)))
            }
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
        let allowed = !self.are_full();
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

    /// Leaves what waits in a line to the store.
    fn park_waiting(&mut self, name: &Name) {
        if let Some(from) = self.lines.as_ref().and_then(|lines| lines.first_waiting(name)) {
            self.park(name, from, Mono::default());
        }
    }

    /// Leaves what waits in all lines to the store.
    pub(super) fn park_all(&mut self) {
        self.line_names().iter().for_each(|name| self.park_waiting(name));
    }

    fn line_names(&self) -> Vec<Name> {
        self.lines.as_ref().map_or_else(Vec::new, Lines::names)
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
        let crowded = (crowded && !self.delayed.is_empty()) || self.delayed.len() >= MAX_DELAYED;
        if !self.is_first_of_line(&name, key) {
            self.leave_in_line(&name, key);
        } else if crowded || at.delay > KEEP {
            self.park(&name, key, now.mono.after(at.delay.saturating_sub(AHEAD)));
        } else {
            // They would only take the room of others.
            let gone = self.lines.as_mut().map(|lines| lines.hold_up(&name, key)).unwrap_or_default();
            for key in gone.keys() {
                self.held.remove(key);
            }
            self.insert_delayed(item, due);
        }
        self.advance_line(&name);
        None
    }

    /// One that was in flight waits in the store alone, if it is there still. Tells whether it has a line.
    pub(super) fn leave_line_to_store(&mut self, key: Key) -> bool {
        let Some(name) = self.lines.as_mut().and_then(|lines| lines.leave(key)) else { return false };
        self.leave_in_line(&name, key);
        self.advance_line(&name);
        true
    }

    fn is_first_of_line(&self, name: &Name, key: Key) -> bool {
        !self.is_unplaced(key) && self.lines.as_ref().is_some_and(|lines| lines.is_first(name, key))
    }

    /// It is read again in its turn.
    fn leave_in_line(&mut self, name: &Name, key: Key) {
        if self.is_unplaced(key) {
            self.rewind(key);
        } else {
            self.park(name, key, Mono::default());
        }
    }

    pub(super) fn forget_lines_above(&mut self, last: Option<Key>) {
        let mut gone = HashSet::new();
        for name in self.line_names() {
            gone.extend(self.lines.iter_mut().flat_map(|lines| lines.forget_above(&name, last)));
            self.advance_line(&name);
        }
        self.delayed.retain(|(_, key), _| !gone.contains(key));
        self.held.retain(|key| !gone.contains(key));
        if let Some(paging) = self.paging.as_mut().filter(|paging| paging.line.is_some()) {
            paging.stale = true;
        }
    }

    /// These wait no longer.
    pub(super) fn forget_in_lines(&mut self, keys: &HashSet<Key>) {
        if let Some(lines) = &mut self.lines {
            lines.forget(keys);
            keys.iter().for_each(|key| self.advance(*key));
        }
    }

    /// A page in the order of the store, without what is parked.
    pub(super) fn keyed_cursor(&self) -> Option<Cursor> {
        self.lines.as_ref().map(|lines| Cursor::Keyed { after: self.cursor, without: lines.parked() })
    }

    pub(super) fn loaded_keyed(&mut self, page: Page, paging: &mut Paging, now: Now) {
        for row in page.rows {
            let key = (row.event.seq, row.run);
            if !self.admit_row(row, paging, now) {
                return;
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

    /// Takes in what was read, unless it is known already.
    fn admit_row(&mut self, row: PendingRow, paging: &Paging, now: Now) -> bool {
        let (key, weight, name) = ((row.event.seq, row.run), row.event.weight(), row.event.key.clone());
        if self.held.contains(&key) || paging.touched.contains(&key) {
            return true;
        }
        let due = row.due.map(|wall| self.due(&row, wall, now));
        let admitted = self.admit(key, name.as_ref(), weight, due, now.mono, |share| stored_item(row, due, share));
        self.starved |= !admitted && !self.are_full() && !self.is_crowded() && self.fresh.len() < self.window();
        admitted
    }

    /// What a line has left to the store: of what is there a part, so that other lines find room too.
    pub(super) fn loaded_line(&mut self, name: &Name, mut page: Page, paging: &Paging, now: Now) {
        if self.lines.as_mut().and_then(|lines| lines.unpark(name)).is_none() {
            return;
        }
        let room = self.window().saturating_sub(self.lines.as_ref().map_or(0, Lines::waiting)) / 2;
        let part = 1 + room.min(LINE);
        if page.rows.len() > part {
            page.rows.truncate(part);
            page.end = false;
        }
        let mut rest = paging.from.filter(|_| !page.end || paging.overflow);
        for row in page.rows {
            let key = (row.event.seq, row.run);
            if self.cursor < Some(key) {
                // It is read in its turn.
                rest = None;
                break;
            }
            if !self.admit_row(row, paging, now) {
                rest = Some(key);
                break;
            }
            rest = rest.map(|_| (key.0, key.1.saturating_add(1)));
        }
        if let Some(from) = rest {
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
