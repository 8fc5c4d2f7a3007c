//! An audit trail as its host's admins see it.

use super::*;
use crate::Audit;

async fn audit(client: &Client, method: Method, path: &str, body: Option<&Value>) -> Reply {
    let audit = Audit::new(client.hooks.clone(), "audit".parse().unwrap());
    let scope = web::scope("/audit").configure(audit.api(client.access.clone()));
    let app = init_service(App::new().service(scope)).await;
    let request = TestRequest::with_uri(&format!("/audit{path}")).method(method);
    let request = match body {
        Some(body) => with_body(request, body.to_string()),
        None => request,
    };
    let response = call_service(&app, request.to_request()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    let body = to_bytes(response.into_body()).await.unwrap_or_default();
    Reply { status, headers, body }
}

#[test]
fn the_webhook_is_set_swapped_and_switched_off() {
    run(async {
        let client = Client::new(200).await;
        let set = async |url: Value| audit(&client, Method::PUT, "/webhook", Some(&json!({"url": url}))).await;
        let get = async || audit(&client, Method::GET, "/webhook", None).await.value(StatusCode::OK);
        let none = json!({"enabled": false, "url": null, "delivered": 0, "failed": 0, "dropped": 0, "dlq_size": 0});
        assert_eq!(get().await, none);
        assert_eq!(set(json!(null)).await.value(StatusCode::OK), json!({"enabled": false, "url": null}));
        assert_eq!(audit(&client, Method::GET, "/dead-letters", None).await.value(StatusCode::OK), json!([]));
        let on = |url: &str| json!({"enabled": true, "url": url});
        assert_eq!(set(json!(" http://127.0.0.1:9/a ")).await.value(StatusCode::OK), on("http://127.0.0.1:9/a"));
        for bad in [json!("nowhere"), json!("ftp://a.b/"), json!(7)] {
            assert_eq!(set(bad).await.problem(422, "invalid-request"), ["#/url"]);
        }
        assert_eq!(get().await["url"], "http://127.0.0.1:9/a", "a bad address changes nothing");
        assert_eq!(set(json!("http://127.0.0.1:9/b")).await.value(StatusCode::OK), on("http://127.0.0.1:9/b"));
        assert_eq!(set(json!("")).await.value(StatusCode::OK), json!({"enabled": false, "url": null}));
        let guarded = Client { access: Access::token("hush"), ..client };
        audit(&guarded, Method::GET, "/webhook", None).await.problem(401, "unauthorized");
    });
}

#[test]
fn entries_that_fail_are_listed_oldest_first_without_secrets_and_survive_a_swap() {
    run(async {
        let client = Client::new(404).await;
        let face = Audit::new(client.hooks.clone(), "audit".parse().unwrap());
        face.set_webhook(Some("http://127.0.0.1:9/a")).await.unwrap();
        face.emit("user.login", Some(&json!({"user": "ada", "password": "hush", "via": [{"API_KEY": 1}]})));
        face.emit("user.logout", None);
        client.until("/v1/stats", |stats| stats["dead_letters"]["kept"] == 2).await;
        face.set_webhook(Some("http://127.0.0.1:9/b")).await.unwrap();
        let list = audit(&client, Method::GET, "/dead-letters", None).await.value(StatusCode::OK);
        let actions: Vec<_> = list.as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["user.login", "user.logout"]);
        let details = json!({"user": "ada", "password": "<redacted>", "via": [{"API_KEY": "<redacted>"}]});
        assert_eq!(list[0]["details"], details);
        assert_eq!(list[1].get("details"), None);
        assert!(list[0]["timestamp"].is_i64() && list[0]["event_id"].is_string());
        let state = face.webhook().await.unwrap();
        assert_eq!((state.delivered, state.failed, state.dropped, state.dlq_size), (0, 2, 0, 2));
    });
}
