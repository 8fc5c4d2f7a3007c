//! Who was told what: events by their numbers, when they were acknowledged, and when they arrived where they belong.
//!
//! Times are microseconds since the start of the command; 0 stands for "not yet".

/// How events are spread: each group of `fan_out` endpoints has a topic of its own, and events take turns between groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fan {
    pub(super) endpoints: usize,
    pub(super) fan_out: usize,
}

impl Fan {
    pub(super) fn groups(self) -> usize {
        self.endpoints.checked_div(self.fan_out).unwrap_or(0).max(1)
    }

    /// The group whose endpoints get an event.
    pub(super) fn group_of(self, event: usize) -> usize {
        event.checked_rem(self.groups()).unwrap_or(0)
    }

    /// The group of an endpoint, and its place in it.
    pub(super) fn place_of(self, endpoint: usize) -> (usize, usize) {
        (endpoint.checked_div(self.fan_out).unwrap_or(0), endpoint.checked_rem(self.fan_out).unwrap_or(0))
    }

    /// How many events fit the ledger.
    pub(super) fn most_events(self) -> usize {
        MAX_DELIVERIES.checked_div(self.fan_out).unwrap_or(MAX_DELIVERIES)
    }
}

/// Most deliveries that one run keeps account of: 80 MB.
const MAX_DELIVERIES: usize = 20_000_000;

/// What became of publishing one event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// When its request was written, or was to be written.
    pub(super) begun: u32,
    /// When its 202 was read.
    pub(super) acknowledged: u32,
}

/// What came to the receiver and was answered 200.
#[derive(Debug)]
pub(super) struct Arrivals {
    fan: Fan,
    /// When each delivery came first: event by event, in each the places of its group.
    first: Vec<u32>,
    /// Different deliveries.
    pub(super) arrived: usize,
    /// Deliveries that had come before.
    pub(super) repeated: usize,
    /// Events that nobody published, or at an endpoint that should not have them.
    pub(super) foreign: usize,
    /// When the last different one came.
    pub(super) last: u32,
}

impl Arrivals {
    pub(super) fn new(fan: Fan) -> Self {
        Self { fan, first: Vec::new(), arrived: 0, repeated: 0, foreign: 0, last: 0 }
    }

    /// An event came to an endpoint.
    pub(super) fn note(&mut self, event: usize, endpoint: usize, at: u32) {
        let (group, place) = self.fan.place_of(endpoint);
        if endpoint >= self.fan.endpoints || event >= self.fan.most_events() || self.fan.group_of(event) != group {
            self.foreign += 1;
            return;
        }
        let slot = event * self.fan.fan_out + place;
        self.first.resize(self.first.len().max(slot + 1), 0);
        match self.first.get_mut(slot) {
            Some(first) if *first == 0 => {
                *first = at.max(1);
                self.arrived += 1;
                self.last = at.max(self.last);
            }
            _ => self.repeated += 1,
        }
    }

    /// When an event came first to each endpoint of its group.
    fn of(&self, event: usize) -> impl Iterator<Item = u32> + '_ {
        let slots = event * self.fan.fan_out..(event + 1) * self.fan.fan_out;
        slots.map(|slot| self.first.get(slot).copied().unwrap_or(0))
    }
}

/// The account at the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Balance {
    pub(super) acknowledged: usize,
    /// Deliveries of acknowledged events that arrived, and that did not.
    pub(super) delivered: usize,
    pub(super) lost: usize,
    /// When the last event was acknowledged.
    pub(super) last_acknowledged: u32,
    /// From an event's request to its 202.
    pub(super) to_acknowledged: Vec<u32>,
    /// From an event's request to its receipt, for each delivery.
    pub(super) to_received: Vec<u32>,
    /// From its 202 to its receipt; 0 where it came before.
    pub(super) after_acknowledged: Vec<u32>,
}

impl Balance {
    /// Compares what was acknowledged with what arrived; the times are in order.
    pub(super) fn of(sent: &[Sent], arrivals: &Arrivals) -> Self {
        let mut balance = Self::default();
        for (event, sent) in sent.iter().enumerate().filter(|(_, sent)| sent.acknowledged > 0) {
            balance.acknowledged += 1;
            balance.last_acknowledged = balance.last_acknowledged.max(sent.acknowledged);
            balance.to_acknowledged.push(sent.acknowledged.saturating_sub(sent.begun));
            for at in arrivals.of(event) {
                if at == 0 {
                    balance.lost += 1;
                    continue;
                }
                balance.delivered += 1;
                balance.to_received.push(at.saturating_sub(sent.begun));
                balance.after_acknowledged.push(at.saturating_sub(sent.acknowledged));
            }
        }
        for times in [&mut balance.to_acknowledged, &mut balance.to_received, &mut balance.after_acknowledged] {
            times.sort_unstable();
        }
        balance
    }
}

/// The shares of times that are shown.
pub(super) const QUANTILES: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)];

/// The smallest of the ordered times that at least `share` of them do not exceed.
pub(super) fn quantile(ordered: &[u32], share: f64) -> Option<u32> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a count of at most 20 million"
    )]
    let rank = (ordered.len() as f64 * share).ceil() as usize;
    ordered.get(rank.max(1) - 1).or(ordered.last()).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(times: &[(u32, u32)]) -> Vec<Sent> {
        times.iter().map(|&(begun, acknowledged)| Sent { begun, acknowledged }).collect()
    }

    #[test]
    fn what_is_acknowledged_and_does_not_arrive_everywhere_is_lost() {
        let mut arrivals = Arrivals::new(Fan { endpoints: 4, fan_out: 2 });
        // Of event 0 one of two, of event 1 both, one of them twice; event 2 was never acknowledged.
        arrivals.note(0, 0, 100);
        arrivals.note(1, 2, 110);
        arrivals.note(1, 3, 140);
        arrivals.note(1, 3, 150);
        arrivals.note(2, 1, 160);
        let balance = Balance::of(&sent(&[(10, 50), (20, 120), (30, 0)]), &arrivals);
        assert_eq!((balance.acknowledged, balance.delivered, balance.lost), (2, 3, 1));
        assert_eq!((arrivals.arrived, arrivals.repeated, arrivals.foreign), (4, 1, 0));
        assert_eq!(balance.to_acknowledged, [40, 100]);
        assert_eq!(balance.to_received, [90, 90, 120]);
        assert_eq!(balance.after_acknowledged, [0, 20, 50]);
        assert_eq!((balance.last_acknowledged, arrivals.last), (120, 160));
    }

    #[test]
    fn an_event_where_it_does_not_belong_is_no_delivery() {
        let mut arrivals = Arrivals::new(Fan { endpoints: 4, fan_out: 2 });
        arrivals.note(0, 2, 1);
        arrivals.note(1, 0, 1);
        arrivals.note(0, 4, 1);
        arrivals.note(usize::MAX, 1, 1);
        assert_eq!((arrivals.arrived, arrivals.foreign), (0, 4));
        assert_eq!(Balance::of(&sent(&[(1, 2)]), &arrivals).lost, 2);
    }

    #[test]
    fn quantiles_are_times_that_were_measured() {
        let times: Vec<u32> = (1..=1000).collect();
        let all = QUANTILES.map(|(_, share)| quantile(&times, share).unwrap());
        assert_eq!(all, [500, 900, 990, 999, 1000]);
        assert_eq!(QUANTILES.map(|(_, share)| quantile(&[7], share)), [Some(7); 5]);
        assert_eq!(quantile(&[], 0.5), None);
    }

    proptest! {
        #[test]
        fn every_event_of_every_group_has_a_slot_of_its_own(groups in 1usize..20, fan_out in 1usize..8, events in 1usize..60) {
            let fan = Fan { endpoints: groups * fan_out, fan_out };
            let mut arrivals = Arrivals::new(fan);
            for event in 0..events {
                for endpoint in 0..fan.endpoints {
                    arrivals.note(event, endpoint, 1);
                }
            }
            prop_assert_eq!(arrivals.arrived, events * fan_out);
            prop_assert_eq!(arrivals.repeated, 0);
            prop_assert_eq!(arrivals.foreign, events * (fan.endpoints - fan_out));
        }
    }
}
