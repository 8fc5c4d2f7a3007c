//! The store for tests and for embedders who want no disk: maps under one lock, gone with the process.
//!
//! It answers in the same turn, and it is the model that every other store is held against: plain before fast.

mod configuration;
mod dead_letters;
mod debounce;
mod jobs;
mod limits;
mod pending;
mod reads;
mod replay;
mod retention;
mod state;
#[cfg(test)]
mod tests;
mod tokens;

use std::{
    collections::VecDeque,
    future::ready,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::*;
use crate::clock::Clock;
use state::State;

/// Finished events that are kept unless told otherwise, and the most dead letters that are.
const HISTORY: usize = 10_000;

/// A store that keeps everything in memory.
///
/// Events with a pending delivery or a dead letter that was not replayed are kept, and with them the newest of those that
/// are finished. Of the dead letters of all endpoints together the newest 10 000 are kept. What is forgotten takes its deliveries and attempts with
/// it, its id can be published anew, and no sum changes.
pub struct MemoryStore {
    clock: Clock,
    sink: OnceLock<AcceptedSink>,
    queues: OnceLock<(Arc<Flights>, FullSink)>,
    inner: Mutex<Inner>,
}

struct Inner {
    closed: bool,
    state: State,
    /// Accepted groups that the sink has not been called with, by seq.
    outbox: VecDeque<Handover>,
    /// Whether a call is at work on the outbox. Others leave their group to it, which keeps the order of the seqs and lets
    /// the sink call the store.
    handing_over: bool,
}

struct Handover {
    admitted: Vec<Admitted>,
    receipts: Vec<Receipt>,
    reply: AppendReply,
}

impl MemoryStore {
    /// An empty store that keeps 10 000 finished events.
    pub fn new(clock: Clock) -> Self {
        Self::with_history(clock, HISTORY)
    }

    /// An empty store that keeps the newest `keep` finished events.
    pub fn with_history(clock: Clock, keep: usize) -> Self {
        let state = State::new(keep, HISTORY);
        let inner = Inner { closed: false, state, outbox: VecDeque::new(), handing_over: false };
        Self { clock, sink: OnceLock::new(), queues: OnceLock::new(), inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, work: impl FnOnce(&mut State, Timestamp) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(StoreError::Closed);
        }
        let now = self.clock.now().wall;
        inner.state.expire(now);
        work(&mut inner.state, now)
    }

    /// A write that nobody waits for: on a closed store it has no effect.
    fn write(&self, work: impl FnOnce(&mut State)) {
        let _: Result<(), StoreError> = self.with(|state, _| {
            work(state);
            Ok(())
        });
    }

    fn answer<T: Send + 'static>(&self, work: impl FnOnce(&mut State, Timestamp) -> Result<T, StoreError>) -> Reply<T> {
        Box::pin(ready(self.with(work)))
    }

    fn read<T: Send + 'static>(&self, work: impl FnOnce(&State) -> T) -> Reply<T> {
        self.answer(|state, _| Ok(work(state)))
    }

    fn hand_over(&self) {
        while let Some(Handover { admitted, receipts, reply }) = self.next_handover() {
            if let Some(sink) = self.sink.get().filter(|_| !admitted.is_empty()) {
                sink(admitted);
            }
            // Nobody may wait for the answer any more; the events are accepted all the same.
            let _: Result<(), _> = reply.send(Ok(receipts));
        }
    }

    fn next_handover(&self) -> Option<Handover> {
        let mut inner = self.lock();
        let next = inner.outbox.pop_front();
        inner.handing_over = next.is_some();
        next
    }
}

impl Store for MemoryStore {
    fn durable(&self) -> bool {
        false
    }

    fn writable(&self) -> bool {
        !self.lock().closed
    }

    fn connect(&self, sink: AcceptedSink) {
        if self.sink.set(sink).is_err() {
            tracing::error!("the store has a sink already; the second one is not used");
        }
    }

    fn watch_queues(&self, flights: Arc<Flights>, sink: FullSink) {
        let _second = self.queues.set((flights, sink));
    }

    fn append(&self, group: Vec<Submission>, reply: AppendReply) {
        let mut inner = self.lock();
        let now = self.clock.now().wall;
        let accepted =
            if inner.closed { Err(AppendError::Store(StoreError::Closed)) } else { inner.state.append(group, now) };
        match accepted {
            Ok((receipts, admitted)) => inner.outbox.push_back(Handover { admitted, receipts, reply }),
            Err(error) => {
                drop(inner);
                let _: Result<(), _> = reply.send(Err(error));
                return;
            }
        }
        if std::mem::replace(&mut inner.handing_over, true) {
            return;
        }
        drop(inner);
        self.hand_over();
    }

    fn record(&self, verdicts: Vec<Verdict>) {
        let queues = self.queues.get();
        let flights = queues.map(|(flights, _)| flights.as_ref());
        let mut dropped = Vec::new();
        self.write(|state| verdicts.into_iter().for_each(|verdict| dropped.extend(state.record(verdict, flights))));
        if let Some((_, sink)) = queues.filter(|_| !dropped.is_empty()) {
            sink(dropped);
        }
    }

    fn keep_debounced(&self, debounced: Debounced) {
        self.write(|state| state.debounced(debounced));
    }

    fn settle(&self, settlement: Settlement) {
        self.write(|state| state.settle(settlement));
    }

    fn settle_batch(&self, settlements: Vec<Settlement>) {
        self.write(|state| settlements.into_iter().for_each(|settlement| state.settle(settlement)));
    }

    fn keep_breaker(&self, endpoint: EndpointKey, breaker: BreakerRecord) {
        self.write(|state| state.keep_breaker(endpoint, breaker));
    }

    fn page(&self, request: PageRequest, reply: PageReply) {
        let page = self.with(|state, _| Ok(state.page(&request)));
        reply(page);
    }

    fn create_endpoint(&self, id: EndpointId, settings: String) -> Reply<EndpointRow> {
        self.answer(|state, now| state.create_endpoint(id, settings, now))
    }

    fn update_endpoint(&self, key: EndpointKey, change: EndpointChange) -> Reply<EndpointRow> {
        self.answer(|state, now| state.update_endpoint(key, change, now))
    }

    fn delete_endpoint(&self, key: EndpointKey) -> Reply<()> {
        self.answer(|state, _| state.delete_endpoint(key))
    }

    fn put_rule(&self, name: String, rule: Option<String>) -> Reply<()> {
        self.answer(|state, _| {
            state.put_rule(name, rule);
            Ok(())
        })
    }

    fn put_chain(&self, name: String, chain: Option<String>) -> Reply<()> {
        self.answer(|state, _| {
            state.put_chain(name, chain);
            Ok(())
        })
    }

    fn replay(&self, dead_letter: DeliveryId) -> Reply<ReplayOutcome> {
        self.answer(|state, now| Ok(state.replay(dead_letter, now)))
    }

    fn redeliver(&self, seq: u64, endpoint: EndpointKey) -> Reply<ReplayOutcome> {
        self.answer(|state, now| Ok(state.redeliver(seq, endpoint, now)))
    }

    fn cancel(&self, step: CancelStep) -> Reply<CancelledStep> {
        self.answer(|state, _| Ok(state.cancel(&step)))
    }

    fn count_for_job(&self, step: CountStep) -> Reply<Counted> {
        self.read(move |state| state.count_for_job(&step))
    }

    fn create_job(&self, job: Job) -> Reply<()> {
        self.answer(|state, _| state.jobs.create(job))
    }

    fn advance_job(&self, id: JobId, most: usize) -> Reply<Option<Advance>> {
        self.answer(|state, now| Ok(state.advance_job(&id, most, now)))
    }

    fn end_job(&self, id: JobId, end: JobState) -> Reply<Option<Job>> {
        self.answer(|state, now| Ok(state.jobs.end(&id, end, now)))
    }

    fn job(&self, id: JobId) -> Reply<Option<Job>> {
        self.read(|state| state.jobs.get(&id))
    }

    fn running_jobs(&self) -> Reply<Vec<Job>> {
        self.read(|state| state.jobs.running())
    }

    fn create_token(&self, token: TokenRow) -> Reply<()> {
        self.answer(|state, _| state.tokens.create(token))
    }

    fn delete_token(&self, id: TokenId) -> Reply<bool> {
        self.answer(|state, _| Ok(state.tokens.delete(&id)))
    }

    fn use_token(&self, id: TokenId, at: Timestamp) -> Reply<()> {
        self.answer(|state, _| {
            state.tokens.used(&id, at);
            Ok(())
        })
    }

    fn tokens(&self) -> Reply<Vec<TokenRow>> {
        self.read(|state| state.tokens.all())
    }

    fn endpoints(&self, after: EndpointKey, limit: usize) -> Reply<Vec<EndpointRow>> {
        self.read(|state| state.endpoints(after, limit))
    }

    fn load(&self) -> Reply<Loaded> {
        self.read(State::load)
    }

    fn rule_totals(&self) -> Reply<BTreeMap<String, RuleTotals>> {
        self.read(State::rule_totals)
    }

    fn failed(&self, of: Option<EndpointKey>, seqs: Vec<u64>) -> Reply<Vec<u64>> {
        self.read(|state| state.failed(of, seqs))
    }

    fn unjudged(&self, after: u64, limit: usize) -> Reply<Vec<Arc<Accepted>>> {
        self.read(|state| state.unjudged(after, limit))
    }

    fn deliveries(&self, filter: DeliveryFilter) -> Reply<Vec<ListedDelivery>> {
        self.read(|state| state.deliveries(&filter))
    }

    fn events(&self, filter: EventFilter) -> Reply<Vec<EventRow>> {
        self.read(|state| state.events(&filter))
    }

    fn event(&self, tenant: Option<Tenant>, id: EventId) -> Reply<Option<EventDetail>> {
        self.read(|state| state.event(tenant, id))
    }

    fn event_attempts(&self, seq: u64, page: AttemptPage) -> Reply<Vec<AttemptRow>> {
        self.read(|state| state.event_attempts(seq, &page))
    }

    fn endpoint_attempts(&self, endpoint: EndpointKey, page: AttemptPage) -> Reply<Vec<AttemptRow>> {
        self.read(|state| state.endpoint_attempts(endpoint, &page))
    }

    fn dead_letters(&self, filter: DeadLetterFilter) -> Reply<Vec<DeadLetterRow>> {
        self.read(|state| state.dead_letters(&filter))
    }

    fn dead_letter(&self, id: DeliveryId) -> Reply<Option<(DeadLetterRow, Option<Arc<Accepted>>)>> {
        self.read(|state| state.dead_letter(id))
    }

    fn totals(&self) -> Reply<Totals> {
        self.read(State::totals)
    }

    fn endpoint_totals(&self, endpoint: EndpointKey) -> Reply<(DeliveryTotals, Option<Timestamp>)> {
        self.read(|state| state.endpoint_totals(endpoint))
    }

    fn vitals(&self) -> Reply<Vitals> {
        self.read(State::vitals)
    }

    fn flush(&self) -> Reply<()> {
        self.read(|_| ())
    }

    fn close(&self) -> Reply<()> {
        let was_closed = std::mem::replace(&mut self.lock().closed, true);
        Box::pin(ready(if was_closed { Err(StoreError::Closed) } else { Ok(()) }))
    }
}
