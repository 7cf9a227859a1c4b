//! What an engine's process spends, its descendants included, by `/proc/PID/stat` and `status`. A
//! process is known by pid and start time, so that a stranger under an old pid never counts.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Ticks of `/proc/PID/stat` in a second: the kernel's `USER_HZ`, 100 on every architecture that Rust
/// has a Linux for.
const TICKS_PER_SECOND: u64 = 100;

/// What a group of processes took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// Since the last look, on all CPUs together; `None` at the first one.
    pub cpu_time: Option<Duration>,
    /// Bytes in use at this look.
    pub memory_bytes: Option<u64>,
}

/// One engine's processes, with their counters at the look before.
#[derive(Debug)]
pub struct ProcessLoad {
    proc: PathBuf,
    root: u32,
    seen: Seen,
}

#[derive(Debug)]
enum Seen {
    Never,
    /// CPU ticks of each process, at the look before unless `stale`.
    Before {
        processes: BTreeMap<Identity, u64>,
        stale: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Identity {
    pid: u32,
    /// Ticks since boot.
    start_time: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    identity: Identity,
    parent: u32,
    cpu_ticks: u64,
}

impl ProcessLoad {
    /// The process `pid` of the `proc` below `root`, which is `/` except in tests.
    pub fn new(root: &Path, pid: u32) -> Self {
        Self { proc: root.join("proc"), root: pid, seen: Seen::Never }
    }

    /// `None` once none of the processes is left. Whoever was seen as a descendant stays one, also when
    /// its parent ends. CPU time of a process that ended between two looks is lost from the last one on.
    pub fn look(&mut self) -> Option<Spent> {
        let all = self.all();
        let known = |stat: &&Stat| match &self.seen {
            Seen::Never => stat.identity.pid == self.root,
            Seen::Before { processes, .. } => processes.contains_key(&stat.identity),
        };
        let mut members: BTreeMap<u32, Stat> =
            all.iter().filter(known).map(|stat| (stat.identity.pid, *stat)).collect();
        // Children may stand before their parents, since pids are used again.
        loop {
            let before = members.len();
            for stat in &all {
                if members.contains_key(&stat.parent) {
                    members.insert(stat.identity.pid, *stat);
                }
            }
            if members.len() == before {
                break;
            }
        }
        let processes = members.values().map(|stat| (stat.identity, stat.cpu_ticks)).collect();
        let now = Seen::Before { processes, stale: false };
        let last = std::mem::replace(&mut self.seen, now);
        if members.is_empty() {
            return None;
        }
        let cpu_time = match last {
            Seen::Never | Seen::Before { stale: true, .. } => None,
            Seen::Before { processes, stale: false } => Some(ticks(
                members
                    .values()
                    // Whoever was not there at the last look has spent all its time since.
                    .map(|stat| (stat.cpu_ticks, processes.get(&stat.identity).copied().unwrap_or(0)))
                    .map(|(now, last)| now.saturating_sub(last))
                    .sum(),
            )),
        };
        Some(Spent { cpu_time, memory_bytes: self.resident_bytes(members.into_keys()) })
    }

    /// Tells that a look was left out: the next one has nothing to compare with.
    pub fn skip(&mut self) {
        match &mut self.seen {
            Seen::Never => {}
            Seen::Before { stale, .. } => *stale = true,
        }
    }

    /// Every process but zombies, which hold nothing any more.
    fn all(&self) -> Vec<Stat> {
        pids(&self.proc)
            .filter_map(|pid| {
                // Bytes: a program's name need not be UTF-8.
                let text = fs::read(self.proc.join(pid.to_string()).join("stat")).ok()?;
                parse_stat(pid, &String::from_utf8_lossy(&text))
            })
            .collect()
    }

    /// Resident memory together; what processes share counts in each. `status` says it in kB and not
    /// in pages, whose size differs.
    fn resident_bytes(&self, pids: impl Iterator<Item = u32>) -> Option<u64> {
        pids.filter_map(|pid| {
            let text = fs::read(self.proc.join(pid.to_string()).join("status")).ok()?;
            super::memory::meminfo_bytes(&String::from_utf8_lossy(&text), "VmRSS:")
        })
        .reduce(u64::saturating_add)
    }
}

/// The numbers of all processes.
pub(super) fn pids(proc: &Path) -> impl Iterator<Item = u32> + use<> {
    fs::read_dir(proc)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
}

fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks.saturating_mul(1_000 / TICKS_PER_SECOND))
}

/// `proc_pid_stat(5)`. The program's name stands in parentheses and may hold anything, so fields count
/// from the last `)`. `None` for a zombie.
fn parse_stat(pid: u32, text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    if matches!(*fields.first()?, "Z" | "X") {
        return None;
    }
    Some(Stat {
        identity: Identity { pid, start_time: number(19)? },
        parent: fields.get(1)?.parse().ok()?,
        cpu_ticks: number(11)?.saturating_add(number(12)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine(tempfile::TempDir);

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            fs::create_dir(root.path().join("proc")).unwrap();
            fs::write(root.path().join("proc/stat"), "cpu  0 0 0 0\n").unwrap();
            Self(root)
        }

        /// A process that used `user` and as many ticks of the system, with `kib` of memory.
        fn process(&self, pid: u32, state: &str, parent: u32, start: u64, user: u64, kib: u64) {
            let folder = self.0.path().join("proc").join(pid.to_string());
            fs::create_dir_all(&folder).unwrap();
            let stat = format!(
                "{pid} (a) Z 1 (b) {state} {parent} 1 1 0 -1 0 1 2 3 4 {user} {user} 99 99 20 0 1 0 {start}"
            );
            fs::write(folder.join("stat"), stat).unwrap();
            fs::write(folder.join("status"), format!("Name:\ta\nVmRSS:\t  {kib} kB\n")).unwrap();
        }

        fn ends(&self, pid: u32) {
            fs::remove_dir_all(self.0.path().join("proc").join(pid.to_string())).unwrap();
        }

        fn load(&self, pid: u32) -> ProcessLoad {
            ProcessLoad::new(self.0.path(), pid)
        }
    }

    fn spent(milliseconds: u64, kib: u64) -> Option<Spent> {
        let cpu_time = Some(Duration::from_millis(milliseconds));
        Some(Spent { cpu_time, memory_bytes: Some(kib * 1024) })
    }

    #[test]
    fn an_engine_is_its_process_and_all_descendants_and_nobody_else() {
        let machine = Machine::new();
        machine.process(10, "S", 1, 500, 100, 8);
        machine.process(5, "S", 10, 501, 10, 4);
        machine.process(3, "S", 5, 502, 10, 2);
        machine.process(77, "S", 1, 500, 10, 1000);
        let mut load = machine.load(10);
        assert_eq!(load.look(), Some(Spent { cpu_time: None, memory_bytes: Some(14 * 1024) }));
        machine.process(10, "S", 1, 500, 105, 16);
        machine.process(3, "S", 5, 502, 11, 2);
        machine.process(77, "S", 1, 500, 900, 1000);
        assert_eq!(load.look(), spent(120, 22));
    }

    #[test]
    fn a_child_that_was_started_since_counts_whole_and_one_that_ended_takes_nothing_away() {
        let machine = Machine::new();
        machine.process(10, "S", 1, 500, 100, 8);
        machine.process(11, "S", 10, 501, 300, 8);
        let mut load = machine.load(10);
        load.look();
        machine.ends(11);
        machine.process(12, "S", 10, 900, 2, 8);
        machine.process(10, "S", 1, 500, 101, 8);
        assert_eq!(load.look(), spent(60, 16));
    }

    #[test]
    fn a_worker_that_outlives_its_parent_still_counts() {
        let machine = Machine::new();
        machine.process(10, "S", 1, 500, 100, 8);
        machine.process(11, "S", 10, 501, 100, 8);
        let mut load = machine.load(10);
        load.look();
        machine.ends(10);
        machine.process(11, "S", 1, 501, 101, 8);
        assert_eq!(load.look(), spent(20, 8));
    }

    #[test]
    fn a_process_that_ended_says_nothing_also_when_another_gets_its_pid() {
        let machine = Machine::new();
        machine.process(10, "S", 1, 500, 100, 8);
        let mut load = machine.load(10);
        assert!(load.look().is_some());
        machine.process(10, "Z", 1, 500, 100, 8);
        assert_eq!(load.look(), None);
        machine.process(10, "S", 1, 9_000, 100, 8);
        assert_eq!(load.look(), None);
    }

    #[test]
    fn a_look_after_a_gap_has_memory_and_no_cpu_time() {
        let machine = Machine::new();
        machine.process(10, "S", 1, 500, 100, 8);
        let mut load = machine.load(10);
        load.look();
        load.skip();
        machine.process(10, "S", 1, 500, 900, 8);
        assert_eq!(load.look(), Some(Spent { cpu_time: None, memory_bytes: Some(8 * 1024) }));
        machine.process(10, "S", 1, 500, 901, 8);
        assert_eq!(load.look(), spent(20, 8));
    }

    #[test]
    fn a_machine_without_proc_says_nothing() {
        assert_eq!(ProcessLoad::new(Path::new("/nonexistent"), 1).look(), None);
    }
}
