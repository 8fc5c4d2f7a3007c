//! What follows from the end of an attempt, for each delivery in it.

use std::sync::Arc;

use super::{Effect, Ended, InFlight, Machine, record::record};
use crate::{
    clock::{Now, Timestamp},
    deliver::{
        batch::{is_divisible, second_due},
        outcome::Outcome,
        queue::{Item, RetryAt},
        retry,
    },
    store::{AttemptRecord, DeadReason, Next, Settlement},
    transport::{Answer, FailureKind},
};

impl Machine {
    pub(super) fn conclude(&mut self, flight: InFlight, outcome: Outcome, answer: &Answer, now: Now) {
        let attempt = record(&flight, outcome, answer, now);
        let divisible = is_divisible(outcome, answer);
        if divisible && flight.items.len() > 1 {
            self.halve(flight, outcome, &attempt, now);
        } else {
            self.settle(flight, outcome, divisible, &attempt, now);
        }
    }

    /// A batch that was refused for what is in it goes out again in two halves, at once, the first half first. No attempt is
    /// used by it, and none is written down where nothing was sent.
    fn halve(&mut self, flight: InFlight, outcome: Outcome, attempt: &AttemptRecord, now: Now) {
        self.inform_breaker(&flight, outcome, false, now);
        let InFlight { items, unsure, .. } = flight;
        let sent = outcome != Outcome::Transport(FailureKind::Unrenderable);
        let first = items.len().div_ceil(2);
        let mut settlements = Vec::with_capacity(items.len());
        for (place, mut item) in items.into_iter().enumerate() {
            item.attempts += u32::from(sent);
            item.halved = sent;
            let due = if place < first { now.wall } else { second_due(now.wall, first) };
            let attempt = sent.then(|| numbered(attempt, &item));
            settlements.push(self.settlement(&item, attempt, Next::Retry { due, asked: false }, now.wall));
            if unsure {
                self.queue.leave_to_store(item.key(), due);
            } else {
                self.queue.put_apart(item, due, now);
            }
        }
        self.effects.push(Effect::SettleBatch(settlements));
    }

    fn settle(&mut self, mut flight: InFlight, outcome: Outcome, divisible: bool, attempt: &AttemptRecord, now: Now) {
        let nexts = self.judge(&mut flight.items, outcome, divisible, now);
        self.inform_breaker(&flight, outcome, nexts.iter().any(Result::is_err), now);
        let InFlight { items, unsure, .. } = flight;
        let (mut settlements, mut ended) = (Vec::with_capacity(items.len()), Vec::new());
        for (item, next) in items.into_iter().zip(nexts) {
            let what = match next {
                Ok(retry) => Next::Retry { due: now.wall.after(retry.delay), asked: retry.asked },
                Err(end) => end,
            };
            settlements.push(self.settlement(&item, Some(numbered(attempt, &item)), what, now.wall));
            match (next, what) {
                (Ok(_), Next::Retry { due, .. }) if unsure => self.queue.leave_to_store(item.key(), due),
                (Ok(retry), _) => self.queue.put_back(item, retry, now),
                (Err(end), _) => {
                    self.queue.finish(item.key());
                    ended.push((item, end));
                }
            }
        }
        match <[Settlement; 1]>::try_from(settlements) {
            Ok([only]) => self.effects.push(Effect::Settle(only)),
            Err(several) => self.effects.push(Effect::SettleBatch(several)),
        }
        for (item, end) in ended {
            self.ended(&item, end, Some(attempt));
        }
    }

    /// Tells of a delivery's end, and of the attempt that decided it.
    pub(super) fn ended(&mut self, item: &Item, end: Next, attempt: Option<&AttemptRecord>) {
        self.effects.push(Effect::Ended(Ended {
            event: Arc::clone(&item.event),
            run: item.run,
            created_at: item.created_at,
            attempts: item.attempts,
            end,
            status: attempt.and_then(|attempt| attempt.status),
            error: attempt.filter(|_| end != Next::Delivered).and_then(|attempt| attempt.error.clone()),
        }));
    }

    /// What comes next for each delivery of a request. Those that are tried again are due together, when the last of them
    /// may be: they stay one batch.
    fn judge(&mut self, items: &mut [Item], outcome: Outcome, divisible: bool, now: Now) -> Vec<Result<RetryAt, Next>> {
        let poisoned = divisible && self.policy.batch.is_some();
        let (policy, dice) = (&self.policy.retry, self.random.clone());
        let mut nexts = Vec::with_capacity(items.len());
        for item in &mut *items {
            // It stands alone now, and was refused a moment before as a part of a batch.
            let poison = std::mem::take(&mut item.halved) && poisoned;
            item.attempts += 1;
            item.spent += u32::from(outcome.uses_attempt());
            // The same dice for all.
            self.random = dice.clone();
            nexts.push(if poison {
                Err(retry::end(policy, DeadReason::NotRetried))
            } else {
                retry::judge(policy, item, outcome, now, &mut self.random)
            });
        }
        let longest = nexts.iter().flatten().map(|retry| retry.delay).max().unwrap_or_default();
        for (item, next) in items.iter().zip(&mut nexts) {
            let Ok(retry) = next else { continue };
            retry.delay = longest;
            if now.wall.after(longest).since(item.created_at) > policy.max_age {
                *next = Err(Next::DeadLettered(DeadReason::Expired));
            }
        }
        nexts
    }

    fn settlement(&self, item: &Item, attempt: Option<AttemptRecord>, next: Next, at: Timestamp) -> Settlement {
        Settlement { delivery: self.delivery(item), attempt, spent: item.spent, next, at }
    }
}

/// The attempt as this delivery counts it.
fn numbered(attempt: &AttemptRecord, item: &Item) -> AttemptRecord {
    AttemptRecord { number: item.attempts, ..attempt.clone() }
}
