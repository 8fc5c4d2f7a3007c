//! What a caller may, and what a route asks for.

use super::problem::{Kind, Problem};
use crate::{
    event::Tenant,
    pipeline::Asker,
    store::{Scope, Scopes},
};

/// What a caller may.
#[derive(Clone, Debug)]
pub(super) struct Rights {
    pub(super) scopes: Scopes,
    /// Whose things alone it may see and change.
    pub(super) tenant: Option<Tenant>,
}

/// What a route asks of its callers. There is no route without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: anybody may call.
    Nothing,
    /// Any token.
    Token,
    /// A token with this scope. A tenant's works too, on what is its own.
    Own(Scope),
    /// A token with one of these scopes: which, the handler knows and asks for. A tenant's works too, on what is its own.
    Either([Scope; 2]),
    /// A token with this scope that is no tenant's.
    Whole(Scope),
}

impl Rights {
    /// With whom the caller shares, where this was needed.
    pub(super) fn asker(&self, need: Need) -> Asker {
        match &self.tenant {
            Some(tenant) => Asker::Tenant(tenant.clone()),
            None if need == Need::Nothing => Asker::Anybody,
            None => Asker::Operator,
        }
    }

    /// Everything.
    pub(super) fn all() -> Self {
        Self { scopes: Scopes::all(), tenant: None }
    }

    /// # Errors
    /// Forbidden: it is missing.
    pub(super) fn expect_scope(&self, scope: Scope) -> Result<(), Problem> {
        if self.scopes.contains(scope) { Ok(()) } else { Err(Problem::lacking(scope)) }
    }

    /// # Errors
    /// Forbidden: what is missing.
    pub(super) fn expect(&self, need: Need) -> Result<(), Problem> {
        let Some(first) = need.scopes().first() else { return Ok(()) };
        if !need.scopes().iter().any(|scope| self.scopes.contains(*scope)) {
            return Err(Problem::lacking(*first));
        }
        if matches!(need, Need::Whole(_)) && self.tenant.is_some() {
            return Err(Problem::new(Kind::Forbidden, "this is about all tenants: a tenant's token does not open it"));
        }
        Ok(())
    }
}

impl Need {
    /// One of which is enough; none where none is asked for.
    pub(super) const fn scopes(&self) -> &[Scope] {
        match self {
            Self::Nothing | Self::Token => &[],
            Self::Own(scope) | Self::Whole(scope) => std::slice::from_ref(scope),
            Self::Either(scopes) => scopes,
        }
    }
}
