//! The targets of one load test beside each other, metric by metric: among the cases that met their objectives
//! the best of each target, and whether the evidence carries that one is better.

use std::collections::BTreeMap;

use crate::request::load_test::{Metric, Statistic};
use crate::request::measure::Measure;
use crate::run::load_case::{LoadCase, RepeatFigures};
use crate::run::load_goodput::statistic;
use crate::stats::evidence::Better;
use crate::stats::run_interval::mean_of_runs;

/// The figures by which targets are told apart: rates, then the middle and the tail of each latency. How late the
/// client was says nothing of an engine.
fn measures() -> impl Iterator<Item = Measure> {
    let rates = [Measure::OutputTokens, Measure::Requests, Measure::Goodput];
    let latencies = Metric::ALL.iter().filter(|metric| **metric != Metric::ClientDelay);
    let both = |metric: &Metric| {
        let metric = *metric;
        [Statistic::P50, Statistic::P95].map(|statistic| Measure::Latency(metric, statistic))
    };
    rates.into_iter().chain(latencies.flat_map(both))
}

fn is_better(measure: Measure, a: f64, b: f64) -> bool {
    match measure.better() {
        Better::Higher => a > b,
        Better::Lower => a < b,
    }
}

/// The case's figure and its 95 % interval: of a rate by its repeats, of a percentile by its samples.
fn figure(measure: Measure, case: &LoadCase) -> Option<(f64, Option<[f64; 2]>)> {
    let by_repeats = |of: fn(&RepeatFigures) -> Option<f64>| {
        let figures: Option<Vec<f64>> = case.repeats.iter().map(of).collect();
        mean_of_runs(&figures?)
    };
    let found = match measure {
        Measure::OutputTokens => {
            (case.throughput.output_tokens_per_s?, by_repeats(|repeat| repeat.output_tokens_per_s))
        }
        Measure::Requests => (case.throughput.requests_per_s?, by_repeats(|repeat| repeat.requests_per_s)),
        Measure::Goodput => (case.goodput?, None),
        Measure::ErrorRate => (case.error_rate?, None),
        Measure::Latency(metric, of) => {
            let summary = case.metrics.get(metric)?;
            let interval = match of {
                Statistic::P50 => summary.intervals.p50,
                Statistic::P90 => summary.intervals.p90,
                Statistic::P95 => summary.intervals.p95,
                Statistic::P99 => summary.intervals.p99,
                Statistic::Mean | Statistic::Max => None,
            };
            (statistic(summary, of)?, interval)
        }
        // llama-bench's own.
        Measure::PromptRate | Measure::GenerationRate | Measure::CombinedRate => return None,
    };
    Some(found)
}

/// The best case of a target by one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The target with its model.
    pub target: String,
    pub engine: String,
    pub case: u32,
    /// `c=4 p=512 a/qwen`
    pub label: String,
    pub value: f64,
    pub interval: Option<[f64; 2]>,
}

/// What the evidence carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Its interval lies apart from every other's.
    Better,
    /// Its interval overlaps with those of these targets.
    Tie { with: Vec<String> },
    /// It has the best figure, and an interval is missing.
    Unproven,
    /// No other target has the figure under its objectives.
    Alone,
}

#[derive(Debug, Clone, PartialEq)]
pub struct MeasureRanking {
    pub measure: Measure,
    /// What was asked of the engines, where the run asked several things; only the same is compared.
    pub workload: Option<String>,
    /// The best first; at least one.
    pub candidates: Vec<Candidate>,
    pub verdict: Verdict,
}

/// Why a case takes no part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    Invalid(String),
    Missed(Vec<String>),
    /// Objectives that could not be judged.
    Unjudged(Vec<String>),
}

impl LeftOut {
    pub fn words(&self) -> String {
        match self {
            Self::Invalid(why) => format!("not valid: {why}"),
            Self::Missed(names) => format!("missed {}", names.join(", ")),
            Self::Unjudged(names) => format!("cannot be judged by {}", names.join(", ")),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct TargetRanking {
    /// Targets of the run with their models, also those without a case that counts.
    pub targets: Vec<String>,
    pub rankings: Vec<MeasureRanking>,
    pub left_out: Vec<(String, LeftOut)>,
    /// The objectives that the cases had to meet; empty where the request has none.
    pub objectives: Vec<String>,
}

/// Compares the targets of a run's cases.
pub fn compare_targets(cases: &[LoadCase]) -> TargetRanking {
    let mut counting: BTreeMap<Option<String>, Vec<&LoadCase>> = BTreeMap::new();
    let mut ranking = TargetRanking {
        targets: Vec::new(),
        rankings: Vec::new(),
        left_out: Vec::new(),
        objectives: Vec::new(),
    };
    for case in cases {
        push_new(&mut ranking.targets, target(case));
        case.slo.keys().for_each(|name| push_new(&mut ranking.objectives, name.clone()));
        match left_out(case) {
            Some(why) => ranking.left_out.push((case.label(), why)),
            None => counting.entry(workload(case)).or_default().push(case),
        }
    }
    for (workload, cases) in counting {
        let of_measure = |measure: Measure| {
            let candidates = candidates(measure, &cases);
            let verdict = verdict(&candidates)?;
            Some(MeasureRanking { measure, workload: workload.clone(), candidates, verdict })
        };
        ranking.rankings.extend(measures().filter_map(of_measure));
    }
    ranking
}

fn push_new(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

fn target(case: &LoadCase) -> String {
    match &case.model {
        Some(model) if *model != case.target => format!("{} {model}", case.target),
        Some(_) | None => case.target.clone(),
    }
}

fn workload(case: &LoadCase) -> Option<String> {
    match (&case.conversation, case.input_tokens) {
        (Some(held), _) => Some(format!("{} {}", held.name, held.prefix_cache.as_str())),
        (None, Some(tokens)) => Some(format!("p={tokens}")),
        (None, None) => None,
    }
}

fn left_out(case: &LoadCase) -> Option<LeftOut> {
    if let Some(invalid) = case.invalid.first() {
        return Some(LeftOut::Invalid(invalid.message.clone()));
    }
    let named = |met: Option<bool>| {
        let found = case.slo.iter().filter(|(_, result)| result.met == met);
        found.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    let (missed, unjudged) = (named(Some(false)), named(None));
    if !missed.is_empty() {
        return Some(LeftOut::Missed(missed));
    }
    (!unjudged.is_empty()).then_some(LeftOut::Unjudged(unjudged))
}

/// One a target, the best first; of equal ones the earlier case.
fn candidates(measure: Measure, cases: &[&LoadCase]) -> Vec<Candidate> {
    let mut best: Vec<Candidate> = Vec::new();
    for case in cases {
        let Some((value, interval)) = figure(measure, case) else { continue };
        let next = Candidate {
            target: target(case),
            engine: case.engine.clone(),
            case: case.case,
            label: case.label(),
            value,
            interval,
        };
        match best.iter_mut().find(|one| one.target == next.target) {
            None => best.push(next),
            Some(one) if is_better(measure, next.value, one.value) => *one = next,
            Some(_) => {}
        }
    }
    best.sort_by(|a, b| {
        let rising = a.value.total_cmp(&b.value);
        if is_better(measure, 1.0, 0.0) { rising.reverse() } else { rising }
    });
    best
}

fn verdict(candidates: &[Candidate]) -> Option<Verdict> {
    let (first, others) = candidates.split_first()?;
    if others.is_empty() {
        return Some(Verdict::Alone);
    }
    let overlaps = |other: &&Candidate| {
        let both = first.interval.zip(other.interval);
        both.is_some_and(|([low, high], [from, to])| low <= to && from <= high)
    };
    let with: Vec<String> = others.iter().filter(overlaps).map(|other| other.target.clone()).collect();
    Some(if !with.is_empty() {
        Verdict::Tie { with }
    } else if candidates.iter().all(|one| one.interval.is_some()) {
        Verdict::Better
    } else {
        Verdict::Unproven
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::load_case::ObjectiveResult;
    use crate::stats::summary::Summary;

    /// 100 samples around `middle`, within a tenth of it.
    fn case(number: u32, target: &str, concurrency: u32, middle: f64) -> LoadCase {
        let text = serde_json::json!({
            "case": number, "target": target, "engine": "openai", "model": null, "concurrency": concurrency,
            "rate": null, "arrivals": null, "input_tokens": null, "requests_asked": 100, "duration_s": 10.0,
            "percentiles": "", "success_rate": 1.0, "error_rate": 0.0, "goodput": null, "good_fraction": null,
            "metrics": {}, "slo": {}, "valid": true, "invalid": [], "cache": null, "system": {}, "samples": [],
            "requests": { "total": 100, "ok": 100, "failed": 0, "errors": {}, "http_status": {},
                "finish_reasons": {} },
            "tokens": {}, "client": {}, "repeats": [], "context_window": null, "simulated": false,
            "throughput": { "requests_per_s": 10.0, "output_tokens_per_s": 500.0 }
        });
        let mut case: LoadCase = serde_json::from_value(text).unwrap();
        let samples = (0..100).map(|at| middle * (0.9 + 0.002 * f64::from(at)));
        case.metrics.ttft = Summary::of(samples.collect());
        case
    }

    fn of<'a>(ranking: &'a TargetRanking, name: &str) -> &'a MeasureRanking {
        ranking.rankings.iter().find(|one| one.measure.to_string() == name).unwrap()
    }

    #[test]
    fn intervals_that_lie_apart_name_a_winner_and_those_that_overlap_a_tie() {
        let cases = [case(1, "a", 1, 40.0), case(2, "b", 1, 20.0), case(3, "c", 1, 20.5)];
        let ranking = compare_targets(&cases[..2]);
        let ttft = of(&ranking, "ttft_p50");
        assert_eq!((ttft.candidates[0].target.as_str(), &ttft.verdict), ("b", &Verdict::Better));
        let ranking = compare_targets(&cases);
        assert_eq!(of(&ranking, "ttft_p50").verdict, Verdict::Tie { with: vec!["c".to_owned()] });
        assert_eq!(of(&ranking, "requests_per_s").verdict, Verdict::Unproven, "there are no repeats");
    }

    #[test]
    fn each_target_comes_with_its_best_case() {
        let ranking = compare_targets(&[case(1, "a", 1, 40.0), case(2, "a", 4, 30.0)]);
        let ttft = of(&ranking, "ttft_p95");
        assert_eq!((ttft.candidates.len(), ttft.candidates[0].case, &ttft.verdict), (1, 2, &Verdict::Alone));
    }

    #[test]
    fn a_case_that_missed_an_objective_or_is_not_valid_takes_no_part() {
        let mut cases = [case(1, "a", 1, 40.0), case(2, "b", 1, 20.0), case(3, "c", 1, 10.0)];
        let result = |met| ObjectiveResult { at_most_ms: 15.0, value: None, met };
        cases[1].slo.insert("ttft_p95".to_owned(), result(Some(false)));
        cases[2].slo.insert("itl_p95".to_owned(), result(None));
        let ranking = compare_targets(&cases);
        assert_eq!(of(&ranking, "ttft_p50").candidates[0].target, "a");
        assert_eq!(ranking.targets, ["a", "b", "c"]);
        let why: Vec<String> = ranking.left_out.iter().map(|(_, why)| why.words()).collect();
        assert_eq!(why, ["missed ttft_p95", "cannot be judged by itl_p95"]);
    }

    #[test]
    fn rates_have_the_interval_of_their_repeats() {
        let with_repeats = |number, target: &str, rates: [f64; 3]| {
            let mut made = case(number, target, 1, 20.0);
            made.throughput.requests_per_s = Some(rates.iter().sum::<f64>() / 3.0);
            made.repeats = (1..)
                .zip(rates)
                .map(|(repeat, rate)| RepeatFigures {
                    repeat,
                    ttft_p50: None,
                    tpot_p50: None,
                    output_tokens_per_s: None,
                    requests_per_s: Some(rate),
                })
                .collect();
            made
        };
        // 10 ± 2.48 and 15 ± 2.48; and 12 ± 2.48 reaches into the second.
        let ranking = compare_targets(&[
            with_repeats(1, "a", [9.0, 10.0, 11.0]),
            with_repeats(2, "b", [14.0, 15.0, 16.0]),
        ]);
        let requests = of(&ranking, "requests_per_s");
        assert_eq!((requests.candidates[0].target.as_str(), &requests.verdict), ("b", &Verdict::Better));
        let ranking = compare_targets(&[
            with_repeats(1, "a", [11.0, 12.0, 13.0]),
            with_repeats(2, "b", [14.0, 15.0, 16.0]),
        ]);
        assert!(matches!(of(&ranking, "requests_per_s").verdict, Verdict::Tie { .. }));
    }

    #[test]
    fn prompts_of_another_length_are_not_compared() {
        let mut cases = [case(1, "a", 1, 40.0), case(2, "b", 1, 20.0)];
        cases[0].input_tokens = Some(128);
        cases[1].input_tokens = Some(512);
        let ranking = compare_targets(&cases);
        assert!(ranking.rankings.iter().all(|one| one.verdict == Verdict::Alone));
        assert_eq!(of(&ranking, "ttft_p50").workload.as_deref(), Some("p=128"));
    }
}
