//! Test deliveries, through the API.

use actix_web::{
    App,
    body::to_bytes,
    test::{TestRequest, call_service, init_service},
    web,
};
use hookmill::Access;

use super::*;

async fn post(hook: &Bench, path: &str, body: Value) -> (u16, Value) {
    let scope = web::scope("").configure(hook.hooks.api(Access::unguarded()));
    let app = init_service(App::new().service(scope)).await;
    let request = TestRequest::post().uri(path).set_json(body).to_request();
    let response = call_service(&app, request).await;
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body()).await.unwrap();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn try_out(hook: &Bench, id: &str) -> (u16, Value) {
    post(hook, &format!("/v1/endpoints/{id}/test"), json!({"topic": "user.changed", "data": {"user": 1}})).await
}

#[test]
fn a_made_up_event_goes_the_way_of_live_ones() {
    each_way(async |way| {
        let more = json!({"metadata": {"env": "prod"}});
        let hook = hook(way, more, |_| Script::status(200).after(seconds(1))).await;
        let (status, tested) = try_out(&hook, "hook").await;
        assert_eq!((status, &tested["outcome"], &tested["status"]), (200, &json!("delivered"), &json!(200)));
        let body = hook.bodies().remove(0);
        assert_eq!(body[0]["payload"], json!({"user": 1, "meta.env": "prod"}));
        let made = hook.receiver.made();
        assert_eq!(made[0].ended.unwrap().since(made[0].at), seconds(1), "only after the receiver took it");
    });
}

#[test]
fn an_unknown_id_is_a_404() {
    each_way(async |way| {
        let hook = hook(way, json!({}), |_| Script::status(200)).await;
        assert_eq!(try_out(&hook, "nobody").await.0, 404);
    });
}

#[test]
fn a_failed_one_is_told_with_the_reason_after_one_attempt() {
    each_way(async |way| {
        let hook = hook(way, json!({}), |attempt| match attempt.event().topic.as_str() {
            "user.changed" => Script::status(503),
            _ => Script::fails(FailureKind::Connect),
        })
        .await;
        let (_, tested) = try_out(&hook, "hook").await;
        assert_eq!((&tested["outcome"], &tested["status"]), (&json!("failed"), &json!(503)));
        assert_eq!(tested["error"], "answered 503");
        let (_, tested) = post(&hook, "/v1/endpoints/hook/test", json!({"topic": "other"})).await;
        assert_eq!((&tested["outcome"], &tested["error"]), (&json!("failed"), &json!("so the script says")));
        assert_eq!(hook.receiver.made().len(), 2);
    });
}

#[test]
fn a_type_that_is_not_known_is_refused_with_its_place() {
    paused(async {
        let hook = hook(Way::Json, json!({}), |_| Script::status(200)).await;
        let settings = json!({"preset": "batch_hooks", "type": "carrier pigeon", "url": "https://a.example/"});
        let (status, problem) = post(&hook, "/v1/endpoints", settings).await;
        assert_eq!((status, &problem["errors"][0]["pointer"]), (422, &json!("#/type")), "{problem}");
    });
}
