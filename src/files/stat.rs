//! What tells one content of a file from the next without reading it.
//!
//! Owns the five fields that are compared. Does not open or read anything.

use std::os::unix::fs::MetadataExt;

/// A file's identity and times. Two equal stats mean "unchanged": the change time moves even where
/// an editor restores size and modification time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub size: u64,
    /// Nanoseconds since 1970, as the file system keeps it.
    pub mtime_ns: i64,
    pub ctime_ns: i64,
}

impl From<&std::fs::Metadata> for Stat {
    fn from(metadata: &std::fs::Metadata) -> Self {
        Self {
            dev: metadata.dev(),
            ino: metadata.ino(),
            size: metadata.size(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

fn nanoseconds(seconds: i64, rest: i64) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
