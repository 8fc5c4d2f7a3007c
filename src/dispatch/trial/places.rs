//! How many test deliveries are made at once, and for whom: nobody keeps the others from theirs.

use std::{collections::HashMap, hash::Hash, sync::Arc};

use crate::{
    endpoint::{Endpoint, EndpointKey, TenantScope},
    event::Tenant,
    quota::{Quota, Share},
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
    of_tenants: HashMap<Tenant, Arc<Quota>>,
    of_endpoints: HashMap<EndpointKey, Arc<Quota>>,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            all: Quota::new(AT_ONCE),
            tenants: Quota::new(TO_TENANTS),
            of_tenants: HashMap::new(),
            of_endpoints: HashMap::new(),
        }
    }
}

impl Places {
    /// What a test delivery to `endpoint` holds until it has ended; `None` when one of its bounds is reached.
    pub(super) fn take(&mut self, endpoint: &Endpoint) -> Option<Vec<Share>> {
        let mut shares = vec![share(&mut self.of_endpoints, &endpoint.key, TO_AN_ENDPOINT)?];
        if let TenantScope::Of(tenant) = &endpoint.settings.tenant {
            shares.push(share(&mut self.of_tenants, tenant, TO_A_TENANT)?);
            shares.push(self.tenants.take(1)?);
        }
        shares.push(self.all.take(1)?);
        Some(shares)
    }
}

/// One of `most` that `of` may have. Whoever has none is not remembered.
fn share<K: Clone + Eq + Hash>(quotas: &mut HashMap<K, Arc<Quota>>, of: &K, most: usize) -> Option<Share> {
    quotas.retain(|_, quota| quota.used() > 0);
    quotas.entry(of.clone()).or_insert_with(|| Quota::new(most)).take(1)
}
