use std::sync::Arc;

use proptest::prelude::*;

use super::{super::*, *};
use crate::{endpoint::queue::QueuePolicy, event::Event};

#[derive(Clone, Debug)]
enum Op {
    /// A verdict; for each target, whether it is dropped at once.
    Record(Vec<bool>),
    /// An outcome of this one of all deliveries so far.
    Settle(prop::sample::Index),
    Pass(u64),
    Take(bool),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        3 => prop::collection::vec(prop::bool::weighted(0.2), 0..4).prop_map(Op::Record),
        4 => any::<prop::sample::Index>().prop_map(Op::Settle),
        2 => (1..30_u64).prop_map(Op::Pass),
        2 => prop::bool::weighted(0.1).prop_map(Op::Take),
    ];
    prop::collection::vec(op, 1..80)
}

fn verdict(seq: u64, dropped: &[bool]) -> Verdict {
    let event = Event::from_json("t", "1").validate(Timestamp::default()).unwrap();
    let target = |(endpoint, dropped): (i64, &bool)| Target {
        endpoint: EndpointKey(endpoint),
        disposition: match dropped {
            false => Disposition::Deliver,
            true if seq.is_multiple_of(2) => Disposition::Suppress,
            true => Disposition::Drop(DropReason::EndpointDisabled),
        },
        queue: QueuePolicy::default(),
        suppressed: 0,
    };
    let targets: Vec<_> = (1..).zip(dropped).map(target).collect();
    let ruling = if targets.is_empty() { Ruling::Unmatched } else { Ruling::Routed(targets) };
    let event = Arc::new(Accepted::new(seq, Timestamp::default(), event));
    Verdict { event, ruling, debounced: Debounced::default(), released_at: None, permit: None }
}

/// `number` tells settlements apart.
fn settlement(delivery: DeliveryId, number: u32) -> Settlement {
    Settlement { delivery, attempt: None, spent: number, next: Next::Delivered, at: Timestamp::default() }
}

/// A ledger with all that went in and came out.
#[derive(Default)]
struct Run {
    ledger: Ledger,
    millis: u64,
    /// When each verdict was recorded; the first has seq 1.
    recorded: Vec<u64>,
    deliveries: Vec<DeliveryId>,
    settled: Vec<Settlement>,
    /// Since when the oldest settlement without a verdict is held.
    loose_since: Option<u64>,
    verdicts_out: Vec<u64>,
    settled_out: Vec<Settlement>,
}

impl Run {
    fn now(&self) -> Mono {
        Mono::from_start(Duration::from_millis(self.millis))
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Record(dropped) => {
                self.recorded.push(self.millis);
                let seq = self.recorded.len() as u64;
                let id = |endpoint| DeliveryId { seq, endpoint: EndpointKey(endpoint), run: 0 };
                self.deliveries.extend((1..).zip(&dropped).filter(|(_, dropped)| !**dropped).map(|(n, _)| id(n)));
                self.ledger.record(verdict(seq, &dropped), self.now());
            }
            Op::Settle(_) if self.deliveries.is_empty() => {}
            Op::Settle(which) => {
                let delivery = *which.get(&self.deliveries);
                let settlement = settlement(delivery, self.settled.len() as u32);
                if self.verdicts_out.contains(&delivery.seq) {
                    self.loose_since.get_or_insert(self.millis);
                }
                self.settled.push(settlement.clone());
                self.ledger.settle(settlement, self.now());
            }
            Op::Pass(millis) => self.millis += millis,
            Op::Take(all) => self.take(all),
        }
    }

    fn take(&mut self, all: bool) {
        let group = self.ledger.take(self.now(), all);
        self.loose_since = None;
        for held in group.verdicts {
            self.verdicts_out.push(held.verdict.event.seq);
            for (place, outcomes) in held.outcomes.into_iter().enumerate() {
                for outcome in &outcomes {
                    assert_eq!(outcome.delivery.seq, held.verdict.event.seq, "merged into another event's verdict");
                    assert_eq!(outcome.delivery.endpoint.0, place as i64 + 1, "merged into another target");
                }
                self.settled_out.extend(outcomes);
            }
        }
        for settlement in group.settlements {
            assert!(self.verdicts_out.contains(&settlement.delivery.seq), "came out before its verdict");
            self.settled_out.push(settlement);
        }
    }

    /// The oldest thing held went in at this moment.
    fn oldest(&self) -> Option<u64> {
        self.recorded.get(self.verdicts_out.len()).copied().into_iter().chain(self.loose_since).min()
    }
}

proptest! {
    #[test]
    fn verdicts_come_out_in_order_without_gaps(ops in ops()) {
        let mut run = Run::default();
        for op in ops.into_iter().chain([Op::Take(true)]) {
            run.apply(op);
            let so_far: Vec<u64> = (1..=run.verdicts_out.len() as u64).collect();
            prop_assert_eq!(&run.verdicts_out, &so_far);
        }
        prop_assert_eq!(run.verdicts_out.len(), run.recorded.len());
    }

    #[test]
    fn every_settlement_comes_out_once_with_its_verdict_or_after_it(ops in ops()) {
        let mut run = Run::default();
        ops.into_iter().chain([Op::Take(true)]).for_each(|op| run.apply(op));
        let of = |delivery: DeliveryId, all: &[Settlement]| {
            all.iter().filter(|one| one.delivery == delivery).map(|one| one.spent).collect::<Vec<_>>()
        };
        prop_assert_eq!(run.settled.len(), run.settled_out.len());
        for delivery in &run.deliveries {
            prop_assert_eq!(of(*delivery, &run.settled), of(*delivery, &run.settled_out), "oldest first");
        }
    }

    #[test]
    fn what_is_due_is_the_oldest_thing_and_taking_then_leaves_nothing_overdue(ops in ops()) {
        let mut run = Run::default();
        for op in ops {
            run.apply(op);
            let due = run.oldest().map(|since| Mono::from_start(Duration::from_millis(since) + WAIT));
            prop_assert_eq!(run.ledger.due(), due);
            if due.is_some_and(|due| due <= run.now()) {
                run.take(false);
                prop_assert!(run.ledger.due().is_none_or(|due| due > run.now()));
            }
        }
    }

    #[test]
    fn taking_all_leaves_it_empty(ops in ops()) {
        let mut run = Run::default();
        ops.into_iter().for_each(|op| run.apply(op));
        run.take(true);
        prop_assert!(run.ledger.due().is_none() && run.ledger.len() == 0 && run.ledger.places.is_empty());
        prop_assert!(run.ledger.take(run.now(), true).is_empty());
    }
}

#[test]
fn a_verdict_on_an_event_that_was_held_gets_its_own_outcomes_and_moves_nothing_forward() {
    let mut run = Run::default();
    run.apply(Op::Record(vec![]));
    run.apply(Op::Record(vec![false]));
    run.apply(Op::Take(true));
    assert_eq!(run.ledger.take(run.now(), true).judged_through(), None);
    run.apply(Op::Record(vec![false]));
    run.ledger.record(Verdict { released_at: Some(Timestamp::default()), ..verdict(1, &[false]) }, run.now());
    let id = |seq| DeliveryId { seq, endpoint: EndpointKey(1), run: 0 };
    run.ledger.settle(settlement(id(1), 0), run.now());
    run.ledger.settle(settlement(id(3), 0), run.now());
    let group = run.ledger.take(run.now(), false);
    assert_eq!(group.judged_through(), Some(3));
    let outcomes: Vec<_> =
        group.verdicts.iter().map(|held| (held.verdict.event.seq, held.outcomes[0][0].delivery.seq)).collect();
    assert_eq!(outcomes, [(3, 3), (1, 1)]);
}

#[test]
fn windows_keep_their_place_between_verdicts_also_when_a_group_is_written_later() {
    let window = |key: &str| WindowChange { rule: "r".to_owned(), key: key.to_owned(), slot: None };
    let kept = |window| Debounced { windows: vec![window], ..Debounced::default() };
    let keys = |windows: &[WindowChange]| windows.iter().map(|one| one.key.clone()).collect::<Vec<_>>();
    let mut run = Run::default();
    run.ledger.keep_debounced(kept(window("a")), run.now());
    assert_eq!(run.ledger.due(), Some(run.now().after(WAIT)));
    run.apply(Op::Record(vec![]));
    run.ledger.keep_debounced(kept(window("b")), run.now());
    let mut group = run.ledger.take(run.now(), true);
    assert_eq!(
        (keys(&group.debounced.windows), keys(&group.verdicts[0].verdict.debounced.windows)),
        (vec!["a".to_owned()], vec!["b".to_owned()])
    );
    run.ledger.keep_debounced(kept(window("c")), run.now());
    group.append(run.ledger.take(run.now(), true));
    assert_eq!(keys(&group.verdicts[0].verdict.debounced.windows), ["b", "c"]);
}

#[test]
fn a_complete_verdict_need_not_wait_and_an_incomplete_one_holds_back_later_ones() {
    let mut run = Run::default();
    run.apply(Op::Record(vec![false]));
    run.apply(Op::Record(vec![]));
    run.take(false);
    assert_eq!(run.verdicts_out, [0; 0]);
    let first = run.deliveries[0];
    run.ledger.settle(settlement(first, 0), run.now());
    run.take(false);
    assert_eq!(run.verdicts_out, [1, 2]);
}
