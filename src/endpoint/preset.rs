//! Presets: named sets of ordinary settings, for users of four older packages. No code of its own hangs on any of them.

use std::fmt;

use serde_json::{Value, json};

/// A named set of settings. What an endpoint says itself replaces what its preset says; `null` stands for the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// Alerts: an `attention_raised` with its state, session and details, repeats of a session and state within a minute
    /// left out. The link into a user interface is there when the endpoint's metadata has its base as `ui_url`, and what a
    /// host adds to the event's metadata as `session_uuid`, `workdir` and `mode`.
    Attention,
    /// Every event of a daemon, one after another, numbered by its seq, or for an endpoint of one tenant named by its id: the
    /// seq counts the events of all; `node_id` is the event's source, if that is a number.
    Daemon,
    /// Audit entries (`audit.entry`), with a hundred dead letters kept.
    Audit,
    /// Batches that go back to the front of the queue as long as they fail; the metadata of the endpoint goes into each
    /// payload as `meta.…`.
    BatchHooks,
}

pub(in crate::endpoint) const PRESETS: [(&str, Preset); 4] = [
    ("attention", Preset::Attention),
    ("daemon", Preset::Daemon),
    ("audit", Preset::Audit),
    ("batch_hooks", Preset::BatchHooks),
];

impl Preset {
    /// As it is written in settings.
    pub fn as_str(self) -> &'static str {
        PRESETS.iter().find(|(_, preset)| *preset == self).map_or("", |(name, _)| name)
    }

    /// The preset that settings name.
    pub(super) fn named_in(settings: &Value) -> Option<Self> {
        let named = settings.get("preset")?;
        PRESETS.iter().find(|(name, _)| named == name).map(|(_, preset)| *preset)
    }

    /// Its settings, as an endpoint's own would be written.
    pub fn settings(self) -> Value {
        match self {
            Self::Attention => attention(),
            Self::Daemon => daemon(),
            Self::Audit => audit(),
            Self::BatchHooks => batch_hooks(),
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn attention() -> Value {
    json!({
        "topics": ["attention_raised"],
        "filter": {"pointer": "/data/state", "exists": true},
        "format": {"map": {
            "alert": {"from": "/data/state"},
            "session": {"from": "/data/session"},
            "session_uuid": {"from": "/metadata/session_uuid"},
            "workdir": {"from": "/metadata/workdir"},
            "mode": {"from": "/metadata/mode"},
            "details": {"from": "/data/details"},
            "ts": {"from": "/data/ts", "as": "rfc3339", "default": {"from": "/timestamp"}},
            "ui_url": {"concat": [
                {"from": "/endpoint/metadata/ui_url"}, "/s/", {"from": "/data/session", "encode": "percent"}
            ]}
        }},
        "debounce": {"key": ["/data/session", "/data/state"], "window": "1m"},
        "signing": {"type": "none"},
        "timeout": "10s",
        "retry": {"delays": ["1s", "2s", "4s"], "jitter": 0},
        "queue": {"max_items": 128, "when_full": "drop_newest"},
        "in_flight": 8,
        "drain": "0s"
    })
}

fn daemon() -> Value {
    json!({
        "format": {"map": {
            "event_id": {"from": "/seq", "default": {"from": "/id"}},
            "event": {"from": "/topic"},
            "node_id": {"from": "/source", "as": "number", "default": 0},
            "timestamp": {"from": "/timestamp"},
            "data": {"from": "/data"}
        }},
        "signing": {"type": "none"},
        "success": "below_400",
        "timeout": "5s",
        "retry": {"delays": ["1s", "2s"], "jitter": 0, "when": ["transport", "5xx"]},
        "breaker": {"failures": 5, "min_events": 1, "cooldown": "30s", "max_cooldown": "30s", "unit": "event"},
        "queue": {"max_items": 1024, "when_full": "drop_newest"},
        "in_flight": 1,
        "drain": "5s"
    })
}

fn audit() -> Value {
    json!({
        "topics": ["audit.entry"],
        "format": {"map": {
            "event_id": {"from": "/id"},
            "action": {"from": "/data/action"},
            "timestamp": {"from": "/timestamp", "as": "seconds"},
            "details": {"from": "/data/details"}
        }},
        "signing": {"type": "none"},
        "success": "below_400",
        "timeout": "5s",
        "retry": {"delays": ["1s", "2s"], "jitter": 0, "when": ["transport", "5xx"]},
        "queue": {"max_items": 1024, "when_full": "drop_newest"},
        "dead_letters": {"max_items": 100},
        "in_flight": 1,
        "drain": "5s"
    })
}

fn batch_hooks() -> Value {
    json!({
        "format": {"map": {
            "id": {"from": "/id"},
            "type": {"from": "/topic"},
            "stream_code": {"from": "/metadata/stream_code"},
            "occurred_at": {"from": "/timestamp"},
            "payload": {"merge": [{"from": "/data"}, {"from": "/endpoint/metadata", "name_prefix": "meta."}]}
        }},
        "signing": {"type": "none"},
        "timeout": "10s",
        "retry": {"delays": ["1s", "5s", "30s"], "jitter": 0, "exhausted": "requeue"},
        "queue": {"max_items": 10_000, "when_full": "drop_oldest"},
        "in_flight": 1,
        "batch": {"max_items": 100, "flush_interval": "5s", "count_header": "x-batch-size"}
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::{
        Origin, Settings, Signing,
        format::Format,
        policy::{BreakerPolicy, Policy, Success, Unit},
        settings::laws::{parse, places, with},
    };

    fn preset(preset: Preset, more: Value) -> Settings {
        let mut settings = json!({"preset": preset.as_str(), "url": "https://example.org/"});
        let Value::Object(more) = more else { panic!("no object") };
        settings.as_object_mut().unwrap().extend(more);
        parse(&settings).unwrap()
    }

    fn patched(settings: &Settings, patch: &Value) -> Settings {
        settings.patched(patch, Origin::Code, |_, _| Ok(())).unwrap()
    }

    #[test]
    fn a_url_is_enough_for_every_preset() {
        for (name, known) in PRESETS {
            let settings = preset(known, json!({}));
            assert_eq!((settings.preset, known.to_string().as_str()), (Some(known), name));
            assert!(matches!(settings.format, Format::Map(_)) && settings.signing == Signing::None);
        }
        assert_eq!(places(with(json!({"preset": "demon"}))), ["#/preset"]);
    }

    #[test]
    fn what_a_preset_says_and_nothing_more_is_another_than_the_default() {
        let plain = with(json!({})).unwrap().to_json();
        for (_, known) in PRESETS {
            let said = known.settings();
            for (name, value) in preset(known, json!({})).to_json().as_object().unwrap() {
                let changed = *value != plain[name];
                assert!(name == "preset" || !changed || said.get(name).is_some(), "{known}: {name}");
            }
        }
    }

    #[test]
    fn what_an_endpoint_says_stands_above_its_preset() {
        let more = json!({
            "timeout": "3s", "success": "2xx", "topics": ["job.*"], "breaker": {"failures": 20}, "format": "raw",
            "signing": {"type": "hmac", "header": "x-s", "secret": "hush"}
        });
        let own = preset(Preset::Daemon, more);
        assert_eq!((own.policy.timeout, own.policy.success), (Duration::from_secs(3), Success::Status2xx));
        assert_eq!((own.format, own.topics.len()), (Format::Raw, 1));
        assert!(matches!(own.signing, Signing::Hmac(_)));
        let breaker = &own.policy.breaker;
        assert_eq!((breaker.failures, breaker.unit), (20, Unit::Event), "the rest of it is as the preset has it");
        let secret = json!({"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"});
        assert!(
            matches!(preset(Preset::Daemon, secret).signing, Signing::Standard(standard) if standard.keys.len() == 1)
        );
    }

    #[test]
    fn null_is_the_default() {
        let said = Preset::BatchHooks.settings();
        let nulls = said.as_object().unwrap().keys().map(|name| (name.clone(), Value::Null)).collect();
        let own = preset(Preset::BatchHooks, Value::Object(nulls));
        assert_eq!((&*own.policy, own.format), (&Policy::default(), Format::Standard));
        let own = preset(Preset::Daemon, json!({"breaker": {"failures": null, "min_events": null}}));
        let default = BreakerPolicy::default();
        assert_eq!(
            (own.policy.breaker.failures, own.policy.breaker.min_events),
            (default.failures, default.min_events)
        );
        assert_eq!(own.policy.breaker.unit, Unit::Event);
    }

    #[test]
    fn a_file_takes_what_is_not_about_requests() {
        let file = |known: Preset| parse(&json!({"preset": known.as_str(), "file": "/var/log/a.jsonl"})).unwrap();
        for (_, known) in PRESETS {
            assert_eq!(file(known).preset, Some(known));
        }
        let (of_file, of_url) = (file(Preset::BatchHooks), preset(Preset::BatchHooks, json!({})));
        assert_eq!(of_file.format, of_url.format);
        assert_eq!((&of_file.policy.retry, of_file.policy.queue), (&of_url.policy.retry, of_url.policy.queue));
        let (of_file, of_url) = (of_file.policy.batch.clone().unwrap(), of_url.policy.batch.clone().unwrap());
        assert_eq!((of_file.max_items, of_file.count_header), (of_url.max_items, None));
    }

    #[test]
    fn a_patch_with_a_preset_takes_over_all_that_it_says() {
        let old = with(json!({"name": "CRM", "timeout": "1m", "disable_after": "never"})).unwrap();
        let new = patched(&old, &json!({"preset": "audit", "in_flight": 2}));
        let audit = preset(Preset::Audit, json!({"name": "CRM", "disable_after": "never", "in_flight": 2}));
        assert!(new == audit, "{new:?}");
        let other = patched(&new, &json!({"timeout": "7s"}));
        assert_eq!((other.preset, other.policy.timeout), (Some(Preset::Audit), Duration::from_secs(7)));
    }

    #[test]
    fn a_patch_that_takes_the_preset_away_leaves_what_it_said() {
        let new = patched(&preset(Preset::Audit, json!({})), &json!({"preset": null}));
        assert!(new == Settings { preset: None, ..preset(Preset::Audit, json!({})) });
    }

    #[test]
    fn what_is_stored_reads_back_the_same() {
        for (_, known) in PRESETS {
            let settings = preset(known, json!({"timeout": null, "in_flight": 3}));
            assert!(Settings::restore(&settings.to_json(), Origin::Code).unwrap() == settings, "{known}");
            assert!(parse(&settings.to_json()).unwrap() == settings, "{known}: written back by hand");
        }
    }

    #[test]
    fn people_are_shown_the_preset_and_what_it_stands_for() {
        let shown = preset(Preset::Daemon, json!({})).to_masked_json();
        assert_eq!((&shown["preset"], &shown["timeout"]), (&json!("daemon"), &json!("5s")));
        assert_eq!(with(json!({})).unwrap().to_masked_json()["preset"], Value::Null);
    }
}
