//! What the observations of two sides say of one figure: the change with its interval, by the best method that
//! they allow. Chooses the method and asks `stats`; gives no verdict.
//!
//! | observations | method |
//! |---|---|
//! | four runs a side or more (repeats, launches) | Hodges and Lehmann's estimate of the ratio, its interval by inverting the exact rank test |
//! | one run a side, with its requests | circular block bootstrap of a percentile; whole conversations or answers where values depend on each other. Says nothing of what differs between runs |
//! | failures among requests | Newcombe's interval of the difference of two shares |
//! | all else | the figures alone |

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF as _, Normal};

use crate::request::load_test::Statistic;
use crate::request::measure::Measure;
use crate::run::comparand::{ComparedCase, Samples};
use crate::run::comparand_load::quantile_of;
use crate::stats::evidence::{Better, Evidence};
use crate::stats::mean_difference::Estimate;
use crate::stats::{block_bootstrap, percentile_interval, proportion, rank_shift};

/// The same two sides give the same interval.
const SEED: u64 = 0x6265_6e63_686c_6574;

/// How an interval was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Method {
    /// There is none.
    #[default]
    None,
    /// Runs by their ranks, all ways to deal them counted.
    ExactRankTest,
    /// The same with a normal approximation, for more than sixty runs.
    RankTest,
    /// Requests in blocks, within one run a side.
    BlockBootstrap,
    /// Conversations or answers as wholes, within one run a side.
    GroupBootstrap,
    /// Two shares of requests.
    ShareDifference,
}

impl Method {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::None => "no interval",
            Self::ExactRankTest => "exact rank test of runs",
            Self::RankTest => "rank test of runs",
            Self::BlockBootstrap => "block bootstrap, within-run only",
            Self::GroupBootstrap => "bootstrap of wholes, within-run only",
            Self::ShareDifference => "difference of shares",
        }
    }

    pub fn is_between_runs(self) -> bool {
        match self {
            Self::ExactRankTest | Self::RankTest => true,
            Self::None | Self::BlockBootstrap | Self::GroupBootstrap | Self::ShareDifference => false,
        }
    }

    /// What is advised has to be enough for a test between runs.
    pub(super) fn with_enough_runs(self, found: Evidence, runs: u32) -> Evidence {
        let within_a_run = match self {
            Self::BlockBootstrap | Self::GroupBootstrap => true,
            Self::None | Self::ExactRankTest | Self::RankTest | Self::ShareDifference => false,
        };
        match found {
            Evidence::Inconclusive { more_runs: Some(more) } if within_a_run => {
                let least = (rank_shift::FEWEST as u32).saturating_sub(runs);
                Evidence::Inconclusive { more_runs: Some(more.max(least)) }
            }
            Evidence::Inconclusive { .. } | Evidence::Ok { .. } | Evidence::Regression { .. } => found,
        }
    }
}

/// Candidate against baseline.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FigureEvidence {
    /// candidate ÷ baseline; of the error rate candidate − baseline.
    pub ratio: Option<Estimate>,
    pub method: Method,
    pub n: [usize; 2],
    pub p: Option<f64>,
    pub p_beyond_margin: Option<f64>,
}

/// `margin`: a change for the worse up to this part of the baseline does not count.
pub fn figure_evidence(
    measure: Measure,
    before: &ComparedCase,
    after: &ComparedCase,
    margin: f64,
) -> FigureEvidence {
    if measure == Measure::ErrorRate {
        return of_errors(before, after, margin);
    }
    let (Some(from), Some(to)) = (before.figures.get(&measure), after.figures.get(&measure)) else {
        return FigureEvidence::default();
    };
    let by_runs = of_runs(measure, &from.units, &to.units, margin);
    let within = || of_requests(measure, before, after, margin);
    by_runs.or_else(within).unwrap_or_else(|| FigureEvidence {
        ratio: (from.value > 0.0).then(|| Estimate { value: to.value / from.value, interval: None }),
        n: [from.units.len().max(1), to.units.len().max(1)],
        ..FigureEvidence::default()
    })
}

fn of_runs(measure: Measure, from: &[f64], to: &[f64], margin: f64) -> Option<FigureEvidence> {
    let found = rank_shift::ratio(from, to)?;
    // As if the baseline were worse by the margin: what is left is beyond it.
    let shifted: Vec<f64> = from.iter().map(|value| value * at_margin(measure, margin)).collect();
    let beyond = rank_shift::ratio(&shifted, to)?;
    let worse = match measure.better() {
        Better::Lower => beyond.shift > 1.0,
        Better::Higher => beyond.shift < 1.0,
    };
    Some(FigureEvidence {
        ratio: Some(found.estimate()),
        method: match found.test {
            rank_shift::Test::Exact => Method::ExactRankTest,
            rank_shift::Test::NormalApproximation => Method::RankTest,
        },
        n: [from.len(), to.len()],
        p: Some(found.p),
        p_beyond_margin: Some(if worse { beyond.p / 2.0 } else { 1.0 - beyond.p / 2.0 }),
    })
}

/// The ratio that is worse by just the margin.
fn at_margin(measure: Measure, margin: f64) -> f64 {
    match measure.better() {
        Better::Lower => 1.0 + margin,
        Better::Higher => (1.0 - margin).max(f64::MIN_POSITIVE),
    }
}

fn of_requests(
    measure: Measure,
    before: &ComparedCase,
    after: &ComparedCase,
    margin: f64,
) -> Option<FigureEvidence> {
    let Measure::Latency(metric, statistic) = measure else { return None };
    let q = match statistic {
        // A mean has another spread, and a maximum none that samples tell.
        Statistic::Mean | Statistic::Max => return None,
        Statistic::P50 | Statistic::P90 | Statistic::P95 | Statistic::P99 => quantile_of(statistic)?,
    };
    let (ratio, method, n) = match (before.samples.get(&metric)?, after.samples.get(&metric)?) {
        (Samples::Requests(from), Samples::Requests(to)) => {
            let concurrency = before.concurrency.max(after.concurrency);
            let ratio = block_bootstrap::quantile_ratio(from, to, q, concurrency, SEED)?;
            (ratio, Method::BlockBootstrap, [from.len(), to.len()])
        }
        (Samples::Groups(from), Samples::Groups(to)) => {
            let ratio = block_bootstrap::quantile_ratio_of_groups(from, to, q, SEED)?;
            (ratio, Method::GroupBootstrap, [from.len(), to.len()])
        }
        (Samples::Requests(_), Samples::Groups(_)) | (Samples::Groups(_), Samples::Requests(_)) => {
            return None;
        }
    };
    let Some([low, high]) = ratio.interval else {
        return Some(FigureEvidence { ratio: Some(ratio), n, ..FigureEvidence::default() });
    };
    let direction = match measure.better() {
        Better::Lower => 1.0,
        Better::Higher => -1.0,
    };
    let distance = direction * (ratio.value / at_margin(measure, margin)).ln();
    Some(FigureEvidence {
        ratio: Some(ratio),
        method,
        n,
        p: None,
        p_beyond_margin: tail(distance, (high / low).ln()),
    })
}

/// P of a normal estimate as far beyond the margin as `distance`, whose 95 % interval is `width` wide.
fn tail(distance: f64, width: f64) -> Option<f64> {
    let error = width / (2.0 * Normal::standard().inverse_cdf(0.5 + percentile_interval::CONFIDENCE / 2.0));
    if error > 0.0 {
        return Some(Normal::standard().sf(distance / error));
    }
    // Nothing varies: there is no doubt, unless it lies right on the margin.
    Some(if distance > 0.0 { 0.0 } else { 1.0 })
}

fn of_errors(before: &ComparedCase, after: &ComparedCase, margin: f64) -> FigureEvidence {
    let (Some(from), Some(to)) = (before.requests, after.requests) else {
        return FigureEvidence::default();
    };
    let Some(difference) = proportion::difference(from, to) else { return FigureEvidence::default() };
    let width = difference.interval.map_or(0.0, |[low, high]| high - low);
    FigureEvidence {
        ratio: Some(difference),
        method: Method::ShareDifference,
        n: [from.1, to.1].map(|requests| usize::try_from(requests).unwrap_or(usize::MAX)),
        p: None,
        p_beyond_margin: tail(difference.value - margin, width),
    }
}

#[cfg(test)]
#[path = "figure_evidence_tests.rs"]
mod tests;
