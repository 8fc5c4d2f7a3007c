//! Subscribers of the Hub.

use actix::{Actor, Context, Handler};
use futures_util::{FutureExt, StreamExt};
use hookmill::{
    hub::Published,
    testing::{Script, paused},
};
use tokio::sync::mpsc;

use super::*;

/// Passes on the seqs of what it is told.
struct Watcher(mpsc::UnboundedSender<u64>);

impl Actor for Watcher {
    type Context = Context<Self>;
}

impl Handler<Published> for Watcher {
    type Result = ();

    fn handle(&mut self, Published(event): Published, _: &mut Self::Context) {
        self.0.send(event.seq).unwrap();
    }
}

#[test]
fn a_subscriber_is_told_of_its_topics_in_order_and_holds_nothing_up() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        let (told, mut seqs) = mpsc::unbounded_channel();
        let watcher = Watcher(told).start();
        hooks.subscribe("user.*", watcher.clone().recipient()).unwrap();
        assert!(hooks.subscribe("user*", watcher.recipient()).is_err());
        for topic in ["user.a", "order", "user.b"] {
            hooks.publish(event(topic)).await.unwrap();
            settled(&hooks).await;
        }
        assert_eq!((seqs.recv().await, seqs.recv().await, seqs.try_recv().ok()), (Some(1), Some(3), None));
        // More at once than its mailbox holds: it misses some, the endpoint none.
        (0..1000).for_each(|_| hooks.emit(event("user.a")));
        assert_eq!(settled(&hooks).await.deliveries.delivered, 1003);
    });
}

#[test]
fn a_stream_has_what_is_accepted_in_order_and_ends_with_it() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        assert!(hooks.stream("user*").is_err());
        let mut users = hooks.stream("user.*").unwrap();
        for topic in ["user.a", "order", "user.b"] {
            hooks.publish(event(topic)).await.unwrap();
        }
        let mut next = async || users.next().await.map(|Published(event)| event.seq);
        assert_eq!((next().await, next().await), (Some(1), Some(3)));
        hooks.shutdown(seconds(1)).await;
        drop(hooks);
        assert_eq!((next().await, users.missed()), (None, 0));
    });
}

#[test]
fn a_slow_reader_of_a_stream_is_told_how_much_passed_it_by_and_holds_nothing_up() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(200));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        let mut stream = hooks.stream_buffered("*", 10).unwrap();
        publish(&hooks, 25).await;
        assert_eq!(settled(&hooks).await.deliveries.delivered, 25);
        let read: Vec<_> = std::iter::from_fn(|| stream.next().now_or_never().flatten()).collect();
        assert_eq!(read.iter().map(|Published(event)| event.seq).collect::<Vec<_>>(), (1..=10).collect::<Vec<_>>());
        assert_eq!(stream.missed(), 15);
        publish(&hooks, 1).await;
        assert_eq!(stream.next().await.map(|Published(event)| event.seq), Some(26));
    });
}

#[test]
fn a_stream_hears_of_operational_events_that_it_names() {
    paused(async {
        let receiver = ScriptedTransport::new(|_| Script::status(410));
        let hooks = start_with(endpoint("crm"), &receiver).await;
        let mut stream = hooks.stream("hookmill.*").unwrap();
        publish(&hooks, 1).await;
        let mut topics = Vec::new();
        while topics.len() < 2 {
            topics.extend(stream.next().await.map(|Published(event)| event.topic.to_string()));
        }
        topics.sort();
        assert_eq!(topics, ["hookmill.delivery.dead_lettered", "hookmill.endpoint.disabled"]);
    });
}
