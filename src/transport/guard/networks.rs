//! What is known of addresses: which are special, and which stand for another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

pub(super) const METADATA: &str = "it serves cloud metadata";
pub(super) const LINK_LOCAL: &str = "it is link-local";

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

const fn v6(a: u16, b: u16, prefix: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix))
}

const fn host6(a: u16, b: u16, g: u16, h: u16) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, 0, 0, 0, 0, g, h), 128))
}

/// What no endpoint may reach, also inside a private network: addresses that hand credentials to whoever asks.
const CONFIDENTIAL: [(IpNet, &str); 11] = [
    (v4(169, 254, 169, 254, 32), METADATA), // AWS, Azure, Google and most others
    (v4(169, 254, 0, 0, 16), LINK_LOCAL),
    (v4(100, 100, 100, 200, 32), METADATA), // Alibaba
    (v4(168, 63, 129, 16, 32), METADATA),   // Azure; a public address
    (v4(192, 0, 0, 192, 32), METADATA),     // Oracle
    (v6(0xfe80, 0, 10), LINK_LOCAL),
    (host6(0xfd00, 0xec2, 0, 0x254), METADATA),      // AWS
    (host6(0xfd00, 0xec2, 0, 0x23), METADATA),       // AWS, credentials of pods
    (host6(0xfd20, 0xce, 0, 0x254), METADATA),       // Google
    (host6(0xfd00, 0x42, 0, 0x42), METADATA),        // Scaleway
    (host6(0xfd00, 0xc1, 0xa9fe, 0xa9fe), METADATA), // Oracle
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

/// Why nobody may reach it, if that is so.
pub(super) fn confidential(ip: IpAddr) -> Option<&'static str> {
    CONFIDENTIAL.iter().find_map(|(net, reason)| net.contains(&ip).then_some(*reason))
}

pub(super) fn is_global(ip: IpAddr) -> bool {
    let within = |nets: &[IpNet]| nets.iter().any(|net| net.contains(&ip));
    match ip {
        IpAddr::V4(_) => !within(&LOCAL_V4),
        IpAddr::V6(_) => GLOBAL_V6.contains(&ip) && !within(&LOCAL_V6),
    }
}

/// The IPv4 addresses that gateways and tunnels would make of an IPv6 address. One form may be read in several ways; then each
/// counts.
pub(super) fn embedded(ip: IpAddr) -> Vec<IpAddr> {
    let IpAddr::V6(ip6) = ip else { return Vec::new() };
    let v4 = |high: u16, low: u16| (u32::from(high) << 16) | u32::from(low);
    let [_, _, _, b, c, d, e, f] = ip6.segments();
    let mut found = match ip6.segments() {
        // NAT64 with the well-known prefix (RFC 6052).
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => vec![v4(high, low)],
        // NAT64 with local prefixes (RFC 8215), which have the lengths 48, 56, 64 and 96; bits 64 to 71 are left out.
        [0x64, 0xff9b, 1, ..] => {
            let of_48 = (u32::from(b) << 16) | (u32::from(c & 0xff) << 8) | u32::from(d >> 8);
            let of_56 = (u32::from(b & 0xff) << 24) | (u32::from(c & 0xff) << 16) | u32::from(d);
            let of_64 = (u32::from(c & 0xff) << 24) | (u32::from(d) << 8) | u32::from(e >> 8);
            [of_48, of_56, of_64, v4(e, f)].into_iter().filter(|ip| *ip != 0).collect()
        }
        // 6to4 (RFC 3056).
        [0x2002, high, low, ..] => vec![v4(high, low)],
        // Teredo (RFC 4380): the client's, each bit turned.
        [0x2001, 0, .., high, low] => vec![!v4(high, low)],
        // IPv4-compatible (RFC 4291), and translated (RFC 2765).
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => vec![v4(high, low)],
        [0, 0, 0, 0, 0xffff, 0, high, low] => vec![v4(high, low)],
        _ => Vec::new(),
    };
    // ISATAP (RFC 5214), under any prefix.
    if matches!(c, 0 | 0x200) && d == 0x5efe {
        found.push(v4(e, f));
    }
    found.into_iter().map(|bits| Ipv4Addr::from(bits).into()).collect()
}
