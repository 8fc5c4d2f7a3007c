//! An endpoint's own debounce comes to the same as a rule over the events that are for it.

use super::*;
use crate::{
    dispatch::muting::Muting,
    endpoint::EndpointKey,
    event::pointer::View,
    store::{DeliveryId, Disposition, HeldDelivery, Released, WindowSlot},
};

const ENDPOINT: EndpointKey = EndpointKey(7);

/// One endpoint, and what a store would hold of it.
#[derive(Default)]
struct Own {
    muting: Muting,
    windows: BTreeMap<(String, String), WindowSlot>,
    held: BTreeSet<u64>,
    passed: Vec<(u64, i64)>,
    suppressed: BTreeSet<u64>,
    carried: u64,
}

impl Own {
    fn again(&mut self, rule: &Rule, now: Now) {
        self.muting = Muting::default();
        self.muting.set(ENDPOINT, Some(&rule.policy), now);
        let window = |((rule, key), slot): (&(String, String), &WindowSlot)| WindowChange {
            rule: rule.clone(),
            key: key.clone(),
            slot: Some(*slot),
        };
        let held = |seq: &u64| HeldDelivery { delivery: id(*seq), carries: 0 };
        self.muting.restore(self.windows.iter().map(window).collect(), self.held.iter().map(held).collect(), now);
        self.take();
    }

    fn publish(&mut self, rule: &Rule, seq: u64, topic: &str, data: &Value, millis: i64) {
        let (event, now) = (event(seq, topic, data, millis), at(millis));
        self.muting.reset(&event, now);
        self.take();
        if !rule.covers(&event) {
            self.passed.push((seq, millis));
            return;
        }
        let sentence = self.muting.judge(ENDPOINT, &event, &View::of(&event), event.accepted_at, now);
        self.take();
        match sentence.disposition {
            Disposition::Deliver => {
                self.carried += sentence.suppressed;
                self.passed.push((seq, millis));
            }
            Disposition::Hold => assert!(self.held.insert(seq)),
            _ => assert!(self.suppressed.insert(seq)),
        }
    }

    fn take(&mut self) {
        let Debounced { windows, muted, released, .. } = self.muting.take_effects();
        for id in muted {
            assert!(self.held.remove(&id.seq) && self.suppressed.insert(id.seq));
        }
        for Released { delivery, at, suppressed } in released {
            assert!(self.held.remove(&delivery.seq));
            self.passed.push((delivery.seq, at.as_millis()));
            self.carried += suppressed;
        }
        for WindowChange { rule, key, slot } in windows {
            match slot {
                Some(slot) => drop(self.windows.insert((rule, key), slot)),
                None => drop(self.windows.remove(&(rule, key))),
            }
        }
    }
}

fn id(seq: u64) -> DeliveryId {
    DeliveryId { seq, endpoint: ENDPOINT, run: 0 }
}

proptest! {
    #[test]
    fn an_endpoint_debounces_as_a_rule_does(ops in ops(), rules in rules()) {
        let rules = &rules[..1];
        let rule = &rules[0].1;
        let (mut world, mut own, mut now) = (World::new(rules, 1 << 20), Own::default(), 0);
        own.again(rule, at(0));
        for op in ops {
            match op {
                Op::Publish(key, other) => {
                    let topic = if other { "t.y" } else { "t.x" };
                    world.publish(topic, &json!({"k": key}), now);
                    own.publish(rule, world.seq, topic, &json!({"k": key}), now);
                }
                Op::Reset(key) => {
                    world.publish("gone", &json!({"k": key}), now);
                    own.publish(rule, world.seq, "gone", &json!({"k": key}), now);
                }
                Op::Pass(time) => now += time,
                Op::Tick => {
                    world.tick(now);
                    own.muting.tick(at(now));
                }
                Op::Fail(which) => {
                    let seq = which.index(usize::try_from(world.seq).unwrap() + 1) as u64;
                    prop_assert_eq!(world.judge.is_taker(seq), own.muting.is_taker(id(seq)));
                    // What a rule holds is no delivery yet, and cannot fail.
                    if !own.held.contains(&seq) {
                        world.judge.failed(seq, at(now));
                        own.muting.failed(id(seq), at(now));
                        world.take(at(now));
                    }
                }
                Op::Restart => {
                    world.again(rules, 1 << 20, at(now));
                    own.again(rule, at(now));
                }
            }
            own.take();
            prop_assert_eq!(&world.passed, &own.passed);
            prop_assert_eq!(world.carried, own.carried);
            prop_assert_eq!(&(&world.suppressed | &world.coalesced), &own.suppressed);
            prop_assert_eq!(world.held.keys().copied().collect::<BTreeSet<_>>(), own.held.clone());
            prop_assert_eq!(world.judge.next_deadline(), own.muting.next_deadline());
        }
    }
}
