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

/// What the last step was sent: content type and body.
type Sent = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

#[test]
fn a_step_is_given_the_very_bytes_whatever_they_are() {
    testing::paused(async {
        let json = "application/json";
        for more in [", async: true", ""] {
            let steps = [step("a", ", finalResponse: true"), step("c", &format!("{more}, useDataFrom: a"))];
            for (answer, called, expected) in [
                (&b"<html>"[..], Some("text/html; charset=utf-8"), "text/html; charset=utf-8"),
                (b"\xff\x00", Some("image/png"), "image/png"),
                (b"\xff\x00", None, "application/octet-stream"),
                (b"{\"a\": 1e0}", Some("text/plain"), json),
                (b"{}", None, json),
                (b"", None, json),
            ] {
                let sent = Sent::default();
                let seen = Arc::clone(&sent);
                let (hooks, chains, ..) = chains(&yaml(&steps.join(", ")), move |attempt| {
                    if is(attempt, "c") {
                        let rendered = render_all(&attempt.events, &attempt.endpoint.settings).unwrap();
                        seen.lock().unwrap().push((rendered.content_type.into_owned(), rendered.body.to_vec()));
                    }
                    let script = Script::answers(200, answer);
                    called.map_or(script.clone(), |called| script.called(called))
                })
                .await;
                assert_eq!(chains.call("E", "1").await.unwrap().unwrap(), answer);
                settled(&hooks).await;
                assert_eq!(*sent.lock().unwrap(), [(expected.to_owned(), answer.to_vec())], "{more}");
            }
        }
    });
}

#[test]
fn an_asynchronous_step_is_given_no_more_than_an_event_may_hold() {
    testing::paused(async {
        let steps = json!({"chains": {"E": [
            {"name": "a", "url": "http://a.internal/", "final_response": true, "max_response_bytes": 2 << 20},
            {"name": "c", "url": "http://c.internal/", "async": true, "use_data_from": "a"}]}});
        let (transport, log) = services(|_| Script::answers(200, vec![b'<'; (1 << 20) + 1]));
        let hooks = start(&transport, Hookmill::builder()).await;
        let chains = Chains::from_config(&hooks, ChainConfig::parse(&steps).unwrap()).await.unwrap().unwrap();
        let result = chains.call("E", "1").await;
        assert!(matches!(result, Err(ChainError::Step { step, attempts: 0, .. }) if step == "c"));
        assert_eq!(log.lock().unwrap().len(), 1);
    });
}

#[test]
fn a_caller_who_goes_away_spares_the_attempts_and_the_waits_that_are_left() {
    testing::paused(async {
        let text = yaml(&step("a", ", finalResponse: true, numRetries: 9"));
        // While an attempt is made, and while the next is waited for.
        for gone_after in [50, 150] {
            let (hooks, chains, transport, _) =
                chains(&text, |_| Script::status(500).after(Duration::from_millis(100))).await;
            assert!(tokio::time::timeout(Duration::from_millis(gone_after), chains.call("E", "1")).await.is_err());
            tokio::time::sleep(Duration::from_secs(60)).await;
            let made = transport.made();
            assert!(made.len() == 1 && made[0].ended.is_some(), "the attempt is not cut: {made:?}");
            let counts = hooks.chain("E").unwrap().tally().invocations();
            assert_eq!((counts.abandoned, counts.failed, counts.in_progress), (1, 0, 0));
        }
    });
}

#[test]
fn what_all_invocations_may_hold_is_bounded_at_the_door() {
    testing::paused(async {
        let chain = |bytes: u32| {
            json!({"chains": {"E": [
            {"name": "a", "url": "http://a.internal/", "final_response": true, "max_response_bytes": bytes}]}})
        };
        let (transport, log) = services(|_| Script::status(200).after(Duration::from_secs(1)));
        let hooks = start(&transport, Hookmill::builder().chain_bytes(3000)).await;
        let chains = Chains::from_config(&hooks, ChainConfig::parse(&chain(1000)).unwrap()).await.unwrap().unwrap();
        let call = |payload: String| {
            let chains = chains.clone();
            tokio::task::spawn_local(async move { chains.call("E", payload).await })
        };
        let first = [call("1".to_owned()), call("2".to_owned())];
        transport.until(|made| made.len() == 2).await;
        let long = format!("\"{}\"", "x".repeat(1000));
        assert_eq!(call(long).await.unwrap(), Err(ChainError::Busy), "with its payload it is too much");
        let third = call("3".to_owned());
        assert_eq!(third.await.unwrap(), Err(ChainError::Busy), "two bytes too few are left");
        for one in first {
            assert!(one.await.unwrap().is_ok());
        }
        assert!(call("4".to_owned()).await.unwrap().is_ok(), "there is room again");
        assert_eq!(log.lock().unwrap().len(), 3, "no step was made of what was refused");
        let chains =
            Chains::from_config(&hooks, ChainConfig::parse(&chain(1_000_000)).unwrap()).await.unwrap().unwrap();
        assert!(chains.call("E", "1").await.is_ok(), "one that may hold more than all runs alone");
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

#[test]
fn a_step_whose_chain_is_gone_reaches_this_machine_no_more_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let start = async || Hookmill::builder().data_dir(dir.path()).start().await.unwrap();
        let guard = |hooks: &Hookmill| hooks.endpoint(&"chain.E.c".parse().unwrap()).unwrap().settings.guard;
        let hooks = start().await;
        Chains::from_config(&hooks, config(&usual())).await.unwrap();
        assert_eq!(guard(&hooks), Guard::Private, "the program's may");
        hooks.shutdown(Duration::from_secs(5)).await;
        drop(hooks);
        let hooks = start().await;
        assert_eq!(guard(&hooks), Guard::PrivateNoLoopback, "nobody's may not");
        Chains::from_config(&hooks, config(&usual())).await.unwrap();
        assert_eq!(guard(&hooks), Guard::Private, "the program's may again");
        hooks.shutdown(Duration::from_secs(5)).await;
    });
}

/// The ids of the stored endpoints, and the text of the stored chains.
async fn stored(hooks: &Hookmill) -> (Vec<String>, String) {
    let store = testing::store(hooks);
    let endpoints = store.endpoints(EndpointKey(0), 100).await.unwrap();
    let ids = endpoints.iter().map(|endpoint| endpoint.id.to_string());
    (ids.collect(), store.load().await.unwrap().chains.into_iter().map(|(_, chain)| chain).collect())
}

#[test]
fn a_change_whose_caller_goes_away_never_leaves_an_endpoint_whose_step_is_in_no_stored_chain() {
    let chain = |steps: &[&str]| -> Value {
        steps.iter().map(|name| json!({"name": name, "url": "https://a.example/", "async": true})).collect()
    };
    let deleted = |steps: &[&str]| steps.is_empty();
    for after in [&[][..], &["d"], &["d", "e"]] {
        testing::paused(async {
            let name = || "E".parse().unwrap();
            let mut done = false;
            // As often as it waits for something, its caller goes away there.
            for polls in 1..100 {
                let (transport, _) = services(|_| Script::hangs());
                let hooks = start(&transport, Hookmill::builder()).await;
                hooks.put_chain(name(), &chain(&["a", "b", "c", "d"])).await.unwrap();
                let new = chain(after);
                let mut change = Box::pin(async {
                    match deleted(after) {
                        true => hooks.delete_chain(&name()).await.unwrap(),
                        false => drop(hooks.put_chain(name(), &new).await.unwrap()),
                    }
                });
                for _ in 0..polls {
                    done = futures_util::FutureExt::now_or_never(&mut change).is_some();
                    if done {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                drop(change);
                let (ids, text) = stored(&hooks).await;
                let is_known =
                    |id: &&String| text.contains(&format!("\"name\":\"{}\"", id.rsplit('.').next().unwrap()));
                assert_eq!(ids.iter().find(|id| !is_known(id)), None, "after {polls} polls: {text}");
                // What has begun is made to its end, before any other change.
                let next = json!({"topics": ["a"], "window": "1s"});
                hooks.put_rule("next".parse().unwrap(), &next).await.unwrap();
                let expected: Vec<_> = after.iter().map(|step| format!("chain.E.{step}")).collect();
                assert_eq!(stored(&hooks).await.0, expected, "after {polls} polls");
                if done {
                    break;
                }
            }
            assert!(done);
        });
    }
}
