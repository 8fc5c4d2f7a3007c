//! Machines in situations that people ask about, and those in which a law was once broken.

use std::time::Duration;

use super::{
    model::{Law, Op, Setting, World},
    policy,
    receiver::{Weather, status},
    seconds,
};
use crate::{
    clock::Mono,
    endpoint::policy::{Backoff, BreakerPolicy, Policy, Retry},
    transport::RetryAfter,
};

const POISON: u64 = 3;

fn in_flight(in_flight: u16, delays: &[u64]) -> Policy {
    let delays = delays.iter().copied().map(Duration::from_secs).collect();
    let backoff = Backoff::Delays(delays);
    let breaker = BreakerPolicy { failures: u32::MAX, ..BreakerPolicy::default() };
    Policy { in_flight, breaker, retry: Retry { backoff, jitter: 0.0, ..Retry::default() }, ..Policy::default() }
}

fn starts(world: &World, seq: u64) -> Vec<Duration> {
    world.sent.iter().filter(|(_, key)| key.0 == seq).map(|(moment, _)| *moment).collect()
}

fn order(world: &World) -> Vec<(u64, u32)> {
    world.sent.iter().map(|(_, key)| *key).collect()
}

/// Attempts for others between the moment when a retry is due and its start, with more to read than there is time.
pub(super) fn attempts_before_a_due_retry(rows: usize, latency: usize, window_bytes: usize, wait: Duration) -> usize {
    let policy = in_flight(8, &[wait.as_secs(); 3]);
    let mut world = World::new(Setting { policy, window_bytes, slots: 4096, poison: false });
    world.route_and_push(2000);
    world.end_first(&status(500, None));
    for step in 0.. {
        if starts(&world, 1).len() > 1 {
            break;
        }
        world.advance(Duration::from_millis(100), true);
        world.end_first(&status(200, None));
        if step % latency == 0 {
            world.read_and_deliver(rows);
        }
    }
    assert_eq!(world.breaches, []);
    world.sent.iter().filter(|(moment, _)| *moment >= wait).count() - 1
}

#[test]
fn four_attempts_are_made_at_exactly_the_times_of_the_list() {
    let mut world = World::roomy(policy(0));
    world.apply(Op::Weather(Weather::Down));
    world.route_and_push(1);
    world.run_on(100);
    assert_eq!(starts(&world, 1), [0, 1, 3, 7].map(Duration::from_secs));
    assert!(world.store.dead.contains_key(&(1, 0)));
    assert_eq!(world.breaches, []);
}

#[test]
fn an_hour_of_outage_costs_few_attempts_and_no_event() {
    let mut world = World::roomy(Policy::default());
    world.apply(Op::Weather(Weather::Down));
    for _ in 0..360 {
        world.route_and_push(1);
        world.finish_all(0);
        world.advance(Duration::from_secs(10), true);
    }
    let during = world.sent.len();
    assert!((10..40).contains(&during), "{during} attempts");
    world.recover();
    assert_eq!(world.store.delivered.len(), 360);
    assert!(world.sent.len() <= during + 360);
    let late = world.sent.last().unwrap().0;
    assert!(late < Duration::from_secs(3600 + 15 * 60), "the last at {late:?}");
    assert_eq!(world.breaches, []);
}

#[test]
fn the_end_of_an_outage_makes_due_what_it_pushed_into_the_future() {
    let hours = Retry { backoff: seconds([7200]), ..policy(32).retry };
    let mut world = World::roomy(Policy { retry: hours, ..policy(32) });
    world.apply(Op::Weather(Weather::Down));
    world.route_and_push(5);
    world.finish_all(0);
    world.apply(Op::Weather(Weather::Fair));
    world.route_and_push(1);
    world.run_on(100);
    assert_eq!(world.store.delivered.len(), 6);
    assert_eq!(world.now().mono, Mono::from_start(Duration::from_secs(10)));
    assert_eq!(world.breaches, []);
}

#[test]
fn retry_after_is_kept_to_in_both_forms_and_within_bounds() {
    let day = 24 * 3600;
    for (seconds, wait) in [(40, 40), (0, 1), (2 * day, day)] {
        for date in [false, true] {
            let mut world = World::roomy(policy(0));
            world.route_and_push(1);
            let delay = Duration::from_secs(seconds);
            let moment = world.now().wall.after(delay);
            let asked = if date { RetryAfter::At(moment) } else { RetryAfter::Delay(delay) };
            world.end_first(&status(503, Some(asked)));
            world.run_on(100);
            assert_eq!(starts(&world, 1), [0, wait].map(Duration::from_secs));
            assert_eq!(world.breaches, []);
        }
    }
}

#[test]
fn a_poison_event_does_not_hold_the_others() {
    let policy = policy(32);
    let mut world = World::new(Setting { policy, window_bytes: 64 << 20, slots: 4096, poison: true });
    world.route_and_push(5);
    world.finish_all(0);
    assert_eq!(world.store.delivered.len(), 4);
    world.run_on(100);
    assert_eq!(world.store.dead.keys().collect::<Vec<_>>(), [&(POISON, 0)]);
    assert_eq!(world.breaches, []);
}

#[test]
fn ten_thousand_retries_wait_in_the_store() {
    let mut world = World::roomy(in_flight(64, &[20, 20, 20]));
    world.apply(Op::Weather(Weather::Down));
    world.route_and_push(10_000);
    while world.now().mono < Mono::from_start(Duration::from_secs(19)) && world.step(usize::MAX) {
        let snapshot = world.machine.snapshot(world.now());
        assert!(snapshot.window_retries <= 1024 && snapshot.window_fresh <= 512, "{snapshot:?}");
    }
    assert!(world.sent.len() >= 10_000);
    world.recover();
    assert_eq!(world.store.delivered.len(), 10_000);
    assert_eq!(world.breaches, []);
}

#[test]
fn the_slot_of_an_attempt_that_ends_is_free_for_the_next() {
    let mut world = World::new(Setting { policy: policy(32), window_bytes: 64 << 20, slots: 5, poison: false });
    world.route_and_push(4);
    world.end_first(&status(200, None));
    assert_eq!(order(&world), [(1, 0), (2, 0), (3, 0)]);
    assert_eq!(world.breaches, []);
}

#[test]
fn what_a_disabled_endpoint_dropped_is_not_retried_when_it_is_enabled() {
    let mut world = World::roomy(policy(32));
    world.route_and_push(1);
    world.apply(Op::Disable);
    world.apply(Op::Activate);
    world.end_first(&status(500, None));
    world.recover();
    assert_eq!(order(&world), [(1, 0)]);
    assert_eq!(world.breaches, []);
}

#[test]
fn a_replay_takes_its_place_before_what_is_in_memory() {
    let mut world = World::roomy(in_flight(1, &[]));
    world.route_and_push(3);
    world.end_first(&status(500, None));
    world.apply(Op::Replay(0));
    world.end_first(&status(200, None));
    world.recover();
    assert_eq!(order(&world), [(1, 0), (2, 0), (1, 1), (3, 0)]);
    assert_eq!(world.breaches, []);
}

#[test]
fn what_was_in_flight_waits_for_its_place_when_order_becomes_strict() {
    let mut world = World::roomy(in_flight(2, &[60, 0]));
    world.route_and_push(2);
    world.end_first(&status(500, None));
    world.configure(in_flight(1, &[0, 0]));
    world.end_first(&status(500, None));
    world.recover();
    assert_eq!(order(&world), [(1, 0), (2, 0), (1, 0), (2, 0)]);
    assert_eq!(world.breaches, []);
}

#[test]
fn retries_beyond_the_budget_wait_in_the_store() {
    let policy = in_flight(1, &[20]);
    let mut world = World::new(Setting {
        policy: Policy { in_flight: 2, ..policy },
        window_bytes: 1000,
        slots: 4096,
        poison: false,
    });
    world.apply(Op::Weather(Weather::Down));
    world.route_and_push(50);
    while world.now().mono < Mono::from_start(Duration::from_secs(19)) && world.step(usize::MAX) {}
    assert_eq!(world.against(Law::Budget), Vec::<&String>::new());
    assert!(world.machine.snapshot(world.now()).window_retries <= 3);
}

#[test]
fn a_stored_due_time_is_kept_to_under_longer_waits_than_before() {
    let days = Duration::from_secs(2 * 24 * 3600);
    let mut world = World::roomy(in_flight(1, &[1]));
    world.configure(in_flight(1, &[days.as_secs()]));
    world.route_and_push(2);
    world.end_first(&status(410, None));
    world.end_first(&status(500, None));
    world.apply(Op::Replay(0));
    world.recover();
    assert_eq!(starts(&world, 2), [Duration::ZERO, days]);
    assert_eq!(world.breaches, []);
}

#[test]
fn a_page_that_fails_is_not_asked_for_without_end() {
    let policy = Policy { retry: Retry { backoff: seconds([40, 20, 20]), ..policy(16).retry }, ..policy(16) };
    let mut world = World::new(Setting { policy, window_bytes: 1000, slots: 4096, poison: false });
    world.apply(Op::Weather(Weather::Down));
    world.route_and_push(8);
    for _ in 0..200 {
        world.finish_all(0);
        world.apply(Op::FailPage);
        world.apply(Op::ToDeadline);
        world.finish_all(0);
        world.read_and_deliver(2);
    }
    assert_eq!(world.breaches, []);
}
