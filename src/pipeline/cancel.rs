//! Giving up pending deliveries.

use tracing::info;

use super::{Hookmill, ManageError};
use crate::{
    debounce, dispatch,
    error::StoreError,
    store::{CancelFilter, CancelStep, CancelledStep},
};

impl Hookmill {
    /// Drops every pending delivery that `filter` finds, with the reason `cancelled`, and tells how many those are; with
    /// `dry_run` it only counts. What is being attempted at that moment is counted too, and is delivered all the same if
    /// its receiver takes it. Once this returns, no attempt starts for what was cancelled. Every event accepted before the
    /// call is looked at; those that come meanwhile may be missed. The work is done in small steps: when one fails, those
    /// before it stay done.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn cancel_deliveries(&self, filter: CancelFilter, dry_run: bool) -> Result<u64, ManageError> {
        self.routed().await;
        let (mut step, mut matched) = (CancelStep { filter, dry_run, after: None }, 0);
        loop {
            let done = self.cancel_step(step.clone()).await?;
            matched += done.matched;
            step.after = done.next;
            if step.after.is_none() {
                break;
            }
        }
        if !dry_run && matched > 0 {
            info!(
                event = "delivery.dropped",
                reason = "cancelled",
                count = matched,
                "pending deliveries were cancelled"
            );
        }
        Ok(matched)
    }

    /// One step, of which Deliveries hear whoever still waits for it.
    async fn cancel_step(&self, step: CancelStep) -> Result<CancelledStep, StoreError> {
        self.see_through((), |hooks| async move {
            let dry_run = step.dry_run;
            let done = hooks.0.store.cancel(step).await?;
            if !dry_run && done.matched > 0 {
                let _gone = hooks.0.dispatcher.send(dispatch::Forget(done.endpoints.clone())).await;
                hooks.0.debouncer.do_send(debounce::LookAgain);
            }
            Ok(done)
        })
        .await
    }
}
