//! What is done on behalf of a tenant: with its own endpoints alone, which reach public addresses alone. Those of others are
//! not there.

use std::sync::Arc;

use serde_json::Value;

use super::{
    Hookmill, ManageError, Standing, Switch,
    changed::Changed,
    manage::{expect_version, not_found},
    untold,
};
use crate::{
    endpoint::{Endpoint, EndpointId, Origin, SecretRotation, Settings, policy::Guard},
    error::{Fault, Invalid},
    event::Tenant,
    store::CancelFilter,
};

/// Whether an endpoint may reach what a tenant's may not: it was made by somebody who may more.
pub(crate) fn reaches_further(endpoint: &Endpoint) -> bool {
    let settings = &endpoint.settings;
    settings.target.file().is_some() || !matches!(settings.guard, Guard::Public | Guard::PublicAndLoopback)
}

impl Hookmill {
    fn own_endpoint(&self, tenant: &Tenant, id: &EndpointId) -> Result<Arc<Endpoint>, ManageError> {
        self.endpoint_for(Some(tenant), id).ok_or_else(|| not_found(id))
    }

    /// What a tenant writes of its endpoint: `tenant` is its own, whether it says so or not, and nothing points to the seq.
    fn read_for(
        &self,
        tenant: &Tenant,
        settings: &Value,
        read: impl FnOnce(&Value, Origin) -> Result<Settings, Invalid>,
    ) -> Result<Settings, Invalid> {
        let mut settings = settings.clone();
        let mut faults = untold::pointers(&settings);
        if let Some(members) = settings.as_object_mut() {
            let given = members.insert("tenant".to_owned(), tenant.as_str().into()).filter(|given| !given.is_null());
            if given.is_some_and(|given| given != tenant.as_str()) {
                faults.push(Fault::new("#/tenant", format!("must be {tenant}, as the token says, or left out")));
            }
        }
        let read = read(&settings, Origin::Tenant { allow_loopback: self.0.allow_loopback });
        match read {
            Ok(settings) => Invalid::unless_empty(faults).map(|()| settings),
            Err(invalid) => {
                faults.extend(Vec::from(invalid));
                Err(Invalid::unless_empty(faults).err().unwrap_or_else(|| Invalid::at("#", "is incomplete")))
            }
        }
    }

    /// Whether [`Hookmill::create_endpoint_for`] would take these settings.
    pub(crate) fn check_endpoint_for(&self, tenant: &Tenant, settings: &Value) -> Result<(), Invalid> {
        self.read_for(tenant, settings, |value, origin| Settings::parse(value, origin, self.judge(origin))).map(drop)
    }

    /// Creates an endpoint of a tenant's. Its id is always generated: one that is taken would tell of another tenant.
    pub(crate) async fn create_endpoint_for(
        &self,
        tenant: &Tenant,
        settings: &Value,
    ) -> Result<Arc<Endpoint>, ManageError> {
        let read = |value: &Value, origin| Settings::parse(value, origin, self.judge(origin));
        self.create(None, self.read_for(tenant, settings, read)?).await
    }

    pub(crate) async fn replace_endpoint_for(
        &self,
        tenant: &Tenant,
        id: &EndpointId,
        settings: &Value,
        version: Option<u64>,
    ) -> Result<Changed, ManageError> {
        let (tenant, id, settings) = (tenant.clone(), id.clone(), settings.clone());
        self.change(|hooks| async move {
            let old = hooks.own_endpoint(&tenant, &id)?;
            expect_own_reach(&old)?;
            let read = |value: &Value, origin| Settings::parse(value, origin, hooks.judge(origin));
            let mut settings = hooks.read_for(&tenant, &settings, read)?;
            expect_version(&old, version)?;
            settings.keep_secret_of(&old.settings);
            let new = hooks.update(&old, settings).await?;
            Ok(Changed { old: Some(old), new })
        })
        .await
    }

    pub(crate) async fn patch_endpoint_for(
        &self,
        tenant: &Tenant,
        id: &EndpointId,
        patch: &Value,
        version: Option<u64>,
    ) -> Result<Changed, ManageError> {
        let (tenant, id, patch) = (tenant.clone(), id.clone(), patch.clone());
        self.change(|hooks| async move {
            let old = hooks.own_endpoint(&tenant, &id)?;
            expect_own_reach(&old)?;
            expect_version(&old, version)?;
            let read = |patch: &Value, origin| old.settings.patched(patch, origin, hooks.judge(origin));
            let settings = hooks.read_for(&tenant, &patch, read)?;
            let new = hooks.update(&old, settings).await?;
            Ok(Changed { old: Some(old), new })
        })
        .await
    }

    pub(crate) async fn rotate_secret_for(
        &self,
        tenant: &Tenant,
        id: &EndpointId,
        rotation: &SecretRotation,
        version: Option<u64>,
    ) -> Result<Arc<Endpoint>, ManageError> {
        let (tenant, id, rotation) = (tenant.clone(), id.clone(), rotation.clone());
        self.change(|hooks| async move {
            let old = hooks.own_endpoint(&tenant, &id)?;
            expect_own_reach(&old)?;
            hooks.rotate(&old, &rotation, version).await
        })
        .await
    }

    pub(crate) async fn switch_endpoint_for(
        &self,
        tenant: &Tenant,
        id: &EndpointId,
        switch: Switch,
        version: Option<u64>,
    ) -> Result<Arc<Endpoint>, ManageError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.change(|hooks| async move { hooks.switch(hooks.own_endpoint(&tenant, &id)?, switch, version).await }).await
    }

    pub(crate) async fn delete_endpoint_for(
        &self,
        tenant: &Tenant,
        id: &EndpointId,
        version: Option<u64>,
    ) -> Result<(), ManageError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.change(|hooks| async move {
            let old = hooks.own_endpoint(&tenant, &id)?;
            expect_own_reach(&old)?;
            hooks.delete(&old, version).await
        })
        .await
    }

    pub(crate) async fn standing_for(&self, tenant: &Tenant, id: &EndpointId) -> Result<Standing, ManageError> {
        let standing = self.standing(id).await?;
        if standing.endpoint.settings.tenant.is_of(tenant) { Ok(standing) } else { Err(not_found(id)) }
    }

    /// Cancels what waits for a tenant's own endpoints: only these are looked at, however much waits for others.
    pub(crate) async fn cancel_deliveries_for(
        &self,
        tenant: &Tenant,
        filter: CancelFilter,
        dry_run: bool,
    ) -> Result<u64, ManageError> {
        let own = self.endpoints_for(Some(tenant)).into_iter();
        let own = own.map(|endpoint| endpoint.key).filter(|key| filter.endpoint.is_none_or(|wanted| wanted == *key));
        let mut matched = 0;
        for key in own.collect::<Vec<_>>() {
            let filter = CancelFilter { endpoint: Some(key), within: Some(tenant.clone()), ..filter.clone() };
            matched += self.cancel_deliveries(filter, dry_run).await?;
        }
        Ok(matched)
    }
}

fn expect_own_reach(endpoint: &Endpoint) -> Result<(), ManageError> {
    if reaches_further(endpoint) {
        let id = &endpoint.id;
        let why =
            format!("{id} was made by the operator, and reaches further than a tenant's: it can only be switched");
        return Err(ManageError::Conflict(why));
    }
    Ok(())
}
