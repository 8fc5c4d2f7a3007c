//! So many at once, and nobody's share at anybody else's cost.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Turns that owners share: an owner takes one only while it holds fewer than are free. So one alone leaves half of them free, a second
/// half of the rest, and so on, however long they are held: whoever holds none finds one until as many owners hold theirs at
/// once as halve all there are to nothing.
pub(super) struct Turns<O: Owner>(Arc<Mutex<Shared<O>>>);

/// Who may hold turns.
pub(super) trait Owner: Clone + Eq + Hash + Ord + Send + 'static {}

impl<O: Clone + Eq + Hash + Ord + Send + 'static> Owner for O {}

struct Shared<O: Owner> {
    free: usize,
    /// Of whoever holds any.
    held: HashMap<O, usize>,
    /// None of those can be given one now.
    waiting: BTreeMap<O, VecDeque<Waiting<O>>>,
    asked: u64,
}

struct Waiting<O: Owner> {
    /// The order in which they came.
    nth: u64,
    tell: oneshot::Sender<Turn<O>>,
}

/// A turn; given back when dropped.
pub(super) struct Turn<O: Owner> {
    of: Turns<O>,
    owner: O,
}

impl<O: Owner> Turns<O> {
    /// So many, all of them free.
    pub(super) fn new(free: usize) -> Self {
        let (held, waiting) = (HashMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Shared { free, held, waiting, asked: 0 })))
    }

    /// A turn of `owner`'s, once it may have one; those of one owner in the order in which they asked.
    pub(super) async fn take(&self, owner: &O) -> Turn<O> {
        loop {
            let turn = match self.take_or_wait(owner) {
                Ok(turn) => return turn,
                Err(turn) => turn.await,
            };
            // Whoever waits is told, as long as there is anybody to tell.
            if let Ok(turn) = turn {
                return turn;
            }
        }
    }

    fn take_or_wait(&self, owner: &O) -> Result<Turn<O>, oneshot::Receiver<Turn<O>>> {
        let mut shared = self.shared();
        if shared.may_take(owner) {
            shared.take(owner);
            return Ok(Turn { of: self.clone(), owner: owner.clone() });
        }
        let (tell, turn) = oneshot::channel();
        let nth = shared.asked;
        shared.asked += 1;
        let line = shared.waiting.entry(owner.clone()).or_default();
        leave_out_the_gone(line);
        line.push_back(Waiting { nth, tell });
        Err(turn)
    }

    fn give_back(&self, owner: &O) {
        let mut shared = self.shared();
        shared.give_back(owner);
        let mut told = Vec::new();
        while let Some((owner, tell)) = shared.next() {
            told.push((tell, Turn { of: self.clone(), owner }));
        }
        drop(shared);
        // One whose owner has gone away meanwhile is given back here.
        told.into_iter().for_each(|(tell, turn)| drop(tell.send(turn)));
    }

    fn shared(&self) -> MutexGuard<'_, Shared<O>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.shared().free
    }
}

impl<O: Owner> Shared<O> {
    fn held(&self, owner: &O) -> usize {
        self.held.get(owner).copied().unwrap_or_default()
    }

    fn may_take(&self, owner: &O) -> bool {
        self.held(owner) < self.free
    }

    fn take(&mut self, owner: &O) {
        self.free -= 1;
        *self.held.entry(owner.clone()).or_default() += 1;
    }

    fn give_back(&mut self, owner: &O) {
        self.free += 1;
        let left = self.held(owner).saturating_sub(1);
        if left == 0 {
            self.held.remove(owner);
        } else {
            self.held.insert(owner.clone(), left);
        }
    }

    /// Takes a turn for whoever waits, may have one, and holds fewest; of several, for who came first.
    fn next(&mut self) -> Option<(O, oneshot::Sender<Turn<O>>)> {
        self.waiting.retain(|_, line| {
            leave_out_the_gone(line);
            !line.is_empty()
        });
        let rank = |(owner, line): &(&O, &VecDeque<Waiting<O>>)| (self.held(owner), line.front().map(|one| one.nth));
        let next = self.waiting.iter().filter(|(owner, _)| self.may_take(owner)).min_by_key(rank);
        let owner = next?.0.clone();
        let first = self.waiting.get_mut(&owner)?.pop_front()?;
        self.take(&owner);
        Some((owner, first.tell))
    }
}

/// Those who have gone away, as far as they stand first.
fn leave_out_the_gone<O: Owner>(line: &mut VecDeque<Waiting<O>>) {
    while line.front().is_some_and(|first| first.tell.is_closed()) {
        line.pop_front();
    }
}

impl<O: Owner> Clone for Turns<O> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<O: Owner> Drop for Turn<O> {
    fn drop(&mut self) {
        self.of.give_back(&self.owner);
    }
}

impl<O: Owner> fmt::Debug for Turns<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turns").field("free", &self.shared().free).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use proptest::prelude::*;

    use super::*;

    type Asked = std::pin::Pin<Box<dyn Future<Output = Turn<u8>>>>;

    fn ask(turns: &Turns<u8>, owner: u8) -> Asked {
        let turns = turns.clone();
        Box::pin(async move { turns.take(&owner).await })
    }

    #[test]
    fn each_owner_leaves_as_many_as_it_holds() {
        let turns = Turns::new(128);
        let mut held = Vec::new();
        let mut hold_all = |owner| {
            let before = held.len();
            while let Some(turn) = ask(&turns, owner).now_or_never() {
                held.push(turn);
            }
            held.len() - before
        };
        assert_eq!([1, 1, 2, 3, 4, 5, 6, 7, 8, 9].map(&mut hold_all), [64, 0, 32, 16, 8, 4, 2, 1, 1, 0]);
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Ask(u8),
        /// Looks whether a turn came.
        Look(usize),
        /// Goes away, or gives its turn back.
        Leave(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u8).prop_map(Step::Ask),
            any::<usize>().prop_map(Step::Look),
            any::<usize>().prop_map(Step::Leave),
        ]
    }

    enum Asker {
        Waits(u8, Asked),
        Holds(Turn<u8>),
    }

    proptest! {
        #[test]
        fn no_turn_is_lost_and_whoever_may_have_one_has_it(
            free in 1_usize..9, steps in prop::collection::vec(step(), 1..80),
        ) {
            let turns = Turns::new(free);
            let mut askers: Vec<Asker> = Vec::new();
            let poll = |owner: u8, mut asked: Asked| match (&mut asked).now_or_never() {
                Some(turn) => Asker::Holds(turn),
                None => Asker::Waits(owner, asked),
            };
            for step in steps {
                match step {
                    Step::Ask(owner) => askers.push(poll(owner, ask(&turns, owner))),
                    Step::Look(which) if !askers.is_empty() => {
                        match askers.swap_remove(which % askers.len()) {
                            Asker::Waits(owner, asked) => askers.push(poll(owner, asked)),
                            holder => askers.push(holder),
                        }
                    }
                    Step::Leave(which) if !askers.is_empty() => {
                        match askers.swap_remove(which % askers.len()) {
                            Asker::Waits(..) => {}
                            Asker::Holds(turn) => drop(turn),
                        }
                    }
                    Step::Look(_) | Step::Leave(_) => {}
                }
                let shared = turns.shared();
                prop_assert_eq!(shared.free + shared.held.values().sum::<usize>(), free);
                let stuck = shared.waiting.iter().find(|(owner, line)| {
                    shared.may_take(owner) && line.iter().any(|one| !one.tell.is_closed())
                });
                prop_assert!(stuck.is_none());
            }
            drop(askers);
            prop_assert_eq!(turns.free(), free);
        }
    }
}
