//! How requests are signed.

use std::{fmt, io, sync::Arc, time::Duration};

use zeroize::Zeroizing;

use super::{PrivateKey, PublicKey, Secret, settings::limits::MAX_SECRETS};
use crate::{clock::Timestamp, error::Invalid};

/// How requests are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signing {
    /// As Standard Webhooks has it.
    Standard(Standard),
    /// HMAC-SHA256 over the body alone, in a header of the endpoint's own.
    Hmac(Hmac),
    /// Not at all.
    None,
}

/// [Standard Webhooks](https://www.standardwebhooks.com): one signature for each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standard {
    /// What the headers are called.
    pub header_prefix: HeaderPrefix,
    /// Newest first; at least one once the endpoint exists. The first has no end.
    pub keys: Vec<SigningKey>,
    /// Which kind of key is made where there is none: that of the one that is replaced, or [`Scheme::V1`], when not said.
    /// `None` where there are keys.
    pub scheme: Option<Scheme>,
}

/// A key that signs, for good or for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKey {
    /// The key.
    pub key: Key,
    /// When it signs no more and is forgotten.
    pub until: Option<Timestamp>,
}

/// A key of one of the schemes of Standard Webhooks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// `v1`, HMAC-SHA256: the receiver has it too.
    Secret(Secret),
    /// `v1a`, Ed25519: the receiver has its public half.
    Private(PrivateKey),
}

/// The schemes of Standard Webhooks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    /// HMAC-SHA256 with a shared secret.
    #[default]
    V1,
    /// Ed25519.
    V1a,
}

/// What the three headers of a signed request begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderPrefix {
    /// `webhook-id`, `webhook-timestamp`, `webhook-signature`.
    #[default]
    Webhook,
    /// `svix-id`, `svix-timestamp`, `svix-signature`: for receivers that verify the older names.
    Svix,
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
pub struct TextSecret(Arc<Zeroizing<String>>);

impl TextSecret {
    /// This text. [`Settings::parse`](super::Settings::parse) sets bounds to it.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// 32 random bytes as 64 hexadecimal digits.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(io::Error::other)?;
        Ok(Self::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
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

impl Key {
    /// Reads `whsec_…` or `whsk_…`.
    ///
    /// # Errors
    /// When the text is something else.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.starts_with("whsk_") {
            PrivateKey::parse(text).map(Self::Private)
        } else {
            Secret::parse(text).map(Self::Secret)
        }
    }

    /// A new random one.
    ///
    /// # Errors
    /// When the operating system has no randomness.
    pub fn generate(scheme: Scheme) -> io::Result<Self> {
        match scheme {
            Scheme::V1 => Secret::generate().map(Self::Secret),
            Scheme::V1a => PrivateKey::generate().map(Self::Private),
        }
    }

    /// The text that [`Key::parse`] reads.
    pub fn reveal(&self) -> String {
        match self {
            Self::Secret(secret) => secret.reveal(),
            Self::Private(key) => key.reveal(),
        }
    }

    /// What it signs by.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::Secret(_) => Scheme::V1,
            Self::Private(_) => Scheme::V1a,
        }
    }

    /// The public half of a pair.
    pub fn public(&self) -> Option<PublicKey> {
        match self {
            Self::Secret(_) => None,
            Self::Private(key) => Some(key.public()),
        }
    }
}

impl From<Key> for SigningKey {
    fn from(key: Key) -> Self {
        Self { key, until: None }
    }
}

impl From<Secret> for SigningKey {
    fn from(secret: Secret) -> Self {
        Key::Secret(secret).into()
    }
}

impl SigningKey {
    fn signs_at(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

impl Standard {
    /// Signs with these keys under the usual headers.
    pub fn with<K: Into<SigningKey>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self { keys: keys.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// The keys that sign at this time.
    pub fn keys_at(&self, now: Timestamp) -> impl Iterator<Item = &Key> {
        self.keys.iter().filter(move |key| key.signs_at(now)).map(|key| &key.key)
    }

    /// The scheme of the newest key, or of the one that is to be made.
    pub fn scheme(&self) -> Option<Scheme> {
        self.keys.first().map(|key| key.key.scheme()).or(self.scheme)
    }

    fn keep_keys_of(&mut self, old: &Self) {
        if self.keys.is_empty() && self.scheme.is_none_or(|wanted| Some(wanted) == old.scheme()) {
            self.keys.clone_from(&old.keys);
            self.scheme = old.scheme;
        }
    }

    fn complete(&mut self) -> io::Result<()> {
        if self.keys.is_empty() {
            self.keys.push(Key::generate(self.scheme.take().unwrap_or_default())?.into());
        }
        Ok(())
    }

    /// With `new` in front; the others end at `until`, or earlier where they were to.
    fn rotated(&self, new: Key, until: Timestamp, now: Timestamp) -> Result<Self, Invalid> {
        if self.keys_at(now).any(|key| *key == new) {
            return Err(Invalid::at("#/secret", "signs already: bring another one, or none to have one made"));
        }
        let ending = |old: &SigningKey| SigningKey {
            key: old.key.clone(),
            until: Some(old.until.map_or(until, |earlier| earlier.min(until))),
        };
        let mut keys = vec![SigningKey::from(new)];
        keys.extend(self.keys.iter().map(ending).filter(|key| key.signs_at(now)));
        if keys.len() > MAX_SECRETS {
            let detail = format!("would have more than {MAX_SECRETS} secrets sign at once: give a shorter one");
            return Err(Invalid::at("#/overlap", detail));
        }
        Ok(Self { keys, ..self.clone() })
    }
}

/// A change of secret that is asked for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretRotation {
    overlap: Option<Duration>,
    secret: Option<String>,
}

impl SecretRotation {
    /// How long the old secrets sign beside the new one, unless said otherwise.
    pub const OVERLAP: Duration = Duration::from_secs(24 * 3600);

    /// A generated secret; the old ones sign for [`SecretRotation::OVERLAP`] more.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn with(overlap: Option<Duration>, secret: Option<String>) -> Self {
        Self { overlap, secret }
    }

    /// Sets how long the old secrets sign beside the new one; with zero they end at once.
    #[must_use]
    pub fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = Some(overlap);
        self
    }

    /// Brings the new secret: `whsec_…` or `whsk_…`, or any text for a plain HMAC.
    #[must_use]
    pub fn secret(mut self, secret: impl Into<String>) -> Self {
        self.secret = Some(secret.into());
        self
    }

    /// Whether it brings a secret.
    pub fn brings_secret(&self) -> bool {
        self.secret.is_some()
    }
}

impl fmt::Debug for SecretRotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = self.secret.as_ref().map(|_| "***");
        f.debug_struct("SecretRotation").field("overlap", &self.overlap).field("secret", &secret).finish()
    }
}

/// Why a secret was not rotated.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RotationError {
    #[error("{0}")]
    Invalid(#[from] Invalid),
    #[error("it is not signed: there is no secret to rotate")]
    Unsigned,
    #[error("no randomness for a secret: {0}")]
    Random(#[from] io::Error),
}

impl Signing {
    /// Standard Webhooks with these keys.
    pub fn standard<K: Into<SigningKey>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self::Standard(Standard::with(keys))
    }

    /// Whether it needs a secret that is not there yet.
    pub fn is_incomplete(&self) -> bool {
        match self {
            Self::Standard(standard) => standard.keys.is_empty(),
            Self::Hmac(hmac) => hmac.secret.is_none(),
            Self::None => false,
        }
    }

    /// Gives signing without a secret a new random one.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        match self {
            Self::Standard(standard) => standard.complete()?,
            Self::Hmac(hmac) if hmac.secret.is_none() => hmac.secret = Some(TextSecret::generate()?),
            _ => {}
        }
        Ok(())
    }

    /// Takes over the secrets of `old`, which signs in the same way, where there is none.
    pub(super) fn keep_secret_of(&mut self, old: &Self) {
        match (self, old) {
            (Self::Standard(new), Self::Standard(old)) => new.keep_keys_of(old),
            (Self::Hmac(hmac), Self::Hmac(kept)) if hmac.secret.is_none() => hmac.secret.clone_from(&kept.secret),
            _ => {}
        }
    }

    /// The same with another secret, from now on. A plain HMAC has room for one signature: its old secret ends at once.
    pub(crate) fn rotated(&self, rotation: &SecretRotation, now: Timestamp) -> Result<Self, RotationError> {
        match self {
            Self::Standard(standard) => {
                let new = match &rotation.secret {
                    Some(text) => Key::parse(text).map_err(|invalid| invalid.below("/secret"))?,
                    None => Key::generate(standard.scheme().unwrap_or_default())?,
                };
                let until = now.after(rotation.overlap.unwrap_or(SecretRotation::OVERLAP));
                Ok(Self::Standard(standard.rotated(new, until, now)?))
            }
            Self::Hmac(hmac) => {
                if rotation.overlap.is_some_and(|overlap| !overlap.is_zero()) {
                    let detail = "must be \"0s\" or left out: the header of a plain HMAC holds one signature";
                    return Err(Invalid::at("#/overlap", detail).into());
                }
                let new =
                    rotation.secret.clone().map_or_else(TextSecret::generate, |text| Ok(TextSecret::new(text)))?;
                Ok(Self::Hmac(Hmac { secret: Some(new), ..hmac.clone() }))
            }
            Self::None => Err(RotationError::Unsigned),
        }
    }

    /// The same without keys whose time is over; `None` when there are none.
    pub(crate) fn without_ended(&self, now: Timestamp) -> Option<Self> {
        let Self::Standard(standard) = self else { return None };
        let keys: Vec<_> = standard.keys.iter().filter(|key| key.signs_at(now)).cloned().collect();
        (keys.len() < standard.keys.len()).then(|| Self::Standard(Standard { keys, ..standard.clone() }))
    }

    /// When the next key ends.
    pub(crate) fn next_end(&self) -> Option<Timestamp> {
        let Self::Standard(standard) = self else { return None };
        standard.keys.iter().filter_map(|key| key.until).min()
    }

    /// The newest secret in clear: for the one who may know it. Private keys are nobody's but the sender's; see
    /// [`Signing::public_keys`].
    pub fn reveal(&self) -> Option<String> {
        match self {
            Self::Standard(standard) => match &standard.keys.first()?.key {
                Key::Secret(secret) => Some(secret.reveal()),
                Key::Private(_) => None,
            },
            Self::Hmac(hmac) => hmac.secret.as_ref().map(|secret| secret.reveal().to_owned()),
            Self::None => None,
        }
    }

    /// What receivers verify asymmetric signatures with, newest first.
    pub fn public_keys(&self) -> Vec<PublicKey> {
        match self {
            Self::Standard(standard) => standard.keys.iter().filter_map(|key| key.key.public()).collect(),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn secret(byte: u8) -> Secret {
        use base64::{Engine, prelude::BASE64_STANDARD};
        Secret::parse(&format!("whsec_{}", BASE64_STANDARD.encode([byte; 32]))).unwrap()
    }

    fn keys(signing: &Signing) -> &Standard {
        let Signing::Standard(standard) = signing else { panic!("{signing:?}") };
        standard
    }

    #[test]
    fn old_secrets_sign_until_their_time_and_are_forgotten_then() {
        let old = Signing::standard([secret(1)]);
        let rotation = SecretRotation::new().secret(secret(2).reveal()).overlap(Duration::from_secs(60));
        let new = old.rotated(&rotation, at(100)).unwrap();
        let signing = |now| keys(&new).keys_at(at(now)).cloned().collect::<Vec<_>>();
        let [first, second] = [secret(1), secret(2)].map(Key::Secret);
        assert_eq!(signing(159), [second.clone(), first]);
        assert_eq!(signing(160), [second], "its end is its first moment without it");
        assert_eq!((new.next_end(), new.without_ended(at(159))), (Some(at(160)), None));
        assert_eq!(new.without_ended(at(160)).unwrap(), Signing::standard([secret(2)]));
        assert_eq!(new.reveal(), Some(secret(2).reveal()));
    }

    #[test]
    fn without_an_overlap_every_old_secret_ends_at_once() {
        let rotation = SecretRotation::new().overlap(Duration::from_secs(60));
        let once = Signing::standard([secret(1)]).rotated(&rotation, at(0)).unwrap();
        assert_eq!(keys(&once).keys.len(), 2);
        let twice = once.rotated(&SecretRotation::new().overlap(Duration::ZERO), at(1)).unwrap();
        assert_eq!(keys(&twice).keys.len(), 1);
        assert_ne!(twice.reveal(), once.reveal());
    }

    #[test]
    fn the_kind_of_key_stays_unless_another_is_brought() {
        let pair = Signing::standard([Key::generate(Scheme::V1a).unwrap()]);
        let again = pair.rotated(&SecretRotation::new(), at(0)).unwrap();
        assert_eq!((again.public_keys().len(), again.reveal()), (2, None));
        let shared = again.rotated(&SecretRotation::new().secret(secret(1).reveal()), at(0)).unwrap();
        assert_eq!((shared.public_keys().len(), shared.reveal()), (2, Some(secret(1).reveal())));
    }

    #[test]
    fn what_cannot_be_rotated_says_why() {
        let place = |signing: &Signing, rotation: &SecretRotation| match signing.rotated(rotation, at(0)).unwrap_err() {
            RotationError::Invalid(invalid) => invalid.faults()[0].pointer.clone(),
            other => other.to_string(),
        };
        let one = Signing::standard([secret(1)]);
        assert_eq!(place(&one, &SecretRotation::new().secret(secret(1).reveal())), "#/secret");
        assert_eq!(place(&one, &SecretRotation::new().secret("hush")), "#/secret");
        let full = Signing::standard((0..8).map(secret));
        assert_eq!(place(&full, &SecretRotation::new()), "#/overlap");
        assert!(full.rotated(&SecretRotation::new().overlap(Duration::ZERO), at(0)).is_ok());
        let hmac = Hmac {
            header: "x-s".to_owned(),
            prefix: String::new(),
            encoding: Encoding::Hex,
            secret: Some(TextSecret::new("a")),
        };
        let hmac = Signing::Hmac(hmac);
        assert_eq!(place(&hmac, &SecretRotation::new().overlap(Duration::from_secs(1))), "#/overlap");
        assert_eq!(hmac.rotated(&SecretRotation::new().secret("b"), at(0)).unwrap().reveal().unwrap(), "b");
        assert!(place(&Signing::None, &SecretRotation::new()).contains("not signed"));
        assert!(!format!("{:?}", SecretRotation::new().secret("hush")).contains("hush"));
    }

    proptest! {
        /// Whatever is rotated when, the newest signs for good, no old one signs longer than it was to, and none at all
        /// signs past its end.
        #[test]
        fn rotating_never_lengthens_a_life(steps in prop::collection::vec((0..50_i64, 0..100_u64), 1..7)) {
            let (mut signing, mut now) = (Signing::standard([secret(0)]), 0);
            for (pause, overlap) in steps {
                now += pause;
                let rotation = SecretRotation::new().overlap(Duration::from_secs(overlap));
                let next = signing.rotated(&rotation, at(now)).unwrap();
                let end = at(now).after(Duration::from_secs(overlap));
                for old in &keys(&signing).keys {
                    let kept = keys(&next).keys.iter().find(|key| key.key == old.key);
                    let bound = old.until.map_or(end, |until| until.min(end));
                    prop_assert_eq!(kept.map(|key| key.until), (at(now) < bound).then_some(Some(bound)));
                }
                prop_assert_eq!(keys(&next).keys[0].until, None);
                signing = next;
            }
        }
    }
}
