//! Directories that only their owner may read: spool, backups, state.

use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Creates the directory with its parents, 0700 where they are new. One that is there is left as it is.
pub fn create(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}
