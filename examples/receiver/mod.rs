//! A receiver of webhooks for the examples: it prints what comes, and answers as it is told.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, dev::ServerHandle, http::StatusCode, web};

type Answers = Arc<dyn Fn(usize) -> u16 + Send + Sync>;

/// A receiver on a free port of this machine.
pub(crate) struct Receiver {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<String>>>,
    server: ServerHandle,
}

impl Receiver {
    /// Starts one that answers its n-th request (from 0) with the status `answers(n)`.
    pub(crate) fn start(answers: impl Fn(usize) -> u16 + Send + Sync + 'static) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let bodies = Arc::<Mutex<Vec<String>>>::default();
        let (kept, answers) = (Arc::clone(&bodies), Arc::new(answers) as Answers);
        let app = move || {
            let (kept, answers) = (web::Data::new(Arc::clone(&kept)), web::Data::new(Arc::clone(&answers)));
            App::new().app_data(kept).app_data(answers).default_service(web::to(receive))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener)?.run();
        let handle = server.handle();
        actix_web::rt::spawn(server);
        Ok(Self { address, bodies, server: handle })
    }

    /// Where it listens.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Waits until so many requests have come, and tells their bodies.
    pub(crate) async fn bodies(&self, at_least: usize) -> Vec<String> {
        loop {
            let bodies = self.bodies.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if bodies.len() >= at_least {
                return bodies;
            }
            actix_web::rt::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stops.
    pub(crate) async fn stop(self) {
        self.server.stop(false).await;
    }
}

async fn receive(
    request: HttpRequest,
    body: String,
    bodies: web::Data<Arc<Mutex<Vec<String>>>>,
    answers: web::Data<Answers>,
) -> HttpResponse {
    let mut bodies = bodies.lock().unwrap_or_else(PoisonError::into_inner);
    let status = answers(bodies.len());
    println!("  {} <- {status}", request.path());
    for name in ["authorization", "x-batch-size", "x-signature"] {
        if let Some(value) = request.headers().get(name).and_then(|value| value.to_str().ok()) {
            println!("    {name}: {value}");
        }
    }
    println!("    {body}");
    bodies.push(body);
    HttpResponse::build(StatusCode::from_u16(status).unwrap_or(StatusCode::OK)).finish()
}
