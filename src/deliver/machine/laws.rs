//! What a machine promises, tried out against a world of chance.

mod batches;
mod examples;
mod keys;
mod model;
mod receiver;
mod store;

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use self::{
    model::{Law, Op, Setting, World},
    receiver::Weather,
};
use crate::endpoint::{
    policy::{Backoff, Batch, BreakerPolicy, Policy, Rate, Retry, RetryWhen},
    queue::Ordered,
};

fn seconds<const N: usize>(delays: [u64; N]) -> Backoff {
    Backoff::Delays(delays.map(Duration::from_secs).to_vec())
}

/// One of the policies that the laws are tried with.
fn policy(which: u8) -> Policy {
    let backoffs = [
        seconds([1, 2, 4]),
        seconds([5, 300, 1800, 7200]),
        seconds([10; 6]),
        Backoff::Exponential {
            initial: Duration::from_millis(1500),
            factor: 2.5,
            max_delay: Duration::from_secs(3600),
            max_attempts: 7,
        },
    ];
    let which = usize::from(which);
    Policy {
        retry: Retry {
            backoff: backoffs[which % 4].clone(),
            jitter: [0.0, 0.2][which / 4 % 2],
            max_age: Duration::from_secs([4 * 86_400, 4000][which / 8 % 2]),
            when: RetryWhen { client_error: which % 7 != 0, ..RetryWhen::default() },
            ..Retry::default()
        },
        breaker: BreakerPolicy {
            failures: 3,
            min_events: 2,
            cooldown: Duration::from_secs(10),
            max_cooldown: Duration::from_secs(60),
            ..BreakerPolicy::default()
        },
        rate: (which % 5 == 0).then_some(Rate { per_second: 7.0, burst: 3 }),
        in_flight: [1, 2, 8][which / 16 % 3],
        batch: (which % 3 == 1).then(|| Batch {
            max_items: [2, 5, 100][which / 3 % 3],
            max_bytes: [900, 4000, 1 << 20][which / 9 % 3],
            flush_interval: Duration::from_millis([0, 700, 5000][which / 27 % 3]),
            count_header: None,
        }),
        // Batches have no order of keys but the strict one.
        ordered: if which % 3 == 1 { Ordered::None } else { [Ordered::None, Ordered::Key][which / 48 % 2] },
        ..Policy::default()
    }
}

fn weather() -> impl Strategy<Value = Weather> {
    use Weather::{Busy, Down, Fair, Hung, Mixed, Refusing};
    prop::sample::select(vec![Fair, Fair, Down, Hung, Busy, Refusing, Mixed, Mixed])
}

fn millis() -> impl Strategy<Value = Duration> {
    prop_oneof![0..50u64, 0..40_000u64, 0..8_000_000u64].prop_map(Duration::from_millis)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0..24u8, 1..4u8, 0..600u16).prop_map(|(count, gap, size)| Op::Route { count, gap, size }),
        5 => Just(Op::Push),
        24 => any::<(u8, u8)>().prop_map(|(which, roll)| Op::Finish { which, roll }),
        6 => (millis(), any::<bool>()).prop_map(|(by, prompt)| Op::Advance { by, prompt }),
        12 => Just(Op::ToDeadline),
        5 => (1..20u8).prop_map(|rows| Op::Read { rows }),
        8 => (1..20u8).prop_map(|rows| Op::Deliver { rows }),
        2 => Just(Op::FailPage),
        2 => any::<u8>().prop_map(Op::Configure),
        1 => Just(Op::Pause),
        1 => Just(Op::Disable),
        3 => Just(Op::Activate),
        3 => any::<u8>().prop_map(Op::Replay),
        1 => (0..12u8, any::<bool>()).prop_map(|(count, flying)| Op::Full { count, flying }),
        1 => Just(Op::Restart),
        3 => Just(Op::Retire),
        1 => Just(Op::Hold(true)),
        2 => Just(Op::Hold(false)),
        4 => weather().prop_map(Op::Weather),
        1 => (0..4u8, 0..4000u16).prop_map(|(slots, bytes)| Op::Others { slots, bytes }),
    ]
}

fn setting() -> impl Strategy<Value = Setting> {
    let window_bytes = prop_oneof![Just(2_000usize), Just(8_000), Just(64 << 20)];
    (any::<u8>(), window_bytes, 1..12usize, any::<bool>()).prop_map(|(which, window_bytes, slots, poison)| Setting {
        policy: policy(which),
        window_bytes,
        slots,
        poison,
    })
}

/// A setting in which every delivery is attempted in order.
fn strict() -> impl Strategy<Value = Setting> {
    setting().prop_map(|setting| Setting { policy: Policy { in_flight: 1, ..setting.policy }, ..setting })
}

/// A setting with batches.
fn batched() -> impl Strategy<Value = Setting> {
    (setting(), any::<u8>()).prop_map(|(setting, which)| {
        let batch = policy(which % 85 * 3 + 1).batch;
        Setting { policy: Policy { batch, ordered: Ordered::None, ..setting.policy }, ..setting }
    })
}

/// A setting in which every key has an order.
fn keyed() -> impl Strategy<Value = Setting> {
    let keyed = |policy| Policy { in_flight: 8, ordered: Ordered::Key, batch: None, ..policy };
    setting().prop_map(move |setting| Setting { policy: keyed(setting.policy), ..setting })
}

fn world(setting: Setting, ops: Vec<Op>) -> World {
    let mut world = World::new(setting);
    for op in ops {
        world.apply(op);
    }
    world.recover();
    world
}

fn cases(cases: u32) -> ProptestConfig {
    let asked_for = std::env::var_os("PROPTEST_CASES").is_some();
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    if asked_for { config } else { ProptestConfig { cases, ..config } }
}

macro_rules! law {
    ($(#[$doc:meta])* $name:ident, $setting:expr, $law:expr) => {
        proptest! {
            #![proptest_config(cases(100))]
            $(#[$doc])*
            #[test]
            fn $name(setting in $setting, ops in vec(op(), 1..160)) {
                let world = world(setting, ops);
                let breaches = world.against($law);
                prop_assert!(breaches.is_empty(), "{breaches:#?}");
            }
        }
    };
}

law! {
    /// Once the receiver is well, every delivery ends: delivered, or a dead letter for a reason that the rules allow.
    nothing_is_lost, setting(), Law::NothingLost
}
law! {
    /// No attempt and no settlement for a delivery that is settled; no attempt for one that is in flight.
    nothing_is_settled_or_started_twice, setting(), Law::NothingTwice
}
law! {
    /// With one attempt at a time, what starts is always the first of all that is pending, replays included.
    strict_order_is_kept, strict(), Law::StrictOrder
}
law! {
    /// In order of keys, what starts is always the first of all of its key that is pending, replays included.
    order_of_keys_is_kept, keyed(), Law::KeyOrder
}
law! {
    /// The same as for every other order, where keys hold each other up most.
    nothing_is_lost_in_order_of_keys, keyed(), Law::NothingLost
}
law! {
    /// Never more attempts than the policy, caution and the ramp allow; only the first goes without a slot.
    attempts_in_flight_are_bounded, setting(), Law::InFlightBound
}
law! {
    /// An open breaker starts nothing before its time, and then exactly one.
    an_open_breaker_lets_one_probe_through, setting(), Law::Breaker
}
law! {
    /// No attempt before its due time but for a release; due times are as computed or as asked for, jitter only adds.
    no_attempt_is_early, setting(), Law::NotEarly
}
law! {
    /// A deadline that has come has an effect, and nothing happens between deadlines.
    deadlines_are_exact, setting(), Law::Deadlines
}
law! {
    /// Attempts are counted, limited, and end with the delivery's age; none starts while paused, disabled or held.
    no_attempt_beyond_what_is_allowed, setting(), Law::Allowed
}
law! {
    /// Events in memory stay under the budget; beyond it there are only what is in flight, and one head each of the fresh
    /// ones and of the retries.
    windows_stay_under_their_budget, setting(), Law::Budget
}

law! {
    /// A batch keeps to its bounds and is in order; a probe is one event.
    a_batch_never_exceeds_its_bounds, batched(), Law::Batches
}
law! {
    /// With one request at a time, what is in a batch is always the first of all that is pending.
    a_batch_does_not_reorder, batched().prop_map(|setting| Setting { policy: Policy { in_flight: 1, ..setting.policy }, ..setting }), Law::StrictOrder
}
law! {
    /// Where nothing hinders, no event waits longer for others than it may.
    no_event_waits_too_long_for_company, batched(), Law::Company
}
law! {
    /// Batches lose nothing, whatever is in them.
    batches_lose_nothing, batched(), Law::NothingLost
}

proptest! {
    #![proptest_config(cases(12))]
    /// However much fresh there is to read, a retry that is due starts before many others do.
    #[test]
    fn fresh_pages_do_not_starve_a_retry(
        rows in 1..256usize,
        latency in 1..8usize,
        window_bytes in prop::sample::select(vec![2_000usize, 64 << 20]),
        wait in prop::sample::select(vec![20u64, 60]),
    ) {
        let before = examples::attempts_before_a_due_retry(rows, latency, window_bytes, Duration::from_secs(wait));
        prop_assert!(before <= 8 + 4 * latency, "{before} attempts");
    }
}
