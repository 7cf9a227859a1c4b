//! From the records of a load test's case to its figures. Puts together what the siblings compute
//! (`load_latency`, `load_throughput`, `load_goodput`, `load_totals`, `load_validity`); reads no files.
//!
//! Definitions. Times are after the request was sent unless said otherwise; warm-ups count nowhere,
//! failed requests only as errors and for the client's delay; what a record lacks is unknown, never 0.
//!
//! | figure | definition |
//! |---|---|
//! | `ttft` | first chunk with non-empty content, reasoning or tool text |
//! | `ttfr` | first chunk of any kind |
//! | `ttfo` | first chunk with content that is no reasoning |
//! | `tpot` | (last token − first token) ÷ (N − n₁), n₁ = tokens of the first chunk where known, else 1 |
//! | `itl` | gap before a chunk ÷ its new tokens, once for each; where the server tells these, or as many tokens as chunks |
//! | `icl` | gaps between chunks with text |
//! | `e2e` | last token; the answer's end where it was not streamed |
//! | `response_time` | `e2e` + (sent − scheduled), so that a late client hides no waiting |
//! | `client_delay` | sent − scheduled, of all requests that were sent |
//! | `ntpot` | `e2e` ÷ N |
//! | `requests_per_s` | successes ÷ duration |
//! | `output_tokens_per_s` | ΣN ÷ duration |
//! | `plateau` | the same between the first and the last moment with ≥ 0.95 × concurrency in flight |
//! | `goodput` | requests that meet every objective themselves ÷ duration |
//!
//! Answers that are not streamed have no `ttft`, `ttfr`, `ttfo`, `tpot`, `itl` and `icl`. Where only
//! chunks were counted, N is unknown. Repeats are pooled: latencies together, rates as sums ÷ sums.

use std::collections::BTreeMap;

use super::conversation_figures::HeldInput;
use super::load_case::{LoadCase, RepeatFigures, SampleAnswer};
use super::load_counted::{output_tokens, succeeded};
use super::measure_plan::{CaseAmount, CaseLoad, CasePlan, TargetPlan};
use super::repetition::repetition;
use super::request_record::{CaseEnded, CaseSkipped, CaseStarted, Record, TargetFacts, TurnEnded};
use super::series::SeriesSummary;
use super::{conversation_figures, load_goodput, load_latency, load_throughput, load_totals, load_validity};
use crate::request::load_test::{CachePolicy, Metric, Objective, Output, ValidityLimits};
use crate::stats::quantile;

/// Everything that a case's figures rest on.
#[derive(Debug, Clone)]
pub struct CaseInput<'a> {
    /// From 1.
    pub number: u32,
    pub target: &'a TargetPlan,
    pub facts: Option<&'a TargetFacts>,
    /// The case's repeats in their order, those that never began included.
    pub passes: Vec<Pass<'a>>,
    pub slo: &'a [Objective],
    pub limits: &'a ValidityLimits,
    pub output: &'a Output,
    pub cache: CachePolicy,
    /// Of `kind: Conversation`.
    pub held: Option<HeldInput<'a>>,
    pub simulated: bool,
}

/// One repeat of the case.
#[derive(Debug, Clone)]
pub struct Pass<'a> {
    pub plan: &'a CasePlan,
    pub started: Option<&'a CaseStarted>,
    pub ended: Option<&'a CaseEnded>,
    pub records: &'a [Record],
    pub series: BTreeMap<String, SeriesSummary>,
    /// Of a conversation.
    pub turns: &'a [TurnEnded],
    pub skipped: Option<&'a CaseSkipped>,
}

/// The case's figures. Gives figures for whatever there is; what speaks against them is in `invalid`.
pub fn case_figures(input: &CaseInput<'_>) -> LoadCase {
    let passes = input.passes.as_slice();
    let plan = passes.first().map(|pass| pass.plan);
    let (concurrency, rate, arrivals) = match plan.map(|plan| plan.load) {
        Some(CaseLoad::Closed { concurrency }) => (Some(concurrency), None, None),
        Some(CaseLoad::Open { rate, arrivals }) => (None, Some(rate), Some(arrivals)),
        None => (None, None, None),
    };
    let metrics = load_latency::metrics(passes);
    let requests = load_totals::requests(passes);
    let tokens = load_totals::tokens(passes);
    let client = load_validity::client(passes, metrics.client_delay.as_ref());
    let simulated =
        input.simulated || input.target.simulated || input.facts.is_some_and(|facts| facts.simulated);
    let conversation = input.held.map(|held| conversation_figures::figures(input, held));
    let invalid = match &conversation {
        // What was never to be held is not judged.
        Some(figures) if figures.skipped.is_some() => Vec::new(),
        Some(figures) => {
            let mut invalid = load_validity::invalid(input, &requests, &tokens, &client);
            // A made-up answer is none to judge.
            let limit = input.limits.broken_answers_percent.filter(|_| !simulated);
            invalid.extend(limit.and_then(|limit| conversation_figures::broken_answers(figures, limit)));
            invalid
        }
        None => load_validity::invalid(input, &requests, &tokens, &client),
    };
    let duration_s = load_throughput::duration_s(passes);
    let good = load_goodput::good_requests(input.slo, passes);
    let of_all = |count: u64| (requests.total > 0).then(|| count as f64 / requests.total as f64);
    LoadCase {
        case: input.number,
        target: input.target.name.clone(),
        engine: input.target.dialect.as_str().to_owned(),
        model: model(input),
        concurrency,
        rate,
        arrivals,
        input_tokens: plan.and_then(|plan| plan.input_tokens),
        requests_asked: plan.and_then(|plan| match plan.amount {
            CaseAmount::Requests(requests) => Some(requests),
            CaseAmount::DurationMs(_) => None,
        }),
        duration_s,
        percentiles: quantile::METHOD.to_owned(),
        success_rate: of_all(requests.ok),
        error_rate: of_all(requests.failed),
        throughput: load_throughput::throughput(passes),
        goodput: good.zip(duration_s).map(|(good, duration)| good as f64 / duration),
        good_fraction: good.and_then(of_all),
        slo: load_goodput::objectives(input.slo, &metrics),
        valid: invalid.is_empty(),
        invalid,
        client,
        cache: cache(passes),
        system: system(passes),
        samples: samples(passes),
        repeats: repeats(passes),
        context_window: input.facts.and_then(|facts| facts.context_window),
        // Whoever knows the request adds it.
        cost: None,
        conversation,
        simulated,
        metrics,
        requests,
        tokens,
    }
}

/// As it was really used, else as it was asked for, else as the server named it.
fn model(input: &CaseInput<'_>) -> Option<String> {
    let used = input.passes.iter().find_map(|pass| pass.started?.model.as_ref());
    let asked = input.passes.iter().find_map(|pass| pass.plan.model.as_ref());
    used.or(asked).or_else(|| input.facts?.model.as_ref()).cloned()
}

fn cache(passes: &[Pass<'_>]) -> Option<String> {
    let mut done: Vec<&str> = Vec::new();
    for started in passes.iter().filter_map(|pass| pass.started) {
        if !done.contains(&started.cache.as_str()) {
            done.push(&started.cache);
        }
    }
    (!done.is_empty()).then(|| done.join("; "))
}

/// The passes' series as one: means weighted by samples, the last value of the last pass.
fn system(passes: &[Pass<'_>]) -> BTreeMap<String, SeriesSummary> {
    let mut merged: BTreeMap<String, SeriesSummary> = BTreeMap::new();
    for (name, next) in passes.iter().flat_map(|pass| &pass.series).filter(|(_, next)| next.samples > 0) {
        let Some(so_far) = merged.get_mut(name) else {
            merged.insert(name.clone(), *next);
            continue;
        };
        let (before, after) = (f64::from(so_far.samples), f64::from(next.samples));
        *so_far = SeriesSummary {
            samples: so_far.samples.saturating_add(next.samples),
            min: so_far.min.min(next.min),
            mean: (so_far.mean * before + next.mean * after) / (before + after),
            max: so_far.max.max(next.max),
            last: next.last,
        };
    }
    merged
}

/// Of the first pass that kept any, in the order of schedule.
fn samples(passes: &[Pass<'_>]) -> Vec<SampleAnswer> {
    let kept = passes.iter().find_map(|pass| {
        let mut kept: Vec<(u64, SampleAnswer)> = succeeded(pass)
            .filter_map(|record| {
                let text = record.text.clone()?;
                let repetition = repetition(&text);
                let answer = SampleAnswer {
                    text,
                    chars: record.chars,
                    tokens_out: output_tokens(record),
                    finish_reason: record.finish_reason.clone(),
                    repetition,
                };
                Some((record.n, answer))
            })
            .collect();
        kept.sort_by_key(|(n, _)| *n);
        (!kept.is_empty()).then_some(kept)
    });
    kept.unwrap_or_default().into_iter().map(|(_, answer)| answer).collect()
}

fn repeats(passes: &[Pass<'_>]) -> Vec<RepeatFigures> {
    if passes.len() < 2 {
        return Vec::new();
    }
    passes
        .iter()
        .map(|pass| {
            let throughput = load_throughput::throughput(std::slice::from_ref(pass));
            RepeatFigures {
                repeat: pass.plan.repeat,
                ttft_p50: load_latency::median(Metric::Ttft, pass),
                tpot_p50: load_latency::median(Metric::Tpot, pass),
                output_tokens_per_s: throughput.output_tokens_per_s,
                requests_per_s: throughput.requests_per_s,
            }
        })
        .collect()
}
