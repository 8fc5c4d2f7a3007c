//! An audit trail's own calls, to be mounted by its host.

use std::sync::Arc;

use actix_web::web::ServiceConfig;
use serde_json::json;

use super::{
    Access, Shared,
    call::{Answer, Call, ok},
    mount::{Route, resources},
    query::Query,
    rights::Need,
    selection::Selection,
};
use crate::{Audit, store::Scope};

impl Audit {
    /// The calls of an audit trail, for those whom `access` lets in, to read with the scope `read` and to change with `admin`: `GET /webhook`, `PUT /webhook` `{url}` (`null` or empty
    /// switches it off), `GET /dead-letters`. To be mounted in a scope of its own.
    ///
    /// ```
    /// use actix_web::{App, web};
    /// use hookmill::{Access, Audit};
    ///
    /// fn app(audit: &Audit) {
    ///     App::new().service(web::scope("/audit").configure(audit.api(Access::tokens())));
    /// }
    /// ```
    pub fn api(&self, access: Access) -> impl FnOnce(&mut ServiceConfig) + Clone + Send + 'static + use<> {
        let shared = Arc::new(Shared::new(self.hooks(), access));
        let audit = self.clone();
        move |config| {
            let (get, put, letters) = (audit.clone(), audit.clone(), audit);
            let (read, change) = (Need::Whole(Scope::Read), Need::Whole(Scope::Admin));
            let routes = vec![
                Route::get("/webhook", read, move |call| show(call, get.clone())),
                Route::put("/webhook", change, move |call| set(call, put.clone())),
                Route::get("/dead-letters", read, move |call| dead_letters(call, letters.clone())),
            ];
            resources(&shared, routes, "").into_iter().for_each(|resource| {
                config.service(resource);
            });
        }
    }
}

async fn show(call: Call, audit: Audit) -> Answer {
    Query::new(call.request.query_string()).done()?;
    ok(&audit.webhook().await?)
}

async fn set(call: Call, audit: Audit) -> Answer {
    let body = call.configuration(&["application/json"]).await?;
    let mut given = Selection::of(&body, "#");
    let url: Option<String> = given.parse("url");
    given.done(&["url"])?;
    ok(&audit.set_webhook(url.as_deref()).await?)
}

async fn dead_letters(call: Call, audit: Audit) -> Answer {
    Query::new(call.request.query_string()).done()?;
    ok(&json!(audit.dead_letters().await?))
}
