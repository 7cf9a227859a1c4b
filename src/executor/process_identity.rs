//! Which process a pid means: pid, start time and boot id together name one process for good, so a
//! signal never reaches a stranger that got the number later. Also finds what a task left running.

use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::files::boot;

/// The environment variable by which a task's processes are known after their shim is gone.
pub const TASK_VARIABLE: &str = "BENCHLET_TASK";
/// Where a task finds its inputs and leaves what it has beside its output.
pub const FOLDER_VARIABLE: &str = "BENCHLET_TASK_FOLDER";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessIdentity {
    pub pid: i32,
    /// Clock ticks since boot, from `/proc/PID/stat`.
    pub start_time: u64,
    pub boot_id: String,
}

/// What `/proc/PID/stat` says that matters here.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    zombie: bool,
    parent: i32,
    start_time: u64,
}

impl ProcessIdentity {
    pub fn of_self() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Ok(Self { pid, start_time: stat(pid)?.start_time, boot_id: boot::id()? })
    }

    /// Signals the process; `false` where it is gone, which includes another one under its pid.
    pub fn signal(&self, signal: Signal) -> io::Result<bool> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(false) };
        // Open first, compare then: what the handle means cannot change any more.
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Some(handle),
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            // Kernels before 5.3 and some sandboxes have no such handle; the window is then short.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM | rustix::io::Errno::INVAL) => None,
            Err(error) => return Err(error.into()),
        };
        if !self.is_alive() {
            return Ok(false);
        }
        let sent = match handle {
            Some(handle) => pidfd_send_signal(handle, signal),
            None => kill_process(pid, signal),
        };
        match sent {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub fn is_alive(&self) -> bool {
        let same_boot = boot::id().is_ok_and(|boot_id| boot_id == self.boot_id);
        same_boot && stat(self.pid).is_ok_and(|stat| stat.start_time == self.start_time && !stat.zombie)
    }
}

/// All processes whose parent is `parent`, zombies included.
pub fn children_of(parent: i32) -> Vec<i32> {
    all_pids().filter(|pid| stat(*pid).is_ok_and(|stat| stat.parent == parent)).collect()
}

/// Kills what still carries the task's name in its environment: descendants of a shim that was itself
/// killed. Says how many it found.
pub fn kill_stragglers(task: &str) -> usize {
    let wanted = format!("{TASK_VARIABLE}={task}");
    let carries_name = |pid: &i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes()))
    };
    let found: Vec<Pid> = all_pids().filter(carries_name).filter_map(Pid::from_raw).collect();
    for pid in &found {
        // Gone in the meantime is what is wanted.
        let _ = kill_process(*pid, Signal::KILL);
    }
    found.len()
}

fn all_pids() -> impl Iterator<Item = i32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
}

fn stat(pid: i32) -> io::Result<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat"))?;
    parse_stat(&String::from_utf8_lossy(&text)).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat has another form"))
    })
}

/// The program's name stands in parentheses and may hold anything, so fields count from the last `)`.
fn parse_stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    Some(Stat {
        zombie: matches!(*fields.first()?, "Z" | "X"),
        parent: fields.get(1)?.parse().ok()?,
        start_time: fields.get(19)?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
        let line = "42 (a) Z 1 (x) S 7 42 42 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2 3";
        assert_eq!(parse_stat(line), Some(Stat { zombie: false, parent: 7, start_time: 987_654 }));
    }

    #[test]
    fn this_process_is_alive_and_another_start_time_is_another_process() {
        let me = ProcessIdentity::of_self().unwrap();
        assert!(me.is_alive());
        assert!(!ProcessIdentity { start_time: me.start_time + 1, ..me.clone() }.is_alive());
        let stranger = ProcessIdentity { boot_id: "another boot".into(), ..me };
        assert!(!stranger.signal(Signal::KILL).unwrap());
    }
}
