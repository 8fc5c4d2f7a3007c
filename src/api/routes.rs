//! Paths and their handlers.

use std::{future::Future, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, Resource, Route, guard,
    web::{self, Payload, ServiceConfig},
};

use futures_util::future::{FutureExt, LocalBoxFuture};

use super::{
    Shared,
    call::{Answer, Call, Caller, serve},
    chains, dead_letters, deliveries, endpoints, events, health, history, jobs, metrics,
    problem::Problem,
    publish, replays, rules, trials,
};

/// Adds everything to `config`. What no route matches is a problem too, in the scope that is configured.
pub(super) fn configure(config: &mut ServiceConfig, shared: Arc<Shared>) {
    let open = Router { shared: Arc::clone(&shared), guarded: false, waited: false, prefix: "" };
    config.service(open.at("/healthz").get(health::alive).done());
    config.service(open.at("/readyz").get(health::ready).done());
    let metered = Router { shared: Arc::clone(&shared), guarded: !shared.open_metrics, waited: false, prefix: "" };
    config.service(metered.at("/metrics").get(metrics::all).done());
    config.service(metered.at("/metrics/endpoints").get(metrics::endpoints).done());
    let guarded = Router { shared, guarded: true, waited: false, prefix: "/v1" };
    config.service(v1(&guarded));
    config.default_service(open.route(NOWHERE, not_found));
}

fn v1(router: &Router) -> actix_web::Scope {
    let waited = Router { shared: Arc::clone(&router.shared), waited: true, ..*router };
    web::scope("/v1")
        .service(router.at("/events").get(events::list).post(publish::publish).done())
        .service(router.at("/events/{id}").get(events::show).done())
        .service(router.at("/events/{id}/attempts").get(history::of_event).done())
        .service(router.at("/events/{id}/replay").post(replays::of_event).done())
        .service(router.at("/endpoints").get(endpoints::list).post(endpoints::create).done())
        .service(
            router
                .at("/endpoints/{id}")
                .get(endpoints::show)
                .put(endpoints::replace)
                .patch(endpoints::patch)
                .delete(endpoints::delete)
                .done(),
        )
        .service(router.at("/endpoints/{id}/pause").post(endpoints::pause).done())
        .service(router.at("/endpoints/{id}/resume").post(endpoints::resume).done())
        .service(router.at("/endpoints/{id}/disable").post(endpoints::disable).done())
        .service(router.at("/endpoints/{id}/enable").post(endpoints::enable).done())
        .service(router.at("/endpoints/{id}/rotate-secret").post(endpoints::rotate_secret).done())
        .service(router.at("/endpoints/{id}/test").post(trials::test).done())
        .service(router.at("/endpoints/{id}/state").get(endpoints::state).done())
        .service(router.at("/endpoints/{id}/attempts").get(history::of_endpoint).done())
        .service(router.at("/endpoints/{id}/deliveries").get(deliveries::of_endpoint).done())
        .service(router.at("/endpoints/{id}/replay").post(replays::of_endpoint).done())
        .service(router.at("/deliveries/cancel").post(deliveries::cancel).done())
        .service(router.at("/dead-letters").get(dead_letters::list).done())
        .service(router.at("/dead-letters/replay").post(jobs::replay).done())
        .service(router.at("/dead-letters/purge").post(jobs::purge).done())
        .service(router.at("/jobs/{id}").get(jobs::show).delete(jobs::cancel).done())
        .service(router.at("/dead-letters/{id}").get(dead_letters::show).done())
        .service(router.at("/dead-letters/{id}/replay").post(dead_letters::replay).done())
        .service(router.at("/debounce-rules").get(rules::list).done())
        .service(router.at("/debounce-rules/{name}").get(rules::show).put(rules::put).delete(rules::delete).done())
        .service(router.at("/chains").get(chains::list).done())
        .service(router.at("/chains/{event}").get(chains::show).put(chains::put).delete(chains::delete).done())
        .service(waited.at("/chains/{event}/invoke").post(chains::invoke).done())
        .service(router.at("/stats").get(health::stats).done())
        .default_service(router.route(NOWHERE, not_found))
}

async fn not_found(call: Call) -> Answer {
    Err(Problem::not_found(format_args!("the path {}", call.request.path())))
}

/// The route of what no route matches, in the metrics.
const NOWHERE: &str = "none";

pub(super) struct Router {
    shared: Arc<Shared>,
    guarded: bool,
    /// Whether its calls end when their clients hang up.
    waited: bool,
    /// Where its paths begin.
    prefix: &'static str,
}

impl Router {
    /// Lets in those whom the guard of `shared` lets in.
    pub(super) fn guarded(shared: Arc<Shared>) -> Self {
        Self { shared, guarded: true, waited: false, prefix: "" }
    }

    pub(super) fn at<'a>(&'a self, path: &str) -> Methods<'a> {
        let name = format!("{}{path}", self.prefix);
        Methods { router: self, name, resource: web::resource(path.to_owned()), allow: Vec::new() }
    }

    /// `name` is the pattern of its path.
    fn route<F, Fut>(&self, name: &str, handler: F) -> Route
    where
        F: Fn(Call) -> Fut + Clone + 'static,
        Fut: Future<Output = Answer> + 'static,
    {
        let (shared, caller) = (Arc::clone(&self.shared), Caller { guarded: self.guarded, waited: self.waited });
        let counted = shared.hooks.0.metrics().http.route(name);
        web::route().to(move |request: HttpRequest, payload: Payload| -> LocalBoxFuture<'static, HttpResponse> {
            let (shared, counted, handler) = (Arc::clone(&shared), Arc::clone(&counted), handler.clone());
            let (clock, method) = (*shared.hooks.clock(), metrics::label(request.method()));
            async move {
                let started = clock.now().mono;
                let response = serve(request, payload, shared, caller, handler).await;
                counted.answered(method, response.status().as_u16(), clock.now().mono.since(started));
                response
            }
            .boxed_local()
        })
    }
}

/// One path with the methods it knows; others are answered with their names.
pub(super) struct Methods<'a> {
    router: &'a Router,
    name: String,
    resource: Resource,
    allow: Vec<&'static str>,
}

macro_rules! methods {
    ($($method:ident: $guard:expr, $names:expr;)*) => {$(
        pub(super) fn $method<F, Fut>(mut self, handler: F) -> Self
        where
            F: Fn(Call) -> Fut + Clone + 'static,
            Fut: Future<Output = Answer> + 'static,
        {
            self.allow.extend($names);
            self.resource = self.resource.route(self.router.route(&self.name, handler).guard($guard));
            self
        }
    )*};
}

impl Methods<'_> {
    methods! {
        get: guard::Any(guard::Get()).or(guard::Head()), ["GET", "HEAD"];
        post: guard::Post(), ["POST"];
        put: guard::Put(), ["PUT"];
        patch: guard::Patch(), ["PATCH"];
        delete: guard::Delete(), ["DELETE"];
    }

    pub(super) fn done(self) -> Resource {
        let allow = self.allow.join(", ");
        let refuse = move |_: Call| {
            let problem = Problem::not_allowed(&allow);
            async { Err(problem) }
        };
        self.resource.default_service(self.router.route(&self.name, refuse))
    }
}
