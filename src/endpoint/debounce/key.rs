//! What events must share to fall together, as one text that can be taken apart again.

use sha2::{Digest, Sha256};

use crate::event::{
    Accepted, Tenant,
    pointer::{Pointer, View},
};

/// A part of a key longer than this many bytes is replaced by its SHA-256.
const LONGEST_PART: usize = 80;
/// Between the parts: tenant, what the pointers lead to, topic. No tenant, no topic and no compact JSON has it.
const END: char = '\n';
/// Stands for a member that is missing; no JSON is spelled like this.
const MISSING: &str = "-";

/// What a resetting event carries of a rule's key. It means the keys of its tenant that agree wherever it carries something,
/// whatever their topic: an event that carries only the session clears every state of that session. One that carries nothing
/// of a key that has pointers means none. A key without pointers is the tenant's alone, and meant.
#[derive(Debug)]
pub struct Carried {
    start: String,
    rest: Vec<Option<String>>,
}

/// What `event` must share with another to fall together with it: tenant, topic, and what each of the pointers points at. A
/// member that is missing differs from one that is `null`. A pure function of the event, of which `view` is one, at most 1 KiB
/// long; the event's data is read only when a pointer goes there.
pub fn key_of(pointers: &[Pointer], event: &Accepted, view: &View<'_>) -> String {
    let mut key = start(event.tenant.as_ref());
    for pointer in pointers {
        key.push_str(part(view, pointer).as_deref().unwrap_or(MISSING));
        key.push(END);
    }
    key.push_str(event.topic.as_str());
    key
}

impl Carried {
    /// What `event` carries of a key with these pointers; `None` when that is nothing.
    pub fn by(event: &Accepted, pointers: &[Pointer]) -> Option<Self> {
        let view = View::of(event);
        let parts: Vec<_> = pointers.iter().map(|pointer| part(&view, pointer)).collect();
        if !parts.is_empty() && parts.iter().all(Option::is_none) {
            return None;
        }
        let mut carried = Self { start: start(event.tenant.as_ref()), rest: Vec::new() };
        let mut parts = parts.into_iter().peekable();
        while let Some(part) = parts.next_if(Option::is_some).flatten() {
            carried.start.push_str(&part);
            carried.start.push(END);
        }
        carried.rest = parts.collect();
        Some(carried)
    }

    /// What the keys that are meant begin with.
    pub fn start(&self) -> &str {
        &self.start
    }

    /// Whether a key is meant.
    pub fn means(&self, key: &str) -> bool {
        let Some(rest) = key.strip_prefix(&self.start) else { return false };
        let mut parts = rest.split(END);
        self.rest.iter().all(|wanted| {
            let part = parts.next();
            wanted.as_deref().is_none_or(|wanted| part == Some(wanted))
        })
    }
}

fn start(tenant: Option<&Tenant>) -> String {
    format!("{}{END}", tenant.map_or("", Tenant::as_str))
}

fn part(view: &View<'_>, pointer: &Pointer) -> Option<String> {
    view.json(pointer).map(|json| if json.len() > LONGEST_PART { digest(&json) } else { json })
}

fn digest(text: &str) -> String {
    let hex: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::{clock::Timestamp, event::Event};

    fn pointers(key: &[&str]) -> Vec<Pointer> {
        key.iter().map(|pointer| pointer.parse().unwrap()).collect()
    }

    fn accepted(event: &Event) -> Accepted {
        Accepted::new(1, Timestamp::default(), event.validate(Timestamp::default()).unwrap())
    }

    fn key(pointers: &[Pointer], event: &Event) -> String {
        let event = accepted(event);
        key_of(pointers, &event, &View::of(&event))
    }

    /// Whether a reset with this data means the key of an event with that data.
    fn means(key_at: &[&str], reset: &Event, event: &Event) -> bool {
        let pointers = pointers(key_at);
        Carried::by(&accepted(reset), &pointers).is_some_and(|carried| carried.means(&key(&pointers, event)))
    }

    #[test]
    fn a_reset_means_the_keys_that_agree_where_it_carries_something() {
        let pointers = ["/data/session", "/data/state"];
        let reset = |data: &str| Event::from_json("gone", data.to_owned());
        let event = Event::from_json("a.b", r#"{"session":"s","state":"x"}"#);
        for data in [r#"{"session":"s","state":"x","more":1}"#, r#"{"session":"s"}"#, r#"{"state":"x"}"#] {
            assert!(means(&pointers, &reset(data), &event), "{data}");
        }
        for data in
            [r#"{"session":"s","state":"y"}"#, r#"{"session":"t"}"#, r#"{"session":"s","state":null}"#, "{}", "1"]
        {
            assert!(!means(&pointers, &reset(data), &event), "{data}");
        }
        assert!(!means(&pointers, &reset(r#"{"session":"s"}"#).tenant("acme"), &event));
        assert!(!means(&pointers, &reset(r#"{"session":"s"}"#), &event.clone().tenant("acme")));
        assert!(!means(
            &["/data/session"],
            &reset(r#"{"session":"s"}"#),
            &Event::from_json("a.b", r#"{"session":"st"}"#)
        ));
    }

    #[test]
    fn a_key_without_pointers_is_its_tenants() {
        let event = Event::from_json("a.b", "1").tenant("t");
        assert!(means(&[], &Event::from_json("gone", "2").tenant("t"), &event));
        assert!(!means(&[], &Event::from_json("gone", "2"), &event));
    }

    #[test]
    fn tenant_and_topic_are_always_part_of_the_key() {
        let pointers = pointers(&[]);
        let event = |topic: &str| Event::from_json(topic, "1");
        let keys = [event("a.b"), event("a.c"), event("a.b").tenant("t"), event("a.b").tenant("u")];
        let keys: std::collections::HashSet<_> = keys.iter().map(|event| key(&pointers, event)).collect();
        assert_eq!(keys.len(), 4);
    }

    #[test]
    fn missing_null_and_texts_alike_are_different_keys() {
        let pointers = pointers(&["/data/a", "/data/b"]);
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
            data.iter().map(|data| key(&pointers, &Event::from_json("a.b", *data))).collect();
        assert_eq!(keys.len(), data.len());
    }

    #[test]
    fn a_long_key_is_a_short_one_and_still_its_own() {
        let pointers = pointers(&["/data"]);
        let long = |last: char| Event::new("a.b", &format!("{}{last}", "x".repeat(10_000))).unwrap();
        assert!(key(&pointers, &long('a')).len() <= 2 * LONGEST_PART);
        assert_ne!(key(&pointers, &long('a')), key(&pointers, &long('b')));
    }

    proptest! {
        #[test]
        fn events_fall_together_exactly_when_the_key_agrees(
            a in ".{0,4}", b in ".{0,4}", c in ".{0,4}", d in ".{0,4}", noise in any::<(u32, u32)>(),
        ) {
            let pointers = pointers(&["/data/x", "/data/y"]);
            let event = |x: &str, y: &str, noise: u32| {
                Event::new("a.b", &json!({"x": x, "y": y, "noise": noise})).unwrap()
            };
            let (one, other) = (key(&pointers, &event(&a, &b, noise.0)), key(&pointers, &event(&c, &d, noise.1)));
            prop_assert_eq!(one == other, (a, b) == (c, d));
        }

        #[test]
        fn spelling_and_order_do_not_change_a_key(x in any::<i32>(), y in "[a-z]{0,5}") {
            let pointers = pointers(&["/data"]);
            let one = format!(r#"{{"x":{x},"y":"{y}"}}"#);
            let other = format!(" {{ \"y\" : \"{y}\" ,\n\"\\u0078\": {x} }} ");
            prop_assert_eq!(key(&pointers, &Event::from_json("a.b", one)), key(&pointers, &Event::from_json("a.b", other)));
        }
    }
}
