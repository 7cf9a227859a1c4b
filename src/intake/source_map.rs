//! The picture of the watched tree that the controller decides from: which request names there are,
//! and which file each of them comes from. Pure: loaded files and listings in, changes out.
//!
//! Owns conflicts (the incumbent keeps a name) and absence (two complete listings, none of them
//! while git works or the root is degraded). Must not take what cannot be read for what is absent.

mod absence;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::listing::{Listing, RootState};
use super::load::{ContentHash, LoadedFile};
use super::root_health::RootHealth;
use super::source_file::{DocumentState, FileProblem, Presence, SourceDocument, SourceFile};
use super::watcher_task::IntakeEvent;

/// What became different for the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A name is there that was not.
    Appeared { name: String, path: PathBuf },
    /// The file that has the name changed; perhaps only a comment, or another document in it.
    Edited { name: String, path: PathBuf },
    /// The name's document, unchanged but for an `Edited` beside this, is in another file now.
    Moved { name: String, from: PathBuf, to: PathBuf },
    /// What the file has may start runs now.
    Startable { name: String, path: PathBuf },
    /// The name is gone for good.
    Vanished { name: String, path: PathBuf },
    /// The file's problems changed, perhaps to none: see [`SourceMap::problems`].
    FileProblem { path: PathBuf },
}

/// The tree as it is known.
#[derive(Debug, Default)]
pub struct SourceMap {
    files: BTreeMap<PathBuf, SourceFile>,
    /// The files that have a document of the name, in order of arrival.
    claims: BTreeMap<String, Vec<PathBuf>>,
    /// The files that share a status file, in order of arrival.
    stems: BTreeMap<PathBuf, Vec<PathBuf>>,
    held: BTreeMap<String, Held>,
    /// Where the store says that a name was, for who is the incumbent on start-up.
    recorded: BTreeMap<String, PathBuf>,
    /// Recorded names that were not seen since the start, with the listings that lacked them.
    unseen: BTreeMap<String, u8>,
    reported: BTreeMap<PathBuf, Vec<FileProblem>>,
    root: RootHealth,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Held {
    path: PathBuf,
    content_hash: ContentHash,
    startable: bool,
}

impl SourceMap {
    /// `recorded` are the names that the store knows, each with the path it was last read from.
    pub fn new(recorded: BTreeMap<String, PathBuf>) -> Self {
        let unseen = recorded.keys().map(|name| (name.clone(), 0)).collect();
        Self { recorded, unseen, ..Self::default() }
    }

    /// Takes in what intake tells. Before the first listing nothing changes: who holds which name
    /// cannot be said until every file was read.
    pub fn take(&mut self, event: IntakeEvent) -> Vec<Change> {
        match event {
            IntakeEvent::FileChanged { file, startable } => self.file_changed(file, startable),
            IntakeEvent::Startable(path) => self.startable(&path),
            IntakeEvent::Gone(path) => self.gone(&path),
            IntakeEvent::Listing(listing) => self.listed(&listing),
            IntakeEvent::Root(state) => {
                self.root_failed(&state);
                Vec::new()
            }
            IntakeEvent::StatusTouched(_) | IntakeEvent::Watch(_) => Vec::new(),
        }
    }

    pub fn file_changed(&mut self, loaded: LoadedFile, startable: bool) -> Vec<Change> {
        let path = loaded.relative.clone();
        let before = self.files.remove(&path);
        let mut names = names_of(before.as_ref());
        let file = SourceFile::read(loaded, startable, before);
        names.extend(names_of(Some(&file)));
        for name in names_of(Some(&file)) {
            join(self.claims.entry(name).or_default(), &path);
        }
        join(self.stems.entry(stem_of(&path)).or_default(), &path);
        self.files.insert(path.clone(), file);
        self.changed(&path, names)
    }

    pub fn startable(&mut self, path: &Path) -> Vec<Change> {
        let Some(file) = self.files.get_mut(path) else {
            return Vec::new();
        };
        file.startable = true;
        let names = names_of(Some(file));
        self.changed(path, names)
    }

    /// The path is empty now. Its names stay until listings confirm it, unless another file has them.
    pub fn gone(&mut self, path: &Path) -> Vec<Change> {
        let Some(file) = self.files.get_mut(path) else {
            return Vec::new();
        };
        if file.presence == Presence::Present {
            file.presence = Presence::Missing { listings: 0 };
        }
        let names = names_of(Some(file));
        self.changed(path, names)
    }

    pub fn root_failed(&mut self, state: &RootState) {
        self.root.failed(state.to_string());
    }

    /// Takes in a complete listing.
    pub fn listed(&mut self, listing: &Listing) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.root.is_starting() {
            self.root.listed(0, BTreeSet::new());
            let names: BTreeSet<String> = self.claims.keys().cloned().collect();
            let paths: Vec<PathBuf> = self.files.keys().cloned().collect();
            self.settle_names(&names, &mut changes);
            for path in paths {
                self.report(&path, &mut changes);
            }
        }
        // Files that are listed but not read yet may have the names that seem to be missing.
        if listing.git_busy || listing.files.keys().any(|path| !self.files.contains_key(path)) {
            return changes;
        }
        self.root.listed(self.held.len() + self.unseen.len(), self.lost(listing));
        if self.degraded().is_none() {
            self.count_absences(listing, &mut changes);
        }
        changes
    }

    /// Somebody says that what is missing was deleted on purpose, which ends a degradation by mass loss.
    pub fn acknowledge(&mut self) {
        self.root.acknowledge();
    }

    /// The name's document as it was last readable.
    pub fn document(&self, name: &str) -> Option<&SourceDocument> {
        self.files.get(&self.held.get(name)?.path)?.document(name)
    }

    /// The file that has the name.
    pub fn holder(&self, name: &str) -> Option<&SourceFile> {
        self.files.get(&self.held.get(name)?.path)
    }

    /// Whether a name that the store knows has not been seen since the start, and may yet be.
    pub fn is_awaited(&self, name: &str) -> bool {
        self.unseen.contains_key(name)
    }

    /// A file that has the name was written a moment ago; it is absent only once listings say so.
    pub fn expect(&mut self, name: String, path: PathBuf) {
        if !self.claims.contains_key(&name) {
            self.unseen.insert(name.clone(), 0);
            self.recorded.insert(name, path);
        }
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.held.keys().map(String::as_str)
    }

    pub fn file(&self, path: &Path) -> Option<&SourceFile> {
        self.files.get(path)
    }

    /// Whether the path has nothing left to tell of: there is no file, or it is missing and another
    /// one has its names.
    pub fn is_spent(&self, path: &Path) -> bool {
        let Some(file) = self.files.get(path) else {
            return true;
        };
        let holds = |name: &String| self.held.get(name).is_some_and(|held| held.path == path);
        file.presence != Presence::Present && !names_of(Some(file)).iter().any(holds)
    }

    /// The file whose status file this one would overwrite, if it came later.
    pub fn status_holder(&self, path: &Path) -> Option<&Path> {
        self.stem_holder(path).filter(|by| *by != path)
    }

    /// The files that are there and would overwrite this one's status file.
    pub fn status_rivals(&self, path: &Path) -> Vec<&SourceFile> {
        let sharing = self.stems.get(&stem_of(path)).into_iter().flatten();
        let rivals = sharing.filter(|other| self.status_holder(other) == Some(path));
        let files = rivals.filter_map(|other| self.files.get(other));
        files.filter(|file| file.presence == Presence::Present).collect()
    }

    pub fn files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.values()
    }

    /// Why nothing counts as absent now, if so.
    pub fn degraded(&self) -> Option<&str> {
        self.root.degraded()
    }

    /// Whether there was a complete listing; before that nothing is known, and nothing may be admitted.
    pub fn is_started(&self) -> bool {
        !self.root.is_starting()
    }

    /// Everything wrong with a file, conflicts included.
    pub fn problems(&self, path: &Path) -> Vec<FileProblem> {
        // A file that is not there has nothing wrong with it, whoever took its names since.
        let Some(file) = self.files.get(path).filter(|file| file.presence == Presence::Present) else {
            return Vec::new();
        };
        let mut problems = file.problems.clone();
        if let Some(by) = self.stem_holder(path).filter(|by| *by != path) {
            problems.push(FileProblem::StemTaken { by: by.to_owned() });
            return problems;
        }
        let mut names = BTreeSet::new();
        for document in file.documents.iter().filter(|document| document.state == DocumentState::Current) {
            let (index, name) = (document.index, document.name.clone());
            match self.held.get(&name) {
                Some(held) if held.path != path => {
                    problems.push(FileProblem::NameTaken { index, name, by: held.path.clone() });
                }
                Some(_) | None if !names.insert(name.clone()) => {
                    problems.push(FileProblem::NameTaken { index, name, by: path.to_owned() });
                }
                Some(_) | None => {}
            }
        }
        problems
    }

    fn changed(&mut self, path: &Path, mut names: BTreeSet<String>) -> Vec<Change> {
        let mut changes = Vec::new();
        if self.root.is_starting() {
            return changes;
        }
        // Whoever shares the stem may have to give it up or may get it.
        let siblings = self.stems.get(&stem_of(path)).cloned().unwrap_or_default();
        for sibling in &siblings {
            names.extend(names_of(self.files.get(sibling)));
        }
        self.settle_names(&names, &mut changes);
        for affected in siblings.iter().map(PathBuf::as_path).chain([path]) {
            self.report(affected, &mut changes);
        }
        changes
    }

    fn settle_names(&mut self, names: &BTreeSet<String>, changes: &mut Vec<Change>) {
        for name in names {
            let now = self.resolve(name).and_then(|path| self.files.get(path)).map(|file| Held {
                path: file.path.clone(),
                content_hash: file.content_hash,
                startable: file.startable,
            });
            let before = match &now {
                Some(held) => {
                    self.unseen.remove(name);
                    self.held.insert(name.clone(), held.clone())
                }
                None => self.held.remove(name),
            };
            tell(name, before, now, changes);
        }
        let claimants: BTreeSet<PathBuf> =
            names.iter().filter_map(|name| self.claims.get(name)).flatten().cloned().collect();
        for path in claimants {
            self.report(&path, changes);
        }
    }

    /// Who has the name: the incumbent as long as it shows it, else whoever came first, else the
    /// incumbent that does not show it now.
    fn resolve(&self, name: &str) -> Option<&Path> {
        let claimants = self.claims.get(name)?;
        let shows = |path: &Path| {
            self.stem_holder(path) == Some(path) && self.files.get(path).is_some_and(|file| file.shows(name))
        };
        let incumbent = self.held.get(name).map(|held| &held.path);
        let preferred = incumbent.into_iter().chain(self.recorded.get(name)).chain(claimants);
        let showing = preferred.map(PathBuf::as_path).find(|path| shows(path));
        showing.or_else(|| incumbent.map(PathBuf::as_path).filter(|path| claimants.iter().any(|p| p == path)))
    }

    /// Which of the files with one stem has the status file.
    fn stem_holder(&self, path: &Path) -> Option<&Path> {
        let sharing = self.stems.get(&stem_of(path))?;
        let is_recorded = |path: &&PathBuf| {
            names_of(self.files.get(*path)).iter().any(|name| self.recorded.get(name) == Some(*path))
        };
        let is_present =
            |path: &&PathBuf| self.files.get(*path).is_some_and(|file| file.presence == Presence::Present);
        let present = || sharing.iter().filter(is_present);
        present().find(is_recorded).or_else(|| present().next()).or(sharing.first()).map(PathBuf::as_path)
    }

    fn report(&mut self, path: &Path, changes: &mut Vec<Change>) {
        let problems = self.problems(path);
        let before = if problems.is_empty() {
            self.reported.remove(path).unwrap_or_default()
        } else {
            self.reported.insert(path.to_owned(), problems.clone()).unwrap_or_default()
        };
        if before != problems {
            changes.push(Change::FileProblem { path: path.to_owned() });
        }
    }
}

fn tell(name: &str, before: Option<Held>, now: Option<Held>, changes: &mut Vec<Change>) {
    let name = name.to_owned();
    match (before, now) {
        (None, None) => {}
        (None, Some(now)) => changes.push(Change::Appeared { name, path: now.path }),
        (Some(before), None) => changes.push(Change::Vanished { name, path: before.path }),
        (Some(before), Some(now)) => {
            let (edited, path) = (before.content_hash != now.content_hash, now.path.clone());
            if before.path != now.path {
                changes.push(Change::Moved { name: name.clone(), from: before.path, to: now.path });
            }
            if edited {
                changes.push(Change::Edited { name, path });
            } else if now.startable && !before.startable {
                changes.push(Change::Startable { name, path });
            }
        }
    }
}

fn names_of(file: Option<&SourceFile>) -> BTreeSet<String> {
    file.into_iter().flat_map(|file| &file.documents).map(|document| document.name.clone()).collect()
}

fn stem_of(path: &Path) -> PathBuf {
    path.with_extension("")
}

fn join(paths: &mut Vec<PathBuf>, path: &Path) {
    if !paths.iter().any(|known| known == path) {
        paths.push(path.to_owned());
    }
}
