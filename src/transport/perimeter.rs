//! What one process may reach: what its operator says, and the machine it runs on.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tracing::warn;
use url::Url;

use super::guard::{self, Allowed, Blocked, Surroundings};
use crate::{
    clock::{Clock, Mono},
    endpoint::policy::Guard,
    store::Peer,
};

/// How long the addresses of the interfaces are believed.
const BELIEVED: Duration = Duration::from_secs(5);

/// Judges addresses for one process, when an endpoint is saved and at each connection.
#[derive(Debug, Default)]
pub struct Perimeter {
    /// What every endpoint may reach, whatever its guard.
    pub(crate) allow: Vec<Allowed>,
    /// Whether only endpoints with the guard [`Guard::Private`] may have an `http` URL.
    pub(crate) https_only: bool,
    /// Where this process listens: no endpoint reaches that.
    pub(crate) listening: Vec<SocketAddr>,
    interfaces: Interfaces,
}

impl Perimeter {
    /// What every endpoint may reach, whatever its guard; and whether only endpoints with the guard [`Guard::Private`] may have an
    /// `http` URL.
    pub fn new(allow: Vec<Allowed>, https_only: bool) -> Self {
        Self { allow, https_only, ..Self::default() }
    }

    /// Tells where this process listens: no endpoint reaches that.
    #[must_use]
    pub fn listening_on(mut self, address: SocketAddr) -> Self {
        self.listening.push(address);
        self
    }

    /// Whether `guard` lets a request reach `address`.
    ///
    /// # Errors
    /// When it does not.
    pub fn judge(&self, address: SocketAddr, guard: Guard) -> Result<(), Blocked> {
        guard::judge(address, guard, &self.surroundings(&self.interfaces.addresses()))
    }

    /// The same for an address that is this machine's, whether one of its interfaces has it or not.
    pub(super) fn judge_as_own(&self, address: SocketAddr, guard: Guard) -> Result<(), Blocked> {
        guard::judge(address, guard, &self.surroundings(&[address.ip().to_canonical()]))
    }

    /// What is recorded of a connection to `address` whose own end is `local`. Nothing that the operator allows makes an address
    /// public, and none of this machine's is.
    pub(super) fn peer(&self, address: SocketAddr, local: Option<IpAddr>) -> Peer {
        let own = self.interfaces.addresses();
        let around = Surroundings { allow: &[], ..self.surroundings(&own) };
        let public = local != Some(address.ip()) && guard::judge(address, Guard::Public, &around).is_ok();
        Peer { address: SocketAddr::new(address.ip().to_canonical(), address.port()), public }
    }

    /// Whether `guard` lets an endpoint have `url`, as far as can be told without asking for its name.
    ///
    /// # Errors
    /// With what is wrong and what would be right.
    pub fn judge_url(&self, url: &Url, guard: Guard) -> Result<(), String> {
        guard::judge_url(url, guard, &self.surroundings(&self.interfaces.addresses()))
    }

    /// Whether `guard` lets a request go to `url` without TLS, if it says so.
    pub(super) fn judge_scheme(&self, url: &Url, guard: Guard) -> Result<(), &'static str> {
        guard::judge_scheme(url, guard, &self.surroundings(&[]))
    }

    fn surroundings<'a>(&'a self, own: &'a [IpAddr]) -> Surroundings<'a> {
        Surroundings { allow: &self.allow, own, listening: &self.listening, https_only: self.https_only }
    }

    /// With interfaces as `list` tells, always.
    #[cfg(test)]
    pub(super) fn on_a_machine_with(own: &'static [IpAddr]) -> Self {
        let list = Box::new(|| Ok(own.to_vec()));
        Self { interfaces: Interfaces { list, ..Interfaces::default() }, ..Self::default() }
    }
}

/// The addresses of this machine's interfaces. They come and go, so the system is asked every few seconds, when somebody wants
/// to know.
struct Interfaces {
    clock: Clock,
    list: Box<dyn Fn() -> io::Result<Vec<IpAddr>> + Send + Sync>,
    seen: Mutex<Seen>,
}

#[derive(Clone, Default)]
struct Seen {
    at: Option<Mono>,
    addresses: Arc<[IpAddr]>,
}

impl Default for Interfaces {
    fn default() -> Self {
        Self { clock: Clock::system(), list: Box::new(list), seen: Mutex::default() }
    }
}

impl Interfaces {
    fn addresses(&self) -> Arc<[IpAddr]> {
        let now = self.clock.now().mono;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.at.is_none_or(|at| now.since(at) >= BELIEVED) {
            seen.at = Some(now);
            match (self.list)() {
                Ok(addresses) => seen.addresses = addresses.into(),
                // What was seen before still counts, and a connection to this machine is also known by its two ends.
                Err(error) => warn!(%error, "the addresses of this machine's interfaces cannot be read"),
            }
        }
        Arc::clone(&seen.addresses)
    }
}

fn list() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.iter().map(|interface| interface.ip().to_canonical()).collect())
}

impl fmt::Debug for Interfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_tuple("Interfaces").field(&seen.addresses).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_interfaces_of_this_machine_are_found() {
        let found = list().unwrap();
        assert!(found.iter().any(IpAddr::is_loopback), "{found:?}");
    }

    #[test]
    fn a_peer_is_public_whatever_is_allowed_only_where_it_is_a_global_address_of_another_machine() {
        const OWN: &[IpAddr] = &[IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 114, 7))];
        let mut perimeter = Perimeter::on_a_machine_with(OWN);
        perimeter.allow = ["10.0.0.0/8:*", "127.0.0.0/8:*", "203.0.114.7/32:*", "169.254.169.254/32:*", "8.8.8.8/32:*"]
            .map(|network| network.parse().unwrap())
            .to_vec();
        let public = |address: &str, local: Option<&str>| {
            perimeter.peer(address.parse().unwrap(), local.map(|local| local.parse().unwrap())).public
        };
        for address in ["8.8.8.8:443", "1.1.1.1:80", "[2606:4700::1111]:443", "[::ffff:1.1.1.1]:80"] {
            assert!(public(address, Some("10.0.0.7")), "{address}");
        }
        for address in [
            "10.0.0.1:443",
            "127.0.0.1:80",
            "169.254.169.254:80",
            "203.0.114.7:443",
            "[::1]:80",
            "[fd00::1]:80",
            "[::ffff:10.0.0.1]:80",
            "[64:ff9b::a00:1]:80",
        ] {
            assert!(!public(address, None), "{address}");
        }
        assert!(!public("8.8.8.8:443", Some("8.8.8.8")), "a connection that has not left this machine");
        let mapped = perimeter.peer("[::ffff:1.1.1.1]:80".parse().unwrap(), None);
        assert_eq!(mapped.address.to_string(), "1.1.1.1:80");
    }

    #[test]
    fn interfaces_are_asked_again_after_some_seconds_and_those_of_before_count_when_they_cannot_be_read() {
        crate::testing::paused(async {
            let asked = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&asked);
            let list = Box::new(move || match count.fetch_add(1, Ordering::Relaxed) {
                0 => Ok(vec![IpAddr::from([1, 2, 3, 4])]),
                1 => Err(io::Error::other("no")),
                _ => Ok(Vec::new()),
            });
            let interfaces = Interfaces { list, ..Interfaces::default() };
            let seen = || (interfaces.addresses().len(), asked.load(Ordering::Relaxed));
            assert_eq!([seen(), seen()], [(1, 1); 2]);
            tokio::time::advance(BELIEVED).await;
            assert_eq!([seen(), seen()], [(1, 2); 2]);
            tokio::time::advance(BELIEVED).await;
            assert_eq!([seen(), seen()], [(0, 3); 2]);
        });
    }
}
