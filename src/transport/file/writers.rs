//! The threads that write files: a few for all of them, one at a time for each.

use std::{
    collections::{HashMap, VecDeque},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tokio::sync::oneshot;
use tracing::warn;

use super::{
    log::Log,
    place::{Place, PlaceId},
};
use crate::{
    clock::{Clock, Mono},
    endpoint::{FilePath, Rotation},
    transport::{Failure, FailureKind},
};

/// Threads at most. A file system that hangs can hold so many paths before it holds others.
const THREADS: usize = 32;
/// A thread without work ends, and a file without lines is closed, after this time.
const IDLE: Duration = Duration::from_secs(10);
/// What is written and synced at once.
const GROUP_BYTES: usize = 4 << 20;

/// The writers of all files of one Hookmill.
#[derive(Clone)]
pub struct Writers(Arc<Shared>);

struct Shared {
    root: Option<PathBuf>,
    closed: Option<PathBuf>,
    clock: Clock,
    state: Mutex<State>,
    work: Condvar,
    logs: Mutex<Logs>,
}

#[derive(Default)]
struct State {
    /// What waits for each path, in order; a path that is being written to has its place here too.
    waiting: HashMap<FilePath, VecDeque<Job>>,
    /// Paths with work that no thread has.
    ready: VecDeque<FilePath>,
    threads: usize,
    idle: usize,
}

/// Open files. Several paths may lead to one of them; then one waits for the other.
#[derive(Default)]
struct Logs {
    open: HashMap<PlaceId, (Arc<Mutex<Log>>, Mono)>,
    swept: Mono,
}

/// Lines that are to be written.
pub(super) struct Job {
    /// Whole lines.
    pub(super) lines: Vec<u8>,
    /// How the file is rotated.
    pub(super) rotate: Option<Rotation>,
    /// Told once they are on disk, or why not.
    pub(super) done: oneshot::Sender<Result<(), Failure>>,
}

impl Writers {
    /// Without a thread or an open file yet. Relative paths lie below `root`; nothing is written in the directory `closed`, nor
    /// below it.
    pub fn new(root: Option<&Path>, closed: Option<&Path>, clock: Clock) -> Self {
        let (root, closed) = (root.map(Path::to_owned), closed.map(Path::to_owned));
        let (state, work, logs) = (Mutex::default(), Condvar::new(), Mutex::default());
        Self(Arc::new(Shared { root, closed, clock, state, work, logs }))
    }

    /// Writes lines once those before them are written. When nobody waits for them any more, they are not.
    pub(super) fn submit(&self, path: &FilePath, job: Job) {
        let mut state = self.0.state();
        if let Some(waiting) = state.waiting.get_mut(path) {
            return waiting.push_back(job);
        }
        state.waiting.insert(path.clone(), VecDeque::from([job]));
        state.ready.push_back(path.clone());
        if state.ready.len() <= state.idle || state.threads >= THREADS {
            return self.0.work.notify_one();
        }
        let shared = Arc::clone(&self.0);
        match thread::Builder::new().name("hookmill-file".to_owned()).spawn(move || shared.run()) {
            Ok(_detached) => state.threads += 1,
            Err(error) if state.threads == 0 => {
                warn!(%error, "no thread to write files");
                state.ready.clear();
                state.waiting.clear();
            }
            Err(_) => {}
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn logs(&self) -> MutexGuard<'_, Logs> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        while let Some((path, group)) = self.next() {
            self.write(&path, group);
            self.state().finished(path);
            self.sweep(false);
        }
    }

    /// The next group of one path; `None` when there has been nothing to do for long.
    fn next(&self) -> Option<(FilePath, Vec<Job>)> {
        let mut state = self.state();
        loop {
            if let Some(next) = state.take() {
                return Some(next);
            }
            state.idle += 1;
            let (woken, wait) = self.work.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if wait.timed_out() && state.ready.is_empty() {
                state.threads -= 1;
                self.sweep(state.threads == 0);
                return None;
            }
        }
    }

    fn write(&self, path: &FilePath, group: Vec<Job>) {
        let place = match Place::find(path, self.root.as_deref(), self.closed.as_deref()) {
            Ok(place) => place,
            Err(error) => return answer(group, 0, || format!("{path}: {error}")),
        };
        let log = self.log(&place);
        let pieces: Vec<_> = group.iter().map(|job| job.lines.as_slice()).collect();
        let rotate = group.iter().filter_map(|job| job.rotate).reduce(stricter);
        let (done, result) = log.lock().unwrap_or_else(PoisonError::into_inner).write(&place, &pieces, rotate);
        answer(group, done, || result.as_ref().err().map_or_else(String::new, |error| format!("{path}: {error}")));
    }

    fn log(&self, place: &Place) -> Arc<Mutex<Log>> {
        let now = self.clock.now().mono;
        let mut logs = self.logs();
        let (log, used) = logs.open.entry(place.id().clone()).or_default();
        *used = now;
        Arc::clone(log)
    }

    /// Closes files that nobody has written to for long; with `all`, those too that somebody has.
    fn sweep(&self, all: bool) {
        let now = self.clock.now().mono;
        let mut logs = self.logs();
        if all || now.since(logs.swept) >= IDLE {
            logs.swept = now;
            // One that is held elsewhere too is being written to.
            logs.open.retain(|_, (log, used)| Arc::strong_count(log) > 1 || (!all && now.since(*used) < IDLE));
        }
    }
}

impl State {
    fn take(&mut self) -> Option<(FilePath, Vec<Job>)> {
        let path = self.ready.pop_front()?;
        let waiting = self.waiting.get_mut(&path)?;
        let (mut group, mut bytes) = (Vec::new(), 0);
        while let Some(job) = waiting.pop_front_if(|_| bytes < GROUP_BYTES) {
            if !job.done.is_closed() {
                bytes += job.lines.len();
                group.push(job);
            }
        }
        Some((path, group))
    }

    /// No thread has `path` any more.
    fn finished(&mut self, path: FilePath) {
        if self.waiting.get(&path).is_none_or(VecDeque::is_empty) {
            self.waiting.remove(&path);
        } else {
            self.ready.push_back(path);
        }
    }
}

/// Endpoints that share a file and rotate it in different ways: the shorter length holds, and more old files stay.
fn stricter(one: Rotation, other: Rotation) -> Rotation {
    Rotation { max_bytes: one.max_bytes.min(other.max_bytes), keep: one.keep.max(other.keep) }
}

/// Tells the first `done` that they are on disk, the others why not.
fn answer(group: Vec<Job>, done: usize, why: impl Fn() -> String) {
    for (place, job) in group.into_iter().enumerate() {
        let result = if place < done { Ok(()) } else { Err(Failure::new(FailureKind::File, why())) };
        let _nobody_waits = job.done.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(lines: usize) -> (Job, oneshot::Receiver<Result<(), Failure>>) {
        let (done, written) = oneshot::channel();
        (Job { lines: vec![b'x'; lines], rotate: None, done }, written)
    }

    fn path() -> FilePath {
        "a".parse().unwrap()
    }

    fn waiting(jobs: impl IntoIterator<Item = Job>) -> State {
        let waiting = HashMap::from([(path(), jobs.into_iter().collect())]);
        State { waiting, ready: [path()].into(), ..State::default() }
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_written() {
        let ((gone, receiver), (kept, _waits)) = (job(1), job(2));
        drop(receiver);
        let (_, group) = waiting([gone, kept]).take().unwrap();
        assert_eq!(group.iter().map(|job| job.lines.len()).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_group_is_bounded_and_the_rest_comes_after_other_paths() {
        let (jobs, _wait): (Vec<_>, Vec<_>) = (0..3).map(|_| job(GROUP_BYTES)).unzip();
        let mut state = waiting(jobs);
        let other: FilePath = "b".parse().unwrap();
        state.ready.push_back(other.clone());
        assert_eq!(state.take().unwrap().1.len(), 1);
        state.finished(path());
        assert_eq!(state.ready, [other, path()]);
    }

    #[test]
    fn a_path_without_work_is_forgotten() {
        let mut state = waiting([]);
        state.take();
        state.finished(path());
        assert!(state.waiting.is_empty() && state.ready.is_empty());
    }

    #[test]
    fn the_strictest_rotation_of_those_who_share_a_file_holds() {
        let (short, many) = (Rotation { max_bytes: 1, keep: 1 }, Rotation { max_bytes: 9, keep: 9 });
        assert_eq!(stricter(short, many), Rotation { max_bytes: 1, keep: 9 });
    }

    #[test]
    fn files_that_nobody_writes_to_are_closed_and_those_in_use_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let writers = Writers::new(Some(dir.path()), None, Clock::system());
        let log = |name: &str| writers.0.log(&Place::find(&name.parse().unwrap(), Some(dir.path()), None).unwrap());
        let used = log("used");
        drop(log("idle"));
        writers.0.sweep(false);
        assert_eq!(writers.0.logs().open.len(), 2, "both were used a moment ago");
        writers.0.sweep(true);
        assert_eq!(writers.0.logs().open.len(), 1);
        drop(used);
    }
}
