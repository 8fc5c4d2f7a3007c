//! Room in memory for what requests carry.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

use crate::{
    endpoint::TenantScope,
    quota::{Fair, Part},
};

/// Bytes of the large bodies of all exchanges of a process, and of the small ones.
const LARGE_BYTES: usize = 256 << 20;
const SMALL_BYTES: usize = 128 << 20;
/// Up to so many bytes a body is small.
const SMALL: usize = 64 << 10;
/// The longest that an exchange waits for its own.
const PATIENCE: Duration = Duration::from_secs(5);

/// Small bodies do not wait for large ones, whoever's they are.
#[derive(Clone, Debug)]
pub(super) struct Rooms {
    pub(super) small: Room,
    pub(super) large: Room,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { small: Room::new(SMALL_BYTES, PATIENCE), large: Room::new(LARGE_BYTES, PATIENCE) }
    }
}

impl Rooms {
    /// The room of bodies of so many bytes.
    pub(super) fn of(&self, bytes: usize) -> &Room {
        if bytes <= SMALL { &self.small } else { &self.large }
    }
}

/// Bytes that exchanges share, whose endpoints they are being the owners of a [`Fair`]. Those of one owner are given theirs in the
/// order in which they asked; of several owners who can be given some, who holds least comes first.
#[derive(Clone)]
pub(super) struct Room {
    bytes: Fair<TenantScope>,
    waiting: Arc<Mutex<Lines>>,
    patience: Duration,
}

/// Those who wait, owner by owner, in their order.
type Lines = BTreeMap<TenantScope, VecDeque<Waiting>>;

struct Waiting {
    amount: usize,
    tell: oneshot::Sender<Held>,
}

/// What an exchange has of it; given back when dropped.
pub(super) struct Held {
    part: Option<Part<TenantScope>>,
    of: Room,
}

impl Room {
    /// So many bytes, all of them free, and so long to wait for them.
    pub(super) fn new(bytes: usize, patience: Duration) -> Self {
        Self { bytes: Fair::new(bytes), waiting: Arc::default(), patience }
    }

    /// So much for an exchange of `owner`'s, if it is there and nobody of `owner`'s waits. More than one can ever have counts as the
    /// most that one can.
    pub(super) fn try_take(&self, owner: &TenantScope, amount: usize) -> Option<Held> {
        self.take_among(&mut self.waiting(), owner, amount)
    }

    /// The same, once it is there; `None` when that takes too long.
    pub(super) async fn wait(&self, owner: &TenantScope, amount: usize) -> Option<Held> {
        timeout(self.patience, self.take(owner, amount)).await.ok()
    }

    async fn take(&self, owner: &TenantScope, amount: usize) -> Held {
        loop {
            // Goes after what it tells of: those behind come next.
            let _in_line = InLine(self);
            let told = match self.take_or_wait(owner, amount) {
                Ok(held) => return held,
                Err(told) => told.await,
            };
            // Whoever waits is told, as long as there is anybody to tell.
            if let Ok(held) = told {
                return held;
            }
        }
    }

    fn take_or_wait(&self, owner: &TenantScope, amount: usize) -> Result<Held, oneshot::Receiver<Held>> {
        let mut waiting = self.waiting();
        if let Some(held) = self.take_among(&mut waiting, owner, amount) {
            return Ok(held);
        }
        let (tell, told) = oneshot::channel();
        let amount = amount.min(self.bytes.most());
        waiting.entry(owner.clone()).or_default().push_back(Waiting { amount, tell });
        Err(told)
    }

    fn take_among(&self, waiting: &mut Lines, owner: &TenantScope, amount: usize) -> Option<Held> {
        if waiting.get_mut(owner).is_some_and(|line| !is_empty(line)) {
            return None;
        }
        let part = self.bytes.take(owner, amount.min(self.bytes.most())).ok()?;
        Some(Held { part: Some(part), of: self.clone() })
    }

    /// Gives what is free to those who wait.
    fn give(&self) {
        let mut told = Vec::new();
        let mut waiting = self.waiting();
        waiting.retain(|_, line| !is_empty(line));
        while let Some((tell, part)) = self.next(&mut waiting) {
            told.push((tell, Held { part: Some(part), of: self.clone() }));
            waiting.retain(|_, line| !is_empty(line));
        }
        drop(waiting);
        // What nobody waits for any more is given back here, and to the next.
        told.into_iter().for_each(|(tell, held)| drop(tell.send(held)));
    }

    fn next(&self, waiting: &mut Lines) -> Option<(oneshot::Sender<Held>, Part<TenantScope>)> {
        let mut owners: Vec<_> = waiting.keys().map(|owner| (self.bytes.held(owner), owner.clone())).collect();
        owners.sort_by_key(|(held, _)| *held);
        owners.into_iter().find_map(|(_, owner)| {
            let line = waiting.get_mut(&owner)?;
            let part = self.bytes.take(&owner, line.front()?.amount).ok()?;
            Some((line.pop_front()?.tell, part))
        })
    }

    fn waiting(&self) -> MutexGuard<'_, Lines> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn used(&self) -> usize {
        self.bytes.used()
    }

    #[cfg(test)]
    pub(super) fn is_waited_for(&self) -> bool {
        self.waiting().values_mut().any(|line| !is_empty(line))
    }
}

/// Whether nobody waits in it, those left out who have gone away as far as they stand first.
fn is_empty(line: &mut VecDeque<Waiting>) -> bool {
    while line.front().is_some_and(|first| first.tell.is_closed()) {
        line.pop_front();
    }
    line.is_empty()
}

/// One who waits, or waited: what the next of its owner's wants may be there already.
struct InLine<'a>(&'a Room);

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        self.0.give();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.part.take());
        self.of.give();
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    type Asked = std::pin::Pin<Box<dyn Future<Output = Held>>>;

    fn of(owner: u8) -> TenantScope {
        if owner == 0 { TenantScope::None } else { TenantScope::Of(format!("t{owner}").parse().unwrap()) }
    }

    fn ask(room: &Room, owner: u8, amount: usize) -> Asked {
        let room = room.clone();
        Box::pin(async move { room.take(&of(owner), amount).await })
    }

    #[test]
    fn the_next_of_an_owner_does_not_pass_the_one_before() {
        let room = Room::new(100, PATIENCE);
        let first = ask(&room, 0, 40).now_or_never().unwrap();
        let mut large = ask(&room, 0, 30);
        assert!((&mut large).now_or_never().is_none());
        assert!(room.try_take(&of(0), 5).is_none(), "behind the large one");
        assert!(room.try_take(&of(1), 5).is_some(), "another owner's is not");
        drop(first);
        let large = large.now_or_never().unwrap();
        assert!(room.try_take(&of(0), 5).is_some());
        drop(large);
        assert!(ask(&room, 0, 1000).now_or_never().is_some(), "alone it may have what is larger than all");
    }

    #[test]
    fn what_is_small_does_not_wait_for_what_is_large() {
        let rooms = Rooms { small: Room::new(4 * SMALL, PATIENCE), large: Room::new(4 * SMALL, PATIENCE) };
        let _held = rooms.of(2 * SMALL).try_take(&of(0), 2 * SMALL).unwrap();
        assert!(rooms.of(SMALL + 1).try_take(&of(0), SMALL + 1).is_none());
        assert!(rooms.of(SMALL).try_take(&of(0), SMALL).is_some());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask(u8, usize),
        Look(usize),
        /// Goes away, or gives it back.
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u8, 0..60_usize).prop_map(|(owner, amount)| Step::Ask(owner, amount)),
            any::<usize>().prop_map(Step::Look),
            any::<usize>().prop_map(Step::Leave),
        ]
    }

    enum Asker {
        Waits(Asked),
        Holds(Held),
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_the_first_of_each_owner_waits_for_nothing_that_is_there(
            steps in prop::collection::vec(step(), 1..80),
        ) {
            let room = Room::new(100, PATIENCE);
            let mut askers: Vec<Asker> = Vec::new();
            let poll = |mut asked: Asked| match (&mut asked).now_or_never() {
                Some(held) => Asker::Holds(held),
                None => Asker::Waits(asked),
            };
            for step in steps {
                match step {
                    Step::Ask(owner, amount) => askers.push(poll(ask(&room, owner, amount))),
                    Step::Look(which) if !askers.is_empty() => match askers.swap_remove(which % askers.len()) {
                        Asker::Waits(asked) => askers.push(poll(asked)),
                        holder => askers.push(holder),
                    },
                    Step::Leave(which) if !askers.is_empty() => match askers.swap_remove(which % askers.len()) {
                        Asker::Waits(asked) => drop(asked),
                        Asker::Holds(held) => drop(held),
                    },
                    Step::Look(_) | Step::Leave(_) => {}
                }
                let mut waiting = room.waiting();
                waiting.retain(|_, line| !is_empty(line));
                let firsts: Vec<_> = waiting.iter().map(|(owner, line)| (owner.clone(), line[0].amount)).collect();
                drop(waiting);
                for (owner, amount) in firsts {
                    prop_assert!(room.bytes.take(&owner, amount).is_err(), "{:?} waits for {}", owner, amount);
                }
            }
            drop(askers);
            prop_assert_eq!(room.used(), 0);
        }
    }
}
