//! A model's files: which they are, whether they changed, and their SHA-256. Reads them in blocks and
//! can be cancelled between two; keeps no cache, but names the key of one.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    #[error("cannot read the model file {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is not a regular file, so it cannot be a model; name the GGUF file itself")]
    NotRegular { path: PathBuf },
    #[error("{path} changed while it was read; wait until whatever writes it is done, then try again")]
    Changed { path: PathBuf },
    #[error("reading {path} was cancelled")]
    Cancelled { path: PathBuf },
}

/// What tells a file from a changed one without reading it: the key under which its hash is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileIdentity {
    pub device: u64,
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970, UTC.
    pub mtime_ns: i128,
}

impl FileIdentity {
    /// The identity of what the path leads to, links followed.
    pub fn of(path: &Path) -> Result<Self, ModelFileError> {
        let metadata = fs::metadata(path).map_err(|source| io_error(path, source))?;
        Ok(Self::from(&metadata))
    }
}

impl From<&Metadata> for FileIdentity {
    fn from(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            mtime_ns: i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec()),
        }
    }
}

/// One file, read whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileHash {
    /// Lower-case hexadecimal.
    pub sha256: String,
    pub size_bytes: u64,
    /// What the hash holds for.
    pub identity: FileIdentity,
}

/// A model, all parts read whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelHash {
    /// Of a single file its SHA-256; of a split model the SHA-256 over its parts' hashes in
    /// lower-case hexadecimal, in order, a newline after each.
    pub sha256: String,
    /// Bytes of all parts.
    pub size_bytes: u64,
    pub parts: Vec<FileHash>,
}

/// Hashes a file. `progress` is told the bytes read so far after every block, at most 1 MiB.
///
/// # Errors
/// Refuses what is no regular file, without waiting for a pipe; ends between two blocks when
/// cancelled; a file that changed meanwhile has no hash.
pub fn hash_file(
    path: &Path,
    cancel: &CancellationToken,
    progress: &mut dyn FnMut(u64),
) -> Result<FileHash, ModelFileError> {
    let failed = |source| io_error(path, source);
    let mut file = open(path)?;
    let before = FileIdentity::from(&file.metadata().map_err(failed)?);
    let mut hasher = Sha256::new();
    let mut block = vec![0; BLOCK];
    let mut size_bytes = 0_u64;
    loop {
        if cancel.is_cancelled() {
            return Err(ModelFileError::Cancelled { path: path.to_owned() });
        }
        let read = match file.read(&mut block) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
        };
        hasher.update(&block[..read]);
        size_bytes += read as u64;
        progress(size_bytes);
    }
    let after = FileIdentity::from(&file.metadata().map_err(failed)?);
    if before != after || size_bytes != after.size {
        return Err(ModelFileError::Changed { path: path.to_owned() });
    }
    Ok(FileHash { sha256: hex(&hasher.finalize()), size_bytes, identity: after })
}

/// Hashes a model with all of its parts. `progress` counts bytes over all parts.
pub fn hash_model(
    path: &Path,
    cancel: &CancellationToken,
    progress: &mut dyn FnMut(u64),
) -> Result<ModelHash, ModelFileError> {
    let mut parts = Vec::new();
    let mut read = 0;
    for part in parts_of(path) {
        let hash = hash_file(&part, cancel, &mut |bytes| progress(read + bytes))?;
        read += hash.size_bytes;
        parts.push(hash);
    }
    Ok(combine(parts))
}

/// The hash of a model from those of its parts, as they may come from a cache; see
/// [`ModelHash::sha256`].
pub fn combine(parts: Vec<FileHash>) -> ModelHash {
    let sha256 = match parts.as_slice() {
        [only] => only.sha256.clone(),
        several => {
            let lines: String = several.iter().map(|part| format!("{}\n", part.sha256)).collect();
            hex(&Sha256::digest(lines.as_bytes()))
        }
    };
    ModelHash { sha256, size_bytes: parts.iter().map(|part| part.size_bytes).sum(), parts }
}

/// The files of a model in order: the file itself, or for `NAME-00001-of-00003.gguf` all three,
/// whichever part is named and whether or not they exist.
pub fn parts_of(path: &Path) -> Vec<PathBuf> {
    match split_name(path) {
        Some((stem, count)) => (1..=count)
            .map(|part| path.with_file_name(format!("{stem}-{part:05}-of-{count:05}.gguf")))
            .collect(),
        None => vec![path.to_owned()],
    }
}

/// `NAME` and the number of parts of a split model's file.
fn split_name(path: &Path) -> Option<(&str, u32)> {
    let name = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
    let (front, count) = name.rsplit_once("-of-")?;
    let (stem, part) = front.rsplit_once('-')?;
    let number = |digits: &str| -> Option<u32> {
        (digits.len() == 5 && digits.bytes().all(|digit| digit.is_ascii_digit()))
            .then(|| digits.parse().ok())
            .flatten()
    };
    let (part, count) = (number(part)?, number(count)?);
    (1 <= part && part <= count).then_some((stem, count))
}

fn open(path: &Path) -> Result<File, ModelFileError> {
    let file = open_regular(path).map_err(|source| io_error(path, source))?;
    file.ok_or_else(|| ModelFileError::NotRegular { path: path.to_owned() })
}

/// Opens without blocking, which a pipe without a writer would do; `None` for what is no regular file.
pub(super) fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits();
    let file = OpenOptions::new().read(true).custom_flags(nonblock.cast_signed()).open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

fn io_error(path: &Path, source: io::Error) -> ModelFileError {
    ModelFileError::Io { path: path.to_owned(), source }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn file(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_file_has_the_hash_that_sha256sum_prints() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "m.gguf", b"abc");
        let hash = hash_model(&path, &CancellationToken::new(), &mut |_| ()).unwrap();
        assert_eq!((hash.sha256.as_str(), hash.size_bytes, hash.parts.len()), (ABC, 3, 1));
        assert_eq!(hash.parts[0].identity, FileIdentity::of(&path).unwrap());
    }

    #[test]
    fn progress_is_told_block_by_block() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "m.gguf", &vec![7; BLOCK * 2 + 5]);
        let mut told = Vec::new();
        hash_file(&path, &CancellationToken::new(), &mut |bytes| told.push(bytes)).unwrap();
        assert_eq!(told.last(), Some(&(BLOCK as u64 * 2 + 5)));
        assert!(told.len() >= 3 && told.is_sorted());
    }

    #[test]
    fn a_cancelled_hash_ends() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "m.gguf", b"abc");
        let cancel = CancellationToken::new();
        cancel.cancel();
        let error = hash_file(&path, &cancel, &mut |_| ()).unwrap_err();
        assert!(matches!(error, ModelFileError::Cancelled { .. }));
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe.gguf");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [folder.path(), &pipe] {
            let error = hash_file(path, &CancellationToken::new(), &mut |_| ()).unwrap_err();
            assert!(matches!(error, ModelFileError::NotRegular { .. }), "{error}");
        }
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_has_no_hash() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), "m.gguf", b"abc");
        let mut grown = false;
        let error = hash_file(&path, &CancellationToken::new(), &mut |_| {
            if !std::mem::replace(&mut grown, true) {
                fs::write(&path, b"abcdef").unwrap();
            }
        })
        .unwrap_err();
        assert!(matches!(error, ModelFileError::Changed { .. }), "{error}");
    }

    #[test]
    fn the_parts_of_a_split_model_are_found_from_any_of_them() {
        let parts = parts_of(Path::new("/m/big-00002-of-00003.gguf"));
        let names =
            ["/m/big-00001-of-00003.gguf", "/m/big-00002-of-00003.gguf", "/m/big-00003-of-00003.gguf"];
        assert_eq!(parts, names.map(PathBuf::from));
        for single in
            ["/m/a.gguf", "/m/a-1-of-3.gguf", "/m/a-00004-of-00003.gguf", "/m/a-00000-of-00000.gguf"]
        {
            assert_eq!(parts_of(Path::new(single)), [PathBuf::from(single)]);
        }
    }

    #[test]
    fn a_split_model_is_hashed_over_its_parts_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let first = file(folder.path(), "m-00001-of-00002.gguf", b"abc");
        file(folder.path(), "m-00002-of-00002.gguf", b"abc");
        let hash = hash_model(&first, &CancellationToken::new(), &mut |_| ()).unwrap();
        assert_eq!(hash.sha256, hex(&Sha256::digest(format!("{ABC}\n{ABC}\n"))));
        assert_eq!((hash.size_bytes, hash.parts.len()), (6, 2));
    }

    #[test]
    fn a_missing_part_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let first = file(folder.path(), "m-00001-of-00002.gguf", b"abc");
        let error = hash_model(&first, &CancellationToken::new(), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("m-00002-of-00002.gguf"), "{error}");
    }
}
