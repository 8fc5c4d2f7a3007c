//! Endpoints, rules and dead letters.

use super::*;

const URL: &str = "https://example.org/hook";

#[test]
fn an_endpoint_lives_through_its_calls() {
    run(async {
        let client = Client::new(200).await;
        let made = client.post("/v1/endpoints", &json!({"id": "crm", "url": URL})).await;
        let body = made.value(StatusCode::CREATED);
        assert_eq!(made.header("location"), Some("/hooks/v1/endpoints/crm"));
        assert_eq!(made.header("etag"), Some("\"1\""));
        assert!(body["secret"].as_str().unwrap().starts_with("whsec_"));
        assert_eq!((&body["managed_by"], &body["signing"]["secrets"]), (&json!("api"), &json!(["***"])));
        let shown = client.get("/v1/endpoints/crm").await;
        assert_eq!(shown.header("etag"), Some("\"1\""));
        let shown = shown.value(StatusCode::OK);
        assert_eq!((shown.get("secret"), &shown["version"], &shown["id"]), (None, &json!(1), &json!("crm")));
        assert_eq!(client.get("/v1/endpoints").await.value(StatusCode::OK), json!({"items": [shown], "next": null}));

        let patched = client.json(Method::PATCH, "/v1/endpoints/crm", &json!({"name": "n", "state": "paused"})).await;
        let patched = patched.value(StatusCode::OK);
        assert_eq!((&patched["name"], &patched["version"], patched.get("secret")), (&json!("n"), &json!(2), None));
        let replaced = client.json(Method::PUT, "/v1/endpoints/crm", &json!({"url": URL, "id": "crm"})).await;
        assert_eq!(replaced.header("location"), None);
        let replaced = replaced.value(StatusCode::OK);
        assert_eq!(
            (&replaced["name"], &replaced["state"], replaced.get("secret")),
            (&json!(null), &json!("active"), None)
        );

        assert_eq!(client.delete("/v1/endpoints/crm").await.status, StatusCode::NO_CONTENT);
        client.get("/v1/endpoints/crm").await.problem(404, "not-found");
    });
}

#[test]
fn a_change_is_made_whole_though_its_client_hangs_up() {
    run(async {
        let client = Client::new(200).await;
        let body = json!({"id": "a", "url": URL});
        assert!(client.post("/v1/endpoints", &body).now_or_never().is_none());
        client.until("/v1/endpoints", |list| list["items"] != json!([])).await;
        client.get("/v1/endpoints/a").await.value(StatusCode::OK);
    });
}

#[test]
fn a_put_creates_and_a_taken_id_is_a_conflict() {
    run(async {
        let client = Client::new(200).await;
        let made = client.json(Method::PUT, "/v1/endpoints/crm", &json!({"url": URL})).await;
        assert_eq!(made.header("location"), Some("/hooks/v1/endpoints/crm"));
        assert!(made.value(StatusCode::CREATED)["secret"].is_string());
        let before = client.everything().await;
        client.post("/v1/endpoints", &json!({"id": "crm", "url": URL})).await.problem(409, "conflict");
        let other = client.json(Method::PUT, "/v1/endpoints/crm", &json!({"url": URL, "id": "other"})).await;
        assert_eq!(other.problem(422, "invalid-request"), ["#/id"]);
        let bad = client.json(Method::PUT, "/v1/endpoints/a%20b", &json!({"url": URL})).await;
        assert_eq!(bad.problem(422, "invalid-request"), ["#/id"]);
        assert_eq!(client.everything().await, before);
    });
}

#[test]
fn another_way_of_signing_has_a_secret_of_its_own_that_is_shown_once() {
    run(async {
        let client = Client::new(200).await;
        client.post("/v1/endpoints", &json!({"id": "crm", "url": URL})).await.value(StatusCode::CREATED);
        let patch =
            async |body: Value| client.json(Method::PATCH, "/v1/endpoints/crm", &body).await.value(StatusCode::OK);
        let hmac = patch(json!({"signing": {"type": "hmac", "header": "x-signature"}})).await;
        assert_eq!(hmac["secret"].as_str().unwrap().len(), 64);
        let expected =
            json!({"type": "hmac", "header": "x-signature", "prefix": "", "encoding": "hex", "secret": "***"});
        assert_eq!(hmac["signing"], expected);
        assert_eq!(patch(json!({"signing": {"encoding": "base64"}})).await.get("secret"), None);
        assert_eq!(patch(json!({"signing": {"secret": "any text"}})).await.get("secret"), None);
        assert!(
            patch(json!({"signing": {"type": "standard"}})).await["secret"].as_str().unwrap().starts_with("whsec_")
        );
    });
}

#[test]
fn a_secret_is_shown_only_when_it_was_generated() {
    run(async {
        let client = Client::new(200).await;
        let own = crate::Secret::generate().unwrap().reveal();
        let brought = client.post("/v1/endpoints", &json!({"url": URL, "secret": own})).await;
        let brought = brought.value(StatusCode::CREATED);
        assert!(brought.get("secret").is_none() && brought["id"].as_str().unwrap().starts_with("ep_"));
        let unsigned = json!({"id": "u", "url": URL, "signing": {"type": "none"}});
        assert!(client.post("/v1/endpoints", &unsigned).await.value(StatusCode::CREATED).get("secret").is_none());
        let signed = client.json(Method::PATCH, "/v1/endpoints/u", &json!({"signing": {"type": "standard"}})).await;
        let signed = signed.value(StatusCode::OK);
        assert!(signed["secret"].is_string());
        assert_eq!(signed["signing"]["secrets"], json!(["***"]));
    });
}

#[test]
fn a_change_can_ask_for_the_version_it_saw() {
    run(async {
        let client = Client::new(200).await;
        client.post("/v1/endpoints", &json!({"id": "a", "url": URL})).await.value(StatusCode::CREATED);
        let call = |method: Method, path: &str, tag: &'static str| {
            with_body(request(method, path), json!({"url": URL, "name": "x"}).to_string())
                .insert_header(("if-match", tag))
        };
        let before = client.everything().await;
        for tag in ["\"2\"", "1", "W/\"1\"", "\"x\""] {
            for method in [Method::PUT, Method::PATCH, Method::DELETE] {
                client.send(call(method, "/v1/endpoints/a", tag)).await.problem(412, "precondition-failed");
            }
        }
        client.send(call(Method::PUT, "/v1/endpoints/b", "*")).await.problem(412, "precondition-failed");
        assert_eq!(client.everything().await, before);
        let changed = client.send(call(Method::PATCH, "/v1/endpoints/a", "\"1\"")).await;
        assert_eq!(changed.header("etag"), Some("\"2\""));
        assert_eq!(client.send(call(Method::DELETE, "/v1/endpoints/a", "*")).await.status, StatusCode::NO_CONTENT);
    });
}

#[test]
fn bad_settings_change_nothing() {
    run(async {
        let client = Client::new(200).await;
        client.post("/v1/endpoints", &json!({"id": "a", "url": URL})).await.value(StatusCode::CREATED);
        let before = client.everything().await;
        let bad = json!({"id": "a b", "url": "ftp://x", "timeuot": "1s", "retry": {"max_age": 5}});
        let mut places = client.post("/v1/endpoints", &bad).await.problem(422, "invalid-request");
        places.sort();
        assert_eq!(places, ["#/id", "#/retry/max_age", "#/timeuot", "#/url"]);
        let twice = r#"{"url": "https://a.b/", "url": "https://c.d/", "headers": {"x": "1", "x": "2"}}"#;
        let reply = client.raw(Method::PUT, "/v1/endpoints/a", twice).await;
        assert_eq!(reply.problem(422, "invalid-request"), ["#/url", "#/headers/x"]);
        for body in ["null", "[]", "\"x\""] {
            for (method, path) in [(Method::POST, "/v1/endpoints"), (Method::PATCH, "/v1/endpoints/a")] {
                assert_eq!(client.raw(method, path, body).await.problem(422, "invalid-request"), ["#"]);
            }
        }
        client.raw(Method::POST, "/v1/endpoints", "{").await.problem(400, "malformed-request");
        let large = json!({"url": URL, "metadata": {"x": "x".repeat(256 << 10)}});
        client.post("/v1/endpoints", &large).await.problem(413, "content-too-large");
        let merge = with_body(request(Method::PUT, "/v1/endpoints/a"), "{}")
            .insert_header(("content-type", "application/merge-patch+json"));
        client.send(merge).await.problem(415, "unsupported-media-type");
        assert_eq!(client.everything().await, before);
    });
}

#[test]
fn deliveries_attempts_and_state_are_shown() {
    run(async {
        let client = Client::new(204).await;
        client
            .post("/v1/endpoints", &json!({"id": "ok", "url": "http://127.0.0.1:9/"}))
            .await
            .value(StatusCode::CREATED);
        for n in 0..3 {
            let event = json!({"id": format!("e{n}"), "topic": "a", "data": n});
            client.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        }
        client.until("/v1/stats", |stats| stats["deliveries"]["delivered"] == 3).await;
        let delivery = &client.get("/v1/events/e0").await.value(StatusCode::OK)["deliveries"][0];
        assert_eq!((&delivery["endpoint"], &delivery["state"]), (&json!("ok"), &json!("delivered")));
        assert_eq!((&delivery["attempts"], &delivery["last_status"]), (&json!(1), &json!(204)));
        let attempts = client.get("/v1/events/e0/attempts").await.value(StatusCode::OK);
        assert_eq!((&attempts["items"][0]["status"], &attempts["items"][0]["event"]), (&json!(204), &json!("e0")));
        let page = client.get("/v1/endpoints/ok/attempts?limit=2").await.value(StatusCode::OK);
        let path = format!("/v1/endpoints/ok/attempts?limit=2&cursor={}", page["next"].as_str().unwrap());
        let rest = client.get(&path).await.value(StatusCode::OK);
        assert_eq!((&rest["items"][0]["event"], &rest["next"]), (&json!("e0"), &json!(null)));
        let state = client.get("/v1/endpoints/ok/state").await.value(StatusCode::OK);
        assert_eq!(
            (&state["state"], &state["breaker"], &state["pending"]),
            (&json!("active"), &json!("closed"), &json!(0))
        );
        assert_eq!((&state["totals"]["delivered"], &state["in_flight"]), (&json!(3), &json!(0)));
        assert_eq!(
            client.get("/v1/events?state=delivered").await.value(StatusCode::OK)["items"].as_array().unwrap().len(),
            3
        );
    });
}

#[test]
fn an_endpoint_has_a_debounce_of_its_own() {
    run(async {
        let client = Client::new(204).await;
        let debounce = json!({"key": ["/data/k"], "window": "1h"});
        let calm = json!({"id": "calm", "url": URL, "debounce": debounce});
        let made = client.post("/v1/endpoints", &calm).await.value(StatusCode::CREATED);
        assert_eq!(
            made["debounce"],
            json!({
                "key": ["/data/k"], "window": "1h", "edge": "leading", "max_wait": null, "reset_on": [],
                "release_on_failure": false
            })
        );
        let eager = client.post("/v1/endpoints", &json!({"id": "eager", "url": URL})).await.value(StatusCode::CREATED);
        assert_eq!(eager["debounce"], Value::Null);
        for (n, k) in [(0, "a"), (1, "a"), (2, "b")] {
            let event = json!({"id": format!("e{n}"), "topic": "t", "data": {"k": k}});
            client.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        }
        let stats = client.until("/v1/stats", |stats| stats["deliveries"]["delivered"] == 5).await;
        assert_eq!((&stats["suppressed"], &stats["deliveries"]["suppressed"]), (&json!(0), &json!(1)));
        let shown = client.get("/v1/events/e1").await.value(StatusCode::OK);
        let states = [0, 1].map(|place| &shown["deliveries"][place]["state"]);
        assert_eq!((&shown["state"], states), (&json!("routed"), [&json!("suppressed"), &json!("delivered")]));
        assert_eq!((&shown["deliveries"][0]["attempts"], &shown["deliveries"][0]["reason"]), (&json!(0), &Value::Null));
        let state = client.get("/v1/endpoints/calm/state").await.value(StatusCode::OK);
        assert_eq!(state["totals"]["suppressed"], 1);
        let metrics = client.get("/metrics").await;
        let line = r#"hookmill_deliveries_settled_total{state="suppressed",reason=""} 1"#;
        assert!(String::from_utf8_lossy(&metrics.body).contains(line));
        let rules = client.get("/v1/debounce-rules").await.value(StatusCode::OK);
        assert_eq!(rules["items"], json!([]));
        let waits = json!({"debounce": {"max_wait": "2h"}});
        let patch = client.json(Method::PATCH, "/v1/endpoints/calm", &waits).await;
        assert_eq!(patch.problem(422, "invalid-request"), ["#/debounce/max_wait"]);
        let held = json!({"debounce": {"edge": "trailing", "max_wait": "2h", "reset_on": ["done"]}});
        let patched = client.json(Method::PATCH, "/v1/endpoints/calm", &held).await.value(StatusCode::OK);
        assert_eq!(patched["debounce"]["reset_on"], json!(["done"]));
        client
            .post("/v1/events", &json!({"id": "e3", "topic": "t", "data": {"k": "a"}}))
            .await
            .value(StatusCode::ACCEPTED);
        let stats = client.until("/v1/stats", |stats| stats["deliveries"]["delivered"] == 6).await;
        assert_eq!(stats["deliveries"]["pending"], 1);
        let shown = client.get("/v1/events/e3").await.value(StatusCode::OK);
        assert_eq!(shown["deliveries"][0]["state"], "pending");
    });
}

#[test]
fn a_dead_letter_is_shown_and_replayed_once() {
    run(async {
        let client = Client::new(500).await;
        let letter = client.dead_letter().await;
        let path = format!("/v1/dead-letters/{}", letter["id"].as_str().unwrap());
        assert_eq!(
            (&letter["event"], &letter["reason"], &letter["last_status"]),
            (&json!("e1"), &json!("exhausted"), &json!(500))
        );
        let shown = client.get(&path).await.value(StatusCode::OK);
        assert_eq!((&shown["data"], &shown["topic"], &shown["id"]), (&json!({"n": 1}), &json!("a.b"), &letter["id"]));
        let replayed = client.send(request(Method::POST, &format!("{path}/replay"))).await;
        let delivery = replayed.value(StatusCode::ACCEPTED)["delivery"].clone();
        client.send(request(Method::POST, &format!("{path}/replay"))).await.problem(409, "conflict");
        let list = client.get("/v1/dead-letters?replayed=true&endpoint=dead").await.value(StatusCode::OK);
        assert_eq!(list["items"][0]["replayed_as"], delivery);
        let attempts =
            client.until("/v1/events/e1/attempts", |list| list["items"].as_array().unwrap().len() == 2).await;
        assert_eq!((&attempts["items"][1]["delivery"], &attempts["items"][1]["response"]), (&delivery, &json!("said")));
    });
}

#[test]
fn a_rule_lives_through_its_calls() {
    run(async {
        let client = Client::new(200).await;
        let path = "/v1/debounce-rules/calm";
        let rule = json!({"topics": ["a.*"], "window": "60s", "key": ["/data/x"]});
        let made = client.json(Method::PUT, path, &rule).await;
        assert_eq!(made.header("location"), Some("/hooks/v1/debounce-rules/calm"));
        assert_eq!(made.value(StatusCode::CREATED)["name"], "calm");
        let shown = client.json(Method::PUT, path, &rule).await.value(StatusCode::OK);
        let counts = ["suppressed", "coalesced", "keys", "held"].map(|name| shown[name].as_u64());
        assert_eq!(counts, [Some(0); 4]);
        assert_eq!(client.get(path).await.value(StatusCode::OK), shown);
        assert_eq!(client.get("/v1/debounce-rules").await.value(StatusCode::OK)["items"], json!([shown]));
        let bad = client.json(Method::PUT, path, &json!({"topics": [], "windw": "1s"})).await;
        assert_eq!(bad.problem(422, "invalid-request"), ["#/topics", "#/window", "#/windw"]);
        assert_eq!(client.get(path).await.value(StatusCode::OK), shown);
        assert_eq!(client.delete(path).await.status, StatusCode::NO_CONTENT);
        client.get(path).await.problem(404, "not-found");
    });
}
