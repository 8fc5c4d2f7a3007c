//! What events, ids, topics and patterns may be.

use proptest::prelude::*;

use super::*;

fn matches(pattern: &str, topic: &str) -> bool {
    pattern.parse::<TopicPattern>().unwrap().matches(&topic.parse().unwrap())
}

#[test]
fn patterns_match_all_below_or_exactly() {
    assert!(matches("*", "a.b"));
    assert!(matches("a.*", "a.b") && matches("a.*", "a.b.c"));
    assert!(!matches("a.*", "a") && !matches("a.*", "ab.c"));
    assert!(matches("a.b", "a.b") && !matches("a.b", "a.b.c"));
}

#[test]
fn our_own_topics_must_be_named() {
    assert!(!matches("*", "hookmill.endpoint.failing"));
    assert!(matches("hookmill.*", "hookmill.endpoint.failing"));
}

#[test]
fn other_wildcards_are_refused() {
    for pattern in ["", "a.*.b", "*.a", "a*", "a.**", ".*", "a..*", "**", "a b"] {
        assert!(pattern.parse::<TopicPattern>().is_err(), "{pattern}");
    }
}

#[test]
fn every_mistake_is_named_at_once() {
    let event = Event::from_json("no spaces", "{]").id("a.b").tenant("*").key("");
    let invalid = event.validate(Timestamp::default()).unwrap_err();
    let places: Vec<_> = invalid.faults().iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(places, ["#/id", "#/topic", "#/tenant", "#/key", "#/data"]);
}

#[test]
fn nobody_publishes_our_own_topics() {
    let event = Event::from_json("hookmill.endpoint.failing", "1");
    assert!(event.validate(Timestamp::default()).is_err());
}

#[test]
fn data_is_bounded_in_size_and_depth() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(data::check(nested(MAX_DATA_DEPTH).as_bytes()).is_ok());
    assert!(data::check(nested(MAX_DATA_DEPTH + 1).as_bytes()).is_err());
    assert!(data::check(format!("\"{}\"", "[".repeat(100)).as_bytes()).is_ok());
    assert!(data::check(format!("\"{}\"", "x".repeat(MAX_DATA_BYTES)).as_bytes()).is_err());
    assert!(data::check(b"\"\xff\"").is_err());
}

#[test]
fn generated_ids_are_ids_and_sort_by_time() {
    let (a, b) = (EventId::generate(Timestamp::from_millis(1)), EventId::generate(Timestamp::from_millis(2)));
    assert!(a < b);
    assert!(a.as_str().parse::<EventId>().is_ok());
}

proptest! {
    #[test]
    fn a_pattern_reads_back_as_itself(text in r"(\*|[a-z]{1,4}(\.[a-z]{1,4}){0,2}(\.\*)?)") {
        prop_assert_eq!(text.parse::<TopicPattern>().unwrap().to_string(), text);
    }

    #[test]
    fn data_keeps_its_bytes(text in r#"\{"b": ?[1-9][0-9]{0,2}\.0+, ?"a":[1-9][0-9]{0,2}e0\}"#) {
        let event = Event::from_json("t", text.clone()).validate(Timestamp::default()).unwrap();
        prop_assert_eq!(&event.data[..], text.as_bytes());
    }
}
