//! One request file as the source map keeps it: its documents under their names, and what it once
//! had and does not show now. Pure.
//!
//! Owns identity (`metadata.name`, or the file's stem for the first document) and the difference
//! between unreadable and absent. Validates nothing else.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::load::{Content, ContentHash, LoadedFile};
use crate::request::diagnostic::{Diagnostic, Place};
use crate::request::tree::{Document, Node};

/// One request's document.
#[derive(Debug, Clone)]
pub struct SourceDocument {
    pub name: String,
    /// Position in the file's stream, from 0.
    pub index: usize,
    pub root: Arc<Node>,
    /// The whole file's text, to which the tree's spans refer.
    pub source: Arc<str>,
    pub state: DocumentState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DocumentState {
    /// As the file has it now.
    Current,
    /// As it was before something in the file became unreadable.
    Unreadable,
    /// As it was before it was taken out of the file; gone after two listings.
    Missing { listings: u8 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Present,
    /// Not found any more; gone after two listings.
    Missing {
        listings: u8,
    },
}

/// Something wrong with a file, in place of or beside its documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileProblem {
    /// The file as a whole cannot be read.
    Unreadable(Diagnostic),
    /// A document cannot be read or named.
    Document { index: usize, problem: Diagnostic },
    /// Another file (or an earlier document of this one) has the name.
    NameTaken { index: usize, name: String, by: PathBuf },
    /// Another file has the same stem, so both would have the same status file.
    StemTaken { by: PathBuf },
}

/// A file and its documents.
#[derive(Debug, Clone)]
pub struct SourceFile {
    pub path: PathBuf,
    pub source: Arc<str>,
    pub content_hash: ContentHash,
    /// Its writer is done with it, so its runs may start.
    pub startable: bool,
    pub presence: Presence,
    /// In the file's order, those that it does not show now last.
    pub documents: Vec<SourceDocument>,
    /// Its own problems; conflicts with others are the map's to tell.
    pub problems: Vec<FileProblem>,
}

impl SourceFile {
    /// Takes a freshly read file; of what it had before, nothing is lost yet.
    pub fn read(loaded: LoadedFile, startable: bool, before: Option<Self>) -> Self {
        let LoadedFile { relative, source, content_hash, content, stat: _ } = loaded;
        let (mut documents, problems) = match content {
            Content::Problem(problem) => (Vec::new(), vec![FileProblem::Unreadable(problem)]),
            Content::Data => (Vec::new(), Vec::new()),
            Content::Documents(stream) => named(&relative, &source, &stream.documents),
        };
        let names: BTreeSet<String> = documents.iter().map(|document| document.name.clone()).collect();
        for mut document in before.into_iter().flat_map(|file| file.documents) {
            if names.contains(&document.name) {
                continue;
            }
            document.state = if problems.is_empty() {
                match document.state {
                    DocumentState::Current | DocumentState::Unreadable => {
                        DocumentState::Missing { listings: 0 }
                    }
                    missing @ DocumentState::Missing { .. } => missing,
                }
            } else {
                // One of the documents that cannot be read may be this one.
                DocumentState::Unreadable
            };
            documents.push(document);
        }
        Self {
            path: relative,
            source,
            content_hash,
            startable,
            presence: Presence::Present,
            documents,
            problems,
        }
    }

    /// Every document of the file could be read and named.
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// The first document of that name.
    pub fn document(&self, name: &str) -> Option<&SourceDocument> {
        self.documents.iter().find(|document| document.name == name)
    }

    /// Shows a document of that name now.
    pub fn shows(&self, name: &str) -> bool {
        self.presence == Presence::Present
            && self.document(name).is_some_and(|document| document.state == DocumentState::Current)
    }
}

fn named(path: &Path, source: &Arc<str>, stream: &[Document]) -> (Vec<SourceDocument>, Vec<FileProblem>) {
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    let mut first = true;
    for document in stream {
        let index = document.index;
        match &document.root {
            Err(problem) => problems.push(FileProblem::Document { index, problem: problem.clone() }),
            // Nothing between two separators, or comments only.
            Ok(root) if root.is_null() => continue,
            Ok(root) => match name_of(root, first.then_some(path)) {
                Ok(name) => documents.push(SourceDocument {
                    name,
                    index,
                    root: Arc::clone(root),
                    source: Arc::clone(source),
                    state: DocumentState::Current,
                }),
                Err(problem) => problems.push(FileProblem::Document { index, problem }),
            },
        }
        first = false;
    }
    if documents.is_empty() && problems.is_empty() {
        // An editor may be about to write it, so its requests are unreadable rather than deleted.
        let problem = Diagnostic::error(Place::whole_file(), "the file has no request in it")
            .hint("write a request, or delete the file to end the requests that it had");
        problems.push(FileProblem::Unreadable(problem));
    }
    (documents, problems)
}

fn name_of(root: &Node, default_from: Option<&Path>) -> Result<String, Diagnostic> {
    let name = root.get("metadata").and_then(|metadata| metadata.get("name"));
    if let Some(node) = name.filter(|node| !node.is_null()) {
        return match node.text() {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            Some(_) => Err(Diagnostic::error(Place::at(node.span.clone()), "metadata.name is empty")
                .hint("give the request a name")),
            None => {
                let message = format!("metadata.name is {}, not text", node.kind_name());
                Err(Diagnostic::error(Place::at(node.span.clone()), message).hint("give the request a name"))
            }
        };
    }
    match default_from.and_then(Path::file_stem) {
        Some(stem) => Ok(stem.to_string_lossy().into_owned()),
        None => {
            let start = root.span.start;
            Err(Diagnostic::error(Place::at(start..start), "this request has no metadata.name")
                .hint("only a file's first document is named after the file; add metadata: { name: … }"))
        }
    }
}
