//! Batches: many events in one request.

use serde_json::{Value, json};

use super::{headers::header_name, limits};
use crate::{
    config::{
        duration,
        fields::{Field, Fields},
    },
    endpoint::{Settings, Signing, Target, format::Format, policy::Batch, queue::Ordered},
};

pub(super) fn batch(field: &Field<'_>) -> Option<Batch> {
    field.object(|fields| {
        let default = Batch::default();
        let max_items = fields.take("max_items").and_then(|field| field.whole(limits::BATCH_ITEMS));
        let max_bytes = fields.take("max_bytes").and_then(|field| field.whole(limits::BATCH_BYTES));
        let flush_interval = fields.take("flush_interval").and_then(|field| field.duration(limits::FLUSH_INTERVAL));
        let count_header = fields.take("count_header").and_then(|field| header_name(&field));
        Some(Batch {
            max_items: max_items.unwrap_or(default.max_items),
            max_bytes: max_bytes.unwrap_or(default.max_bytes),
            flush_interval: flush_interval.unwrap_or(default.flush_interval),
            count_header,
        })
    })
}

/// What batches cannot stand beside.
pub(super) fn check(fields: &mut Fields<'_>, settings: &Settings) {
    let (Some(batch), Some(field)) = (&settings.policy.batch, fields.take("batch")) else { return };
    if settings.format == Format::CloudEventsBinary {
        field.fault("cannot stand beside format \"cloudevents_binary\", which has one event to a request");
    }
    if settings.policy.ordered == Ordered::Key
        && settings.policy.in_flight > 1
        && let Some(ordered) = fields.take("ordered")
    {
        ordered.fault("cannot stand beside `batch` with more than 1 in flight: one batch at a time is in order");
    }
    let Some(count) = &batch.count_header else { return };
    match (&settings.target, &settings.signing) {
        (Target::File(_), _) => field.fault("has no use for `count_header` with `file`: nothing is requested"),
        (_, Signing::Hmac(hmac)) if hmac.header == *count => {
            field.fault("has its count in the header of the signature: name another `count_header`");
        }
        _ => {}
    }
}

pub(in crate::endpoint) fn print(batch: &Batch) -> Value {
    json!({
        "max_items": batch.max_items,
        "max_bytes": batch.max_bytes,
        "flush_interval": duration::print(batch.flush_interval),
        "count_header": batch.count_header,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::settings::{
        Origin,
        laws::{parse, places, with},
    };

    fn patched(settings: &Settings, patch: &Value) -> Settings {
        settings.patched(patch, Origin::Code, |_, _| Ok(())).unwrap()
    }

    #[test]
    fn a_batch_has_defaults_and_one_request_at_a_time() {
        let policy = with(json!({"batch": {}})).unwrap().policy;
        let expected =
            Batch { max_items: 100, max_bytes: 1 << 20, flush_interval: Duration::from_secs(5), count_header: None };
        assert_eq!((&policy.batch, policy.in_flight), (&Some(expected), 1));
        assert_eq!(with(json!({"batch": {}, "in_flight": 8})).unwrap().policy.in_flight, 8);
        assert_eq!(with(json!({"batch": null})).unwrap().policy.in_flight, 8);
    }

    #[test]
    fn a_patch_that_begins_or_ends_batches_moves_the_default_in_flight() {
        let batched = patched(&with(json!({})).unwrap(), &json!({"batch": {"max_items": 2}}));
        assert_eq!(batched.policy.in_flight, 1);
        assert_eq!(patched(&batched, &json!({"batch": {"max_bytes": 9}})).policy.batch.as_ref().unwrap().max_items, 2);
        assert_eq!(patched(&batched, &json!({"batch": null})).policy.in_flight, 8);
        let own = with(json!({"in_flight": 3})).unwrap();
        assert_eq!(patched(&own, &json!({"batch": {}})).policy.in_flight, 3);
        assert_eq!(patched(&own, &json!({"batch": {}, "in_flight": 4})).policy.in_flight, 4);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        let cases = [
            (json!({"max_items": 0, "max_bytes": 0}), vec!["#/batch/max_items", "#/batch/max_bytes"]),
            (json!({"max_items": 1001, "flush_interval": "2h"}), vec!["#/batch/max_items", "#/batch/flush_interval"]),
            (json!({"count_header": "Webhook-Count"}), vec!["#/batch/count_header"]),
            (json!({"count_header": "content-type"}), vec!["#/batch/count_header"]),
            (json!({"count_header": "a b", "size": 1}), vec!["#/batch/count_header", "#/batch/size"]),
            (json!([]), vec!["#/batch"]),
        ];
        for (batch, expected) in cases {
            assert_eq!(places(with(json!({"batch": batch}))), expected, "{batch}");
        }
        assert_eq!(places(with(json!({"batch": {}, "format": "cloudevents_binary"}))), ["#/batch"]);
        let keyed = |in_flight: u16| with(json!({"batch": {}, "ordered": "key", "in_flight": in_flight}));
        assert_eq!(places(keyed(2)), ["#/ordered"]);
        assert!(keyed(1).is_ok());
        let file = json!({"file": "/var/log/a", "batch": {"count_header": "x-n"}});
        assert_eq!(places(parse(&file)), ["#/batch"]);
        let signing = json!({"type": "hmac", "header": "X-N"});
        assert_eq!(places(with(json!({"batch": {"count_header": "x-n"}, "signing": signing}))), ["#/batch"]);
    }
}
