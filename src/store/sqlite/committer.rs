//! The one thread that writes: it takes everything that waits, writes one transaction, syncs, and answers all.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    sync::atomic::Ordering,
    sync::mpsc,
    time::Duration,
};

use rusqlite::{Connection, TransactionBehavior};
use tracing::{debug, error, info};

use super::{
    Shared, checkpoint,
    chores::Chores,
    codes::drop_reason,
    configure::{Answer, Change},
    failed,
    inbox::Receiver,
    log,
    space::Lookout,
    write::{Cache, Judged, Writer},
};
use crate::{
    clock::{Clock, Mono},
    endpoint::EndpointKey,
    error::StoreError,
    event::ValidEvent,
    intake::Permit,
    store::{
        Admitted, AppendError, AppendReply, BreakerRecord, Debounced, DeliveryId, Receipt, Settlement, Submission,
        Verdict,
        ledger::{Group, Ledger},
    },
};

/// What the committer is asked for.
pub(super) enum Message {
    Append(Vec<Submission>, AppendReply),
    Record(Vec<Verdict>),
    Debounced(Debounced),
    Settle(Settlement),
    SettleBatch(Vec<Settlement>),
    Breaker(EndpointKey, BreakerRecord),
    Change(Change),
    /// Called when everything asked for before is in the file, or could not be written.
    Fence(Answer),
    Close(Answer),
}

/// Beyond so many, verdicts no longer wait for outcomes.
const HELD: usize = 4096;
/// Between two tries to write what could not be written.
const RETRY: Duration = Duration::from_millis(250);

pub(super) struct Committer {
    db: Connection,
    clock: Clock,
    shared: Arc<Shared>,
    ledger: Ledger,
    /// What a failed transaction had taken from the ledger: written first, before anything else is accepted.
    unsaved: Option<Group>,
    breakers: HashMap<EndpointKey, BreakerRecord>,
    cache: Cache,
    chores: Chores,
    lookout: Lookout,
    last_seq: u64,
    checkpoint: mpsc::SyncSender<()>,
    /// Pages in the log when a checkpoint was last asked for; 0 when it has started anew since.
    checked: i64,
}

/// What is to be done now and then, whoever asks for what.
pub(super) struct Watches {
    pub(super) chores: Chores,
    pub(super) lookout: Lookout,
}

/// What waits for the next transaction.
#[derive(Default)]
struct Waiting {
    appends: Vec<Append>,
    changes: VecDeque<Change>,
    fences: Vec<Answer>,
    close: Option<Answer>,
}

struct Append {
    events: Vec<ValidEvent>,
    permits: Vec<Option<Permit>>,
    reply: AppendReply,
}

/// What an append came to inside a transaction.
type Appended = Result<Vec<Judged>, AppendError>;

/// What a transaction came to.
struct Written {
    appended: Vec<Appended>,
    answers: Vec<Answer>,
    /// What full queues had to drop.
    dropped: Vec<DeliveryId>,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.appends.is_empty() && self.changes.is_empty() && self.fences.is_empty() && self.close.is_none()
    }
}

impl Committer {
    pub(super) fn new(
        db: Connection,
        clock: Clock,
        shared: Arc<Shared>,
        Watches { chores, lookout }: Watches,
        checkpoint: mpsc::SyncSender<()>,
    ) -> rusqlite::Result<Self> {
        log::watch(&db);
        let last_seq = super::read::last_seq(&db)?;
        let dropping = super::read::dropping(&db)?
            .into_iter()
            .map(|(key, reason)| Ok((key, drop_reason(&reason)?)))
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self {
            db,
            clock,
            shared,
            ledger: Ledger::default(),
            unsaved: None,
            breakers: HashMap::new(),
            cache: Cache { dropping, ..Cache::default() },
            chores,
            lookout,
            last_seq,
            checkpoint,
            checked: 0,
        })
    }

    /// Serves until it is closed or nobody can ask it for anything any more. Tells whom to answer that, and what.
    pub(super) fn run(mut self, inbox: &Receiver<Message>) -> Option<(Answer, Result<(), StoreError>)> {
        loop {
            let mut waiting = Waiting::default();
            let Ok(messages) = inbox.take(self.patience()) else {
                let _nobody_asks = self.commit(waiting, true);
                return None;
            };
            messages.into_iter().for_each(|message| self.take(message, &mut waiting));
            let close = waiting.close.take();
            let now = self.clock.now().mono;
            if now >= self.lookout.due() {
                self.lookout.look(now, &self.shared.room);
            }
            let due = self.ledger.due().is_some_and(|due| now >= due) || now >= self.chores.due();
            let all = close.is_some() || self.ledger.len() >= HELD;
            let mut result = Ok(());
            if all || !waiting.is_empty() || due || !self.shared.writable.load(Ordering::Acquire) {
                result = self.commit(waiting, all);
            }
            if let Some(close) = close {
                return Some((close, result));
            }
        }
    }

    /// How long nothing has to be written.
    fn patience(&self) -> Duration {
        if !self.shared.writable.load(Ordering::Acquire) {
            return RETRY;
        }
        let now = self.clock.now().mono;
        let own = self.chores.due().min(self.lookout.due());
        self.ledger.due().map_or(own, |due| due.min(own)).since(now)
    }

    fn take(&mut self, message: Message, waiting: &mut Waiting) {
        let now = self.clock.now().mono;
        match message {
            Message::Append(group, reply) => {
                let (events, permits) = group.into_iter().map(|one| (one.event, one.permit)).unzip();
                waiting.appends.push(Append { events, permits, reply });
            }
            Message::Record(verdicts) => verdicts.into_iter().for_each(|verdict| self.ledger.record(verdict, now)),
            Message::Debounced(debounced) => self.ledger.keep_debounced(debounced, now),
            Message::Settle(settlement) => self.ledger.settle(settlement, now),
            Message::SettleBatch(settlements) => {
                settlements.into_iter().for_each(|settlement| self.ledger.settle(settlement, now));
            }
            Message::Breaker(endpoint, breaker) => {
                self.breakers.insert(endpoint, breaker);
                self.ledger.touch(now);
            }
            Message::Change(change) => waiting.changes.push_back(change),
            Message::Fence(answer) => waiting.fences.push(answer),
            Message::Close(answer) => waiting.close = Some(answer),
        }
    }

    /// One transaction over everything that waits, and the answers.
    fn commit(&mut self, waiting: Waiting, all: bool) -> Result<(), StoreError> {
        let now = self.clock.now();
        let Waiting { appends, changes, fences, .. } = waiting;
        let everything = all || !fences.is_empty() || !changes.is_empty();
        let mut group = self.unsaved.take().unwrap_or_default();
        group.append(self.ledger.take(now.mono, everything));
        let changed = !changes.is_empty();
        let written = self.write(&appends, changes, &group);
        self.measure(now.mono, &appends, written.is_ok());
        if changed {
            // After it: a step in the same transaction came before the changes, and took itself for the last for a while.
            self.chores.hurry(now.mono);
        }
        match written {
            Ok(Written { appended, answers, dropped }) => {
                self.recovered();
                if let Some((_, sink)) = self.shared.queues.get().filter(|_| !dropped.is_empty()) {
                    sink(dropped);
                }
                self.ask_for_checkpoint();
                // With it go the places in the intake of what is recorded now.
                drop(group);
                answers.into_iter().chain(fences).for_each(|answer| answer(Ok(())));
                self.hand_over(appends, appended);
                Ok(())
            }
            Err(error) => {
                self.broken(&error, group);
                fences.into_iter().for_each(|answer| answer(Err(error.clone())));
                for append in appends {
                    let _gone = append.reply.send(Err(AppendError::Store(error.clone())));
                }
                Err(error)
            }
        }
    }

    fn write(
        &mut self,
        appends: &[Append],
        mut changes: VecDeque<Change>,
        group: &Group,
    ) -> Result<Written, StoreError> {
        let now = self.clock.now();
        let mut answers = Vec::new();
        let dropping = (!changes.is_empty()).then(|| self.cache.dropping.clone());
        #[cfg(test)]
        super::tests::limit_pages(&self.db, &self.shared);
        let result = (|| {
            let tx = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut writer = Writer::new(&tx, now.wall, self.last_seq, &mut self.cache);
            writer.routed.flights = self.shared.queues.get().map(|(flights, _)| flights.as_ref());
            if !self.shared.writable.load(Ordering::Acquire) {
                writer.try_to_write()?;
            }
            writer.debounced(&group.debounced)?;
            group.verdicts.iter().try_for_each(|held| writer.verdict(held))?;
            group.settlements.iter().try_for_each(|settlement| writer.settle(settlement))?;
            self.breakers.iter().try_for_each(|(endpoint, breaker)| writer.breaker(*endpoint, breaker))?;
            if now.mono >= self.chores.due() {
                self.chores.step(&mut writer, now.mono, now.wall)?;
            }
            while let Some(change) = changes.pop_front() {
                answers.push(writer.alone(change)?);
            }
            let appended = appends.iter().map(|append| writer.append(&append.events));
            let appended = appended.collect::<rusqlite::Result<Vec<_>>>()?;
            let (last_seq, dropped) = writer.finish(group.judged_through())?;
            tx.commit()?;
            Ok((appended, last_seq, dropped))
        })();
        match result.map_err(failed) {
            Ok((appended, last_seq, dropped)) => {
                self.last_seq = last_seq;
                self.breakers.clear();
                Ok(Written { appended, answers, dropped })
            }
            Err(error) => {
                let dropping = dropping.unwrap_or_else(|| std::mem::take(&mut self.cache.dropping));
                self.cache = Cache { dropping, ..Cache::default() };
                answers.into_iter().for_each(|answer: Answer| answer(Err(error.clone())));
                changes.into_iter().for_each(|change| drop(change(Err(error.clone()))));
                Err(error)
            }
        }
    }

    /// Hands new events on and tells their publishers.
    fn hand_over(&self, appends: Vec<Append>, appended: Vec<Appended>) {
        let mut admitted = Vec::new();
        let mut replies = Vec::with_capacity(appends.len());
        for (append, appended) in appends.into_iter().zip(appended) {
            let result = appended.map(|judged| {
                let events = judged.into_iter().zip(append.permits);
                events.map(|(judged, permit)| receipt(judged, permit, &mut admitted)).collect()
            });
            replies.push((append.reply, result));
        }
        if !admitted.is_empty()
            && let Some(sink) = self.shared.sink.get()
        {
            sink(admitted);
        }
        for (reply, result) in replies {
            let _hung_up = reply.send(result);
        }
    }

    fn measure(&self, started: Mono, appends: &[Append], written: bool) {
        let metrics = &self.shared.metrics;
        if !written {
            return metrics.errors.one("commit");
        }
        metrics.commit_duration.time(self.clock.now().mono.since(started));
        let events: usize = appends.iter().map(|append| append.events.len()).sum();
        if let Some(events) = u64::try_from(events).ok().filter(|events| *events > 0) {
            metrics.commit_events.value(events);
        }
    }

    /// Has the log folded into the file whenever it has grown by so much, whatever was written.
    fn ask_for_checkpoint(&mut self) {
        let pages = log::pages();
        if pages < self.checked {
            self.checked = 0;
        }
        if pages - self.checked >= checkpoint::EVERY {
            self.checked = pages;
            // A checkpoint that is asked for already will see these pages too.
            let _asked = self.checkpoint.try_send(());
        }
    }

    fn broken(&mut self, error: &StoreError, group: Group) {
        self.unsaved = (!group.is_empty()).then_some(group);
        if self.shared.writable.swap(false, Ordering::AcqRel) {
            match error {
                StoreError::Full(_) => {
                    error!(event = "store.full", %error, "store cannot write; no attempt starts until it can");
                }
                _ => error!(event = "store.failed", %error, "store cannot write; no attempt starts until it can"),
            }
        } else {
            debug!(%error, "store still cannot write");
        }
    }

    fn recovered(&self) {
        if !self.shared.writable.swap(true, Ordering::AcqRel) {
            info!(event = "store.recovered", "store can write again");
        }
    }
}

fn receipt(judged: Judged, permit: Option<Permit>, admitted: &mut Vec<Admitted>) -> Receipt {
    match judged {
        Judged::New(event) => {
            let receipt = Receipt { id: event.id.clone(), seq: event.seq, duplicate: false };
            admitted.push(Admitted { event: Arc::new(event), permit });
            receipt
        }
        Judged::Duplicate(receipt) => receipt,
        // A conflict refuses its whole group before any receipt is made.
        Judged::Conflict => unreachable!("a group with a conflict has no receipts"),
    }
}
