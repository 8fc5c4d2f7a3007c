//! The formats of Hookmill's own and of Standard Webhooks.

use bytes::Bytes;

use crate::event::{Accepted, pointer::quoted};

/// The body of [Standard Webhooks](https://www.standardwebhooks.com): `{"type":…,"timestamp":…,"data":…}`, the time as
/// RFC 3339 in UTC.
pub(super) fn standard(event: &Accepted) -> Bytes {
    // Topics are words and dots, and times digits and signs: neither needs escaping.
    let head = format!(r#"{{"type":"{}","timestamp":"{}","data":"#, event.topic, event.timestamp);
    with_data(&head, &event.data, "}")
}

/// Every field of the event; what it does not have is `null`, `metadata` then `{}`. `suppressed` is there when it is not 0, `seq` if
/// the endpoint `is_told` it.
pub(super) fn envelope(event: &Accepted, is_told: bool) -> Bytes {
    let Accepted { seq, accepted_at, id, topic, timestamp, data, .. } = event;
    let seq = if is_told { format!(r#""seq":{seq},"#) } else { String::new() };
    let text = |value: Option<&str>| value.map_or_else(|| "null".to_owned(), quoted);
    let tenant = text(event.tenant.as_ref().map(|tenant| tenant.as_str()));
    let (key, source) = (text(event.key.as_deref()), text(event.source.as_deref()));
    let head = format!(
        r#"{{"id":"{id}",{seq}"topic":"{topic}","tenant":{tenant},"key":{key},"source":{source},"timestamp":"{timestamp}","accepted_at":"{accepted_at}","data":"#
    );
    let metadata = event.metadata.as_deref().unwrap_or("{}");
    let tail = match event.suppressed {
        0 => format!(r#","metadata":{metadata}}}"#),
        count => format!(r#","metadata":{metadata},"suppressed":{count}}}"#),
    };
    with_data(&head, data, &tail)
}

/// `data` as it is, between two texts.
pub(super) fn with_data(head: &str, data: &[u8], tail: &str) -> Bytes {
    [head.as_bytes(), data, tail.as_bytes()].concat().into()
}
