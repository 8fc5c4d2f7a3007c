//! Each call of the contract: told to the committer, or read behind all that it was told before.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
};

use tokio::sync::oneshot;

use super::{
    SqliteStore, attempts, awaited, cancel, committer::Message, configure::Answer, debounce, jobs, lists, read,
    reader::read_error, refuse, sealed, tokens, write::Writer,
};
#[cfg(feature = "api")]
use crate::store::SealingKey;
use crate::{
    clock::Timestamp,
    endpoint::{EndpointId, EndpointKey},
    error::StoreError,
    event::{Accepted, EventId, Tenant},
    metrics::StoreMetrics,
    store::{
        AcceptedSink, Advance, AppendReply, AttemptPage, AttemptRow, BreakerRecord, CancelStep, CancelledStep,
        CountStep, Counted, DeadLetterFilter, DeadLetterRow, Debounced, DeliveryFilter, DeliveryId, DeliveryTotals,
        EndpointChange, EndpointRow, EventDetail, EventFilter, EventRow, Flights, FullSink, Job, JobId, JobState,
        ListedDelivery, Loaded, Page, PageReply, PageRequest, ReplayOutcome, Reply, RuleTotals, Settlement, Space,
        SpaceSink, Store, Submission, TokenId, TokenRow, Totals, Verdict, Vitals, sealing::Owner,
    },
};

/// Somebody waits for a page, and hears of it also when nobody is left to read it.
struct Asked(Option<PageReply>);

impl Asked {
    fn answer(mut self, page: Result<Page, StoreError>) {
        if let Some(reply) = self.0.take() {
            reply(page);
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take() {
            reply(Err(StoreError::Failed("the page was not read".to_owned())));
        }
    }
}

impl Store for SqliteStore {
    fn durable(&self) -> bool {
        true
    }

    fn writable(&self) -> bool {
        self.shared.writable.load(Ordering::Acquire)
    }

    fn connect(&self, sink: AcceptedSink) {
        let _second = self.shared.sink.set(sink);
    }

    fn watch_queues(&self, flights: Arc<Flights>, sink: FullSink) {
        let _second = self.shared.queues.set((flights, sink));
    }

    fn append(&self, group: Vec<Submission>, reply: AppendReply) {
        let of = group.first().and_then(|first| first.event.tenant.clone());
        let sent = self.messages.send_events(of, group.len(), Message::Append(group, reply));
        sent.unwrap_or_else(refuse);
    }

    fn record(&self, verdicts: Vec<Verdict>) {
        self.leave(Message::Record(verdicts));
    }

    fn keep_debounced(&self, debounced: Debounced) {
        self.leave(Message::Debounced(debounced));
    }

    fn settle(&self, settlement: Settlement) {
        self.leave(Message::Settle(settlement));
    }

    fn settle_batch(&self, settlements: Vec<Settlement>) {
        self.leave(Message::SettleBatch(settlements));
    }

    fn keep_breaker(&self, endpoint: EndpointKey, breaker: BreakerRecord) {
        self.leave(Message::Breaker(endpoint, breaker));
    }

    fn page(&self, request: PageRequest, reply: PageReply) {
        let (pages, asked, shared) = (self.pages.clone(), Asked(Some(reply)), Arc::clone(&self.shared));
        self.tell(Message::Fence(Box::new(move |written| match written {
            Ok(()) => pages.read(Box::new(move |db| {
                let page = read::page(db, &request).map_err(read_error);
                asked.answer(page.inspect_err(|_| shared.metrics.errors.one("page")));
            })),
            // What is in the file is older than what is known: a delivery that was settled would be made again.
            Err(error) => asked.answer(Err(error)),
        })));
    }

    fn create_endpoint(&self, id: EndpointId, settings: String) -> Reply<EndpointRow> {
        let sealed = match self.seal.seal(Owner::Endpoint(id.as_str()), &settings) {
            Ok(sealed) => sealed,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        sealed::in_clear(self.change(move |writer| writer.create_endpoint(&id, &sealed)), settings)
    }

    fn update_endpoint(&self, key: EndpointKey, change: EndpointChange) -> Reply<EndpointRow> {
        let (seal, settings) = (self.seal.clone(), change.settings.clone());
        let update = move |writer: &mut Writer<'_>| {
            let id: String = writer.endpoint_id(key)?;
            let change = seal.seal_change(&id, change);
            writer.update_endpoint(key, &change.map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?)
        };
        sealed::in_clear(self.change(update), settings)
    }

    fn delete_endpoint(&self, key: EndpointKey) -> Reply<()> {
        self.change(move |writer| writer.delete_endpoint(key))
    }

    fn put_rule(&self, name: String, rule: Option<String>) -> Reply<()> {
        self.change(move |writer| writer.put_rule(&name, rule.as_deref()))
    }

    fn put_chain(&self, name: String, chain: Option<String>) -> Reply<()> {
        let chain = match chain.map(|chain| self.seal.seal(Owner::Chain(&name), &chain)).transpose() {
            Ok(chain) => chain,
            Err(error) => return Box::pin(async { Err(error) }),
        };
        self.change(move |writer| writer.put_chain(&name, chain.as_deref()))
    }

    fn replay(&self, dead_letter: DeliveryId) -> Reply<ReplayOutcome> {
        self.change(move |writer| writer.replay(dead_letter))
    }

    fn redeliver(&self, seq: u64, endpoint: EndpointKey) -> Reply<ReplayOutcome> {
        self.change(move |writer| writer.redeliver(seq, endpoint))
    }

    fn cancel(&self, step: CancelStep) -> Reply<CancelledStep> {
        if step.dry_run {
            return self.look(move |db| Ok(cancel::look(db, &step)?.0));
        }
        self.change(move |writer| writer.cancel(&step))
    }

    fn count_for_job(&self, step: CountStep) -> Reply<Counted> {
        self.look(move |db| jobs::count(db, &step))
    }

    fn create_job(&self, job: Job) -> Reply<()> {
        self.change(move |writer| writer.create_job(&job))
    }

    fn advance_job(&self, id: JobId, most: usize) -> Reply<Option<Advance>> {
        self.change(move |writer| writer.advance_job(&id, most))
    }

    fn end_job(&self, id: JobId, state: JobState) -> Reply<Option<Job>> {
        self.change(move |writer| writer.end_job(&id, state))
    }

    fn job(&self, id: JobId) -> Reply<Option<Job>> {
        self.look(move |db| jobs::job(db, &id))
    }

    fn running_jobs(&self) -> Reply<Vec<Job>> {
        self.look(jobs::running_jobs)
    }

    fn create_token(&self, token: TokenRow) -> Reply<()> {
        self.change(move |writer| writer.create_token(&token))
    }

    fn delete_token(&self, id: TokenId) -> Reply<bool> {
        self.change(move |writer| writer.delete_token(&id))
    }

    fn use_token(&self, id: TokenId, at: Timestamp) -> Reply<()> {
        self.change(move |writer| writer.use_token(&id, at))
    }

    fn tokens(&self) -> Reply<Vec<TokenRow>> {
        self.read(tokens::all)
    }

    fn endpoints(&self, after: EndpointKey, limit: usize) -> Reply<Vec<EndpointRow>> {
        let (seal, rows) = (self.seal.clone(), self.read(move |db| read::endpoints(db, after, limit)));
        Box::pin(async move { seal.open_endpoints(rows.await?) })
    }

    #[cfg(feature = "api")]
    fn cursor_key(&self) -> Reply<SealingKey> {
        let bytes = self.read(super::cursors::key);
        Box::pin(async move { SealingKey::new(&bytes.await?) })
    }

    fn load(&self) -> Reply<Loaded> {
        let (seal, loaded) = (self.seal.clone(), self.read(read::load));
        Box::pin(async move { seal.open_chains(loaded.await?) })
    }

    fn rule_totals(&self) -> Reply<BTreeMap<String, RuleTotals>> {
        self.read(debounce::rule_totals)
    }

    fn failed(&self, of: Option<EndpointKey>, seqs: Vec<u64>) -> Reply<Vec<u64>> {
        self.read(move |db| debounce::failed(db, of, &seqs))
    }

    fn unjudged(&self, after: u64, limit: usize) -> Reply<Vec<Arc<Accepted>>> {
        self.read(move |db| read::unjudged(db, after, limit))
    }

    fn deliveries(&self, filter: DeliveryFilter) -> Reply<Vec<ListedDelivery>> {
        self.look(move |db| lists::deliveries_of(db, &filter))
    }

    fn events(&self, filter: EventFilter) -> Reply<Vec<EventRow>> {
        self.look(move |db| lists::events(db, &filter))
    }

    fn event(&self, tenant: Option<Tenant>, id: EventId) -> Reply<Option<EventDetail>> {
        self.look(move |db| lists::event(db, tenant.as_ref(), &id))
    }

    fn event_attempts(&self, seq: u64, page: AttemptPage) -> Reply<Vec<AttemptRow>> {
        self.look(move |db| attempts::of_event(db, seq, &page))
    }

    fn endpoint_attempts(&self, endpoint: EndpointKey, page: AttemptPage) -> Reply<Vec<AttemptRow>> {
        self.look(move |db| attempts::of_endpoint(db, endpoint, &page))
    }

    fn dead_letters(&self, filter: DeadLetterFilter) -> Reply<Vec<DeadLetterRow>> {
        self.look(move |db| lists::dead_letters(db, &filter))
    }

    fn dead_letter(&self, id: DeliveryId) -> Reply<Option<(DeadLetterRow, Option<Arc<Accepted>>)>> {
        self.look(move |db| lists::dead_letter(db, id))
    }

    fn totals(&self) -> Reply<Totals> {
        self.read(read::totals)
    }

    fn endpoint_totals(&self, endpoint: EndpointKey) -> Reply<(DeliveryTotals, Option<Timestamp>)> {
        self.look(move |db| read::endpoint_totals(db, endpoint))
    }

    fn vitals(&self) -> Reply<Vitals> {
        self.read(read::vitals)
    }

    fn metrics(&self) -> Option<&StoreMetrics> {
        Some(&self.shared.metrics)
    }

    fn space(&self) -> Option<Space> {
        Some(self.shared.room.space(&self.files))
    }

    fn watch_space(&self, sink: SpaceSink) {
        let room = &self.shared.room;
        if room.sink.set(sink).is_ok() && room.is_low() {
            room.sink.get().into_iter().for_each(|sink| sink(true));
        }
    }

    fn is_low(&self) -> bool {
        self.shared.room.is_low()
    }

    fn flush(&self) -> Reply<()> {
        let (reply, result) = oneshot::channel();
        self.tell_behind(Message::Fence(Box::new(move |written| drop(reply.send(written)))));
        awaited(result)
    }

    fn close(&self) -> Reply<()> {
        let (reply, result) = oneshot::channel();
        let answer: Answer = Box::new(move |written| drop(reply.send(written)));
        self.tell_behind(Message::Close(answer));
        awaited(result)
    }
}
