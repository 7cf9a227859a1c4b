//! Reads a text that has an upper bound. Whether the path may be read at all is its caller's to know.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum BoundedError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{} has {} MiB; at most {} MiB of {what} are read", path.display(), size >> 20, most >> 20)]
    TooLarge { path: PathBuf, size: u64, most: u64, what: &'static str },
    #[error("{} is no text in UTF-8", path.display())]
    NotText { path: PathBuf },
}

/// The text of a file of at most `most` bytes, which are `what`: "prompts".
///
/// # Errors
/// It cannot be read, is too large or no text; each says which file.
pub fn read_text(path: &Path, most: u64, what: &'static str) -> Result<String, BoundedError> {
    let failed = |source| BoundedError::Io { path: path.to_owned(), source };
    let too_large = |size| BoundedError::TooLarge { path: path.to_owned(), size, most, what };
    let file = File::open(path).map_err(failed)?;
    let size = file.metadata().map_err(failed)?.len();
    if size > most {
        return Err(too_large(size));
    }
    let mut bytes = Vec::new();
    // One more than allowed, so that a file that grows meanwhile is noticed.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > most {
        return Err(too_large(bytes.len() as u64));
    }
    String::from_utf8(bytes).map_err(|_| BoundedError::NotText { path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_its_bound_is_read_and_all_else_says_which_file_and_why() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("words.txt");
        let read = |most| read_text(&path, most, "words").map_err(|error| error.to_string());
        assert!(read(5).unwrap_err().contains("words.txt: No such file"));
        std::fs::write(&path, "hello").unwrap();
        assert_eq!(read(5).as_deref(), Ok("hello"));
        assert!(read(4).unwrap_err().ends_with("words.txt has 0 MiB; at most 0 MiB of words are read"));
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(5).unwrap_err().ends_with("words.txt is no text in UTF-8"));
    }
}
