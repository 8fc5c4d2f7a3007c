//! Machines that keep the order of keys.

use std::{collections::BTreeMap, time::Duration};

use super::{
    model::{Law, Op, Setting, World},
    receiver::status,
    seconds,
};
use crate::{
    clock::Mono,
    endpoint::{
        policy::{Batch, BreakerPolicy, Policy, Retry, RetryWhen},
        queue::Ordered,
    },
};

/// Eight at a time; what fails is retried after so many seconds, a 404 never.
fn policy(delay: u64) -> Policy {
    let when = RetryWhen { client_error: false, ..RetryWhen::default() };
    Policy {
        in_flight: 8,
        ordered: Ordered::Key,
        breaker: BreakerPolicy { failures: u32::MAX, ..BreakerPolicy::default() },
        retry: Retry { backoff: seconds([delay, delay]), jitter: 0.0, when, ..Retry::default() },
        ..Policy::default()
    }
}

/// What fails is retried an hour later.
fn world() -> World {
    World::roomy(policy(3600))
}

fn passed(world: &World) -> Duration {
    world.now().mono.since(Mono::default())
}

fn finish(world: &mut World) {
    world.run_on(50_000);
    assert_eq!(world.store.count_pending(), 0);
    assert_eq!(world.against(Law::KeyOrder), Vec::<&String>::new());
    assert_eq!(world.breaches, []);
}

/// Reads and answers until no more than `left` are not delivered; time does not pass.
fn work_until(world: &mut World, left: usize) {
    for _ in 0..100_000 {
        if world.store.count_pending() <= left {
            return;
        }
        world.work();
        let now = world.now();
        let shown = world.machine.snapshot(now);
        assert!(shown.window_fresh + shown.window_retries <= 2 * 512 + 1024, "{shown:?}");
    }
    panic!("{} are left", world.store.count_pending());
}

#[test]
fn a_key_that_is_held_up_holds_up_no_other_however_much_there_is_of_it() {
    const MANY: usize = 20_000;
    let mut world = world();
    world.route_key(1, "a");
    world.end_first(&status(500, None));
    world.route_key(MANY, "a");
    for n in 0..1000 {
        world.route_key(1, &format!("b{}", n % 10));
    }
    let before = world.now();
    work_until(&mut world, MANY + 1);
    assert_eq!(world.now(), before, "nobody waited for the retry");
    world.route_key(100, "c");
    work_until(&mut world, MANY + 1);
    // The key goes on with its retry, at little cost.
    let pages = world.pages;
    finish(&mut world);
    assert!(world.pages - pages < MANY / 32, "{} pages", world.pages - pages);
}

#[test]
fn a_backlog_of_many_keys_comes_through_in_order_at_little_cost() {
    for keys in [3, 10, 40, 100, 700, 5000] {
        let mut world = world();
        world.weather_is_down();
        world.route_key(1, "k0");
        for n in 0..10_000 {
            world.store_key(&format!("k{}", n % keys));
        }
        world.apply(Op::Restart);
        world.weather_is_fair();
        finish(&mut world);
        assert!(world.pages < 10_001 / 10, "{} pages for {keys} keys", world.pages);
    }
}

#[test]
fn where_very_many_keys_are_held_up_the_endpoint_waits_and_loses_nothing() {
    let mut world = world();
    world.weather_is_down();
    for n in 0..6000 {
        world.route_key(1, &format!("k{}", n % 3000));
        world.finish_all(0);
    }
    let attempted = world.sent.len();
    assert!((1024..2400).contains(&attempted), "{attempted} attempts");
    let tried = world.sent.iter().fold(BTreeMap::new(), |mut tried: BTreeMap<_, usize>, (_, key)| {
        *tried.entry(*key).or_default() += 1;
        tried
    });
    assert!(tried.values().all(|count| *count == 1));
    world.weather_is_fair();
    finish(&mut world);
    assert!(passed(&world) <= Duration::from_secs(3600 + 60));
}

/// After how long what fails is retried: out of memory, and in it.
const DELAYS: [u64; 2] = [3600, 5];

fn starts(world: &World) -> Vec<(u64, u32)> {
    world.sent.iter().map(|(_, key)| *key).collect()
}

#[test]
fn a_replay_that_is_not_read_yet_comes_before_a_later_one_that_fails() {
    for delay in DELAYS {
        for read in [false, true] {
            let mut world = World::roomy(policy(delay));
            world.route_key(1, "a");
            world.end_first(&status(404, None));
            world.route_key(1, "a");
            world.apply(Op::Replay(0));
            if read {
                world.read_and_deliver(20);
            }
            world.end_first(&status(500, None));
            finish(&mut world);
            assert_eq!(starts(&world), [(1, 0), (2, 0), (1, 1), (2, 0)], "{delay} {read}");
        }
    }
}

#[test]
fn what_was_started_without_an_order_and_fails_goes_on_in_order() {
    for delay in DELAYS {
        for read in [false, true] {
            let mut world = World::roomy(Policy { in_flight: 2, ordered: Ordered::None, ..policy(delay) });
            world.route_key(4, "a");
            world.configure(policy(delay));
            if read {
                world.read_and_deliver(20);
            }
            world.end_first(&status(500, None));
            world.end_first(&status(500, None));
            finish(&mut world);
            assert_eq!(starts(&world)[2..], [(1, 0), (2, 0), (3, 0), (4, 0)], "{delay} {read}");
        }
    }
}

#[test]
fn a_batch_that_is_taken_apart_where_keys_have_an_order_goes_on_in_order() {
    let batch = Batch { max_items: 4, ..Batch::default() };
    let mut world = World::roomy(Policy { batch: Some(batch), ordered: Ordered::None, ..policy(5) });
    world.route_key(4, "a");
    world.route_key(3, "a");
    world.configure(policy(5));
    world.end_first(&status(422, None));
    finish(&mut world);
    assert_eq!(starts(&world)[4..], (1..=7).map(|seq| (seq, 0)).collect::<Vec<_>>());
}

#[test]
fn keys_that_wait_for_long_are_tried_at_once_when_the_breaker_closes() {
    let breaker = BreakerPolicy { failures: 3, cooldown: Duration::from_secs(40), ..BreakerPolicy::default() };
    let mut world = World::roomy(Policy { breaker, ..policy(3600) });
    world.weather_is_down();
    for n in 0..100 {
        world.route_key(3, &format!("k{n}"));
    }
    world.finish_all(0);
    world.weather_is_fair();
    finish(&mut world);
    assert!(passed(&world) <= Duration::from_secs(60), "{:?}", passed(&world));
}

#[test]
fn where_there_is_no_room_a_held_up_key_holds_up_no_other_for_long() {
    for window_bytes in [0, 1000, 4000] {
        let mut world = World::new(Setting { policy: policy(3600), window_bytes, slots: 8, poison: false });
        world.route_key(1, "a");
        world.end_first(&status(500, None));
        for n in 0..600 {
            world.route_key(1, ["a", "b", "c"][n % 3]);
        }
        work_until(&mut world, 201);
        world.apply(Op::Restart);
        finish(&mut world);
        assert_eq!(passed(&world), Duration::from_secs(3600));
    }
}

#[test]
fn keys_without_room_are_read_seldom_while_the_receiver_does_not_work() {
    let retry = Retry { backoff: seconds([10; 100]), jitter: 0.0, ..Retry::default() };
    let hard = Policy { breaker: BreakerPolicy::default(), retry, ..policy(10) };
    let mut world = World::new(Setting { policy: hard, window_bytes: 0, slots: 8, poison: false });
    world.weather_is_down();
    for n in 0..50 {
        world.route_key(2, &format!("k{n}"));
    }
    while passed(&world) < Duration::from_secs(7200) {
        assert!(world.step(usize::MAX), "there is always a next step");
    }
    assert!(world.pages < 1000, "{} pages", world.pages);
    world.weather_is_fair();
    finish(&mut world);
}

#[test]
fn what_is_parked_behind_a_retry_is_not_read_before_it() {
    for delay in DELAYS {
        let mut world = World::roomy(policy(delay));
        world.route_key(1, "b");
        world.route_key(3, "a");
        world.end_first(&status(500, None));
        world.end_first(&status(500, None));
        assert_eq!(world.pages, 0, "nothing is to be read of a key that is held up");
        finish(&mut world);
        assert_eq!(starts(&world)[2..], [(1, 0), (2, 0), (3, 0), (4, 0)]);
    }
}
