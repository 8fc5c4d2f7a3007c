//! Who gets in, and what a wrong way is answered with.

use super::*;

fn bearer(token: &str) -> TestRequest {
    request(Method::GET, "/v1/stats").insert_header(("authorization", format!("Bearer {token}")))
}

#[test]
fn only_the_token_opens_v1() {
    run(async {
        let client = Client { access: Access::token("hmk_right"), ..Client::new(200).await };
        for request in [
            request(Method::GET, "/v1/stats"),
            request(Method::GET, "/v1/nothing"),
            request(Method::PATCH, "/v1/stats"),
            bearer(""),
            bearer("hmk_wrong"),
            bearer("hmk_right2"),
            request(Method::GET, "/v1/stats").insert_header(("authorization", "Basic hmk_right")),
            with_body(request(Method::POST, "/v1/events"), r#"{"topic": "a", "data": 1}"#),
        ] {
            let reply = client.send(request).await;
            assert!(reply.problem(401, "unauthorized").is_empty());
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        }
        assert_eq!(client.send(bearer("hmk_right")).await.value(StatusCode::OK)["accepted"], 0);
        assert_eq!(client.get("/healthz").await.value(StatusCode::OK), json!({"status": "ok"}));
    });
}

#[test]
fn without_a_data_directory_there_is_no_token() {
    run(async {
        let client = Client { access: Access::tokens(), ..Client::new(200).await };
        let reply = client.send(bearer("")).await;
        assert!(reply.problem(401, "unauthorized").is_empty());
        assert!(reply.value(StatusCode::UNAUTHORIZED)["detail"].as_str().unwrap().contains("no token"));
    });
}

#[cfg(feature = "sqlite")]
#[test]
fn the_admin_token_is_in_the_data_directory() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let hooks = Hookmill::builder().data_dir(dir.path()).start().await.unwrap();
        let client = Client { hooks: hooks.clone(), access: Access::tokens() };
        client.get("/v1/stats").await.problem(401, "unauthorized");
        let admin = crate::api::admin_token(dir.path()).unwrap();
        assert!(!admin.created);
        client.send(bearer(&admin.token)).await.value(StatusCode::OK);
        hooks.shutdown(Duration::from_secs(1)).await;
    });
}

#[test]
fn a_path_or_method_that_is_not_there_is_a_problem() {
    run(async {
        let client = Client::new(200).await;
        for path in ["", "/", "/v1", "/v1/", "/v1/event", "/v1/events/", "/v2/events", "/v1/endpoints/%2e%2e/x", "/%ff"]
        {
            client.get(path).await.problem(404, "not-found");
        }
        let reply = client.delete("/v1/events").await;
        reply.problem(405, "method-not-allowed");
        assert_eq!(reply.header("allow"), Some("GET, HEAD, POST"));
        let reply = client.json(Method::POST, "/v1/endpoints/a", &json!({})).await;
        assert_eq!(reply.header("allow"), Some("GET, HEAD, PUT, PATCH, DELETE"));
        client.send(request(Method::POST, "/healthz")).await.problem(405, "method-not-allowed");
        assert_eq!(client.send(request(Method::HEAD, "/healthz")).await.status, StatusCode::OK);
    });
}

#[test]
fn unknown_names_are_not_found() {
    run(async {
        let client = Client::new(200).await;
        let before = client.everything().await;
        for path in
            ["/v1/events/e", "/v1/events/e/attempts", "/v1/events/a%20b", "/v1/endpoints/x", "/v1/endpoints/a.b"]
        {
            client.get(path).await.problem(404, "not-found");
        }
        for path in ["/v1/endpoints/x/state", "/v1/endpoints/x/attempts", "/v1/debounce-rules/x"] {
            client.get(path).await.problem(404, "not-found");
        }
        for path in ["/v1/dead-letters/x", "/v1/dead-letters/dlv_1-1-0", "/v1/dead-letters/dlv_01-1-0"] {
            client.get(path).await.problem(404, "not-found");
            client.send(request(Method::POST, &format!("{path}/replay"))).await.problem(404, "not-found");
        }
        client.delete("/v1/endpoints/x").await.problem(404, "not-found");
        client.delete("/v1/debounce-rules/x").await.problem(404, "not-found");
        client.json(Method::PATCH, "/v1/endpoints/x", &json!({})).await.problem(404, "not-found");
        assert_eq!(client.everything().await, before);
    });
}

#[test]
fn bad_parameters_are_named_all_at_once() {
    run(async {
        let client = Client::new(200).await;
        let places = |reply: Reply| reply.problem(422, "invalid-request");
        let query = "/v1/events?topic=a*&tenant=%00&state=on&since=now&until=1&limit=251&cursor=x&order=up";
        let expected = ["#/state", "#/topic", "#/tenant", "#/since", "#/until", "#/limit", "#/cursor", "#/order"];
        assert_eq!(places(client.get(query).await), expected);
        assert_eq!(places(client.get("/v1/endpoints?limit=0&limit=1").await), ["#/limit", "#/limit"]);
        assert_eq!(places(client.get("/v1/dead-letters?replayed=yes&endpoint=x").await), ["#/endpoint", "#/replayed"]);
        assert_eq!(places(client.get("/v1/debounce-rules?cursor=eA!").await), ["#/cursor"]);
        assert_eq!(places(client.get("/v1/stats?x").await), ["#/x"]);
    });
}

#[test]
fn a_request_id_is_kept_if_it_is_one() {
    run(async {
        let client = Client::new(200).await;
        let with = |id: &'static str| request(Method::GET, "/v1/nothing").insert_header(("x-request-id", id));
        assert_eq!(client.send(with("mine-1")).await.header("x-request-id"), Some("mine-1"));
        for id in ["", "a b", "a\"b"] {
            let reply = client.send(with(id)).await;
            reply.problem(404, "not-found");
            assert!(reply.header("x-request-id").unwrap().starts_with("req_"));
        }
    });
}

#[test]
fn readiness_ends_with_the_intake() {
    run(async {
        let client = Client::new(200).await;
        client.get("/readyz").await.value(StatusCode::OK);
        client.hooks.close_intake();
        let unready = client.get("/readyz").await.value(StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(unready, json!({"status": "unready", "reason": "shutting down"}));
        client.get("/healthz").await.value(StatusCode::OK);
        client.post("/v1/events", &json!({"topic": "a", "data": 1})).await.problem(503, "shutting-down");
    });
}
