//! Where pages go on: whatever was deleted meanwhile, and for nobody else.

use std::path::Path;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::*;
use crate::store::Scope;

/// The lists of rows that come and go, with the member that names the event.
const LISTS: [(&str, &str); 4] = [
    ("/v1/events", "id"),
    ("/v1/dead-letters", "event"),
    ("/v1/endpoints/e/attempts", "event"),
    ("/v1/endpoints/e/deliveries", "event"),
];

/// A tenant `acme` with dead letters `e0`, `e2`, `e4` and `e6`, between those of another at the same time.
struct World {
    client: Client,
    token: String,
}

impl World {
    async fn start(place: Option<&Path>) -> Client {
        let builder = Hookmill::builder().allow_loopback(true).delivery_threads(1);
        let builder = match place {
            Some(dir) => builder.data_dir(dir).disk_reserve(0),
            None => builder.in_memory(),
        };
        let hooks = builder.transport(|| Scripted(500)).start().await.unwrap();
        Client { hooks, access: Access::tokens() }
    }

    async fn new(place: Option<&Path>) -> Self {
        let client = Self::start(place).await;
        let token = client.token([Scope::Read], Some("acme")).await;
        let world = Self { client, token };
        let open = world.operator();
        for (id, tenant) in [("e", "acme"), ("f", "acme"), ("g", "globex")] {
            let endpoint = json!({"id": id, "tenant": tenant, "topics": [format!("{tenant}.*")], "url": "https://example.org/", "retry": {"delays": []}});
            open.post("/v1/endpoints", &endpoint).await.value(StatusCode::CREATED);
        }
        open.json(Method::PATCH, "/v1/endpoints/f", &json!({"topics": ["f"]})).await.value(StatusCode::OK);
        for n in 0..7 {
            let tenant = if n % 2 == 0 { "acme" } else { "globex" };
            let age = if n < 3 { "old" } else { "new" };
            let event = json!({"topic": format!("{tenant}.{age}"), "data": n, "id": format!("e{n}"), "tenant": tenant});
            open.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
        }
        open.until("/v1/stats", |stats| stats["deliveries"]["dead_lettered"] == 7).await;
        world
    }

    fn operator(&self) -> Client {
        Client { hooks: self.client.hooks.clone(), access: Access::unguarded() }
    }

    async fn ask(&self, path: &str) -> Reply {
        self.client.with(&self.token, request(Method::GET, path)).await
    }

    /// The next cursor after the first page, of two.
    async fn first_page(&self, path: &str, name: &str) -> String {
        let page = self.ask(&format!("{path}?limit=2")).await.value(StatusCode::OK);
        assert_eq!(column(&page, name), ["e6", "e4"], "{path}");
        page["next"].as_str().unwrap().to_owned()
    }

    async fn expect_rest(&self, path: &str, name: &str, next: &str) {
        let page = self.ask(&format!("{path}?limit=2&cursor={next}")).await.value(StatusCode::OK);
        assert_eq!((column(&page, name), &page["next"]), (vec![json!("e2"), json!("e0")], &Value::Null), "{path}");
    }

    async fn expect_refused(&self, path: &str, cursor: &str) {
        let reply = self.ask(&format!("{path}?cursor={cursor}")).await;
        assert_eq!(reply.problem(422, "invalid-request"), ["#/cursor"], "{path}: {cursor}");
    }
}

fn column(page: &Value, name: &str) -> Vec<Value> {
    page["items"].as_array().unwrap().iter().map(|item| item[name].clone()).collect()
}

#[test]
fn a_page_goes_on_where_the_one_before_ended_after_a_purge() {
    run(async {
        let world = World::new(None).await;
        let open = world.operator();
        let mut nexts = Vec::new();
        for (path, name) in LISTS {
            nexts.push(world.first_page(path, name).await);
        }
        let job = open.post("/v1/dead-letters/purge", &json!({"filter": {"topic": "acme.new"}})).await;
        let job = format!("/v1/jobs/{}", job.value(StatusCode::ACCEPTED)["job"].as_str().unwrap());
        open.until(&job, |job| job["state"] == "finished").await;
        assert_eq!(column(&world.ask("/v1/dead-letters").await.value(StatusCode::OK), "event"), ["e2", "e0"]);
        for ((path, name), next) in LISTS.into_iter().zip(nexts) {
            world.expect_rest(path, name, &next).await;
        }
    });
}

#[test]
fn a_page_goes_on_after_a_restart_when_the_rows_before_are_forgotten() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let mut world = World::new(Some(dir.path())).await;
        let mut nexts = Vec::new();
        for (path, name) in LISTS {
            nexts.push(world.first_page(path, name).await);
        }
        world.client.hooks.shutdown(HUNG).await;
        // As retention does.
        let db = rusqlite::Connection::open(dir.path().join(crate::store::sqlite::DATABASE)).unwrap();
        for table in ["attempts", "deliveries", "events"] {
            let old = db.execute(&format!("DELETE FROM {table} WHERE seq > 3"), []).unwrap();
            assert!(old > 0, "{table}");
        }
        drop(db);
        world.client = World::start(Some(dir.path())).await;
        for ((path, name), next) in LISTS.into_iter().zip(&nexts) {
            assert_eq!(column(&world.ask(path).await.value(StatusCode::OK), name), ["e2", "e0"], "{path}");
            world.expect_rest(path, name, next).await;
        }
        let another = World::new(None).await;
        for ((path, _), next) in LISTS.into_iter().zip(&nexts) {
            another.expect_refused(path, next).await;
        }
    });
}

#[test]
fn a_cursor_leads_on_for_its_tenant_and_its_list_alone() {
    run(async {
        let mut world = World::new(None).await;
        let paths = ["/v1/events", "/v1/dead-letters", "/v1/endpoints/e/attempts", "/v1/endpoints/e/deliveries"];
        let more =
            ["/v1/endpoints", "/v1/endpoints/f/deliveries", "/v1/endpoints/f/attempts", "/v1/events/e0/attempts"];
        let mut nexts = Vec::new();
        for path in paths.into_iter().chain(["/v1/endpoints"]) {
            let page = world.ask(&format!("{path}?limit=1")).await.value(StatusCode::OK);
            nexts.push((path, page["next"].as_str().unwrap().to_owned()));
        }
        for (of, next) in &nexts {
            for path in paths.into_iter().chain(more).filter(|path| path != of) {
                world.expect_refused(path, next).await;
            }
            let reply = world.operator().get(&format!("{of}?cursor={next}")).await;
            assert_eq!(reply.problem(422, "invalid-request"), ["#/cursor"], "{of}: a tenant's");
            let page = world.operator().get(&format!("{of}?limit=1")).await.value(StatusCode::OK);
            world.expect_refused(of, page["next"].as_str().unwrap()).await;
        }
        // Another token of the tenant will do.
        world.token = world.client.token([Scope::Read], Some("acme")).await;
        for (path, next) in &nexts {
            world.ask(&format!("{path}?cursor={next}")).await.value(StatusCode::OK);
        }
        world.token = world.client.token([Scope::Read], Some("globex")).await;
        for (path, next) in nexts.iter().filter(|(path, _)| !path.contains("/e/")) {
            world.expect_refused(path, next).await;
        }
    });
}

#[test]
fn a_cursor_that_was_changed_is_none() {
    run(async {
        let world = World::new(None).await;
        for (path, name) in LISTS {
            let next = world.first_page(path, name).await;
            for place in 0..next.len() {
                let other = if &next[place..=place] == "A" { "B" } else { "A" };
                world.expect_refused(path, &format!("{}{other}{}", &next[..place], &next[place + 1..])).await;
            }
            for cursor in ["", &next[1..], &next[..next.len() - 1], &next[..20], &format!("{next}A"), &next.repeat(2)] {
                world.expect_refused(path, cursor).await;
            }
            world.expect_rest(path, name, &next).await;
        }
    });
}

#[test]
fn a_cursor_tells_nothing_of_the_seq() {
    run(async {
        let world = World::new(None).await;
        for (path, _) in LISTS {
            let mut cursor = String::new();
            for _ in 0..3 {
                let page = world.ask(&format!("{path}?limit=1{cursor}")).await.value(StatusCode::OK);
                let next = page["next"].as_str().unwrap();
                assert!(next.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{next}");
                let sealed = BASE64_URL_SAFE_NO_PAD.decode(next).unwrap();
                assert_eq!(sealed.len(), 12 + 96 + 16, "{path}");
                assert!(!sealed.windows(3).any(|part| part == b"dlv" || part == b"   "), "{path}");
                cursor = format!("&cursor={next}");
            }
        }
    });
}
