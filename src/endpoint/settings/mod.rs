//! Settings from and to JSON: one validator for the API, for configuration files and for the host's code.

mod access;
mod dead_letters;
mod headers;
#[cfg(test)]
pub(super) mod laws;
pub mod limits;
mod parse;
mod patch;
mod policy;
mod print;

use std::io;

use url::Url;

use super::{Secret, Settings, Signing, policy::Guard};
pub(crate) use headers::is_reserved;
pub(super) use {patch::merge_settings, print::guard_name};

/// Who configures an endpoint, which decides what addresses it may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program that embeds Hookmill. Guard `private` unless it says otherwise.
    Code,
    /// The operator's configuration file. Guard `private` unless it says otherwise.
    Operator,
    /// The configuration API. Guard `public` unless the caller says otherwise.
    Api {
        /// `public` and `private` reach this machine too, which neither does otherwise: [`Guard::PublicAndLoopback`],
        /// [`Guard::Private`]. For development and demonstration.
        allow_loopback: bool,
    },
}

impl Origin {
    /// The guard of an endpoint that names none.
    pub const fn default_guard(self) -> Guard {
        match self {
            Self::Code | Self::Operator => Guard::Private,
            Self::Api { .. } => self.public(),
        }
    }

    /// What `"private"` means here.
    const fn private(self) -> Guard {
        match self {
            Self::Api { allow_loopback: false } => Guard::PrivateNoLoopback,
            _ => Guard::Private,
        }
    }

    /// What `"public"` means here.
    const fn public(self) -> Guard {
        match self {
            Self::Api { allow_loopback: true } => Guard::PublicAndLoopback,
            _ => Guard::Public,
        }
    }
}

/// Judges whether a URL may be delivered to under a guard, as far as can be told before its host is resolved; the error
/// says why not. A parameter because the judgement belongs to the transport, which knows addresses.
pub trait Judge: Fn(&Url, Guard) -> Result<(), String> {}

impl<F: Fn(&Url, Guard) -> Result<(), String>> Judge for F {}

/// Stands for a hidden value in [`Settings::to_masked_json`]; refused as a value.
pub const MASK: &str = "***";

impl Settings {
    /// Gives signed settings without a secret a new one of 32 random bytes; others stay as they are.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn with_generated_secret(mut self) -> io::Result<Self> {
        if let Signing::Standard(secrets) = &mut self.signing
            && secrets.is_empty()
        {
            secrets.push(Secret::generate()?);
        }
        Ok(self)
    }

    /// Takes over the secrets of `old` where these settings are signed and bring none of their own: replacing an
    /// endpoint's settings does not change its secret by leaving it out.
    pub fn keep_secret_of(&mut self, old: &Self) {
        if let (Signing::Standard(secrets), Signing::Standard(kept)) = (&mut self.signing, &old.signing)
            && secrets.is_empty()
        {
            secrets.clone_from(kept);
        }
    }
}
