//! Where things are in the cache: folders and names as the hub's own tools have them, so that both find
//! each other's files and take each other's locks. Paths alone; touches nothing.
//!
//! `models--owner--repo/blobs/HASH` has the content, `snapshots/COMMIT/FILE` links to it, `refs/REVISION`
//! holds the commit; `.locks/…` has a lock a blob. What comes by a plain URL is
//! `downloads/ADDRESS/FILE`, ADDRESS being the beginning of the SHA-256 of the URL.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use url::Url;

use crate::request::model_source::file_name_problem;

/// What follows the name of a file that is not whole.
pub const INCOMPLETE: &str = "incomplete";
pub const DOWNLOADS: &str = "downloads";
const REPOSITORY: &str = "models--";
const SEPARATOR: &str = "--";

/// Where a file goes: its parts while it is on its way, and itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub whole: PathBuf,
    pub lock: PathBuf,
}

impl Place {
    /// The file as far as it has come.
    pub fn partial(&self) -> PathBuf {
        with_suffix(&self.whole, INCOMPLETE)
    }

    /// The ETag of the server that the parts are from.
    pub fn validator(&self) -> PathBuf {
        with_suffix(&self.whole, "incomplete.etag")
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

/// A repository's folder.
#[derive(Debug, Clone)]
pub struct Repository {
    pub folder: PathBuf,
    locks: PathBuf,
}

impl Repository {
    /// `repo` is `owner/name`, as a valid source has it.
    pub fn of(cache: &Path, repo: &str) -> Self {
        let name = format!("{REPOSITORY}{}", repo.replace('/', SEPARATOR));
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(name) }
    }

    pub fn blob(&self, etag: &str) -> Place {
        let name = blob_name(etag);
        Place { whole: self.folder.join("blobs").join(&name), lock: self.locks.join(format!("{name}.lock")) }
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Notes of finished pulls at a commit; ours alone, where the hub's tools do not look.
    pub fn pulled(&self, commit: &str) -> PathBuf {
        self.folder.join("benchlet").join(commit)
    }

    pub fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }
}

/// `owner/name` of a repository's folder; `None` for other folders.
pub fn repository_of(folder_name: &str) -> Option<String> {
    let (owner, name) = folder_name.strip_prefix(REPOSITORY)?.split_once(SEPARATOR)?;
    Some(format!("{owner}/{name}"))
}

/// The name of a URL's file; `None` where it could be no file's of ours.
pub fn file_of(url: &Url) -> Option<String> {
    let name = url.path_segments()?.next_back()?;
    (!name.starts_with('.') && file_name_problem(name).is_none()).then(|| name.to_owned())
}

/// Where the file of a URL goes.
pub fn download(cache: &Path, url: &str, file: &str) -> Place {
    let folder = cache.join(DOWNLOADS).join(&hex(&Sha256::digest(url.as_bytes()))[..16]);
    Place { whole: folder.join(file), lock: folder.join(format!(".{file}.lock")) }
}

/// A link from a file of a snapshot to its blob, relative, so that the cache can be moved.
pub fn link_to_blob(file: &str, etag: &str) -> PathBuf {
    let depth = 2 + file.matches('/').count();
    let mut path: PathBuf = std::iter::repeat_n("..", depth).collect();
    path.extend(["blobs", &blob_name(etag)]);
    path
}

/// An ETag as the name of a file; one that could lead elsewhere is hashed.
fn blob_name(etag: &str) -> String {
    let good = (1..=128).contains(&etag.len())
        && !etag.starts_with('.')
        && etag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
        && !etag.ends_with(INCOMPLETE);
    if good { etag.to_owned() } else { hex(&Sha256::digest(etag.as_bytes())) }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_the_hubs_tools() {
        let repository = Repository::of(Path::new("/c"), "Qwen/Qwen2.5-3B");
        let blob = repository.blob("abc");
        assert_eq!(blob.whole, Path::new("/c/models--Qwen--Qwen2.5-3B/blobs/abc"));
        assert_eq!(blob.partial(), Path::new("/c/models--Qwen--Qwen2.5-3B/blobs/abc.incomplete"));
        assert_eq!(blob.lock, Path::new("/c/.locks/models--Qwen--Qwen2.5-3B/abc.lock"));
        assert_eq!(repository.reference("main"), Path::new("/c/models--Qwen--Qwen2.5-3B/refs/main"));
        assert_eq!(link_to_blob("m.gguf", "abc"), Path::new("../../blobs/abc"));
        assert_eq!(link_to_blob("a/b/m", "abc"), Path::new("../../../../blobs/abc"));
        assert_eq!(repository_of("models--Qwen--Qwen2.5-3B").as_deref(), Some("Qwen/Qwen2.5-3B"));
        assert_eq!(repository_of("datasets--o--r"), None);
    }

    #[test]
    fn an_etag_that_would_lead_elsewhere_is_none_of_a_files_name() {
        let repository = Repository::of(Path::new("/c"), "o/r");
        for etag in ["../../x", "a/b", "", ".hidden", "x.incomplete", &"a".repeat(200)] {
            let whole = repository.blob(etag).whole;
            assert_eq!(whole.parent(), Some(Path::new("/c/models--o--r/blobs")));
            assert_eq!(whole.file_name().unwrap().len(), 64, "{etag}");
        }
    }

    #[test]
    fn two_addresses_of_one_file_name_do_not_meet() {
        let a = download(Path::new("/c"), "https://a/m.gguf", "m.gguf");
        let b = download(Path::new("/c"), "https://b/m.gguf", "m.gguf");
        assert_ne!(a.whole, b.whole);
        assert_eq!(a.whole.file_name(), b.whole.file_name());
    }
}
