//! What a Delivery is told and tells.

use std::sync::Arc;

use actix::{Message, Recipient};
use tokio::sync::oneshot;

use super::{machine::Snapshot, queue::Key};
use crate::{
    actor::told,
    clock::Timestamp,
    endpoint::{Endpoint, EndpointKey},
    event::Accepted,
    store::{BreakerRecord, Page},
    transport::Answer,
};

/// What a Delivery starts from.
pub struct Birth {
    /// Its endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Whether it has deliveries in the store.
    pub stored: bool,
    /// When an attempt last succeeded.
    pub last_success_at: Option<Timestamp>,
    /// For the jitter.
    pub seed: u64,
    /// Told when it has had nothing to do for a while.
    pub owner: Recipient<Idle>,
    /// Told when it is gone, for whatever reason; names the breaker that it starts with.
    pub obituary: Obituary,
}

/// New events for this endpoint, by seq.
pub struct Push(pub Vec<Arc<Accepted>>);
/// Other settings, from the next attempt on. Answered once they are in force.
pub struct Configure(pub Arc<Endpoint>);
/// A delivery was made anew in the store.
pub struct Replayed(pub Key);
/// Deliveries of this endpoint have been cancelled in the store. Answered once no attempt of them starts any more.
pub struct Forget;
/// These deliveries were dropped in the store: more waited than may.
pub struct Dropped(pub Vec<Key>);
/// Starts nothing any more and tells when nothing is in flight; with `empty`, works on until nothing waits. When the time that
/// the endpoint gives has passed, it ends what is in flight, starts nothing any more, and tells.
pub struct Drain {
    /// Whether what waits is to be delivered first: where there is no disk to keep it.
    pub empty: bool,
    /// Told at the end.
    pub done: oneshot::Sender<()>,
}
/// Ends what is in flight at once, and itself. Answers how many attempts that were.
pub struct Cancel;
/// Answers how it stands.
pub struct Inspect;
/// Ends a Delivery that has said that it is [`Idle`], and has been told nothing since.
pub struct Retire;
/// A Delivery has had nothing to do for a while, and equals a new one.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// Its endpoint.
    pub endpoint: EndpointKey,
    /// Which of its Deliveries.
    pub incarnation: u64,
    /// How many messages that change anything it has had from its owner. If it was sent more, it is not idle.
    pub heard: u64,
    /// How its breaker stands.
    pub breaker: BreakerRecord,
    /// When an attempt last succeeded.
    pub last_success_at: Option<Timestamp>,
}
/// A Delivery is gone.
#[derive(Clone, Copy, Debug)]
pub struct Died {
    /// Its endpoint.
    pub endpoint: EndpointKey,
    /// Which of its Deliveries.
    pub incarnation: u64,
    /// How its breaker stood.
    pub breaker: BreakerRecord,
}
pub(super) struct Loaded(pub(super) Option<Page>);
pub(super) struct Finished {
    pub(super) ticket: u64,
    pub(super) answer: Answer,
}

told!(Push, Replayed, Dropped, Drain, Retire, Idle, Died, Loaded, Finished);
impl Message for Configure {
    type Result = ();
}
impl Message for Forget {
    type Result = ();
}
impl Message for Cancel {
    type Result = usize;
}
impl Message for Inspect {
    type Result = Snapshot;
}

/// Tells its owner when the Delivery that holds it is dropped, also by a panic.
pub struct Obituary {
    pub(super) notice: Died,
    owner: Recipient<Died>,
}

impl Obituary {
    /// Tells `owner` `notice` when dropped.
    pub fn new(notice: Died, owner: Recipient<Died>) -> Self {
        Self { notice, owner }
    }
}

impl Drop for Obituary {
    fn drop(&mut self) {
        self.owner.do_send(self.notice);
    }
}
