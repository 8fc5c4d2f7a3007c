//! The calls of its admins.

use actix_web::{
    App,
    body::to_bytes,
    http::{Method, StatusCode},
    test::{TestRequest, call_service, init_service},
    web,
};
use hookmill::Access;

use super::*;

const TOKEN: &str = "the admin's own";

/// The calls of `audit`, made with `token`.
async fn call(audit: &Audit, token: &str, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
    let app = init_service(App::new().service(web::scope("/audit").configure(audit.api(Access::token(TOKEN))))).await;
    let request = TestRequest::with_uri(&format!("/audit{path}")).method(method);
    let request = request.insert_header(("authorization", format!("Bearer {token}")));
    let request = if body.is_null() { request } else { request.set_json(body) };
    let response = call_service(&app, request.to_request()).await;
    let status = response.status();
    let body = to_bytes(response.into_body()).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn ok(audit: &Audit, method: Method, path: &str, body: Value) -> Value {
    let (status, body) = call(audit, TOKEN, method, path, body).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body
}

async fn set(audit: &Audit, url: &str) -> Value {
    ok(audit, Method::PUT, "/webhook", json!({"url": url})).await
}

async fn get(audit: &Audit) -> Value {
    ok(audit, Method::GET, "/webhook", Value::Null).await
}

async fn letters(audit: &Audit) -> Value {
    ok(audit, Method::GET, "/dead-letters", Value::Null).await
}

#[test]
fn setting_the_webhook_answers_whether_it_is_enabled_and_the_url() {
    paused(async {
        let (audit, ..) = face(|_| Script::status(200)).await;
        assert_eq!(set(&audit, "https://b.example/x").await, json!({"enabled": true, "url": "https://b.example/x"}));
        assert_eq!(set(&audit, "").await, json!({"enabled": false, "url": null}));
    });
}

#[test]
fn getting_it_tells_where_it_goes_and_what_became_of_entries() {
    paused(async {
        let (audit, hooks, ..) = face(|attempt| match attempt.event().seq {
            1 | 2 => Script::status(200),
            3 => Script::status(404),
            _ => Script::status(500),
        })
        .await;
        (0..3).for_each(|_| audit.emit("user.login", None));
        until(&hooks, |totals| totals.deliveries.delivered == 2 && totals.deliveries.dead_lettered == 1).await;
        audit.emit("user.login", None);
        until(&hooks, |totals| totals.deliveries.pending == 1).await;
        let url = "https://a.example/";
        let expected = json!({"enabled": true, "url": url, "delivered": 2, "failed": 1, "dropped": 0, "dlq_size": 1});
        assert_eq!(get(&audit).await, expected);
        set(&audit, "").await;
        until(&hooks, |totals| totals.deliveries.pending == 0).await;
        let expected = json!({"enabled": false, "url": null, "delivered": 2, "failed": 1, "dropped": 1, "dlq_size": 1});
        assert_eq!(get(&audit).await, expected);
    });
}

#[test]
fn the_dead_letters_are_listed_oldest_first_and_none_is_an_empty_list() {
    paused(async {
        let (audit, hooks, ..) = face(|_| Script::status(404)).await;
        assert_eq!(letters(&audit).await, json!([]));
        for (event, data) in
            [("a1", json!({"action": "in", "details": {"user": "ada"}})), ("a2", json!({"action": "out"}))]
        {
            pass(millis(1500)).await;
            hooks.publish(Event::new("audit.entry", &data).unwrap().id(event)).await.unwrap();
        }
        until(&hooks, |totals| totals.deliveries.dead_lettered == 2).await;
        let first = json!({"event_id": "a1", "action": "in", "timestamp": 1_767_225_601, "details": {"user": "ada"}});
        let second = json!({"event_id": "a2", "action": "out", "timestamp": 1_767_225_603});
        assert_eq!(letters(&audit).await, json!([first, second]));
    });
}

#[test]
fn every_call_needs_the_admins_token() {
    paused(async {
        let (audit, ..) = face(|_| Script::status(200)).await;
        for (method, path, body) in [
            (Method::GET, "/webhook", Value::Null),
            (Method::PUT, "/webhook", json!({"url": ""})),
            (Method::GET, "/dead-letters", Value::Null),
        ] {
            let (status, _) = call(&audit, "another", method, path, body).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED);
        }
        assert_eq!(get(&audit).await["enabled"], true, "and nothing has changed");
    });
}

#[test]
fn a_bad_url_changes_nothing() {
    paused(async {
        let (audit, ..) = face(|_| Script::status(200)).await;
        let before = get(&audit).await;
        for bad in ["nowhere", "ftp://a.b/", "http://169.254.169.254/"] {
            let (status, problem) = call(&audit, TOKEN, Method::PUT, "/webhook", json!({"url": bad})).await;
            assert_eq!((status.as_u16(), &problem["errors"][0]["pointer"]), (422, &json!("#/url")), "{problem}");
            assert_eq!(get(&audit).await, before);
        }
    });
}
