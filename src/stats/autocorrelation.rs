//! How much a point of a series depends on the one before. Owns the estimate and how far dependence inflates
//! what is summed; finds no steps.

/// Never said to be more dependent than this: beyond, no series of some hundred points shows anything.
pub const MOST: f64 = 0.9;

/// The correlation of a series' residuals with those one before, by ranks so that no spike decides it, cut to
/// 0 to [`MOST`]. Negative dependence is left out: it makes tests cautious, not rash.
///
/// The residuals are those from `fitted` levels, each of which takes about (1 + 3ρ) ÷ n away (Marriott and
/// Pope, "Bias in the estimation of autocorrelations", Biometrika 41, 1954, for one level); that is put back.
/// Zero of fewer than four points, or of residuals that are all equal.
pub fn of_residuals(residuals: &[f64], fitted: usize) -> f64 {
    let n = residuals.len() as f64;
    if residuals.len() < 4 {
        return 0.0;
    }
    let middle = (n + 1.0) / 2.0;
    let ranks: Vec<f64> = midranks(residuals).into_iter().map(|rank| rank - middle).collect();
    let squares: f64 = ranks.iter().map(|rank| rank * rank).sum();
    if squares <= 0.0 {
        return 0.0;
    }
    let products: f64 = ranks.windows(2).map(|pair| pair[0] * pair[1]).sum();
    let found = products / squares;
    let lost = fitted as f64 / n;
    // Solved for ρ: found = ρ − (1 + 3ρ) · lost.
    let unbiased = (found + lost) / (1.0 - 3.0 * lost).max(0.1);
    unbiased.clamp(0.0, MOST)
}

/// By what the variance of a mean (or a sum of signs) of `n` points grows where they are AR(1):
/// 1 + 2 Σ (1 − k/n) ρᵏ over k from 1 to n − 1 (Bayley and Hammersley, "The effective number of independent
/// observations in an autocorrelated time series", 1946).
pub fn inflation(rho: f64, n: usize) -> f64 {
    let mut power = 1.0;
    let mut sum = 0.0;
    for k in 1..n {
        power *= rho;
        sum += (1.0 - k as f64 / n as f64) * power;
    }
    1.0 + 2.0 * sum
}

/// Ranks from 1, equal values sharing the middle of theirs.
pub fn midranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&one, &other| values[one].total_cmp(&values[other]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for tied in order.chunk_by(|&one, &other| values[one] == values[other]) {
        let rank = first as f64 + (tied.len() as f64 + 1.0) / 2.0;
        tied.iter().for_each(|&at| ranks[at] = rank);
        first += tied.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;

    #[test]
    fn equal_values_share_the_middle_of_their_ranks() {
        assert_eq!(midranks(&[3.0, 1.0, 3.0, 2.0]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(midranks(&[]), [0.0; 0]);
    }

    #[test]
    fn what_rises_throughout_depends_and_what_alternates_does_not_count() {
        let rising: Vec<f64> = (0..50).map(f64::from).collect();
        assert_eq!(of_residuals(&rising, 0), MOST);
        let alternating: Vec<f64> = (0..50).map(|i| f64::from(i % 2)).collect();
        assert_eq!(of_residuals(&alternating, 0), 0.0);
        assert_eq!(of_residuals(&[1.0; 50], 1), 0.0);
        assert_eq!(of_residuals(&[1.0, 2.0, 3.0], 1), 0.0);
    }

    #[test]
    fn an_effective_number_worked_out_by_hand() {
        // n = 3, ρ = 1/2: 1 + 2 (2/3 · 1/2 + 1/3 · 1/4) = 11/6.
        assert!((inflation(0.5, 3) - 11.0 / 6.0).abs() < 1e-12);
        assert_eq!(inflation(0.0, 100), 1.0);
        // (1 + ρ) ÷ (1 − ρ) of many.
        assert!((inflation(0.5, 10_000) - 3.0).abs() < 1e-3);
    }

    /// Seeded, so that it passes always or never.
    #[test]
    fn the_estimate_is_right_on_average() {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        for rho in [0.3, 0.6] {
            let rounds = 300;
            let mut sum = 0.0;
            for _ in 0..rounds {
                let mut at: f64 = StandardNormal.sample(&mut random);
                let series: Vec<f64> = (0..100)
                    .map(|_| {
                        let noise: f64 = StandardNormal.sample(&mut random);
                        at = rho * at + f64::sqrt(1.0 - rho * rho) * noise;
                        at
                    })
                    .collect();
                sum += of_residuals(&series, 1);
            }
            let mean = sum / f64::from(rounds);
            // A rank correlation is a little below that of the values.
            assert!((rho - 0.05..=rho + 0.03).contains(&mean), "{rho}: {mean}");
        }
    }
}
