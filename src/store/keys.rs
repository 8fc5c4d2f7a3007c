//! The operator's keys, which secrets are sealed with where they are stored.

use std::{fmt, fs, io, path::Path, sync::Arc};

use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    aead::{KEY_BYTES, SealingKey},
    within::lies_in,
};
use crate::error::Invalid;

/// Keys that secrets are sealed with in the store (AES-256-GCM). The first one seals; the others open what was sealed with them
/// before, until the next start has sealed it anew.
///
/// `Debug` shows their ids alone: each is a hash of its key.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKeys(Arc<[SecretKey]>);

struct SecretKey {
    id: String,
    key: SealingKey,
}

const RULE: &str = "must be 32 bytes in base64 or 64 hexadecimal digits, as `openssl rand -base64 32` makes them";

impl SecretKeys {
    /// Reads keys, separated by white space or commas: 32 bytes each, in base64 or as hexadecimal digits. What follows a `#` in
    /// its line is a comment.
    ///
    /// # Errors
    /// When one of them is something else, or there is none. The error does not hold what was read.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut keys: Vec<SecretKey> = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            for word in line.split([' ', '\t', ',']).filter(|word| !word.is_empty()) {
                let key = SecretKey::parse(word);
                let key = key.ok_or_else(|| Invalid::at("#", format!("the key in line {number} {RULE}")))?;
                if keys.iter().all(|known| known.id != key.id) {
                    keys.push(key);
                }
            }
        }
        if keys.is_empty() {
            return Err(Invalid::at("#", format!("there is no key: it {RULE}")));
        }
        Ok(Self(keys.into()))
    }

    /// Reads keys from a file, which must not lie in `data_dir`: whoever has a copy of the data must not have the key with it.
    ///
    /// # Errors
    /// When it lies there, also by a link, cannot be read, or as for [`SecretKeys::parse`].
    pub fn from_file(path: &Path, data_dir: &Path) -> Result<Self, Invalid> {
        let failed = |error: io::Error| Invalid::at("#", format!("{}: {error}", path.display()));
        if lies_in(path, data_dir).map_err(failed)? {
            let (path, dir) = (path.display(), data_dir.display());
            let detail =
                format!("{path} lies in the data directory {dir}: keep the key elsewhere, apart from the data");
            return Err(Invalid::at("#", detail));
        }
        let text = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        Self::parse(&text)
    }

    /// The id of the key that seals.
    pub fn id(&self) -> &str {
        self.0.first().map_or("", |key| &key.id)
    }

    /// The ids of all keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    /// Seals `text`, so that it can be opened with the same `context` alone. `None` when the operating system has no randomness.
    pub(super) fn seal(&self, context: &str, text: &str) -> Option<String> {
        self.0.first()?.key.seal(context, text).map(|sealed| BASE64_STANDARD.encode(sealed))
    }

    /// Opens what [`SecretKeys::seal`] made with the key `id`.
    pub(super) fn open(&self, id: &str, context: &str, sealed: &str) -> Result<String, OpenError> {
        let key = self.0.iter().find(|key| key.id == id).ok_or(OpenError::NoKey)?;
        let bytes = BASE64_STANDARD.decode(sealed).ok();
        bytes.and_then(|bytes| key.key.open(context, &bytes)).ok_or(OpenError::Damaged)
    }
}

/// Why something sealed was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OpenError {
    /// It was sealed with a key that is not there.
    NoKey,
    /// It has changed, or stood elsewhere.
    Damaged,
}

impl SecretKey {
    fn parse(word: &str) -> Option<Self> {
        let bytes = match (word.len() == 2 * KEY_BYTES).then(|| from_hex(word)).flatten() {
            Some(bytes) => bytes,
            None => Zeroizing::new(BASE64_STANDARD.decode(word).ok()?),
        };
        let key = SealingKey::new(&bytes).ok()?;
        let digest = Sha256::new().chain_update(b"hookmill secret key\0").chain_update(&*bytes).finalize();
        let id = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Some(Self { id, key })
    }
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let byte = |place: usize| u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok();
    let is_hex = text.bytes().all(|letter| letter.is_ascii_hexdigit());
    is_hex.then(|| (0..KEY_BYTES).map(byte).collect::<Option<Vec<u8>>>()).flatten().map(Zeroizing::new)
}

/// A key is known by its id.
impl PartialEq for SecretKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for SecretKey {}

impl fmt::Debug for SecretKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ids()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> String {
        BASE64_STANDARD.encode([byte; KEY_BYTES])
    }

    #[test]
    fn keys_are_read_in_either_spelling_and_known_by_their_ids() {
        let hex = "07".repeat(KEY_BYTES);
        let keys = SecretKeys::parse(&format!("# new\n{} # since May\n\n{},{hex}\n", key(9), key(7))).unwrap();
        assert_eq!(keys.ids().count(), 2, "the same key twice is one");
        assert_eq!(keys.id(), SecretKeys::parse(&key(9)).unwrap().id());
        let shown = format!("{keys:?}");
        assert!(shown.contains(keys.id()) && !shown.contains(&key(9)) && !shown.contains("0909"));
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        for text in
            ["", "# nothing", "hush-hush", &key(1)[..40], &"0g".repeat(KEY_BYTES), &format!("{}\nhush-hush", key(1))]
        {
            let refused = SecretKeys::parse(text).unwrap_err().to_string();
            assert!(!refused.contains("hush-hush") && refused.contains("openssl rand"), "{refused}");
        }
    }

    #[test]
    fn only_the_same_key_and_context_open_what_was_sealed() {
        let (one, other) = (SecretKeys::parse(&key(1)).unwrap(), SecretKeys::parse(&key(2)).unwrap());
        let sealed = one.seal("a", "hush").unwrap();
        assert_ne!(sealed, one.seal("a", "hush").unwrap(), "never twice the same");
        assert_eq!(one.open(one.id(), "a", &sealed).as_deref(), Ok("hush"));
        assert_eq!(one.open(one.id(), "b", &sealed), Err(OpenError::Damaged));
        assert_eq!(other.open(one.id(), "a", &sealed), Err(OpenError::NoKey));
        for wrong in [
            "",
            "AAAA",
            &sealed[4..],
            &sealed.replacen(&sealed[20..21], if &sealed[20..21] == "A" { "B" } else { "A" }, 1),
        ] {
            assert_eq!(one.open(one.id(), "a", wrong), Err(OpenError::Damaged), "{wrong}");
        }
        let both = SecretKeys::parse(&format!("{} {}", key(2), key(1))).unwrap();
        assert_eq!(both.open(one.id(), "a", &sealed).as_deref(), Ok("hush"));
        assert_eq!(both.id(), other.id());
    }

    #[cfg(unix)]
    #[test]
    fn a_key_in_the_data_directory_is_refused_however_it_is_named() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        for dir in ["data/sub", "keys"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        for file in ["data/key", "data/sub/key", "keys/key"] {
            fs::write(at(file), key(1)).unwrap();
        }
        symlink(at("data"), at("data-link")).unwrap();
        symlink(at("data/key"), at("keys/into")).unwrap();
        symlink(at("keys/into"), at("keys/into-into")).unwrap();
        symlink(at("keys/key"), at("data/out")).unwrap();
        symlink(at("data/out"), at("keys/through")).unwrap();
        symlink(at("keys"), at("data/keys")).unwrap();
        symlink("../keys/key", at("keys/honest")).unwrap();
        let inside = [
            "data/key",
            "data/sub/key",
            "data-link/key",
            "keys/../data/key",
            "keys/into",
            "keys/into-into",
            "data/out",
            "keys/through",
            "data/keys/key",
        ];
        for (name, data) in inside.iter().flat_map(|name| [(name, "data"), (name, "data-link")]) {
            let refused = SecretKeys::from_file(&at(name), &at(data)).unwrap_err().to_string();
            assert!(refused.contains("lies in the data directory"), "{name}: {refused}");
        }
        for name in ["keys/key", "keys/honest"] {
            SecretKeys::from_file(&at(name), &at("data")).unwrap();
            SecretKeys::from_file(&at(name), &at("not-there")).unwrap();
        }
        assert!(SecretKeys::from_file(&at("keys/none"), &at("data")).is_err());
    }
}
