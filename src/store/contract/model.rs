//! Random histories: the sums add up after every step, pages hold exactly what is pending, and two stores answer alike.
//!
//! Times that a store reads from its own clock are left out of what is compared.

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

/// One step of a history. An [`Index`] picks among everything of its kind so far.
#[derive(Clone, Debug)]
pub(in crate::store) enum Op {
    /// A group of events: id, whether with a tenant, data.
    Append(Vec<(u8, bool, bool)>),
    /// The verdict on the next event: no endpoint wants it, or these of those created so far, some dropped at once or suppressed.
    Record(Vec<(Index, Disposition)>),
    Suppress,
    /// Holds the next event, in the place of one that is held, if any is.
    Hold(Index),
    /// The same verdicts as by `Record` on an event that is held.
    Release(Index, Vec<(Index, Disposition)>),
    /// Ends the holding of one delivery: it is suppressed, or let go and carries so many.
    LetGo(Index, Option<u8>),
    /// With an attempt or without, and what comes next.
    Settle(Index, bool, Fate),
    Replay(Index),
    /// Delivers the event of a delivery to its endpoint again, or to another one.
    Redeliver(Index, Index, bool),
    /// What is pending for one endpoint, or for all.
    Cancel(Index, bool),
    /// Keeps up to so many dead letters.
    Create(u8),
    /// A job that works on what one endpoint has, or all, so many in a step; for a tenant, or for nobody.
    Job(Index, bool, JobKind, u8, bool),
    Delete(Index),
    /// Changes the settings; drops what is pending, or does so no more.
    Update(Index, bool),
    Breaker(Index, u8),
    Rule(u8, bool),
    Chain(u8, bool),
}

/// What a settlement says.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Fate {
    Delivered,
    /// Due after as many seconds.
    Retry(u8, bool),
    Dead,
}

/// Only what was attempted is delivered.
fn settle((which, tried, fate): (Index, bool, Fate)) -> Op {
    Op::Settle(which, tried || matches!(fate, Fate::Delivered), fate)
}

fn job() -> impl Strategy<Value = Op> {
    let kind = prop::sample::select(JobKind::ALL.to_vec());
    let job = (any::<Index>(), prop::bool::weighted(0.3), kind, 1..4_u8, any::<bool>());
    job.prop_map(|(which, all, kind, most, own)| Op::Job(which, all, kind, most, own))
}

/// Fewer than `most`.
fn targets(most: usize) -> impl Strategy<Value = Vec<(Index, Disposition)>> {
    let disposition = prop_oneof![
        8 => Just(Disposition::Deliver),
        1 => Just(Disposition::Drop(DropReason::EndpointDisabled)),
        1 => Just(Disposition::Suppress),
        2 => Just(Disposition::Hold),
    ];
    prop::collection::vec((any::<Index>(), disposition), 0..most)
}

/// Histories of up to `most` steps.
pub(in crate::store) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    let one = (0..12_u8, prop::bool::weighted(0.3), prop::bool::weighted(0.1));
    let fate = prop_oneof![
        3 => Just(Fate::Delivered),
        4 => (0..4_u8, any::<bool>()).prop_map(|(due, asked)| Fate::Retry(due, asked)),
        2 => Just(Fate::Dead),
    ];
    let op = prop_oneof![
        6 => prop::collection::vec(one, 1..4).prop_map(Op::Append),
        8 => targets(4).prop_map(Op::Record),
        1 => Just(Op::Suppress),
        2 => any::<Index>().prop_map(Op::Hold),
        2 => (any::<Index>(), targets(3))
            .prop_map(|(which, targets)| Op::Release(which, targets)),
        3 => (any::<Index>(), prop::option::weighted(0.7, 0..3_u8)).prop_map(|(which, goes)| Op::LetGo(which, goes)),
        10 => (any::<Index>(), prop::bool::weighted(0.9), fate).prop_map(settle),
        3 => any::<Index>().prop_map(Op::Replay),
        2 => (any::<Index>(), any::<Index>(), any::<bool>())
            .prop_map(|(which, endpoint, other)| Op::Redeliver(which, endpoint, other)),
        1 => (any::<Index>(), prop::bool::weighted(0.2)).prop_map(|(which, all)| Op::Cancel(which, all)),
        2 => (0..4_u8).prop_map(Op::Create),
        2 => job(),
        1 => any::<Index>().prop_map(Op::Delete),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(which, drops)| Op::Update(which, drops)),
        1 => (any::<Index>(), 0..3_u8).prop_map(|(which, cooldown)| Op::Breaker(which, cooldown)),
        1 => (0..3_u8, any::<bool>()).prop_map(|(name, set)| Op::Rule(name, set)),
        1 => (0..3_u8, any::<bool>()).prop_map(|(name, set)| Op::Chain(name, set)),
    ];
    prop::collection::vec(op, 1..most)
}

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
            view.push(say(&get(store.endpoint_attempts(*key, None, None, 5))));
            view.push(say(&get(store.endpoint_attempts(*key, None, Some(5), 100))));
            view.push(say(&get(store.endpoint_attempts(*key, Some("x".parse().unwrap()), None, 2))));
            view.push(say(&deliveries(store, *key, None)));
            view.push(say(&deliveries(store, *key, Some("x".parse().unwrap()))));
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

fn say(what: &impl Debug) -> String {
    format!("{what:?}")
}

type Waiting = (u64, u32, String, u32, u32, Option<Timestamp>, Option<Timestamp>, (bool, Option<u16>));

/// All that a cursor leads to, three rows at a time.
fn pages(store: &dyn Store, endpoint: EndpointKey, mut cursor: Cursor) -> Vec<Waiting> {
    let mut all = Vec::new();
    loop {
        let page = page(store, PageRequest { endpoint, cursor: cursor.clone(), items: 3, bytes: usize::MAX }).unwrap();
        let row = |row: &PendingRow| {
            let event = words(&row.event);
            (
                row.event.seq,
                row.run,
                event,
                row.attempts,
                row.spent,
                row.attempted_at,
                row.due,
                (row.asked, row.batch_status),
            )
        };
        all.extend(page.rows.iter().map(row));
        let Some(last) = page.rows.last().filter(|_| !page.end) else { return all };
        let after = Some((last.event.seq, last.run));
        cursor = match cursor {
            Cursor::Fresh(_) => Cursor::Fresh(after),
            Cursor::InOrder(_) => Cursor::InOrder(after),
            Cursor::Keyed { without, .. } => Cursor::Keyed { after: page.through, without },
            Cursor::OfKey { key, .. } => Cursor::OfKey { key, after },
            Cursor::Retries { .. } => Cursor::Retries { from: last.due.expect("a retry has a due time"), after },
        };
    }
}

fn words(event: &Accepted) -> String {
    let Accepted { seq, id, topic, tenant, key, source, timestamp, data, metadata, suppressed, accepted_at: _ } = event;
    say(&(seq, id, topic, tenant, key, source, timestamp, data, metadata, suppressed))
}

fn lists(store: &dyn Store) -> Vec<String> {
    let mut said = Vec::new();
    let all = || EventFilter { limit: 100, ..EventFilter::default() };
    let filters = [
        all(),
        EventFilter { limit: 3, before: Some(5), ..all() },
        EventFilter { topic: Some("t1.*".parse().unwrap()), state: Some(EventState::Routed), ..all() },
        EventFilter { tenant: Some("x".parse().unwrap()), ..all() },
        EventFilter { state: Some(EventState::Debouncing), ..all() },
        EventFilter { state: Some(EventState::Coalesced), ..all() },
        EventFilter { delivery: Some(DeliveryState::DeadLettered), ..all() },
        EventFilter { delivery: Some(DeliveryState::Suppressed), ..all() },
        EventFilter { delivery: Some(DeliveryState::Pending), ..all() },
        EventFilter { within: Some("x".parse().unwrap()), ..all() },
        EventFilter { within: Some("x".parse().unwrap()), delivery: Some(DeliveryState::Pending), ..all() },
        EventFilter { delivery: Some(DeliveryState::Dropped), topic: Some("t2.x".parse().unwrap()), ..all() },
    ];
    for filter in filters {
        said.extend(get(store.events(filter)).iter().map(|row| say(&(words(&row.event), row.state))));
    }
    for row in get(store.events(all())) {
        let detail = get(store.event(row.event.tenant.clone(), row.event.id.clone())).expect("it is listed");
        said.push(say(&(words(&detail.event), detail.state, &detail.deliveries)));
        said.push(say(&get(store.event_attempts(row.event.seq))));
    }
    let x = || Some("x".parse().unwrap());
    let pages = [(false, 100, None, None), (true, 100, None, None), (false, 2, Some(5), None), (false, 2, None, x())];
    for (replayed, limit, before, within) in pages {
        let before = before.map(|seq| DeliveryId { seq, endpoint: EndpointKey(2), run: 0 });
        said.push(say(&get(store.dead_letters(DeadLetterFilter {
            selection: DeadLetterSelection { within, ..DeadLetterSelection::default() },
            replayed,
            before,
            limit,
        }))));
    }
    said
}

/// All deliveries to an endpoint, three at a time, and those that wait.
fn deliveries(store: &dyn Store, endpoint: EndpointKey, within: Option<Tenant>) -> Vec<(DeliveryRow, Option<EventId>)> {
    let mut filter = DeliveryFilter { endpoint, state: None, within, before: None, limit: 3 };
    let mut all = Vec::new();
    loop {
        let rows = get(store.deliveries(filter.clone()));
        all.extend(rows.iter().map(|row| (row.delivery.clone(), row.event.clone())));
        let Some(last) = rows.last().filter(|_| rows.len() == 3) else { break };
        filter.before = Some((last.delivery.id.seq, last.delivery.id.run));
    }
    let waiting = DeliveryFilter { state: Some(DeliveryState::Pending), before: None, limit: 100, ..filter };
    all.extend(get(store.deliveries(waiting)).into_iter().map(|row| (row.delivery, row.event)));
    all
}

fn loaded(store: &dyn Store, judged: u64) -> Vec<String> {
    let mut loaded = get(store.load());
    assert_eq!(loaded.judged_through, judged);
    loaded.breakers.sort_by_key(|(key, _)| *key);
    loaded.pending.sort();
    loaded.windows.sort_by(|a, b| (&a.rule, &a.key).cmp(&(&b.rule, &b.key)));
    let endpoint = |row: &EndpointRow| say(&(row.key, &row.id, &row.settings, row.version));
    let unjudged = get(store.unjudged(judged, 100));
    let mut vitals = get(store.vitals());
    vitals.endpoints.iter_mut().for_each(|one| one.oldest_pending_at = one.oldest_pending_at.and(Some(at(0))));
    let mut said: Vec<_> = loaded.endpoints.iter().map(endpoint).collect();
    loaded.held_deliveries.sort_by_key(|held| held.delivery);
    said.push(say(&loaded.held_deliveries));
    said.push(say(&(loaded.breakers, loaded.pending, loaded.rules, loaded.chains, loaded.windows, vitals)));
    said.extend(unjudged.iter().chain(&loaded.held).map(|event| words(event)));
    said
}
