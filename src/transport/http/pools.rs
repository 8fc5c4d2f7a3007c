//! Which endpoints share connections: those of one tenant with one guard.
//!
//! awc knows a kept connection by its host alone. A connection that one guard allows must not be lent to an endpoint whose guard does
//! not. And an answer is taken for that of the request before it: a receiver that answers once too often, just when the next request
//! has been written, answers that one. So what it says may only ever be heard by the tenant whose receiver it is.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use awc::{Client, Connector};

use super::super::{
    Network,
    connect::{Dialer, Whose},
    kept::Kept,
    stream::Socket,
};
use crate::endpoint::{Settings, TenantScope, policy::Guard};

/// Who shares connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sharers {
    guard: Guard,
    tenant: TenantScope,
}

/// The pools of an arbiter, and what they keep. A pool is there as long as an exchange goes on in it or a connection is kept.
pub(super) struct Pools {
    network: Network,
    pools: RefCell<HashMap<Sharers, Weak<Pool>>>,
    kept: Kept<Pool>,
}

/// The connections of those who share them.
pub(super) struct Pool {
    of: Weak<Pools>,
    sharers: Sharers,
    client: RefCell<Client>,
    /// Connections that were closed in it: awc keeps what is left of each.
    left: Cell<usize>,
}

impl Pools {
    pub(super) fn new(network: &Network) -> Rc<Self> {
        Rc::new(Self { network: network.clone(), pools: RefCell::default(), kept: Kept::new(network.keep) })
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// The pool of an endpoint.
    pub(super) fn pool(self: &Rc<Self>, Settings { guard, tenant, .. }: &Settings) -> Rc<Pool> {
        let sharers = Sharers { guard: *guard, tenant: tenant.clone() };
        let there = self.pools.borrow().get(&sharers).and_then(Weak::upgrade);
        there.unwrap_or_else(|| {
            let (of, left) = (Rc::downgrade(self), Cell::default());
            let client = RefCell::new(client(&self.network, &of, &sharers));
            let pool = Rc::new(Pool { of, sharers: sharers.clone(), client, left });
            self.pools.borrow_mut().insert(sharers, Rc::downgrade(&pool));
            pool
        })
    }

    /// An exchange on `socket`, of `pool`, has ended.
    pub(super) fn keep(self: &Rc<Self>, socket: &Rc<Socket>, pool: &Rc<Pool>) {
        if self.kept.is_idle(socket, pool) {
            actix_rt::spawn(Kept::watch(Rc::downgrade(self), |pools| &pools.kept, Self::renew));
        }
    }

    /// A connection of `pool` was closed. What is left of such goes with its client once it is more than what uses the pool.
    fn renew(&self, pool: &Rc<Pool>) {
        pool.left.set(pool.left.get() + 1);
        if pool.left.get() > Rc::strong_count(pool) {
            pool.left.set(0);
            let _old = pool.client.replace(client(&self.network, &pool.of, &pool.sharers));
        }
    }

    /// Closes a connection that nobody uses, of `tenant` or of anybody, if there is one.
    fn make_room(&self, tenant: &TenantScope, whose: Whose) -> bool {
        let pool = self.kept.close_one(|pool| whose == Whose::Anybodys || pool.sharers.tenant == *tenant);
        pool.iter().for_each(|pool| self.renew(pool));
        pool.is_some()
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> &Kept<Pool> {
        &self.kept
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.pools.borrow().len()
    }
}

impl Pool {
    pub(super) fn client(&self) -> Client {
        self.client.borrow().clone()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let Some(pools) = self.of.upgrade() else { return };
        let mut pools = pools.pools.borrow_mut();
        if pools.get(&self.sharers).is_some_and(|pool| pool.strong_count() == 0) {
            pools.remove(&self.sharers);
        }
    }
}

fn client(network: &Network, of: &Weak<Pools>, Sharers { guard, tenant }: &Sharers) -> Client {
    /// For awc's own limits: the exchange has its deadline, and each step of the dialer too.
    const NEVER: Duration = Duration::from_secs(24 * 60 * 60);
    let (pools, owner) = (Weak::clone(of), tenant.clone());
    let (names, perimeter) = (network.names.clone(), Arc::clone(&network.perimeter));
    let connector = Connector::new()
        .connector(Dialer {
            guard: *guard,
            tenant: tenant.clone(),
            names,
            perimeter,
            metrics: Arc::clone(&network.metrics),
            sockets: network.sockets.clone(),
            make_room: Rc::new(move |whose| pools.upgrade().is_some_and(|pools| pools.make_room(&owner, whose))),
        })
        .rustls_0_23(network.tls.clone())
        .limit(0)
        .timeout(NEVER)
        .handshake_timeout(NEVER)
        .conn_keep_alive(network.keep);
    Client::builder().connector(connector).disable_timeout().disable_redirects().no_default_headers().finish()
}
