//! What is kept, and the writes of the pipeline: append, record, settle.

use std::collections::{BTreeMap, BTreeSet};

use super::{super::*, dead_letters::Letters, jobs::Jobs, pending::Pending, tokens::Tokens};

/// Everything that is kept.
pub(super) struct State {
    /// How many finished events are kept.
    pub(super) history: usize,
    /// How many dead letters that were not replayed are kept.
    pub(super) keep_dead: usize,
    pub(super) newest: u64,
    pub(super) judged_through: u64,
    pub(super) unmatched: u64,
    pub(super) suppressed: u64,
    pub(super) coalesced: u64,
    pub(super) routed: u64,
    pub(super) events: BTreeMap<u64, Kept>,
    pub(super) ids: BTreeMap<(Option<Tenant>, EventId), u64>,
    pub(super) deliveries: BTreeMap<DeliveryId, Delivery>,
    /// Dead letters that were not replayed.
    pub(super) dead: BTreeSet<DeliveryId>,
    /// The same by the moment at which they are too old.
    pub(super) expiring: BTreeSet<(Timestamp, DeliveryId)>,
    /// Events that nothing holds any more.
    pub(super) finished: BTreeSet<u64>,
    /// Also those that were deleted: their history goes by their id.
    pub(super) endpoints: BTreeMap<EndpointKey, EndpointState>,
    pub(super) rules: BTreeMap<String, String>,
    pub(super) chains: BTreeMap<String, String>,
    pub(super) windows: BTreeMap<(String, String), WindowSlot>,
    pub(super) jobs: Jobs,
    pub(super) tokens: Tokens,
    /// Events that are held.
    pub(super) held: BTreeSet<u64>,
    /// What each rule suppressed, and replaced by later ones.
    pub(super) rule_totals: BTreeMap<String, (u64, u64)>,
}

/// An event that is kept.
pub(super) struct Kept {
    pub(super) event: Arc<Accepted>,
    pub(super) state: EventState,
    /// What needs the event: its missing verdict, pending deliveries, dead letters that were not replayed.
    pub(super) holds: usize,
}

/// One delivery.
pub(super) struct Delivery {
    pub(super) created_at: Timestamp,
    pub(super) standing: Standing,
    pub(super) attempts: u32,
    pub(super) spent: u32,
    /// How many the endpoint did not get.
    pub(super) suppressed: u64,
    pub(super) attempted_at: Option<Timestamp>,
    pub(super) log: Vec<AttemptRecord>,
}

/// Where a delivery stands.
#[derive(Clone, Copy)]
pub(super) enum Standing {
    Pending {
        due: Option<Timestamp>,
        asked: bool,
    },
    /// By the endpoint's own debounce: pending, but for what is paged.
    Held,
    Delivered,
    Dead {
        reason: DeadReason,
        since: Timestamp,
        replayed_as: Option<u32>,
    },
    Dropped(DropReason),
    Suppressed,
}

/// One endpoint.
pub(super) struct EndpointState {
    pub(super) id: EndpointId,
    /// Whose it is, or was when it was deleted.
    pub(super) tenant: Option<Tenant>,
    /// `None` once it was deleted.
    pub(super) row: Option<EndpointRow>,
    /// New deliveries are dropped at once with this reason.
    pub(super) dropping: Option<DropReason>,
    pub(super) breaker: BreakerRecord,
    pub(super) totals: DeliveryTotals,
    pub(super) pending: Pending,
    pub(super) letters: Letters,
}

/// How a delivery came to be.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    Routed,
    Replayed,
}

impl State {
    pub(super) fn new(history: usize, keep_dead: usize) -> Self {
        Self {
            history,
            keep_dead,
            newest: 0,
            judged_through: 0,
            unmatched: 0,
            suppressed: 0,
            coalesced: 0,
            routed: 0,
            events: BTreeMap::new(),
            ids: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            dead: BTreeSet::new(),
            expiring: BTreeSet::new(),
            finished: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            rules: BTreeMap::new(),
            chains: BTreeMap::new(),
            windows: BTreeMap::new(),
            jobs: Jobs::default(),
            tokens: Tokens::default(),
            held: BTreeSet::new(),
            rule_totals: BTreeMap::new(),
        }
    }

    /// Judges the whole group before any of it is kept.
    pub(super) fn append(
        &mut self,
        group: Vec<Submission>,
        now: Timestamp,
    ) -> Result<(Vec<Receipt>, Vec<Admitted>), AppendError> {
        let mut receipts = Vec::with_capacity(group.len());
        let mut admitted: Vec<Admitted> = Vec::with_capacity(group.len());
        let mut own: BTreeMap<(Option<Tenant>, EventId), Arc<Accepted>> = BTreeMap::new();
        for (index, Submission { event, permit }) in group.into_iter().enumerate() {
            let name = (event.tenant.clone(), event.id.clone());
            let first = self.first(&name).or_else(|| own.get(&name)).map(Arc::clone);
            if first.as_ref().is_some_and(|first| !is_same(first, &event)) {
                return Err(AppendError::Conflict { id: event.id, index });
            }
            let duplicate = first.is_some();
            let accepted = first.unwrap_or_else(|| {
                let seq = self.newest + 1 + admitted.len() as u64;
                Arc::new(Accepted::new(seq, now, event))
            });
            receipts.push(Receipt { id: accepted.id.clone(), seq: accepted.seq, duplicate });
            if !duplicate {
                own.insert(name, Arc::clone(&accepted));
                admitted.push(Admitted { event: accepted, permit });
            }
        }
        for new in &admitted {
            self.keep_event(Arc::clone(&new.event));
        }
        Ok((receipts, admitted))
    }

    fn first(&self, name: &(Option<Tenant>, EventId)) -> Option<&Arc<Accepted>> {
        self.ids.get(name).and_then(|seq| self.events.get(seq)).map(|kept| &kept.event)
    }

    fn keep_event(&mut self, event: Arc<Accepted>) {
        self.newest = event.seq;
        self.ids.insert((event.tenant.clone(), event.id.clone()), event.seq);
        self.events.insert(event.seq, Kept { event, state: EventState::Unrouted, holds: 1 });
    }

    /// Only the verdict on the next event without one, or on one that is held, has an effect: another would break the sums.
    pub(super) fn record(&mut self, verdict: Verdict, flights: Option<&Flights>) -> Vec<DeliveryId> {
        let Verdict { event, ruling, debounced, released_at, .. } = verdict;
        let seq = event.seq;
        let in_turn = match released_at {
            Some(_) => self.held.remove(&seq),
            None => seq == self.judged_through + 1,
        };
        let Some(kept) = self.events.get_mut(&seq).filter(|_| in_turn) else {
            tracing::error!(seq, judged_through = self.judged_through, "verdict out of order");
            self.debounced(debounced);
            return Vec::new();
        };
        self.judged_through = self.judged_through.max(seq);
        kept.event = Arc::clone(&event);
        kept.state = match &ruling {
            Ruling::Unmatched => EventState::Unmatched,
            Ruling::Suppressed => EventState::Suppressed,
            Ruling::Held => EventState::Debouncing,
            Ruling::Routed(_) => EventState::Routed,
        };
        let mut dropped = Vec::new();
        match ruling {
            Ruling::Unmatched => self.unmatched += 1,
            Ruling::Suppressed => self.suppressed += 1,
            Ruling::Held => {
                self.held.insert(seq);
                self.hold(seq);
            }
            Ruling::Routed(targets) => {
                self.routed += 1;
                for target in targets {
                    let id = DeliveryId { seq, endpoint: target.endpoint, run: 0 };
                    let created_at = released_at.unwrap_or(event.accepted_at);
                    self.create(id, target.disposition, Origin::Routed, created_at, target.suppressed);
                    // Nothing falls off for one that does not wait, although replays may have left more than may.
                    if target.disposition.waits() {
                        dropped.extend(self.keep_within(target.endpoint, target.queue, seq, flights));
                    }
                }
            }
        }
        self.debounced(debounced);
        self.release(seq);
        dropped
    }

    /// Makes a delivery: pending, dropped at once or suppressed.
    pub(super) fn create(
        &mut self,
        id: DeliveryId,
        disposition: Disposition,
        origin: Origin,
        created_at: Timestamp,
        suppressed: u64,
    ) {
        let weight = self.weight(id.seq);
        let Some(endpoint) = self.endpoints.get_mut(&id.endpoint) else {
            tracing::error!(delivery = %id, "no such endpoint was ever there");
            return;
        };
        match origin {
            Origin::Routed => endpoint.totals.created += 1,
            Origin::Replayed => endpoint.totals.replayed += 1,
        }
        let standing = match disposition.or_drop(endpoint.dropping) {
            Disposition::Drop(reason) => {
                endpoint.count_dropped(reason);
                Standing::Dropped(reason)
            }
            Disposition::Suppress => {
                endpoint.totals.suppressed += 1;
                Standing::Suppressed
            }
            Disposition::Deliver => {
                endpoint.totals.pending += 1;
                endpoint.pending.insert(id, None, weight);
                Standing::Pending { due: None, asked: false }
            }
            Disposition::Hold => {
                endpoint.totals.pending += 1;
                endpoint.pending.hold(id, weight);
                Standing::Held
            }
        };
        let (attempted_at, log) = (None, Vec::new());
        let delivery = Delivery { created_at, standing, attempts: 0, spent: 0, suppressed, attempted_at, log };
        self.deliveries.insert(id, delivery);
        if standing.state() == DeliveryState::Pending {
            self.hold(id.seq);
        }
    }

    pub(super) fn settle(&mut self, settlement: Settlement) {
        let Settlement { delivery: id, attempt, spent, next, at } = settlement;
        let delivery = self.deliveries.get_mut(&id);
        let Some((delivery, endpoint)) = delivery.zip(self.endpoints.get_mut(&id.endpoint)) else { return };
        let before = match delivery.standing {
            Standing::Pending { due, .. } => due,
            // It was in flight, and arrived all the same.
            Standing::Dropped(reason) if reason.may_arrive() && next == Next::Delivered => {
                endpoint.uncount_dropped(reason);
                endpoint.totals.pending += 1;
                self.hold_again(id);
                return self.settle(Settlement { delivery: id, attempt, spent, next, at });
            }
            _ => return,
        };
        delivery.spent = spent;
        if let Some(attempt) = attempt {
            delivery.attempted(attempt, next != Next::Delivered);
        }
        let weight = endpoint.pending.remove(id, before);
        match next {
            Next::Retry { due, asked } => {
                endpoint.pending.insert(id, Some(due), weight);
                delivery.standing = Standing::Pending { due: Some(due), asked };
            }
            Next::Delivered => {
                endpoint.totals.pending -= 1;
                endpoint.totals.delivered += 1;
                delivery.standing = Standing::Delivered;
                self.release(id.seq);
            }
            Next::DeadLettered(reason) => {
                endpoint.totals.pending -= 1;
                endpoint.totals.dead_lettered += 1;
                delivery.standing = Standing::Dead { reason, since: at, replayed_as: None };
                self.bury(id, at);
            }
            Next::Dropped(reason) => {
                endpoint.totals.pending -= 1;
                endpoint.count_dropped(reason);
                delivery.standing = Standing::Dropped(reason);
                self.release(id.seq);
            }
        }
    }
}

impl State {
    /// Makes a delivery that was dropped pending again.
    fn hold_again(&mut self, id: DeliveryId) {
        let weight = self.weight(id.seq);
        if let Some((delivery, endpoint)) = self.deliveries.get_mut(&id).zip(self.endpoints.get_mut(&id.endpoint)) {
            delivery.standing = Standing::Pending { due: None, asked: false };
            endpoint.pending.insert(id, None, weight);
        }
        self.hold(id.seq);
    }

    fn weight(&self, seq: u64) -> u64 {
        self.events.get(&seq).map_or(0, |kept| kept.event.weight() as u64)
    }
}

impl Delivery {
    fn attempted(&mut self, mut attempt: AttemptRecord, failed: bool) {
        if !failed {
            attempt.response.clear();
        }
        self.attempts = attempt.number;
        self.attempted_at = Some(attempt.at.after(attempt.duration));
        self.log.push(attempt);
    }
}

impl EndpointState {
    fn uncount_dropped(&mut self, reason: DropReason) {
        if let Some(count) = self.totals.dropped.get_mut(reason.as_str()) {
            *count -= 1;
        }
    }

    pub(super) fn count_dropped(&mut self, reason: DropReason) {
        *self.totals.dropped.entry(reason.as_str().to_owned()).or_default() += 1;
    }
}

fn is_same(first: &Accepted, event: &ValidEvent) -> bool {
    first.topic == event.topic && first.key == event.key && first.data == event.data
}
