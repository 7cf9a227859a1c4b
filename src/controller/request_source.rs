//! A request's own file as it is now, with everything that is wrong with it: of a name that was accepted and of
//! one that was refused. Reads below the watched root alone, as the intake does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::context::Context;
use super::request_check::{Around, At, CheckedFile};
use super::surroundings::environment;
use crate::files::beneath::{self, BeneathError};
use crate::intake::listing;
use crate::intake::load::{self, Loaded, LoadedFile};
use crate::intake::source_file::SourceFile;
use crate::request::diagnostic::Diagnostic;
use crate::store::{Store, StoreError};

/// The file of a request.
#[derive(Debug)]
pub struct Source {
    /// Relative to the watched root.
    pub path: PathBuf,
    /// Empty where it is no text.
    pub text: Arc<str>,
    /// Position in the file, from 0.
    pub document: usize,
    pub problems: Vec<Problem>,
}

#[derive(Debug)]
pub struct Problem {
    /// Position of the document that has it; `None` of the file as a whole.
    pub document: Option<usize>,
    pub problem: Diagnostic,
}

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no request {0:.140}")]
    Unknown(String),
    #[error("the file of the request {0:.140} is not there any more")]
    Gone(String),
    #[error("the file has {size} bytes, and {limit} is the limit")]
    TooLarge { size: u64, limit: u64 },
}

/// The file that has the request, checked as `benchlet validate` does it.
///
/// # Errors
/// There is no such request, or its file is not there or too large.
pub fn source(context: &Context, store: &Store, name: &str) -> Result<Source, SourceError> {
    let root = &context.settings.requests;
    let found = match place(root, store, name)? {
        Place::At(path, document) => read(root, &path)?.map(|file| (file, document)),
        Place::Somewhere => search(root, name),
    };
    let Some((file, document)) = found else { return Err(SourceError::Gone(name.to_owned())) };
    let stem = file.relative.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let around = Around::look(&context.settings, &environment());
    let at = At { root, relative: &file.relative, stem: &stem, is_nowhere: false };
    let CheckedFile { problems, documents, .. } = around.check(&file, at);
    // The file may have been edited since its place was noted.
    let named = documents.iter().find(|found| found.name.as_ref().is_some_and(|(known, _)| known == name));
    let document = named.map_or(document, |found| found.index);
    let of_file = problems.into_iter().map(|problem| Problem { document: None, problem });
    let of_documents = documents.into_iter().flat_map(|found| {
        let document = Some(found.index);
        found.problems.into_iter().map(move |problem| Problem { document, problem })
    });
    let problems = of_file.chain(of_documents).collect();
    Ok(Source { text: Arc::clone(&file.source), path: file.relative, document, problems })
}

enum Place {
    At(PathBuf, usize),
    /// Nobody noted where: a document that was refused.
    Somewhere,
}

fn place(root: &Path, store: &Store, name: &str) -> Result<Place, SourceError> {
    if let Some(record) = store.request(name)?.filter(|record| !record.deleted) {
        return Ok(Place::At(record.path, record.index));
    }
    if store.refused_name(name)?.is_none() {
        return Err(SourceError::Unknown(name.to_owned()));
    }
    // What belongs to no request is called by its place.
    let of_file =
        name.rsplit_once('#').and_then(|(path, index)| Some((PathBuf::from(path), index.parse().ok()?)));
    Ok(match of_file {
        Some((path, index)) if root.join(&path).exists() => Place::At(path, index),
        Some(_) | None => Place::Somewhere,
    })
}

fn read(root: &Path, path: &Path) -> Result<Option<LoadedFile>, SourceError> {
    match beneath::open_regular(root, path, load::MAX_BYTES) {
        Err(BeneathError::TooLarge { size, limit, .. }) => Err(SourceError::TooLarge { size, limit }),
        // What else may be wrong with it is told as a problem of the file.
        Ok(_) | Err(_) => Ok(match load::load(root, path) {
            Loaded::File(file) => Some(*file),
            Loaded::Gone => None,
        }),
    }
}

/// The first file below the root that has a document of that name; one whose stem it is comes first.
fn search(root: &Path, name: &str) -> Option<(LoadedFile, usize)> {
    let listing = listing::list(root).ok()?;
    let by_stem = |path: &&PathBuf| path.file_stem().is_some_and(|stem| stem.to_string_lossy() == name);
    let (likely, others): (Vec<_>, Vec<_>) = listing.files.keys().partition(by_stem);
    let is_likely = likely.len();
    likely.into_iter().chain(others).enumerate().find_map(|(at, path)| {
        let bytes = beneath::open_regular(root, path, load::MAX_BYTES).ok()?.bytes;
        // Parsing takes longer than looking for the name.
        if at >= is_likely && memchr::memmem::find(&bytes, name.as_bytes()).is_none() {
            return None;
        }
        let Loaded::File(file) = load::load(root, path) else { return None };
        let index = SourceFile::read((*file).clone(), true, None).document(name)?.index;
        Some((*file, index))
    })
}
