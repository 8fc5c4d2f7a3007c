//! `/v1/debounce-rules`

use std::{collections::BTreeMap, ops::Bound};

use actix_web::{HttpResponse, http::StatusCode};
use serde_json::{Value, json};

use super::{
    call::{Answer, Call, json, located, ok},
    list::List,
    problem::Problem,
    query::Query,
    schema::{Schemas, answer, count, duration, list_of, object, or_null, text, topics},
};
use crate::{
    Hookmill,
    debounce::{Rule, RuleName},
    endpoint::debounce::{MAX_POINTERS, MAX_TOPICS, WINDOW},
    store::RuleTotals,
};

pub(super) async fn list(call: Call) -> Answer {
    let mut query = Query::new(call.request.query_string());
    let cursors = call.cursors();
    let (limit, after) = (query.limit(), query.cursor::<RuleName>(&cursors));
    query.done()?;
    let rules = call.hooks().rules();
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    let rules: Vec<_> = rules.range((from, Bound::Unbounded)).take(limit + 1).collect();
    let totals = call.hooks().rule_totals().await?;
    let show = |(name, rule): (&RuleName, &Rule)| show_rule(call.hooks(), name, rule, &totals);
    ok(&List::of(&cursors, rules, limit, |(name, _)| name.to_string())?.map(show))
}

pub(super) async fn show(call: Call) -> Answer {
    let name: RuleName = call.named("name", "debounce rule")?;
    let rules = call.hooks().rules();
    let rule = rules.get(&name).ok_or_else(|| Problem::not_found(format_args!("debounce rule {name}")))?;
    ok(&show_rule(call.hooks(), &name, rule, &call.hooks().rule_totals().await?))
}

pub(super) async fn put(call: Call) -> Answer {
    let rule = call.configuration(&["application/json"]).await?;
    let name: RuleName = call.new_name("name")?;
    let (rule, created) = call.hooks().put_rule(name.clone(), &rule).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    let totals = call.hooks().rule_totals().await?;
    let mut response = json(status, &show_rule(call.hooks(), &name, &rule, &totals))?;
    if created {
        located(&mut response, call.request.path());
    }
    Ok(response)
}

pub(super) async fn delete(call: Call) -> Answer {
    call.hooks().delete_rule(&call.named("name", "debounce rule")?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// A rule with what it has come to.
fn show_rule(hooks: &Hookmill, name: &RuleName, rule: &Rule, totals: &BTreeMap<String, RuleTotals>) -> Value {
    let mut shown = rule.to_json();
    if let Value::Object(members) = &mut shown {
        let RuleTotals { suppressed, coalesced, keys, held } = totals.get(name.as_str()).copied().unwrap_or_default();
        let counts = [("suppressed", suppressed), ("coalesced", coalesced), ("keys", keys), ("held", held)];
        members.extend(counts.map(|(name, count)| (name.to_owned(), count.into())));
        members.insert("name".to_owned(), name.as_str().into());
        members.insert("managed_by".to_owned(), hooks.rule_owner(name).as_str().into());
    }
    shown
}

/// What a rule may say.
fn schema() -> Value {
    let some = json!({"type": "array", "items": topics(), "minItems": 1, "maxItems": MAX_TOPICS});
    json!({
        "topics": some,
        "key": {"type": ["array", "null"], "items": text(), "maxItems": MAX_POINTERS},
        "window": duration(&WINDOW),
        "edge": {"enum": ["leading", "trailing", "both", null]},
        "max_wait": or_null(duration(&WINDOW)),
        "reset_on": {"type": ["array", "null"], "items": topics(), "maxItems": MAX_TOPICS},
        "release_on_failure": {"type": ["boolean", "null"]},
    })
}

pub(super) fn schemas(all: &mut Schemas) {
    all.add("NewDebounceRule", object(&["topics", "window"], schema()));
    let own = json!({
        "suppressed": count(),
        "coalesced": count(),
        "keys": count(),
        "held": count(),
        "name": text(),
        "managed_by": {"enum": ["api", "code", "file"]},
    });
    let mut shown = schema();
    if let (Value::Object(shown), Value::Object(own)) = (&mut shown, own) {
        shown.extend(own);
    }
    all.add("DebounceRule", answer(&[], shown));
    all.add("DebounceRuleList", list_of("DebounceRule"));
}
