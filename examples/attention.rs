//! Alerts to one configured receiver: repeats are left out, and the program says what it knows of each session.
//!
//! ```sh
//! cargo run --example attention
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks on its terminal")]

mod receiver;

use std::{error::Error, time::Duration};

use hookmill::{Endpoint, Event, Hookmill, Preset};
use receiver::Receiver;
use serde_json::{Map, Value, json};

/// What the program knows of a session.
async fn resolve(session: String) -> Option<Map<String, Value>> {
    let known = json!({"session_uuid": "6f1c", "workdir": "/home/ada", "mode": "interactive"});
    (session == "build 7").then(|| known.as_object().cloned()).flatten()
}

fn session_of(event: &Event) -> String {
    let data: Value = serde_json::from_slice(event.data()).unwrap_or_default();
    data.get("session").and_then(Value::as_str).unwrap_or_default().to_owned()
}

async fn run() -> Result<(), Box<dyn Error>> {
    let receiver = Receiver::start(|n| if n == 0 { 503 } else { 200 })?;
    let pager = Endpoint::http("pager", receiver.url("alerts")).preset(Preset::Attention).settings(
        json!({"auth": {"type": "verbatim", "value": "Token s3cret"}, "metadata": {"ui_url": "https://ui.example"}}),
    );
    let hooks = Hookmill::builder()
        .endpoint(pager)
        .enrich("attention_raised", |event| resolve(session_of(event)))
        .start()
        .await?;

    for (session, state) in [("build 7", "waiting"), ("build 7", "waiting"), ("build 7", "failed"), ("test", "waiting")]
    {
        let alert = json!({"session": session, "state": state, "ts": 1_767_225_600});
        hooks.publish(Event::new("attention_raised", &alert)?).await?;
    }
    // The repeat is left out; the first one is tried again a second after the 503.
    receiver.bodies(4).await;
    let stats = hooks.stats().await?;
    println!("alerts: {}, left out as repeats: {}", stats.accepted, stats.suppressed + stats.deliveries.suppressed);
    // Alerts are of no use later: what is in flight is cancelled at once.
    hooks.shutdown(Duration::ZERO).await;
    receiver.stop().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    actix_web::rt::System::new().block_on(run())
}
