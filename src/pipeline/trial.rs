//! Test deliveries: does the receiver really answer?

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::json;

use super::{Hookmill, ManageError};
use crate::{
    deliver::outcome::Outcome,
    dispatch::{self, NoTrial},
    endpoint::{Endpoint, EndpointId, TenantScope},
    error::{Invalid, StoreError},
    event::{Accepted, Event, Topic, new_id},
    transport::Answer,
};

/// The topic of a test delivery that names none. Nobody can publish it.
const TOPIC: &str = "hookmill.test";

/// What to deliver as a test.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// The topic; `hookmill.test` unless given.
    pub topic: Option<String>,
    /// The data, JSON; a few words unless given.
    pub data: Option<Bytes>,
}

/// What came of a test delivery.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Tested {
    /// Whether the endpoint takes this answer for a success.
    pub delivered: bool,
    /// What the receiver answered, or what broke.
    pub answer: Answer,
    /// How long it took.
    pub duration: Duration,
}

impl Hookmill {
    /// Delivers a made-up event to an endpoint, once and now, and tells what the receiver answered. Its id begins with
    /// `test_`. Body, signature, guard and transport are those of a live delivery; queue, debouncing, filter, breaker, rate
    /// and the endpoint's state are passed by, and it is in no sum. It ends after 30 s at the latest, whatever the endpoint's
    /// `timeout`, and 5 s more where memory for its body was waited for, and when nobody waits for it any more. At most 16 are made at once, 2 of them to one endpoint, 4 to one
    /// tenant's, 12 to tenants'.
    ///
    /// # Errors
    /// When there is no such endpoint, the event breaks a rule, too many tests are being made, or this Hookmill is shutting
    /// down.
    pub async fn test_endpoint(&self, id: &EndpointId, trial: Trial) -> Result<Tested, ManageError> {
        let not_found = || ManageError::NotFound(format!("endpoint {id}"));
        let endpoint = self.endpoint(id).ok_or_else(not_found)?;
        let event = Arc::new(self.made_up(&endpoint, trial)?);
        let started = self.0.clock.now().mono;
        let asked = self.0.dispatcher.send(dispatch::Trial { endpoint: endpoint.key, event }).await;
        let asked = asked.unwrap_or(Err(NoTrial::Closing)).map_err(|refused| match refused {
            NoTrial::Unknown => not_found(),
            NoTrial::Busy => ManageError::Busy("too many test deliveries are being made, try again in 1 s".to_owned()),
            NoTrial::Quota => {
                let detail =
                    "too many test deliveries to this endpoint or its tenant's are being made, try again in 1 s";
                ManageError::Quota(detail.to_owned())
            }
            NoTrial::Closing => StoreError::Closed.into(),
        })?;
        let answer = asked.await.map_err(|_| StoreError::Closed)?;
        let duration = self.0.clock.now().mono.since(started);
        let delivered = Outcome::of(&answer, endpoint.settings.policy.success) == Outcome::Success;
        Ok(Tested { delivered, answer, duration })
    }

    fn made_up(&self, endpoint: &Endpoint, Trial { topic, data }: Trial) -> Result<Accepted, Invalid> {
        let now = self.0.clock.now().wall;
        let data = data.unwrap_or_else(|| json!({"message": "a test delivery of Hookmill"}).to_string().into());
        let ours = topic.as_deref().is_none_or(|topic| topic == TOPIC);
        // Only here may the topic be one of our own: the rules are held against another.
        let topic = topic.filter(|_| !ours).unwrap_or_else(|| "test".to_owned());
        let mut event = Event::from_json(topic, data).id(new_id("test", now));
        if let TenantScope::Of(tenant) = &endpoint.settings.tenant {
            event = event.tenant(tenant);
        }
        let mut accepted = Accepted::new(0, now, event.validate(now)?);
        if ours {
            accepted.topic = TOPIC.parse::<Topic>().map_err(|error| Invalid::at("#/topic", error.to_string()))?;
        }
        Ok(accepted)
    }
}
