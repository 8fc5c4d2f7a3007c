//! Callers that go away at any moment.

use std::{collections::BTreeSet, future::poll_fn, task::Poll, time::Duration};

use futures_util::future::{FutureExt, LocalBoxFuture};
use serde_json::{Value, json};

use crate::{
    ChainConfig, Chains, Declared, Endpoint, Event, Hookmill, NewToken, Owner, SecretRotation,
    endpoint::{EndpointKey, State},
    pipeline::{EndpointReplay, ManageError, Only, REPLAY_RATE, Switch},
    store::{CancelFilter, DeadLetterFilter, DeadLetterSelection, EndpointRow, Scope, Totals},
    testing::{self, Script, ScriptedTransport, paused},
};

/// Turns that a caller waits for at most before it goes away.
const TURNS: usize = 60;

type Change = fn(&Hookmill) -> LocalBoxFuture<'_, ()>;

fn settings(topics: &str) -> Value {
    json!({"url": "https://example.org/", "topics": [topics], "retry": {"delays": []}, "breaker": {"failures": 100}})
}

fn id(id: &str) -> crate::EndpointId {
    id.parse().unwrap()
}

fn chain(steps: &[&str]) -> Value {
    let step = |name: &&str| json!({"name": name, "url": format!("https://{name}.example/"), "async": true});
    let answer = json!({"name": "answer", "url": "https://answer.example/", "final_response": true});
    json!({"steps": steps.iter().map(step).chain([answer]).collect::<Vec<_>>()})
}

async fn dead_letter(hooks: &Hookmill) -> crate::store::DeadLetterRow {
    let filter = DeadLetterFilter { limit: 10, ..DeadLetterFilter::default() };
    testing::store(hooks).dead_letters(filter).await.unwrap().pop().unwrap()
}

/// A Hookmill with one of each thing that can be changed.
async fn furnished(receiver: &ScriptedTransport) -> Hookmill {
    let builder = Hookmill::builder().transport(receiver.factory());
    let hooks = testing::start_here(builder).await.unwrap();
    hooks.create_endpoint(Some(id("old")), &settings("*")).await.unwrap();
    let mut mine = settings("*");
    mine["tenant"] = "acme".into();
    hooks.create_endpoint(Some(id("mine")), &mine).await.unwrap();
    let mut paused = settings("wait");
    paused["state"] = "paused".into();
    hooks.create_endpoint(Some(id("paused")), &paused).await.unwrap();
    hooks.put_rule("old".parse().unwrap(), &json!({"topics": ["x"], "window": "1m"})).await.unwrap();
    hooks.put_chain("Old".parse().unwrap(), &chain(&["a", "b"])).await.unwrap();
    let file = json!({"endpoints": [{"id": "filed", "url": "https://filed.example/", "topics": ["*"]}]});
    hooks.apply(Declared::parse(&file).unwrap()).await.unwrap();
    hooks.publish(Event::new("fail", &1).unwrap()).await.unwrap();
    hooks.publish(Event::new("wait", &1).unwrap()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    hooks
}

/// What works for the paused endpoint, and what has failed for others.
fn receiver() -> ScriptedTransport {
    ScriptedTransport::new(|attempt| {
        let failing = attempt.event().topic.as_str() == "fail" && attempt.event().seq == 1;
        Script::status(if failing && attempt.at == testing::START { 500 } else { 200 })
    })
}

fn does<'a, T: 'a>(work: impl Future<Output = Result<T, ManageError>> + 'a) -> LocalBoxFuture<'a, ()> {
    work.map(|done| drop(done.unwrap())).boxed_local()
}

fn new_token() -> NewToken {
    NewToken { scopes: [Scope::Read].into_iter().collect(), ..NewToken::default() }
}

fn changes() -> Vec<(&'static str, Change)> {
    vec![
        ("create", |hooks| does(async { hooks.create_endpoint(Some(id("new")), &settings("*")).await })),
        ("replace", |hooks| does(async { hooks.replace_endpoint(id("old"), &settings("other"), None).await })),
        ("make", |hooks| does(async { hooks.replace_endpoint(id("new"), &settings("*"), None).await })),
        ("patch", |hooks| does(async { hooks.patch_endpoint(&id("old"), &json!({"topics": ["other"]}), None).await })),
        ("disable", |hooks| does(async { hooks.switch_endpoint(&id("old"), Switch::Disable, None).await })),
        ("resume", |hooks| does(async { hooks.switch_endpoint(&id("paused"), Switch::Resume, None).await })),
        ("delete", |hooks| does(async { hooks.delete_endpoint(&id("old"), None).await })),
        ("delete what waits", |hooks| does(async { hooks.delete_endpoint(&id("paused"), None).await })),
        ("rotate", |hooks| does(async { hooks.rotate_secret(&id("old"), &SecretRotation::default(), None).await })),
        ("set", |hooks| does(hooks.set_endpoint(Endpoint::http("own", "https://own.example/")))),
        ("apply", |hooks| {
            let file = json!({
                "endpoints": [
                    {"id": "old", "url": "https://a.example/", "topics": ["other"]},
                    {"id": "b", "url": "https://b.example/", "topics": ["*"]},
                ],
                "debounce_rules": {"filed": {"topics": ["probe"], "window": "1m"}},
                "chains": {"Old": chain(&["e"]), "Filed": chain(&["f"])},
            });
            does(hooks.apply(Declared::parse(&file).unwrap()))
        }),
    ]
}

fn changes_of_others() -> Vec<(&'static str, Change)> {
    vec![
        ("put rule", |hooks| {
            does(async { hooks.put_rule("all".parse().unwrap(), &json!({"topics": ["probe"], "window": "1m"})).await })
        }),
        ("delete rule", |hooks| does(async { hooks.delete_rule(&"old".parse().unwrap()).await })),
        ("create token", |hooks| does(hooks.create_token(new_token()))),
        ("delete token", |hooks| {
            does(async {
                let (_, token) = hooks.create_token(new_token()).await?;
                hooks.delete_token(&token.id).await
            })
        }),
        ("put chain", |hooks| does(async { hooks.put_chain("New".parse().unwrap(), &chain(&["c", "d"])).await })),
        ("change chain", |hooks| does(async { hooks.put_chain("Old".parse().unwrap(), &chain(&["c"])).await })),
        ("delete chain", |hooks| does(async { hooks.delete_chain(&"Old".parse().unwrap()).await })),
        ("the program's chains", |hooks| {
            let config = json!({"chains": {"Old": chain(&["e"]), "Own": chain(&["f", "g"])}});
            does(Chains::from_config(hooks, ChainConfig::parse(&config).unwrap()))
        }),
        ("replay", |hooks| does(async { hooks.replay(dead_letter(hooks).await.id).await })),
        ("replay event", |hooks| {
            does(async {
                let event = dead_letter(hooks).await.event.unwrap();
                let event = testing::store(hooks).event(None, event).await?.unwrap();
                hooks.replay_event(&event, None).await
            })
        }),
        ("replay all", |hooks| does(hooks.replay_dead_letters(DeadLetterSelection::default(), REPLAY_RATE))),
        ("replay endpoint", |hooks| {
            let replay = EndpointReplay { only: Only::Failed, ..EndpointReplay::default() };
            does(async move { hooks.replay_endpoint(&id("old"), replay, REPLAY_RATE).await })
        }),
        ("cancel", |hooks| does(hooks.cancel_deliveries(CancelFilter::default(), false))),
    ]
}

#[cfg(feature = "api")]
fn changes_of_a_tenant() -> Vec<(&'static str, Change)> {
    fn acme() -> crate::Tenant {
        "acme".parse().unwrap()
    }
    fn mine() -> crate::EndpointId {
        id("mine")
    }
    vec![
        ("create for", |hooks| does(async { hooks.create_endpoint_for(&acme(), &settings("*")).await })),
        ("replace for", |hooks| {
            does(async { hooks.replace_endpoint_for(&acme(), &mine(), &settings("other"), None).await })
        }),
        ("patch for", |hooks| {
            does(async { hooks.patch_endpoint_for(&acme(), &mine(), &json!({"name": "x"}), None).await })
        }),
        ("rotate for", |hooks| {
            does(async { hooks.rotate_secret_for(&acme(), &mine(), &SecretRotation::default(), None).await })
        }),
        ("switch for", |hooks| {
            does(async { hooks.switch_endpoint_for(&acme(), &mine(), Switch::Disable, None).await })
        }),
        ("delete for", |hooks| does(async { hooks.delete_endpoint_for(&acme(), &mine(), None).await })),
        ("cancel for", |hooks| {
            does(async { hooks.cancel_deliveries_for(&acme(), CancelFilter::default(), false).await })
        }),
    ]
}

/// Waits so many turns for `work`, and goes away; tells whether it was done by then.
async fn gone_after(turns: usize, mut work: LocalBoxFuture<'_, ()>) -> bool {
    for _ in 0..turns {
        if poll_fn(|cx| Poll::Ready(work.poll_unpin(cx))).await.is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

fn as_rows(hooks: &Hookmill) -> Vec<(String, u64, Value)> {
    let row =
        |endpoint: &std::sync::Arc<Endpoint>| (endpoint.id.to_string(), endpoint.version, endpoint.settings.to_json());
    hooks.endpoints().iter().map(row).collect()
}

fn stored_rows(rows: &[EndpointRow]) -> Vec<(String, u64, Value)> {
    let row = |row: &EndpointRow| (row.id.to_string(), row.version, serde_json::from_str(&row.settings).unwrap());
    let mut rows: Vec<_> = rows.iter().map(row).collect();
    rows.sort_by(|one, other| one.0.cmp(&other.0));
    rows
}

/// What is stored is what is there, and what is there is where events go.
async fn expect_agreement(hooks: &Hookmill, receiver: &ScriptedTransport, what: &str) {
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let store = testing::store(hooks);
    let (loaded, rows) = (store.load().await.unwrap(), store.endpoints(EndpointKey(0), 1000).await.unwrap());
    assert_eq!(as_rows(hooks), stored_rows(&rows), "{what}");
    let rules: Vec<_> =
        hooks.rules().into_iter().map(|(name, rule)| (name.to_string(), rule.to_json().to_string())).collect();
    assert_eq!(rules, loaded.rules, "{what}");
    let chains = hooks.chain_list().into_iter().filter(|chain| chain.owner() == Owner::Api);
    let chains: Vec<_> = chains.map(|chain| (chain.name().to_string(), chain.plan().to_json().to_string())).collect();
    assert_eq!(chains, loaded.chains, "{what}");
    assert_eq!(hooks.tokens(), testing::store(hooks).tokens().await.unwrap(), "{what}");
    for chain in hooks.chain_list() {
        for step in chain.plan().endpoints() {
            let id = step.endpoint();
            assert!(hooks.endpoint(id).is_some() && hooks.endpoint_owner(id) == Owner::Chain, "{what}: {id}");
        }
    }
    assert_eq!(testing::store(hooks).running_jobs().await.unwrap(), [], "{what}");

    let event = Event::new("probe", &1).unwrap().validate(testing::START).unwrap();
    let event = crate::Accepted::new(u64::MAX, testing::START, event);
    let held = loaded.rules.iter().any(|(_, rule)| rule.contains("probe"));
    let wants = |endpoint: &std::sync::Arc<Endpoint>| {
        endpoint.settings.state == State::Active && endpoint.id.may_get(&event.topic) && endpoint.settings.wants(&event)
    };
    let wanted: BTreeSet<_> =
        hooks.endpoints().into_iter().filter(wants).map(|endpoint| endpoint.id.to_string()).collect();
    // Two, of which a rule lets one pass.
    let before = receiver.made().len();
    for _ in 0..2 {
        hooks.publish(Event::new("probe", &1).unwrap()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let made = receiver.made().split_off(before);
    let got: BTreeSet<_> = made.iter().map(|made| made.endpoint.to_string()).collect();
    assert_eq!(got, wanted, "{what}");
    assert_eq!(made.len(), wanted.len() * if held { 1 } else { 2 }, "{what}: {made:?}");
    let Totals { deliveries, .. } = hooks.stats().await.unwrap();
    let waiting = loaded.pending.iter().filter(|key| {
        hooks.endpoints().iter().any(|endpoint| endpoint.key == **key && endpoint.settings.state == State::Paused)
    });
    assert_eq!(deliveries.pending + deliveries.in_flight, u64::try_from(waiting.count()).unwrap(), "{what}");
}

#[test]
fn whenever_a_caller_goes_away_what_is_stored_is_what_is_in_force() {
    let mut all = changes();
    all.extend(changes_of_others());
    #[cfg(feature = "api")]
    all.extend(changes_of_a_tenant());
    let mut failed = BTreeSet::new();
    for (name, change) in all {
        let broken_off = |turns| {
            paused(async move {
                let receiver = receiver();
                let hooks = furnished(&receiver).await;
                let done = gone_after(turns, change(&hooks)).await;
                expect_agreement(&hooks, &receiver, &format!("{name}, left after {turns} turns")).await;
                done
            })
        };
        let tried = std::panic::catch_unwind(|| (0..TURNS).any(broken_off));
        match tried {
            Ok(done) => assert!(done, "{name} is done after {TURNS} turns"),
            Err(_) => drop(failed.insert(name)),
        }
    }
    assert_eq!(failed, BTreeSet::new());
}

#[test]
fn a_shutdown_waits_for_the_change_that_has_begun() {
    paused(async {
        let receiver = receiver();
        let hooks = testing::start_here(Hookmill::builder().transport(receiver.factory())).await.unwrap();
        let file = |count: usize| {
            let endpoint = |n| json!({"id": format!("e{n}"), "url": "https://example.org/"});
            Declared::parse(&json!({"endpoints": (0..count).map(endpoint).collect::<Vec<_>>()})).unwrap()
        };
        assert!(!gone_after(2, does(hooks.apply(file(500)))).await);
        hooks.shutdown(Duration::from_secs(5)).await;
        assert_eq!(hooks.endpoints().len(), 500);
        assert!(matches!(hooks.apply(file(501)).await, Err(ManageError::Store(crate::StoreError::Closed))));
    });
}
