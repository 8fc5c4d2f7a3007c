//! The HTTP API: one file per resource. What comes in is checked as a whole before anything changes, and every error is an
//! RFC 9457 problem.

mod access;
mod answers;
mod audit;
mod body;
mod call;
mod chains;
pub(crate) mod cloud_events;
mod cursor;
mod dead_letters;
mod deliveries;
mod denials;
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
mod mount;
mod ndjson;
mod openapi;
mod problem;
mod publish;
mod query;
mod replays;
mod rights;
mod routes;
mod rules;
mod schema;
mod selection;
#[cfg(test)]
mod tests;
mod theirs;
mod token;
mod tokens;
mod trials;

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use actix_web::{HttpRequest, web::ServiceConfig};
use tracing::warn;

use crate::{Hookmill, store::Scopes};
pub use access::Access;
use access::Refusal;
#[cfg(feature = "cli")]
pub(crate) use denials::Lines;
pub(crate) use denials::excerpt;
use denials::{Denials, Denied};
pub(crate) use problem::{Kind, Problem};
use rights::{Need, Rights};
pub use token::{AdminToken, admin_token};

/// What every call of one mounted API shares.
struct Shared {
    hooks: Hookmill,
    guard: access::Guard,
    open_metrics: bool,
    read_deadline: Duration,
    denials: Mutex<Denials>,
    /// The OpenAPI document, once it was asked for.
    document: OnceLock<String>,
}

impl Shared {
    fn new(hooks: &Hookmill, access: Access) -> Self {
        let (read_deadline, open_metrics) = (access.read_deadline, access.open_metrics);
        let (guard, denials, document) = (access.guard(hooks), Mutex::default(), OnceLock::new());
        Self { hooks: hooks.clone(), guard, open_metrics, read_deadline, denials, document }
    }

    /// Whether `request` may what it needs.
    ///
    /// # Errors
    /// The problem to answer with.
    fn admit(&self, request: &HttpRequest, need: Need) -> Result<Rights, Problem> {
        if need == Need::Nothing {
            return Ok(Rights { scopes: Scopes::default(), tenant: None });
        }
        match self.guard.admit(request, &self.hooks) {
            Ok(rights) => rights.expect(need).map(|()| rights),
            Err(refusal) => Err(self.refuse(request, &refusal)),
        }
    }

    fn refuse(&self, request: &HttpRequest, refusal: &Refusal) -> Problem {
        let peer = request.peer_addr().map(|peer| peer.ip());
        let now = self.hooks.clock().now().mono;
        let mut denials = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        let Denied { retry_after, log } = denials.count(peer, refusal.wrong, now);
        drop(denials);
        if let Some(unlogged) = log {
            let peer = peer.map(|peer| peer.to_string());
            let (method, path) = (excerpt(request.method().as_str()), excerpt(request.path()));
            warn!(event = "auth.denied", %method, path, peer, wrong = refusal.wrong, unlogged, "call refused");
        }
        retry_after.map_or_else(|| Problem::new(Kind::Unauthorized, refusal.why), Problem::too_many_tries)
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
        move |config| routes::configure(config, &shared)
    }
}
