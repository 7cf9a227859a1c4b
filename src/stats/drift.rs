//! Whether a history drifts slowly in one direction, and how fast. Owns the trend test and its slope; steps
//! are another module's, and a step looks like drift to this one.

use statrs::distribution::{ContinuousCDF as _, Normal};

use super::autocorrelation::{inflation, of_residuals};
use super::percentile_interval::CONFIDENCE;
use super::quantile::quantile;

/// With fewer points than this nothing is said: the test's normal approximation begins here.
pub const FEWEST: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// In the points' unit a point (Theil and Sen): the median of the slopes between all pairs.
    pub slope: f64,
    /// Of the slope, two-sided 95 %.
    pub interval: [f64; 2],
    /// Two-sided, of no trend.
    pub p: f64,
    /// What remains of each point's dependence on the one before; widens the interval and raises p.
    pub autocorrelation: f64,
}

/// Mann and Kendall's test for a trend of a history of equally spaced points, with S = Σ sign(xⱼ − xᵢ) over
/// all i < j, z = (S ∓ 1) ÷ √V, and V = n(n − 1)(2n + 5)/18 less t(t − 1)(2t + 5)/18 for each tie of t points
/// (Kendall, "Rank correlation methods", 1975), times the inflation that AR(1) dependence of the residuals
/// gives a sum (Yue and Wang, "The Mann-Kendall test modified by effective sample size", 2004). The slope's
/// interval is made of slopes, by ranks N/2 ∓ z·√V/2 (Sen, "Estimates of the regression coefficient based on
/// Kendall's tau", 1968).
///
/// `None` below [`FEWEST`] points, or with one that is not finite. Time and memory grow with n².
pub fn drift(history: &[f64]) -> Option<Drift> {
    if history.len() < FEWEST || history.iter().any(|point| !point.is_finite()) {
        return None;
    }
    let mut slopes = Vec::with_capacity(history.len() * (history.len() - 1) / 2);
    let mut s = 0.0;
    for (i, from) in history.iter().enumerate() {
        for (steps, to) in (1u32..).zip(&history[i + 1..]) {
            let rise = to - from;
            slopes.push(rise / f64::from(steps));
            if rise != 0.0 {
                s += rise.signum();
            }
        }
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let slope = quantile(&slopes, 0.5)?;
    let residuals: Vec<f64> = (0u32..).zip(history).map(|(i, point)| point - f64::from(i) * slope).collect();
    // A line takes away what two levels do.
    let autocorrelation = of_residuals(&residuals, 2);
    let deviation = (variance(history) * inflation(autocorrelation, history.len())).sqrt();
    let z = if deviation > 0.0 { (s.abs() - 1.0).max(0.0) / deviation } else { 0.0 };
    let normal = Normal::standard();
    let reach = normal.inverse_cdf(0.5 + CONFIDENCE / 2.0) * deviation;
    // Ranks from 0, rounded outwards; as parts of the way from the first slope to the last.
    let last = slopes.len() as f64 - 1.0;
    let low = ((last - reach) / 2.0).floor() / last;
    let high = ((last + reach) / 2.0).ceil() / last;
    Some(Drift {
        slope,
        interval: [quantile(&slopes, low)?, quantile(&slopes, high)?],
        p: (2.0 * normal.sf(z)).min(1.0),
        autocorrelation,
    })
}

/// Of S, ties taken off.
fn variance(history: &[f64]) -> f64 {
    let term = |count: usize| {
        let n = count as f64;
        n * (n - 1.0) * (2.0 * n + 5.0) / 18.0
    };
    let mut sorted = history.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    term(history.len()) - sorted.chunk_by(|one, other| one == other).map(|tied| term(tied.len())).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution as _, StandardNormal};

    use super::*;

    fn series(n: u32, rho: f64, slope: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
        let mut at: f64 = StandardNormal.sample(random);
        let next = |i: u32| {
            let noise: f64 = StandardNormal.sample(random);
            at = rho * at + (1.0 - rho * rho).sqrt() * noise;
            at + slope * f64::from(i)
        };
        (0..n).map(next).collect()
    }

    #[test]
    fn ten_rising_points_worked_out_by_hand() {
        // S = 45, V = 10 · 9 · 25 / 18 = 125, z = 44 / √125 = 3.935: p = 0.000083. The residuals are all equal.
        let rising: Vec<f64> = (0..10).map(|i| 5.0 + 2.0 * f64::from(i)).collect();
        let found = drift(&rising).unwrap();
        assert_eq!((found.slope, found.interval, found.autocorrelation), (2.0, [2.0, 2.0], 0.0));
        assert!((found.p - 8.3e-5).abs() < 2e-6, "{found:?}");
        let falling: Vec<f64> = rising.iter().map(|point| -point).collect();
        let down = drift(&falling).unwrap();
        assert_eq!((down.slope, down.p), (-2.0, found.p));
    }

    #[test]
    fn ties_take_variance_away() {
        // Ten points in five pairs: 125 − 5 · 2 · 1 · 9 / 18 = 120.
        let pairs: Vec<f64> = (0..10).map(|i| f64::from(i / 2)).collect();
        assert_eq!(variance(&pairs), 120.0);
        let level = drift(&[4.0; 12]).unwrap();
        assert_eq!((level.slope, level.interval, level.p), (0.0, [0.0, 0.0], 1.0));
    }

    #[test]
    fn nine_points_and_what_is_not_a_number_have_no_drift() {
        assert_eq!(drift(&[1.0; 9]), None);
        assert_eq!(drift(&[f64::NAN; 12]), None);
    }

    /// Seeded, so that it passes always or never.
    #[test]
    fn a_level_history_seldom_drifts_and_the_slope_of_a_drifting_one_is_held() {
        let mut random = ChaCha8Rng::seed_from_u64(6);
        for (rho, alarms) in [(0.0, 0.07), (0.5, 0.12)] {
            let rounds = 200;
            let part = |count: usize| count as f64 / f64::from(rounds);
            let false_alarms =
                (0..rounds).filter(|_| drift(&series(50, rho, 0.0, &mut random)).unwrap().p < 0.05).count();
            assert!(part(false_alarms) <= alarms, "{rho}: {false_alarms}");
            let held = (0..rounds).filter(|_| {
                let [low, high] = drift(&series(50, rho, 0.05, &mut random)).unwrap().interval;
                low <= 0.05 && 0.05 <= high
            });
            let held = part(held.count());
            assert!(held >= 1.0 - alarms, "{rho}: {held}");
        }
    }
}
