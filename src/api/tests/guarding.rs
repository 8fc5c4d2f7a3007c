//! What endpoints made through the API may point to, and what the operator says of it.

use super::*;
use crate::{Builder, transport::guard::Allowed};

async fn started(with: impl FnOnce(Builder) -> Builder) -> Client {
    let builder = Hookmill::builder().in_memory().delivery_threads(1).transport(|| Scripted(200));
    Client { hooks: with(builder).start().await.unwrap(), access: Access::unguarded() }
}

/// Whether each of these may be the URL of an endpoint; what is refused is refused for the URL, however it is asked for.
async fn allowed(client: &Client, urls: &[&str], guard: &str) -> Vec<bool> {
    client.json(Method::PUT, "/v1/endpoints/old", &json!({"url": "https://example.org/"})).await;
    let mut verdicts = Vec::new();
    for url in urls {
        let body = json!({"url": url, "guard": guard});
        let made = client.post("/v1/endpoints", &body).await;
        let calls = [
            client.json(Method::PUT, "/v1/endpoints/old", &body).await,
            client.json(Method::PATCH, "/v1/endpoints/old", &body).await,
            client.post("/v1/endpoints", &json!({"url": url, "guard": guard, "state": "paused"})).await,
        ];
        let is_allowed = made.status == StatusCode::CREATED;
        for call in calls {
            assert_eq!(call.status.is_success(), is_allowed, "{url}");
        }
        if !is_allowed {
            assert_eq!(made.problem(422, "invalid-request"), ["#/url"], "{url}");
        }
        verdicts.push(is_allowed);
    }
    verdicts
}

fn networks(list: &[&str]) -> Vec<Allowed> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn the_operator_allows_what_the_guard_refuses() {
    run(async {
        let allow = networks(&["10.1.0.0/16:443", "127.0.0.1/32:9000", "169.254.169.254/32:80"]);
        let client = started(|builder| allow.into_iter().fold(builder, Builder::guard_allow)).await;
        let urls = ["https://10.1.2.3/", "http://127.1:9000/", "http://localhost:9000/", "http://169.254.169.254/"];
        assert_eq!(allowed(&client, &urls, "public").await, [true; 4]);
        let urls = ["http://10.1.2.3/", "http://127.0.0.1:9001/", "https://169.254.169.254/", "http://[::1]:9000/"];
        assert_eq!(allowed(&client, &urls, "public").await, [false; 4]);
        assert_eq!(allowed(&client, &urls, "private").await, [true, false, false, false]);
    });
}

#[test]
fn nobody_may_point_to_the_server_itself() {
    run(async {
        let server = "127.0.0.1:8700".parse().unwrap();
        let allow: Allowed = "127.0.0.0/8:*".parse().unwrap();
        let client = started(|builder| builder.allow_loopback(true).guard_allow(allow).listening_on(server)).await;
        let urls =
            ["http://127.0.0.1:8700/v1/events", "http://localhost:8700", "http://0:8700", "http://127.0.0.1:8701"];
        for guard in ["public", "private"] {
            assert_eq!(allowed(&client, &urls, guard).await, [false, false, false, true]);
        }
        let own = crate::Endpoint::http("own", "http://127.0.0.1:8700/");
        assert!(client.hooks.set_endpoint(own.clone()).await.is_err());
        assert!(Hookmill::builder().in_memory().listening_on(server).endpoint(own).start().await.is_err());
    });
}

#[test]
fn where_https_is_asked_for_http_is_refused() {
    run(async {
        let client = started(|builder| builder.https_only(true).allow_loopback(true)).await;
        for guard in ["public", "private"] {
            assert_eq!(allowed(&client, &["http://example.org/", "https://example.org/"], guard).await, [false, true]);
        }
        let own = crate::Endpoint::http("own", "http://example.org/");
        client.hooks.set_endpoint(own).await.unwrap();
        let paused = client.json(Method::PATCH, "/v1/endpoints/own", &json!({"state": "paused"})).await;
        assert_eq!(paused.value(StatusCode::OK)["state"], "paused", "the program may go without");
        let steps = json!([{"name": "a", "url": "http://example.org/", "final_response": true}]);
        let refused = client.json(Method::PUT, "/v1/chains/E", &steps).await;
        assert_eq!(refused.problem(422, "invalid-request"), ["#/0/url"]);
    });
}

#[test]
fn this_machines_own_addresses_are_refused() {
    run(async {
        let client = started(|builder| builder).await;
        let own: Vec<_> = if_addrs::get_if_addrs().unwrap().into_iter().map(|found| found.ip()).collect();
        let urls: Vec<_> = own.iter().filter(|ip| ip.is_ipv4()).map(|ip| format!("http://{ip}/")).collect();
        let urls: Vec<_> = urls.iter().map(String::as_str).collect();
        for guard in ["public", "private"] {
            assert!(!allowed(&client, &urls, guard).await.contains(&true), "{urls:?}");
        }
    });
}
