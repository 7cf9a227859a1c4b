//! The cases of a load test or of conversations as a comparison sees them. A repeat is one observation; inside
//! one repeat there are the requests, in the order in which they were sent.

use std::collections::BTreeMap;

use super::comparand::{ComparedCase, Figure, Samples};
use super::load_case::LoadCase;
use super::request_record::Record;
use super::{load_goodput, load_latency};
use crate::request::load_test::{Metric, Statistic};
use crate::request::measure::Measure;
use crate::stats::quantile::quantile;

/// A request with the repeat that it belongs to, from 1.
pub type OfRepeat = (u32, Record);

/// All cases with their records, `records` being as long as `cases` or shorter.
pub fn cases(cases: &[LoadCase], records: &[Vec<OfRepeat>]) -> Vec<ComparedCase> {
    let several = |of: fn(&LoadCase) -> &str| cases.iter().any(|case| of(case) != of(&cases[0]));
    let names = Names {
        targets: several(|case| &case.target),
        models: several(|case| case.model.as_deref().unwrap_or_default()),
    };
    let mut all: Vec<ComparedCase> = Vec::new();
    for (at, figures) in cases.iter().enumerate() {
        let mut made = case(figures, records.get(at).map_or(&[], Vec::as_slice));
        made.key = names.key(figures);
        if all.iter().any(|other| other.key == made.key) {
            // They differ in their number of requests alone.
            let asked = figures.requests_asked.map_or(figures.case, |requests| requests);
            made.key.push_str(&format!(" n={asked}"));
        }
        all.push(made);
    }
    all
}

/// What tells the cases of a run apart. A target's name often is its address, which is no part of what is
/// measured; so it counts only where a run has several.
struct Names {
    targets: bool,
    models: bool,
}

impl Names {
    fn key(&self, case: &LoadCase) -> String {
        let mut parts = Vec::new();
        match &case.conversation {
            Some(held) => parts.extend([held.name.clone(), held.prefix_cache.as_str().to_owned()]),
            None => {
                parts.extend(case.concurrency.map(|concurrency| format!("c={concurrency}")));
                parts.extend(case.rate.map(|rate| format!("r={rate}/s")));
                parts.extend(case.input_tokens.map(|tokens| format!("p={tokens}")));
            }
        }
        parts.extend(self.targets.then(|| case.target.clone()));
        parts.extend(case.model.clone().filter(|_| self.models));
        if parts.is_empty() { "all".to_owned() } else { parts.join(" ") }
    }
}

fn case(case: &LoadCase, records: &[OfRepeat]) -> ComparedCase {
    let mut ok: Vec<&OfRepeat> =
        records.iter().filter(|(_, record)| !record.warmup && record.error.is_none()).collect();
    ok.sort_by_key(|(repeat, record)| (*repeat, record.sent_us));
    let conversation = case.conversation.is_some();
    let mut samples = BTreeMap::new();
    for metric in Metric::ALL.iter().filter(|metric| **metric != Metric::ClientDelay) {
        let found = samples_of(*metric, &ok, conversation);
        if !found.is_empty() {
            samples.insert(*metric, found);
        }
    }
    ComparedCase {
        key: String::new(),
        open_loop: case.rate.is_some(),
        concurrency: case.concurrency.map_or(1, |concurrency| concurrency as usize),
        figures: figures(case, &ok),
        samples,
        requests: (case.requests.total > 0).then_some((case.requests.failed, case.requests.total)),
        invalid: case.invalid.clone(),
    }
}

impl Samples {
    fn is_empty(&self) -> bool {
        match self {
            Self::Requests(values) => values.is_empty(),
            Self::Groups(groups) => groups.is_empty(),
        }
    }
}

/// The turns of one conversation depend on each other, and so do the gaps of one answer.
fn samples_of(metric: Metric, ok: &[&OfRepeat], conversation: bool) -> Samples {
    if conversation {
        let mut groups: Vec<Vec<f64>> = Vec::new();
        let by_repeat = ok.chunk_by(|one, other| one.0 == other.0);
        groups.extend(by_repeat.map(|turns| values(metric, turns)).filter(|group| !group.is_empty()));
        return Samples::Groups(groups);
    }
    match metric {
        Metric::Itl | Metric::Icl => {
            let answers = ok.iter().map(|one| values(metric, std::slice::from_ref(one)));
            Samples::Groups(answers.filter(|group| !group.is_empty()).collect())
        }
        Metric::Ttft
        | Metric::Ttfr
        | Metric::Ttfo
        | Metric::Tpot
        | Metric::E2e
        | Metric::ResponseTime
        | Metric::ClientDelay
        | Metric::Ntpot => Samples::Requests(values(metric, ok)),
    }
}

fn values(metric: Metric, records: &[&OfRepeat]) -> Vec<f64> {
    let mut values = Vec::new();
    for (_, record) in records.iter().copied() {
        load_latency::append(metric, record, &mut values);
    }
    values
}

fn figures(case: &LoadCase, ok: &[&OfRepeat]) -> BTreeMap<Measure, Figure> {
    let mut figures = BTreeMap::new();
    let repeats = &case.repeats;
    let rates = [
        (Measure::OutputTokens, case.throughput.output_tokens_per_s),
        (Measure::Requests, case.throughput.requests_per_s),
        (Measure::Goodput, case.goodput),
        (Measure::ErrorRate, case.error_rate),
    ];
    for (measure, value) in rates {
        let Some(value) = value else { continue };
        let units: Option<Vec<f64>> = match measure {
            Measure::OutputTokens => repeats.iter().map(|repeat| repeat.output_tokens_per_s).collect(),
            Measure::Requests => repeats.iter().map(|repeat| repeat.requests_per_s).collect(),
            Measure::Goodput
            | Measure::ErrorRate
            | Measure::PromptRate
            | Measure::GenerationRate
            | Measure::CombinedRate
            | Measure::Latency(..) => None,
        };
        figures.insert(measure, Figure { value, units: units.unwrap_or_default() });
    }
    for metric in Metric::ALL.iter().filter(|metric| **metric != Metric::ClientDelay) {
        let Some(summary) = case.metrics.get(*metric) else { continue };
        let by_repeat: Vec<Vec<f64>> =
            ok.chunk_by(|one, other| one.0 == other.0).map(|of| sorted(values(*metric, of))).collect();
        // Every repeat has to tell, or the others stand for more than they are.
        let all = by_repeat.len() > 1 && by_repeat.len() == repeats.len();
        for statistic in Statistic::ALL {
            let units = by_repeat.iter().filter(|_| all).map(|values| statistic_of(*statistic, values));
            let units: Option<Vec<f64>> = units.collect();
            let Some(value) = load_goodput::statistic(summary, *statistic) else { continue };
            let figure = Figure { value, units: units.unwrap_or_default() };
            figures.insert(Measure::Latency(*metric, *statistic), figure);
        }
    }
    figures
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// The quantile that a statistic is; `None` of the mean.
pub fn quantile_of(statistic: Statistic) -> Option<f64> {
    match statistic {
        Statistic::Mean => None,
        Statistic::P50 => Some(0.5),
        Statistic::P90 => Some(0.9),
        Statistic::P95 => Some(0.95),
        Statistic::P99 => Some(0.99),
        Statistic::Max => Some(1.0),
    }
}

fn statistic_of(statistic: Statistic, sorted: &[f64]) -> Option<f64> {
    match quantile_of(statistic) {
        Some(q) => quantile(sorted, q),
        None => (!sorted.is_empty()).then(|| sorted.iter().sum::<f64>() / sorted.len() as f64),
    }
}

#[cfg(test)]
#[path = "comparand_load_tests.rs"]
mod tests;
