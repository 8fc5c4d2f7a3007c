//! Which addresses a request may reach: the protection against server-side request forgery.
//!
//! An endpoint's URL is judged when it is saved, so that its owner learns of a mistake at once ([`judge_url`]); and every
//! address is judged again when a connection is made ([`judge`]), because only that answer cannot be changed by a name
//! server in between.

mod allow;
mod networks;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use url::{Host, Url};

pub use self::allow::{Allowed, ParseAllowedError};
use self::networks::{LINK_LOCAL, METADATA, confidential, embedded, is_global};
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
            THIS_SERVER => "own_server",
            _ => "not_global",
        }
    }
}

const THIS_MACHINE: &str = "it is this machine, which is allowed only with --allow-loopback or `guard_allow`";
const THIS_SERVER: &str = "Hookmill itself listens there";
const NOT_GLOBAL: &str = "it is not a global address";
pub(crate) const NOT_HTTPS: &str = "must begin with https://: the operator allows nothing else";

/// What an operator and the machine add to the guards.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// What every endpoint may reach.
    pub allow: &'a [Allowed],
    /// The addresses of this machine's own interfaces.
    pub own: &'a [IpAddr],
    /// Where this server listens. Nobody reaches that.
    pub listening: &'a [SocketAddr],
    /// Whether only endpoints whose guard is [`Guard::Private`] may have an `http` URL.
    pub https_only: bool,
}

impl Surroundings<'_> {
    /// Loopback, the address of nobody (a connection to that goes to loopback), and those of the machine's interfaces.
    fn is_here(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || ip.is_unspecified() || self.own.contains(&ip)
    }

    fn listens(&self, ip: IpAddr, port: u16) -> bool {
        self.listening.iter().filter(|own| own.port() == port).any(|own| match own.ip().to_canonical() {
            own if own.is_unspecified() => self.is_here(ip) && (own.is_ipv6() || ip.is_ipv4()),
            own => own == ip || (own.is_loopback() && ip.is_unspecified()),
        })
    }

    fn allows(&self, address: SocketAddr) -> bool {
        self.allow.iter().any(|allowed| allowed.has(address))
    }
}

/// Whether `guard` lets a request reach `address`. An IPv4-mapped IPv6 address is judged as the IPv4 address; one that a gateway
/// or a tunnel turns into IPv4 (NAT64, 6to4, Teredo, ISATAP) leads nowhere that the IPv4 address would not, and is never global.
///
/// # Errors
/// When it does not.
pub fn judge(address: SocketAddr, guard: Guard, around: &Surroundings<'_>) -> Result<(), Blocked> {
    let (plain, port) = (address.ip().to_canonical(), address.port());
    let others = embedded(plain);
    let meanings = || [plain].into_iter().chain(others.iter().copied());
    let reason = if meanings().any(|ip| around.listens(ip, port)) {
        Some(THIS_SERVER)
    } else if around.allows(SocketAddr::new(plain, port)) {
        None
    } else if let Some(reason) = meanings().find_map(confidential) {
        Some(reason)
    } else {
        let here = || meanings().any(|ip| around.is_here(ip)).then_some(THIS_MACHINE);
        let local = || (!meanings().all(is_global)).then_some(NOT_GLOBAL);
        match guard {
            Guard::Private => None,
            Guard::PrivateNoLoopback => here(),
            Guard::PublicAndLoopback if around.is_here(plain) => None,
            Guard::Public | Guard::PublicAndLoopback => here().or_else(local),
        }
    };
    reason.map_or(Ok(()), |reason| Err(Blocked { ip: address.ip(), reason }))
}

/// Whether `guard` lets an endpoint have `url`: http or https, a host, no user info, a port that can be reached, and not
/// plainly a forbidden address. Names other than `localhost` and those below it are judged when they have been resolved.
///
/// # Errors
/// With what is wrong and what would be right.
pub fn judge_url(url: &Url, guard: Guard, around: &Surroundings<'_>) -> Result<(), String> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://".into());
    }
    judge_scheme(url, guard, around)?;
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
        Some(Host::Domain(name)) if has_empty_label(name) => {
            return Err("must name a host: this one has two dots in a row".into());
        }
        Some(Host::Domain(name)) if is_localhost(name) => Ipv4Addr::LOCALHOST.into(),
        Some(Host::Domain(_)) => return Ok(()),
    };
    let address = SocketAddr::new(ip, url.port_or_known_default().unwrap_or_default());
    judge(address, guard, around).map_err(|blocked| blocked.to_string())
}

/// Whether `guard` lets a request be made without TLS, where `url` says so.
///
/// # Errors
/// When it does not.
pub fn judge_scheme(url: &Url, guard: Guard, around: &Surroundings<'_>) -> Result<(), &'static str> {
    let refused = around.https_only && guard != Guard::Private && url.scheme() != "https";
    if refused { Err(NOT_HTTPS) } else { Ok(()) }
}

/// No name has one, but for the root at its end. With it an address or `localhost` looks like any other name.
fn has_empty_label(name: &str) -> bool {
    name.strip_suffix('.').unwrap_or(name).split('.').any(str::is_empty)
}

/// `localhost` and everything below it (RFC 6761 6.3), with and without the dot of the root.
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests;
