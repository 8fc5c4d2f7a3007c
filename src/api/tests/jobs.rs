//! Work on many dead letters.

use super::*;
use crate::store::Scope;

async fn dead(client: &Client) {
    for id in ["a", "b"] {
        let endpoint = json!({"id": id, "url": "http://127.0.0.1:9/", "retry": {"delays": []}, "topics": [format!("{id}.*")],
            "breaker": {"failures": 1000}});
        client.post("/v1/endpoints", &endpoint).await.value(StatusCode::CREATED);
    }
    for topic in ["a.1", "a.2", "b.1"] {
        client.post("/v1/events", &json!({"topic": topic, "data": 1})).await.value(StatusCode::ACCEPTED);
    }
    client.until("/v1/stats", |stats| stats["dead_letters"]["kept"] == 3).await;
}

/// The job that a call started, once it has ended.
pub(super) async fn ended(client: &Client, started: Reply) -> Value {
    let id = started.value(StatusCode::ACCEPTED)["job"].as_str().unwrap().to_owned();
    let place = format!("/v1/jobs/{id}");
    assert_eq!(started.header("location"), Some(format!("/hooks{place}").as_str()));
    client.until(&place, |job| job["state"] != "running").await
}

#[test]
fn dead_letters_are_replayed_by_filter() {
    run(async {
        let client = Client::new(500).await;
        dead(&client).await;
        let replay = async |body: Value| client.post("/v1/dead-letters/replay", &body).await;
        let before = client.everything().await;
        let dry = replay(json!({"filter": {"endpoint": "a"}, "dry_run": true})).await.value(StatusCode::OK);
        assert_eq!(dry, json!({"matched": 2}));
        assert_eq!(replay(json!({"dry_run": true})).await.problem(422, "invalid-request"), ["#"]);
        assert_eq!(replay(json!({"filter": {"topic": null}})).await.problem(422, "invalid-request"), ["#"]);
        assert_eq!(replay(json!({"all": true, "rate": 0})).await.problem(422, "invalid-request"), ["#/rate"]);
        let filter =
            json!({"endpoint": "c", "topic": "a*", "reason": "bored", "since": 5, "tenant": "a b", "utnil": "x"});
        let mut places =
            replay(json!({"filter": filter, "rate": "1", "al": true})).await.problem(422, "invalid-request");
        places.sort();
        let mut expected =
            ["endpoint", "reason", "since", "tenant", "topic", "utnil"].map(|name| format!("#/filter/{name}"));
        expected.sort();
        assert_eq!(
            places,
            ["#/al".to_owned()].into_iter().chain(expected).chain(["#/rate".to_owned()]).collect::<Vec<_>>()
        );
        assert_eq!(client.everything().await, before);

        let job = ended(&client, replay(json!({"filter": {"endpoint": "a"}, "rate": 1000})).await).await;
        let expected = [("kind", json!("replay_dead_letters")), ("state", json!("finished")), ("total", json!(2))];
        let expected = expected.into_iter().chain([("done", json!(2)), ("failed", json!(0)), ("rate", json!(1000.0))]);
        expected.for_each(|(name, value)| assert_eq!(job[name], value, "{job}"));
        assert!(job["created_at"].is_string() && job["ended_at"].is_string());
        let stats = client.until("/v1/stats", |stats| stats["deliveries"]["dead_lettered"] == 5).await;
        assert_eq!(stats["deliveries"]["replayed"], 2);
        assert_eq!(stats["dead_letters"]["kept"], 3, "they failed again");
        let replayed =
            client.get("/v1/dead-letters?replayed=true&topic=a.*&reason=exhausted").await.value(StatusCode::OK);
        assert_eq!(replayed["items"].as_array().unwrap().len(), 2);
        let none = client.get("/v1/dead-letters?tenant=acme").await.value(StatusCode::OK);
        assert_eq!(none["items"], json!([]));
    });
}

#[test]
fn dead_letters_are_purged_and_stay_counted() {
    run(async {
        let client = Client::new(500).await;
        dead(&client).await;
        let purge = async |body: Value| client.post("/v1/dead-letters/purge", &body).await;
        assert_eq!(purge(json!({"all": true, "rate": 5})).await.problem(422, "invalid-request"), ["#/rate"]);
        let dry = purge(json!({"all": true, "dry_run": true})).await.value(StatusCode::OK);
        assert_eq!(dry, json!({"matched": 3}));
        let job = ended(&client, purge(json!({"filter": {"topic": "b.*"}})).await).await;
        assert_eq!((&job["done"], &job["rate"]), (&json!(1), &json!(null)));
        let stats = client.get("/v1/stats").await.value(StatusCode::OK);
        assert_eq!(stats["deliveries"]["dead_lettered"], 3, "no sum changes");
        assert_eq!(stats["deliveries"].get("dead_letters"), None);
        let letters = &stats["dead_letters"];
        assert_eq!((&letters["kept"], &letters["purged"], &letters["pruned"]), (&json!(2), &json!(1), &json!(0)));
        let state = client.get("/v1/endpoints/b/state").await.value(StatusCode::OK);
        assert_eq!((&state["dead_letters"]["kept"], &state["dead_letters"]["purged"]), (&json!(0), &json!(1)));
        let job = ended(&client, purge(json!({"all": true})).await).await;
        assert_eq!(job["total"], 2);
        assert_eq!(client.get("/v1/dead-letters").await.value(StatusCode::OK)["items"], json!([]));
    });
}

#[test]
fn a_job_is_cancelled() {
    run(async {
        let client = Client::new(500).await;
        dead(&client).await;
        let started = client.post("/v1/dead-letters/replay", &json!({"all": true, "rate": 0.1})).await;
        let id = started.value(StatusCode::ACCEPTED)["job"].as_str().unwrap().to_owned();
        let place = format!("/v1/jobs/{id}");
        client.until(&place, |job| job["done"] == 1).await;
        let cancelled = client.delete(&place).await.value(StatusCode::OK);
        assert_eq!((&cancelled["state"], &cancelled["done"]), (&json!("cancelled"), &json!(1)));
        assert_eq!(client.delete(&place).await.value(StatusCode::OK), cancelled);
        assert_eq!(client.get(&place).await.value(StatusCode::OK), cancelled);
        client.get("/v1/jobs/job_none").await.problem(404, "not-found");
        client.delete("/v1/jobs/job_none").await.problem(404, "not-found");
    });
}

#[test]
fn how_many_dead_letters_are_kept_is_a_setting_that_applies_at_once() {
    run(async {
        let client = Client::new(500).await;
        dead(&client).await;
        let shown = client.get("/v1/endpoints/a").await.value(StatusCode::OK);
        let default = json!({"max_items": 10_000, "max_bytes": 10_u64 << 30, "max_age": "30d"});
        assert_eq!(shown["dead_letters"], default);
        let patch = json!({"dead_letters": {"max_items": 1}});
        client.json(Method::PATCH, "/v1/endpoints/a", &patch).await.value(StatusCode::OK);
        let stats = client.get("/v1/stats").await.value(StatusCode::OK);
        assert_eq!((&stats["dead_letters"]["kept"], &stats["dead_letters"]["pruned"]), (&json!(2), &json!(1)));
        let left = client.get("/v1/dead-letters?endpoint=a").await.value(StatusCode::OK);
        assert_eq!(left["items"][0]["topic"], "a.2", "the oldest fell off");
    });
}

#[test]
fn a_job_is_ended_with_the_scope_that_starts_its_like() {
    run(async {
        let client = Client::of_tokens(500).await;
        let open = Client { hooks: client.hooks.clone(), access: Access::unguarded() };
        dead(&open).await;
        let [replays, admin] = [Scope::Replay, Scope::Admin];
        let (may_replay, may_purge) = (client.token([replays], None).await, client.token([admin], None).await);
        let end = async |token: &str, job: &Value| {
            let path = format!("/v1/jobs/{}", job["job"].as_str().unwrap());
            client.with(token, request(Method::DELETE, &path)).await
        };
        let all = json!({"all": true, "rate": 0.1});
        let replay = open.post("/v1/dead-letters/replay", &all).await.value(StatusCode::ACCEPTED);
        let purge = open.post("/v1/dead-letters/purge", &json!({"all": true})).await.value(StatusCode::ACCEPTED);
        for (job, token, other, needed) in
            [(&replay, &may_replay, &may_purge, "replay"), (&purge, &may_purge, &may_replay, "admin")]
        {
            let refused = end(other, job).await;
            refused.problem(403, "forbidden");
            assert_eq!(refused.value(StatusCode::FORBIDDEN)["scope"], needed);
            let ended = end(token, job).await.value(StatusCode::OK);
            assert_ne!(ended["state"], "running");
        }
    });
}
