//! Calls that work on many deliveries at once.

use super::*;

async fn held(client: &Client) {
    for id in ["a", "b"] {
        let endpoint = json!({"id": id, "url": "http://127.0.0.1:9/", "state": "paused"});
        client.post("/v1/endpoints", &endpoint).await.value(StatusCode::CREATED);
    }
    for topic in ["x.1", "x.2", "y"] {
        client.post("/v1/events", &json!({"topic": topic, "data": 1})).await.value(StatusCode::ACCEPTED);
    }
    client.until("/v1/stats", |stats| stats["deliveries"]["pending"] == 6).await;
}

#[test]
fn pending_deliveries_are_cancelled_by_filter() {
    run(async {
        let client = Client::new(200).await;
        held(&client).await;
        let cancel = async |body: Value| client.post("/v1/deliveries/cancel", &body).await;
        let before = client.everything().await;
        let dry = cancel(json!({"topic": "x.*", "dry_run": true})).await.value(StatusCode::OK);
        assert_eq!(dry, json!({"matched": 4, "cancelled": 0}));
        assert_eq!(cancel(json!({})).await.problem(422, "invalid-request"), ["#"]);
        let bad = json!({"topic": "x*", "endpoint": "c", "until": 5, "dry_run": 1, "topci": "x"});
        let mut places = cancel(bad).await.problem(422, "invalid-request");
        places.sort();
        assert_eq!(places, ["#/dry_run", "#/endpoint", "#/topci", "#/topic", "#/until"]);
        assert_eq!(client.everything().await, before);

        let done = cancel(json!({"topic": "x.*", "endpoint": "a"})).await.value(StatusCode::OK);
        assert_eq!(done, json!({"matched": 2, "cancelled": 2}));
        let done = cancel(json!({"until": "2001-01-01T00:00:00Z"})).await.value(StatusCode::OK);
        assert_eq!(done["matched"], 0);
        for id in ["a", "b"] {
            client.send(request(Method::POST, &format!("/v1/endpoints/{id}/resume"))).await.value(StatusCode::OK);
        }
        let stats = client.until("/v1/stats", |stats| stats["deliveries"]["delivered"] == 4).await;
        assert_eq!(stats["deliveries"]["pending"], 0);
        assert_eq!(stats["deliveries"]["dropped"], json!({"cancelled": 2}));
        assert_eq!(cancel(json!({"all": true})).await.value(StatusCode::OK)["matched"], 0);
    });
}
