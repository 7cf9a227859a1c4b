//! A model file that is there already: where it is, if a request may name it. Nothing is copied.

use std::path::{Path, PathBuf};

use super::error::ModelError;

/// The file that a path means, with every link resolved: beneath one of the directories.
///
/// # Errors
/// Nothing is there, it is no file, or it is not beneath any of them.
pub fn find(text: &str, directories: &[PathBuf]) -> Result<PathBuf, ModelError> {
    let wrong = |why: &str| ModelError::LocalFile { path: text.to_owned(), why: why.to_owned() };
    let roots: Vec<PathBuf> = directories.iter().filter_map(|dir| dir.canonicalize().ok()).collect();
    let path = Path::new(text);
    let candidates: Vec<PathBuf> = if path.is_absolute() {
        vec![path.to_owned()]
    } else {
        roots.iter().map(|root| root.join(path)).collect()
    };
    let real: Vec<PathBuf> = candidates.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let Some(found) = real.iter().find(|real| roots.iter().any(|root| real.starts_with(root))) else {
        return Err(wrong(if real.is_empty() {
            "it is not there"
        } else {
            "it is outside of the directories that requests may read"
        }));
    };
    if found.is_file() { Ok(found.clone()) } else { Err(wrong("it is no regular file")) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_path_means_a_file_beneath_an_allowed_directory_and_no_other() {
        let place = tempfile::tempdir().unwrap();
        let (root, more) = (place.path().join("root"), place.path().join("more"));
        for folder in [&root, &more] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(more.join("m.gguf"), "m").unwrap();
        std::fs::write(place.path().join("secret"), "s").unwrap();
        symlink("../secret", root.join("link")).unwrap();
        symlink("../more/m.gguf", root.join("good")).unwrap();
        let dirs = [root.clone(), more.clone()];
        let whole = more.join("m.gguf").canonicalize().unwrap();
        for path in ["m.gguf", "good", more.join("m.gguf").to_str().unwrap()] {
            assert_eq!(find(path, &dirs).unwrap(), whole, "{path}");
        }
        for path in ["link", "../secret", place.path().join("secret").to_str().unwrap(), "/etc/passwd"] {
            let said = find(path, &dirs).unwrap_err().to_string();
            assert!(said.contains("outside of the directories"), "{path}: {said}");
        }
        assert!(find("none", &dirs).unwrap_err().to_string().contains("not there"));
        assert!(find(root.to_str().unwrap(), &dirs).unwrap_err().to_string().contains("no regular file"));
    }
}
