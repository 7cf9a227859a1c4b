//! When a change may be read, and when what was read may start a run. Pure: the caller gives the
//! time (milliseconds of any monotonic clock) and the stats.
//!
//! Owns both waits, path by path. A change is read once the path is quiet; a run may start once its
//! writer is done with the file, because a slow writer's first half can be a valid request too.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::files::stat::Stat;

/// Quiet time after which a change is read.
pub const QUIET_MS: u64 = 100;
/// The first of the two stats that must agree is taken this long after the last hint.
const FIRST_STAT_MS: u64 = 20;
/// A path that never gets quiet is read this long after its first hint.
pub const CAP_MS: u64 = 1_000;
/// A file that nobody was seen to close may start a run after this long without change.
pub const UNCLOSED_MS: u64 = 2_000;

/// What was noticed about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Written, created, or found changed by a listing.
    Changed,
    /// Permissions or times changed, which says nothing about a writer.
    Attributes,
    /// A writer closed it.
    Closed,
    /// Renamed to this name: whole already.
    MovedIn,
    Removed,
}

/// What a stat of a path that was due means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// Read it now.
    Accepted,
    /// Not yet; it is due again later.
    Waiting,
}

/// Whether a file's documents may start a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Startable {
    Now,
    /// At this time, if nothing changes until then.
    At(u64),
}

/// The waits of all paths. Holds only paths that something waits for.
#[derive(Debug, Default)]
pub struct Settler {
    pending: BTreeMap<PathBuf, Pending>,
    /// Paths with a writer that was not seen to be done, and when they may start all the same.
    unclosed: BTreeMap<PathBuf, u64>,
}

#[derive(Debug)]
struct Pending {
    first_hint: u64,
    last_hint: u64,
    /// Nothing was there, or this stat was, when it was last looked at since the last hint.
    seen: Option<Option<Stat>>,
    due: u64,
}

impl Settler {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes note of a hint.
    pub fn note(&mut self, path: &Path, touch: Touch, now: u64) {
        match touch {
            Touch::Changed => drop(self.unclosed.insert(path.to_owned(), now + UNCLOSED_MS)),
            Touch::Attributes => {}
            Touch::Closed | Touch::MovedIn | Touch::Removed => drop(self.unclosed.remove(path)),
        }
        let pending = self.pending.entry(path.to_owned()).or_insert(Pending {
            first_hint: now,
            last_hint: now,
            seen: None,
            due: now,
        });
        pending.last_hint = now;
        pending.seen = None;
        pending.due = (now + FIRST_STAT_MS).min(pending.first_hint + CAP_MS);
    }

    /// On start-up, with the wall clock: a file that was written just now may still be written.
    pub fn found_at_start(&mut self, path: &Path, stat: &Stat, now: u64, wall_ns: i64) {
        let age_ms = u64::try_from(wall_ns.saturating_sub(stat.mtime_ns) / 1_000_000).unwrap_or(0);
        if age_ms < UNCLOSED_MS {
            self.unclosed.insert(path.to_owned(), now + UNCLOSED_MS - age_ms);
        }
    }

    /// Paths that want a stat now; each must be answered with [`Settler::stat`].
    pub fn due(&self, now: u64) -> Vec<PathBuf> {
        self.pending.iter().filter(|(_, pending)| pending.due <= now).map(|(path, _)| path.clone()).collect()
    }

    /// Answers a due path with its stat, `None` where nothing is there.
    pub fn stat(&mut self, path: &Path, stat: Option<Stat>, now: u64) -> Settled {
        let Some(pending) = self.pending.get_mut(path) else {
            return Settled::Waiting;
        };
        let cap = pending.first_hint + CAP_MS;
        let quiet = now >= pending.last_hint + QUIET_MS;
        if now >= cap || (quiet && pending.seen == Some(stat)) {
            self.pending.remove(path);
            return Settled::Accepted;
        }
        let changed_silently = pending.seen.is_some_and(|seen| seen != stat);
        if changed_silently {
            // A change without an event, as on network file systems.
            pending.last_hint = now;
            self.unclosed.insert(path.to_owned(), now + UNCLOSED_MS);
        }
        pending.seen = Some(stat);
        // Two stats taken in one moment agree without proving anything.
        let next = if quiet { now + QUIET_MS } else { pending.last_hint + QUIET_MS };
        pending.due = next.min(cap);
        Settled::Waiting
    }

    /// Whether a path waits to be read.
    pub fn is_pending(&self, path: &Path) -> bool {
        self.pending.contains_key(path)
    }

    pub fn startable_at(&self, path: &Path) -> Startable {
        self.unclosed.get(path).map_or(Startable::Now, |at| Startable::At(*at))
    }

    /// Paths whose last change is old enough by now, given once each. A path that waits to be read
    /// is not among them: its content is about to change.
    pub fn became_startable(&mut self, now: u64) -> Vec<PathBuf> {
        let is_ready = |path: &PathBuf, at: &u64| *at <= now && !self.pending.contains_key(path);
        let ready: Vec<PathBuf> = self
            .unclosed
            .iter()
            .filter(|(path, at)| is_ready(path, at))
            .map(|(path, _)| path.clone())
            .collect();
        for path in &ready {
            self.unclosed.remove(path);
        }
        ready
    }

    /// Drops what is known of a path that is gone.
    pub fn forget(&mut self, path: &Path) {
        self.pending.remove(path);
        self.unclosed.remove(path);
    }

    /// When something is due next.
    pub fn next_wakeup(&self) -> Option<u64> {
        let reads = self.pending.values().map(|pending| pending.due);
        let starts =
            self.unclosed.iter().filter(|(path, _)| !self.pending.contains_key(*path)).map(|(_, at)| *at);
        reads.chain(starts).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "a.yaml";

    fn stat(size: u64) -> Option<Stat> {
        Some(Stat { dev: 1, ino: 1, size, mtime_ns: 0, ctime_ns: 0 })
    }

    /// Runs the settler from `from` to `until`, answering every due path; the time of acceptance.
    fn accepted(
        settler: &mut Settler,
        until: u64,
        mut stat_at: impl FnMut(u64) -> Option<Stat>,
    ) -> Option<u64> {
        while let Some(now) = settler.next_wakeup().filter(|now| *now <= until) {
            settler.became_startable(now);
            for path in settler.due(now) {
                if settler.stat(&path, stat_at(now), now) == Settled::Accepted {
                    return Some(now);
                }
            }
        }
        None
    }

    #[test]
    fn a_change_is_read_after_a_tenth_of_a_second_of_quiet() {
        let mut settler = Settler::new();
        settler.note(Path::new(PATH), Touch::Changed, 0);
        settler.note(Path::new(PATH), Touch::Closed, 30);
        assert_eq!(accepted(&mut settler, 5_000, |_| stat(1)), Some(130));
        assert_eq!(settler.next_wakeup(), None);
    }

    #[test]
    fn a_file_that_grows_without_events_is_waited_for() {
        let mut settler = Settler::new();
        settler.note(Path::new(PATH), Touch::Changed, 0);
        assert_eq!(accepted(&mut settler, 5_000, |now| stat(now.min(300))), Some(400));
    }

    #[test]
    fn a_writer_that_never_rests_is_read_after_a_second() {
        let mut settler = Settler::new();
        let mut first = None;
        for now in (0..3_000).step_by(50) {
            settler.note(Path::new(PATH), Touch::Changed, now);
            first = first.or(accepted(&mut settler, now + 49, |now| stat(now / 50)));
        }
        assert_eq!(first, Some(1_000));
    }

    #[test]
    fn a_file_may_start_a_run_once_its_writer_closed_it() {
        let path = Path::new(PATH);
        let mut settler = Settler::new();
        settler.note(path, Touch::Changed, 0);
        assert_eq!(settler.startable_at(path), Startable::At(2_000));
        assert_eq!(accepted(&mut settler, 1_000, |_| stat(1)), Some(100));
        assert_eq!(settler.startable_at(path), Startable::At(2_000));
        settler.note(path, Touch::Closed, 500);
        assert_eq!(settler.startable_at(path), Startable::Now);
    }

    #[test]
    fn a_file_that_nobody_closes_may_start_a_run_two_seconds_after_its_last_change() {
        let path = Path::new(PATH);
        let mut settler = Settler::new();
        settler.note(path, Touch::Changed, 0);
        settler.note(path, Touch::Changed, 1_500);
        accepted(&mut settler, 1_700, |_| stat(1));
        assert!(settler.became_startable(3_499).is_empty());
        assert_eq!(settler.next_wakeup(), Some(3_500));
        assert_eq!(settler.became_startable(3_500), [PathBuf::from(PATH)]);
        assert_eq!(settler.next_wakeup(), None);
    }

    #[test]
    fn a_path_with_a_change_still_to_be_read_does_not_become_startable() {
        let path = Path::new(PATH);
        let mut settler = Settler::new();
        settler.note(path, Touch::MovedIn, 0);
        assert_eq!(settler.startable_at(path), Startable::Now);
        settler.note(path, Touch::Changed, 10);
        assert!(settler.became_startable(9_000).is_empty());
    }

    #[test]
    fn on_start_up_only_fresh_files_wait() {
        let mut settler = Settler::new();
        let stat = stat(1).unwrap();
        settler.found_at_start(Path::new("old"), &stat, 50, 2_000_000_000);
        settler.found_at_start(Path::new("fresh"), &stat, 50, 500_000_000);
        settler.found_at_start(Path::new("future"), &stat, 50, -5);
        assert_eq!(settler.startable_at(Path::new("old")), Startable::Now);
        assert_eq!(settler.startable_at(Path::new("fresh")), Startable::At(1_550));
        assert_eq!(settler.startable_at(Path::new("future")), Startable::At(2_050));
    }

    #[test]
    fn a_removed_path_is_accepted_as_absent() {
        let mut settler = Settler::new();
        settler.note(Path::new(PATH), Touch::Removed, 0);
        assert_eq!(accepted(&mut settler, 5_000, |_| None), Some(100));
    }
}
