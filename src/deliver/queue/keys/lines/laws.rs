//! Lines that are filled, attempted, parked and read in any order.

use std::collections::BTreeSet;

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{clock::Timestamp, deliver::queue::item::fresh_item, event::Accepted, quota::Quota};

#[derive(Clone, Copy, Debug)]
enum Op {
    /// The next delivery of the store's order, of this key; with room behind the head or not.
    Come {
        name: u8,
        room: bool,
    },
    Fly(u8),
    Deliver(u8),
    /// It waits in memory, or in the store alone.
    Fail {
        which: u8,
        parks: bool,
    },
    /// A thirsty line is read: so many of it.
    Read(u8),
    Forget(u8),
    /// All above one of those that came.
    ForgetAbove(u8),
}

#[derive(Debug, Default)]
struct Driver {
    lines: Lines,
    /// All that is not delivered or forgotten, by key.
    pending: BTreeMap<Key, Name>,
    heads: BTreeSet<Key>,
    flying: BTreeSet<Key>,
    came: u64,
}

fn item(key: Key) -> Item {
    let event = Accepted {
        seq: key.0,
        accepted_at: Timestamp::from_millis(0),
        id: "evt".parse().unwrap(),
        topic: "a.b".parse().unwrap(),
        tenant: None,
        key: None,
        source: None,
        timestamp: Timestamp::from_millis(0),
        data: vec![b'1'].into(),
        metadata: None,
        suppressed: 0,
    };
    fresh_item(Arc::new(event), Quota::new(1).take_anyway(1))
}

fn nth(keys: &BTreeSet<Key>, which: u8) -> Option<Key> {
    keys.iter().nth(usize::from(which) % keys.len().max(1)).copied()
}

impl Driver {
    fn apply(&mut self, op: Op) {
        match op {
            Op::Come { name, room } => {
                self.came += 1;
                let (key, name) = ((self.came, 0), Name::from(format!("k{}", name % 5)));
                self.pending.insert(key, Arc::clone(&name));
                self.admit(&name, key, room);
            }
            Op::Fly(which) => {
                if let Some(key) = nth(&self.heads, which) {
                    self.lines.fly(key);
                    self.heads.remove(&key);
                    self.flying.insert(key);
                }
            }
            Op::Deliver(which) => {
                let Some(key) = nth(&self.flying, which) else { return };
                self.flying.remove(&key);
                self.pending.remove(&key);
                let name = self.lines.leave(key).unwrap();
                self.advance(&name);
            }
            Op::Fail { which, parks } => {
                let Some(key) = nth(&self.flying, which) else { return };
                self.flying.remove(&key);
                let name = self.lines.leave(key).unwrap();
                assert!(self.lines.is_first(&name, key));
                if parks {
                    self.lines.park(&name, key, Mono::default());
                } else {
                    self.lines.hold_up(&name, key);
                    self.heads.insert(key);
                }
                self.advance(&name);
            }
            Op::Read(rows) => self.read(rows.into()),
            Op::Forget(which) => {
                let Some(key) = nth(&self.pending.keys().copied().collect(), which) else { return };
                if !self.flying.contains(&key) {
                    self.pending.remove(&key);
                    self.lines.forget(&HashSet::from([key]));
                    self.heads.remove(&key);
                    let name = self.lines.leave(key);
                    name.iter().for_each(|name| self.advance(name));
                }
            }
            Op::ForgetAbove(which) => self.forget_above((u64::from(which) % (self.came + 1), 0)),
        }
    }

    fn head(&mut self, name: &Name, key: Key) {
        self.lines.set_head(name, key);
        self.heads.insert(key);
    }

    fn admit(&mut self, name: &Name, key: Key, room: bool) {
        match self.lines.spot(name, key) {
            Spot::Parked => {}
            Spot::Head => self.head(name, key),
            Spot::Behind if room && self.lines.has_room(name) => self.lines.stand_behind(name, item(key)),
            Spot::Behind => drop(self.lines.park(name, key, Mono::default())),
        }
    }

    fn advance(&mut self, name: &Name) {
        if let Some(item) = self.lines.next(name) {
            self.head(name, item.key());
        }
    }

    fn read(&mut self, rows: usize) {
        let Some((name, from)) = self.lines.take_thirsty(Mono::default()) else { return };
        assert_eq!(self.lines.unpark(&name), Some(from));
        let found: Vec<_> = self.pending.range(from..).filter(|(_, of)| **of == name).map(|(key, _)| *key).collect();
        for (n, key) in found.into_iter().enumerate() {
            if n == rows {
                self.lines.park(&name, key, Mono::default());
                break;
            }
            self.admit(&name, key, true);
        }
        self.advance(&name);
    }

    /// What is forgotten comes again.
    fn forget_above(&mut self, last: Key) {
        for name in self.lines.names() {
            for key in self.lines.forget_above(&name, Some(last)) {
                self.heads.remove(&key);
            }
            self.advance(&name);
        }
        assert!(self.heads.iter().all(|key| *key <= last));
        let again: Vec<_> = self.pending.range((last.0, 1)..).map(|(key, name)| (*key, Arc::clone(name))).collect();
        for (key, name) in again {
            if !self.flying.contains(&key) {
                self.admit(&name, key, true);
            }
        }
    }

    /// Each pending one is in its place, and each line goes on by itself.
    fn check(&self) {
        let lines = &self.lines;
        assert_eq!(lines.waiting, lines.lines.values().map(|line| line.waiting.len()).sum::<usize>());
        assert_eq!(lines.parked, lines.lines.values().filter(|line| line.parked.is_some()).count());
        for (name, line) in &lines.lines {
            let thirsty = line.look_at.is_some_and(|look_at| lines.thirsty.contains(&(look_at, Arc::clone(name))));
            assert!(line.is_busy() != thirsty, "{name}: {line:?}");
            assert!(line.flying.len() + usize::from(line.head.is_some()) <= 1);
            let place = line.head.iter().chain(&line.flying).chain(line.waiting.keys()).chain(&line.parked);
            assert!(place.clone().zip(place.skip(1)).all(|(one, other)| one < other), "{name}: {line:?}");
        }
        assert_eq!(lines.thirsty.len(), lines.lines.values().filter(|line| line.look_at.is_some()).count());
        for (key, name) in &self.pending {
            let line = &lines.lines[name];
            let known = line.head == Some(*key) || line.flying.contains(key) || line.waiting.contains_key(key);
            assert!(known != line.is_parked_at(*key), "{key:?} of {name}: {line:?}");
        }
        assert_eq!(lines.names.len(), self.heads.len() + self.flying.len());
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<u8>(), prop::bool::weighted(0.7)).prop_map(|(name, room)| Op::Come { name, room }),
        6 => any::<u8>().prop_map(Op::Fly),
        4 => any::<u8>().prop_map(Op::Deliver),
        2 => (any::<u8>(), any::<bool>()).prop_map(|(which, parks)| Op::Fail { which, parks }),
        3 => (1..5u8).prop_map(Op::Read),
        1 => any::<u8>().prop_map(Op::Forget),
        1 => any::<u8>().prop_map(Op::ForgetAbove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    /// Whatever is pending is in exactly one place of its line, and a line that is not busy is to be read.
    #[test]
    fn a_line_knows_all_of_its_key_and_never_stands_still(ops in vec(op(), 1..200)) {
        let mut driver = Driver::default();
        for op in ops {
            driver.apply(op);
            driver.check();
        }
        for _ in 0..2000 {
            [Op::Read(3), Op::Fly(0), Op::Deliver(0)].into_iter().for_each(|op| driver.apply(op));
        }
        prop_assert!(driver.pending.is_empty() && driver.lines.is_empty(), "{:?}", driver);
    }
}
