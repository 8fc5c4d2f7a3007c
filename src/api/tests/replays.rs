//! Events delivered again, one or all of an endpoint, and the list of its deliveries.

use super::{jobs::ended, *};

async fn endpoint(client: &Client, id: &str, topics: &str) {
    let endpoint = json!({"id": id, "url": "http://127.0.0.1:9/", "topics": [topics], "retry": {"delays": []}});
    client.post("/v1/endpoints", &endpoint).await.value(StatusCode::CREATED);
}

async fn publish(client: &Client, id: &str, topic: &str) {
    client.post("/v1/events", &json!({"id": id, "topic": topic, "data": 1})).await.value(StatusCode::ACCEPTED);
}

async fn settled(client: &Client) -> Value {
    let done = |stats: &Value| stats["unrouted"] == 0 && stats["deliveries"]["pending"] == 0;
    client.until("/v1/stats", |stats| done(stats) && stats["deliveries"]["in_flight"] == 0).await
}

fn column(list: &Value, name: &str) -> Vec<Value> {
    list["items"].as_array().unwrap().iter().map(|item| item[name].clone()).collect()
}

#[test]
fn an_endpoint_is_given_what_it_missed_once() {
    run(async {
        let client = Client::new(200).await;
        endpoint(&client, "old", "a.*").await;
        for (id, topic) in [("e1", "a.x"), ("e2", "b.x"), ("e3", "a.y")] {
            publish(&client, id, topic).await;
        }
        settled(&client).await;
        endpoint(&client, "new", "a.*").await;
        let replay = async |body: Value| client.post("/v1/endpoints/new/replay", &body).await;
        let dry = async |body: Value| replay(body).await.value(StatusCode::OK)["matched"].clone();
        assert_eq!(dry(json!({"only": "missing", "dry_run": true})).await, 2);
        assert_eq!(dry(json!({"dry_run": true})).await, 0, "failed by default");
        assert_eq!(dry(json!({"only": "missing", "until": "2001-01-01T00:00:00Z", "dry_run": true})).await, 0);
        assert_eq!(dry(json!({"only": "missing", "since": "2001-01-01T00:00:00Z", "dry_run": true})).await, 2);
        assert_eq!(settled(&client).await["deliveries"]["replayed"], 0, "nothing was done");
        let job = ended(&client, replay(json!({"only": "missing", "rate": 5000})).await).await;
        assert_eq!((&job["kind"], &job["total"], &job["done"]), (&json!("replay_missing"), &json!(2), &json!(2)));
        let stats = settled(&client).await;
        assert_eq!((&stats["deliveries"]["replayed"], &stats["deliveries"]["delivered"]), (&json!(2), &json!(4)));
        assert_eq!(dry(json!({"only": "missing", "dry_run": true})).await, 0);
        let job = ended(&client, replay(json!({"only": "all"})).await).await;
        assert_eq!(job["done"], 2, "those that were delivered");
        assert_eq!(settled(&client).await["deliveries"]["delivered"], 6);
    });
}

#[test]
fn a_replay_names_every_mistake() {
    run(async {
        let client = Client::new(200).await;
        endpoint(&client, "a", "a.*").await;
        let replay = async |id: &str, body: Value| client.post(&format!("/v1/endpoints/{id}/replay"), &body).await;
        let wrong = json!({"only": "some", "since": 5, "untill": "x", "rate": "fast", "dry_run": 1});
        let mut places = replay("a", wrong).await.problem(422, "invalid-request");
        places.sort();
        assert_eq!(places, ["#/dry_run", "#/only", "#/rate", "#/since", "#/untill"]);
        assert_eq!(replay("a", json!({"rate": 0})).await.problem(422, "invalid-request"), ["#/rate"]);
        for body in [json!({}), json!({"dry_run": true})] {
            replay("b", body).await.problem(404, "not-found");
        }
        client.send(request(Method::POST, "/v1/endpoints/a/disable")).await.value(StatusCode::OK);
        replay("a", json!({})).await.problem(409, "conflict");
    });
}

#[test]
fn an_event_is_delivered_again_to_all_or_to_one() {
    run(async {
        let client = Client::new(500).await;
        endpoint(&client, "one", "a.*").await;
        endpoint(&client, "two", "*").await;
        endpoint(&client, "three", "b.*").await;
        publish(&client, "e1", "a.x").await;
        settled(&client).await;
        let place = "/v1/events/e1/replay";
        let bare = client.send(request(Method::POST, place)).await.value(StatusCode::ACCEPTED);
        let ids: Vec<_> = bare["deliveries"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
        assert_eq!(ids, ["dlv_1-1-1", "dlv_1-2-1"]);
        settled(&client).await;
        let one = client.post(place, &json!({"endpoint": "two"})).await.value(StatusCode::ACCEPTED);
        assert_eq!(one, json!({"deliveries": ["dlv_1-2-2"]}));
        let stats = settled(&client).await;
        assert_eq!((&stats["deliveries"]["replayed"], &stats["deliveries"]["dead_lettered"]), (&json!(3), &json!(5)));
        assert_eq!(stats["dead_letters"]["kept"], 2, "each was replayed");
        client.post(place, &json!({"endpoint": "three"})).await.problem(409, "conflict");
        client.post(place, &json!({"endpoint": "four"})).await.problem(404, "not-found");
        client.post("/v1/events/e2/replay", &json!({})).await.problem(404, "not-found");
        assert_eq!(
            client.post(place, &json!({"endpiont": "two"})).await.problem(422, "invalid-request"),
            ["#/endpiont"]
        );
        // One that wants it now has it, although it never had it before.
        let wider = json!({"topics": ["a.*"]});
        client.json(Method::PATCH, "/v1/endpoints/three", &wider).await.value(StatusCode::OK);
        client.post(place, &json!({"endpoint": "three"})).await.value(StatusCode::ACCEPTED);
        settled(&client).await;
        client.send(request(Method::POST, "/v1/endpoints/two/pause")).await.value(StatusCode::OK);
        let two = json!({"endpoint": "two"});
        client.post(place, &two).await.value(StatusCode::ACCEPTED);
        client.post(place, &two).await.problem(409, "conflict");
    });
}

#[test]
fn deliveries_of_an_endpoint_are_listed_page_by_page() {
    run(async {
        let client = Client::new(500).await;
        endpoint(&client, "one", "a.*").await;
        for n in 1..=5 {
            publish(&client, &format!("e{n}"), "a.x").await;
        }
        settled(&client).await;
        client.send(request(Method::POST, "/v1/endpoints/one/pause")).await.value(StatusCode::OK);
        publish(&client, "e6", "a.y").await;
        client.until("/v1/stats", |stats| stats["deliveries"]["pending"] == 1).await;
        let list =
            async |query: &str| client.get(&format!("/v1/endpoints/one/deliveries{query}")).await.value(StatusCode::OK);
        let first = list("?limit=4").await;
        assert_eq!(column(&first, "event"), ["e6", "e5", "e4", "e3"]);
        let rest = list(&format!("?limit=4&cursor={}", first["next"].as_str().unwrap())).await;
        assert_eq!((column(&rest, "event"), &rest["next"]), (vec![json!("e2"), json!("e1")], &json!(null)));
        let pending = list("?state=pending").await;
        assert_eq!(column(&pending, "topic"), ["a.y"]);
        assert_eq!(column(&list("?state=dead_lettered").await, "seq"), [5, 4, 3, 2, 1]);
        // As the event shows it.
        let mut shown = rest["items"][1].clone();
        let event = client.get("/v1/events/e1").await.value(StatusCode::OK);
        for name in ["event", "seq", "topic", "created_at"] {
            shown.as_object_mut().unwrap().remove(name).unwrap();
        }
        assert_eq!(shown, event["deliveries"][0]);
        client.get("/v1/endpoints/two/deliveries").await.problem(404, "not-found");
        let wrong = client.get("/v1/endpoints/one/deliveries?state=lost&limit=0").await;
        assert_eq!(wrong.problem(422, "invalid-request"), ["#/state", "#/limit"]);
    });
}

#[test]
fn events_are_listed_by_topic_tenant_state_and_time() {
    run(async {
        let client = Client::new(200).await;
        endpoint(&client, "one", "a.*").await;
        publish(&client, "e1", "a.x").await;
        publish(&client, "e2", "b.x").await;
        let body = json!({"id": "e3", "topic": "a.y", "data": 1, "tenant": "acme"});
        client.post("/v1/events", &body).await.value(StatusCode::ACCEPTED);
        settled(&client).await;
        for (query, expected) in [
            ("topic=a.*", &["e3", "e1"][..]),
            ("tenant=acme", &["e3"]),
            ("state=unmatched", &["e3", "e2"]),
            ("state=delivered", &["e1"]),
            ("topic=a.*&state=routed", &["e1"]),
            ("since=2001-01-01T00:00:00Z", &["e3", "e2", "e1"]),
            ("until=2001-01-01T00:00:00Z", &[]),
        ] {
            let listed = client.get(&format!("/v1/events?{query}")).await.value(StatusCode::OK);
            assert_eq!(column(&listed, "id"), expected, "{query}");
        }
    });
}
