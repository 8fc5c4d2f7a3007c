//! A host's audit trail: entries in, one webhook out, and the dead letters between them.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use tracing::warn;

use super::{Hookmill, ManageError};
use crate::{
    endpoint::{Endpoint, EndpointId, Preset, State, Target},
    error::StoreError,
    event::{Accepted, Event, EventId, redact::redacted},
    store::{DeadLetterFilter, DeadLetterSelection},
};

/// The topic of audit entries.
const ENTRY: &str = "audit.entry";

/// Dead letters read at a time.
const PAGE: usize = 100;

/// An audit trail over one endpoint, which gets every event of the topic `audit.entry`. Clones are the same one.
///
/// ```
/// # async fn audited(hooks: hookmill::Hookmill) -> Result<(), hookmill::ManageError> {
/// use hookmill::Audit;
/// use serde_json::json;
///
/// let Ok(name) = "audit".parse() else { return Ok(()) };
/// let audit = Audit::new(hooks, name);
/// audit.set_webhook(Some("https://collector.example/audit")).await?;
/// audit.emit("user.login", Some(&json!({"user": "ada"})));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Audit {
    hooks: Hookmill,
    endpoint: EndpointId,
}

/// Where audit entries go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Webhook {
    /// Whether they are sent.
    pub enabled: bool,
    /// Where to; `None` when they are not sent.
    pub url: Option<String>,
}

/// Where audit entries go, and what became of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WebhookState {
    /// Where to.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// The receiver has them.
    pub delivered: u64,
    /// They failed for good.
    pub failed: u64,
    /// They were given up.
    pub dropped: u64,
    /// Dead letters that are kept.
    pub dlq_size: u64,
}

/// An audit entry that failed for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadEntry {
    /// The event's id.
    pub event_id: EventId,
    /// What was done.
    pub action: String,
    /// When, in whole seconds since the Unix epoch.
    pub timestamp: i64,
    /// The details, with sensitive values [redacted](crate::event::redact::redacted).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

impl Audit {
    /// The audit trail over the endpoint of this id, which need not be there before a webhook is set.
    pub fn new(hooks: Hookmill, endpoint: EndpointId) -> Self {
        Self { hooks, endpoint }
    }

    /// Sends entries to this address from now on, or to nobody. What waits goes to the new address; counters, dead letters
    /// and backoff stay. Switching off drops what waits, counted as `endpoint_disabled`. The first address makes the endpoint,
    /// with the settings of [`Preset::Audit`], which can be changed as those of any endpoint.
    ///
    /// # Errors
    /// As for [`Hookmill::create_endpoint`]; a bad address changes nothing.
    pub async fn set_webhook(&self, url: Option<&str>) -> Result<Webhook, ManageError> {
        let url = url.map(str::trim).filter(|url| !url.is_empty());
        let known = self.hooks.endpoint(&self.endpoint);
        let endpoint = match (url, known) {
            (None, None) => None,
            (None, Some(_)) => Some(self.patch(&json!({"state": "disabled"})).await?),
            (Some(url), Some(_)) => Some(self.patch(&json!({"url": url, "state": "active"})).await?),
            (Some(url), None) => Some(self.hooks.create_endpoint(Some(self.endpoint.clone()), &settings(url)).await?),
        };
        Ok(webhook(endpoint.as_deref()))
    }

    async fn patch(&self, patch: &Value) -> Result<Arc<Endpoint>, ManageError> {
        self.hooks.patch_endpoint(&self.endpoint, patch, None).await
    }

    /// Where entries go, and what became of them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn webhook(&self) -> Result<WebhookState, ManageError> {
        let Some(endpoint) = self.hooks.endpoint(&self.endpoint) else {
            return Ok(WebhookState { webhook: webhook(None), delivered: 0, failed: 0, dropped: 0, dlq_size: 0 });
        };
        let (totals, _) = self.hooks.0.store.endpoint_totals(endpoint.key).await?;
        Ok(WebhookState {
            webhook: webhook(Some(&endpoint)),
            delivered: totals.delivered,
            failed: totals.dead_lettered,
            dropped: totals.dropped.values().sum(),
            dlq_size: totals.dead_letters.kept,
        })
    }

    /// The dead letters that were not replayed, oldest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn dead_letters(&self) -> Result<Vec<DeadEntry>, StoreError> {
        let Some(endpoint) = self.hooks.endpoint(&self.endpoint) else { return Ok(Vec::new()) };
        let store = &self.hooks.0.store;
        let (mut entries, mut before) = (Vec::new(), None);
        loop {
            let selection = DeadLetterSelection { endpoint: Some(endpoint.key), ..DeadLetterSelection::default() };
            let page = store.dead_letters(DeadLetterFilter { selection, replayed: false, before, limit: PAGE }).await?;
            for row in &page {
                let event = store.dead_letter(row.id).await?.and_then(|(_, event)| event);
                entries.extend(event.map(|event| dead_entry(&event)));
            }
            before = page.last().map(|row| row.id);
            if page.len() < PAGE {
                entries.reverse();
                return Ok(entries);
            }
        }
    }

    /// Notes that something was done. Never waits and never fails, as [`Hookmill::emit`].
    pub fn emit(&self, action: &str, details: Option<&Value>) {
        let members = [("action", Some(action.into())), ("details", details.cloned())];
        let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        match Event::new(ENTRY, &members.collect::<Map<_, _>>()) {
            Ok(event) => self.hooks.emit(event),
            Err(error) => warn!(event = "intake.refused", %error, "audit entry was not emitted"),
        }
    }

    /// The Hookmill it is a part of.
    #[cfg(feature = "api")]
    pub(crate) fn hooks(&self) -> &Hookmill {
        &self.hooks
    }
}

fn settings(url: &str) -> Value {
    json!({"preset": Preset::Audit.as_str(), "url": url})
}

fn webhook(endpoint: Option<&Endpoint>) -> Webhook {
    let enabled = endpoint.filter(|endpoint| endpoint.settings.state != State::Disabled);
    let url = enabled.and_then(|endpoint| match &endpoint.settings.target {
        Target::Http(url) => Some(url.to_string()),
        Target::File(_) => None,
    });
    Webhook { enabled: enabled.is_some(), url }
}

fn dead_entry(event: &Accepted) -> DeadEntry {
    let data: Value = serde_json::from_slice(&event.data).unwrap_or_default();
    DeadEntry {
        event_id: event.id.clone(),
        action: data.get("action").and_then(Value::as_str).unwrap_or_default().to_owned(),
        timestamp: event.timestamp.as_seconds(),
        details: data.get("details").filter(|details| !details.is_null()).cloned().map(redacted),
    }
}
