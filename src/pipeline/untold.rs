//! What a tenant's settings must not point to: the seq counts the events of all tenants.

use serde_json::Value;

use crate::error::Fault;

const WHY: &str = "is not told to tenants: the seq counts the events of all of them";

/// Where the `filter` and the `format` that a tenant writes point to `/seq`.
pub(super) fn pointers(settings: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (setting, name) in [("filter", "pointer"), ("format", "from")] {
        if let Some(value) = settings.get(setting) {
            find(value, name, &format!("#/{setting}"), &mut faults);
        }
    }
    faults
}

fn find(value: &Value, name: &str, place: &str, faults: &mut Vec<Fault>) {
    match value {
        Value::Object(_) if is_literal(value) => {}
        Value::Object(members) => {
            if members.get(name).is_some_and(|pointer| pointer == "/seq") {
                faults.push(Fault::new(format!("{place}/{name}"), WHY));
            }
            members.iter().for_each(|(member, value)| find(value, name, &below(place, member), faults));
        }
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, item)| find(item, name, &format!("{place}/{n}"), faults));
        }
        _ => {}
    }
}

/// What a map sends as it is.
fn is_literal(value: &Value) -> bool {
    let given = |name| value.get(name).is_some();
    given("literal") && !given("from") && !given("merge") && !given("concat")
}

fn below(place: &str, name: &str) -> String {
    format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn places(settings: &Value) -> Vec<String> {
        pointers(settings).into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn the_seq_is_found_wherever_a_filter_or_a_map_points() {
        let at = |pointer| json!({"pointer": pointer, "exists": true});
        let filter = json!({"any": [at("/id"), {"not": {"all": [at("/seq")]}}]});
        let map = json!({
            "n": {"from": "/data/n", "default": {"from": "/seq"}},
            "a/b": [{"concat": ["no ", {"from": "/seq"}]}, {"merge": [{"from": "/seq"}]}],
            "text": "/seq",
            "as it is": {"literal": {"from": "/seq"}},
        });
        let expected = [
            "#/filter/any/1/not/all/0/pointer",
            "#/format/map/n/default/from",
            "#/format/map/a~1b/0/concat/1/from",
            "#/format/map/a~1b/1/merge/0/from",
        ];
        assert_eq!(places(&json!({"filter": filter, "format": {"map": map}})), expected);
        assert!(places(&json!({"filter": null, "format": "envelope", "name": "/seq"})).is_empty());
    }
}
