//! `benchlet rank`: the models beside each other for a workload, or a run's targets metric by metric.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::error::CliError;
use super::estimate::{Needs, answers, count};
use super::output::{Cell, Console, Format, Style, Table, clean};
use super::planning_words::{day, long_time, money, percent, rate_cell, span};
use super::{rank_targets, state_dir};
use crate::plan::model_ranking::{Order, Ranked};
use crate::report::planning::{self, Ranking};
use crate::report::planning_document;
use crate::settings::Settings;

/// Ranks models for a workload, or the targets of one load test.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  benchlet rank --requests 200000                    the fastest model first
  benchlet rank --requests 200000 --context 8000     without those whose window is smaller
  benchlet rank --requests 200000 --per-million-tokens 0.35 --sort cost
  benchlet rank --run engines                        which engine is best in which metric

Times are those of `benchlet estimate`; SPEEDUP and SAVED are against the slowest. With --run,
the cases of a load test that are valid and met their objectives are compared, each target with
its best one. A `tie` is where the 95 % intervals overlap, `unproven` where one is missing: of a
percentile it takes enough samples, of a rate three `repeats`.

Exit codes: 1 no model's context window is large enough, or no case met its objectives; 4 nothing
was measured, or no such run.")]
pub struct Rank {
    /// Answers wanted
    #[arg(long, value_name = "N", value_parser = answers, required_unless_present = "run")]
    pub requests: Option<PathBuf>,
    /// Compare the targets of this load test, by its name or run
    #[arg(long, value_name = "RUN|NAME")]
    #[arg(conflicts_with_all = ["requests", "context", "per_hour", "per_million_tokens", "sort", "simulated"])]
    pub run: Option<String>,
    #[command(flatten)]
    pub needs: Needs,
    /// What comes first
    #[arg(long, value_enum, default_value = "time")]
    pub sort: Sort,
    /// How to print it
    #[arg(short, long, value_name = "FORMAT")]
    pub output: Option<Format>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// The fastest
    Time,
    /// The cheapest; those without a price last
    Cost,
}

pub fn run(verb: &Rank, settings: &Settings, console: &mut Console) -> Result<(), CliError> {
    let store = state_dir::open(settings)?;
    if let Some(run) = &verb.run {
        return rank_targets::run(&store, run, verb.output, console);
    }
    // clap asks for one of the two.
    let requests = count(verb.requests.as_deref().unwrap_or_else(|| "".as_ref()))?;
    let order = match verb.sort {
        Sort::Time => Order::Time,
        Sort::Cost => Order::Cost,
    };
    let ranking = planning::rank_models(&store, &verb.needs.workload(requests), order, verb.needs.simulated)?;
    let nothing = ranking.ranked.is_empty();
    if nothing && ranking.refused.is_empty() {
        return Err(CliError::not_found("no model was measured yet")
            .hint("a LoadTest measures one; `benchlet new LoadTest --help` says how"));
    }
    match verb.output {
        Some(Format::Json) => console.json(&planning_document::ranking(requests, &ranking))?,
        Some(Format::Yaml) => console.yaml(&planning_document::ranking(requests, &ranking))?,
        Some(Format::Name) => {
            for one in &ranking.ranked {
                console.line(format!("model/{}", clean(&one.estimate.basis.model)))?;
            }
        }
        Some(Format::Wide) => print(&ranking, true, console)?,
        None => print(&ranking, false, console)?,
    }
    if nothing {
        return Err(CliError::no("no model's context window is large enough for the workload")
            .hint("measure one with a larger window, or split the prompts"));
    }
    Ok(())
}

fn print(ranking: &Ranking, wide: bool, console: &mut Console) -> Result<(), CliError> {
    let priced = ranking.ranked.iter().any(|one| one.estimate.cost.amount().is_some());
    if !ranking.ranked.is_empty() {
        table(&ranking.ranked, priced, wide).print(console)?;
    }
    for (model, why) in &ranking.refused {
        console.line(format!("{}: refused: {why}", clean(model)))?;
    }
    for one in &ranking.ranked {
        for remark in &one.estimate.remarks {
            console.line(format!("{}: {remark}", clean(&one.estimate.basis.model)))?;
        }
    }
    Ok(())
}

fn table(ranked: &[Ranked], priced: bool, wide: bool) -> Table {
    let mut headers =
        vec!["MODEL", "TIME", "95 % INTERVAL", "RATE(req/s)", "WORKERS", "SUCCESS", "SPEEDUP", "SAVED"];
    if priced {
        headers.push("COST");
    }
    headers.extend(["CONTEXT", "BASED ON"]);
    if wide {
        headers.extend(["SECONDS", "HOURS", "DAYS", "SAVED HOURS", "DATE", "WHY NO INTERVAL"]);
    }
    let mut table = Table::new(&headers);
    for one in ranked {
        let made = &one.estimate;
        let row = &made.basis;
        let number = |number: Option<u64>| Cell::maybe(number.map(|number| number.to_string()));
        let saved = (one.saved_seconds > 0.0).then(|| long_time(one.saved_seconds));
        let success = Cell::maybe(percent(row.success()));
        let mut cells = vec![
            Cell::new(&row.model),
            long_time(made.seconds).into(),
            Cell::maybe(span(&made.spread)),
            rate_cell(Some(row)),
            number(row.workers),
            success.style(if row.succeeds() { Style::Plain } else { Style::Bad }),
            format!("{:.2}x", one.speedup).into(),
            Cell::maybe(saved),
        ];
        if priced {
            cells.push(Cell::maybe(money(&made.cost)));
        }
        let short = row.run.as_ref().map(|run| run.chars().take(8).collect::<String>());
        cells.extend([number(row.context_window), Cell::maybe(if wide { row.run.clone() } else { short })]);
        if wide {
            cells.extend([
                format!("{:.1}", made.seconds).into(),
                format!("{:.2}", made.seconds / 3_600.0).into(),
                format!("{:.2}", made.seconds / 86_400.0).into(),
                format!("{:.2}", one.saved_seconds / 3_600.0).into(),
                day(row.created_at).into(),
                Cell::maybe(made.spread.why()),
            ]);
        }
        table.row(cells);
    }
    table
}
