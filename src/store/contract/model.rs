//! Random histories: the sums add up after every step, pages hold exactly what is pending, and two stores answer alike.
//!
//! Times that a store reads from its own clock are left out of what is compared.

mod ops;
mod views;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    time::Duration,
};

use proptest::{prelude::*, sample::Index};

use super::bench::*;
use crate::{
    endpoint::queue::{QueuePolicy, WhenFull},
    event::Event,
    store::*,
};
pub(in crate::store) use ops::{Fate, Op, ops};
use views::{Waiting, attempts, deliveries, lists, loaded, pages, say, x};

/// Runs a history against one empty store.
///
/// # Panics
/// When the sums do not add up, or pages hold anything but what is pending.
pub(in crate::store) fn keeps_the_law(ops: &[Op], store: &dyn Store) {
    run(ops, &[store]);
}

/// Runs a history against two empty stores.
///
/// # Panics
/// When one of them breaks the law, or they give different answers to anything.
pub(in crate::store) fn same_answers(ops: &[Op], a: &dyn Store, b: &dyn Store) {
    run(ops, &[a, b]);
}

fn run(ops: &[Op], stores: &[&dyn Store]) {
    let mut world = World::default();
    let create = [Op::Create(0), Op::Create(1)];
    for (step, op) in (1..).zip(create.iter().chain(ops)) {
        let mut answers = stores.iter().map(|store| world.perform(*store, op, step));
        let answer = answers.next().expect("at least one store");
        answers.for_each(|other| assert_eq!(answer, other, "answers to {op:?}"));
        world.learn(op, &answer);
        let mut views = stores.iter().map(|store| world.view(*store));
        let view = views.next().expect("at least one store");
        views.for_each(|other| assert_alike(&view, &other, op));
    }
}

/// Shows the first line that differs, not all.
fn assert_alike(view: &[String], other: &[String], op: &Op) {
    view.iter().zip(other).for_each(|(a, b)| assert_eq!(a, b, "views after {op:?}"));
    assert_eq!(view.len(), other.len(), "lengths of views after {op:?}");
}

/// What a store said to one step.
#[derive(Debug, PartialEq)]
enum Answer {
    Nothing,
    Appended(Result<Vec<Receipt>, String>),
    Recorded(u64),
    Released(u64),
    Replayed(ReplayOutcome),
    Cancelled(CancelledStep),
    Worked(Vec<Advance>),
    Endpoint(Option<(EndpointKey, String, u64)>),
    Deleted(bool),
}

/// What must be so, known without asking any store.
#[derive(Default)]
struct World {
    judged: u64,
    held: Vec<u64>,
    endpoints: Vec<EndpointKey>,
    dropping: BTreeSet<EndpointKey>,
    deliveries: Vec<DeliveryId>,
    /// With their due times.
    pending: BTreeMap<DeliveryId, Option<Timestamp>>,
    /// Of those, the ones that are held, and others that were.
    waiting: BTreeSet<DeliveryId>,
    /// Given up on request: they may still arrive.
    cancelled: BTreeSet<DeliveryId>,
    attempts: BTreeMap<DeliveryId, u32>,
}

fn pick<T: Copy>(which: &Index, among: &[T]) -> Option<T> {
    (!among.is_empty()).then(|| *which.get(among))
}

impl World {
    fn perform(&self, store: &dyn Store, op: &Op, step: i64) -> Answer {
        match op {
            Op::Append(group) => Answer::Appended(append(store, group)),
            Op::Record(targets) => self.record(store, &self.ruling(targets), Vec::new()),
            Op::Suppress => self.record(store, &Ruling::Suppressed, Vec::new()),
            Op::Hold(which) => {
                let replaced = pick(which, &self.held).filter(|seq| seq % 3 > 0);
                let coalesced = replaced.map(|seq| (seq, format!("rule{}", seq % 3)));
                self.record(store, &Ruling::Held, coalesced.into_iter().collect())
            }
            Op::Release(which, targets) => {
                pick(which, &self.held).map_or(Answer::Nothing, |seq| self.release(store, seq, targets, step))
            }
            Op::LetGo(which, goes) => {
                if let Some(delivery) = pick(which, &self.deliveries) {
                    store.keep_debounced(let_go(delivery, *goes, step));
                }
                Answer::Nothing
            }
            Op::Settle(which, tried, fate) => {
                if let Some(delivery) = pick(which, &self.deliveries) {
                    store.settle(self.settlement(delivery, *tried, *fate, step));
                }
                Answer::Nothing
            }
            Op::Replay(which) => pick(which, &self.deliveries)
                .map_or(Answer::Nothing, |delivery| Answer::Replayed(get(store.replay(delivery)))),
            Op::Redeliver(which, endpoint, other) => {
                let other = pick(endpoint, &self.endpoints).filter(|_| *other);
                pick(which, &self.deliveries).map_or(Answer::Nothing, |delivery| {
                    let endpoint = other.unwrap_or(delivery.endpoint);
                    Answer::Replayed(get(store.redeliver(delivery.seq, endpoint)))
                })
            }
            Op::Cancel(which, all) => {
                let endpoint = pick(which, &self.endpoints).filter(|_| !all);
                let filter = CancelFilter { endpoint, ..CancelFilter::default() };
                Answer::Cancelled(get(store.cancel(CancelStep { filter, dry_run: false, after: None })))
            }
            Op::Job(which, all, kind, most, own) => {
                let endpoint = pick(which, &self.endpoints).filter(|_| !all);
                let within = own.then(|| "x".parse().unwrap());
                let selection = DeadLetterSelection { endpoint, within, ..DeadLetterSelection::default() };
                let worked = work(store, selection, *kind, *most, step);
                if *own {
                    worked.iter().flat_map(|step| &step.replayed).for_each(|id| expect_own(store, *id));
                }
                Answer::Worked(worked)
            }
            Op::Create(id) => {
                let tenant = ["\"*\"", "\"x\"", "null"][usize::from(*id) % 3];
                let settings = format!(
                    r#"{{"url": "https://a.b/", "name": "{step}", "tenant": {tenant}, "dead_letters": {{"max_items": {id}}}}}"#
                );
                let row = wait(store.create_endpoint(format!("ep{id}").parse().unwrap(), settings));
                Answer::Endpoint(row.ok().map(|row| (row.key, row.settings, row.version)))
            }
            Op::Delete(which) => pick(which, &self.endpoints).map_or(Answer::Nothing, |key| {
                let deleted = wait(store.delete_endpoint(key)).is_ok();
                wait_until_dropped(store, key);
                Answer::Deleted(deleted)
            }),
            Op::Update(which, drops) => {
                pick(which, &self.endpoints).map_or(Answer::Nothing, |key| update(store, key, *drops, step))
            }
            Op::Breaker(which, cooldown) => {
                if let Some(key) = pick(which, &self.endpoints) {
                    let cooldown = Duration::from_secs((*cooldown).into());
                    store.keep_breaker(key, BreakerRecord { cooldown, ..BreakerRecord::default() });
                }
                Answer::Nothing
            }
            Op::Chain(name, set) => {
                get(store.put_chain(format!("chain{name}"), set.then(|| format!("[{step}]"))));
                Answer::Nothing
            }
            Op::Rule(name, set) => {
                get(store.put_rule(format!("rule{name}"), set.then(|| format!("[{step}]"))));
                Answer::Nothing
            }
        }
    }

    fn ruling(&self, targets: &[(Index, Disposition)]) -> Ruling {
        let picked =
            targets.iter().filter_map(|(which, disposition)| Some((pick(which, &self.endpoints)?, *disposition)));
        let targets: BTreeMap<_, _> = picked.collect();
        let target = |(endpoint, disposition): (EndpointKey, Disposition)| Target {
            endpoint,
            disposition,
            queue: queue(endpoint),
            suppressed: if disposition == Disposition::Deliver { endpoint.0.unsigned_abs() % 2 } else { 0 },
        };
        if targets.is_empty() { Ruling::Unmatched } else { Ruling::Routed(targets.into_iter().map(target).collect()) }
    }

    /// Judges the next event, if there is one; every other verdict changes a debounce window.
    fn record(&self, store: &dyn Store, ruling: &Ruling, coalesced: Vec<(u64, String)>) -> Answer {
        let Some(event) = get(store.unjudged(self.judged, 1)).pop() else { return Answer::Nothing };
        let seq = event.seq;
        let held = (*ruling == Ruling::Held).then_some(HeldSlot { seq, since: at(1) });
        let slot =
            (seq % 4 == 0).then_some(WindowSlot { from: Some(at(0)), suppressed: seq, held, taken_by: Some(seq) });
        let change = WindowChange { rule: format!("rule{}", seq % 3), key: "k".to_owned(), slot };
        let windows = if seq.is_multiple_of(2) { vec![change] } else { Vec::new() };
        let suppressed_by = (*ruling == Ruling::Suppressed).then(|| format!("rule{}", seq % 2));
        let debounced = Debounced { windows, suppressed_by, coalesced, ..Debounced::default() };
        let event = with_count(event, if *ruling == Ruling::Suppressed { 0 } else { seq % 3 });
        store.record(vec![Verdict { event, ruling: ruling.clone(), debounced, released_at: None, permit: None }]);
        Answer::Recorded(seq)
    }

    /// A verdict on an event that was held, and then another, which is without effect.
    fn release(&self, store: &dyn Store, seq: u64, targets: &[(Index, Disposition)], step: i64) -> Answer {
        let Some(event) = get(store.load()).held.into_iter().find(|event| event.seq == seq) else {
            return Answer::Nothing;
        };
        let event = with_count(event, seq % 5);
        let (ruling, released_at) = (self.ruling(targets), Some(at(step)));
        let verdict = |ruling| {
            let (event, debounced) = (Arc::clone(&event), Debounced::default());
            Verdict { event, ruling, debounced, released_at, permit: None }
        };
        store.record(vec![verdict(ruling)]);
        store.keep_windows(vec![WindowChange { rule: "rule1".to_owned(), key: "k".to_owned(), slot: None }]);
        store.record(vec![verdict(Ruling::Unmatched)]);
        Answer::Released(seq)
    }

    fn settlement(&self, delivery: DeliveryId, tried: bool, fate: Fate, step: i64) -> Settlement {
        let number = self.attempts.get(&delivery).copied().unwrap_or(0) + 1;
        let (next, record) = match fate {
            Fate::Delivered => (Next::Delivered, success(number, step)),
            Fate::Retry(..) => (Next::Retry { due: due(fate), asked: asked(fate) }, attempt(number, step)),
            Fate::Dead => (DEAD, attempt(number, step)),
        };
        let name = (delivery.seq, delivery.run, number);
        let batch =
            || BatchRequest { id: format!("batch_{step}"), size: u32::from(number > 1) + 1, name, last: delivery.seq };
        let record = AttemptRecord { batch: delivery.seq.is_multiple_of(2).then(|| Arc::new(batch())), ..record };
        Settlement { delivery, attempt: tried.then_some(record), spent: number / 2, next, at: at(step) }
    }

    fn learn(&mut self, op: &Op, answer: &Answer) {
        match (op, answer) {
            (Op::Record(targets), Answer::Recorded(seq)) => {
                self.judged = *seq;
                if let Ruling::Routed(targets) = self.ruling(targets) {
                    targets.iter().for_each(|target| self.made(*seq, *target));
                }
            }
            (Op::Suppress, Answer::Recorded(seq)) => self.judged = *seq,
            (Op::Hold(which), Answer::Recorded(seq)) => {
                self.judged = *seq;
                if let Some(replaced) = pick(which, &self.held).filter(|seq| seq % 3 > 0) {
                    self.held.retain(|seq| *seq != replaced);
                }
                self.held.push(*seq);
            }
            (Op::Release(_, targets), Answer::Released(seq)) => {
                self.held.retain(|held| held != seq);
                if let Ruling::Routed(targets) = self.ruling(targets) {
                    targets.iter().for_each(|target| self.made(*seq, *target));
                }
            }
            (Op::LetGo(which, goes), _) => {
                if let Some(delivery) = pick(which, &self.deliveries).filter(|id| self.is_waiting(id)) {
                    self.waiting.remove(&delivery);
                    if goes.is_none() {
                        self.pending.remove(&delivery);
                    }
                }
            }
            (Op::Settle(which, tried, fate), _) => {
                if let Some(delivery) = pick(which, &self.deliveries) {
                    self.settled(delivery, *tried, *fate);
                }
            }
            (_, Answer::Replayed(ReplayOutcome::Replayed(new))) => {
                self.deliveries.push(*new);
                if !self.dropping.contains(&new.endpoint) {
                    self.pending.insert(*new, None);
                }
            }
            (_, Answer::Worked(steps)) => {
                for new in steps.iter().flat_map(|step| &step.replayed) {
                    self.deliveries.push(*new);
                    self.pending.insert(*new, None);
                }
            }
            (_, Answer::Cancelled(step)) => {
                let ids: Vec<_> =
                    self.pending.keys().filter(|id| step.endpoints.contains(&id.endpoint)).copied().collect();
                assert_eq!(step.matched, ids.len() as u64);
                self.pending.retain(|id, _| !ids.contains(id));
                self.cancelled.extend(ids);
            }
            (Op::Create(_), Answer::Endpoint(Some((key, ..)))) => self.endpoints.push(*key),
            (Op::Delete(which), Answer::Deleted(true)) => {
                let key = *which.get(&self.endpoints);
                self.drop_pending(key);
            }
            (Op::Update(_, drops), Answer::Endpoint(Some((key, ..)))) => {
                self.dropping.remove(key);
                if *drops {
                    self.drop_pending(*key);
                }
            }
            _ => {}
        }
    }

    fn made(&mut self, seq: u64, target: Target) {
        let id = DeliveryId { seq, endpoint: target.endpoint, run: 0 };
        self.deliveries.push(id);
        let waits = matches!(target.disposition, Disposition::Deliver | Disposition::Hold);
        if waits && !self.dropping.contains(&id.endpoint) {
            self.pending.insert(id, None);
            if target.disposition == Disposition::Hold {
                self.waiting.insert(id);
            }
            self.keep_within(id, target.queue);
        }
    }

    fn is_waiting(&self, id: &DeliveryId) -> bool {
        self.waiting.contains(id) && self.pending.contains_key(id)
    }

    fn keep_within(&mut self, newest: DeliveryId, queue: QueuePolicy) {
        loop {
            let mut mine = self.pending.keys().filter(|id| id.endpoint == newest.endpoint);
            let items = mine.clone().count() as u64;
            let first = mine.next().copied();
            let victim = if queue.when_full == WhenFull::DropNewest { Some(newest) } else { first };
            let Some(victim) = victim.filter(|id| items > queue.max_items && self.pending.contains_key(id)) else {
                return;
            };
            self.pending.remove(&victim);
            self.cancelled.insert(victim);
        }
    }

    fn settled(&mut self, delivery: DeliveryId, tried: bool, fate: Fate) {
        if self.is_waiting(&delivery) {
            return;
        }
        if matches!(fate, Fate::Delivered) && self.cancelled.remove(&delivery) {
            self.pending.insert(delivery, None);
        }
        let Some(waits) = self.pending.get_mut(&delivery) else { return };
        if tried {
            *self.attempts.entry(delivery).or_default() += 1;
        }
        match fate {
            Fate::Retry(..) => *waits = Some(due(fate)),
            Fate::Delivered | Fate::Dead => drop(self.pending.remove(&delivery)),
        }
    }

    fn drop_pending(&mut self, key: EndpointKey) {
        self.dropping.insert(key);
        self.pending.retain(|id, _| id.endpoint != key);
    }

    /// Everything that can be read, in words; checked against what must be so.
    fn view(&self, store: &dyn Store) -> Vec<String> {
        let totals = get(store.totals());
        assert!(totals.add_up(), "{totals:?}");
        assert_eq!(totals.deliveries.pending, self.pending.len() as u64);
        check_dead_letters(&totals.deliveries);
        assert_eq!(totals.debouncing, self.held.len() as u64);
        let mut view = vec![say(&totals)];
        for key in &self.endpoints {
            self.check_pages(store, *key);
            let (totals, oldest) = get(store.endpoint_totals(*key));
            assert!(totals.add_up(), "{totals:?}");
            check_dead_letters(&totals);
            view.push(say(&(key, totals, oldest.is_some())));
            view.push(say(&pages(store, *key, Cursor::InOrder(None))));
            view.push(say(&attempts(None, 4, |page| get(store.endpoint_attempts(*key, page)))));
            view.push(say(&attempts(x(), 2, |page| get(store.endpoint_attempts(*key, page)))));
            view.push(say(&deliveries(store, *key, None)));
            view.push(say(&deliveries(store, *key, x())));
        }
        view.extend(lists(store));
        view.extend(loaded(store, self.judged));
        view.push(say(&get(store.rule_totals())));
        view.push(say(&get(store.failed(self.endpoints.first().copied(), (1..=self.judged).collect()))));
        view.push(say(&get(store.failed(None, (1..=self.judged).collect()))));
        view.extend(self.deliveries.iter().map(|id| say(&get(store.dead_letter(*id)).map(|(row, _)| row))));
        view
    }

    fn check_pages(&self, store: &dyn Store, key: EndpointKey) {
        let mine = || self.pending.iter().filter(|(id, _)| id.endpoint == key && !self.is_waiting(id));
        let all: Vec<_> = mine().map(|(id, _)| (id.seq, id.run)).collect();
        let fresh: Vec<_> = mine().filter(|(_, due)| due.is_none()).map(|(id, _)| (id.seq, id.run)).collect();
        let retries: BTreeSet<_> = mine().filter_map(|(id, due)| Some(((*due)?, id.seq, id.run))).collect();
        let retries: Vec<_> = retries.into_iter().map(|(_, seq, run)| (seq, run)).collect();
        let first_due = Cursor::Retries { from: Timestamp::from_millis(0), after: None };
        for (cursor, expected) in [(Cursor::InOrder(None), all), (Cursor::Fresh(None), fresh), (first_due, retries)] {
            let found: Vec<_> = pages(store, key, cursor.clone()).iter().map(|row| (row.0, row.1)).collect();
            assert_eq!(found, expected, "{cursor:?}");
        }
        let one: Arc<str> = "k1".into();
        let of_key = |row: &Waiting| row.2.contains("\"k1\"");
        let (mine, others): (Vec<_>, Vec<_>) = pages(store, key, Cursor::InOrder(None)).into_iter().partition(of_key);
        assert_eq!(pages(store, key, Cursor::OfKey { key: Arc::clone(&one), after: None }), mine);
        assert_eq!(pages(store, key, Cursor::Keyed { after: None, without: BTreeSet::from([one]) }), others);
    }
}

/// How much may wait for an endpoint: much, or little in one way or the other.
fn queue(EndpointKey(key): EndpointKey) -> QueuePolicy {
    let (max_items, when_full) = match key % 3 {
        0 => (1_000_000, WhenFull::Spill),
        1 => (3, WhenFull::DropOldest),
        _ => (2, WhenFull::DropNewest),
    };
    QueuePolicy { max_items, when_full, ..QueuePolicy::default() }
}

/// Every dead letter is accounted for.
fn check_dead_letters(totals: &DeliveryTotals) {
    let DeadLetterTotals { kept, pruned, purged, bytes } = totals.dead_letters;
    let ended = kept + pruned + purged;
    assert!((ended..=ended + totals.replayed).contains(&totals.dead_lettered), "{totals:?}");
    assert_eq!(kept == 0, bytes == 0, "{totals:?}");
}

/// Makes a job and lets it work to its end.
fn work(store: &dyn Store, selection: DeadLetterSelection, kind: JobKind, most: u8, step: i64) -> Vec<Advance> {
    let created_at = at(10_000);
    let count = CountStep { kind, selection: selection.clone(), at: created_at, after: None };
    let total = get(store.count_for_job(count)).matched;
    let id: JobId = format!("job{step}").parse().unwrap();
    let (state, rate) = (JobState::Running, None);
    let job =
        Job { id: id.clone(), kind, selection, rate, total, done: 0, failed: 0, state, created_at, ended_at: None };
    get(store.create_job(job));
    let mut steps = Vec::new();
    while steps.last().is_none_or(|step: &Advance| step.job.state == JobState::Running) {
        assert!(steps.len() < 100, "a job without an end: {steps:?}");
        let mut step = get(store.advance_job(id.clone(), most.into())).expect("the job is there");
        // When it ended is by the store's own clock.
        step.job.ended_at = None;
        steps.push(step);
    }
    steps
}

/// What a tenant's job made is of its event, to its endpoint.
fn expect_own(store: &dyn Store, id: DeliveryId) {
    let within = Some("x".parse().unwrap());
    let filter = DeliveryFilter { endpoint: id.endpoint, state: None, within, before: None, limit: 1000 };
    let own = get(store.deliveries(filter));
    assert!(own.iter().any(|row| row.delivery.id == id && row.delivery.of.is_some()), "{id} is not its own");
}

fn let_go(delivery: DeliveryId, goes: Option<u8>, step: i64) -> Debounced {
    match goes {
        None => Debounced { muted: vec![delivery], ..Debounced::default() },
        Some(count) => {
            let released = vec![Released { delivery, at: at(step), suppressed: count.into() }];
            Debounced { released, ..Debounced::default() }
        }
    }
}

fn due(fate: Fate) -> Timestamp {
    if let Fate::Retry(seconds, _) = fate { at(1000 + i64::from(seconds)) } else { at(0) }
}

fn asked(fate: Fate) -> bool {
    matches!(fate, Fate::Retry(_, true))
}

fn append(store: &dyn Store, group: &[(u8, bool, bool)]) -> Result<Vec<Receipt>, String> {
    let event = |(id, tenant, other): &(u8, bool, bool)| {
        let event = Event::from_json(format!("t{}.x", id % 3), if *other { "1" } else { "0" }).id(format!("e{id}"));
        let event = if id % 4 > 0 { event.key(format!("k{}", id % 4)) } else { event };
        submit(&if *tenant { event.tenant("x") } else { event })
    };
    publish(store, group.iter().map(event).collect()).map_err(|error| say(&error))
}

fn update(store: &dyn Store, key: EndpointKey, drops: bool, step: i64) -> Answer {
    let drop_pending = drops.then_some(DropReason::EndpointDisabled);
    let settings =
        format!(r#"{{"url": "https://a.b/", "name": "{step}", "dead_letters": {{"max_items": {}}}}}"#, step % 4);
    let change = EndpointChange { settings, state_changed: drops, state_reason: None, drop_pending };
    let row = wait(store.update_endpoint(key, change));
    if row.is_ok() && drops {
        wait_until_dropped(store, key);
    }
    Answer::Endpoint(row.ok().map(|row| (row.key, row.settings, row.version)))
}

fn with_count(mut event: Arc<Accepted>, count: u64) -> Arc<Accepted> {
    Arc::make_mut(&mut event).suppressed = count;
    event
}
