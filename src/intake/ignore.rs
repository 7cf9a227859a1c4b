//! Decides by its name alone whether a path is a request file.
//!
//! Owns the rules for hidden files, status files and editors' litter. Never looks at the disk.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// What a path below the root is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Candidate {
    Request,
    /// A status file: no request, but somebody may have edited ours.
    Status,
    Ignored,
    /// It would be a request, but its name is not UTF-8, so no status or message could name it.
    UnreadableName,
}

/// Classifies a path relative to the root.
pub fn classify(relative: &Path) -> Candidate {
    let Some(name) = relative.file_name() else {
        return Candidate::Ignored;
    };
    let bytes = name.as_bytes();
    let wanted = [&b".yaml"[..], b".yml"].iter().any(|ending| bytes.ends_with(ending));
    let status = [&b".status.yaml"[..], b".status.yml"].iter().any(|ending| bytes.ends_with(ending));
    if !wanted || is_below_hidden(relative) {
        return Candidate::Ignored;
    }
    if status {
        return Candidate::Status;
    }
    match relative.to_str() {
        Some(_) => Candidate::Request,
        None => Candidate::UnreadableName,
    }
}

/// A name that starts with a dot: hidden, and with it whatever lies below.
pub fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".")
}

/// Names that editors make and remove while they save. They mean nothing, not even a new listing.
pub fn is_litter(name: &OsStr) -> bool {
    let name = name.as_bytes();
    let swap_file = || {
        let ending = name.len().checked_sub(4).map(|at| &name[at..]);
        name.starts_with(b".") && ending.is_some_and(|ending| ending.starts_with(b".sw"))
    };
    name == b"4913"
        || name.ends_with(b"~")
        || name.starts_with(b".#")
        || (name.starts_with(b"#") && name.ends_with(b"#"))
        || name.ends_with(b"___jb_tmp___")
        || name.ends_with(b"___jb_old___")
        || (name.starts_with(b".benchlet-") && name.ends_with(b".tmp"))
        || swap_file()
}

fn is_below_hidden(relative: &Path) -> bool {
    relative.components().any(|component| match component {
        Component::Normal(name) => is_hidden(name),
        Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yaml_files_anywhere_below_the_root_are_requests() {
        for path in ["a.yaml", "a.yml", "deep/er/a.b.yaml", "status.yaml", "x-status.yml"] {
            assert_eq!(classify(Path::new(path)), Candidate::Request, "{path}");
        }
    }

    #[test]
    fn hidden_files_and_litter_are_not() {
        for path in [
            ".a.yaml",
            ".git/a.yaml",
            "a/.hidden/b.yaml",
            "..data/a.yaml",
            "4913",
            "a.yaml~",
            ".a.yaml.swp",
            ".#a.yaml",
            "#a.yaml#",
            "a.yaml___jb_tmp___",
            "a.yaml___jb_old___",
            "a.yaml.backup",
            "README.md",
            "",
        ] {
            assert_eq!(classify(Path::new(path)), Candidate::Ignored, "{path}");
        }
    }

    #[test]
    fn status_files_are_told_apart() {
        for path in ["a.status.yaml", "b/a.status.yml"] {
            assert_eq!(classify(Path::new(path)), Candidate::Status, "{path}");
        }
        assert_eq!(classify(Path::new(".hidden/a.status.yaml")), Candidate::Ignored);
    }

    #[test]
    fn a_name_that_is_not_utf8_is_told_apart() {
        assert_eq!(classify(Path::new(OsStr::from_bytes(b"\xff.yaml"))), Candidate::UnreadableName);
        assert_eq!(classify(Path::new(OsStr::from_bytes(b"\xff.txt"))), Candidate::Ignored);
    }

    #[test]
    fn litter_is_known_by_name_and_data_links_are_not_litter() {
        for name in ["4913", "x~", ".x.swp", ".x.yaml.swx", ".#x", "#x#", "x___jb_old___"] {
            assert!(is_litter(OsStr::new(name)), "{name}");
        }
        for name in ["..data", "current", "x.yaml", ".sw"] {
            assert!(!is_litter(OsStr::new(name)), "{name}");
        }
    }
}
