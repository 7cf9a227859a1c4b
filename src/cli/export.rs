//! `benchlet export`: runs as a document for other tools, for spreadsheets, or for another benchlet.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::error::CliError;
use super::output::Console;
use super::report::of_report;
use super::run_selection::{self, Selected};
use super::state_dir;
use crate::files::atomic_write;
use crate::report::{escape, export, export_table};
use crate::run::imported::own_export;
use crate::run::imported::utc;
use crate::run::phase::Phase;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::runs::{Filter, RunRow};

/// Writes runs for other tools, for spreadsheets, or for another benchlet.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet export --output all.json                    every ended run; `benchlet import all.json` takes it in
  benchlet export load --with-requests -o load.json    with each single request
  benchlet export --service qwen3 --format csv > qwen3.csv
  benchlet export load --since 2026-03-01 --format md
  benchlet export qwen3 --limit 1 --format bmf | bencher run --adapter json …

csv has a row a case, md a table for people. bmf is the Bencher Metric Format, {benchmark: {measure: {value,
lower_value, upper_value}}}, of each case its newest run: throughput in requests a second, latency in
nanoseconds, tokens_per_second, ttft_p95_ms and others in milliseconds, error_rate as a fraction.")]
pub struct Export {
    /// Requests' names or runs' ids [default: all]
    #[arg(value_name = "NAME|RUN")]
    pub names: Vec<String>,
    /// How to write it
    #[arg(short, long, value_enum, default_value_t = Format::Json)]
    pub format: Format,
    /// Runs of one service alone
    #[arg(long)]
    pub service: Option<String>,
    /// Runs of one kind alone; what was imported is of kind Imported
    #[arg(long, value_parser = PossibleValuesParser::new(KINDS), ignore_case = true)]
    pub kind: Option<String>,
    /// Runs of that day (UTC) or moment and later
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
    /// Runs that ended so
    #[arg(long, value_parser = PossibleValuesParser::new(ENDS), ignore_case = true)]
    pub phase: Option<String>,
    /// At most so many, the newest [default: all]; of several names so many each
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
    /// With each single request of load tests; for json
    #[arg(long)]
    pub with_requests: bool,
    /// Write it to this file, whole or not at all [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// benchlet's own, which import reads.
    Json,
    Csv,
    Md,
    /// Bencher Metric Format.
    Bmf,
}

const KINDS: [&str; 4] = ["LlamaBench", "LoadTest", "Conversation", "Imported"];
const ENDS: [&str; 3] = ["Completed", "Failed", "Cancelled"];

/// # Errors
/// Wrong usage, names that are not there, rows that cannot be read.
pub fn run(verb: &Export, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    if verb.with_requests && verb.format != Format::Json {
        return Err(CliError::usage("--with-requests is for JSON alone")
            .hint("`benchlet report RUN --format csv --rows requests` has a row a request"));
    }
    let filter = filter(verb)?;
    let rows = match state_dir::open_if_there(settings)? {
        Some(store) => {
            let rows = selected(&store, verb, &filter)?;
            export::of_runs(&store, &rows, verb.with_requests).map_err(of_report)?
        }
        None if verb.names.is_empty() => own_export::Export {
            schema: own_export::SCHEMA.to_owned(),
            benchlet: env!("CARGO_PKG_VERSION").to_owned(),
            runs: Vec::new(),
        },
        None => return state_dir::open(settings).map(drop),
    };
    let text = match verb.format {
        Format::Json => json(&rows)?,
        Format::Csv => export_table::csv(&rows),
        Format::Md => export_table::markdown(&rows),
        Format::Bmf => json(&export_table::metrics(&rows))?,
    };
    match &verb.output {
        None => console.raw(text.as_bytes()),
        Some(path) => {
            atomic_write::replace(path, text.as_bytes(), 0o644)
                .map_err(|error| CliError::usage(error.to_string()))?;
            let (count, s) = (rows.runs.len(), if rows.runs.len() == 1 { "" } else { "s" });
            console.note(format!("{} has {count} run{s}", path.display()));
            Ok(())
        }
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, CliError> {
    Ok(escape::json(&serde_json::to_string_pretty(value)?).into_owned() + "\n")
}

fn filter(verb: &Export) -> Result<Filter, CliError> {
    let since = verb.since.as_deref().map(|text| {
        let whole = if text.len() == 10 { format!("{text}T00:00:00") } else { text.to_owned() };
        utc(&whole).ok_or_else(|| {
            CliError::usage(format!("{text:?} is no date")).hint("2026-03-01, or 2026-03-01T12:00:00Z")
        })
    });
    let known = |words: &[&'static str], asked: &Option<String>| {
        let asked = asked.as_deref()?;
        words.iter().copied().find(|word| word.eq_ignore_ascii_case(asked))
    };
    Ok(Filter {
        service: verb.service.clone(),
        kind: known(&KINDS, &verb.kind),
        phase: known(&ENDS, &verb.phase).and_then(Phase::parse),
        since: since.transpose()?,
        ended: true,
        limit: verb.limit.unwrap_or(u32::MAX),
        ..Filter::default()
    })
}

/// The runs that are meant, newest first, none twice.
fn selected(store: &Store, verb: &Export, filter: &Filter) -> Result<Vec<RunRow>, CliError> {
    if verb.names.is_empty() {
        return Ok(store.runs(filter)?);
    }
    let mut rows: Vec<RunRow> = Vec::new();
    for name in &verb.names {
        let found = match run_selection::select(store, name)? {
            // A name without a request stands for all that was imported under it.
            Selected::Run(run) if run.request == *name => named(store, filter, name)?,
            Selected::Run(run) => vec![*run],
            Selected::Request(name) => named(store, filter, &name)?,
        };
        rows.extend(found);
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.seq));
    rows.dedup_by_key(|row| row.id);
    Ok(rows)
}

fn named(store: &Store, filter: &Filter, name: &str) -> Result<Vec<RunRow>, CliError> {
    Ok(store.runs(&Filter { request: Some(name.to_owned()), ..filter.clone() })?)
}
