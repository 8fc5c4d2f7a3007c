//! A copy of a database, and the way back.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{
    super::{failed, keep_private, lock, make_dir},
    DATABASE, Overview, beside, check, open, overview, unusable,
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
    let draft = Draft::of(to);
    let db = open(&dir.join(DATABASE))?;
    let text = draft.0.to_str().ok_or_else(|| unusable(to, &"its name is no UTF-8"))?;
    keep_private(&draft.0)?;
    db.execute_batch("COMMIT").and_then(|()| db.execute("VACUUM INTO ?1", [text])).map_err(failed)?;
    expect_whole(&draft.0)?;
    let found = overview(&draft.0)?;
    place(&draft.0, to).map_err(|error| unusable(to, &error))?;
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
/// belong to a new epoch. With `replace` a database that is there moves aside; nothing of it is deleted.
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
    let draft = Draft::of(&path);
    let unusable_draft = |error| unusable(&draft.0, &error);
    keep_private(&draft.0)?;
    fs::copy(from, &draft.0).map_err(unusable_draft)?;
    keep_private(&draft.0)?;
    begin_epoch(&draft.0).map_err(failed)?;
    let overview = overview(&draft.0)?;
    let replaced = if path.exists() { Some(move_aside(&path, now)?) } else { None };
    place(&draft.0, &path).map_err(unusable_draft)?;
    Ok(Restored { overview, replaced })
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

/// Renames the database and its log, so that they still belong together.
fn move_aside(path: &Path, now: Timestamp) -> Result<PathBuf, StoreError> {
    let aside = beside(path, &format!(".replaced-{}", now.as_millis()));
    for ending in ["-wal", ""] {
        match fs::rename(beside(path, ending), beside(&aside, ending)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(path, &error)),
            _ => {}
        }
    }
    let _rebuilt_when_opened = fs::remove_file(beside(path, "-shm"));
    Ok(aside)
}

/// Gives a finished draft its name, for good.
fn place(draft: &Path, path: &Path) -> io::Result<()> {
    File::open(draft)?.sync_all()?;
    fs::rename(draft, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(dir)?.sync_all()
}

/// A file that is being written; it goes when it does not get its name.
struct Draft(PathBuf);

impl Draft {
    fn of(path: &Path) -> Self {
        let draft = Self(beside(path, ".partial"));
        draft.remove();
        draft
    }

    fn remove(&self) {
        for ending in ["", "-wal", "-shm", "-journal"] {
            let _not_there = fs::remove_file(beside(&self.0, ending));
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        self.remove();
    }
}
