//! The packages that Hookmill replaces, line by line.

mod attention;
mod audit;
mod batch_hooks;
mod chain;
mod daemon;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hmac::{Hmac, KeyInit, Mac};
use hookmill::{
    Builder, Endpoint, Event, Hookmill, Preset,
    endpoint::Settings,
    testing::{Made, Script, ScriptedTransport, paused, start_here},
    transport::{Attempt, body},
};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::paused::{id, until};

/// How a user names a preset.
#[derive(Clone, Copy, Debug)]
enum Way {
    Code,
    Json,
}

/// The test with the preset through the builder, and with the preset in JSON.
fn each_way(test: impl AsyncFn(Way)) {
    for way in [Way::Code, Way::Json] {
        paused(test(way));
    }
}

/// Under the real clock, for handles that start threads of their own.
fn run<T>(test: impl Future<Output = T>) -> T {
    actix_rt::System::new().block_on(async {
        let ended = tokio::time::timeout(Duration::from_secs(60), test).await;
        ended.expect("what is waited for does not come")
    })
}

/// The bodies that a receiver got, in the order of the attempts.
type Bodies = Arc<Mutex<Vec<Value>>>;

/// One endpoint, `hook`, with a preset, and what its receiver sees.
struct Bench {
    hooks: Hookmill,
    receiver: ScriptedTransport,
    bodies: Bodies,
}

/// A receiver that answers as `script` says and keeps the bodies.
fn receiver(script: impl Fn(&Attempt) -> Script + Send + Sync + 'static) -> (ScriptedTransport, Bodies) {
    let bodies = Bodies::default();
    let kept = Arc::clone(&bodies);
    let receiver = ScriptedTransport::new(move |attempt| {
        let rendered = body::render_all(&attempt.events, &attempt.endpoint.settings).unwrap();
        kept.lock().unwrap().push(serde_json::from_slice(&rendered.body).unwrap());
        script(attempt)
    });
    (receiver, bodies)
}

impl Bench {
    async fn new(
        way: Way,
        preset: Preset,
        more: Value,
        script: impl Fn(&Attempt) -> Script + Send + Sync + 'static,
    ) -> Self {
        Self::on(Hookmill::builder(), way, preset, more, script).await
    }

    async fn on(
        builder: Builder,
        way: Way,
        preset: Preset,
        more: Value,
        script: impl Fn(&Attempt) -> Script + Send + Sync + 'static,
    ) -> Self {
        let (receiver, bodies) = receiver(script);
        let builder = builder.transport(receiver.factory());
        let url = "https://hook.example/";
        let hooks = match way {
            Way::Code => {
                let endpoint = Endpoint::http("hook", url).preset(preset).settings(more);
                start_here(builder.endpoint(endpoint)).await.unwrap()
            }
            Way::Json => {
                let hooks = start_here(builder).await.unwrap();
                let mut settings = json!({"preset": preset.as_str(), "url": url});
                settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                hooks.create_endpoint(Some(id("hook")), &settings).await.unwrap();
                hooks
            }
        };
        Self { hooks, receiver, bodies }
    }

    async fn publish(&self, topic: &str, data: Value) {
        self.hooks.publish(Event::new(topic, &data).unwrap()).await.unwrap();
    }

    /// So many attempts have ended; all of them so far.
    async fn ended(&self, count: usize) -> Vec<Made> {
        self.receiver.until(|made| made.iter().filter(|one| one.ended.is_some()).count() >= count).await
    }

    fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().unwrap().clone()
    }

    fn settings(&self) -> Settings {
        self.hooks.endpoint(&id("hook")).unwrap().settings.clone()
    }

    async fn dropped(&self, reason: &str) -> u64 {
        let totals = until(&self.hooks, |totals| totals.unrouted == 0).await;
        totals.deliveries.dropped.get(reason).copied().unwrap_or_default()
    }
}

/// The HMAC-SHA256 in lower-case hexadecimal.
fn hmac_of(secret: &[u8], body: &[u8]) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(secret).unwrap().chain_update(body);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
