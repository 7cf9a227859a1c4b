//! A complete listing of the watched root, by stat alone.
//!
//! Owns the walk: its depth, links to directories without loops, and what could not be looked at.
//! Never opens or reads a request.

use std::collections::{BTreeMap, BTreeSet, HashSet, VecDeque};
use std::fs::Metadata;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::ignore::{self, Candidate};
use crate::files::stat::Stat;

/// Deepest directory that is looked into.
pub const MAX_DEPTH: usize = 32;

/// Why there is no listing. Nothing counts as absent then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootState {
    #[error("{}: the watched directory is missing; bring it back or change `requests`", .0.display())]
    Missing(PathBuf),
    #[error("{}: the watched directory cannot be read: {reason}; check its permissions", path.display())]
    Unreadable { path: PathBuf, reason: String },
    #[error("{}: is not a directory; change `requests` to the directory of your requests", .0.display())]
    NotADirectory(PathBuf),
}

/// Something below the root that could not be taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListingProblem {
    pub path: PathBuf,
    pub message: String,
}

/// What lies below the root. Paths are relative to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub files: BTreeMap<PathBuf, Stat>,
    /// Every directory that was looked into, the root as the empty path, with device and inode.
    pub directories: BTreeMap<PathBuf, (u64, u64)>,
    /// Directories that exist but could not be looked into: nothing below them is absent.
    pub unread: BTreeSet<PathBuf>,
    pub problems: Vec<ListingProblem>,
    /// Git is at work on the tree, so what is missing now may be back in a moment.
    pub git_busy: bool,
}

/// Lists the root.
pub fn list(root: &Path) -> Result<Listing, RootState> {
    let unreadable = |e: io::Error| RootState::Unreadable { path: root.to_owned(), reason: e.to_string() };
    let found = match std::fs::metadata(root) {
        Ok(found) if found.is_dir() => found,
        Ok(_) => return Err(RootState::NotADirectory(root.to_owned())),
        Err(e) if e.kind() == ErrorKind::NotFound => return Err(RootState::Missing(root.to_owned())),
        Err(e) => return Err(unreadable(e)),
    };
    let mut walk = Walk {
        root,
        real_root: root.canonicalize().map_err(unreadable)?,
        listing: Listing { git_busy: git_is_busy(root), ..Listing::default() },
        seen: HashSet::new(),
        linked: VecDeque::new(),
    };
    if let Err(e) = walk.directory(PathBuf::new(), &found, 0) {
        return Err(unreadable(e));
    }
    // Links come after all real directories, so that a directory with two ways to it is listed
    // below its own name.
    while let Some((path, found, depth)) = walk.linked.pop_front() {
        walk.subdirectory(path, &found, depth);
    }
    Ok(walk.listing)
}

struct Walk<'r> {
    root: &'r Path,
    real_root: PathBuf,
    listing: Listing,
    seen: HashSet<(u64, u64)>,
    linked: VecDeque<(PathBuf, Metadata, usize)>,
}

impl Walk<'_> {
    fn subdirectory(&mut self, path: PathBuf, found: &Metadata, depth: usize) {
        if depth > MAX_DEPTH {
            let message = format!("directories are followed {MAX_DEPTH} deep; move this one up");
            self.problem(&path, message);
            self.listing.unread.insert(path);
            return;
        }
        if let Err(error) = self.directory(path.clone(), found, depth)
            && error.kind() != ErrorKind::NotFound
        {
            self.problem(&path, format!("cannot look into the directory: {error}; check its permissions"));
            self.listing.unread.insert(path);
        }
    }

    fn directory(&mut self, path: PathBuf, found: &Metadata, depth: usize) -> io::Result<()> {
        let stat = Stat::from(found);
        if !self.seen.insert((stat.dev, stat.ino)) {
            return Ok(());
        }
        let entries = std::fs::read_dir(self.root.join(&path))?;
        self.listing.directories.insert(path.clone(), (stat.dev, stat.ino));
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if ignore::is_hidden(&name) {
                continue;
            }
            let kind = entry.file_type()?;
            let below = path.join(&name);
            if kind.is_symlink() {
                self.link(below, depth);
            } else if kind.is_dir() {
                match entry.metadata() {
                    Ok(found) => self.subdirectory(below, &found, depth + 1),
                    Err(error) => self.failed(below, &error),
                }
            } else if self.wanted(&below) {
                match entry.metadata() {
                    Ok(found) => self.add(below, &found),
                    Err(error) => self.failed(below, &error),
                }
            }
        }
        Ok(())
    }

    fn link(&mut self, path: PathBuf, depth: usize) {
        let full = self.root.join(&path);
        let inside = full.canonicalize().is_ok_and(|real| real.starts_with(&self.real_root));
        match std::fs::metadata(&full) {
            Ok(found) if inside && found.is_dir() => self.linked.push_back((path, found, depth + 1)),
            Ok(found) if inside && self.wanted(&path) => self.add(path, &found),

            Ok(_) if inside => {}
            // Leads outside or nowhere: listed with the link's own stat; reading it says why not.
            Ok(_) | Err(_) => {
                if self.wanted(&path)
                    && let Ok(found) = std::fs::symlink_metadata(&full)
                {
                    self.add(path, &found);
                }
            }
        }
    }

    fn add(&mut self, path: PathBuf, found: &Metadata) {
        self.listing.files.insert(path, Stat::from(found));
    }

    fn wanted(&mut self, path: &Path) -> bool {
        match ignore::classify(path) {
            Candidate::Request => true,
            Candidate::Status | Candidate::Ignored => false,
            Candidate::UnreadableName => {
                self.problem(path, "the file's name is not UTF-8; rename it to have it read".to_owned());
                false
            }
        }
    }

    /// An entry that vanished since the directory was read is simply not there.
    fn failed(&mut self, path: PathBuf, error: &io::Error) {
        if error.kind() != ErrorKind::NotFound {
            self.problem(&path, format!("cannot be looked at: {error}"));
            self.listing.unread.insert(path);
        }
    }

    fn problem(&mut self, path: &Path, message: String) {
        self.listing.problems.push(ListingProblem { path: path.to_owned(), message });
    }
}

/// The stat that a listing would have for this path now; `None` where nothing lies there.
pub fn stat_one(root: &Path, relative: &Path) -> Option<Stat> {
    let full = root.join(relative);
    let own = std::fs::symlink_metadata(&full).ok()?;
    if own.is_symlink()
        && let (Ok(real_root), Ok(real)) = (root.canonicalize(), full.canonicalize())
        && real.starts_with(&real_root)
        && let Ok(target) = std::fs::metadata(&full)
    {
        return Some(Stat::from(&target));
    }
    Some(Stat::from(&own))
}

/// Whether the Git repository that the root belongs to, if any, is being changed by git.
fn git_is_busy(root: &Path) -> bool {
    let Ok(real) = root.canonicalize() else {
        return false;
    };
    for directory in real.ancestors() {
        let git = directory.join(".git");
        match std::fs::metadata(&git) {
            Ok(found) if found.is_dir() => return git.join("index.lock").exists(),
            // A worktree or submodule: the file says where its Git directory is.
            Ok(found) if found.is_file() && found.len() < 4096 => {
                let text = std::fs::read_to_string(&git).unwrap_or_default();
                let Some(target) = text.strip_prefix("gitdir:") else {
                    return false;
                };
                return directory.join(target.trim()).join("index.lock").exists();
            }
            Ok(_) | Err(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(listing: &Listing) -> Vec<&str> {
        listing.files.keys().filter_map(|path| path.to_str()).collect()
    }

    #[test]
    fn links_inside_are_followed_once_and_loops_end() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        std::fs::create_dir_all(root.join("z/deep")).unwrap();
        std::fs::create_dir_all(root.join(".store/v1")).unwrap();
        std::fs::write(root.join("z/deep/a.yaml"), "").unwrap();
        std::fs::write(root.join(".store/v1/b.yaml"), "").unwrap();
        symlink("..", root.join("z/loop")).unwrap();
        symlink("z", root.join("a-second-way")).unwrap();
        symlink(".store/v1", root.join("current")).unwrap();
        symlink("/etc", root.join("outside")).unwrap();
        let listing = list(root).unwrap();
        assert_eq!(names(&listing), ["current/b.yaml", "z/deep/a.yaml"]);
        assert!(listing.problems.is_empty(), "{:?}", listing.problems);
    }

    #[test]
    fn a_root_that_is_missing_or_a_file_is_told_apart() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("root");
        assert_eq!(list(&path), Err(RootState::Missing(path.clone())));
        std::fs::write(&path, "").unwrap();
        assert_eq!(list(&path), Err(RootState::NotADirectory(path.clone())));
    }

    #[test]
    fn git_at_work_is_seen_in_repositories_and_in_worktrees() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path().join("tree/requests");
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(home.path().join("git/worktrees/tree")).unwrap();
        std::fs::write(home.path().join("tree/.git"), "gitdir: ../git/worktrees/tree\n").unwrap();
        assert!(!list(&root).unwrap().git_busy);
        std::fs::write(home.path().join("git/worktrees/tree/index.lock"), "").unwrap();
        assert!(list(&root).unwrap().git_busy);
    }

    #[test]
    fn a_name_that_is_not_utf8_is_reported() {
        use std::os::unix::ffi::OsStrExt;
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(std::ffi::OsStr::from_bytes(b"\xff.yaml")), "").unwrap();
        let listing = list(home.path()).unwrap();
        assert!(listing.files.is_empty());
        assert_eq!(listing.problems.len(), 1);
    }
}
