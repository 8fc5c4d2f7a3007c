//! Nothing of another tenant is seen or changed, by any operation.

use super::{
    callers::{body, call},
    openapi::operations,
    *,
};
use crate::store::Scope;

/// What must be in no answer to acme: it is in all that belongs to the other tenant and to the operator.
const MARKERS: [&str; 2] = ["globex", "MARKER"];

/// Two tenants and an operator, with the same of everything. Ids hold no marker: an answer may repeat what was asked for.
struct World {
    client: Client,
    /// With every scope that a tenant's may have.
    acme: String,
    globex: String,
    jobs: [String; 2],
}

fn ids(tenant: &str) -> [String; 4] {
    let of = if tenant == "acme" { "mine" } else { "other" };
    ["evt", "dead", "held", "job"].map(|kind| format!("{kind}-{of}"))
}

impl World {
    async fn new() -> Self {
        let client = Client::of_tokens(500).await;
        let scopes = Scope::ALL.into_iter().filter(|scope| *scope != Scope::Metrics).collect::<Vec<_>>();
        let (acme, globex) =
            (client.token(scopes.clone(), Some("acme")).await, client.token(scopes, Some("globex")).await);
        let open = Client { hooks: client.hooks.clone(), access: Access::unguarded() };
        for tenant in ["acme", "globex"] {
            let [event, dead, held, _] = ids(tenant);
            let marker = if tenant == "acme" { "own" } else { "MARKER" };
            let endpoint = |id: &str, state: &str| {
                json!({
                    "id": id, "tenant": tenant, "name": marker, "url": "https://example.org/", "retry": {"delays": []},
                    "state": state, "metadata": {"of": marker},
                })
            };
            open.post("/v1/endpoints", &endpoint(&dead, "active")).await.value(StatusCode::CREATED);
            open.post("/v1/endpoints", &endpoint(&held, "paused")).await.value(StatusCode::CREATED);
            let shared = json!({"id": format!("shared-{event}"), "tenant": "*", "name": "MARKER", "retry": {"delays": []},
                "topics": ["own.x", "MARKER.x"],
                "url": "https://example.org/"});
            open.post("/v1/endpoints", &shared).await.value(StatusCode::CREATED);
            let published =
                json!({"topic": format!("{marker}.x"), "tenant": tenant, "id": event, "data": {"of": marker}});
            open.post("/v1/events", &published).await.value(StatusCode::ACCEPTED);
        }
        open.post("/v1/events", &json!({"topic": "MARKER.x", "data": "MARKER", "id": "evt-none"}))
            .await
            .value(StatusCode::ACCEPTED);
        open.json(Method::PUT, "/v1/debounce-rules/rule", &json!({"topics": ["MARKER"], "window": "1s"}))
            .await
            .value(StatusCode::CREATED);
        let chain = json!([{"name": "s", "url": "https://example.org/MARKER", "final_response": true}]);
        open.json(Method::PUT, "/v1/chains/chain", &chain).await.value(StatusCode::CREATED);
        open.until("/v1/stats", |stats| stats["deliveries"]["dead_lettered"] == 7).await;
        let mut world = Self { client, acme, globex, jobs: Default::default() };
        for (place, token) in [world.acme.clone(), world.globex.clone()].into_iter().enumerate() {
            let nothing = json!({"filter": {"topic": "nothing"}});
            let made = world.client.with(&token, call(&Method::POST, "/v1/dead-letters/replay", Some(&nothing))).await;
            world.jobs[place] = made.value(StatusCode::ACCEPTED)["job"].as_str().unwrap().to_owned();
        }
        world
    }

    fn operator(&self) -> Client {
        Client { hooks: self.client.hooks.clone(), access: Access::unguarded() }
    }

    /// What is not acme's, as the operator sees it.
    async fn of_others(&self) -> Vec<Value> {
        let open = self.operator();
        let [event, dead, held, _] = ids("globex");
        let mut seen = Vec::new();
        let job = &self.jobs[1];
        for path in [
            "/v1/events?tenant=globex".to_owned(),
            format!("/v1/events/{event}?tenant=globex"),
            format!("/v1/events/{event}/attempts?tenant=globex"),
            "/v1/events/evt-none".to_owned(),
            format!("/v1/endpoints/{dead}"),
            format!("/v1/endpoints/{held}"),
            "/v1/endpoints/shared-evt-other".to_owned(),
            "/v1/endpoints/shared-evt-mine".to_owned(),
            format!("/v1/endpoints/{held}/state"),
            "/v1/endpoints/shared-evt-mine/state".to_owned(),
            format!("/v1/endpoints/{dead}/deliveries"),
            format!("/v1/endpoints/{held}/deliveries"),
            "/v1/endpoints/shared-evt-mine/deliveries".to_owned(),
            "/v1/dead-letters?tenant=globex".to_owned(),
            format!("/v1/jobs/{job}"),
            "/v1/debounce-rules".to_owned(),
            "/v1/chains".to_owned(),
        ] {
            seen.push(open.get(&path).await.value(StatusCode::OK));
        }
        seen.push(json!(
            self.client.hooks.tokens().iter().map(|token| token.id.as_str().to_owned()).collect::<Vec<_>>()
        ));
        seen
    }

    /// Ids of others for a path, in every spelling.
    async fn others(&self, path: &str) -> Vec<String> {
        let [event, dead, held, _] = ids("globex");
        let all = |ids: &[&str]| ids.iter().map(|id| path.replace("{id}", id)).collect();
        match path {
            _ if path.contains("{name}") => vec![path.replace("{name}", "rule")],
            _ if path.contains("{event}") => vec![path.replace("{event}", "chain")],
            _ if !path.contains("{id}") => vec![path.to_owned()],
            _ if path.starts_with("/v1/events") => all(&[&event, "evt-none"]),
            _ if path.starts_with("/v1/endpoints") => {
                all(&[&dead, &held, "shared-evt-other", "shared-evt-mine", "chain"])
            }
            _ if path.starts_with("/v1/jobs") => all(&[&self.jobs[1]]),
            _ if path.starts_with("/v1/tokens") => {
                self.client.hooks.tokens().iter().map(|token| path.replace("{id}", token.id.as_str())).collect()
            }
            _ => {
                let letters = self.operator().get("/v1/dead-letters?limit=250").await.value(StatusCode::OK);
                let letters = letters["items"].as_array().unwrap();
                let theirs = letters.iter().map(|letter| letter["id"].as_str().unwrap().to_owned());
                let spelled = [format!("dlv_{event}.{dead}.0"), "dlv_evt-mine.shared-evt-mine.0".to_owned()];
                theirs.chain(spelled).map(|id| path.replace("{id}", &id)).collect()
            }
        }
    }
}

#[track_caller]
fn tells_nothing(reply: &Reply, what: &str) {
    let text = String::from_utf8_lossy(&reply.body);
    let headers = format!("{:?}", reply.headers);
    for marker in MARKERS {
        assert!(!text.contains(marker) && !headers.contains(marker), "{what} tells of {marker}: {text}");
    }
    assert!(!text.contains("seq\""), "{what}: {text}");
    if reply.status.is_success() {
        assert!(!text.contains("dlv_1") && !text.contains("shared-evt"), "{what} names what is not its own: {text}");
    }
}

#[test]
fn no_operation_shows_or_changes_anything_of_others() {
    run(async {
        let world = World::new().await;
        let before = world.of_others().await;
        let mut walked = 0;
        for (method, path, said) in operations() {
            for url in world.others(path).await {
                let reply = world.client.with(&world.acme, call(&method, &url, body(said).as_ref())).await;
                let what = format!("{method} {url}");
                if said["x-tenants"] != "any" {
                    tells_nothing(&reply, &what);
                }
                if said["x-tenants"] == "none" {
                    reply.problem(403, "forbidden");
                } else if path.contains('{') && !url.ends_with("/replay") {
                    assert!(matches!(reply.status.as_u16(), 403 | 404), "{what}: {}", reply.status);
                } else if path.contains('{') {
                    reply.problem(404, "not-found");
                }
                walked += 1;
            }
            for query in ["tenant=globex", "endpoint=dead-other", "endpoint=shared-evt-mine"] {
                let known = said["parameters"].as_array().into_iter().flatten();
                let name = query.split_once('=').unwrap().0;
                if !known.clone().any(|parameter| parameter["name"] == name) || path.contains('{') {
                    continue;
                }
                let reply = world
                    .client
                    .with(&world.acme, call(&method, &format!("{path}?{query}"), body(said).as_ref()))
                    .await;
                tells_nothing(&reply, query);
                assert!(matches!(reply.status.as_u16(), 403 | 422), "{method} {path}?{query}: {}", reply.status);
            }
            if let Some(mut body) = body(said).filter(Value::is_object) {
                for (member, value) in
                    [("tenant", "globex"), ("endpoint", "held-other"), ("endpoint", "shared-evt-mine")]
                {
                    let within = if body.get("all").is_some() && member == "tenant" { "filter" } else { "" };
                    let own = if path.starts_with("/v1/events") { "evt-mine" } else { "dead-mine" };
                    let url = path.replace("{id}", own).replace("{name}", "rule").replace("{event}", "chain");
                    match within {
                        "" => body[member] = json!(value),
                        _ => body["filter"] = json!({member: value}),
                    }
                    let reply = world.client.with(&world.acme, call(&method, &url, Some(&body))).await;
                    tells_nothing(&reply, &format!("{method} {url} {body}"));
                    assert!(
                        matches!(reply.status.as_u16(), 403 | 404 | 422),
                        "{method} {url} {body}: {}",
                        reply.status
                    );
                    body.as_object_mut().unwrap().retain(|name, _| name != member && name != "filter");
                }
            }
            assert_eq!(world.of_others().await, before, "{method} {path} changed what is not its own");
        }
        assert!(walked > operations().len());
    });
}

#[test]
fn a_tenant_finds_and_changes_what_is_its_own() {
    run(async {
        let world = World::new().await;
        let get = async |path: &str| {
            let reply = world.client.with(&world.acme, request(Method::GET, path)).await;
            tells_nothing(&reply, path);
            reply.value(StatusCode::OK)
        };
        let post = async |path: &str, body: Value| {
            let reply = world.client.with(&world.acme, call(&Method::POST, path, Some(&body))).await;
            tells_nothing(&reply, path);
            reply
        };
        let events = get("/v1/events").await;
        assert_eq!((&events["items"][0]["id"], events["items"].as_array().unwrap().len()), (&json!("evt-mine"), 1));
        let event = get("/v1/events/evt-mine").await;
        let named: Vec<_> = event["deliveries"].as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
        assert_eq!(named, [json!("dlv_evt-mine.dead-mine.0"), json!("dlv_evt-mine.held-mine.0")]);
        let attempts = get("/v1/events/evt-mine/attempts").await;
        assert_eq!(attempts["items"].as_array().unwrap().len(), 1);
        assert!(get("/v1/endpoints/dead-mine/attempts").await["items"][0]["response"].is_null(), "loopback is allowed");
        let endpoints = get("/v1/endpoints").await;
        assert_eq!(endpoints["items"].as_array().unwrap().len(), 2);
        get("/v1/endpoints/held-mine/state").await;
        let deliveries = get("/v1/endpoints/held-mine/deliveries").await;
        assert_eq!(deliveries["items"].as_array().unwrap().len(), 1);
        assert_eq!(deliveries["items"][0]["id"], "dlv_evt-mine.held-mine.0");
        let letters = get("/v1/dead-letters").await;
        assert_eq!(letters["items"].as_array().unwrap().len(), 1);
        let id = letters["items"][0]["id"].as_str().unwrap().to_owned();
        assert_eq!(get(&format!("/v1/dead-letters/{id}")).await["data"], json!({"of": "own"}));
        get(&format!("/v1/jobs/{}", world.jobs[0])).await;

        let counted = post("/v1/dead-letters/purge", json!({"all": true, "dry_run": true})).await.value(StatusCode::OK);
        assert_eq!(counted, json!({"matched": 1}));
        let replayed = post(&format!("/v1/dead-letters/{id}/replay"), json!({})).await.value(StatusCode::ACCEPTED);
        assert_eq!(replayed["delivery"], "dlv_evt-mine.dead-mine.1");
        let again = post(&format!("/v1/dead-letters/{id}/replay"), json!({})).await;
        again.problem(409, "conflict");
        assert!(!String::from_utf8_lossy(&again.body).contains("dlv_"), "no name that counts what others have");
        let cancelled = post("/v1/deliveries/cancel", json!({"endpoint": "held-mine"})).await.value(StatusCode::OK);
        assert_eq!(cancelled["cancelled"], 1);
        let patch = call(&Method::PATCH, "/v1/endpoints/held-mine", Some(&json!({"name": "mine"})));
        let refused = world.client.with(&world.acme, patch).await;
        assert_eq!(refused.value(StatusCode::OK)["name"], "mine");
    });
}

#[test]
fn what_a_tenant_makes_is_its_own_and_reaches_no_further() {
    run(async {
        let world = World::new().await;
        let post = async |path: &str, body: Value| {
            world.client.with(&world.acme, call(&Method::POST, path, Some(&body))).await
        };
        let made = post("/v1/endpoints", json!({"url": "https://example.org/"})).await.value(StatusCode::CREATED);
        assert_eq!((&made["tenant"], &made["guard"]), (&json!("acme"), &json!("public")));
        let id = made["id"].as_str().unwrap();
        assert!(id.starts_with("ep_"));
        let refused = |reply: Reply| reply.problem(422, "invalid-request");
        let url = "https://example.org/";
        assert_eq!(refused(post("/v1/endpoints", json!({"url": url, "id": "mine"})).await), ["#/id"]);
        assert_eq!(refused(post("/v1/endpoints", json!({"url": url, "guard": "private"})).await), ["#/guard"]);
        assert_eq!(refused(post("/v1/endpoints", json!({"file": "a.jsonl"})).await), ["#/file"]);
        assert_eq!(refused(post("/v1/endpoints", json!({"url": "http://10.0.0.1/"})).await), ["#/url"]);
        let others = post("/v1/endpoints", json!({"url": url, "tenant": "*", "guard": "none"})).await;
        assert_eq!(refused(others), ["#/tenant", "#/guard"]);
        for patch in
            [json!({"tenant": null}), json!({"tenant": "*"}), json!({"guard": "private"}), json!({"file": "a"})]
        {
            let path = format!("/v1/endpoints/{id}");
            let reply = world.client.with(&world.acme, call(&Method::PATCH, &path, Some(&patch))).await;
            let now = world.operator().get(&path).await.value(StatusCode::OK);
            assert_eq!((&now["tenant"], &now["guard"]), (&json!("acme"), &json!("public")), "{patch}");
            assert_eq!(
                reply.status == StatusCode::OK,
                patch["tenant"].is_null() && patch.get("tenant").is_some(),
                "{patch}"
            );
        }
        world.operator().json(Method::PATCH, &format!("/v1/endpoints/{id}"), &json!({"guard": "private"})).await;
        let patch = call(&Method::PATCH, &format!("/v1/endpoints/{id}"), Some(&json!({"name": "x"})));
        world.client.with(&world.acme, patch).await.problem(409, "conflict");

        let receipt = post("/v1/events", json!({"topic": "own.y", "data": 1, "id": "evt-other"})).await;
        assert_eq!(
            receipt.value(StatusCode::ACCEPTED),
            json!({"id": "evt-other", "duplicate": false, "durable": false})
        );
        let several = post("/v1/events", json!([{"topic": "own.y", "data": 1, "tenant": "acme"}])).await;
        assert_eq!(several.value(StatusCode::ACCEPTED), json!({"accepted": 1, "duplicates": 0, "durable": false}));
        let others = json!([{"topic": "y", "data": 1}, {"topic": "y", "data": 1, "tenant": "globex"}]);
        assert_eq!(post("/v1/events", others).await.problem(403, "forbidden"), ["#/1/tenant"]);
        let globex = world.client.with(&world.globex, request(Method::GET, "/v1/events")).await.value(StatusCode::OK);
        assert_eq!(globex["items"].as_array().unwrap().len(), 1);
    });
}

#[test]
fn an_endpoint_never_changes_hands_with_what_it_holds() {
    run(async {
        let open = Client::new(200).await;
        let url = "https://example.org/";
        for (id, tenant) in [("acme", json!("acme")), ("nobody", Value::Null), ("all", json!("*"))] {
            let made = json!({"id": id, "url": url, "tenant": tenant, "state": "paused"});
            open.post("/v1/endpoints", &made).await.value(StatusCode::CREATED);
        }
        for (id, tenants) in [
            ("acme", [json!("beta"), json!("*"), Value::Null]),
            ("nobody", [json!("beta"), json!("acme"), json!("b")]),
            ("all", [json!("beta"), json!("acme"), json!("b")]),
        ] {
            let path = format!("/v1/endpoints/{id}");
            for tenant in tenants {
                let change = json!({"url": url, "tenant": tenant, "name": "moved"});
                for method in [Method::PATCH, Method::PUT] {
                    let refused = open.json(method.clone(), &path, &change).await;
                    refused.problem(409, "conflict");
                    let said = String::from_utf8_lossy(&refused.body).into_owned();
                    assert!(said.contains("keeps its tenant"), "{method} {change}: {said}");
                }
            }
            assert_eq!(open.get(&path).await.value(StatusCode::OK)["version"], 1, "nothing changed");
        }
        let missing = open.json(Method::PUT, "/v1/endpoints/acme", &json!({"url": url})).await;
        missing.problem(409, "conflict");
        // Nobody else sees these, whichever it is.
        for (id, tenant) in
            [("nobody", json!("*")), ("nobody", Value::Null), ("all", Value::Null), ("acme", json!("acme"))]
        {
            let change = json!({"tenant": tenant, "name": "n"});
            let path = format!("/v1/endpoints/{id}");
            assert_eq!(open.json(Method::PATCH, &path, &change).await.value(StatusCode::OK)["tenant"], tenant);
        }
        // Deleted and made anew, it has nothing of what it had.
        open.post("/v1/events", &json!({"topic": "t", "data": 1, "id": "one", "tenant": "acme"})).await;
        open.until("/v1/stats", |stats| stats["deliveries"]["pending"] == 1).await;
        open.delete("/v1/endpoints/acme").await;
        let made = json!({"id": "acme", "url": url, "tenant": "beta", "topics": ["other"]});
        open.post("/v1/endpoints", &made).await.value(StatusCode::CREATED);
        let of = async |what: &str| open.get(&format!("/v1/endpoints/acme/{what}")).await.value(StatusCode::OK);
        assert_eq!(
            (of("deliveries").await["items"].clone(), of("attempts").await["items"].clone()),
            (json!([]), json!([]))
        );
    });
}

#[test]
fn a_tenants_lists_go_on_after_its_own_events() {
    run(async {
        let client = Client::of_tokens(500).await;
        let token = client.token([Scope::Read], Some("acme")).await;
        let open = Client { hooks: client.hooks.clone(), access: Access::unguarded() };
        let endpoint = json!({"id": "e", "tenant": "acme", "url": "https://example.org/", "retry": {"delays": []}});
        open.post("/v1/endpoints", &endpoint).await.value(StatusCode::CREATED);
        for n in 0..7 {
            let tenant = if n % 2 == 0 { "acme" } else { "globex" };
            let event = json!({"topic": "t", "data": n, "id": format!("e{n}"), "tenant": tenant});
            open.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        }
        open.until("/v1/stats", |stats| stats["deliveries"]["dead_lettered"] == 4).await;
        for (path, name) in [
            ("/v1/events", "id"),
            ("/v1/dead-letters", "event"),
            ("/v1/endpoints/e/attempts", "event"),
            ("/v1/endpoints/e/deliveries", "event"),
        ] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = client
                    .with(&token, request(Method::GET, &format!("{path}?limit=1{cursor}")))
                    .await
                    .value(StatusCode::OK);
                found.extend(
                    page["items"].as_array().unwrap().iter().map(|item| item[name].as_str().unwrap().to_owned()),
                );
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            assert_eq!(found, ["e6", "e4", "e2", "e0"], "{path}");
            for cursor in ["NQ", "ZTE", "ZGx2XzEtMS0w"] {
                let reply = client.with(&token, request(Method::GET, &format!("{path}?cursor={cursor}"))).await;
                assert_eq!(reply.problem(422, "invalid-request"), ["#/cursor"], "{path}: 5, e1, dlv_1-1-0");
            }
        }
    });
}

#[test]
fn a_tenant_does_not_write_what_points_to_the_seq() {
    run(async {
        let client = Client::of_tokens(500).await;
        let token = client.token([Scope::Admin, Scope::Read], Some("acme")).await;
        let send =
            async |method: Method, path: &str, body: Value| client.with(&token, call(&method, path, Some(&body))).await;
        let filter = json!({"pointer": "/seq", "min": 1});
        let format = json!({"map": {"n": {"from": "/id", "default": {"from": "/seq"}}}});
        let places = ["#/filter/pointer", "#/format/map/n/default/from"];
        let url = "https://example.org/";
        let both = json!({"url": url, "filter": filter, "format": format});
        assert_eq!(send(Method::POST, "/v1/endpoints", both.clone()).await.problem(422, "invalid-request"), places);
        let made = send(Method::POST, "/v1/endpoints", json!({"url": url, "preset": "daemon"})).await;
        let path = format!("/v1/endpoints/{}", made.value(StatusCode::CREATED)["id"].as_str().unwrap());
        assert_eq!(send(Method::PUT, &path, both.clone()).await.problem(422, "invalid-request"), places);
        assert_eq!(send(Method::PATCH, &path, both).await.problem(422, "invalid-request"), places);
        let renamed = send(Method::PATCH, &path, json!({"name": "new"})).await.value(StatusCode::OK);
        assert_eq!(
            (&renamed["name"], &renamed["preset"]),
            (&json!("new"), &json!("daemon")),
            "what a preset says is no fault"
        );
    });
}

#[test]
fn attempts_are_listed_page_by_page() {
    run(async {
        let client = Client::of_tokens(500).await;
        let token = client.token([Scope::Read], Some("acme")).await;
        let open = Client { hooks: client.hooks.clone(), access: Access::unguarded() };
        for (id, tenant) in [("a", "acme"), ("b", "acme"), ("other", "*")] {
            let retry = json!({"delays": ["1ms", "1ms"], "jitter": 0});
            let endpoint = json!({"id": id, "tenant": tenant, "url": "https://example.org/", "retry": retry});
            open.post("/v1/endpoints", &endpoint).await.value(StatusCode::CREATED);
        }
        let event = json!({"topic": "t", "data": 1, "id": "e", "tenant": "acme"});
        open.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        open.until("/v1/stats", |stats| stats["deliveries"]["dead_lettered"] == 3).await;
        let tried =
            |attempt: &Value| (attempt["endpoint"].as_str().unwrap().to_owned(), attempt["number"].as_u64().unwrap());
        let own = [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("b", 3)].map(|(id, n)| (id.to_owned(), n));
        let others = [1, 2, 3].map(|n| ("other".to_owned(), n));
        let all = own.iter().chain(&others).cloned().collect::<Vec<_>>();
        for (path, tenant, expected) in [
            ("/v1/events/e/attempts?tenant=acme", false, &all[..]),
            ("/v1/events/e/attempts?", true, &own[..]),
            ("/v1/endpoints/b/attempts?", true, &own[3..]),
            ("/v1/endpoints/other/attempts?", false, &others[..]),
        ] {
            let (mut found, mut cursor) = (Vec::new(), String::new());
            loop {
                let asked = request(Method::GET, &format!("{path}&limit=2{cursor}"));
                let page = if tenant { client.with(&token, asked).await } else { open.send(asked).await };
                let page = page.value(StatusCode::OK);
                let items = page["items"].as_array().unwrap();
                assert!(items.len() <= 2, "{page}");
                found.extend(items.iter().map(tried));
                let Some(next) = page["next"].as_str() else { break };
                cursor = format!("&cursor={next}");
            }
            found.sort();
            assert_eq!(found, expected, "{path}: each once");
        }
        for query in ["limit=251", "limit=0", "cursor=NQ"] {
            let asked = request(Method::GET, &format!("/v1/events/e/attempts?tenant=acme&{query}"));
            let place = format!("#/{}", query.split_once('=').unwrap().0);
            assert_eq!(open.send(asked).await.problem(422, "invalid-request"), [place]);
        }
    });
}
