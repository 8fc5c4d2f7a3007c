//! Secrets: kept out of every log line, and wiped from memory when the last who has them is gone.

use std::{env, fmt, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use zeroize::Zeroizing;

use crate::error::Invalid;

/// A Standard Webhooks signing secret: `whsec_` and 24 to 64 bytes in base64.
///
/// `Debug` and `Display` show `whsec_***`; [`Secret::reveal`] is the only way to its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Vec<u8>>>);

const PREFIX: &str = "whsec_";

impl Secret {
    /// A new random secret of 32 bytes.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn generate() -> Result<Self, std::io::Error> {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
        Ok(Self(Arc::new(bytes)))
    }

    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let rule = || Invalid::at("#", "must be `whsec_` followed by 24 to 64 bytes in base64");
        let encoded = text.strip_prefix(PREFIX).ok_or_else(rule)?;
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(encoded).map_err(|_| rule())?);
        if (24..=64).contains(&bytes.len()) { Ok(Self(Arc::new(bytes))) } else { Err(rule()) }
    }

    /// Reads `whsec_…` from an environment variable.
    ///
    /// # Errors
    /// When the variable is missing or holds something else.
    pub fn from_env(variable: &str) -> Result<Self, Invalid> {
        let text = env::var(variable).map_err(|_| Invalid::at("#", format!("{variable} is not set")))?;
        Self::parse(&text)
    }

    /// The text that [`Secret::parse`] reads: for the one who may know it.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", BASE64_STANDARD.encode(self.0.as_slice()))
    }

    /// The key itself.
    pub(crate) fn key(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_reads_back_and_never_prints() {
        let secret = Secret::generate().unwrap();
        assert_eq!(Secret::parse(&secret.reveal()).unwrap(), secret);
        assert_eq!(format!("{secret:?}"), "whsec_***");
    }

    #[test]
    fn short_and_foreign_secrets_are_refused() {
        for text in ["", "whsec_", "whsec_AAAA", "secret", "whsec_!"] {
            assert!(Secret::parse(text).is_err(), "{text}");
        }
    }
}
