//! Where a history stepped from one level to another. Owns the rank CUSUM, its calibration by simulation and
//! the gates that a step has to pass to be worth a word; does not judge whether a step is for the worse.

use std::collections::BTreeMap;

use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, StandardNormal};

use super::autocorrelation::{MOST, midranks, of_residuals};
use super::quantile::quantile;

/// Dependence is rounded up to such a part of 1, so that simulations are shared.
const RHO_STEPS: f64 = 20.0;

/// Points in all simulated series of one calibration; longer series get fewer of them.
const SIMULATED_POINTS: usize = 200_000;

/// Fewest and most series a calibration simulates.
const SERIES: [usize; 2] = [400, 2_000];

/// Segments shorter than this cannot tell their own dependence and take that of the segment they are cut from.
const TELLS_DEPENDENCE: usize = 30;

/// As many fixed levels take away from a series' dependence what its two best ones do: so found by simulation,
/// where 5 to 6 % of AR(1) series (ρ 0.5, 100 points) then have p ≤ .05, and 9 % with two.
const LEVELS_OF_A_SPLIT: usize = 4;

/// What a step has to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gates {
    /// The shortest segment in points, at least 1: 3 to warn, 5 to fail.
    pub shortest_segment: usize,
    /// How often chance alone may give so large a CUSUM in a segment (0 to 1).
    pub significance: f64,
    /// The least step as a part of the level before: 0.03 is 3 %.
    pub relative: f64,
    /// The least step in median absolute residuals from the levels on both sides.
    pub residuals: f64,
    /// The least step in the points' unit.
    pub absolute: f64,
}

impl Gates {
    /// 2 % significance, a step of 3 % and of three median residuals: of 100 unchanged points, independent or
    /// AR(1) or with spikes, less than one in 300 raises an alarm; with a spread that grows fourfold, one in 200.
    pub fn new(shortest_segment: usize, absolute: f64) -> Self {
        Self { shortest_segment, significance: 0.02, relative: 0.03, residuals: 3.0, absolute }
    }
}

/// One step of a history.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// The first point of the new level, from 0.
    pub at: usize,
    /// Medians of the segments on both sides, in the points' unit.
    pub before: f64,
    pub after: f64,
    /// How often chance alone gives so large a CUSUM in a segment of this length and dependence.
    pub p: f64,
}

/// A history as segments of one level each.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    /// In the order of time.
    pub steps: Vec<Step>,
    /// The smallest p of any split of the whole history, gates apart: what is judged of many series together.
    /// Null where the history is too short to be split, or a point is not finite.
    pub p: Option<f64>,
}

/// Simulated maxima of the CUSUM under no step, by length, shortest segment and dependence. Keep one for many
/// histories: a length that was seen before costs nothing.
#[derive(Debug, Clone)]
pub struct Calibration {
    seed: u64,
    maxima: BTreeMap<(usize, usize, u32), Vec<f64>>,
}

impl Calibration {
    pub fn new(seed: u64) -> Self {
        Self { seed, maxima: BTreeMap::new() }
    }

    /// The part of simulated series without a step whose largest CUSUM is at least this one:
    /// (1 + #) ÷ (1 + series).
    fn p(&mut self, cusum: f64, n: usize, shortest: usize, rho: f64) -> f64 {
        let n = rounded(n);
        // At most MOST · RHO_STEPS.
        let steps = (rho.clamp(0.0, MOST) * RHO_STEPS).ceil() as u32;
        let seed = self.seed;
        let maxima = self
            .maxima
            .entry((n, shortest, steps))
            .or_insert_with(|| simulated(n, shortest, f64::from(steps) / RHO_STEPS, seed));
        let below = maxima.partition_point(|maximum| *maximum < cusum);
        (1 + maxima.len() - below) as f64 / (1 + maxima.len()) as f64
    }
}

/// The maximum hardly grows with the length, so that lengths share simulations: a sixteenth is rounded up.
fn rounded(n: usize) -> usize {
    n.next_multiple_of((n / 16).max(1))
}

/// Maxima of AR(1) series of normal noise, in ascending order.
fn simulated(n: usize, shortest: usize, rho: f64, seed: u64) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let noise = (1.0 - rho * rho).sqrt();
    let count = (SIMULATED_POINTS / n.max(1)).clamp(SERIES[0], SERIES[1]);
    let mut series = vec![0.0; n];
    let mut maxima: Vec<f64> = (0..count)
        .map(|_| {
            let mut at: f64 = StandardNormal.sample(&mut random);
            for point in &mut series {
                *point = at;
                let normal: f64 = StandardNormal.sample(&mut random);
                at = rho * at + noise * normal;
            }
            largest_cusum(&series, shortest).map_or(0.0, |split| split.cusum)
        })
        .collect();
    maxima.sort_unstable_by(f64::total_cmp);
    maxima
}

struct Split {
    /// Points before it.
    at: usize,
    cusum: f64,
}

/// The split k of n points with the largest |Σ(rᵢ − (n + 1)/2)| ÷ √(k(n − k)(n + 1)/12) over the ranks r of the
/// first k (Pettitt, "A non-parametric approach to the change-point problem", 1979, standardised for every k
/// as the rank sum it is). Ties share ranks. `None` where no split leaves `shortest` points on both sides.
fn largest_cusum(series: &[f64], shortest: usize) -> Option<Split> {
    let n = series.len();
    let shortest = shortest.max(1);
    let middle = (n as f64 + 1.0) / 2.0;
    let mut sum = 0.0;
    let mut largest: Option<Split> = None;
    for (k, rank) in (1..).zip(midranks(series)) {
        sum += rank - middle;
        if k < shortest || k + shortest > n {
            continue;
        }
        let cusum = sum.abs() / (k as f64 * (n - k) as f64 * (n as f64 + 1.0) / 12.0).sqrt();
        if largest.as_ref().is_none_or(|split| cusum > split.cusum) {
            largest = Some(Split { at: k, cusum });
        }
    }
    largest
}

/// The steps of a history in the order of time, none where a point is not finite: binary segmentation by
/// [`largest_cusum`], each split held against series without a step of the same length and the dependence that
/// the residuals of that split show, and then the gates, the weakest step first, until all pass them.
///
/// Two opposite steps close to each other may hide one another, as in all binary segmentation.
pub fn steps(history: &[f64], gates: &Gates, calibration: &mut Calibration) -> Steps {
    if history.iter().any(|point| !point.is_finite()) {
        return Steps { steps: Vec::new(), p: None };
    }
    let mut found: Vec<(usize, f64)> = Vec::new();
    let mut whole = None;
    let mut open = vec![(0, history.len(), 0.0)];
    while let Some((from, to, inherited)) = open.pop() {
        let segment = &history[from..to];
        let Some(split) = largest_cusum(segment, gates.shortest_segment) else { continue };
        let rho = if segment.len() < TELLS_DEPENDENCE && whole.is_some() {
            inherited
        } else {
            of_residuals(&residuals(segment, &[split.at]), LEVELS_OF_A_SPLIT)
        };
        let p = calibration.p(split.cusum, segment.len(), gates.shortest_segment, rho);
        whole = whole.or(Some(p));
        if p <= gates.significance {
            let at = from + split.at;
            found.push((at, p));
            open.extend([(from, at, rho), (at, to, rho)]);
        }
    }
    found.sort_unstable_by_key(|(at, _)| *at);
    Steps { steps: through_the_gates(history, gates, found), p: whole }
}

/// Drops the step that misses its gates by most, and looks again at those beside it.
fn through_the_gates(history: &[f64], gates: &Gates, mut found: Vec<(usize, f64)>) -> Vec<Step> {
    loop {
        let cuts: Vec<usize> = found.iter().map(|(at, _)| *at).collect();
        let levels_between = levels(history, &cuts);
        let residuals = residuals(history, &cuts);
        let bounds: Vec<usize> = [0].into_iter().chain(cuts).chain([history.len()]).collect();
        let mut steps = Vec::new();
        let mut weakest: Option<(usize, f64)> = None;
        for (i, (at, p)) in found.iter().enumerate() {
            let (before, after) = (levels_between[i], levels_between[i + 1]);
            let noise = median(residuals[bounds[i]..bounds[i + 2]].iter().map(|residual| residual.abs()));
            let least = (gates.relative * before.abs()).max(gates.residuals * noise).max(gates.absolute);
            let size = (after - before).abs();
            // Without a least size and without noise any step passes.
            let passes = if least > 0.0 { size / least } else { f64::INFINITY };
            if passes < 1.0 && weakest.is_none_or(|(_, passed)| passes < passed) {
                weakest = Some((i, passes));
            }
            steps.push(Step { at: *at, before, after, p: *p });
        }
        match weakest {
            Some((i, _)) => found.remove(i),
            None => return steps,
        };
    }
}

/// The median of each segment between the cuts.
fn levels(history: &[f64], cuts: &[usize]) -> Vec<f64> {
    let ends = cuts.iter().copied().chain([history.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(from, to)| median(history[from..to].iter().copied())).collect()
}

/// Each point less the median of its segment.
fn residuals(history: &[f64], cuts: &[usize]) -> Vec<f64> {
    let levels = levels(history, cuts);
    let level_of = |at: usize| levels[cuts.partition_point(|cut| *cut <= at)];
    history.iter().enumerate().map(|(at, point)| point - level_of(at)).collect()
}

/// Zero of nothing.
fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    quantile(&values, 0.5).unwrap_or(0.0)
}

#[cfg(test)]
#[path = "changepoint_tests.rs"]
mod tests;
