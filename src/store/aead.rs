//! AES-256-GCM, with the nonce in front of what was sealed.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::error::StoreError;

/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 32;

/// A key that seals texts. `Debug` does not show it.
pub struct SealingKey(LessSafeKey);

impl SealingKey {
    /// Fails unless there are 32 bytes.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, StoreError> {
        let key = UnboundKey::new(&AES_256_GCM, bytes);
        key.map(|key| Self(LessSafeKey::new(key))).map_err(|_| StoreError::Failed("a key has 32 bytes".to_owned()))
    }

    /// The bytes of a new one.
    pub(super) fn draw() -> Result<[u8; KEY_BYTES], StoreError> {
        let mut bytes = [0; KEY_BYTES];
        let drawn = getrandom::fill(&mut bytes);
        drawn.map(|()| bytes).map_err(|error| StoreError::Failed(format!("no randomness for a key: {error}")))
    }

    /// Seals `text`, so that it can be opened with the same `context` alone: in as many bytes, and 28. The same text is sealed in
    /// another way each time. `None` when the operating system has no randomness.
    pub(crate) fn seal(&self, context: &str, text: &str) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).ok()?;
        let mut sealed = text.as_bytes().to_vec();
        let place = Aad::from(context.as_bytes());
        self.0.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), place, &mut sealed).ok()?;
        Some([&nonce[..], &sealed].concat())
    }

    /// Opens what [`SealingKey::seal`] made. `None` when that has changed, or was sealed in another context.
    pub(crate) fn open(&self, context: &str, sealed: &[u8]) -> Option<String> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = self.0.open_in_place(nonce, Aad::from(context.as_bytes()), &mut text).ok()?;
        std::str::from_utf8(opened).map(str::to_owned).ok()
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(***)")
    }
}
