//! What is a tenant's: whose token fixes whom, which endpoints are there for it, and names that tell it nothing of others.
//!
//! Seqs and the numbers of endpoints count what all tenants have. So a tenant is shown no seq, and its deliveries are named by its
//! own event and endpoint.

use std::{convert::Infallible, net::SocketAddr, str::FromStr, sync::Arc};

use super::{
    call::Call,
    problem::{Kind, Problem},
};
use crate::{
    Endpoint, EndpointId,
    error::StoreError,
    event::{EventId, Tenant},
    store::{DeliveryId, Peer},
};

/// How a caller names a delivery; see [`Call::name_of`].
pub(super) struct DeliveryName(String);

impl FromStr for DeliveryName {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

/// What a tenant is told that names another.
pub(super) fn others(tenant: &Tenant) -> Problem {
    Problem::new(Kind::Forbidden, format!("the token is for the tenant {tenant} alone"))
}

impl Call {
    /// Whose things alone the caller may see and change; `None` for all.
    pub(super) fn tenant(&self) -> Option<&Tenant> {
        self.rights.tenant.as_ref()
    }

    /// Lets a caller name a tenant: any, or its own.
    ///
    /// # Errors
    /// Forbidden: it is another's.
    pub(super) fn expect_own(&self, named: Option<&Tenant>) -> Result<(), Problem> {
        match (self.tenant(), named) {
            (Some(own), Some(named)) if own != named => Err(others(own)),
            _ => Ok(()),
        }
    }

    /// Whether the caller may see what is of this tenant.
    pub(super) fn may_see(&self, of: Option<&Tenant>) -> bool {
        self.tenant().is_none_or(|own| of == Some(own))
    }

    /// The endpoints there are for the caller, by id.
    pub(super) fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.hooks().endpoints_for(self.tenant())
    }

    /// The endpoint, if there is one for the caller.
    pub(super) fn known_endpoint(&self, id: &EndpointId) -> Option<Arc<Endpoint>> {
        self.hooks().endpoint_for(self.tenant(), id)
    }

    /// The same.
    ///
    /// # Errors
    /// Not found: there is none for the caller.
    pub(super) fn endpoint(&self, id: &EndpointId) -> Result<Arc<Endpoint>, Problem> {
        self.known_endpoint(id).ok_or_else(|| Problem::not_found(format_args!("endpoint {id}")))
    }

    /// Whether the caller may read what this one answered. A tenant reads what public addresses said: others may be the operator's.
    pub(super) fn may_read_answer_of(&self, peer: Option<Peer>) -> bool {
        self.tenant().is_none() || peer.is_some_and(|peer| peer.public)
    }

    /// The address of this one, for callers who may know what names mean inside.
    pub(super) fn address_of(&self, peer: Option<Peer>) -> Option<SocketAddr> {
        peer.filter(|_| self.tenant().is_none()).map(|peer| peer.address)
    }

    /// The name of a delivery: its id; for a tenant `dlv_<event>.<endpoint>.<run>`.
    pub(super) fn name_of(&self, id: DeliveryId, event: Option<&EventId>, endpoint: &EndpointId) -> String {
        match (self.tenant(), event) {
            (Some(_), Some(event)) => format!("dlv_{event}.{endpoint}.{}", id.run),
            (Some(_), None) => format!("dlv_.{endpoint}.{}", id.run),
            (None, _) => id.to_string(),
        }
    }

    /// The delivery of this name, if there is one for the caller.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn delivery(&self, name: &DeliveryName) -> Result<Option<DeliveryId>, StoreError> {
        let Some(tenant) = self.tenant() else { return Ok(name.0.parse().ok()) };
        let Some((event, endpoint, run)) = parts(&name.0) else { return Ok(None) };
        let found = self.hooks().store().event(Some(tenant.clone()), event).await?;
        let deliveries = found.into_iter().flat_map(|found| found.deliveries);
        let own = deliveries.filter(|row| row.of.as_ref() == Some(tenant));
        // The newest of several endpoints that had this id one after another.
        Ok(own.filter(|row| row.endpoint == endpoint && row.id.run == run).map(|row| row.id).last())
    }
}

fn parts(name: &str) -> Option<(EventId, EndpointId, u32)> {
    let (event, rest) = name.strip_prefix("dlv_")?.split_once('.')?;
    let (endpoint, run) = rest.rsplit_once('.')?;
    Some((event.parse().ok()?, endpoint.parse().ok()?, run.parse().ok()?))
}
