//! Callers that go, asynchronous steps that stay, and configurations that change.

use super::*;

#[test]
fn when_the_caller_goes_away_it_ends_with_the_step() {
    testing::paused(async {
        let (hooks, chains, transport, log) =
            chains(&usual(), |_| Script::status(200).after(Duration::from_secs(1))).await;
        let call = tokio::time::timeout(Duration::from_millis(500), chains.call("E", "1"));
        assert!(call.await.is_err());
        transport.until(|made| made.iter().any(|one| one.ended.is_some())).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(steps(&log), ["a"], "the attempt ends, nothing comes after");
        let counts = hooks.chain("E").unwrap().tally().invocations();
        assert_eq!((counts.abandoned, counts.in_progress, counts.finished), (1, 0, 0));
        assert_eq!(hooks.stats().await.unwrap().accepted, 0);
    });
}

#[test]
fn asynchronous_steps_outlive_the_caller() {
    testing::paused(async {
        let (hooks, chains, _, log) = chains(&usual(), |attempt| match is(attempt, "c") {
            true => Script::status(200).after(Duration::from_secs(5)),
            false => Script::status(200),
        })
        .await;
        chains.call("E", "{\"n\": 1}").await.unwrap();
        drop(chains);
        let totals = settled(&hooks).await;
        assert_eq!((totals.accepted, totals.deliveries.delivered), (1, 1));
        assert_eq!(log.lock().unwrap().last().unwrap().body, "{\"n\": 1}");
    });
}

#[test]
fn an_asynchronous_step_is_an_endpoint_of_its_own_that_is_retried_and_dead_lettered() {
    testing::paused(async {
        let (transport, log) = services(|attempt| match is(attempt, "c") {
            true => Script::status(500),
            false => Script::status(200),
        });
        // None of these is asked: what is for a step is for nobody else.
        let others = ["*", "hookmill.*", "hookmill.chain.E.c"];
        let other = |(n, topic): (usize, &&str)| {
            Endpoint::http(format!("other{n}"), "https://other.example/").topics([*topic]).tenant("*")
        };
        let builder = others.iter().enumerate().map(other).fold(Hookmill::builder(), Builder::endpoint);
        let hooks = start(&transport, builder).await;
        let chains = Chains::from_config(&hooks, config(&usual())).await.unwrap().unwrap();
        chains.call("E", "1").await.unwrap();
        let totals = settled(&hooks).await;
        assert_eq!((totals.deliveries.created, totals.deliveries.dead_lettered), (1, 1));
        assert_eq!(steps(&log), ["a", "b", "c", "c", "c"]);
        let endpoint = hooks.endpoint(&"chain.E.c".parse().unwrap()).unwrap();
        assert_eq!(hooks.endpoint_owner(&endpoint.id), Owner::Chain);
        let filter = DeadLetterFilter { limit: 10, ..DeadLetterFilter::default() };
        let letters = testing::store(&hooks).dead_letters(filter).await.unwrap();
        hooks.replay(letters[0].id).await.unwrap();
        assert_eq!(settled(&hooks).await.deliveries.dead_lettered, 2);
        assert!(hooks.publish(hookmill::Event::from_json("hookmill.chain.E.c", "1")).await.is_err());
    });
}

#[test]
fn what_an_asynchronous_step_is_given_must_be_json_and_nothing_is_null() {
    testing::paused(async {
        let text = yaml(&[step("a", ", finalResponse: true"), step("c", ", async: true, useDataFrom: a")].join(", "));
        for (answer, given) in [("", Some("null")), ("{}", Some("{}")), ("<html>", None)] {
            let (hooks, chains, _, log) = chains(&text, move |_| Script::answers(200, answer)).await;
            let result = chains.call("E", "1").await;
            settled(&hooks).await;
            match given {
                Some(given) => assert_eq!(log.lock().unwrap()[1].body, given),
                None => {
                    assert!(matches!(result, Err(ChainError::Step { step, attempts: 0, .. }) if step == "c"));
                    assert_eq!(log.lock().unwrap().len(), 1);
                }
            }
        }
    });
}

#[test]
fn asynchronous_steps_are_drained_at_shutdown_and_running_chains_end() {
    testing::paused(async {
        let (hooks, chains, transport, _) = chains(&usual(), |attempt| match is(attempt, "c") || is(attempt, "b") {
            true => Script::status(200).after(Duration::from_secs(2)),
            false => Script::status(200),
        })
        .await;
        chains.call("E", "1").await.unwrap();
        let other = {
            let chains = chains.clone();
            tokio::task::spawn_local(async move { chains.call("E", "2").await })
        };
        transport.until(|made| made.len() >= 5).await;
        let report = hooks.shutdown(Duration::from_secs(5)).await;
        assert_eq!((report.delivered, report.abandoned), (1, 0));
        assert_eq!(other.await.unwrap(), Err(ChainError::Closed), "nothing more can be started");
        assert_eq!(chains.call("E", "1").await, Err(ChainError::Closed));
    });
}

#[test]
fn a_new_configuration_takes_the_place_of_the_old_and_what_was_started_is_delivered() {
    testing::paused(async {
        let (hooks, chains, _, log) = chains(&usual(), |attempt| match is(attempt, "c") {
            true => Script::status(200).after(Duration::from_secs(5)),
            false => Script::status(200),
        })
        .await;
        chains.call("E", "1").await.unwrap();
        let other = usual().replace("    E:", "    F:");
        let chains = Chains::from_config(&hooks, config(&other)).await.unwrap().unwrap();
        assert!(!chains.is_event_configured("E") && chains.is_event_configured("F"));
        chains.call("F", "2").await.unwrap();
        assert_eq!(settled(&hooks).await.deliveries.delivered, 2);
        assert_eq!(steps(&log).iter().filter(|step| *step == "c").count(), 2);
        // Its endpoint is left to the callers of the API.
        let left = "chain.E.c".parse().unwrap();
        assert_eq!(hooks.endpoint_owner(&left), Owner::Api);
        hooks.delete_endpoint(&left, None).await.unwrap();
        assert!(hooks.delete_endpoint(&"chain.F.c".parse().unwrap(), None).await.is_err());
    });
}

#[test]
fn removing_a_chain_drops_what_its_steps_still_have_to_deliver() {
    testing::paused(async {
        let (transport, _) = services(|_| Script::hangs());
        let hooks = start(&transport, Hookmill::builder()).await;
        let (name, step) =
            ("E".parse().unwrap(), |name| json!({"name": name, "url": "https://a.example/", "async": true}));
        hooks.put_chain(name, &json!([step("c"), step("d")])).await.unwrap();
        hooks.chains().call("E", "1").await.unwrap();
        transport.until(|made| made.len() == 2).await;
        hooks.put_chain("E".parse().unwrap(), &json!([step("c")])).await.unwrap();
        assert!(hooks.endpoint(&"chain.E.d".parse().unwrap()).is_none());
        hooks.delete_chain(&"E".parse().unwrap()).await.unwrap();
        assert!(hooks.endpoints().is_empty() && !hooks.chains().is_event_configured("E"));
        let totals = settled(&hooks).await;
        assert_eq!(totals.deliveries.dropped.values().sum::<u64>(), 2, "{totals:?}");
    });
}
