//! What an endpoint loses when it moves to another origin: nobody is to be sent the secrets of somebody else.

use url::Url;

use crate::endpoint::Settings;

impl Settings {
    /// Whether requests go to another scheme, host or port than those of `old`.
    pub fn has_moved_from(&self, old: &Self) -> bool {
        moved(old.target.url(), self.target.url())
    }

    /// Which secrets for the receiver `old` had and these settings, which have moved, have not: JSON Pointers to `auth` and
    /// headers. Empty where nothing has moved.
    pub fn cleared_from(&self, old: &Self) -> Vec<String> {
        if !self.has_moved_from(old) {
            return Vec::new();
        }
        let gone = |name: &&String| self.headers.iter().all(|(kept, _)| kept != *name);
        let headers = old.headers.iter().map(|(name, _)| name).filter(gone);
        let headers = headers.map(|name| format!("/headers/{}", name.replace('~', "~0")));
        let auth = (old.auth.is_some() && self.auth.is_none()).then(|| "/auth".to_owned());
        auth.into_iter().chain(headers).collect()
    }
}

/// Files have no origin.
pub(super) fn moved(from: Option<&Url>, to: Option<&Url>) -> bool {
    from.zip(to).is_some_and(|(from, to)| from.origin() != to.origin())
}
