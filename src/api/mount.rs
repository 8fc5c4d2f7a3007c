//! Putting routes into an actix-web `App`. What mounts them knows no path and no handler by name.

use std::{future::Future, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, Resource, guard,
    http::Method,
    web::{self, Payload},
};
use futures_util::future::{FutureExt, LocalBoxFuture};

use super::{
    Shared,
    call::{Answer, Call, Expected, serve},
    metrics,
    problem::Problem,
    rights::Need,
};

type Handler = Arc<dyn Fn(Call) -> LocalBoxFuture<'static, Answer> + Send + Sync>;

/// One method of one path. It cannot be written without saying what it needs.
#[derive(Clone)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) need: Need,
    /// Whether its calls end when their clients hang up, although they change something.
    waited: bool,
    handler: Handler,
}

macro_rules! methods {
    ($($name:ident: $method:ident;)*) => {$(
        pub(super) fn $name<F, Fut>(path: &'static str, need: Need, handler: F) -> Self
        where
            F: Fn(Call) -> Fut + Send + Sync + 'static,
            Fut: Future<Output = Answer> + 'static,
        {
            let handler: Handler = Arc::new(move |call| handler(call).boxed_local());
            Self { method: Method::$method, path, need, waited: false, handler }
        }
    )*};
}

impl Route {
    methods! {
        get: GET;
        post: POST;
        put: PUT;
        patch: PATCH;
        delete: DELETE;
    }

    /// Its calls end when their clients hang up.
    pub(super) fn waited(self) -> Self {
        Self { waited: true, ..self }
    }

    fn expected(&self) -> Expected {
        Expected { need: self.need, waited: self.waited }
    }

    /// The methods that it answers.
    fn methods(&self) -> &'static [&'static str] {
        match self.method.as_str() {
            "GET" => &["GET", "HEAD"],
            "POST" => &["POST"],
            "PUT" => &["PUT"],
            "PATCH" => &["PATCH"],
            _ => &["DELETE"],
        }
    }
}

/// The paths of `routes`, in their order, without the `prefix` that they all have. A method that a path does not know is
/// answered with those that it does.
pub(super) fn resources(shared: &Arc<Shared>, routes: Vec<Route>, prefix: &str) -> Vec<Resource> {
    let mut paths: Vec<(&'static str, Vec<Route>)> = Vec::new();
    for route in routes {
        match paths.iter_mut().find(|(path, _)| *path == route.path) {
            Some((_, same)) => same.push(route),
            None => paths.push((route.path, vec![route])),
        }
    }
    paths.into_iter().map(|(path, routes)| resource(shared, path, routes, prefix)).collect()
}

fn resource(shared: &Arc<Shared>, path: &'static str, routes: Vec<Route>, prefix: &str) -> Resource {
    let resource = web::resource(path.strip_prefix(prefix).unwrap_or(path).to_owned());
    let allow: Vec<_> = routes.iter().flat_map(Route::methods).copied().collect();
    let allow = allow.join(", ");
    let open = routes.iter().all(|route| route.need == Need::Nothing);
    let need = if open { Need::Nothing } else { Need::Token };
    let asked = Expected { need: Need::Nothing, waited: false };
    let refuse: Handler = Arc::new(move |_| {
        let problem = Problem::not_allowed(&allow);
        async { Err(problem) }.boxed_local()
    });
    let routed = routes.into_iter().fold(resource, |resource, route| {
        let answered = route.methods().iter().filter_map(|method| method.parse().ok());
        let answered =
            answered.fold(guard::Any(guard::fn_guard(|_| false)), |any, method: Method| any.or(guard::Method(method)));
        let (expected, handler) = (route.expected(), route.handler);
        resource.route(handle(shared, path, expected, handler).guard(answered))
    });
    // A preflight has no token: it is told the methods, as the document tells everybody, and no header of CORS.
    let preflight = handle(shared, path, asked, Arc::clone(&refuse)).guard(guard::Options());
    routed.route(preflight).default_service(handle(shared, path, Expected { need, waited: false }, refuse))
}

/// Answers what no path matches.
pub(super) fn otherwise<F, Fut>(shared: &Arc<Shared>, need: Need, handler: F) -> actix_web::Route
where
    F: Fn(Call) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Answer> + 'static,
{
    /// The route of what no route matches, in the metrics.
    const NOWHERE: &str = "none";
    handle(shared, NOWHERE, Expected { need, waited: false }, Arc::new(move |call| handler(call).boxed_local()))
}

/// `name` is the pattern of its path.
fn handle(shared: &Arc<Shared>, name: &str, expected: Expected, handler: Handler) -> actix_web::Route {
    let shared = Arc::clone(shared);
    let counted = shared.hooks.0.metrics().http.route(name);
    web::route().to(move |request: HttpRequest, payload: Payload| -> LocalBoxFuture<'static, HttpResponse> {
        let (shared, counted, handler) = (Arc::clone(&shared), Arc::clone(&counted), Arc::clone(&handler));
        let (clock, method) = (*shared.hooks.clock(), metrics::label(request.method()));
        async move {
            let started = clock.now().mono;
            let response = serve(request, payload, shared, expected, |call| handler(call)).await;
            counted.answered(method, response.status().as_u16(), clock.now().mono.since(started));
            response
        }
        .boxed_local()
    })
}
