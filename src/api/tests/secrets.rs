//! Secrets that are made, shown once, rotated, and cleared.

use super::*;

const URL: &str = "http://127.0.0.1:9/";

#[test]
fn a_rotation_shows_the_new_secret_once() {
    run(async {
        let client = Client::new(200).await;
        let made = client.post("/v1/endpoints", &json!({"id": "a", "url": URL})).await.value(StatusCode::CREATED);
        let rotate = "/v1/endpoints/a/rotate-secret";
        let rotated = client.send(request(Method::POST, rotate)).await;
        assert_eq!(rotated.header("etag"), Some("\"2\""));
        let rotated = rotated.value(StatusCode::OK);
        let (old, new) = (made["secret"].as_str().unwrap(), rotated["secret"].as_str().unwrap());
        assert!(new.starts_with("whsec_") && new != old);
        let [first, second] = [0, 1].map(|n| rotated["signing"]["secrets"][n].clone());
        assert_eq!((&first, &second["secret"]), (&json!("***"), &json!("***")));
        let until: crate::Timestamp = second["until"].as_str().unwrap().parse().unwrap();
        let updated: crate::Timestamp = rotated["updated_at"].as_str().unwrap().parse().unwrap();
        let left = until.since(updated);
        assert!(left <= Duration::from_secs(24 * 3600) && left > Duration::from_secs(23 * 3600), "{left:?}");
        let shown = client.get("/v1/endpoints/a").await.value(StatusCode::OK);
        assert!(shown.get("secret").is_none() && !shown.to_string().contains("whsec_"));

        let own = crate::Secret::generate().unwrap().reveal();
        let brought = client.post(rotate, &json!({"secret": own, "overlap": "0s"})).await.value(StatusCode::OK);
        assert!(brought.get("secret").is_none());
        assert_eq!(brought["signing"]["secrets"], json!(["***"]));
        assert_eq!(client.post(rotate, &json!({"secret": own})).await.problem(422, "invalid-request"), ["#/secret"]);
        let wrong = json!({"secret": "whsec_hush", "overlap": "40d", "x": 1});
        assert_eq!(client.post(rotate, &wrong).await.problem(422, "invalid-request"), ["#/overlap", "#/x"]);
        client.post("/v1/endpoints/b/rotate-secret", &json!({})).await.problem(404, "not-found");
        let stale = with_body(request(Method::POST, rotate), "{}").insert_header(("if-match", "\"1\""));
        client.send(stale).await.problem(412, "precondition-failed");
        let text = request(Method::POST, rotate).insert_header(("content-type", "text/plain")).set_payload("x");
        client.send(text).await.problem(415, "unsupported-media-type");
    });
}

#[test]
fn public_keys_are_always_shown_and_private_ones_never() {
    run(async {
        let client = Client::new(200).await;
        let asymmetric = json!({"id": "a", "url": URL, "signing": {"scheme": "v1a", "header_prefix": "svix"}});
        let made = client.post("/v1/endpoints", &asymmetric).await.value(StatusCode::CREATED);
        let key = made["signing"]["public_keys"][0].as_str().unwrap().to_owned();
        assert!(key.starts_with("whpk_") && made.get("secret").is_none());
        let rotated = client.post("/v1/endpoints/a/rotate-secret", &json!({})).await.value(StatusCode::OK);
        assert_eq!(rotated["signing"]["public_keys"].as_array().unwrap().len(), 2);
        assert_eq!(rotated["signing"]["public_keys"][1], key);
        let shown = client.get("/v1/endpoints/a").await.value(StatusCode::OK);
        assert_eq!(shown["signing"], rotated["signing"]);
        assert_eq!((&shown["signing"]["scheme"], &shown["signing"]["header_prefix"]), (&json!("v1a"), &json!("svix")));
        assert!(!shown.to_string().contains("whsk_") && !made.to_string().contains("whsk_"));
        let patch = json!({"signing": {"scheme": "v1"}});
        let shared = client.json(Method::PATCH, "/v1/endpoints/a", &patch).await.value(StatusCode::OK);
        assert!(shared["secret"].as_str().unwrap().starts_with("whsec_"));
        assert!(shared["signing"].get("public_keys").is_none());
    });
}

#[test]
fn another_origin_clears_what_was_for_the_last_one_and_says_so() {
    run(async {
        let client = Client::new(200).await;
        let auth = json!({"type": "bearer", "token": "t"});
        let settings = json!({"id": "a", "url": URL, "auth": auth, "headers": {"x-key": "1", "x-team": "2"}});
        let made = client.post("/v1/endpoints", &settings).await.value(StatusCode::CREATED);
        assert!(made.get("cleared").is_none());
        let patch =
            async |patch: Value| client.json(Method::PATCH, "/v1/endpoints/a", &patch).await.value(StatusCode::OK);
        let same = patch(json!({"url": "http://127.0.0.1:9/other?path"})).await;
        assert!(same.get("cleared").is_none() && same["auth"]["type"] == "bearer");
        let moved = patch(json!({"url": "http://127.0.0.1:10/", "headers": {"x-team": "3"}})).await;
        assert_eq!(moved["cleared"], json!(["/auth", "/headers/x-key"]));
        assert_eq!((&moved["auth"], &moved["headers"]), (&json!({"type": "none"}), &json!({"x-team": "***"})));
        assert_eq!((moved["signing"].clone(), moved.get("secret")), (made["signing"].clone(), None), "it stays");
        let put = json!({"url": "http://127.0.0.1:11/"});
        let replaced = client.json(Method::PUT, "/v1/endpoints/a", &put).await.value(StatusCode::OK);
        assert_eq!(replaced["cleared"], json!(["/headers/x-team"]));
    });
}

#[test]
fn a_secret_that_somebody_else_sets_meanwhile_stays_hidden() {
    run(async {
        let client = Client::of_tokens(200).await;
        let open = Client { hooks: client.hooks.clone(), access: Access::unguarded() };
        let acme = client.token([crate::store::Scope::Admin], Some("acme")).await;
        for (id, tenant, method) in [
            ("a", None, Method::PATCH),
            ("b", None, Method::PUT),
            ("c", Some("acme"), Method::PATCH),
            ("d", Some("acme"), Method::PUT),
        ] {
            let made = json!({"id": id, "tenant": tenant, "url": "https://example.org/", "headers": {"x-key": "1"}});
            open.post("/v1/endpoints", &made).await.value(StatusCode::CREATED);
            let path = format!("/v1/endpoints/{id}");
            let theirs = crate::Secret::generate().unwrap().reveal();
            let (patch, id) = (json!({"secret": theirs, "headers": {"x-key": "2", "x-new": "3"}}), id.parse().unwrap());
            let body = json!({"url": "https://example.com/", "name": "new"});
            // Changes wait for each other in the order in which they come.
            let held = client.hooks.0.changes.lock().await;
            let hooks = client.hooks.clone();
            let first = actix_rt::spawn(async move { hooks.patch_endpoint(&id, &patch, None).await.map(drop) });
            let settle = async || {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            };
            settle().await;
            let mine = async {
                match tenant {
                    None => open.json(method.clone(), &path, &body).await,
                    Some(_) => client.with(&acme, with_body(request(method.clone(), &path), body.to_string())).await,
                }
            };
            let release = async {
                settle().await;
                drop(held);
            };
            let (reply, ()) = tokio::join!(mine, release);
            first.await.unwrap().unwrap();
            let shown = reply.value(StatusCode::OK);
            assert!(shown.get("secret").is_none(), "{method} {path}: {shown}");
            assert_eq!(shown["cleared"], json!(["/headers/x-key", "/headers/x-new"]), "{method} {path}");
        }
    });
}
