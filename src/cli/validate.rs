//! `benchlet validate`: every problem of request files, with its place. Reads; starts and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::error::{CliError, Exit};
use super::output::Console;
use super::{environment, validate_files, validate_output};
use crate::controller::surroundings::SIMULATED;
use crate::intake::listing;
use crate::intake::load::{self, Content, Loaded, LoadedFile};
use crate::request::conversation_file;
use crate::request::diagnostic::{Diagnostic, Place, Severity};
use crate::request::load_test::{Target, TargetPlace};
use crate::request::tree::Node;
use crate::request::valid::{self, Spec, ValidRequest};
use crate::service::catalogue::Catalogue;
use crate::settings::Settings;

/// Checks request files and says everything that is wrong with them.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet validate requests/
  benchlet validate qwen3.yaml --output json
  benchlet new LlamaBench --service qwen3 | benchlet validate -
  benchlet validate requests/ --output github      annotations of a pull request, in GitHub Actions

The files that a request names (prompts, conversations, a template, a tokenizer) are looked into as a run would,
but not those of a request on standard input.
Exit codes: 0 no errors (there may be warnings), 1 errors, 4 no such file or directory.")]
pub struct Validate {
    /// Files, directories, or - for standard input
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How to print the problems
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
    /// Do not look whether the services exist in the compose files
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// The source with a mark below the place
    Text,
    /// One object with all problems
    Json,
    /// Workflow commands of GitHub Actions
    Github,
}

/// A file with what was found in it.
#[derive(Debug)]
pub struct Checked {
    /// As it is shown: the path that was given, and what lies below it.
    pub shown: String,
    pub source: Arc<str>,
    pub problems: Vec<Diagnostic>,
    pub requests: Vec<ValidRequest>,
    /// It is no request, but conversations that requests name.
    pub is_data: bool,
}

/// Everything that was checked.
#[derive(Debug, Default)]
pub struct Report {
    pub files: Vec<Checked>,
}

impl Report {
    pub fn count(&self, severity: Severity) -> usize {
        self.files
            .iter()
            .flat_map(|file| &file.problems)
            .filter(|problem| problem.severity == severity)
            .count()
    }

    pub fn requests(&self) -> usize {
        self.files.iter().map(|file| file.requests.len()).sum()
    }

    /// Files of conversations that are as they should be.
    pub fn data(&self) -> impl Iterator<Item = &Checked> {
        self.files.iter().filter(|file| file.is_data && !file.problems.iter().any(Diagnostic::is_error))
    }
}

pub fn run(verb: &Validate, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let mut checker = Checker::new(settings, verb.offline);
    for path in &verb.paths {
        checker.path(path)?;
    }
    let report = checker.report;
    match verb.output {
        Output::Text => validate_output::text(&report, console)?,
        Output::Json => validate_output::json(&report, console)?,
        Output::Github => validate_output::github(&report, console)?,
    }
    if report.count(Severity::Error) > 0 { Err(CliError::silent(Exit::No)) } else { Ok(()) }
}

/// Where a name was seen first.
struct FirstSeen {
    shown: String,
    line: usize,
}

struct Checker<'a> {
    settings: &'a Settings,
    report: Report,
    names: BTreeMap<String, FirstSeen>,
    /// Files that were read, so that one given twice is no duplicate of itself.
    read: BTreeSet<PathBuf>,
    services: Option<Catalogue>,
}

/// The file of a request.
struct At<'p> {
    root: &'p Path,
    relative: &'p Path,
    stem: &'p str,
    /// Nobody knows where it will be saved.
    is_nowhere: bool,
}

impl<'a> Checker<'a> {
    /// Unless `offline`, the services are looked up in those of their files that exist.
    fn new(settings: &'a Settings, offline: bool) -> Self {
        let services = (!offline).then_some(settings).and_then(|settings| {
            let there = |paths: &[PathBuf]| -> Vec<PathBuf> {
                paths.iter().filter(|path| path.exists()).cloned().collect()
            };
            let (compose, listed) = (there(&settings.compose), there(&settings.services));
            let any = !compose.is_empty() || !listed.is_empty();
            any.then(|| Catalogue::load(&compose, &listed, &environment()))
        });
        Self { settings, report: Report::default(), names: BTreeMap::new(), read: BTreeSet::new(), services }
    }

    fn path(&mut self, path: &Path) -> Result<(), CliError> {
        if path == Path::new("-") {
            return self.standard_input();
        }
        let found = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                CliError::not_found(format!("there is no file or directory {}", path.display()))
            }
            _ => CliError::usage(format!("{} cannot be read: {error}", path.display())),
        })?;
        if found.is_dir() {
            return self.directory(path);
        }
        // A link that was named is meant; below a directory they are followed only inside it.
        let real = path
            .canonicalize()
            .map_err(|error| CliError::usage(format!("{} cannot be read: {error}", path.display())))?;
        if let (Some(parent), Some(name)) = (real.parent(), real.file_name()) {
            let (relative, stem) = (Path::new(name), stem(path));
            let at = At { root: parent, relative, stem: &stem, is_nowhere: false };
            self.file(&at, path.display().to_string());
        }
        Ok(())
    }

    fn directory(&mut self, root: &Path) -> Result<(), CliError> {
        let listing = listing::list(root).map_err(|error| CliError::usage(error.to_string()))?;
        // `./a.yaml` would not be the name by which Git and GitHub know it.
        let below = if root == Path::new(".") { Path::new("") } else { root };
        for relative in listing.files.keys() {
            let at = At { root, relative, stem: &stem(relative), is_nowhere: false };
            self.file(&at, below.join(relative).display().to_string());
        }
        for problem in listing.problems {
            self.report.files.push(Checked {
                shown: below.join(problem.path).display().to_string(),
                source: Arc::from(""),
                problems: vec![Diagnostic::error(Place::whole_file(), problem.message)],
                requests: Vec::new(),
                is_data: false,
            });
        }
        Ok(())
    }

    fn standard_input(&mut self) -> Result<(), CliError> {
        let failed =
            |error: std::io::Error| CliError::usage(format!("standard input cannot be read: {error}"));
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(load::MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        // Through a file, so that the same rules hold for it.
        let folder = tempfile::tempdir().map_err(failed)?;
        std::fs::write(folder.path().join("stdin.yaml"), bytes).map_err(failed)?;
        let relative = Path::new("stdin.yaml");
        let at = At { root: folder.path(), relative, stem: "stdin", is_nowhere: true };
        self.file(&at, "<stdin>".to_owned());
        Ok(())
    }

    fn file(&mut self, at: &At<'_>, shown: String) {
        let At { root, relative, .. } = *at;
        let real = root.join(relative).canonicalize().unwrap_or_else(|_| root.join(relative));
        if !self.read.insert(real) {
            return;
        }
        let Loaded::File(file) = load::load(root, relative) else {
            return;
        };
        let mut checked = Checked {
            shown,
            source: Arc::clone(&file.source),
            problems: Vec::new(),
            requests: Vec::new(),
            is_data: matches!(file.content, Content::Data),
        };
        self.documents(&file, at, &mut checked);
        self.report.files.push(checked);
    }

    fn documents(&mut self, file: &LoadedFile, at: &At<'_>, checked: &mut Checked) {
        let stream = match &file.content {
            Content::Problem(problem) => return checked.problems.push(problem.clone()),
            Content::Data => {
                checked.problems.extend(conversation_file::check(&file.source).err().into_iter().flatten());
                return;
            }
            Content::Documents(stream) => stream,
        };
        for document in &stream.documents {
            let root = match &document.root {
                Ok(root) => root,
                Err(problem) => {
                    checked.problems.push(problem.clone());
                    continue;
                }
            };
            if let Some(name) = valid::claimed_name(root, document.index, at.stem) {
                self.name(name, root, checked);
            }
            match valid::validate(root, document.index, at.stem) {
                Ok(request) => {
                    checked.problems.extend(self.services(&request, root));
                    if !at.is_nowhere {
                        let (settings, below) = (self.settings, at.relative);
                        let found = validate_files::problems(settings, at.root, below, &request, root);
                        checked.problems.extend(found);
                    }
                    checked.requests.push(request);
                }
                Err(problems) => checked.problems.extend(problems),
            }
        }
        if stream.documents.is_empty() {
            let problem = Diagnostic::warning(Place::whole_file(), "the file has no request in it");
            checked.problems.push(problem);
        }
    }

    fn name(&mut self, name: String, root: &Node, checked: &mut Checked) {
        let node = root.get("metadata").and_then(|metadata| metadata.get("name"));
        let place = Place::at(node.map_or_else(|| root.span.clone(), |node| node.span.clone()));
        if let Some(first) = self.names.get(&name) {
            let message = format!("the name \"{name}\" is taken by {}:{}", first.shown, first.line);
            checked.problems.push(Diagnostic::error(place, message).hint("give one of them another name"));
            return;
        }
        let located = Diagnostic::error(place, "").locate(&checked.source);
        let line = located.line.unwrap_or(1);
        self.names.insert(name, FirstSeen { shown: checked.shown.clone(), line });
    }

    /// Services that the request names and no file defines: a warning, as they may be elsewhere.
    fn services(&self, request: &ValidRequest, root: &Node) -> Vec<Diagnostic> {
        let spec = root.get("spec");
        match &request.spec {
            Spec::LlamaBench(named) => {
                self.service(&named.service, spec.and_then(|spec| spec.get("service"))).into_iter().collect()
            }
            Spec::LoadTest(named) => {
                let listed = spec.and_then(|spec| spec.get("targets")).and_then(|targets| targets.items());
                let one = spec.and_then(|spec| spec.get("target")).map(std::slice::from_ref);
                let nodes = listed.or(one).unwrap_or_default();
                let of_target = |(target, node): (&Target, &Arc<Node>)| match &target.place {
                    TargetPlace::Running { service } | TargetPlace::Managed { service } => {
                        self.service(service, node.get("service"))
                    }
                    TargetPlace::Url(_) | TargetPlace::UsualPort | TargetPlace::Simulated(_) => None,
                };
                named.targets.iter().zip(nodes).filter_map(of_target).collect()
            }
            Spec::Apply(_) | Spec::Model(_) | Spec::Baseline(_) | Spec::Comparison(_) | Spec::Imported(_) => {
                Vec::new()
            }
        }
    }

    fn service(&self, name: &str, node: Option<&Arc<Node>>) -> Option<Diagnostic> {
        if name == SIMULATED {
            return None;
        }
        let error = self.services.as_ref()?.find(name).err()?;
        Some(
            Diagnostic::warning(Place::at(node?.span.clone()), error.to_string())
                .hint("`benchlet services` lists them; --offline leaves this check out"),
        )
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
