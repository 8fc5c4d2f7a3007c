//! Looks at the room on the disk now and then.

use std::{
    path::{Path, PathBuf},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tracing::{info, warn};

use crate::{
    clock::Mono,
    store::{Disk, Space, SpaceSink},
};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(2);
/// Nobody knows.
const UNKNOWN: u64 = u64::MAX;

/// What was seen at the last look.
#[derive(Default)]
pub(super) struct Seen {
    free: AtomicU64,
    low: AtomicBool,
    pub(super) sink: OnceLock<SpaceSink>,
}

impl Seen {
    pub(super) fn is_low(&self) -> bool {
        self.low.load(Ordering::Acquire)
    }

    pub(super) fn space(&self, files: &[PathBuf]) -> Space {
        let free = Some(self.free.load(Ordering::Relaxed)).filter(|free| *free != UNKNOWN);
        let size = |file: &PathBuf| std::fs::metadata(file).map_or(0, |found| found.len());
        Space { size: files.iter().map(size).sum(), free, low: self.is_low() }
    }

    fn tell(&self, low: bool) {
        if let Some(sink) = self.sink.get() {
            sink(low);
        }
    }
}

pub(super) struct Lookout {
    dir: PathBuf,
    disk: Disk,
    next: Mono,
}

impl Lookout {
    /// Looks for the first time: what starts on a full disk accepts nothing.
    pub(super) fn new(dir: &Path, disk: Disk, now: Mono, seen: &Seen) -> Self {
        let mut lookout = Self { dir: dir.to_owned(), disk, next: now };
        lookout.look(now, seen);
        lookout
    }

    /// When to look again.
    pub(super) fn due(&self) -> Mono {
        self.next
    }

    pub(super) fn look(&mut self, now: Mono, seen: &Seen) {
        self.next = now.after(EVERY);
        let room = (self.disk.probe)(&self.dir).ok();
        let low = room.is_some_and(|room| self.disk.reserve.is_missed_by(room));
        let free = room.map_or(UNKNOWN, |room| room.free);
        seen.free.store(free, Ordering::Relaxed);
        match (seen.low.swap(low, Ordering::AcqRel), low) {
            (false, true) => {
                warn!(event = "store.full", free, "less than the reserve is free: nothing new is accepted");
            }
            (true, false) => info!(event = "store.recovered", free, "there is room again"),
            _ => return,
        }
        seen.tell(low);
    }
}
