//! Which addresses a request may reach: the protection against server-side request forgery.
//!
//! An endpoint's URL is judged when it is saved, so that its owner learns of a mistake at once ([`judge_url`]); and every
//! address is judged again when a connection is made ([`judge`]), because only that answer cannot be changed by a name
//! server in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

use crate::endpoint::policy::Guard;

/// An address that must not be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ip} must not be reached: {reason}")]
pub struct Blocked {
    /// The address, as it was given.
    pub ip: IpAddr,
    /// What it is.
    pub reason: &'static str,
}

impl Blocked {
    /// What the address is, in one word for the metrics.
    pub fn label(&self) -> &'static str {
        match self.reason {
            METADATA => "metadata",
            LINK_LOCAL => "link_local",
            THIS_MACHINE => "loopback",
            _ => "not_global",
        }
    }
}

/// Whether `guard` lets a request reach `ip`. An IPv4-mapped IPv6 address is judged as the IPv4 address; one that a gateway
/// turns into IPv4 (NAT64, 6to4) is never global, and no way to a confidential one.
///
/// # Errors
/// When it does not.
pub fn judge(ip: IpAddr, guard: Guard) -> Result<(), Blocked> {
    let plain = ip.to_canonical();
    let confidential = || confidential(plain).or_else(|| confidential(embedded(plain)));
    let reason = match guard {
        Guard::Private => confidential(),
        Guard::PrivateNoLoopback => confidential().or_else(|| here(plain)).or_else(|| here(embedded(plain))),
        Guard::PublicAndLoopback if here(plain).is_some() => None,
        Guard::Public | Guard::PublicAndLoopback => confidential().or_else(|| local(plain)),
    };
    reason.map_or(Ok(()), |reason| Err(Blocked { ip, reason }))
}

/// Whether `guard` lets an endpoint have `url`: http or https, a host, no user info, a port that can be reached, and not
/// plainly a forbidden address. Names other than `localhost` and those below it are judged when they have been resolved.
///
/// # Errors
/// With what is wrong and what would be right.
pub fn judge_url(url: &Url, guard: Guard) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not carry a user or password; use `auth`".into());
    }
    if url.port() == Some(0) {
        return Err("must not have port 0".into());
    }
    let ip = match url.host() {
        None | Some(Host::Domain("")) => return Err("must name a host".into()),
        Some(Host::Ipv4(ip)) => ip.into(),
        Some(Host::Ipv6(ip)) => ip.into(),
        Some(Host::Domain(name)) if is_localhost(name) => Ipv4Addr::LOCALHOST.into(),
        Some(Host::Domain(_)) => return Ok(()),
    };
    judge(ip, guard).map_err(|blocked| blocked.to_string())
}

/// `localhost` and everything below it (RFC 6761 6.3), with and without the dot of the root.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(a: u16, b: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix))
}

const fn host6(a: u16, b: u16, h: u16) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, h), 128))
}

const METADATA: &str = "it serves cloud metadata";
const LINK_LOCAL: &str = "it is link-local";
const THIS_MACHINE: &str = "it is this machine, which is allowed only with --allow-loopback";
const NOT_GLOBAL: &str = "it is not a global address";

/// What no endpoint may reach, also inside a private network: addresses that hand credentials to whoever asks.
const CONFIDENTIAL: [(IpNet, &str); 10] = [
    (v4(169, 254, 169, 254, 32), METADATA), // AWS, Azure, Google and most others
    (v4(169, 254, 0, 0, 16), LINK_LOCAL),
    (v4(100, 100, 100, 200, 32), METADATA), // Alibaba
    (v4(168, 63, 129, 16, 32), METADATA),   // Azure; a public address
    (v4(192, 0, 0, 192, 32), METADATA),     // Oracle
    (v6(0xfe80, 0, 10), LINK_LOCAL),
    (host6(0xfd00, 0xec2, 0x254), METADATA), // AWS
    (host6(0xfd00, 0xec2, 0x23), METADATA),  // AWS, credentials of pods
    (host6(0xfd20, 0xce, 0x254), METADATA),  // Google
    (host6(0xfd00, 0x42, 0x42), METADATA),   // Scaleway
];

/// IPv4 that is not global: the special-purpose registry of RFC 6890, and multicast.
const LOCAL_V4: [IpNet; 16] = [
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 4),
    v4(240, 0, 0, 0, 4),
    v4(255, 255, 255, 255, 32),
];

/// The only IPv6 that is global, …
const GLOBAL_V6: IpNet = v6(0x2000, 0, 3);

/// … but for these: protocols (Teredo among them), documentation, 6to4.
const LOCAL_V6: [IpNet; 4] = [v6(0x2001, 0, 23), v6(0x2001, 0xdb8, 32), v6(0x2002, 0, 16), v6(0x3fff, 0, 20)];

fn confidential(ip: IpAddr) -> Option<&'static str> {
    CONFIDENTIAL.iter().find_map(|(net, reason)| net.contains(&ip).then_some(*reason))
}

/// Loopback, and the address of nobody: a connection to that goes to loopback.
fn here(ip: IpAddr) -> Option<&'static str> {
    (ip.is_loopback() || ip.is_unspecified()).then_some(THIS_MACHINE)
}

fn local(ip: IpAddr) -> Option<&'static str> {
    let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&ip));
    let local = match ip {
        IpAddr::V4(_) => within(&LOCAL_V4),
        IpAddr::V6(_) => !GLOBAL_V6.contains(&ip) || within(&LOCAL_V6),
    };
    local.then_some(NOT_GLOBAL)
}

/// The IPv4 address that a gateway would make of an IPv6 address (RFC 6052, 3056, 4291 2.5.5.1); any other itself.
fn embedded(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(ip6) = ip else { return ip };
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match ip6.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        _ => ip,
    }
}

#[cfg(test)]
mod tests;
