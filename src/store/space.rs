//! How much room there is, and how much is to be left: below the reserve nothing new is accepted, and what was accepted
//! still has room to be settled.

use std::{fmt, io, path::Path, sync::Arc};

const GIB: u64 = 1 << 30;

/// How much room is to be left on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reserve {
    /// The larger of 1 GiB and 5 % of the disk.
    #[default]
    Standard,
    /// So many bytes; 0 for none.
    Bytes(u64),
}

/// The room of a disk, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// What this process may still write.
    pub free: u64,
    /// The whole disk.
    pub total: u64,
}

/// Tells the room of the disk that a directory is on.
pub type Probe = Arc<dyn Fn(&Path) -> io::Result<Room> + Send + Sync>;

/// What is to be left on a disk, and who tells what is.
#[derive(Clone)]
pub struct Disk {
    /// What is to be left.
    pub reserve: Reserve,
    /// Who tells what is.
    pub probe: Probe,
}

/// How a store stands on its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes of its files.
    pub size: u64,
    /// Bytes that are free; `None` where the system does not tell.
    pub free: Option<u64>,
    /// Less than the reserve is free: nothing new is to be accepted.
    pub low: bool,
}

/// Told when less than the reserve is free, and when there is enough again.
pub type SpaceSink = Box<dyn Fn(bool) + Send + Sync>;

impl Reserve {
    /// Whether a disk has less room than is to be left.
    pub fn is_missed_by(self, room: Room) -> bool {
        let reserve = match self {
            Self::Standard => GIB.max(room.total / 20),
            Self::Bytes(bytes) => bytes,
        };
        room.free < reserve
    }
}

impl Disk {
    /// Leaves so much, and asks the operating system.
    pub fn leaving(reserve: Reserve) -> Self {
        Self { reserve, probe: Arc::new(ask_system) }
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").field("reserve", &self.reserve).finish_non_exhaustive()
    }
}

#[cfg(unix)]
fn ask_system(dir: &Path) -> io::Result<Room> {
    let found = rustix::fs::statvfs(dir)?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok(Room { free: bytes(found.f_bavail), total: bytes(found.f_blocks) })
}

#[cfg(not(unix))]
fn ask_system(_: &Path) -> io::Result<Room> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_larger_of_a_gibibyte_and_a_twentieth_is_left() {
        let missed = |free, total| Reserve::Standard.is_missed_by(Room { free, total });
        assert!(missed(GIB - 1, 10 * GIB) && !missed(GIB, 10 * GIB));
        assert!(missed(5 * GIB - 1, 100 * GIB) && !missed(5 * GIB, 100 * GIB));
    }

    #[test]
    fn a_reserve_of_nothing_is_never_missed() {
        assert!(!Reserve::Bytes(0).is_missed_by(Room { free: 0, total: GIB }));
        assert!(Reserve::Bytes(2).is_missed_by(Room { free: 1, total: GIB }));
    }

    #[cfg(unix)]
    #[test]
    fn the_system_tells_the_room() {
        let dir = tempfile::tempdir().unwrap();
        let room = ask_system(dir.path()).unwrap();
        assert!(room.total > 0 && room.free <= room.total);
    }
}
