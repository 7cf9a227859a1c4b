//! All files of a model: asks where they are, sees that they fit, brings those that are not whole and
//! links them into their snapshot. Says how far it is; keeps what has come whatever happens.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use url::Url;

use super::access::HubAccess;
use super::cache_layout::{self, Repository};
use super::disk_space;
use super::download::{Downloads, Wanted, Whole};
use super::error::ModelError;
use super::hashing::{Hashes, read_on};
use super::http::Http;
use super::hub::{self, HubFile, MAIN};
use super::known_hashes::KnownHashes;
use super::local_file;
use super::looks;
use super::partial;
use super::patience::Patience;
use super::presence;
use super::progress::{Listener, Report};
use crate::files::atomic_write;
use crate::request::model::Model;
use crate::request::model_source::{HubSource, Source};
use crate::run::model_files::{ModelFile, ModelFiles};

/// Where files are kept and what is needed to bring them.
pub struct ModelCache {
    pub folder: PathBuf,
    pub access: HubAccess,
    /// Tries in a row without headway.
    pub tries: u32,
    pub known: Arc<dyn KnownHashes>,
    /// Where a path may lead, beside the cache.
    pub readable: Vec<PathBuf>,
}

/// Brings a model's files, or finds them whole.
///
/// # Errors
/// Why a file is not whole.
pub async fn bring(
    cache: &ModelCache,
    model: &Model,
    listener: Arc<Listener>,
) -> Result<ModelFiles, ModelError> {
    let report = Report::new(listener);
    let patience = Patience { tries: cache.tries.max(1) };
    if let Source::Path(path) = &model.source {
        local(cache, model, path, &report).await?;
        return Ok(report.model());
    }
    let http = Http::new(cache.access.clone())?;
    let downloads = Downloads { http: &http, patience: &patience, report: &report };
    let work = Work { cache, model, downloads };
    match &model.source {
        Source::Hub(hub) => work.hub(hub).await?,
        Source::Url(url) => work.url(url).await?,
        // Looked at above, where no network is needed.
        Source::Path(_) => {}
    }
    Ok(report.model())
}

struct Work<'a> {
    cache: &'a ModelCache,
    model: &'a Model,
    downloads: Downloads<'a>,
}

impl Work<'_> {
    async fn hub(&self, hub: &HubSource) -> Result<(), ModelError> {
        let report = self.downloads.report;
        report.activity(format!("asking for {}", self.model.source));
        let resolved = hub::resolve(self.downloads.http, hub, self.model, self.downloads.patience).await?;
        let repository = Repository::of(&self.cache.folder, &hub.repo);
        let snapshot = repository.snapshot(&resolved.commit);
        let wanted = resolved.files.iter().map(|file| self.wanted(&repository, file));
        let wanted = wanted.collect::<Result<Vec<_>, _>>()?;
        report.files(ModelFiles {
            commit: Some(resolved.commit.clone()),
            directory: Some(snapshot.display().to_string()),
            files: wanted.iter().map(on_its_way).collect(),
        });
        self.room(&wanted)?;
        for (index, (file, wanted)) in resolved.files.iter().zip(&wanted).enumerate() {
            // Its lock is the hub's tools' as well, and stays as they leave theirs.
            let whole = self.one(wanted, index).await.inspect_err(|_| partial::tidy(&wanted.place, false))?;
            let link = snapshot.join(&file.name);
            place_link(&link, &cache_layout::link_to_blob(&file.name, &file.etag))?;
            note_whole(report, index, &whole, &link);
        }
        if hub.file.is_none() {
            let names = resolved.files.iter().map(|file| file.name.clone()).collect();
            presence::note_whole(&repository, &resolved.commit, self.model, names)?;
        }
        let revision = hub.revision.as_deref().unwrap_or(MAIN);
        if revision != resolved.commit {
            let path = repository.reference(revision);
            make_folder(path.parent().unwrap_or(&path))?;
            atomic_write::replace(&path, resolved.commit.as_bytes(), 0o644)
                .map_err(|error| ModelError::cache(&path, io::Error::other(error.to_string())))?;
        }
        Ok(())
    }

    fn wanted(&self, repository: &Repository, file: &HubFile) -> Result<Wanted, ModelError> {
        let asked = self.model.sha256.as_ref().or_else(|| self.model.files.get(&file.name));
        let says = file.sha256().map(str::to_owned);
        if let (Some(expected), Some(found)) = (asked, &says)
            && expected != found
        {
            let (name, expected, found) = (file.name.clone(), expected.clone(), found.clone());
            return Err(ModelError::Hash { name, expected, found });
        }
        if let (Some(expected), Some(found)) = (self.model.size, file.size)
            && expected != found
        {
            return Err(ModelError::Size { name: file.name.clone(), expected, found });
        }
        Ok(Wanted {
            name: file.name.clone(),
            url: file.url.clone(),
            place: repository.blob(&file.etag),
            size: file.size.or(self.model.size),
            sha256: says.or_else(|| asked.cloned()),
            git_hash: file.git_hash().map(str::to_owned),
            pinned: true,
        })
    }

    async fn url(&self, text: &str) -> Result<(), ModelError> {
        let what = self.model.source.to_string();
        let odd = |why: &str| ModelError::Answer { what: what.clone(), why: why.to_owned() };
        let url = Url::parse(text).map_err(|_| odd("it is no URL"))?;
        let name = cache_layout::file_of(&url);
        let name = name.ok_or_else(|| odd("the URL does not end in the name of a file"))?;
        let place = cache_layout::download(&self.cache.folder, text, &name);
        let wanted = Wanted {
            name,
            url,
            size: self.model.size,
            sha256: self.model.sha256.clone(),
            git_hash: None,
            // With a hash, parts of two versions do not pass for a file.
            pinned: self.model.sha256.is_some(),
            place,
        };
        let report = self.downloads.report;
        let folder = wanted.place.whole.parent().map(|folder| folder.display().to_string());
        report.files(ModelFiles { commit: None, directory: folder, files: vec![on_its_way(&wanted)] });
        self.room(std::slice::from_ref(&wanted))?;
        let whole = self.one(&wanted, 0).await.inspect_err(|_| partial::tidy(&wanted.place, true))?;
        note_whole(report, 0, &whole, &wanted.place.whole);
        Ok(())
    }

    /// Whether the disk takes what is still to come.
    fn room(&self, wanted: &[Wanted]) -> Result<(), ModelError> {
        for wanted in wanted {
            for path in [&wanted.place.whole, &wanted.place.lock] {
                make_folder(path.parent().unwrap_or(path))?;
            }
        }
        let size_of = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
        let missing = wanted.iter().map(|wanted| {
            let there = size_of(&wanted.place.whole).max(size_of(&wanted.place.partial()));
            wanted.size.unwrap_or(0).saturating_sub(there)
        });
        disk_space::check(&self.cache.folder, missing.fold(0, u64::saturating_add))
    }

    /// One file: found whole, or brought.
    async fn one(&self, wanted: &Wanted, index: usize) -> Result<Whole, ModelError> {
        let lock = self.downloads.lock(&wanted.place).await?;
        if let Some(whole) = self.found(wanted, index).await? {
            return Ok(whole);
        }
        let whole = self.downloads.bring(wanted, index, lock).await?;
        self.cache.known.keep(&wanted.place.whole, &whole.sha256).await;
        Ok(whole)
    }

    /// The file that is there, if it is what it should be. Another one is replaced.
    async fn found(&self, wanted: &Wanted, index: usize) -> Result<Option<Whole>, ModelError> {
        let path = &wanted.place.whole;
        let Some(size) = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|m| m.len())
        else {
            return Ok(None);
        };
        if wanted.size.is_some_and(|expected| expected != size) {
            return Ok(None);
        }
        let looks = || File::open(path).is_ok_and(|file| looks::check(&wanted.name, &file).is_ok());
        if !wanted.is_known_by_hash() && !looks() {
            return Ok(None);
        }
        let report = self.downloads.report;
        report.activity(format!("checking {}", wanted.name));
        let git_size = wanted.git_hash.as_ref().map(|_| size);
        let found = hash(self.cache, path, git_size, index, report).await?;
        let differs = wanted.sha256.as_ref().is_some_and(|expected| *expected != found.sha256)
            || wanted.git_hash.is_some() && wanted.git_hash != found.git;
        Ok((!differs).then_some(Whole { size, sha256: found.sha256 }))
    }
}

async fn local(cache: &ModelCache, model: &Model, path: &str, report: &Report) -> Result<(), ModelError> {
    let dirs: Vec<PathBuf> = cache.readable.iter().chain([&cache.folder]).cloned().collect();
    let found = local_file::find(path, &dirs)?;
    let size = std::fs::metadata(&found).map_err(|error| ModelError::cache(&found, error))?.len();
    let name = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if let Some(expected) = model.size.filter(|expected| *expected != size) {
        return Err(ModelError::Size { name, expected, found: size });
    }
    if model.sha256.is_none() {
        let file = File::open(&found).map_err(|error| ModelError::cache(&found, error))?;
        looks::check(&name, &file)?;
    }
    let file = ModelFile { name: name.clone(), total: Some(size), ..ModelFile::default() };
    let directory = found.parent().map(|folder| folder.display().to_string());
    report.files(ModelFiles { commit: None, directory, files: vec![file] });
    report.activity(format!("checking {name}"));
    let sha256 = hash(cache, &found, None, 0, report).await?.sha256;
    if let Some(expected) = model.sha256.as_ref().filter(|expected| **expected != sha256) {
        return Err(ModelError::Hash { name, expected: expected.clone(), found: sha256 });
    }
    note_whole(report, 0, &Whole { size, sha256 }, &found);
    Ok(())
}

/// What a file's content hashes to.
struct Found {
    sha256: String,
    /// As a Git blob, where that was asked for.
    git: Option<String>,
}

/// The hashes of a file. Its SHA-256 alone is remembered, or read; a file with a Git hash is read every
/// time, because hubs keep small files like that and nothing that is remembered tells of it.
async fn hash(
    cache: &ModelCache,
    path: &Path,
    git_size: Option<u64>,
    index: usize,
    report: &Report,
) -> Result<Found, ModelError> {
    if git_size.is_none()
        && let Some(sha256) = cache.known.sha256_of(path)
    {
        return Ok(Found { sha256, git: None });
    }
    let ended = CancellationToken::new();
    let _guard = ended.clone().drop_guard();
    let (read, report) = (path.to_owned(), report.clone());
    let hashed = tokio::task::spawn_blocking(move || {
        let mut hashes = Hashes::new(git_size);
        let mut file = File::open(&read).map_err(|error| ModelError::cache(&read, error))?;
        let done = read_on(&mut file, &mut hashes, &ended, &|come| report.bytes(index, come, 0));
        done.map_err(|error| {
            if ended.is_cancelled() { ModelError::Cancelled } else { ModelError::cache(&read, error) }
        })?;
        Ok(Found { sha256: hashes.sha256(), git: hashes.git() })
    });
    let found = hashed.await.map_err(|_| ModelError::Cancelled)??;
    cache.known.keep(path, &found.sha256).await;
    Ok(found)
}

fn on_its_way(wanted: &Wanted) -> ModelFile {
    let there = std::fs::metadata(wanted.place.partial()).map_or(0, |found| found.len());
    ModelFile { name: wanted.name.clone(), bytes: there, total: wanted.size, ..ModelFile::default() }
}

fn note_whole(report: &Report, index: usize, whole: &Whole, path: &Path) {
    report.file(index, |file| {
        file.bytes = whole.size;
        file.total = Some(whole.size);
        file.sha256 = Some(whole.sha256.clone());
        file.path = Some(path.display().to_string());
    });
}

fn make_folder(path: &Path) -> Result<(), ModelError> {
    std::fs::create_dir_all(path).map_err(|error| ModelError::cache(path, error))
}

/// A link that is there with the same target is left; another one is replaced as one step.
fn place_link(link: &Path, target: &Path) -> Result<(), ModelError> {
    if std::fs::read_link(link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    let failed = |error| ModelError::cache(link, error);
    let folder = link.parent().unwrap_or(link);
    make_folder(folder)?;
    let fresh = folder.join(format!(".{}.{}.link", std::process::id(), uuid::Uuid::new_v4().simple()));
    std::os::unix::fs::symlink(target, &fresh).map_err(failed)?;
    std::fs::rename(&fresh, link).inspect_err(|_| drop(std::fs::remove_file(&fresh))).map_err(failed)
}
