//! Debounce rules, validated.

use std::{ops::RangeInclusive, time::Duration};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::{
    config::{
        duration,
        fields::{Fields, read},
    },
    error::{Fault, Invalid},
    event::{
        Accepted, NameError, TopicPattern, is_identifier, name,
        pointer::{Pointer, View},
    },
};

name!(
    /// Names a debounce rule.
    RuleName, is_identifier, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);

/// Most topic patterns in `topics`, and in `reset_on`.
pub const MAX_TOPICS: usize = 256;
/// Most pointers in a key.
pub const MAX_POINTERS: usize = 8;
/// The shortest and the longest window.
pub const WINDOW: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(30 * 86_400);
/// A key longer than this many bytes is replaced by its SHA-256.
const LONGEST_KEY: usize = 512;

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

const EDGES: [(&str, Edge); 3] = [("leading", Edge::Leading), ("trailing", Edge::Trailing), ("both", Edge::Both)];

/// Which events fall together, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The events it judges; never empty.
    pub topics: Vec<TopicPattern>,
    /// Where events must agree to fall together, beside tenant and topic; at most [`MAX_POINTERS`].
    pub key: Vec<Pointer>,
    /// Measured from the last event that passed; within [`WINDOW`].
    pub window: Duration,
    /// Which events pass.
    pub edge: Edge,
    /// The longest a trailing event is held.
    pub max_wait: Option<Duration>,
    /// Events that clear the keys they carry.
    pub reset_on: Vec<TopicPattern>,
    /// Whether the slot is freed when no delivery of the event that took it succeeded.
    pub release_on_failure: bool,
}

/// A debounce rule as a program writes it.
///
/// ```
/// # use std::time::Duration;
/// # use hookmill::Debounce;
/// Debounce::on("attention_raised").by(["/data/session", "/data/state"]).within(Duration::from_secs(60));
/// ```
#[derive(Clone, Debug)]
pub struct Debounce {
    name: String,
    topics: String,
    key: Vec<String>,
    window: Duration,
}

impl Debounce {
    /// A rule for a topic, or a pattern of topics. It is named after it, with `_` for what a name cannot have.
    pub fn on(topics: &str) -> Self {
        let word = |letter: char| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' };
        let name = topics.chars().map(word).collect();
        Self { name, topics: topics.to_owned(), key: Vec::new(), window: Duration::from_secs(60) }
    }

    /// Sets the rule's name. Two rules need two names.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Events fall together that agree at these JSON Pointers into the event.
    #[must_use]
    pub fn by<T: Into<String>>(mut self, pointers: impl IntoIterator<Item = T>) -> Self {
        self.key = pointers.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the window; one minute otherwise.
    #[must_use]
    pub fn within(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// Checks the rule.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn build(&self) -> Result<(RuleName, Rule), Invalid> {
        let name = self.name.parse().map_err(|error: NameError| Invalid::at("#/name", error.to_string()))?;
        let rule = json!({"topics": [self.topics], "key": self.key, "window": duration::print(self.window)});
        Ok((name, Rule::parse(&rule)?))
    }
}

impl Rule {
    /// Reads a rule: `topics` and `window` must be there, `key` is empty unless given. Only the leading edge is supported
    /// yet, without `max_wait`, `reset_on` and `release_on_failure`.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        let rule = read(value, rule)?;
        Invalid::unless_empty(rule.unsupported())?;
        Ok(rule)
    }

    /// The rule as [`Rule::parse`] reads it.
    pub fn to_json(&self) -> Value {
        let edge = EDGES.iter().find(|(_, edge)| *edge == self.edge).map_or("", |(name, _)| name);
        json!({
            "topics": self.topics,
            "key": self.key.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "window": duration::print(self.window),
            "edge": edge,
            "max_wait": self.max_wait.map(duration::print),
            "reset_on": self.reset_on,
            "release_on_failure": self.release_on_failure,
        })
    }

    /// Whether the rule judges `event`.
    pub fn covers(&self, event: &Accepted) -> bool {
        self.topics.iter().any(|pattern| pattern.matches(&event.topic))
    }

    /// What `event` must share with another to fall together with it: tenant, topic, and what each pointer of the key
    /// points at. A member that is missing differs from one that is `null`. A pure function of the event, at most 512
    /// bytes long; the event's data is read only when a pointer goes there.
    pub fn key_of(&self, event: &Accepted) -> String {
        let view = View::of(event);
        let tenant = event.tenant.as_ref().map_or_else(String::new, ToString::to_string);
        let mut key = format!("{tenant} {}", event.topic);
        for pointer in &self.key {
            key.push(' ');
            key.push_str(view.json(pointer).as_deref().unwrap_or("-"));
        }
        if key.len() > LONGEST_KEY { digest(&key) } else { key }
    }

    /// What is understood and not done yet.
    fn unsupported(&self) -> Vec<Fault> {
        let checks = [
            (self.edge != Edge::Leading, "#/edge", "only \"leading\" is supported yet"),
            (self.max_wait.is_some(), "#/max_wait", "only the leading edge is supported yet, which never waits"),
            (!self.reset_on.is_empty(), "#/reset_on", "is not supported yet and must be empty"),
            (self.release_on_failure, "#/release_on_failure", "is not supported yet and must be false"),
        ];
        checks.iter().filter(|(fails, ..)| *fails).map(|(_, place, detail)| Fault::new(*place, *detail)).collect()
    }
}

fn rule(fields: &mut Fields<'_>) -> Option<Rule> {
    let topics = fields.require("topics").and_then(|field| field.parsed(1..=MAX_TOPICS));
    let key = fields.take("key").map_or_else(|| Some(Vec::new()), |field| field.parsed(0..=MAX_POINTERS));
    let window = fields.require("window").and_then(|field| field.duration(WINDOW));
    let edge = fields.take("edge").and_then(|field| field.choice(&EDGES)).unwrap_or_default();
    let max_wait = fields.take("max_wait").and_then(|field| field.duration(WINDOW));
    let reset_on = fields.take("reset_on").and_then(|field| field.parsed(0..=MAX_TOPICS)).unwrap_or_default();
    let release_on_failure = fields.take("release_on_failure").and_then(|field| field.flag()).unwrap_or_default();
    Some(Rule { topics: topics?, key: key?, window: window?, edge, max_wait, reset_on, release_on_failure })
}

fn digest(text: &str) -> String {
    let hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{clock::Timestamp, event::Event};

    fn rule(key: &[&str]) -> Rule {
        Rule::parse(&json!({"topics": ["a.*"], "key": key, "window": "60s"})).unwrap()
    }

    fn key(rule: &Rule, event: &Event) -> String {
        rule.key_of(&Accepted::new(1, Timestamp::default(), event.validate(Timestamp::default()).unwrap()))
    }

    fn places(value: &Value) -> Vec<String> {
        Rule::parse(value).unwrap_err().faults().iter().map(|fault| fault.pointer.clone()).collect()
    }

    #[test]
    fn the_documented_rule_reads_and_prints() {
        let documented = json!({
            "topics": ["attention_raised"], "key": ["/data/session", "/data/state"], "window": "1m", "edge": "leading",
            "max_wait": null, "reset_on": [], "release_on_failure": false
        });
        assert_eq!(Rule::parse(&documented).unwrap().to_json(), documented);
    }

    #[test]
    fn every_mistake_is_named() {
        let value =
            json!({"topics": [], "key": ["/sequence", "x", "/data"], "window": "0s", "edge": "rising", "wait": 1});
        assert_eq!(places(&value), ["#/topics", "#/key/0", "#/key/1", "#/window", "#/edge", "#/wait"]);
        assert_eq!(places(&json!({})), ["#/topics", "#/window"]);
        let nine = vec!["/id"; MAX_POINTERS + 1];
        assert_eq!(places(&json!({"topics": ["*"], "key": nine, "window": "31d"})), ["#/key", "#/window"]);
    }

    #[test]
    fn what_is_not_supported_yet_is_refused() {
        let value = json!({
            "topics": ["*"], "window": "1s", "edge": "both", "max_wait": "1s", "reset_on": ["b"], "release_on_failure": true
        });
        assert_eq!(places(&value), ["#/edge", "#/max_wait", "#/reset_on", "#/release_on_failure"]);
    }

    #[test]
    fn tenant_and_topic_are_always_part_of_the_key() {
        let rule = rule(&[]);
        let event = |topic: &str| Event::from_json(topic, "1");
        let keys = [event("a.b"), event("a.c"), event("a.b").tenant("t"), event("a.b").tenant("u")];
        let keys: std::collections::HashSet<_> = keys.iter().map(|event| key(&rule, event)).collect();
        assert_eq!(keys.len(), 4);
    }

    #[test]
    fn missing_null_and_texts_alike_are_different_keys() {
        let rule = rule(&["/data/a", "/data/b"]);
        let data = [
            r#"{}"#,
            r#"{"a":null}"#,
            r#"{"b":null}"#,
            r#"{"a":"null"}"#,
            r#"{"a":"-"}"#,
            r#"{"a":"x y"}"#,
            r#"{"a":"x","b":"y"}"#,
            r#"{"a":"x\" \"y"}"#,
            r#"{"a":12345678901234567890123}"#,
            r#"{"a":12345678901234567890124}"#,
        ];
        let keys: std::collections::HashSet<_> =
            data.iter().map(|data| key(&rule, &Event::from_json("a.b", *data))).collect();
        assert_eq!(keys.len(), data.len());
    }

    #[test]
    fn a_long_key_is_a_short_one_and_still_its_own() {
        let rule = rule(&["/data"]);
        let long = |last: char| Event::new("a.b", &format!("{}{last}", "x".repeat(10_000))).unwrap();
        assert!(key(&rule, &long('a')).len() <= LONGEST_KEY);
        assert_ne!(key(&rule, &long('a')), key(&rule, &long('b')));
    }

    proptest! {
        #[test]
        fn a_rule_reads_back_as_itself(
            topics in prop::collection::vec(r"\*|[a-z]{1,4}(\.[a-z]{1,4}){0,2}(\.\*)?", 1..5),
            key in prop::collection::vec(r"/(topic|tenant|key|source|id|(data|metadata)(/[a-z]{0,4}|/~0|/~1){0,3})", 0..=MAX_POINTERS),
            window in 1_u64..=2_592_000_000,
        ) {
            let rule = Rule {
                topics: topics.iter().map(|text| text.parse().unwrap()).collect(),
                key: key.iter().map(|text| text.parse().unwrap()).collect(),
                window: Duration::from_millis(window),
                edge: Edge::Leading,
                max_wait: None,
                reset_on: Vec::new(),
                release_on_failure: false,
            };
            prop_assert_eq!(Rule::parse(&rule.to_json()), Ok(rule));
        }

        #[test]
        fn events_fall_together_exactly_when_the_key_agrees(
            a in ".{0,4}", b in ".{0,4}", c in ".{0,4}", d in ".{0,4}", noise in any::<(u32, u32)>(),
        ) {
            let rule = rule(&["/data/x", "/data/y"]);
            let event = |x: &str, y: &str, noise: u32| {
                Event::new("a.b", &json!({"x": x, "y": y, "noise": noise})).unwrap()
            };
            let (one, other) = (key(&rule, &event(&a, &b, noise.0)), key(&rule, &event(&c, &d, noise.1)));
            prop_assert_eq!(one == other, (a, b) == (c, d));
        }

        #[test]
        fn spelling_and_order_do_not_change_a_key(x in any::<i32>(), y in "[a-z]{0,5}") {
            let rule = rule(&["/data"]);
            let one = format!(r#"{{"x":{x},"y":"{y}"}}"#);
            let other = format!(" {{ \"y\" : \"{y}\" ,\n\"\\u0078\": {x} }} ");
            prop_assert_eq!(key(&rule, &Event::from_json("a.b", one)), key(&rule, &Event::from_json("a.b", other)));
        }
    }
}
