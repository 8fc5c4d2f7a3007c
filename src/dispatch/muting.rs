//! Endpoints that leave repeats out for themselves alone, without a clock and without an actor: which deliveries are
//! suppressed.

use std::{collections::BTreeMap, mem};

use sha2::{Digest, Sha256};

use super::window::{MAX_KEYS, Ruling, Terms, Windows};
use crate::{
    clock::{Now, Timestamp},
    endpoint::{
        EndpointKey,
        debounce::{DebouncePolicy, Edge, key::key_of},
    },
    event::{Accepted, pointer::View},
    store::WindowChange,
};

/// The windows of every endpoint with a debounce of its own.
#[derive(Debug, Default)]
pub struct Muting {
    endpoints: BTreeMap<EndpointKey, Own>,
    changes: Vec<WindowChange>,
}

#[derive(Debug)]
struct Own {
    policy: DebouncePolicy,
    name: String,
    windows: Windows,
}

/// Stands before what windows of endpoints are kept under; the name of no debounce rule has a colon.
const PREFIX: &str = "endpoint:";

/// Whether kept windows of this name are an endpoint's own.
pub fn is_own(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// What the windows of a setting are kept under. Another setting has another name: whatever is left of an earlier one, also
/// by a crash while it changed, suppresses nothing.
fn name(EndpointKey(endpoint): EndpointKey, policy: &DebouncePolicy) -> String {
    let mut digest = Sha256::new();
    digest.update(policy.window.as_millis().to_be_bytes());
    for pointer in &policy.key {
        digest.update(pointer.to_string());
        digest.update("\n");
    }
    let digest: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{endpoint}:{digest}")
}

impl Own {
    fn new(endpoint: EndpointKey, policy: DebouncePolicy) -> Self {
        let terms = Terms { window: policy.window, edge: Edge::Leading, longest_wait: policy.window, frees: false };
        Self { name: name(endpoint, &policy), policy, windows: Windows::new(terms, MAX_KEYS) }
    }

    fn changes(&mut self) -> impl Iterator<Item = WindowChange> + use<'_> {
        let changes = self.windows.take_changes().into_iter();
        changes.map(|(key, slot)| WindowChange { rule: self.name.clone(), key, slot })
    }
}

impl Muting {
    /// Sets what an endpoint leaves out, or that it leaves out nothing. A setting that changes starts with no windows.
    pub fn set(&mut self, endpoint: EndpointKey, policy: Option<&DebouncePolicy>) {
        if self.endpoints.get(&endpoint).map(|own| &own.policy) == policy {
            return;
        }
        if let Some(mut old) = self.endpoints.remove(&endpoint) {
            old.windows.clear();
            self.changes.extend(old.changes());
        }
        if let Some(policy) = policy {
            self.endpoints.insert(endpoint, Own::new(endpoint, policy.clone()));
        }
    }

    /// Puts back what was kept. What belongs to no endpoint as it is set now is to be forgotten.
    pub fn restore(&mut self, windows: Vec<WindowChange>, now: Now) {
        let mut by_name: BTreeMap<_, _> = self.endpoints.values_mut().map(|own| (own.name.clone(), own)).collect();
        for change in windows {
            match (by_name.get_mut(&change.rule), change.slot) {
                (Some(own), Some(slot)) => own.windows.restore(&change.key, slot, now),
                _ => self.changes.push(WindowChange { slot: None, ..change }),
            }
        }
    }

    /// Whether the delivery of an event that goes to `endpoint` at this moment is suppressed; one that is not opens a window,
    /// where there is room for one. `view` is one of the event.
    pub fn mutes(&mut self, endpoint: EndpointKey, event: &Accepted, view: &View<'_>, at: Timestamp, now: Now) -> bool {
        let Some(own) = self.endpoints.get_mut(&endpoint) else { return false };
        let key = key_of(&own.policy.key, event, view);
        own.windows.prune(at);
        let mutes = own.windows.judge(&key, at) == Ruling::Suppress;
        if !mutes {
            own.windows.passed(&key, event.seq, at, now);
        }
        self.changes.extend(own.changes());
        mutes
    }

    /// The windows that changed since this was last asked.
    pub fn take_changes(&mut self) -> Vec<WindowChange> {
        mem::take(&mut self.changes)
    }

    /// Keys with a window, over all endpoints.
    pub fn keys(&self) -> usize {
        self.endpoints.values().map(|own| own.windows.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeSet, HashMap},
        time::Duration,
    };

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{clock::Mono, event::Event};

    const ONE: EndpointKey = EndpointKey(1);
    const OTHER: EndpointKey = EndpointKey(2);

    fn policy(pointer: &str, millis: u64) -> DebouncePolicy {
        DebouncePolicy { key: vec![pointer.parse().unwrap()], window: Duration::from_millis(millis) }
    }

    fn now(at: i64) -> Now {
        Now { mono: Mono::from_start(Duration::from_millis(at.unsigned_abs())), wall: Timestamp::from_millis(at) }
    }

    fn offer(muting: &mut Muting, endpoint: EndpointKey, key: u8, at: i64) -> bool {
        let event = Event::new("a", &json!({"k": key, "at": at})).unwrap().validate(now(at).wall).unwrap();
        let event = Accepted::new(at.unsigned_abs() + 1, now(at).wall, event);
        muting.mutes(endpoint, &event, &View::of(&event), now(at).wall, now(at))
    }

    /// What a store would hold.
    fn keep(kept: &mut BTreeMap<(String, String), WindowChange>, changes: Vec<WindowChange>) {
        for change in changes {
            let place = (change.rule.clone(), change.key.clone());
            match change.slot {
                Some(_) => drop(kept.insert(place, change)),
                None => drop(kept.remove(&place)),
            }
        }
    }

    #[test]
    fn each_endpoint_has_windows_of_its_own() {
        let mut muting = Muting::default();
        muting.set(ONE, Some(&policy("/data/k", 100)));
        let muted =
            [(ONE, 1), (ONE, 1), (OTHER, 1), (OTHER, 1), (ONE, 2)].map(|(to, key)| offer(&mut muting, to, key, 0));
        assert_eq!(muted, [false, true, false, false, false]);
        assert_eq!(muting.keys(), 2);
        assert!(offer(&mut muting, ONE, 1, 99));
        assert!(!offer(&mut muting, ONE, 1, 100));
    }

    #[test]
    fn another_setting_forgets_the_windows_and_the_same_again_does_not() {
        let (mut muting, mut kept) = (Muting::default(), BTreeMap::new());
        let (short, long) = (policy("/data/k", 100), policy("/data/k", 1000));
        for (set, muted) in [(&short, false), (&short, true), (&long, false), (&long, true), (&short, false)] {
            muting.set(ONE, Some(set));
            assert_eq!(offer(&mut muting, ONE, 1, 0), muted);
            keep(&mut kept, muting.take_changes());
            assert_eq!(kept.len(), 1);
        }
        muting.set(ONE, None);
        keep(&mut kept, muting.take_changes());
        assert!(kept.is_empty() && !offer(&mut muting, ONE, 1, 0));
    }

    #[test]
    fn what_is_left_of_another_setting_or_endpoint_is_forgotten() {
        let (mut old, mut kept) = (Muting::default(), BTreeMap::new());
        old.set(ONE, Some(&policy("/data/k", 1000)));
        old.set(OTHER, Some(&policy("/data/k", 1000)));
        assert_eq!([ONE, OTHER].map(|endpoint| offer(&mut old, endpoint, 1, 0)), [false; 2]);
        keep(&mut kept, old.take_changes());
        let mut muting = Muting::default();
        muting.set(ONE, Some(&policy("/data/at", 1000)));
        muting.restore(kept.values().cloned().collect(), now(1));
        assert_eq!(muting.keys(), 0);
        keep(&mut kept, muting.take_changes());
        assert!(kept.is_empty());
    }

    #[test]
    fn names_tell_settings_and_endpoints_apart_and_are_no_rules() {
        let split =
            DebouncePolicy { key: vec!["/data/k".parse().unwrap(), "/data/k".parse().unwrap()], ..policy("/key", 100) };
        let policies = [policy("/data/k", 100), policy("/data/k", 101), policy("/data/l", 100), split];
        let names: BTreeSet<_> = policies.iter().flat_map(|policy| [name(ONE, policy), name(OTHER, policy)]).collect();
        assert_eq!(names.len(), 8);
        assert!(names.iter().all(|name| is_own(name)) && !is_own("endpoint"));
    }

    proptest! {
        /// An event is muted exactly when one of its key passed less than a window before, also over restarts with what was
        /// kept.
        #[test]
        fn what_is_muted_is_a_repeat_within_a_window(
            steps in prop::collection::vec((0..2_i64, 0..3_u8, 0..80_i64, prop::bool::weighted(0.1)), 1..60),
        ) {
            let setup = || {
                let mut muting = Muting::default();
                muting.set(ONE, Some(&policy("/data/k", 100)));
                muting.set(OTHER, Some(&policy("/data/k", 150)));
                muting
            };
            let (mut muting, mut kept) = (setup(), BTreeMap::new());
            let (mut at, mut passed) = (0, HashMap::new());
            for (endpoint, key, step, restarts) in steps {
                at += step;
                if restarts {
                    muting = setup();
                    muting.restore(kept.values().cloned().collect(), now(at));
                }
                let window = [100, 150][usize::try_from(endpoint).unwrap()];
                let repeats = passed.get(&(endpoint, key)).is_some_and(|passed| at - passed < window);
                prop_assert_eq!(offer(&mut muting, EndpointKey(endpoint + 1), key, at), repeats);
                if !repeats {
                    passed.insert((endpoint, key), at);
                }
                keep(&mut kept, muting.take_changes());
                prop_assert!(kept.len() <= muting.keys());
            }
        }
    }
}
