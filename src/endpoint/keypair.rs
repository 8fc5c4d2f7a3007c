//! Pairs of keys for the asymmetric scheme of Standard Webhooks, `v1a`: Ed25519 (RFC 8032).

use std::{fmt, io, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::error::Invalid;

/// What only the sender has: `whsk_` and the base64 of the 32 bytes of a seed and of the public key's 32.
///
/// `Debug` shows `whsk_***`; [`PrivateKey::reveal`] is the only way to its text. No answer of Hookmill holds it: receivers
/// need its [`PublicKey`] alone.
#[derive(Clone)]
pub struct PrivateKey(Arc<Pair>);

struct Pair {
    /// Seed and public key.
    bytes: Zeroizing<Vec<u8>>,
    pair: Ed25519KeyPair,
}

/// What receivers verify with: `whpk_` and the base64 of 32 bytes. It is no secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

const PRIVATE: &str = "whsk_";
const PUBLIC: &str = "whpk_";
const SEED: usize = 32;

impl PrivateKey {
    /// A new random pair.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn generate() -> io::Result<Self> {
        let mut seed = Zeroizing::new(vec![0; SEED]);
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|error| io::Error::other(error.to_string()))?;
        let mut bytes = Zeroizing::new(Vec::with_capacity(2 * SEED));
        bytes.extend_from_slice(&seed);
        bytes.extend_from_slice(pair.public_key().as_ref());
        Ok(Self(Arc::new(Pair { bytes, pair })))
    }

    /// Reads `whsk_…`.
    ///
    /// # Errors
    /// When the text is something else, or its halves do not belong together.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let rule = || {
            let detail = "must be `whsk_` followed by the base64 of an Ed25519 seed of 32 bytes and of its public key";
            Invalid::at("#", detail)
        };
        let encoded = text.strip_prefix(PRIVATE).ok_or_else(rule)?;
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(encoded).map_err(|_| rule())?);
        let (seed, public) = bytes.split_at_checked(SEED).ok_or_else(rule)?;
        let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).map_err(|_| rule())?;
        Ok(Self(Arc::new(Pair { bytes, pair })))
    }

    /// The text that [`PrivateKey::parse`] reads: for the one who may know it.
    pub fn reveal(&self) -> String {
        format!("{PRIVATE}{}", BASE64_STANDARD.encode(self.0.bytes.as_slice()))
    }

    /// What receivers verify with.
    pub fn public(&self) -> PublicKey {
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(self.0.pair.public_key().as_ref()).for_each(|(to, from)| *to = *from);
        PublicKey(bytes)
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.pair.sign(message).as_ref().to_vec()
    }
}

/// Two pairs are equal when their public keys are.
impl PartialEq for PrivateKey {
    fn eq(&self, other: &Self) -> bool {
        self.public() == other.public()
    }
}

impl Eq for PrivateKey {}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsk_***")
    }
}

impl PublicKey {
    /// Reads `whpk_…`.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let encoded = text.strip_prefix(PUBLIC);
        let bytes = encoded.and_then(|encoded| BASE64_STANDARD.decode(encoded).ok()?.try_into().ok());
        bytes.map(Self).ok_or_else(|| Invalid::at("#", "must be `whpk_` followed by 32 bytes in base64"))
    }

    /// Whether `signature` is of `message` and this key.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_reads_back_and_never_prints() {
        let key = PrivateKey::generate().unwrap();
        let again = PrivateKey::parse(&key.reveal()).unwrap();
        assert_eq!((&again, again.reveal()), (&key, key.reveal()));
        assert_eq!(format!("{key:?}"), "whsk_***");
        assert_eq!(PublicKey::parse(&key.public().to_string()).unwrap(), key.public());
        assert_ne!(PrivateKey::generate().unwrap(), key);
    }

    #[test]
    fn halves_that_do_not_belong_together_are_refused() {
        let [one, two] = [(); 2].map(|()| PrivateKey::generate().unwrap());
        let halves = [&one.0.bytes[..32], &two.0.bytes[32..]].concat();
        let mixed = format!("{PRIVATE}{}", BASE64_STANDARD.encode(halves));
        let seed = format!("{PRIVATE}{}", BASE64_STANDARD.encode(&one.0.bytes[..32]));
        for text in ["", "whsk_", "whsk_AAAA", &mixed, &seed, &one.public().to_string()] {
            assert!(PrivateKey::parse(text).is_err(), "{text}");
        }
        for text in ["", "whpk_", "whpk_AAAA", &one.reveal()] {
            assert!(PublicKey::parse(text).is_err(), "{text}");
        }
    }
}
