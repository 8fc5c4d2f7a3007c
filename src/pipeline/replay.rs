//! Delivering again: one event, or all that an endpoint failed to get, missed, or had in some time.

use std::sync::Arc;

use super::{Hookmill, ManageError, jobs::expect_rate, manage::not_found};
use crate::{
    clock::Timestamp,
    dispatch,
    endpoint::{Endpoint, EndpointId, EndpointKey, State},
    error::StoreError,
    event::Tenant,
    store::{DeadLetterSelection, DeliveryId, DeliveryRow, DeliveryState, EventDetail, Job, JobKind, ReplayOutcome},
};

/// Which events an endpoint is given again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// Those that are dead letters.
    #[default]
    Failed,
    /// Those that it wants as it is now, and of which there is no delivery to it. What a debounce rule suppressed is none of
    /// them; what is kept no longer, such as purged dead letters, is.
    Missing,
    /// Both, and those that were delivered.
    All,
}

/// Which events an endpoint is given again, and when they were accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndpointReplay {
    /// Which.
    pub only: Only,
    /// Accepted at this moment or later.
    pub since: Option<Timestamp>,
    /// Accepted before this moment.
    pub until: Option<Timestamp>,
}

impl EndpointReplay {
    const fn kind(&self) -> JobKind {
        match self.only {
            Only::Failed => JobKind::ReplayFailed,
            Only::Missing => JobKind::ReplayMissing,
            Only::All => JobKind::ReplayAll,
        }
    }

    fn selection(&self, endpoint: &Endpoint, tenant: Option<&Tenant>) -> DeadLetterSelection {
        let (Self { since, until, .. }, within) = (*self, tenant.cloned());
        DeadLetterSelection { endpoint: Some(endpoint.key), within, since, until, ..DeadLetterSelection::default() }
    }
}

impl Hookmill {
    /// How many events [`Hookmill::replay_endpoint`] would deliver again.
    ///
    /// # Errors
    /// When there is no such endpoint, or the store cannot be read.
    pub async fn count_replay(&self, id: &EndpointId, replay: EndpointReplay) -> Result<u64, ManageError> {
        self.count_replay_within(None, id, replay).await
    }

    /// The same of what this tenant may see; without a tenant, of all.
    pub(crate) async fn count_replay_within(
        &self,
        tenant: Option<&Tenant>,
        id: &EndpointId,
        replay: EndpointReplay,
    ) -> Result<u64, ManageError> {
        let endpoint = self.endpoint_for(tenant, id).ok_or_else(|| not_found(id))?;
        self.count_for_job(replay.kind(), replay.selection(&endpoint, tenant), self.0.clock.now().wall).await
    }

    /// Starts a job that delivers events to an endpoint again, by seq, so many in a second (0.1 to 5 000): those that were
    /// accepted before now, under the same ids. Each is delivered again once, also when the process is killed meanwhile: the
    /// job goes on with the next start. What waits for the endpoint anyway, and what was dropped, is left as it is.
    ///
    /// # Errors
    /// When there is no such endpoint; a conflict when it is disabled; when the rate is out of bounds, 16 jobs run already, or
    /// the store cannot be read or written.
    pub async fn replay_endpoint(
        &self,
        id: &EndpointId,
        replay: EndpointReplay,
        rate: f64,
    ) -> Result<Job, ManageError> {
        self.replay_endpoint_within(None, id, replay, rate).await
    }

    /// The same of what this tenant may see; without a tenant, of all.
    pub(crate) async fn replay_endpoint_within(
        &self,
        tenant: Option<&Tenant>,
        id: &EndpointId,
        replay: EndpointReplay,
        rate: f64,
    ) -> Result<Job, ManageError> {
        expect_rate(rate)?;
        let endpoint = self.endpoint_for(tenant, id).ok_or_else(|| not_found(id))?;
        expect_enabled(&endpoint)?;
        self.start_job(replay.kind(), replay.selection(&endpoint, tenant), Some(rate)).await
    }

    /// Delivers an event again, under the same id: to `only` this endpoint, which had it before or wants it as it is now, or to
    /// every one that had it. Endpoints that are disabled or deleted, for which it waits, or whose own debounce suppressed it
    /// are left out.
    ///
    /// # Errors
    /// A conflict when nobody is left; when the endpoint is not known, or the store cannot be written.
    pub async fn replay_event(
        &self,
        event: &EventDetail,
        only: Option<&EndpointId>,
    ) -> Result<Vec<DeliveryId>, ManageError> {
        self.replay_event_within(None, event, only).await
    }

    /// The same to endpoints of this tenant alone; without a tenant, to any.
    pub(crate) async fn replay_event_within(
        &self,
        tenant: Option<&Tenant>,
        event: &EventDetail,
        only: Option<&EndpointId>,
    ) -> Result<Vec<DeliveryId>, ManageError> {
        let endpoints = match only {
            Some(id) => vec![self.may_get_again(tenant, event, id)?],
            None => self.that_had(tenant, event),
        };
        let (mut made, mut waiting) = (Vec::new(), false);
        for endpoint in endpoints {
            match self.redeliver(event.event.seq, endpoint.key).await? {
                ReplayOutcome::Replayed(id) => made.push(id),
                ReplayOutcome::Waiting(_) => waiting = true,
                ReplayOutcome::Unknown | ReplayOutcome::Already(_) | ReplayOutcome::Gone => {}
            }
        }
        match (made.is_empty(), waiting) {
            (false, _) => Ok(made),
            (true, true) => Err(ManageError::Conflict("it waits to be delivered already".to_owned())),
            (true, false) => Err(ManageError::Conflict("there is no endpoint to deliver it to again".to_owned())),
        }
    }

    async fn redeliver(&self, seq: u64, endpoint: EndpointKey) -> Result<ReplayOutcome, StoreError> {
        self.see_through((), |hooks| async move {
            let outcome = hooks.0.store.redeliver(seq, endpoint).await?;
            if let ReplayOutcome::Replayed(id) = outcome {
                hooks.0.dispatcher.do_send(dispatch::Replayed(id));
            }
            Ok(outcome)
        })
        .await
    }

    fn may_get_again(
        &self,
        tenant: Option<&Tenant>,
        event: &EventDetail,
        id: &EndpointId,
    ) -> Result<Arc<Endpoint>, ManageError> {
        let endpoint = self.endpoint_for(tenant, id).ok_or_else(|| not_found(id))?;
        expect_enabled(&endpoint)?;
        let had = event.deliveries.iter().any(|delivery| delivery.id.endpoint == endpoint.key);
        if had || (id.may_get(&event.event.topic) && endpoint.settings.wants(&event.event)) {
            return Ok(endpoint);
        }
        Err(ManageError::Conflict(format!("{id} never had it, and does not want it as it is now")))
    }

    fn that_had(&self, tenant: Option<&Tenant>, event: &EventDetail) -> Vec<Arc<Endpoint>> {
        let mut endpoints = self.endpoints_for(tenant);
        endpoints.retain(|endpoint| {
            let of_endpoint = |delivery: &&DeliveryRow| delivery.id.endpoint == endpoint.key;
            let newest = event.deliveries.iter().rfind(of_endpoint);
            endpoint.settings.state != State::Disabled
                && newest.is_some_and(|newest| newest.state != DeliveryState::Suppressed)
        });
        endpoints
    }
}

fn expect_enabled(endpoint: &Endpoint) -> Result<(), ManageError> {
    if endpoint.settings.state == State::Disabled {
        return Err(ManageError::Conflict("the endpoint is disabled: enable it first".to_owned()));
    }
    Ok(())
}
