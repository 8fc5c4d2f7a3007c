//! What a batch is called.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::event::Accepted;

/// The `webhook-id` of a batch: `batch_` and a hash over the ids of its events in their order. The same events give the same
/// id, so that a receiver knows a batch that comes again.
pub fn batch_id(events: &[Arc<Accepted>]) -> String {
    let mut hash = Sha256::new();
    for event in events {
        // No id holds a line break: the ids are told apart.
        hash.update(event.id.as_str());
        hash.update("\n");
        hash.update(event.seq.to_be_bytes());
    }
    format!("batch_{}", BASE64_URL_SAFE_NO_PAD.encode(hash.finalize()))
}
