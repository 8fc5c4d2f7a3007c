//! The files that the process may have open, and who gets how many. What is left is for the store, files and the runtime.

/// Connections of callers, unless the operator says otherwise.
#[cfg(feature = "cli")]
const CALLERS: usize = 1024;
/// Attempts in flight.
const ATTEMPTS: usize = 8192;
/// Of each, however few files there may be.
const LEAST: usize = 16;

/// Connections to us: a quarter, at most 1024.
#[cfg(feature = "cli")]
pub(crate) fn for_callers() -> usize {
    (allowed() / 4).clamp(LEAST, CALLERS)
}

/// Attempts in flight: half, at most 8192.
pub(crate) fn for_attempts() -> usize {
    (allowed() / 2).clamp(LEAST, ATTEMPTS)
}

/// Connections to receivers, those that are kept among them: five eighths.
pub(crate) fn for_receivers() -> usize {
    (allowed() / 8 * 5).max(LEAST)
}

#[cfg(unix)]
fn allowed() -> usize {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok()).unwrap_or(usize::MAX)
}

#[cfg(not(unix))]
fn allowed() -> usize {
    usize::MAX
}
