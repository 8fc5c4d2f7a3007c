//! How many endpoints a tenant may have.

use std::sync::{PoisonError, atomic::Ordering};

use super::{Hookmill, ManageError};
use crate::endpoint::{Settings, TenantScope};

/// Endpoints of one tenant, unless said otherwise.
pub(crate) const ENDPOINTS_OF_A_TENANT: usize = 1000;

impl Hookmill {
    /// Sets how many endpoints each tenant may have, from the next one on: as [`Builder::max_endpoints_per_tenant`] does at a
    /// start. Those that are there stay.
    ///
    /// [`Builder::max_endpoints_per_tenant`]: crate::Builder::max_endpoints_per_tenant
    pub fn set_max_endpoints_per_tenant(&self, most: usize) {
        self.0.max_endpoints_per_tenant.store(most, Ordering::Relaxed);
    }

    /// Whether the tenant of a new endpoint may have one more.
    ///
    /// # Errors
    /// A conflict: it has as many as it may.
    pub(super) fn expect_room_for(&self, new: &Settings) -> Result<(), ManageError> {
        let TenantScope::Of(tenant) = &new.tenant else { return Ok(()) };
        let most = self.0.max_endpoints_per_tenant.load(Ordering::Relaxed);
        let endpoints = self.0.endpoints.read().unwrap_or_else(PoisonError::into_inner);
        if endpoints.values().filter(|endpoint| endpoint.settings.tenant.is_of(tenant)).count() < most {
            return Ok(());
        }
        let why = format!("the tenant {tenant} has as many endpoints as `max_endpoints_per_tenant` allows, {most}");
        Err(ManageError::Conflict(why))
    }
}
