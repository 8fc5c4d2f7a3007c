//! Bodies that receivers of four older packages expect, as ordinary settings.

use super::*;
use crate::Preset;

fn preset(preset: Preset) -> Value {
    preset.settings().get("format").cloned().unwrap()
}

#[test]
fn attention() {
    let format = || {
        json!({"map": {
            "alert": {"from": "/data/state"},
            "session": {"from": "/data/session"},
            "session_uuid": {"from": "/data/session_uuid"},
            "workdir": {"from": "/data/workdir"},
            "mode": {"from": "/data/mode"},
            "details": {"from": "/data/details"},
            "ts": {"from": "/data/ts", "as": "rfc3339", "default": {"from": "/timestamp"}},
            "ui_url": {"concat": ["https://ui.example", "/s/", {"from": "/data/session", "encode": "percent"}]}
        }})
    };
    let whole = r#"{"state":"waiting","session":"a b/é","session_uuid":"u","workdir":"/w","mode":"m","details":{"x":1.0},"ts":"2026-01-02T03:04:05Z"}"#;
    let expected = r#"{"alert":"waiting","session":"a b/é","session_uuid":"u","workdir":"/w","mode":"m","details":{"x":1.0},"ts":"2026-01-02T03:04:05Z","ui_url":"https://ui.example/s/a%20b%2F%C3%A9"}"#;
    assert_eq!(body(format(), event(whole)), expected);
    let bare = r#"{"state":"waiting","session":"","workdir":"","details":null,"ts":"soon"}"#;
    assert_eq!(body(format(), event(bare)), r#"{"alert":"waiting","ts":"1970-01-01T00:00:01.000Z"}"#);
}

#[test]
fn daemon() {
    let format = || preset(Preset::Daemon);
    let expected =
        r#"{"event_id":7,"event":"user.created","node_id":12,"timestamp":"1970-01-01T00:00:01.000Z","data":{ "a":1 }}"#;
    assert_eq!(body(format(), event(r#"{ "a":1 }"#).source("12")), expected);
    let expected = r#"{"event_id":7,"event":"user.created","node_id":0,"timestamp":"1970-01-01T00:00:01.000Z"}"#;
    assert_eq!(body(format(), event("null").source("host-a")), expected);
}

#[test]
fn audit() {
    let format = || preset(Preset::Audit);
    let expected = r#"{"event_id":"e1","action":"login","timestamp":1,"details":{"ip":"::1"}}"#;
    assert_eq!(body(format(), event(r#"{"action":"login","details":{"ip":"::1"}}"#)), expected);
    let expected = r#"{"event_id":"e1","action":"login","timestamp":1}"#;
    assert_eq!(body(format(), event(r#"{"action":"login"}"#)), expected);
}

#[test]
fn batch_hooks() {
    let format = || {
        json!({"map": {
            "id": {"from": "/id"},
            "type": {"from": "/topic"},
            "stream_code": {"from": "/metadata/stream_code"},
            "occurred_at": {"from": "/timestamp"},
            "payload": {"merge": [{"from": "/data"}, {"from": "/metadata", "name_prefix": "meta."}]}
        }})
    };
    let event = |data| event(data).metadata("stream_code", "s1").metadata("env", "prod");
    let expected = r#"{"id":"e1","type":"user.created","stream_code":"s1","occurred_at":"1970-01-01T00:00:01.000Z","payload":{"z":1.0,"meta.env":"prod","a":[1 ,2],"meta.stream_code":"s1"}}"#;
    assert_eq!(body(format(), event(r#"{"z":1.0, "meta.env":"mine", "a":[1 ,2]}"#)), expected);
    let alone = json!({"map": {"payload": {"merge": [{"from": "/data"}, {"from": "/endpoint/metadata", "name_prefix": "meta."}]}}});
    let expected = r#"{"payload":{"a":1,"meta.env":"prod","meta.team/a":{"n":1}}}"#;
    assert_eq!(body(alone, event(r#"{"a":1}"#)), expected);
    let nothing = json!({"map": {"id": {"from": "/id"}, "payload": {"merge": [{"from": "/data"}]}}});
    assert_eq!(body(nothing, event("null")), r#"{"id":"e1"}"#);
}
