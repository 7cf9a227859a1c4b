//! The cache of model files as the settings and the environment describe it, with the hashes that the
//! store remembers. For the controller and for commands alike.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use crate::models::{Forgetful, HubAccess, Keeping, KnownHashes, ModelCache, ModelError};
use crate::settings::Settings;
use crate::store::Store;
use crate::store::facts::FileIdentity;

/// # Errors
/// An `HF_ENDPOINT` that is no address.
pub fn model_cache(settings: &Settings, store: Option<Store>) -> Result<ModelCache, ModelError> {
    let access = HubAccess::from_environment(|name| std::env::var(name).ok())?;
    let known: Arc<dyn KnownHashes> = match store {
        Some(store) => Arc::new(StoredHashes(store)),
        None => Arc::new(Forgetful),
    };
    // As status and store tell of them, whoever reads that from another directory.
    let folder = std::path::absolute(&settings.models).unwrap_or_else(|_| settings.models.clone());
    let readable = std::iter::once(&settings.requests).chain(&settings.read_dirs).cloned().collect();
    Ok(ModelCache { folder, access, tries: settings.download_tries, known, readable })
}

struct StoredHashes(Store);

impl KnownHashes for StoredHashes {
    fn sha256_of(&self, path: &Path) -> Option<String> {
        self.0.model_hash(identity(path)?).ok().flatten()
    }

    fn keep<'a>(&'a self, path: &'a Path, sha256: &'a str) -> Keeping<'a> {
        Box::pin(async move {
            let Some(file) = identity(path) else { return };
            if let Err(error) = self.0.keep_model_hash(file, sha256.to_owned()).await {
                tracing::debug!(%error, "a hash could not be kept");
            }
        })
    }
}

fn identity(path: &Path) -> Option<FileIdentity> {
    let found = std::fs::metadata(path).ok()?;
    let mtime_ns = found.mtime().checked_mul(1_000_000_000)?.checked_add(found.mtime_nsec())?;
    Some(FileIdentity { device: found.dev(), inode: found.ino(), size: found.size(), mtime_ns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Access;

    #[test]
    fn a_hash_is_kept_by_the_time_that_keeping_it_is_over() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("m.gguf");
        std::fs::write(&file, "m").unwrap();
        let known = StoredHashes(Store::open(home.path(), Access::Owner).unwrap());
        let sha256 = "1".repeat(64);
        // As a command has it: nothing goes on once its one piece of work is done.
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(known.keep(&file, &sha256));
        drop(runtime);
        assert_eq!(known.sha256_of(&file), Some(sha256));
        std::fs::write(&file, "another").unwrap();
        assert_eq!(known.sha256_of(&file), None);
    }
}
