//! Audit entries to a collector that was away for a while: its dead letters are looked at, and sent again.
//!
//! ```sh
//! cargo run --example audit
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks on its terminal")]

mod receiver;

use std::{error::Error, time::Duration};

use hookmill::{Audit, Hookmill, store::DeadLetterSelection};
use receiver::Receiver;
use serde_json::json;

async fn run() -> Result<(), Box<dyn Error>> {
    // Refuses the first entry, which is not tried again, and takes everything else.
    let collector = Receiver::start(|n| if n == 0 { 422 } else { 200 })?;
    // The collector is on this machine: allowed here, for the example.
    let hooks = Hookmill::builder().allow_loopback(true).start().await?;
    let audit = Audit::new(hooks.clone(), "audit".parse()?);

    let webhook = audit.set_webhook(Some(&collector.url("entries"))).await?;
    println!("the webhook: {}", serde_json::to_string(&webhook)?);
    audit.emit("user.login", Some(&json!({"user": "ada", "session_token": "hush"})));
    audit.emit("user.logout", None);
    collector.bodies(2).await;

    while audit.webhook().await?.dlq_size == 0 {
        actix_web::rt::time::sleep(Duration::from_millis(10)).await;
    }
    for entry in audit.dead_letters().await? {
        println!("dead letter: {}", serde_json::to_string(&entry)?);
    }
    println!("the collector takes everything now; what it refused is sent again");
    hooks.replay_dead_letters(DeadLetterSelection::default(), 100.0).await?;
    collector.bodies(3).await;
    while audit.webhook().await?.delivered < 2 {
        actix_web::rt::time::sleep(Duration::from_millis(10)).await;
    }
    println!("what became of them: {}", serde_json::to_string(&audit.webhook().await?)?);
    hooks.shutdown(Duration::from_secs(5)).await;
    collector.stop().await;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    actix_web::rt::System::new().block_on(run())
}
