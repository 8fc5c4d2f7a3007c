//! Who calls the API, as far as callers share its memory.

use crate::{event::Tenant, quota::Fair};

/// Request bodies being read or worked on at once; one caller's are half of them.
const BODIES: usize = 2048;
/// Their bytes: of small ones, and of all others.
const SMALL_BYTES: usize = 64 << 20;
const LARGE_BYTES: usize = 384 << 20;
/// Bytes of answers that are being read.
pub(super) const ANSWER_BYTES: usize = 256 << 20;

/// Whose a call is.
#[cfg_attr(not(feature = "api"), expect(dead_code, reason = "only the API is called"))]
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Asker {
    /// Nobody was asked for a token.
    Anybody,
    /// A token's that is no tenant's.
    Operator,
    /// A token's that is this tenant's.
    Tenant(Tenant),
}

/// Bounds on the request bodies that are being read, over every mounted API.
#[cfg_attr(not(feature = "api"), expect(dead_code, reason = "only the API reads bodies"))]
#[derive(Debug)]
pub(crate) struct BodyBounds {
    pub(crate) count: Fair<Asker>,
    /// What is configured and most of what is published is small: large bodies take nothing of this.
    pub(crate) small: Fair<Asker>,
    pub(crate) large: Fair<Asker>,
}

impl Default for BodyBounds {
    fn default() -> Self {
        Self { count: Fair::new(BODIES), small: Fair::new(SMALL_BYTES), large: Fair::new(LARGE_BYTES) }
    }
}
