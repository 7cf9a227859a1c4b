//! `benchlet history`: runs, newest first.

use clap::{Args, builder::PossibleValuesParser};
use jiff::Timestamp;

use super::error::CliError;
use super::output::{Cell, Console, Format, Style, Table, age, short_duration};
use super::phase_words::{self, phase_cell, rate_cell, short_id, short_params};
use super::{run_selection, state_dir};
use crate::report::request_document;
use crate::run::phase::Phase;
use crate::settings::Settings;
use crate::store::overview::RunSummary;
use crate::store::runs::Filter;

/// Lists runs with their figures, newest first.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet history                          the last 20 runs
  benchlet history qwen3 --limit 100        those of one request
  benchlet history --service llamacpp-qwen3 --phase Failed
  benchlet history -o json | jq '.items[].tg_avg_ts'

A rate is missing where a run measured a matrix: `benchlet describe RUN` shows its cases.")]
pub struct History {
    /// A request's name
    pub name: Option<String>,
    /// Runs of one service alone
    #[arg(long)]
    pub service: Option<String>,
    /// Runs in one phase alone
    #[arg(long, value_parser = PossibleValuesParser::new(Phase::ALL.map(Phase::as_str)), ignore_case = true)]
    pub phase: Option<String>,
    /// At most so many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub limit: u32,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

pub fn run(verb: &History, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let request = match (&verb.name, state_dir::open_if_there(settings)?) {
        (None, None) => return print(&[], verb, console),
        (Some(_), None) => return state_dir::open(settings).map(drop),
        (None, Some(store)) => (None, store),
        (Some(name), Some(store)) => {
            let selected = run_selection::select(&store, name)?;
            (Some(selected.request().to_owned()), store)
        }
    };
    let (request, store) = request;
    let phase = verb
        .phase
        .as_deref()
        .and_then(|word| Phase::ALL.into_iter().find(|phase| phase.as_str().eq_ignore_ascii_case(word)));
    let filter =
        Filter { request, service: verb.service.clone(), phase, limit: verb.limit, ..Filter::default() };
    print(&store.run_summaries(&filter)?, verb, console)
}

fn print(runs: &[RunSummary], verb: &History, console: &mut Console) -> Result<(), CliError> {
    let items = || request_document::list(runs.iter().map(request_document::run_line).collect());
    match verb.output {
        Some(Format::Json) => console.json(&items()),
        Some(Format::Yaml) => console.yaml(&items()),
        Some(Format::Name) => runs.iter().try_for_each(|run| console.line(format!("run/{}", run.id))),
        Some(Format::Wide) | None if runs.is_empty() => {
            console.note("no runs");
            Ok(())
        }
        Some(Format::Wide) => table(runs, true).print(console),
        None => table(runs, false).print(console),
    }
}

/// Runs in a table, as `history`, `describe` and `run` show them.
pub fn table(runs: &[RunSummary], wide: bool) -> Table {
    let mut headers =
        vec!["RUN", "REQUEST", "SERVICE", "PHASE", "PP(t/s)", "TG(t/s)", "LAUNCHES", "PARAMS", "AGE"];
    if wide {
        headers.extend(["REASON", "TOOK", "MESSAGE"]);
    }
    let mut table = Table::new(&headers);
    let now = Timestamp::now();
    for run in runs {
        let most = if wide { usize::MAX } else { 40 };
        // A load test has no flags; what it yielded says more than nothing.
        let params = run.headline.clone().unwrap_or_else(|| short_params(&run.params, most));
        let mut cells: Vec<Cell> = vec![
            Cell::new(if wide { run.id.to_string() } else { short_id(run.id) }),
            run.request.as_str().into(),
            run.service.as_str().into(),
            phase_cell(run.state.phase().as_str()),
            rate_cell(run, run.pp_avg_ts, run.tg_avg_ts),
            rate_cell(run, run.tg_avg_ts, run.pp_avg_ts),
            Cell::maybe(run.launches.map(|launches| launches.to_string())),
            Cell::maybe(Some(params)).style(Style::Dim),
            age(&run.created_at, now).into(),
        ];
        if wide {
            let summary = phase_words::of_run(&run.kind, &run.state);
            cells.extend([summary.reason.into(), Cell::maybe(took(run)), Cell::maybe(Some(summary.message))]);
        }
        table.row(cells);
    }
    table
}

/// From its start to its end.
pub fn took(run: &RunSummary) -> Option<String> {
    let start: Timestamp = run.started_at.as_ref()?.parse().ok()?;
    let end: Timestamp = run.completed_at.as_ref()?.parse().ok()?;
    let spent = end.as_millisecond() - start.as_millisecond();
    Some(short_duration(u64::try_from(spent).ok()?))
}
