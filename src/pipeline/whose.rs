//! An endpoint keeps its tenant: what it holds, and what came of it, would go to the new one.

use super::{Declared, Hookmill, ManageError, declared::DeclaredEndpoint};
use crate::{
    endpoint::{Endpoint, Settings},
    error::{Fault, Invalid},
};

/// Why `old` cannot take these settings, if it cannot.
fn another(old: &Endpoint, settings: &Settings) -> Option<String> {
    let (was, is) = (&old.settings.tenant, &settings.tenant);
    (!was.may_become(is)).then(|| format!("an endpoint keeps its tenant, {was}: {is} needs an endpoint of its own"))
}

/// The mistake that an endpoint of the program or the file is one of another tenant's already.
pub(super) fn fault(index: usize, old: &Endpoint, declared: &DeclaredEndpoint) -> Option<Fault> {
    let why = another(old, &declared.settings)?;
    let detail = format!("{why}, with another id; or delete {} first", old.id);
    Some(Fault::new(format!("#/endpoints/{index}/tenant"), detail))
}

impl Hookmill {
    /// # Errors
    /// A conflict: it would change hands.
    pub(super) fn expect_same_tenant(&self, old: &Endpoint, settings: &Settings) -> Result<(), ManageError> {
        another(old, settings).map_or(Ok(()), |why| Err(ManageError::Conflict(format!("#/tenant: {why}"))))
    }

    pub(super) fn expect_same_tenants(&self, declared: &Declared) -> Result<(), Invalid> {
        let found = declared.endpoints.iter().enumerate();
        let found = found.filter_map(|(index, new)| fault(index, &*self.endpoint(&new.id)?, new));
        Invalid::unless_empty(found.collect())
    }

    /// Gives an endpoint to a tenant, as earlier versions did when they were asked to.
    #[cfg(test)]
    pub(crate) async fn give_as_before(&self, id: &str, tenant: crate::event::Tenant) {
        let old = self.endpoint(&id.parse().unwrap()).unwrap();
        let settings = Settings { tenant: crate::endpoint::TenantScope::Of(tenant), ..old.settings.clone() };
        self.store_and_apply(&old, settings, None).await.unwrap();
    }
}
