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
    /// Every event of a daemon, one after another, numbered by its seq; `node_id` is the event's source, if that is a number.
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
            "event_id": {"from": "/seq"},
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
