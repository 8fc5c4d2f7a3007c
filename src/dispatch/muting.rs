//! Endpoints that debounce for themselves alone, without a clock and without an actor: which deliveries are suppressed, and
//! which wait and for how long.
//!
//! What waits is in the store and nowhere else: here stands its seq, and of how many events it carries the count.

#[cfg(test)]
mod laws;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use sha2::{Digest, Sha256};

use super::{
    routes::Topics,
    window::{MAX_KEYS, Passing, Ruling, Terms, Windows},
};
use crate::{
    clock::{Mono, Now, Timestamp},
    endpoint::{
        EndpointKey,
        debounce::{
            DebouncePolicy,
            key::{Carried, key_of},
        },
    },
    event::{Accepted, pointer::View},
    store::{Debounced, DeliveryId, Disposition, HeldDelivery, Released, WindowChange},
};

/// The windows of every endpoint with a debounce of its own.
#[derive(Debug, Default)]
pub struct Muting {
    endpoints: BTreeMap<EndpointKey, Own>,
    /// The endpoints that hold something, by when the first of it is let go.
    due: BTreeSet<(Mono, EndpointKey)>,
    /// The endpoints by the topics of events that clear keys of theirs.
    resets: Topics,
    effects: Debounced,
}

#[derive(Debug)]
struct Own {
    endpoint: EndpointKey,
    policy: DebouncePolicy,
    name: String,
    windows: Windows,
    /// The events whose deliveries wait, each with how many it carries the count of.
    held: BTreeMap<u64, u64>,
    due: Option<Mono>,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// Whether it is delivered.
    pub disposition: Disposition,
    /// How many of its key the endpoint did not get since the last that it did.
    pub suppressed: u64,
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
    let digest = Sha256::digest(policy.to_json().to_string());
    let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}{endpoint}:{digest}")
}

/// How many events the endpoint does not get when it does not get this one: it may stand for others already.
const fn stands_for(carries: u64) -> u64 {
    1 + carries
}

impl Own {
    fn new(endpoint: EndpointKey, policy: DebouncePolicy) -> Self {
        let (name, windows) = (name(endpoint, &policy), Windows::new(Terms::from(&policy), MAX_KEYS));
        Self { endpoint, policy, name, windows, held: BTreeMap::new(), due: None }
    }

    fn judge(&mut self, event: &Accepted, view: &View<'_>, at: Timestamp, now: Now, out: &mut Debounced) -> Sentence {
        let key = key_of(&self.policy.key, event, view);
        if self.windows.is_overdue(&key, at) {
            self.let_go(&key, now, out);
        }
        self.windows.prune(at);
        match self.windows.judge(&key, at) {
            Ruling::Pass => {
                let Passing { count, replaced } = self.windows.passed(&key, event.seq, at, now);
                let more = replaced.map_or(0, |seq| self.replaced(seq, out));
                Sentence { disposition: Disposition::Deliver, suppressed: count + more }
            }
            Ruling::Suppress => {
                self.windows.add(&key, stands_for(event.suppressed), now);
                Sentence { disposition: Disposition::Suppress, suppressed: 0 }
            }
            Ruling::Hold => {
                let replaced = self.windows.hold(&key, event.seq, at, now);
                let count = replaced.map_or(0, |seq| self.replaced(seq, out));
                self.windows.add(&key, count, now);
                self.held.insert(event.seq, event.suppressed);
                Sentence { disposition: Disposition::Hold, suppressed: 0 }
            }
        }
    }

    /// Ends what was held, for a later one; tells how many events the endpoint does not get by that.
    fn replaced(&mut self, seq: u64, out: &mut Debounced) -> u64 {
        let Some(carries) = self.held.remove(&seq) else { return 0 };
        out.muted.push(self.delivery(seq));
        stands_for(carries)
    }

    fn let_go(&mut self, key: &str, now: Now, out: &mut Debounced) {
        let Some(seq) = self.windows.let_go(key, None, now) else { return };
        self.held.remove(&seq);
        let suppressed = self.windows.released(key, seq, now);
        out.released.push(Released { delivery: self.delivery(seq), at: now.wall, suppressed });
    }

    /// Lets go of what a key holds; the next of it passes as the first would.
    fn end(&mut self, key: &str, now: Now, out: &mut Debounced) {
        self.let_go(key, now, out);
        self.windows.end(key, now);
    }

    fn tick(&mut self, now: Now, out: &mut Debounced) {
        self.windows.overdue(now.mono).iter().for_each(|key| self.let_go(key, now, out));
    }

    fn release_all(&mut self, now: Now, out: &mut Debounced) {
        self.windows.keys().iter().for_each(|key| self.let_go(key, now, out));
    }

    /// Puts back what is held by windows that are back. Tells what none of them holds.
    fn restore(&mut self, held: BTreeMap<u64, u64>, now: Now) -> Vec<u64> {
        let (mut lost, mut orphans) = (Vec::new(), held);
        for (key, seq) in self.windows.holding() {
            match orphans.remove(&seq) {
                Some(carries) => drop(self.held.insert(seq, carries)),
                None => lost.push(key),
            }
        }
        for key in lost {
            self.windows.let_go(&key, None, now);
        }
        orphans.into_keys().collect()
    }

    /// What was held was dropped: the next of its key that passes carries the count that it would have brought along.
    fn dropped(&mut self, seq: u64, now: Now) {
        let Some(carries) = self.held.remove(&seq) else { return };
        if let Some((key, _)) = self.windows.holding().into_iter().find(|(_, held)| *held == seq) {
            self.windows.add(&key, carries, now);
            self.windows.let_go(&key, Some(seq), now);
        }
    }

    const fn delivery(&self, seq: u64) -> DeliveryId {
        DeliveryId { seq, endpoint: self.endpoint, run: 0 }
    }

    fn changes(&mut self) -> impl Iterator<Item = WindowChange> + use<'_> {
        let changes = self.windows.take_changes().into_iter();
        changes.map(|(key, slot)| WindowChange { rule: self.name.clone(), key, slot })
    }
}

impl Muting {
    /// Sets how an endpoint debounces, or that it does not. A setting that changes starts with no windows, and what they held
    /// is let go.
    pub fn set(&mut self, endpoint: EndpointKey, policy: Option<&DebouncePolicy>, now: Now) {
        if self.endpoints.get(&endpoint).map(|own| &own.policy) == policy {
            return;
        }
        self.with(endpoint, |own, out| {
            own.release_all(now, out);
            own.windows.clear();
        });
        if let Some(old) = self.endpoints.remove(&endpoint) {
            old.policy.reset_on.iter().for_each(|pattern| self.resets.forget(pattern, endpoint));
        }
        if let Some(policy) = policy {
            for pattern in &policy.reset_on {
                self.resets.add(pattern, endpoint);
            }
            self.endpoints.insert(endpoint, Own::new(endpoint, policy.clone()));
        }
    }

    /// Puts back what was kept. Windows that belong to no endpoint as it is set now are to be forgotten, and what no window
    /// holds is let go.
    pub fn restore(&mut self, windows: Vec<WindowChange>, held: Vec<HeldDelivery>, now: Now) {
        let mut by_name: BTreeMap<_, _> = self.endpoints.values_mut().map(|own| (own.name.clone(), own)).collect();
        for change in windows {
            match (by_name.get_mut(&change.rule), change.slot) {
                (Some(own), Some(slot)) => own.windows.restore(&change.key, slot, now),
                _ => self.effects.windows.push(WindowChange { slot: None, ..change }),
            }
        }
        let mut by_endpoint: BTreeMap<EndpointKey, BTreeMap<u64, u64>> =
            self.endpoints.keys().map(|key| (*key, BTreeMap::new())).collect();
        for HeldDelivery { delivery, carries } in held {
            by_endpoint.entry(delivery.endpoint).or_default().insert(delivery.seq, carries);
        }
        for (endpoint, held) in by_endpoint {
            let all = held.keys().copied().collect();
            let orphans = self.with(endpoint, |own, _| own.restore(held, now)).unwrap_or(all);
            let released =
                |seq| Released { delivery: DeliveryId { seq, endpoint, run: 0 }, at: now.wall, suppressed: 0 };
            self.effects.released.extend(orphans.into_iter().map(released));
        }
    }

    /// What becomes of the delivery of an event that goes to `endpoint` at this moment. `view` is one of the event.
    pub fn judge(
        &mut self,
        endpoint: EndpointKey,
        event: &Accepted,
        view: &View<'_>,
        at: Timestamp,
        now: Now,
    ) -> Sentence {
        self.with(endpoint, |own, out| own.judge(event, view, at, now, out)).unwrap_or_default()
    }

    /// An event clears the keys that it carries, of every endpoint that wants that; once for each event, whatever becomes of
    /// it.
    pub fn reset(&mut self, event: &Accepted, now: Now) {
        if self.resets.is_empty() {
            return;
        }
        let mut endpoints = Vec::new();
        self.resets.collect(&event.topic, &mut endpoints);
        endpoints.sort_unstable();
        endpoints.dedup();
        for endpoint in endpoints {
            self.with(endpoint, |own, out| {
                let carried = Carried::by(event, &own.policy.key);
                let keys = carried.map(|carried| own.windows.meant(&carried)).unwrap_or_default();
                keys.iter().for_each(|key| own.end(key, now, out));
            });
        }
    }

    /// Lets go of what has waited long enough.
    pub fn tick(&mut self, now: Now) {
        while let Some((_, endpoint)) = self.due.first().copied().filter(|(due, _)| *due <= now.mono) {
            self.with(endpoint, |own, out| own.tick(now, out));
        }
    }

    /// When something is to be let go.
    pub fn next_deadline(&self) -> Option<Mono> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Lets go of everything that is held.
    pub fn release_all(&mut self, now: Now) {
        for endpoint in self.due.iter().map(|(_, endpoint)| *endpoint).collect::<Vec<_>>() {
            self.with(endpoint, |own, out| own.release_all(now, out));
        }
    }

    /// A delivery did not arrive: the window that it opened ends. One that was held is so no more.
    pub fn failed(&mut self, DeliveryId { seq, endpoint, .. }: DeliveryId, now: Now) {
        self.with(endpoint, |own, out| {
            own.dropped(seq, now);
            if let Some(key) = own.windows.taken_by(seq).map(str::to_owned) {
                own.end(&key, now, out);
            }
        });
    }

    /// A delivery was dropped for want of room; of one that was held, the count stays.
    pub fn dropped(&mut self, DeliveryId { seq, endpoint, .. }: DeliveryId, now: Now) {
        if self.endpoints.get(&endpoint).is_some_and(|own| own.held.contains_key(&seq)) {
            self.with(endpoint, |own, _| own.dropped(seq, now));
        }
    }

    /// Whether a window ends when this delivery fails.
    pub fn is_taker(&self, DeliveryId { seq, endpoint, .. }: DeliveryId) -> bool {
        self.endpoints.get(&endpoint).is_some_and(|own| own.windows.taken_by(seq).is_some())
    }

    /// The events by whose failure a window changes, by endpoint: those that opened one which ends then, and those that are held.
    pub fn watched(&self) -> impl Iterator<Item = (EndpointKey, Vec<u64>)> {
        let seqs = |own: &Own| own.windows.takers().chain(own.held.keys().copied()).collect::<Vec<_>>();
        let watched = move |(endpoint, own): (&EndpointKey, &Own)| (*endpoint, seqs(own));
        self.endpoints.iter().map(watched).filter(|(_, seqs)| !seqs.is_empty())
    }

    /// Whether any endpoint wants to know of failures.
    pub fn wants_failures(&self) -> bool {
        self.endpoints.values().any(|own| own.policy.release_on_failure)
    }

    /// What changed since this was last asked.
    pub fn take_effects(&mut self) -> Debounced {
        mem::take(&mut self.effects)
    }

    /// Keys with a window, over all endpoints.
    pub fn keys(&self) -> usize {
        self.endpoints.values().map(|own| own.windows.len()).sum()
    }

    /// The one place where an endpoint's windows change.
    fn with<T>(&mut self, endpoint: EndpointKey, work: impl FnOnce(&mut Own, &mut Debounced) -> T) -> Option<T> {
        let own = self.endpoints.get_mut(&endpoint)?;
        let answer = work(own, &mut self.effects);
        self.effects.windows.extend(own.changes());
        let due = own.windows.next_deadline();
        if due != own.due {
            if let Some(old) = std::mem::replace(&mut own.due, due) {
                self.due.remove(&(old, endpoint));
            }
            self.due.extend(due.map(|due| (due, endpoint)));
        }
        Some(answer)
    }
}
