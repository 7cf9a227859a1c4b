//! Two sides against each other, figure by figure: the policy verdict by thresholds that people set, and beside
//! it the evidence verdict, what the observations can carry. Owns how the verdicts of figures become one; where
//! the sides come from and how it is shown are others'.

use serde::{Deserialize, Serialize};

use super::comparability::{Comparability, comparability};
use super::compared_figure::{NoiseFloors, Policy, Row, rows_of};
use crate::request::gate::Rules;
use crate::request::thresholds::Thresholds;
use crate::run::comparand::{Comparand, ComparedCase};
use crate::run::load_case::InvalidReason;
use crate::stats::evidence::Evidence;
use crate::stats::false_discovery::discoveries;

/// Of all regressions that are named, at most this part is false on average.
pub const FALSE_DISCOVERIES: f64 = 0.10;

/// What the observations say of all figures together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EvidenceVerdict {
    Ok,
    Regression,
    Inconclusive,
    NotComparable,
}

impl EvidenceVerdict {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "Ok",
            Self::Regression => "Regression",
            Self::Inconclusive => "Inconclusive",
            Self::NotComparable => "NotComparable",
        }
    }
}

/// How a comparison ends, as exit codes tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    NoRegression,
    Regression,
    NotComparable,
}

/// One side, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Side {
    pub label: String,
    pub runs: Vec<String>,
    pub measured_at: Option<String>,
}

/// Everything that is told of two sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    pub baseline: Side,
    pub candidate: Side,
    /// Both sides are made up.
    pub simulated: bool,
    /// Null where nothing was judged, which is no pass.
    pub policy: Option<Policy>,
    pub evidence: EvidenceVerdict,
    /// Why the two are not comparable, or why it failed beside its figures.
    pub reasons: Vec<String>,
    pub comparability: Comparability,
    /// Figures under a threshold that were judged, and those that could not be.
    pub judged: usize,
    pub not_judged: usize,
    /// Regressions that may be chance among so many figures.
    pub withdrawn: usize,
    pub rows: Vec<Row>,
}

/// Compares. Figures without a threshold get no evidence unless `everything` is asked for, because it takes time.
pub fn compare(
    baseline: &Comparand,
    candidate: &Comparand,
    rules: &Rules,
    noise: &NoiseFloors,
    everything: bool,
) -> Comparison {
    let comparability = comparability(&baseline.facts, &candidate.facts, &rules.varies);
    let mut reasons = obstacles(baseline, candidate, rules);
    reasons.extend(comparability.differences.iter().map(|difference| difference.words()));
    let missing = gaps(baseline, candidate, rules, &mut reasons);
    let mut rows = Vec::new();
    for case in &candidate.cases {
        let Some(before) = baseline.case(&case.key) else { continue };
        rows.extend(rows_of(before, case, rules, noise, everything));
    }
    let withdrawn = withdraw(&mut rows);
    let under = || rows.iter().filter(|row| row.threshold.is_some());
    let judged = under().filter(|row| row.policy.is_some()).count();
    let not_judged = under().count() - judged + missing;
    let broken = broken_answers(candidate);
    let worst = under().filter_map(|row| row.policy).chain(broken.iter().map(|_| Policy::Fail)).max();
    if judged == 0 && reasons.is_empty() {
        reasons.push("no figure under a threshold is known of both sides".to_owned());
    }
    let comparable = reasons.is_empty();
    reasons.extend(broken);
    let open = |row: &Row| matches!(row.evidence, Evidence::Inconclusive { .. });
    let evidence = if !comparable {
        EvidenceVerdict::NotComparable
    } else if under().any(|row| matches!(row.evidence, Evidence::Regression { .. })) {
        EvidenceVerdict::Regression
    } else if under().any(open) {
        EvidenceVerdict::Inconclusive
    } else {
        EvidenceVerdict::Ok
    };
    Comparison {
        baseline: side(baseline),
        candidate: side(candidate),
        simulated: baseline.simulated && candidate.simulated,
        policy: worst.filter(|_| comparable),
        evidence,
        reasons,
        comparability,
        judged,
        not_judged,
        withdrawn,
        rows,
    }
}

impl Comparison {
    pub fn outcome(&self, strict: bool) -> Outcome {
        let Some(policy) = self.policy else { return Outcome::NotComparable };
        let open = match self.evidence {
            EvidenceVerdict::NotComparable => return Outcome::NotComparable,
            EvidenceVerdict::Regression | EvidenceVerdict::Inconclusive => true,
            EvidenceVerdict::Ok => false,
        };
        match policy {
            Policy::Fail => Outcome::Regression,
            Policy::Warn if strict => Outcome::Regression,
            Policy::Pass if strict && open => Outcome::Regression,
            Policy::Warn | Policy::Pass => Outcome::NoRegression,
        }
    }

    /// So many more runs a side would settle every figure that is open under a threshold, if the estimates stay.
    /// `None` where that cannot be said, and where nothing is open.
    pub fn more_runs(&self) -> Option<u32> {
        let mut most = None;
        for row in self.rows.iter().filter(|row| row.threshold.is_some()) {
            if let Evidence::Inconclusive { more_runs } = row.evidence {
                most = most.max(Some(more_runs?));
            }
        }
        most
    }
}

fn side(of: &Comparand) -> Side {
    Side { label: of.label.clone(), runs: of.runs.clone(), measured_at: of.measured_at.clone() }
}

/// What forbids a comparison, facts apart.
fn obstacles(baseline: &Comparand, candidate: &Comparand, rules: &Rules) -> Vec<String> {
    let mut reasons = Vec::new();
    if baseline.simulated != candidate.simulated {
        let made_up = if baseline.simulated { baseline } else { candidate };
        reasons.push(format!("{} is simulated, so its figures are made up", made_up.label));
    }
    let lacking = |of: &Comparand, others: &Comparand| {
        let keys = others.cases.iter().map(|case| case.key.clone());
        let keys: Vec<String> = keys.filter(|key| of.case(key).is_none()).collect();
        (!keys.is_empty()).then(|| format!("{} has no case {}", of.label, keys.join(", ")))
    };
    if !rules.varies.iter().any(|word| word == "cases") {
        reasons.extend(lacking(candidate, baseline));
        reasons.extend(lacking(baseline, candidate));
    }
    for (of, is_candidate) in [(baseline, false), (candidate, true)] {
        for case in &of.cases {
            let against = case.invalid.iter().find(|found| !(is_candidate && is_judged(found.reason)));
            if let Some(found) = against {
                reasons.push(format!("{}, {}: {}", of.label, case.key, found.message));
            }
        }
    }
    reasons
}

/// What a candidate is judged by rather than kept from being judged.
fn is_judged(reason: InvalidReason) -> bool {
    match reason {
        InvalidReason::ErrorRate | InvalidReason::NoSuccess | InvalidReason::BrokenAnswers => true,
        InvalidReason::ClientLate
        | InvalidReason::ClientBusy
        | InvalidReason::CacheHits
        | InvalidReason::OutputLength
        | InvalidReason::CutShort => false,
    }
}

/// A fast configuration whose answers are broken must not pass.
fn broken_answers(candidate: &Comparand) -> Vec<String> {
    let found = candidate.cases.iter().flat_map(|case| {
        let broken = case.invalid.iter().filter(|found| found.reason == InvalidReason::BrokenAnswers);
        broken.map(|found| format!("{}: {}", case.key, found.message))
    });
    found.collect()
}

/// Figures that somebody asked for by name and one side does not have: a gate with a gap is none. Of llama-bench
/// one case is enough, as each of its tests has one rate; of a load test every case has to have it, unless nothing
/// succeeded, of which the error rate tells.
fn gaps(baseline: &Comparand, candidate: &Comparand, rules: &Rules, reasons: &mut Vec<String>) -> usize {
    let shared = candidate.cases.iter().filter_map(|after| Some((baseline.case(&after.key)?, after)));
    let shared: Vec<(&ComparedCase, &ComparedCase)> = shared.collect();
    let before = reasons.len();
    for subject in rules.thresholds.asked() {
        let has = |case: &ComparedCase| {
            let mut known = case.figures.keys();
            known.any(|measure| Thresholds::covers(subject, *measure, case.open_loop))
        };
        if !shared.iter().any(|(before, after)| has(before) && has(after)) {
            let bench = shared.iter().all(|(_, after)| after.requests.is_none());
            let hint = if bench { "; llama-bench measures rates alone" } else { "" };
            reasons.push(format!("{subject} is known of no case of both sides{hint}"));
            continue;
        }
        for (before, after) in shared.iter().filter(|(_, after)| after.requests.is_some()) {
            let nothing = after.invalid.iter().any(|found| found.reason == InvalidReason::NoSuccess);
            let side = match (has(before), has(after) || nothing) {
                (true, true) => continue,
                (false, _) => "the baseline",
                (true, false) => "the candidate",
            };
            reasons.push(format!("{}: {subject} is not known of {side}", after.key));
        }
    }
    reasons.len() - before
}

/// Opens again what may be chance among all figures that were judged together (Benjamini and Hochberg).
fn withdraw(rows: &mut [Row]) -> usize {
    let p_values: Vec<Option<f64>> =
        rows.iter().map(|row| row.p_beyond_margin.filter(|_| row.threshold.is_some())).collect();
    let found = discoveries(&p_values, FALSE_DISCOVERIES).found;
    let mut withdrawn = 0;
    for (row, found) in rows.iter_mut().zip(found) {
        let regression = matches!(row.evidence, Evidence::Regression { .. });
        if regression && row.threshold.is_some() && row.p_beyond_margin.is_some() && !found {
            row.evidence = Evidence::Inconclusive { more_runs: Some(1) };
            withdrawn += 1;
        }
    }
    withdrawn
}

#[cfg(test)]
#[path = "comparison_tests.rs"]
mod tests;
