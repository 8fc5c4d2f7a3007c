//! Changes of configuration while events flow. Each is checked, then stored, then put in force, and only then answered. One that
//! has begun is made to its end, whoever waits for it.

use std::{
    collections::HashSet,
    fmt::Display,
    sync::{Arc, PoisonError},
};

use serde_json::{Value, json};
use tracing::{info, warn};
use url::Url;

use super::{
    Hookmill, ManageError, Owner,
    changed::Changed,
    found::{change, endpoint_of, new_endpoint_id, print},
    grounds,
    operational::DISABLED,
};
use crate::{
    clock::Timestamp,
    debounce,
    deliver::machine::{Disabled, Snapshot},
    dispatch,
    endpoint::{Endpoint, EndpointId, Origin, Settings, State, settings::Judge, target},
    error::{Invalid, StoreError},
    store::{DeliveryId, DeliveryTotals, EndpointRow, ReplayOutcome},
    transport::guard,
};

/// How an endpoint stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Its breaker, window and attempts; `None` once everything has ended.
    pub delivery: Option<Snapshot>,
    /// Its share of the conservation sums.
    pub totals: DeliveryTotals,
    /// When its oldest pending delivery was made.
    pub oldest_pending_at: Option<Timestamp>,
}

/// What people do to an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// Holds what comes until it is resumed.
    Pause,
    /// Delivers what was held.
    Resume,
    /// Drops what is pending and what comes.
    Disable,
    /// Takes events again; one that is paused stays so.
    Enable,
}

impl Switch {
    /// The state afterwards, if this can be done in `state`.
    const fn after(self, state: State) -> Option<State> {
        match (self, state) {
            (Self::Pause | Self::Resume, State::Disabled) => None,
            (Self::Pause, _) => Some(State::Paused),
            (Self::Disable, _) => Some(State::Disabled),
            (Self::Enable, State::Paused) => Some(State::Paused),
            (Self::Resume | Self::Enable, _) => Some(State::Active),
        }
    }
}

impl Hookmill {
    /// Creates an endpoint from its JSON form; one without `id` gets an id, and one that signs without a secret gets a secret.
    ///
    /// # Errors
    /// Every mistake at once; a conflict when the id is taken, or its tenant has as many endpoints as it may.
    pub async fn create_endpoint(
        &self,
        id: Option<EndpointId>,
        settings: &Value,
    ) -> Result<Arc<Endpoint>, ManageError> {
        let origin = self.origin(Owner::Api);
        self.create(id, Settings::parse(settings, origin, self.judge(origin))?).await
    }

    pub(super) async fn create(
        &self,
        id: Option<EndpointId>,
        settings: Settings,
    ) -> Result<Arc<Endpoint>, ManageError> {
        id.as_ref().map_or(Ok(()), expect_free_id)?;
        self.change(|hooks| async move {
            let id = match id {
                Some(id) => id,
                None => new_endpoint_id(&hooks.0.clock).parse().map_err(|_| StoreError::Failed("no id".to_owned()))?,
            };
            if hooks.endpoint(&id).is_some() {
                return Err(ManageError::Conflict(format!("an endpoint with the id {id} exists")));
            }
            hooks.expect_room_for(&settings)?;
            hooks.expect_undisturbed(&id, &settings)?;
            hooks.insert(id, settings).await
        })
        .await
    }

    /// Whether [`Hookmill::create_endpoint`] would take these settings.
    #[cfg(feature = "api")]
    pub(crate) fn check_endpoint(&self, settings: &Value) -> Result<(), Invalid> {
        let origin = self.origin(Owner::Api);
        Settings::parse(settings, origin, self.judge(origin)).map(drop)
    }

    pub(super) async fn insert(&self, id: EndpointId, settings: Settings) -> Result<Arc<Endpoint>, ManageError> {
        let settings = with_secret(settings)?;
        let row = self.0.store.create_endpoint(id, print(&settings)).await?;
        info!(event = "endpoint.created", endpoint_id = %row.id, "endpoint created");
        Ok(self.put_in_force(&row, settings).await)
    }

    /// Replaces an endpoint's settings, or creates it; tells whether it was created. A secret that is not given stays.
    /// `version` makes the change only if the endpoint still has that version.
    ///
    /// # Errors
    /// Every mistake at once; [`ManageError::Stale`]; a conflict when the endpoint belongs to the program or the file and
    /// more than its state would change, or it would be disabled; or its tenant would be another, see [`TenantScope`]; or it is
    /// new, and its tenant has as many as it may.
    ///
    /// [`TenantScope`]: crate::endpoint::TenantScope
    pub async fn replace_endpoint(
        &self,
        id: EndpointId,
        settings: &Value,
        version: Option<u64>,
    ) -> Result<(Arc<Endpoint>, bool), ManageError> {
        let Changed { old, new } = self.replace_found(id, settings, version).await?;
        Ok((new, old.is_none()))
    }

    pub(crate) async fn replace_found(
        &self,
        id: EndpointId,
        settings: &Value,
        version: Option<u64>,
    ) -> Result<Changed, ManageError> {
        let settings = settings.clone();
        self.change(|hooks| async move {
            let origin = hooks.origin_for(&id);
            let mut settings = Settings::parse(&settings, origin, hooks.judge(origin))?;
            match hooks.endpoint(&id) {
                None if version.is_some() => Err(not_found(&id)),
                None => {
                    expect_free_id(&id)?;
                    hooks.expect_room_for(&settings)?;
                    hooks.expect_undisturbed(&id, &settings)?;
                    Ok(Changed { old: None, new: hooks.insert(id, settings).await? })
                }
                Some(old) => {
                    expect_version(&old, version)?;
                    settings.keep_secret_of(&old.settings);
                    let new = hooks.update(&old, settings).await?;
                    Ok(Changed { old: Some(old), new })
                }
            }
        })
        .await
    }

    /// Changes an endpoint's settings by a JSON merge patch (RFC 7396). Another origin (scheme, host, port) of its URL drops the
    /// `auth` and the headers that the patch does not bring: see [`Settings::cleared_from`].
    ///
    /// # Errors
    /// As for [`Hookmill::replace_endpoint`].
    pub async fn patch_endpoint(
        &self,
        id: &EndpointId,
        patch: &Value,
        version: Option<u64>,
    ) -> Result<Arc<Endpoint>, ManageError> {
        Ok(self.patch_found(id, patch, version).await?.new)
    }

    pub(crate) async fn patch_found(
        &self,
        id: &EndpointId,
        patch: &Value,
        version: Option<u64>,
    ) -> Result<Changed, ManageError> {
        let (id, patch) = (id.clone(), patch.clone());
        self.change(|hooks| async move {
            let old = hooks.endpoint(&id).ok_or_else(|| not_found(&id))?;
            expect_version(&old, version)?;
            let origin = hooks.origin_for(&id);
            let settings = old.settings.patched(&patch, origin, hooks.judge(origin))?;
            let new = hooks.update(&old, settings).await?;
            Ok(Changed { old: Some(old), new })
        })
        .await
    }

    /// Pauses, resumes, disables or enables an endpoint. One that is in that state already stays as it is.
    ///
    /// # Errors
    /// As for [`Hookmill::replace_endpoint`]; a conflict when the endpoint is disabled and was to be paused or resumed: what
    /// it was sent is dropped until it is enabled.
    pub async fn switch_endpoint(
        &self,
        id: &EndpointId,
        switch: Switch,
        version: Option<u64>,
    ) -> Result<Arc<Endpoint>, ManageError> {
        let id = id.clone();
        self.change(|hooks| async move {
            let old = hooks.endpoint(&id).ok_or_else(|| not_found(&id))?;
            hooks.switch(old, switch, version).await
        })
        .await
    }

    pub(super) async fn switch(
        &self,
        old: Arc<Endpoint>,
        switch: Switch,
        version: Option<u64>,
    ) -> Result<Arc<Endpoint>, ManageError> {
        expect_version(&old, version)?;
        let id = &old.id;
        let state = switch.after(old.settings.state);
        let state = state.ok_or_else(|| ManageError::Conflict(format!("{id} is disabled: enable it first")))?;
        if state == old.settings.state {
            return Ok(old);
        }
        self.update(&old, Settings { state, ..old.settings.clone() }).await
    }

    pub(super) async fn update(&self, old: &Endpoint, settings: Settings) -> Result<Arc<Endpoint>, ManageError> {
        self.expect_changeable(old, &settings)?;
        self.expect_same_tenant(old, &settings)?;
        if settings.target != old.settings.target {
            self.expect_undisturbed(&old.id, &settings)?;
        }
        self.store_and_apply(old, with_secret(settings)?, None).await
    }

    pub(super) async fn store_and_apply(
        &self,
        old: &Endpoint,
        settings: Settings,
        reason: Option<Disabled>,
    ) -> Result<Arc<Endpoint>, ManageError> {
        let state = settings.state;
        let row = self.0.store.update_endpoint(old.key, change(old, &settings, reason)).await?;
        info!(event = "endpoint.changed", endpoint_id = %row.id, version = row.version, ?state, "endpoint changed");
        let endpoint = self.put_in_force(&row, settings).await;
        if state == State::Disabled {
            self.0.debouncer.do_send(debounce::LookAgain);
        }
        Ok(endpoint)
    }

    /// Disables an endpoint that wants no more, or has failed for too long.
    /// One that has changed since says so again, if it is still true.
    pub(super) async fn disable_for(&self, seen: &Endpoint, reason: Disabled) -> Result<(), ManageError> {
        let _one_at_a_time = self.turn().await;
        let same = |old: &Arc<Endpoint>| old.key == seen.key && old.version == seen.version;
        let Some(old) = self.endpoint(&seen.id).filter(same) else { return Ok(()) };
        if old.settings.state == State::Disabled {
            return Ok(());
        }
        let settings = Settings { state: State::Disabled, ..old.settings.clone() };
        warn!(event = "endpoint.disabled", endpoint_id = %old.id, reason = reason.as_str(), "endpoint disabled");
        let disabled = self.store_and_apply(&old, settings, Some(reason)).await?;
        let data = json!({"endpoint": old.id, "name": old.settings.name, "reason": reason.as_str()});
        self.raise_about(DISABLED, &disabled, &data);
        Ok(())
    }

    /// A file that several endpoints have is rotated in one way, and none is among the data.
    pub(super) fn expect_undisturbed(&self, id: &EndpointId, settings: &Settings) -> Result<(), Invalid> {
        let disturbed = self.disturbing(&[(id, settings)]).into_iter().next();
        disturbed.map_or(Ok(()), |(_, why)| Err(Invalid::at("#/file", why)))
    }

    /// Which of these cannot stand beside what comes before them, beside the endpoints that are to stay as they are, or beside
    /// the store.
    pub(super) fn disturbing(&self, new: &[(&EndpointId, &Settings)]) -> Vec<(usize, String)> {
        let (endpoints, replaced): (_, HashSet<_>) = (self.endpoints(), new.iter().map(|(id, _)| *id).collect());
        let stays = |endpoint: &&Arc<Endpoint>| !replaced.contains(&endpoint.id);
        let old = endpoints.iter().filter(stays).map(|endpoint| (&endpoint.id, &endpoint.settings.target));
        let new: Vec<_> = new.iter().map(|(id, settings)| (*id, &settings.target)).collect();
        let (root, data_dir) = (self.0.file_root.as_deref(), self.0.data_dir.as_deref());
        let mut found = target::disturbing(&old.collect::<Vec<_>>(), &new, root);
        found.extend(grounds::trespassing(&new, root, data_dir));
        found
    }

    /// An endpoint of the program's or the file's can be paused and resumed, nothing else.
    fn expect_changeable(&self, old: &Endpoint, settings: &Settings) -> Result<(), ManageError> {
        let paused = Settings { state: old.settings.state, ..settings.clone() } == old.settings;
        let owner = self.endpoint_owner(&old.id);
        if owner != Owner::Api && !(paused && settings.state != State::Disabled) {
            let (id, owner) = (&old.id, owner.in_words());
            return Err(ManageError::Conflict(format!(
                "{id} belongs to {owner}: it can only be paused and resumed here"
            )));
        }
        Ok(())
    }

    /// Who decides over an endpoint.
    pub fn endpoint_owner(&self, id: &EndpointId) -> Owner {
        let owners = self.0.owners.read().unwrap_or_else(PoisonError::into_inner);
        owners.endpoints.get(id).copied().unwrap_or_default()
    }

    async fn put_in_force(&self, row: &EndpointRow, settings: Settings) -> Arc<Endpoint> {
        let endpoint = Arc::new(endpoint_of(row, settings));
        // A pipeline that is gone starts no attempt with the old settings either.
        let _gone = self.0.dispatcher.send(dispatch::Configure(Arc::clone(&endpoint))).await;
        let mut endpoints = self.0.endpoints.write().unwrap_or_else(PoisonError::into_inner);
        endpoints.insert(endpoint.id.clone(), Arc::clone(&endpoint));
        self.0.listeners.configure(&endpoint);
        self.await_end(&endpoint);
        endpoint
    }

    /// Deletes an endpoint. What it held is dropped, with the reason `endpoint_deleted`; its history stays.
    ///
    /// # Errors
    /// When there is none, it has changed, or it belongs to the program or the file.
    pub async fn delete_endpoint(&self, id: &EndpointId, version: Option<u64>) -> Result<(), ManageError> {
        let id = id.clone();
        self.change(|hooks| async move {
            let old = hooks.endpoint(&id).ok_or_else(|| not_found(&id))?;
            hooks.delete(&old, version).await
        })
        .await
    }

    pub(super) async fn delete(&self, old: &Endpoint, version: Option<u64>) -> Result<(), ManageError> {
        expect_version(old, version)?;
        expect_api(self.endpoint_owner(&old.id), &old.id)?;
        self.erase(old).await?;
        Ok(())
    }

    pub(super) async fn erase(&self, old: &Endpoint) -> Result<(), StoreError> {
        self.0.store.delete_endpoint(old.key).await?;
        let gone = self.0.dispatcher.send(dispatch::Remove(old.key));
        self.0.endpoints.write().unwrap_or_else(PoisonError::into_inner).remove(&old.id);
        self.0.listeners.remove(old.key);
        let _gone = gone.await;
        self.0.debouncer.do_send(debounce::LookAgain);
        info!(event = "endpoint.deleted", endpoint_id = %old.id, "endpoint deleted");
        Ok(())
    }

    /// How an endpoint stands.
    ///
    /// # Errors
    /// When there is none, or the store cannot be read.
    pub async fn standing(&self, id: &EndpointId) -> Result<Standing, ManageError> {
        let endpoint = self.endpoint(id).ok_or_else(|| not_found(id))?;
        let (totals, oldest_pending_at) = self.0.store.endpoint_totals(endpoint.key).await?;
        let delivery = self.0.dispatcher.send(dispatch::Inspect(endpoint.key)).await.ok().flatten();
        let in_flight = delivery.as_ref().map_or(0, |delivery| delivery.in_flight);
        let totals = totals.with_in_flight(u64::try_from(in_flight).unwrap_or(u64::MAX));
        Ok(Standing { endpoint, delivery, totals, oldest_pending_at })
    }

    /// Delivers a dead letter's event to its endpoint again, under the same event id, as a new delivery.
    ///
    /// # Errors
    /// When there is no such dead letter; a conflict when it was replayed before, or its event or endpoint is gone, or the
    /// endpoint is disabled.
    pub async fn replay(&self, dead_letter: DeliveryId) -> Result<DeliveryId, ManageError> {
        let disabled = |endpoint: &Arc<Endpoint>| {
            endpoint.key == dead_letter.endpoint && endpoint.settings.state == State::Disabled
        };
        if self.endpoints().iter().any(disabled) {
            return Err(ManageError::Conflict("the endpoint is disabled: enable it first".to_owned()));
        }
        let replay = |hooks: Self| async move {
            let outcome = hooks.0.store.replay(dead_letter).await?;
            if let ReplayOutcome::Replayed(id) = outcome {
                hooks.0.dispatcher.do_send(dispatch::Replayed(id));
            }
            Ok::<_, ManageError>(outcome)
        };
        match self.see_through((), replay).await? {
            ReplayOutcome::Replayed(id) => Ok(id),
            ReplayOutcome::Unknown => Err(ManageError::NotFound(format!("dead letter {dead_letter}"))),
            ReplayOutcome::Already(run) => Err(ManageError::Conflict(format!("it was replayed before, as run {run}"))),
            ReplayOutcome::Waiting(run) => {
                Err(ManageError::Conflict(format!("it is pending again already, as run {run}")))
            }
            ReplayOutcome::Gone => {
                Err(ManageError::Conflict("its endpoint has been deleted, or its event is kept no longer".to_owned()))
            }
        }
    }

    /// What settings mean that a caller of the API writes for this endpoint: that of a chain means what the chain's owner says.
    fn origin_for(&self, id: &EndpointId) -> Origin {
        match self.endpoint_owner(id) {
            Owner::Chain => self.origin(self.owner_of_chain_with(id)),
            owner => self.origin(owner),
        }
    }

    /// Judges the URLs of endpoints that `origin` configures.
    pub(super) fn judge(&self, origin: Origin) -> impl Judge {
        let perimeter = Arc::clone(&self.0.perimeter);
        let https_only = perimeter.https_only && matches!(origin, Origin::Api { .. } | Origin::Tenant { .. });
        move |url: &Url, guard| match url.scheme() {
            "http" if https_only => Err(guard::NOT_HTTPS.to_owned()),
            _ => perimeter.judge_url(url, guard),
        }
    }

    /// What settings mean that a caller of the API writes for an endpoint of `owner`'s.
    pub(super) fn origin(&self, owner: Owner) -> Origin {
        match owner {
            Owner::Api => Origin::Api { allow_loopback: self.0.allow_loopback, file_root: self.0.file_root.is_some() },
            Owner::Code | Owner::Chain => Origin::Code,
            Owner::File => Origin::Operator,
        }
    }
}

/// Ids with dots are those of chains' endpoints.
fn expect_free_id(id: &EndpointId) -> Result<(), Invalid> {
    if id.is_of_chain() {
        Err(Invalid::at("#/id", "is for a step of a chain: ids of others hold no dot"))
    } else {
        Ok(())
    }
}

fn with_secret(settings: Settings) -> Result<Settings, StoreError> {
    settings.with_generated_secret().map_err(|error| StoreError::Failed(error.to_string()))
}

pub(super) fn expect_api(owner: Owner, what: impl Display) -> Result<(), ManageError> {
    if owner == Owner::Api {
        return Ok(());
    }
    Err(ManageError::Conflict(format!("{what} belongs to {}: it cannot be changed here", owner.in_words())))
}

pub(super) fn not_found(id: &EndpointId) -> ManageError {
    ManageError::NotFound(format!("endpoint {id}"))
}

pub(super) fn expect_version(endpoint: &Endpoint, version: Option<u64>) -> Result<(), ManageError> {
    match version {
        Some(expected) if expected != endpoint.version => Err(ManageError::Stale { version: endpoint.version }),
        _ => Ok(()),
    }
}
