//! A chain of three local services: the stock is asked first, what it answers goes to the price list, whose answer is the
//! caller's, and a mail is sent that nobody waits for.
//!
//! ```sh
//! cargo run --example chain
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks on its terminal")]

use std::time::Duration;

use actix_web::{App, HttpServer, web};
use hookmill::{ChainConfig, ChainError, Chains, Hookmill};

/// The configuration as it would stand in a file.
fn config(services: &str) -> String {
    format!(
        "
webhooks:
  enabled: true
  config:
    OrderCreated:
      - name: stock
        url: {services}/stock
        method: POST
        authEnabled: true
        authToken: change-me
      - name: price
        url: {services}/price
        useDataFrom: stock
        finalResponse: true
      - name: mail
        url: {services}/mail
        async: true
        useDataFrom: price
"
    )
}

async fn stock(order: String) -> &'static str {
    println!("stock was asked: {order}");
    r#"{"item": "book", "reserved": true}"#
}

async fn price(reserved: String) -> &'static str {
    println!("price was asked: {reserved}");
    r#"{"price": "9.90"}"#
}

async fn mail(price: String) -> &'static str {
    println!("mail was sent: {price}");
    ""
}

async fn order(chains: &Chains) -> Result<(), ChainError> {
    let on_success = |answer: bytes::Bytes| async move {
        println!("the answer: {}", String::from_utf8_lossy(&answer));
        Ok(())
    };
    chains.invoke("OrderCreated", r#"{"order": 7}"#, on_success, async |error| Err(error)).await
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    actix_web::rt::System::new().block_on(async {
        let server = HttpServer::new(|| {
            App::new()
                .route("/stock", web::post().to(stock))
                .route("/price", web::post().to(price))
                .route("/mail", web::post().to(mail))
        })
        .workers(1)
        .bind("127.0.0.1:0")?;
        let services = server.addrs().first().map(|addr| format!("http://{addr}")).unwrap_or_default();
        actix_web::rt::spawn(server.run());

        let hooks = Hookmill::builder().in_memory().start().await?;
        let Some(chains) = Chains::from_config(&hooks, ChainConfig::from_yaml(&config(&services))?).await? else {
            return Ok(());
        };
        order(&chains).await?;
        // What nobody waited for is delivered before this returns.
        let report = hooks.shutdown(Duration::from_secs(5)).await;
        println!("{} delivered while stopping", report.delivered);
        Ok(())
    })
}
