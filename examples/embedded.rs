//! An actix-web application with durable webhooks: it publishes from a handler and mounts the configuration API.
//!
//! ```sh
//! cargo run --example embedded
//! curl -X POST localhost:8080/signup/ada
//! curl -H "authorization: Bearer $(cat embedded-data/admin.token)" localhost:8080/hooks/v1/stats
//! ```

#![allow(clippy::print_stdout, reason = "an example speaks on its terminal")]

use actix_web::{App, HttpResponse, HttpServer, Responder, web};
use hookmill::{Access, Endpoint, Event, Hookmill};
use serde_json::json;

async fn sign_up(name: web::Path<String>, hooks: web::Data<Hookmill>) -> impl Responder {
    let event = match Event::new("user.signed_up", &json!({"name": *name})) {
        Ok(event) => event.id(format!("signup-{name}")),
        Err(invalid) => return HttpResponse::BadRequest().body(invalid.to_string()),
    };
    match hooks.publish(event).await {
        // From here on the event survives a crash, and every endpoint gets it.
        Ok(accepted) => HttpResponse::Ok().body(format!("welcome, {name}: event {}\n", accepted.seq)),
        Err(error) => HttpResponse::ServiceUnavailable().body(format!("{error}\n")),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    actix_web::rt::System::new().block_on(async {
        let hooks = Hookmill::builder()
            .data_dir("embedded-data")
            .endpoint(Endpoint::http("crm", "http://127.0.0.1:8800/crm").topics(["user.*"]))
            .start()
            .await?;
        let for_app = hooks.clone();
        HttpServer::new(move || {
            App::new()
                .app_data(web::Data::new(for_app.clone()))
                .route("/signup/{name}", web::post().to(sign_up))
                .service(web::scope("/hooks").configure(for_app.api(Access::tokens())))
        })
        .bind("127.0.0.1:8080")?
        .run()
        .await?;
        let report = hooks.shutdown(std::time::Duration::from_secs(5)).await;
        println!("{} delivered while stopping, {} kept for the next start", report.delivered, report.kept);
        Ok(())
    })
}
