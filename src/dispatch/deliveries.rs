//! The Deliveries that a Dispatcher owns: started on demand, let go when they have nothing to do, and started again when one died.

use std::{sync::Arc, time::Duration};

use actix::{Addr, AsyncContext, Context, Handler, Message, ResponseFuture};
use futures_util::{
    FutureExt,
    future::{join_all, ready},
};
use tracing::error;

use super::Dispatcher;
use crate::{
    actor::told,
    clock::Timestamp,
    deliver::{self, Birth, Delivery, Died, Idle, Obituary, machine::Snapshot},
    endpoint::{Endpoint, EndpointKey},
    store::{BreakerRecord, DeliveryId},
};

/// A delivery was made anew in the store.
pub struct Replayed(pub DeliveryId);
/// Deliveries of these endpoints have been cancelled in the store. Answered once no attempt of them starts any more.
pub struct Forget(pub Vec<EndpointKey>);
/// Answers how an endpoint's Delivery stands, or would if it had one; `None` when there is no such endpoint.
pub struct Inspect(pub EndpointKey);

told!(Replayed);
impl Message for Forget {
    type Result = ();
}
impl Message for Inspect {
    type Result = Option<Snapshot>;
}

/// Between the death of a Delivery and the start of the next.
const RESPAWN: Duration = Duration::from_millis(500);

/// An endpoint, and what has come of it: of many, most have had nothing to do yet.
pub(super) struct Slot {
    pub(super) endpoint: Arc<Endpoint>,
    life: Option<Box<Life>>,
}

/// What is known of an endpoint beside its settings.
#[derive(Default)]
pub(super) struct Life {
    /// Its Delivery, as long as it has one.
    pub(super) delivery: Option<Addr<Delivery>>,
    pub(super) incarnation: u64,
    /// How many messages that change anything that Delivery was sent.
    pub(super) told: u64,
    /// How the breaker stood when there was last no Delivery.
    pub(super) breaker: BreakerRecord,
    /// The endpoint may have deliveries in the store that no Delivery knows of.
    pub(super) stored: bool,
    /// When an attempt of an earlier Delivery last succeeded.
    pub(super) last_success_at: Option<Timestamp>,
}

impl Slot {
    pub(super) fn new(endpoint: Arc<Endpoint>, breaker: BreakerRecord, stored: bool) -> Self {
        let is_new = breaker == BreakerRecord::default() && !stored;
        let life = (!is_new).then(|| Box::new(Life { breaker, stored, ..Life::default() }));
        Self { endpoint, life }
    }

    pub(super) fn life(&mut self) -> &mut Life {
        self.life.get_or_insert_default()
    }

    /// The Delivery, if there is one.
    pub(super) fn delivery(&self) -> Option<&Addr<Delivery>> {
        self.life.as_ref()?.delivery.as_ref()
    }

    /// The Delivery, if there is one, for a message that changes something.
    pub(super) fn addressed(&mut self) -> Option<&Addr<Delivery>> {
        let life = self.life.as_mut()?;
        life.told += 1;
        life.delivery.as_ref()
    }

    fn is_stored(&self) -> bool {
        self.life.as_ref().is_some_and(|life| life.stored)
    }

    /// What is known, if the Delivery that it is about is this one.
    fn incarnated(&mut self, incarnation: u64) -> Option<&mut Life> {
        self.life.as_deref_mut().filter(|life| life.incarnation == incarnation)
    }
}

impl Dispatcher {
    /// An endpoint with its Delivery, started if need be.
    pub(super) fn start(&mut self, key: EndpointKey, ctx: &mut Context<Self>) -> Option<&mut Slot> {
        let slot = self.endpoints.get_mut(&key)?;
        if slot.delivery().is_none() && !self.closing {
            self.incarnations += 1;
            let (endpoint, life) = (Arc::clone(&slot.endpoint), slot.life());
            (life.incarnation, life.told) = (self.incarnations, 0);
            let notice = Died { endpoint: key, incarnation: life.incarnation, breaker: life.breaker };
            let birth = Birth {
                endpoint,
                stored: std::mem::take(&mut life.stored),
                last_success_at: life.last_success_at,
                seed: self.random.u64(..),
                owner: ctx.address().recipient(),
                obituary: Obituary::new(notice, ctx.address().recipient()),
            };
            life.delivery = self.placement.start(birth, self.parts.clone());
        }
        Some(slot)
    }

    /// A delivery is in the store that its Delivery may have gone past.
    pub(super) fn made_late(&mut self, id: DeliveryId, ctx: &mut Context<Self>) {
        let started = self.endpoints.get_mut(&id.endpoint).is_some_and(|slot| {
            // A Delivery that starts now reads it from the store.
            let life = slot.life();
            life.stored |= life.delivery.is_none();
            life.delivery.is_some()
        });
        if let Some(delivery) = self.start(id.endpoint, ctx).filter(|_| started).and_then(Slot::addressed) {
            delivery.do_send(deliver::Replayed((id.seq, id.run)));
        }
    }

    /// Starts every Delivery that has something to do in the store.
    pub(super) fn start_stored(&mut self, ctx: &mut Context<Self>) {
        let pending: Vec<_> = self.endpoints.iter().filter(|(_, slot)| slot.is_stored()).map(|(key, _)| *key).collect();
        for key in pending {
            self.start(key, ctx);
        }
    }

    pub(super) fn running(&self) -> Vec<Addr<Delivery>> {
        self.endpoints.values().filter_map(|slot| slot.delivery().cloned()).collect()
    }
}

impl Handler<Replayed> for Dispatcher {
    type Result = ();

    fn handle(&mut self, Replayed(id): Replayed, ctx: &mut Self::Context) {
        self.made_late(id, ctx);
    }
}

impl Handler<Forget> for Dispatcher {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Forget(keys): Forget, _: &mut Self::Context) -> Self::Result {
        let told = keys.iter().filter_map(|key| Some(self.endpoints.get_mut(key)?.addressed()?.send(deliver::Forget)));
        let told = join_all(told);
        Box::pin(async move { drop(told.await) })
    }
}

impl Handler<Died> for Dispatcher {
    type Result = ();

    fn handle(&mut self, died: Died, ctx: &mut Self::Context) {
        let Died { endpoint: key, incarnation, breaker } = died;
        let Some(slot) = self.endpoints.get_mut(&key) else { return };
        let Some(life) = slot.incarnated(incarnation) else { return };
        life.delivery = None;
        life.stored = true;
        life.breaker = breaker;
        if self.closing {
            return;
        }
        self.parts.metrics.restarts.one("delivery");
        error!(event = "actor.panicked", endpoint = %slot.endpoint.id, "a delivery died; it starts again from the store");
        ctx.run_later(RESPAWN, move |dispatcher, ctx| {
            dispatcher.start(key, ctx);
        });
    }
}

impl Handler<Idle> for Dispatcher {
    type Result = ();

    /// Lets a Delivery go that has heard everything it was told and has nothing to do: from here on a new one is told.
    fn handle(&mut self, idle: Idle, _: &mut Context<Self>) {
        let Idle { endpoint, incarnation, heard, breaker, last_success_at } = idle;
        let life = self.endpoints.get_mut(&endpoint).and_then(|slot| slot.incarnated(incarnation));
        let Some(life) = life.filter(|life| life.told == heard) else { return };
        if let Some(delivery) = life.delivery.take_if(|_| !self.closing) {
            (life.incarnation, life.breaker, life.last_success_at) = (0, breaker, last_success_at);
            delivery.do_send(deliver::Retire);
        }
    }
}

impl Handler<Inspect> for Dispatcher {
    type Result = ResponseFuture<Option<Snapshot>>;

    fn handle(&mut self, Inspect(key): Inspect, _: &mut Self::Context) -> Self::Result {
        let Some(slot) = self.endpoints.get(&key) else { return Box::pin(ready(None)) };
        if let Some(delivery) = slot.delivery() {
            return Box::pin(delivery.send(deliver::Inspect).map(Result::ok));
        }
        let (breaker, last_success_at) =
            slot.life.as_ref().map_or_else(Default::default, |life| (life.breaker, life.last_success_at));
        Box::pin(ready(Some(Snapshot::at_rest(breaker, last_success_at))))
    }
}
