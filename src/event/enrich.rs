//! What a host's own code sees of an event at the door, and what it may add.

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{Event, MAX_METADATA_BYTES, ValidEvent};

impl Event {
    /// The topic it was given.
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The tenant it was given.
    pub fn tenant_name(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The ordering key it was given.
    pub fn key_name(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// Its data, JSON.
    pub fn data(&self) -> &Bytes {
        &self.data
    }
}

impl ValidEvent {
    /// Adds fields to the metadata, in the place of those that have the same names. Tells how many bytes that takes more;
    /// `None` when it would be too much, and nothing was added.
    pub(crate) fn enrich(&mut self, fields: Map<String, Value>) -> Option<usize> {
        let old = self.metadata.as_deref().unwrap_or("{}");
        let mut metadata: Map<String, Value> = serde_json::from_str(old).ok()?;
        metadata.extend(fields);
        let text = serde_json::to_string(&metadata).ok().filter(|text| text.len() <= MAX_METADATA_BYTES)?;
        let more = text.len().saturating_sub(old.len());
        self.metadata = (!metadata.is_empty()).then(|| text.into());
        Some(more)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn fields_are_added_or_none_of_them() {
        let event = Event::from_json("t", "1").metadata("a", 1).metadata("b", 2);
        let mut event = event.validate(Timestamp::default()).unwrap();
        let fields = |value: Value| value.as_object().unwrap().clone();
        assert_eq!(event.enrich(fields(json!({"b": 33, "c": 4}))), Some(7));
        assert_eq!(event.metadata.as_deref(), Some(r#"{"a":1,"b":33,"c":4}"#));
        assert_eq!(event.enrich(fields(json!({"d": "x".repeat(MAX_METADATA_BYTES)}))), None);
        assert_eq!(event.metadata.as_deref(), Some(r#"{"a":1,"b":33,"c":4}"#));
    }
}
