//! Machines that keep the order of keys.

use std::{collections::BTreeMap, time::Duration};

use super::{
    model::{Law, World},
    receiver::status,
    seconds,
};
use crate::endpoint::{
    policy::{BreakerPolicy, Policy, Retry},
    queue::Ordered,
};

/// Eight at a time; what fails is retried an hour later.
fn world() -> World {
    World::roomy(Policy {
        in_flight: 8,
        ordered: Ordered::Key,
        breaker: BreakerPolicy { failures: u32::MAX, ..BreakerPolicy::default() },
        retry: Retry { backoff: seconds([3600, 3600]), jitter: 0.0, ..Retry::default() },
        ..Policy::default()
    })
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
        assert!(shown.window_fresh + shown.window_retries <= 512 + 1024, "{shown:?}");
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
    for keys in [3, 100, 700, 5000] {
        let mut world = world();
        world.weather_is_down();
        world.route_key(1, "k0");
        for n in 0..10_000 {
            world.store_key(&format!("k{}", n % keys));
        }
        world.restart();
        world.weather_is_fair();
        finish(&mut world);
        assert!(world.pages < 10_001 / 4, "{} pages for {keys} keys", world.pages);
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
    assert!(world.now().mono.since(crate::clock::Mono::default()) <= Duration::from_secs(3600 + 60));
}
