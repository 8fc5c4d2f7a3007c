//! A wall clock that is set while there is work: running timers do not care, nothing is lost, and nothing waits longer than
//! its policy may ever ask for.

use hookmill::{
    Debounce,
    testing::{Script, WallClock, paused},
};

use super::*;

const DAY: i64 = 24 * 3600 * 1000;

async fn start_with_wall_clock(builder: Builder, receiver: &ScriptedTransport) -> (Hookmill, WallClock) {
    testing::start_with_wall_clock(builder.transport(receiver.factory())).await.unwrap()
}

#[test]
fn waits_in_memory_are_kept_to_the_millisecond_whatever_the_wall_clock_does() {
    for jump in [DAY, -DAY, 1500, -1500] {
        paused(async {
            let receiver = ScriptedTransport::new(|_| Script::status(500));
            let (hooks, wall) = start_with_wall_clock(Hookmill::builder().endpoint(endpoint("crm")), &receiver).await;
            publish(&hooks, 1).await;
            receiver.until(|made| made.len() == 2 && made[1].ended.is_some()).await;
            wall.jump(jump);
            receiver.until(|made| made.len() == 3).await;
            wall.jump(-jump);
            let totals = settled(&hooks).await;
            assert_eq!(starts(&receiver.made()), [0, 1000, 3000, 7000], "{jump}");
            assert_eq!(totals.deliveries.dead_lettered, 1);
        });
    }
}

#[test]
fn a_wait_in_the_store_is_kept_to_when_the_clock_is_set_back_by_more() {
    paused(async {
        let receiver = ScriptedTransport::new(|attempt| Script::status(if attempt.number < 3 { 500 } else { 200 }));
        let retry = json!({"retry": {"delays": ["10m", "2h"], "jitter": 0}});
        let crm = Endpoint::http("crm", "https://crm.example/").unsigned().settings(retry);
        let (hooks, wall) = start_with_wall_clock(Hookmill::builder().endpoint(crm), &receiver).await;
        publish(&hooks, 3).await;
        receiver.until(|made| made.len() == 3 && made.iter().all(|one| one.ended.is_some())).await;
        pass(seconds(60)).await;
        wall.jump(-30 * DAY);
        let totals = settled(&hooks).await;
        assert_eq!(totals.deliveries.delivered, 3);
        let starts = starts(&receiver.made());
        let waits = [600_000, 600_000 + 2 * 3_600_000];
        for (attempts, wait) in starts[3..].chunks(3).zip(waits) {
            assert!(attempts.iter().all(|at| (wait..wait + 1500).contains(at)), "{starts:?}");
        }
    });
}

#[test]
fn events_accepted_before_a_jump_ahead_expire_by_their_age_and_are_accounted_for() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(500));
        let (hooks, wall) = start_with_wall_clock(Hookmill::builder().endpoint(endpoint("crm")), &receiver).await;
        publish(&hooks, 5).await;
        receiver.until(|made| made.len() == 5).await;
        wall.jump(30 * DAY);
        let totals = settled(&hooks).await;
        assert_eq!((totals.deliveries.created, totals.deliveries.dead_lettered), (5, 5), "and nobody lost count");
        let new = receiver.made().len();
        publish(&hooks, 1).await;
        receiver.until(|made| made.len() > new).await;
    });
}

#[test]
fn a_debounce_window_does_not_suppress_for_as_long_as_the_clock_went_back() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let rule = Debounce::on("a.b").within(seconds(60));
        let builder = Hookmill::builder().endpoint(endpoint("crm")).debounce(rule);
        let (hooks, wall) = start_with_wall_clock(builder, &receiver).await;
        publish(&hooks, 2).await;
        wall.jump(-DAY);
        publish(&hooks, 2).await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.accepted, totals.suppressed, totals.deliveries.delivered), (4, 2, 2));
    });
}
