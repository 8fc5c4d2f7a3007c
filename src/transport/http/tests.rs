//! Against real sockets of loopback and servers that misbehave.

mod answers;
mod batches;
mod connections;
mod guarded;
mod hostile;
mod room;
mod server;
mod tls;

use std::{
    future::Future,
    rc::Rc,
    sync::{Arc, LazyLock},
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::*;
use crate::transport::{KEPT_RESPONSE_BYTES, Reply};
use crate::{
    Accepted, Event, Timestamp,
    endpoint::{
        Auth, Endpoint, EndpointKey, Secret, Settings, Signing, State, Target, TenantScope,
        format::Format,
        policy::{DeadLetters, Guard, Policy},
    },
};

/// When a test that waits for something has failed.
const HUNG: Duration = Duration::from_secs(30);

/// Runs on an arbiter, under the real clock.
fn run<T>(test: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(async { timeout(HUNG, test).await.expect("what is waited for does not come") })
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const AT: Timestamp = Timestamp::from_millis(1_614_265_330_999);

/// Trusts nobody: enough for plain HTTP, and quick to make.
static DISTRUST: LazyLock<Network> = LazyLock::new(|| trusting(RootCertStore::empty()));

fn trusting(roots: RootCertStore) -> Network {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap();
    Network::with_tls(config.with_root_certificates(roots).with_no_client_auth())
}

fn transport() -> HttpTransport {
    HttpTransport::new(&DISTRUST)
}

fn settings(url: &str) -> Settings {
    Settings {
        preset: None,
        name: None,
        tenant: TenantScope::None,
        target: Target::Http(url.parse().unwrap()),
        topics: vec!["*".parse().unwrap()],
        filter: None,
        format: Format::default(),
        state: State::Active,
        method: "POST".into(),
        headers: Vec::new(),
        metadata: serde_json::Map::new(),
        auth: None,
        signing: Signing::standard([Secret::parse(SECRET).unwrap()]),
        guard: Guard::Private,
        policy: Policy { timeout: Duration::from_secs(60), ..Policy::default() }.shared(),
        dead_letters: DeadLetters::default(),
        debounce: None,
    }
}

fn attempt(settings: Settings) -> Attempt {
    let endpoint = Endpoint {
        key: EndpointKey(1),
        id: "ep".parse().unwrap(),
        settings,
        version: 1,
        created_at: AT,
        updated_at: AT,
        state_since: AT,
        state_reason: None,
    };
    let event = Event::from_json("user.created", r#"{ "n":1.0 }"#).id("signup-7").validate(AT).unwrap();
    let events = vec![Arc::new(Accepted::new(1, AT, event))];
    Attempt { events, endpoint: Arc::new(endpoint), number: 1, at: AT, keep: KEPT_RESPONSE_BYTES }
}

async fn post(transport: &HttpTransport, url: &str) -> Result<Response, Failure> {
    transport.send(attempt(settings(url))).await.map(response)
}

/// Without its other end.
fn response(reply: Reply) -> Response {
    let Reply::Response(response) = reply else { panic!("written to a file") };
    Response { peer: None, ..response }
}

fn kind<T: std::fmt::Debug>(answer: Result<T, Failure>) -> FailureKind {
    answer.expect_err("an answer where there should be none").kind
}
