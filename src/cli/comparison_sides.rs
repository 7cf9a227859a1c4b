//! From what somebody types to the sides of a comparison: a baseline, a run, a request with its newest runs, or
//! a file of results from elsewhere.

use std::path::Path;

use serde_json::Value;

use super::error::{CliError, Exit};
use super::run_selection::{self, Selected};
use super::{import_file, state_dir};
use crate::report::bencher_metric_format::{self, Cases};
use crate::report::comparands::{self, ComparandError};
use crate::report::{export, export_table, gather};
use crate::run::comparand::Comparand;
use crate::run::imported::{ImportedFigures, ImportedRun};
use crate::run::phase::Phase;
use crate::store::Store;
use crate::store::baselines::Baseline;
use crate::store::runs::{Filter, RunRow};

/// A side with the stored run that it ends in; a file has none.
pub struct Found {
    pub side: Comparand,
    pub row: Option<RunRow>,
    /// The runs of a file.
    pub file: Vec<ImportedRun>,
}

/// What a word means, before it is looked up any further.
pub enum Named {
    Baselines(Vec<Baseline>),
    Request(String),
    Run(Box<RunRow>),
    File,
}

/// `baseline/NAME`, `run/ID`, `KIND/NAME`, a path; a plain word is a request, a run or a baseline.
///
/// # Errors
/// Nothing of that name, or several things.
pub fn named(store: Option<&Store>, text: &str) -> Result<Named, CliError> {
    if is_file(text) {
        return Ok(Named::File);
    }
    let Some(store) = store else {
        return Err(CliError::not_found(format!(
            "there is no file {text}, and no database to look for runs in"
        ))
        .hint("give two result files, or name a --state"));
    };
    let name = text.strip_prefix("baseline/").unwrap_or(text);
    let mut baselines = store.baselines()?;
    baselines.retain(|baseline| baseline.name == name);
    if text.starts_with("baseline/") {
        return if baselines.is_empty() {
            Err(no_baseline(store, name))
        } else {
            Ok(Named::Baselines(baselines))
        };
    }
    match run_selection::select(store, text) {
        Ok(Selected::Request(request)) if baselines.is_empty() => Ok(Named::Request(request)),
        Ok(Selected::Request(_)) => Err(CliError::usage(format!("{text} is a request and a baseline"))
            .hint(format!("write baseline/{text}, or the request's kind with it, such as loadtest/{text}"))),
        Ok(Selected::Run(row)) => Ok(Named::Run(row)),
        Err(_) if !baselines.is_empty() => Ok(Named::Baselines(baselines)),
        Err(unknown) => Err(match unknown.exit {
            Exit::NotFound => {
                CliError { message: format!("there is no request, run, baseline or file {text}"), ..unknown }
                    .hint(
                        "`benchlet get`, `benchlet history` and `benchlet baseline list` show what there is",
                    )
            }
            Exit::No | Exit::Usage | Exit::NotComparable | Exit::TimedOut | Exit::PipeClosed => unknown,
        }),
    }
}

/// A path is meant where there is a file, or where it looks like one.
pub fn is_file(text: &str) -> bool {
    let path = Path::new(text);
    let ends = |end: &str| path.extension().is_some_and(|extension| extension == end);
    path.is_file() || ends("json") || ends("jsonl") || ends("csv")
}

pub fn no_baseline(store: &Store, name: &str) -> CliError {
    let known: Vec<String> =
        store.baselines().unwrap_or_default().into_iter().map(|known| known.name).collect();
    let hint = match known.is_empty() {
        true => format!("`benchlet baseline set {name} --from NAME` makes a request's newest run one"),
        false => format!("there are {}", known.join(", ")),
    };
    CliError::not_found(format!("there is no baseline {name}")).hint(hint)
}

/// The last `runs` completed runs of a request, the newest last, all of what the newest one measured.
///
/// # Errors
/// Too few of them.
pub fn newest_runs(
    store: &Store,
    request: &str,
    runs: u32,
    before: Option<&RunRow>,
) -> Result<Vec<RunRow>, CliError> {
    let newest = Filter {
        request: Some(request.to_owned()),
        phase: Some(Phase::Completed),
        up_to: before.map(|row| row.seq.saturating_sub(1)),
        limit: 1,
        ..Filter::default()
    };
    let mut rows = store.runs(&newest)?;
    if let Some(hash) = rows.first().map(|row| row.spec_hash.clone()).filter(|_| runs > 1) {
        rows = store.runs(&Filter { spec_hash: Some(hash), limit: runs, ..newest })?;
    }
    let found = rows.len();
    if found == 0 {
        return Err(CliError::not_found(format!("the request {request} has no completed run"))
            .hint(format!("`benchlet describe {request}` says how its runs ended")));
    }
    if found < runs as usize {
        return Err(CliError::no(format!(
            "the request {request} has {found} completed runs of this spec, not {runs}"
        ))
        .hint(format!("`benchlet rerun {request} --wait` makes one more")));
    }
    rows.reverse();
    Ok(rows)
}

/// # Errors
/// A run that is no side of a comparison.
pub fn of_rows(store: &Store, rows: Vec<RunRow>, label: &str) -> Result<Found, CliError> {
    let side = comparands::of_runs(store, &rows, label).map_err(not_comparable)?;
    let side = side.ok_or_else(|| CliError::not_found(format!("{label} has no run")))?;
    Ok(Found { side, row: rows.into_iter().last(), file: Vec::new() })
}

/// # Errors
/// The run of a baseline is not there any more, or is no side.
pub fn of_baseline(store: &Store, baseline: &Baseline) -> Result<Found, CliError> {
    let row = run_selection::run(store, &baseline.run.to_string())?;
    of_rows(store, vec![row], &baseline.name)
}

/// A file of results as a side; several runs of it count as observations of the same.
///
/// # Errors
/// A file that cannot be read.
pub fn of_file(path: &str) -> Result<Found, CliError> {
    let runs = import_file::read(Path::new(path))?;
    let sides = runs.iter().map(comparands::of_imported).collect();
    let label = Path::new(path).file_name().map_or_else(|| path.into(), |name| name.to_string_lossy());
    let side = Comparand::merged(&label, sides).ok_or_else(|| CliError::no(format!("{path} has no run")))?;
    Ok(Found { side, row: None, file: runs })
}

/// A file of results as a run of the store, for a baseline.
///
/// # Errors
/// A file that cannot be read, or that has several runs.
pub fn imported(store: &Store, path: &str) -> Result<RunRow, CliError> {
    let id = match import_file::import(store, Path::new(path), &state_dir::now())?.as_slice() {
        [id] => *id,
        [] | [..] => {
            return Err(CliError::usage(format!("{path} has several runs, of which one can be a baseline"))
                .hint("they are imported now; name one of them, as `benchlet history` lists them"));
        }
    };
    run_selection::run(store, &id.to_string())
}

/// The figures of a side in the Bencher Metric Format, as `benchlet export` writes them.
///
/// # Errors
/// A run that cannot be read.
pub fn bencher(found: &Found, store: Option<&Store>) -> Result<Value, CliError> {
    if let (Some(row), Some(store)) = (&found.row, store) {
        let export =
            export::of_runs(store, std::slice::from_ref(row), false).map_err(super::report::of_report)?;
        return Ok(export_table::metrics(&export));
    }
    let mut all = serde_json::Map::new();
    for run in &found.file {
        let of_run = match &run.figures {
            ImportedFigures::Load { cases, .. } => {
                bencher_metric_format::of_runs([(run.name.as_str(), Cases::Load(cases))])
            }
            ImportedFigures::LlamaBench { cases, .. } => {
                let texts: Result<Vec<String>, _> = cases.iter().map(serde_json::to_string).collect();
                let cases = gather::bench_cases(&texts?).map_err(super::report::of_report)?;
                bencher_metric_format::of_runs([(run.name.as_str(), Cases::Bench(&cases))])
            }
        };
        if let Value::Object(measures) = of_run {
            all.extend(measures);
        }
    }
    Ok(Value::Object(all))
}

pub fn not_comparable(error: ComparandError) -> CliError {
    match error {
        ComparandError::Store(error) => error.into(),
        other @ (ComparandError::NotCompleted { .. }
        | ComparandError::NothingMeasured { .. }
        | ComparandError::Unfit { .. }
        | ComparandError::Decode { .. }) => CliError::new(Exit::NotComparable, other.to_string()),
    }
}
