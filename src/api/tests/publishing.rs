//! Events in, and events as they are shown.

use super::*;

#[test]
fn an_event_is_accepted_once_and_shown_as_it_came() {
    run(async {
        let client = Client::new(200).await;
        let body = r#" {"id": "e1", "topic": "a.b", "data" : {"z": 1.0, "a":1e2 , "z2":[ ]} , "key":"k", "source":"s",
            "timestamp":"2026-01-31T10:30:00+01:00", "metadata":{"m": 1}} "#;
        let first = client.raw(Method::POST, "/v1/events", body).await.value(StatusCode::ACCEPTED);
        assert_eq!(first, json!({"id": "e1", "seq": 1, "duplicate": false, "durable": false}));
        let again = client.raw(Method::POST, "/v1/events", body).await.value(StatusCode::ACCEPTED);
        assert_eq!(again, json!({"id": "e1", "seq": 1, "duplicate": true, "durable": false}));
        for path in ["/v1/events/e1", "/v1/events"] {
            let shown = client.get(path).await;
            let text = String::from_utf8(shown.body.to_vec()).unwrap();
            assert!(text.contains(r#""data":{"z": 1.0, "a":1e2 , "z2":[ ]}"#), "{text}");
            assert!(text.contains(r#""timestamp":"2026-01-31T09:30:00.000Z""#), "{text}");
        }
        let shown = client.until("/v1/events/e1", |event| event["state"] == "unmatched").await;
        assert_eq!((&shown["deliveries"], &shown["metadata"]), (&json!([]), &json!({"m": 1})));
        let other = json!({"id": "e1", "topic": "a.b", "data": 2});
        client.post("/v1/events", &other).await.problem(409, "conflict");
    });
}

#[test]
fn an_array_is_accepted_as_a_whole() {
    run(async {
        let client = Client::new(200).await;
        let event = |id: &str| json!({"id": id, "topic": "a", "data": null});
        let several = client.post("/v1/events", &json!([event("a"), event("b"), event("a")])).await;
        let expected = json!({"accepted": 2, "duplicates": 1, "first_seq": 1, "last_seq": 2, "durable": false});
        assert_eq!(several.value(StatusCode::ACCEPTED), expected);
        let before = client.everything().await;
        let taken = json!({"id": "b", "topic": "a", "data": 1});
        let conflict = client.post("/v1/events", &json!([event("c"), taken])).await;
        assert_eq!(conflict.problem(409, "conflict"), ["#/1/id"]);
        let bad =
            json!([event("d"), {"topic": 1, "data": 1}, 5, {"topic": "a b", "x": 1}, {"topic": "c d", "data": 1}]);
        let places = client.post("/v1/events", &bad).await.problem(422, "invalid-request");
        let expected = ["#/1/topic", "#/2", "#/3/x", "#/3/data", "#/3/topic", "#/4/topic"];
        assert_eq!(places, expected);
        let places = client.post("/v1/events", &json!([{"topic": "a b", "data": 1}])).await;
        assert_eq!(places.problem(422, "invalid-request"), ["#/0/topic"]);
        assert_eq!(client.post("/v1/events", &json!([])).await.problem(422, "invalid-request"), ["#"]);
        let many = vec![event("x"); 10_001];
        client.post("/v1/events", &json!(many)).await.problem(413, "content-too-large");
        assert_eq!(client.everything().await, before);
    });
}

#[test]
fn what_cannot_be_read_changes_nothing() {
    run(async {
        let client = Client::new(200).await;
        let before = client.everything().await;
        for body in [
            &b""[..],
            b"{",
            b"nul",
            b"{\"topic\": \"a\", \"data\": 1,}",
            b"{\"topic\": \"a\", \"data\": 1} x",
            b"[{\"topic\": \"a\", \"data\": 1}",
            b"{\"topic\": \"a\", \"data\": \"\xff\"}",
        ] {
            let reply = client.raw(Method::POST, "/v1/events", body).await;
            assert_eq!(reply.problem(400, "malformed-request"), ["#"]);
        }
        for body in ["null", "1", "\"x\"", "{\"\\ud800\": 1}"] {
            let reply = client.raw(Method::POST, "/v1/events", body).await;
            assert_eq!(reply.problem(422, "invalid-request"), ["#"], "{body}");
        }
        assert_eq!(client.everything().await, before);
    });
}

#[test]
fn every_mistake_of_an_event_is_named_at_once() {
    run(async {
        let client = Client::new(200).await;
        let before = client.everything().await;
        let body = r#"{"topic": "a b", "id": 5, "tenant": [], "key": "", "source": {}, "timestamp": "now",
            "metadata": {"x": {"a": 1, "a": 2}}, "dta": 1, "id": 6, "a/b": 1}"#;
        let reply = client.raw(Method::POST, "/v1/events", body).await;
        let mut places = reply.problem(422, "invalid-request");
        places.sort();
        let expected = [
            "#/a~1b",
            "#/data",
            "#/dta",
            "#/id",
            "#/id",
            "#/key",
            "#/metadata/x/a",
            "#/source",
            "#/tenant",
            "#/timestamp",
            "#/topic",
        ];
        assert_eq!(places, expected);
        assert!(String::from_utf8_lossy(&reply.body).contains("did you mean `data`?"));
        let deep = "[".repeat(65) + &"]".repeat(65);
        let body = format!("{{\"topic\": \"a\", \"data\": {deep}, \"metadata\": {{\"x\": {deep}}}}}");
        let places = client.raw(Method::POST, "/v1/events", body).await.problem(422, "invalid-request");
        assert_eq!(places, ["#/metadata", "#/data"]);
        assert_eq!(client.everything().await, before);
    });
}

#[test]
fn other_content_is_not_taken() {
    run(async {
        let client = Client::new(200).await;
        let event = r#"{"topic": "a", "data": 1}"#;
        for kind in ["text/plain", "application/x-ndjsons", "application/vnd.a+json", "application/jsonx", ""] {
            let request = request(Method::POST, "/v1/events").insert_header(("content-type", kind)).set_payload(event);
            client.send(request).await.problem(415, "unsupported-media-type");
        }
        client
            .send(request(Method::POST, "/v1/events").set_payload(event))
            .await
            .problem(415, "unsupported-media-type");
        let packed = with_body(request(Method::POST, "/v1/events"), event).insert_header(("content-encoding", "gzip"));
        client.send(packed).await.problem(415, "unsupported-media-type");
        let charset = request(Method::POST, "/v1/events")
            .insert_header(("content-type", "Application/JSON; charset=utf-8"))
            .set_payload(event);
        client.send(charset).await.value(StatusCode::ACCEPTED);
    });
}

#[test]
fn large_data_passes_and_larger_does_not() {
    run(async {
        let client = Client::new(200).await;
        let event = |bytes: usize| format!("{{\"topic\": \"a\", \"data\": \"{}\"}}", "x".repeat(bytes - 2));
        client.raw(Method::POST, "/v1/events", event(1 << 20)).await.value(StatusCode::ACCEPTED);
        let places = client.raw(Method::POST, "/v1/events", event((1 << 20) + 1)).await;
        assert_eq!(places.problem(422, "invalid-request"), ["#/data"]);
        client.raw(Method::POST, "/v1/events", event(2 << 20)).await.problem(413, "content-too-large");
        let array = format!("[{}]", vec![event(1 << 20); 15].join(","));
        client.raw(Method::POST, "/v1/events", array).await.value(StatusCode::ACCEPTED);
        let array = format!("[{}]", vec![event(1 << 20); 16].join(","));
        client.raw(Method::POST, "/v1/events", array).await.problem(413, "content-too-large");
    });
}

#[test]
fn a_list_is_read_page_by_page() {
    run(async {
        let client = Client::new(200).await;
        let events: Vec<_> = (0..120).map(|n| json!({"topic": format!("t.{}", n % 2), "data": n})).collect();
        client.post("/v1/events", &json!(events)).await.value(StatusCode::ACCEPTED);
        client.until("/v1/stats", |stats| stats["unmatched"] == 120).await;
        let (mut seqs, mut path) = (Vec::new(), "/v1/events?topic=t.1&limit=7&state=unmatched".to_owned());
        loop {
            let page = client.get(&path).await.value(StatusCode::OK);
            seqs.extend(page["items"].as_array().unwrap().iter().map(|event| event["seq"].as_u64().unwrap()));
            let Some(next) = page["next"].as_str() else { break };
            path = format!("/v1/events?topic=t.1&limit=7&state=unmatched&cursor={next}");
        }
        assert_eq!(seqs, (1..=60).rev().map(|n| n * 2).collect::<Vec<_>>());
        assert_eq!(client.get("/v1/events?state=delivered").await.value(StatusCode::OK)["items"], json!([]));
        assert_eq!(client.get("/v1/events?limit=250").await.value(StatusCode::OK)["next"], json!(null));
    });
}

#[test]
fn tenants_events_are_kept_apart() {
    run(async {
        let client = Client::new(200).await;
        let event = json!({"id": "e", "topic": "a", "data": 1, "tenant": "acme"});
        client.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        client.get("/v1/events/e").await.problem(404, "not-found");
        assert_eq!(client.get("/v1/events/e?tenant=acme").await.value(StatusCode::OK)["tenant"], "acme");
        assert_eq!(client.get("/v1/events?tenant=other").await.value(StatusCode::OK)["items"], json!([]));
    });
}

#[test]
fn a_full_intake_asks_to_come_again() {
    run(async {
        let hooks = Hookmill::builder().in_memory().intake(1, 1 << 20).start().await.unwrap();
        let client = Client { hooks, access: Access::unguarded() };
        let event = json!({"topic": "a", "data": 1});
        let waiting = client.hooks.0.intake.admit(None, [1].into_iter()).unwrap();
        let refused = client.post("/v1/events", &event).await;
        refused.problem(503, "overloaded");
        assert_eq!(refused.header("retry-after"), Some("1"));
        drop(waiting);
        client.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
    });
}

#[test]
fn what_is_too_much_of_one_tenant_keeps_no_other_out() {
    run(async {
        let hooks = Hookmill::builder().in_memory().intake(2, 1 << 20).start().await.unwrap();
        let client = Client { hooks, access: Access::unguarded() };
        let publish = async |tenant: &str| {
            let event = json!({"topic": "a", "data": 1, "tenant": tenant});
            client.post("/v1/events", &event).await
        };
        let acme = "acme".parse().unwrap();
        let waiting = client.hooks.0.intake.admit(Some(&acme), [1, 1].into_iter()).unwrap();
        let refused = publish("acme").await;
        refused.problem(429, "quota-reached");
        assert_eq!(refused.header("retry-after"), Some("1"));
        publish("globex").await.value(StatusCode::ACCEPTED);
        drop(waiting);
        publish("acme").await.value(StatusCode::ACCEPTED);
    });
}
