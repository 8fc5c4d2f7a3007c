//! What callers may hold of the memory: pages, answers that nobody reads, bodies that do not end.

use std::net::SocketAddr;

use actix_web::{HttpServer, dev::ServiceResponse};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use super::*;
use crate::{pipeline::BodyBounds, quota::Fair, store::Scope};

/// The longest page, and what stands around its items.
const PAGE: usize = (1 << 20) + (1 << 10);

/// One client that may everything, and one whom tokens let in.
async fn clients(builder: crate::Builder) -> [Client; 2] {
    let hooks = builder.in_memory().delivery_threads(1).transport(|| Scripted(200)).start().await.unwrap();
    [Access::unguarded(), Access::tokens()].map(|access| Client { hooks: hooks.clone(), access })
}

async fn publish(client: &Client, count: usize, bytes: usize, tenant: Option<&str>) {
    for _ in 0..count {
        let event = json!({"topic": "t", "data": "x".repeat(bytes), "tenant": tenant});
        client.post("/v1/events", &event).await.value(StatusCode::ACCEPTED);
    }
}

/// How many items each page of `path` has, none of them too long.
async fn pages(client: &Client, path: &str) -> Vec<usize> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let reply = client.get(&format!("{path}?limit=250{cursor}")).await;
        let page = reply.value(StatusCode::OK);
        let items = page["items"].as_array().unwrap().len();
        assert!(reply.body.len() <= PAGE, "{} bytes for {items} items of {path}", reply.body.len());
        pages.push(items);
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return pages,
        }
    }
}

#[test]
fn pages_of_what_is_large_are_short_and_leave_nothing_out() {
    run(async {
        let [client, _] = clients(Hookmill::builder()).await;
        publish(&client, 25, 100_000, None).await;
        assert_eq!(pages(&client, "/v1/events").await, [10, 10, 5]);
        let map: serde_json::Map<_, _> = (0..15).map(|n| (format!("k{n}"), json!("x".repeat(1000)))).collect();
        for n in 0..120 {
            let endpoint = json!({"id": format!("e{n}"), "url": "https://example.org/", "format": {"map": map}});
            client.post("/v1/endpoints", &endpoint).await.value(StatusCode::CREATED);
        }
        let pages = pages(&client, "/v1/endpoints").await;
        assert_eq!((pages.len(), pages.iter().sum::<usize>()), (2, 120), "{pages:?}");
    });
}

#[test]
fn answers_that_nobody_reads_hold_no_more_than_the_share_of_their_caller() {
    run(async {
        let mut builder = Hookmill::builder();
        builder.answers = Fair::new(1 << 20);
        let [open, client] = clients(builder).await;
        publish(&open, 2, 100_000, Some("acme")).await;
        publish(&open, 1, 100_000, Some("globex")).await;
        let acme = client.token([Scope::Read], Some("acme")).await;
        let globex = client.token([Scope::Read], Some("globex")).await;
        let app = init_service(App::new().configure(open.hooks.api(Access::tokens()))).await;
        let ask = async |token: &str| -> ServiceResponse {
            let request =
                TestRequest::with_uri("/v1/events").insert_header(("authorization", format!("Bearer {token}")));
            call_service(&app, request.to_request()).await
        };
        let mut unread = vec![ask(&acme).await, ask(&acme).await];
        assert!(unread.iter().all(|response| response.status() == StatusCode::OK));
        let refused = ask(&acme).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(refused.headers().get("retry-after").unwrap(), "1");
        // What is short is told all the same, and others have theirs.
        client.with(&acme, request(Method::GET, "/v1/endpoints")).await.value(StatusCode::OK);
        client.with(&globex, request(Method::GET, "/v1/events")).await.value(StatusCode::OK);
        open.get("/v1/events/nothing").await.problem(404, "not-found");
        unread.pop();
        let again = ask(&acme).await;
        assert_eq!(again.status(), StatusCode::OK);
        assert!(to_bytes(again.into_body()).await.unwrap().len() > 200_000);
        drop(unread);
        assert_eq!(open.hooks.0.answers.used(), 0);
    });
}

fn head(path: &str, token: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: Bearer {token}\r\n\
         content-length: {length}\r\n\r\n"
    )
}

async fn serve(client: &Client) -> SocketAddr {
    let (hooks, access) = (client.hooks.clone(), client.access.clone());
    let app = move || App::new().configure(hooks.api(access.clone()));
    let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    actix_rt::spawn(server.run());
    address
}

#[test]
fn bodies_of_one_tenant_that_do_not_end_keep_nobody_elses_out() {
    run(async {
        let mut builder = Hookmill::builder();
        let (count, small, large) = (Fair::new(100), Fair::new(1 << 20), Fair::new(4 << 20));
        builder.bodies = BodyBounds { count: count.clone(), small, large: large.clone() };
        let [_, client] = clients(builder).await;
        let [acme, globex] =
            [client.token([Scope::Publish], Some("acme")).await, client.token([Scope::Publish], Some("globex")).await];
        let operator = client.token([Scope::Admin], None).await;
        let address = serve(&client).await;
        let mut stalled = Vec::new();
        for _ in 0..20 {
            let mut socket = TcpStream::connect(address).await.unwrap();
            socket.write_all(head("/v1/events", &acme, 1 << 20).as_bytes()).await.unwrap();
            let _refused = socket.write_all(&vec![b' '; 600_000]).await;
            stalled.push(socket);
        }
        // Three have come so far, the others were refused.
        while large.used() < 1_800_000 || count.used() > 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let event = |bytes| json!({"topic": "t", "data": "x".repeat(bytes)}).to_string();
        let publish = async |token: &str, bytes| {
            client.with(token, with_body(request(Method::POST, "/v1/events"), event(bytes))).await
        };
        publish(&globex, 600_000).await.value(StatusCode::ACCEPTED);
        publish(&globex, 10).await.value(StatusCode::ACCEPTED);
        let endpoint =
            with_body(request(Method::POST, "/v1/endpoints"), json!({"url": "https://example.org/"}).to_string());
        client.with(&operator, endpoint).await.value(StatusCode::CREATED);
        // It has its own share of what is large, and room for what is small.
        publish(&acme, 600_000).await.problem(429, "quota-reached");
        publish(&acme, 10).await.value(StatusCode::ACCEPTED);
        drop(stalled);
        while large.used() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        publish(&acme, 600_000).await.value(StatusCode::ACCEPTED);
    });
}
