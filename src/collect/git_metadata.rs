//! Where a file stands in its Git repository, without running git: the commit that is checked out,
//! and whether the file differs from it. Git names contents by SHA-1, which is all that SHA-1 is used
//! for here. Reads only; follows no configuration, so a repository that rewrites line ends or filters
//! content on check-in makes a file look changed. Reads no objects either: the index stands for the
//! commit where it says that it agrees with one, which a soft reset, alone, makes untrue.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha1::{Digest, Sha1};

use super::git_index::{self, Entry};

/// Bytes of the largest request, reference or index that is read.
const LARGEST_FILE: u64 = 64 << 20;
const LARGEST_REF: u64 = 64 << 20;
const LARGEST_INDEX: u64 = 512 << 20;
/// Symbolic references that may follow each other.
const DEEPEST_REF: usize = 5;

/// What Git knows of a file. Both are `None` outside a repository.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GitMetadata {
    /// In hexadecimal; `None` before the first commit.
    pub commit: Option<String>,
    /// It is untracked, or its content is not the one that the index has; `None` where that cannot
    /// be told, as after something in its directory was staged.
    pub dirty: Option<bool>,
}

/// Looks the file up in the repository that it lies in, if it lies in one.
pub fn of_file(path: &Path) -> GitMetadata {
    let found = repository_of(path).map(|(repository, path)| GitMetadata {
        commit: repository.head(),
        dirty: repository.is_dirty(&path),
    });
    found.unwrap_or_default()
}

struct Repository {
    work_tree: PathBuf,
    /// `HEAD` and `index` are here: `.git`, or the folder of a linked work tree.
    git_dir: PathBuf,
    /// Branches and `packed-refs` are here.
    common_dir: PathBuf,
}

/// The repository around a file, and the file's path with the links before its name resolved.
fn repository_of(path: &Path) -> Option<(Repository, PathBuf)> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new(".")).canonicalize().ok()?;
    let path = folder.join(path.file_name()?);
    let repository = folder.ancestors().find_map(Repository::at)?;
    Some((repository, path))
}

impl Repository {
    fn at(work_tree: &Path) -> Option<Self> {
        let dot_git = work_tree.join(".git");
        let git_dir = if dot_git.is_dir() {
            dot_git
        } else {
            let text = text(&dot_git)?;
            work_tree.join(text.strip_prefix("gitdir:")?.trim())
        };
        let common_dir = match text(&git_dir.join("commondir")) {
            Some(common) => git_dir.join(common.trim()),
            None => git_dir.clone(),
        };
        git_dir.join("HEAD").exists().then(|| Self { work_tree: work_tree.to_owned(), git_dir, common_dir })
    }

    /// The commit that `HEAD` leads to.
    fn head(&self) -> Option<String> {
        let mut value = text(&self.git_dir.join("HEAD"))?;
        for _ in 0..DEEPEST_REF {
            match value.trim().strip_prefix("ref:") {
                Some(name) => value = self.reference(name.trim())?,
                None => return object_name(value.trim()),
            }
        }
        None
    }

    /// The content of a reference: from its own file, else from the packed ones.
    fn reference(&self, name: &str) -> Option<String> {
        if name.split('/').any(|part| part.is_empty() || part == "..") {
            return None;
        }
        let loose = [&self.git_dir, &self.common_dir].into_iter().find_map(|dir| text(&dir.join(name)));
        loose.or_else(|| {
            let packed = text(&self.common_dir.join("packed-refs"))?;
            packed.lines().find_map(|line| {
                let (value, packed_name) = line.split_once(' ')?;
                (packed_name == name).then(|| value.to_owned())
            })
        })
    }

    fn is_dirty(&self, path: &Path) -> Option<bool> {
        if self.names_by_sha256() {
            return None;
        }
        let relative = path.strip_prefix(&self.work_tree).ok()?;
        let content = match fs::symlink_metadata(path).ok()?.is_symlink() {
            // Of a link, Git keeps where it points.
            true => fs::read_link(path).ok()?.as_os_str().as_bytes().to_vec(),
            false => bounded(path, LARGEST_FILE).ok()?,
        };
        let index = match bounded(&self.git_dir.join("index"), LARGEST_INDEX) {
            Ok(index) => index,
            // A repository in which nothing was ever added has no index.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Some(true),
            Err(_) => return None,
        };
        match git_index::find(&index, relative.as_os_str().as_bytes())? {
            Entry::Untracked | Entry::Conflicted => Some(true),
            Entry::Tracked { blob, .. } if blob != blob_name(&content) => Some(true),
            Entry::Tracked { committed: true, .. } => Some(false),
            Entry::Tracked { committed: false, .. } => None,
        }
    }

    /// The repository's format names objects by SHA-256 instead of SHA-1.
    fn names_by_sha256(&self) -> bool {
        text(&self.common_dir.join("config")).is_some_and(|config| {
            config.lines().any(|line| {
                line.split_once('=').is_some_and(|(key, value)| {
                    key.trim().eq_ignore_ascii_case("objectformat") && value.trim() != "sha1"
                })
            })
        })
    }
}

/// Git's name for a content: SHA-1 of `blob`, its length in decimal, NUL, and the content.
fn blob_name(content: &[u8]) -> [u8; 20] {
    let mut hasher = Sha1::new();
    hasher.update(format!("blob {}\0", content.len()));
    hasher.update(content);
    hasher.finalize().into()
}

fn object_name(text: &str) -> Option<String> {
    let hexadecimal = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hexadecimal && matches!(text.len(), 40 | 64)).then(|| text.to_owned())
}

fn text(path: &Path) -> Option<String> {
    // A reference of that name may also be a folder of others.
    String::from_utf8(bounded(path, LARGEST_REF).ok()?).ok()
}

fn bounded(path: &Path, largest: u64) -> std::io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() > largest {
        let name = path.file_name().unwrap_or(OsStr::new("file")).to_string_lossy();
        return Err(std::io::Error::other(format!("{name} is no regular file, or too large")));
    }
    fs::read(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    struct Sandbox {
        folder: tempfile::TempDir,
    }

    impl Sandbox {
        /// A repository with one commit of `requests/a.yaml` and `top.yaml`.
        fn new() -> Self {
            let sandbox = Self { folder: tempfile::tempdir().unwrap() };
            sandbox.git(&["init", "-q", "-b", "main", "."]);
            sandbox.write("requests/a.yaml", "kind: LlamaBench\n");
            sandbox.write("top.yaml", "kind: Model\n");
            sandbox.git(&["add", "."]);
            sandbox.git(&["commit", "-q", "-m", "first"]);
            sandbox
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join("repo").join(name)
        }

        fn write(&self, name: &str, text: &str) {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn git(&self, args: &[&str]) -> String {
            fs::create_dir_all(self.path("")).unwrap();
            let out = Command::new("git")
                .args(["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"])
                .args(args)
                .current_dir(self.path(""))
                .env("GIT_CONFIG_GLOBAL", "/dev/null")
                .env("GIT_CONFIG_NOSYSTEM", "1")
                .env_remove("GIT_DIR")
                .env_remove("GIT_INDEX_FILE")
                .env_remove("GIT_WORK_TREE")
                .output()
                .unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap().trim().to_owned()
        }

        fn head(&self) -> Option<String> {
            Some(self.git(&["rev-parse", "HEAD"]))
        }

        fn of(&self, name: &str) -> GitMetadata {
            of_file(&self.path(name))
        }
    }

    #[test]
    fn a_committed_file_is_clean_and_a_changed_one_dirty() {
        let repo = Sandbox::new();
        let clean = GitMetadata { commit: repo.head(), dirty: Some(false) };
        assert_eq!(repo.of("requests/a.yaml"), clean);
        assert_eq!(repo.of("top.yaml"), clean);
        repo.write("requests/a.yaml", "kind: LoadTest\n");
        assert_eq!(repo.of("requests/a.yaml").dirty, Some(true));
        assert_eq!(repo.of("top.yaml").dirty, Some(false));
    }

    #[test]
    fn a_file_that_git_does_not_know_is_dirty() {
        let repo = Sandbox::new();
        repo.write("requests/new.yaml", "kind: LlamaBench\n");
        assert_eq!(repo.of("requests/new.yaml"), GitMetadata { commit: repo.head(), dirty: Some(true) });
    }

    #[test]
    fn a_staged_change_is_never_called_clean() {
        let repo = Sandbox::new();
        repo.write("requests/a.yaml", "kind: LoadTest\n");
        repo.git(&["add", "."]);
        assert_eq!(repo.of("requests/a.yaml").dirty, None);
        repo.git(&["commit", "-q", "-m", "second"]);
        assert_eq!(repo.of("requests/a.yaml"), GitMetadata { commit: repo.head(), dirty: Some(false) });
    }

    #[test]
    fn packed_references_and_a_detached_head_are_followed() {
        let repo = Sandbox::new();
        repo.git(&["pack-refs", "--all"]);
        assert!(!repo.path(".git/refs/heads/main").exists());
        assert_eq!(repo.of("top.yaml").commit, repo.head());
        repo.git(&["checkout", "-q", "--detach"]);
        assert_eq!(repo.of("top.yaml").commit, repo.head());
    }

    #[test]
    fn every_version_of_the_index_is_read() {
        let repo = Sandbox::new();
        for version in ["2", "3", "4"] {
            repo.git(&["update-index", "--index-version", version]);
            assert_eq!(repo.of("requests/a.yaml").dirty, Some(false), "version {version}");
            repo.write("requests/ab.yaml", "x\n");
            repo.git(&["add", "--intent-to-add", "requests/ab.yaml"]);
            assert_eq!(repo.of("requests/ab.yaml").dirty, Some(true), "version {version}");
            repo.git(&["reset", "-q", "--hard"]);
        }
    }

    #[test]
    fn a_linked_work_tree_has_its_own_head_and_index() {
        let repo = Sandbox::new();
        repo.git(&["worktree", "add", "-q", "-b", "side", "../side"]);
        let file = repo.folder.path().join("side/requests/a.yaml");
        assert_eq!(of_file(&file), GitMetadata { commit: repo.head(), dirty: Some(false) });
        repo.write("top.yaml", "kind: Apply\n");
        repo.git(&["commit", "-q", "-a", "-m", "on main"]);
        assert_ne!(of_file(&file).commit, repo.head());
        assert_eq!(repo.of("top.yaml"), GitMetadata { commit: repo.head(), dirty: Some(false) });
    }

    #[test]
    fn a_conflict_is_dirty() {
        let repo = Sandbox::new();
        repo.git(&["checkout", "-q", "-b", "side"]);
        repo.write("top.yaml", "side\n");
        repo.git(&["commit", "-q", "-a", "-m", "side"]);
        repo.git(&["checkout", "-q", "main"]);
        repo.write("top.yaml", "main\n");
        repo.git(&["commit", "-q", "-a", "-m", "main"]);
        let merge = Command::new("git").args(["merge", "-q", "side"]).current_dir(repo.path("")).output();
        assert!(!merge.unwrap().status.success());
        assert_eq!(repo.of("top.yaml").dirty, Some(true));
    }

    #[test]
    fn a_tracked_link_is_judged_by_where_it_points() {
        let repo = Sandbox::new();
        std::os::unix::fs::symlink("top.yaml", repo.path("link.yaml")).unwrap();
        repo.git(&["add", "."]);
        repo.git(&["commit", "-q", "-m", "link"]);
        assert_eq!(repo.of("link.yaml").dirty, Some(false));
    }

    #[test]
    fn a_repository_without_a_commit_has_none() {
        let repo = Sandbox { folder: tempfile::tempdir().unwrap() };
        repo.git(&["init", "-q", "-b", "main", "."]);
        repo.write("a.yaml", "x\n");
        assert_eq!(repo.of("a.yaml"), GitMetadata { commit: None, dirty: Some(true) });
    }

    #[test]
    fn outside_a_repository_nothing_is_known() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), "x\n").unwrap();
        // Some machine may keep its temporary files in a repository; this file is in none of its own.
        assert!(Repository::at(folder.path()).is_none());
        assert_eq!(of_file(Path::new("/nonexistent/a.yaml")), GitMetadata::default());
    }
}
