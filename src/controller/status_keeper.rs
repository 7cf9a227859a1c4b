//! When the status of a request file is written: after its decisions, at most once a second while
//! something runs, at once at an end, and again where somebody else wrote. What is in it is `status`'s.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::conditions;
use super::context::Context;
use super::queue::Queue;
use super::status;
use crate::decide::Decision;
use crate::intake::source_map::SourceMap;
use crate::report::status_document;
use crate::settings::Settings;
use crate::status::write::{HEADER, StatusFiles};

/// A running request's status is written at most this often.
pub const OFTEN: Duration = Duration::from_secs(1);
/// All status files are looked at this often; where watching works, an edit of one is noticed at once.
const CHECK: Duration = Duration::from_secs(300);
/// Status files are written for this long before fresh events are looked at.
const SLICE: Duration = Duration::from_millis(20);
/// A status that could not be written is tried again after this.
const AGAIN: Duration = Duration::from_secs(5);

pub struct StatusKeeper {
    files: StatusFiles,
    /// Request files whose status is to be looked at.
    stale: Queue<PathBuf>,
    last: HashMap<PathBuf, Instant>,
    next_check: Instant,
    /// Requests that vanished, of which nothing is said any more.
    vanished: Vec<String>,
    /// Refused documents may be gone, so that what was said of them is to be forgotten.
    look_for_gone: bool,
}

/// What a status is made of.
pub struct Sight<'a> {
    pub context: &'a Context,
    pub sources: &'a SourceMap,
    pub decisions: &'a HashMap<String, Decision>,
}

impl StatusKeeper {
    pub fn new(settings: &Settings) -> Self {
        Self {
            files: StatusFiles::new(settings.requests.clone(), settings.status_dir.clone()),
            stale: Queue::default(),
            last: HashMap::new(),
            next_check: Instant::now() + CHECK,
            vanished: Vec::new(),
            look_for_gone: false,
        }
    }

    /// Has what was said of documents forgotten that are in no file any more.
    pub fn forget_gone(&mut self) {
        self.look_for_gone = true;
    }

    /// Has all forgotten that was said of a request.
    pub fn forget(&mut self, request: &str) {
        self.vanished.push(request.to_owned());
    }

    /// Has the status of a request file looked at, at most once a second.
    pub fn look_at(&mut self, path: &Path, delay: Duration) {
        let now = Instant::now();
        let earliest = self.last.get(path).map_or(now, |last| *last + OFTEN);
        let due = (now + delay).max(earliest);
        self.stale.wake_after(&path.to_owned(), due.saturating_duration_since(now), now);
    }

    /// Lets the next look at a file's status be at once.
    pub fn unhold(&mut self, path: &Path) {
        self.last.remove(path);
    }

    /// A status file was written or removed, by us or by somebody else.
    pub fn touched(&mut self, path: &Path) {
        if let Some(request) = self.files.disturbed_at(path) {
            self.look_at(&request, Duration::ZERO);
        }
    }

    /// Nothing waits to be written now.
    pub fn is_idle(&self) -> bool {
        self.stale.depth() == 0
    }

    pub fn next_timer(&self) -> Instant {
        self.stale.next_due().map_or(self.next_check, |due| due.min(self.next_check))
    }

    pub async fn write_due(&mut self, sight: &Sight<'_>) {
        let began = Instant::now();
        if self.next_check <= began {
            self.next_check = began + CHECK;
            for path in self.files.disturbed() {
                self.look_at(&path, Duration::ZERO);
            }
        }
        while let Some(path) = self.stale.next(began) {
            self.write(sight, &path).await;
            self.stale.done(&path);
            if began.elapsed() > SLICE {
                // A fresh edit must not wait behind thousands of files.
                return;
            }
        }
        self.forget_due(sight).await;
    }

    async fn forget_due(&mut self, sight: &Sight<'_>) {
        let mut outcome = conditions::forget(sight.context, std::mem::take(&mut self.vanished)).await;
        // What is missing from a degraded root, or before the first listing, may yet be there.
        if self.look_for_gone && sight.sources.is_started() && sight.sources.degraded().is_none() {
            self.look_for_gone = false;
            outcome = outcome.and(conditions::forget_gone(sight.context, sight.sources).await);
        }
        if let Err(error) = outcome {
            tracing::warn!(%error, "conditions of what is gone could not be forgotten");
        }
    }

    /// Writes whatever waits, also what would be due a little later.
    pub async fn write_all(&mut self, sight: &Sight<'_>) {
        while let Some(path) = self.stale.next(Instant::now() + 2 * OFTEN) {
            self.write(sight, &path).await;
            self.stale.done(&path);
        }
        self.forget_due(sight).await;
    }

    async fn write(&mut self, sight: &Sight<'_>, path: &Path) {
        let sources = sight.sources;
        self.last.insert(path.to_owned(), Instant::now());
        if let Some(holder) = sources.status_holder(path).map(Path::to_owned) {
            // The status file is another request file's; that one tells of both.
            self.look_at(&holder, Duration::ZERO);
            return;
        }
        if sources.is_spent(path) {
            if sources.is_started() && sources.degraded().is_none() {
                self.files.remove(path);
                self.last.remove(path);
            }
            return;
        }
        let decision_of = |name: &str| sight.decisions.get(name).cloned();
        let documents = status::documents(sight.context, sources, path, decision_of).await;
        if documents.as_ref().is_ok_and(Vec::is_empty) {
            // A file of data that was mended, say: of it there is nothing to tell.
            self.files.remove(path);
            return;
        }
        let text = match documents {
            Ok(documents) => status_document::stream(HEADER, &documents).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let outcome = text.and_then(|text| self.files.write(path, &text).map_err(|error| error.to_string()));
        if let Err(error) = outcome {
            tracing::warn!(path = %path.display(), %error, "a status could not be written");
            self.stale.wake_after(&path.to_owned(), AGAIN, Instant::now());
        }
    }
}
