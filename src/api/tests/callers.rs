//! Tokens: what they open, until when, and what becomes of those that open nothing.

use super::{openapi::operations, *};
use crate::{
    pipeline::NewToken,
    store::{Scope, Scopes},
};

impl Client {
    /// One whom tokens let in.
    pub(super) async fn of_tokens(status: u16) -> Self {
        Self { access: Access::tokens(), ..Self::new(status).await }
    }

    pub(super) async fn token(&self, scopes: impl IntoIterator<Item = Scope>, tenant: Option<&str>) -> String {
        let tenant = tenant.map(|tenant| tenant.parse().unwrap());
        let token = NewToken { scopes: scopes.into_iter().collect(), tenant, ..NewToken::default() };
        self.hooks.create_token(token).await.unwrap().0
    }

    pub(super) async fn with(&self, token: &str, request: TestRequest) -> Reply {
        self.send(request.insert_header(("authorization", format!("Bearer {token}")))).await
    }
}

/// A body that the operation takes.
pub(super) fn body(said: &Value) -> Option<Value> {
    let content = said["requestBody"]["content"].get("application/json")?;
    let name = content["schema"]["$ref"].as_str().and_then(|name| name.rsplit('/').next());
    Some(match name {
        Some("NewEndpoint") => json!({"url": "https://example.org/new"}),
        Some("EndpointPatch") => json!({"name": "new"}),
        Some("Trial" | "EventReplay" | "EndpointReplay") => json!({}),
        Some("CancelRequest" | "ReplayRequest" | "PurgeRequest") => json!({"all": true}),
        Some("NewDebounceRule") => json!({"topics": ["new"], "window": "1s"}),
        Some("NewChain") => json!([{"name": "s", "url": "https://example.org/s", "final_response": true}]),
        Some("NewToken") => json!({"scopes": ["read"]}),
        _ => json!({"topic": "new", "data": 1}),
    })
}

pub(super) fn call(method: &Method, path: &str, body: Option<&Value>) -> TestRequest {
    let request = request(method.clone(), path);
    match body {
        Some(body) => with_body(request, body.to_string()),
        None => request,
    }
}

fn to_nobody(path: &str) -> String {
    path.replace("{id}", "nobody").replace("{name}", "nobody").replace("{event}", "nobody")
}

/// A browser that asks before it calls (CORS) sends no token: the answer is that of a path that does not know OPTIONS, and
/// allows nothing.
#[test]
fn a_preflight_is_told_the_methods_of_the_path_whatever_its_token_and_may_nothing() {
    run(async {
        let client = Client::of_tokens(200).await;
        for (method, path, _) in operations() {
            let asks = || {
                let origin = ("origin", "https://evil.example");
                let asked = ("access-control-request-method", method.as_str());
                request(Method::OPTIONS, &to_nobody(path)).insert_header(origin).insert_header(asked)
            };
            for reply in [client.send(asks()).await, client.with("hmk_1_2", asks()).await] {
                reply.problem(405, "method-not-allowed");
                let allow = reply.header("allow").unwrap();
                assert!(allow.split(", ").any(|known| known == method.as_str()), "{method} {path}: {allow}");
                assert_eq!(reply.header("access-control-allow-origin"), None);
                assert_eq!(reply.header("access-control-allow-methods"), None);
            }
        }
        // What is not there is told to those with a token alone.
        client.send(request(Method::OPTIONS, "/v1/nowhere")).await.problem(401, "unauthorized");
    });
}

#[test]
fn without_a_token_every_operation_is_shut_but_those_for_everybody() {
    run(async {
        let client = Client::of_tokens(200).await;
        let mut open = Vec::new();
        for (method, path, said) in operations() {
            let sent = || call(&method, &to_nobody(path), body(said).as_ref());
            if said["security"] == json!([]) {
                open.push(path);
                assert!(client.send(sent()).await.status.is_success(), "{method} {path}");
                continue;
            }
            let token = client.token([Scope::Read], None).await;
            let id = client.hooks.tokens()[0].id.clone();
            client.hooks.delete_token(&id).await.unwrap();
            for reply in
                [client.send(sent()).await, client.with("hmk_1_2", sent()).await, client.with(&token, sent()).await]
            {
                reply.problem(401, "unauthorized");
                assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
            }
        }
        assert_eq!(open, ["/healthz", "/readyz", "/v1/openapi.json"]);
    });
}

#[test]
fn a_scope_opens_its_own_operations_and_no_other() {
    run(async {
        let client = Client::of_tokens(200).await;
        for scope in Scope::ALL {
            let token = client.token([scope], None).await;
            let mut opened = 0;
            for (method, path, said) in operations() {
                let reply = client.with(&token, call(&method, &to_nobody(path), body(said).as_ref())).await;
                let needed = said["security"].as_array().unwrap().iter();
                let needed: Vec<_> = needed.filter_map(|one| one["token"][0].as_str()).collect();
                if needed.is_empty() || needed.contains(&scope.as_str()) {
                    assert!(!matches!(reply.status.as_u16(), 401 | 403 | 405 | 429 | 500), "{scope}: {method} {path}");
                    opened += usize::from(!needed.is_empty());
                    continue;
                }
                reply.problem(403, "forbidden");
                let problem = reply.value(StatusCode::FORBIDDEN);
                assert_eq!(problem["scope"], needed[0], "{problem}");
                let asked = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", needed[0]);
                assert_eq!(reply.header("www-authenticate"), Some(asked.as_str()));
            }
            assert!(opened > 1, "{scope} opens nothing");
        }
    });
}

#[test]
fn a_token_is_shown_once_and_ends_when_it_is_deleted() {
    run(async {
        let client = Client::new(200).await;
        let body = json!({"name": "ci", "scopes": ["read"], "expires_in": "1h"});
        let made = client.post("/v1/tokens", &body).await;
        let place = made.header("location").unwrap().to_owned();
        let made = made.value(StatusCode::CREATED);
        let text = made["token"].as_str().unwrap().to_owned();
        assert!(text.starts_with("hmk_") && place == format!("/hooks/v1/tokens/{}", made["id"].as_str().unwrap()));
        let list = client.get("/v1/tokens").await;
        assert!(!String::from_utf8_lossy(&list.body).contains(&text));
        let shown = list.value(StatusCode::OK)["items"][0].clone();
        assert_eq!(
            (&shown["name"], &shown["expired"], &shown["last_used_at"]),
            (&json!("ci"), &json!(false), &Value::Null)
        );

        let guarded = Client { hooks: client.hooks.clone(), access: Access::tokens() };
        let read = || request(Method::GET, "/v1/stats");
        guarded.with(&text, read()).await.value(StatusCode::OK);
        let used = client.until("/v1/tokens", |list| !list["items"][0]["last_used_at"].is_null()).await;
        assert!(used["items"][0].get("token").is_none());
        client.delete(place.trim_start_matches("/hooks")).await.value(StatusCode::NO_CONTENT);
        guarded.with(&text, read()).await.problem(401, "unauthorized");
        client.delete(place.trim_start_matches("/hooks")).await.problem(404, "not-found");
        let wrong = json!({"scopes": ["write"], "tenant": "*", "scope": []});
        let places = client.post("/v1/tokens", &wrong).await.problem(422, "invalid-request");
        assert_eq!(places, ["#/tenant", "#/scopes/0", "#/scope"]);
    });
}

#[test]
fn tokens_are_listed_page_by_page() {
    run(async {
        let client = Client::new(200).await;
        for _ in 0..3 {
            client.token([Scope::Read], None).await;
        }
        let first = client.get("/v1/tokens?limit=2").await.value(StatusCode::OK);
        let next = first["next"].as_str().unwrap();
        let second = client.get(&format!("/v1/tokens?limit=2&cursor={next}")).await.value(StatusCode::OK);
        assert_eq!((first["items"].as_array().unwrap().len(), second["items"].as_array().unwrap().len()), (2, 1));
        assert!(second["next"].is_null());
    });
}

#[test]
fn an_expired_token_opens_nothing() {
    run(async {
        let client = Client::of_tokens(200).await;
        let clock = *client.hooks.clock();
        let expires_at = Some(clock.now().wall.after(Duration::from_millis(300)));
        let token = NewToken { scopes: Scopes::all(), expires_at, ..NewToken::default() };
        let (text, _) = client.hooks.create_token(token).await.unwrap();
        let read = || request(Method::GET, "/v1/stats");
        let mut opened = false;
        while Some(clock.now().wall) < expires_at {
            opened |= client.with(&text, read()).await.status == StatusCode::OK;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        client.with(&text, read()).await.problem(401, "unauthorized");
        assert!(opened);
    });
}

#[cfg(feature = "sqlite")]
#[test]
fn tokens_and_their_use_survive_a_restart_and_the_file_holds_no_token() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let start = || Hookmill::builder().data_dir(dir.path()).start();
        let client = Client { hooks: start().await.unwrap(), access: Access::tokens() };
        let (kept, deleted) =
            (client.token([Scope::Read], Some("acme")).await, client.token([Scope::Read], None).await);
        let read = || request(Method::GET, "/v1/events");
        client.with(&kept, read()).await.value(StatusCode::OK);
        // By id, which says nothing of two within a millisecond.
        let id = client.hooks.tokens().into_iter().find(|token| token.tenant.is_none()).unwrap().id;
        client.hooks.delete_token(&id).await.unwrap();
        client.hooks.shutdown(Duration::from_secs(1)).await;
        drop(client);
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(!bytes.windows(kept.len()).any(|part| part == kept.as_bytes()));
        }
        let client = Client { hooks: start().await.unwrap(), access: Access::tokens() };
        client.with(&kept, read()).await.value(StatusCode::OK);
        client.with(&deleted, read()).await.problem(401, "unauthorized");
        let row = client.hooks.tokens().remove(0);
        assert!(row.last_used_at.is_some() && row.tenant == Some("acme".parse().unwrap()));
        client.hooks.shutdown(Duration::from_secs(1)).await;
    });
}

#[test]
fn wrong_tokens_are_slowed_down_and_a_right_one_is_not() {
    run(async {
        let client = Client::of_tokens(200).await;
        let right = client.token([Scope::Read], None).await;
        let app = init_service(App::new().configure(client.hooks.api(Access::tokens()))).await;
        let call = async |token: &str, peer: &str| {
            let request = TestRequest::with_uri("/v1/stats").peer_addr(format!("{peer}:9").parse().unwrap());
            let request = request.insert_header(("authorization", format!("Bearer {token}"))).to_request();
            let response = call_service(&app, request).await;
            let retry_after = response.headers().get("retry-after").map(|after| after.to_str().unwrap().to_owned());
            (response.status().as_u16(), retry_after)
        };
        for _ in 0..20 {
            assert_eq!(call("hmk_1_2", "192.0.2.1").await, (401, None));
        }
        let (status, retry_after) = call("hmk_1_2", "192.0.2.1").await;
        assert_eq!(status, 429);
        assert!((1..=60).contains(&retry_after.unwrap().parse::<u32>().unwrap()));
        assert_eq!(call(&right, "192.0.2.1").await.0, 200, "whoever has a right token is let in");
        assert_eq!(call("hmk_1_2", "192.0.2.2").await.0, 401);
    });
}
