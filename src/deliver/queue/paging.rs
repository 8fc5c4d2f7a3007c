//! Reading back what waits in the store.
//!
//! The store keeps moments of the wall clock, which may be set. Set ahead, what waits is due sooner. Set back by more than an attempt is
//! old, that attempt lies in the future, so its wait is known to have begun before: it is measured on the running clock, and
//! comes out right. Set back by less, nothing tells a wait that began before from one that began after in the time that
//! passes twice; the row is believed, and waits longer by as much as the clock went back: never too short, which might be
//! before a receiver wants to hear of us again, and never longer than the policy's longest wait from when it is read.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{
    KEEP, MAX_DELAYED, Queue, before,
    item::{Due, Item, Key, stored_item},
    keys::Lines,
};
use crate::{
    clock::{Mono, Now, Timestamp},
    quota::Share,
    store::{Cursor, Page, PendingRow},
};

/// Below this share of its bound a part is filled from the store.
const LOW: usize = 4;
/// Retries in the store are read this long before they are due.
pub(super) const AHEAD: Duration = Duration::from_secs(1);
/// After a page that could not be read.
const PAGE_RETRY: Duration = Duration::from_millis(250);

/// A place among the retries in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) due: Timestamp,
    pub(super) after: Option<Key>,
    /// On the running clock, which nobody sets, when to look there at the latest; `None` until somebody has looked at both.
    pub(super) look: Option<Mono>,
}

impl Place {
    pub(super) const FIRST: Self = Self { due: Timestamp::from_millis(i64::MIN), after: None, look: None };

    fn is_reached(self, now: Now) -> bool {
        self.is_near(now) || self.look.is_some_and(|look| look <= now.mono)
    }

    fn is_near(self, now: Now) -> bool {
        self.due <= now.wall.after(AHEAD)
    }

    fn look(self, longest: Duration, now: Now) -> Mono {
        self.look.unwrap_or_else(|| now.mono.after(self.due.since(now.wall.after(AHEAD)).min(longest)))
    }
}

/// A page on its way.
#[derive(Debug, Default)]
pub(super) struct Paging {
    pub(super) retries: bool,
    /// The line it is of, alone, and from where on.
    pub(super) line: Option<Arc<str>>,
    pub(super) from: Option<Key>,
    /// Settled since it was asked for: it may show them as they were before.
    pub(super) touched: HashSet<Key>,
    /// Fresh ones that came since it was asked for: it may not show them.
    pub(super) late: Vec<Item>,
    /// Not all of those could be kept.
    pub(super) overflow: bool,
    /// Where the cursor goes back to when it has come.
    pub(super) rewind: Option<Option<Key>>,
    /// The wall clock was set back: what had waited for this time has waited long enough.
    pub(super) set_back: Option<Timestamp>,
    /// What it is to be read for has been forgotten.
    pub(super) stale: bool,
}

impl Queue {
    /// What to read from the store now.
    pub fn page(&mut self, now: Now) -> Option<Cursor> {
        if let Some(place) = &mut self.horizon {
            place.look = Some(place.look(self.longest, now));
        }
        if self.paging.is_some() || self.page_not_before.is_some_and(|moment| now.mono < moment) {
            return None;
        }
        self.page_not_before = None;
        let full = self.lines.as_ref().is_some_and(Lines::are_full);
        let fresh = self.behind && !full && self.wants_fresh();
        let place = self.horizon.filter(|place| self.sweeping || place.is_reached(now));
        let place = place.filter(|_| self.wants(self.delayed.len(), MAX_DELAYED));
        if let Some(cursor) = self.line_page(now, fresh || place.is_some()) {
            return Some(cursor);
        }
        let retries = place.filter(|_| !fresh || self.retry_page_turn);
        let cursor = match retries {
            Some(Place { due, after, .. }) => Cursor::Retries { from: due, after },
            None if !fresh => return None,
            None if self.strict => Cursor::InOrder(self.cursor),
            None => self.keyed_cursor().unwrap_or(Cursor::Fresh(self.cursor)),
        };
        self.retry_page_turn = retries.is_none();
        let set_back = retries.filter(|place| !self.sweeping && !place.is_near(now)).map(|place| place.due);
        self.paging = Some(Paging { retries: retries.is_some(), set_back, ..Paging::default() });
        Some(cursor)
    }

    /// Takes turns with other pages.
    fn line_page(&mut self, now: Now, others: bool) -> Option<Cursor> {
        let turn = std::mem::replace(&mut self.line_page_turn, true) || !others;
        if !turn || !self.wants_line(now.mono) {
            return None;
        }
        let (name, from) = self.lines.as_mut()?.take_thirsty(now.mono)?;
        self.line_page_turn = false;
        self.paging = Some(Paging { line: Some(Arc::clone(&name)), from: Some(from), ..Paging::default() });
        Some(Cursor::OfKey { key: name, after: before(from) })
    }

    /// Whether a line is to be read at this moment. While the receiver does not work one that may be attempted is enough.
    fn wants_line(&self, at: Mono) -> bool {
        self.wants(self.fresh.len(), self.window()) && !self.is_crowded() && !(self.small && self.is_ready(at))
    }

    pub(super) fn wants(&self, len: usize, bound: usize) -> bool {
        len == 0 || (!self.starved && len <= bound / LOW)
    }

    /// Whether a page is on its way.
    pub fn is_paging(&self) -> bool {
        self.paging.is_some()
    }

    /// A page could not be read; it will be asked for again.
    pub fn page_failed(&mut self, now: Mono) {
        if let Some(paging) = self.paging.take() {
            if let Some(name) = &paging.line {
                self.line_not_loaded(name);
            }
            self.after_page(paging.rewind);
        }
        self.page_not_before = Some(now.after(PAGE_RETRY));
    }

    /// A page has come.
    pub fn loaded(&mut self, page: Page, now: Now) {
        let Some(mut paging) = self.paging.take() else { return };
        self.starved = false;
        match (paging.stale, paging.line.clone()) {
            (true, Some(name)) => self.line_not_loaded(&name),
            (true, None) => {}
            (false, Some(name)) => self.loaded_line(&name, page, &paging, now),
            (false, None) if paging.retries => self.loaded_retries(page, &paging, now),
            (false, None) if self.lines.is_some() => self.loaded_keyed(page, &mut paging, now),
            (false, None) => self.loaded_fresh(page, &mut paging, now),
        }
        self.after_page(paging.rewind);
    }

    fn after_page(&mut self, rewind: Option<Option<Key>>) {
        if let Some(before) = rewind {
            self.go_back(before);
        }
        // A sweep that goes on comes to them at its end.
        if !(self.sweeping && self.horizon.is_some())
            && let Some(due) = self.skipped.take()
        {
            self.lower_horizon(due);
        }
    }

    fn loaded_fresh(&mut self, page: Page, paging: &mut Paging, now: Now) {
        for row in page.rows {
            let key = (row.event.seq, row.run);
            if !self.held.contains(&key) && !paging.touched.contains(&key) {
                let Some(share) = self.room(row.event.weight()) else {
                    self.starved = self.fresh.len() < self.window();
                    return;
                };
                let due = row.due.map(|wall| self.due(&row, wall, now));
                self.insert_fresh(stored_item(row, due, share));
            }
            self.reach(key);
        }
        if page.end && !paging.overflow {
            self.behind = false;
            for item in std::mem::take(&mut paging.late) {
                if self.cursor < Some(item.key()) {
                    self.reach(item.key());
                    self.insert_fresh(item);
                }
            }
        }
    }

    fn loaded_retries(&mut self, page: Page, paging: &Paging, now: Now) {
        for row in page.rows {
            let key = (row.event.seq, row.run);
            let Some(wall) = row.due else { continue };
            // One that has a line is known there.
            let in_line = self.lines.is_some() && row.event.key.is_some();
            if !in_line && !self.held.contains(&key) && !paging.touched.contains(&key) {
                let due = match paging.set_back.filter(|_| row.attempted_at > Some(now.wall)) {
                    Some(reached) => {
                        Due { mono: now.mono.after(AHEAD).after(wall.since(reached)), wall, asked: row.asked }
                    }
                    None => self.due(&row, wall, now),
                };
                let ahead = due.mono.since(now.mono);
                if ahead > KEEP {
                    if !self.sweeping {
                        let look = Some(now.mono.after(ahead.saturating_sub(AHEAD)));
                        self.horizon = Some(Place { due: wall, after: None, look });
                        return;
                    }
                    self.skipped = earliest(self.skipped, wall);
                } else {
                    let Some(share) = self.retry_room(row.event.weight()) else {
                        self.starved = self.delayed.len() < MAX_DELAYED;
                        self.horizon = Some(Place { due: wall, after: None, look: Some(now.mono) });
                        return;
                    };
                    self.insert_delayed(stored_item(row, None, share), due);
                }
            }
            self.horizon = Some(Place { due: wall, after: Some(key), look: Some(now.mono) });
        }
        if page.end {
            self.horizon = None;
            self.sweeping = false;
        }
    }

    pub(super) fn retry_room(&self, weight: usize) -> Option<Share> {
        if self.delayed.is_empty() {
            return Some(self.budget.take(weight).unwrap_or_else(|| self.budget.take_anyway(weight)));
        }
        (self.delayed.len() < MAX_DELAYED).then(|| self.budget.take(weight)).flatten()
    }

    /// When a stored retry is due on the running clock.
    pub(super) fn due(&self, row: &PendingRow, wall: Timestamp, now: Now) -> Due {
        let pushed = self.released.zip(row.attempted_at).is_some_and(|(released, attempted)| attempted <= released);
        let ahead = if pushed && !row.asked { Duration::ZERO } else { wall.since(now.wall).min(self.longest) };
        Due { mono: now.mono.after(ahead), wall, asked: row.asked }
    }

    /// When the store must be looked at again.
    pub fn next_page(&self, now: Now) -> Option<Mono> {
        if self.paging.is_some() {
            return None;
        }
        if let Some(moment) = self.page_not_before {
            return Some(moment.max(now.mono));
        }
        let place = self.horizon.filter(|_| self.wants(self.delayed.len(), MAX_DELAYED));
        let place = place.map(|place| place.look(self.longest, now).max(now.mono));
        let line = self.lines.as_ref().and_then(Lines::look_at).map(|moment| moment.max(now.mono));
        let line = line.filter(|moment| self.wants_line(*moment));
        place.into_iter().chain(line).min()
    }
}

pub(super) fn earliest(known: Option<Timestamp>, due: Timestamp) -> Option<Timestamp> {
    Some(known.map_or(due, |known| known.min(due)))
}
