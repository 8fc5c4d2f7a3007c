//! What a request carries, in each format.

mod batch;
pub(crate) mod carried;
mod cloudevents;
mod map;
mod plain;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;

use crate::{
    endpoint::{Settings, TenantScope, format::Format},
    event::{Accepted, pointer::View},
    transport::{Failure, FailureKind},
};

/// Longest body of one event, in bytes.
pub const MAX_BODY_BYTES: usize = 2 << 20;

const JSON: &str = "application/json";

/// One event as a request carries it; signatures are over `body`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// For `Content-Type`.
    pub content_type: Cow<'static, str>,
    /// Headers that belong to the format.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl Rendered {
    fn json(body: impl Into<Bytes>) -> Self {
        Self { content_type: JSON.into(), headers: Vec::new(), body: body.into() }
    }

    /// Bytes that it takes in memory, roughly.
    pub(super) fn weight(&self) -> usize {
        self.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() + self.body.len()
    }
}

/// Writes what one request carries: the event, or where the endpoint has batches an array of what [`render`] makes of each
/// event, in their order.
///
/// # Errors
/// As for [`render`], when one of the events cannot be written; the same when the body for several is longer than the
/// endpoint's batches may be, so that it goes out in two.
pub fn render_all(events: &[Arc<Accepted>], settings: &Settings) -> Result<Rendered, Failure> {
    match events {
        [event] if settings.policy.batch.is_none() => render(event, settings),
        _ => batch::render(events, settings),
    }
}

/// The seq counts the events of all tenants: what is sent to an endpoint of one does not hold it.
const fn is_told_seq(settings: &Settings) -> bool {
    !matches!(settings.tenant, TenantScope::Of(_))
}

/// Writes `event` in the format of `settings`. The same event and settings give the same bytes.
///
/// # Errors
/// [`FailureKind::Unrenderable`] when a map's body grows beyond [`MAX_BODY_BYTES`]; no other format can fail.
pub fn render(event: &Accepted, settings: &Settings) -> Result<Rendered, Failure> {
    match &settings.format {
        Format::Standard => Ok(Rendered::json(plain::standard(event))),
        Format::Raw => Ok(carried::unwrapped(event).unwrap_or_else(|| Rendered::json(event.data.clone()))),
        Format::Envelope => Ok(Rendered::json(plain::envelope(event, is_told_seq(settings)))),
        Format::CloudEvents => Ok(cloudevents::structured(event)),
        Format::CloudEventsBinary => Ok(cloudevents::binary(event)),
        Format::Map(part) => {
            let view = if is_told_seq(settings) { View::of(event) } else { View::without_seq(event) };
            let body = map::write(part, view, &settings.metadata);
            // Without the room it grew by: the body is held as long as the exchange goes on.
            body.map(|body| Rendered::json(body.into_boxed_str().into_boxed_bytes())).map_err(|map::TooLong| {
                let detail = format!("the endpoint's format makes more than {MAX_BODY_BYTES} bytes of this event");
                Failure::new(FailureKind::Unrenderable, detail)
            })
        }
    }
}
