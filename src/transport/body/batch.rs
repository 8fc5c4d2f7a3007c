//! Many events in one body.

use std::sync::Arc;

use super::{JSON, Rendered};
use crate::{
    endpoint::{Settings, format::Format},
    event::Accepted,
    transport::Failure,
};

/// The batched content mode of CloudEvents over HTTP.
const CLOUDEVENTS: &str = "application/cloudevents-batch+json";

/// A JSON array of what each event is on its own.
pub(super) fn render(events: &[Arc<Accepted>], settings: &Settings) -> Result<Rendered, Failure> {
    let mut body = vec![b'['];
    for (n, event) in events.iter().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&super::render(event, settings)?.body);
    }
    body.push(b']');
    let content_type = if settings.format == Format::CloudEvents { CLOUDEVENTS } else { JSON };
    Ok(Rendered { content_type: content_type.into(), headers: Vec::new(), body: body.into() })
}
