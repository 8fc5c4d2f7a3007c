//! The way into the server: who may connect, how many at once, under which names, and for how long.
//!
//! HTTP/1.1 alone, with TLS or without. actix-web's own server would offer HTTP/2 as soon as it has TLS, and cannot bound a
//! caller who does not read: so its parts are put together here, around connections that do.

mod bare;
mod connection;
mod frame;
pub(super) mod hosts;
mod shares;
mod stream;
pub(super) mod tls;

use std::{
    io,
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use actix_http::{HttpService, error::DispatchError};
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App,
    body::BoxBody,
    dev::{AppConfig, Server, ServiceRequest},
    middleware::{Next, from_fn},
    web::ServiceConfig,
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;

use crate::{Clock, descriptors};
use connection::{Caller, Connection};
use hosts::Hosts;
use shares::Shares;
use tls::Tls;

/// A request line and its headers must arrive within this time.
const HEAD: Duration = Duration::from_secs(5);
/// Who is told that the connection ends may take so long to end it.
const FAREWELL: Duration = Duration::from_secs(1);

pub(super) struct Door {
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) hosts: Hosts,
    /// Connections at once; further ones wait. `None` for the usual number. One address may have half of them.
    pub(super) max_connections: Option<usize>,
    pub(super) clock: Clock,
}

impl Door {
    /// Lets callers in to what `configure` mounts.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub(super) fn open(
        self,
        listener: TcpListener,
        configure: impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static,
    ) -> io::Result<Server> {
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let connections = self.max_connections.unwrap_or_else(descriptors::for_callers);
        let (most, shares) = (connections.div_ceil(workers), Arc::new(Shares::of(connections)));
        let (secure, refusals) = (self.tls.is_some(), Mutex::default());
        let rules = frame::Rules { hosts: self.hosts, secure, clock: self.clock, refusals };
        let (rules, tls) = (Arc::new(rules), self.tls);
        let service = move || {
            let (rules, tls, shares) = (Arc::clone(&rules), tls.clone(), Arc::clone(&shares));
            let by = Arc::clone(&rules);
            let framed = from_fn(move |request: ServiceRequest, next: Next<BoxBody>| {
                frame::frame(Arc::clone(&rules), request, next)
            });
            let app = App::new().configure(configure.clone()).wrap(framed);
            let app = actix_service::IntoServiceFactory::into_factory(app);
            let http = HttpService::build()
                .client_request_timeout(HEAD)
                .client_disconnect_timeout(FAREWELL)
                // Who hangs up is noticed at once: a chain that nobody waits for any more ends.
                .h1_allow_half_closed(false)
                .on_connect_ext(|connection: &Connection, data| {
                    data.insert::<Caller>(connection.caller.clone());
                })
                .h1(map_config(app, |()| AppConfig::default()));
            fn_service(move |tcp: TcpStream| {
                let (tls, shares, rules) = (tls.clone(), Arc::clone(&shares), Arc::clone(&by));
                async move { connection::take(tcp, tls.as_deref(), &shares, rules).await.map_err(DispatchError::Io) }
            })
            .and_then(http)
        };
        let server = Server::build().workers(workers).max_concurrent_connections(most).disable_signals();
        Ok(server.listen("http", listener, service)?.run())
    }
}

/// Lets the process open as many files as the system allows it.
pub(super) fn allow_all_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Without it the limit is what it was.
        let _kept = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}
