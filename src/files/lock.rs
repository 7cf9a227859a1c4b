//! A lock that one process holds and that says who: the second reads the name and can print it.
//!
//! Owns the lock file's content. The lock is the kernel's (`flock`), so that a killed process leaves
//! none behind. The file usually stays; where its holder removes it, whoever waited for it sees that and
//! takes the lock of the file that has its name now, so that no two hold locks on two files of one name.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{self, CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// A look at a lock takes it for an instant, so one refusal proves nothing yet.
const TRIES: u32 = 5;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);
/// Longest description that is read back.
const MAX_DESCRIPTION: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("{}: is held by {description}; stop that one first", path.display())]
    HeldBy { path: PathBuf, description: String },
    #[error("{}: cannot create the lock file: {source}; choose a directory that can be written", path.display())]
    NotWritable { path: PathBuf, source: io::Error },
    #[error("{}: cannot lock: {source}; check that the file system supports locks", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Who wants a lock, and what for (`serve on requests/`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub pid: u32,
    pub what: String,
}

/// A lock, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct LockFile {
    file: File,
    path: PathBuf,
}

impl LockFile {
    /// Takes the lock or says who has it. Waits for at most a few hundredths of a second.
    pub fn acquire(path: &Path, holder: &Holder) -> Result<Self, LockError> {
        let lock = loop {
            let file = Self::locked(path)?;
            if is_at(&file, path) {
                break Self { file, path: path.to_owned() };
            }
        };
        lock.write_holder(holder).map_err(|source| LockError::Io { path: path.to_owned(), source })?;
        Ok(lock)
    }

    fn locked(path: &Path) -> Result<File, LockError> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = fs::openat(CWD, path, flags, Mode::from_raw_mode(0o644))
            .map(File::from)
            .map_err(|e| LockError::NotWritable { path: path.to_owned(), source: e.into() })?;
        for attempt in 1.. {
            match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK) if attempt < TRIES => std::thread::sleep(BETWEEN_TRIES),
                Err(Errno::WOULDBLOCK) => {
                    let description = describe(&file).unwrap_or_else(|| "another process".to_owned());
                    return Err(LockError::HeldBy { path: path.to_owned(), description });
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(LockError::Io { path: path.to_owned(), source: error.into() }),
            }
        }
        Ok(file)
    }

    /// Takes the file away, and with it the lock.
    pub fn remove(self) {
        // While it is held: one that stays does no harm.
        let _ = std::fs::remove_file(&self.path);
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write_holder(&self, holder: &Holder) -> io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        let since = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        file.write_all(format!("process {} ({}), since {since}\n", holder.pid, holder.what).as_bytes())
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Emptied while it is still held, so that no later look finds this holder. A failure only
        // leaves a stale name, which nobody trusts without the lock.
        let _ = self.file.set_len(0);
    }
}

/// Whether this is still the file that has the name.
fn is_at(file: &File, path: &Path) -> bool {
    match (fs::fstat(file), fs::lstat(path)) {
        (Ok(held), Ok(there)) => (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino),
        (Ok(_) | Err(_), Err(Errno::NOENT)) => false,
        // What cannot be looked at is taken for unchanged.
        (Ok(_) | Err(_), Ok(_) | Err(_)) => true,
    }
}

/// Who holds the lock now, in words; `None` where nobody does or there is no such file.
pub fn try_read_holder(path: &Path) -> Result<Option<String>, LockError> {
    let failed = |error: Errno| LockError::Io { path: path.to_owned(), source: error.into() };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = match fs::openat(CWD, path, flags, Mode::empty()) {
        Ok(descriptor) => File::from(descriptor),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    match fs::flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(None),
        Err(Errno::WOULDBLOCK) => Ok(Some(describe(&file).unwrap_or_else(|| "another process".to_owned()))),
        Err(error) => Err(failed(error)),
    }
}

fn describe(mut file: &File) -> Option<String> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(MAX_DESCRIPTION).read_to_string(&mut text).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(what: &str) -> Holder {
        Holder { pid: std::process::id(), what: what.to_owned() }
    }

    #[test]
    fn the_second_hears_who_holds_the_lock_and_gets_it_afterwards() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let first = LockFile::acquire(&path, &holder("serve on requests")).unwrap();
        let error = LockFile::acquire(&path, &holder("run")).unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        assert!(error.contains("serve on requests"), "{error}");
        assert!(try_read_holder(&path).unwrap().unwrap().contains("serve on requests"));
        drop(first);
        assert_eq!(try_read_holder(&path).unwrap(), None);
        LockFile::acquire(&path, &holder("run")).unwrap();
    }

    #[test]
    fn what_a_killed_process_left_in_the_file_is_no_obstacle() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        std::fs::write(&path, "process 1 (serve on requests), since 2026-01-01T00:00:00Z\n").unwrap();
        assert_eq!(try_read_holder(&path).unwrap(), None);
        LockFile::acquire(&path, &holder("serve")).unwrap();
    }

    #[test]
    fn who_opened_a_lock_that_was_removed_takes_the_one_in_its_place() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let first = LockFile::acquire(&path, &holder("first")).unwrap();
        let opened = File::open(&path).unwrap();
        first.remove();
        assert!(!path.exists() && !is_at(&opened, &path));
        let second = LockFile::acquire(&path, &holder("second")).unwrap();
        assert!(!is_at(&opened, &path), "what was opened before is another file");
        assert!(is_at(&second.file, &path));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_said() {
        let error = LockFile::acquire(Path::new("/proc/benchlet.lock"), &holder("serve")).unwrap_err();
        assert!(matches!(error, LockError::NotWritable { .. }), "{error}");
    }
}
