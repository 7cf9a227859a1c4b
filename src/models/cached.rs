//! What is in the cache, whole or on its way, as folders and names tell; reads no content.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::cache_layout::{DOWNLOADS, INCOMPLETE, repository_of};

/// A file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedModel {
    /// `hf://owner/repo/file` of the newest snapshot that has it, or the file's name.
    pub name: String,
    /// Bytes that are there.
    pub size: u64,
    pub whole: bool,
    pub path: PathBuf,
}

/// Every file of the cache, by name. What cannot be read is not there.
pub fn cached(cache: &Path) -> Vec<CachedModel> {
    let mut found = Vec::new();
    for (name, folder) in entries(cache) {
        if let Some(repo) = repository_of(&name) {
            repository(&repo, &folder, &mut found);
        } else if name == DOWNLOADS {
            for (_, folder) in entries(&folder) {
                found.extend(entries(&folder).into_iter().filter_map(|(name, path)| download(name, path)));
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn repository(repo: &str, folder: &Path, found: &mut Vec<CachedModel>) {
    // A file of several snapshots once.
    let mut files: BTreeMap<String, CachedModel> = BTreeMap::new();
    for (_, snapshot) in entries(&folder.join("snapshots")) {
        walk(&snapshot, "", &mut |file, path| {
            // A link to nothing is a file that somebody has removed.
            if let Ok(metadata) = std::fs::metadata(&path) {
                let name = format!("hf://{repo}/{file}");
                let model = CachedModel { name: name.clone(), size: metadata.len(), whole: true, path };
                files.insert(name, model);
            }
        });
    }
    found.extend(files.into_values());
    for (name, path) in entries(&folder.join("blobs")) {
        if let Some(blob) = name.strip_suffix(&format!(".{INCOMPLETE}")) {
            let size = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let short: String = blob.chars().take(12).collect();
            found.push(CachedModel { name: format!("hf://{repo} ({short})"), size, whole: false, path });
        }
    }
}

fn download(name: String, path: PathBuf) -> Option<CachedModel> {
    let metadata = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
    if name.starts_with('.') || name.ends_with(".etag") {
        return None;
    }
    let partial = name.strip_suffix(&format!(".{INCOMPLETE}")).map(str::to_owned);
    let whole = partial.is_none();
    Some(CachedModel { name: partial.unwrap_or(name), size: metadata.len(), whole, path })
}

/// Every file below a folder, by its name from there.
pub fn walk(folder: &Path, before: &str, see: &mut dyn FnMut(String, PathBuf)) {
    for (name, path) in entries(folder) {
        if path.is_dir() {
            walk(&path, &format!("{before}{name}/"), see);
        } else {
            see(format!("{before}{name}"), path);
        }
    }
}

/// What is in a folder, by name; nothing where it cannot be read.
pub fn entries(folder: &Path) -> Vec<(String, PathBuf)> {
    let list = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut list: Vec<_> =
        list.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect();
    list.sort();
    list
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_cache_lists_what_is_whole_and_what_is_on_its_way() {
        let cache = tempfile::tempdir().unwrap();
        let repo = cache.path().join("models--o--r");
        for folder in ["blobs", "snapshots/c/sub"] {
            std::fs::create_dir_all(repo.join(folder)).unwrap();
        }
        std::fs::write(repo.join("blobs/aa"), "whole").unwrap();
        std::fs::write(repo.join("blobs/bb.incomplete"), "par").unwrap();
        symlink("../../blobs/aa", repo.join("snapshots/c/m.gguf")).unwrap();
        symlink("../../../blobs/gone", repo.join("snapshots/c/sub/x")).unwrap();
        let downloads = cache.path().join("downloads/0123");
        std::fs::create_dir_all(&downloads).unwrap();
        for name in ["n.gguf.incomplete", "n.gguf.incomplete.etag", ".n.gguf.lock", "w.gguf"] {
            std::fs::write(downloads.join(name), "1").unwrap();
        }
        let seen: Vec<_> = cached(cache.path()).into_iter().map(|m| (m.name, m.size, m.whole)).collect();
        let expected = [
            ("hf://o/r (bb)", 3, false),
            ("hf://o/r/m.gguf", 5, true),
            ("n.gguf", 1, false),
            ("w.gguf", 1, true),
        ];
        assert_eq!(seen, expected.map(|(name, size, whole)| (name.to_owned(), size, whole)));
        assert!(cached(&cache.path().join("none")).is_empty());
    }
}
