//! The pipeline on threads of its own, in real time.

use std::{thread, time::Duration};

use hookmill::{
    Debounce, Endpoint, Event, Hookmill,
    testing::{Script, ScriptedTransport, kill_delivery},
};
use serde_json::json;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Publishes 50 events, and looks at the sums between.
async fn publish(hooks: Hookmill) {
    for _ in 0..50 {
        hooks.publish(Event::new("a", &1).unwrap()).await.unwrap();
        assert!(hooks.stats().await.unwrap().add_up());
    }
}

/// Looks again and again until nothing waits and nothing is in flight.
async fn settled(hooks: &Hookmill) {
    loop {
        let totals = hooks.stats().await.unwrap();
        assert!(totals.add_up(), "{totals:?}");
        if totals.unrouted + totals.deliveries.pending + totals.deliveries.in_flight == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn many_publishers_many_endpoints_and_deaths_on_many_threads_lose_nothing() {
    block_on(async {
        let receiver = ScriptedTransport::new(|attempt| match (attempt.event().seq % 10, attempt.number) {
            (0, 1) => Script::status(500),
            (1, 1) => Script::panics(),
            _ => Script::status(200).after(Duration::from_millis(attempt.event().seq % 3)),
        });
        let policy = json!({"retry": {"delays": ["10ms", "20ms"], "jitter": 0}, "breaker": {"failures": 10_000}});
        let endpoint = |n| Endpoint::http(format!("e{n}"), "https://e.example/").unsigned().settings(policy.clone());
        let builder = Hookmill::builder().delivery_threads(3).transport(receiver.factory());
        let hooks = (0..10).map(endpoint).fold(builder, hookmill::Builder::endpoint).start().await.unwrap();
        let publishers = [(); 4].map(|()| {
            let hooks = hooks.clone();
            thread::spawn(move || block_on(publish(hooks)))
        });
        receiver.until(|made| made.len() > 100).await;
        for endpoint in hooks.endpoints().iter().take(3) {
            kill_delivery(&hooks, endpoint.key).await;
        }
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        // A death in the midst of a shutdown may cost what waits, where there is no disk: here they are over.
        settled(&hooks).await;
        let report = hooks.shutdown(Duration::from_secs(30)).await;
        assert_eq!((report.cancelled, report.abandoned), (0, 0));
        let made = receiver.made();
        for endpoint in (0..10).map(|n| format!("e{n}")) {
            let attempts = made.iter().filter(|one| one.endpoint.as_str() == endpoint).count();
            assert!(attempts >= 200 + 40, "{endpoint}: {attempts}");
        }
        assert!(made.iter().all(|one| one.in_flight <= 8 && one.ended.is_some()));
    });
}

#[test]
fn a_restart_takes_the_programs_own_as_they_are_and_forgets_windows_of_a_rule_that_changed() {
    block_on(async {
        let home = tempfile::tempdir().unwrap();
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let mut suppressed = Vec::new();
        for hours in [1, 1, 2] {
            let debounce = Debounce::on("a").named("noise").within(Duration::from_secs(hours * 3600));
            let own = Endpoint::http("own", "http://127.0.0.1:9/").unsigned();
            let builder = Hookmill::builder().data_dir(home.path()).endpoint(own).debounce(debounce);
            let hooks = builder.transport(receiver.factory()).start().await.unwrap();
            assert_eq!(hooks.endpoints()[0].version, 1);
            hooks.publish(Event::new("a", &1).unwrap()).await.unwrap();
            settled(&hooks).await;
            suppressed.push(hooks.stats().await.unwrap().suppressed);
            hooks.shutdown(Duration::from_secs(30)).await;
        }
        assert_eq!(suppressed, [0, 1, 1]);
    });
}

#[test]
fn a_restart_keeps_the_windows_of_an_endpoint_and_forgets_them_when_its_setting_changed() {
    block_on(async {
        let home = tempfile::tempdir().unwrap();
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let mut sums = Vec::new();
        for hours in [1, 1, 2, 0] {
            let calm = Endpoint::http("calm", "http://127.0.0.1:9/").unsigned();
            let window = Duration::from_secs(hours * 3600);
            let calm = if hours > 0 { calm.debounce(["/data"], window) } else { calm };
            let eager = Endpoint::http("eager", "http://127.0.0.1:9/").unsigned();
            let builder = Hookmill::builder().data_dir(home.path()).endpoint(calm).endpoint(eager);
            let hooks = builder.transport(receiver.factory()).start().await.unwrap();
            hooks.publish(Event::new("a", &1).unwrap()).await.unwrap();
            settled(&hooks).await;
            let deliveries = hooks.stats().await.unwrap().deliveries;
            let windows = hookmill::testing::store(&hooks).load().await.unwrap().windows.len();
            sums.push((deliveries.delivered, deliveries.suppressed, windows));
            hooks.shutdown(Duration::from_secs(30)).await;
        }
        assert_eq!(sums, [(2, 0, 1), (3, 1, 1), (5, 1, 1), (7, 1, 0)]);
    });
}

#[test]
fn what_waits_for_company_goes_out_at_the_end_with_a_disk_too() {
    block_on(async {
        let home = tempfile::tempdir().unwrap();
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let batch = json!({"batch": {"max_items": 100, "flush_interval": "1h"}});
        let down = Endpoint::http("down", "https://down.example/").unsigned().settings(json!({"state": "paused"}));
        let builder = Hookmill::builder().data_dir(home.path()).transport(receiver.factory());
        let builder = builder.endpoint(Endpoint::http("crm", "https://crm.example/").unsigned().settings(batch));
        let hooks = builder.endpoint(down).start().await.unwrap();
        for _ in 0..5 {
            hooks.publish(Event::new("a", &1).unwrap()).await.unwrap();
        }
        hooks.stats().await.unwrap();
        let report = hooks.shutdown(Duration::from_secs(30)).await;
        assert_eq!((report.delivered, report.kept, report.cancelled), (5, 5, 0));
        assert_eq!(receiver.made().iter().map(|made| made.seqs.clone()).collect::<Vec<_>>(), [[1, 2, 3, 4, 5]]);
    });
}
