//! Why model files did not come, each with its reason for machines and a hint for people. No text of a
//! server gets in but its first words, and no query of a URL, which may be a signature.

use std::path::PathBuf;

use crate::run::model_files::byte_words;
use crate::run::reason::{Reason, Refusal};

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("HF_ENDPOINT is no http or https address without credentials")]
    Endpoint,
    #[error("{what} is not there (HTTP {status})")]
    NotFound { what: String, status: u16, on_hub: bool },
    #[error("{what} is not open to {who} (HTTP {status})", who = if *.with_token { "this token" } else { "everybody" })]
    NoAccess { what: String, status: u16, on_hub: bool, with_token: bool },
    #[error("{what} was refused with HTTP {status}{words}")]
    Refused { what: String, status: u16, words: String },
    #[error("{what} cannot be reached: {words}")]
    Unreachable { what: String, words: String },
    #[error("{what} broke off again and again, {tries} times; the last time: {words}")]
    Broken { what: String, tries: u32, words: String },
    #[error("{what} is redirected to {to}, {why}")]
    Redirect { what: String, to: String, why: &'static str },
    #[error("{name} has the SHA-256 {found}, and {expected} was expected")]
    Hash { name: String, expected: String, found: String },
    #[error("{name} is not what its repository says: its Git hash is {found}, and {expected} was expected")]
    GitHash { name: String, expected: String, found: String },
    #[error("{name} has {found} bytes, and {expected} were expected")]
    Size { name: String, expected: u64, found: u64 },
    #[error("{name} is no GGUF file: it begins with {begins:?}")]
    NotGguf { name: String, begins: String },
    #[error("{name} came without a single byte")]
    Empty { name: String },
    #[error("the server does not say how large {name} is")]
    SizeUnknown { name: String },
    #[error(
        "{} are missing in {}: {} free, {} to come",
        byte_words(needed.saturating_sub(*free)),
        folder.display(),
        byte_words(*free),
        byte_words(*needed)
    )]
    Disk { folder: PathBuf, needed: u64, free: u64 },
    #[error("{}: {source}", path.display())]
    Cache { path: PathBuf, source: std::io::Error },
    #[error("{what} answered what no model hub does: {why}")]
    Answer { what: String, why: String },
    #[error("{path} is no file that may be used here: {why}")]
    LocalFile { path: String, why: String },
    #[error("the work was ended")]
    Cancelled,
    #[error("{}", .0.message)]
    Choice(Refusal),
}

impl ModelError {
    pub fn cache(path: &std::path::Path, source: impl Into<std::io::Error>) -> Self {
        Self::Cache { path: path.to_owned(), source: source.into() }
    }

    /// Reason, message and what to do.
    pub fn refusal(&self) -> Refusal {
        let (reason, hint) = match self {
            Self::Endpoint => (Reason::NetworkUnreachable, "HF_ENDPOINT=https://mirror.example".to_owned()),
            Self::NotFound { on_hub: true, .. } => (
                Reason::ModelNotFound,
                "check owner, repository, revision and file; a private repository needs HF_TOKEN".to_owned(),
            ),
            Self::NotFound { on_hub: false, .. } => (Reason::ModelNotFound, "check the address".to_owned()),
            Self::NoAccess { on_hub: false, .. } => (
                Reason::NoAccess,
                "benchlet fetches from there as everybody may; download it yourself and name its path as the source"
                    .to_owned(),
            ),
            Self::NoAccess { with_token: false, .. } => (
                Reason::NoAccess,
                "set HF_TOKEN in benchlet's environment; a gated repository has to be asked for on its page"
                    .to_owned(),
            ),
            Self::NoAccess { with_token: true, .. } => (
                Reason::NoAccess,
                "the HF_TOKEN of benchlet's environment does not open it: ask for access on its page, or use \
                 another token"
                    .to_owned(),
            ),
            Self::Refused { .. } => (Reason::DownloadRefused, "ask the server's owner, or try later".to_owned()),
            Self::Unreachable { .. } => (
                Reason::NetworkUnreachable,
                "check network and proxy; HF_ENDPOINT names a mirror of the hub".to_owned(),
            ),
            Self::Broken { .. } => (
                Reason::DownloadBroken,
                "what has come is kept, and a new spec.rerun goes on from there".to_owned(),
            ),
            Self::Redirect { .. } => {
                (Reason::RedirectRefused, "name the file's own address as the source".to_owned())
            }
            Self::Hash { .. } | Self::GitHash { .. } => (
                Reason::HashDiffers,
                "nothing of it was kept; compare the hash with the one that its author publishes".to_owned(),
            ),
            Self::Size { .. } => (
                Reason::SizeDiffers,
                "the server or what stands in between is not to be trusted; try HF_ENDPOINT or another source"
                    .to_owned(),
            ),
            Self::NotGguf { .. } | Self::Empty { .. } => (
                Reason::NoModelFile,
                "nothing of it was kept; open the address in a browser: a page that asks to log in or to agree \
                 answers like that"
                    .to_owned(),
            ),
            Self::SizeUnknown { .. } => (Reason::SizeUnknown, "give its size in bytes: spec.size".to_owned()),
            Self::Disk { .. } => {
                (Reason::DiskSpaceShort, "free some space, or let the setting models name another disk".to_owned())
            }
            Self::Cache { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                (Reason::DiskSpaceShort, "free some space; what has come is kept".to_owned())
            }
            Self::Cache { .. } => (
                Reason::CacheUnusable,
                "check owner, permissions and space of the directory that the setting models names".to_owned(),
            ),
            Self::Answer { .. } => {
                (Reason::DownloadRefused, "check HF_ENDPOINT, and what stands in between".to_owned())
            }
            Self::LocalFile { .. } => (
                Reason::ModelNotFound,
                "name a file beneath the watched directory, or add its folder to the setting read_dirs".to_owned(),
            ),
            Self::Cancelled => (Reason::Interrupted, "it goes on from where it was".to_owned()),
            Self::Choice(refusal) => return refusal.clone(),
        };
        Refusal::new(reason, self.to_string()).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_of_the_hub_is_no_advice_for_another_server() {
        let hint = |error: ModelError| error.refusal().hint.unwrap();
        let missing = |on_hub| ModelError::NotFound { what: String::new(), status: 404, on_hub };
        let closed =
            |on_hub| ModelError::NoAccess { what: String::new(), status: 403, on_hub, with_token: false };
        for (on_hub, advised) in [(true, true), (false, false)] {
            assert_eq!(hint(missing(on_hub)).contains("HF_TOKEN"), advised);
            assert_eq!(hint(closed(on_hub)).contains("HF_TOKEN"), advised);
        }
    }
}
