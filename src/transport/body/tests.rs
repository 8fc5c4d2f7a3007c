//! Every format, and the bodies of the packages that Hookmill replaces.

mod batches;
mod heritage;
mod maps;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{Event, Timestamp, endpoint::settings::Origin};

const AT: Timestamp = Timestamp::from_millis(1_000);

fn settings(format: &Value) -> Settings {
    let settings = json!({"url": "https://a.b/", "format": format, "metadata": {"env": "prod", "team/a": {"n": 1}}});
    Settings::parse(&settings, Origin::Code, |_: &_, _| Ok(())).unwrap()
}

fn accepted(event: Event) -> Accepted {
    Accepted::new(7, AT, event.timestamp(AT).validate(AT).unwrap())
}

fn rendered(format: &Value, event: Event) -> Rendered {
    render(&accepted(event), &settings(format)).unwrap()
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn body(format: Value, event: Event) -> String {
    String::from_utf8(rendered(&format, event).body.to_vec()).unwrap()
}

fn event(data: &str) -> Event {
    Event::from_json("user.created", data.to_owned()).id("e1")
}

fn full(data: &str) -> Event {
    let event = event(data).tenant("acme").key("user é").source("node 7");
    event.metadata("traceid", "a b").metadata("n", 3).metadata("No", 1).metadata("big", 1.5).metadata("list", json!([]))
}

#[test]
fn standard_has_type_timestamp_and_data() {
    let expected = r#"{"type":"user.created","timestamp":"1970-01-01T00:00:01.000Z","data":{ "b":1.0,"a":1e0 }}"#;
    assert_eq!(body(json!("standard"), event(r#"{ "b":1.0,"a":1e0 }"#)), expected);
}

#[test]
fn raw_is_the_data_alone() {
    let rendered = rendered(&json!("raw"), event(" [1.0 , 2] "));
    assert_eq!((rendered.body.as_ref(), &*rendered.content_type), (&b" [1.0 , 2] "[..], "application/json"));
}

#[test]
fn an_envelope_has_every_field() {
    let expected = r#"{"id":"e1","seq":7,"topic":"user.created","tenant":"acme","key":"user é","source":"node 7","timestamp":"1970-01-01T00:00:01.000Z","accepted_at":"1970-01-01T00:00:01.000Z","data":{ "b":1.0 },"metadata":{"traceid":"a b","n":3,"No":1,"big":1.5,"list":[]}}"#;
    assert_eq!(body(json!("envelope"), full(r#"{ "b":1.0 }"#)), expected);
    let mut carrying = accepted(event("1"));
    carrying.suppressed = 3;
    let carrying = render(&carrying, &settings(&json!("envelope"))).unwrap().body;
    assert_eq!(serde_json::from_slice::<Value>(&carrying).unwrap()["suppressed"], 3);
    let mapped = json!({"map": {"n": {"from": "/suppressed"}}});
    assert_eq!(body(mapped, event("1")), "{}");
    let bare: Value = serde_json::from_str(&body(json!("envelope"), event("1"))).unwrap();
    assert_eq!((&bare["tenant"], &bare["key"], &bare["metadata"]), (&Value::Null, &Value::Null, &json!({})));
}

#[test]
fn an_endpoint_of_one_tenant_is_told_no_seq() {
    let map = json!({"map": {"n": {"from": "/seq"}, "or": {"from": "/seq", "default": {"from": "/id"}}}});
    for (tenant, envelope_has, mapped) in [
        (json!("acme"), false, r#"{"or":"e1"}"#),
        (json!("*"), true, r#"{"n":7,"or":7}"#),
        (Value::Null, true, r#"{"n":7,"or":7}"#),
    ] {
        let sent = |more: Value| {
            let mut settings = json!({"url": "https://a.b/", "tenant": tenant});
            settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let settings = Settings::parse(&settings, Origin::Code, |_: &_, _| Ok(())).unwrap();
            String::from_utf8(render(&accepted(event("1")), &settings).unwrap().body.to_vec()).unwrap()
        };
        assert_eq!(sent(json!({"format": "envelope"})).contains("\"seq\""), envelope_has, "{tenant}");
        assert_eq!(sent(json!({"format": map})), mapped, "{tenant}");
        let daemon: Value = serde_json::from_str(&sent(json!({"preset": "daemon"}))).unwrap();
        assert_eq!(daemon["event_id"], if envelope_has { json!(7) } else { json!("e1") }, "{tenant}");
    }
}

#[test]
fn structured_cloudevents_follow_the_standard() {
    let rendered = rendered(&json!("cloudevents"), full(r#"{ "b":1.0 }"#));
    let expected = r#"{"specversion":"1.0","id":"e1","source":"node%207","type":"user.created","subject":"user é","time":"1970-01-01T00:00:01.000Z","traceid":"a b","n":3,"big":"1.5","datacontenttype":"application/json","data":{ "b":1.0 }}"#;
    assert_eq!(rendered.body, expected);
    assert_eq!((&*rendered.content_type, rendered.headers.len()), ("application/cloudevents+json", 0));
}

#[test]
fn binary_cloudevents_are_headers_and_the_data() {
    let rendered = rendered(&json!("cloudevents_binary"), full(r#"{ "b":1.0 }"#));
    assert_eq!((rendered.body.as_ref(), &*rendered.content_type), (&br#"{ "b":1.0 }"#[..], "application/json"));
    let headers: Vec<_> = rendered.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("ce-specversion", "1.0"),
        ("ce-id", "e1"),
        ("ce-source", "node%25207"),
        ("ce-type", "user.created"),
        ("ce-subject", "user%20%C3%A9"),
        ("ce-time", "1970-01-01T00:00:01.000Z"),
        ("ce-traceid", "a%20b"),
        ("ce-n", "3"),
        ("ce-big", "1.5"),
    ];
    assert_eq!(headers, expected);
}

#[test]
fn a_cloudevent_always_has_a_source_and_no_control_characters() {
    let event = event("1").key("a\nb").metadata("x", "a\u{7f}").metadata("y", true);
    let body: Value = serde_json::from_str(&body(json!("cloudevents"), event)).unwrap();
    assert_eq!((&body["source"], &body["y"]), (&json!("hookmill"), &json!(true)));
    assert!(body.get("subject").is_none() && body.get("x").is_none());
}

#[test]
fn what_came_as_a_cloudevent_goes_with_its_own_id_and_schema() {
    let event = event("1").metadata("ce_id", "a.b/c").metadata("dataschema", "https://example.org/s");
    let body: Value = serde_json::from_str(&body(json!("cloudevents"), event)).unwrap();
    assert_eq!((&body["id"], &body["dataschema"]), (&json!("a.b/c"), &json!("https://example.org/s")));
    assert!(body.get("ce_id").is_none());
}

fn any_json() -> impl Strategy<Value = String> {
    let leaf =
        prop_oneof![Just("1.0".to_owned()), Just("null".to_owned()), ".*".prop_map(|text| json!(text).to_string())];
    leaf.prop_recursive(3, 16, 4, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[ {} ]", items.join(" , ")));
        prop_oneof![list, inner.prop_map(|value| format!("{{ \"b\" : {value} , \"a\" : 1e0 }}"))]
    })
}

proptest! {
    #[test]
    fn data_passes_unchanged_in_every_format(data in any_json(), key in "\\PC{1,20}", source in "\\PC{1,20}") {
        let maps = [json!({"map": {"d": {"from": "/data"}, "x": 1}}), json!({"map": {"d": [{"literal": []}, {"from": "/data"}]}})];
        let named = ["standard", "raw", "envelope", "cloudevents", "cloudevents_binary"].map(Value::from);
        for format in maps.iter().chain(&named) {
            let text = body(format.clone(), event(&data).key(&key).source(&source));
            let empty = format.is_object() && matches!(data.as_str(), "null" | "\"\"");
            prop_assert!(empty || text.contains(&data), "{} {}", format, text);
            prop_assert!(serde_json::from_str::<Value>(&text).is_ok());
        }
    }
}
