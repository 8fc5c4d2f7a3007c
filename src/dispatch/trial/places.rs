//! How many test deliveries are made at once, and for whom: nobody keeps the others from theirs.

use std::sync::Arc;

use super::NoTrial;
use crate::{
    endpoint::{Endpoint, EndpointKey, TenantScope},
    event::Tenant,
    quota::{Quota, Quotas, Share},
};

/// Test deliveries at once.
const AT_ONCE: usize = 16;
/// Of these, to tenants' endpoints: the rest is for others.
const TO_TENANTS: usize = 12;
/// Of these, to one tenant's endpoints.
const TO_A_TENANT: usize = 4;
/// To one endpoint.
const TO_AN_ENDPOINT: usize = 2;

/// The places of test deliveries.
pub(super) struct Places {
    all: Arc<Quota>,
    tenants: Arc<Quota>,
    of_tenants: Quotas<Tenant>,
    of_endpoints: Quotas<EndpointKey>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            all: Quota::new(AT_ONCE),
            tenants: Quota::new(TO_TENANTS),
            of_tenants: Quotas::new(TO_A_TENANT),
            of_endpoints: Quotas::new(TO_AN_ENDPOINT),
        }
    }
}

impl Places {
    /// What a test delivery to `endpoint` holds until it has ended; an error when one of its bounds is reached.
    pub(super) fn take(&mut self, endpoint: &Endpoint) -> Result<Vec<Share>, NoTrial> {
        let mut shares = vec![self.of_endpoints.take(&endpoint.key).ok_or(NoTrial::Quota)?];
        if let TenantScope::Of(tenant) = &endpoint.settings.tenant {
            shares.push(self.of_tenants.take(tenant).ok_or(NoTrial::Quota)?);
            shares.push(self.tenants.take(1).ok_or(NoTrial::Busy)?);
        }
        shares.push(self.all.take(1).ok_or(NoTrial::Busy)?);
        Ok(shares)
    }
}
