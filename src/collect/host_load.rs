//! How busy this machine's CPUs are and how much of its memory is in use, by `/proc/stat` and
//! `/proc/meminfo`.

use std::fs;
use std::path::{Path, PathBuf};

use super::memory::meminfo_bytes;

/// Keeps the CPUs' counters of the look before.
#[derive(Debug)]
pub struct HostLoad {
    proc: PathBuf,
    last: Option<CpuTimes>,
}

impl HostLoad {
    /// For the `proc` below `root`, which is `/` except in tests.
    pub fn new(root: &Path) -> Self {
        Self { proc: root.join("proc"), last: None }
    }

    /// The share of all CPUs' time since the last look in which they were busy, 0 to 100. The first
    /// look has nothing to compare with.
    pub fn cpu_percent(&mut self) -> Option<f64> {
        let now = CpuTimes::parse(&fs::read_to_string(self.proc.join("stat")).ok()?);
        let last = std::mem::replace(&mut self.last, now);
        now?.busy_percent_since(last?)
    }

    /// Bytes that could not be had without swapping: `MemTotal` less `MemAvailable`.
    pub fn memory_bytes(&self) -> Option<u64> {
        let text = fs::read_to_string(self.proc.join("meminfo")).ok()?;
        meminfo_bytes(&text, "MemTotal:")?.checked_sub(meminfo_bytes(&text, "MemAvailable:")?)
    }
}

/// The line `cpu` of `/proc/stat`, in ticks since boot. Time of guests is part of `user` and `nice`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CpuTimes {
    /// Everything else, `steal` included: another machine kept the CPU from being idle.
    busy: u64,
    idle: u64,
    iowait: u64,
}

impl CpuTimes {
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
        let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal; the last ones are missing on old kernels.
        let field = |index: usize| fields.get(index).copied();
        let late = (5..8).filter_map(field);
        Some(Self {
            busy: field(0)? + field(1)? + field(2)? + late.sum::<u64>(),
            idle: field(3)?,
            iowait: field(4).unwrap_or(0),
        })
    }

    /// `None` where no time went by, or a counter went back.
    fn busy_percent_since(self, last: Self) -> Option<f64> {
        let busy = self.busy.checked_sub(last.busy)?;
        // `proc_stat(5)`: iowait is not reliable and may decrease.
        let idle = self.idle.checked_sub(last.idle)? + self.iowait.saturating_sub(last.iowait);
        let total = busy + idle;
        (total > 0).then(|| busy as f64 * 100.0 / total as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The load that two looks at `/proc/stat` give.
    fn between(first: &str, second: &str) -> Option<f64> {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        let mut load = HostLoad::new(root.path());
        fs::write(root.path().join("proc/stat"), first).unwrap();
        assert_eq!(load.cpu_percent(), None, "a first look has nothing to compare with");
        fs::write(root.path().join("proc/stat"), second).unwrap();
        load.cpu_percent()
    }

    #[test]
    fn the_busy_share_is_that_of_all_cpus_since_the_last_look() {
        let first = "cpu  100 10 50 1000 40 0 0 0 30 0\ncpu0 100 10 50 1000 40 0 0 0 30 0\nctxt 5\n";
        let second = "cpu  120 10 60 1050 60 0 0 0 35 0\ncpu0 120 10 60 1050 60 0 0 0 35 0\nctxt 9\n";
        assert_eq!(between(first, second), Some(30.0));
    }

    #[test]
    fn interrupts_and_stolen_time_are_not_idle() {
        assert_eq!(between("cpu  0 0 0 0 0 0 0 0 0 0\n", "cpu  0 0 0 50 0 20 20 10 0 0\n"), Some(50.0));
    }

    #[test]
    fn a_waiting_time_that_shrinks_does_not_spoil_a_busy_look() {
        assert_eq!(between("cpu  10 0 0 10 9 0 0 0\n", "cpu  110 0 0 10 7 0 0 0\n"), Some(100.0));
    }

    #[test]
    fn counters_that_start_anew_or_stand_still_give_no_figure() {
        assert_eq!(between("cpu  500 0 0 500 0 0 0 0\n", "cpu  5 0 0 700 0 0 0 0\n"), None);
        assert_eq!(between("cpu  500 0 0 500 0 0 0 0\n", "cpu  500 0 0 500 0 0 0 0\n"), None);
        assert_eq!(between("cpu  500 0 0 500 0 0 0 0\n", "cpu  broken\n"), None);
    }

    #[test]
    fn memory_in_use_leaves_out_what_is_to_be_had() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("proc")).unwrap();
        let meminfo = root.path().join("proc/meminfo");
        let load = HostLoad::new(root.path());
        assert_eq!(load.memory_bytes(), None);
        fs::write(&meminfo, "MemTotal:  100 kB\nMemFree:  10 kB\nMemAvailable:   40 kB\n").unwrap();
        assert_eq!(load.memory_bytes(), Some(60 * 1024));
        fs::write(&meminfo, "MemTotal:  100 kB\nMemFree:  10 kB\n").unwrap();
        assert_eq!(load.memory_bytes(), None, "a kernel without MemAvailable does not say");
    }
}
