//! Debounce rules, validated.

use serde_json::{Value, json};

use crate::{
    config::fields::{Fields, read},
    endpoint::debounce::{
        DebouncePolicy, MAX_TOPICS,
        key::{Carried, key_of},
    },
    error::Invalid,
    event::{Accepted, TopicPattern, is_identifier, name, pointer::View},
};

name!(
    /// Names a debounce rule.
    RuleName, is_identifier, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);

/// Which events fall together, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The events it judges; never empty.
    pub topics: Vec<TopicPattern>,
    /// Which of them fall together, for how long, and which of those passes.
    pub policy: DebouncePolicy,
}

impl Rule {
    /// Reads a rule: `topics` and `window` must be there, `key` is empty unless given.
    ///
    /// # Errors
    /// Every mistake at once.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        read(value, rule)
    }

    /// The rule as [`Rule::parse`] reads it.
    pub fn to_json(&self) -> Value {
        let mut rule = self.policy.to_json();
        if let Some(members) = rule.as_object_mut() {
            members.insert("topics".to_owned(), json!(self.topics));
        }
        rule
    }

    /// Whether the rule judges `event`. None judges the steps of chains, however its topics are written: each was promised
    /// to a caller.
    pub fn covers(&self, event: &Accepted) -> bool {
        !event.topic.is_of_chain() && self.topics.iter().any(|pattern| pattern.matches(&event.topic))
    }

    /// What `event` must share with another to fall together with it: see [`key_of`].
    pub fn key_of(&self, event: &Accepted) -> String {
        key_of(&self.policy.key, event, &View::of(event))
    }

    /// What `event` carries of this rule's key; `None` when that is nothing.
    pub fn carried_by(&self, event: &Accepted) -> Option<Carried> {
        Carried::by(event, &self.policy.key)
    }
}

fn rule(fields: &mut Fields<'_>) -> Option<Rule> {
    let topics = fields.require("topics").and_then(|field| field.parsed(1..=MAX_TOPICS));
    let policy = DebouncePolicy::read(fields);
    Some(Rule { topics: topics?, policy: policy? })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::endpoint::debounce::{EDGES, Edge, MAX_POINTERS};

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
    fn no_rule_judges_the_steps_of_chains() {
        let rule = Rule::parse(&json!({"topics": ["hookmill.*"], "window": "1m"})).unwrap();
        let covers = |topic: &str| {
            let event = crate::Event::from_json("a", "1").validate(crate::Timestamp::default()).unwrap();
            let event = crate::event::ValidEvent { topic: topic.parse().unwrap(), ..event };
            rule.covers(&Accepted::new(1, crate::Timestamp::default(), event))
        };
        assert!(covers("hookmill.endpoint.failing"));
        assert!(!covers("hookmill.chain.OrderCreated.mail"));
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
    fn what_the_leading_edge_cannot_wait_for_is_refused() {
        let value = json!({"topics": ["*"], "window": "1s", "max_wait": "1s"});
        assert_eq!(places(&value), ["#/max_wait"]);
        let rule = |more: Value| {
            let mut rule = json!({"topics": ["*"], "window": "2s", "edge": "both"});
            rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            Rule::parse(&rule).unwrap().policy.longest_wait()
        };
        assert_eq!(rule(json!({})), Duration::from_secs(20));
        assert_eq!(rule(json!({"max_wait": "1s"})), Duration::from_secs(1));
    }

    proptest! {
        #[test]
        fn a_rule_reads_back_as_itself(
            topics in prop::collection::vec(r"\*|[a-z]{1,4}(\.[a-z]{1,4}){0,2}(\.\*)?", 1..5),
            key in prop::collection::vec(r"/(topic|tenant|key|source|id|(data|metadata)(/[a-z]{0,4}|/~0|/~1){0,3})", 0..=MAX_POINTERS),
            window in 1_u64..=2_592_000_000,
            edge in prop::sample::select(EDGES.map(|(_, edge)| edge).to_vec()),
            max_wait in prop::option::of(1_u64..=2_592_000_000),
            reset_on in prop::collection::vec(r"[a-z]{1,4}(\.\*)?", 0..3),
            release_on_failure in any::<bool>(),
        ) {
            let policy = DebouncePolicy {
                key: key.iter().map(|text| text.parse().unwrap()).collect(),
                window: Duration::from_millis(window),
                edge,
                max_wait: max_wait.filter(|_| edge != Edge::Leading).map(Duration::from_millis),
                reset_on: reset_on.iter().map(|text| text.parse().unwrap()).collect(),
                release_on_failure,
            };
            let rule = Rule { topics: topics.iter().map(|text| text.parse().unwrap()).collect(), policy };
            prop_assert_eq!(Rule::parse(&rule.to_json()), Ok(rule));
        }
    }
}
