//! What became of the objectives: of the case's statistics, and request by request.

use std::collections::BTreeMap;

use super::load_case::{Metrics, ObjectiveResult};
use super::load_counted::succeeded;
use super::load_figures::Pass;
use super::load_latency::{Known, append};
use super::request_record::Record;
use crate::request::load_test::{Objective, Statistic};
use crate::stats::summary::Summary;

/// Each objective against the case's own figure.
pub(super) fn objectives(slo: &[Objective], metrics: &Metrics) -> BTreeMap<String, ObjectiveResult> {
    slo.iter()
        .map(|objective| {
            let value =
                metrics.get(objective.metric).and_then(|summary| statistic(summary, objective.statistic));
            let at_most_ms = objective.at_most_ms;
            let met = value.map(|value| value <= at_most_ms);
            (objective.name(), ObjectiveResult { at_most_ms, value, met })
        })
        .collect()
}

/// A statistic of a summary; `None` where it is not known.
pub fn statistic(summary: &Summary, statistic: Statistic) -> Option<f64> {
    match statistic {
        Statistic::Mean => summary.mean,
        Statistic::P50 => summary.p50,
        Statistic::P90 => summary.p90,
        Statistic::P95 => summary.p95,
        Statistic::P99 => summary.p99,
        Statistic::Max => summary.max,
    }
}

/// Successful requests that meet every objective. `None` without objectives, and where one of the
/// requests cannot be judged.
pub(super) fn good_requests(slo: &[Objective], passes: &[Pass<'_>]) -> Option<u64> {
    if slo.is_empty() {
        return None;
    }
    let mut good = 0;
    for record in passes.iter().flat_map(succeeded) {
        good += u64::from(is_good(slo, record)?);
    }
    Some(good)
}

/// Whether a request meets every objective by its own values: its one value, or the objective's
/// statistic over its own gaps. What has no gap breaks no bound on gaps; an answer without any text
/// meets none. One missed objective decides, whatever is unknown beside it.
fn is_good(slo: &[Objective], record: &Record) -> Option<bool> {
    if record.chars == 0 && record.first_token_us.is_none() && record.tokens_out.is_none_or(|n| n == 0) {
        return Some(false);
    }
    let mut unknown = false;
    for objective in slo {
        let mut values = Vec::new();
        match append(objective.metric, record, &mut values) {
            Known::Yes => {
                let own = Summary::without_intervals(values)
                    .and_then(|summary| statistic(&summary, objective.statistic));
                if own.is_some_and(|own| own > objective.at_most_ms) {
                    return Some(false);
                }
            }
            Known::Nothing => {}
            Known::No => unknown = true,
        }
    }
    (!unknown).then_some(true)
}
