//! Batches, request by request.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    model::{Op, Setting, World},
    receiver::{Weather, status},
    seconds,
};
use crate::{
    deliver::queue::Key,
    endpoint::policy::{Batch, BreakerPolicy, Exhausted, Policy, Retry, RetryWhen},
};

fn batched(max_items: u32) -> Policy {
    let batch = Batch { max_items, ..Batch::default() };
    let retry = Retry { backoff: seconds([5, 5]), jitter: 0.0, ..Retry::default() };
    Policy { batch: Some(batch), in_flight: 1, retry, ..Policy::default() }
}

fn sizes(world: &World) -> Vec<usize> {
    world.requests.iter().map(|(_, keys)| keys.len()).collect()
}

fn last(world: &World) -> Vec<u64> {
    world.requests.last().unwrap().1.iter().map(|(seq, _)| *seq).collect()
}

/// Answers the request that is in flight: 422 when `poison` is in it.
fn judge(world: &mut World, poison: u64) {
    let code = if last(world).contains(&poison) { 422 } else { 200 };
    world.end_first(&status(code, None));
}

#[test]
fn a_full_batch_goes_at_once_and_the_rest_waits_for_the_interval() {
    let mut world = World::roomy(batched(4));
    world.route_and_push(6);
    assert_eq!(sizes(&world), [4]);
    world.finish_all(0);
    world.advance(Duration::from_millis(4999), true);
    assert_eq!(sizes(&world), [4]);
    world.advance(Duration::from_millis(1), true);
    world.finish_all(0);
    assert_eq!(sizes(&world), [4, 2]);
    assert_eq!(world.requests[1].0, Duration::from_secs(5));
    assert_eq!(world.breaches, []);
}

#[test]
fn the_oldest_event_sets_the_time() {
    let mut world = World::roomy(batched(100));
    for _ in 0..10 {
        world.route_and_push(1);
        world.advance(Duration::from_secs(1), true);
    }
    assert_eq!(world.requests[0].0, Duration::from_secs(5));
    // What came at that moment is in it or not; what came before is.
    assert!(matches!(sizes(&world)[0], 5 | 6));
    assert_eq!(world.breaches, []);
}

#[test]
fn bytes_bound_a_batch_and_a_long_event_goes_alone() {
    let batch = Batch { max_bytes: 1000, ..Batch::default() };
    let mut world = World::roomy(Policy { batch: Some(batch), ..batched(1) });
    // 356 bytes each.
    world.route_and_push(5);
    world.apply(Op::Route { count: 1, gap: 1, size: 5000 });
    world.push();
    while world.step(usize::MAX) {}
    assert_eq!(sizes(&world), [2, 2, 1, 1]);
    assert_eq!(world.breaches, []);
}

#[test]
fn a_backlog_in_the_store_drains_without_waiting() {
    let mut world = World::roomy(batched(100));
    world.apply(Op::Pause);
    world.route_and_push(2030);
    world.apply(Op::Restart);
    world.apply(Op::Activate);
    while world.store.delivered.len() < 2000 && world.step(usize::MAX) {}
    assert_eq!(world.now().mono, crate::clock::Mono::default());
    assert_eq!(sizes(&world), [100; 20]);
    while world.step(usize::MAX) {}
    assert_eq!((world.store.delivered.len(), sizes(&world)[20]), (2030, 30));
    assert_eq!(world.requests[20].0, Duration::from_secs(5));
    assert_eq!(world.breaches, []);
}

#[test]
fn a_failed_batch_goes_back_in_front_and_comes_again_as_it_was() {
    let mut world = World::roomy(batched(3));
    world.route_and_push(3);
    world.route_and_push(2);
    world.end_first(&status(500, None));
    world.route_and_push(4);
    world.recover();
    let seqs: Vec<Vec<u64>> =
        world.requests.iter().map(|(_, keys)| keys.iter().map(|(seq, _)| *seq).collect()).collect();
    assert_eq!(seqs, [vec![1, 2, 3], vec![1, 2, 3], vec![4, 5, 6], vec![7, 8, 9]]);
    assert_eq!(world.requests[1].0, Duration::from_secs(5));
    assert_eq!(world.breaches, []);
}

#[test]
fn a_batch_that_failed_is_the_same_batch_after_a_restart() {
    let mut world = World::roomy(batched(3));
    world.route_and_push(3);
    world.end_first(&status(500, None));
    world.route_and_push(1);
    world.apply(Op::Restart);
    world.recover();
    assert_eq!(sizes(&world), [3, 3, 1]);
    assert_eq!(world.breaches, []);
}

#[test]
fn an_event_that_was_refused_alone_and_first_is_judged_as_usual() {
    let mut world = World::roomy(batched(1));
    world.route_and_push(1);
    world.end_first(&status(422, None));
    assert_eq!((world.store.dead.len(), world.store.count_pending()), (0, 1));
    let never = Retry { when: RetryWhen { client_error: false, ..RetryWhen::default() }, ..Retry::default() };
    let mut world = World::roomy(Policy { retry: never, ..batched(1) });
    world.route_and_push(1);
    world.end_first(&status(422, None));
    assert_eq!(world.store.dead.len(), 1);
}

#[test]
fn nothing_waits_for_company_once_it_is_hurried() {
    let mut world = World::roomy(batched(100));
    world.route_and_push(3);
    let now = world.now();
    world.machine.hurry(now);
    world.look();
    assert_eq!(sizes(&world), [3]);
    world.end_first(&status(200, None));
    world.route_and_push(2);
    assert_eq!(sizes(&world), [3, 2]);
    assert_eq!(world.breaches, []);
}

#[test]
fn a_batch_is_one_failure_and_all_its_events_for_the_breaker() {
    let breaker = BreakerPolicy { failures: 2, min_events: 5, ..BreakerPolicy::default() };
    let mut world = World::roomy(Policy { breaker, ..batched(5) });
    world.apply(Op::Weather(Weather::Down));
    world.route_and_push(5);
    world.finish_all(0);
    world.advance(Duration::from_secs(6), true);
    world.finish_all(0);
    assert_eq!(sizes(&world), [5, 5]);
    // Open now; the probe is one event.
    world.advance(Duration::from_secs(40), true);
    assert_eq!(sizes(&world), [5, 5, 1]);
    world.recover();
    assert_eq!(world.store.delivered.len(), 5);
    assert_eq!(world.breaches, []);
}

#[test]
fn the_rate_counts_events() {
    let rate = crate::endpoint::policy::Rate { per_second: 10.0, burst: 1 };
    let mut world = World::roomy(Policy { rate: Some(rate), ..batched(20) });
    world.route_and_push(60);
    while world.step(usize::MAX) {}
    let moments: Vec<_> = world.requests.iter().map(|(moment, _)| moment.as_secs()).collect();
    assert_eq!((sizes(&world), moments), (vec![20, 20, 20], vec![0, 2, 4]));
}

#[test]
fn a_refusal_of_one_that_came_out_of_no_batch_is_a_failure_like_others() {
    let refused_alone = |first: &crate::transport::Answer, exhausted: Exhausted| {
        let retry = Retry { backoff: seconds([5]), jitter: 0.0, exhausted, ..Retry::default() };
        let mut world = World::roomy(Policy { retry, ..batched(4) });
        world.route_and_push(1);
        world.advance(Duration::from_secs(5), true);
        for answer in [first, first, &status(422, None)] {
            world.end_first(answer);
            world.advance(Duration::from_secs(3600), true);
        }
        (world.store.dead.len(), world.requests.len())
    };
    // After a requeue, and after the receiver asked for patience: neither has used an attempt by now.
    assert_eq!(refused_alone(&status(500, None), Exhausted::Requeue), (0, 4));
    let later = status(429, Some(crate::transport::RetryAfter::Delay(Duration::from_secs(1))));
    assert_eq!(refused_alone(&later, Exhausted::DeadLetter), (0, 4));
}

proptest! {
    /// Down to the poison event itself in at most two requests for each halving; all others are delivered, in order, and
    /// with a single attempt of the receiver's that succeeds.
    #[test]
    fn poison_is_isolated_in_few_requests((count, poison) in (2..300_u32).prop_flat_map(|n| (Just(n), 1..=u64::from(n)))) {
        let mut world = World::new(Setting { policy: batched(count), window_bytes: 64 << 20, slots: 4, poison: false });
        for _ in 0..count / 100 {
            world.apply(Op::Route { count: 100, gap: 1, size: 10 });
        }
        world.apply(Op::Route { count: u8::try_from(count % 100).unwrap(), gap: 1, size: 10 });
        world.push();
        while world.store.count_pending() > 0 && !world.in_flight_is_empty() {
            judge(&mut world, poison);
        }
        let halvings = count.next_power_of_two().ilog2();
        prop_assert!(world.requests.len() <= 1 + usize::try_from(2 * halvings + 1).unwrap(), "{:?}", sizes(&world));
        let dead: Vec<Key> = world.store.dead.keys().copied().collect();
        prop_assert_eq!(dead, [(poison, 0)]);
        prop_assert_eq!(world.store.delivered.len(), usize::try_from(count - 1).unwrap());
        let arrived: Vec<u64> = world.requests.iter().map(|(_, keys)| keys).filter(|keys| !keys.contains(&(poison, 0)))
            .flatten().map(|(seq, _)| *seq).collect();
        prop_assert!(arrived.is_sorted(), "{arrived:?}");
        prop_assert_eq!(world.now().mono, crate::clock::Mono::default());
        prop_assert!(world.breaches.is_empty(), "{:?}", world.breaches);
    }
}
