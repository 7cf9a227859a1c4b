//! One figure of one case on both sides: the change, the policy verdict by its threshold, and what the evidence
//! says of it against the margin. Puts no figures together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::figure_evidence::{FigureEvidence, Method, figure_evidence};
use crate::request::gate::Rules;
use crate::request::measure::Measure;
use crate::request::thresholds::{Limit, Threshold};
use crate::run::comparand::ComparedCase;
use crate::stats::evidence::{Better, Evidence, evidence, worsening};

/// How far two runs of the same lie apart on the host of the candidate, by case and figure, as a part.
pub type NoiseFloors = BTreeMap<(String, Measure), f64>;

/// What people's thresholds say, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Policy {
    Pass,
    Warn,
    Fail,
}

impl Policy {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "Pass",
            Self::Warn => "Warn",
            Self::Fail => "Fail",
        }
    }
}

/// One figure of one case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub case: String,
    pub measure: Measure,
    pub baseline: Option<f64>,
    pub candidate: Option<f64>,
    /// Candidate ÷ baseline − 1; of the error rate the difference.
    pub change: Option<f64>,
    /// Of the change, two-sided 95 %.
    pub interval: Option<[f64; 2]>,
    pub method: Method,
    /// Observations of either side: runs, or requests where there is one run a side.
    pub n: [usize; 2],
    /// Two-sided, of no change.
    pub p: Option<f64>,
    /// One-sided, of a change for the worse no larger than the margin.
    pub p_beyond_margin: Option<f64>,
    /// A part of the baseline, in the worse direction; the host's noise raises it.
    pub margin: f64,
    pub evidence: Evidence,
    /// Null where no threshold speaks of the figure: then it is shown and not judged.
    pub threshold: Option<Threshold>,
    pub policy: Option<Policy>,
}

/// The figures that either side has of a case. Those without a threshold get no evidence unless `everything` is
/// asked for, because it takes time.
pub fn rows_of(
    before: &ComparedCase,
    after: &ComparedCase,
    rules: &Rules,
    noise: &NoiseFloors,
    everything: bool,
) -> Vec<Row> {
    let of_either =
        |measure: &Measure| before.figures.contains_key(measure) || after.figures.contains_key(measure);
    let mut rows = Vec::new();
    for measure in Measure::all().filter(of_either) {
        let threshold = rules.thresholds.of(measure, after.open_loop);
        let value = |case: &ComparedCase| case.figures.get(&measure).map(|figure| figure.value);
        let (baseline, candidate) = (value(before), value(after));
        let change = baseline.zip(candidate).and_then(|(from, to)| change(measure, from, to));
        let floor = noise.get(&(after.key.clone(), measure)).copied().unwrap_or(0.0);
        let by_itself = threshold.and_then(|threshold| threshold.fail).filter(|_| measure.is_share());
        let margin = by_itself.map_or(rules.margin.max(floor), |limit| limit.part);
        let wanted = threshold.is_some() || everything;
        let found =
            if wanted { figure_evidence(measure, before, after, margin) } else { FigureEvidence::default() };
        // Of a difference the change is worse as it is.
        let worse = if measure.is_share() {
            found.ratio
        } else {
            found.ratio.map(|ratio| worsening(ratio, measure.better()))
        };
        let least = found.n[0].min(found.n[1]).try_into().unwrap_or(u32::MAX);
        let of_runs = if found.method.is_between_runs() { least } else { 1 };
        let told = worse.map_or(Evidence::Inconclusive { more_runs: None }, |worse| {
            found.method.with_enough_runs(evidence(worse, margin, of_runs), of_runs)
        });
        let interval = found.ratio.and_then(|ratio| ratio.interval);
        rows.push(Row {
            case: after.key.clone(),
            measure,
            baseline,
            candidate,
            change,
            interval: interval
                .map(|bounds| bounds.map(|bound| if measure.is_share() { bound } else { bound - 1.0 })),
            method: found.method,
            n: found.n,
            p: found.p,
            p_beyond_margin: found.p_beyond_margin,
            margin,
            evidence: told,
            threshold,
            policy: threshold.and_then(|threshold| policy(measure, &threshold, change, candidate)),
        });
    }
    rows
}

fn change(measure: Measure, from: f64, to: f64) -> Option<f64> {
    if measure.is_share() || from == to {
        return Some(to - from);
    }
    (from > 0.0).then(|| to / from - 1.0)
}

/// By the thresholds alone; `None` where the figure is not known.
fn policy(
    measure: Measure,
    threshold: &Threshold,
    change: Option<f64>,
    candidate: Option<f64>,
) -> Option<Policy> {
    let over = |limit: Option<Limit>| -> Option<bool> {
        let Some(limit) = limit else { return Some(false) };
        if measure.is_share() {
            return Some(candidate? > limit.part);
        }
        let change = change?;
        let worse = match measure.better() {
            Better::Lower => change,
            Better::Higher => -change,
        };
        Some(worse > limit.part || (limit.either_way && worse < -limit.part))
    };
    Some(match (over(threshold.fail)?, over(threshold.warn)?) {
        (true, _) => Policy::Fail,
        (false, true) => Policy::Warn,
        (false, false) => Policy::Pass,
    })
}
