//! `benchlet report`: an ended run as a document, from what is stored.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::error::CliError;
use super::output::Console;
use super::run_selection::{self, Selected};
use super::state_dir;
use crate::files::atomic_write;
use crate::report::csv::Rows;
use crate::report::format;
use crate::report::gather::{self, ReportError};
use crate::request::report_files::ReportFormat;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::runs::{Filter, RunRow};

/// Tells what a run measured, as a document.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet report qwen3                               Markdown of its newest ended run
  benchlet report 3f2a9c1b --format html --output run.html
  benchlet report qwen3 --format csv                  a row a case, with the system's use
  benchlet report load --format csv --rows requests   a row a request; of llama-bench a row a repetition
  benchlet report load --format json | jq '.results.cases[].figures.metrics.ttft'
  benchlet report load --format system                the machine alone, as JSON

The page needs no network and no script. config/schema/report.json describes the JSON.
`report: { formats: [md, html] }` in a request writes them whenever a run ends.")]
pub struct Report {
    /// A run's id or the beginning of it, or a request's name: its newest ended run
    #[arg(value_name = "RUN|NAME")]
    pub name: String,
    /// How to write it
    #[arg(short, long, value_enum, default_value_t = Format::Md)]
    pub format: Format,
    /// What a row of CSV is
    #[arg(long, value_enum, value_name = "WHAT")]
    pub rows: Option<RowsOf>,
    /// Write it to this file, whole or not at all [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Md,
    Html,
    Csv,
    Json,
    /// The machine alone, as JSON.
    System,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RowsOf {
    Cases,
    Requests,
}

pub fn run(verb: &Report, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    if verb.rows.is_some() && verb.format != Format::Csv {
        return Err(CliError::usage("--rows is for CSV alone").hint("add --format csv, or leave --rows out"));
    }
    let format = match verb.format {
        Format::Md => ReportFormat::Markdown,
        Format::Html => ReportFormat::Html,
        Format::Csv => ReportFormat::Csv,
        Format::Json => ReportFormat::Json,
        Format::System => ReportFormat::System,
    };
    let rows = match verb.rows {
        Some(RowsOf::Requests) => Rows::Requests,
        Some(RowsOf::Cases) | None => Rows::Cases,
    };
    let store = state_dir::open(settings)?;
    let row = ended(&store, &verb.name)?;
    let report = gather::report(&store, row.id).map_err(of_report)?;
    let text = format::render(&report, format, rows)?;
    match &verb.output {
        None => console.raw(text.as_bytes()),
        Some(path) => {
            atomic_write::replace(path, text.as_bytes(), 0o644)
                .map_err(|error| CliError::usage(error.to_string()))?;
            console.note(format!("{} tells of run {}", path.display(), report.run.short_id()));
            Ok(())
        }
    }
}

/// The run that is meant: of a request its newest that has ended.
fn ended(store: &Store, text: &str) -> Result<RunRow, CliError> {
    let name = match run_selection::select(store, text)? {
        Selected::Run(run) => return Ok(*run),
        Selected::Request(name) => name,
    };
    let filter = Filter { request: Some(name.clone()), ended: true, limit: 1, ..Filter::default() };
    store.runs(&filter)?.pop().ok_or_else(|| {
        CliError::not_found(format!("no run of {name} has ended yet"))
            .hint(format!("`benchlet wait {name}` waits for one"))
    })
}

pub(super) fn of_report(error: ReportError) -> CliError {
    match error {
        ReportError::Store(error) => error.into(),
        ReportError::NoRun(_) => CliError::not_found(error.to_string()),
        ReportError::NotEnded { .. } | ReportError::NothingMeasured => CliError::no(error.to_string()),
        ReportError::Decode { .. } => CliError::usage(error.to_string()),
    }
}
