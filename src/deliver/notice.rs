//! What a Delivery tells those who watch it. They are leaves: nothing comes back from them, and none can hold it up.

use std::sync::Arc;

use super::machine::{Disabled, Ended};
use crate::{
    endpoint::Endpoint,
    store::{BreakerRecord, DropReason},
};

/// Something happened to an endpoint that people may want to know.
#[derive(Debug)]
pub struct Notice {
    /// To which, as it stood.
    pub endpoint: Arc<Endpoint>,
    /// What.
    pub news: News,
}

/// What happened.
#[derive(Debug)]
pub enum News {
    /// It is to be disabled.
    Disable(Disabled),
    /// Its breaker opened.
    Failing(BreakerRecord),
    /// Its breaker closed: because a probe succeeded, or because it has another receiver.
    Recovered {
        /// There is another receiver; whether that works is not known.
        reset: bool,
    },
    /// A delivery became a dead letter.
    DeadLettered(Box<Ended>),
    /// Its queue is full: deliveries were dropped. May be told for each; listeners hear of it once a minute.
    QueueFull {
        /// How many.
        dropped: u64,
        /// Why.
        reason: DropReason,
    },
}

/// Hears notices, on the threads of the Deliveries: it must return at once.
pub type Observer = Box<dyn Fn(Notice) + Send + Sync>;
