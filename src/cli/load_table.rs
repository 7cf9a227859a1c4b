//! A load test's cases in a table, as `run` and `describe` show them.

use serde_json::Value;

use super::error::CliError;
use super::output::{Cell, Console, Style, Table, clean};
use crate::request::load_test::Metric;
use crate::run::load_case::LoadCase;
use crate::run::load_words::{ms, short};
use crate::stats::summary::Summary;

const HEADERS: [&str; 11] = [
    "CASE", "LOAD", "OK", "ERRORS", "REQ/S", "TOK/S", "TTFT p50", "TTFT p95", "ITL p50", "ITL p95", "E2E p95",
];

/// Behind a time between chunks that stands in for one between tokens.
const BY_CHUNK: &str = "*";

/// Units and marks, for below the table.
pub fn legend<'a>(cases: impl IntoIterator<Item = &'a LoadCase>) -> &'static str {
    if cases.into_iter().any(|case| case.metrics.itl.is_none() && case.metrics.icl.is_some()) {
        "Latencies are in milliseconds. * between chunks: the server does not tell the tokens of each."
    } else {
        "Latencies are in milliseconds."
    }
}

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
    let at = |summary: &Option<Summary>, of: fn(&Summary) -> Option<f64>| {
        Cell::maybe(summary.as_ref().and_then(of).map(ms))
    };
    let metrics = &case.metrics;
    let (itl, mark) = if metrics.itl.is_some() { (&metrics.itl, "") } else { (&metrics.icl, BY_CHUNK) };
    let gap = |of: fn(&Summary) -> Option<f64>| {
        Cell::maybe(itl.as_ref().and_then(of).map(|value| format!("{}{mark}", ms(value))))
    };
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
        gap(|summary| summary.p50),
        gap(|summary| summary.p95),
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
        for (kind, count) in &case.requests.errors {
            let words = case.requests.messages.get(kind).map(|words| format!(": {}", clean(words)));
            let words = words.unwrap_or_default();
            console.line(format!("{name}: {}: {count} × {}{words}", case.label(), kind.as_str()))?;
        }
    }
    Ok(())
}

/// Every latency of a case with the intervals of its percentiles: two-sided, 95 %, a dash where the samples
/// are too few for one. Milliseconds.
pub fn latencies(case: &LoadCase) -> Table {
    let mut table = Table::new(&[
        "METRIC",
        "N",
        "MEAN",
        "STDDEV",
        "P50",
        "P90",
        "P95",
        "P95 INTERVAL",
        "P99",
        "P99 INTERVAL",
        "MAX",
    ])
    .indented(4);
    let interval = |bounds: Option<[f64; 2]>| {
        bounds.map_or_else(|| "—".to_owned(), |[low, high]| format!("{}–{}", ms(low), ms(high)))
    };
    for metric in Metric::ALL {
        let Some(summary) = case.metrics.get(*metric) else { continue };
        table.row(vec![
            metric.as_str().into(),
            Cell::maybe(summary.count.map(|count| count.to_string())),
            Cell::maybe(summary.mean.map(ms)),
            Cell::maybe(summary.stddev.map(ms)),
            Cell::maybe(summary.p50.map(ms)),
            Cell::maybe(summary.p90.map(ms)),
            Cell::maybe(summary.p95.map(ms)),
            interval(summary.intervals.p95).into(),
            Cell::maybe(summary.p99.map(ms)),
            interval(summary.intervals.p99).into(),
            Cell::maybe(summary.max.map(ms)),
        ]);
    }
    table
}

/// What else is known of a case, in lines: tokens and where their count comes from, the plateau, goodput,
/// the client, the system, cost.
pub fn details(case: &LoadCase) -> Vec<String> {
    let mut lines = Vec::new();
    let count = |count: Option<u64>| count.map_or_else(|| "unknown".to_owned(), |count| count.to_string());
    let tokens = &case.tokens;
    let source = tokens.source.map_or("nobody", |source| source.as_str());
    lines.push(format!(
        "tokens: {} in, {} out, {} cached, counted by {source}",
        count(tokens.input),
        count(tokens.output),
        count(tokens.cached)
    ));
    if let Some(plateau) = &case.throughput.plateau {
        let rate =
            plateau.output_tokens_per_s.map(|rate| format!(", {} tok/s", short(rate))).unwrap_or_default();
        let requests = short(plateau.requests_per_s);
        lines.push(format!("plateau: {:.1} s at full load, {requests} req/s{rate}", plateau.seconds));
    }
    if let (Some(goodput), Some(fraction)) = (case.goodput, case.good_fraction) {
        lines.push(format!(
            "goodput: {} req/s met every objective, {:.1} % of all",
            short(goodput),
            fraction * 100.0
        ));
    }
    if let (Some(p50), Some(cpu)) = (case.client.delay_p50, case.client.cpu_percent_of_a_thread) {
        lines.push(format!("client: {} ms late in the median, {cpu:.0} % of a core a thread", ms(p50)));
    }
    let system: Vec<String> = case
        .system
        .iter()
        .filter(|(name, _)| name.ends_with("_percent"))
        .map(|(name, summary)| format!("{name} {:.0}", summary.mean))
        .collect();
    if !system.is_empty() {
        lines.push(format!("system, mean: {}", system.join(", ")));
    }
    if let Some(cost) = &case.cost {
        let each = |cost: Option<f64>| cost.map_or_else(|| "unknown".to_owned(), |cost| format!("{cost:.4}"));
        lines.push(format!(
            "cost: {} a thousand requests, {} a million output tokens",
            each(cost.per_thousand_requests),
            each(cost.per_million_output_tokens)
        ));
    }
    lines
}
