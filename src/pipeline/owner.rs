//! Who decides over an endpoint or a debounce rule.

use std::collections::HashMap;

use crate::{debounce::RuleName, endpoint::EndpointId};

/// Who decides over an endpoint or a debounce rule: `managed_by` in the API.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Owner {
    /// The callers of the API.
    #[default]
    Api,
    /// The program: [`Builder::endpoint`](crate::Builder::endpoint), [`Builder::debounce`](crate::Builder::debounce).
    Code,
    /// The operator's file: [`Builder::declare`](crate::Builder::declare), [`Hookmill::apply`](crate::Hookmill::apply).
    File,
    /// A chain, of which it is an asynchronous step.
    Chain,
}

impl Owner {
    /// As the API names it: `api`, `code`, `file` or `chain`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Code => "code",
            Self::File => "file",
            Self::Chain => "chain",
        }
    }

    /// As a sentence names it.
    pub(super) const fn in_words(self) -> &'static str {
        match self {
            Self::Api => "the callers of the API",
            Self::Code => "the program",
            Self::File => "the configuration file",
            Self::Chain => "a chain",
        }
    }
}

/// What belongs to the program or the file; everything else belongs to the callers of the API.
#[derive(Debug, Default)]
pub(crate) struct Owners {
    pub(super) endpoints: HashMap<EndpointId, Owner>,
    pub(super) rules: HashMap<RuleName, Owner>,
}
