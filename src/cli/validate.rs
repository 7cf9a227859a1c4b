//! `benchlet validate`: every problem of request files, with its place. Reads; starts and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::error::{CliError, Exit};
use super::output::Console;
use super::validate_output;
use crate::controller::request_check::{Around, At};
use crate::controller::surroundings::environment;
use crate::intake::listing;
use crate::intake::load::{self, Loaded};
use crate::request::diagnostic::{Diagnostic, Place, Severity};
use crate::request::valid::ValidRequest;
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
    let around = match verb.offline {
        true => Around::offline(settings),
        false => Around::look(settings, &environment()),
    };
    let mut checker = Checker::new(around);
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
    around: Around<'a>,
    report: Report,
    names: BTreeMap<String, FirstSeen>,
    /// Files that were read, so that one given twice is no duplicate of itself.
    read: BTreeSet<PathBuf>,
}

impl<'a> Checker<'a> {
    fn new(around: Around<'a>) -> Self {
        Self { around, report: Report::default(), names: BTreeMap::new(), read: BTreeSet::new() }
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
            self.file(at, path.display().to_string());
        }
        Ok(())
    }

    fn directory(&mut self, root: &Path) -> Result<(), CliError> {
        let listing = listing::list(root).map_err(|error| CliError::usage(error.to_string()))?;
        // `./a.yaml` would not be the name by which Git and GitHub know it.
        let below = if root == Path::new(".") { Path::new("") } else { root };
        for relative in listing.files.keys() {
            let at = At { root, relative, stem: &stem(relative), is_nowhere: false };
            self.file(at, below.join(relative).display().to_string());
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
        self.file(at, "<stdin>".to_owned());
        Ok(())
    }

    fn file(&mut self, at: At<'_>, shown: String) {
        let At { root, relative, .. } = at;
        let real = root.join(relative).canonicalize().unwrap_or_else(|_| root.join(relative));
        if !self.read.insert(real) {
            return;
        }
        let Loaded::File(file) = load::load(root, relative) else {
            return;
        };
        let found = self.around.check(&file, at);
        let mut checked = Checked {
            shown,
            source: Arc::clone(&file.source),
            problems: found.problems,
            requests: Vec::new(),
            is_data: found.is_data,
        };
        for document in found.documents {
            if let Some((name, place)) = document.name {
                self.name(name, place, &mut checked);
            }
            checked.problems.extend(document.problems);
            checked.requests.extend(document.request);
        }
        self.report.files.push(checked);
    }

    fn name(&mut self, name: String, place: Place, checked: &mut Checked) {
        if let Some(first) = self.names.get(&name) {
            let message = format!("the name \"{name}\" is taken by {}:{}", first.shown, first.line);
            checked.problems.push(Diagnostic::error(place, message).hint("give one of them another name"));
            return;
        }
        let located = Diagnostic::error(place, "").locate(&checked.source);
        let line = located.line.unwrap_or(1);
        self.names.insert(name, FirstSeen { shown: checked.shown.clone(), line });
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
