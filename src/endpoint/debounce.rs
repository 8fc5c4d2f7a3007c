//! Which events count as the same, and for how long: what debounce rules and an endpoint's own `debounce` share.

pub mod key;

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};

use crate::{
    config::{duration, fields::Fields},
    event::{Accepted, TopicPattern, pointer::Pointer},
};

/// Most topic patterns in `reset_on`, and in a rule's `topics`.
pub const MAX_TOPICS: usize = 256;
/// `max_wait` is so many windows unless given.
const WAITS: u32 = 10;

/// Most pointers in a key.
pub const MAX_POINTERS: usize = 8;
/// The shortest and the longest window.
pub const WINDOW: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(30 * 86_400);

/// Which of the events that fall together pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Edge {
    /// The first, at once; later ones inside the window are suppressed.
    #[default]
    Leading,
    /// The last, when the key has been quiet for the window.
    Trailing,
    /// The first and the last.
    Both,
}

/// Edges, as they are named.
pub(crate) const EDGES: [(&str, Edge); 3] =
    [("leading", Edge::Leading), ("trailing", Edge::Trailing), ("both", Edge::Both)];

impl Edge {
    /// As a rule names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leading => "leading",
            Self::Trailing => "trailing",
            Self::Both => "both",
        }
    }
}

/// Which events fall together, for how long, and which of them passes. As an endpoint's own it judges the events that are for
/// that endpoint, and only their deliveries there are held or suppressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DebouncePolicy {
    /// Where events must agree to fall together, beside tenant and topic; at most [`MAX_POINTERS`].
    pub key: Vec<Pointer>,
    /// Measured from the last event that passed, or, where events are held, that came; within [`WINDOW`].
    pub window: Duration,
    /// Which events pass.
    pub edge: Edge,
    /// The longest that the last one is waited for, from the first that was held on; within [`WINDOW`]. Never with the
    /// leading edge, which holds nothing. [`DebouncePolicy::longest_wait`] says what is so without it.
    pub max_wait: Option<Duration>,
    /// Events that clear the keys they carry, whether or not they are for the endpoint: see [`key::Carried`].
    pub reset_on: Vec<TopicPattern>,
    /// Whether the window ends when no delivery of the event that opened it succeeded; of an endpoint's own, when the one
    /// there did not. Of no effect with the trailing edge, where what passes opens no window.
    pub release_on_failure: bool,
}

impl DebouncePolicy {
    /// The first event of a key passes, and one exactly a window later.
    pub const fn leading(key: Vec<Pointer>, window: Duration) -> Self {
        Self { key, window, edge: Edge::Leading, max_wait: None, reset_on: Vec::new(), release_on_failure: false }
    }

    /// Reads it: `window` must be there, `key` is empty unless given.
    pub(crate) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let key = fields.take("key").map_or_else(|| Some(Vec::new()), |field| field.parsed(0..=MAX_POINTERS));
        let window = fields.require("window").and_then(|field| field.duration(WINDOW));
        let edge = fields.take("edge").and_then(|field| field.choice(&EDGES)).unwrap_or_default();
        let max_wait = fields.take("max_wait").and_then(|field| match edge {
            Edge::Leading => {
                field.fault("is not for the leading edge, which holds nothing");
                None
            }
            Edge::Trailing | Edge::Both => field.duration(WINDOW),
        });
        let reset_on = fields.take("reset_on").and_then(|field| field.parsed(0..=MAX_TOPICS)).unwrap_or_default();
        let release_on_failure = fields.take("release_on_failure").and_then(|field| field.flag()).unwrap_or_default();
        Some(Self { key: key?, window: window?, edge, max_wait, reset_on, release_on_failure })
    }

    /// As it is read.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "key": self.key.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "window": duration::print(self.window),
            "edge": self.edge.as_str(),
            "max_wait": self.max_wait.map(duration::print),
            "reset_on": self.reset_on,
            "release_on_failure": self.release_on_failure,
        })
    }

    /// The longest that an event is held, from the first that it stands for on.
    pub fn longest_wait(&self) -> Duration {
        self.max_wait.unwrap_or_else(|| self.window.saturating_mul(WAITS))
    }

    /// Whether `event` clears the keys that it carries.
    pub fn resets(&self, event: &Accepted) -> bool {
        self.reset_on.iter().any(|pattern| pattern.matches(&event.topic))
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(*own, DebouncePolicy::leading(Vec::new(), Duration::from_secs(5)));
        assert_eq!(with(json!({"debounce": null})).unwrap().debounce, None);
        let spelled_out = json!({
            "key": [], "window": "5s", "edge": "leading", "max_wait": null, "reset_on": [], "release_on_failure": false
        });
        assert_eq!(with(json!({"debounce": spelled_out})).unwrap().debounce, Some(own));
    }

    #[test]
    fn everything_that_rules_have_reads_and_prints() {
        let all = json!({
            "key": ["/data/k"], "window": "5s", "edge": "both", "max_wait": "1m", "reset_on": ["done", "x.*"],
            "release_on_failure": true
        });
        assert_eq!(with(json!({"debounce": all})).unwrap().debounce.map(|own| own.to_json()), Some(all));
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let cases = [
            (json!({}), vec!["#/debounce/window"]),
            (json!({"window": "0s", "key": ["/x", "/data"]}), vec!["#/debounce/key/0", "#/debounce/window"]),
            (json!({"window": "1s", "max_wait": "9s"}), vec!["#/debounce/max_wait"]),
            (json!({"window": "1s", "edge": "both", "max_wait": "31d"}), vec!["#/debounce/max_wait"]),
            (json!({"window": "1s", "edge": "rising"}), vec!["#/debounce/edge"]),
            (
                json!({"window": "1s", "reset_on": ["a*"], "release_on_failure": 1}),
                vec!["#/debounce/reset_on/0", "#/debounce/release_on_failure"],
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
        let key = ["/data/session", "/data/state"].map(|pointer| pointer.parse().unwrap());
        assert_eq!(own.debounce, Some(Box::new(DebouncePolicy::leading(key.to_vec(), Duration::from_secs(60)))));
        assert_eq!(with(json!({"preset": "attention", "debounce": null})).unwrap().debounce, None);
    }
}
