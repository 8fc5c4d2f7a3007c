//! Where a file is: a directory that is held open, and a name in it.

use std::{
    fs::File,
    io,
    os::{
        fd::OwnedFd,
        unix::fs::{FileExt, MetadataExt},
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, fsync, open, openat, renameat, statat},
    io::Errno,
};

use super::{append::Appended, rotation};
use crate::endpoint::FilePath;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);
/// Never waits for the other end of a pipe, and never follows a link.
const LINES: OFlags = OFlags::RDWR
    .union(OFlags::APPEND)
    .union(OFlags::CLOEXEC)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
const MODE: Mode = Mode::RUSR.union(Mode::WUSR).union(Mode::RGRP).union(Mode::ROTH);

/// A name in a directory.
pub(super) struct Place {
    directory: OwnedFd,
    name: String,
    id: PlaceId,
}

/// Which place it is, however it was reached: device and number of the directory, and the name.
pub(super) type PlaceId = (u64, u64, String);

/// A regular file, open for lines.
pub(super) struct Lines(File);

impl Place {
    /// Finds the directory of `path`: of an absolute one as the system does, of a relative one from `root` on, with no link on
    /// the way. It does not lie in `closed`, however it was reached.
    pub(super) fn find(path: &FilePath, root: Option<&Path>, closed: Option<&Path>) -> io::Result<Self> {
        let directory = directory(path, root).map_err(|errno| said("no directory for it", errno))?;
        if let Some(closed) = closed
            && lies_in(&directory, closed).map_err(|errno| said("its directories cannot be looked at", errno))?
        {
            return Err(io::Error::other("lies in the data directory"));
        }
        let name = path.parts().next_back().unwrap_or_default().to_owned();
        let found = File::from(directory.try_clone()?).metadata()?;
        Ok(Self { directory, id: (found.dev(), found.ino(), name.clone()), name })
    }

    pub(super) fn id(&self) -> &PlaceId {
        &self.id
    }

    /// The file there, made if there is none; its name in the directory is on disk.
    pub(super) fn open(&self) -> io::Result<Lines> {
        // Looked at before it is opened: opening a device can do something.
        if self.look(&self.name)?.is_some_and(|found| !is_regular(&found)) {
            return Err(not_regular());
        }
        let opened = match openat(&self.directory, self.name.as_str(), LINES, Mode::empty()) {
            Err(Errno::NOENT) => {
                openat(&self.directory, self.name.as_str(), LINES | OFlags::CREATE | OFlags::EXCL, MODE)
            }
            opened => opened,
        };
        let file = opened.map_err(|errno| said("cannot be opened", errno))?;
        if !is_regular(&fstat(&file)?) {
            return Err(not_regular());
        }
        self.sync()?;
        Ok(Lines(file.into()))
    }

    /// Whether the file there is still this one: it was neither moved nor deleted.
    pub(super) fn is_of(&self, lines: &Lines) -> io::Result<bool> {
        let (open, found) = (fstat(&lines.0)?, self.look(&self.name)?);
        Ok(found.is_some_and(|found| found.st_dev == open.st_dev && found.st_ino == open.st_ino))
    }

    /// Makes room for a new file; `keep` old ones stay.
    pub(super) fn rotate(&self, keep: u32) -> io::Result<()> {
        let named = |age| rotation::name(&self.name, age);
        for (from, to) in rotation::moves(keep, |age| Ok(self.look(&named(age))?.is_some()))? {
            renameat(&self.directory, named(from).as_str(), &self.directory, named(to).as_str())
                .map_err(|errno| said("cannot be rotated", errno))?;
        }
        self.sync()
    }

    fn look(&self, name: &str) -> io::Result<Option<Stat>> {
        match statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Ok(Some(found)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(said("cannot be looked at", errno)),
        }
    }

    fn sync(&self) -> io::Result<()> {
        match fsync(&self.directory) {
            // Some file systems cannot sync directories.
            Ok(()) | Err(Errno::INVAL) => Ok(()),
            Err(errno) => Err(said("its directory cannot be synced", errno)),
        }
    }
}

fn directory(path: &FilePath, root: Option<&Path>) -> Result<OwnedFd, Errno> {
    if path.is_absolute() {
        return open(path.as_path().parent().unwrap_or(Path::new("/")), DIRECTORY, Mode::empty());
    }
    let mut directory = openat(CWD, root.ok_or(Errno::NOENT)?, DIRECTORY, Mode::empty())?;
    let mut parts = path.parts();
    let _name = parts.next_back();
    for part in parts {
        directory = openat(&directory, part, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(directory)
}

/// Whether a directory is this one or lies in it, as it is now.
fn lies_in(directory: &OwnedFd, closed: &Path) -> Result<bool, Errno> {
    let id = |found: Stat| (found.st_dev, found.st_ino);
    let closed = match statat(CWD, closed, AtFlags::empty()) {
        Ok(found) => id(found),
        Err(Errno::NOENT) => return Ok(false),
        Err(errno) => return Err(errno),
    };
    let (mut up, mut below) = (".".to_owned(), None);
    loop {
        let at = id(statat(directory, up.as_str(), AtFlags::empty())?);
        if at == closed || below == Some(at) {
            return Ok(at == closed);
        }
        below = Some(at);
        up.push_str("/..");
    }
}

fn is_regular(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
}

fn not_regular() -> io::Error {
    io::Error::other("is no regular file (links are not followed)")
}

fn said(what: &str, errno: Errno) -> io::Error {
    let error = io::Error::from(errno);
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

impl Lines {
    /// Whether it has no name any more, anywhere.
    pub(super) fn is_deleted(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() == 0)
    }
}

impl Appended for Lines {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn ends_line(&self, length: u64) -> io::Result<bool> {
        let mut last = [0];
        self.0.read_exact_at(&mut last, length.saturating_sub(1))?;
        Ok(last == *b"\n")
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut self.0, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}
