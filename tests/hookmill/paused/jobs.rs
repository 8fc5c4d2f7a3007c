//! Work on many dead letters, and how many of them are kept.

use hookmill::{
    store::{DeadLetterSelection, Job, JobState},
    testing::{Script, paused},
};

use super::*;

/// A receiver that works once it is switched on.
fn receiver(works: &Switch) -> ScriptedTransport {
    let works = works.clone();
    ScriptedTransport::new(move |_| Script::status(if works.is_on() { 200 } else { 500 }))
}

/// An endpoint that gives up at once.
fn hopeless(id: &str) -> EndpointBuilder {
    endpoint(id).settings(json!({"retry": {"delays": []}, "breaker": {"failures": 10_000}}))
}

fn all() -> DeadLetterSelection {
    DeadLetterSelection::default()
}

async fn ended(hooks: &Hookmill, job: Job) -> Job {
    loop {
        let job = hooks.job(&job.id).await.unwrap();
        if job.state != JobState::Running {
            return job;
        }
        pass(millis(20)).await;
    }
}

#[test]
fn many_are_replayed_once_each_and_no_faster_than_asked_for() {
    paused(async {
        let works = Switch::default();
        let receiver = receiver(&works);
        let hooks = start_with(hopeless("crm"), &receiver).await;
        publish(&hooks, 700).await;
        settled(&hooks).await;
        works.on();
        assert_eq!(hooks.count_dead_letters(all()).await.unwrap(), 700);
        let job = hooks.replay_dead_letters(all(), 50.0).await.unwrap();
        let job = ended(&hooks, job).await;
        assert_eq!((job.total, job.done, job.failed, job.state), (700, 700, 0, JobState::Finished));
        let totals = settled(&hooks).await.deliveries;
        assert_eq!((totals.replayed, totals.delivered, totals.dead_letters.kept), (700, 700, 0));
        let again = receiver.made().split_off(700);
        assert_eq!(attempts(&again), (1..=700).map(|seq| (seq, 1)).collect());
        let starts = starts(&again);
        for (place, start) in starts.iter().enumerate() {
            let within = starts[place..].iter().take_while(|later| **later < start + 1000).count();
            assert!(within <= 60, "{within} within a second");
        }
        assert!(starts[699] < 20_000, "it took {} ms", starts[699]);
    });
}

#[test]
fn what_fails_again_is_for_another_job() {
    paused(async {
        let receiver = receiver(&Switch::default());
        let hooks = start_with(hopeless("crm"), &receiver).await;
        publish(&hooks, 20).await;
        settled(&hooks).await;
        let job = hooks.replay_dead_letters(all(), 10.0).await.unwrap();
        assert_eq!(ended(&hooks, job).await.done, 20);
        let totals = settled(&hooks).await.deliveries;
        assert_eq!((totals.replayed, totals.dead_lettered, totals.dead_letters.kept), (20, 40, 20));
        pass(HOUR).await;
        assert_eq!(receiver.made().len(), 40);
    });
}

#[test]
fn a_purge_forgets_and_changes_no_sum() {
    paused(async {
        let builder = Hookmill::builder().endpoint(hopeless("one")).endpoint(hopeless("two"));
        let hooks = start(builder, &receiver(&Switch::default())).await;
        publish(&hooks, 600).await;
        let before = settled(&hooks).await;
        let endpoint = hooks.endpoint(&id("one")).unwrap().key;
        let one = DeadLetterSelection { endpoint: Some(endpoint), ..all() };
        let job = hooks.purge_dead_letters(one).await.unwrap();
        assert_eq!(ended(&hooks, job).await.done, 600);
        let after = look(&hooks).await;
        assert_eq!((after.deliveries.dead_lettered, before.deliveries.dead_lettered), (1200, 1200));
        assert_eq!((after.deliveries.dead_letters.kept, after.deliveries.dead_letters.purged), (600, 600));
        assert!(dead_letters(&hooks).await.iter().all(|letter| letter.id.endpoint != endpoint));
    });
}

#[test]
fn a_disabled_endpoint_is_left_alone_and_a_shutdown_ends_the_work() {
    paused(async {
        let works = Switch::default();
        let receiver = receiver(&works);
        let made = json!({"url": "https://two.example/", "signing": {"type": "none"}, "retry": {"delays": []}});
        let hooks = start_with(hopeless("one"), &receiver).await;
        hooks.create_endpoint(Some(id("two")), &made).await.unwrap();
        publish(&hooks, 5).await;
        settled(&hooks).await;
        works.on();
        hooks.patch_endpoint(&id("two"), &json!({"state": "disabled"}), None).await.unwrap();
        let job = hooks.replay_dead_letters(all(), 1000.0).await.unwrap();
        let job = ended(&hooks, job).await;
        assert_eq!((job.total, job.done, job.failed), (10, 5, 5));
        assert_eq!(settled(&hooks).await.deliveries.dead_letters.kept, 5);

        hooks.patch_endpoint(&id("two"), &json!({"state": "active"}), None).await.unwrap();
        hooks.replay_dead_letters(all(), 0.1).await.unwrap();
        until(&hooks, |totals| totals.deliveries.replayed == 6).await;
        hooks.shutdown(seconds(5)).await;
        pass(HOUR).await;
        assert_eq!(receiver.made().len(), 16);
    });
}

#[test]
fn the_oldest_fall_off_when_there_are_too_many_or_they_are_too_old() {
    paused(async {
        let limits = json!({"dead_letters": {"max_items": 3, "max_age": "1d"}});
        let hooks = start_with(hopeless("crm").settings(limits), &receiver(&Switch::default())).await;
        publish(&hooks, 5).await;
        let totals = settled(&hooks).await.deliveries;
        assert_eq!((totals.dead_lettered, totals.dead_letters.kept, totals.dead_letters.pruned), (5, 3, 2));
        let kept: Vec<_> = dead_letters(&hooks).await.iter().map(|letter| letter.id.seq).collect();
        assert_eq!(kept, [5, 4, 3]);
        pass(HOUR * 25).await;
        let totals = look(&hooks).await.deliveries;
        assert_eq!((totals.dead_lettered, totals.dead_letters.kept, totals.dead_letters.pruned), (5, 0, 5));
    });
}
