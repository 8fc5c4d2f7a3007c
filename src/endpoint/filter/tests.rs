use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::json;

use super::*;
use crate::{
    Accepted, Event, Timestamp,
    endpoint::settings::laws::{places, with},
};

fn event(data: &str) -> Accepted {
    let event = Event::from_json("order.paid", data.to_owned()).key("k-1").metadata("env", "prod");
    Accepted::new(7, Timestamp::default(), event.validate(Timestamp::default()).unwrap())
}

#[expect(clippy::needless_pass_by_value, reason = "called with literals")]
fn filter(filter: Value) -> Filter {
    with(json!({"filter": filter})).unwrap().filter.unwrap()
}

fn passes(asked: Value, data: &str) -> bool {
    filter(asked).matches(&View::of(&event(data)))
}

#[test]
fn lists_compare_strings_exactly_and_numbers_by_value() {
    let only =
        |value: &str| passes(json!({"pointer": "/data", "only": ["a", 1, 9007199254740993_u64, true, null]}), value);
    for value in ["\"a\"", "\"\\u0061\"", "1", "1.0", "10e-1", "9007199254740993", "true", "null"] {
        assert!(only(value), "{value}");
    }
    for value in ["\"A\"", "\"1\"", "1.5", "9007199254740992", "false", "[\"a\"]", "{}", "\"\"", "1e999"] {
        assert!(!only(value), "{value}");
    }
}

#[test]
fn what_is_missing_is_in_no_list_and_no_range() {
    let at = |test: Value| {
        let mut asked = json!({"pointer": "/data/x"});
        asked.as_object_mut().unwrap().extend(test.as_object().unwrap().clone());
        passes(asked, "{}")
    };
    assert!(at(json!({"except": [1]})) && at(json!({"exists": false})));
    for test in [
        json!({"only": [null]}),
        json!({"prefix": ""}),
        json!({"suffix": ""}),
        json!({"exists": true}),
        json!({"min": 0}),
        json!({"max": 0}),
    ] {
        assert!(!at(test.clone()), "{test}");
    }
}

#[test]
fn only_wins_over_except() {
    let asked = || json!({"pointer": "/data", "only": [1], "except": [1, 2]});
    assert!(passes(asked(), "1") && !passes(asked(), "2") && !passes(asked(), "3"));
}

#[test]
fn prefix_suffix_and_ranges_hold_for_their_types_alone() {
    let name = || json!({"pointer": "/data", "prefix": "a.", "suffix": ".z"});
    assert!(passes(name(), "\"a.b.z\"") && !passes(name(), "\"a.b\"") && !passes(name(), "1"));
    let range = || json!({"pointer": "/data", "min": 0.5, "max": 10});
    for (value, within) in
        [("0.5", true), ("1e1", true), ("10.01", false), ("0", false), ("-1", false), ("\"5\"", false), ("null", false)]
    {
        assert_eq!(passes(range(), value), within, "{value}");
    }
}

#[test]
fn every_part_of_an_event_can_be_asked() {
    let all = json!({"all": [
        {"pointer": "/topic", "suffix": ".paid"},
        {"pointer": "/seq", "min": 7, "max": 7},
        {"pointer": "/key", "only": ["k-1"]},
        {"pointer": "/metadata/env", "except": ["test"]},
        {"pointer": "/tenant", "exists": false},
        {"not": {"any": [{"pointer": "/data/a/0", "only": [2]}, {"pointer": "/data/b", "exists": true}]}}
    ]});
    assert!(passes(all.clone(), r#"{"a": [1]}"#) && !passes(all, r#"{"a": [2]}"#));
}

#[test]
fn mistakes_are_named_with_their_place() {
    let wrong = |filter: Value| places(with(json!({"filter": filter})));
    let nested =
        |levels: usize| (1..levels).fold(json!({"pointer": "/id", "exists": true}), |inner, _| json!({"not": inner}));
    let many = |n: usize| json!({"all": vec![json!({"pointer": "/id", "exists": true}); n]});
    assert!(with(json!({"filter": nested(MAX_DEPTH)})).is_ok());
    assert!(with(json!({"filter": many(MAX_CONDITIONS - 1)})).is_ok());
    assert_eq!(wrong(nested(MAX_DEPTH + 1)), [format!("#/filter{}", "/not".repeat(MAX_DEPTH))]);
    assert_eq!(wrong(many(MAX_CONDITIONS)), ["#/filter"]);
    assert_eq!(wrong(json!({"pointer": "/data"})), ["#/filter"]);
    assert_eq!(wrong(json!({})), ["#/filter/pointer", "#/filter"]);
    assert_eq!(wrong(json!([])), ["#/filter"]);
    assert_eq!(wrong(json!({"all": []})), ["#/filter/all"]);
    let faults = json!({"any": [{"pointer": "data", "only": []}, {"pointer": "/data", "min": 2, "max": 1}, {"pointer": "/id", "only": [[]]}], "x": 1});
    assert_eq!(
        wrong(faults),
        ["#/filter/any/0/pointer", "#/filter/any/0/only", "#/filter/any/1/max", "#/filter/any/2/only/0", "#/filter/x"]
    );
}

/// Any filter within its bounds.
pub(in crate::endpoint) fn a_filter() -> impl Strategy<Value = Filter> {
    tests().prop_map(|tests| Filter::At(Box::new(tests))).prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(Filter::All),
            vec(inner.clone(), 1..4).prop_map(Filter::Any),
            inner.prop_map(|filter| Filter::Not(Box::new(filter))),
        ]
    })
}

fn scalar() -> impl Strategy<Value = Value> {
    let number = prop_oneof![(-3..3_i64).prop_map(Value::from), (-3..3_i32).prop_map(|n| json!(f64::from(n) / 2.0))];
    prop_oneof![number, "[ab]{0,2}".prop_map(Value::from), any::<bool>().prop_map(Value::from), Just(Value::Null)]
}

fn tests() -> impl Strategy<Value = Tests> {
    let lists = (option::of(vec(scalar(), 1..4)), option::of(vec(scalar(), 1..4)));
    let parts = (option::of("[ab]{0,2}"), option::of("[ab]{0,2}"));
    let pointer = select(vec!["/data", "/data/a", "/data/b", "/data/a/0", "/metadata/env", "/key", "/tenant"]);
    let range = (option::of(-3..0_i32), option::of(0..3_i32));
    (pointer, lists, parts, option::of(any::<bool>()), range).prop_map(|(pointer, lists, parts, exists, range)| {
        let ((only, except), (prefix, suffix), (min, max)) = (lists, parts, range);
        let nothing = only.is_none() && except.is_none() && prefix.is_none() && suffix.is_none() && min.is_none();
        let exists = if nothing && max.is_none() { Some(exists.unwrap_or(true)) } else { exists };
        let (min, max) = (min.map(Number::from), max.map(Number::from));
        Tests { pointer: pointer.parse().unwrap(), only, except, prefix, suffix, exists, min, max }
    })
}

fn data() -> impl Strategy<Value = Value> {
    let object = (option::of(scalar()), option::of(scalar())).prop_map(|(a, b)| {
        let members = [("a", a), ("b", b)].into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(members.collect())
    });
    prop_oneof![object, scalar(), vec(scalar(), 0..2).prop_map(|items| json!({"a": items}))]
}

proptest! {
    #[test]
    fn all_any_and_not_are_those_of_logic(filters in vec(a_filter(), 1..4), data in data()) {
        let event = event(&data.to_string());
        let view = View::of(&event);
        let each: Vec<_> = filters.iter().map(|filter| filter.matches(&View::of(&event))).collect();
        prop_assert_eq!(Filter::All(filters.clone()).matches(&view), each.iter().all(|one| *one));
        prop_assert_eq!(Filter::Any(filters.clone()).matches(&view), each.iter().any(|one| *one));
        prop_assert_eq!(Filter::Not(Box::new(Filter::Any(filters))).matches(&view), each.iter().all(|one| !one));
    }

    /// Every test of a place is one of its own.
    #[test]
    fn tests_of_one_place_are_all_of_them_alone(tests in tests(), data in data()) {
        let event = event(&data.to_string());
        let none = Tests { only: None, except: None, prefix: None, suffix: None, exists: None, min: None, max: None, ..tests.clone() };
        let all = tests.clone();
        let except = if all.only.is_some() { None } else { all.except };
        let alone = [
            Tests { only: all.only, ..none.clone() },
            Tests { except, ..none.clone() },
            Tests { prefix: all.prefix, ..none.clone() },
            Tests { suffix: all.suffix, ..none.clone() },
            Tests { exists: all.exists, ..none.clone() },
            Tests { min: all.min, ..none.clone() },
            Tests { max: all.max, ..none },
        ];
        let passes = |tests: Tests| Filter::At(Box::new(tests)).matches(&View::of(&event));
        prop_assert_eq!(passes(tests), alone.into_iter().all(passes));
    }

    #[test]
    fn only_and_except_are_opposites(values in vec(scalar(), 1..4), data in data(), pointer in select(vec!["/data", "/data/a", "/key"])) {
        let list = |name: &str| passes(json!({"pointer": pointer, name: values}), &data.to_string());
        prop_assert_ne!(list("only"), list("except"));
    }

    #[test]
    fn numbers_compare_as_their_values_do(a in any::<i32>(), b in any::<i32>(), x in any::<f64>()) {
        let number = |text: String| serde_json::from_str::<Number>(&text).unwrap();
        for (a_text, b_text) in [(format!("{a}"), format!("{b}.0")), (format!("{a}e0"), format!("{b}"))] {
            prop_assert_eq!(compare(&number(a_text), &number(b_text)), a.cmp(&b));
        }
        if let Some(x_number) = Number::from_f64(x) {
            prop_assert_eq!(Some(compare(&x_number, &number(a.to_string()))), x.partial_cmp(&f64::from(a)));
        }
    }
}
