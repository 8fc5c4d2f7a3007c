//! The file where a [`Single`](super::Single) keeps its URL.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::Path,
};

/// Where events go, from one start to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) url: String,
    /// All, when empty.
    pub(super) topics: Vec<String>,
}

/// Longest file that is read, in bytes.
const LONGEST: u64 = 64 << 10;

/// What is kept; nothing, when there is no file or it is empty.
pub(super) fn load(path: &Path) -> io::Result<Option<Kept>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > LONGEST => return Err(io::Error::other("it is longer than 64 KiB")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(parse(&fs::read_to_string(path)?))
}

fn parse(text: &str) -> Option<Kept> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
    Some(Kept { url: lines.next()?, topics: lines.collect() })
}

/// Replaces what is kept, as a whole: a crash leaves the old or the new. `None` deletes the file.
pub(super) fn save(path: &Path, kept: Option<&Kept>) -> io::Result<()> {
    let Some(Kept { url, topics }) = kept else { return delete(path) };
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    make_private_dir(dir)?;
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    let mut new = name.to_owned();
    new.push(".new");
    let new = dir.join(new);
    let mut file = create_private(&new)?;
    for line in std::iter::once(url).chain(topics) {
        writeln!(file, "{line}")?;
    }
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(dir)?.sync_all()
}

fn delete(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// A file that an earlier crash left there, with whatever rights, is not written to.
fn create_private(path: &Path) -> io::Result<File> {
    delete(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(url: &str, topics: &[&str]) -> Kept {
        Kept { url: url.to_owned(), topics: topics.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn what_is_saved_is_loaded_and_nothing_once_it_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/webhook");
        assert_eq!(load(&path).unwrap(), None, "a missing file is none");
        for kept in [kept("https://a.b/", &[]), kept("https://a.b/c", &["x.*", "y"])] {
            save(&path, Some(&kept)).unwrap();
            assert_eq!(load(&path).unwrap(), Some(kept));
        }
        save(&path, None).unwrap();
        assert!(!path.exists());
        save(&path, None).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_may_read_it() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent/webhook");
        save(&path, Some(&kept("https://a.b/", &[]))).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        save(&path, Some(&kept("https://a.c/", &[]))).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn what_people_write_is_trimmed() {
        assert_eq!(parse("  https://a.b/ \r\n\n x.* \n"), Some(kept("https://a.b/", &["x.*"])));
        assert_eq!(parse(" \n\n"), None);
    }

    #[test]
    fn a_save_that_fails_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("webhook");
        save(&path, Some(&kept("https://a.b/", &[]))).unwrap();
        fs::create_dir(dir.path().join("webhook.new")).unwrap();
        assert!(save(&path, Some(&kept("https://a.c/", &[]))).is_err());
        assert_eq!(load(&path).unwrap(), Some(kept("https://a.b/", &[])));
    }
}
