//! Many events in one body.

use std::sync::Arc;

use super::{JSON, Rendered};
use crate::{
    endpoint::{Settings, format::Format},
    event::Accepted,
    transport::{Failure, FailureKind},
};

/// The batched content mode of CloudEvents over HTTP.
const CLOUDEVENTS: &str = "application/cloudevents-batch+json";

/// A JSON array of what each event is on its own; of several events, no longer than the endpoint's batches may be.
pub(super) fn render(events: &[Arc<Accepted>], settings: &Settings) -> Result<Rendered, Failure> {
    let mut body = vec![b'['];
    let most = settings.policy.batch.as_ref().map_or(u64::MAX, |batch| batch.max_bytes);
    for (n, event) in events.iter().enumerate() {
        if n > 0 {
            body.push(b',');
        }
        body.extend_from_slice(&super::render(event, settings)?.body);
        // With the bracket that ends it.
        if events.len() > 1 && u64::try_from(body.len()).is_ok_and(|len| len >= most) {
            let detail = format!("the body for {} events is longer than max_bytes, {most}", events.len());
            return Err(Failure::new(FailureKind::Unrenderable, detail));
        }
    }
    body.push(b']');
    let content_type = if settings.format == Format::CloudEvents { CLOUDEVENTS } else { JSON };
    Ok(Rendered { content_type: content_type.into(), headers: Vec::new(), body: body.into_boxed_slice().into() })
}
