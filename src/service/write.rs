//! Writes edits of compose and `services.json` files back: under LLM-Dock's lock, only over the text
//! that the edit was made from, with a backup, each file as a whole or not at all. Decides no content.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::files::atomic_write::{FileError, replace_through_link};

/// One file's new text.
#[derive(Debug, Clone, Copy)]
pub struct FileEdit<'e> {
    pub path: &'e Path,
    /// SHA-256 in hex of the bytes that the edit was made from.
    pub expected_sha256: &'e str,
    pub new_text: &'e str,
}

/// One file before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The file itself, behind links.
    pub path: PathBuf,
    /// The copy of what it was before.
    pub backup: PathBuf,
    pub pre_sha256: String,
    pub post_sha256: String,
}

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error(
        "{} was changed by somebody else since the edit was made (SHA-256 {found}, not {expected}); try again",
        path.display()
    )]
    Conflict { path: PathBuf, expected: String, found: String },
    #[error("{} is still locked by another program after {waited_s} s; try again", path.display())]
    Locked { path: PathBuf, waited_s: u64 },
    #[error("{} cannot be {doing}: {source}", path.display())]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("{error}; {} was written already and could not be put back: {source}", path.display())]
    HalfWritten { path: PathBuf, error: Box<WriteError>, source: Box<WriteError> },
}

/// SHA-256 of a file's bytes, in hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the edits of one apply: all of them, or none where it can be helped. Takes the lock beside
/// `lock_for`, the compose file; backups go below `backups`, named after `label` (an apply's id).
/// Blocks, so it belongs on a thread that may.
///
/// # Errors
/// `Conflict` where a file is not what the edit was made from, `Locked` after waiting for `patience`,
/// else what the file system says. Nothing is written then; `HalfWritten` is the exception.
pub fn write_all(
    lock_for: &Path,
    edits: &[FileEdit<'_>],
    backups: &Path,
    label: &str,
    patience: Duration,
) -> Result<Vec<Written>, WriteError> {
    let _lock = lock(lock_for, patience)?;
    let mut ready = Vec::new();
    for edit in edits {
        let path = std::fs::canonicalize(edit.path).map_err(io(edit.path, "found"))?;
        let old = std::fs::read(&path).map_err(io(&path, "read"))?;
        let found = sha256_hex(&old);
        if found != edit.expected_sha256 {
            return Err(WriteError::Conflict { path, expected: edit.expected_sha256.to_owned(), found });
        }
        ready.push((edit, path, old));
    }
    let mut written: Vec<(Written, Vec<u8>)> = Vec::new();
    for (edit, path, old) in ready {
        let result = back_up(&path, &old, backups, label).and_then(|backup| {
            replace_through_link(&path, edit.new_text.as_bytes())?;
            Ok(backup)
        });
        match result {
            Ok(backup) => {
                let done = Written {
                    pre_sha256: edit.expected_sha256.to_owned(),
                    post_sha256: sha256_hex(edit.new_text.as_bytes()),
                    path,
                    backup,
                };
                written.push((done, old));
            }
            Err(error) => return Err(undone(&written, error)),
        }
    }
    Ok(written.into_iter().map(|(done, _)| done).collect())
}

fn undone(written: &[(Written, Vec<u8>)], error: WriteError) -> WriteError {
    for (done, old) in written.iter().rev() {
        if let Err(source) = replace_through_link(&done.path, old).map_err(WriteError::from) {
            return WriteError::HalfWritten {
                path: done.path.clone(),
                error: Box::new(error),
                source: Box::new(source),
            };
        }
    }
    error
}

fn io(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> WriteError {
    let path = path.to_path_buf();
    move |source| WriteError::Io { path, doing, source }
}

/// LLM-Dock's lock: flock on `<compose file>.lock`. Released when the file is dropped.
fn lock(lock_for: &Path, patience: Duration) -> Result<File, WriteError> {
    let mut name = lock_for.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let nofollow = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
    let open = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(nofollow)
        .open(&path);
    // Somebody else's lock file can still be locked where it can only be read.
    let file = open
        .or_else(|_| OpenOptions::new().read(true).custom_flags(nofollow).open(&path))
        .map_err(io(&path, "opened as a lock"))?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) if begun.elapsed() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(WriteError::Locked { path, waited_s: patience.as_secs() });
            }
            Err(std::fs::TryLockError::Error(source)) => {
                return Err(WriteError::Io { path, doing: "locked", source });
            }
        }
    }
}

/// A copy below the backups' directory, readable by its owner alone: compose files hold keys.
fn back_up(path: &Path, old: &[u8], backups: &Path, label: &str) -> Result<PathBuf, WriteError> {
    let directory = backups.join(label);
    std::fs::create_dir_all(&directory).map_err(io(&directory, "made"))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    for attempt in 0..1000 {
        let target = match attempt {
            0 => directory.join(&name),
            again => directory.join(format!("{name}.{again}")),
        };
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&target) {
            Ok(mut file) => {
                file.write_all(old).and_then(|()| file.sync_all()).map_err(io(&target, "written"))?;
                return Ok(target);
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(source) => return Err(WriteError::Io { path: target, doing: "created", source }),
        }
    }
    let source = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
    Err(WriteError::Io { path: directory, doing: "used for another backup", source })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    struct Place {
        directory: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap() }
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            let path = self.directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }

        fn write(&self, lock_for: &Path, edits: &[(&Path, &str, &str)]) -> Result<Vec<Written>, WriteError> {
            let hashes: Vec<_> = edits.iter().map(|(_, old, _)| sha256_hex(old.as_bytes())).collect();
            let edits: Vec<_> = edits
                .iter()
                .zip(&hashes)
                .map(|((path, _, new), expected_sha256)| FileEdit { path, expected_sha256, new_text: new })
                .collect();
            let backups = self.directory.path().join("backups");
            write_all(lock_for, &edits, &backups, "apply-1", Duration::from_millis(60))
        }
    }

    fn read(path: &Path) -> String {
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_backed_up() {
        let place = Place::new();
        let path = place.file("docker-compose.yml", "old");
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let written = place.write(&path, &[(&path, "old", "new")]).unwrap().remove(0);
        assert_eq!((read(&path).as_str(), read(&written.backup).as_str()), ("new", "old"));
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(written.pre_sha256, sha256_hex(b"old"));
        assert_eq!(written.post_sha256, sha256_hex(b"new"));
        assert!(place.directory.path().join("docker-compose.yml.lock").exists());
        let again = place.write(&path, &[(&path, "new", "newer")]).unwrap().remove(0);
        assert_ne!(again.backup, written.backup);
    }

    #[test]
    fn a_file_that_somebody_changed_is_a_conflict_and_nothing_is_written() {
        let place = Place::new();
        let compose = place.file("docker-compose.yml", "old");
        let json = place.file("services.json", "theirs");
        let error = place.write(&compose, &[(&compose, "old", "new"), (&json, "old", "new")]).unwrap_err();
        assert!(matches!(error, WriteError::Conflict { .. }), "{error}");
        assert_eq!((read(&compose).as_str(), read(&json).as_str()), ("old", "theirs"));
    }

    #[test]
    fn a_link_stays_a_link() {
        let place = Place::new();
        let path = place.file("real.yml", "old");
        let link = place.directory.path().join("docker-compose.yml");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        place.write(&link, &[(&link, "old", "new")]).unwrap();
        assert!(link.is_symlink());
        assert_eq!(read(&path), "new");
    }

    #[test]
    fn somebody_elses_lock_is_waited_for_and_then_said() {
        let place = Place::new();
        let path = place.file("docker-compose.yml", "old");
        let theirs = File::create(place.directory.path().join("docker-compose.yml.lock")).unwrap();
        theirs.lock().unwrap();
        let error = place.write(&path, &[(&path, "old", "new")]).unwrap_err();
        assert!(matches!(error, WriteError::Locked { .. }), "{error}");
        theirs.unlock().unwrap();
        place.write(&path, &[(&path, "old", "new")]).unwrap();
    }

    #[test]
    fn nothing_but_the_file_the_lock_and_the_backups_is_left() {
        let place = Place::new();
        let path = place.file("docker-compose.yml", "old");
        place.write(&path, &[(&path, "old", "new")]).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(place.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["backups", "docker-compose.yml", "docker-compose.yml.lock"]);
    }
}
