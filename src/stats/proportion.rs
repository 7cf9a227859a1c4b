//! How sure a share of requests is (errors, timeouts), and how far two shares lie apart. Takes requests as
//! independent, which those of one outage are not; caps and thresholds are others' business.

use statrs::distribution::{Beta, ContinuousCDF as _, Normal};

use super::mean_difference::Estimate;
use super::percentile_interval::CONFIDENCE;

/// `of` events among `n`, as shares from 0 to 1, with the exact two-sided 95 % interval: all shares at which
/// neither as many events nor as few would be rarer than 2.5 % (Clopper and Pearson, Biometrika 26, 1934). By
/// quantiles of the beta distribution: B(α/2; x, n − x + 1) to B(1 − α/2; x + 1, n − x). `None` of no
/// requests, and for more events than requests.
pub fn proportion(of: u64, n: u64) -> Option<Estimate> {
    let tail = (1.0 - CONFIDENCE) / 2.0;
    let interval = [lower_bound(of, n, tail)?, upper_bound_at(of, n, tail)?];
    Some(Estimate { value: of as f64 / n as f64, interval: Some(interval) })
}

/// The one-sided 95 % bound: below which a share lies of which so few events (0 of 299: 1 %) came. `None` as
/// with [`proportion`].
pub fn upper_bound(of: u64, n: u64) -> Option<f64> {
    upper_bound_at(of, n, 1.0 - CONFIDENCE)
}

/// Candidate − baseline of two shares, each as (events, requests), with a two-sided 95 % interval, in shares
/// from −1 to 1: from each share's score interval (Wilson, 1927), put together by squares (Newcombe, "Interval
/// estimation for the difference between independent proportions", Statistics in Medicine 17, 1998, method
/// 10). Not exact: it holds the difference in about 95 % of all cases, also where no event came. `None` as
/// with [`proportion`].
pub fn difference(baseline: (u64, u64), candidate: (u64, u64)) -> Option<Estimate> {
    let (from, to) = (score(baseline)?, score(candidate)?);
    let value = to.share - from.share;
    let low = value - (to.share - to.low).hypot(from.high - from.share);
    let high = value + (to.high - to.share).hypot(from.share - from.low);
    Some(Estimate { value, interval: Some([low, high]) })
}

fn lower_bound(of: u64, n: u64, tail: f64) -> Option<f64> {
    if n == 0 || of > n {
        return None;
    }
    if of == 0 {
        return Some(0.0);
    }
    Some(Beta::new(of as f64, (n - of) as f64 + 1.0).ok()?.inverse_cdf(tail))
}

/// The lower bound of what did not happen.
fn upper_bound_at(of: u64, n: u64, tail: f64) -> Option<f64> {
    Some(1.0 - lower_bound(n.checked_sub(of)?, n, tail)?)
}

struct Score {
    share: f64,
    low: f64,
    high: f64,
}

fn score((of, n): (u64, u64)) -> Option<Score> {
    if n == 0 || of > n {
        return None;
    }
    let z = Normal::standard().inverse_cdf(0.5 + CONFIDENCE / 2.0);
    let (n, share) = (n as f64, of as f64 / n as f64);
    let middle = share + z * z / (2.0 * n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    // Rounding must not carry either bound beyond the share.
    Some(Score {
        share,
        low: ((middle - half) / scale).clamp(0.0, share),
        high: ((middle + half) / scale).clamp(share, 1.0),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use statrs::distribution::{Binomial, Discrete as _, DiscreteCDF as _};

    use super::*;

    fn close(found: [f64; 2], known: [f64; 2]) -> bool {
        (found[0] - known[0]).abs() < 5e-5 && (found[1] - known[1]).abs() < 5e-5
    }

    #[test]
    fn no_error_in_299_requests_is_less_than_one_percent() {
        // 1 − 0.05^(1/299), and 1 − 0.025^(1/299) where both sides count.
        assert!((upper_bound(0, 299).unwrap() - 0.009_969).abs() < 1e-6);
        let found = proportion(0, 299).unwrap();
        assert!(close(found.interval.unwrap(), [0.0, 0.012_262]), "{found:?}");
        assert_eq!(proportion(299, 299).unwrap().interval.unwrap()[1], 1.0);
    }

    #[test]
    fn known_intervals_are_found() {
        // Beta quantiles of 5 of 20, as in tables: 8.66 % to 49.10 %.
        let found = proportion(5, 20).unwrap();
        assert!(found.value == 0.25 && close(found.interval.unwrap(), [0.086_57, 0.491_05]), "{found:?}");
    }

    #[test]
    fn a_difference_is_that_of_newcombes_examples() {
        // His table II, (a) 56 of 70 and 48 of 80; (e) 5 of 56 and 0 of 29; (h) 10 of 10 and 0 of 10.
        for (one, other, known) in [
            ((56, 70), (48, 80), [0.0524, 0.3339]),
            ((5, 56), (0, 29), [-0.0381, 0.1926]),
            ((10, 10), (0, 10), [0.6075, 1.0]),
        ] {
            let found = difference(other, one).unwrap().interval.unwrap();
            assert!(close(found, known), "{found:?}");
        }
    }

    #[test]
    fn of_nothing_there_is_no_share() {
        assert_eq!(proportion(0, 0), None);
        assert_eq!(proportion(2, 1), None);
        assert_eq!(upper_bound(2, 1), None);
        assert_eq!(difference((0, 0), (0, 1)), None);
    }

    proptest! {
        #[test]
        fn the_bounds_leave_two_and_a_half_percent_on_either_side(n in 1u64..2_000, part in 0.0f64..=1.0) {
            let of = (part * n as f64) as u64;
            let [low, high] = proportion(of, n).unwrap().interval.unwrap();
            if of > 0 {
                let as_many = 1.0 - Binomial::new(low, n).unwrap().cdf(of - 1);
                prop_assert!((as_many - 0.025).abs() < 1e-6, "{as_many}");
            }
            if of < n {
                let as_few = Binomial::new(high, n).unwrap().cdf(of);
                prop_assert!((as_few - 0.025).abs() < 1e-6, "{as_few}");
            }
        }
    }

    #[test]
    fn the_interval_of_a_difference_holds_it_about_as_often_as_it_says() {
        // All outcomes with their probabilities, nothing drawn.
        for (p, q) in [(0.01, 0.01), (0.01, 0.03), (0.2, 0.1)] {
            let n = 200;
            let (from, to) = (Binomial::new(p, n).unwrap(), Binomial::new(q, n).unwrap());
            let mut coverage = 0.0;
            for x in 0..60 {
                for y in 0..60 {
                    let [low, high] = difference((x, n), (y, n)).unwrap().interval.unwrap();
                    if low <= q - p && q - p <= high {
                        coverage += from.pmf(x) * to.pmf(y);
                    }
                }
            }
            assert!((0.94..0.995).contains(&coverage), "{p} {q}: {coverage}");
        }
    }
}
