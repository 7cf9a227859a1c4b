//! Hashes of content as it comes: SHA-256 always, Git's own where a repository names it. Reads files in
//! blocks and can be ended between two.

use std::fs::File;
use std::io::{self, Read as _};

use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use super::cache_layout::hex;

/// Bytes read at a time.
const BLOCK: usize = 1 << 20;

/// Hashes of what was written so far.
#[derive(Clone)]
pub struct Hashes {
    sha256: Sha256,
    git: Option<Sha1>,
}

impl Hashes {
    /// `git_size` is the size of the whole file where its hash as a Git blob is wanted.
    pub fn new(git_size: Option<u64>) -> Self {
        let git = git_size.map(|size| Sha1::new().chain_update(format!("blob {size}\0")));
        Self { sha256: Sha256::new(), git }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(git) = &mut self.git {
            git.update(bytes);
        }
    }

    /// The SHA-256 so far, in lower-case hexadecimal.
    pub fn sha256(&self) -> String {
        hex(&self.sha256.clone().finalize())
    }

    pub fn git(&self) -> Option<String> {
        self.git.clone().map(|git| hex(&git.finalize()))
    }
}

/// Adds a file's content from where it stands to its end, and gives the number of its bytes.
///
/// # Errors
/// Reading's own, or an error of kind `Other` when it was ended.
pub fn read_on(
    file: &mut File,
    hashes: &mut Hashes,
    ended: &CancellationToken,
    progress: &dyn Fn(u64),
) -> io::Result<u64> {
    let mut block = vec![0; BLOCK];
    let mut total = 0;
    loop {
        if ended.is_cancelled() {
            return Err(io::Error::other("ended"));
        }
        match file.read(&mut block) {
            Ok(0) => return Ok(total),
            Ok(read) => {
                hashes.update(&block[..read]);
                total += read as u64;
                progress(total);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hashes_are_those_of_their_tools() {
        let mut hashes = Hashes::new(Some(6));
        hashes.update(b"hel");
        hashes.update(b"lo\n");
        // `git hash-object` and `sha256sum` of "hello\n".
        assert_eq!(hashes.git().as_deref(), Some("ce013625030ba8dba906f756967f9e9ca394464a"));
        assert_eq!(hashes.sha256(), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    }
}
