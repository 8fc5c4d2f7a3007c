//! What this process has used, as Linux tells it; zero elsewhere.

use std::{fs, time::Duration};

/// Bytes of a page of memory, and ticks of processor time in a second: the same on every common Linux.
const PAGE: u64 = 4096;
const TICKS: u64 = 100;

/// Resident memory in bytes.
pub fn resident() -> u64 {
    field("/proc/self/statm", 1) * PAGE
}

/// Processor time of all threads so far.
pub fn cpu_time() -> Duration {
    // The name of the process, in parentheses, has no spaces here.
    let ticks = field("/proc/self/stat", 13) + field("/proc/self/stat", 14);
    Duration::from_millis(ticks * 1000 / TICKS)
}

fn field(file: &str, index: usize) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().nth(index).and_then(|field| field.parse().ok()).unwrap_or(0)
}

/// Bytes in MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
