//! Which thread a Delivery lives on.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::atomic::{AtomicU64, Ordering},
};

use actix::{Actor, Addr};
use actix_rt::ArbiterHandle;

use crate::{
    deliver::{Birth, Delivery, Parts},
    endpoint::EndpointKey,
    transport::{Transport, TransportFactory},
};

/// The threads that Deliveries live on. An endpoint has its thread for good: its key names it.
pub struct Placement {
    lanes: Vec<Lane>,
    transport: TransportFactory,
}

/// One thread, with a transport of its own.
struct Lane {
    arbiter: ArbiterHandle,
    id: u64,
}

static LANES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The transport of each lane that this thread serves: it is made here and never leaves.
    static TRANSPORTS: RefCell<HashMap<u64, Rc<dyn Transport>>> = RefCell::default();
}

impl Placement {
    /// Spreads Deliveries over `arbiters`, of which there must be one at least.
    pub fn new(arbiters: impl IntoIterator<Item = ArbiterHandle>, transport: TransportFactory) -> Self {
        let lane = |arbiter| Lane { arbiter, id: LANES.fetch_add(1, Ordering::Relaxed) };
        Self { lanes: arbiters.into_iter().map(lane).collect(), transport }
    }

    /// Starts a Delivery on the thread of its endpoint.
    pub fn start(&self, birth: Birth, parts: Parts) -> Option<Addr<Delivery>> {
        let Lane { arbiter, id } = self.lane(birth.endpoint.key)?;
        let (id, make) = (*id, self.transport.clone());
        Some(Delivery::start_in_arbiter(arbiter, move |_| Delivery::new(birth, parts, transport(id, &make))))
    }

    /// Runs `work` on the thread of an endpoint, with the transport there. Tells whether that thread is there.
    pub fn run<F: Future<Output = ()> + 'static>(
        &self,
        endpoint: EndpointKey,
        work: impl FnOnce(Rc<dyn Transport>) -> F + Send + 'static,
    ) -> bool {
        let Some(Lane { arbiter, id }) = self.lane(endpoint) else { return false };
        let (id, make) = (*id, self.transport.clone());
        arbiter.spawn_fn(move || drop(actix_rt::spawn(work(transport(id, &make)))))
    }

    fn lane(&self, EndpointKey(key): EndpointKey) -> Option<&Lane> {
        let place = usize::try_from(key).unwrap_or(0).checked_rem(self.lanes.len())?;
        self.lanes.get(place)
    }
}

/// The transport of a lane that this thread serves, made at its first use.
fn transport(lane: u64, make: &TransportFactory) -> Rc<dyn Transport> {
    TRANSPORTS.with_borrow_mut(|all| Rc::clone(all.entry(lane).or_insert_with(|| make())))
}
