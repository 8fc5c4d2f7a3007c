//! `POST /v1/deliveries/cancel`

use serde_json::json;

use super::{
    call::{Answer, Call, ok},
    selection::Selection,
};
use crate::store::CancelFilter;

const NAMES: &[&str] = &["topic", "endpoint", "until", "dry_run", "all"];

pub(super) async fn cancel(call: Call) -> Answer {
    let body = call.configuration(&["application/json"]).await?;
    let mut selection = Selection::of(&body, "#");
    let filter = CancelFilter {
        endpoint: selection.endpoint(call.hooks()),
        within: None,
        topic: selection.parse("topic"),
        until: selection.parse("until"),
    };
    let some = filter.endpoint.is_some() || filter.topic.is_some() || filter.until.is_some();
    let (dry_run, all) = (selection.flag("dry_run"), selection.flag("all"));
    selection.expect_some(some || all);
    selection.done(NAMES)?;
    let matched = call.hooks().cancel_deliveries(filter, dry_run).await?;
    ok(&json!({"matched": matched, "cancelled": if dry_run { 0 } else { matched }}))
}
