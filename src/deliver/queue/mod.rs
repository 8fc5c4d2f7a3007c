//! The window on what waits for one endpoint: a bounded part of it in memory, the rest in the store.
//!
//! Three invariants hold it together. A fresh delivery that is in the store alone lies above `cursor`, and then `behind` is
//! set. In strict order nothing that waits in memory lies above `cursor`. A retry that is in the store alone is not due before
//! `horizon`. Whatever is read back is held against what is in memory already, and against what was settled while the page was
//! on its way.

mod item;
mod keys;
mod paging;
mod run;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::{Mono, Now, Timestamp},
    event::Accepted,
    quota::{Quota, Share},
};
use item::{Due, fresh_item};
pub use item::{Item, Key, RetryAt};
use keys::Lines;
use paging::{Paging, Place, earliest};
pub use run::Run;

/// Fresh deliveries in memory, at most. In order of keys: heads of lines, and as many again behind heads.
const WINDOW: usize = 512;
/// The same while the receiver does not work: others need the room.
const SMALL_WINDOW: usize = 8;
/// Retries in memory, at most.
const MAX_DELAYED: usize = 1024;
/// A retry that is due later than this waits in the store.
const KEEP: Duration = Duration::from_secs(30);

/// In which order deliveries go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Whatever is due.
    Free,
    /// Strictly by (seq, run): a retry holds up everything after it.
    Strict,
    /// The same for each key by itself.
    Keyed,
}

/// The deliveries of one endpoint.
#[derive(Debug)]
pub struct Queue {
    budget: Arc<Quota>,
    strict: bool,
    /// In order of keys.
    lines: Option<Lines>,
    /// The longest a loaded due time may lie ahead: clocks jump.
    longest: Duration,
    small: bool,
    /// How many may go out together.
    together: usize,
    fresh: BTreeMap<Key, Item>,
    delayed: BTreeMap<(Mono, Key), Item>,
    /// Everything in memory, what is in flight included.
    held: HashSet<Key>,
    cursor: Option<Key>,
    /// The furthest that the cursor has ever been: what is pushed and lies below has been seen in the store before.
    seen: Option<Key>,
    behind: bool,
    horizon: Option<Place>,
    /// The earliest due time of retries in the store that lie before the place that is being read.
    skipped: Option<Timestamp>,
    /// What failed before this moment is due at once: the receiver works again.
    released: Option<Timestamp>,
    /// All retries in the store are being looked through for such.
    sweeping: bool,
    paging: Option<Paging>,
    page_not_before: Option<Mono>,
    /// The budget was exhausted at the last page.
    starved: bool,
    /// Whose turn it is, where both have something: among attempts, and among pages.
    retry_turn: bool,
    retry_page_turn: bool,
    line_page_turn: bool,
}

impl Queue {
    /// An empty queue; with `stored`, of an endpoint that has deliveries in the store.
    pub fn new(budget: Arc<Quota>, order: Order, longest: Duration, stored: bool, released: Option<Timestamp>) -> Self {
        // In every other order one cursor leads through fresh ones and retries alike.
        let free = order == Order::Free;
        Self {
            budget,
            strict: order == Order::Strict,
            lines: (order == Order::Keyed).then(Lines::default),
            longest,
            small: false,
            together: 1,
            fresh: BTreeMap::new(),
            delayed: BTreeMap::new(),
            held: HashSet::new(),
            cursor: None,
            seen: None,
            behind: stored,
            horizon: (stored && free).then_some(Place::FIRST),
            skipped: None,
            released,
            sweeping: stored && free && released.is_some(),
            paging: None,
            page_not_before: None,
            starved: false,
            retry_turn: false,
            retry_page_turn: false,
            line_page_turn: false,
        }
    }

    /// Takes a new delivery in, or leaves it to the store, where it is in any case.
    pub fn push(&mut self, event: Arc<Accepted>) {
        let key = (event.seq, 0);
        if self.seen >= Some(key) {
            return;
        }
        if !self.behind && self.lines.is_some() {
            return self.push_keyed(event);
        }
        if !self.behind {
            return match self.room(event.weight()) {
                Some(share) => {
                    self.reach(key);
                    self.insert_fresh(fresh_item(event, share));
                }
                None => self.behind = true,
            };
        }
        let window = self.window();
        let Some(paging) = self.paging.as_mut().filter(|paging| !paging.retries && paging.line.is_none()) else {
            return;
        };
        match self.budget.take(event.weight()) {
            Some(share) if !paging.overflow && paging.late.len() < window => paging.late.push(fresh_item(event, share)),
            _ => paging.overflow = true,
        }
    }

    /// Fills the window from the store again, from `key` on.
    pub fn rewind(&mut self, key: Key) {
        self.rewind_to(before(key));
    }

    fn rewind_to(&mut self, before: Option<Key>) {
        if let Some(paging) = &mut self.paging {
            paging.rewind = Some(paging.rewind.map_or(before, |earlier| earlier.min(before)));
        }
        self.go_back(before);
    }

    fn reach(&mut self, key: Key) {
        self.cursor = Some(key);
        self.seen = self.seen.max(self.cursor);
    }

    fn go_back(&mut self, before: Option<Key>) {
        self.cursor = self.cursor.min(before);
        self.behind = true;
        if self.strict || self.lines.is_some() {
            self.forget_above(self.cursor);
        }
    }

    /// Leaves fresh ones to the store.
    fn forget_above(&mut self, last: Option<Key>) {
        let above = match last {
            Some((seq, run)) => self.fresh.split_off(&(seq, run.saturating_add(1))),
            None => std::mem::take(&mut self.fresh),
        };
        for key in above.keys() {
            self.held.remove(key);
        }
        self.forget_lines_above(last);
    }

    /// These wait no longer, neither here nor in the store. None of them is in flight.
    pub fn forget(&mut self, keys: &HashSet<Key>) {
        self.fresh.retain(|key, _| !keys.contains(key));
        self.delayed.retain(|(_, key), _| !keys.contains(key));
        self.held.retain(|key| !keys.contains(key));
        if let Some(paging) = &mut self.paging {
            paging.late.retain(|item| !keys.contains(&item.key()));
            paging.touched.extend(keys);
        }
        self.forget_in_lines(keys);
    }

    /// Takes note that no due time lies further ahead than this.
    pub fn limit_waits(&mut self, longest: Duration) {
        self.longest = longest;
    }

    /// Forgets everything but what is in flight, which is to be [adopted](Self::adopt) anew; with `stored`, to read it from the
    /// store again.
    pub fn reset(&mut self, order: Order, longest: Duration, stored: bool) {
        self.park_all();
        for key in self.fresh.keys().chain(self.delayed.keys().map(|(_, key)| key)) {
            self.held.remove(key);
        }
        let mut new = Self::new(Arc::clone(&self.budget), order, longest, stored, self.released);
        (new.seen, new.together) = (self.seen, self.together);
        new.held = std::mem::take(&mut self.held);
        new.paging =
            self.paging.take().map(|paging| Paging { late: Vec::new(), overflow: true, stale: true, ..paging });
        *self = new;
    }

    /// Keeps only a little in memory as long as the receiver does not work.
    pub fn shrink(&mut self, small: bool) {
        self.small = small;
        if self.lines.as_ref().is_some_and(|lines| small && lines.waiting() > SMALL_WINDOW) {
            self.park_all();
        }
        if self.fresh.len() <= self.window() {
            return;
        }
        let last_kept = self.fresh.keys().nth(self.window() - 1).copied();
        self.forget_above(last_kept);
        self.rewind_to(last_kept);
    }

    fn window(&self) -> usize {
        if self.small { SMALL_WINDOW } else { WINDOW.max(self.together) }
    }

    /// Room for a fresh delivery; the head has it always.
    fn room(&self, weight: usize) -> Option<Share> {
        if self.fresh.is_empty() {
            return Some(self.budget.take(weight).unwrap_or_else(|| self.budget.take_anyway(weight)));
        }
        (self.fresh.len() < self.window()).then(|| self.budget.take(weight)).flatten()
    }

    fn insert_fresh(&mut self, item: Item) {
        self.held.insert(item.key());
        self.fresh.insert(item.key(), item);
    }

    fn insert_delayed(&mut self, item: Item, due: Due) {
        self.held.insert(item.key());
        self.delayed.insert((due.mono, item.key()), item.due_at(due));
    }

    /// The next delivery that may be attempted now; another event than `than` where there is one.
    pub fn take(&mut self, now: Mono, than: Option<u64>) -> Option<Item> {
        let taken = self.take_but(now, than)?;
        if let Some(lines) = &mut self.lines {
            lines.fly(taken.key());
        }
        Some(taken)
    }

    fn take_but(&mut self, now: Mono, than: Option<u64>) -> Option<Item> {
        let first = self.take_any(now)?;
        if self.strict || than != Some(first.event.seq) {
            return Some(first);
        }
        let second = self.take_any(now);
        match second {
            None => Some(first),
            other => {
                match first.due {
                    Some(due) => self.insert_delayed(first, due),
                    None => self.insert_fresh(first),
                }
                other
            }
        }
    }

    /// Fresh ones and retries take turns, so that neither starves the other. What is taken stays held: it is in flight.
    fn take_any(&mut self, now: Mono) -> Option<Item> {
        let retry = self.delayed.first_key_value().is_some_and(|((due, _), _)| *due <= now);
        let fresh = self.fresh.first_key_value().is_some_and(|(_, item)| item.is_due(now));
        self.retry_turn = retry && (!fresh || !self.retry_turn);
        match (self.retry_turn, fresh) {
            (true, _) => self.delayed.pop_first().map(|(_, item)| item),
            (false, true) => self.fresh.pop_first().map(|(_, item)| item),
            (false, false) => None,
        }
    }

    /// A delivery that was in flight has ended.
    pub fn finish(&mut self, key: Key) {
        self.land(key);
        self.advance(key);
    }

    fn land(&mut self, key: Key) {
        self.held.remove(&key);
        if let Some(paging) = &mut self.paging {
            paging.touched.insert(key);
        }
    }

    /// A delivery that was in flight waits for its next attempt.
    pub fn put_back(&mut self, item: Item, at: RetryAt, now: Now) {
        self.land(item.key());
        let wall = now.wall.after(at.delay);
        // In whole milliseconds, so that neither clock shows it early.
        let due = Due { mono: now.mono.after(wall.since(now.wall)), wall, asked: at.asked };
        let crowded = self.budget.is_exceeded();
        let Some(item) = self.put_back_in_line(item, at, due, crowded, now) else { return };
        self.place(item, due, at.delay > KEEP, now);
    }

    /// A delivery that was in flight waits in memory, or in the store alone where that is better.
    fn place(&mut self, item: Item, due: Due, late: bool, now: Now) {
        let key = item.key();
        let crowded = self.budget.is_exceeded();
        if self.strict {
            if self.is_unplaced(key) || (crowded && self.fresh.len() > 1) {
                return self.rewind(key);
            }
            return self.insert_fresh(item.due_at(due));
        }
        if late || (crowded && !self.delayed.is_empty()) {
            return self.leave(due.wall);
        }
        self.insert_delayed(item, due);
        if self.delayed.len() > MAX_DELAYED
            && let Some(((_, key), last)) = self.delayed.pop_last()
        {
            self.held.remove(&key);
            self.leave(last.due.map_or(now.wall, |due| due.wall));
        }
    }

    /// A delivery that was in flight waits for its next attempt in the store alone, if it is there still.
    pub fn leave_to_store(&mut self, key: Key, due: Timestamp) {
        self.land(key);
        if self.strict {
            self.rewind(key);
        } else if !self.leave_line_to_store(key) {
            self.leave(due);
        }
    }

    /// Whether there may be earlier ones in the store alone.
    fn is_unplaced(&self, key: Key) -> bool {
        self.behind && self.cursor < Some(key)
    }

    /// A retry is in the store alone from now on.
    fn leave(&mut self, due: Timestamp) {
        // What is read now may not show it, and the place that is read moves on.
        if self.sweeping || self.paging.as_ref().is_some_and(|paging| paging.retries) {
            self.skipped = earliest(self.skipped, due);
        } else {
            self.lower_horizon(due);
        }
    }

    fn lower_horizon(&mut self, due: Timestamp) {
        if self.horizon.is_none_or(|place| due <= place.due) {
            self.horizon = Some(Place { due, after: None, look: None });
        }
    }

    /// The receiver works again: what the outage had pushed into the future is due now, but for what the receiver asked for.
    pub fn release(&mut self, now: Now) {
        self.released = Some(now.wall);
        self.sweep();
        if let Some(lines) = &mut self.lines {
            lines.hurry();
        }
        let at_once = |due: Due| if due.asked { due } else { Due { mono: now.mono.min(due.mono), ..due } };
        for item in self.fresh.values_mut() {
            item.due = item.due.map(at_once);
        }
        for (_, item) in std::mem::take(&mut self.delayed) {
            if let Some(due) = item.due {
                self.insert_delayed(item, at_once(due));
            }
        }
    }

    /// Looks through all retries in the store, from the first on.
    fn sweep(&mut self) {
        if self.horizon.is_none() && self.skipped.is_none() {
            return;
        }
        self.sweeping = true;
        self.skipped = None;
        self.horizon = Some(Place::FIRST);
        if let Some(paging) = self.paging.as_mut().filter(|paging| paging.retries) {
            paging.stale = true;
        }
    }

    /// When the next delivery in memory is due; `None` when it is now, or there is none.
    pub fn next_due(&self, now: Mono) -> Option<Mono> {
        let delayed = self.delayed.first_key_value().map(|((due, _), _)| *due);
        let head = self.fresh.first_key_value().and_then(|(_, item)| item.due).map(|due| due.mono);
        delayed.into_iter().chain(head).min().filter(|due| *due > now)
    }

    /// Whether a delivery in memory may be attempted now.
    pub fn is_ready(&self, now: Mono) -> bool {
        self.fresh.first_key_value().is_some_and(|(_, item)| item.is_due(now))
            || self.delayed.first_key_value().is_some_and(|((due, _), _)| *due <= now)
    }

    /// Whether nothing waits here or in the store.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
            && !self.behind
            && self.horizon.is_none()
            && self.skipped.is_none()
            && self.paging.is_none()
            && self.lines.as_ref().is_none_or(Lines::is_empty)
    }

    /// Deliveries in memory: fresh ones and retries.
    pub fn len(&self) -> (usize, usize) {
        (self.fresh.len() + self.lines.as_ref().map_or(0, Lines::waiting), self.delayed.len())
    }

    /// Whether there is more in the store.
    pub fn has_more(&self) -> bool {
        self.behind || self.horizon.is_some() || self.lines.as_ref().is_some_and(Lines::has_parked)
    }
}

/// The last place before this one.
fn before((seq, run): Key) -> Option<Key> {
    match run.checked_sub(1) {
        Some(run) => Some((seq, run)),
        None => seq.checked_sub(1).map(|seq| (seq, u32::MAX)),
    }
}
