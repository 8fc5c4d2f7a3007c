use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    ChainConfig,
    chain::plan::{Input, Kind},
    endpoint::{Auth, Settings, format::Format, policy::Guard},
};

fn places(invalid: &Invalid) -> Vec<&str> {
    invalid.faults().iter().map(|fault| fault.pointer.as_str()).collect()
}

fn refused(chain: &Value) -> Vec<String> {
    places(&read(chain).unwrap_err()).into_iter().map(str::to_owned).collect()
}

#[test]
fn a_step_needs_a_name_and_a_url_and_the_rest_is_default() {
    let plan = plan(&[step("a", &json!({"final_response": true}))]);
    let step = &plan.steps()[0];
    assert_eq!((step.attempts, step.timeout, step.input), (3, Some(Duration::from_secs(10)), Input::Payload));
    assert_eq!((step.kind, step.settings.method.as_str()), (Kind::Sync { is_final: true }, "POST"));
    assert_eq!((&step.settings.format, step.settings.guard), (&Format::Raw, Guard::Private));
    assert_eq!((plan.deadline(), step.max_response_bytes()), (Duration::from_secs(300), 1 << 20));
}

#[test]
fn every_mistake_of_our_own_form_is_named_at_once() {
    let chain = json!({"deadline": "1ms", "deadlines": 1, "steps": [
        {"url": "https://a.example/"},
        {"name": "b", "url": "ftp://b", "attempts": -1, "timeout": "1ms", "method": "TRACE", "success": "3xx"},
        step("c", &json!({"async": true, "final_response": true, "method": "GET"})),
        step("b", &json!({"use_data_from": "b", "async": "yes", "max_response_bytes": -1})),
        step("d", &json!({"use_data_from": "c", "signing": {"type": "standard"}, "auth": {"type": "bearer", "token": "a b"}})),
        step("e", &json!({"use_data_from": "nobody", "headers": {"host": "x"}, "uri": 1})),
    ]});
    let mut found = refused(&chain);
    found.sort();
    let mut expected = [
        "#/deadline",
        "#/deadlines",
        "#/steps",
        "#/steps/0/name",
        "#/steps/1/attempts",
        "#/steps/1/method",
        "#/steps/1/success",
        "#/steps/1/timeout",
        "#/steps/1/url",
        "#/steps/2/final_response",
        "#/steps/2/method",
        "#/steps/3/async",
        "#/steps/3/max_response_bytes",
        "#/steps/3/name",
        "#/steps/4/auth/token",
        "#/steps/4/use_data_from",
        "#/steps/5/headers/host",
        "#/steps/5/uri",
        "#/steps/5/use_data_from",
    ];
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert_eq!(refused(&json!([step("a", &json!({"final_response": true, "signing": {}}))])), ["#/0/signing"]);
    assert_eq!(refused(&json!(7)), ["#"]);
}

#[test]
fn inputs_come_of_earlier_synchronous_steps_alone() {
    let detail = |from: &str| {
        let steps = [
            step("later_async", &json!({"async": true})),
            step("first", &json!({"final_response": true})),
            step("it", &json!({"use_data_from": from})),
            step("last", &json!({})),
        ];
        read(&json!(steps)).map(|plan| plan.steps()[2].input).map_err(|invalid| invalid.faults()[0].detail.clone())
    };
    assert_eq!(detail("first"), Ok(Input::Response(1)));
    let wrong = [("it", "itself"), ("last", "later"), ("later_async", "asynchronous"), ("other", "no step")];
    for (from, word) in wrong {
        assert!(detail(from).is_err_and(|detail| detail.contains(word)), "{from}");
    }
}

#[test]
fn names_that_are_too_long_for_an_endpoint_are_refused() {
    let name = "é".repeat(64);
    let chain = json!([{"name": name, "url": "https://a.example/", "final_response": true}]);
    assert_eq!(refused(&chain), ["#/0/name"]);
}

#[test]
fn both_forms_say_the_same() {
    let heritage = json!({"webhooks": {"enabled": true, "config": {"E": [
        {"name": "a", "url": "https://a.example/", "method": "put", "authEnabled": true, "authToken": "t", "numRetries": 5,
         "timeout": 0, "finalResponse": true},
        {"name": "b", "url": "https://b.example/", "async": true, "useDataFrom": "a", "timeout": 7, "success": "200_json"},
    ]}}});
    let own = json!({"chains": {"E": [
        {"name": "a", "url": "https://a.example/", "method": "PUT", "auth": {"type": "bearer", "token": "t"}, "attempts": 5,
         "timeout": "0s", "final_response": true},
        {"name": "b", "url": "https://b.example/", "async": true, "use_data_from": "a", "timeout": "7s",
         "success": "200_json"},
    ]}});
    let (heritage, own) = (ChainConfig::parse(&heritage).unwrap(), ChainConfig::parse(&own).unwrap());
    assert_eq!(heritage, own);
    let step = &own.chains[0].1.steps()[0];
    assert_eq!((&step.settings.auth, step.timeout), (&Some(Auth::Bearer("t".to_owned())), None));
}

#[test]
fn an_event_stands_in_one_of_the_two_forms() {
    let steps = json!([step("a", &json!({"async": true}))]);
    let both = json!({"webhooks": {"enabled": true, "config": {"a/b": steps}}, "chains": {"a/b": steps}});
    assert_eq!(places(&ChainConfig::parse(&both).unwrap_err()), ["#/chains/a~1b"]);
    assert_eq!(places(&ChainConfig::parse(&json!({"server": 1})).unwrap_err()), ["#"]);
}

#[test]
fn a_timeout_longer_than_the_usual_deadline_moves_it() {
    let steps = json!([{"name": "a", "url": "https://a.example/", "timeout": 3600, "finalResponse": true}]);
    let config = ChainConfig::parse(&json!({"webhooks": {"enabled": true, "config": {"E": steps}}})).unwrap();
    assert_eq!(config.chains[0].1.deadline(), Duration::from_secs(3600));
}

#[test]
fn what_is_shown_hides_secrets() {
    let more =
        json!({"final_response": true, "auth": {"type": "bearer", "token": "hush"}, "headers": {"x-key": "hush"}});
    let shown = plan(&[step("a", &more)]).to_masked_json().to_string();
    assert!(!shown.contains("hush") && shown.contains("x-key"), "{shown}");
}

/// Steps of which the first is synchronous and final.
fn any_steps() -> impl Strategy<Value = Vec<Value>> {
    let timeout = prop_oneof![Just("0s"), Just("100ms"), Just("7s")];
    let success = prop_oneof![Just("2xx"), Just("200_json")];
    let one = (any::<bool>(), 1..9_u32, timeout, success, any::<bool>(), 0..4096_usize, any::<bool>());
    prop::collection::vec(one, 1..6).prop_map(|steps| {
        let write = |(place, drawn)| {
            let (is_async, attempts, timeout, success, uses, bytes, private) = drawn;
            let is_async = is_async && place > 0;
            let mut more = json!({"async": is_async, "attempts": attempts, "timeout": timeout, "success": success});
            more["guard"] = if private { "private".into() } else { "public".into() };
            if uses && place > 0 {
                more["use_data_from"] = "s0".into();
            }
            if !is_async {
                more["max_response_bytes"] = json!(bytes);
                more["final_response"] = (place == 0).into();
            }
            step(&format!("s{place}"), &more)
        };
        steps.into_iter().enumerate().map(write).collect()
    })
}

proptest! {
    #[test]
    fn a_plan_reads_back_as_itself(steps in any_steps(), seconds in 1..10_000_u64) {
        let plan = read(&json!({"deadline": format!("{seconds}s"), "steps": steps})).unwrap();
        for step in plan.endpoints() {
            let settings = step.endpoint_settings("OrderCreated");
            prop_assert_eq!(Settings::restore(&settings.to_json(), Origin::Code).unwrap(), settings);
        }
        prop_assert_eq!(read(&plan.to_json()).unwrap(), plan);
    }
}

#[test]
fn what_an_invocation_may_hold_is_what_is_kept_and_what_is_read() {
    let bytes = |steps: &[Value]| plan(steps).most_response_bytes();
    let sized = |name: &str, bytes: u32, more: Value| {
        let mut step = step(name, &more);
        step["max_response_bytes"] = json!(bytes);
        step
    };
    assert_eq!(bytes(&[step("m", &json!({"async": true}))]), 0);
    assert_eq!(
        bytes(&[sized("a", 5, json!({})), sized("b", 3, json!({"final_response": true}))]),
        5,
        "one is forgotten"
    );
    let used = [sized("a", 5, json!({})), sized("b", 3, json!({"final_response": true, "use_data_from": "a"}))];
    assert_eq!(bytes(&used), 8);
    let kept = sized("c", 1, json!({}));
    assert_eq!(bytes(&[sized("a", 5, json!({"final_response": true})), sized("b", 3, json!({})), kept]), 8);
}
