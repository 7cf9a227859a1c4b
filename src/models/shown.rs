//! How far a download is, in a file that whoever lists requests looks at: the process that downloads is another
//! one. Only to look at, so that no failure here is the download's.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::files::private_dir;
use crate::run::model_files::ModelProgress;

/// The file in the run's folder.
const FILE: &str = "download.json";
/// Written at most this often while the same is done.
const OFTEN: Duration = Duration::from_millis(500);

/// Shows one download.
pub struct Shown {
    folder: PathBuf,
    last: Mutex<Option<(Instant, String)>>,
}

impl Shown {
    pub fn new(folder: PathBuf) -> Self {
        // Without a folder there is nothing to see.
        let _ = private_dir::create(&folder);
        Self { folder, last: Mutex::default() }
    }

    pub fn show(&self, progress: &ModelProgress) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = last
            .as_ref()
            .is_none_or(|(at, activity)| at.elapsed() >= OFTEN || *activity != progress.activity);
        if !is_news {
            return;
        }
        *last = Some((Instant::now(), progress.activity.clone()));
        let Ok(text) = serde_json::to_vec(progress) else { return };
        let next = self.folder.join("download.next");
        if std::fs::write(&next, text).is_ok() {
            let _ = std::fs::rename(&next, self.folder.join(FILE));
        }
    }
}

/// What a run's folder says; `None` where nothing was shown yet.
pub fn read(folder: &Path) -> Option<ModelProgress> {
    serde_json::from_slice(&std::fs::read(folder.join(FILE)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_else_that_is_done_is_shown_at_once_and_more_of_the_same_later() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("run");
        let shown = Shown::new(folder.clone());
        assert_eq!(read(&folder), None);
        let at = |activity: &str, fetched: u64| ModelProgress {
            activity: activity.to_owned(),
            fetched,
            ..ModelProgress::default()
        };
        shown.show(&at("downloading", 1));
        shown.show(&at("downloading", 2));
        assert_eq!(read(&folder), Some(at("downloading", 1)));
        shown.show(&at("checking", 3));
        assert_eq!(read(&folder), Some(at("checking", 3)));
    }
}
