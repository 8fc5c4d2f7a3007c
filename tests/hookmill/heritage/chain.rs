//! Chains: call webhooks, in order, and use the answer. Each line of the heritage is a test.

mod lifecycle;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use hookmill::{
    Builder, ChainConfig, ChainError, Chains, Clock, Endpoint, Hookmill, Owner,
    endpoint::{Auth, EndpointKey, policy::Guard},
    store::{DeadLetterFilter, Totals},
    testing::{self, Made, Script, ScriptedChains, ScriptedTransport},
    transport::{Attempt, FailureKind, body::render_all},
};
use serde_json::{Value, json};

/// A file as users of the heritage have it, with what else is theirs.
const FILE: &str = "
server:
  port: 8080
webhooks:
  enabled: true
  config:
    OrderCreated:
      - name: Check stock
        url: http://stock.internal:8080/reserve
        method: PUT
        authEnabled: true
        authToken: s3cret
        numRetries: 2
        timeout: 3
      - name: price
        url: http://price.internal/
        authEnabled: false
        useDataFrom: Check stock
        finalResponse: true
      - name: mail
        url: http://mail.internal/send
        async: true
        useDataFrom: price
        numRetries: 2
    order.archived:
      - name: log
        url: http://log.internal/
        method: POST
        async: true
";

/// What a service was asked, in a test's own words.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    step: String,
    number: u32,
    method: String,
    auth: Option<Auth>,
    body: String,
    timeout: Duration,
}

type Log = Arc<Mutex<Vec<Asked>>>;

fn config(text: &str) -> ChainConfig {
    ChainConfig::from_yaml(text).unwrap()
}

/// Services that answer as `script` says, and what they were asked.
fn services(script: impl Fn(&Attempt) -> Script + Send + Sync + 'static) -> (ScriptedTransport, Log) {
    let log = Log::default();
    let asked = Arc::clone(&log);
    let transport = ScriptedTransport::new(move |attempt| {
        let settings = &attempt.endpoint.settings;
        asked.lock().unwrap().push(Asked {
            step: attempt.endpoint.id.as_str().to_owned(),
            number: attempt.number,
            method: settings.method.clone(),
            auth: settings.auth.clone(),
            body: String::from_utf8_lossy(&attempt.event().data).into_owned(),
            timeout: settings.policy.timeout,
        });
        script(attempt)
    });
    (transport, log)
}

async fn start(transport: &ScriptedTransport, builder: Builder) -> Hookmill {
    testing::start_here(builder.transport(transport.factory())).await.unwrap()
}

/// The chains of `text`, with services that answer as `script` says.
async fn chains(
    text: &str,
    script: impl Fn(&Attempt) -> Script + Send + Sync + 'static,
) -> (Hookmill, Chains, ScriptedTransport, Log) {
    let (transport, log) = services(script);
    let hooks = start(&transport, Hookmill::builder()).await;
    let chains = Chains::from_config(&hooks, config(text)).await.unwrap().unwrap();
    (hooks, chains, transport, log)
}

fn steps(log: &Log) -> Vec<String> {
    let word = |step: &str| step.rsplit('.').next().unwrap_or_default().to_owned();
    log.lock().unwrap().iter().map(|asked| word(&asked.step)).collect()
}

fn is(attempt: &Attempt, step: &str) -> bool {
    attempt.endpoint.id.as_str().ends_with(&format!(".{step}"))
}

fn yaml(steps: &str) -> String {
    format!("webhooks:\n  enabled: true\n  config:\n    E: [{steps}]\n")
}

fn step(name: &str, more: &str) -> String {
    format!("{{name: {name}, url: \"http://{name}.internal/\"{more}}}")
}

/// Two synchronous steps and an asynchronous one.
fn usual() -> String {
    yaml(&[step("a", ""), step("b", ", useDataFrom: a, finalResponse: true"), step("c", ", async: true")].join(", "))
}

async fn settled(hooks: &Hookmill) -> Totals {
    loop {
        let totals = hooks.stats().await.unwrap();
        assert!(totals.add_up(), "{totals:?}");
        if totals.unrouted + totals.deliveries.pending + totals.deliveries.in_flight == 0 {
            return totals;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// When attempts started, in milliseconds after the first.
fn starts(made: &[Made]) -> Vec<u128> {
    made.iter().map(|one| one.at.since(made[0].at).as_millis()).collect()
}

#[test]
fn this_file_works_as_it_is() {
    testing::paused(async {
        let (hooks, chains, _, log) = chains(FILE, |attempt| match attempt.endpoint.id.as_str() {
            "chain.OrderCreated.Check__20stock" => Script::answers(200, r#"{"reserved":1.50}"#),
            "chain.OrderCreated.price" => Script::answers(200, r#"{"price":7}"#),
            _ => Script::status(200),
        })
        .await;
        assert!(chains.is_event_configured("OrderCreated") && chains.is_event_configured("order.archived"));
        let response = chains.call("OrderCreated", r#"{"order": 1.0}"#).await.unwrap().unwrap();
        assert_eq!(response, r#"{"price":7}"#);
        settled(&hooks).await;
        let seconds = Duration::from_secs;
        let asked = |step: &str, method: &str, auth: Option<&str>, body: &str, timeout| Asked {
            step: format!("chain.OrderCreated.{step}"),
            number: 1,
            method: method.to_owned(),
            auth: auth.map(|token| Auth::Bearer(token.to_owned())),
            body: body.to_owned(),
            timeout,
        };
        let expected = [
            asked("Check__20stock", "PUT", Some("s3cret"), r#"{"order": 1.0}"#, seconds(3)),
            asked("price", "POST", None, r#"{"reserved":1.50}"#, seconds(10)),
            asked("mail", "POST", None, r#"{"price":7}"#, seconds(10)),
        ];
        assert_eq!(*log.lock().unwrap(), expected);
    });
}

#[test]
fn every_mistake_is_refused_and_all_at_once() {
    let refused = |steps: &[String]| -> Vec<String> {
        let invalid = ChainConfig::from_yaml(&yaml(&steps.join(", "))).unwrap_err();
        let place = |pointer: &str| pointer.replacen("#/webhooks/config/E", "", 1);
        invalid.faults().iter().map(|fault| place(&fault.pointer)).collect()
    };
    let last = step("z", ", finalResponse: true");
    let one = |wrong: &str| refused(&[wrong.to_owned(), last.clone()]);
    assert_eq!(one("{url: \"http://a.internal/\"}"), ["/0/name"]);
    assert_eq!(one("{name: \"\", url: \"http://a.internal/\"}"), ["/0/name"]);
    assert_eq!(one("{name: a}"), ["/0/url"]);
    assert_eq!(one("{name: a, url: \"\"}"), ["/0/url"]);
    assert_eq!(one(&step("a", ", authEnabled: true")), ["/0/authToken"]);
    assert_eq!(one(&step("a", ", authEnabled: true, authToken: \"\"")), ["/0/authToken"]);
    assert_eq!(one(&step("a", ", authEnabled: true, authToken: \"a b\"")), ["/0/authToken"]);
    assert_eq!(one(&step("a", ", numRetries: -1")), ["/0/numRetries"]);
    assert_eq!(one(&step("a", ", timeout: -1")), ["/0/timeout"]);
    assert_eq!(refused(&[step("a", ", finalResponse: true"), step("a", "")]), ["/1/name"]);
    assert_eq!(refused(&[step("a", "")]), [""], "no final response");
    assert_eq!(refused(&[step("a", ", finalResponse: true"), last.clone()]), [""], "two final responses");
    assert_eq!(one(&step("a", ", useDataFrom: a")), ["/0/useDataFrom"], "itself");
    assert_eq!(one(&step("a", ", useDataFrom: z")), ["/0/useDataFrom"], "a later one");
    assert_eq!(one(&step("a", ", useDataFrom: x")), ["/0/useDataFrom"], "an unknown one");
    let of_async = [step("a", ", async: true"), step("b", ", useDataFrom: a"), last.clone()];
    assert_eq!(refused(&of_async), ["/1/useDataFrom"], "an asynchronous one");
    let all = [
        "{numRetries: -1, authEnabled: true}".to_owned(),
        step("b", ", useDataFrom: b, timeuot: 1"),
        step("b", ", finalResponse: true"),
        last,
    ];
    let mut found = refused(&all);
    found.sort();
    let expected =
        ["", "/0/authToken", "/0/name", "/0/numRetries", "/0/url", "/1/timeuot", "/1/useDataFrom", "/2/name"];
    assert_eq!(found, expected);
    assert!(ChainConfig::from_yaml("webhooks: [").is_err());
}

#[test]
fn steps_may_all_be_asynchronous_and_stand_in_any_order() {
    testing::paused(async {
        let text = yaml(&[step("a", ", async: true"), step("b", ", async: true")].join(", "));
        let (hooks, all_async, _, log) = chains(&text, |_| Script::status(200)).await;
        assert_eq!(all_async.call("E", "1").await.unwrap(), None);
        assert_eq!(settled(&hooks).await.deliveries.delivered, 2);
        assert_eq!(log.lock().unwrap().len(), 2);

        let mixed =
            [step("p", ", async: true"), step("a", ""), step("q", ", async: true"), step("b", ", finalResponse: true")];
        let (hooks, mixed, _, log) = chains(&yaml(&mixed.join(", ")), |_| Script::status(200)).await;
        assert_eq!(mixed.call("E", "1").await.unwrap().unwrap(), "");
        settled(&hooks).await;
        assert_eq!(steps(&log)[..2], ["a", "b"], "synchronous ones in order, before the others");
        assert_eq!(log.lock().unwrap().len(), 4);
    });
}

#[test]
fn disabled_there_is_no_manager_and_no_error() {
    testing::paused(async {
        let (transport, _) = services(|_| Script::status(200));
        let hooks = start(&transport, Hookmill::builder()).await;
        for off in ["webhooks: {enabled: false, config: {E: [{name: a}]}}", "webhooks: {config: {E: [{}]}}"] {
            assert!(Chains::from_config(&hooks, config(off)).await.unwrap().is_none());
        }
        assert!(Chains::from_config(&hooks, config(FILE)).await.unwrap().is_some());
        let off = config("webhooks: {enabled: false}");
        assert!(Chains::from_config(&hooks, off).await.unwrap().is_none());
        assert!(!hooks.chains().is_event_configured("OrderCreated"), "those of before are gone");
    });
}

#[test]
fn exactly_one_callback_is_called_and_its_result_is_the_result() {
    testing::paused(async {
        let (_, chains, ..) = chains(&usual(), |attempt| match attempt.event().data.as_ref() {
            b"\"bad\"" => Script::status(500),
            _ => Script::answers(200, "\"b\""),
        })
        .await;
        let invoke = async |payload: &'static str, fails: bool| {
            let calls = Arc::new(Mutex::new(Vec::new()));
            let (good, bad) = (Arc::clone(&calls), Arc::clone(&calls));
            let on_success = |body: bytes::Bytes| async move {
                good.lock().unwrap().push(format!("success {}", String::from_utf8_lossy(&body)));
                if fails { Err("on_success failed".to_owned()) } else { Ok(()) }
            };
            let on_error = |error: ChainError| async move {
                bad.lock().unwrap().push("error".to_owned());
                if fails { Err(error.to_string()) } else { Ok(()) }
            };
            let result = chains.invoke("E", payload, on_success, on_error).await;
            let calls = calls.lock().unwrap().clone();
            (result, calls)
        };
        let success = vec!["success \"b\"".to_owned()];
        assert_eq!(invoke("1", false).await, (Ok(()), success.clone()));
        assert_eq!(invoke("1", true).await, (Err("on_success failed".to_owned()), success));
        let error = vec!["error".to_owned()];
        assert_eq!(invoke("\"bad\"", false).await, (Ok(()), error.clone()), "a failure can be forgiven");
        let (result, calls) = invoke("\"bad\"", true).await;
        assert_eq!(result, Err("chain E: step a failed after 3 attempt(s): answered 500".to_owned()));
        assert_eq!(calls, error);
    });
}

#[test]
fn without_a_synchronous_step_on_success_gets_nothing() {
    testing::paused(async {
        let text = yaml(&step("a", ", async: true"));
        let (_, chains, ..) = chains(&text, |_| Script::status(200)).await;
        let result: Result<usize, ()> =
            chains.invoke("E", "1", |body| async move { Ok(body.len()) }, |_| async { Err(()) }).await;
        assert_eq!(result, Ok(0));
    });
}

#[test]
fn an_event_that_is_not_configured_is_an_error() {
    testing::paused(async {
        let (_, chains, _, log) = chains(&usual(), |_| Script::status(200)).await;
        assert!(chains.is_event_configured("E") && !chains.is_event_configured("e"));
        let error = chains.call("Other", "1").await.unwrap_err();
        assert_eq!(error, ChainError::NotConfigured { event: "Other".to_owned() });
        assert!(matches!(chains.call("E", "{").await, Err(ChainError::Payload(_))), "a payload is JSON");
        assert!(log.lock().unwrap().is_empty());
    });
}

#[test]
fn the_first_failure_ends_it_and_the_error_names_step_and_last_attempt_only() {
    testing::paused(async {
        let (hooks, chains, _, log) = chains(&usual(), |attempt| match attempt.number {
            _ if is(attempt, "a") => Script::status(200),
            1 => Script::fails(FailureKind::Connect),
            2 => Script::status(404),
            _ => Script::status(503),
        })
        .await;
        let error = chains.call("E", "1").await.unwrap_err();
        let expected = ChainError::Step {
            event: "E".to_owned(),
            step: "b".to_owned(),
            attempts: 3,
            error: "answered 503".to_owned(),
            status: Some(503),
        };
        assert_eq!(error, expected);
        assert_eq!(steps(&log), ["a", "b", "b", "b"], "everything but success is tried again; nothing comes after");
        assert_eq!(settled(&hooks).await.accepted, 0, "no asynchronous step was started");
    });
}

#[test]
fn waits_double_from_100_ms_with_up_to_100_ms_more_and_three_attempts() {
    testing::paused(async {
        let (_, chains, transport, _) = chains(&usual(), |_| Script::status(500)).await;
        assert!(chains.call("E", "1").await.is_err());
        let starts = starts(&transport.made());
        assert_eq!(starts.len(), 3);
        assert!((100..=202).contains(&starts[1]), "{starts:?}");
        assert!((200..=303).contains(&(starts[2] - starts[1])), "{starts:?}");
    });
}

#[test]
fn one_attempt_where_one_is_asked_for() {
    testing::paused(async {
        for retries in ["0", "1"] {
            let text = yaml(&step("a", &format!(", finalResponse: true, numRetries: {retries}")));
            let (_, chains, transport, _) = chains(&text, |_| Script::status(500)).await;
            assert!(chains.call("E", "1").await.is_err());
            assert_eq!(transport.made().len(), 1);
        }
    });
}

#[test]
fn an_attempt_ends_with_its_timeout_and_without_one_with_the_chain() {
    testing::paused(async {
        let lasted = async |more: &str| {
            let text = yaml(&step("a", &format!(", finalResponse: true, numRetries: 1{more}")));
            // Not even the transport's own timeout works.
            let (_, chains, transport, _) = chains(&text, |_| Script::stuck()).await;
            let error = chains.call("E", "1").await.unwrap_err().to_string();
            assert!(error.contains("no complete answer within"), "{error}");
            let made = transport.until(|made| made.iter().all(|one| one.ended.is_some())).await;
            made[0].ended.unwrap().since(made[0].at).as_secs()
        };
        assert_eq!(lasted("").await, 10);
        assert_eq!(lasted(", timeout: 3").await, 3);
        assert_eq!(lasted(", timeout: 0").await, 300, "the chain's own deadline");
    });
}

#[test]
fn one_deadline_lies_over_the_whole_chain() {
    testing::paused(async {
        let (transport, log) = services(|_| Script::status(200).after(Duration::from_secs(4)));
        let hooks = start(&transport, Hookmill::builder()).await;
        let steps_of = |count: usize| -> Vec<Value> {
            let step =
                |n: usize| json!({"name": format!("s{n}"), "url": "http://a.internal/", "final_response": n == 0});
            (0..count).map(step).collect()
        };
        let own = json!({"chains": {"E": {"deadline": "10s", "steps": steps_of(3)}}});
        let chains = Chains::from_config(&hooks, ChainConfig::parse(&own).unwrap()).await.unwrap().unwrap();
        let clock = Clock::anchored(testing::START);
        let before = clock.now().mono;
        let error = chains.call("E", "1").await.unwrap_err();
        assert_eq!(clock.now().mono.since(before).as_secs(), 10, "on the paused clock");
        assert!(error.to_string().contains("step s2") && error.to_string().contains("deadline"), "{error}");
        assert_eq!(log.lock().unwrap().last().unwrap().timeout, Duration::from_secs(2), "what was left");
    });
}

#[test]
fn there_are_doubles_of_the_manager_and_of_the_client() {
    testing::paused(async {
        let failed = ChainError::Step {
            event: "Bad".to_owned(),
            step: "a".to_owned(),
            attempts: 3,
            error: "answered 503".to_owned(),
            status: Some(503),
        };
        let script = ScriptedChains::new().answers("E", "{}").fails("Bad", failed.clone());
        let chains = script.on("Echo", |payload| Ok(Some(payload.clone())));
        let double = chains.clone();
        let chains = chains.chains();
        assert!(chains.is_event_configured("Echo") && !chains.is_event_configured("Other"));
        assert_eq!(chains.call("E", "1").await.unwrap().unwrap(), "{}");
        assert_eq!(chains.call("Echo", "[2]").await.unwrap().unwrap(), "[2]");
        assert_eq!(chains.call("Bad", "3").await, Err(failed));
        let invoked = double.invoked();
        let events: Vec<_> = invoked.iter().map(|call| (call.event.as_str(), call.payload.as_ref())).collect();
        assert_eq!(events, [("E", &b"1"[..]), ("Echo", b"[2]"), ("Bad", b"3")]);
    });
}
