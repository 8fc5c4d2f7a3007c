//! Giving up pending deliveries.

use tracing::info;

use super::{Hookmill, ManageError};
use crate::{
    debounce, dispatch,
    store::{CancelFilter, CancelStep},
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
            let done = self.0.store.cancel(step.clone()).await?;
            matched += done.matched;
            if !dry_run && done.matched > 0 {
                let _gone = self.0.dispatcher.send(dispatch::Forget(done.endpoints)).await;
            }
            step.after = done.next;
            if step.after.is_none() {
                break;
            }
        }
        if !dry_run && matched > 0 {
            self.0.debouncer.do_send(debounce::LookAgain);
            info!(
                event = "delivery.dropped",
                reason = "cancelled",
                count = matched,
                "pending deliveries were cancelled"
            );
        }
        Ok(matched)
    }
}
