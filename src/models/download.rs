//! One file from its server, whole or not at all: goes on from what has come, tries again where a
//! connection breaks off, trusts no size and no hash that it has not seen itself.

use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::cache_layout::Place;
use super::disk_space;
use super::error::ModelError;
use super::http::{Follow, Http, Trouble, header, in_words, shown};
use super::partial::Partial;
use super::patience::Patience;
use super::progress::{OFTEN, Report};
use crate::files::lock::{Holder, LockError, LockFile};

/// Bytes of one answer that count as headway: the tries before it are forgotten.
const HEADWAY: u64 = 1 << 20;
/// Pieces between network and disk.
const BETWEEN: usize = 16;
/// How often a lock that another process has is asked for.
const LOCK_AGAIN: Duration = Duration::from_millis(250);

/// What is to be brought, and what it has to be.
pub struct Wanted {
    pub name: String,
    pub url: Url,
    pub place: Place,
    /// Bytes.
    pub size: Option<u64>,
    pub sha256: Option<String>,
    pub git_hash: Option<String>,
    /// The address means this content for ever, so that what has come of it may be gone on with.
    pub pinned: bool,
}

impl Wanted {
    /// Its content is known beforehand.
    pub fn is_known_by_hash(&self) -> bool {
        self.sha256.is_some() || self.git_hash.is_some()
    }
}

/// What brings files.
pub struct Downloads<'a> {
    pub http: &'a Http,
    pub patience: &'a Patience,
    pub report: &'a Report,
}

/// A file that is whole.
#[derive(Debug, PartialEq, Eq)]
pub struct Whole {
    /// Bytes.
    pub size: u64,
    pub sha256: String,
}

/// What an answer was, when it was over.
enum Ended {
    /// All that was announced is there.
    Whole,
    /// More came than was announced, in bytes.
    TooMuch {
        announced: u64,
        came: u64,
    },
    Trouble(Trouble),
}

impl Downloads<'_> {
    /// Takes the file's lock, waiting for whoever has it.
    ///
    /// # Errors
    /// The file system's own.
    pub async fn lock(&self, place: &Place) -> Result<LockFile, ModelError> {
        let holder = Holder { pid: std::process::id(), what: "downloads model files".to_owned() };
        loop {
            let (path, holder) = (place.lock.clone(), holder.clone());
            let taken = tokio::task::spawn_blocking(move || LockFile::acquire(&path, &holder)).await;
            match taken.map_err(|_| ModelError::Cancelled)? {
                Ok(lock) => return Ok(lock),
                Err(LockError::HeldBy { description, .. }) => {
                    self.report.activity(format!("waits for {description}"));
                    tokio::time::sleep(LOCK_AGAIN).await;
                }
                // Whoever tidied up after a refusal took the folder along.
                Err(LockError::NotWritable { path, source })
                    if source.kind() == std::io::ErrorKind::NotFound =>
                {
                    let folder = path.parent().unwrap_or(&path);
                    std::fs::create_dir_all(folder).map_err(|error| ModelError::cache(folder, error))?;
                }
                Err(LockError::NotWritable { path, source } | LockError::Io { path, source }) => {
                    return Err(ModelError::Cache { path, source });
                }
            }
        }
    }

    /// Brings the file with the number `index` of the report, whose lock is held.
    ///
    /// # Errors
    /// Why it is not whole; what has come is kept, unless it is not what it should be.
    pub async fn bring(&self, wanted: &Wanted, index: usize, lock: LockFile) -> Result<Whole, ModelError> {
        let mut partial = self.open(wanted, index, lock).await?;
        let mut may_begin_anew = true;
        self.report.activity(format!("downloading {}", wanted.name));
        loop {
            let size;
            (partial, size) = self.fetch(wanted, index, partial).await?;
            let sha256 = partial.sha256();
            let checked = check(wanted, size, &sha256, partial.git_hash()).and_then(|()| {
                // A hash says more than a look does.
                if wanted.is_known_by_hash() { Ok(()) } else { partial.check_looks(&wanted.name) }
            });
            match checked {
                Ok(()) => {
                    let kept = tokio::task::spawn_blocking(move || partial.finish()).await;
                    kept.map_err(|_| ModelError::Cancelled)??;
                    return Ok(Whole { size, sha256 });
                }
                // Perhaps parts of two versions, or of a crash: once more from the beginning.
                Err(_) if partial.resumed && may_begin_anew => {
                    may_begin_anew = false;
                    partial.start_anew()?;
                    self.report.bytes(index, 0, 0);
                }
                Err(error) => {
                    partial.discard()?;
                    self.report.file(index, |file| file.bytes = 0);
                    return Err(error);
                }
            }
        }
    }

    async fn open(&self, wanted: &Wanted, index: usize, lock: LockFile) -> Result<Partial, ModelError> {
        let ended = CancellationToken::new();
        // Reading ends with whoever waits for it.
        let _guard = ended.clone().drop_guard();
        let (place, report) = (wanted.place.clone(), self.report.clone());
        let git_size = wanted.git_hash.as_ref().and(wanted.size);
        let checked = wanted.sha256.is_some() || git_size.is_some();
        let opened = tokio::task::spawn_blocking(move || {
            Partial::open(&place, git_size, checked, lock, &ended, &|read| report.bytes(index, read, 0))
        });
        opened.await.map_err(|_| ModelError::Cancelled)?
    }

    /// Asks until all bytes are there, and gives their number.
    async fn fetch(
        &self,
        wanted: &Wanted,
        index: usize,
        mut partial: Partial,
    ) -> Result<(Partial, u64), ModelError> {
        let what = shown(&wanted.url);
        let mut failed = 0;
        loop {
            if wanted.size.is_some_and(|size| partial.length > size) {
                partial.start_anew()?;
            }
            if let Some(size) = wanted.size.filter(|size| partial.length == *size && *size > 0) {
                return Ok((partial, size));
            }
            let before = partial.length;
            let ended;
            (partial, ended) = self.attempt(wanted, index, partial).await?;
            self.report.bytes(index, partial.length, 0);
            match ended {
                Ended::Whole => {
                    let size = partial.length;
                    return Ok((partial, size));
                }
                Ended::TooMuch { announced: expected, came: found } => {
                    partial.discard()?;
                    return Err(ModelError::Size { name: wanted.name.clone(), expected, found });
                }
                Ended::Trouble(Trouble::Final(error)) => return Err(error),
                Ended::Trouble(Trouble::Passing { words, wait, reached }) => {
                    failed = if partial.length >= before.saturating_add(HEADWAY) { 1 } else { failed + 1 };
                    self.report.activity(format!("tries {} again: {words}", wanted.name));
                    // What has come shows that the server was there.
                    let reached = reached || partial.length > 0;
                    self.patience.wait(&what, failed, words, wait, reached).await?;
                    self.report.activity(format!("downloading {}", wanted.name));
                }
            }
        }
    }

    /// One question and its answer.
    async fn attempt(
        &self,
        wanted: &Wanted,
        index: usize,
        mut partial: Partial,
    ) -> Result<(Partial, Ended), ModelError> {
        let known = wanted.pinned || partial.validator.is_some();
        if partial.length > 0 && !known {
            partial.start_anew()?;
        }
        let headers = range(&partial);
        let answer = match self.http.ask(Method::GET, &wanted.url, &headers, Follow::Anywhere).await {
            Ok(answer) => answer,
            Err(trouble) => return Ok((partial, Ended::Trouble(trouble))),
        };
        let total = match meaning(&answer, partial.length) {
            Meaning::All(total) => {
                if partial.length > 0 {
                    // It ignores ranges, or has another version now.
                    partial.start_anew()?;
                }
                partial.set_validator(validator(&answer))?;
                total
            }
            Meaning::Rest(total) => {
                partial.resumed = true;
                Some(total)
            }
            Meaning::NoMore => return Ok((partial, Ended::Whole)),
            Meaning::Other(words) => {
                partial.start_anew()?;
                return Ok((partial, passing(words)));
            }
        };
        let Some(total) = total.or(wanted.size) else {
            return Err(ModelError::SizeUnknown { name: wanted.name.clone() });
        };
        if let Some(expected) = wanted.size.filter(|expected| *expected != total) {
            return Err(ModelError::Size { name: wanted.name.clone(), expected, found: total });
        }
        self.report.file(index, |file| file.total = Some(total));
        disk_space::check(
            wanted.place.whole.parent().unwrap_or(&wanted.place.whole),
            total.saturating_sub(partial.length),
        )?;
        self.take(wanted, index, partial, answer, total).await
    }

    /// Writes what comes, up to what was announced.
    async fn take(
        &self,
        wanted: &Wanted,
        index: usize,
        partial: Partial,
        mut answer: Response,
        total: u64,
    ) -> Result<(Partial, Ended), ModelError> {
        let mut there = partial.length;
        let (sender, pieces) = mpsc::channel(BETWEEN);
        let writer = partial.write_from(pieces);
        let ended = loop {
            let come = match tokio::time::timeout(OFTEN, answer.chunk()).await {
                Ok(come) => come,
                Err(_) => {
                    // What came last may not have been told.
                    self.report.bytes(index, there, 0);
                    continue;
                }
            };
            match come {
                Ok(Some(piece)) => {
                    there += piece.len() as u64;
                    if there > total {
                        break Ended::TooMuch { announced: total, came: there };
                    }
                    let fresh = piece.len() as u64;
                    if sender.send(piece).await.is_err() {
                        // The disk takes no more, which the writer tells.
                        break passing("the disk".to_owned());
                    }
                    self.report.bytes(index, there, fresh);
                }
                Ok(None) if there == total => break Ended::Whole,
                Ok(None) => break passing("the connection ended before the file did".to_owned()),
                Err(error) => break passing(in_words(&error)),
            }
        };
        drop(sender);
        let (partial, written) = writer.await.map_err(|_| ModelError::Cancelled)?;
        written.map_err(|error| ModelError::cache(&wanted.place.partial(), error))?;
        Ok((partial, ended))
    }
}

fn passing(words: String) -> Ended {
    Ended::Trouble(Trouble::Passing { words, wait: None, reached: true })
}

/// Asks for what is missing, of the version that is there.
fn range(partial: &Partial) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if partial.length == 0 {
        return headers;
    }
    if let Ok(value) = HeaderValue::from_str(&format!("bytes={}-", partial.length)) {
        headers.insert(RANGE, value);
    }
    if let Some(value) = partial.validator.as_ref().and_then(|text| HeaderValue::from_str(text).ok()) {
        headers.insert(IF_RANGE, value);
    }
    headers
}

/// An answer's ETag, where it tells two contents apart byte by byte.
fn validator(answer: &Response) -> Option<String> {
    header(answer, "etag").filter(|etag| etag.starts_with('"') && etag.is_ascii())
}

/// What an answer has in it.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// The file from its beginning; its size, where that is said.
    All(Option<u64>),
    /// The rest; the size of the whole file.
    Rest(u64),
    /// There is no rest.
    NoMore,
    /// Something that was not asked for.
    Other(String),
}

fn meaning(answer: &Response, there: u64) -> Meaning {
    let range = header(answer, "content-range");
    let length = header(answer, "content-length");
    judge(answer.status(), range.as_deref(), length.as_deref(), there)
}

fn judge(status: StatusCode, range: Option<&str>, length: Option<&str>, there: u64) -> Meaning {
    let range = range.and_then(|text| text.strip_prefix("bytes "));
    let (part, total) = range.and_then(|text| text.split_once('/')).unzip();
    let total: Option<u64> = total.and_then(|text| text.trim().parse().ok());
    if status == StatusCode::RANGE_NOT_SATISFIABLE {
        return match total {
            Some(total) if total == there => Meaning::NoMore,
            Some(_) | None => Meaning::Other("the server does not have the rest that was asked for".into()),
        };
    }
    if status != StatusCode::PARTIAL_CONTENT {
        return Meaning::All(length.and_then(|text| text.parse().ok()));
    }
    let from: Option<u64> =
        part.and_then(|part| part.split_once('-')).and_then(|(from, _)| from.trim().parse().ok());
    match (from, total) {
        (Some(from), Some(total)) if from == there && there < total => Meaning::Rest(total),
        _ => Meaning::Other("the server sent another part than was asked for".into()),
    }
}

fn check(wanted: &Wanted, size: u64, sha256: &str, git_hash: Option<String>) -> Result<(), ModelError> {
    let name = || wanted.name.clone();
    if let Some(expected) = wanted.size.filter(|expected| *expected != size) {
        return Err(ModelError::Size { name: name(), expected, found: size });
    }
    if let Some(expected) = wanted.sha256.as_ref().filter(|expected| *expected != sha256) {
        return Err(ModelError::Hash { name: name(), expected: expected.clone(), found: sha256.to_owned() });
    }
    match (&wanted.git_hash, git_hash) {
        (Some(expected), Some(found)) if *expected != found => {
            Err(ModelError::GitHash { name: name(), expected: expected.clone(), found })
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, range: Option<&str>, length: Option<&str>, there: u64) -> Meaning {
        judge(StatusCode::from_u16(status).unwrap(), range, length, there)
    }

    #[test]
    fn only_the_rest_that_was_asked_for_is_taken_as_the_rest() {
        assert_eq!(judged(206, Some("bytes 5-9/10"), Some("5"), 5), Meaning::Rest(10));
        for (range, there) in [
            (Some("bytes 4-9/10"), 5),
            (Some("bytes 5-9/*"), 5),
            (Some("bytes 5-9/5"), 5),
            (Some("items 5-9/10"), 5),
            (None, 5),
        ] {
            assert!(matches!(judged(206, range, None, there), Meaning::Other(_)), "{range:?}");
        }
        assert_eq!(judged(200, None, Some("10"), 5), Meaning::All(Some(10)));
        assert_eq!(judged(200, None, None, 0), Meaning::All(None));
    }

    #[test]
    fn a_range_beyond_the_end_means_whole_or_anew() {
        assert_eq!(judged(416, Some("bytes */5"), None, 5), Meaning::NoMore);
        assert!(matches!(judged(416, Some("bytes */4"), None, 5), Meaning::Other(_)));
        assert!(matches!(judged(416, None, None, 5), Meaning::Other(_)));
    }
}
