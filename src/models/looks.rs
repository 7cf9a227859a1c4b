//! Whether a file looks like what its name says, where no hash tells: a page that asks to log in, saved as
//! `model.gguf`, is no model.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::error::ModelError;

const MAGIC: &[u8] = b"GGUF";
/// Bytes of something else that an error shows.
const SHOWN: usize = 24;

/// Refuses an empty file, and one that is called `.gguf` and begins otherwise.
///
/// # Errors
/// What is wrong with it, or the file system's words.
pub fn check(name: &str, file: &File) -> Result<(), ModelError> {
    let failed = |error: io::Error| ModelError::cache(std::path::Path::new(name), error);
    let mut begins = vec![0; SHOWN];
    let mut read = 0;
    while read < begins.len() {
        match file.read_at(&mut begins[read..], read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    begins.truncate(read);
    if begins.is_empty() {
        return Err(ModelError::Empty { name: name.to_owned() });
    }
    let is_gguf = name.rsplit_once('.').is_some_and(|(_, ending)| ending.eq_ignore_ascii_case("gguf"));
    if is_gguf && !begins.starts_with(MAGIC) {
        let begins = String::from_utf8_lossy(&begins).into_owned();
        return Err(ModelError::NotGguf { name: name.to_owned(), begins });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_and_nothing_at_all_are_no_model_and_other_files_may_begin_as_they_like() {
        let home = tempfile::tempdir().unwrap();
        let said = |name: &str, bytes: &[u8]| {
            let path = home.path().join("file");
            std::fs::write(&path, bytes).unwrap();
            check(name, &File::open(path).unwrap()).map_err(|error| error.to_string())
        };
        assert_eq!(said("m.gguf", b"GGUF\x03\0"), Ok(()));
        assert_eq!(said("m.GGUF", b"GGUF"), Ok(()));
        let page = "m.gguf is no GGUF file: it begins with \"<!DOCTYPE html><html>\\n<h\"";
        assert_eq!(said("m.gguf", b"<!DOCTYPE html><html>\n<head>"), Err(page.to_owned()));
        assert!(said("m.gguf", b"GGU").is_err());
        assert_eq!(said("config.json", b"{}"), Ok(()));
        assert_eq!(said("config.json", b""), Err("config.json came without a single byte".to_owned()));
    }
}
