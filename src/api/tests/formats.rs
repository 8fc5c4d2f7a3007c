//! Events in as lines and as CloudEvents.

use super::*;
use crate::config::conform::conforms;

impl Client {
    async fn publish(&self, kind: &str, body: impl Into<Bytes>) -> Reply {
        let request = request(Method::POST, "/v1/events").insert_header(("content-type", kind));
        self.send(request.set_payload(body)).await
    }
}

const NDJSON: &str = "application/x-ndjson";
const STRUCTURED: &str = "application/cloudevents+json; charset=utf-8";
const BATCH: &str = "application/cloudevents-batch+json";

#[test]
fn lines_are_accepted_as_a_whole() {
    run(async {
        let client = Client::new(200).await;
        let lines = "\n{\"topic\": \"a\", \"id\": \"x\", \"data\": 1.0 }\r\n  \r\n{\"topic\":\"b\",\"data\":[2]}";
        let accepted = client.publish(NDJSON, lines).await.value(StatusCode::ACCEPTED);
        let expected = json!({"accepted": 2, "duplicates": 0, "first_seq": 1, "last_seq": 2, "durable": false});
        assert_eq!(accepted, expected);
        let one = client.publish(NDJSON, "{\"topic\":\"a\",\"data\":1.0,\"id\":\"x\"}\n").await;
        assert_eq!(one.value(StatusCode::ACCEPTED)["duplicates"], 1);
        let before = client.everything().await;
        let bad = "{\"topic\":\"a\",\"data\":1}\n\n{\"topic\":1,\"data\":1}\n7\n{\"topic\":\"a b\",\"data\":1}";
        let places = client.publish(NDJSON, bad).await.problem(422, "invalid-request");
        assert_eq!(places, ["#/1/topic", "#/2", "#/3/topic"]);
        let places = client.publish(NDJSON, "{\"topic\":\"a b\",\"data\":1}").await.problem(422, "invalid-request");
        assert_eq!(places, ["#/0/topic"]);
        let places = client.publish(NDJSON, "{\"topic\":\"a\",\"data\":1}\n{\n\n}{").await;
        assert_eq!(places.problem(400, "malformed-request"), ["#/1", "#/2"]);
        assert_eq!(client.publish(NDJSON, " \n\n").await.problem(422, "invalid-request"), ["#"]);
        let taken = "{\"topic\":\"n\",\"data\":1}\n{\"topic\":\"a\",\"id\":\"x\",\"data\":2}";
        assert_eq!(client.publish(NDJSON, taken).await.problem(409, "conflict"), ["#/1/id"]);
        let many = "{\"topic\":\"a\",\"data\":1}\n".repeat(10_001);
        client.publish(NDJSON, many).await.problem(413, "content-too-large");
        client.publish(NDJSON, "x".repeat((16 << 20) + 1)).await.problem(413, "content-too-large");
        assert_eq!(client.everything().await, before);
    });
}

#[test]
fn ten_thousand_lines_pass() {
    run(async {
        let client = Client::new(200).await;
        let many = "{\"topic\":\"a\",\"data\":1}\n".repeat(10_000);
        assert_eq!(client.publish(NDJSON, many).await.value(StatusCode::ACCEPTED)["accepted"], 10_000);
    });
}

#[test]
fn a_cloud_event_becomes_an_event() {
    run(async {
        let client = Client::new(200).await;
        let body = r#"{"specversion": "1.0", "type": "com.example.made", "source": "/shop/1", "id": "a.b/c",
            "subject": "order-1", "time": "2026-01-31T09:30:00Z", "datacontenttype": "application/json",
            "dataschema": "https://example.org/s", "traceparent": "00-1", "n": 7, "none": null,
            "data": {"z": 1.0, "a":1e2}}"#;
        let first = client.publish(STRUCTURED, body).await.value(StatusCode::ACCEPTED);
        let again = client.publish(STRUCTURED, body).await.value(StatusCode::ACCEPTED);
        assert_eq!((&first["duplicate"], &again["duplicate"]), (&json!(false), &json!(true)));
        assert_eq!(first["id"], again["id"]);
        let shown = client.get(&format!("/v1/events/{}", first["id"].as_str().unwrap())).await;
        assert!(String::from_utf8_lossy(&shown.body).contains(r#""data":{"z": 1.0, "a":1e2}"#));
        let shown = shown.value(StatusCode::OK);
        assert_eq!((&shown["topic"], &shown["source"]), (&json!("com.example.made"), &json!("/shop/1")));
        assert_eq!((&shown["key"], &shown["timestamp"]), (&json!("order-1"), &json!("2026-01-31T09:30:00.000Z")));
        let metadata = json!({"ce_id": "a.b/c", "dataschema": "https://example.org/s", "traceparent": "00-1", "n": 7});
        assert_eq!(shown["metadata"], metadata);
        let elsewhere = body.replace("/shop/1", "/shop/2");
        let other = client.publish(STRUCTURED, elsewhere).await.value(StatusCode::ACCEPTED);
        assert_eq!(other["duplicate"], json!(false), "another source, another event");
        let changed = body.replace("1e2", "1e3");
        client.publish(STRUCTURED, changed).await.problem(409, "conflict");
    });
}

#[test]
fn every_mistake_of_a_cloud_event_is_named_at_once() {
    run(async {
        let client = Client::new(200).await;
        let before = client.everything().await;
        let bad = r#"{"specversion": "0.3", "type": 5, "source": "", "time": "now", "data_base64": "AA==",
            "Big": 1, "ext": {}, "id": "a\u0000", "x": "1", "x": "2"}"#;
        let mut places = client.publish(STRUCTURED, bad).await.problem(422, "invalid-request");
        places.sort();
        let expected =
            ["#/Big", "#/data_base64", "#/ext", "#/id", "#/source", "#/specversion", "#/time", "#/type", "#/x"];
        assert_eq!(places, expected);
        let mut places = client.publish(STRUCTURED, "{}").await.problem(422, "invalid-request");
        places.sort();
        assert_eq!(places, ["#/id", "#/source", "#/specversion", "#/type"]);
        let ours = json!({"specversion": "1.0", "type": "a/b", "source": "s", "id": "1", "subject": "x".repeat(300)});
        let places = client.publish(STRUCTURED, ours.to_string()).await.problem(422, "invalid-request");
        assert_eq!(places, ["#/type", "#/subject"]);
        let places = client.publish(BATCH, json!([ours]).to_string()).await.problem(422, "invalid-request");
        assert_eq!(places, ["#/0/type", "#/0/subject"]);
        client.publish(STRUCTURED, "[]").await.problem(422, "invalid-request");
        client.publish(STRUCTURED, "{").await.problem(400, "malformed-request");
        assert_eq!(client.everything().await, before);
    });
}

#[test]
fn a_batch_of_cloud_events_is_accepted_as_a_whole() {
    run(async {
        let client = Client::new(200).await;
        let event = |id: &str| json!({"specversion": "1.0", "type": "a", "source": "s", "id": id, "data": 1});
        let body = json!([event("1"), event("2"), event("1")]).to_string();
        let accepted = client.publish(BATCH, body).await.value(StatusCode::ACCEPTED);
        assert_eq!((&accepted["accepted"], &accepted["duplicates"]), (&json!(2), &json!(1)));
        let before = client.everything().await;
        let body = json!([event("3"), {"specversion": "1.0", "type": "a", "source": "s"}, 4]).to_string();
        assert_eq!(client.publish(BATCH, body).await.problem(422, "invalid-request"), ["#/1/id", "#/2"]);
        assert_eq!(client.publish(BATCH, "[]").await.problem(422, "invalid-request"), ["#"]);
        assert_eq!(client.everything().await, before);
    });
}

fn binary(kind: &'static str) -> TestRequest {
    request(Method::POST, "/v1/events?tenant=acme")
        .insert_header(("content-type", kind))
        .insert_header(("ce-specversion", "1.0"))
        .insert_header(("ce-type", "a.b"))
        .insert_header(("ce-source", "/caf%C3%A9"))
        .insert_header(("ce-id", "1"))
}

#[test]
fn a_cloud_event_may_stand_in_the_headers() {
    run(async {
        let client = Client::new(200).await;
        let sent = binary("application/vnd.x+json").insert_header(("ce-region", "\"north %41\""));
        let first = client.send(sent.set_payload(" {\"a\": 1.0}\n")).await.value(StatusCode::ACCEPTED);
        let path = format!("/v1/events/{}?tenant=acme", first["id"].as_str().unwrap());
        let shown = client.get(&path).await;
        assert!(String::from_utf8_lossy(&shown.body).contains(r#""data":{"a": 1.0}"#));
        let shown = shown.value(StatusCode::OK);
        assert_eq!((&shown["source"], &shown["tenant"]), (&json!("/café"), &json!("acme")));
        let metadata = json!({"ce_id": "1", "region": "north A", "datacontenttype": "application/vnd.x+json"});
        assert_eq!(shown["metadata"], metadata);
        let structured = json!({"specversion": "1.0", "type": "a.b", "source": "/café", "id": "1", "data": {"a": 1.0}});
        let same = request(Method::POST, "/v1/events?tenant=acme").insert_header(("content-type", STRUCTURED));
        let same = client.send(same.set_payload(structured.to_string().replace(":1.0}", ": 1.0}"))).await;
        assert_eq!(same.value(StatusCode::ACCEPTED)["id"], first["id"], "one event, whatever its mode");
    });
}

#[test]
fn what_is_no_binary_cloud_event_is_refused() {
    run(async {
        let client = Client::new(200).await;
        let before = client.everything().await;
        client.send(binary("text/plain").set_payload("x")).await.problem(415, "unsupported-media-type");
        let places = client.send(binary("application/json").set_payload("{")).await;
        assert_eq!(places.problem(422, "invalid-request"), ["#/data"]);
        let some = with_body(request(Method::POST, "/v1/events"), "1").insert_header(("ce-id", "1"));
        let mut places = client.send(some).await.problem(422, "invalid-request");
        places.sort();
        assert_eq!(places, ["#/source", "#/specversion", "#/type"]);
        let ours = with_body(request(Method::POST, "/v1/events?tenant=a"), "{\"topic\": \"a\", \"data\": 1}");
        assert_eq!(client.send(ours).await.problem(422, "invalid-request"), ["#/tenant"]);
        let unknown = with_body(request(Method::POST, "/v1/events?dry_run=1"), "{\"topic\": \"a\", \"data\": 1}");
        assert_eq!(client.send(unknown).await.problem(422, "invalid-request"), ["#/dry_run"]);
        assert_eq!(client.everything().await, before);
    });
}

#[test]
fn numbers_of_extensions_are_whole_and_as_large_as_the_document_says() {
    run(async {
        let (client, document) = (Client::new(200).await, crate::api::openapi::document(false, "/"));
        for (number, good) in [
            ("7", true),
            ("-7.0", true),
            ("1e3", true),
            ("-9223372036854775808", true),
            ("18446744073709551615", true),
            ("20000000000000000000", false),
            ("-1034293804676695935002264320606208", false),
            ("1e300", false),
            ("1.5", false),
        ] {
            let event = format!(r#"{{"specversion":"1.0","type":"a","source":"/s","id":"{number}","n":{number}}}"#);
            let value = serde_json::from_str(&event).unwrap();
            let said = conforms(&document, &document["components"]["schemas"]["CloudEvent"], &value);
            assert_eq!(said.is_ok(), good, "{number}: {said:?}");
            let reply = client.publish(STRUCTURED, event).await;
            assert_eq!(
                reply.status,
                if good { StatusCode::ACCEPTED } else { StatusCode::UNPROCESSABLE_ENTITY },
                "{number}"
            );
        }
    });
}
