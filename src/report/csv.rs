//! A report as CSV: a row a case with the system's use, or a row a request. RFC 4180 but for the line
//! ends, which are those of the system's other tools. Numbers have all their places; unknown is empty.

use std::collections::BTreeSet;

use super::content::{BenchCase, LoadCaseReport, Report, RequestRow, Results};
use super::escape::csv as escaped;
use super::load_status;
use crate::request::load_test::{Arrivals, Metric};
use crate::run::conversation_case::ConversationFigures;
use crate::run::conversation_words::ended_early;
use crate::stats::mean_difference::Estimate;
use crate::stats::summary::Summary;

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rows {
    #[default]
    Cases,
    /// Requests of a load test, repetitions of llama-bench.
    Requests,
}

pub fn render(report: &Report, rows: Rows) -> String {
    let records: Vec<Record> = match (&report.results, rows) {
        (Results::LlamaBench { cases }, Rows::Cases) => cases.iter().map(bench_case).collect(),
        (Results::LlamaBench { cases }, Rows::Requests) => cases.iter().flat_map(repetitions).collect(),
        (Results::LoadTest { cases } | Results::Conversation { cases }, Rows::Cases) => {
            let system: BTreeSet<&String> =
                cases.iter().flat_map(|case| case.figures.system.keys()).collect();
            cases.iter().map(|case| load_case(case, &system)).collect()
        }
        (Results::LoadTest { cases } | Results::Conversation { cases }, Rows::Requests) => {
            cases.iter().flat_map(|case| case.requests.iter().map(move |row| request(case, row))).collect()
        }
    };
    text(report, records)
}

/// Names and values of a row.
pub(super) type Record = Vec<(String, String)>;

fn text(report: &Report, records: Vec<Record>) -> String {
    let of_run = vec![
        pair("request", &report.request.name),
        pair("run", &report.run.id),
        maybe("completed_at", report.run.completed_at.as_ref()),
        pair("simulated", report.simulated),
    ];
    if records.is_empty() {
        let names: Vec<String> = of_run.iter().map(|(name, _)| escaped(name)).collect();
        return format!("{}\n", names.join(","));
    }
    let rows: Vec<(Record, Record)> = records.into_iter().map(|record| (of_run.clone(), record)).collect();
    table(&rows)
}

/// Rows of a part that is about the run and one that is about its case. All have the columns of any, in the
/// order in which they first appear, those of runs first.
pub(super) fn table(rows: &[(Record, Record)]) -> String {
    let mut columns: Vec<&str> = Vec::new();
    let all = rows.iter().flat_map(|(run, _)| run).chain(rows.iter().flat_map(|(_, case)| case));
    for (name, _) in all {
        if !columns.contains(&name.as_str()) {
            columns.push(name);
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let cells: Vec<String> = cells.map(escaped).collect();
        format!("{}\n", cells.join(","))
    };
    let mut out = line(&mut columns.iter().copied());
    for (run, case) in rows {
        // Where names repeat, as users' metrics may, the first one counts.
        let found = |column: &str| run.iter().chain(case).find(|(name, _)| name == column);
        let value = |column: &&str| found(column).map_or("", |(_, value)| value.as_str());
        out.push_str(&line(&mut columns.iter().map(value)));
    }
    out
}

pub(super) fn bench_case(case: &BenchCase) -> Record {
    let slow: Vec<String> = case.slow_first.iter().map(|launch| (launch + 1).to_string()).collect();
    let mut record = vec![
        pair("case", case.case),
        pair("test", &case.test),
        maybe("avg_ts", case.avg_ts),
        maybe("stddev_ts", case.stddev_ts),
        maybe("median_ts", case.median_ts),
        maybe("min_ts", case.summary.as_ref().and_then(|summary| summary.min)),
        maybe("max_ts", case.summary.as_ref().and_then(|summary| summary.max)),
        pair("launches", case.samples_ts.len()),
        pair("repetitions", case.samples_ts.iter().map(Vec::len).sum::<usize>()),
        pair("slow_first_launches", slow.join(" ")),
    ];
    record.extend(case.varied.iter().cloned());
    record
}

fn repetitions(case: &BenchCase) -> Vec<Record> {
    let launches = (1..).zip(&case.samples_ts);
    launches
        .flat_map(|(launch, samples): (u32, _)| {
            (1..).zip(samples).map(move |(repetition, sample): (u32, _)| {
                let mut record = vec![
                    pair("case", case.case),
                    pair("test", &case.test),
                    pair("launch", launch),
                    pair("repetition", repetition),
                    pair("ts", sample),
                ];
                record.extend(case.varied.iter().cloned());
                record
            })
        })
        .collect()
}

pub(super) fn load_case(case: &LoadCaseReport, system: &BTreeSet<&String>) -> Record {
    let figures = &case.figures;
    let (requests, tokens, through) = (&figures.requests, &figures.tokens, &figures.throughput);
    let plateau = through.plateau.as_ref();
    let invalid: Vec<&str> =
        figures.invalid.iter().map(|invalid| load_status::reason_of(invalid.reason).as_str()).collect();
    let errors: Vec<String> =
        requests.errors.iter().map(|(kind, count)| format!("{}={count}", kind.as_str())).collect();
    let mut record = vec![
        pair("case", figures.case),
        pair("target", &figures.target),
        pair("engine", &figures.engine),
        maybe("model", figures.model.as_ref()),
        maybe("concurrency", figures.concurrency),
        maybe("rate", figures.rate),
        maybe("arrivals", figures.arrivals.map(arrivals)),
        maybe("input_tokens", figures.input_tokens),
        pair("valid", figures.valid),
        pair("invalid", invalid.join(" ")),
        maybe("duration_s", figures.duration_s),
        pair("requests", requests.total),
        pair("ok", requests.ok),
        pair("failed", requests.failed),
        pair("errors", errors.join(" ")),
        maybe("success_rate", figures.success_rate),
        maybe("error_rate", figures.error_rate),
        maybe("tokens_in", tokens.input),
        maybe("tokens_out", tokens.output),
        maybe("tokens_cached", tokens.cached),
        maybe("token_source", tokens.source.map(|source| source.as_str())),
        maybe("cache_hit_percent", tokens.cache_hit_percent),
        maybe("requests_per_s", through.requests_per_s),
        maybe("output_tokens_per_s", through.output_tokens_per_s),
        maybe("input_tokens_per_s", through.input_tokens_per_s),
        maybe("plateau_s", plateau.map(|plateau| plateau.seconds)),
        maybe("plateau_requests_per_s", plateau.map(|plateau| plateau.requests_per_s)),
        maybe("plateau_output_tokens_per_s", plateau.and_then(|plateau| plateau.output_tokens_per_s)),
        maybe("goodput", figures.goodput),
        maybe("good_fraction", figures.good_fraction),
    ];
    for metric in Metric::ALL {
        record.extend(summary(metric.as_str(), figures.metrics.get(*metric)));
    }
    record.extend(figures.conversation.iter().flat_map(conversation));
    let client = &figures.client;
    record.extend([
        maybe("client_cpu_percent_of_a_thread", client.cpu_percent_of_a_thread),
        maybe(
            "cost_per_thousand_requests",
            figures.cost.as_ref().and_then(|cost| cost.per_thousand_requests),
        ),
        maybe(
            "cost_per_million_output_tokens",
            figures.cost.as_ref().and_then(|cost| cost.per_million_output_tokens),
        ),
    ]);
    for name in system {
        let found = figures.system.get(*name);
        record.push(maybe(&format!("{name}_mean"), found.map(|summary| summary.mean)));
        record.push(maybe(&format!("{name}_max"), found.map(|summary| summary.max)));
    }
    record
}

fn conversation(held: &ConversationFigures) -> Record {
    let (quality, hits, saved) = (&held.quality, &held.cache_hits, held.saved.as_ref());
    let bounds = |estimate: Option<Estimate>| estimate.and_then(|estimate| estimate.interval);
    let seconds = saved.map(|saved| saved.seconds);
    let percent = saved.and_then(|saved| saved.percent);
    vec![
        pair("conversation", &held.name),
        pair("tags", held.tags.join(" ")),
        pair("prefix_cache", held.prefix_cache.as_str()),
        pair("turns", held.turns_asked),
        maybe("needed_tokens", held.skipped.as_ref().map(|skipped| skipped.needed_tokens)),
        maybe("ended_early", held.early.as_ref().map(ended_early)),
        maybe("context_window", held.context.window),
        maybe("context_peak_tokens", held.context.peak_tokens),
        maybe("context_peak_percent", held.context.peak_percent),
        maybe("hits_usage_percent", hits.usage_percent),
        maybe("hits_engine_percent", hits.engine_percent),
        maybe("hits_metrics_percent", hits.metrics_percent),
        maybe("saved_s", seconds.map(|seconds| seconds.value)),
        maybe("saved_s_low", bounds(seconds).map(|[low, _]| low)),
        maybe("saved_s_high", bounds(seconds).map(|[_, high]| high)),
        maybe("saved_percent", percent.map(|percent| percent.value)),
        maybe("saved_percent_low", bounds(percent).map(|[low, _]| low)),
        maybe("saved_percent_high", bounds(percent).map(|[_, high]| high)),
        pair("answers_empty", quality.empty),
        pair("answers_repeated", quality.repeated),
        pair("answers_cut", quality.cut),
        pair("expected", quality.expected),
        pair("expected_met", quality.met),
    ]
}

/// Milliseconds.
fn summary(name: &str, summary: Option<&Summary>) -> Vec<(String, String)> {
    let intervals = summary.map(|summary| summary.intervals).unwrap_or_default();
    let column = |part: &str, value: Option<f64>| maybe(&format!("{name}_{part}"), value);
    let of = |part: fn(&Summary) -> Option<f64>| summary.and_then(part);
    vec![
        maybe(&format!("{name}_count"), summary.and_then(|summary| summary.count)),
        column("mean", of(|summary| summary.mean)),
        column("stddev", summary.and_then(|summary| summary.stddev)),
        column("min", of(|summary| summary.min)),
        column("p50", of(|summary| summary.p50)),
        column("p90", of(|summary| summary.p90)),
        column("p95", of(|summary| summary.p95)),
        column("p95_low", intervals.p95.map(|[low, _]| low)),
        column("p95_high", intervals.p95.map(|[_, high]| high)),
        column("p99", of(|summary| summary.p99)),
        column("p99_low", intervals.p99.map(|[low, _]| low)),
        column("p99_high", intervals.p99.map(|[_, high]| high)),
        column("max", of(|summary| summary.max)),
    ]
}

fn request(case: &LoadCaseReport, row: &RequestRow) -> Record {
    vec![
        pair("case", case.figures.case),
        pair("load", &case.label),
        pair("repeat", row.repeat),
        pair("n", row.n),
        pair("warmup", row.warmup),
        pair("scheduled_ms", row.scheduled_ms),
        pair("sent_ms", row.sent_ms),
        pair("client_delay_ms", row.client_delay_ms),
        maybe("ttft_ms", row.ttft_ms),
        maybe("tpot_ms", row.tpot_ms),
        maybe("e2e_ms", row.e2e_ms),
        pair("total_ms", row.total_ms),
        maybe("prefill_ms", row.prefill_ms),
        maybe("decode_ms", row.decode_ms),
        maybe("tokens_in", row.tokens_in),
        maybe("tokens_out", row.tokens_out),
        maybe("tokens_cached", row.tokens_cached),
        maybe("engine_cached", row.engine_cached),
        maybe("token_source", row.token_source.map(|source| source.as_str())),
        maybe("finish_reason", row.finish_reason.as_ref()),
        maybe("status", row.status),
        maybe("error", row.error.map(|error| error.as_str())),
        maybe("message", row.message.as_ref()),
        pair("chars", row.chars),
        maybe("text", row.text.as_ref()),
        pair("reconnected", row.reconnected),
    ]
}

fn arrivals(arrivals: Arrivals) -> &'static str {
    match arrivals {
        Arrivals::Poisson => "Poisson",
        Arrivals::Constant => "Constant",
    }
}

fn pair(name: &str, value: impl ToString) -> (String, String) {
    (name.to_owned(), value.to_string())
}

fn maybe(name: &str, value: Option<impl ToString>) -> (String, String) {
    (name.to_owned(), value.map(|value| value.to_string()).unwrap_or_default())
}
