//! A durable store with publishers that wait for it, without the rest of the pipeline.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use hookmill::{
    Clock, Event, Retention,
    endpoint::EndpointKey,
    store::{
        Admitted, AttemptRecord, Debounced, DeliveryId, Next, Ruling, Settlement, Store, Submission, Target, Verdict,
        sqlite::SqliteStore,
    },
};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::oneshot};

use super::{TOPIC, payload, scratch};

/// What becomes of accepted events.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Nothing: they stay as they were appended.
    Appended,
    /// Each is routed to one endpoint and delivered at once: recorded and settled.
    Whole,
}

/// Whose ids the events have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Ids {
    /// Hookmill's own, which grow with time.
    Generated,
    /// Chosen by the publisher, at random.
    Random,
}

/// A store on disk, and everything to publish into it.
pub struct Stage {
    store: Arc<SqliteStore>,
    clock: Clock,
    runtime: Runtime,
    data: Bytes,
    ids: Ids,
    _dir: TempDir,
}

impl Stage {
    pub fn new(life: Life, ids: Ids) -> Self {
        let (dir, clock) = (scratch(), Clock::system());
        let store = Arc::new(SqliteStore::open(dir.path(), clock, Retention::default()).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let endpoint = runtime.block_on(store.create_endpoint("bench".parse().unwrap(), "{}".to_owned())).unwrap().key;
        let sink = Arc::downgrade(&store);
        store.connect(Box::new(move |admitted| {
            if life == Life::Whole {
                deliver(&sink, admitted, endpoint, clock);
            }
        }));
        Self { store, clock, runtime, data: payload().into(), ids, _dir: dir }
    }

    /// Publishes events from so many publishers, each of which waits for its event before it publishes the next. Tells how
    /// long it took until everything was written.
    pub fn publish(&self, events: u64, publishers: usize) -> Duration {
        let left = Rc::new(Cell::new(events));
        let start = Instant::now();
        self.runtime.block_on(async {
            join_all((0..publishers).map(|_| self.publisher(Rc::clone(&left)))).await;
            self.store.flush().await.unwrap();
        });
        start.elapsed()
    }

    async fn publisher(&self, left: Rc<Cell<u64>>) {
        while let Some(rest) = left.get().checked_sub(1) {
            left.set(rest);
            let event = self.event().validate(self.clock.now().wall).unwrap();
            let (reply, receipts) = oneshot::channel();
            self.store.append(vec![Submission { event, permit: None }], reply);
            receipts.await.unwrap().unwrap();
        }
    }

    fn event(&self) -> Event {
        let event = Event::from_json(TOPIC, self.data.clone());
        match self.ids {
            Ids::Generated => event,
            Ids::Random => event.id(format_args!("{:032x}", fastrand::u128(..))),
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.runtime.block_on(self.store.close()).unwrap();
    }
}

/// What the pipeline and a prompt receiver would make of the events.
fn deliver(store: &Weak<SqliteStore>, admitted: Vec<Admitted>, endpoint: EndpointKey, clock: Clock) {
    let Some(store) = store.upgrade() else { return };
    let at = clock.now().wall;
    let settlements = admitted.iter().map(|one| delivered(one.event.seq, endpoint, at)).collect::<Vec<_>>();
    let verdict = |Admitted { event, permit }| {
        let ruling = Ruling::Routed(vec![Target {
            endpoint,
            disposition: Default::default(),
            queue: Default::default(),
            suppressed: 0,
        }]);
        Verdict { event, ruling, debounced: Debounced::default(), released_at: None, permit }
    };
    store.record(admitted.into_iter().map(verdict).collect());
    settlements.into_iter().for_each(|settlement| store.settle(settlement));
}

fn delivered(seq: u64, endpoint: EndpointKey, at: hookmill::Timestamp) -> Settlement {
    let attempt = AttemptRecord {
        number: 1,
        at,
        duration: Duration::from_millis(1),
        status: Some(200),
        outcome: "2xx",
        error: None,
        response: Bytes::new(),
        peer: None,
        batch: None,
    };
    let delivery = DeliveryId { seq, endpoint, run: 0 };
    Settlement { delivery, attempt: Some(attempt), spent: 1, next: Next::Delivered, at }
}
