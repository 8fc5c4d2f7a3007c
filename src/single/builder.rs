//! Describing a [`Single`] before it starts.

use std::{fmt, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use super::{ENDPOINT, Single, file::Kept};
use crate::{
    endpoint::{Endpoint, EndpointBuilder, Preset},
    pipeline::{Builder, Hookmill, StartError},
};

/// How long [`Single::close`] waits.
const DRAIN: Duration = Duration::from_secs(5);

/// Describes a Hookmill with one URL before it starts.
#[derive(Debug)]
#[must_use]
pub struct SingleBuilder(Plan);

/// What a [`Single`] is made from.
pub(super) struct Plan {
    url: String,
    pub(super) topics: Vec<String>,
    /// In this order.
    settings: Vec<Value>,
    pub(super) file: Option<PathBuf>,
    pub(super) node_id: Option<u32>,
    pub(super) drain: Duration,
    base: Box<dyn Fn() -> Builder + Send + Sync>,
}

impl SingleBuilder {
    pub(super) fn new(url: String) -> Self {
        Self(Plan {
            url,
            topics: Vec::new(),
            settings: Vec::new(),
            file: None,
            node_id: None,
            drain: DRAIN,
            base: Box::new(Hookmill::builder),
        })
    }

    /// Keeps URL and topics in this file from one start to the next: the URL in its first line, a topic in each further one.
    /// The file is replaced as a whole and readable by its owner alone (0600), a directory that is made for it too (0700).
    pub fn persist(mut self, file: impl Into<PathBuf>) -> Self {
        self.0.file = Some(file.into());
        self
    }

    /// Sends events of these topics alone: `a.*`, or exact ones. All of them unless set.
    pub fn topics<T: Into<String>>(mut self, topics: impl IntoIterator<Item = T>) -> Self {
        self.0.topics = topics.into_iter().map(Into::into).collect();
        self
    }

    /// Sends `header` with the lower-case hexadecimal HMAC-SHA256 of the body under `secret`.
    pub fn signed(self, header: impl Into<String>, secret: impl Into<String>) -> Self {
        let signing = json!({"type": "hmac", "header": header.into(), "secret": secret.into()});
        self.settings(json!({"signing": signing}))
    }

    /// Names this node: `node_id` of each body, 0 unless set.
    pub fn node_id(mut self, id: u32) -> Self {
        self.0.node_id = Some(id);
        self
    }

    /// Other settings than those of [`Preset::Daemon`], written as in the API's JSON.
    pub fn settings(mut self, settings: Value) -> Self {
        self.0.settings.push(settings);
        self
    }

    /// How long [`Single::close`] waits for what is left, 5 s unless set.
    pub fn drain(mut self, deadline: Duration) -> Self {
        self.0.drain = deadline;
        self
    }

    /// What it runs on: `make` says where events are kept (in memory unless it says otherwise) and how they are sent.
    pub fn on(mut self, make: impl Fn() -> Builder + Send + Sync + 'static) -> Self {
        self.0.base = Box::new(make);
        self
    }

    /// A handle that has not started: for hosts that start their services in order, see
    /// [`Lifecycle`](crate::lifecycle::Lifecycle).
    pub fn build(self) -> Single {
        Single::new(self.0)
    }

    /// Starts.
    ///
    /// # Errors
    /// As for [`Single::start`].
    pub async fn start(self) -> Result<Single, StartError> {
        let single = self.build();
        single.start().await?;
        Ok(single)
    }
}

impl Plan {
    /// The URL that was given.
    pub(super) fn url(&self) -> Option<String> {
        Some(self.url.trim().to_owned()).filter(|url| !url.is_empty())
    }

    pub(super) fn builder(&self, target: &Kept) -> Builder {
        (self.base)().endpoint(self.endpoint(target))
    }

    pub(super) fn endpoint(&self, target: &Kept) -> EndpointBuilder {
        let endpoint = Endpoint::http(ENDPOINT, &target.url).preset(Preset::Daemon);
        let endpoint = if target.topics.is_empty() { endpoint } else { endpoint.topics(target.topics.clone()) };
        let endpoint = endpoint.settings(json!({"state": "active"}));
        self.settings.iter().cloned().fold(endpoint, EndpointBuilder::settings)
    }
}

/// Settings may hold secrets.
impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("topics", &self.topics).field("file", &self.file).finish_non_exhaustive()
    }
}
