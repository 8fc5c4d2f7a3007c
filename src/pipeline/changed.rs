//! What a change found, and what it made of it.

use std::sync::Arc;

use crate::endpoint::Endpoint;

/// An endpoint before and after a change, with nobody else's change between the two.
pub(crate) struct Changed {
    /// `None` when it was made by the change.
    pub(crate) old: Option<Arc<Endpoint>>,
    pub(crate) new: Arc<Endpoint>,
}
