//! How far measuring is: counters that the workers turn and that a file shows, so that the controller
//! looks at a hundred bytes and never at the records.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::run::request_record::ErrorKind;

/// The file in the task's folder.
pub const PROGRESS_FILE: &str = "progress.json";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// The case that is measured, from 1 in the order of measuring; 0 before the first.
    pub case: u32,
    pub cases: u32,
    /// What is measured, for people.
    pub label: String,
    /// Requests of the case that ended, and all that it has; `None` where it ends by time.
    pub done: u64,
    pub of: Option<u64>,
    /// Share of the case by time, in thousandths, where it ends by time.
    pub by_time: Option<u64>,
    pub failed: u64,
    /// Milliseconds since measuring began.
    pub elapsed_ms: u64,
}

impl Progress {
    /// What a measuring task's folder says; `None` before its first case.
    pub fn read(folder: &Path) -> Option<Self> {
        let text = std::fs::read(folder.join(PROGRESS_FILE)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// `case 2 of 3 (c=4): 35 of 100 requests, 1 failed`
    pub fn words(&self) -> String {
        let done = match self.of {
            Some(of) => format!("{} of {of} requests", self.done),
            None => format!("{} requests", self.done),
        };
        let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
        format!("case {} of {} ({}): {done}{failed}", self.case, self.cases, self.label)
    }

    /// Thousandths of all cases, each for as much as another.
    pub fn thousandths(&self) -> u64 {
        let of_case = match self.of {
            Some(of) => (self.done * 1_000 / of.max(1)).min(1_000),
            None => self.by_time.unwrap_or(0),
        };
        (u64::from(self.case.saturating_sub(1)) * 1_000 + of_case) / u64::from(self.cases.max(1))
    }
}

/// The counters of the case that runs.
#[derive(Debug, Default)]
pub struct Counters {
    pub done: AtomicU64,
    pub failed: AtomicU64,
    /// Requests since the last one that found a server.
    refused_in_a_row: AtomicU64,
}

impl Counters {
    pub fn count(&self, error: Option<ErrorKind>) {
        self.done.fetch_add(1, Ordering::Relaxed);
        if error.is_some() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        if error == Some(ErrorKind::Connect) {
            self.refused_in_a_row.fetch_add(1, Ordering::Relaxed);
        } else {
            self.refused_in_a_row.store(0, Ordering::Relaxed);
        }
    }

    /// Requests that found no server, since the last one that did.
    pub fn refused_in_a_row(&self) -> u64 {
        self.refused_in_a_row.load(Ordering::Relaxed)
    }
}

/// Writes the file. It is only to look at, so a failure is none of the run's.
pub fn show(folder: &Path, progress: &Progress) {
    let Ok(text) = serde_json::to_vec(progress) else { return };
    let next = folder.join("progress.next");
    if std::fs::write(&next, text).is_ok() {
        let _ = std::fs::rename(&next, folder.join(PROGRESS_FILE));
    }
}
