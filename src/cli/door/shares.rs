//! How many connections one address may have: one caller, even without a token, could hold all of them and keep others out.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tracing::warn;

/// Every address may have so many connections, however few there are.
const LEAST: usize = 8;

/// The connections of each address, over all threads.
pub(super) struct Shares {
    share: usize,
    taken: Mutex<HashMap<IpAddr, Taken>>,
}

#[derive(Default)]
struct Taken {
    open: usize,
    /// Whether it was told that there are no more for this address.
    told: bool,
}

/// A connection's place in the share of its address, until dropped.
pub(super) struct Place {
    shares: Arc<Shares>,
    of: IpAddr,
}

impl Shares {
    /// Half of `connections` for each address, but at least 8.
    pub(super) fn of(connections: usize) -> Self {
        Self { share: connections.div_ceil(2).max(LEAST), taken: Mutex::default() }
    }

    /// A place for a connection of `peer`; none when its address has its share.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let of = network(peer);
        let mut all = self.taken();
        let taken = all.entry(of).or_default();
        if taken.open >= self.share {
            if !std::mem::replace(&mut taken.told, true) {
                let share = self.share;
                warn!(event = "connections.share", %peer, share, "further connections of this address are closed");
            }
            return None;
        }
        taken.open += 1;
        Some(Place { shares: Arc::clone(self), of })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, Taken>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.shares.taken();
        if let Some(taken) = all.get_mut(&self.of) {
            taken.open = taken.open.saturating_sub(1);
            if taken.open == 0 {
                all.remove(&self.of);
            }
        }
    }
}

/// What one caller has of addresses: one of IPv4, the 64 bits of a network of IPv6.
fn network(peer: IpAddr) -> IpAddr {
    const HOST: u128 = (1 << 64) - 1;
    match peer.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !HOST)),
        ip @ IpAddr::V4(_) => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(shares: &Arc<Shares>, peer: &str, asked: usize) -> Vec<Place> {
        (0..asked).filter_map(|_| shares.enter(peer.parse().unwrap())).collect()
    }

    #[test]
    fn an_address_has_half_and_the_others_theirs() {
        for (connections, share) in [(1, 8), (16, 8), (17, 9), (1024, 512)] {
            let shares = Arc::new(Shares::of(connections));
            let mut one = places(&shares, "192.0.2.1", 2000);
            assert_eq!(one.len(), share);
            assert_eq!(places(&shares, "::ffff:192.0.2.1", 1).len(), 0, "the same address in another form");
            assert_eq!(places(&shares, "192.0.2.2", 2000).len(), share);
            one.pop();
            assert_eq!(places(&shares, "192.0.2.1", 2).len(), 1);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_caller_and_nothing_is_left_of_who_has_gone() {
        let shares = Arc::new(Shares::of(16));
        let here = [places(&shares, "2001:db8::1", 5), places(&shares, "2001:db8::ffff:2", 5)];
        assert_eq!(here.each_ref().map(Vec::len), [5, 3]);
        assert_eq!(places(&shares, "2001:db8:0:1::1", 5).len(), 5);
        drop(here);
        assert!(shares.taken().is_empty());
    }
}
