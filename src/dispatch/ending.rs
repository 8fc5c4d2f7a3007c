//! The end: what is in flight is waited for, or cut off.

use actix::{Addr, Context, Handler, Message, ResponseFuture};
use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::Dispatcher;
use crate::deliver::{self, Delivery};

/// Starts no attempt any more; answers when none is in flight. See [`deliver::Drain`].
pub struct Drain {
    /// Whether what waits is to be delivered first.
    pub empty: bool,
}
/// Ends every attempt at once. Answers how many that were.
pub struct Cancel;

impl Message for Drain {
    type Result = ();
}
impl Message for Cancel {
    type Result = usize;
}

impl Handler<Drain> for Dispatcher {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, Drain { empty }: Drain, ctx: &mut Context<Self>) -> Self::Result {
        if empty {
            // One that has died a moment ago is not to be missing now.
            self.start_stored(ctx);
        }
        self.closing = true;
        let drain = |delivery: Addr<Delivery>| {
            let (done, drained) = oneshot::channel();
            delivery.do_send(deliver::Drain { empty, done });
            drained
        };
        let drained = join_all(self.running().into_iter().map(drain));
        let trials = self.trials.ended();
        Box::pin(async move {
            drop(drained.await);
            trials.await;
        })
    }
}

impl Handler<Cancel> for Dispatcher {
    type Result = ResponseFuture<usize>;

    fn handle(&mut self, _: Cancel, _: &mut Context<Self>) -> Self::Result {
        self.closing = true;
        let cut = join_all(self.running().iter().map(|delivery| delivery.send(deliver::Cancel)));
        self.trials.cut();
        let trials = self.trials.ended();
        Box::pin(async move {
            let cut = cut.await.into_iter().map(Result::unwrap_or_default).sum();
            trials.await;
            cut
        })
    }
}
