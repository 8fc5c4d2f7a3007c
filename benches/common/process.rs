//! What a process has used, as Linux tells it; zero elsewhere.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// Bytes of a page of memory, and ticks of processor time in a second: the same on every common Linux.
const PAGE: u64 = 4096;
const TICKS: u64 = 100;

/// Resident memory of this process in bytes.
pub fn resident() -> u64 {
    field("/proc/self/statm", 1) * PAGE
}

/// Processor time of all threads of this process so far.
pub fn cpu_time() -> Duration {
    cpu_of("self")
}

fn cpu_of(process: &str) -> Duration {
    // The name of the process, in parentheses, has no spaces here.
    let stat = format!("/proc/{process}/stat");
    Duration::from_millis((field(&stat, 13) + field(&stat, 14)) * 1000 / TICKS)
}

/// What a process uses at a moment.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    /// Resident memory in bytes.
    pub resident: u64,
    /// File descriptors that are open.
    pub files: usize,
    /// The name of each thread, and how often it has gone to sleep of its own accord: as often it was woken.
    pub threads: Vec<(String, u64)>,
}

impl Usage {
    /// Of the process with this number, or of `self`.
    pub fn of(process: impl Display) -> Self {
        let process = process.to_string();
        Self {
            cpu: cpu_of(&process),
            resident: field(&format!("/proc/{process}/statm"), 1) * PAGE,
            files: entries(&format!("/proc/{process}/fd")).len(),
            threads: entries(&format!("/proc/{process}/task")).iter().map(|thread| wakes(thread)).collect(),
        }
    }

    /// How often all threads were woken.
    pub fn woken(&self) -> u64 {
        self.threads.iter().map(|(_, count)| count).sum()
    }

    /// The threads that were woken since `before`, the busiest first.
    pub fn woken_since(&self, before: &Self) -> Vec<(String, u64)> {
        let mut threads: Vec<(String, u64)> = Vec::new();
        let signed = before.threads.iter().map(|(name, count)| (name, false, count));
        for (name, adds, count) in self.threads.iter().map(|(name, count)| (name, true, count)).chain(signed) {
            let place = threads.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                threads.push((name.clone(), 0));
                threads.len() - 1
            });
            let sum = &mut threads[place].1;
            *sum = if adds { *sum + count } else { sum.saturating_sub(*count) };
        }
        threads.retain(|(_, count)| *count > 0);
        threads.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        threads
    }
}

fn entries(dir: &str) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}

fn wakes(thread: &Path) -> (String, u64) {
    let status = fs::read_to_string(thread.join("status")).unwrap_or_default();
    let value = |name: &str| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim().to_owned());
    let count = value("voluntary_ctxt_switches:").and_then(|count| count.parse().ok());
    (value("Name:").unwrap_or_default(), count.unwrap_or(0))
}

fn field(file: &str, index: usize) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().nth(index).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Bytes in MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
