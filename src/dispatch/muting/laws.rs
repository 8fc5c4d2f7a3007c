use std::{collections::HashMap, time::Duration};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{config::fields::read, endpoint::debounce::Edge, event::Event, store::WindowSlot};

const ONE: EndpointKey = EndpointKey(1);
const OTHER: EndpointKey = EndpointKey(2);

use Disposition::{Deliver, Hold, Suppress};

fn policy(value: &Value) -> DebouncePolicy {
    read(value, DebouncePolicy::read).unwrap()
}

fn leading(pointer: &str, millis: u64) -> DebouncePolicy {
    DebouncePolicy::leading(vec![pointer.parse().unwrap()], Duration::from_millis(millis))
}

fn trailing() -> DebouncePolicy {
    policy(&json!({"key": ["/data/k"], "window": "100ms", "edge": "trailing", "reset_on": ["gone"]}))
}

fn now(at: i64) -> Now {
    Now { mono: Mono::from_start(Duration::from_millis(at.unsigned_abs())), wall: Timestamp::from_millis(at) }
}

fn event(topic: &str, seq: u64, key: u8, at: i64) -> Accepted {
    let event = Event::new(topic, &json!({"k": key, "at": at})).unwrap().validate(now(at).wall).unwrap();
    Accepted::new(seq, now(at).wall, event)
}

/// What a store would hold, and what the endpoints got.
#[derive(Default)]
struct World {
    muting: Muting,
    seq: u64,
    windows: BTreeMap<(String, String), WindowSlot>,
    held: BTreeMap<DeliveryId, u64>,
    /// With what each brought along beside what its event carries.
    delivered: BTreeMap<DeliveryId, u64>,
    suppressed: BTreeMap<DeliveryId, u64>,
    /// What was held then.
    dropped: BTreeMap<DeliveryId, u64>,
}

impl World {
    fn offer(&mut self, endpoint: EndpointKey, key: u8, at: i64) -> Disposition {
        self.offer_carrying(endpoint, key, at, 0)
    }

    fn offer_carrying(&mut self, endpoint: EndpointKey, key: u8, at: i64, carries: u64) -> Disposition {
        self.seq += 1;
        let event = Accepted { suppressed: carries, ..event("a", self.seq, key, at) };
        let id = DeliveryId { seq: self.seq, endpoint, run: 0 };
        let sentence = self.muting.judge(endpoint, &event, &View::of(&event), now(at).wall, now(at));
        match sentence.disposition {
            Deliver => drop(self.delivered.insert(id, sentence.suppressed)),
            Hold => drop(self.held.insert(id, carries)),
            _ => drop(self.suppressed.insert(id, carries)),
        }
        self.keep();
        sentence.disposition
    }

    fn keep(&mut self) {
        let Debounced { windows, muted, released, suppressed_by, coalesced } = self.muting.take_effects();
        assert!(suppressed_by.is_none() && coalesced.is_empty());
        for id in muted {
            let carries = self.held.remove(&id).expect("it was held");
            assert_eq!(self.suppressed.insert(id, carries), None);
        }
        for Released { delivery, suppressed, .. } in released {
            self.held.remove(&delivery).expect("it was held");
            assert_eq!(self.delivered.insert(delivery, suppressed), None);
        }
        for WindowChange { rule, key, slot } in windows {
            match slot {
                Some(slot) => drop(self.windows.insert((rule, key), slot)),
                None => drop(self.windows.remove(&(rule, key))),
            }
        }
    }

    fn restart(&mut self, policies: &[(EndpointKey, DebouncePolicy)], at: i64) {
        self.muting = Muting::default();
        policies.iter().for_each(|(endpoint, policy)| self.muting.set(*endpoint, Some(policy), now(at)));
        let window = |((rule, key), slot): (&(String, String), &WindowSlot)| WindowChange {
            rule: rule.clone(),
            key: key.clone(),
            slot: Some(*slot),
        };
        let held = |(delivery, carries): (&DeliveryId, &u64)| HeldDelivery { delivery: *delivery, carries: *carries };
        self.muting.restore(self.windows.iter().map(window).collect(), self.held.iter().map(held).collect(), now(at));
        self.keep();
    }

    fn seqs(&self) -> Vec<u64> {
        self.delivered.keys().map(|id| id.seq).collect()
    }
}

#[test]
fn each_endpoint_has_windows_of_its_own() {
    let mut world = World::default();
    world.muting.set(ONE, Some(&leading("/data/k", 100)), now(0));
    let judged = [(ONE, 1), (ONE, 1), (OTHER, 1), (OTHER, 1), (ONE, 2)].map(|(to, key)| world.offer(to, key, 0));
    assert_eq!(judged, [Deliver, Suppress, Deliver, Deliver, Deliver]);
    assert_eq!(world.muting.keys(), 2);
    assert_eq!([99, 100].map(|at| world.offer(ONE, 1, at)), [Suppress, Deliver]);
}

#[test]
fn another_setting_forgets_the_windows_and_the_same_again_does_not() {
    let mut world = World::default();
    let (short, long) = (leading("/data/k", 100), leading("/data/k", 1000));
    for (set, judged) in [(&short, Deliver), (&short, Suppress), (&long, Deliver), (&long, Suppress), (&short, Deliver)]
    {
        world.muting.set(ONE, Some(set), now(0));
        assert_eq!(world.offer(ONE, 1, 0), judged);
        assert_eq!(world.windows.len(), 1);
    }
    world.muting.set(ONE, None, now(0));
    assert_eq!(world.offer(ONE, 1, 0), Deliver);
    assert!(world.windows.is_empty());
}

#[test]
fn another_setting_lets_go_of_what_was_held() {
    for new in [None, Some(leading("/data/k", 100))] {
        let mut world = World::default();
        world.muting.set(ONE, Some(&trailing()), now(0));
        assert_eq!([1, 1].map(|key| world.offer(ONE, key, 0)), [Hold, Hold]);
        world.muting.set(ONE, new.as_ref(), now(1));
        world.keep();
        assert_eq!(world.delivered, [(DeliveryId { seq: 2, endpoint: ONE, run: 0 }, 1)].into());
        assert!(world.windows.is_empty() && world.muting.next_deadline().is_none());
    }
}

#[test]
fn what_is_left_of_another_setting_or_endpoint_is_forgotten_and_let_go() {
    let mut world = World::default();
    let kept = [(ONE, trailing()), (OTHER, trailing())];
    world.restart(&kept, 0);
    assert_eq!([ONE, OTHER].map(|endpoint| world.offer(endpoint, 1, 0)), [Hold; 2]);
    world.restart(&kept, 1);
    assert_eq!((world.muting.keys(), world.held.len()), (2, 2));
    world.restart(&[(ONE, leading("/data/k", 100))], 1);
    assert_eq!((world.muting.keys(), world.windows.len(), world.seqs()), (0, 0, vec![1, 2]));
}

#[test]
fn a_window_whose_delivery_is_gone_holds_nothing() {
    let mut world = World::default();
    world.restart(&[(ONE, trailing())], 0);
    world.offer(ONE, 1, 0);
    // Such as by being cancelled.
    world.held.clear();
    world.restart(&[(ONE, trailing())], 1);
    assert_eq!((world.muting.next_deadline(), world.windows.len()), (None, 0));
}

#[test]
fn an_event_resets_also_endpoints_that_it_is_not_for_by_the_key_and_tenant_that_it_carries() {
    let mut world = World::default();
    let both = policy(&json!({"key": ["/data/k"], "window": "1h", "edge": "both", "reset_on": ["gone"]}));
    world.restart(&[(ONE, both), (OTHER, leading("/data/k", 100))], 0);
    for (endpoint, key) in [(ONE, 1), (ONE, 1), (ONE, 2), (OTHER, 1)] {
        world.offer(endpoint, key, 0);
    }
    let gone = event("gone", 9, 1, 1);
    let elsewhere = Accepted { tenant: Some("t".parse().unwrap()), ..gone.clone() };
    for (reset, delivered) in [(&elsewhere, vec![1, 3, 4]), (&gone, vec![1, 2, 3, 4])] {
        world.muting.reset(reset, now(1));
        world.keep();
        assert_eq!(world.seqs(), delivered);
    }
    assert_eq!([(ONE, 1), (ONE, 2), (OTHER, 1)].map(|(to, key)| world.offer(to, key, 2)), [Deliver, Hold, Suppress]);
}

#[test]
fn a_failed_delivery_ends_the_window_that_it_opened_there_alone() {
    let mut world = World::default();
    let frees = policy(&json!({"key": ["/data/k"], "window": "1h", "release_on_failure": true}));
    assert!(!world.muting.wants_failures());
    world.restart(&[(ONE, frees.clone()), (OTHER, frees)], 0);
    assert_eq!([ONE, OTHER, ONE].map(|to| world.offer(to, 1, 0)), [Deliver, Deliver, Suppress]);
    let of_one = DeliveryId { seq: 1, endpoint: ONE, run: 0 };
    assert!(world.muting.wants_failures() && world.muting.is_taker(of_one));
    assert_eq!(world.muting.watched().collect::<Vec<_>>(), [(ONE, vec![1]), (OTHER, vec![2])]);
    world.muting.failed(DeliveryId { endpoint: OTHER, ..of_one }, now(1));
    world.muting.failed(of_one, now(1));
    world.keep();
    assert_eq!([ONE, OTHER].map(|to| world.offer(to, 1, 2)), [Deliver, Suppress]);
    assert_eq!(world.delivered[&DeliveryId { seq: 4, endpoint: ONE, run: 0 }], 1, "it carries the count");
}

#[test]
fn names_tell_settings_and_endpoints_apart_and_are_no_rules() {
    let one = leading("/data/k", 100);
    let twice = DebouncePolicy { key: vec!["/data/k".parse().unwrap(); 2], ..one.clone() };
    let both = DebouncePolicy { edge: Edge::Both, ..one.clone() };
    let policies = [one, leading("/data/k", 101), leading("/data/l", 100), twice, both, trailing()];
    let names: BTreeSet<_> = policies.iter().flat_map(|policy| [name(ONE, policy), name(OTHER, policy)]).collect();
    assert_eq!(names.len(), 12);
    assert!(names.iter().all(|name| is_own(name)) && !is_own("endpoint"));
}

fn any_policy() -> impl Strategy<Value = DebouncePolicy> {
    let edge = prop::sample::select(vec!["leading", "trailing", "both"]);
    (edge, any::<bool>(), 0..4_u64).prop_map(|(edge, narrow, wait)| {
        let key = if narrow { json!(["/data/k"]) } else { json!([]) };
        let wait = (wait > 0 && edge != "leading").then(|| format!("{}ms", wait * 80));
        policy(&json!({
            "key": key, "window": "100ms", "edge": edge, "max_wait": wait, "reset_on": ["gone"], "release_on_failure": true
        }))
    })
}

#[derive(Clone, Debug)]
enum Op {
    /// Endpoint, key, and how many the event carries the count of.
    Offer(bool, u8, u64),
    Reset(u8),
    Pass(i64),
    Tick,
    Fail(bool, prop::sample::Index),
    Set(bool, DebouncePolicy),
    Restart,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (any::<bool>(), 0..3_u8, 0..3_u64).prop_map(|(other, key, carries)| Op::Offer(other, key, carries)),
        1 => (0..3_u8).prop_map(Op::Reset),
        6 => (1..130_i64).prop_map(Op::Pass),
        3 => Just(Op::Tick),
        1 => (any::<bool>(), any::<prop::sample::Index>()).prop_map(|(other, which)| Op::Fail(other, which)),
        1 => (any::<bool>(), any_policy()).prop_map(|(other, policy)| Op::Set(other, policy)),
        1 => Just(Op::Restart),
    ]
}

proptest! {
    /// Every delivery is in exactly one place. Whatever an endpoint did not get is counted in a window or with one that it got,
    /// unless another setting has forgotten it.
    #[test]
    fn every_delivery_and_every_count_is_in_exactly_one_place(
        ops in prop::collection::vec(op(), 1..80), one in any_policy(), other in any_policy(),
    ) {
        let (mut world, mut at, mut forgets) = (World::default(), 0, false);
        let mut policies = [(ONE, one), (OTHER, other)];
        world.restart(&policies, 0);
        let key = |other: bool| if other { OTHER } else { ONE };
        for op in ops {
            match op {
                Op::Offer(other, of, carries) => drop(world.offer_carrying(key(other), of, at, carries)),
                Op::Reset(of) => world.muting.reset(&event("gone", 0, of, at), now(at)),
                Op::Pass(time) => at += time,
                Op::Tick => world.muting.tick(now(at)),
                Op::Fail(other, which) => {
                    let seq = which.index(usize::try_from(world.seq).unwrap() + 1) as u64;
                    let id = DeliveryId { seq, endpoint: key(other), run: 0 };
                    if let Some(carries) = world.held.remove(&id) {
                        world.dropped.insert(id, carries);
                    }
                    world.muting.failed(id, now(at));
                }
                Op::Set(other, policy) => {
                    forgets |= policies[usize::from(other)].1 != policy;
                    world.muting.set(key(other), Some(&policy), now(at));
                    policies[usize::from(other)].1 = policy;
                }
                Op::Restart => world.restart(&policies, at),
            }
            world.keep();
            let all = world.delivered.len() + world.held.len() + world.suppressed.len() + world.dropped.len();
            prop_assert_eq!(all as u64, world.seq);
            let in_windows: BTreeSet<_> = world.windows.values().filter_map(|slot| Some(slot.held?.seq)).collect();
            prop_assert_eq!(&in_windows, &world.held.keys().map(|id| id.seq).collect());
            let counted = world.delivered.values().sum::<u64>() + world.windows.values().map(|slot| slot.suppressed).sum::<u64>();
            let missed: u64 = world.suppressed.values().map(|carries| stands_for(*carries)).sum();
            let missed = missed + world.dropped.values().sum::<u64>();
            prop_assert!(counted == missed || forgets && counted < missed, "{} of {}", counted, missed);
            prop_assert_eq!(world.held.is_empty(), world.muting.next_deadline().is_none());
        }
        world.muting.release_all(now(at));
        world.keep();
        prop_assert!(world.held.is_empty() && world.muting.next_deadline().is_none());
    }

    /// A delivery is suppressed at the leading edge exactly when one of its key passed less than a window before, also over
    /// restarts with what was kept.
    #[test]
    fn what_is_suppressed_is_a_repeat_within_a_window(
        steps in prop::collection::vec((any::<bool>(), 0..3_u8, 0..80_i64, prop::bool::weighted(0.1)), 1..60),
    ) {
        let policies = [(ONE, leading("/data/k", 100)), (OTHER, leading("/data/k", 150))];
        let (mut world, mut at, mut passed) = (World::default(), 0, HashMap::new());
        world.restart(&policies, 0);
        for (other, key, step, restarts) in steps {
            at += step;
            if restarts {
                world.restart(&policies, at);
            }
            let (endpoint, window) = if other { (OTHER, 150) } else { (ONE, 100) };
            let repeats = passed.get(&(endpoint, key)).is_some_and(|passed| at - passed < window);
            prop_assert_eq!(world.offer(endpoint, key, at), if repeats { Suppress } else { Deliver });
            if !repeats {
                passed.insert((endpoint, key), at);
            }
            prop_assert!(world.windows.len() <= world.muting.keys());
        }
    }
}
