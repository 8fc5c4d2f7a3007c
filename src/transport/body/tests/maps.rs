//! What each part of a map writes.

use super::*;

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn one(part: Value, data: &str) -> String {
    body(json!({"map": {"x": part}}), event(data))
}

#[test]
fn literals_are_written_as_they_are_and_in_order() {
    let map = json!({"map": {"b": "é", "a": null, "from": "billing", "c": {"z": [1, {"y": true}], "a": {}}, "d": {"literal": {"from": 1}}}});
    let expected = r#"{"b":"é","a":null,"from":"billing","c":{"z":[1,{"y":true}],"a":{}},"d":{"from":1}}"#;
    assert_eq!(body(map, event("1")), expected);
}

#[test]
fn what_is_missing_or_empty_is_left_out_at_any_depth() {
    let part = || json!({"a": {"from": "/data/a"}, "b": [{"from": "/data/a"}, 1, {"from": "/data/b"}]});
    for (data, expected) in [
        (r#"{"a":null}"#, r#"{"x":{"b":[1]}}"#),
        (r#"{"a":"","b":[]}"#, r#"{"x":{"b":[1,[]]}}"#),
        (r#"{"a":0,"b":false}"#, r#"{"x":{"a":0,"b":[0,1,false]}}"#),
        ("7", r#"{"x":{"b":[1]}}"#),
    ] {
        assert_eq!(one(part(), data), expected, "{data}");
    }
    assert_eq!(one(json!({"from": "/key"}), "1"), "{}");
    assert_eq!(one(json!({"from": "/key", "default": null}), "1"), r#"{"x":null}"#);
}

#[test]
fn a_member_keeps_its_bytes() {
    let data = r#"{"a": {"n":1.00, "t" : "\u0041"}}"#;
    assert_eq!(one(json!({"from": "/data/a"}), data), r#"{"x":{"n":1.00, "t" : "\u0041"}}"#);
    assert_eq!(one(json!({"from": "/data/a/t"}), data), r#"{"x":"\u0041"}"#);
}

#[test]
fn urls_are_encoded_and_stand_only_when_there_is_something() {
    let part = || json!({"concat": ["https://a.b", "/s/", {"from": "/data", "encode": "percent"}]});
    assert_eq!(one(part(), r#""a b/?é~""#), r#"{"x":"https://a.b/s/a%20b%2F%3F%C3%A9~"}"#);
    assert_eq!(one(part(), "12"), r#"{"x":"https://a.b/s/12"}"#);
    for data in ["\"\"", "null", "[1]", "{}"] {
        assert_eq!(one(part(), data), "{}", "{data}");
    }
    let numbers = json!({"concat": [{"from": "/data"}, "-", 1, true]});
    assert_eq!(one(numbers.clone(), "2.50"), r#"{"x":"2.50-1true"}"#);
    assert_eq!(one(numbers, "[]"), "{}");
}

#[test]
fn values_are_read_as_what_is_asked() {
    let cases = [
        ("number", r#""12""#, r#"{"x":12}"#),
        ("number", "1.50", r#"{"x":1.50}"#),
        ("number", r#""a""#, "{}"),
        ("number", "[1]", "{}"),
        ("seconds", r#""1970-01-01T00:01:01.9Z""#, r#"{"x":61}"#),
        ("seconds", "5", r#"{"x":5}"#),
        ("seconds", r#""soon""#, "{}"),
        ("rfc3339", "61", r#"{"x":"1970-01-01T00:01:01.000Z"}"#),
        ("rfc3339", "1.5", r#"{"x":"1970-01-01T00:00:01.500Z"}"#),
        ("rfc3339", "1e300", "{}"),
        ("rfc3339", r#""1970-01-01T00:01:01Z""#, r#"{"x":"1970-01-01T00:01:01Z"}"#),
        ("rfc3339", "true", "{}"),
    ];
    for (read_as, data, expected) in cases {
        assert_eq!(one(json!({"from": "/data", "as": read_as}), data), expected, "{read_as} {data}");
    }
}

#[test]
fn what_is_merged_later_replaces_and_what_is_no_object_stays_whole() {
    let merge = |data| body(json!({"merge": [{"from": "/data"}, {"b": 2, "c": {"from": "/id"}}]}), event(data));
    assert_eq!(merge(r#"{"b": 1, "a" : 0.0}"#), r#"{"b":2,"a":0.0,"c":"e1"}"#);
    assert_eq!(merge("null"), r#"{"b":2,"c":"e1"}"#);
    assert_eq!(merge("[1 ,2]"), "[1 ,2]");
    assert_eq!(body(json!({"merge": [{"from": "/key"}]}), event("1")), "{}");
}

#[test]
fn an_endpoint_can_lend_its_metadata() {
    let found = |from: &str| body(json!({"map": {"x": {"from": from}}}), event("1"));
    assert_eq!(found("/endpoint/metadata"), r#"{"x":{"env":"prod","team/a":{"n":1}}}"#);
    assert_eq!(found("/endpoint/metadata/env"), r#"{"x":"prod"}"#);
    assert_eq!(found("/endpoint/metadata/team~1a/n"), r#"{"x":1}"#);
    assert_eq!(found("/endpoint/metadata/env/x"), "{}");
}

#[test]
fn a_body_has_its_bound() {
    let data = format!("\"{}\"", "x".repeat(1_000_000));
    let map = |copies: usize| json!({"map": {"x": vec![json!({"from": "/data"}); copies]}});
    assert_eq!(body(map(2), event(&data)).len(), 2 * data.len() + r#"{"x":[,]}"#.len());
    let failure = render(&accepted(event(&data)), &settings(&map(3))).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Unrenderable);
    let merged = json!({"merge": [{"a": {"from": "/data"}}, {"b": {"from": "/data"}}, {"c": {"from": "/data"}}]});
    assert!(render(&accepted(event(&data)), &settings(&merged)).is_err());
}
