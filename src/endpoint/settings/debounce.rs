//! An endpoint's own debounce: a rule without topics, for the leading edge.

use serde_json::{Value, json};

use crate::{
    config::{
        duration,
        fields::{Field, Fields},
    },
    endpoint::debounce::{DebouncePolicy, EDGES, Edge, MAX_POINTERS, WINDOW},
};

pub(super) fn debounce(fields: &mut Fields<'_>) -> Option<DebouncePolicy> {
    let key = fields.take("key").map_or_else(|| Some(Vec::new()), |field| field.parsed(0..=MAX_POINTERS));
    let window = fields.require("window").and_then(|field| field.duration(WINDOW));
    if let Some(field) = fields.take("edge") {
        edge(&field);
    }
    // What a rule has and an endpoint has not, as it is written where it is nothing.
    for (name, nothing) in [("max_wait", Value::Null), ("reset_on", json!([])), ("release_on_failure", json!(false))] {
        if let Some(field) = fields.take(name).filter(|field| *field.value() != nothing) {
            field.fault("is for debounce rules alone: an endpoint's own debounce has a key and a window");
        }
    }
    Some(DebouncePolicy { key: key?, window: window? })
}

fn edge(field: &Field<'_>) {
    if field.choice(&EDGES).is_some_and(|edge| edge != Edge::Leading) {
        field.fault("must be \"leading\" for an endpoint: only debounce rules hold events");
    }
}

pub(super) fn print(debounce: &DebouncePolicy) -> Value {
    json!({
        "key": debounce.key.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "window": duration::print(debounce.window),
        "edge": Edge::Leading.as_str(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Preset,
        endpoint::settings::{
            Origin,
            laws::{places, with},
        },
    };

    #[test]
    fn a_window_is_enough_and_null_is_none() {
        let own = with(json!({"debounce": {"window": "5s"}})).unwrap().debounce.unwrap();
        assert_eq!(own, DebouncePolicy { key: Vec::new(), window: Duration::from_secs(5) });
        assert_eq!(with(json!({"debounce": null})).unwrap().debounce, None);
        let spelled_out = json!({
            "key": [], "window": "5s", "edge": "leading", "max_wait": null, "reset_on": [], "release_on_failure": false
        });
        assert_eq!(with(json!({"debounce": spelled_out})).unwrap().debounce, Some(own));
    }

    #[test]
    fn what_only_rules_can_do_is_refused_with_its_place() {
        let cases = [
            (json!({}), vec!["#/debounce/window"]),
            (json!({"window": "0s", "key": ["/x", "/data"]}), vec!["#/debounce/key/0", "#/debounce/window"]),
            (json!({"window": "1s", "edge": "trailing"}), vec!["#/debounce/edge"]),
            (json!({"window": "1s", "edge": "both", "max_wait": "9s"}), vec!["#/debounce/edge", "#/debounce/max_wait"]),
            (json!({"window": "1s", "edge": "rising"}), vec!["#/debounce/edge"]),
            (
                json!({"window": "1s", "reset_on": ["a"], "release_on_failure": true}),
                vec!["#/debounce/reset_on", "#/debounce/release_on_failure"],
            ),
            (json!({"window": "1s", "topics": ["*"]}), vec!["#/debounce/topics"]),
            (json!("1s"), vec!["#/debounce"]),
        ];
        for (debounce, expected) in cases {
            assert_eq!(places(with(json!({"debounce": debounce}))), expected, "{debounce}");
        }
    }

    #[test]
    fn a_patch_changes_the_window_alone() {
        let old = with(json!({"debounce": {"key": ["/data/k"], "window": "1m"}})).unwrap();
        let patched = |patch: Value| old.patched(&patch, Origin::Code, |_, _| Ok(())).unwrap().debounce;
        let new = patched(json!({"debounce": {"window": "5s"}})).unwrap();
        assert_eq!((new.key.len(), new.window), (1, Duration::from_secs(5)));
        assert_eq!(patched(json!({"debounce": null})), None);
    }

    #[test]
    fn a_preset_may_bring_one() {
        let own = with(json!({"preset": "attention"})).unwrap();
        assert_eq!(own.preset, Some(Preset::Attention));
        let expected = json!({"key": ["/data/session", "/data/state"], "window": "1m", "edge": "leading"});
        assert_eq!(own.debounce.as_ref().map(print), Some(expected));
        assert_eq!(with(json!({"preset": "attention", "debounce": null})).unwrap().debounce, None);
    }
}
