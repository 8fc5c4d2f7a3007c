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
        let EndpointKey(key) = birth.endpoint.key;
        let place = usize::try_from(key).unwrap_or(0).checked_rem(self.lanes.len())?;
        let Lane { arbiter, id } = self.lanes.get(place)?;
        let (id, make) = (*id, self.transport.clone());
        Some(Delivery::start_in_arbiter(arbiter, move |_| {
            let transport = TRANSPORTS.with_borrow_mut(|all| Rc::clone(all.entry(id).or_insert_with(|| make())));
            Delivery::new(birth, parts, transport)
        }))
    }
}
