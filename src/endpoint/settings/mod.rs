//! Settings from and to JSON: one validator for the API, for configuration files and for the host's code.

mod access;
mod batch;
mod dead_letters;
mod headers;
#[cfg(test)]
pub(super) mod laws;
pub mod limits;
mod moved;
mod parse;
mod patch;
mod policy;
mod print;
mod queue;
mod schema;
mod target;

use std::io;

use url::Url;

use super::{FilePath, Settings, policy::Guard};
pub(super) use {
    batch::print as print_batch,
    patch::merge_settings,
    print::{guard_name, in_clear as print_signing},
    queue::print as print_queue,
};
pub(crate) use {headers::is_reserved, target::OF_REQUESTS};

/// Who configures an endpoint, which decides what addresses it may reach and what files it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The program that embeds Hookmill. Guard `private` unless it says otherwise; files by absolute paths.
    Code,
    /// The operator's configuration file. Guard `private` unless it says otherwise; files by absolute paths.
    Operator,
    /// The configuration API. Guard `public` unless the caller says otherwise.
    Api {
        /// `public` and `private` reach this machine too, which neither does otherwise: [`Guard::PublicAndLoopback`],
        /// [`Guard::Private`]. For development and demonstration.
        allow_loopback: bool,
        /// There is a file root: files may be made below the first one, by relative paths.
        file_root: bool,
    },
    /// Whoever calls the configuration API with a tenant's token. Guard `public`, and no other; no files.
    Tenant {
        /// `public` reaches this machine too: [`Guard::PublicAndLoopback`].
        allow_loopback: bool,
    },
}

/// Which files an endpoint may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Files {
    /// By absolute paths.
    Absolute,
    /// Below the first file root.
    BelowRoot,
    /// None: no file root is named.
    NoRoot,
    /// None: they are not a tenant's.
    NotTheirs,
    /// Those that were allowed when they were named.
    Any,
}

impl Files {
    fn allow(self, path: &FilePath) -> Result<(), &'static str> {
        if cfg!(not(unix)) {
            return Err("is not supported on this system");
        }
        match (self, path.is_absolute()) {
            (Self::Any, _) | (Self::Absolute, true) | (Self::BelowRoot, false) => Ok(()),
            (Self::Absolute, false) => Err("must be an absolute path, such as \"/var/log/hooks.jsonl\""),
            (Self::BelowRoot, true) => Err("must be a relative path: it lies below the first of the `file_roots`"),
            (Self::NotTheirs, _) => Err("is refused: a tenant's endpoints are URLs"),
            (Self::NoRoot, _) => {
                Err("is refused: the operator has to name `file_roots` in the configuration file (or the program one)")
            }
        }
    }
}

impl Origin {
    /// The one place that decides who may name which files. Whoever acts for a tenant may name none.
    const fn files(self) -> Files {
        match self {
            Self::Code | Self::Operator => Files::Absolute,
            Self::Api { file_root: true, .. } => Files::BelowRoot,
            Self::Api { file_root: false, .. } => Files::NoRoot,
            Self::Tenant { .. } => Files::NotTheirs,
        }
    }

    /// The guard of an endpoint that names none.
    pub const fn default_guard(self) -> Guard {
        match self {
            Self::Code | Self::Operator => Guard::Private,
            Self::Api { .. } | Self::Tenant { .. } => self.public(),
        }
    }

    /// What `"private"` means here, if it may be said.
    const fn private(self) -> Option<Guard> {
        Some(match self {
            Self::Tenant { .. } => return None,
            Self::Api { allow_loopback: false, .. } => Guard::PrivateNoLoopback,
            _ => Guard::Private,
        })
    }

    /// What `"public"` means here.
    const fn public(self) -> Guard {
        match self {
            Self::Api { allow_loopback: true, .. } | Self::Tenant { allow_loopback: true } => Guard::PublicAndLoopback,
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
        self.signing.complete()?;
        Ok(self)
    }

    /// Takes over the secrets of `old` where these settings are signed in the same way and bring none of their own: replacing an
    /// endpoint's settings does not change its secret by leaving it out.
    pub fn keep_secret_of(&mut self, old: &Self) {
        self.signing.keep_secret_of(&old.signing);
    }
}
