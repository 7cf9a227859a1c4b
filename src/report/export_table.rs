//! Exported runs for spreadsheets and for people: a row a case, as CSV and as Markdown. Every cell goes
//! through `escape`; the figures are the export's.

use std::collections::BTreeSet;

use super::bencher_metric_format::{self, Cases};
use super::content::BenchCase;
use super::csv::{self, Record};
use super::escape;
use super::export::{bench_cases, load_case};
use crate::run::imported::own_export::{Export, ExportedResults, ExportedRun};
use crate::run::load_case::LoadCase;
use crate::run::load_words::{ms, short};
use crate::stats::summary::Summary;

/// The kind of an exported run's figures.
pub fn kind(run: &ExportedRun) -> &'static str {
    match &run.results {
        ExportedResults::LlamaBench { .. } => "LlamaBench",
        ExportedResults::LoadTest { .. } => "LoadTest",
        ExportedResults::Conversation { .. } => "Conversation",
    }
}

fn load_cases(run: &ExportedRun) -> &[LoadCase] {
    match &run.results {
        ExportedResults::LlamaBench { .. } => &[],
        ExportedResults::LoadTest { cases, .. } | ExportedResults::Conversation { cases, .. } => cases,
    }
}

/// A row a case, with the columns of every kind that is in it; runs without a case have a row of their own.
pub fn csv(export: &Export) -> String {
    let system: BTreeSet<&String> =
        export.runs.iter().flat_map(load_cases).flat_map(|case| case.system.keys()).collect();
    let mut rows = Vec::new();
    for run in &export.runs {
        let cases: Vec<Record> = match &run.results {
            ExportedResults::LlamaBench { cases, .. } => {
                bench_cases(cases).iter().map(csv::bench_case).collect()
            }
            ExportedResults::LoadTest { cases, .. } | ExportedResults::Conversation { cases, .. } => {
                cases.iter().map(|case| csv::load_case(&load_case(case), &system)).collect()
            }
        };
        let cases = if cases.is_empty() { vec![Vec::new()] } else { cases };
        rows.extend(cases.into_iter().map(|case| (of_run(run), case)));
    }
    csv::table(&rows)
}

fn of_run(run: &ExportedRun) -> Record {
    [
        ("request", run.request.clone()),
        ("run", run.id.to_string()),
        ("kind", kind(run).to_owned()),
        ("service", run.service.clone()),
        ("phase", run_phase(run).to_owned()),
        ("created_at", run.created_at.clone()),
        ("completed_at", run.completed_at.clone().unwrap_or_default()),
        ("simulated", run.simulated.to_string()),
        ("model", run.model.clone().unwrap_or_default()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .to_vec()
}

fn run_phase(run: &ExportedRun) -> &'static str {
    crate::run::phase::RunState::Ended(run.ending.clone()).phase().as_str()
}

/// The Bencher Metric Format of these runs.
pub fn metrics(export: &Export) -> serde_json::Value {
    let bench: Vec<Vec<BenchCase>> = export.runs.iter().map(bench_of).collect();
    let runs = export.runs.iter().zip(&bench).map(|(run, bench)| {
        let cases = match &run.results {
            ExportedResults::LlamaBench { .. } => Cases::Bench(bench),
            ExportedResults::LoadTest { cases, .. } | ExportedResults::Conversation { cases, .. } => {
                Cases::Load(cases)
            }
        };
        (run.request.as_str(), cases)
    });
    bencher_metric_format::of_runs(runs)
}

fn bench_of(run: &ExportedRun) -> Vec<BenchCase> {
    match &run.results {
        ExportedResults::LlamaBench { cases, .. } => bench_cases(cases),
        ExportedResults::LoadTest { .. } | ExportedResults::Conversation { .. } => Vec::new(),
    }
}

const BENCH: [&str; 8] = ["Request", "Run", "Service", "Model", "Measured", "Test", "t/s", "±"];
const LOAD: [&str; 13] = [
    "Request",
    "Run",
    "Service",
    "Measured",
    "Load",
    "OK",
    "Failed",
    "req/s",
    "tok/s",
    "TTFT p50 ms",
    "TTFT p95 ms",
    "E2E p50 ms",
    "E2E p95 ms",
];

/// A table for each kind that is there, numbers rounded.
pub fn markdown(export: &Export) -> String {
    let (mut bench, mut load) = (Vec::new(), Vec::new());
    for run in &export.runs {
        let mark = if run.simulated { " (simulated)" } else { "" };
        let id: String = run.id.to_string().chars().take(8).collect();
        let head = [format!("{}{mark}", run.request), id, run.service.clone()];
        let date = run.created_at.get(..10).unwrap_or(&run.created_at).to_owned();
        if let ExportedResults::LlamaBench { cases, .. } = &run.results {
            for case in bench_cases(cases) {
                let model = run.model.clone().unwrap_or_default();
                let rates = [case.avg_ts, case.stddev_ts].map(|rate| rate.map(short));
                let [rate, spread] = rates.map(Option::unwrap_or_default);
                bench.push([&head[..], &[model, date.clone(), case.label(), rate, spread]].concat());
            }
        }
        for case in load_cases(run) {
            let rate = |rate: Option<f64>| rate.map(short).unwrap_or_default();
            let at = |summary: &Option<Summary>, of: fn(&Summary) -> Option<f64>| {
                summary.as_ref().and_then(of).map(ms).unwrap_or_default()
            };
            let cells = [
                date.clone(),
                case.label(),
                case.requests.ok.to_string(),
                case.requests.failed.to_string(),
                rate(case.throughput.requests_per_s),
                rate(case.throughput.output_tokens_per_s),
                at(&case.metrics.ttft, |summary| summary.p50),
                at(&case.metrics.ttft, |summary| summary.p95),
                at(&case.metrics.e2e, |summary| summary.p50),
                at(&case.metrics.e2e, |summary| summary.p95),
            ];
            load.push([&head[..], &cells].concat());
        }
    }
    let tables =
        [("llama-bench", &BENCH[..], 6, bench), ("Load tests and conversations", &LOAD[..], 5, load)];
    let shown = tables.into_iter().filter(|(_, _, _, rows)| !rows.is_empty());
    let shown: Vec<String> =
        shown.map(|(title, names, text, rows)| table(title, names, text, &rows)).collect();
    if shown.is_empty() { "No results.\n".to_owned() } else { shown.join("\n") }
}

/// The first `text` columns hold words, the others numbers.
fn table(title: &str, names: &[&str], text: usize, rows: &[Vec<String>]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut out = format!("**{title}**\n\n");
    out.push_str(&line(names.iter().map(|name| escape::markdown(name)).collect()));
    let rule = |at: usize| if at < text { "---" } else { "---:" }.to_owned();
    out.push_str(&line((0..names.len()).map(rule).collect()));
    for row in rows {
        out.push_str(&line(row.iter().map(|cell| escape::markdown(cell)).collect()));
    }
    out
}
