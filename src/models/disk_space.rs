//! How much the cache's disk still takes.

use std::path::Path;

use super::error::ModelError;

/// Refuses what would not fit, before a byte of it is asked for.
///
/// # Errors
/// The disk has less than `needed` bytes left for this user, or cannot be asked.
pub fn check(folder: &Path, needed: u64) -> Result<(), ModelError> {
    let disk = rustix::fs::statvfs(folder).map_err(|error| ModelError::cache(folder, error))?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    if needed <= free { Ok(()) } else { Err(ModelError::Disk { folder: folder.to_owned(), needed, free }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(check(folder.path(), 0).is_ok());
        let said = check(folder.path(), u64::MAX).unwrap_err().to_string();
        assert!(said.contains("are missing in"), "{said}");
    }
}
