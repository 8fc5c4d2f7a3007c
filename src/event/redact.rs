//! JSON for people's eyes: what must not be seen is not there.

use serde_json::Value;

/// What stands in the place of a hidden value.
pub const REDACTED: &str = "<redacted>";

/// Names whose values are hidden, in any case of their letters.
const NAMES: [&str; 7] = ["token", "password", "secret", "api_key", "private_key", "signature", "bearer"];
/// Names that end so are hidden too.
const ENDINGS: [&str; 4] = ["_token", "_secret", "_password", "_key"];

/// `value` with [`REDACTED`] in the place of every value, of whatever kind, whose name is sensitive: `token`, `password`,
/// `secret`, `api_key`, `private_key`, `signature`, `bearer`, and whatever ends in `_token`, `_secret`, `_password` or
/// `_key`, at any depth and in any case.
///
/// ```
/// # use hookmill::event::redact::redacted;
/// # use serde_json::json;
/// let shown = redacted(json!({"user": "ada", "login": [{"Password": "hush", "session_key": 7}]}));
/// assert_eq!(shown, json!({"user": "ada", "login": [{"Password": "<redacted>", "session_key": "<redacted>"}]}));
/// ```
#[must_use]
pub fn redacted(mut value: Value) -> Value {
    hide(&mut value);
    value
}

fn hide(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(hide),
        Value::Object(members) => {
            for (name, value) in members {
                if is_sensitive(name) {
                    *value = REDACTED.into();
                } else {
                    hide(value);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_sensitive(name: &str) -> bool {
    let name = name.to_lowercase();
    NAMES.contains(&name.as_str()) || ENDINGS.iter().any(|ending| name.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};
    use serde_json::json;

    use super::*;

    const HIDDEN: &str = "must not be seen";

    /// JSON in which exactly the values of sensitive names hold [`HIDDEN`], and other names come close to those.
    fn json_value() -> impl Strategy<Value = Value> {
        let leaf =
            prop_oneof![Just(Value::Null), any::<i64>().prop_map(Value::from), "[a-z]{0,5}".prop_map(Value::from)];
        leaf.prop_recursive(5, 48, 5, |inner| {
            let plain = select(vec!["key", "tokens", "secretary", "signatures", "pass", "bearer_of_news", "_keys", ""]);
            let sensitive = prop_oneof![
                select(NAMES.to_vec()).prop_map(str::to_owned),
                ("[a-z]{0,4}", select(ENDINGS.to_vec())).prop_map(|(start, ending)| start + ending),
            ];
            let sensitive = (sensitive, any::<bool>());
            let sensitive = sensitive.prop_map(|(name, loud)| if loud { name.to_uppercase() } else { name });
            let secret = inner.clone().prop_map(|inner| json!([HIDDEN, {"deep": HIDDEN, "inner": inner}]));
            let member = prop_oneof![
                (plain.prop_map(str::to_owned), inner.clone()),
                (sensitive.clone(), secret),
                (sensitive, Just(Value::from(HIDDEN))),
            ];
            prop_oneof![vec(inner, 0..4).prop_map(Value::from), vec(member, 0..5).prop_map(Value::from_iter)]
        })
    }

    fn without_sensitive(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(without_sensitive).collect(),
            Value::Object(members) => {
                let plain = members.iter().filter(|(name, _)| !is_sensitive(name));
                plain.map(|(name, value)| (name.clone(), without_sensitive(value))).collect()
            }
            value => value.clone(),
        }
    }

    proptest! {
        #[test]
        fn no_value_under_a_sensitive_name_survives_and_every_other_does(value in json_value()) {
            let shown = redacted(value.clone());
            prop_assert!(!shown.to_string().contains(HIDDEN), "{shown}");
            prop_assert_eq!(without_sensitive(&shown), without_sensitive(&value));
            prop_assert_eq!(redacted(shown.clone()), shown);
        }
    }

    #[test]
    fn names_are_hidden_as_a_whole_or_by_their_end() {
        let hidden = ["token", "API_KEY", "Refresh_Token", "db_password", "client_secret", "ssh_key", "Bearer"];
        let shown = ["key", "keys", "token_count", "tokens", "secrets", "public", "monkey"];
        assert!(hidden.iter().all(|name| is_sensitive(name)) && !shown.iter().any(|name| is_sensitive(name)));
        let all = json!({"token": {"a": 1}, "secret": null, "bearer": [1]});
        assert_eq!(redacted(all), json!({"token": REDACTED, "secret": REDACTED, "bearer": REDACTED}));
    }
}
