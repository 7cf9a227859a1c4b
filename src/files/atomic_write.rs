//! Replaces a file as one step: readers see the old content or the new one, also after a power cut.
//!
//! Owns the temporary file, its permissions and the two fsyncs. Must not decide what is written, and
//! must never write through a link that somebody put in the place of a file of ours.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error(
        "{}: is a link to {}, and benchlet does not write through links here; remove the link",
        path.display(),
        target.display()
    )]
    Link { path: PathBuf, target: PathBuf },
    #[error("{}: is not a regular file, so it cannot be replaced; move it away", path.display())]
    NotRegular { path: PathBuf },
    #[error("{}: does not name a file; give a path that ends in a file name", path.display())]
    NoName { path: PathBuf },
    #[error("{}: cannot {doing}: {source}; {hint}", path.display())]
    Io { path: PathBuf, doing: &'static str, source: io::Error, hint: &'static str },
}

impl FileError {
    fn io(path: &Path, doing: &'static str, source: impl Into<io::Error>) -> Self {
        let source = source.into();
        let hint = match Errno::from_io_error(&source) {
            Some(Errno::NOSPC | Errno::DQUOT) => "free some space, then it is tried again",
            Some(Errno::ROFS) => "the file system is read-only, choose a directory that can be written",
            Some(Errno::ACCESS | Errno::PERM) => "check owner and permissions of the file and its directory",
            Some(Errno::NOENT) => "check that the directory exists",
            Some(_) | None => "check the file system",
        };
        Self::Io { path: path.to_owned(), doing, source, hint }
    }
}

/// Replaces a file that benchlet owns, or creates it, with exactly these permissions. A link in its
/// place is refused.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let (directory, name) = open_parent(path)?;
    match fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => {}
        Err(error) => return Err(FileError::io(path, "look at the file", error)),
        Ok(found) => match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => {}
            FileType::Symlink => {
                let target = std::fs::read_link(path).unwrap_or_default();
                return Err(FileError::Link { path: path.to_owned(), target });
            }
            FileType::Directory
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => return Err(FileError::NotRegular { path: path.to_owned() }),
        },
    }
    write_and_rename(path, &directory, name, bytes, Permissions { mode, owner: None })
}

/// Creates a file with its content in one step; `false` where something has that name already, which is
/// then left as it is.
pub fn create(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, FileError> {
    let (directory, name) = open_parent(path)?;
    let permissions = Permissions { mode, owner: None };
    put_in_place(path, &directory, bytes, permissions, |temporary| {
        match fs::renameat_with(&directory, temporary, &directory, name, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => fs::unlinkat(&directory, temporary, AtFlags::empty()).map(|()| false),
            // A file system that cannot say "not over another one" in one step.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                match fs::linkat(&directory, temporary, &directory, name, AtFlags::empty()) {
                    Ok(()) => fs::unlinkat(&directory, temporary, AtFlags::empty()).map(|()| true),
                    Err(Errno::EXIST) => {
                        fs::unlinkat(&directory, temporary, AtFlags::empty()).map(|()| false)
                    }
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    })
}

/// Replaces a file that belongs to the user: links are followed to the file they mean, whose
/// permissions and owner are kept. The file must exist.
pub fn replace_through_link(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let real = std::fs::canonicalize(path).map_err(|e| FileError::io(path, "find the file", e))?;
    let found = std::fs::metadata(&real).map_err(|e| FileError::io(&real, "look at the file", e))?;
    if !found.is_file() {
        return Err(FileError::NotRegular { path: real });
    }
    let (directory, name) = open_parent(&real)?;
    let permissions = Permissions { mode: found.mode() & 0o7777, owner: Some((found.uid(), found.gid())) };
    write_and_rename(&real, &directory, name, bytes, permissions)
}

struct Permissions {
    mode: u32,
    /// User and group to keep; `None` leaves them to whoever writes.
    owner: Option<(u32, u32)>,
}

fn open_parent(path: &Path) -> Result<(OwnedFd, &OsStr), FileError> {
    let name = path.file_name().ok_or_else(|| FileError::NoName { path: path.to_owned() })?;
    let parent = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = fs::openat(CWD, parent, flags, Mode::empty())
        .map_err(|e| FileError::io(path, "open its directory", e))?;
    Ok((directory, name))
}

fn write_and_rename(
    path: &Path,
    directory: &OwnedFd,
    name: &OsStr,
    bytes: &[u8],
    permissions: Permissions,
) -> Result<(), FileError> {
    put_in_place(path, directory, bytes, permissions, |temporary| {
        fs::renameat(directory, temporary, directory, name)
    })
}

/// Writes a temporary file, lets `place` give it its name, and makes both durable.
fn put_in_place<T>(
    path: &Path,
    directory: &OwnedFd,
    bytes: &[u8],
    permissions: Permissions,
    place: impl FnOnce(&str) -> Result<T, Errno>,
) -> Result<T, FileError> {
    let (temporary, file) = create_temporary(directory)
        .map_err(|e| FileError::io(path, "create a temporary file beside it", e))?;
    let written = fill(file, bytes, permissions)
        .and_then(|()| place(&temporary).map_err(|e| ("put the new content in place", e.into())));
    let placed = match written {
        Ok(placed) => placed,
        Err((doing, error)) => {
            // Best effort: the write's error is what the caller needs to hear.
            let _ = fs::unlinkat(directory, &temporary, AtFlags::empty());
            return Err(FileError::io(path, doing, error));
        }
    };
    match fs::fsync(directory) {
        // Some network and user-space file systems cannot sync a directory; the rename happened.
        Ok(()) | Err(Errno::INVAL) => Ok(placed),
        Err(error) => Err(FileError::io(path, "make the rename durable", error)),
    }
}

fn create_temporary(directory: &OwnedFd) -> Result<(String, File), Errno> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        // Hidden, so that intake and other watchers pass it over; short, so that any name fits.
        let name = format!(".benchlet-{}-{number}.tmp", std::process::id());
        match fs::openat(directory, &name, flags, Mode::RUSR | Mode::WUSR) {
            Ok(descriptor) => return Ok((name, File::from(descriptor))),
            // Left over by a process of this number that was killed: take the next number.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
    }
}

fn fill(mut file: File, bytes: &[u8], permissions: Permissions) -> Result<(), (&'static str, io::Error)> {
    file.write_all(bytes).map_err(|e| ("write the new content", e))?;
    if let Some((user, group)) = permissions.owner {
        let now = file.metadata().map_err(|e| ("look at the new content", e))?;
        if (now.uid(), now.gid()) != (user, group) {
            fs::fchown(&file, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
                .map_err(|e| ("keep the file's owner", e.into()))?;
        }
    }
    // After the owner, because changing that clears set-id bits; explicit, because of the umask.
    fs::fchmod(&file, Mode::from_raw_mode(permissions.mode))
        .map_err(|e| ("set the permissions", e.into()))?;
    file.sync_all().map_err(|e| ("make the new content durable", e))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode_of(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_new_file_has_its_content_its_mode_and_no_litter_beside_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.status.yaml");
        replace(&path, b"one", 0o600).unwrap();
        replace(&path, b"two", 0o644).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(mode_of(&path), 0o644);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_is_created_once_and_what_is_there_is_left() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.yaml");
        assert!(create(&path, b"ours", 0o600).unwrap());
        assert_eq!(mode_of(&path), 0o600);
        std::fs::write(&path, "theirs").unwrap();
        assert!(!create(&path, b"ours", 0o600).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"theirs");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_in_the_place_of_our_file_is_refused_and_named() {
        let home = tempfile::tempdir().unwrap();
        let elsewhere = home.path().join("elsewhere");
        std::fs::write(&elsewhere, "precious").unwrap();
        let path = home.path().join("a.status.yaml");
        symlink(&elsewhere, &path).unwrap();
        let error = replace(&path, b"status", 0o644).unwrap_err();
        assert!(error.to_string().contains("elsewhere"), "{error}");
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "precious");
    }

    #[test]
    fn a_directory_in_the_place_of_our_file_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.status.yaml");
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(replace(&path, b"", 0o644), Err(FileError::NotRegular { .. })));
    }

    #[test]
    fn a_users_file_is_replaced_behind_its_link_and_keeps_its_mode() {
        let home = tempfile::tempdir().unwrap();
        let real = home.path().join("compose.real.yml");
        std::fs::write(&real, "old").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o640)).unwrap();
        let link = home.path().join("compose.yml");
        symlink("compose.real.yml", &link).unwrap();
        replace_through_link(&link, b"new").unwrap();
        assert_eq!(std::fs::read(&real).unwrap(), b"new");
        assert_eq!(mode_of(&real), 0o640);
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn a_directory_that_is_gone_is_said_in_one_sentence() {
        let error = replace(Path::new("/nonexistent/a.yaml"), b"", 0o644).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/a.yaml") && error.contains("directory exists"), "{error}");
    }
}
