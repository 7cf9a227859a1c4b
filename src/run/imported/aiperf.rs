//! AIPerf's `profile_export_aiperf.json`, which genai-perf's resembles, and its `profile_export.jsonl` with a
//! request a line. Every metric has its unit. Its inter-token latency is a request's own mean after the first
//! token, which is `tpot`; its inter-chunk latency is `icl`.

use serde_json::Value;

use super::error::{ImportError, Place};
use super::fields::{At, Source};
use super::json_text::Text;
use super::load_results::{Parts, blank, chunks, count, exact, in_order, metrics, summary, us};
use super::{ImportedFigures, ImportedRun, times};
use crate::run::load_case::{LoadCase, Metrics};
use crate::run::request_record::{ErrorKind, Record, RequestError};
use crate::stats::summary::Summary;

const PARTS: Parts = Parts { count: Some("count"), mean: "avg", p50: "p50", stddev: "std" };

pub fn is_it(value: &Value) -> bool {
    let metric = |name: &str| value[name]["unit"].is_string() && value[name]["avg"].is_number();
    metric("request_throughput") || metric("request_latency") || is_request(value)
}

/// A line of the export of single requests.
fn is_request(value: &Value) -> bool {
    value["metadata"]["request_start_ns"].is_number() && value.get("metrics").is_some()
}

/// # Errors
/// A field that is not as AIPerf writes it.
pub fn runs(values: &Text, source: Source<'_>) -> Result<Vec<ImportedRun>, ImportError> {
    if values.items.first().is_some_and(|(_, value)| is_request(value)) {
        return requests(values, source).map(|run| vec![run]);
    }
    values.each(source, aggregate)
}

fn aggregate(at: &At<'_>) -> Result<ImportedRun, ImportError> {
    let mut case = case(at)?;
    let of = |name: &str| latency(at, name);
    case.metrics = Metrics {
        ttft: of("time_to_first_token")?,
        ttfo: of("time_to_first_output_token")?,
        tpot: of("inter_token_latency")?,
        icl: of("inter_chunk_latency")?,
        e2e: of("request_latency")?,
        ..Metrics::default()
    };
    let mut notes = Vec::new();
    let total = |name: &str| avg(at, name).map(|value| value.map(|value| value.round() as u64));
    let told = total("error_request_count")?;
    let summed = match at.get("error_summary") {
        None => None,
        Some(list) => Some(
            list.items()?
                .iter()
                .map(|one| Ok(one.count_of("count")?.unwrap_or(0)))
                .sum::<Result<u64, _>>()?,
        ),
    };
    match total("request_count")? {
        // It counts those that succeeded.
        Some(ok) => count(&mut case, ok, told.or(summed).unwrap_or(0)),
        None => notes.push("it does not tell how many requests there were".to_owned()),
    }
    if at.get("was_cancelled").is_some_and(|was| was.value == &Value::Bool(true)) {
        notes.push("it was cancelled before all requests were done".to_owned());
    }
    let model = case.model.clone();
    let source = at.source();
    let figures = ImportedFigures::Load { cases: vec![case], records: vec![Vec::new()] };
    let mut run = ImportedRun::new(source.format, source.file, figures);
    run.model = model;
    if let Some(time) = at.text_of("start_time")?.and_then(times::of_text) {
        if !time.zone {
            notes.push(times::NO_ZONE.to_owned());
        }
        run.measured_at = Some(time.utc);
    }
    run.notes = notes;
    Ok(run)
}

fn case(at: &At<'_>) -> Result<LoadCase, ImportError> {
    let config = at.get("input_config");
    let text = |paths: &[&[&str]]| {
        let found = config.as_ref().and_then(|config| config.first(paths))?;
        let first = found.value.get(0).unwrap_or(found.value);
        first.get("name").unwrap_or(first).as_str().map(str::to_owned)
    };
    let target = text(&[&["endpoint", "url"], &["endpoint", "urls"]]);
    let mut case = blank(1, target.as_deref().unwrap_or("aiperf"));
    case.model = text(&[&["endpoint", "model_names"], &["models", "items"], &["model"]]);
    let load = config.as_ref().and_then(|config| {
        let phases = config.get("phases").and_then(|phases| phases.items().ok()).unwrap_or_default();
        let profiling = phases.into_iter().rev().find(|phase| phase.get("concurrency").is_some());
        profiling.or_else(|| config.get("loadgen"))
    });
    if let Some(load) = load {
        case.concurrency = load.count_of("concurrency")?.and_then(|count| u32::try_from(count).ok());
        case.rate = load.amount_of("request_rate")?;
    }
    case.duration_s = avg(at, "benchmark_duration")?;
    case.throughput.requests_per_s = avg(at, "request_throughput")?;
    case.throughput.output_tokens_per_s = avg(at, "output_token_throughput")?;
    let sum = |name: &str| avg(at, name).map(|sum| sum.map(|sum| sum.round() as u64));
    case.tokens.input = sum("total_isl")?;
    case.tokens.output = sum("total_osl")?.or(sum("total_output_tokens")?);
    case.goodput = avg(at, "goodput")?;
    Ok(case)
}

/// A metric that is one number; times in seconds.
fn avg(at: &At<'_>, name: &str) -> Result<Option<f64>, ImportError> {
    let Some(metric) = at.get(name) else { return Ok(None) };
    let scale = match metric.text_of("unit")? {
        Some("ms") => 1e-3,
        Some("us") => 1e-6,
        Some("ns") => 1e-9,
        Some(_) | None => 1.0,
    };
    Ok(metric.amount_of("avg")?.map(|value| value * scale))
}

/// A latency's statistics in milliseconds.
fn latency(at: &At<'_>, name: &str) -> Result<Option<Summary>, ImportError> {
    let Some(metric) = at.get(name) else { return Ok(None) };
    let scale = scale(&metric)?;
    summary(&metric, PARTS, &metric, scale)
}

/// What makes a value milliseconds.
fn scale(metric: &At<'_>) -> Result<f64, ImportError> {
    match metric.text_of("unit")? {
        Some("ms") => Ok(1.0),
        Some("sec" | "s" | "seconds") => Ok(1e3),
        Some("us") => Ok(1e-3),
        Some("ns") => Ok(1e-6),
        Some(other) => Err(metric.wrong(format!("its unit {other:?} is no unit of time"))),
        None => Err(metric.wrong("it has no unit")),
    }
}

/// The export of single requests as a run: everything is computed from them.
fn requests(values: &Text, source: Source<'_>) -> Result<ImportedRun, ImportError> {
    let mut entries = Vec::new();
    for (line, value) in &values.items {
        let at = At::root(source, value);
        let start = values.on_its_line(
            *line,
            at.required("metadata").and_then(|data| data.required("request_start_ns")?.amount()),
        );
        entries.push((*line, at, start?));
    }
    let first = entries.iter().map(|(_, _, start)| *start).fold(f64::INFINITY, f64::min);
    let records =
        entries.iter().map(|(line, at, start)| values.on_its_line(*line, record(at, *start, first)));
    let records = in_order(records.collect::<Result<_, _>>()?);
    let mut case = blank(1, "aiperf");
    let failed = records.iter().filter(|record| record.error.is_some()).count() as u64;
    let ok = records.len() as u64 - failed;
    if ok == 0 {
        return Err(source.wrong(Place::File, "none of its requests succeeded"));
    }
    count(&mut case, ok, failed);
    case.percentiles = exact();
    case.metrics = metrics(&records, false);
    let last = records.iter().map(|record| record.sent_us + record.end_us).max();
    case.duration_s = last.filter(|us| *us > 0).map(|us| us as f64 / 1e6);
    let succeeded = || records.iter().filter(|record| record.error.is_none());
    case.tokens.input = succeeded().map(|record| record.tokens_in).sum();
    case.tokens.output = succeeded().map(|record| record.tokens_out).sum();
    if let Some(seconds) = case.duration_s {
        case.throughput.requests_per_s = Some(ok as f64 / seconds);
        case.throughput.output_tokens_per_s = case.tokens.output.map(|tokens| tokens as f64 / seconds);
    }
    let figures = ImportedFigures::Load { cases: vec![case], records: vec![records] };
    let mut run = ImportedRun::new(source.format, source.file, figures);
    run.measured_at = times::of_unix(first).map(|time| time.utc);
    Ok(run)
}

fn record(at: &At<'_>, start: f64, first: f64) -> Result<Record, ImportError> {
    let data = at.required("metadata")?;
    let ms = |name: &str| -> Result<Option<f64>, ImportError> {
        let Some(metric) = at.at(&["metrics", name]) else { return Ok(None) };
        let scale = scale(&metric)?;
        Ok(metric.amount_of("value")?.map(|value| value * scale))
    };
    let tokens = |name: &str| at.at(&["metrics", name]).map(|metric| metric.count_of("value")).transpose();
    let ttft = ms("time_to_first_token")?;
    let mut times: Vec<f64> = ttft.map(|ms| ms / 1e3).into_iter().collect();
    let gaps = at.at(&["metrics", "inter_chunk_latency"]).filter(|_| ttft.is_some());
    if let Some(gaps) = gaps {
        let scale = scale(&gaps)? / 1e3;
        for gap in gaps.amounts_of("value")?.unwrap_or_default() {
            times.push(times.last().copied().unwrap_or(0.0) + gap * scale);
        }
    }
    let end = data.amount_of("request_end_ns")?.map(|end| us((end - start) / 1e9));
    let error = at.get("error");
    let message = error.as_ref().map(|error| error.text_of("message")).transpose()?.flatten();
    let first_token = ttft.map(|ms| us(ms / 1e3));
    Ok(Record {
        scheduled_us: us((start - first) / 1e9),
        sent_us: us((start - first) / 1e9),
        first_chunk_us: first_token,
        first_token_us: first_token,
        last_token_us: first_token.and(ms("request_latency")?.map(|ms| us(ms / 1e3)).or(end)),
        end_us: end.or(ms("request_latency")?.map(|ms| us(ms / 1e3))).unwrap_or(0),
        chunks: chunks(&times),
        tokens_in: tokens("input_sequence_length")?.flatten(),
        tokens_out: tokens("output_sequence_length")?.flatten().filter(|_| error.is_none()),
        error: error.is_some().then(|| RequestError {
            kind: ErrorKind::Unknown,
            message: message.unwrap_or("it failed").to_owned(),
        }),
        ..Record::default()
    })
}
