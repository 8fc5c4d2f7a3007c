//! Chains as callers of the API make and invoke them.

use super::*;
use crate::{ChainConfig, Chains};

fn steps() -> Value {
    json!([
        {"name": "a", "url": "http://127.0.0.1:9/a", "auth": {"type": "bearer", "token": "hush"}, "attempts": 1},
        {"name": "b", "url": "http://127.0.0.1:9/b", "use_data_from": "a", "final_response": true},
        {"name": "c", "url": "http://127.0.0.1:9/c", "async": true},
    ])
}

impl Client {
    async fn put_chain(&self, event: &str, chain: &Value) -> Reply {
        self.json(Method::PUT, &format!("/v1/chains/{event}"), chain).await
    }

    async fn invoke(&self, event: &str) -> Reply {
        self.post(&format!("/v1/chains/{event}/invoke"), &json!({"n": 1})).await
    }
}

#[test]
fn a_chain_is_made_shown_changed_invoked_and_removed() {
    run(async {
        let client = Client::new(200).await;
        client.get("/v1/chains/E").await.problem(404, "not-found");
        client.invoke("E").await.problem(404, "not-found");
        client.delete("/v1/chains/E").await.problem(404, "not-found");
        let made = client.put_chain("E", &steps()).await;
        assert_eq!(made.header("location"), Some("/hooks/v1/chains/E"));
        let made = made.value(StatusCode::CREATED);
        assert_eq!(
            (&made["event"], &made["managed_by"], &made["deadline"]),
            (&json!("E"), &json!("api"), &json!("5m"))
        );
        assert_eq!(made["steps"][0]["auth"]["token"], "***");
        assert_eq!(
            (&made["steps"][2]["endpoint"], &made["steps"][1]["guard"]),
            (&json!("chain.E.c"), &json!("public"))
        );

        let reply = client.invoke("E").await;
        assert_eq!(reply.header("content-type"), Some("application/octet-stream"), "it is no JSON");
        assert_eq!((reply.status, reply.body.as_ref()), (StatusCode::OK, &b"said"[..]));
        let shown = client.until("/v1/chains/E", |shown| shown["invocations"]["finished"] == 1).await;
        assert_eq!(shown["steps"][0]["attempts_made"], json!({"total": 1, "without_2xx": 0}));
        client.until("/v1/stats", |stats| stats["deliveries"]["delivered"] == 1).await;

        let changed = json!({"deadline": "9s", "steps": [{"name": "x", "url": "http://127.0.0.1:9/", "async": true}]});
        assert_eq!(client.put_chain("E", &changed).await.value(StatusCode::OK)["deadline"], "9s");
        client.get("/v1/endpoints/chain.E.c").await.problem(404, "not-found");
        assert_eq!(client.invoke("E").await.status, StatusCode::ACCEPTED, "nobody has anything to wait for");
        assert_eq!(client.get("/v1/chains").await.value(StatusCode::OK)["items"][0]["event"], "E");
        assert_eq!(client.delete("/v1/chains/E").await.status, StatusCode::NO_CONTENT);
        assert_eq!(client.get("/v1/endpoints").await.value(StatusCode::OK)["items"], json!([]));
    });
}

#[test]
fn a_failed_step_is_named() {
    run(async {
        let client = Client::new(503).await;
        client.put_chain("E", &steps()).await.value(StatusCode::CREATED);
        let reply = client.invoke("E").await;
        reply.problem(502, "chain-failed");
        let problem = reply.value(StatusCode::BAD_GATEWAY);
        let expected =
            json!({"event": "E", "step": "a", "attempts": 1, "last_error": "answered 503", "last_status": 503});
        expected.as_object().unwrap().iter().for_each(|(name, value)| assert_eq!(&problem[name], value));
        let metrics = String::from_utf8_lossy(&client.get("/metrics").await.body).into_owned();
        assert!(metrics.contains("hookmill_chain_invocations_total{result=\"failed\"} 1\n"), "{metrics}");
        assert!(metrics.contains("hookmill_delivery_attempts_total{outcome=\"5xx\"} 1\n"), "attempts of all kinds");
        let shown = client.get("/v1/chains/E").await.value(StatusCode::OK);
        assert_eq!(shown["invocations"], json!({"in_progress": 0, "finished": 0, "failed": 1, "abandoned": 0}));
        assert_eq!(shown["steps"][0]["attempts_made"], json!({"total": 1, "without_2xx": 1}));
    });
}

#[test]
fn every_mistake_is_named_and_changes_nothing() {
    run(async {
        let client = Client::new(200).await;
        let wrong =
            json!({"deadline": 5, "steps": [{"url": "ftp://x", "timeuot": "1s"}, {"name": "b", "use_data_from": "b"}]});
        let mut places = client.put_chain("E", &wrong).await.problem(422, "invalid-request");
        places.sort();
        let expected = [
            "#/deadline",
            "#/steps",
            "#/steps/0/name",
            "#/steps/0/timeuot",
            "#/steps/0/url",
            "#/steps/1/url",
            "#/steps/1/use_data_from",
        ];
        assert_eq!(places, expected);
        let long = "e".repeat(129);
        assert_eq!(client.put_chain(&long, &steps()).await.problem(422, "invalid-request"), ["#/event"]);
        client.get("/v1/chains/E").await.problem(404, "not-found");
        client.put_chain("E", &steps()).await.value(StatusCode::CREATED);
        let invoke = async |body: &'static str| client.raw(Method::POST, "/v1/chains/E/invoke", body).await;
        assert_eq!(invoke("{").await.problem(422, "invalid-request"), ["#"]);
        let other = request(Method::POST, "/v1/chains/E/invoke").set_payload("{}");
        client.send(other).await.problem(415, "unsupported-media-type");
        client
            .send(with_body(request(Method::POST, "/v1/chains/E/invoke?wait=1"), "{}"))
            .await
            .problem(422, "invalid-request");
    });
}

#[test]
fn events_may_hold_any_character() {
    run(async {
        let client = Client::new(200).await;
        for (path, event) in
            [("a%2Fb", "a/b"), ("a%20b", "a b"), ("order.created", "order.created"), ("100%25", "100%")]
        {
            assert_eq!(client.put_chain(path, &steps()).await.value(StatusCode::CREATED)["event"], event);
            assert_eq!(client.invoke(path).await.status, StatusCode::OK, "{path}");
        }
        let items = client.get("/v1/chains?limit=3").await.value(StatusCode::OK);
        let next = items["next"].as_str().unwrap().to_owned();
        let rest = client.get(&format!("/v1/chains?cursor={next}")).await.value(StatusCode::OK);
        let count = |list: &Value| list["items"].as_array().unwrap().len();
        assert_eq!((count(&items), count(&rest)), (3, 1));
    });
}

#[test]
fn endpoints_of_chains_belong_to_them() {
    run(async {
        let client = Client::new(200).await;
        let body = json!({"url": "http://127.0.0.1:9/", "id": "chain.E.c"});
        assert_eq!(client.post("/v1/endpoints", &body).await.problem(422, "invalid-request"), ["#/id"]);
        let body = json!({"url": "http://127.0.0.1:9/"});
        let put = client.json(Method::PUT, "/v1/endpoints/chain.E.c", &body).await;
        assert_eq!(put.problem(422, "invalid-request"), ["#/id"]);
        client.put_chain("E", &steps()).await.value(StatusCode::CREATED);
        let shown = client.get("/v1/endpoints/chain.E.c").await.value(StatusCode::OK);
        assert_eq!((&shown["managed_by"], &shown["topics"]), (&json!("chain"), &json!(["hookmill.chain.E.c"])));
        client.delete("/v1/endpoints/chain.E.c").await.problem(409, "conflict");
        let patch = async |change: Value| client.json(Method::PATCH, "/v1/endpoints/chain.E.c", &change).await;
        patch(json!({"timeout": "1s"})).await.problem(409, "conflict");
        patch(json!({"state": "paused"})).await.value(StatusCode::OK);
        client.put_chain("E", &steps()).await.value(StatusCode::OK);
        let shown = client.get("/v1/endpoints/chain.E.c").await.value(StatusCode::OK);
        assert_eq!(
            (&shown["state"], &shown["version"]),
            (&json!("paused"), &json!(2)),
            "what is the same is not touched"
        );
    });
}

#[test]
fn chains_of_the_program_are_its_own_and_may_reach_this_machine() {
    run(async {
        let builder = Hookmill::builder().in_memory().transport(|| Scripted(200));
        let client = Client { hooks: builder.start().await.unwrap(), access: Access::unguarded() };
        let places = client.put_chain("E", &steps()).await.problem(422, "invalid-request");
        assert_eq!(places, ["#/0/url", "#/1/url", "#/2/url"], "through the API only with --allow-loopback");
        let config = ChainConfig::parse(&json!({"chains": {"E": steps()}})).unwrap();
        assert!(Chains::from_config(&client.hooks, config).await.unwrap().is_some());
        assert_eq!(client.get("/v1/chains/E").await.value(StatusCode::OK)["managed_by"], "code");
        let public = json!([{"name": "a", "url": "https://example.org/", "async": true}]);
        client.put_chain("E", &public).await.problem(409, "conflict");
        client.delete("/v1/chains/E").await.problem(409, "conflict");
        let paused = client.json(Method::PATCH, "/v1/endpoints/chain.E.c", &json!({"state": "paused"})).await;
        assert_eq!(paused.value(StatusCode::OK)["guard"], "private");
        assert_eq!(client.invoke("E").await.status, StatusCode::OK);
    });
}

#[test]
fn a_chain_that_finds_no_room_is_told_when_to_come_again() {
    run(async {
        let builder = Hookmill::builder().in_memory().allow_loopback(true).delivery_threads(1).chain_bytes(1);
        let hooks = builder.transport(|| Waiting).start().await.unwrap();
        let client = Client { hooks, access: Access::unguarded() };
        client.put_chain("E", &steps()).await.value(StatusCode::CREATED);
        let first = client.hooks.chains();
        let first = actix_rt::spawn(async move { first.call("E", "1").await });
        client.until("/v1/chains/E", |shown| shown["invocations"]["in_progress"] == 1).await;
        let refused = client.invoke("E").await;
        refused.problem(503, "overloaded");
        assert_eq!(refused.header("retry-after"), Some("1"));
        first.abort();
        client.hooks.shutdown(Duration::ZERO).await;
    });
}

/// Never answers.
struct Waiting;

impl Transport for Waiting {
    fn send(&self, _: Attempt) -> LocalBoxFuture<'static, Answer> {
        std::future::pending().boxed_local()
    }
}
