//! GuideLLM's `benchmarks.json`: a case a benchmark, with its single requests where it kept all of them.
//! Its time per output token counts from the sending, which is `ntpot`; its inter-token latency is each
//! request's mean, weighted by tokens, and stands as `itl` with a note. What is 0 throughout was not measured.

use serde_json::Value;

use super::error::ImportError;
use super::fields::At;
use super::load_results::{Parts, blank, count, either, exact, in_order, metrics, summary, us};
use super::{ImportedFigures, ImportedRun, times};
use crate::request::load_test::Arrivals;
use crate::run::load_case::{LoadCase, Metrics};
use crate::run::request_record::{ErrorKind, Record, RequestError};
use crate::stats::summary::Summary;

const PARTS: Parts = Parts { count: Some("count"), mean: "mean", p50: "median", stddev: "std_dev" };

pub fn is_it(value: &Value) -> bool {
    let first = value["benchmarks"].get(0);
    first.is_some_and(|first| first["metrics"].is_object())
}

/// # Errors
/// A field that is not as GuideLLM writes it.
pub fn run(at: &At<'_>) -> Result<ImportedRun, ImportError> {
    let benchmarks = at.required("benchmarks")?.items()?;
    if benchmarks.is_empty() {
        return Err(at
            .wrong("it has no benchmark")
            .hint("GuideLLM writes it when all rates have been measured"));
    }
    let (mut cases, mut records, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    let mut began: Option<f64> = None;
    for (number, benchmark) in (1..).zip(&benchmarks) {
        let (case, requests) = case(number, at, benchmark, &mut notes)?;
        cases.push(case);
        records.push(requests);
        if let Some(start) = benchmark.amount_of("start_time")? {
            began = Some(began.map_or(start, |began| began.min(start)));
        }
    }
    let model = cases.iter().find_map(|case| case.model.clone());
    let source = at.source();
    let mut run = ImportedRun::new(source.format, source.file, ImportedFigures::Load { cases, records });
    run.model = model;
    run.measured_at = began.and_then(times::of_unix).map(|time| time.utc);
    notes.dedup();
    run.notes = notes;
    Ok(run)
}

fn case(
    number: u32,
    whole: &At<'_>,
    at: &At<'_>,
    notes: &mut Vec<String>,
) -> Result<(LoadCase, Vec<Record>), ImportError> {
    let text = |paths: &[&[&str]]| {
        let found = at.first(paths).or_else(|| whole.first(paths));
        found.and_then(|found| found.value.as_str()).map(str::to_owned)
    };
    let target = text(&[
        &["config", "backend", "target"],
        &["worker", "backend_target"],
        &["args", "target"],
        &["backend", "target"],
    ]);
    let mut case = blank(number, target.as_deref().unwrap_or("guidellm"));
    case.model = text(&[
        &["config", "backend", "model"],
        &["worker", "backend_model"],
        &["args", "model"],
        &["backend", "model"],
    ]);
    strategy(at, &mut case)?;
    case.duration_s = at.amount_of("duration")?.or(at.amount_of("run_duration")?);
    let told = at.required("metrics")?;
    let successful = |name: &str| told.at(&[name, "successful"]);
    let mean = |name: &str| -> Result<Option<f64>, ImportError> {
        Ok(successful(name).map(|at| at.amount_of("mean")).transpose()?.flatten().filter(|mean| *mean > 0.0))
    };
    case.throughput.requests_per_s = mean("requests_per_second")?;
    case.throughput.output_tokens_per_s = mean("output_tokens_per_second")?;
    case.throughput.input_tokens_per_s = mean("prompt_tokens_per_second")?;
    let sum = |name: &str| -> Result<Option<u64>, ImportError> {
        let sum = successful(name).map(|at| at.amount_of("total_sum")).transpose()?.flatten();
        Ok(sum.filter(|sum| *sum > 0.0).map(|sum| sum.round() as u64))
    };
    case.tokens.input = sum("prompt_token_count")?;
    case.tokens.output = sum("output_token_count")?;
    let records = records(at)?;
    let totals =
        at.first(&[&["metrics", "request_totals"], &["run_stats", "requests_made"], &["request_totals"]]);
    let (ok, failed, cut) = match &totals {
        Some(totals) => {
            (totals.count_of("successful")?, totals.count_of("errored")?, totals.count_of("incomplete")?)
        }
        None => (None, None, None),
    };
    let kept = |failed: bool| records.iter().filter(|record| record.error.is_some() == failed).count() as u64;
    let (ok, failed) = (ok.unwrap_or(kept(false)), failed.unwrap_or(kept(true)));
    if let Some(cut) = cut.filter(|cut| *cut > 0) {
        notes
            .push(format!("case {number}: {cut} requests were still under way at its end and count nowhere"));
    }
    for error in records.iter().filter_map(|record| record.error.as_ref()) {
        case.requests.messages.entry(error.kind).or_insert_with(|| error.message.clone());
    }
    count(&mut case, ok, failed);
    let stated = stated(&told)?;
    if stated.itl.is_some() {
        notes.push("GuideLLM's ITL is the mean of each request, weighted by its tokens".to_owned());
    }
    // It may keep a sample of the requests alone, which stands for no percentile.
    let single = if kept(false) == ok { metrics(&records, true) } else { Metrics::default() };
    if single.e2e.is_some() {
        case.percentiles = exact();
    }
    case.metrics = either(single, stated);
    Ok((case, records))
}

fn strategy(at: &At<'_>, case: &mut LoadCase) -> Result<(), ImportError> {
    let Some(strategy) = at.first(&[&["config", "strategy"], &["args", "strategy"], &["strategy"]]) else {
        return Ok(());
    };
    let kind = strategy.text_of("type_")?.or(strategy.text_of("kind")?).unwrap_or_default();
    let whole = |key: &str| -> Result<Option<u32>, ImportError> {
        Ok(strategy.count_of(key)?.and_then(|count| u32::try_from(count).ok()))
    };
    match kind {
        "synchronous" => case.concurrency = Some(1),
        "concurrent" => case.concurrency = whole("streams")?,
        "throughput" => case.concurrency = whole("max_concurrency")?,
        "constant" | "poisson" => {
            case.rate = strategy.amount_of("rate")?;
            case.arrivals = Some(if kind == "poisson" { Arrivals::Poisson } else { Arrivals::Constant });
        }
        _ => {}
    }
    Ok(())
}

fn stated(told: &At<'_>) -> Result<Metrics, ImportError> {
    let of = |name: &str, scale: f64| -> Result<Option<Summary>, ImportError> {
        let Some(at) = told.at(&[name, "successful"]) else { return Ok(None) };
        let percentiles = at.get("percentiles").unwrap_or_else(|| at.clone());
        Ok(summary(&at, PARTS, &percentiles, scale)?.filter(|summary| summary.max != Some(0.0)))
    };
    Ok(Metrics {
        ttft: of("time_to_first_token_ms", 1.0)?,
        ttfo: of("time_to_first_output_token_ms", 1.0)?,
        ntpot: of("time_per_output_token_ms", 1.0)?,
        itl: of("inter_token_latency_ms", 1.0)?,
        e2e: of("request_latency", 1e3)?,
        ..Metrics::default()
    })
}

/// Those that succeeded and those that failed.
fn records(at: &At<'_>) -> Result<Vec<Record>, ImportError> {
    let list = |name: &str| match at.at(&["requests", name]) {
        Some(list) => list.items(),
        None => Ok(Vec::new()),
    };
    let (ok, failed) = (list("successful")?, list("errored")?);
    let start = |at: &At<'_>| time(at, "request_start", &["request_start_time", "start_time"]);
    let mut first = f64::INFINITY;
    for at in ok.iter().chain(&failed) {
        for time in [start(at)?, time(at, "targeted_start", &[])?].into_iter().flatten() {
            first = first.min(time);
        }
    }
    let mut records = Vec::new();
    for (entry, failed) in ok.iter().map(|at| (at, false)).chain(failed.iter().map(|at| (at, true))) {
        // A request that never began has no times.
        if let Some(start) = start(entry)? {
            records.push(record(entry, start, first, failed)?);
        }
    }
    Ok(in_order(records))
}

fn record(at: &At<'_>, start: f64, first: f64, failed: bool) -> Result<Record, ImportError> {
    let after = |time: Option<f64>| time.map(|time| us(time - start));
    let token = after(time(at, "first_token_iteration", &["first_token_time"])?);
    let due = time(at, "targeted_start", &[])?.filter(|due| *due <= start).unwrap_or(start);
    let last = after(time(at, "last_token_iteration", &["last_token_time"])?);
    let end = after(time(at, "request_end", &["request_end_time", "end_time"])?);
    let message = at.first(&[&["info", "error"], &["error"]]);
    let message = message.and_then(|error| error.value.as_str()).unwrap_or("it failed").to_owned();
    Ok(Record {
        scheduled_us: us(due - first),
        sent_us: us(start - first),
        first_chunk_us: after(time(at, "first_request_iteration", &[])?).or(token),
        first_token_us: token,
        first_output_us: after(time(at, "first_output_token_iteration", &[])?),
        last_token_us: last.filter(|_| token.is_some()),
        end_us: end.or(last).unwrap_or(0),
        // When the others came, it does not tell.
        chunks: token.and_then(|token| u32::try_from(token).ok()).into_iter().collect(),
        tokens_in: at.count_of("prompt_tokens")?,
        tokens_out: at.count_of("output_tokens")?.filter(|_| !failed),
        error: failed.then_some(RequestError { kind: ErrorKind::Unknown, message }),
        ..Record::default()
    })
}

/// A moment of a request in Unix time: among its timings, or under its older names.
fn time(at: &At<'_>, name: &str, older: &[&str]) -> Result<Option<f64>, ImportError> {
    let found = at.at(&["info", "timings", name]).or_else(|| older.iter().find_map(|name| at.get(name)));
    Ok(found.map(|found| found.number()).transpose()?.filter(|time| *time > 0.0))
}
