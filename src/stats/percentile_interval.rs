//! How sure a percentile is: its distribution-free interval by order statistics. Owns the binomial sum
//! behind it; takes samples as independent, and says nothing of samples that are not.

/// The interval's confidence, two-sided.
pub const CONFIDENCE: f64 = 0.95;

/// What either tail may hold at most.
const TAIL: f64 = (1.0 - CONFIDENCE) / 2.0;

/// Weights below this part of the largest are left out of the sums. All of them together are far
/// below what a tail is compared with.
const NEGLIGIBLE: f64 = 1e-25;

/// The interval of the quantile `q` of ascending samples, in their unit; `None` where they are too few
/// to give one of [`CONFIDENCE`] (n < 6 for p50, 36 for p90, 72 for p95, 368 for p99).
pub fn interval(sorted: &[f64], q: f64) -> Option<[f64; 2]> {
    let (low, high) = ranks(sorted.len() as u64, q)?;
    let at = |rank: u64| sorted.get(usize::try_from(rank - 1).ok()?).copied();
    Some([at(low)?, at(high)?])
}

/// Ranks (from 1) of the order statistics that hold the quantile `q` between them in at least
/// [`CONFIDENCE`] of all samples of `n`, with at most half of the rest on either side. With B, the
/// number of samples below the quantile, binomial of n and q: the greatest l with P(B ≤ l − 1) ≤ α/2
/// and the smallest u with P(B ≥ u) ≤ α/2. (Hahn and Meeker, "Statistical Intervals", 5.2.)
/// `None` where no sample can be that far out, and for a `q` not between 0 and 1.
///
/// Exact for every n: the weights are summed relative to the largest one, so that nothing underflows
/// that counts, and only some ten standard deviations of them exist.
pub fn ranks(n: u64, q: f64) -> Option<(u64, u64)> {
    if n == 0 || !(q > 0.0 && q < 1.0) {
        return None;
    }
    let weights = Weights::around_the_mode(n, q);
    let allowed = TAIL * weights.total;
    let low = weights.last_within_lower_tail(allowed)? + 1;
    let high = weights.first_within_upper_tail(allowed)?;
    Some((low, high))
}

/// Binomial probabilities as multiples of the largest one, for the counts where they matter.
struct Weights {
    n: u64,
    first: u64,
    values: Vec<f64>,
    total: f64,
}

impl Weights {
    fn around_the_mode(n: u64, q: f64) -> Self {
        let odds = q / (1.0 - q);
        // At most n, because q is below 1.
        let mode = (((n + 1) as f64 * q) as u64).min(n);
        let mut values = Vec::new();
        let mut weight = 1.0;
        let mut first = mode;
        while first > 0 {
            // P(k − 1) = P(k) · k / (n − k + 1) / odds
            weight *= first as f64 / (n - first + 1) as f64 / odds;
            if weight < NEGLIGIBLE {
                break;
            }
            first -= 1;
            values.push(weight);
        }
        values.reverse();
        values.push(1.0);
        let mut weight = 1.0;
        for k in mode..n {
            // P(k + 1) = P(k) · (n − k) / (k + 1) · odds
            weight *= (n - k) as f64 / (k + 1) as f64 * odds;
            if weight < NEGLIGIBLE {
                break;
            }
            values.push(weight);
        }
        let total = values.iter().sum();
        Self { n, first, values, total }
    }

    /// The greatest k with Σ of the weights up to k at most `allowed`.
    fn last_within_lower_tail(&self, allowed: f64) -> Option<u64> {
        let mut sum = 0.0;
        let mut k = self.first.checked_sub(1);
        for (offset, weight) in self.values.iter().enumerate() {
            sum += weight;
            if sum > allowed {
                break;
            }
            k = Some(self.first + offset as u64);
        }
        k
    }

    /// The smallest k, at most n, with Σ of the weights from k on at most `allowed`.
    fn first_within_upper_tail(&self, allowed: f64) -> Option<u64> {
        let mut sum = 0.0;
        let mut k = self.first + self.values.len() as u64;
        for weight in self.values.iter().rev() {
            sum += weight;
            if sum > allowed {
                break;
            }
            k -= 1;
        }
        (k <= self.n).then_some(k)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    /// P(B ≤ k), by the definition, for small n only.
    fn at_most(n: u64, q: f64, k: u64) -> f64 {
        let choose = |k: u64| (0..k).fold(1.0, |product, i| product * (n - i) as f64 / (i + 1) as f64);
        (0..=k).map(|k| choose(k) * q.powf(k as f64) * (1.0 - q).powf((n - k) as f64)).sum()
    }

    #[test]
    fn the_smallest_samples_with_an_interval_are_6_36_72_and_368() {
        for (q, smallest) in [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)] {
            assert_eq!(ranks(smallest - 1, q), None, "{q}");
            assert_eq!(ranks(smallest, q).map(|(_, high)| high), Some(smallest), "{q}");
        }
    }

    #[test]
    fn known_ranks_are_found() {
        // From tables of the sign test: n = 6 and 10 for the median.
        assert_eq!(ranks(6, 0.5), Some((1, 6)));
        assert_eq!(ranks(10, 0.5), Some((2, 9)));
        assert_eq!(ranks(100, 0.5), Some((40, 61)));
    }

    #[test]
    fn the_interval_is_made_of_samples() {
        let samples: Vec<f64> = (1..=10).map(|i| f64::from(i) * 10.0).collect();
        assert_eq!(interval(&samples, 0.5), Some([20.0, 90.0]));
        assert_eq!(interval(&samples, 0.9), None);
        assert_eq!(interval(&[], 0.5), None);
    }

    #[test]
    fn a_quantile_at_an_end_has_no_interval() {
        for q in [0.0, 1.0, -1.0, f64::NAN] {
            assert_eq!(ranks(1_000, q), None, "{q}");
        }
    }

    #[test]
    fn a_million_samples_agree_with_the_normal_approximation() {
        for q in [0.5, 0.9, 0.95, 0.99] {
            let n = 1_000_000.0;
            let (low, high) = ranks(1_000_000, q).unwrap();
            let half = 1.959_964 * f64::sqrt(n * q * (1.0 - q));
            assert!((low as f64 - (n * q - half)).abs() < 3.0, "{q}: {low}");
            assert!((high as f64 - (n * q + half)).abs() < 3.0, "{q}: {high}");
        }
    }

    proptest! {
        #[test]
        fn both_ranks_are_as_near_as_the_tails_allow(n in 1u64..300, q in 0.02f64..0.98) {
            let Some((low, high)) = ranks(n, q) else {
                prop_assert!(at_most(n, q, 0) > TAIL * 0.999_999 || q.powf(n as f64) > TAIL * 0.999_999);
                return Ok(());
            };
            let close = 1e-9;
            prop_assert!(1 <= low && low < high && high <= n);
            prop_assert!(at_most(n, q, low - 1) <= TAIL + close);
            prop_assert!(at_most(n, q, low) >= TAIL - close, "{low} could be greater");
            prop_assert!(1.0 - at_most(n, q, high - 1) <= TAIL + close);
            prop_assert!(1.0 - at_most(n, q, high - 2) >= TAIL - close, "{high} could be smaller");
        }
    }

    /// Seeded, so that it passes always or never.
    #[test]
    fn the_interval_holds_the_true_percentile_as_often_as_it_says() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        for (n, q) in [(6, 0.5), (200, 0.5), (200, 0.95), (1_000, 0.99)] {
            let rounds = 2_000;
            let mut held = 0;
            for _ in 0..rounds {
                // Exponential: the quantile is −ln(1 − q).
                let mut samples: Vec<f64> = (0..n).map(|_| -(1.0 - random.random::<f64>()).ln()).collect();
                samples.sort_unstable_by(f64::total_cmp);
                let [low, high] = interval(&samples, q).unwrap();
                held += u32::from(low <= -(1.0 - q).ln() && -(1.0 - q).ln() <= high);
            }
            let coverage = f64::from(held) / f64::from(rounds);
            assert!((0.94..=0.99).contains(&coverage), "n {n} q {q}: {coverage}");
        }
    }
}
