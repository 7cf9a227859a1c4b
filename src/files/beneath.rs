//! Opens files that a request names, without ever leaving a root directory.
//!
//! Owns the resolution of relative paths (links are followed as long as they stay inside) and the
//! bound on what is read. Never blocks: a FIFO or a device is recognised before it is opened.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::stat::Stat;

/// Links followed in one path, as the kernel limits them.
const MAX_LINKS: usize = 40;

#[derive(Debug, thiserror::Error)]
pub enum BeneathError {
    #[error("{}: leads outside of {}; keep the file and its links inside", path.display(), root.display())]
    Escapes { path: PathBuf, root: PathBuf },
    #[error("{}: is {kind}, not a regular file; put a file there", path.display())]
    NotRegular { path: PathBuf, kind: &'static str },
    #[error("{}: has {size} bytes, and {limit} is the limit; make it smaller", path.display())]
    TooLarge { path: PathBuf, size: u64, limit: u64 },
    #[error("{}: does not exist; check the name", path.display())]
    Missing { path: PathBuf },
    #[error("{}: cannot be read: {source}; check its permissions", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// A regular file's content, with the stat from before it was read: where somebody wrote meanwhile,
/// the next stat differs and the file is read again.
#[derive(Debug, Clone)]
pub struct RegularFile {
    pub stat: Stat,
    pub bytes: Vec<u8>,
}

/// Reads a regular file of at most `max_bytes` below `root`.
pub fn open_regular(root: &Path, relative: &Path, max_bytes: u64) -> Result<RegularFile, BeneathError> {
    let failed = |source: io::Error| BeneathError::Io { path: relative.to_owned(), source };
    let file = open_beneath(root, relative)?;
    let metadata = file.metadata().map_err(failed)?;
    let too_large = |size| BeneathError::TooLarge { path: relative.to_owned(), size, limit: max_bytes };
    if metadata.len() > max_bytes {
        return Err(too_large(metadata.len()));
    }
    let mut bytes = Vec::new();
    // One more than allowed, so that a file that grows meanwhile is noticed.
    (&file).take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large(bytes.len() as u64));
    }
    Ok(RegularFile { stat: Stat::from(&metadata), bytes })
}

/// Opens a regular file below `root` for reading.
pub fn open_beneath(root: &Path, relative: &Path) -> Result<File, BeneathError> {
    let base = open_root(root).map_err(|e| error_at(root, relative, e))?;
    let file = match resolve_by_kernel(&base, relative) {
        Ok(file) => Ok(file),
        // No such call, forbidden by a sandbox, raced, or an absolute link that may well lead inside.
        Err(Refusal::Errno(Errno::NOSYS | Errno::PERM | Errno::AGAIN | Errno::XDEV)) => {
            resolve_by_walking(&base, root, relative)
        }
        Err(refusal) => Err(refusal),
    };
    file.map(File::from).map_err(|refusal| match refusal {
        Refusal::Errno(errno) => error_at(root, relative, errno),
        Refusal::Kind(kind) => BeneathError::NotRegular { path: relative.to_owned(), kind },
    })
}

enum Refusal {
    Errno(Errno),
    Kind(&'static str),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);
/// Non-blocking, should a FIFO take the file's place between the look and the open.
const READ: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

fn open_root(root: &Path) -> Result<OwnedFd, Errno> {
    fs::openat(CWD, root, DIRECTORY, Mode::empty())
}

fn resolve_by_kernel(base: &OwnedFd, relative: &Path) -> Result<OwnedFd, Refusal> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let open = |flags| fs::openat2(base, relative, flags, Mode::empty(), resolve);
    require_regular(&open(LOOK)?)?;
    let file = open(READ)?;
    require_regular(&file)?;
    Ok(file)
}

fn resolve_by_walking(base: &OwnedFd, root: &Path, relative: &Path) -> Result<OwnedFd, Refusal> {
    let real_root = root.canonicalize().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    let mut ahead: Vec<OsString> = parts(relative)?;
    let mut inside: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            inside.pop().ok_or(Errno::XDEV)?;
            continue;
        }
        let here = inside.last().unwrap_or(base).as_fd();
        let found = fs::openat(here, &part, LOOK | OFlags::NOFOLLOW, Mode::empty())?;
        match file_type(&found)? {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = fs::readlinkat(&found, "", Vec::new())?;
                let target = Path::new(OsStr::from_bytes(target.as_bytes())).to_owned();
                if target.is_absolute() {
                    inside.clear();
                    ahead.extend(parts(target.strip_prefix(&real_root).map_err(|_| Errno::XDEV)?)?);
                } else {
                    ahead.extend(parts(&target)?);
                }
            }
            FileType::Directory if ahead.is_empty() => return Err(Refusal::Kind("a directory")),
            FileType::Directory => inside.push(found),
            FileType::RegularFile
            | FileType::Fifo
            | FileType::Socket
            | FileType::CharacterDevice
            | FileType::BlockDevice
            | FileType::Unknown => {
                if !ahead.is_empty() {
                    return Err(Errno::NOTDIR.into());
                }
                require_regular(&found)?;
                let file = fs::openat(here, &part, READ | OFlags::NOFOLLOW, Mode::empty())?;
                require_regular(&file)?;
                return Ok(file);
            }
        }
    }
    Err(Refusal::Kind("a directory"))
}

/// The path's parts, last first, ready to be popped.
fn parts(path: &Path) -> Result<Vec<OsString>, Errno> {
    let mut parts = Vec::new();
    for component in path.components().rev() {
        match component {
            Component::Normal(name) => parts.push(name.to_owned()),
            Component::ParentDir => parts.push(OsString::from("..")),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(Errno::XDEV),
        }
    }
    Ok(parts)
}

fn file_type(descriptor: &OwnedFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(fs::fstat(descriptor)?.st_mode))
}

fn require_regular(descriptor: &OwnedFd) -> Result<(), Refusal> {
    let kind = match file_type(descriptor)? {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Symlink => "a link",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "something unknown",
    };
    Err(Refusal::Kind(kind))
}

fn error_at(root: &Path, relative: &Path, errno: Errno) -> BeneathError {
    let path = relative.to_owned();
    match errno {
        Errno::XDEV => BeneathError::Escapes { path, root: root.to_owned() },
        Errno::NOENT | Errno::NOTDIR => BeneathError::Missing { path },
        other => BeneathError::Io { path, source: other.into() },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn both(root: &Path, relative: &str) -> [Result<Vec<u8>, &'static str>; 2] {
        let base = open_root(root).unwrap();
        let relative = Path::new(relative);
        let by_walking = resolve_by_walking(&base, root, relative)
            .map(|file| {
                let mut bytes = Vec::new();
                File::from(file).read_to_end(&mut bytes).unwrap();
                bytes
            })
            .map_err(|refusal| match refusal {
                Refusal::Errno(Errno::XDEV) => "escapes",
                Refusal::Errno(Errno::NOENT | Errno::NOTDIR) => "missing",
                Refusal::Errno(_) => "other",
                Refusal::Kind(kind) => kind,
            });
        let by_kernel =
            open_regular(root, relative, 1000).map(|file| file.bytes).map_err(|error| match error {
                BeneathError::Escapes { .. } => "escapes",
                BeneathError::Missing { .. } => "missing",
                BeneathError::NotRegular { kind, .. } => kind,
                BeneathError::TooLarge { .. } | BeneathError::Io { .. } => "other",
            });
        [by_kernel, by_walking]
    }

    fn tree() -> (tempfile::TempDir, PathBuf) {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("root");
        std::fs::create_dir_all(root.join("..2026/sub")).unwrap();
        std::fs::write(root.join("..2026/a.yaml"), "inside").unwrap();
        std::fs::write(home.path().join("secret"), "outside").unwrap();
        symlink("..2026", root.join("..data")).unwrap();
        symlink("..data/a.yaml", root.join("a.yaml")).unwrap();
        symlink("../secret", root.join("out.yaml")).unwrap();
        symlink("/etc/passwd", root.join("abs.yaml")).unwrap();
        symlink(root.canonicalize().unwrap().join("a.yaml"), root.join("abs-in.yaml")).unwrap();
        symlink("loop.yaml", root.join("loop.yaml")).unwrap();
        (home, root)
    }

    #[test]
    fn links_inside_the_root_are_followed() {
        let (_home, root) = tree();
        for name in ["a.yaml", "..data/a.yaml", "..2026/sub/../a.yaml", "abs-in.yaml", "./a.yaml"] {
            assert_eq!(both(&root, name), [Ok(b"inside".to_vec()), Ok(b"inside".to_vec())], "{name}");
        }
    }

    #[test]
    fn whatever_leaves_the_root_is_refused() {
        let (_home, root) = tree();
        for name in ["../secret", "out.yaml", "abs.yaml", "/etc/passwd", "..data/../../secret"] {
            assert_eq!(both(&root, name), [Err("escapes"), Err("escapes")], "{name}");
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_hanging() {
        let (_home, root) = tree();
        let fifo = root.join("fifo.yaml");
        fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        assert_eq!(both(&root, "fifo.yaml"), [Err("a FIFO"), Err("a FIFO")]);
        assert_eq!(both(&root, "..2026/sub"), [Err("a directory"), Err("a directory")]);
        assert_eq!(both(Path::new("/dev"), "null"), [Err("a device"), Err("a device")]);
        assert_eq!(both(&root, "loop.yaml"), [Err("other"), Err("other")]);
        assert_eq!(both(&root, "none.yaml"), [Err("missing"), Err("missing")]);
        assert_eq!(both(&root, "a.yaml/b"), [Err("missing"), Err("missing")]);
    }

    #[test]
    fn a_sparse_file_above_the_limit_is_not_read() {
        let (_home, root) = tree();
        File::create(root.join("big.yaml")).unwrap().set_len(2 << 30).unwrap();
        let error = open_regular(&root, Path::new("big.yaml"), 1 << 20).unwrap_err().to_string();
        assert!(error.contains("2147483648 bytes") && error.contains("1048576"), "{error}");
    }
}
