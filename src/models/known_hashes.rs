//! What is remembered of files that were hashed before: reading hundreds of gigabytes to learn nothing new
//! is a run's worth of time.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

/// What is over once a hash is kept.
pub type Keeping<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Hashes of files that have not changed since. An edge to wherever they are kept.
pub trait KnownHashes: Send + Sync {
    /// The SHA-256 of a file as it is now, where it is known.
    fn sha256_of(&self, path: &Path) -> Option<String>;
    /// Keeps the SHA-256 of a file as it is now. What cannot be kept is computed again. To be waited for: a
    /// command ends right after its last file.
    fn keep<'a>(&'a self, path: &'a Path, sha256: &'a str) -> Keeping<'a>;
}

/// Nothing is remembered.
#[derive(Debug)]
pub struct Forgetful;

impl KnownHashes for Forgetful {
    fn sha256_of(&self, _: &Path) -> Option<String> {
        None
    }

    fn keep<'a>(&'a self, _: &'a Path, _: &'a str) -> Keeping<'a> {
        Box::pin(std::future::ready(()))
    }
}
