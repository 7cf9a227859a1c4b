//! What is remembered of files that were hashed before: reading hundreds of gigabytes to learn nothing new
//! is a run's worth of time.

use std::path::Path;

/// Hashes of files that have not changed since. An edge to wherever they are kept.
pub trait KnownHashes: Send + Sync {
    /// The SHA-256 of a file as it is now, where it is known.
    fn sha256_of(&self, path: &Path) -> Option<String>;
    /// Keeps the SHA-256 of a file as it is now. What cannot be kept is computed again.
    fn keep(&self, path: &Path, sha256: &str);
}

/// Nothing is remembered.
#[derive(Debug)]
pub struct Forgetful;

impl KnownHashes for Forgetful {
    fn sha256_of(&self, _: &Path) -> Option<String> {
        None
    }

    fn keep(&self, _: &Path, _: &str) {}
}
