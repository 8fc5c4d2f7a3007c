//! The death of an actor that the pipeline cannot do without.
//!
//! A Delivery that dies of a bug is started anew; the Hub, the Debouncer and the Dispatcher are not, for what one of them
//! had taken from its neighbour is known to it alone. What was accepted is in the store, and a new start goes on with it.

use actix::{Context, Handler, Message};
use std::{future::pending, sync::Arc};
use tokio::sync::watch;
use tracing::error;

use super::Hookmill;
use crate::{actor::OnDeath, debounce::Debouncer, dispatch::Dispatcher, hub::Hub};

/// The actor that died.
pub(crate) type Death = watch::Receiver<Option<&'static str>>;

pub(super) fn watch() -> (Death, OnDeath) {
    let (told, death) = watch::channel(None);
    let on_death = move |actor| {
        error!(event = "actor.panicked", actor, "the pipeline stands still; what was accepted waits for a new start");
        told.send_replace(Some(actor));
    };
    (death, Arc::new(on_death))
}

impl Hookmill {
    /// Waits until an actor of the pipeline has died of a bug, and tells which one; for ever when none does. From then on
    /// publishing answers [`PublishError::Closed`](crate::PublishError::Closed), and what was accepted waits in the store. A
    /// program does best to end, and to be started again.
    pub async fn died(&self) -> &'static str {
        let mut death = self.0.death.clone();
        let died = death.wait_for(Option::is_some).await.ok().and_then(|actor| *actor);
        match died {
            Some(actor) => actor,
            None => pending().await,
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        self.0.death.borrow().is_some()
    }
}

/// Panics, as of a bug: for tests of what comes after.
pub(crate) struct Die;

impl Message for Die {
    type Result = ();
}

macro_rules! mortal {
    ($($actor:ty),+) => {
        $(impl Handler<Die> for $actor {
            type Result = ();

            fn handle(&mut self, _: Die, _: &mut Context<Self>) {
                panic!("told to die");
            }
        })+
    };
}
mortal!(Hub, Debouncer, Dispatcher);

#[cfg(all(test, feature = "testing", feature = "sqlite"))]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Endpoint, Event, PublishError,
        testing::{Script, ScriptedTransport},
    };

    async fn start(dir: &std::path::Path, receiver: &ScriptedTransport) -> Hookmill {
        let endpoint = Endpoint::http("crm", "https://crm.example/").unsigned();
        let builder = Hookmill::builder().data_dir(dir).disk_reserve(0).endpoint(endpoint);
        builder.transport(receiver.factory()).start().await.unwrap()
    }

    #[test]
    fn a_pipeline_with_a_dead_actor_accepts_nothing_and_a_new_start_delivers_what_it_had() {
        for (name, kill) in [
            ("hub", (|hooks| hooks.0.hub.do_send(Die)) as fn(&Hookmill)),
            ("debouncer", |hooks| hooks.0.debouncer.do_send(Die)),
            ("dispatcher", |hooks| hooks.0.dispatcher.do_send(Die)),
        ] {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let dir = tempfile::tempdir().unwrap();
                let receiver = ScriptedTransport::new(|_| Script::status(200));
                let hooks = start(dir.path(), &receiver).await;
                // Whatever has been accepted by the time of the death.
                let mut accepted = 0;
                for _ in 0..20 {
                    hooks.publish(Event::new("a", &1).unwrap()).await.unwrap();
                    accepted += 1;
                }
                kill(&hooks);
                assert_eq!(hooks.died().await, name);
                assert!(hooks.unready().is_some_and(|reason| reason.contains("died")));
                let refused = hooks.publish(Event::new("a", &1).unwrap()).await.unwrap_err();
                assert!(matches!(refused, PublishError::Closed { .. }), "{refused}");
                let report = hooks.shutdown(Duration::from_secs(5)).await;
                assert_eq!(report.abandoned, 0);
                drop(hooks);
                let hooks = start(dir.path(), &receiver).await;
                let distinct = |made: &[crate::testing::Made]| {
                    made.iter().map(|one| one.seq).collect::<std::collections::BTreeSet<_>>().len()
                };
                receiver.until(|made| distinct(made) == accepted).await;
                let stats = hooks.stats().await.unwrap();
                assert!(stats.add_up() && stats.accepted == accepted as u64, "{name}: {stats:?}");
            });
        }
    }
}
