//! A daemon that tells one URL what happens, and whose operator changes that URL while it runs.
//!
//! ```sh
//! cargo run --example daemon
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks on its terminal")]

mod receiver;

use std::error::Error;

use hookmill::Hookmill;
use receiver::Receiver;
use serde_json::json;

async fn run() -> Result<(), Box<dyn Error>> {
    let state = std::env::temp_dir().join(format!("hookmill-daemon-{}", std::process::id()));
    let url_file = state.join("webhook");
    let hook =
        Hookmill::single("").node_id(7).persist(&url_file).signed("x-signature", "the daemon's secret").start().await?;
    hook.emit("daemon.started", &json!({"version": "1.0"})); // nobody listens: costs nothing

    let first = Receiver::start(|_| 200)?;
    println!("the operator sets a URL");
    hook.set_url(&first.url("first")).await?;
    hook.emit("job.started", &json!({"job": 1}));
    hook.emit("job.done", &json!({"job": 1}));
    first.bodies(2).await;

    let second = Receiver::start(|n| if n == 0 { 500 } else { 204 })?;
    println!("the operator sets another one, which fails at first");
    hook.set_url(&second.url("second")).await?;
    hook.emit("job.started", &json!({"job": 2}));
    hook.emit("job.done", &json!({"job": 2}));
    second.bodies(3).await; // one attempt more, a second later, and in order

    println!("kept for the next start: {}", std::fs::read_to_string(&url_file)?.trim());
    println!("so far: {}", serde_json::to_string(&hook.counters().await?)?);
    hook.close().await;
    hook.emit("job.started", &json!({"job": 3})); // of no effect, and no error
    first.stop().await;
    second.stop().await;
    Ok(std::fs::remove_dir_all(state)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    actix_web::rt::System::new().block_on(run())
}
