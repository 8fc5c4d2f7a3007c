//! The Hub broadcasts accepted events: to the pipeline, and to whoever subscribed.

pub mod subscribers;

use std::sync::Arc;

use actix::{Actor, Addr, Context, Handler, Recipient, dev::SendError};

use crate::{
    actor::{OnDeath, Sentinel, Yielder, told, yield_now},
    debounce::{Admit, Debouncer},
    dispatch::Barrier,
    event::{Accepted, TopicPattern},
    store::Admitted,
};
use subscribers::{Subscribers, Told, Watcher};

/// The first actor of the pipeline.
pub struct Hub {
    debouncer: Addr<Debouncer>,
    subscribers: Subscribers,
    yielder: Yielder,
    _sentinel: Sentinel,
}

/// Accepted events, in the order of their seqs: they come from the store, which has them already.
pub struct Publish(pub Vec<Admitted>);
/// An accepted event, as subscribers get it.
#[derive(Clone, Debug)]
pub struct Published(pub Arc<Accepted>);
/// Adds a subscriber. One whose mailbox is full misses events; one that is gone is forgotten.
pub struct Subscribe {
    /// Which events.
    pub topics: TopicPattern,
    /// Who is told.
    pub subscriber: Recipient<Published>,
}

/// Adds a watcher, called on the Hub's own thread.
pub struct Watch {
    /// Of which events.
    pub topics: TopicPattern,
    /// Is told.
    pub watcher: Watcher,
}

/// Forgets every subscriber: there will be no more events.
pub struct End;

told!(Publish, Published, Subscribe, Watch, End);

impl Hub {
    /// A Hub in front of `debouncer`.
    pub(crate) fn new(debouncer: Addr<Debouncer>, on_death: &OnDeath) -> Self {
        let _sentinel = Sentinel::new("hub", on_death);
        Self { debouncer, subscribers: Subscribers::default(), yielder: Yielder::default(), _sentinel }
    }
}

impl Actor for Hub {
    type Context = Context<Self>;
}

impl Handler<Publish> for Hub {
    type Result = ();

    fn handle(&mut self, Publish(events): Publish, ctx: &mut Self::Context) {
        if !self.subscribers.is_empty() {
            events.iter().for_each(|admitted| self.subscribers.tell(&admitted.event));
        }
        self.debouncer.do_send(Admit(events));
        if self.yielder.is_time() {
            yield_now(self, ctx);
        }
    }
}

impl Handler<Subscribe> for Hub {
    type Result = ();

    fn handle(&mut self, Subscribe { topics, subscriber }: Subscribe, _: &mut Self::Context) {
        let tell = move |event: &Arc<Accepted>| match subscriber.try_send(Published(Arc::clone(event))) {
            Ok(()) => Told::Yes,
            Err(SendError::Full(_)) => Told::Full,
            Err(SendError::Closed(_)) => Told::Gone,
        };
        self.subscribers.add(topics, Box::new(tell));
    }
}

impl Handler<Watch> for Hub {
    type Result = ();

    fn handle(&mut self, Watch { topics, watcher }: Watch, _: &mut Self::Context) {
        self.subscribers.add(topics, watcher);
    }
}

impl Handler<End> for Hub {
    type Result = ();

    fn handle(&mut self, _: End, _: &mut Self::Context) {
        self.subscribers = Subscribers::default();
    }
}

impl Handler<Barrier> for Hub {
    type Result = ();

    fn handle(&mut self, barrier: Barrier, _: &mut Self::Context) {
        self.debouncer.do_send(barrier);
    }
}
