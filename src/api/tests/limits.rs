//! Nobody keeps all places: jobs, test deliveries, answers that are read.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    super::{Shared, call::ok, mount::otherwise, rights::Need},
    callers::call,
    *,
};
use crate::{
    event::Tenant,
    store::{Peer, Scope, caller},
};

/// Answers nothing, and tells how many attempts there are and how long each may take at most.
#[derive(Clone, Default)]
struct Hung {
    going_on: Arc<AtomicUsize>,
    longest: Arc<AtomicUsize>,
}

struct One(Arc<AtomicUsize>);

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Transport for Hung {
    fn send(&self, attempt: Attempt) -> LocalBoxFuture<'static, Answer> {
        let limit = usize::try_from(attempt.endpoint.settings.policy.timeout.as_secs()).unwrap();
        self.longest.fetch_max(limit, Ordering::SeqCst);
        self.going_on.fetch_add(1, Ordering::SeqCst);
        let one = One(Arc::clone(&self.going_on));
        async move {
            let _one = one;
            std::future::pending().await
        }
        .boxed_local()
    }
}

impl Hung {
    async fn client(&self) -> Client {
        let hung = self.clone();
        let builder = Hookmill::builder().in_memory().delivery_threads(1).transport(move || hung.clone());
        Client { hooks: builder.start().await.unwrap(), access: Access::unguarded() }
    }

    async fn until(&self, count: usize) {
        while self.going_on.load(Ordering::SeqCst) != count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Client {
    fn again(&self) -> Self {
        Self { hooks: self.hooks.clone(), access: self.access.clone() }
    }

    async fn endpoint_of(&self, id: &str, tenant: Option<&str>) {
        let settings = json!({"id": id, "tenant": tenant, "url": "https://example.org/", "timeout": "300s",
            "retry": {"delays": []}, "breaker": {"failures": 1000}});
        self.post("/v1/endpoints", &settings).await.value(StatusCode::CREATED);
    }

    /// A test delivery by a client of its own.
    fn test(&self, id: &str) -> actix_rt::task::JoinHandle<Reply> {
        let (client, path) = (self.again(), format!("/v1/endpoints/{id}/test"));
        actix_rt::spawn(async move { client.send(request(Method::POST, &path)).await })
    }
}

#[test]
fn no_endpoint_and_no_tenant_keeps_others_from_their_test_deliveries() {
    run(async {
        let hung = Hung::default();
        let client = hung.client().await;
        for id in ["a1", "a2", "a3"] {
            client.endpoint_of(id, Some("acme")).await;
        }
        client.endpoint_of("g", Some("globex")).await;
        client.endpoint_of("o", None).await;
        let mut calls = vec![client.test("a1"), client.test("a1")];
        hung.until(2).await;
        client.test("a1").await.unwrap().problem(429, "quota-reached");
        calls.extend([client.test("a2"), client.test("a2")]);
        hung.until(4).await;
        client.test("a3").await.unwrap().problem(429, "quota-reached");
        calls.extend([client.test("g"), client.test("o")]);
        hung.until(6).await;
        assert_eq!(hung.longest.load(Ordering::SeqCst), 30, "of 300 s");
        calls.iter().for_each(actix_rt::task::JoinHandle::abort);
        hung.until(0).await;
    });
}

#[test]
fn all_tenants_together_leave_places_for_test_deliveries_of_others() {
    run(async {
        let hung = Hung::default();
        let client = hung.client().await;
        let mut calls = Vec::new();
        for n in 0..8 {
            let id = format!("e{n}");
            client.endpoint_of(&id, Some(&format!("t{n}"))).await;
            calls.extend((n < 6).then(|| [client.test(&id), client.test(&id)]).into_iter().flatten());
        }
        hung.until(12).await;
        client.test("e7").await.unwrap().problem(503, "overloaded");
        client.endpoint_of("o", None).await;
        calls.push(client.test("o"));
        hung.until(13).await;
    });
}

#[test]
fn a_test_delivery_ends_when_its_client_hangs_up() {
    run(async {
        let hung = Hung::default();
        let client = hung.client().await;
        client.endpoint_of("a", None).await;
        let calls = [client.test("a"), client.test("a")];
        hung.until(2).await;
        calls.iter().for_each(actix_rt::task::JoinHandle::abort);
        hung.until(0).await;
        let _third = client.test("a");
        hung.until(1).await;
    });
}

#[test]
fn what_a_call_reads_is_read_for_the_tenant_of_its_token() {
    run(async {
        let client = Client::of_tokens(200).await;
        let tokens = [client.token([Scope::Read], Some("acme")).await, client.token([Scope::Read], None).await];
        let shared = Arc::new(Shared::new(&client.hooks, Access::tokens()));
        let told = otherwise(&shared, Need::Token, |_| async { ok(&json!(caller().as_ref().map(Tenant::as_str))) });
        let app = init_service(App::new().default_service(told)).await;
        for method in [Method::GET, Method::POST] {
            for (token, tenant) in tokens.iter().zip([json!("acme"), Value::Null]) {
                let request = request(method.clone(), "/").insert_header(("authorization", format!("Bearer {token}")));
                let body = to_bytes(call_service(&app, request.to_request()).await.into_body()).await.unwrap();
                assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), tenant, "{method}");
            }
        }
    });
}

#[cfg(feature = "sqlite")]
#[test]
fn calls_at_the_same_time_start_no_more_jobs_than_one_after_another() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let builder = Hookmill::builder().data_dir(dir.path()).delivery_threads(1).transport(|| Scripted(500));
        let client = Client { hooks: builder.start().await.unwrap(), access: Access::unguarded() };
        client.endpoint_of("e", Some("acme")).await;
        for n in 0..30 {
            let event = json!({"topic": "t", "data": n, "tenant": "acme"});
            client.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        }
        client.until("/v1/stats", |stats| stats["dead_letters"]["kept"] == 30).await;
        let keyed = Client { hooks: client.hooks.clone(), access: Access::tokens() };
        let token = keyed.token([Scope::Read, Scope::Replay], Some("acme")).await;
        let slow = json!({"all": true, "rate": 0.1});
        let start = || keyed.with(&token, call(&Method::POST, "/v1/dead-letters/replay", Some(&slow)));
        let replies = futures_util::future::join_all((0..40).map(|_| start())).await;
        let (started, refused): (Vec<_>, Vec<_>) =
            replies.iter().partition(|reply| reply.status == StatusCode::ACCEPTED);
        assert_eq!((started.len(), refused.len()), (2, 38));
        for reply in refused {
            assert_eq!(reply.problem(429, "quota-reached"), [""; 0]);
            assert_eq!(reply.header("retry-after"), Some("1"));
        }
        let any = || client.post("/v1/dead-letters/replay", &slow);
        let replies = futures_util::future::join_all((0..40).map(|_| any())).await;
        let started = replies.iter().filter(|reply| reply.status == StatusCode::ACCEPTED).count();
        assert_eq!(started, 14, "16 in all");
    });
}

#[test]
fn a_tenant_has_no_more_endpoints_than_it_may() {
    run(async {
        let own = crate::Endpoint::http("own", "https://example.org/").tenant("acme");
        let builder = Hookmill::builder().in_memory().delivery_threads(1).transport(|| Scripted(200));
        let hooks = builder.endpoint(own).max_endpoints_per_tenant(3).start().await.unwrap();
        let open = Client { hooks: hooks.clone(), access: Access::unguarded() };
        let client = Client { hooks: hooks.clone(), access: Access::tokens() };
        let [acme, globex] = [
            client.token([Scope::Read, Scope::Admin], Some("acme")).await,
            client.token([Scope::Read, Scope::Admin], Some("globex")).await,
        ];
        let url = json!({"url": "https://example.org/"});
        let make = async |token: &str| client.with(token, call(&Method::POST, "/v1/endpoints", Some(&url))).await;
        let first = make(&acme).await.value(StatusCode::CREATED)["id"].as_str().unwrap().to_owned();
        make(&acme).await.value(StatusCode::CREATED);
        let refused = make(&acme).await;
        refused.problem(409, "conflict");
        let said = String::from_utf8_lossy(&refused.body).into_owned();
        assert!(said.contains("`max_endpoints_per_tenant`") && said.contains("acme"), "{said}");

        let of = |tenant: &str| json!({"url": "https://example.org/", "tenant": tenant});
        open.post("/v1/endpoints", &of("acme")).await.problem(409, "conflict");
        open.json(Method::PUT, "/v1/endpoints/new", &of("acme")).await.problem(409, "conflict");
        open.json(Method::PUT, "/v1/endpoints/new", &of("*")).await.value(StatusCode::CREATED);
        make(&globex).await.value(StatusCode::CREATED);
        // What is there can be changed, and set to what it is.
        let path = format!("/v1/endpoints/{first}");
        open.json(Method::PUT, &path, &of("acme")).await.value(StatusCode::OK);
        let named = call(&Method::PATCH, &path, Some(&json!({"name": "mine"})));
        client.with(&acme, named).await.value(StatusCode::OK);
        // The program's own count, and are not refused.
        hooks.set_endpoint(crate::Endpoint::http("further", "https://example.org/").tenant("acme")).await.unwrap();
        open.delete(&path).await;
        make(&acme).await.problem(409, "conflict");
        hooks.set_max_endpoints_per_tenant(4);
        make(&acme).await.value(StatusCode::CREATED);
        make(&acme).await.problem(409, "conflict");
    });
}

/// Answers 500 as this one.
#[derive(Clone, Default)]
struct Reached(Arc<Mutex<Option<Peer>>>);

impl Transport for Reached {
    fn send(&self, _: Attempt) -> LocalBoxFuture<'static, Answer> {
        let peer = *self.0.lock().unwrap();
        let said = Response {
            status: 500,
            retry_after: None,
            body: Bytes::from_static(b"said"),
            complete: true,
            content_type: None,
            peer,
        };
        std::future::ready(Ok(said.into())).boxed_local()
    }
}

#[test]
fn a_tenant_reads_what_public_addresses_answered_and_nothing_else() {
    run(async {
        let from = Reached::default();
        let made = from.clone();
        let builder = Hookmill::builder().in_memory().delivery_threads(1).transport(move || made.clone());
        let builder = builder.guard_allow("10.1.0.0/16:443".parse().unwrap());
        let open = Client { hooks: builder.start().await.unwrap(), access: Access::unguarded() };
        let client = Client { hooks: open.hooks.clone(), access: Access::tokens() };
        let token = client.token([Scope::Read, Scope::Admin], Some("acme")).await;
        open.endpoint_of("e", Some("acme")).await;
        let peer = |address: &str, public| Some(Peer { address: address.parse().unwrap(), public });
        let peers = [peer("203.0.113.9:443", true), peer("10.1.2.3:443", false), None];
        for (count, peer) in (1..).zip(peers) {
            *from.0.lock().unwrap() = peer;
            let event = json!({"topic": "t", "data": 1, "tenant": "acme"});
            open.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
            open.until("/v1/stats", |stats| stats["deliveries"]["dead_lettered"] == count).await;
            let tested = client.with(&token, request(Method::POST, "/v1/endpoints/e/test")).await;
            let said = tested.value(StatusCode::OK)["response"].clone();
            assert_eq!(said == "said", peer.is_some_and(|peer| peer.public), "{peer:?}: {said}");
        }
        let path = "/v1/endpoints/e/attempts";
        let shown = |list: Value, name: &str| -> Vec<Value> {
            list["items"].as_array().unwrap().iter().map(|attempt| attempt[name].clone()).collect()
        };
        let own = client.with(&token, request(Method::GET, path)).await.value(StatusCode::OK);
        assert_eq!(shown(own.clone(), "response"), [Value::Null, Value::Null, json!("said")]);
        assert_eq!(shown(own, "address"), [Value::Null, Value::Null, Value::Null]);
        let operators = open.get(path).await.value(StatusCode::OK);
        assert_eq!(shown(operators.clone(), "response"), [json!("said"), json!("said"), json!("said")]);
        assert_eq!(shown(operators, "address"), [Value::Null, json!("10.1.2.3:443"), json!("203.0.113.9:443")]);
    });
}
