//! The operator's key: where it comes from.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::{error::Invalid, store::SecretKeys};

/// What a program says about it.
#[derive(Clone, Debug, Default)]
pub(super) struct Given {
    pub(super) file: Option<PathBuf>,
    pub(super) keys: Option<SecretKeys>,
}

impl Given {
    /// The keys for what is kept in `data_dir`. Without one the log says what that means.
    pub(super) fn read(&self, data_dir: &Path) -> Result<Option<SecretKeys>, Invalid> {
        match (&self.file, &self.keys) {
            (Some(_), Some(_)) => Err(Invalid::at(
                "#/secret_key_file",
                "stands beside keys that are given without a file: give one of them",
            )),
            (Some(file), None) => {
                let keys = SecretKeys::from_file(file, data_dir);
                let keys = keys.map_err(|invalid| invalid.below("/secret_key_file"))?;
                warn_of_readers(file);
                Ok(Some(keys))
            }
            (None, Some(keys)) => Ok(Some(keys.clone())),
            (None, None) => {
                warn!(
                    event = "store.unsealed",
                    "secrets of endpoints are stored in plain text: name a key with --secret-key-file or HOOKMILL_SECRET_KEY"
                );
                Ok(None)
            }
        }
    }
}

/// A key that others on this machine may read protects from nobody of them.
fn warn_of_readers(file: &Path) {
    #[cfg(unix)]
    if let Ok(found) = std::fs::metadata(file) {
        let mode = std::os::unix::fs::PermissionsExt::mode(&found.permissions()) & 0o777;
        if mode & 0o077 != 0 {
            let (file, mode) = (file.display().to_string(), format!("{mode:03o}"));
            warn!(event = "store.key_readable", file, mode, "others may read or change the key of secrets: chmod 600");
        }
    }
    #[cfg(not(unix))]
    let _ = file;
}
