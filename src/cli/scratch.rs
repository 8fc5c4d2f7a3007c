//! A directory for one run of a command.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A directory that is gone with its holder, unless it is to be kept.
pub(super) struct Scratch {
    pub(super) path: PathBuf,
    keep: bool,
}

impl Scratch {
    /// A name below `parent` that nobody has; the directory is made by who uses it first.
    pub(super) fn below(parent: &Path, command: &str, keep: bool) -> Self {
        let name = format!("hookmill-{command}-{}-{:08x}", std::process::id(), fastrand::u32(..));
        Self { path: parent.join(name), keep }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.keep {
            let _left_behind = fs::remove_dir_all(&self.path);
        }
    }
}
