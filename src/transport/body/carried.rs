//! Bytes that are no JSON, on their way from one step of a chain to another. An event's data is JSON everywhere: such bytes are
//! carried as a string in base64, with their media type in the metadata, and go out as they were. Only events of Hookmill's own
//! are read so, whose topics no publisher can take.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::IgnoredAny};

use super::{JSON, Rendered};
use crate::{
    error::Invalid,
    event::{Accepted, MAX_DATA_BYTES, ValidEvent, expect_data},
};

/// What stands for bytes that nobody has named.
const OCTETS: &str = "application/octet-stream";
/// How the bytes are written.
const BASE64: &str = "base64";

/// What the metadata say.
#[derive(Serialize, Deserialize)]
struct Note {
    content_type: String,
    /// `base64`; the data are the bytes themselves where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
}

/// An event to be stored that carries `body` to a step of a chain: as its data if it can be those, else with its media type.
///
/// # Errors
/// When it is longer than an event's data may be.
pub(crate) fn carrying(event: ValidEvent, body: &Bytes, content_type: Option<&str>) -> Result<ValidEvent, Invalid> {
    match expect_data(body) {
        Ok(()) => Ok(ValidEvent { data: body.clone(), ..event }),
        Err(invalid) if body.len() > MAX_DATA_BYTES => Err(invalid),
        Err(_) => {
            let data = format!("\"{}\"", BASE64_STANDARD.encode(body)).into();
            Ok(ValidEvent { data, metadata: noted(body, content_type, Some(BASE64)), ..event })
        }
    }
}

/// The same for one that is sent at once and never stored: its data are the very bytes.
pub(crate) fn passing(event: ValidEvent, body: Bytes, content_type: Option<&str>) -> ValidEvent {
    let metadata = if is_json(&body) { None } else { noted(&body, content_type, None) };
    ValidEvent { data: body, metadata, ..event }
}

fn noted(body: &Bytes, content_type: Option<&str>, encoding: Option<&str>) -> Option<Arc<str>> {
    let content_type = if is_json(body) { JSON } else { content_type.unwrap_or(OCTETS) }.to_owned();
    serde_json::to_string(&Note { content_type, encoding: encoding.map(str::to_owned) }).ok().map(Into::into)
}

/// What is sent as JSON, whatever it was called: also nothing at all.
fn is_json(body: &[u8]) -> bool {
    body.is_empty() || serde_json::from_slice::<IgnoredAny>(body).is_ok()
}

/// The request of an event that carries bytes so.
pub(super) fn unwrapped(event: &Accepted) -> Option<Rendered> {
    if !event.topic.is_of_chain() {
        return None;
    }
    let Note { content_type, encoding } = serde_json::from_str(event.metadata.as_deref()?).ok()?;
    let body = match encoding.as_deref() {
        None => event.data.clone(),
        Some(BASE64) => {
            let text: String = serde_json::from_slice(&event.data).ok()?;
            BASE64_STANDARD.decode(text).ok()?.into()
        }
        Some(_) => return None,
    };
    Some(Rendered { content_type: content_type.into(), headers: Vec::new(), body })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{clock::Timestamp, event::Event};

    fn event() -> ValidEvent {
        let event = Event::from_json("a", "null").validate(Timestamp::default()).unwrap();
        ValidEvent { topic: "hookmill.chain.e.s".parse().unwrap(), ..event }
    }

    fn sent(event: ValidEvent) -> (Bytes, String) {
        let accepted = Accepted::new(1, Timestamp::default(), event);
        let rendered = unwrapped(&accepted).unwrap_or_else(|| Rendered::json(accepted.data.clone()));
        (rendered.body, rendered.content_type.into_owned())
    }

    proptest! {
        #[test]
        fn the_very_bytes_arrive_under_their_name_and_what_is_stored_is_json(
            body in prop::collection::vec(any::<u8>(), 0..40),
            name in prop::option::of("[a-z]{1,5}/[a-z]{1,5}"),
        ) {
            let body = Bytes::from(body);
            let stored = carrying(event(), &body, name.as_deref()).unwrap();
            prop_assert!(expect_data(&stored.data).is_ok());
            let expected = if is_json(&body) { JSON } else { name.as_deref().unwrap_or(OCTETS) };
            for event in [stored, passing(event(), body.clone(), name.as_deref())] {
                let (arrived, name) = sent(event);
                prop_assert_eq!((arrived, name.as_str()), (body.clone(), expected));
            }
        }
    }

    #[test]
    fn json_is_stored_as_it_is_and_goes_out_as_json_whatever_it_was_called() {
        let json = Bytes::from_static(b"{\"a\": 1e0}");
        let stored = carrying(event(), &json, Some("text/plain")).unwrap();
        assert_eq!((&stored.data, &stored.metadata), (&json, &None));
        assert_eq!(sent(stored), (json.clone(), JSON.to_owned()));
        assert_eq!(sent(passing(event(), json.clone(), Some("text/plain"))), (json, JSON.to_owned()));
        assert_eq!(
            sent(carrying(event(), &Bytes::new(), Some("text/plain")).unwrap()),
            (Bytes::new(), JSON.to_owned())
        );
    }

    #[test]
    fn what_is_longer_than_an_events_data_is_refused() {
        let most = Bytes::from(vec![b'<'; MAX_DATA_BYTES]);
        assert_eq!(sent(carrying(event(), &most, None).unwrap()), (most, OCTETS.to_owned()));
        assert!(carrying(event(), &vec![b'<'; MAX_DATA_BYTES + 1].into(), None).is_err());
    }

    #[test]
    fn a_users_metadata_mean_nothing() {
        let note = r#"{"content_type": "text/html", "encoding": "base64"}"#;
        let event = ValidEvent { topic: "a".parse().unwrap(), metadata: Some(note.into()), ..event() };
        assert_eq!(sent(ValidEvent { data: "\"PGI+\"".into(), ..event }).0, "\"PGI+\"");
    }
}
