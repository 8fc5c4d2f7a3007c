//! What a batch is called.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use crate::event::{Accepted, Tenant};

/// The `webhook-id` of a batch: `batch_` and a hash over the ids of its events in their order, with whose they are and when
/// they were accepted. The same events give the same id, so that a receiver knows a batch that comes again; an event that has
/// an id again which was forgotten gives another one. Nothing can be guessed from it but what the endpoint's owner knows.
pub fn batch_id(events: &[Arc<Accepted>]) -> String {
    let mut hash = Sha256::new();
    for event in events {
        // No id and no tenant holds a line break: they are told apart.
        hash.update(event.id.as_str());
        hash.update("\n");
        hash.update(event.tenant.as_ref().map_or("", Tenant::as_str));
        hash.update("\n");
        hash.update(event.accepted_at.as_millis().to_be_bytes());
    }
    format!("batch_{}", BASE64_URL_SAFE_NO_PAD.encode(hash.finalize()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Timestamp, event::Event};

    fn event(seq: u64, id: &str, tenant: Option<&str>, accepted_at: i64) -> Arc<Accepted> {
        let event = Event::from_json("a", "1").id(id).validate(Timestamp::default()).unwrap();
        let mut event = Accepted::new(seq, Timestamp::from_millis(accepted_at), event);
        event.tenant = tenant.map(|tenant| tenant.parse().unwrap());
        Arc::new(event)
    }

    #[test]
    fn how_many_events_others_published_is_not_in_a_batchs_id() {
        let of = |seqs: [u64; 2]| batch_id(&[event(seqs[0], "a", Some("t"), 7), event(seqs[1], "b", Some("t"), 7)]);
        assert_eq!(of([1, 2]), of([3, 4000]));
    }

    #[test]
    fn another_event_that_has_the_id_gives_another_batch() {
        let one = batch_id(&[event(1, "a", None, 7)]);
        assert_eq!(one, batch_id(&[event(1, "a", None, 7)]));
        for other in [event(2, "a", None, 8), event(2, "a", Some("t"), 7), event(2, "b", None, 7)] {
            assert_ne!(one, batch_id(&[other]));
        }
        let (a, b) = (event(1, "a", None, 7), event(2, "b", None, 7));
        assert_ne!(batch_id(&[a.clone(), b.clone()]), batch_id(&[b, a]));
    }
}
