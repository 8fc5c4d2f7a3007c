//! Who gets what.

use hookmill::testing::{Script, paused};

use super::*;

/// The seqs that each endpoint got, in order.
fn received(made: &[Made]) -> BTreeMap<String, Vec<u64>> {
    let mut received: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in made {
        received.entry(one.endpoint.to_string()).or_default().push(one.seq);
    }
    received.values_mut().for_each(|seqs| seqs.sort_unstable());
    received
}

#[test]
fn topics_and_tenants_route_as_documented() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let builder = Hookmill::builder()
            .endpoint(endpoint("all"))
            .endpoint(endpoint("below").topics(["user.*"]))
            .endpoint(endpoint("exact").topics(["user.created"]))
            .endpoint(endpoint("two").topics(["user.*", "user.created", "order"]))
            .endpoint(endpoint("acme").tenant("acme"))
            .endpoint(endpoint("acme-users").tenant("acme").topics(["user.*"]))
            .endpoint(endpoint("everybody").tenant("*"));
        let hooks = start(builder, &receiver).await;
        let topics = ["user.created", "user.created.twice", "user", "users.created", "order"];
        for topic in topics {
            hooks.publish(event(topic)).await.unwrap();
        }
        for topic in ["user.created", "order"] {
            hooks.publish(event(topic).tenant("acme")).await.unwrap();
        }
        hooks.publish(event("user.created").tenant("other")).await.unwrap();
        let totals = settled(&hooks).await;
        let expected = [
            ("all", vec![1, 2, 3, 4, 5]),
            ("below", vec![1, 2]),
            ("exact", vec![1]),
            ("two", vec![1, 2, 5]),
            ("acme", vec![6, 7]),
            ("acme-users", vec![6]),
            ("everybody", (1..=8).collect()),
        ];
        assert_eq!(received(&receiver.made()), expected.map(|(id, seqs)| (id.to_owned(), seqs)).into());
        assert_eq!((totals.routed, totals.deliveries.created), (8, 22));
    });
}

#[test]
fn an_event_for_nobody_is_counted() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_with(endpoint("crm").topics(["user.*"]), &receiver).await;
        hooks.publish(event("order")).await.unwrap();
        hooks.publish(event("user.created").tenant("acme")).await.unwrap();
        let totals = settled(&hooks).await;
        assert_eq!((totals.accepted, totals.unmatched, totals.deliveries.created), (2, 2, 0));
        assert!(receiver.made().is_empty());
    });
}

#[test]
fn an_event_published_again_is_delivered_once() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_with(endpoint("crm").tenant("*"), &receiver).await;
        let first = hooks.publish(event("a").id("one")).await.unwrap();
        let again = hooks.publish(event("a").id("one")).await.unwrap();
        assert_eq!((first.seq, first.duplicate, again.seq, again.duplicate), (1, false, 1, true));
        assert!(hooks.publish(event("b").id("one")).await.is_err());
        assert_eq!(hooks.publish(event("a").id("one").tenant("acme")).await.unwrap().seq, 2);
        assert_eq!(settled(&hooks).await.accepted, 2);
        assert_eq!(seqs(&receiver.made()), [1, 2]);
    });
}

#[test]
fn an_endpoint_made_while_running_gets_what_comes_after() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start(Hookmill::builder(), &receiver).await;
        publish(&hooks, 1).await;
        settled(&hooks).await;
        hooks.create_endpoint(Some(id("crm")), &json!({"url": "https://crm.example/"})).await.unwrap();
        publish(&hooks, 1).await;
        let totals = settled(&hooks).await;
        assert_eq!((totals.unmatched, totals.routed), (1, 1));
        assert_eq!(seqs(&receiver.made()), [2]);
    });
}

#[test]
fn a_filter_takes_a_part_of_a_topic() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let large =
            json!({"any": [{"pointer": "/data/amount", "min": 100}, {"pointer": "/data/kind", "only": ["refund"]}]});
        let small = json!({"not": large});
        let builder = Hookmill::builder()
            .endpoint(endpoint("large").filter(large))
            .endpoint(endpoint("small").topics(["order.*"]).filter(small))
            .endpoint(endpoint("users").topics(["user"]));
        let hooks = start(builder, &receiver).await;
        let order = |data| Event::from_json("order.paid", data);
        for data in [r#"{"amount": 1e2}"#, r#"{"amount": 99.5}"#, r#"{"amount": 5, "kind": "refund"}"#, "null"] {
            hooks.publish(order(data)).await.unwrap();
        }
        hooks.publish(Event::from_json("invoice", "1")).await.unwrap();
        let totals = settled(&hooks).await;
        let expected = [("large", vec![1, 3]), ("small", vec![2, 4])];
        assert_eq!(received(&receiver.made()), expected.map(|(id, seqs)| (id.to_owned(), seqs)).into());
        assert_eq!((totals.routed, totals.unmatched, totals.deliveries.created), (4, 1, 4));
    });
}

#[test]
fn a_filter_is_changed_while_events_flow() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start(Hookmill::builder(), &receiver).await;
        let filter =
            |kind: &str| json!({"url": "https://crm.example/", "filter": {"pointer": "/data", "only": [kind]}});
        hooks.create_endpoint(Some(id("crm")), &filter("a")).await.unwrap();
        for kind in ["a", "b"] {
            hooks.patch_endpoint(&id("crm"), &filter(kind), None).await.unwrap();
            for data in ["a", "b"] {
                hooks.publish(Event::new("x", data).unwrap()).await.unwrap();
            }
            // What was accepted before a change may be judged after it.
            settled(&hooks).await;
        }
        let totals = settled(&hooks).await;
        assert_eq!((seqs(&receiver.made()), totals.unmatched), (vec![1, 4], 2));
    });
}
