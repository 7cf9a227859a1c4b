//! The files in a task's spool folder beside its output: what was ordered (`task.json`), who carries
//! it out (`shim.json`), how it ended (`exit.json`), the lock that says that it lives, and the mark
//! of too much output. Reads and writes them; decides nothing and signals nobody.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ExecutorError;
use super::process_identity::ProcessIdentity;
use crate::run::step::TaskSpec;

pub const TASK: &str = "task.json";
pub const SHIM: &str = "shim.json";
pub const EXIT: &str = "exit.json";
pub const LOCK: &str = "lock";

/// Present where a stream of the task passed the limit and was cut there.
const TOO_LARGE: &str = "output-too-large";

/// Version of `task.json`; a shim refuses one that it does not know.
pub const TASK_VERSION: u32 = 1;

/// What a shim is to carry out.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Order {
    pub version: u32,
    pub instance: String,
    /// Bytes that each output stream may have.
    pub output_limit: u64,
    pub spec: TaskSpec,
}

/// The shim that carries it out. Written under the lock before the program starts, so that its
/// presence means: nobody starts this task again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShimRecord {
    pub identity: ProcessIdentity,
}

/// An error about a file, with its place.
pub fn io_error(path: &Path, source: io::Error) -> ExecutorError {
    ExecutorError::Io { path: path.display().to_string(), source }
}

/// Reads a record; `None` where there is none. One that cannot be parsed is an error of that file.
pub fn read<T: DeserializeOwned>(spool: &Path, name: &str) -> Result<Option<T>, ExecutorError> {
    let path = spool.join(name);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(&path, error)),
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| io_error(&path, io::Error::new(io::ErrorKind::InvalidData, error)))
}

/// Writes a record so that a crash leaves the old one or the new one, never half of it. 0600: an
/// order holds the task's environment.
pub fn write<T: Serialize>(spool: &Path, name: &str, record: &T) -> Result<(), ExecutorError> {
    let path = spool.join(name);
    let text = serde_json::to_vec_pretty(record)
        .map_err(|error| io_error(&path, io::Error::new(io::ErrorKind::InvalidData, error)))?;
    let result = (|| {
        let mut temporary = tempfile::Builder::new().prefix(".record-").tempfile_in(spool)?;
        temporary.write_all(&text)?;
        temporary.as_file().sync_all()?;
        temporary.persist(&path).map_err(|error| error.error)?;
        File::open(spool)?.sync_all()
    })();
    result.map_err(|error| io_error(&path, error))
}

/// Removes a file; its absence is no error.
pub fn delete(spool: &Path, name: &str) -> Result<(), ExecutorError> {
    let path = spool.join(name);
    match fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(&path, error)),
    }
}

/// Whether a record is there, whatever it says.
pub fn exists(spool: &Path, name: &str) -> bool {
    spool.join(name).exists()
}

/// Whether somebody holds the task's lock: alive. Asks with a shared lock for a moment, so that
/// askers do not get in one another's way.
pub fn lock_held(spool: &Path) -> Result<bool, ExecutorError> {
    let path = spool.join(LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(io_error(&path, error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(false),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        Err(error) => Err(io_error(&path, error.into())),
    }
}

/// Takes the task's lock until the returned file is dropped; `None` where somebody holds it.
pub fn lock(spool: &Path) -> Result<Option<File>, ExecutorError> {
    let path = spool.join(LOCK);
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = open.map_err(|error| io_error(&path, error))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(io_error(&path, error.into())),
    }
    // Who removed the task in between took the name away from this lock: then it locks nothing.
    let ours = file.metadata().map_err(|error| io_error(&path, error))?;
    match fs::metadata(&path) {
        Ok(named) if named.ino() == ours.ino() && named.dev() == ours.dev() => Ok(Some(file)),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(&path, error)),
    }
}

/// Marks that a stream was cut at the limit.
pub fn mark_too_large(spool: &Path) -> io::Result<()> {
    File::create(spool.join(TOO_LARGE))?.sync_all()
}

/// Forgets the output of an earlier container of the task's name.
pub fn clear_streams(spool: &Path) -> Result<(), ExecutorError> {
    for name in [super::STDOUT, super::STDERR, TOO_LARGE] {
        delete(spool, name)?;
    }
    Ok(())
}

pub fn is_too_large(spool: &Path) -> bool {
    exists(spool, TOO_LARGE)
}

pub fn stream_path(spool: &Path, name: &str) -> PathBuf {
    spool.join(name)
}

/// Opens an output stream for writing at places, keeping what is there.
pub fn open_stream(spool: &Path, name: &str) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(stream_path(spool, name))
}

/// Brings the output that is there to the disk; a stream that never was is no error.
pub fn sync_streams(spool: &Path) -> Result<(), ExecutorError> {
    for name in [super::STDOUT, super::STDERR] {
        let path = stream_path(spool, name);
        match File::open(&path).and_then(|file| file.sync_all()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_error(&path, error)),
        }
    }
    File::open(spool).and_then(|folder| folder.sync_all()).map_err(|error| io_error(spool, error))
}
