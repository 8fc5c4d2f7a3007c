//! A store with what a scenario needs to work on it.

use std::{
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use crate::{endpoint::queue::QueuePolicy, event::Event, store::*};

const PATIENCE: Duration = Duration::from_secs(20);

/// When everything in the scenarios happens: far enough from now that no retention comes into play.
pub(in crate::store) fn at(second: i64) -> Timestamp {
    Timestamp::from_millis((1_900_000_000 + second) * 1000)
}

/// Waits for an answer, from whatever thread it comes.
pub(in crate::store) fn wait<T>(answer: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time") })
}

pub(in crate::store) fn get<T>(reply: Reply<T>) -> T {
    wait(reply).expect("the store works")
}

pub(in crate::store) fn publish(store: &dyn Store, group: Vec<Submission>) -> Result<Vec<Receipt>, AppendError> {
    let (reply, answer) = oneshot::channel();
    store.append(group, reply);
    wait(answer).expect("an answer")
}

pub(in crate::store) fn page(store: &dyn Store, request: PageRequest) -> Result<Page, StoreError> {
    let (sender, receiver) = mpsc::channel();
    store.page(request, Box::new(move |page| sender.send(page).unwrap()));
    receiver.recv_timeout(PATIENCE).expect("a page in time")
}

/// Some stores drop what is pending in small steps.
pub(in crate::store) fn wait_until_dropped(store: &dyn Store, key: EndpointKey) {
    for _ in 0..1000 {
        if get(store.endpoint_totals(key)).0.pending == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("deliveries of {key:?} are still pending");
}

pub(in crate::store) fn submit(event: &Event) -> Submission {
    Submission { event: event.validate(at(0)).unwrap(), permit: None }
}

pub(in crate::store) fn event(id: &str, topic: &str) -> Event {
    Event::from_json(topic, "{}").id(id)
}

pub(in crate::store) fn target(endpoint: EndpointKey) -> Target {
    Target { endpoint, disposition: Disposition::Deliver, queue: QueuePolicy::default(), suppressed: 0 }
}

pub(in crate::store) fn delivery(event: &Accepted, endpoint: EndpointKey) -> DeliveryId {
    DeliveryId { seq: event.seq, endpoint, run: 0 }
}

/// An attempt that took a quarter of a second: a failure as far as its own words go.
pub(in crate::store) fn attempt(number: u32, second: i64) -> AttemptRecord {
    AttemptRecord {
        number,
        at: at(second),
        duration: Duration::from_millis(250),
        status: Some(503),
        outcome: "5xx",
        error: Some("unavailable".to_owned()),
        response: "go away".into(),
        peer: peer(number),
        batch: None,
    }
}

/// Whom an attempt of this number reached: of three, one knows none.
pub(in crate::store) fn peer(number: u32) -> Option<Peer> {
    let (port, public) = (u16::try_from(number).unwrap_or(u16::MAX), number % 3 == 1);
    let ip = if public { [203, 0, 113, 7] } else { [10, 0, 0, 7] };
    (!number.is_multiple_of(3)).then(|| Peer { address: (ip, port).into(), public })
}

pub(in crate::store) fn success(number: u32, second: i64) -> AttemptRecord {
    AttemptRecord { status: Some(200), outcome: "2xx", error: None, response: "ok".into(), ..attempt(number, second) }
}

pub(in crate::store) fn retry(due: i64) -> Next {
    Next::Retry { due: at(due), asked: false }
}

pub(in crate::store) const DEAD: Next = Next::DeadLettered(DeadReason::Exhausted);

/// A store that collects what its sink is called with.
pub(in crate::store) struct Bench {
    pub(in crate::store) store: Arc<dyn Store>,
    pub(in crate::store) sunk: Arc<Mutex<Vec<Arc<Accepted>>>>,
}

impl Bench {
    pub(in crate::store) fn new(store: Arc<dyn Store>) -> Self {
        let sunk = Arc::new(Mutex::new(Vec::new()));
        let collect = Arc::clone(&sunk);
        store.connect(Box::new(move |admitted: Vec<Admitted>| {
            collect.lock().unwrap().extend(admitted.into_iter().map(|one| one.event));
        }));
        Self { store, sunk }
    }

    pub(in crate::store) fn publish(&self, group: &[Event]) -> Result<Vec<Receipt>, AppendError> {
        publish(self.store.as_ref(), group.iter().map(submit).collect())
    }

    /// Publishes one new event.
    pub(in crate::store) fn accept(&self, event: Event) -> Arc<Accepted> {
        let receipts = self.publish(&[event]).unwrap();
        assert!(!receipts[0].duplicate);
        Arc::clone(self.sunk.lock().unwrap().last().unwrap())
    }

    pub(in crate::store) fn endpoint(&self, id: &str) -> EndpointKey {
        get(self.store.create_endpoint(id.parse().unwrap(), "{}".to_owned())).key
    }

    /// Those that exist.
    pub(in crate::store) fn endpoints(&self) -> Vec<EndpointRow> {
        get(self.store.endpoints(EndpointKey(0), usize::MAX))
    }

    pub(in crate::store) fn judge(&self, event: &Arc<Accepted>, ruling: Ruling) {
        self.judge_with(event, ruling, Vec::new());
    }

    pub(in crate::store) fn judge_with(&self, event: &Arc<Accepted>, ruling: Ruling, windows: Vec<WindowChange>) {
        let debounced = Debounced { windows, ..Debounced::default() };
        self.store.record(vec![Verdict {
            event: Arc::clone(event),
            ruling,
            debounced,
            released_at: None,
            permit: None,
        }]);
    }

    /// Publishes one new event and routes it to these endpoints.
    pub(in crate::store) fn routed(&self, id: &str, endpoints: &[EndpointKey]) -> Arc<Accepted> {
        let event = self.accept(event(id, "t"));
        self.judge(&event, Ruling::Routed(endpoints.iter().copied().map(target).collect()));
        event
    }

    pub(in crate::store) fn settle(&self, delivery: DeliveryId, attempt: AttemptRecord, next: Next) {
        let (spent, at) = (attempt.number, attempt.at.after(attempt.duration));
        self.store.settle(Settlement { delivery, attempt: Some(attempt), spent, next, at });
    }

    pub(in crate::store) fn page(&self, endpoint: EndpointKey, cursor: Cursor, items: usize) -> Page {
        page(self.store.as_ref(), PageRequest { endpoint, cursor, items, bytes: usize::MAX }).unwrap()
    }

    /// Everything pending, by (seq, run).
    pub(in crate::store) fn pending(&self, endpoint: EndpointKey) -> Vec<(u64, u32)> {
        let page = self.page(endpoint, Cursor::InOrder(None), usize::MAX);
        assert!(page.end);
        places(&page)
    }

    /// The sums, which must add up.
    pub(in crate::store) fn totals(&self) -> Totals {
        let totals = get(self.store.totals());
        assert!(totals.add_up(), "{totals:?}");
        totals
    }

    pub(in crate::store) fn detail(&self, id: &str) -> EventDetail {
        get(self.store.event(None, id.parse().unwrap())).expect("the event is kept")
    }

    pub(in crate::store) fn dead_letters(&self, filter: DeadLetterFilter) -> Vec<DeadLetterRow> {
        get(self.store.dead_letters(filter))
    }
}

pub(in crate::store) fn places(page: &Page) -> Vec<(u64, u32)> {
    page.rows.iter().map(|row| (row.event.seq, row.run)).collect()
}
