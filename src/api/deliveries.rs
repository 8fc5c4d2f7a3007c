//! `POST /v1/deliveries/cancel`

use serde_json::json;

use super::{
    call::{Answer, Call, ok},
    schema::{Schemas, answer, count, moment_or_null, selects, text_or_null},
    selection::Selection,
};
use crate::store::CancelFilter;

const NAMES: &[&str] = &["topic", "endpoint", "until", "dry_run", "all"];

pub(super) async fn cancel(call: Call) -> Answer {
    let body = call.configuration(&["application/json"]).await?;
    let mut selection = Selection::of(&body, "#");
    let filter = CancelFilter {
        endpoint: selection.endpoint(&call),
        within: call.tenant().cloned(),
        topic: selection.parse("topic"),
        until: selection.parse("until"),
    };
    let some = filter.endpoint.is_some() || filter.topic.is_some() || filter.until.is_some();
    let (dry_run, all) = (selection.flag("dry_run"), selection.flag("all"));
    selection.expect_some(some || all);
    selection.done(NAMES)?;
    let matched = match call.tenant() {
        None => call.hooks().cancel_deliveries(filter, dry_run).await?,
        Some(tenant) => call.hooks().cancel_deliveries_for(tenant, filter, dry_run).await?,
    };
    ok(&json!({"matched": matched, "cancelled": if dry_run { 0 } else { matched }}))
}

pub(super) fn schemas(all: &mut Schemas) {
    let request = json!({"topic": text_or_null(), "endpoint": text_or_null(), "until": moment_or_null()});
    all.add("CancelRequest", selects(request));
    all.add("Cancelled", answer(&[], json!({"matched": count(), "cancelled": count()})));
}
