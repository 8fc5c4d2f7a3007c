//! What may wait, from and to JSON.

use serde_json::{Value, json};

use super::{limits, print::name_of};
use crate::{
    config::fields::Fields,
    endpoint::queue::{Ordered, QueuePolicy, WhenFull},
};

pub(super) const WHEN_FULL: [(&str, WhenFull); 3] =
    [("spill", WhenFull::Spill), ("drop_oldest", WhenFull::DropOldest), ("drop_newest", WhenFull::DropNewest)];
pub(super) const ORDERED: [(&str, Ordered); 2] = [("none", Ordered::None), ("key", Ordered::Key)];

pub(super) fn queue(fields: &mut Fields<'_>) -> Option<QueuePolicy> {
    let default = QueuePolicy::default();
    let max_items = fields.take("max_items").and_then(|field| field.whole(limits::QUEUE_ITEMS));
    let max_bytes = fields.take("max_bytes").and_then(|field| field.whole(limits::QUEUE_BYTES));
    let when_full = fields.take("when_full").and_then(|field| field.choice(&WHEN_FULL));
    Some(QueuePolicy {
        max_items: max_items.unwrap_or(default.max_items),
        max_bytes: max_bytes.unwrap_or(default.max_bytes),
        when_full: when_full.unwrap_or(default.when_full),
    })
}

pub(in crate::endpoint) fn print(queue: QueuePolicy) -> Value {
    let QueuePolicy { max_items, max_bytes, when_full } = queue;
    json!({"max_items": max_items, "max_bytes": max_bytes, "when_full": name_of(&when_full, &WHEN_FULL)})
}
