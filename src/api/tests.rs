//! The API as its clients see it.

mod audit;
mod bulk;
mod callers;
mod chains;
mod configuration;
mod cursors;
mod doors;
mod formats;
mod guarding;
mod isolation;
mod jobs;
mod limits;
mod memory;
mod metrics;
mod openapi;
mod own_replays;
mod publishing;
mod replays;
mod secrets;
mod sockets;
mod switches;

use std::{future::Future, time::Duration};

use actix_web::{
    App,
    body::to_bytes,
    http::{Method, StatusCode, header::HeaderMap},
    test::{TestRequest, call_service, init_service},
    web,
};
use bytes::Bytes;
use futures_util::future::{FutureExt, LocalBoxFuture};
use serde_json::{Value, json};

use super::Access;
use crate::{
    Event, Hookmill,
    transport::{Answer, Attempt, Response, Transport},
};

const HUNG: Duration = Duration::from_secs(60);

fn run<T>(test: impl Future<Output = T>) -> T {
    actix_rt::System::new()
        .block_on(async { tokio::time::timeout(HUNG, test).await.expect("what is waited for does not come") })
}

/// Every receiver answers with this status.
struct Scripted(u16);

impl Transport for Scripted {
    fn send(&self, _: Attempt) -> LocalBoxFuture<'static, Answer> {
        let status = self.0;
        async move { Ok(Response { body: Bytes::from_static(b"said"), ..Response::new(status) }.into()) }.boxed_local()
    }
}

/// A client of one Hookmill whose receivers answer `status`.
struct Client {
    hooks: Hookmill,
    access: Access,
}

impl Client {
    async fn new(status: u16) -> Self {
        let builder = Hookmill::builder().in_memory().allow_loopback(true).delivery_threads(1);
        let hooks = builder.transport(move || Scripted(status)).start().await.unwrap();
        Self { hooks, access: Access::unguarded() }
    }

    async fn send(&self, request: TestRequest) -> Reply {
        let scope = web::scope("/hooks").configure(self.hooks.api(self.access.clone()));
        let app = init_service(App::new().service(scope)).await;
        let request = request.to_request();
        let (method, path) = (request.method().clone(), request.path().to_owned());
        let response = call_service(&app, request).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = to_bytes(response.into_body()).await.unwrap_or_default();
        let reply = Reply { status, headers, body };
        openapi::check(&method, &path, &reply);
        reply
    }

    async fn get(&self, path: &str) -> Reply {
        self.send(request(Method::GET, path)).await
    }

    async fn delete(&self, path: &str) -> Reply {
        self.send(request(Method::DELETE, path)).await
    }

    async fn json(&self, method: Method, path: &str, body: &Value) -> Reply {
        self.raw(method, path, body.to_string()).await
    }

    async fn raw(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Reply {
        self.send(with_body(request(method, path), body)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Reply {
        self.json(Method::POST, path, body).await
    }

    /// Everything that a refused call must leave as it is.
    async fn everything(&self) -> Vec<Value> {
        let mut all = Vec::new();
        self.until("/v1/stats", |stats| stats["unrouted"] == 0).await;
        for path in ["/v1/stats", "/v1/events", "/v1/endpoints", "/v1/debounce-rules", "/v1/dead-letters"] {
            all.push(self.get(path).await.value(StatusCode::OK));
        }
        all
    }

    /// Asks until `path` answers what is `wanted`.
    async fn until(&self, path: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let value = self.get(path).await.value(StatusCode::OK);
            if wanted(&value) {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Publishes an event to an endpoint `dead` that gives up at once, and waits for the dead letter.
    async fn dead_letter(&self) -> Value {
        let endpoint = json!({"id": "dead", "url": "http://127.0.0.1:9/", "retry": {"delays": []}});
        self.post("/v1/endpoints", &endpoint).await.value(StatusCode::CREATED);
        self.post("/v1/events", &json!({"topic": "a.b", "data": {"n": 1}, "id": "e1"}))
            .await
            .value(StatusCode::ACCEPTED);
        let letters = self.until("/v1/dead-letters", |list| list["items"] != json!([])).await;
        letters["items"][0].clone()
    }
}

fn request(method: Method, path: &str) -> TestRequest {
    TestRequest::with_uri(&format!("/hooks{path}")).method(method)
}

fn with_body(request: TestRequest, body: impl Into<Bytes>) -> TestRequest {
    request.insert_header(("content-type", "application/json")).set_payload(body)
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    #[track_caller]
    fn value(&self, status: StatusCode) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{text}");
        serde_json::from_str(&text).unwrap_or(Value::Null)
    }

    /// Checks that this is a whole problem of this kind; answers the places it names.
    #[track_caller]
    fn problem(&self, status: u16, name: &str) -> Vec<String> {
        let body = self.value(StatusCode::from_u16(status).unwrap());
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(body["type"], format!("/problems/{name}"), "{body}");
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"].as_str(), self.header("x-request-id"));
        assert!(body["title"].is_string() && body["detail"].as_str().is_some_and(|detail| !detail.is_empty()));
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect()
    }
}
