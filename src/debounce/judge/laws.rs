//! Random streams of events: nothing is lost or counted twice, and what passes is what a plain reading of the rules says.

mod own;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Timestamp, event::Event, store::WindowSlot};

const WINDOW: i64 = 100;

fn at(millis: i64) -> Now {
    let mono = Mono::from_start(Duration::from_millis(millis.unsigned_abs()));
    Now { mono, wall: Timestamp::from_millis(millis) }
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn rule(value: Value) -> Rule {
    let mut rule = json!({"topics": ["t.*"], "key": ["/data/k"], "window": "100ms"});
    rule.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
    Rule::parse(&rule).unwrap()
}

fn event(seq: u64, topic: &str, data: &Value, millis: i64) -> Arc<Accepted> {
    let valid = Event::new(topic, data).unwrap().validate(Timestamp::default()).unwrap();
    Arc::new(Accepted::new(seq, Timestamp::from_millis(millis), valid))
}

/// A judge, and what became of everything.
struct World {
    judge: Judge,
    seq: u64,
    passed: Vec<(u64, i64)>,
    carried: u64,
    suppressed: BTreeSet<u64>,
    coalesced: BTreeSet<u64>,
    held: BTreeMap<u64, Arc<Accepted>>,
    windows: BTreeMap<(String, String), WindowSlot>,
}

impl World {
    fn new(rules: &[(&str, Rule)], room: usize) -> Self {
        let judge = Judge::new(named(rules), Quota::new(room));
        let (passed, suppressed, coalesced) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        let (held, windows) = (BTreeMap::new(), BTreeMap::new());
        Self { judge, seq: 0, passed, carried: 0, suppressed, coalesced, held, windows }
    }

    /// The same after a crash, or a calm end.
    fn again(&mut self, rules: &[(&str, Rule)], room: usize, now: Now) {
        self.judge = Judge::new(named(rules), Quota::new(room));
        let change = |((rule, key), slot): (&(String, String), &WindowSlot)| WindowChange {
            rule: rule.clone(),
            key: key.clone(),
            slot: Some(*slot),
        };
        let (windows, held) = (self.windows.iter().map(change).collect(), self.held.values().cloned().collect());
        self.judge.restore(windows, held, now);
        self.take(now);
    }

    fn publish(&mut self, topic: &str, data: &Value, millis: i64) {
        self.seq += 1;
        let event = event(self.seq, topic, data, millis);
        self.judge.judge(Admitted { event, permit: None }, at(millis));
        self.take(at(millis));
    }

    fn tick(&mut self, millis: i64) {
        self.judge.tick(at(millis));
        self.take(at(millis));
    }

    /// Rings whenever something is due before this moment, as the actor does.
    fn pass_until(&mut self, millis: i64) {
        while let Some(due) = self.judge.next_deadline().filter(|due| *due < at(millis).mono) {
            self.tick(i64::try_from(due.since(Mono::default()).as_millis()).unwrap());
        }
    }

    fn take(&mut self, now: Now) {
        let Effects { judged, windows } = self.judge.take_effects();
        for Judged { event, fate, debounced, .. } in judged {
            let seq = event.seq;
            for (old, _) in &debounced.coalesced {
                assert!(self.held.remove(old).is_some(), "{old} was not held");
                assert!(self.coalesced.insert(*old));
            }
            match fate {
                Fate::Passed => assert!(!self.held.contains_key(&seq)),
                Fate::Released(_) => assert!(self.held.remove(&seq).is_some(), "{seq} was not held"),
                Fate::Suppressed => assert!(self.suppressed.insert(seq)),
                Fate::Held => assert!(self.held.insert(seq, Arc::clone(&event)).is_none()),
            }
            if matches!(fate, Fate::Passed | Fate::Released(_)) {
                self.carried += event.suppressed;
                self.passed.push((seq, now.wall.as_millis()));
            }
            self.keep(debounced.windows);
        }
        self.keep(windows);
    }

    fn keep(&mut self, windows: Vec<WindowChange>) {
        for WindowChange { rule, key, slot } in windows {
            match slot {
                Some(slot) => drop(self.windows.insert((rule, key), slot)),
                None => drop(self.windows.remove(&(rule, key))),
            }
        }
    }

    /// Every event is in exactly one place, and so is every count.
    fn check(&self) {
        let passed: BTreeSet<_> = self.passed.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(passed.len(), self.passed.len(), "nothing passes twice");
        let mut all: Vec<_> =
            passed.iter().chain(&self.suppressed).chain(&self.coalesced).chain(self.held.keys()).collect();
        all.sort();
        assert_eq!(all, (1..=self.seq).collect::<Vec<_>>().iter().collect::<Vec<_>>());
        let in_windows: BTreeSet<_> = self.windows.values().filter_map(|slot| Some(slot.held?.seq)).collect();
        assert_eq!(in_windows, self.held.keys().copied().collect(), "windows hold what is held");
        let waiting: u64 = self.windows.values().map(|slot| slot.suppressed).sum();
        let carried = self.carried + waiting + self.held.values().map(|event| event.suppressed).sum::<u64>();
        assert_eq!(carried, (self.suppressed.len() + self.coalesced.len()) as u64);
    }

    fn seqs(&self) -> Vec<u64> {
        self.passed.iter().map(|(seq, _)| *seq).collect()
    }
}

fn named(rules: &[(&str, Rule)]) -> Vec<(RuleName, Rule)> {
    rules.iter().map(|(name, rule)| (name.parse().unwrap(), rule.clone())).collect()
}

#[derive(Clone, Debug)]
enum Op {
    /// Key, and whether of another topic.
    Publish(u8, bool),
    Reset(u8),
    Pass(i64),
    Tick,
    Fail(prop::sample::Index),
    Restart,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (0..3_u8, prop::bool::weighted(0.2)).prop_map(|(key, other)| Op::Publish(key, other)),
        1 => (0..3_u8).prop_map(Op::Reset),
        6 => (1..70_i64).prop_map(Op::Pass),
        1 => (70..400_i64).prop_map(Op::Pass),
        3 => Just(Op::Tick),
        1 => any::<prop::sample::Index>().prop_map(Op::Fail),
        1 => Just(Op::Restart),
    ];
    prop::collection::vec(op, 1..80)
}

fn rules() -> impl Strategy<Value = Vec<(&'static str, Rule)>> {
    let edge = prop::sample::select(vec!["leading", "trailing", "both"]);
    let one = (edge, any::<bool>(), 0..4_u8).prop_map(|(edge, narrow, wait)| {
        let key = if narrow { json!(["/data/k"]) } else { json!([]) };
        let wait = (wait > 0 && edge != "leading").then(|| format!("{}ms", u64::from(wait) * 80));
        rule(json!({"edge": edge, "key": key, "max_wait": wait, "reset_on": ["gone"], "release_on_failure": true}))
    });
    prop::collection::vec(one, 1..4).prop_map(|rules| ["a", "b", "c"].into_iter().zip(rules).collect())
}

proptest! {
    #[test]
    fn every_event_and_every_count_is_in_exactly_one_place(
        ops in ops(), rules in rules(), room in prop::sample::select(vec![0, 600, 1 << 20]),
    ) {
        let (mut world, mut now) = (World::new(&rules, room), 0);
        for op in ops {
            match op {
                Op::Publish(key, other) => {
                    world.publish(if other { "t.y" } else { "t.x" }, &json!({"k": key}), now);
                }
                Op::Reset(key) => world.publish("gone", &json!({"k": key}), now),
                Op::Pass(time) => now += time,
                Op::Tick => world.tick(now),
                Op::Fail(which) if world.seq > 0 => {
                    world.judge.failed(which.index(usize::try_from(world.seq).unwrap()) as u64 + 1, at(now));
                    world.take(at(now));
                }
                Op::Fail(_) => {}
                Op::Restart => world.again(&rules, room, at(now)),
            }
            world.check();
        }
        world.judge.release_all(at(now));
        world.take(at(now));
        world.check();
        prop_assert!(world.held.is_empty() && world.judge.next_deadline().is_none());
    }

    /// What passes by one trailing rule: of each burst of a key the last event, when it has been quiet for the window or has
    /// lasted for the longest wait.
    #[test]
    fn the_last_of_each_burst_passes_in_time(
        steps in prop::collection::vec((0..3_u8, 0..130_i64), 1..60), wait in 1..15_i64,
    ) {
        let wait = wait * 40;
        let rule = rule(json!({"edge": "trailing", "max_wait": format!("{wait}ms")}));
        let mut world = World::new(&[("r", rule)], 1 << 20);
        let mut bursts: BTreeMap<u8, (u64, i64, i64)> = BTreeMap::new();
        let (mut expected, mut now) = (Vec::new(), 0);
        let ends = |(seq, first, last): (u64, i64, i64)| (seq, (last + WINDOW).min(first + wait));
        for (seq, (key, step)) in (1..).zip(steps) {
            now += step;
            world.pass_until(now);
            world.publish("t.x", &json!({"k": key}), now);
            let open = bursts.remove(&key).filter(|burst| now < ends(*burst).1 || { expected.push(ends(*burst)); false });
            bursts.insert(key, (seq, open.map_or(now, |(_, first, _)| first), now));
        }
        expected.extend(bursts.into_values().map(ends));
        expected.sort_by_key(|(seq, _)| *seq);
        world.pass_until(now + 10_000);
        world.passed.sort_by_key(|(seq, _)| *seq);
        prop_assert_eq!(&world.passed, &expected);
    }

    /// However late the clock rings, and also when everything is judged again at once after a crash.
    #[test]
    fn judging_late_comes_to_the_same(steps in prop::collection::vec((0..2_u8, 0..130_i64), 1..50), rules in rules()) {
        let (mut live, mut late) = (World::new(&rules, 1 << 20), World::new(&rules, 1 << 20));
        let (mut now, end) = (0, 100_000);
        for (key, step) in steps {
            now += step;
            live.pass_until(now);
            live.publish("t.x", &json!({"k": key}), now);
            late.seq += 1;
            late.judge.judge(Admitted { event: event(late.seq, "t.x", &json!({"k": key}), now), permit: None }, at(end));
            late.take(at(end));
        }
        live.pass_until(end);
        late.tick(end);
        let sorted = |world: &World| world.seqs().into_iter().collect::<BTreeSet<_>>();
        prop_assert_eq!(sorted(&live), sorted(&late));
        prop_assert_eq!((live.suppressed, live.coalesced), (late.suppressed, late.coalesced));
    }

    /// A restart between any two events changes nothing.
    #[test]
    fn what_is_kept_judges_alike(steps in prop::collection::vec((0..2_u8, 0..130_i64), 1..50), rules in rules(), every in 1..5_u64) {
        let (mut calm, mut restarted) = (World::new(&rules, 1 << 20), World::new(&rules, 1 << 20));
        let mut now = 0;
        for (key, step) in steps {
            now += step;
            for world in [&mut calm, &mut restarted] {
                world.pass_until(now);
                world.publish("t.x", &json!({"k": key}), now);
            }
            if restarted.seq.is_multiple_of(every) {
                restarted.again(&rules, 1 << 20, at(now));
            }
        }
        calm.pass_until(now + 10_000);
        restarted.pass_until(now + 10_000);
        prop_assert_eq!(calm.passed, restarted.passed);
        prop_assert_eq!((calm.suppressed, calm.coalesced), (restarted.suppressed, restarted.coalesced));
        // Of several rules one may have let go before the restart: its count stays for the next event of its key.
        prop_assert!(restarted.carried <= calm.carried && (rules.len() > 1 || restarted.carried == calm.carried));
    }
}

#[test]
fn a_first_event_alone_passes_once_at_both_edges_and_the_last_of_a_burst_after_it() {
    let mut world = World::new(&[("r", rule(json!({"edge": "both"})))], 1 << 20);
    world.publish("t.x", &json!({"k": 1}), 0);
    world.pass_until(1000);
    for millis in [1000, 1010, 1020] {
        world.publish("t.x", &json!({"k": 1}), millis);
    }
    world.pass_until(2000);
    assert_eq!(world.passed, [(1, 0), (2, 1000), (4, 1120)]);
    assert_eq!(world.carried, 1);
}

#[test]
fn a_reset_releases_what_is_held_and_the_next_one_is_the_first_again() {
    let rules = [("r", rule(json!({"edge": "both", "key": ["/data/k", "/data/s"], "reset_on": ["gone"]})))];
    let mut world = World::new(&rules, 1 << 20);
    for (state, millis) in [(1, 0), (1, 10), (2, 20)] {
        world.publish("t.x", &json!({"k": 1, "s": state}), millis);
    }
    world.publish("gone", &json!({"s": 9}), 30);
    assert_eq!((world.seqs(), world.held.len()), (vec![1, 3, 4], 1), "it means another state");
    world.publish("gone", &json!({"k": 1}), 40);
    world.publish("t.x", &json!({"k": 1, "s": 1}), 50);
    assert_eq!(world.seqs(), [1, 3, 4, 2, 5, 6]);
    world.publish("gone", &json!({}), 60);
    world.publish("t.x", &json!({"k": 1, "s": 1}), 70);
    assert_eq!(world.held.keys().collect::<Vec<_>>(), [&8], "a reset that carries nothing means nothing");
    world.check();
}

#[test]
fn an_event_waits_for_every_rule_that_holds_it() {
    let long = rule(json!({"edge": "trailing", "window": "300ms", "key": []}));
    let mut world = World::new(&[("long", long), ("short", rule(json!({"edge": "trailing"})))], 1 << 20);
    world.publish("t.x", &json!({"k": 1}), 0);
    world.pass_until(200);
    assert!(world.passed.is_empty());
    world.publish("t.x", &json!({"k": 2}), 200);
    assert_eq!(world.coalesced, [1].into());
    world.pass_until(1000);
    assert_eq!((world.passed.clone(), world.carried), (vec![(2, 500)], 1));
}

#[test]
fn a_rule_that_changes_or_goes_releases_what_it_held() {
    let held = || rule(json!({"edge": "trailing"}));
    for new in [None, Some(rule(json!({"edge": "leading"})))] {
        let mut world = World::new(&[("r", held())], 1 << 20);
        world.publish("t.x", &json!({"k": 1}), 0);
        world.judge.set_rule("r".parse().unwrap(), new, at(10));
        world.take(at(10));
        assert_eq!((world.seqs(), world.windows.len()), (vec![1], 0));
    }
    // The same at a start: the store forgets the windows of a rule that changes, and not what they held.
    let mut world = World::new(&[("r", held())], 1 << 20);
    world.publish("t.x", &json!({"k": 1}), 0);
    world.windows.clear();
    world.again(&[("r", held())], 1 << 20, at(10));
    assert_eq!(world.seqs(), [1]);
}

#[test]
fn a_failure_ends_the_window_and_keeps_the_count() {
    let mut world = World::new(&[("r", rule(json!({"release_on_failure": true})))], 1 << 20);
    for millis in [0, 10, 20] {
        world.publish("t.x", &json!({"k": 1}), millis);
    }
    assert!(world.judge.is_taker(1) && !world.judge.is_taker(2));
    world.judge.failed(2, at(25));
    world.publish("t.x", &json!({"k": 1}), 30);
    world.judge.failed(1, at(35));
    world.publish("t.x", &json!({"k": 1}), 40);
    assert_eq!((world.seqs(), world.carried), (vec![1, 5], 3));
}

#[test]
fn without_room_for_what_is_held_events_pass_and_replace_what_waits() {
    let weight = event(1, "t.x", &json!({"k": 1}), 0).weight();
    let mut world = World::new(&[("r", rule(json!({"edge": "trailing"})))], weight);
    world.publish("t.x", &json!({"k": 1}), 0);
    world.publish("t.x", &json!({"k": 2}), 10);
    assert_eq!((world.seqs(), world.held.len()), (vec![2], 1));
    world.publish("t.x", &json!({"k": 1}), 20);
    assert_eq!((world.seqs(), world.held.len(), world.carried), (vec![2, 3], 0, 1), "the later one is never first");
    world.check();
}
