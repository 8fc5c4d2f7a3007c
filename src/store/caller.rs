//! For whom a call of the store is made.

use std::future::Future;

use crate::event::Tenant;

tokio::task_local! {
    static CALLER: Option<Tenant>;
}

/// Runs `calls`: what they read takes places that are this tenant's, if there is one.
#[cfg(any(test, feature = "api"))]
pub(crate) fn on_behalf_of<T>(tenant: Option<Tenant>, calls: impl Future<Output = T>) -> impl Future<Output = T> {
    CALLER.scope(tenant, calls)
}

/// For whom the present call is made: `None` where that is no tenant.
#[cfg(any(test, feature = "sqlite"))]
pub(crate) fn caller() -> Option<Tenant> {
    CALLER.try_with(Clone::clone).ok().flatten()
}
