//! Endpoints paused, resumed, disabled, enabled, and tested.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::*;
use crate::Endpoint;

async fn endpoint(client: &Client, more: &Value) {
    let mut body = json!({"id": "a", "url": "http://127.0.0.1:9/"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    client.post("/v1/endpoints", &body).await.value(StatusCode::CREATED);
}

impl Client {
    async fn switch(&self, switch: &str) -> Reply {
        self.send(request(Method::POST, &format!("/v1/endpoints/a/{switch}"))).await
    }
}

#[test]
fn an_endpoint_is_switched_from_state_to_state() {
    run(async {
        let client = Client::new(200).await;
        client.switch("pause").await.problem(404, "not-found");
        endpoint(&client, &json!({})).await;
        let steps = [
            ("pause", "paused", 2),
            ("pause", "paused", 2),
            ("enable", "paused", 2),
            ("resume", "active", 3),
            ("resume", "active", 3),
            ("disable", "disabled", 4),
            ("disable", "disabled", 4),
            ("enable", "active", 5),
        ];
        for (switch, state, version) in steps {
            let reply = client.switch(switch).await;
            assert_eq!(reply.header("etag"), Some(format!("\"{version}\"").as_str()), "{switch}");
            let shown = reply.value(StatusCode::OK);
            assert_eq!((&shown["state"], &shown["id"]), (&json!(state), &json!("a")), "{switch}");
        }
        client.switch("disable").await.value(StatusCode::OK);
        for switch in ["pause", "resume"] {
            client.switch(switch).await.problem(409, "conflict");
        }
        client.send(request(Method::GET, "/v1/endpoints/a/pause")).await.problem(405, "method-not-allowed");
        let stale = request(Method::POST, "/v1/endpoints/a/enable").insert_header(("if-match", "\"1\""));
        client.send(stale).await.problem(412, "precondition-failed");
    });
}

#[test]
fn what_was_held_goes_out_when_resumed() {
    run(async {
        let client = Client::new(200).await;
        endpoint(&client, &json!({})).await;
        client.switch("pause").await.value(StatusCode::OK);
        client.post("/v1/events", &json!({"topic": "a", "data": 1})).await.value(StatusCode::ACCEPTED);
        client.until("/v1/stats", |stats| stats["deliveries"]["pending"] == 1).await;
        client.switch("resume").await.value(StatusCode::OK);
        client.until("/v1/stats", |stats| stats["deliveries"]["delivered"] == 1).await;
    });
}

#[test]
fn the_programs_own_endpoints_can_be_paused_only() {
    run(async {
        let builder = Hookmill::builder().in_memory().endpoint(Endpoint::http("a", "https://example.org/"));
        let hooks = builder.transport(|| Scripted(200)).start().await.unwrap();
        let client = Client { hooks, access: Access::unguarded() };
        assert_eq!(client.switch("pause").await.value(StatusCode::OK)["state"], "paused");
        assert_eq!(client.switch("resume").await.value(StatusCode::OK)["state"], "active");
        client.switch("disable").await.problem(409, "conflict");
    });
}

#[test]
fn a_test_tells_what_the_receiver_answered_and_counts_nowhere() {
    run(async {
        let client = Client::new(200).await;
        client.switch("test").await.problem(404, "not-found");
        endpoint(&client, &json!({"topics": ["other.*"]})).await;
        client.switch("disable").await.value(StatusCode::OK);
        let before = client.everything().await;
        let tested = client.switch("test").await.value(StatusCode::OK);
        let expected = json!({"outcome": "delivered", "status": 200, "error": null, "response": "said"});
        expected.as_object().unwrap().iter().for_each(|(name, value)| assert_eq!(&tested[name], value));
        assert!(tested["duration_ms"].is_u64());
        assert_eq!(client.everything().await, before);

        let failing = Client::new(503).await;
        endpoint(&failing, &json!({})).await;
        let tested = failing.switch("test").await.value(StatusCode::OK);
        assert_eq!((&tested["outcome"], &tested["status"]), (&json!("failed"), &json!(503)));
        assert_eq!((&tested["error"], &tested["response"]), (&json!("answered 503"), &json!("said")));
    });
}

#[test]
fn a_test_may_bring_its_topic_and_data() {
    struct Echo;
    impl Transport for Echo {
        fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer> {
            let event = attempt.event();
            let said = format!("{} {} {}", event.id, event.topic, String::from_utf8_lossy(&event.data));
            async move { Ok(Response { body: said.into(), ..Response::new(200) }.into()) }.boxed_local()
        }
    }
    run(async {
        let builder = Hookmill::builder().in_memory().allow_loopback(true).transport(|| Echo);
        let client = Client { hooks: builder.start().await.unwrap(), access: Access::unguarded() };
        endpoint(&client, &json!({})).await;
        let test = async |body: &'static str| client.raw(Method::POST, "/v1/endpoints/a/test", body).await;
        let said = client.switch("test").await.value(StatusCode::OK)["response"].as_str().unwrap().to_owned();
        assert!(said.starts_with("test_") && said.contains(" hookmill.test {"), "{said}");
        let said = test(r#"{"topic": "a.b", "data": {"x": 1.0}}"#).await.value(StatusCode::OK)["response"].clone();
        assert!(said.as_str().unwrap().ends_with(r#" a.b {"x": 1.0}"#), "{said}");
        test(r#"{"topic": "hookmill.test"}"#).await.value(StatusCode::OK);
        let places = |reply: Reply| reply.problem(422, "invalid-request");
        assert_eq!(places(test(r#"{"topic": "hookmill.endpoint.failing"}"#).await), ["#/topic"]);
        assert_eq!(places(test(r#"{"topic": 1, "id": "x"}"#).await), ["#/topic", "#/id"]);
        assert_eq!(places(test("[]").await), ["#"]);
        test("{").await.problem(400, "malformed-request");
        let other = request(Method::POST, "/v1/endpoints/a/test").set_payload("{}");
        client.send(other).await.problem(415, "unsupported-media-type");
    });
}

#[test]
fn tests_are_bounded_in_number_and_end_with_a_shutdown() {
    struct Hung(Arc<AtomicUsize>);
    impl Transport for Hung {
        fn send(&self, _: Attempt) -> LocalBoxFuture<'static, Answer> {
            self.0.fetch_add(1, Ordering::SeqCst);
            std::future::pending().boxed_local()
        }
    }
    run(async {
        let made = Arc::new(AtomicUsize::new(0));
        let builder = Hookmill::builder().in_memory().allow_loopback(true).delivery_threads(1);
        let count = Arc::clone(&made);
        let hooks = builder.transport(move || Hung(Arc::clone(&count))).start().await.unwrap();
        let client = Client { hooks, access: Access::unguarded() };
        let ids = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        for id in ids {
            endpoint(&client, &json!({"id": id})).await;
        }
        let hooks = client.hooks.clone();
        let test = move |id: &str| {
            let (hooks, id): (_, crate::EndpointId) = (hooks.clone(), id.parse().unwrap());
            actix_rt::spawn(async move { hooks.test_endpoint(&id, crate::pipeline::Trial::default()).await })
        };
        let hung: Vec<_> = ids[..8].iter().flat_map(|id| [test(id), test(id)]).collect();
        while made.load(Ordering::SeqCst) < 16 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        client.send(request(Method::POST, "/v1/endpoints/i/test")).await.problem(503, "overloaded");
        client.hooks.shutdown(Duration::from_millis(10)).await;
        for test in hung {
            assert!(test.await.unwrap().is_err());
        }
    });
}

#[test]
fn an_endpoint_of_the_program_keeps_its_guard_when_it_is_paused() {
    run(async {
        let own = crate::Endpoint::http("own", "http://127.0.0.1:9/");
        let builder = Hookmill::builder().in_memory().endpoint(own).delivery_threads(1);
        let hooks = builder.transport(|| Scripted(200)).start().await.unwrap();
        let client = Client { hooks, access: Access::unguarded() };
        let paused = client.json(Method::PATCH, "/v1/endpoints/own", &json!({"state": "paused"})).await;
        assert_eq!(paused.value(StatusCode::OK)["state"], "paused");
        let guard = client.hooks.endpoint(&"own".parse().unwrap()).unwrap().settings.guard;
        assert_eq!(guard, crate::endpoint::policy::Guard::Private);
        let same = json!({"url": "http://127.0.0.1:9/", "guard": "private"});
        let places = client.post("/v1/endpoints", &same).await.problem(422, "invalid-request");
        assert_eq!(places, ["#/url"]);
    });
}
