//! How many readings wait at once, and for whom: nobody keeps the others from theirs.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    error::StoreError,
    event::Tenant,
    quota::{Quota, Quotas, Share},
};

/// Readings of callers that wait at once. Each may take seconds.
pub(super) const PLACES: usize = 64;
/// Of these, tenants': the rest is for callers without a tenant.
pub(super) const OF_TENANTS: usize = 48;
/// Of these, one tenant's.
pub(super) const OF_A_TENANT: usize = 12;

/// What a reading holds until it has been made.
pub(super) type Taken = Vec<Share>;

/// The places of readings.
pub(super) struct Places {
    all: Arc<Quota>,
    tenants: Arc<Quota>,
    of_tenants: Mutex<Quotas<Tenant>>,
}

impl Default for Places {
    fn default() -> Self {
        let of_tenants = Mutex::new(Quotas::new(OF_A_TENANT));
        Self { all: Quota::new(PLACES), tenants: Quota::new(OF_TENANTS), of_tenants }
    }
}

impl Places {
    /// A place for a reading, of this tenant's if it is one that asks; an error when one of its bounds is reached.
    pub(super) fn take(&self, tenant: Option<&Tenant>) -> Result<Taken, StoreError> {
        let mut shares = Vec::new();
        if let Some(tenant) = tenant {
            let mut of_tenants = self.of_tenants.lock().unwrap_or_else(PoisonError::into_inner);
            shares.push(of_tenants.take(tenant).ok_or(StoreError::Quota)?);
            shares.push(self.tenants.take(1).ok_or(StoreError::Busy)?);
        }
        shares.push(self.all.take(1).ok_or(StoreError::Busy)?);
        Ok(shares)
    }
}
