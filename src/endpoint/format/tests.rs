use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Value, json};

use super::*;
use crate::endpoint::settings::laws::{places, with};

/// Any format within its bounds.
pub(in crate::endpoint) fn format() -> impl Strategy<Value = Format> {
    use Format::{CloudEvents, CloudEventsBinary, Envelope, Raw, Standard};
    let named = select(vec![Standard, Raw, Envelope, CloudEvents, CloudEventsBinary]);
    let map = prop_oneof![members("[a-z/~é]{0,6}"), vec(part(), 0..3).prop_map(Part::Merge)];
    prop_oneof![named, map.prop_map(|part| Format::Map(Box::new(part)))]
}

/// Names like these mean nothing anywhere in a map.
fn members(names: &'static str) -> impl Strategy<Value = Part> {
    prop::collection::btree_map(names, part(), 0..3).prop_map(|members| {
        // Sorted is one order of many.
        Part::Object(members.into_iter().rev().collect())
    })
}

fn place() -> impl Strategy<Value = Place> {
    let below = r"(/([a-z0-9.é ]|~0|~1){0,5}){0,2}";
    let event = (select(vec!["/data", "/metadata", "/endpoint/metadata"]), below)
        .prop_map(|(root, rest)| format!("{root}{rest}"));
    let whole = select(vec!["/id", "/seq", "/topic", "/tenant", "/key", "/source", "/timestamp", "/accepted_at"]);
    prop_oneof![event, whole.prop_map(str::to_owned)].prop_map(|text| text.parse().unwrap())
}

fn literal() -> impl Strategy<Value = Value> {
    let compound = vec![json!([]), json!({}), json!([{"from": "x"}]), json!({"b": null, "a": {"merge": 1}})];
    prop_oneof![any::<i64>().prop_map(Value::from), ".{0,6}".prop_map(Value::from), Just(Value::Null), select(compound)]
}

fn part() -> impl Strategy<Value = Part> {
    let read_as = option::of(select(vec![ReadAs::Number, ReadAs::Seconds, ReadAs::Rfc3339]));
    let lookup = (place(), read_as, any::<bool>(), option::of("[ -~]{0,6}"), option::of(literal()));
    let lookup = lookup.prop_map(|(from, read_as, percent, name_prefix, default)| {
        let default = default.map(Part::Literal);
        let (read_as, percent) = if name_prefix.is_some() { (None, false) } else { (read_as, percent) };
        Part::Lookup(Box::new(Lookup { from, read_as, percent, name_prefix, default }))
    });
    prop_oneof![literal().prop_map(Part::Literal), lookup].prop_recursive(2, 8, 3, |inner| {
        let names = "[a-z/~é]{0,3}";
        let object = prop::collection::btree_map(names, inner.clone(), 0..3);
        prop_oneof![
            object.prop_map(|members| Part::Object(members.into_iter().rev().collect())),
            vec(inner.clone(), 0..3).prop_map(Part::Array),
            vec(inner.clone(), 0..3).prop_map(Part::Merge),
            vec(inner, 0..3).prop_map(Part::Concat),
        ]
    })
}

fn wrong(format: &Value) -> Vec<String> {
    places(with(json!({"format": format})))
}

#[test]
fn the_order_of_a_map_survives_being_stored() {
    let text = r#"{"map":{"z":1,"a":{"y":{"from":"/data/y"},"b":2},"m":[{"q":1,"c":2}]}}"#;
    let settings = with(json!({"format": serde_json::from_str::<Value>(text).unwrap()})).unwrap();
    assert_eq!(settings.format.to_json().to_string(), text);
    let stored: Value = serde_json::from_str(&settings.to_json().to_string()).unwrap();
    assert_eq!(with(stored).unwrap().format.to_json().to_string(), text);
}

#[test]
fn mistakes_are_named_with_their_place() {
    let format = json!({"map": {
        "a": {"from": "/datum"},
        "b": {"from": "/data", "encode": "base64", "prefix": "x"},
        "c": {"from": "/data", "as": "date", "default": {"from": "x"}},
        "d": [{"merge": {}}, {"merge": [{"from": null}]}],
        "e": {"from": "/data", "as": "number", "name_prefix": "x"},
        "f": {"literal": 1, "x": 2},
        "g": {"from": "/endpoint/url"}
    }});
    let mut expected = [
        "a/from",
        "b/encode",
        "b/prefix",
        "c/as",
        "c/default/from",
        "d/0/merge",
        "d/1/merge/0/from",
        "e/name_prefix",
        "f/x",
        "g/from",
    ]
    .map(|place| format!("#/format/map/{place}"));
    let mut found = wrong(&format);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn other_formats_are_refused() {
    for format in [json!("xml"), json!(7), json!([]), json!({}), json!({"map": {}, "merge": []})] {
        assert_eq!(wrong(&format), ["#/format"], "{format}");
    }
    assert_eq!(wrong(&json!({"map": []})), ["#/format/map"]);
    assert_eq!(with(json!({"format": null})).unwrap().format, Format::Standard);
}

#[test]
fn a_map_is_bounded_in_pointers_bytes_and_depth() {
    let pointers = |n: usize| json!({"merge": vec![json!({"from": "/id"}); n]});
    assert!(with(json!({"format": pointers(MAX_POINTERS)})).is_ok());
    assert_eq!(wrong(&pointers(MAX_POINTERS + 1)), ["#/format"]);
    assert_eq!(wrong(&json!({"map": {"a": "x".repeat(MAX_MAP_BYTES)}})), ["#/format"]);
    let nested = |levels| json!({"map": (1..levels - 1).fold(json!({}), |inner, _| json!({"a": inner}))});
    assert!(with(json!({"format": nested(MAX_MAP_DEPTH)})).is_ok());
    assert_eq!(wrong(&nested(MAX_MAP_DEPTH + 1)), ["#/format"]);
}
