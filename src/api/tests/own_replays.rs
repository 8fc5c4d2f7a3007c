//! What a tenant delivers again: its own events, to its own endpoints.

use super::{callers::call, *};
use crate::store::Scope;

/// A tenant whose endpoint `e` had the events of everybody before an earlier version made it the tenant's: `mine`, `mine-2` and `other`. All are
/// dead letters, as they are at `shared`, which is everybody's.
struct World {
    client: Client,
    token: String,
}

impl World {
    async fn new() -> Self {
        let client = Client::of_tokens(500).await;
        let token = client.token([Scope::Read, Scope::Replay], Some("acme")).await;
        let world = Self { client, token };
        let open = world.operator();
        for id in ["e", "shared"] {
            let endpoint = json!({"id": id, "tenant": "*", "url": "https://example.org/", "retry": {"delays": []}});
            open.post("/v1/endpoints", &endpoint).await.value(StatusCode::CREATED);
        }
        for (id, tenant) in [("mine", "acme"), ("mine-2", "acme"), ("other", "globex")] {
            let event = json!({"topic": "t", "data": 1, "id": id, "tenant": tenant});
            open.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        }
        open.until("/v1/stats", |stats| stats["deliveries"]["dead_lettered"] == 6).await;
        open.json(Method::PATCH, "/v1/endpoints/e", &json!({"state": "paused"})).await.value(StatusCode::OK);
        open.hooks.give_as_before("e", "acme".parse().unwrap()).await;
        world
    }

    fn operator(&self) -> Client {
        Client { hooks: self.client.hooks.clone(), access: Access::unguarded() }
    }

    async fn post(&self, path: &str, body: Value) -> Reply {
        self.client.with(&self.token, call(&Method::POST, path, Some(&body))).await
    }

    /// The deliveries of an endpoint, as the operator sees them, by event and run.
    async fn deliveries(&self, endpoint: &str) -> Vec<(String, String)> {
        let path = format!("/v1/endpoints/{endpoint}/deliveries");
        let list = self.operator().get(&path).await.value(StatusCode::OK);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let run = |item: &Value| text(&item["id"]).rsplit('-').next().unwrap().to_owned();
        list["items"].as_array().unwrap().iter().map(|item| (text(&item["event"]), run(item))).collect()
    }
}

fn places(found: &[(String, String)]) -> Vec<(&str, &str)> {
    found.iter().map(|(event, run)| (event.as_str(), run.as_str())).collect()
}

const UNTOUCHED: [(&str, &str); 3] = [("other", "0"), ("mine-2", "0"), ("mine", "0")];

#[test]
fn an_event_is_delivered_again_to_the_tenants_own_endpoints_alone() {
    run(async {
        let world = World::new().await;
        let replayed = world.post("/v1/events/mine/replay", json!({})).await.value(StatusCode::ACCEPTED);
        assert_eq!(replayed, json!({"deliveries": ["dlv_mine.e.1"]}));
        world.post("/v1/events/mine/replay", json!({})).await.problem(409, "conflict");
        let one = world.post("/v1/events/mine-2/replay", json!({"endpoint": "e"})).await.value(StatusCode::ACCEPTED);
        assert_eq!(one, json!({"deliveries": ["dlv_mine-2.e.1"]}));
        world.post("/v1/events/mine/replay", json!({"endpoint": "shared"})).await.problem(404, "not-found");
        world.post("/v1/events/other/replay", json!({})).await.problem(404, "not-found");
        world.post("/v1/events/other/replay", json!({"endpoint": "e"})).await.problem(404, "not-found");
        let expected = [("other", "0"), ("mine-2", "1"), ("mine-2", "0"), ("mine", "1"), ("mine", "0")];
        assert_eq!(places(&world.deliveries("e").await), expected);
        assert_eq!(places(&world.deliveries("shared").await), UNTOUCHED);
    });
}

#[test]
fn a_tenants_replay_counts_and_delivers_its_own_events_alone() {
    run(async {
        let world = World::new().await;
        for only in ["failed", "all"] {
            let asked = json!({"only": only, "dry_run": true});
            let counted = world.post("/v1/endpoints/e/replay", asked.clone()).await.value(StatusCode::OK);
            let all = world.operator().post("/v1/endpoints/e/replay", &asked).await.value(StatusCode::OK);
            assert_eq!((&counted["matched"], &all["matched"]), (&json!(2), &json!(3)), "{only}");
        }
        world.post("/v1/endpoints/shared/replay", json!({"only": "all"})).await.problem(404, "not-found");
        let made = world.post("/v1/endpoints/e/replay", json!({"rate": 1000})).await.value(StatusCode::ACCEPTED);
        let job = format!("/v1/jobs/{}", made["job"].as_str().unwrap());
        world.operator().until(&job, |job| job["state"] == "finished").await;
        let shown = world.client.with(&world.token, request(Method::GET, &job)).await.value(StatusCode::OK);
        assert_eq!((&shown["total"], &shown["done"], &shown["failed"]), (&json!(2), &json!(2), &json!(0)));
        let expected = [("other", "0"), ("mine-2", "1"), ("mine-2", "0"), ("mine", "1"), ("mine", "0")];
        assert_eq!(places(&world.deliveries("e").await), expected);
        assert_eq!(places(&world.deliveries("shared").await), UNTOUCHED);
    });
}

#[test]
fn a_tenants_replays_are_bounded_as_its_other_jobs() {
    run(async {
        let world = World::new().await;
        let open = world.operator();
        open.json(Method::PATCH, "/v1/endpoints/e", &json!({"state": "active"})).await.value(StatusCode::OK);
        for n in 0..4 {
            let event = json!({"topic": "t", "data": n, "tenant": "acme"});
            open.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        }
        open.until("/v1/stats", |stats| stats["deliveries"]["dead_lettered"] == 14).await;
        // One in ten seconds: either goes on until it is ended.
        let asked = json!({"only": "all", "rate": 0.1});
        let path = "/v1/endpoints/e/replay";
        let first = world.post(path, asked.clone()).await.value(StatusCode::ACCEPTED);
        let letters = json!({"all": true, "rate": 0.1});
        world.post("/v1/dead-letters/replay", letters).await.value(StatusCode::ACCEPTED);
        world.post(path, asked.clone()).await.problem(429, "quota-reached");
        open.post(path, &asked).await.value(StatusCode::ACCEPTED);
        let job = format!("/v1/jobs/{}", first["job"].as_str().unwrap());
        let ended = world.client.with(&world.token, request(Method::DELETE, &job)).await.value(StatusCode::OK);
        assert_eq!(ended["state"], "cancelled");
    });
}

#[test]
fn a_tenant_is_shown_the_deliveries_of_its_own_events() {
    run(async {
        let world = World::new().await;
        let list = async |query: &str| {
            let path = format!("/v1/endpoints/e/deliveries{query}");
            world.client.with(&world.token, request(Method::GET, &path)).await.value(StatusCode::OK)
        };
        let all = list("").await;
        let ids: Vec<_> = all["items"].as_array().unwrap().iter().map(|item| item["id"].clone()).collect();
        assert_eq!(ids, ["dlv_mine-2.e.0", "dlv_mine.e.0"]);
        assert!(all["items"][0].get("seq").is_none(), "{all}");
        assert_eq!(list("?state=pending").await["items"], json!([]));
        let first = list("?limit=1&state=dead_lettered").await;
        let next = first["next"].as_str().unwrap();
        let second = list(&format!("?limit=1&state=dead_lettered&cursor={next}")).await;
        assert_eq!((&second["items"][0]["id"], &second["next"]), (&json!("dlv_mine.e.0"), &Value::Null));
        let shared = request(Method::GET, "/v1/endpoints/shared/deliveries");
        world.client.with(&world.token, shared).await.problem(404, "not-found");
    });
}
