//! An audit trail's own calls, to be mounted by its host.

use std::sync::Arc;

use actix_web::web::ServiceConfig;
use serde_json::json;

use super::{
    Access, Shared,
    call::{Answer, Call, ok},
    query::Query,
    routes::Router,
    selection::Selection,
};
use crate::Audit;

impl Audit {
    /// The calls of an audit trail, for those whom `access` lets in: `GET /webhook`, `PUT /webhook` `{url}` (`null` or empty
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
            let router = Router::guarded(shared);
            let (get, put, letters) = (audit.clone(), audit.clone(), audit);
            let webhook = router.at("/webhook");
            let webhook = webhook.get(move |call| show(call, get.clone())).put(move |call| set(call, put.clone()));
            config.service(webhook.done());
            let letters = router.at("/dead-letters").get(move |call| dead_letters(call, letters.clone()));
            config.service(letters.done());
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
