//! The document says what is so: each route is in it, and every answer that these tests get is as it says.

use std::{collections::BTreeSet, sync::OnceLock};

use super::*;
use crate::{
    api::{openapi::document, routes},
    config::conform::conforms,
};

/// The document of an API at its root.
pub(super) fn whole() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| document(false, "/"))
}

/// Every operation: method, path and what is said of it.
pub(super) fn operations() -> Vec<(Method, &'static str, &'static Value)> {
    let paths = whole()["paths"].as_object().unwrap();
    let of_path = |(path, item): (&'static String, &'static Value)| {
        let methods = item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters");
        methods.map(|(name, said)| (name.to_uppercase().parse().unwrap(), path.as_str(), said)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of_path).collect()
}

fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) = (pattern.split('/').collect(), path.split('/').collect());
    let same = |(pattern, given): (&&str, &&str)| pattern == given || pattern.starts_with('{') && !given.is_empty();
    pattern.len() == path.len() && pattern.iter().zip(&path).all(same)
}

/// Panics unless an answer is as the document says.
#[track_caller]
pub(super) fn check(method: &Method, path: &str, reply: &Reply) {
    let path = path.strip_prefix("/hooks").unwrap_or(path);
    let paths = whole()["paths"].as_object().unwrap();
    let mut items: Vec<_> = paths.iter().filter(|(pattern, _)| fits(pattern, path)).collect();
    items.sort_by_key(|(pattern, _)| pattern.matches('{').count());
    let said = items.first().and_then(|(_, item)| item.get(method.as_str().to_lowercase()));
    let kind = reply.header("content-type").unwrap_or_default();
    if kind == "application/problem+json" {
        let problem = serde_json::from_slice(&reply.body).unwrap();
        let schema = &whole()["components"]["schemas"]["Problem"];
        assert_eq!(conforms(whole(), schema, &problem), Ok(()), "{method} {path}");
    }
    let Some(said) = said else { return };
    let status = reply.status.as_u16().to_string();
    let Some(response) = said["responses"].get(&status) else {
        // What any operation may come to, such as a store that is full.
        assert!(kind == "application/problem+json", "{method} {path} answers {status} of {kind}");
        return;
    };
    if response.get("$ref").is_some() {
        return assert_eq!(kind, "application/problem+json", "{method} {path} {status}");
    }
    match response["content"].get(kind) {
        Some(content) if kind == "application/json" => {
            let value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(conforms(whole(), &content["schema"], &value), Ok(()), "{method} {path} {status}");
        }
        Some(_) => {}
        None => assert!(reply.body.is_empty() || path.ends_with("/invoke"), "{method} {path} {status}: {kind}"),
    }
}

#[test]
fn each_route_is_in_the_document_and_nothing_else_is() {
    let routes: BTreeSet<_> = routes::table(false)
        .iter()
        .map(|operation| (operation.route.method.to_string(), operation.route.path))
        .collect();
    let said: BTreeSet<_> = operations().iter().map(|(method, path, _)| (method.to_string(), *path)).collect();
    assert_eq!(routes, said);
    assert_eq!(routes.len(), routes::table(false).len(), "a route is twice in the table");
    let ids: BTreeSet<_> = operations().iter().map(|(_, _, said)| said["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), routes.len());
}

#[test]
fn what_the_document_refers_to_is_in_it() {
    fn walk(value: &Value, seen: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    if let ("$ref", Value::String(place)) = (name.as_str(), value) {
                        assert!(whole().pointer(place.trim_start_matches('#')).is_some(), "{place}");
                        seen.insert(place.clone());
                    }
                    walk(value, seen);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| walk(item, seen)),
            _ => {}
        }
    }
    let mut seen = BTreeSet::new();
    walk(whole(), &mut seen);
    for name in whole()["components"]["schemas"].as_object().unwrap().keys() {
        assert!(seen.contains(&format!("#/components/schemas/{name}")), "{name} is of no use");
    }
}

#[test]
fn anybody_may_read_the_document() {
    run(async {
        let client = Client { access: Access::token("hush"), ..Client::new(200).await };
        let mut read = client.get("/v1/openapi.json").await.value(StatusCode::OK);
        assert_eq!(read["servers"], json!([{"url": "/hooks"}]));
        read["servers"] = whole()["servers"].clone();
        assert_eq!(&read, whole());
        let open = client.hooks.api(client.access.clone().open_metrics());
        let app = init_service(App::new().configure(open)).await;
        let request = TestRequest::with_uri("/v1/openapi.json").to_request();
        let read: Value =
            serde_json::from_slice(&to_bytes(call_service(&app, request).await.into_body()).await.unwrap()).unwrap();
        assert_eq!(
            (&read["servers"], &read["paths"]["/metrics"]["get"]["security"]),
            (&json!([{"url": "/"}]), &json!([]))
        );
    });
}

#[test]
fn each_body_schema_takes_what_is_taken_and_has_the_names_of_its_reader() {
    run(async {
        let client = Client::new(200).await;
        for (method, path, said) in operations() {
            let Some(schema) = said["requestBody"]["content"]["application/json"].get("schema") else { continue };
            let (Some(name), false) = (schema["$ref"].as_str(), path.ends_with("/invoke")) else { continue };
            let properties = whole().pointer(&format!("{}/properties", name.trim_start_matches('#')));
            let Some(properties) = properties.and_then(Value::as_object) else { continue };
            let url = path.replace("{id}", "x").replace("{name}", "x").replace("{event}", "x");
            // A value that is wrong everywhere: names that are known are found wrong for another reason.
            // With `file` beside `url` not every other setting is read.
            let names = properties.keys().filter(|name| *name != "file");
            let mut body: Value = names.map(|name| (name.clone(), json!([[7]]))).collect();
            body["zzz"] = json!(1);
            assert!(conforms(whole(), schema, &body).is_err());
            let reply = client.json(method.clone(), &url, &body).await;
            if reply.status == StatusCode::NOT_FOUND {
                continue;
            }
            assert_eq!(reply.status, 422, "{method} {path}: {}", String::from_utf8_lossy(&reply.body));
            let problem: Value = serde_json::from_slice(&reply.body).unwrap();
            for error in problem["errors"].as_array().unwrap() {
                let detail = error["detail"].as_str().unwrap();
                let unknown = detail.contains("not a known setting") || detail.contains("not known here");
                assert_eq!(unknown, error["pointer"] == "#/zzz", "{method} {path}: {error}");
            }
        }
    });
}

#[test]
fn each_word_of_a_parameter_is_taken_and_no_other() {
    run(async {
        let (client, mut tried) = (Client::new(200).await, 0);
        client
            .post("/v1/endpoints", &json!({"id": "x", "url": "http://127.0.0.1:9/"}))
            .await
            .value(StatusCode::CREATED);
        for (method, path, said) in operations() {
            for parameter in said["parameters"].as_array().into_iter().flatten() {
                let (url, name) = (path.replace("{id}", "x"), parameter["name"].as_str().unwrap());
                let Some(words) = parameter["schema"]["enum"].as_array() else { continue };
                for word in words {
                    let url = format!("{url}?{name}={}", word.as_str().unwrap());
                    client.send(request(method.clone(), &url)).await.value(StatusCode::OK);
                    tried += 1;
                }
                let reply = client.send(request(method.clone(), &format!("{url}?{name}=zzz"))).await;
                assert_eq!(reply.problem(422, "invalid-request"), [format!("#/{name}")], "{method} {path}");
            }
        }
        assert!(tried > 15, "{tried}");
    });
}

/// Each body is both allowed by the schema and taken, or neither.
async fn agree(client: &Client, path: &str, schema: &str, cases: &[(Value, bool)]) {
    for (body, good) in cases {
        let said = conforms(whole(), &whole()["components"]["schemas"][schema], body);
        assert_eq!(said.is_ok(), *good, "{schema} {body}: {said:?}");
        let reply = client.post(path, body).await;
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status.is_success(), *good, "{path} {body}: {text}");
        assert!(*good || reply.status == 422, "{path} {body}: {text}");
    }
}

#[test]
fn bodies_are_refused_by_the_schema_where_they_are_by_the_server() {
    run(async {
        let client = Client::new(200).await;
        let with = |number: Value| json!({"url": "http://127.0.0.1:9/", "in_flight": number});
        let numbers = [
            (with(json!(264.0)), true),
            (with(json!(1e3)), true),
            (with(json!(0.5)), false),
            (with(json!(5e3)), false),
        ];
        agree(&client, "/v1/endpoints", "NewEndpoint", &numbers).await;
        let some = [
            (json!({}), false),
            (json!({"all": false}), false),
            (json!({"topic": null, "until": null}), false),
            (json!({"all": true}), true),
            (json!({"topic": "a.*"}), true),
        ];
        agree(&client, "/v1/deliveries/cancel", "CancelRequest", &some).await;
        let filtered = [
            (json!({}), false),
            (json!({"filter": null}), false),
            (json!({"filter": {"topic": null}}), false),
            (json!({"filter": {"reason": "bored"}}), false),
            (json!({"filter": {"reason": "gone"}}), true),
            (json!({"all": true, "filter": null}), true),
        ];
        agree(&client, "/v1/dead-letters/purge", "PurgeRequest", &filtered).await;
        let rated = [0.09, 0.1, 5000.0, 5000.1]
            .map(|rate| (json!({"all": true, "rate": rate}), (0.1..=5000.0).contains(&rate)));
        agree(&client, "/v1/dead-letters/replay", "ReplayRequest", &rated).await;
        // A dry run refuses what the run would.
        let dry = [0.09, 5000.0, 5001.0].map(|rate| {
            let good = (0.1..=5000.0).contains(&rate);
            [
                (json!({"all": true, "dry_run": true, "rate": rate}), good),
                (json!({"dry_run": true, "rate": rate}), good),
            ]
        });
        let [of_all, of_one]: [Vec<_>; 2] = [0, 1].map(|form| dry.iter().map(|both| both[form].clone()).collect());
        agree(&client, "/v1/dead-letters/replay", "ReplayRequest", &of_all).await;
        let one = json!({"id": "one", "url": "http://127.0.0.1:9/"});
        client.post("/v1/endpoints", &one).await.value(StatusCode::CREATED);
        agree(&client, "/v1/endpoints/one/replay", "EndpointReplay", &of_one).await;
        let events = [
            (json!({"topic": "a", "data": 1, "key": ""}), false),
            (json!({"topic": "a", "data": 1, "key": "x".repeat(257)}), false),
            (json!({"topic": "a", "data": 1, "key": "k", "source": null}), true),
        ];
        agree(&client, "/v1/events", "NewEvent", &events).await;
        let tokens = [
            (json!({"scopes": ["read"], "name": ""}), false),
            (json!({"scopes": ["read"], "name": "x".repeat(129)}), false),
            (json!({"scopes": ["read"], "name": "x".repeat(128)}), true),
        ];
        agree(&client, "/v1/tokens", "NewToken", &tokens).await;
    });
}
