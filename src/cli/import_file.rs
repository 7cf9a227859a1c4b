//! One file of an import: read, recognised, compared with what is there, and written in one transaction.

use std::collections::{HashMap, HashSet};
use std::io::Read as _;
use std::path::Path;

use serde::Serialize;
use uuid::Uuid;

use super::block_on;
use super::error::CliError;
use crate::controller::imports::{self, Said};
use crate::report::export;
use crate::request::imported::{Format, name_of};
use crate::run::imported::error::ImportError;
use crate::run::imported::{self, ImportedRun, LARGEST, own_export};
use crate::run::reason::Refusal;
use crate::store::foreign_database::{self, ForeignError};
use crate::store::imports::{NewImport, NewRow, add, add_row};
use crate::store::runs::Filter;
use crate::store::{Store, StoreError};

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Became {
    Added,
    AlreadyThere,
    /// With `--dry-run`.
    WouldBeAdded,
}

/// A run of the file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub id: Uuid,
    pub name: String,
    pub became: Became,
    pub kind: &'static str,
    pub model: Option<String>,
    pub service: String,
    pub measured_at: String,
    pub cases: usize,
    pub simulated: bool,
    pub figures: Option<String>,
    pub notes: Vec<String>,
}

/// What a file held.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Taken {
    pub file: String,
    pub format: Option<Format>,
    pub runs: Vec<Run>,
    /// Rows of `benchmark_results`.
    pub rows: Rows,
    /// Rows that could not be read, each with its table and rowid.
    pub bad: Vec<String>,
    pub notes: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rows {
    pub added: usize,
    pub already_there: usize,
    pub would_be_added: usize,
}

/// How files are taken in.
pub struct Way<'w> {
    /// `None` where a dry run has nothing to compare with.
    pub store: Option<&'w Store>,
    pub dry_run: bool,
    pub format: Option<Format>,
    pub name: Option<&'w str>,
    pub service: Option<&'w str>,
    pub now: &'w str,
    pub unix: i64,
}

/// The runs of a file of results, for whoever keeps none of them.
///
/// # Errors
/// A file that is not there, cannot be read, or is a database.
pub fn read(path: &Path) -> Result<Vec<ImportedRun>, CliError> {
    let shown = path.display().to_string();
    if begins_as_database(path)? {
        return Err(CliError::usage(format!("{shown} is a database")).hint("`benchlet import` takes it in"));
    }
    Ok(imported::parse(&bytes_of(path)?, &shown)?)
}

/// Imports a file into the store, and says which runs it has, those that were there already included.
///
/// # Errors
/// As [`Way::take`].
pub fn import(store: &Store, path: &Path, now: &str) -> Result<Vec<Uuid>, CliError> {
    let unix = now.parse::<jiff::Timestamp>().map_or(0, |time| time.as_second());
    let way = Way { store: Some(store), dry_run: false, format: None, name: None, service: None, now, unix };
    Ok(way.take(path)?.runs.iter().map(|run| run.id).collect())
}

impl Way<'_> {
    /// # Errors
    /// A file that is not there or cannot be read, and one whose form is not as it has to be.
    pub fn take(&self, path: &Path) -> Result<Taken, CliError> {
        let shown = path.display().to_string();
        let file = path.file_name().map_or_else(|| "stdin".into(), |name| name.to_string_lossy());
        let file = if shown == "-" { "stdin".into() } else { file };
        let said = Said { file: &file, name: self.name, service: self.service, now: self.now };
        let mut taken = Taken { file: shown.clone(), ..Taken::default() };
        let is_database = shown != "-" && begins_as_database(path)?;
        let (new, rows) = if is_database {
            self.database(path, said, &mut taken)?
        } else {
            (self.text(path, &shown, said, &mut taken)?, Vec::new())
        };
        self.keep(new, rows, &mut taken)?;
        Ok(taken)
    }

    fn text(
        &self,
        path: &Path,
        shown: &str,
        said: Said<'_>,
        taken: &mut Taken,
    ) -> Result<Vec<NewImport>, CliError> {
        let bytes = bytes_of(path)?;
        let runs = imported::parse_as(&bytes, shown, self.format)?;
        taken.format = runs.first().map(|run| run.format);
        let named = (0..).zip(runs).map(|(at, run)| {
            let id = imports::id_of(&run, &bytes, at);
            imports::stored(id, run, said)
        });
        Ok(named.collect::<Result<_, Refusal>>()?)
    }

    fn database(
        &self,
        path: &Path,
        said: Said<'_>,
        taken: &mut Taken,
    ) -> Result<(Vec<NewImport>, Vec<NewRow>), CliError> {
        if let Some(format) = self.format.filter(|format| *format != Format::Sqlite) {
            return Err(CliError::no(format!(
                "{}: it is an SQLite database and no {format}",
                path.display()
            )));
        }
        let contents = foreign_database::read(path, self.unix)?;
        taken.format = Some(Format::Sqlite);
        taken.bad = contents.bad;
        taken.notes = contents.notes;
        if contents.open > 0 {
            taken.notes.push(format!("{} runs had not ended and are left out", contents.open));
        }
        let mut params = HashMap::new();
        let mut runs = whole_runs(path, said, taken)?;
        let whole: HashSet<Uuid> = runs.iter().map(|run| run.id).collect();
        for row in contents.runs {
            // A whole run has its launches apart, and not its flags.
            if whole.contains(&row.id) {
                params.insert(row.id, row.params);
            } else {
                runs.push(imports::stored_row(row, said)?);
            }
        }
        for run in &mut runs {
            run.params = params.remove(&run.id).flatten().or(run.params.take());
        }
        let mut rows = contents.rows;
        // Those of a whole run come with it.
        rows.retain(|row| {
            let of = row.of.as_ref().and_then(|(run, _)| run.parse().ok());
            of.is_none_or(|of: Uuid| !whole.contains(&of))
        });
        Ok((runs, rows))
    }

    /// Writes what is new, all of it or nothing.
    fn keep(&self, mut new: Vec<NewImport>, rows: Vec<NewRow>, taken: &mut Taken) -> Result<(), CliError> {
        for run in &mut new {
            run.request = self.name_for(&run.request)?;
        }
        let mut became = Vec::new();
        for run in &mut new {
            let known = self.store.map(|store| store.known_run(run.id)).transpose()?.flatten();
            became.push(match known {
                Some(name) => {
                    run.request = name;
                    Became::AlreadyThere
                }
                None if self.dry_run => Became::WouldBeAdded,
                None => Became::Added,
            });
        }
        taken.runs = new.iter().zip(&became).map(|(run, became)| told(run, *became)).collect();
        if self.dry_run {
            for row in &rows {
                let known = self.store.map(|store| store.has_row(row)).transpose()?.unwrap_or(false);
                taken.rows.already_there += usize::from(known);
                taken.rows.would_be_added += usize::from(!known);
            }
            return Ok(());
        }
        let Some(store) = self.store else { return Ok(()) };
        let (count, now) = (rows.len(), self.now.to_owned());
        let (runs, rows) = block_on(async {
            let written = store.write(move |connection| {
                let runs = new.iter().map(|run| add(connection, run, &now)).collect::<Result<Vec<_>, _>>()?;
                let rows = rows.iter().map(|row| add_row(connection, row)).collect::<Result<Vec<_>, _>>()?;
                Ok::<_, StoreError>((runs, rows.into_iter().filter(|added| *added).count()))
            });
            Ok(written.await?)
        })?;
        // The same run may stand in a file twice, and somebody else may have been faster.
        for (run, added) in taken.runs.iter_mut().zip(runs) {
            run.became = if added { Became::Added } else { Became::AlreadyThere };
        }
        taken.rows = Rows { added: rows, already_there: count - rows, would_be_added: 0 };
        Ok(())
    }

    /// A name of its own beside those of the requests, so that no run of theirs is mixed up with it.
    fn name_for(&self, name: &str) -> Result<String, CliError> {
        let taken = |name: &str| -> Result<bool, CliError> {
            Ok(self.store.map(|store| store.request(name)).transpose()?.flatten().is_some())
        };
        if !taken(name)? {
            return Ok(name.to_owned());
        }
        if self.name.is_some() {
            return Err(CliError::usage(format!("a request is called {name} already"))
                .hint("choose another --name for what is imported"));
        }
        Ok(name_of(&format!("{name}-imported")))
    }
}

/// The ended runs of a database of benchlet's own, with all that an export has of them.
fn whole_runs(path: &Path, said: Said<'_>, taken: &mut Taken) -> Result<Vec<NewImport>, CliError> {
    let directory = tempfile::tempdir().map_err(|error| {
        CliError::usage(format!("there is no room for a copy of {}: {error}", path.display()))
    })?;
    let Some(store) = foreign_database::copy_of_benchlets(path, directory.path())? else {
        return Ok(Vec::new());
    };
    let filter = Filter { ended: true, limit: u32::MAX, ..Filter::default() };
    let mut whole = Vec::new();
    for row in store.runs(&filter)?.into_iter().rev() {
        let one = export::of_runs(&store, std::slice::from_ref(&row), true);
        let run = one.map_err(|error| error.to_string()).and_then(|export| {
            let run = export.runs.into_iter().next();
            run.map(own_export::imported).transpose()
        });
        match run {
            Ok(Some(run)) => {
                let run = ImportedRun { format: Format::Sqlite, ..run };
                whole.push(imports::stored(row.id, run, said)?);
            }
            Ok(None) => {}
            Err(reason) => taken.bad.push(format!("runs, id {}: {reason}", row.id)),
        }
    }
    Ok(whole)
}

fn told(run: &NewImport, became: Became) -> Run {
    let figures = &run.results.figures;
    let rate =
        |name: &str, rate: Option<f64>| rate.map(|rate| format!("{name} {} t/s", super::output::rate(rate)));
    let rates = [rate("pp", figures.pp_avg_ts), rate("tg", figures.tg_avg_ts)];
    let rates: Vec<String> = rates.into_iter().flatten().collect();
    Run {
        id: run.id,
        name: run.request.clone(),
        became,
        kind: run.imported.measured.as_str(),
        model: run.imported.model.clone(),
        service: run.service.clone(),
        measured_at: run.created_at.clone(),
        cases: run.results.cases.len(),
        simulated: run.simulated,
        figures: run.results.headline.clone().or_else(|| (!rates.is_empty()).then(|| rates.join(", "))),
        notes: run.imported.notes.clone(),
    }
}

fn begins_as_database(path: &Path) -> Result<bool, CliError> {
    let mut head = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| unreadable(path, &error))?;
    file.take(16).read_to_end(&mut head).map_err(|error| unreadable(path, &error))?;
    Ok(imported::is_sqlite(&head))
}

/// The whole of a file, as far as a file may go.
fn bytes_of(path: &Path) -> Result<Vec<u8>, CliError> {
    let mut bytes = Vec::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(LARGEST + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| unreadable(path, &error))?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    if error.kind() == std::io::ErrorKind::NotFound {
        return CliError::not_found(format!("there is no file {}", path.display()));
    }
    CliError::usage(format!("{} cannot be read: {error}", path.display()))
}

impl From<ImportError> for CliError {
    fn from(error: ImportError) -> Self {
        Self::no(error.to_string()).maybe_hint(error.hint)
    }
}

impl From<ForeignError> for CliError {
    fn from(error: ForeignError) -> Self {
        Self::no(error.to_string())
    }
}
