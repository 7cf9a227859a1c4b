//! How far a run of llama-bench is, read from what `--progress` writes to stderr. Counts; keeps no
//! clock: the time that has passed is an argument.

use serde::{Deserialize, Serialize};

/// Progress in repetitions over all launches of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Repetitions that have ended; the one that runs is not counted.
    pub done: u64,
    pub total: u64,
}

impl Progress {
    /// Milliseconds still to go at the pace so far: elapsed · (total − done) / done. `None` before
    /// the first repetition has ended. Tests differ in length, so it is a guess within a launch.
    pub fn eta_ms(&self, elapsed_ms: u64) -> Option<u64> {
        if self.done == 0 {
            return None;
        }
        let left = u128::from(self.total.saturating_sub(self.done));
        u64::try_from(u128::from(elapsed_ms) * left / u128::from(self.done)).ok()
    }
}

/// What llama-bench does at the moment. `run` counts from 1 and has just begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    Starting,
    Warmup,
    /// Fills the KV cache before a repetition (`-d`), or takes it from before.
    Depth {
        run: u64,
        runs: u64,
    },
    Prompt {
        run: u64,
        runs: u64,
    },
    Generation {
        run: u64,
        runs: u64,
    },
}

/// One line of `--progress`: test `benchmark` (from 1) of `benchmarks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProgressLine {
    pub benchmark: u64,
    pub benchmarks: u64,
    pub activity: Activity,
}

/// Reads `llama-bench: benchmark 1/2: prompt run 1/5`; `None` for every other line.
pub fn parse_line(line: &str) -> Option<ProgressLine> {
    let rest = line.trim().strip_prefix("llama-bench: benchmark ")?;
    let (test, what) = rest.split_once(": ")?;
    let (benchmark, benchmarks) = fraction(test)?;
    let activity = if what == "starting" {
        Activity::Starting
    } else if what.starts_with("warmup") {
        Activity::Warmup
    } else {
        let (name, runs) = what.split_once(" run ")?;
        let (run, runs) = fraction(runs.trim_end_matches(" (cached)"))?;
        match name {
            "depth" => Activity::Depth { run, runs },
            "prompt" => Activity::Prompt { run, runs },
            "generation" => Activity::Generation { run, runs },
            _ => return None,
        }
    };
    Some(ProgressLine { benchmark, benchmarks, activity })
}

/// `1/2`, each at least 1 and the first no greater than the second.
fn fraction(text: &str) -> Option<(u64, u64)> {
    let (part, whole) = text.split_once('/')?;
    let (part, whole): (u64, u64) = (part.parse().ok()?, whole.parse().ok()?);
    (1 <= part && part <= whole).then_some((part, whole))
}

/// Progress of one launch, fed with its stderr line by line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LaunchProgress {
    last: Option<ProgressLine>,
    /// Repetitions of a test, once a line has named them.
    runs: Option<u64>,
    ended: u64,
}

impl LaunchProgress {
    /// Progress after all of a launch's stderr so far; a last line without its end is left out.
    pub fn of_stderr(stderr: &[u8]) -> Self {
        let mut progress = Self::default();
        for line in stderr.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n")) {
            progress.line(&String::from_utf8_lossy(line));
        }
        progress
    }

    /// Takes in one line; lines that are none of `--progress` change nothing.
    pub fn line(&mut self, line: &str) {
        let Some(line) = parse_line(line) else { return };
        let begun = match line.activity {
            Activity::Starting | Activity::Warmup => 1,
            Activity::Depth { run, runs }
            | Activity::Prompt { run, runs }
            | Activity::Generation { run, runs } => {
                self.runs = Some(runs);
                run
            }
        };
        let earlier = (line.benchmark - 1).saturating_mul(self.runs.unwrap_or(0));
        self.ended = self.ended.max(earlier.saturating_add(begun - 1));
        self.last = Some(line);
    }

    /// Repetitions ended and in all, once both are known: from the first repetition on.
    fn counts(&self) -> Option<Progress> {
        let total = self.last?.benchmarks.saturating_mul(self.runs?);
        Some(Progress { done: self.ended.min(total), total })
    }
}

/// Progress of a run: `completed` of its `launches` have ended, `current` is the one that runs.
/// `repetitions` is what the run asked for (`-r`), and counts until a line says otherwise. `None`
/// while the number of tests is not known, as for builds without `--progress`.
pub fn of_run(
    launches: u64,
    completed: u64,
    current: &LaunchProgress,
    repetitions: Option<u64>,
) -> Option<Progress> {
    let mut current = *current;
    current.runs = current.runs.or(repetitions);
    let launch = current.counts()?;
    let total = launch.total.saturating_mul(launches);
    let (completed, running) = if completed >= launches { (launches, 0) } else { (completed, launch.done) };
    Some(Progress { done: completed.saturating_mul(launch.total).saturating_add(running), total })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama-cpp/bench/progress.stderr"));
    const DEPTH: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/llama-cpp/bench/progress-d.stderr"
    ));
    const COLD: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/llama-cpp/bench/no-warmup.stderr"));

    fn course(stderr: &str) -> Vec<Option<(u64, u64)>> {
        let mut launch = LaunchProgress::default();
        stderr
            .lines()
            .map(|line| {
                launch.line(line);
                of_run(1, 0, &launch, None).map(|progress| (progress.done, progress.total))
            })
            .collect()
    }

    #[test]
    fn a_repetition_counts_when_the_next_one_begins() {
        let seen = course(PLAIN);
        assert_eq!(seen[..3], [None, None, None], "the repetitions are not known before the first");
        assert_eq!(seen[3..5], [Some((0, 4)), Some((1, 4))]);
        assert_eq!(seen[5..], [Some((2, 4)), Some((2, 4)), Some((2, 4)), Some((3, 4))]);
    }

    #[test]
    fn filling_the_cache_counts_for_nothing() {
        let seen = course(DEPTH);
        assert_eq!(seen[3..7], [Some((0, 4)), Some((0, 4)), Some((1, 4)), Some((1, 4))]);
        assert_eq!(seen.last(), Some(&Some((3, 4))));
    }

    #[test]
    fn a_run_without_warmup_counts_the_same() {
        assert_eq!(course(COLD).last(), Some(&Some((3, 4))));
    }

    #[test]
    fn progress_never_goes_back() {
        for stderr in [PLAIN, DEPTH, COLD] {
            let done: Vec<u64> = course(stderr).into_iter().flatten().map(|(done, _)| done).collect();
            assert!(done.is_sorted(), "{done:?}");
        }
    }

    #[test]
    fn launches_add_up() {
        let launch = LaunchProgress::of_stderr(PLAIN.as_bytes());
        assert_eq!(of_run(3, 1, &launch, None), Some(Progress { done: 7, total: 12 }));
        assert_eq!(of_run(3, 3, &launch, None), Some(Progress { done: 12, total: 12 }));
    }

    #[test]
    fn the_repetitions_asked_for_stand_until_a_line_names_them() {
        let launch = LaunchProgress::of_stderr(b"llama-bench: benchmark 1/2: starting\n");
        assert_eq!(of_run(1, 0, &launch, None), None);
        assert_eq!(of_run(1, 0, &launch, Some(5)), Some(Progress { done: 0, total: 10 }));
    }

    #[test]
    fn other_lines_and_broken_ones_are_ignored() {
        for line in [
            "load_backend: loaded CPU backend",
            "llama-bench: benchmark 1/2: dancing run 1/2",
            "llama-bench: benchmark 3/2: starting",
            "llama-bench: benchmark 0/2: starting",
            "llama-bench: benchmark 1/2: prompt run x/5",
            "llama-bench: benchmark 1/2",
            "",
        ] {
            assert_eq!(parse_line(line), None, "{line}");
        }
    }

    #[test]
    fn a_line_that_is_still_being_written_waits() {
        let launch = LaunchProgress::of_stderr(b"llama-bench: benchmark 1/2: prompt run 1/1");
        assert_eq!(launch, LaunchProgress::default());
    }

    #[test]
    fn the_eta_follows_the_pace_so_far() {
        let progress = Progress { done: 4, total: 6 };
        assert_eq!(progress.eta_ms(20_000), Some(10_000));
        assert_eq!(Progress { done: 0, total: 6 }.eta_ms(20_000), None);
        assert_eq!(Progress { done: 6, total: 6 }.eta_ms(20_000), Some(0));
        assert_eq!(Progress { done: 1, total: u64::MAX }.eta_ms(u64::MAX), None);
    }
}
