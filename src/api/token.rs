//! The token that opens the API: read from its file, made where there is none, compared in constant time,
//! and what a browser keeps in its place. Never printed by its `Debug`, never logged.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore as _;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::files::atomic_write::{self, FileError};

/// Random bytes of a token that is made.
const BYTES: usize = 32;
/// A token of somebody's own has at least so many characters.
const SHORTEST: usize = 16;
const LONGEST: u64 = 1_024;

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token file {} cannot be read: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the token in {} is not one: it has to be {SHORTEST} to {LONGEST} visible ASCII characters", .0.display())]
    Unfit(PathBuf),
    #[error(transparent)]
    Write(#[from] FileError),
    #[error("no random numbers are to be had for a token")]
    NoRandomness,
}

#[derive(Clone)]
pub struct Token {
    secret: String,
    /// What the cookie of a login holds; who sees it does not know the token.
    session: String,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// A token with whether it was made just now, to be shown once.
#[derive(Debug)]
pub struct Kept {
    pub token: Token,
    pub fresh: bool,
}

impl Token {
    /// The token of a file, which is made for its owner alone where there is none.
    ///
    /// # Errors
    /// A file that cannot be read or made, or that holds no token.
    pub fn keep(path: &Path) -> Result<Kept, TokenError> {
        if let Some(token) = read(path)? {
            return Ok(Kept { token, fresh: false });
        }
        let mut bytes = [0; BYTES];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|_| TokenError::NoRandomness)?;
        let secret = URL_SAFE_NO_PAD.encode(bytes);
        if atomic_write::create(path, format!("{secret}\n").as_bytes(), 0o600)? {
            return Ok(Kept { token: Self::new(secret), fresh: true });
        }
        let token = read(path)?.ok_or_else(|| TokenError::Unfit(path.to_owned()))?;
        Ok(Kept { token, fresh: false })
    }

    fn new(secret: String) -> Self {
        let digest = Sha256::new().chain_update("benchlet session\n").chain_update(&secret).finalize();
        Self { session: URL_SAFE_NO_PAD.encode(digest), secret }
    }

    pub fn is(&self, given: &str) -> bool {
        equal(&self.secret, given)
    }

    pub fn session(&self) -> &str {
        &self.session
    }

    pub fn is_session(&self, given: &str) -> bool {
        equal(&self.session, given)
    }

    /// For whoever starts the server, once.
    pub fn reveal(&self) -> &str {
        &self.secret
    }
}

/// Compares digests, so that neither content nor length shows in the time it takes.
fn equal(known: &str, given: &str) -> bool {
    let (known, given) = (Sha256::digest(known), Sha256::digest(given));
    known.as_slice().ct_eq(given.as_slice()).into()
}

fn read(path: &Path) -> Result<Option<Token>, TokenError> {
    let failed = |source| TokenError::Read { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others can read the token file; `chmod 600` it");
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
    let secret = text.trim();
    let fit = secret.len() >= SHORTEST
        && text.len() as u64 <= LONGEST
        && secret.chars().all(|c| c.is_ascii_graphic());
    if !fit {
        return Err(TokenError::Unfit(path.to_owned()));
    }
    Ok(Some(Token::new(secret.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_made_once_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        let first = Token::keep(&path).unwrap();
        assert!(first.fresh);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Token::keep(&path).unwrap();
        assert!(!again.fresh && again.token.is(first.token.reveal()));
        assert!(!format!("{:?}", again.token).contains(first.token.reveal()));
    }

    #[test]
    fn nothing_but_the_whole_token_is_the_token() {
        let token = Token::new("0123456789abcdef".to_owned());
        assert!(token.is("0123456789abcdef"));
        for wrong in ["", "0123456789abcde", "0123456789abcdefg", "0123456789ABCDEF", token.session()] {
            assert!(!token.is(wrong), "{wrong}");
        }
        assert!(token.is_session(token.session()) && !token.is_session("0123456789abcdef"));
    }

    #[test]
    fn a_file_that_holds_no_token_is_an_error_and_not_an_open_door() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("token");
        for text in ["", "short", "a token with blanks in it", &"x".repeat(2_000)] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Token::keep(&path), Err(TokenError::Unfit(_))), "{text:.20}");
        }
    }
}
