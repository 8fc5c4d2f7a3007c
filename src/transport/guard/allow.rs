//! What an operator allows beyond the guards.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    str::FromStr,
};

use ipnet::IpNet;

use super::networks;

/// A network and the ports in it that every endpoint may reach, whatever its guard: `10.1.0.0/16:443`,
/// `10.2.3.4/32:8080-8090`, `[fd00::]/8:*`. An address that no guard allows, as those that serve cloud metadata, is allowed only
/// by itself: with `/32`, or `/128`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    network: IpNet,
    ports: RangeInclusive<u16>,
}

impl Allowed {
    /// Whether it allows an address, given as IPv4 where it is one.
    pub(super) fn has(&self, address: SocketAddr) -> bool {
        let (ip, alone) = (address.ip(), self.network.prefix_len() == self.network.max_prefix_len());
        // What a gateway turns into a confidential address is one.
        let confidential =
            || [ip].into_iter().chain(networks::embedded(ip)).any(|ip| networks::confidential(ip).is_some());
        self.network.contains(&ip) && self.ports.contains(&address.port()) && (alone || !confidential())
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            IpNet::V4(network) => write!(f, "{network}:")?,
            IpNet::V6(network) => write!(f, "[{}]/{}:", network.addr(), network.prefix_len())?,
        }
        match (*self.ports.start(), *self.ports.end()) {
            (1, u16::MAX) => f.write_str("*"),
            (first, last) if first == last => write!(f, "{first}"),
            (first, last) => write!(f, "{first}-{last}"),
        }
    }
}

/// The text allows nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAllowedError {
    /// It is not written like one.
    #[error(
        "must be a network and its ports, such as \"10.1.0.0/16:443\", \"10.2.3.4/32:8080-8090\" or \"[fd00::]/8:*\""
    )]
    Form,
    /// The address is not the first of its network.
    #[error("{0} is no network: the first address of it is {1}")]
    Host(IpNet, IpAddr),
    /// It has an IPv6 form of an IPv4 address.
    #[error("must be written as IPv4")]
    Mapped,
}

impl FromStr for Allowed {
    type Err = ParseAllowedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (network, ports) = text.rsplit_once(':').ok_or(ParseAllowedError::Form)?;
        let network = network_of(network).ok_or(ParseAllowedError::Form)?;
        let ports = ports_of(ports).ok_or(ParseAllowedError::Form)?;
        if network.addr() != network.network() {
            return Err(ParseAllowedError::Host(network, network.network()));
        }
        if network.addr().to_canonical() != network.addr() {
            return Err(ParseAllowedError::Mapped);
        }
        Ok(Self { network, ports })
    }
}

/// IPv6 stands in brackets, so that no colon can be mistaken.
fn network_of(text: &str) -> Option<IpNet> {
    let (address, prefix) = text.split_once('/')?;
    let address: IpAddr = match address.strip_prefix('[') {
        Some(inner) => IpAddr::V6(inner.strip_suffix(']')?.parse().ok()?),
        None => IpAddr::V4(address.parse().ok()?),
    };
    IpNet::new(address, number(prefix)?).ok()
}

fn ports_of(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = match text {
        "*" => (1, u16::MAX),
        _ => {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            (number(first)?, number(last)?)
        }
    };
    (1 <= first && first <= last).then_some(first..=last)
}

/// Digits alone; `parse` would take a sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}
