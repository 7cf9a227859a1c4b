//! Exact quantiles of samples that lie in memory. Owns the method; estimates nothing and sorts nothing.

/// The method of [`quantile`], as results name it.
pub const METHOD: &str = "exact, linear interpolation (type 7)";

/// The quantile `q` (0 to 1, cut to that) of ascending, finite samples, in their unit: with
/// h = (n − 1)·q, the value at h between the order statistics x₀ … xₙ₋₁, interpolated linearly.
/// Type 7 of Hyndman and Fan (1996), the default of R and NumPy. `None` without samples.
pub fn quantile(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let h = last as f64 * q.clamp(0.0, 1.0);
    // Not negative and at most `last`.
    let below = (h.floor() as usize).min(last);
    let low = sorted[below];
    let high = sorted[(below + 1).min(last)];
    // Equal neighbours give themselves, not a rounding of themselves.
    Some(if low == high { low } else { (low + (high - low) * (h - below as f64)).min(high) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The polygon through the points (k/(n − 1), xₖ), searched from its left end.
    fn on_the_polygon(sorted: &[f64], q: f64) -> f64 {
        if sorted.len() == 1 {
            return sorted[0];
        }
        let step = 1.0 / (sorted.len() - 1) as f64;
        for (k, pair) in sorted.windows(2).enumerate() {
            let (from, to) = (k as f64 * step, (k + 1) as f64 * step);
            if q <= to {
                let part = (q - from) / (to - from);
                return pair[0] * (1.0 - part) + pair[1] * part;
            }
        }
        sorted[sorted.len() - 1]
    }

    #[test]
    fn known_samples_give_the_values_that_r_and_numpy_give() {
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        for (q, expected) in [(0.0, 1.0), (0.25, 3.25), (0.5, 5.5), (0.9, 9.1), (0.95, 9.55), (1.0, 10.0)] {
            let value = quantile(&ten, q).unwrap();
            assert!((value - expected).abs() < 1e-12, "{q}: {value}");
        }
        assert_eq!(quantile(&[1.0, 2.0, 4.0], 0.75), Some(3.0));
    }

    #[test]
    fn one_sample_is_every_quantile_and_none_has_none() {
        assert_eq!(quantile(&[7.5], 0.0), Some(7.5));
        assert_eq!(quantile(&[7.5], 0.99), Some(7.5));
        assert_eq!(quantile(&[], 0.5), None);
    }

    #[test]
    fn a_quantile_out_of_range_is_the_nearest_end() {
        assert_eq!(quantile(&[1.0, 2.0], -3.0), Some(1.0));
        assert_eq!(quantile(&[1.0, 2.0], 1.5), Some(2.0));
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_polygon_through_the_order_statistics(
            mut samples in proptest::collection::vec(-1e6f64..1e6, 1..200),
            q in 0.0f64..=1.0,
        ) {
            samples.sort_unstable_by(f64::total_cmp);
            let value = quantile(&samples, q).unwrap();
            prop_assert!((value - on_the_polygon(&samples, q)).abs() < 1e-5, "{value}");
        }

        #[test]
        fn it_never_falls_with_q_and_stays_within_the_samples(
            mut samples in proptest::collection::vec(-1e6f64..1e6, 1..200),
            one in 0.0f64..=1.0,
            other in 0.0f64..=1.0,
        ) {
            samples.sort_unstable_by(f64::total_cmp);
            let (low, high) = (one.min(other), one.max(other));
            let (at_low, at_high) = (quantile(&samples, low).unwrap(), quantile(&samples, high).unwrap());
            prop_assert!(at_low <= at_high);
            prop_assert!(samples[0] <= at_low && at_high <= samples[samples.len() - 1]);
        }
    }
}
