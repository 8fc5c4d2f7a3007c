//! How requests are signed.

use std::{fmt, io, sync::Arc};

use super::Secret;

/// How requests are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signing {
    /// Standard Webhooks `v1` with each of these secrets; at least one once the endpoint exists.
    Standard(Vec<Secret>),
    /// HMAC-SHA256 over the body alone, in a header of the endpoint's own.
    Hmac(Hmac),
    /// Not at all.
    None,
}

/// A plain HMAC-SHA256 of the body, as many receivers knew it before Standard Webhooks. It covers neither the id nor the time
/// of a request: who has seen one can send it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hmac {
    /// The header, its name in lower case.
    pub header: String,
    /// What stands in it before the code, such as `sha256=`.
    pub prefix: String,
    /// How the code is written.
    pub encoding: Encoding,
    /// The key; there once the endpoint exists.
    pub secret: Option<TextSecret>,
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// Lower-case hexadecimal digits.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
}

/// A secret that is any text: its bytes are the key, whatever it looks like.
///
/// `Debug` shows `***`; [`TextSecret::reveal`] is the only way to it.
#[derive(Clone, PartialEq, Eq)]
pub struct TextSecret(Arc<str>);

impl TextSecret {
    /// This text. [`Settings::parse`](super::Settings::parse) sets bounds to it.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// 32 random bytes as 64 hexadecimal digits.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into()))
    }

    /// The text: for the one who may know it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for TextSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Signing {
    /// Gives signing without a secret a new random one.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(secrets) if secrets.is_empty() => secrets.push(Secret::generate()?),
            Self::Hmac(hmac) if hmac.secret.is_none() => hmac.secret = Some(TextSecret::generate()?),
            _ => {}
        }
        Ok(())
    }

    /// Takes over the secret of `old`, which signs in the same way, where there is none.
    pub(super) fn keep_secret_of(&mut self, old: &Self) {
        match (self, old) {
            (Self::Standard(secrets), Self::Standard(kept)) if secrets.is_empty() => secrets.clone_from(kept),
            (Self::Hmac(hmac), Self::Hmac(kept)) if hmac.secret.is_none() => hmac.secret.clone_from(&kept.secret),
            _ => {}
        }
    }

    /// The newest secret in clear: for the one who may know it.
    pub fn reveal(&self) -> Option<String> {
        match self {
            Self::Standard(secrets) => secrets.first().map(Secret::reveal),
            Self::Hmac(hmac) => hmac.secret.as_ref().map(|secret| secret.reveal().to_owned()),
            Self::None => None,
        }
    }
}
