//! How often callers were refused, and what that calls for: bounded in memory and in what is logged, and no way to lock
//! anybody out who has a right token, as such a one is never asked about here.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use crate::clock::Mono;

/// What is counted is counted so long.
const MINUTE: Duration = Duration::from_secs(60);
/// Wrong tokens of one address in a minute that are answered as such.
const WRONG: u32 = 20;
/// Addresses that are counted on their own; all others are counted together.
const PEERS: usize = 4096;
/// Refusals in a minute that are logged.
const LINES: u64 = 20;
/// Bytes of what a caller wrote that are logged.
const SHOWN: usize = 255;

/// The refusals of this minute.
#[derive(Debug, Default)]
pub(super) struct Denials {
    since: Mono,
    /// Wrong tokens, by where they came from.
    wrong: HashMap<Option<IpAddr>, u32>,
    /// The same of those for whom there is no room.
    others: u32,
    lines: Lines,
}

/// The lines of this minute about callers of one kind.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    since: Mono,
    logged: u64,
    /// Those that were not logged, since one last was.
    unlogged: u64,
}

/// What one refusal calls for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Denied {
    /// Too many: to be answered so, with the time after which another one is taken for what it is.
    pub(super) retry_after: Option<Duration>,
    /// It is to be logged, with how many were not since the last that was.
    pub(super) log: Option<u64>,
}

impl Denials {
    /// Counts a refusal. Only a token that is `wrong` counts against `peer`; none at all is no try.
    pub(super) fn count(&mut self, peer: Option<IpAddr>, wrong: bool, now: Mono) -> Denied {
        if now.since(self.since) >= MINUTE {
            let lines = std::mem::take(&mut self.lines);
            *self = Self { since: now, lines, ..Self::default() };
        }
        let tries = if wrong { self.tries(peer) } else { 0 };
        let left = MINUTE.saturating_sub(now.since(self.since));
        Denied { retry_after: (tries > WRONG).then_some(left), log: self.lines.take(now) }
    }

    fn tries(&mut self, peer: Option<IpAddr>) -> u32 {
        let peer = peer.map(network);
        let room = self.wrong.len() < PEERS || self.wrong.contains_key(&peer);
        let tries = if room { self.wrong.entry(peer).or_default() } else { &mut self.others };
        *tries = tries.saturating_add(1);
        *tries
    }
}

impl Lines {
    /// Whether one more is to be logged, and with how many that were not.
    pub(crate) fn take(&mut self, now: Mono) -> Option<u64> {
        if now.since(self.since) >= MINUTE {
            *self = Self { since: now, logged: 0, unlogged: self.unlogged };
        }
        if self.logged >= LINES {
            self.unlogged = self.unlogged.saturating_add(1);
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.unlogged))
    }
}

/// As much of a text of a stranger's as is logged.
pub(crate) fn excerpt(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SHOWN)).unwrap_or_default()
}

/// One customer of an IPv6 network has at least a /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => IpAddr::V6(Ipv6Addr::from_bits(peer.to_bits() >> 64 << 64)),
        peer => peer,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::from_start(Duration::from_secs(seconds))
    }

    fn peer(n: u32) -> Option<IpAddr> {
        Some(std::net::Ipv4Addr::from_bits(n).into())
    }

    #[test]
    fn the_tries_of_one_address_are_taken_for_what_they_are_so_many_times_a_minute() {
        let mut denials = Denials::default();
        for _ in 0..WRONG {
            assert_eq!(denials.count(peer(1), true, at(10)).retry_after, None);
        }
        assert_eq!(denials.count(peer(1), true, at(20)).retry_after, Some(Duration::from_secs(40)));
        assert_eq!(denials.count(peer(2), true, at(20)).retry_after, None, "another address");
        assert_eq!(denials.count(peer(1), false, at(20)).retry_after, None, "no token is no try");
        assert_eq!(denials.count(peer(1), true, at(60)).retry_after, None, "another minute");
    }

    #[test]
    fn a_network_is_one_caller() {
        let mut denials = Denials::default();
        let peer = |n: u16| Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, n).into());
        let last = (0..=WRONG).map(|n| denials.count(peer(n.try_into().unwrap()), true, at(1))).last();
        assert!(last.unwrap().retry_after.is_some());
        let elsewhere = Some(Ipv6Addr::new(0x2001, 0xdb8, 0, 8, 0, 0, 0, 1).into());
        assert_eq!(denials.count(elsewhere, true, at(1)).retry_after, None);
    }

    #[test]
    fn an_excerpt_is_short_and_ends_between_letters() {
        assert_eq!(excerpt("a host"), "a host");
        assert_eq!(excerpt(&"ä".repeat(1000)), "ä".repeat(127));
    }

    #[test]
    fn what_is_not_logged_is_told_with_the_next_line() {
        let mut denials = Denials::default();
        let lines: Vec<_> = (0..LINES + 3).map(|_| denials.count(None, false, at(1)).log).collect();
        let logged = usize::try_from(LINES).unwrap();
        assert!(lines[..logged].iter().all(|line| *line == Some(0)) && lines[logged..].iter().all(Option::is_none));
        assert_eq!(denials.count(None, false, at(61)).log, Some(3));
        assert_eq!(denials.count(None, false, at(61)).log, Some(0));
    }

    proptest! {
        #[test]
        fn memory_lines_and_tries_are_bounded_whoever_tries(
            tries in prop::collection::vec((0..20_000_u32, 0..3_u64), 1..6000)
        ) {
            let (mut denials, mut now, mut minute, mut lines) = (Denials::default(), 0, 0, 0);
            let mut taken: HashMap<u32, u32> = HashMap::new();
            for (n, (from, pause)) in tries.into_iter().enumerate() {
                now += if n % 100 == 0 { pause } else { 0 };
                if now - minute >= 60 {
                    (minute, lines) = (now, 0);
                    taken.clear();
                }
                let denied = denials.count(peer(from), true, at(now));
                lines += u64::from(denied.log.is_some());
                let taken = taken.entry(from).or_default();
                *taken += u32::from(denied.retry_after.is_none());
                prop_assert!(*taken <= WRONG && lines <= LINES && denials.wrong.len() <= PEERS);
                prop_assert!(denied.retry_after.is_none_or(|wait| wait <= MINUTE && wait > Duration::ZERO));
            }
        }
    }
}
