//! Subscribers of the Hub.

use actix::{Actor, Context, Handler};
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
