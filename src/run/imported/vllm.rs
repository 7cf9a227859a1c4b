//! The result of `vllm bench serve`, of vllm-bench and of tools that took its keys over (SGLang's). Times are
//! in milliseconds in the statistics and in seconds in the lists of single requests, which are there with
//! `--save-detailed`. vLLM's ITL is the time between chunks, which benchlet calls `icl`.

use serde_json::Value;

use super::error::ImportError;
use super::fields::At;
use super::load_results::{blank, chunks, count, either, exact, in_order, metrics, told, us};
use super::{ImportedFigures, ImportedRun, times};
use crate::request::load_test::Arrivals;
use crate::run::load_case::{LoadCase, Metrics};
use crate::run::request_record::{ErrorKind, Record, RequestError};
use crate::stats::summary::Summary;

pub fn is_it(value: &Value) -> bool {
    let rate = value["request_throughput"].is_number();
    rate && (value["completed"].is_number() || value["backend"].is_string())
}

/// # Errors
/// A field that is not as vLLM writes it.
pub fn run(at: &At<'_>) -> Result<ImportedRun, ImportError> {
    let mut notes = Vec::new();
    let mut case = case(at)?;
    let (records, scheduled) = records(at, &mut notes)?;
    counts(at, &records, &mut case, &mut notes)?;
    let stated = stated(at, case.requests.ok)?;
    let single = metrics(&records, scheduled);
    if single.e2e.is_some() {
        case.percentiles = exact();
    }
    case.metrics = either(single, stated);
    if at.text_of("backend")?.is_some_and(|backend| backend.contains("chat")) {
        notes.push("vLLM's TTFT counts the first chunk of any kind, also one with a role alone".to_owned());
    }
    let model = case.model.clone();
    let source = at.source();
    let figures = ImportedFigures::Load { cases: vec![case], records: vec![records] };
    let mut run = ImportedRun::new(source.format, source.file, figures);
    run.model = model;
    if let Some(time) = at.text_of("date")?.and_then(times::of_text) {
        if !time.zone {
            notes.push(times::NO_ZONE.to_owned());
        }
        run.measured_at = Some(time.utc);
    }
    run.notes = notes;
    Ok(run)
}

fn case(at: &At<'_>) -> Result<LoadCase, ImportError> {
    let mut case = blank(1, "vllm-bench");
    if let Some(backend) = at.text_of("backend")?.or(at.text_of("endpoint_type")?) {
        case.engine = backend.to_owned();
    }
    case.model = at.text_of("model_id")?.map(str::to_owned);
    case.concurrency = at.count_of("max_concurrency")?.and_then(|count| u32::try_from(count).ok());
    // "inf": as fast as the concurrency lets it.
    case.rate = match at.get("request_rate") {
        Some(rate) if rate.value.is_string() => {
            rate.text()?.parse().ok().filter(|rate: &f64| rate.is_finite())
        }
        Some(rate) => Some(rate.amount()?),
        None => None,
    };
    let poisson = at.amount_of("burstiness")? == Some(1.0);
    case.arrivals = case.rate.filter(|_| poisson).map(|_| Arrivals::Poisson);
    case.requests_asked = at.count_of("num_prompts")?.and_then(|count| u32::try_from(count).ok());
    case.duration_s = at.amount_of("duration")?;
    case.tokens.input = at.count_of("total_input_tokens")?;
    case.tokens.output = at.count_of("total_output_tokens")?;
    case.throughput.requests_per_s = at.amount_of("request_throughput")?;
    case.throughput.output_tokens_per_s = at.amount_of("output_throughput")?;
    let per_second = |count: u64| case.duration_s.filter(|s| *s > 0.0).map(|s| count as f64 / s);
    case.throughput.input_tokens_per_s =
        at.amount_of("input_throughput")?.or(case.tokens.input.and_then(per_second));
    case.goodput = at.amount_of("request_goodput")?;
    case.context_window = at.count_of("max_model_len")?;
    Ok(case)
}

fn counts(
    at: &At<'_>,
    records: &[Record],
    case: &mut LoadCase,
    notes: &mut Vec<String>,
) -> Result<(), ImportError> {
    let failed = records.iter().filter(|record| record.error.is_some()).count() as u64;
    let succeeded = records.len() as u64 - failed;
    let ok = match at.count_of("completed")? {
        Some(ok) => ok,
        None if !records.is_empty() => succeeded,
        None => return Err(at.wrong("it has no \"completed\", the number of requests that succeeded")),
    };
    let asked = case.requests_asked.map(u64::from);
    let failed = match (at.count_of("failed")?, asked) {
        (Some(failed), _) => failed,
        (None, _) if !records.is_empty() => failed,
        // Older ones tell how many were asked for, and all of them are sent.
        (None, Some(asked)) if asked >= ok => asked - ok,
        (None, _) => {
            notes.push("it does not tell how many requests failed".to_owned());
            0
        }
    };
    for error in records.iter().filter_map(|record| record.error.as_ref()) {
        case.requests.messages.entry(error.kind).or_insert_with(|| error.message.clone());
    }
    count(case, ok, failed);
    Ok(())
}

/// What the file says of each latency, in milliseconds.
fn stated(at: &At<'_>, ok: u64) -> Result<Metrics, ImportError> {
    let summary = |name: &str, count: Option<u64>| -> Result<Option<Summary>, ImportError> {
        let of = |part: &str| at.amount_of(&format!("{part}_{name}_ms"));
        Ok(told(Summary {
            count,
            min: of("min")?.or(of("p0")?),
            mean: of("mean")?,
            p50: of("median")?.or(of("p50")?),
            p90: of("p90")?,
            p95: of("p95")?,
            p99: of("p99")?,
            max: of("max")?.or(of("p100")?),
            stddev: of("std")?,
            ..Summary::default()
        }))
    };
    let each = Some(ok).filter(|ok| *ok > 0);
    let ttft = summary("ttft", each)?;
    let e2e = match summary("e2el", each)? {
        Some(e2e) => Some(e2e),
        None => summary("e2e_latency", each)?,
    };
    Ok(Metrics {
        ttfr: ttft.clone(),
        ttft,
        tpot: summary("tpot", None)?,
        icl: summary("itl", None)?,
        e2e,
        ..Metrics::default()
    })
}

/// The single requests, and whether it is known when each should have been sent.
fn records(at: &At<'_>, notes: &mut Vec<String>) -> Result<(Vec<Record>, bool), ImportError> {
    let [latencies, ttfts, starts, queued] =
        ["latencies", "ttfts", "start_times", "queue_times"].map(|key| at.amounts_of(key));
    let (latencies, ttfts, starts, queued) = (latencies?, ttfts?, starts?, queued?);
    let Some(requests) = latencies.as_ref().or(ttfts.as_ref()).map(Vec::len) else {
        return Ok((Vec::new(), false));
    };
    let [inputs, outputs] = ["input_lens", "output_lens"].map(|key| match at.get(key) {
        // Embeddings have no output, which is written as 0.
        Some(list) if list.value.is_array() => at.amounts_of(key),
        Some(_) | None => Ok(None),
    });
    let (inputs, outputs) = (inputs?, outputs?);
    let gaps = gaps(at)?;
    let errors = errors(at)?;
    for (key, length) in [
        ("latencies", latencies.as_ref().map(Vec::len)),
        ("ttfts", ttfts.as_ref().map(Vec::len)),
        ("itls", gaps.as_ref().map(Vec::len)),
        ("start_times", starts.as_ref().map(Vec::len)),
        ("queue_times", queued.as_ref().map(Vec::len)),
        ("input_lens", inputs.as_ref().map(Vec::len)),
        ("output_lens", outputs.as_ref().map(Vec::len)),
        ("errors", errors.as_ref().map(Vec::len)),
    ] {
        if let (Some(length), Some(list)) = (length.filter(|length| *length != requests), at.get(key)) {
            return Err(list.wrong(format!("it has {length} entries, and there are {requests} requests")));
        }
    }
    // Without the errors nobody can tell which of them failed.
    if errors.is_none() && at.count_of("failed")?.unwrap_or(0) > 0 {
        notes.push("it does not say which requests failed, so single ones are left out".to_owned());
        return Ok((Vec::new(), false));
    }
    if starts.is_none() {
        notes.push("it has no start times; its requests stand in the order of the file".to_owned());
    }
    // All are due at once without a rate; the queue is then where they waited.
    let at_once = starts.is_none() && at.get("request_rate").is_none_or(|rate| rate.value == "inf");
    let queued = queued.filter(|_| starts.is_some() || at_once);
    let first = starts.iter().flatten().zip(queued.iter().flatten().copied().chain(std::iter::repeat(0.0)));
    let first = first.map(|(start, queued)| start - queued).fold(f64::INFINITY, f64::min);
    let of = |list: &Option<Vec<f64>>, at: usize| list.as_ref().and_then(|list| list.get(at)).copied();
    let record = |n: usize| {
        let wait = of(&queued, n).unwrap_or(0.0);
        let sent = of(&starts, n).map_or(wait, |start| start - first);
        let error = errors.as_ref().and_then(|errors| errors[n].clone());
        let ttft = of(&ttfts, n).filter(|ttft| *ttft > 0.0);
        let mut times: Vec<f64> = ttft.into_iter().collect();
        if let (Some(ttft), Some(gaps)) = (ttft, &gaps) {
            let mut at = ttft;
            times.extend(gaps[n].iter().map(|gap| {
                at += gap;
                at
            }));
        }
        let last = times.last().copied();
        let end = of(&latencies, n).or(last).unwrap_or(0.0);
        let first = ttft.map(us);
        Record {
            n: n as u64,
            scheduled_us: us(sent - wait),
            sent_us: us(sent),
            first_chunk_us: first,
            first_token_us: first,
            last_token_us: ttft.map(|_| us(last.filter(|_| gaps.is_some()).unwrap_or(end))),
            end_us: us(end.max(last.unwrap_or(0.0))),
            chunks: chunks(&times),
            tokens_in: of(&inputs, n).map(|count| count as u64),
            tokens_out: of(&outputs, n).map(|count| count as u64).filter(|_| error.is_none()),
            error: error.map(|message| RequestError { kind: ErrorKind::Unknown, message }),
            ..Record::default()
        }
    };
    Ok((in_order((0..requests).map(record).collect()), queued.is_some()))
}

/// `itls`: the gaps of each request.
fn gaps(at: &At<'_>) -> Result<Option<Vec<Vec<f64>>>, ImportError> {
    let Some(list) = at.get("itls") else { return Ok(None) };
    let each = list.items()?.into_iter().map(|gaps| gaps.items()?.iter().map(At::amount).collect());
    each.collect::<Result<_, _>>().map(Some)
}

/// `errors`: an empty text, or null, for each request that succeeded.
fn errors(at: &At<'_>) -> Result<Option<Vec<Option<String>>>, ImportError> {
    let Some(list) = at.get("errors") else { return Ok(None) };
    let each = list.items()?.into_iter().map(|error| match error.value {
        Value::Null => Ok(None),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
            let text = error.text()?.trim();
            Ok((!text.is_empty()).then(|| text.lines().last().unwrap_or(text).to_owned()))
        }
    });
    each.collect::<Result<_, _>>().map(Some)
}
