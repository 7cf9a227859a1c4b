//! Puts status files where they belong: beside the request or below the status directory, as a whole
//! or not at all, only when they differ, and never over a file that is not ours.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::files::atomic_write::{self, FileError};

/// The first line of every status file; a file without it is not ours to overwrite.
pub const HEADER: &str = "# written by benchlet; edits are overwritten\n";

#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error("{path} was not written by benchlet, so it is left alone; move it away to get a status there")]
    NotOurs { path: PathBuf },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("the directory {path} cannot be made: {source}")]
    Directory { path: PathBuf, source: std::io::Error },
}

/// What was last written where.
#[derive(Debug)]
pub struct StatusFiles {
    root: PathBuf,
    /// `None`: beside the request.
    directory: Option<PathBuf>,
    /// The status files as they were left, by their requests; `None` where somebody else was there at once.
    written: HashMap<PathBuf, Option<Stat>>,
}

impl StatusFiles {
    pub fn new(root: PathBuf, directory: Option<PathBuf>) -> Self {
        Self { root, directory, written: HashMap::new() }
    }

    /// Where the status of a request file goes; `request` is relative to the root.
    pub fn path_of(&self, request: &Path) -> PathBuf {
        let base = self.directory.as_ref().unwrap_or(&self.root);
        let stem = request.file_stem().unwrap_or_default().to_string_lossy();
        base.join(request).with_file_name(format!("{stem}.status.yaml"))
    }

    /// Writes the text unless it stands there already. True where something was written.
    ///
    /// # Errors
    /// A file that is not ours, or the file system's words.
    pub fn write(&mut self, request: &Path, text: &str) -> Result<bool, StatusError> {
        let path = self.path_of(request);
        let there = std::fs::read_to_string(&path).ok();
        if there.as_deref() == Some(text) {
            self.written.insert(request.to_owned(), stat(&path));
            return Ok(false);
        }
        let foreign = there.as_deref().is_some_and(|there| !there.is_empty() && !there.starts_with(HEADER));
        if foreign && !self.written.contains_key(request) {
            return Err(StatusError::NotOurs { path });
        }
        if let (Some(_), Some(parent)) = (&self.directory, path.parent()) {
            std::fs::create_dir_all(parent)
                .map_err(|source| StatusError::Directory { path: parent.to_owned(), source })?;
        }
        atomic_write::replace(&path, text.as_bytes(), 0o644)?;
        let left = stat(&path).filter(|left| left.2 == text.len() as u64);
        self.written.insert(request.to_owned(), left);
        Ok(true)
    }

    /// Status files that are no longer as they were written, by their requests.
    pub fn disturbed(&self) -> Vec<PathBuf> {
        let differs = |(request, left): &(&PathBuf, &Option<Stat>)| self.differs(request, left.as_ref());
        self.written.iter().filter(differs).map(|(request, _)| request.clone()).collect()
    }

    /// The request whose status lies there, where it is no longer as it was written. `path` is relative
    /// to the root.
    pub fn disturbed_at(&self, path: &Path) -> Option<PathBuf> {
        let stem = path.to_str()?.strip_suffix(".status.yaml")?;
        let written = |ending: &str| {
            let request = PathBuf::from(format!("{stem}.{ending}"));
            let left = self.written.get(&request)?;
            self.differs(&request, left.as_ref()).then_some(request)
        };
        written("yaml").or_else(|| written("yml"))
    }

    fn differs(&self, request: &Path, left: Option<&Stat>) -> bool {
        left.is_none() || stat(&self.path_of(request)).as_ref() != left
    }

    /// Takes the status of a request file away that is no more.
    pub fn remove(&mut self, request: &Path) {
        self.written.remove(request);
        let path = self.path_of(request);
        let ours = std::fs::read_to_string(&path).is_ok_and(|text| text.starts_with(HEADER));
        if ours && let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(path = %path.display(), %error, "a status file could not be removed");
        }
    }
}

/// Device, inode, size and times: what differs when somebody else has written.
type Stat = (u64, u64, u64, i64, i64, i64);

fn stat(path: &Path) -> Option<Stat> {
    use std::os::unix::fs::MetadataExt as _;
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec(), found.ctime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, StatusFiles) {
        let root = tempfile::tempdir().unwrap();
        let files = StatusFiles::new(root.path().to_owned(), None);
        (root, files)
    }

    #[test]
    fn a_status_lies_beside_its_request_and_is_written_once() {
        let (root, mut files) = files();
        let text = format!("{HEADER}kind: x\n");
        assert!(files.write(Path::new("a.b.yaml"), &text).unwrap());
        assert!(!files.write(Path::new("a.b.yaml"), &text).unwrap());
        assert_eq!(std::fs::read_to_string(root.path().join("a.b.status.yaml")).unwrap(), text);
    }

    #[test]
    fn a_file_that_somebody_else_wrote_is_left_alone() {
        let (root, mut files) = files();
        std::fs::write(root.path().join("a.status.yaml"), "mine\n").unwrap();
        assert!(matches!(files.write(Path::new("a.yaml"), HEADER), Err(StatusError::NotOurs { .. })));
        assert_eq!(std::fs::read_to_string(root.path().join("a.status.yaml")).unwrap(), "mine\n");
        files.remove(Path::new("a.yaml"));
        assert!(root.path().join("a.status.yaml").exists());
    }

    #[test]
    fn an_edited_status_is_noticed_and_written_again() {
        let (root, mut files) = files();
        files.write(Path::new("a.yaml"), HEADER).unwrap();
        std::fs::write(root.path().join("a.status.yaml"), "edited\n").unwrap();
        assert_eq!(files.disturbed(), [PathBuf::from("a.yaml")]);
        assert!(files.write(Path::new("a.yaml"), HEADER).unwrap());
        assert_eq!(files.disturbed(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_link_in_the_place_of_a_status_is_not_followed() {
        let (root, mut files) = files();
        let elsewhere = root.path().join("elsewhere");
        std::fs::write(&elsewhere, HEADER).unwrap();
        std::os::unix::fs::symlink(&elsewhere, root.path().join("a.status.yaml")).unwrap();
        let text = format!("{HEADER}x\n");
        assert!(files.write(Path::new("a.yaml"), &text).is_err());
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), HEADER);
    }
}
