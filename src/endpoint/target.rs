//! Where an endpoint's events go: a URL, or a file of JSON lines.

mod files;

use std::{fmt, path::Path, str::FromStr};

use url::Url;

use crate::event::NameError;
pub use files::disturbing;

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A receiver: http or https, with a host, without user info.
    Http(Url),
    /// A file of JSON lines.
    File(LogFile),
}

/// A file that gets one line of JSON for each event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Where it is.
    pub path: FilePath,
    /// When it makes room for a new one; never without.
    pub rotate: Option<Rotation>,
}

/// When a file makes room for a new one: it becomes `name.1`, what was that `name.2`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Before it would grow longer than this.
    pub max_bytes: u64,
    /// Old files that are kept.
    pub keep: u32,
}

/// Longest path, in bytes.
pub const MAX_PATH_BYTES: usize = 1024;
/// Longest part of a path, in bytes. File systems take 255; the number of an old file goes behind the name.
const MAX_PART_BYTES: usize = 240;

/// The path of a file: absolute, or relative to the first file root. Its parts are plain names: none is empty, `.` or `..`, and
/// none holds a control character.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

impl FilePath {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same as a path of this system.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// Whether it stands for itself, wherever the file roots are.
    pub fn is_absolute(&self) -> bool {
        self.0.starts_with('/')
    }

    /// The names of the directories on the way, and of the file.
    pub fn parts(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.strip_prefix('/').unwrap_or(&self.0).split('/')
    }
}

impl FromStr for FilePath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let path = Self(text.to_owned());
        let plain = |part: &str| (1..=MAX_PART_BYTES).contains(&part.len()) && part != "." && part != "..";
        if text.len() > MAX_PATH_BYTES {
            Err(NameError("must be 1024 bytes at most"))
        } else if text.contains(char::is_control) {
            Err(NameError("must hold no control characters"))
        } else if !path.parts().all(plain) {
            Err(NameError("must name a file by plain parts of 1 to 240 bytes: none is empty, `.` or `..`"))
        } else {
            Ok(path)
        }
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Target {
    /// The URL, if it is one.
    pub const fn url(&self) -> Option<&Url> {
        match self {
            Self::Http(url) => Some(url),
            Self::File(_) => None,
        }
    }

    /// The file, if it is one.
    pub const fn file(&self) -> Option<&LogFile> {
        match self {
            Self::Http(_) => None,
            Self::File(file) => Some(file),
        }
    }

    /// Whether both are the same receiver; how a file is rotated makes no other of it.
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(one), Self::Http(other)) => one == other,
            (Self::File(one), Self::File(other)) => one.path == other.path,
            _ => false,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => url.fmt(f),
            Self::File(file) => file.path.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_are_plain_names() {
        for path in ["a", "a.jsonl", "a/b/c", "/a", "/var/log/hooks.jsonl", "...", "a b", "é"] {
            assert_eq!(path.parse::<FilePath>().unwrap().as_str(), path);
        }
        let long = ["x".repeat(MAX_PART_BYTES + 1), "a/".repeat(MAX_PATH_BYTES / 2) + "a"];
        let paths = ["", "/", "//a", "a/", "a//b", ".", "..", "./a", "../a", "a/../b", "/a/..", "a\0b", "a\nb"];
        for path in paths.into_iter().chain(long.iter().map(String::as_str)) {
            assert!(path.parse::<FilePath>().is_err(), "{path:?}");
        }
    }

    #[test]
    fn another_rotation_is_not_another_place() {
        let file = |path: &str, rotate| Target::File(LogFile { path: path.parse().unwrap(), rotate });
        let rotate = Some(Rotation { max_bytes: 4096, keep: 1 });
        assert!(file("a", None).is_same_place(&file("a", rotate)) && !file("a", None).is_same_place(&file("b", None)));
        let url = |text: &str| Target::Http(text.parse().unwrap());
        assert!(
            !url("https://a.b/").is_same_place(&url("https://a.c/"))
                && url("https://a.b").is_same_place(&url("https://a.b/"))
        );
        assert!(!url("https://a.b/").is_same_place(&file("a", None)));
    }

    proptest! {
        #[test]
        fn a_relative_path_never_leaves_its_root(text in "[a./\\\\~é]{0,12}") {
            if let Ok(path) = text.parse::<FilePath>() {
                let depth = path.parts().count();
                let joined = Path::new("/root").join(path.as_path());
                prop_assert!(path.is_absolute() || joined.components().count() == depth + 2, "{:?}", joined);
                prop_assert!(joined.components().all(|part| part != std::path::Component::ParentDir));
            }
        }
    }
}
