//! Reads one request file, bounded, and parses it once.
//!
//! Owns what makes a file readable at all: regular, small enough, UTF-8 and without NUL. Decides
//! nothing about what the documents mean; whatever is wrong becomes a [`Diagnostic`], never a stop.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::files::beneath::{self, BeneathError};
use crate::files::stat::Stat;
use crate::request::conversation_file;
use crate::request::diagnostic::{Diagnostic, Place};
use crate::request::tree::{self, Stream};

/// Largest request file.
pub const MAX_BYTES: u64 = 1 << 20;

/// SHA-256 of a file's bytes.
pub type ContentHash = [u8; 32];

/// What became of reading a path.
#[derive(Debug, Clone)]
pub enum Loaded {
    File(Box<LoadedFile>),
    /// Nothing lies there (any more).
    Gone,
}

/// One request file as it was at one moment.
#[derive(Debug, Clone)]
pub struct LoadedFile {
    /// Relative to the watched root.
    pub relative: PathBuf,
    /// From before the file was read; `None` where it could not even be opened.
    pub stat: Option<Stat>,
    /// The text that the documents' spans refer to, without a byte order mark; empty where it could not be read.
    pub source: Arc<str>,
    /// Of the bytes, or of the problem where there are none: equal means that nothing changed.
    pub content_hash: ContentHash,
    pub content: Content,
}

#[derive(Debug, Clone)]
pub enum Content {
    Documents(Stream),
    /// No request, but what requests name: conversations.
    Data,
    /// The file as a whole cannot be read.
    Problem(Diagnostic),
}

/// Reads `relative` below `root`. Never blocks on what is no regular file.
pub fn load(root: &Path, relative: &Path) -> Loaded {
    let read = match beneath::open_regular(root, relative, MAX_BYTES) {
        Ok(read) => read,
        Err(BeneathError::Missing { .. }) if !is_dangling_link(root, relative) => return Loaded::Gone,
        Err(error) => return Loaded::File(Box::new(unreadable(relative, None, None, problem_of(&error)))),
    };
    let content_hash = Sha256::digest(&read.bytes).into();
    let stat = Some(read.stat);
    Loaded::File(Box::new(match text_of(read.bytes) {
        Err(problem) => unreadable(relative, stat, Some(content_hash), problem),
        Ok(text) => {
            let stream = tree::parse(&text);
            let content =
                if conversation_file::is_one(&stream) { Content::Data } else { Content::Documents(stream) };
            LoadedFile { relative: relative.to_owned(), stat, source: text.into(), content_hash, content }
        }
    }))
}

fn unreadable(
    relative: &Path,
    stat: Option<Stat>,
    content_hash: Option<ContentHash>,
    problem: Diagnostic,
) -> LoadedFile {
    let content_hash = content_hash.unwrap_or_else(|| Sha256::digest(problem.message.as_bytes()).into());
    LoadedFile {
        relative: relative.to_owned(),
        stat,
        source: Arc::from(""),
        content_hash,
        content: Content::Problem(problem),
    }
}

fn is_dangling_link(root: &Path, relative: &Path) -> bool {
    std::fs::symlink_metadata(root.join(relative)).is_ok_and(|found| found.is_symlink())
}

fn problem_of(error: &BeneathError) -> Diagnostic {
    let (message, hint) = match error {
        BeneathError::Escapes { .. } => (
            "the file is a link that leads outside of the watched directory".to_owned(),
            "copy the file here instead",
        ),
        BeneathError::NotRegular { kind, .. } => {
            (format!("this is {kind}, not a regular file"), "put a YAML file here or rename this")
        }
        BeneathError::TooLarge { size, limit, .. } => (
            format!("the file has {size} bytes, and {limit} is the limit"),
            "split it, or name large inputs as files of their own",
        ),
        BeneathError::Missing { .. } => {
            ("the file is a link that leads nowhere".to_owned(), "mend or remove the link")
        }
        BeneathError::Io { source, .. } => {
            (format!("the file cannot be read: {source}"), "check the file's permissions")
        }
    };
    Diagnostic::error(Place::whole_file(), message).hint(hint)
}

fn text_of(bytes: Vec<u8>) -> Result<String, Diagnostic> {
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        let message = format!("the file has a NUL at byte {at}, so it is not text");
        return Err(Diagnostic::error(Place::whole_file(), message).hint("save it as UTF-8 text"));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!("the file is not UTF-8 at byte {at}");
        Diagnostic::error(Place::whole_file(), message).hint("save it as UTF-8 text")
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn load_bytes(bytes: &[u8]) -> LoadedFile {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.yaml"), bytes).unwrap();
        match load(root.path(), Path::new("a.yaml")) {
            Loaded::File(file) => *file,
            Loaded::Gone => panic!("gone"),
        }
    }

    fn problem(file: &LoadedFile) -> String {
        match &file.content {
            Content::Data => panic!("data"),
            Content::Problem(problem) => problem.message.clone(),
            Content::Documents(stream) => panic!("{stream:?}"),
        }
    }

    #[test]
    fn a_byte_order_mark_goes_and_carriage_returns_stay() {
        let file = load_bytes(b"\xef\xbb\xbfkind: X\r\nspec: 1\r\n");
        assert_eq!(&*file.source, "kind: X\r\nspec: 1\r\n");
        assert!(matches!(&file.content, Content::Documents(stream) if stream.documents.len() == 1));
    }

    #[test]
    fn what_is_not_text_is_said_with_its_place() {
        assert_eq!(problem(&load_bytes(b"a: \0")), "the file has a NUL at byte 3, so it is not text");
        assert_eq!(problem(&load_bytes(b"a: b\xff")), "the file is not UTF-8 at byte 4");
        assert!(problem(&load_bytes(&vec![b' '; MAX_BYTES as usize + 1])).contains("1048577 bytes"));
    }

    #[test]
    fn a_link_that_leads_nowhere_is_a_problem_and_an_absent_file_is_gone() {
        let root = tempfile::tempdir().unwrap();
        symlink("none", root.path().join("a.yaml")).unwrap();
        assert!(matches!(load(root.path(), Path::new("a.yaml")), Loaded::File(_)));
        assert!(matches!(load(root.path(), Path::new("b.yaml")), Loaded::Gone));
    }
}
