//! The HTTP API: one file per resource. What comes in is checked as a whole before anything changes, and every error is an
//! RFC 9457 problem.

mod access;
mod audit;
mod body;
mod call;
mod chains;
pub(crate) mod cloud_events;
mod dead_letters;
mod deliveries;
mod endpoints;
mod envelope;
mod events;
mod headers;
mod health;
mod history;
mod jobs;
mod json;
mod list;
mod metrics;
mod ndjson;
mod problem;
mod publish;
mod query;
mod replays;
mod routes;
mod rules;
mod selection;
#[cfg(test)]
mod tests;
mod token;
mod trials;

use std::{sync::Arc, time::Duration};

use actix_web::web::ServiceConfig;

use crate::Hookmill;
pub use access::Access;
#[cfg_attr(not(feature = "cli"), expect(unused_imports, reason = "for the server"))]
pub(crate) use problem::{Kind, Problem};
pub use token::{AdminToken, admin_token};

/// What every call of one mounted API shares.
struct Shared {
    hooks: Hookmill,
    guard: access::Guard,
    open_metrics: bool,
    read_deadline: Duration,
}

impl Shared {
    fn new(hooks: &Hookmill, access: Access) -> Self {
        let (read_deadline, open_metrics) = (access.read_deadline, access.open_metrics);
        Self { hooks: hooks.clone(), guard: access.guard(hooks), open_metrics, read_deadline }
    }
}

impl Hookmill {
    /// The HTTP API, to be mounted at the root of an actix-web `App` or in a scope of it: `/v1/…` and
    /// `/metrics` for those whom `access` lets in, `/healthz` and `/readyz` for everybody. In that scope a path that nothing else matches is answered with a
    /// problem. Endpoints made through the API are limited as [`Origin::Api`](crate::endpoint::Origin::Api) says.
    ///
    /// ```
    /// use actix_web::{App, web};
    /// use hookmill::{Access, Hookmill};
    ///
    /// fn app(hooks: &Hookmill) {
    ///     App::new().service(web::scope("/hooks").configure(hooks.api(Access::tokens())));
    /// }
    /// ```
    pub fn api(&self, access: Access) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static + use<> {
        let shared = Arc::new(Shared::new(self, access));
        move |config| routes::configure(config, shared)
    }
}
