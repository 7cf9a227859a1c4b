//! A load test's cases in a table, as `run` and `describe` show them.

use serde_json::Value;

use super::error::CliError;
use super::output::{Cell, Console, Style, Table};
use crate::run::load_case::LoadCase;
use crate::run::load_words::{ms, short};
use crate::stats::summary::Summary;

const HEADERS: [&str; 11] = [
    "CASE", "LOAD", "OK", "ERRORS", "REQ/S", "TOK/S", "TTFT p50", "TTFT p95", "ITL p50", "ITL p95", "E2E p95",
];

/// Cases that are a load test's.
pub fn cases(values: &[Value]) -> Vec<LoadCase> {
    values.iter().filter_map(|value| serde_json::from_value(value.clone()).ok()).collect()
}

/// The table, with `before` as its first columns.
pub fn table(before: &[&'static str]) -> Table {
    let headers: Vec<&'static str> = before.iter().copied().chain(HEADERS).collect();
    Table::new(&headers)
}

/// The cells of a case. Latencies are in milliseconds; ITL is by chunk where the tokens of a chunk are not
/// known.
pub fn cells(case: &LoadCase) -> Vec<Cell> {
    let rate = |rate: Option<f64>| Cell::maybe(rate.map(short));
    let at = |summary: &Option<Summary>, of: fn(&Summary) -> f64| {
        Cell::maybe(summary.as_ref().map(|summary| ms(of(summary))))
    };
    let metrics = &case.metrics;
    let itl = if metrics.itl.is_some() { &metrics.itl } else { &metrics.icl };
    let failed = case.requests.failed;
    let errors = Cell::new(failed.to_string()).style(if failed > 0 { Style::Bad } else { Style::Plain });
    vec![
        Cell::new(case.case.to_string()),
        Cell::new(case.label()),
        Cell::new(case.requests.ok.to_string()),
        errors,
        rate(case.throughput.requests_per_s),
        rate(case.throughput.output_tokens_per_s),
        at(&metrics.ttft, |summary| summary.p50),
        at(&metrics.ttft, |summary| summary.p95),
        at(itl, |summary| summary.p50),
        at(itl, |summary| summary.p95),
        at(&metrics.e2e, |summary| summary.p95),
    ]
}

/// What a reader has to know beside the table: what is not to be trusted, which objectives were missed,
/// which errors there were.
///
/// # Errors
/// The output's own.
pub fn remarks(name: &str, cases: &[LoadCase], console: &mut Console) -> Result<(), CliError> {
    for case in cases {
        for invalid in &case.invalid {
            console.line(format!("{name}: {}: not valid: {}", case.label(), invalid.message))?;
        }
        for (objective, result) in case.slo.iter().filter(|(_, result)| result.met == Some(false)) {
            let value = result.value.map_or_else(|| "unknown".to_owned(), ms);
            console.line(format!(
                "{name}: {}: missed {objective}: {value} ms, at most {} ms was asked for",
                case.label(),
                ms(result.at_most_ms)
            ))?;
        }
        if !case.requests.errors.is_empty() {
            let kinds: Vec<String> = case
                .requests
                .errors
                .iter()
                .map(|(kind, count)| format!("{count} × {}", kind.as_str()))
                .collect();
            console.line(format!("{name}: {}: errors: {}", case.label(), kinds.join(", ")))?;
        }
    }
    Ok(())
}
