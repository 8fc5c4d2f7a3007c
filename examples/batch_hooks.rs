//! Many events in few requests, and the same ones in a file of JSON lines for a log shipper.
//!
//! ```sh
//! cargo run --example batch_hooks
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks on its terminal")]

mod receiver;

use std::{error::Error, time::Duration};

use hookmill::{Endpoint, Event, Hookmill, Preset};
use receiver::Receiver;
use serde_json::json;

async fn run() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join(format!("hookmill-batch-hooks-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let log = dir.join("events.jsonl");
    let receiver = Receiver::start(|n| if n == 0 { 502 } else { 200 })?;
    let collector = Endpoint::http("collector", receiver.url("collect")).preset(Preset::BatchHooks).settings(json!({
        "filter": {"pointer": "/metadata/stream_code", "except": ["debug"]},
        "metadata": {"env": "prod"},
        "signing": {"type": "hmac", "header": "x-signature", "prefix": "sha256=", "secret": "shared"},
        "batch": {"max_items": 3}
    }));
    let shipper = Endpoint::file("shipper", log.to_string_lossy()).preset(Preset::BatchHooks);
    let hooks = Hookmill::builder().endpoint(collector).endpoint(shipper).start().await?;

    for n in 0..9 {
        let stream = if n % 5 == 4 { "debug" } else { "main" };
        hooks.publish(Event::new("user.changed", &json!({"user": n}))?.metadata("stream_code", stream)).await?;
    }
    // Three and three; the first request failed, and went back to the front of the queue.
    receiver.bodies(3).await;
    println!("stopping: what still waits for company goes out now");
    let report = hooks.shutdown(Duration::from_secs(10)).await;
    println!("{} delivered while stopping, {} lost", report.delivered, report.abandoned);
    println!("{} lines in the file, the first: {}", lines(&log)?, first_line(&log)?);
    receiver.stop().await;
    Ok(std::fs::remove_dir_all(dir)?)
}

fn lines(path: &std::path::Path) -> std::io::Result<usize> {
    Ok(std::fs::read_to_string(path)?.lines().count())
}

fn first_line(path: &std::path::Path) -> std::io::Result<String> {
    Ok(std::fs::read_to_string(path)?.lines().next().unwrap_or_default().to_owned())
}

fn main() -> Result<(), Box<dyn Error>> {
    actix_web::rt::System::new().block_on(run())
}
