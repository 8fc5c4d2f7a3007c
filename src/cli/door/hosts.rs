//! Under which names the server may be called.
//!
//! A page in a browser can point a name of its own at this machine (DNS rebinding) and then speak to a server that listens
//! on loopback alone. Its requests carry that name as their host, so a name that is not the server's is refused.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use crate::config::fields::Field;

/// Most names of one server.
const MOST: usize = 64;

/// A host: an address, or a name in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Host {
    Address(IpAddr),
    Name(String),
}

/// The text is no host.
#[derive(Debug)]
pub(in crate::cli) struct NoHost;

impl fmt::Display for NoHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a host without a port, such as \"hooks.example.org\" or \"10.0.0.7\"")
    }
}

impl std::error::Error for NoHost {}

impl FromStr for Host {
    type Err = NoHost;

    fn from_str(text: &str) -> Result<Self, NoHost> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Address(address.to_canonical()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let good = (1..=253).contains(&name.len()) && name.bytes().all(known);
        good.then(|| Self::Name(name.to_ascii_lowercase())).ok_or(NoHost)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl Host {
    /// The host of `host` or `host:port`.
    fn of_authority(authority: &str) -> Result<Self, NoHost> {
        let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
        match authority.rsplit_once(':') {
            Some((host, port)) if is_port(port) && (!host.contains(':') || host.ends_with(']')) => host.parse(),
            _ => authority.parse(),
        }
    }
}

/// The hosts in a list of settings.
pub(in crate::cli) fn read(field: &Field<'_>) -> Option<Vec<Host>> {
    field.parsed(1..=MOST)
}

/// Which hosts a request may name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Hosts {
    /// Every one: the server is reached from elsewhere, and nobody has said by which names.
    Any,
    /// These, whatever the port; and the address that the connection came to.
    Only(Vec<Host>),
}

impl Hosts {
    /// The hosts of a server that listens on `listen` and is known as `named`. On loopback, and wherever names are given,
    /// this machine's own names go as well.
    pub(in crate::cli) fn new(listen: SocketAddr, named: &[Host]) -> Self {
        if named.is_empty() && !listen.ip().to_canonical().is_loopback() {
            return Self::Any;
        }
        let own = ["localhost", "127.0.0.1", "::1"].into_iter().filter_map(|own| own.parse().ok());
        Self::Only(own.chain(named.iter().cloned()).collect())
    }

    /// Whether a request for `authority` (a host, with or without a port) that came to the address `local` may go on.
    pub(super) fn admit(&self, authority: &str, local: Option<IpAddr>) -> bool {
        let Self::Only(hosts) = self else { return true };
        Host::of_authority(authority).is_ok_and(|host| {
            local.is_some_and(|local| host == Host::Address(local.to_canonical())) || hosts.contains(&host)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts(listen: &str, named: &[&str]) -> Hosts {
        let named: Vec<Host> = named.iter().map(|host| host.parse().unwrap()).collect();
        Hosts::new(listen.parse().unwrap(), &named)
    }

    #[test]
    fn on_loopback_only_this_machines_names_go() {
        let local = Some("127.0.0.9".parse().unwrap());
        for listen in ["127.0.0.9:8700", "[::1]:8700", "[::ffff:127.0.0.1]:1"] {
            let hosts = hosts(listen, &[]);
            for good in [
                "localhost",
                "LOCALHOST:1",
                "localhost.",
                "127.0.0.1:8700",
                "127.0.0.1",
                "[::1]:8700",
                "[::1]",
                "127.0.0.9",
                "[::ffff:127.0.0.1]:80",
            ] {
                assert!(hosts.admit(good, local), "{good} at {listen}");
            }
            for bad in [
                "",
                "evil.example",
                "localhost.evil.example:8700",
                "127.0.0.1.evil.example",
                "evil.example:127.0.0.1",
                "localhost:x",
                "localhost:1:2",
                "localhost:123456",
                "evil@localhost",
                "localhost/",
                "localhost..",
                "127.1",
                "2130706433",
                "0x7f.1",
                "10.0.0.7",
                "[::1",
            ] {
                assert!(!hosts.admit(bad, local), "{bad} at {listen}");
            }
        }
    }

    #[test]
    fn elsewhere_every_name_goes_until_some_are_given() {
        assert_eq!(hosts("0.0.0.0:80", &[]), Hosts::Any);
        let given = hosts("0.0.0.0:80", &["Hooks.Example.org"]);
        let local = Some("10.0.0.7".parse().unwrap());
        for good in ["hooks.example.org", "hooks.example.org:443", "localhost", "10.0.0.7:80"] {
            assert!(given.admit(good, local), "{good}");
        }
        assert!(!given.admit("example.org", local) && !given.admit("10.0.0.8", local));
    }

    proptest! {
        #[test]
        fn a_name_is_admitted_with_every_port_or_with_none(name in "[a-z0-9-]{1,20}(\\.[a-z]{2,5}){0,3}", port: u16) {
            let named = hosts("0.0.0.0:80", &[&name]);
            prop_assert!(named.admit(&name, None));
            let (ported, other) = (format!("{name}:{port}"), format!("x{name}x"));
            prop_assert!(named.admit(&ported, None));
            prop_assert!(!named.admit(&other, None));
        }

        #[test]
        fn no_text_is_admitted_but_a_known_host(text in "\\PC{0,30}") {
            let admitted = hosts("127.0.0.1:80", &[]).admit(&text, None);
            let known = ["localhost", "127.0.0.1", "[::1]", "::1"];
            let lower = text.to_ascii_lowercase();
            prop_assert!(!admitted || known.iter().any(|host| lower.starts_with(host)), "{text}");
        }
    }
}
