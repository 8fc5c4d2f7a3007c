//! The directory and its files: made, private, held by one process.

use std::{
    fs::{File, TryLockError},
    path::Path,
};

use crate::error::StoreError;

pub(super) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(dir).map_err(|error| StoreError::Unusable(format!("{}: {error}", dir.display())))
}

/// Makes the file if it is not there, and lets nobody else read it, whoever may read the directory. What SQLite puts beside it
/// takes its mode.
pub(super) fn keep_private(path: &Path) -> Result<(), StoreError> {
    let unusable = |error| StoreError::Unusable(format!("{}: {error}", path.display()));
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(unusable)?;
    #[cfg(unix)]
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(unusable)?;
    Ok(())
}
pub(super) fn lock(dir: &Path) -> Result<File, StoreError> {
    let path = dir.join("hookmill.lock");
    let unusable = |error: &dyn std::fmt::Display| StoreError::Unusable(format!("{}: {error}", path.display()));
    let file = File::create(&path).map_err(|error| unusable(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(unusable(&"another process has this directory open")),
        Err(TryLockError::Error(error)) => Err(unusable(&error)),
    }
}
