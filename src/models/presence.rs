//! How much of what a model asks for is in the cache. A pull that came to its end leaves a note of what it
//! was asked for and of the files that this was; nothing else tells that a repository is all there. Reads
//! no content of a model.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::cache_layout::{self, INCOMPLETE, Repository, hex};
use super::cached::{entries, walk};
use super::error::ModelError;
use super::hub::MAIN;
use crate::files::atomic_write;
use crate::plan::model_files::takes;
use crate::request::model::Model;
use crate::request::model_source::{HubSource, Source, file_name_problem};

/// Largest note that is read, in bytes.
const LONGEST_NOTE: u64 = 32 << 20;

/// How much of a model is in the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    Whole,
    Partial,
    Absent,
}

/// What a pull of a repository was asked for, and the files that this was at its commit.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pulled {
    /// Empty: all files.
    include: Vec<String>,
    /// Files that were asked for by name beside the patterns.
    named: Vec<String>,
    files: Vec<String>,
}

impl Pulled {
    fn of(model: &Model, files: Vec<String>) -> Self {
        let mut include = model.include.clone();
        include.sort();
        include.dedup();
        Self { include, named: model.files.keys().cloned().collect(), files }
    }

    /// Whether all that a model asks for was among it.
    fn covers(&self, model: &Model) -> bool {
        let asked = Self::of(model, Vec::new());
        self.include.is_empty() || (self.include == asked.include && self.named == asked.named)
    }
}

/// Notes that a repository was brought to its end.
///
/// # Errors
/// The file system's own.
pub fn note_whole(
    repository: &Repository,
    commit: &str,
    model: &Model,
    files: Vec<String>,
) -> Result<(), ModelError> {
    let folder = repository.pulled(commit);
    let failed = |error: String| ModelError::cache(&folder, std::io::Error::other(error));
    std::fs::create_dir_all(&folder).map_err(|error| ModelError::cache(&folder, error))?;
    let pulled = Pulled::of(model, files);
    let asked = serde_json::to_vec(&(&pulled.include, &pulled.named)).map_err(|e| failed(e.to_string()))?;
    let path = folder.join(format!("{}.json", &hex(&Sha256::digest(&asked))[..16]));
    let text = serde_json::to_vec(&pulled).map_err(|error| failed(error.to_string()))?;
    atomic_write::replace(&path, &text, 0o644).map_err(|error| failed(error.to_string()))
}

/// How much of a model is in the cache, and the bytes of that.
pub fn presence(cache: &Path, model: &Model) -> (Presence, u64) {
    match &model.source {
        Source::Hub(hub) => in_repository(cache, hub, model),
        Source::Url(url) => by_url(cache, url, model),
        // Where it may be is for a request to say; in the cache it is not.
        Source::Path(_) => (Presence::Absent, 0),
    }
}

fn by_url(cache: &Path, text: &str, model: &Model) -> (Presence, u64) {
    let name = Url::parse(text).ok().and_then(|url| cache_layout::file_of(&url));
    let Some(place) = name.map(|name| cache_layout::download(cache, text, &name)) else {
        return (Presence::Absent, 0);
    };
    match (size_of(&place.whole), size_of(&place.partial())) {
        (Some(size), _) if model.size.is_none_or(|expected| expected == size) => (Presence::Whole, size),
        (_, Some(size)) => (Presence::Partial, size),
        (_, None) => (Presence::Absent, 0),
    }
}

fn in_repository(cache: &Path, hub: &HubSource, model: &Model) -> (Presence, u64) {
    let repository = Repository::of(cache, &hub.repo);
    let revision = hub.revision.as_deref().unwrap_or(MAIN);
    let snapshot = commit_of(&repository, revision).map(|commit| (repository.snapshot(&commit), commit));
    let wanted = |name: &str| match &hub.file {
        Some(file) => name == file,
        None => takes(model, name),
    };
    let mut here: u64 = 0;
    let mut count = 0;
    if let Some((snapshot, commit)) = &snapshot {
        let mut found = Vec::new();
        walk(snapshot, "", &mut |name, path: PathBuf| {
            if let Some(size) = size_of(&path).filter(|_| wanted(&name)) {
                here = here.saturating_add(size);
                found.push(name);
            }
        });
        count = found.len();
        // Files get their links once they are whole.
        let whole = match &hub.file {
            Some(_) => count == 1 && model.size.is_none_or(|expected| expected == here),
            None => pulls(&repository.pulled(commit)).iter().any(|pulled| {
                pulled.covers(model)
                    && pulled.files.iter().filter(|name| wanted(name)).all(|name| found.contains(name))
            }),
        };
        if whole {
            return (Presence::Whole, here);
        }
    }
    // Which file of the repository it will be, nothing tells.
    let coming = entries(&repository.folder.join("blobs"));
    let coming = coming.iter().filter(|(name, _)| name.ends_with(&format!(".{INCOMPLETE}")));
    let coming: Vec<u64> = coming.filter_map(|(_, path)| size_of(path)).collect();
    match count + coming.len() {
        0 => (Presence::Absent, 0),
        _ => (Presence::Partial, coming.into_iter().fold(here, u64::saturating_add)),
    }
}

/// The commit that a revision was when something of it was brought last; a commit is its own.
fn commit_of(repository: &Repository, revision: &str) -> Option<String> {
    let noted = std::fs::read_to_string(repository.reference(revision));
    let commit = noted.map_or_else(|_| revision.to_owned(), |commit| commit.trim().to_owned());
    Some(commit).filter(|commit| file_name_problem(commit).is_none() && !commit.contains('/'))
}

/// What cannot be read was not noted.
fn pulls(folder: &Path) -> Vec<Pulled> {
    let notes = entries(folder).into_iter().filter(|(name, _)| name.ends_with(".json"));
    let small = notes.filter(|(_, path)| size_of(path).is_some_and(|size| size <= LONGEST_NOTE));
    small.filter_map(|(_, path)| serde_json::from_slice(&std::fs::read(path).ok()?).ok()).collect()
}

/// Of a file; a link to nothing is a file that somebody has removed.
fn size_of(path: &Path) -> Option<u64> {
    std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|found| found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "c0ffee";

    fn model(source: &str, include: &[&str]) -> Model {
        let include = include.iter().map(|pattern| (*pattern).to_owned()).collect();
        Model { include, ..Model::of(Source::parse(source).unwrap()) }
    }

    /// A cache with these files of a repository's main branch.
    fn cache(files: &[&str]) -> (tempfile::TempDir, Repository) {
        let home = tempfile::tempdir().unwrap();
        let repository = Repository::of(home.path(), "o/r");
        std::fs::create_dir_all(repository.snapshot(COMMIT)).unwrap();
        std::fs::create_dir_all(repository.folder.join("refs")).unwrap();
        std::fs::write(repository.reference(MAIN), COMMIT).unwrap();
        for file in files {
            std::fs::write(repository.snapshot(COMMIT).join(file), "12345").unwrap();
        }
        (home, repository)
    }

    #[test]
    fn one_file_of_a_repository_is_not_the_repository() {
        let (home, _) = cache(&["config.json"]);
        for (source, include, expected) in [
            ("hf://o/r/config.json", vec![], (Presence::Whole, 5)),
            ("hf://o/r@c0ffee/config.json", vec![], (Presence::Whole, 5)),
            ("hf://o/r@v1/config.json", vec![], (Presence::Absent, 0)),
            ("hf://o/r/m.safetensors", vec![], (Presence::Absent, 0)),
            ("hf://o/r", vec!["*.json", "*.safetensors"], (Presence::Partial, 5)),
            ("hf://o/r", vec![], (Presence::Partial, 5)),
            ("hf://o/r@c0ffee", vec![], (Presence::Partial, 5)),
            ("hf://o/r@v1", vec![], (Presence::Absent, 0)),
        ] {
            assert_eq!(presence(home.path(), &model(source, &include)), expected, "{source} {include:?}");
        }
    }

    #[test]
    fn what_a_finished_pull_was_asked_for_is_whole_until_a_file_of_it_goes() {
        let (home, repository) = cache(&["a.json", "m.safetensors"]);
        let asked = model("hf://o/r", &["*.safetensors", "*.json"]);
        note_whole(&repository, COMMIT, &asked, vec!["a.json".into(), "m.safetensors".into()]).unwrap();
        let state = |source: &str, include: &[&str]| presence(home.path(), &model(source, include)).0;
        let both = ["*.json", "*.safetensors"];
        assert_eq!(state("hf://o/r", &both), Presence::Whole);
        assert_eq!(state("hf://o/r@c0ffee", &both), Presence::Whole);
        assert_eq!(state("hf://o/r", &[]), Presence::Partial);
        assert_eq!(state("hf://o/r", &["*"]), Presence::Partial);
        note_whole(&repository, COMMIT, &model("hf://o/r", &[]), vec!["a.json".into()]).unwrap();
        assert_eq!(state("hf://o/r", &["*.json"]), Presence::Whole, "all files are also some of them");
        std::fs::remove_file(repository.snapshot(COMMIT).join("m.safetensors")).unwrap();
        std::fs::remove_file(repository.snapshot(COMMIT).join("a.json")).unwrap();
        assert_eq!(state("hf://o/r", &both), Presence::Absent);
    }

    #[test]
    fn a_url_is_looked_for_at_its_place() {
        let home = tempfile::tempdir().unwrap();
        let url = "https://example.com/m.gguf";
        let state = |model: &Model| presence(home.path(), model);
        let mut asked = model(url, &[]);
        assert_eq!(state(&asked), (Presence::Absent, 0));
        let place = cache_layout::download(home.path(), url, "m.gguf");
        std::fs::create_dir_all(place.whole.parent().unwrap()).unwrap();
        std::fs::write(place.partial(), "123").unwrap();
        assert_eq!(state(&asked), (Presence::Partial, 3));
        std::fs::write(&place.whole, "12345").unwrap();
        assert_eq!(state(&asked), (Presence::Whole, 5));
        asked.size = Some(6);
        assert_eq!(state(&asked), (Presence::Partial, 3));
        assert_eq!(state(&model("https://example.org/m.gguf", &[])), (Presence::Absent, 0));
    }
}
