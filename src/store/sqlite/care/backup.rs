//! A copy of a database, and the way back.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    super::{DATABASE, PARTIAL, UNFINISHED, failed, keep_private, lock, make_dir},
    Overview, beside, check, open, overview, unusable,
};
use crate::{clock::Timestamp, error::StoreError};

/// Writes a copy of the database in `dir` to the new file `to`, readable by its owner alone: everything as it is at one
/// moment, also beside a server that runs on it. The file appears complete, checked and synced, or not at all.
///
/// # Errors
/// When there is a file of that name, or the database is damaged or cannot be read, or the copy cannot be written.
pub(crate) fn backup(dir: &Path, to: &Path) -> Result<Overview, StoreError> {
    if to.exists() {
        return Err(unusable(to, &"there is such a file; it is not written over"));
    }
    let draft = Draft::beside(to)?;
    draft.copy(&dir.join(DATABASE))?;
    let found = overview(&draft.0)?;
    // Unlike a rename this leaves alone what has come to stand there meanwhile.
    let placed = fs::hard_link(&draft.0, to).and_then(|()| sync_dir(to));
    placed.map_err(|error| unusable(to, &error))?;
    Ok(found)
}

/// What a restore put in place.
#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) overview: Overview,
    /// Where the database that was there is now.
    pub(crate) replaced: Option<PathBuf>,
}

/// Puts the backup `from` in place as the database of `dir`, which no server may have open. The seqs of its future events
/// belong to a new epoch. With `replace` a database that is there moves aside; nothing of it is deleted. A crash leaves the old
/// one in place, or a directory that no server starts on until a restore has come to its end.
///
/// # Errors
/// When the backup is damaged, `dir` has a database and `replace` is not set, or it is in use. Nothing has changed then.
pub(crate) fn restore(from: &Path, dir: &Path, replace: bool, now: Timestamp) -> Result<Restored, StoreError> {
    expect_whole(from)?;
    make_dir(dir)?;
    let _lock = lock(dir)?;
    let path = dir.join(DATABASE);
    if path.exists() && !replace {
        return Err(unusable(&path, &"there is a database already; `--replace` moves it aside"));
    }
    let draft = Draft::beside(&path)?;
    draft.copy(from)?;
    begin_epoch(&draft.0).map_err(failed)?;
    File::open(&draft.0).and_then(|file| file.sync_all()).map_err(|error| unusable(&draft.0, &error))?;
    let overview = overview(&draft.0)?;
    let unfinished = dir.join(UNFINISHED);
    let replaced = if path.exists() { Some(set_aside(&path, &unfinished, now)?) } else { None };
    let placed = fs::rename(&draft.0, &path).and_then(|()| sync_dir(&path));
    placed.map_err(|error| unusable(&path, &format!("{error}; make room and restore again")))?;
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(&unfinished, &error)),
        _ => Ok(Restored { overview, replaced }),
    }
}

fn expect_whole(path: &Path) -> Result<(), StoreError> {
    match check(path)?.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(unusable(path, &format!("it is damaged: {first}"))),
    }
}

fn begin_epoch(path: &Path) -> rusqlite::Result<()> {
    let db = Connection::open(path)?;
    db.execute("UPDATE meta SET value = lower(hex(randomblob(8))) WHERE name = 'epoch'", [])?;
    db.close().map_err(|(_, error)| error)
}

/// Gives the database and its log a second name each, and takes its own name from the log: it must not be read with another
/// database. From before that on, a file says that the restore has not come to its end.
fn set_aside(path: &Path, unfinished: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    let aside = beside(path, &format!(".replaced-{}", now.as_millis()));
    let link = |ending: &str| match fs::hard_link(beside(path, ending), beside(&aside, ending)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        linked => linked,
    };
    let remove = |ending: &str| match fs::remove_file(beside(path, ending)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    };
    let steps = || {
        link("")?;
        link("-wal")?;
        File::create(unfinished)?.sync_all()?;
        sync_dir(path)?;
        remove("-wal")?;
        remove("-shm")
    };
    steps().map_err(|error| unusable(path, &error))?;
    Ok(aside)
}

/// Makes names in the directory of `path` last.
fn sync_dir(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// A file that is being written; it goes when it does not get its name.
struct Draft(PathBuf);

impl Draft {
    /// A new one, readable by its owner alone.
    fn beside(path: &Path) -> Result<Self, StoreError> {
        let draft = beside(path, &format!("{PARTIAL}{:016x}", fastrand::u64(..)));
        let made = File::options().write(true).create_new(true).open(&draft);
        made.map_err(|error| unusable(&draft, &error))?;
        let draft = Self(draft);
        keep_private(&draft.0)?;
        Ok(draft)
    }

    /// Copies the database `from` with what stands in its log, and looks whether the copy is whole.
    fn copy(&self, from: &Path) -> Result<(), StoreError> {
        let db = open(from)?;
        let text = self.0.to_str().ok_or_else(|| unusable(&self.0, &"its name is no UTF-8"))?;
        db.execute_batch("COMMIT").and_then(|()| db.execute("VACUUM INTO ?1", [text])).map_err(failed)?;
        File::open(&self.0).and_then(|file| file.sync_all()).map_err(|error| unusable(&self.0, &error))?;
        expect_whole(&self.0)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        for ending in ["", "-wal", "-shm", "-journal"] {
            let _not_there = fs::remove_file(beside(&self.0, ending));
        }
    }
}
