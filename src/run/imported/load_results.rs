//! What the files of load generators have in common: a case of which little is known, statistics that were
//! computed elsewhere, and figures out of single requests. Fills in what is told and leaves the rest null.

use std::collections::BTreeMap;

use super::error::ImportError;
use super::fields::At;
use crate::run::load_case::{
    Client, Invalid, InvalidReason, LoadCase, Metrics, Requests, Throughput, Tokens,
};
use crate::run::load_figures::Pass;
use crate::run::load_latency;
use crate::run::measure_plan::{CaseAmount, CaseLoad, CasePlan};
use crate::run::request_record::{ErrorKind, Record};
use crate::stats::quantile;
use crate::stats::summary::Summary;

/// Where a file does not say what was measured.
const UNKNOWN: &str = "unknown";

/// A case with nothing but its number and what it is of. It is valid until something speaks against it:
/// whether another tool's client was late, it does not tell.
pub fn blank(number: u32, target: &str) -> LoadCase {
    LoadCase {
        case: number,
        target: target.to_owned(),
        engine: UNKNOWN.to_owned(),
        model: None,
        concurrency: None,
        rate: None,
        arrivals: None,
        input_tokens: None,
        requests_asked: None,
        duration_s: None,
        percentiles: "as the file has them".to_owned(),
        metrics: Metrics::default(),
        requests: Requests::default(),
        success_rate: None,
        error_rate: None,
        tokens: Tokens::default(),
        throughput: Throughput::default(),
        goodput: None,
        good_fraction: None,
        slo: BTreeMap::new(),
        valid: true,
        invalid: Vec::new(),
        client: Client::default(),
        cache: None,
        system: BTreeMap::new(),
        samples: Vec::new(),
        repeats: Vec::new(),
        context_window: None,
        cost: None,
        conversation: None,
        simulated: false,
    }
}

/// Counts with what follows from them: the rates, and that nothing succeeded.
pub fn count(case: &mut LoadCase, ok: u64, failed: u64) {
    let total = ok.saturating_add(failed);
    case.requests.total = total;
    case.requests.ok = ok;
    case.requests.failed = failed;
    let told: u64 = case.requests.errors.values().sum();
    if failed > told {
        *case.requests.errors.entry(ErrorKind::Unknown).or_default() += failed - told;
    }
    let of_all = |count: u64| (total > 0).then(|| count as f64 / total as f64);
    case.success_rate = of_all(ok);
    case.error_rate = of_all(failed);
    if total > 0 && ok == 0 {
        case.valid = false;
        case.invalid.push(Invalid {
            reason: InvalidReason::NoSuccess,
            message: "none of the requests succeeded".to_owned(),
        });
    }
}

/// The names under which an object has the parts of a summary.
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    pub count: Option<&'static str>,
    pub mean: &'static str,
    pub p50: &'static str,
    pub stddev: &'static str,
}

/// The summary that an object spells out, each value times `scale`; `None` where it tells nothing.
///
/// # Errors
/// A part that is no number.
pub fn summary(
    at: &At<'_>,
    parts: Parts,
    percentiles: &At<'_>,
    scale: f64,
) -> Result<Option<Summary>, ImportError> {
    let of = |at: &At<'_>, key: &str| Ok::<_, ImportError>(at.amount_of(key)?.map(|value| value * scale));
    let summary = Summary {
        count: parts.count.map(|key| at.count_of(key)).transpose()?.flatten(),
        min: of(at, "min")?,
        mean: of(at, parts.mean)?,
        p50: of(at, parts.p50)?.or(of(percentiles, "p50")?),
        p90: of(percentiles, "p90")?,
        p95: of(percentiles, "p95")?,
        p99: of(percentiles, "p99")?,
        max: of(at, "max")?,
        stddev: of(at, parts.stddev)?,
        ..Summary::default()
    };
    Ok(told(summary))
}

/// A summary that has at least one statistic.
pub fn told(summary: Summary) -> Option<Summary> {
    let known = [summary.min, summary.mean, summary.p50, summary.p90, summary.p95, summary.p99, summary.max];
    known.iter().any(Option::is_some).then_some(summary)
}

/// The latencies of these requests by benchlet's own definitions. Without times of schedule nothing is
/// known of the client's delay.
pub fn metrics(records: &[Record], scheduled: bool) -> Metrics {
    let plan = CasePlan {
        case: 1,
        repeat: 1,
        target: 0,
        model: None,
        load: CaseLoad::Closed { concurrency: 1 },
        amount: CaseAmount::Requests(0),
        ramp_up_ms: 0,
        input_tokens: None,
        conversation: None,
    };
    let pass = Pass {
        plan: &plan,
        started: None,
        ended: None,
        records,
        series: BTreeMap::new(),
        turns: &[],
        skipped: None,
    };
    let mut metrics = load_latency::metrics(&[pass]);
    if !scheduled {
        metrics.response_time = None;
        metrics.client_delay = None;
    }
    metrics
}

/// How percentiles of single requests are computed.
pub fn exact() -> String {
    quantile::METHOD.to_owned()
}

/// What the first has, else what the second has.
pub fn either(first: Metrics, second: Metrics) -> Metrics {
    Metrics {
        ttft: first.ttft.or(second.ttft),
        ttfr: first.ttfr.or(second.ttfr),
        ttfo: first.ttfo.or(second.ttfo),
        tpot: first.tpot.or(second.tpot),
        itl: first.itl.or(second.itl),
        icl: first.icl.or(second.icl),
        e2e: first.e2e.or(second.e2e),
        response_time: first.response_time.or(second.response_time),
        client_delay: first.client_delay.or(second.client_delay),
        ntpot: first.ntpot.or(second.ntpot),
    }
}

/// Sorts the requests by their sending and numbers them so; those of one moment stay in the file's order.
pub fn in_order(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(|record| record.sent_us);
    for (n, record) in (0..).zip(&mut records) {
        record.n = n;
    }
    records
}

/// Seconds as microseconds.
pub fn us(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e6).round() as u64
}

/// Points in time after the sending, in seconds, as the first one and the gaps between them in microseconds.
pub fn chunks(times: &[f64]) -> Vec<u32> {
    let mut before = 0;
    let gap = |time: &f64| {
        let at = us(*time).max(before);
        let gap = at - before;
        before = at;
        u32::try_from(gap).unwrap_or(u32::MAX)
    };
    times.iter().map(gap).collect()
}
