//! What the operating system says about this process: the `process_*` that every exporter of Prometheus has. Linux only.
//! And what became of its log, of which there is one.

use super::{
    Counter,
    text::{Kind, Text},
};

/// Lines of the server's log that nobody will read.
pub static LOG_LINES_DROPPED: Counter = Counter::new();

/// Adds what is known; nothing where the system does not tell.
pub fn write(text: &mut Text) {
    let dropped = LOG_LINES_DROPPED.read();
    text.single("log_lines_dropped_total", Kind::Counter, "Lines of the log that could not be written.", dropped);
    #[cfg(target_os = "linux")]
    if let Some(process) = linux::read() {
        let [counter, gauge] = [Kind::Counter, Kind::Gauge];
        text.single("process_cpu_seconds_total", counter, "User and system time spent.", process.cpu);
        text.single("process_resident_memory_bytes", gauge, "Memory that is resident.", process.resident);
        text.single("process_virtual_memory_bytes", gauge, "Memory that is mapped.", process.mapped);
        text.single("process_threads", gauge, "Threads.", process.threads);
        text.single("process_start_time_seconds", gauge, "When it started, since the epoch.", process.started);
        if let Some(open) = process.open_fds {
            text.single("process_open_fds", gauge, "File descriptors that are open.", open);
        }
        if let Some(max) = process.max_fds {
            text.single("process_max_fds", gauge, "File descriptors that may be open.", max);
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (text, Kind::Gauge);
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;

    pub(super) struct Process {
        pub(super) cpu: f64,
        pub(super) resident: u64,
        pub(super) mapped: u64,
        pub(super) threads: u64,
        pub(super) started: f64,
        pub(super) open_fds: Option<usize>,
        pub(super) max_fds: Option<u64>,
    }

    pub(super) fn read() -> Option<Process> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let stat = Stat::parse(&stat)?;
        let ticks = as_f64(rustix::param::clock_ticks_per_second());
        Some(Process {
            cpu: as_f64(stat.cpu) / ticks,
            resident: stat.resident * u64::try_from(rustix::param::page_size()).unwrap_or(4096),
            mapped: stat.mapped,
            threads: stat.threads,
            started: boot + as_f64(stat.started) / ticks,
            open_fds: fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
            max_fds: fs::read_to_string("/proc/self/limits").ok().and_then(|limits| max_fds(&limits)),
        })
    }

    #[derive(Debug, PartialEq)]
    struct Stat {
        cpu: u64,
        threads: u64,
        started: u64,
        mapped: u64,
        resident: u64,
    }

    impl Stat {
        /// See proc(5); the name of the program, in parentheses, may hold anything.
        fn parse(text: &str) -> Option<Self> {
            let (_, fields) = text.rsplit_once(") ")?;
            let fields: Vec<_> = fields.split_ascii_whitespace().collect();
            // Fields count from 1, and the third is the first behind the name.
            let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
            Some(Self {
                cpu: field(14)? + field(15)?,
                threads: field(20)?,
                started: field(22)?,
                mapped: field(23)?,
                resident: field(24)?,
            })
        }
    }

    fn max_fds(limits: &str) -> Option<u64> {
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    }

    fn as_f64(value: u64) -> f64 {
        value as f64
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_name_may_hold_anything() {
            let text = "7 (a) (b c) S 1 7 7 0 -1 4194560 2 0 0 0 11 22 0 0 20 0 5 0 900 4096 33 1844";
            let stat = Stat { cpu: 33, threads: 5, started: 900, mapped: 4096, resident: 33 };
            assert_eq!(Stat::parse(text), Some(stat));
        }

        #[test]
        fn this_process_is_known() {
            let process = read().unwrap();
            assert!(process.resident > 0 && process.threads > 0 && process.open_fds > Some(0));
            assert!(process.started > 1_000_000_000.0);
        }
    }
}
