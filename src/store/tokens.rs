//! What lets callers in: tokens, kept as hashes, and what they open.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::{
    clock::Timestamp,
    event::{NameError, Tenant, is_identifier, name},
};

name!(
    /// Names a token: `tok_…`. It opens nothing.
    TokenId, is_identifier, "must be 1 to 64 characters of A-Z a-z 0-9 _ -"
);

/// What a token opens. None includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Publishing events, invoking chains.
    Publish,
    /// Looking at everything but metrics and tokens.
    Read,
    /// Delivering dead letters again.
    Replay,
    /// `/metrics`.
    Metrics,
    /// Changing what is configured, giving up and forgetting what is kept, and the tokens: whoever has it can give himself
    /// every other.
    Admin,
}

impl Scope {
    /// All there are.
    pub const ALL: [Self; 5] = [Self::Publish, Self::Read, Self::Replay, Self::Metrics, Self::Admin];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Replay => "replay",
            Self::Metrics => "metrics",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Scope {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == text);
        found.ok_or(NameError("must be publish, read, replay, metrics or admin"))
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub fn all() -> Self {
        Scope::ALL.into_iter().collect()
    }

    /// Whether `scope` is one of them.
    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Them, always in the same order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.into_iter().filter(move |scope| self.contains(*scope))
    }
}

const fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |set, scope| set | bit(scope)))
    }
}

impl Serialize for Scopes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// Separated by spaces, as they are stored.
impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scopes: Vec<_> = self.iter().map(Scope::as_str).collect();
        f.write_str(&scopes.join(" "))
    }
}

impl FromStr for Scopes {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.split_ascii_whitespace().map(str::parse::<Scope>).collect()
    }
}

/// A token as it is kept: not the token itself.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenRow {
    /// Its id.
    pub id: TokenId,
    /// A name for people.
    pub name: Option<String>,
    /// What it opens.
    pub scopes: Scopes,
    /// Whose it is: it sees and changes nothing of others.
    pub tenant: Option<Tenant>,
    /// The SHA-256 of the token.
    pub hash: [u8; 32],
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it opens nothing.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<Timestamp>,
}

/// Without the hash.
impl fmt::Debug for TokenRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, name, scopes, tenant, created_at, expires_at, last_used_at, hash: _ } = self;
        f.debug_struct("TokenRow")
            .field("id", id)
            .field("name", name)
            .field("scopes", scopes)
            .field("tenant", tenant)
            .field("created_at", created_at)
            .field("expires_at", expires_at)
            .field("last_used_at", last_used_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_come_back_as_they_were_written() {
        for set in 0..1_u8 << Scope::ALL.len() {
            let scopes: Scopes = Scope::ALL.into_iter().filter(|scope| set & bit(*scope) != 0).collect();
            assert_eq!(scopes.to_string().parse(), Ok(scopes));
            assert_eq!((scopes.iter().count(), scopes.is_empty()), (set.count_ones() as usize, set == 0));
        }
        assert!("read write".parse::<Scopes>().is_err());
    }
}
