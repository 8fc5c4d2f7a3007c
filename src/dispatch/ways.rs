//! Where judged events go.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    endpoint::EndpointKey,
    event::Accepted,
    store::{DeliveryId, Disposition, Target},
};

/// Where judged events go.
#[derive(Default)]
pub(super) struct Ways {
    /// To Deliveries that take them as they come.
    pub(super) pushes: BTreeMap<EndpointKey, Vec<Arc<Accepted>>>,
    /// To Deliveries that have seen later ones, and read these from the store.
    pub(super) late: Vec<DeliveryId>,
    /// Nowhere: every delivery was dropped at once, but for those that are suppressed.
    pub(super) failed: Vec<DeliveryId>,
}

impl Ways {
    pub(super) fn add(&mut self, event: &Arc<Accepted>, targets: &[Target], late: bool) {
        let id = |endpoint| DeliveryId { seq: event.seq, endpoint, run: 0 };
        let waits = |target: &Target| matches!(target.disposition, Disposition::Deliver | Disposition::Hold);
        let dropped = targets.iter().find(|target| matches!(target.disposition, Disposition::Drop(_)));
        self.failed.extend(dropped.filter(|_| !targets.iter().any(waits)).map(|target| id(target.endpoint)));
        for target in targets.iter().filter(|target| target.disposition == Disposition::Deliver) {
            if late {
                self.late.push(id(target.endpoint));
            } else {
                self.pushes.entry(target.endpoint).or_default().push(carrying(event, target.suppressed));
            }
        }
    }
}

/// The event as one endpoint gets it: with the count of what that one did not get, too.
fn carrying(event: &Arc<Accepted>, suppressed: u64) -> Arc<Accepted> {
    let mut event = Arc::clone(event);
    if suppressed > 0 {
        Arc::make_mut(&mut event).suppressed += suppressed;
    }
    event
}
