//! The ratio of a quantile between two runs, from the requests of one run a side. Owns the resampling, which
//! keeps neighbours in time together because they share a queue, a cache and a batch. It sees one run a side
//! and so nothing of what differs from run to run; whoever shows its interval has to say "within-run only".

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF as _, Normal, StudentsT};

use super::mean_difference::Estimate;
use super::percentile_interval::{CONFIDENCE, ranks};
use super::quantile::quantile;

/// Resamples for an interval.
pub const RESAMPLES: usize = 2_000;

/// Of fewer blocks (or groups) a side than this there is no interval: their spread is not known.
pub const FEWEST_BLOCKS: usize = 8;

/// max(⌈√n⌉, concurrency) requests, at most n. Requests in flight together depend on each other, and √n
/// covers more than n^⅓ does where the dependence is long.
pub fn block_length(n: usize, concurrency: usize) -> usize {
    ((n as f64).sqrt().ceil() as usize).max(concurrency).min(n)
}

/// candidate ÷ baseline of the quantile `q` (0 to 1), with its two-sided 95 % interval. Samples in one unit
/// and in the order of time; `concurrency` is how many requests were in flight together.
///
/// Circular block bootstrap of ln(q̂ of candidate ÷ q̂ of baseline) (Politis and Romano, "A circular
/// block-resampling procedure for stationary data", 1992), both sides resampled independently. The interval
/// is the expanded percentile interval: the tails are those of t with one degree of freedom less than there
/// are blocks, times √(k ÷ (k − 1)), because k blocks show too little of their own spread (Hesterberg, "What
/// teachers should know about the bootstrap", The American Statistician 69, 2015).
///
/// `None` without samples, with one that is not finite and above zero, and for a `q` not between 0 and 1.
/// No interval below [`FEWEST_BLOCKS`] blocks a side, nor where a side has too few samples for a finite
/// interval of the quantile itself ([`ranks`]).
pub fn quantile_ratio(
    baseline: &[f64],
    candidate: &[f64],
    q: f64,
    concurrency: usize,
    seed: u64,
) -> Option<Estimate> {
    ratio([Side::of_requests(baseline, concurrency)?, Side::of_requests(candidate, concurrency)?], q, {
        Resampling { seed, resamples: RESAMPLES }
    })
}

/// The same for conversations: whole groups are resampled, because the turns of one depend on each other.
/// The order of groups does not count. Groups without samples are left out.
pub fn quantile_ratio_of_groups(
    baseline: &[Vec<f64>],
    candidate: &[Vec<f64>],
    q: f64,
    seed: u64,
) -> Option<Estimate> {
    let sides = [Side::of_groups(baseline)?, Side::of_groups(candidate)?];
    ratio(sides, q, Resampling { seed, resamples: RESAMPLES })
}

#[derive(Clone, Copy)]
struct Resampling {
    seed: u64,
    resamples: usize,
}

fn ratio(sides: [Side; 2], q: f64, how: Resampling) -> Option<Estimate> {
    if !(q > 0.0 && q < 1.0) {
        return None;
    }
    let [baseline, candidate] = &sides;
    let value = (quantile(&candidate.sorted, q)?.ln() - quantile(&baseline.sorted, q)?.ln()).exp();
    let blocks = sides.iter().map(Side::blocks).min()?;
    let known = sides.iter().all(|side| ranks(side.sorted.len() as u64, q).is_some());
    if blocks < FEWEST_BLOCKS || !known {
        return Some(Estimate { value, interval: None });
    }
    let mut random = ChaCha8Rng::seed_from_u64(how.seed);
    let mut room = Vec::new();
    let mut logs: Vec<f64> = (0..how.resamples)
        .map(|_| {
            let [below, above] = [baseline, candidate].map(|side| side.resampled(q, &mut random, &mut room));
            above.ln() - below.ln()
        })
        .collect();
    logs.sort_unstable_by(f64::total_cmp);
    let tail = tail_of(blocks)?;
    let interval = [quantile(&logs, tail)?.exp(), quantile(&logs, 1.0 - tail)?.exp()];
    Some(Estimate { value, interval: Some(interval) })
}

/// Φ(−√(k ÷ (k − 1)) · t), with t the quantile of [`CONFIDENCE`] at k − 1 degrees of freedom.
fn tail_of(blocks: usize) -> Option<f64> {
    let k = blocks as f64;
    let t = StudentsT::new(0.0, 1.0, k - 1.0).ok()?.inverse_cdf(0.5 + CONFIDENCE / 2.0);
    Some(Normal::new(0.0, 1.0).ok()?.cdf(-t * (k / (k - 1.0)).sqrt()))
}

/// One run's samples in ascending order, each with the unit (request or group) that is drawn with it.
struct Side {
    sorted: Vec<f64>,
    unit_of: Vec<usize>,
    /// Samples of each unit.
    sizes: Vec<usize>,
    /// Units drawn together.
    block: usize,
}

impl Side {
    fn of_requests(samples: &[f64], concurrency: usize) -> Option<Self> {
        let block = block_length(samples.len(), concurrency);
        Self::of(samples.iter().copied().enumerate().collect(), vec![1; samples.len()], block)
    }

    fn of_groups(groups: &[Vec<f64>]) -> Option<Self> {
        let groups: Vec<&Vec<f64>> = groups.iter().filter(|group| !group.is_empty()).collect();
        let samples = groups.iter().enumerate();
        let samples = samples.flat_map(|(unit, group)| group.iter().map(move |&sample| (unit, sample)));
        Self::of(samples.collect(), groups.iter().map(|group| group.len()).collect(), 1)
    }

    fn of(mut samples: Vec<(usize, f64)>, sizes: Vec<usize>, block: usize) -> Option<Self> {
        if samples.is_empty() || samples.iter().any(|(_, sample)| !sample.is_finite() || *sample <= 0.0) {
            return None;
        }
        samples.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
        let (unit_of, sorted) = samples.into_iter().unzip();
        Some(Self { sorted, unit_of, sizes, block })
    }

    fn blocks(&self) -> usize {
        self.sizes.len() / self.block
    }

    /// The quantile `q` of one resample; `times` is room to work in.
    fn resampled(&self, q: f64, random: &mut ChaCha8Rng, times: &mut Vec<i64>) -> f64 {
        let units = self.sizes.len();
        times.clear();
        times.resize(units + 1, 0);
        // As differences first: how often a unit was drawn is the number of blocks over it.
        let mut left = units;
        while left > 0 {
            let start = random.random_range(0..units);
            let length = self.block.min(left);
            times[start] += 1;
            if start + length <= units {
                times[start + length] -= 1;
            } else {
                // Around the end, from the first unit on.
                times[0] += 1;
                times[start + length - units] -= 1;
            }
            left -= length;
        }
        let (mut drawn, mut total) = (0, 0);
        for (times, size) in times.iter_mut().zip(&self.sizes) {
            drawn += *times;
            *times = drawn;
            total += drawn as usize * size;
        }
        self.quantile_of_drawn(q, times, total)
    }

    /// As [`quantile`] over every sample as often as its unit was drawn, `total` in all. Walks in from the
    /// nearer end, so that of a p95 only a twentieth is looked at.
    fn quantile_of_drawn(&self, q: f64, times: &[i64], total: usize) -> f64 {
        let h = (total - 1) as f64 * q;
        let below = (h.floor() as usize).min(total - 1);
        let above = (below + 1).min(total - 1);
        let weight = h - below as f64;
        let drawn = |at: usize| times[self.unit_of[at]] as usize;
        let from_below = 2 * below < total;
        let (low, high) = if from_below {
            self.two(0..self.sorted.len(), drawn, [below, above])
        } else {
            let (high, low) =
                self.two((0..self.sorted.len()).rev(), drawn, [total - 1 - above, total - 1 - below]);
            (low, high)
        };
        low + (high - low) * weight
    }

    /// The samples at two ranks (from 0, the first not above the second) along `order`.
    fn two(
        &self,
        order: impl Iterator<Item = usize>,
        drawn: impl Fn(usize) -> usize,
        [first, second]: [usize; 2],
    ) -> (f64, f64) {
        let mut passed = 0;
        let mut found = None;
        let mut last = f64::NAN;
        for at in order {
            passed += drawn(at);
            last = self.sorted[at];
            if found.is_none() && passed > first {
                found = Some(last);
            }
            if passed > second {
                break;
            }
        }
        (found.unwrap_or(last), last)
    }
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;

    fn few(seed: u64) -> Resampling {
        Resampling { seed, resamples: 400 }
    }

    /// Lognormal with σ = 0.8, of which neighbours correlate at `rho` on the scale of the logarithm.
    fn autocorrelated(n: usize, rho: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
        let mut normal = || -> f64 { StandardNormal.sample(&mut *random) };
        let mut at = normal();
        let mut next = || {
            at = rho * at + (1.0 - rho * rho).sqrt() * normal();
            (0.8 * at).exp()
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn blocks_are_as_long_as_the_root_or_the_concurrency() {
        assert_eq!(block_length(1_000, 1), 32);
        assert_eq!(block_length(1_000, 64), 64);
        assert_eq!(block_length(9, 64), 9);
        assert_eq!(block_length(0, 4), 0);
    }

    #[test]
    fn a_run_that_is_slower_by_a_factor_has_that_factor() {
        let baseline: Vec<f64> = (0..400).map(|i| 100.0 + f64::from(i * 37 % 101)).collect();
        let candidate: Vec<f64> = baseline.iter().map(|sample| sample * 1.5).collect();
        let found = quantile_ratio(&baseline, &candidate, 0.95, 4, 1).unwrap();
        let [low, high] = found.interval.unwrap();
        assert!((found.value - 1.5).abs() < 1e-9 && low < 1.5 && 1.5 < high, "{found:?}");
        assert_eq!(quantile_ratio(&baseline, &candidate, 0.95, 4, 1), Some(found));
        assert_ne!(quantile_ratio(&baseline, &candidate, 0.95, 4, 2), Some(found));
    }

    #[test]
    fn what_never_varies_leaves_no_doubt() {
        let found = quantile_ratio(&[2.0; 100], &[3.0; 100], 0.5, 1, 1).unwrap();
        let [low, high] = found.interval.unwrap();
        assert!((low - 1.5).abs() < 1e-12 && (high - 1.5).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn too_few_samples_or_blocks_give_a_ratio_and_no_interval() {
        let interval = |n: usize, q: f64, concurrency: usize| {
            quantile_ratio(&vec![1.0; n], &vec![2.0; n], q, concurrency, 1).unwrap().interval
        };
        assert_eq!(interval(71, 0.95, 1), None);
        assert!(interval(72, 0.95, 1).is_some());
        // Seven blocks of 128.
        assert_eq!(interval(1_000, 0.95, 128), None);
        assert!(interval(1_024, 0.95, 128).is_some());
    }

    #[test]
    fn what_has_no_logarithm_has_no_ratio() {
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert_eq!(quantile_ratio(&[1.0, bad], &[1.0, 2.0], 0.5, 1, 1), None, "{bad}");
        }
        assert_eq!(quantile_ratio(&[], &[1.0], 0.5, 1, 1), None);
        assert_eq!(quantile_ratio(&[1.0], &[1.0], 1.0, 1, 1), None);
        assert_eq!(quantile_ratio_of_groups(&[vec![]], &[vec![1.0]], 0.5, 1), None);
    }

    #[test]
    fn the_quantile_of_a_resample_is_that_of_its_samples_written_out() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let groups: Vec<Vec<f64>> =
            (0..20).map(|i| autocorrelated(1 + i % 5, 0.5, &mut random)).chain([vec![]]).collect();
        let side = Side::of_groups(&groups).unwrap();
        for q in [0.05, 0.5, 0.9, 0.99] {
            let times: Vec<i64> = (0..20).map(|_| random.random_range(0..3)).collect();
            let mut written: Vec<f64> = Vec::new();
            for (group, &times) in groups.iter().zip(&times) {
                (0..times).for_each(|_| written.extend(group));
            }
            written.sort_unstable_by(f64::total_cmp);
            let found = side.quantile_of_drawn(q, &times, written.len());
            assert!((found - quantile(&written, q).unwrap()).abs() < 1e-12, "{q}");
        }
    }

    #[test]
    fn a_resample_of_blocks_draws_as_many_requests_as_there_were() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let side = Side::of_requests(&[1.0; 50], 7).unwrap();
        let mut times = Vec::new();
        for _ in 0..100 {
            side.resampled(0.5, &mut random, &mut times);
            assert_eq!(times[..50].iter().sum::<i64>(), 50);
            assert!(times[..50].iter().all(|&times| times >= 0));
        }
    }

    /// Seeded, so that it passes always or never. The reference has 89 % for an interval of this kind.
    #[test]
    fn the_interval_of_autocorrelated_requests_holds_the_ratio_nearly_as_often_as_it_says() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let rounds = 120;
        let held = (0..rounds).filter(|&round| {
            let sides = [(); 2].map(|()| autocorrelated(1_000, 0.8, &mut random));
            let sides = sides.map(|samples| Side::of_requests(&samples, 1).unwrap());
            let [low, high] = ratio(sides, 0.95, few(round)).unwrap().interval.unwrap();
            low <= 1.0 && 1.0 <= high
        });
        let coverage = held.count() as f64 / rounds as f64;
        assert!((0.85..=0.99).contains(&coverage), "{coverage}");
    }

    /// Turns of one conversation share a factor; an interval over single turns would be half as wide.
    #[test]
    fn the_interval_of_conversations_holds_the_ratio_nearly_as_often_as_it_says() {
        let mut random = ChaCha8Rng::seed_from_u64(12);
        let rounds = 200;
        let mut conversations = || -> Vec<Vec<f64>> {
            let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
            (0..40)
                .map(|_| {
                    let shared = normal();
                    (0..8).map(|_| (0.4 * shared + 0.2 * normal()).exp()).collect()
                })
                .collect()
        };
        let held = (0..rounds).filter(|&round| {
            let sides = [(); 2].map(|()| Side::of_groups(&conversations()).unwrap());
            let [low, high] = ratio(sides, 0.5, few(round)).unwrap().interval.unwrap();
            low <= 1.0 && 1.0 <= high
        });
        let coverage = held.count() as f64 / rounds as f64;
        assert!((0.90..=0.99).contains(&coverage), "{coverage}");
    }
}
