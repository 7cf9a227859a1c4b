//! By how much two small groups of runs are shifted against each other, by ranks alone: Hodges and Lehmann's
//! estimate, and what the Mann–Whitney test says of it. Owns the exact distribution of the test, with ties.
//! Takes runs as independent; assumes no shape, but the same shape on both sides.

use std::cmp::Ordering;

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::mean_difference::Estimate;
use super::percentile_interval::CONFIDENCE;

/// Of fewer runs a side than this no test can say anything at 95 %: at 4 the smallest two-sided p is .029,
/// at 5 .0079, at 6 .0022.
pub const FEWEST: usize = 4;

/// With more runs than this, both sides together, the test is the normal approximation: with so many the two
/// no longer differ in what is shown.
pub const MOST_EXACT: usize = 60;

/// candidate − baseline, in the samples' unit (or, of logarithms, in theirs).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankShift {
    /// The median of all differences.
    pub shift: f64,
    /// Two-sided, at least 95 %.
    pub interval: [f64; 2],
    /// Two-sided, of no shift: twice the smaller tail, at most 1.
    pub p: f64,
    pub test: Test,
}

impl RankShift {
    /// As other figures with an interval are.
    pub fn estimate(&self) -> Estimate {
        Estimate { value: self.shift, interval: Some(self.interval) }
    }
}

/// How the test's tails were come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Test {
    /// All ways to deal the pooled samples, ties as they are.
    Exact,
    /// Beyond [`MOST_EXACT`]: normal, with the variance that ties leave and a continuity correction.
    NormalApproximation,
}

/// The shift and its interval by inverting the Mann–Whitney test: all shifts that neither one-sided test at
/// 2.5 % refuses (Hodges and Lehmann, "Estimates of location based on rank tests", 1963; Bauer, "Constructing
/// confidence sets using rank statistics", 1972; the test with ties conditional on them, Lehmann,
/// "Nonparametrics", 1975, 1.4).
///
/// `None` below [`FEWEST`] samples a side, or with one that is not finite.
pub fn shift(baseline: &[f64], candidate: &[f64]) -> Option<RankShift> {
    let too_few = baseline.len().min(candidate.len()) < FEWEST;
    if too_few || baseline.iter().chain(candidate).any(|sample| !sample.is_finite()) {
        return None;
    }
    let sides = Sides { baseline: counted(baseline), candidate: counted(candidate) };
    let mut differences: Vec<f64> = Vec::with_capacity(baseline.len() * candidate.len());
    for one in candidate {
        differences.extend(baseline.iter().map(|other| one - other));
    }
    differences.sort_unstable_by(f64::total_cmp);
    let middle = differences.len() / 2;
    let median = if differences.len().is_multiple_of(2) {
        (differences[middle - 1] + differences[middle]) / 2.0
    } else {
        differences[middle]
    };
    differences.dedup();

    let mut tests = Tests::default();
    // Between two differences nothing changes. The further a shift, the fewer candidates are above; so the
    // shifts that a test refuses lie all on one side.
    let allowed = (1.0 - CONFIDENCE) / 2.0;
    let refused_from_above = differences.partition_point(|&shift| {
        tests.tails(&sides.dealt(|difference| above(difference > shift))).upper <= allowed
    });
    let refused_from_below = differences.partition_point(|&shift| {
        tests.tails(&sides.dealt(|difference| above(difference >= shift))).lower > allowed
    });
    let low = *differences.get(refused_from_above)?;
    let high = *differences.get(refused_from_below.checked_sub(1)?)?;
    let tails = tests.tails(&sides.dealt(|difference| difference.total_cmp(&0.0)));
    Some(RankShift {
        shift: median,
        interval: [low, high],
        p: (2.0 * tails.upper.min(tails.lower)).min(1.0),
        test: if baseline.len() + candidate.len() > MOST_EXACT {
            Test::NormalApproximation
        } else {
            Test::Exact
        },
    })
}

/// candidate ÷ baseline: [`shift`] of the logarithms, taken back. `None` as there, and with a sample that is
/// not above zero.
pub fn ratio(baseline: &[f64], candidate: &[f64]) -> Option<RankShift> {
    if baseline.iter().chain(candidate).any(|sample| *sample <= 0.0) {
        return None;
    }
    let [baseline, candidate] =
        [baseline, candidate].map(|samples| samples.iter().map(|sample| sample.ln()).collect::<Vec<f64>>());
    let found = shift(&baseline, &candidate)?;
    Some(RankShift { shift: found.shift.exp(), interval: found.interval.map(f64::exp), ..found })
}

fn above(is: bool) -> Ordering {
    if is { Ordering::Greater } else { Ordering::Less }
}

/// The different samples in ascending order, each with how often it occurs.
fn counted(samples: &[f64]) -> Vec<(f64, usize)> {
    // Zero has two signs and one value.
    let mut samples: Vec<f64> = samples.iter().map(|sample| sample + 0.0).collect();
    samples.sort_unstable_by(f64::total_cmp);
    let mut counted: Vec<(f64, usize)> = Vec::new();
    for sample in samples {
        match counted.last_mut() {
            Some((value, times)) if *value == sample => *times += 1,
            Some(_) | None => counted.push((sample, 1)),
        }
    }
    counted
}

struct Sides {
    baseline: Vec<(f64, usize)>,
    candidate: Vec<(f64, usize)>,
}

/// The pooled sample in ascending order: for each different value, how often it occurs on either side.
type Pooled = Vec<[usize; 2]>;

impl Sides {
    /// Pools both, a candidate standing to a baseline as their difference is said to stand to the shift.
    fn dealt(&self, stands: impl Fn(f64) -> Ordering) -> Pooled {
        let mut pooled = Vec::with_capacity(self.baseline.len() + self.candidate.len());
        let (mut ours, mut theirs) = (self.candidate.iter().peekable(), self.baseline.iter().peekable());
        loop {
            let stands = match (ours.peek(), theirs.peek()) {
                (Some(our), Some(their)) => stands(our.0 - their.0),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return pooled,
            };
            let our = if stands.is_le() { ours.next() } else { None };
            let their = if stands.is_ge() { theirs.next() } else { None };
            pooled.push([their, our].map(|value| value.map_or(0, |value| value.1)));
        }
    }
}

/// P(U ≥ u) and P(U ≤ u) where nothing differs.
#[derive(Debug, Clone, Copy)]
struct Tails {
    upper: f64,
    lower: f64,
}

/// Distributions by how the pooled sample is tied; without ties all shifts share one.
#[derive(Default)]
struct Tests {
    last: Option<(Vec<usize>, Vec<f64>)>,
}

impl Tests {
    fn tails(&mut self, pooled: &Pooled) -> Tails {
        let ties: Vec<usize> = pooled.iter().map(|[theirs, ours]| theirs + ours).collect();
        let [theirs, ours] = [0, 1].map(|side| pooled.iter().map(|value| value[side]).sum::<usize>());
        // Twice the number of pairs of which the candidate is greater, ties as half.
        let mut passed = 0;
        let mut twice_u = 0;
        for [their, our] in pooled {
            twice_u += our * (2 * passed + their);
            passed += their;
        }
        if theirs + ours > MOST_EXACT {
            return approximate(&ties, ours, theirs, twice_u);
        }
        let known = self.last.take().filter(|(of, _)| *of == ties);
        let (ties, weights) = known.unwrap_or_else(|| {
            let weights = distribution(&ties, ours, theirs);
            (ties, weights)
        });
        let all: f64 = weights.iter().sum();
        let tails = Tails {
            upper: weights[twice_u..].iter().sum::<f64>() / all,
            lower: weights[..=twice_u].iter().sum::<f64>() / all,
        };
        self.last = Some((ties, weights));
        tails
    }
}

/// In how many ways each 2U from 0 to 2·ours·theirs comes about when the pooled sample, tied in groups of
/// these sizes, is dealt to both sides. Group by group in ascending order: x of a group of t may be ours, in
/// C(t, x) ways, and each of them is above all of theirs before and tied with the t − x of its group.
///
/// Below C(60, 30) ≈ 1.2e17, so that sums of f64 are off by far less than any tail that matters.
fn distribution(ties: &[usize], ours: usize, theirs: usize) -> Vec<f64> {
    let width = 2 * ours * theirs + 1;
    let mut ways = vec![vec![0.0; width]; ours + 1];
    ways[0][0] = 1.0;
    let mut dealt = 0;
    for &t in ties {
        // From the top, so that what a group adds to is not counted again for the same group; x = 0 last.
        for have in (0..=ours.min(dealt + t)).rev() {
            let mut next = vec![0.0; width];
            for x in 0..=t.min(have) {
                // Of those before the group, have − x are ours and the rest theirs.
                let Some(below) = dealt.checked_sub(have - x) else { continue };
                if below > theirs || below + t - x > theirs {
                    continue;
                }
                let step = x * (2 * below + t - x);
                let times = choose(t, x);
                // 2U cannot be beyond 2 · have · (theirs so far).
                let reach = 2 * (have - x) * below;
                for (to, from) in next[step..].iter_mut().zip(&ways[have - x][..=reach]) {
                    *to += times * from;
                }
            }
            ways[have] = next;
        }
        dealt += t;
    }
    ways.swap_remove(ours)
}

fn choose(n: usize, k: usize) -> f64 {
    (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64)
}

/// Normal, with variance mn/12 · ((N + 1) − Σ(t³ − t) ÷ (N(N − 1))) (Lehmann, as above, 1.20) and a
/// continuity correction of half a pair.
fn approximate(ties: &[usize], ours: usize, theirs: usize, twice_u: usize) -> Tails {
    let (m, n) = (ours as f64, theirs as f64);
    let all = m + n;
    let tied: f64 = ties.iter().map(|&t| (t as f64).powi(3) - t as f64).sum();
    let deviation = (m * n / 12.0 * ((all + 1.0) - tied / (all * (all - 1.0)))).sqrt();
    let distance = twice_u as f64 / 2.0 - m * n / 2.0;
    let tail = |distance: f64| {
        // All tied: nothing can be said against no shift.
        let z = if deviation > 0.0 { (distance - 0.5) / deviation } else { -f64::INFINITY };
        Normal::standard().sf(z)
    };
    Tails { upper: tail(distance), lower: tail(-distance) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;

    fn tails_at(baseline: &[f64], candidate: &[f64], stands: impl Fn(f64) -> Ordering) -> Tails {
        let sides = Sides { baseline: counted(baseline), candidate: counted(candidate) };
        Tests::default().tails(&sides.dealt(stands))
    }

    /// By the definition: all ways to choose the candidates among the pooled samples.
    fn tails_written_out(baseline: &[f64], candidate: &[f64]) -> [f64; 2] {
        let pooled: Vec<f64> = baseline.iter().chain(candidate).copied().collect();
        let twice_u = |mask: u32| {
            let of = |ours: bool| {
                pooled.iter().enumerate().filter(move |(i, _)| (mask >> i & 1 == 1) == ours).map(|(_, x)| *x)
            };
            let pair = |a: f64, b: f64| 1 + i32::from(a > b) - i32::from(a < b);
            of(true).map(|a| of(false).map(|b| pair(a, b)).sum::<i32>()).sum::<i32>()
        };
        let observed = twice_u(((1 << candidate.len()) - 1) << baseline.len());
        let all: Vec<i32> = (0u32..1 << pooled.len())
            .filter(|mask| mask.count_ones() as usize == candidate.len())
            .map(twice_u)
            .collect();
        let part = |count: usize| count as f64 / all.len() as f64;
        [
            part(all.iter().filter(|&&u| u >= observed).count()),
            part(all.iter().filter(|&&u| u <= observed).count()),
        ]
    }

    #[test]
    fn the_smallest_p_values_are_those_of_the_tables() {
        for (n, smallest) in [(4, 2.0 / 70.0), (5, 2.0 / 252.0), (6, 2.0 / 924.0)] {
            let baseline: Vec<f64> = (0..n).map(f64::from).collect();
            let candidate: Vec<f64> = (0..n).map(|i| f64::from(i) + 100.0).collect();
            let found = shift(&baseline, &candidate).unwrap();
            assert!((found.p - smallest).abs() < 1e-12, "{n}: {found:?}");
        }
    }

    #[test]
    fn five_runs_a_side_worked_out_by_hand() {
        // The tables refuse U ≤ 2 of 25 at 5 %: the interval is from the 3rd smallest difference to the 3rd
        // greatest, and the estimate the 13th of them.
        let baseline = [1.0, 2.0, 4.0, 8.0, 16.0];
        let candidate = [30.1, 31.2, 33.3, 37.4, 45.5];
        let mut differences: Vec<f64> =
            candidate.iter().flat_map(|one| baseline.iter().map(move |other| one - other)).collect();
        differences.sort_unstable_by(f64::total_cmp);
        let found = shift(&baseline, &candidate).unwrap();
        assert_eq!(found.interval, [differences[2], differences[22]]);
        assert_eq!((found.shift, found.test), (differences[12], Test::Exact));
    }

    #[test]
    fn a_ratio_is_the_shift_of_logarithms() {
        let baseline = [1.0, 1.1, 1.2, 1.3, 1.4];
        let candidate = baseline.map(|sample| 2.0 * sample);
        let found = ratio(&baseline, &candidate).unwrap();
        assert!((found.shift - 2.0).abs() < 1e-9, "{found:?}");
        assert!(found.interval[0] > 1.0 && found.interval[1] < 4.0, "{found:?}");
        assert_eq!(found.estimate(), Estimate { value: found.shift, interval: Some(found.interval) });
        assert_eq!(ratio(&[0.0, 1.0, 2.0, 3.0], &baseline), None);
    }

    #[test]
    fn runs_that_never_differ_leave_no_doubt() {
        let found = shift(&[2.0; 4], &[3.0; 4]).unwrap();
        assert_eq!((found.shift, found.interval), (1.0, [1.0, 1.0]));
        let found = shift(&[2.0; 4], &[2.0; 4]).unwrap();
        assert_eq!((found.shift, found.interval, found.p), (0.0, [0.0, 0.0], 1.0));
    }

    #[test]
    fn three_runs_a_side_are_too_few_and_what_is_not_a_number_is_not_compared() {
        assert_eq!(shift(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0, 7.0]), None);
        assert_eq!(shift(&[1.0, 2.0, 3.0, f64::NAN], &[4.0, 5.0, 6.0, 7.0]), None);
    }

    #[test]
    fn the_approximation_takes_over_where_it_no_longer_differs() {
        let baseline: Vec<f64> = (0..30).map(|i| f64::from(i * 17 % 31)).collect();
        let candidate: Vec<f64> = (0..30).map(|i| f64::from(i * 11 % 31) + 4.3).collect();
        let exact = shift(&baseline, &candidate).unwrap();
        let ties = vec![1; 60];
        for twice_u in [620, 760, 900, 1_060, 1_240] {
            let weights = distribution(&ties, 30, 30);
            let exact = weights[twice_u..].iter().sum::<f64>() / weights.iter().sum::<f64>();
            let near = approximate(&ties, 30, 30, twice_u).upper;
            assert!((exact - near).abs() < 2e-3, "{twice_u}: {exact} {near}");
        }
        let more: Vec<f64> = baseline.iter().copied().chain([15.0]).collect();
        let approximate = shift(&more, &candidate).unwrap();
        assert_eq!((exact.test, approximate.test), (Test::Exact, Test::NormalApproximation));
        assert!((exact.interval[0] - approximate.interval[0]).abs() < 1.5, "{exact:?} {approximate:?}");
        assert!((exact.p - approximate.p).abs() < 0.03, "{exact:?} {approximate:?}");
    }

    proptest! {
        #[test]
        fn the_tails_are_those_of_all_ways_to_deal_the_samples(
            baseline in proptest::collection::vec(0u8..6, 4..7),
            candidate in proptest::collection::vec(0u8..6, 4..7),
        ) {
            let [baseline, candidate] =
                [baseline, candidate].map(|of| of.into_iter().map(f64::from).collect::<Vec<_>>());
            let tails = tails_at(&baseline, &candidate, |difference| difference.total_cmp(&0.0));
            let [upper, lower] = tails_written_out(&baseline, &candidate);
            prop_assert!((tails.upper - upper).abs() < 1e-9 && (tails.lower - lower).abs() < 1e-9);
        }

        /// What the search by halves rests on, with ties; and the interval says what the test says.
        #[test]
        fn further_shifts_are_never_refused_less(
            baseline in proptest::collection::vec(0u8..12, 4..9),
            candidate in proptest::collection::vec(0u8..12, 4..9),
        ) {
            let [baseline, candidate] =
                [baseline, candidate].map(|of| of.into_iter().map(f64::from).collect::<Vec<_>>());
            let mut before = 0.0;
            for at in -13..=12 {
                let shift = f64::from(at);
                let upper = tails_at(&baseline, &candidate, |difference| above(difference > shift)).upper;
                prop_assert!(upper >= before - 1e-12, "{at}: {upper} after {before}");
                before = upper;
            }
            let found = shift(&baseline, &candidate).unwrap();
            prop_assert!(found.interval[0] <= found.shift && found.shift <= found.interval[1]);
            let holds = found.interval[0] <= 0.0 && 0.0 <= found.interval[1];
            prop_assert!(holds || found.p <= 0.05 + 1e-9, "{found:?}");
        }
    }

    /// Seeded, so that it passes always or never.
    #[test]
    fn the_interval_of_five_runs_a_side_holds_the_shift_at_least_as_often_as_it_says() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut group = |rounding: f64| -> Vec<f64> {
            let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
            (0..5).map(|_| (normal() * rounding).round() / rounding).collect()
        };
        for rounding in [1e6, 2.0] {
            let rounds = 1_000;
            let held = (0..rounds).filter(|_| {
                let [low, high] = shift(&group(rounding), &group(rounding)).unwrap().interval;
                low <= 0.0 && 0.0 <= high
            });
            let coverage = held.count() as f64 / f64::from(rounds);
            assert!(coverage >= 0.93, "{rounding}: {coverage}");
        }
    }
}
