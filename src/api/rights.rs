//! What a caller may, and what a route asks for.

use super::problem::{Kind, Problem};
use crate::{
    event::Tenant,
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
    /// A token with this scope that is no tenant's.
    Whole(Scope),
}

impl Rights {
    /// Everything.
    pub(super) fn all() -> Self {
        Self { scopes: Scopes::all(), tenant: None }
    }

    /// # Errors
    /// Forbidden: what is missing.
    pub(super) fn expect(&self, need: Need) -> Result<(), Problem> {
        let Some(scope) = need.scope() else { return Ok(()) };
        if !self.scopes.contains(scope) {
            return Err(Problem::lacking(scope));
        }
        if matches!(need, Need::Whole(_)) && self.tenant.is_some() {
            return Err(Problem::new(Kind::Forbidden, "this is about all tenants: a tenant's token does not open it"));
        }
        Ok(())
    }
}

impl Need {
    pub(super) const fn scope(self) -> Option<Scope> {
        match self {
            Self::Nothing | Self::Token => None,
            Self::Own(scope) | Self::Whole(scope) => Some(scope),
        }
    }
}
