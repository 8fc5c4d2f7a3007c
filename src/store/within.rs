//! What lies in a directory, however it is named.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Links that are followed at most.
const LINKS: usize = 40;

/// Whether a path leads into or through a directory, at any step of any link.
pub(crate) fn lies_in(path: &Path, dir: &Path) -> io::Result<bool> {
    // A directory that is not there has nothing in it.
    let Ok(dir) = fs::canonicalize(dir) else { return Ok(false) };
    let mut path: PathBuf = std::path::absolute(path)?;
    for _ in 0..LINKS {
        if path.ancestors().any(|part| fs::canonicalize(part).is_ok_and(|part| part.starts_with(&dir))) {
            return Ok(true);
        }
        let Ok(target) = fs::read_link(&path) else { return Ok(false) };
        let parent = path.parent().map(fs::canonicalize).transpose()?;
        path = parent.unwrap_or_default().join(target);
    }
    Err(io::Error::other("too many links"))
}
